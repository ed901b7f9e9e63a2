//! Points followed by the pyramidal Lucas-Kanade method.
//!
//! "An Iterative Image Registration Technique with an Application to Stereo Vision" (Lucas and Kanade, IJCAI 1981), in
//! the pyramidal form of Bouguet (2000), which the crate optical-flow-lk computes; and "Forward-Backward Error:
//! Automatic Detection of Tracking Failures" (Kalal et al., ICPR 2010).

use motionflow_media::image::{RgbImage, imageops};
use optical_flow_lk::{TrackKernel, TrackOptions, TrackParams, TrackStatus, TrackerContext};

use crate::tracks::Tracks;

/// The tracker, for figures that are made with it.
pub const NAME: &str = "Lucas-Kanade, optical-flow-lk 0.6";

/// Points along the longer side of the first frame, evenly spaced, as far apart along the other side.
const GRID: u32 = 32;

/// Side of the window that is matched, in pixels.
const WINDOW: u32 = 11;

/// Levels of the pyramid: a motion of up to about half a window is found on the coarsest, 2³ times that in the video.
const LEVELS: usize = 4;

/// The most iterations on a level.
const ITERATIONS: usize = 30;

/// Smallest eigenvalue of a window's gradient matrix, in (grey levels / pixel)², below which its motion cannot be measured
/// from the noise of a compressed video.
const TEXTURE: f32 = 1.0;

/// How far, in pixels, a point that is followed forth and back may come out from where it was.
const FORWARD_BACKWARD: f32 = 0.7;

/// Mean difference of the two windows, in grey levels, over which they do not show the same.
const DIFFERENCE: f32 = 16.0;

/// Follows a grid of points of the first frame through all frames, which must be of one size. A point is visible up to
/// the frame before it is lost: because its surroundings are flat, it leaves the picture, following it back from the next
/// frame leads elsewhere, or its surroundings look different there. So points on flat ground take no step at all.
pub fn track(frames: &[RgbImage]) -> Tracks {
    let Some(first) = frames.first() else { return Tracks::new(0, vec![], vec![]) };
    let starts = grid(first.width(), first.height());
    let params = TrackParams {
        window_size: WINDOW as usize,
        max_iterations: ITERATIONS,
        min_eigen_threshold: TEXTURE,
    };
    // The same arithmetic on every processor.
    let options = TrackOptions::new().with_kernel(TrackKernel::FixedPoint);
    let mut tracker = TrackerContext::new();
    tracker.advance(&imageops::grayscale(first), LEVELS);
    // [frames][points]; none where it is lost.
    let mut places: Vec<Vec<Option<(f32, f32)>>> = vec![starts.iter().copied().map(Some).collect()];
    for frame in &frames[1..] {
        tracker.advance(&imageops::grayscale(frame), LEVELS);
        let before = &places[places.len() - 1];
        let followed: Vec<(f32, f32)> = before.iter().flatten().copied().collect();
        let mut found = tracker.track_fb_with(&followed, None, params, FORWARD_BACKWARD, options).iter();
        let place = |before: &Option<_>| {
            let result = before.and_then(|_| found.next())?;
            (result.status == TrackStatus::Tracked && result.error < DIFFERENCE).then_some(result.pos)
        };
        places.push(before.iter().map(place).collect());
    }
    let places = (0..starts.len()).flat_map(|point| places.iter().map(move |frame| frame[point]));
    let (points, visible) =
        places.map(|place| (place.map_or([f32::NAN; 2], |(x, y)| [x, y]), place.is_some())).unzip();
    Tracks::new(frames.len(), points, visible)
}

/// Where to begin: as far from the edges as a window needs.
fn grid(width: u32, height: u32) -> Vec<(f32, f32)> {
    let margin = (WINDOW / 2 + 1) as f32;
    let spacing = (width.max(height) as f32 / GRID as f32).max(1.0);
    let along = |side: u32| {
        let inner = side as f32 - 1.0 - 2.0 * margin;
        let count = if inner < 0.0 { 0 } else { (inner / spacing) as u32 + 1 };
        let first = margin + (inner - spacing * count.saturating_sub(1) as f32) / 2.0;
        (0..count).map(move |index| first + spacing * index as f32)
    };
    along(height).flat_map(|y| along(width).map(move |x| (x, y))).collect()
}

#[cfg(test)]
mod tests {
    use motionflow_media::image::Rgb;

    use super::*;

    /// Smooth noise of blotches of 4 to 32 pixels, seen from `shift`; another `scene` is another noise.
    fn texture([x, y]: [f32; 2], shift: [f32; 2], scene: i32) -> f32 {
        let corner = |x: f32, y: f32| {
            let mixed = (x as i32).wrapping_mul(374_761_393)
                ^ (y as i32).wrapping_mul(668_265_263)
                ^ scene.wrapping_mul(198_491_317);
            let mixed = (mixed ^ (mixed >> 13)).wrapping_mul(1_274_126_177);
            (mixed >> 16 & 255) as f32 / 127.5 - 1.0
        };
        let ease = |t: f32| t * t * (3.0 - 2.0 * t);
        let noise = |size: f32| {
            let (x, y) = ((x - shift[0]) / size, (y - shift[1]) / size);
            let (u, v) = (ease(x - x.floor()), ease(y - y.floor()));
            let row = |y: f32| corner(x.floor(), y) * (1.0 - u) + corner(x.floor() + 1.0, y) * u;
            row(y.floor()) * (1.0 - v) + row(y.floor() + 1.0) * v
        };
        [4.0, 8.0, 16.0, 32.0].map(noise).iter().sum::<f32>() / 4.0
    }

    /// A picture of size 96×64, of brightness -1 to 1.
    fn picture(brightness: impl Fn([f32; 2]) -> f32) -> RgbImage {
        RgbImage::from_fn(96, 64, |x, y| {
            let value = brightness([x as f32, y as f32]);
            Rgb([(127.5 + 120.0 * value).round() as u8; 3])
        })
    }

    #[test]
    fn a_moving_texture_is_followed_to_a_tenth_of_a_pixel() {
        for step in [[0.3, -0.4], [1.7, 0.9], [-5.0, 3.0]] {
            let frames: Vec<RgbImage> = (0..4)
                .map(|t| picture(|at| texture(at, [step[0] * t as f32, step[1] * t as f32], 1)))
                .collect();
            let tracks = track(&frames);
            let mut errors: Vec<f32> = tracks
                .displacements()
                .flatten()
                .flatten()
                .map(|[x, y]| (x - step[0]).hypot(y - step[1]))
                .collect();
            errors.sort_by(f32::total_cmp);
            assert!(errors.len() > tracks.len(), "{step:?}: {} of {}", errors.len(), 3 * tracks.len());
            let percentile = |percent: usize| errors[errors.len() * percent / 100];
            assert!(percentile(50) < 0.03 && percentile(99) < 0.1, "{step:?}: {errors:?}");
        }
    }

    #[test]
    fn standing_points_stand() {
        let frames = vec![picture(|at| texture(at, [0.0, 0.0], 1)); 3];
        let tracks = track(&frames);
        assert!(tracks.displacements().flatten().flatten().count() > tracks.len());
        for [x, y] in tracks.displacements().flatten().flatten() {
            assert!(x.hypot(y) < 1e-3, "{x} {y}");
        }
    }

    #[test]
    fn flat_ground_and_what_disappears_is_lost() {
        let flat = picture(|_| 0.1);
        let one = picture(|at| texture(at, [0.0, 0.0], 1));
        let other = picture(|at| texture(at, [0.0, 0.0], 2));
        let kept = |frames: &[RgbImage]| track(frames).displacements().flatten().flatten().count();
        assert_eq!(kept(&[flat.clone(), flat.clone()]), 0);
        assert_eq!(kept(&[one.clone(), flat]), 0);
        let all = kept(&[one.clone(), one.clone()]);
        let cut = kept(&[one, other]);
        assert!(cut * 10 < all, "{cut} of {all} are followed into another scene");
    }

    #[test]
    fn any_size_and_number_of_frames_will_do() {
        for (width, height) in [(1, 1), (8, 40), (12, 12), (13, 13), (200, 14)] {
            let frames = vec![RgbImage::new(width, height); 2];
            assert_eq!(track(&frames).frames(), 2);
        }
        assert!(track(&[]).is_empty());
        assert_eq!(track(&[RgbImage::new(40, 40)]).frames(), 1);
        let points = grid(128, 128);
        assert!(
            points.len() > 800
                && points.iter().all(|(x, y)| (6.0..=121.0).contains(x) && (6.0..=121.0).contains(y))
        );
    }
}
