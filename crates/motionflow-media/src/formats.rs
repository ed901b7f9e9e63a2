//! Which formats ffmpeg may take a file for: those that hold their frames themselves.
//!
//! A playlist, a script or a description of a stream leads to other files, to hosts or to devices. What a user gives as
//! a video may come from anybody, so none of these is followed.

use std::path::Path;

use crate::children;
use crate::error::{Error, Result};
use crate::ffmpeg::Ffmpeg;

/// Demuxers that open more than the file that they are given, or that run or draw a text.
const FOLLOWING: [&str; 18] = [
    "concat",
    "hls",
    "applehttp",
    "dash",
    "webm_dash_manifest",
    "imf",
    "image2",
    "sdp",
    "rtsp",
    "rtp",
    "sap",
    "vobsub",
    "vapoursynth",
    "avisynth",
    "lavfi",
    "dvdvideo",
    "svg_pipe",
    "tty",
];

/// Where the bytes of an input may come from: the file itself, and the pipe through which frames are handed over.
const PROTOCOLS: &str = "file,pipe";

/// What ffmpeg says of a file in another format.
const REFUSED: &str = "Format not on whitelist";

impl Ffmpeg {
    /// The arguments that keep the next input from leading elsewhere, taken from the list of what `program` reads.
    ///
    /// # Errors
    /// [`Error::FfmpegNotRunnable`] when it does not list its formats.
    pub(crate) fn limits_of(program: &Path) -> Result<Vec<String>> {
        let not_runnable = |source| Error::FfmpegNotRunnable { program: program.to_owned(), source };
        let mut command = std::process::Command::new(program);
        command.args(["-hide_banner", "-loglevel", "error", "-demuxers"]);
        let output = children::output_of(&mut command).map_err(not_runnable)?;
        let listing = String::from_utf8_lossy(&output.stdout);
        let formats = self_contained(&listing);
        if formats.is_empty() {
            return Err(not_runnable(std::io::Error::other("it does not list its formats (`-demuxers`)")));
        }
        let limits = ["-protocol_whitelist", PROTOCOLS, "-format_whitelist", &formats.join(",")];
        Ok(limits.map(str::to_owned).to_vec())
    }
}

/// The names of a listing that are no devices and follow nothing: lines of flags, a name, and words about it.
fn self_contained(listing: &str) -> Vec<&str> {
    let names = listing.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (flags, name) = (words.next()?, words.next()?);
        // A device has one more flag before its name.
        (flags == "D" && name != "d").then_some(name)
    });
    names.filter(|names| !names.split(',').any(|name| FOLLOWING.contains(&name))).collect()
}

/// What to say where ffmpeg found a file to be of a format that is not taken.
pub(crate) fn refusal(said: &str) -> Option<String> {
    let line = said.lines().find(|line| line.contains(REFUSED))?;
    let format = line.trim_start().strip_prefix('[')?.split(" @ ").next()?;
    if format == "image2" {
        // It goes by the ending alone, and reads patterns of names.
        return Some("what is in it is no image or video that ffmpeg knows".to_owned());
    }
    Some(format!("it is of the format `{format}`, which leads to other files; none is followed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_elsewhere_is_left_out() {
        let listing = "Formats:\n D.. = Demuxing supported\n ..d = Is a device\n ---\n D   avi             AVI\n \
                       D   concat          Virtual concatenation script\n D d lavfi           Libavfilter\n \
                       D   hls             Apple HTTP Live Streaming\n D d x11grab         X11 screen\n \
                       D   matroska,webm   Matroska / WebM\n E  x               y\n";
        assert_eq!(self_contained(listing), ["avi", "matroska,webm"]);
    }

    #[test]
    fn the_format_is_named() {
        let said =
            "[concat @ 0x98ccf40] Format not on whitelist 'avi,gif'\n[in#0 @ 0x1] Error opening input: no\n";
        assert!(refusal(said).unwrap().contains("`concat`"));
        assert_eq!(refusal("[in#0 @ 0x1] Invalid data"), None);
    }
}
