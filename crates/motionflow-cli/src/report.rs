//! The last words of a run: what was made, and where to look.

use std::path::Path;

use crate::progress::{Progress, brief};
use crate::terminal;

/// Lists the files of a run folder with what they show.
pub(crate) fn made(folder: &Path, files: &[(&str, &str)], progress: &Progress) {
    if progress.is_quiet() {
        return;
    }
    terminal::result(&format!("{} made in {}:", folder.display(), brief(progress.seconds())));
    let longest = files.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, shows) in files {
        terminal::result(&format!("  {name:longest$}  {shows}"));
    }
}
