//! `motionflow man`: manual pages, made from the same text as `--help`.

use std::fs;

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use motionflow_media::atomic::write_atomically;

use crate::args::{self, Cli};
use crate::console::Console;

/// Runs the command. A page on standard output is the command's product, so `--quiet` does not silence it.
pub(crate) fn run(args: &args::Man, console: &Console) -> Result<()> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = &args.folder else {
        let (_, page) = page(command)?;
        console.product("man", String::from_utf8(page)?.trim_end());
        return Ok(());
    };
    let mut pages = Vec::new();
    every_page(&command, &mut pages)?;
    let cannot = || format!("{}: cannot be made; give a folder that you may write to", folder.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    for (name, page) in &pages {
        write_atomically(&folder.join(name), page)?;
    }
    console.result(&format!("{} pages in {}", pages.len(), folder.display()));
    Ok(())
}

/// A command's page and those of its own commands.
fn every_page(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    pages.push(page(command.clone())?);
    command.get_subcommands().try_for_each(|command| every_page(command, pages))
}

/// A command's page and its file name.
fn page(command: Command) -> Result<(String, Vec<u8>)> {
    let man = Man::new(command).source(concat!("motionflow ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render(&mut page)?;
    Ok((man.get_filename(), page))
}
