//! What reading a source did to it, or found in it, that a user should know.

use std::fmt;

/// Something about a source that was read. `Display` has it in words, without the source's name.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// Interlaced frames were deinterlaced.
    Deinterlaced,
    /// Frames are interlaced, and this ffmpeg cannot deinterlace.
    Interlaced,
    /// HDR frames were tone-mapped to SDR.
    ToneMapped {
        /// The transfer function, such as `PQ`.
        transfer: &'static str,
    },
    /// Frames are HDR and were taken as SDR.
    NotToneMapped {
        /// The transfer function, such as `PQ`.
        transfer: &'static str,
    },
    /// Transparent places were laid over black.
    OverBlack,
    /// The film says that it has transparency, and this ffmpeg cannot decode it.
    OpacityLost,
    /// Frames at the beginning cannot be decoded, so that the first one is later in the film.
    BeginsLate {
        /// How many frames are missing.
        frames: usize,
    },
    /// ffmpeg complained of the file.
    Damaged {
        /// Its complaint.
        complaint: String,
    },
    /// Frames were repeated or left out, as their times are not even.
    Uneven {
        /// The rate that they were brought to, in frames per second.
        fps: f64,
        /// How many of the kept frames repeat the one before.
        repeated: usize,
        /// How many frames were left out since another one came too soon after them.
        dropped: usize,
    },
    /// The times go back: the file was put together from several.
    TimesGoBack,
}

impl fmt::Display for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deinterlaced => formatter.write_str("interlaced, so it was deinterlaced"),
            Self::Interlaced => formatter.write_str(
                "interlaced, and this ffmpeg has no bwdif or yadif to deinterlace it: moving edges have combs",
            ),
            Self::ToneMapped { transfer } => write!(formatter, "HDR ({transfer}), so it was tone-mapped to SDR"),
            Self::NotToneMapped { transfer } => write!(
                formatter,
                "HDR ({transfer}), and it was not tone-mapped: colours look pale; use an ffmpeg with zscale and \
                 tonemap, or convert it to SDR first"
            ),
            Self::OverBlack => formatter.write_str("partly transparent, so it was laid over black"),
            Self::OpacityLost => formatter.write_str(
                "has transparency that this ffmpeg cannot decode, so it was taken as opaque; use an ffmpeg with libvpx",
            ),
            Self::BeginsLate { frames } => write!(
                formatter,
                "the first frame that can be decoded comes {frames} frames after the beginning, and time counts from it"
            ),
            Self::Damaged { complaint } => {
                write!(formatter, "damaged, so frames may be wrong or missing; ffmpeg says: {complaint}")
            }
            Self::Uneven { fps, repeated, dropped } => write!(
                formatter,
                "the frames are not evenly spaced: at {} per second, {repeated} repeat the one before and {dropped} \
                 were left out",
                (fps * 100.0).round() / 100.0
            ),
            Self::TimesGoBack => {
                formatter.write_str("the times go back in it; what follows was appended to what came before")
            }
        }
    }
}
