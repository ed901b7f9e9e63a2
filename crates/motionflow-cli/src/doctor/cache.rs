//! The cache: where, how full, and whether it can be written.

use std::path::Path;

use motionflow_media::system;

use super::Finding;
use crate::cache_command::inversions;
use motionflow_engine::cache::NoHome;
use motionflow_engine::cache::{Cache, FOLDER_VARIABLE, LIMIT_VARIABLE};
use motionflow_engine::error::without_name;
use motionflow_engine::units::{free_space, readable};

/// Less free space than this is reported.
const LITTLE: u64 = 1 << 30;

pub(super) fn look() -> Vec<Finding> {
    let cache = match Cache::open() {
        Ok(cache) => cache,
        Err(error) if error.is::<NoHome>() => {
            let hint = format!("set {FOLDER_VARIABLE} to a folder; until then nothing is kept");
            return vec![Finding::warning("there is no home folder for the cache", hint)];
        }
        Err(error) => return vec![Finding::error(&error)],
    };
    // What does not exist yet will be made in the nearest folder that does.
    let there = cache.folder().ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let mut findings = vec![content(&cache), writable(&cache, there)];
    findings.extend(free_space(there).map(space));
    findings
}

fn content(cache: &Cache) -> Finding {
    let folder = cache.folder().display();
    match cache.entries() {
        Ok(entries) => {
            let bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
            let (bytes, limit) = (readable(bytes), readable(cache.limit()));
            Finding::ok(format!("{}, {bytes} of at most {limit}, in {folder}", inversions(entries.len())))
        }
        Err(error) => Finding::warning(motionflow_engine::error::message(&error), ""),
    }
}

fn writable(cache: &Cache, there: &Path) -> Finding {
    match tempfile::tempfile_in(there) {
        Ok(_) => Finding::ok("it can be written to"),
        Err(error) => {
            let error = without_name(error);
            let elsewhere = format!("set {FOLDER_VARIABLE} to a folder that you may write to");
            let (reason, hint) = system::refusal(&error).map_or_else(
                || (error.to_string(), elsewhere),
                |refusal| (refusal.reason.to_owned(), refusal.hint.to_owned()),
            );
            Finding::warning(
                format!("{}: cannot be written to: {reason}", cache.folder().display()),
                format!("{hint}; until then nothing is kept"),
            )
        }
    }
}

fn space(free: u64) -> Finding {
    let what = format!("{} free on its disk", readable(free));
    if free >= LITTLE {
        return Finding::ok(what);
    }
    Finding::warning(what, format!("run `motionflow cache clear`, or lower {LIMIT_VARIABLE}"))
}
