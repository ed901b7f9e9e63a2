//! What the tests of whole files share: ffmpeg, folders, and films to try.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use motionflow_media::image::{Rgb, RgbImage};
use motionflow_media::{Error, Ffmpeg};

/// The ffmpeg that the tests use; without one they fail, saying so.
pub(crate) fn ffmpeg() -> &'static Ffmpeg {
    static FFMPEG: LazyLock<Result<Ffmpeg, Error>> = LazyLock::new(|| {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.native/ffmpeg");
        Ffmpeg::find(Some(&own))
    });
    FFMPEG.as_ref().unwrap_or_else(|error| panic!("these tests need ffmpeg: {error}"))
}

/// Runs ffmpeg in `folder` to make a test file.
pub(crate) fn make(folder: &Path, arguments: &[&str]) {
    let output = Command::new(ffmpeg().program())
        .args(["-hide_banner", "-nostdin", "-loglevel", "error", "-y"])
        .args(arguments)
        // A statically linked ffmpeg may crash on MPEG-TS without this.
        .env("GCONV_PATH", "/dev/null/gconv")
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A smooth picture with a white square whose place tells the number of the frame: 8 pixels further each time.
pub(crate) fn numbered(index: usize, width: u32, height: u32) -> RgbImage {
    let left = 8 * index as u32;
    RgbImage::from_fn(width, height, |x, y| {
        if (left..left + 8).contains(&x) && (8..24).contains(&y) {
            Rgb([255; 3])
        } else {
            Rgb([(40 + 100 * x / width) as u8, (30 + 90 * y / height) as u8, 90])
        }
    })
}

/// `count` of [`numbered`].
pub(crate) fn film(count: usize, width: u32, height: u32) -> Vec<RgbImage> {
    (0..count).map(|index| numbered(index, width, height)).collect()
}

/// The number that a frame of [`numbered`] shows.
pub(crate) fn number_of(frame: &RgbImage) -> usize {
    let brightness = |cell: u32| -> u32 {
        (8 * cell..8 * cell + 8)
            .flat_map(|x| (10..22).map(move |y| (x, y)))
            .map(|(x, y)| u32::from(frame.get_pixel(x, y).0[0]))
            .sum()
    };
    (0..frame.width() / 8).max_by_key(|cell| brightness(*cell)).unwrap() as usize
}

/// Peak signal-to-noise ratio in decibels.
pub(crate) fn psnr(a: &RgbImage, b: &RgbImage) -> f64 {
    assert_eq!(a.dimensions(), b.dimensions());
    let squares: f64 = a.iter().zip(b.iter()).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 / (squares / a.len() as f64)).log10()
}

/// The names of what is in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
