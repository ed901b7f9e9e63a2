//! The end of a run: what was made, and where to look.

use std::path::Path;

use crate::event::{Event, MadeFile};
use crate::folder::record::MaskRecord;
use crate::progress::{Progress, peak_memory};

/// Tells the files of a run folder with what they show.
pub(crate) fn finished(folder: &Path, files: &[(&str, &str)], masks: &[MaskRecord], progress: &Progress) {
    let files: Vec<MadeFile> = files.iter().map(|&(name, shows)| MadeFile { name, shows }).collect();
    progress.event(&Event::Finished {
        folder: &folder.display().to_string(),
        files: &files,
        seconds: progress.seconds(),
        peak_memory_bytes: peak_memory(),
        masks,
    });
}
