//! What to say when a source is too short.

use std::fmt;
use std::path::PathBuf;

/// A source with fewer frames than asked for: how many there are, and what would fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Shortage {
    /// The source.
    pub path: PathBuf,
    /// How many frames the whole source has.
    pub total: usize,
    /// How many of them lie at or after `start`.
    pub after_start: usize,
    /// The source's frames per second.
    pub fps: f64,
    /// How many frames were requested.
    pub frames: usize,
    /// One of how many was to be kept.
    pub every: usize,
    /// Seconds from which on.
    pub start: f64,
    /// The most frames that a video can have of those that are there, where not every number is possible.
    pub possible: Option<usize>,
    /// ffmpeg's complaint about the file, if it had one: the rest may be damaged.
    pub complaint: Option<String>,
}

impl Shortage {
    /// How many frames in a row the request needs: (frames − 1) · every + 1.
    pub fn needed(&self) -> usize {
        self.frames.saturating_sub(1).saturating_mul(self.every).saturating_add(1)
    }

    /// How many frames can be had from `start` on, one of every `every`.
    pub fn most_frames(&self) -> usize {
        self.after_start.div_ceil(self.every)
    }

    /// What to lower, and to what, one way each; never empty.
    fn ways_out(&self) -> Vec<String> {
        let mut ways = Vec::new();
        if self.after_start > 0 {
            ways.push(format!("--frames to {}", self.possible.unwrap_or(self.most_frames())));
        }
        let every =
            (self.after_start.saturating_sub(1)).checked_div(self.frames.saturating_sub(1)).unwrap_or(0);
        if every >= 1 {
            ways.push(format!("--every to {every}"));
        }
        if self.start > 0.0 && self.total >= self.needed() {
            // Rounded down, so that what is advised does work.
            let start = ((self.total - self.needed()) as f64 / self.fps * 100.0).floor() / 100.0;
            ways.push(format!("--start to {start}"));
        }
        if ways.is_empty() {
            ways.push("--start".into());
        }
        ways
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames_of = |count: usize| if count == 1 { "1 frame".into() } else { format!("{count} frames") };
        let seconds = self.total as f64 / self.fps;
        write!(formatter, "{}: too few frames: it has {}", self.path.display(), frames_of(self.total))?;
        write!(formatter, " ({seconds:.2} s at {} per second)", (self.fps * 100.0).round() / 100.0)?;
        if self.start > 0.0 {
            write!(formatter, ", {} of them from --start {} on", self.after_start, self.start)?;
        }
        write!(formatter, ", but {} were asked for", frames_of(self.frames))?;
        if self.every > 1 {
            write!(formatter, ", one of every {}, which takes {}", self.every, self.needed())?;
        }
        write!(formatter, "; lower {}", self.ways_out().join(" or "))?;
        match &self.complaint {
            Some(complaint) => write!(formatter, " (the file may be damaged: {complaint})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortage(total: usize, after_start: usize, frames: usize, every: usize, start: f64) -> String {
        let path = PathBuf::from("clip.mp4");
        let (fps, possible, complaint) = (10.0, None, None);
        Shortage { path, total, after_start, fps, frames, every, start, possible, complaint }.to_string()
    }

    #[test]
    fn every_way_out_is_named() {
        assert_eq!(
            shortage(12, 12, 16, 1, 0.0),
            "clip.mp4: too few frames: it has 12 frames (1.20 s at 10 per second), but 16 frames were asked for; \
             lower --frames to 12"
        );
        assert_eq!(
            shortage(40, 20, 16, 2, 2.0),
            "clip.mp4: too few frames: it has 40 frames (4.00 s at 10 per second), 20 of them from --start 2 on, but \
             16 frames were asked for, one of every 2, which takes 31; lower --frames to 10 or --every to 1 or \
             --start to 0.9"
        );
        assert!(shortage(40, 0, 41, 1, 99.0).ends_with("lower --start"));
        assert!(shortage(1, 1, 2, 1, 0.0).contains("it has 1 frame ("));
    }
}
