//! What this crate needs of an ffmpeg, which builds may leave out.

use crate::error::{Error, Result};
use crate::ffmpeg::Ffmpeg;

/// What ffmpeg is asked to list, and what must be in the list.
const NEEDED: [(&str, &str, &[&str]); 3] = [
    ("-encoders", "encoder", &["libx264", "gif", "rawvideo"]),
    (
        "-filters",
        "filter",
        &["scale", "setsar", "format", "fps", "select", "showinfo", "split", "palettegen", "paletteuse"],
    ),
    ("-muxers", "format", &["mp4", "gif", "rawvideo", "framecrc", "null"]),
];

impl Ffmpeg {
    /// The parts that reading and writing videos need and that this ffmpeg was built without, in words such as
    /// `the encoder libx264`.
    ///
    /// # Errors
    /// [`Error::FfmpegNotRunnable`] when it does not start or lists nothing.
    pub fn lacking_parts(&self) -> Result<Vec<String>> {
        let mut lacking = Vec::new();
        for (list, kind, names) in NEEDED {
            let (listing, outcome) = self.output(self.bare_command().arg(list))?;
            if !outcome.success {
                let source = std::io::Error::other(format!("`{list}`: {}", outcome.reason()));
                return Err(Error::FfmpegNotRunnable { program: self.program().to_owned(), source });
            }
            let listing = String::from_utf8_lossy(&listing);
            let missing = names.iter().filter(|name| !is_listed(&listing, name));
            lacking.extend(missing.map(|name| format!("the {kind} {name}")));
        }
        Ok(lacking)
    }

    /// Whether this ffmpeg has all of these filters.
    pub(crate) fn has_filters(&self, names: &[&str]) -> Result<bool> {
        self.lists("-filters", names)
    }

    /// Whether this ffmpeg has this decoder.
    pub(crate) fn has_decoder(&self, name: &str) -> Result<bool> {
        self.lists("-decoders", &[name])
    }

    fn lists(&self, list: &str, names: &[&str]) -> Result<bool> {
        let (listing, _) = self.output(self.command().arg(list))?;
        let listing = String::from_utf8_lossy(&listing);
        Ok(names.iter().all(|name| is_listed(&listing, name)))
    }
}

/// Whether a line of the listing is of that name: flags, the name, and words about it.
fn is_listed(listing: &str, name: &str) -> bool {
    listing.lines().any(|line| line.split_whitespace().nth(1) == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_listings() {
        let listing =
            " V..... = Video\n ------\n V....D libx264rgb  H.264 of gif (codec h264)\n V..... pam  PAM\n";
        assert!(is_listed(listing, "pam") && is_listed(listing, "libx264rgb"));
        assert!(!is_listed(listing, "libx264") && !is_listed(listing, "gif"));
    }
}
