//! Tracked points as `CoTracker` and Wan-Move write them: a subject covers the hull of its visible points.

use std::f64::consts::TAU;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use motionflow_eval::npz::{self, Array, Npz};

use super::Motion;
use super::shape::{Placed, Point, Shape};

/// A hull of fewer pixels than this has no inside.
const SMALLEST: f64 = 1.0;
/// The disc that stands for points without a hull: its radius over the picture's width.
const DOT: f64 = 0.03;

/// Coordinates that are fractions of the picture, and no pixels: a subject may be partly out of it.
const FRACTIONS: RangeInclusive<f32> = -1.0..=2.0;

/// Whether a file is one of arrays.
pub(crate) fn is_of_points(path: &Path) -> bool {
    npz::is_npz(path) || npz::is_npy(path)
}

/// Reads an npz with `tracks` [.., frames, points, 2], x before y, and `visibility` [.., frames, points] or [.., frames, points, 1],
/// or an npy of the tracks alone, beside which `NAME_visibility.npy` may lie where it is called `NAME_tracks.npy`.
///
/// Coordinates are in pixels of a picture of `size` [width, height] where the npz has it; in fractions where all
/// of visible points are within -1..2; else in pixels of the video.
pub(crate) fn read(path: &Path, frames: usize, (width, height): (usize, usize)) -> Result<Motion, String> {
    let (tracks, visibility, size) = arrays(path)?;
    let [.., count, points, 2] = tracks.shape[..] else {
        return Err(format!("its tracks have the shape {:?}, not [frames, points, 2]", tracks.shape));
    };
    if tracks.shape.iter().rev().skip(3).any(|length| *length != 1) || count == 0 || points == 0 {
        return Err(format!("its tracks have the shape {:?}, not [frames, points, 2]", tracks.shape));
    }
    if count < frames {
        return Err(format!("it has {count} frames of points, and the new video {frames}"));
    }
    let is_of_points = |visibility: &Array| {
        visibility.values.len() == count * points
            && (visibility.shape.ends_with(&[count, points])
                || visibility.shape.ends_with(&[count, points, 1]))
    };
    if !visibility.as_ref().is_none_or(is_of_points) {
        return Err(format!("its visibility is not of {count} frames of {points} points"));
    }
    let is_seen = |index: usize| visibility.as_ref().is_none_or(|visibility| visibility.values[index] > 0.5);
    let mut seen =
        tracks.values.iter().enumerate().filter(|(index, _)| is_seen(index / 2)).map(|(_, value)| value);
    let pixels = [width as f64, height as f64];
    let scale = match size.as_deref() {
        Some([across, down]) if *across > 0.0 && *down > 0.0 => {
            [pixels[0] / f64::from(*across), pixels[1] / f64::from(*down)]
        }
        Some(_) => return Err("its `size` is not [width, height]".to_owned()),
        None if seen.all(|value| !value.is_finite() || FRACTIONS.contains(value)) => pixels,
        None => [1.0, 1.0],
    };
    let point = |index: usize| -> Option<Point> {
        let place = [0, 1].map(|axis| f64::from(tracks.values[2 * index + axis]) * scale[axis]);
        (is_seen(index) && place.iter().all(|value| value.is_finite())).then_some(place)
    };
    let frame = |frame: usize| {
        let seen: Vec<Point> = (frame * points..(frame + 1) * points).filter_map(point).collect();
        covered(seen, pixels[0] * DOT)
    };
    Ok(Motion { frames: (0..frames).map(frame).collect(), width, height })
}

type Arrays = (Array, Option<Array>, Option<Vec<f32>>);

fn arrays(path: &Path) -> Result<Arrays, String> {
    let reason = |error: motionflow_eval::file_error::FileError| error.reason;
    if npz::is_npy(path) {
        let beside = visibility_beside(path).filter(|path| path.is_file());
        let visibility = beside.map(|path| npz::read_npy(&path)).transpose().map_err(reason)?;
        return Ok((npz::read_npy(path).map_err(reason)?, visibility, None));
    }
    let mut npz = Npz::open(path).map_err(reason)?;
    let mut optional = |name: &str| npz.has(name).then(|| npz.read(name)).transpose().map_err(reason);
    let (visibility, size) = (optional("visibility")?, optional("size")?);
    Ok((npz.read("tracks").map_err(reason)?, visibility, size.map(|size| size.values)))
}

fn visibility_beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let other = name.replace("tracks", "visibility").replace("track", "visibility");
    (other != name).then(|| path.with_file_name(other))
}

/// The hull of points, or a disc where they have no inside. None without a point.
fn covered(mut points: Vec<Point>, radius: f64) -> Option<Placed> {
    let count = points.len() as f64;
    let sum = points.iter().fold([0.0, 0.0], |sum, point| [sum[0] + point[0], sum[1] + point[1]]);
    points.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    if points.is_empty() {
        return None;
    }
    let hull = Placed::new(Shape::Polygon(hull(&points)));
    if hull.middle_and_area().is_some_and(|(_, area)| area >= SMALLEST) {
        return Some(hull);
    }
    let corner = |index| {
        let (sine, cosine) = (TAU * f64::from(index) / 16.0).sin_cos();
        [sum[0] / count + radius * cosine, sum[1] / count + radius * sine]
    };
    Some(Placed::new(Shape::Polygon((0..16).map(corner).collect())))
}

/// The convex hull of sorted points (Andrew's monotone chain).
fn hull(points: &[Point]) -> Vec<Point> {
    fn half<'a>(points: impl Iterator<Item = &'a Point>) -> Vec<Point> {
        let mut chain: Vec<Point> = Vec::new();
        for point in points {
            while let [.., before, last] = chain[..] {
                let cross = (last[0] - before[0]) * (point[1] - before[1])
                    - (last[1] - before[1]) * (point[0] - before[0]);
                if cross > 0.0 {
                    break;
                }
                chain.pop();
            }
            chain.push(*point);
        }
        chain.pop();
        chain
    }
    let mut lower = half(points.iter());
    lower.extend(half(points.iter().rev()));
    lower
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_the_hull_of_its_points_or_a_disc() {
        let corners = vec![[1.0, 1.0], [5.0, 1.0], [3.0, 3.0], [5.0, 5.0], [1.0, 5.0], [2.0, 2.0]];
        let hull = covered(corners, 2.0).unwrap();
        assert_eq!(hull.corners().unwrap().len(), 4);
        assert_eq!(hull.middle_and_area(), Some(([3.0, 3.0], 16.0)));
        for points in [vec![[3.0, 3.0]], vec![[2.0, 2.0], [4.0, 4.0]], vec![[3.0, 3.0]; 5]] {
            let (middle, area) = covered(points, 2.0).unwrap().middle_and_area().unwrap();
            assert!(middle.iter().all(|at| (at - 3.0).abs() < 1e-9) && (area - 12.2).abs() < 0.1, "{area}");
        }
        assert!(covered(Vec::new(), 2.0).is_none());
    }

    #[test]
    fn the_visibility_of_tracks_lies_beside_them() {
        let beside = |name: &str| visibility_beside(Path::new(name)).map(|path| path.display().to_string());
        assert_eq!(beside("a/b_tracks.npy").as_deref(), Some("a/b_visibility.npy"));
        assert_eq!(beside("a/points.npy"), None);
    }
}
