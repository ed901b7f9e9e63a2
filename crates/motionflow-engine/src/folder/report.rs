//! The last words of a run: what was made, and where to look.

use std::path::Path;

use crate::event::{Event, MadeFile};
use crate::progress::{Progress, brief, peak_memory};

/// Lists the files of a run folder with what they show.
pub(crate) fn made(folder: &Path, files: &[(&str, &str)], progress: &Progress) {
    let seconds = progress.seconds();
    progress.event(&Event::Finished {
        folder: &folder.display().to_string(),
        files: files.iter().map(|&(name, shows)| MadeFile { name, shows }).collect(),
        seconds,
        peak_memory_bytes: peak_memory(),
    });
    progress.result(&format!("{} made in {}:", folder.display(), brief(seconds)));
    let longest = files.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, shows) in files {
        progress.result(&format!("  {name:longest$}  {shows}"));
    }
}
