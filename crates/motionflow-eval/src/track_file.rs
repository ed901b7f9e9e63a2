//! Tracks that another program has made, from a file.

use std::path::Path;

use motionflow::checkpoint::Weights;
use tch::Kind;

use crate::file_error::FileError;
use crate::npz::{Array, MAX_BYTES, Npz};
use crate::tracks::Tracks;

/// The name of the points, and that of their visibility.
const TRACKS: &str = "tracks";
const VISIBILITY: &str = "visibility";

/// The most tracklets that are compared: each with each.
const MOST: usize = 50_000;

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackFile {
    /// The tracks.
    pub tracks: Tracks,
    /// How many points count as hidden only because a coordinate is not finite.
    pub not_finite: usize,
}

/// Reads an npz or safetensors file, which of them goes by the content: `tracks` [frames, tracklets, 2], x before y, in
/// pixels, and optionally `visibility` [frames, tracklets], visible where it is over 0.5. Both may have a first
/// dimension of 1, as `CoTracker` gives them, and the visibility a last one.
///
/// # Errors
/// [`FileError`] says what the file lacks.
pub fn read(path: &Path) -> Result<TrackFile, FileError> {
    let (points, visibility) = if is_safetensors(path) { of_safetensors(path) } else { of_npz(path) }?;
    tracks_of(&points, visibility.as_ref()).map_err(|reason| FileError::new(path, reason))
}

/// Safetensors begin with a length of 64 bits and a `{`.
fn is_safetensors(path: &Path) -> bool {
    use std::io::Read as _;
    let mut head = [0; 9];
    let is_file = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    is_file
        && std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok()
        && head[8] == b'{'
}

fn of_npz(path: &Path) -> Result<(Array, Option<Array>), FileError> {
    let mut npz = Npz::open(path)?;
    let visibility = if npz.has(VISIBILITY) { Some(npz.read(VISIBILITY)?) } else { None };
    Ok((npz.read(TRACKS)?, visibility))
}

fn of_safetensors(path: &Path) -> Result<(Array, Option<Array>), FileError> {
    let weights = Weights::open(path).map_err(|error| {
        // The path stands in front already.
        let reason = error.to_string();
        FileError::new(path, reason.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&reason))
    })?;
    let array = |name: &str| {
        let Some(stored) = weights.get(name) else { return Ok(None) };
        if stored.shape().iter().product::<i64>() > MAX_BYTES as i64 {
            return Err(FileError::new(
                path,
                format!("the array `{name}` has more than {} MiB", MAX_BYTES >> 20),
            ));
        }
        let values = stored.to_tensor().and_then(|tensor| tensor.f_to_kind(Kind::Float)).and_then(|tensor| {
            let mut values = vec![0.0_f32; tensor.numel()];
            tensor.f_copy_data(&mut values, tensor.numel())?;
            Ok(values)
        });
        let values =
            values.map_err(|_| FileError::new(path, format!("the array `{name}` is not of numbers")))?;
        Ok(Some(Array { shape: stored.shape().iter().map(|&length| length as usize).collect(), values }))
    };
    let points =
        array(TRACKS)?.ok_or_else(|| FileError::new(path, format!("the array `{TRACKS}` is not there")))?;
    Ok((points, array(VISIBILITY)?))
}

fn tracks_of(points: &Array, visibility: Option<&Array>) -> Result<TrackFile, String> {
    let shape = without_batch(&points.shape, 3);
    let &[frames, tracklets, 2] = shape else {
        return Err(format!("`{TRACKS}` has the shape {:?}, not [frames, tracklets, 2]", points.shape));
    };
    if let Some(Array { shape, .. }) = visibility
        && !is_of_points(shape, frames, tracklets)
    {
        return Err(format!("`{VISIBILITY}` has the shape {shape:?}, not [{frames}, {tracklets}]"));
    }
    if frames < 2 || !(1..=MOST).contains(&tracklets) {
        return Err(format!(
            "it has {frames} frames of {tracklets} tracklets, but there must be 2 or more of 1 to {MOST}"
        ));
    }
    let order = || (0..tracklets).flat_map(|n| (0..frames).map(move |t| t * tracklets + n));
    let visible: Vec<bool> = match visibility {
        Some(visibility) => order().map(|index| visibility.values[index] > 0.5).collect(),
        None => vec![true; frames * tracklets],
    };
    let points: Vec<_> =
        order().map(|index| [points.values[2 * index], points.values[2 * index + 1]]).collect();
    let is_not_finite = |(point, visible): &(&[f32; 2], &bool)| {
        **visible && point.iter().any(|coordinate| !coordinate.is_finite())
    };
    let not_finite = points.iter().zip(&visible).filter(is_not_finite).count();
    Ok(TrackFile { tracks: Tracks::new(frames, points, visible), not_finite })
}

/// Whether a shape has one value for every point, and at most one dimension of 1 before and behind.
fn is_of_points(shape: &[usize], frames: usize, tracklets: usize) -> bool {
    let points = [frames, tracklets];
    let behind = shape.strip_suffix(&[1]).unwrap_or(shape);
    [shape, behind].into_iter().any(|shape| shape == points || shape.strip_prefix(&[1]) == Some(&points))
}

/// A shape of so many dimensions, and one of 1 before them left out.
fn without_batch(shape: &[usize], dimensions: usize) -> &[usize] {
    match shape {
        [1, rest @ ..] if rest.len() == dimensions => rest,
        shape => shape,
    }
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::*;

    fn array(shape: &[usize]) -> Array {
        let count: usize = shape.iter().product();
        Array { shape: shape.to_vec(), values: (0..count).map(|value| value as f32).collect() }
    }

    #[test]
    fn frames_come_first_with_or_without_a_batch() {
        let tracks = tracks_of(&array(&[1, 3, 2, 2]), Some(&array(&[3, 2]))).unwrap();
        assert_eq!(tracks, tracks_of(&array(&[3, 2, 2]), Some(&array(&[1, 3, 2]))).unwrap());
        let tracks = tracks.tracks;
        assert_eq!((tracks.len(), tracks.frames()), (2, 3));
        // The first tracklet is not visible in the first frame: its flag is 0.
        let steps: Vec<_> = tracks.displacements().collect();
        assert_eq!(steps, [vec![None, Some([4.0, 4.0])], vec![Some([4.0, 4.0]); 2]]);
    }

    #[test]
    fn visibility_may_have_a_last_dimension_of_one() {
        let points = array(&[3, 2, 2]);
        let expected = tracks_of(&points, Some(&array(&[3, 2]))).unwrap();
        for shape in [&[3, 2, 1][..], &[1, 3, 2, 1], &[1, 3, 2]] {
            assert_eq!(tracks_of(&points, Some(&array(shape))).unwrap(), expected);
        }
        let single = tracks_of(&array(&[3, 1, 2]), Some(&array(&[1, 3, 1, 1]))).unwrap();
        assert_eq!(single, tracks_of(&array(&[3, 1, 2]), Some(&array(&[3, 1]))).unwrap());
        assert!(tracks_of(&points, Some(&array(&[2, 3, 1]))).is_err());
        assert!(tracks_of(&points, Some(&array(&[1, 1, 3, 2]))).is_err());
    }

    #[test]
    fn points_that_are_not_finite_are_counted_where_they_are_not_said_to_be_hidden() {
        let mut points = array(&[3, 2, 2]);
        (points.values[1], points.values[7]) = (f32::NAN, f32::INFINITY);
        assert_eq!(tracks_of(&points, None).unwrap().not_finite, 2);
        // The flag of the first point is 0.
        assert_eq!(tracks_of(&points, Some(&array(&[3, 2]))).unwrap().not_finite, 1);
    }

    #[test]
    fn odd_shapes_are_told() {
        for (points, visibility, part) in [
            (array(&[3, 2]), None, "[3, 2], not [frames, tracklets, 2]"),
            (array(&[2, 3, 2, 2]), None, "[2, 3, 2, 2]"),
            (array(&[3, 2, 3]), None, "[3, 2, 3]"),
            (array(&[3, 2, 2]), Some(array(&[2, 3])), "[2, 3], not [3, 2]"),
            (array(&[1, 2, 2]), None, "1 frames"),
            (array(&[3, 0, 2]), None, "0 tracklets"),
        ] {
            let found = tracks_of(&points, visibility.as_ref()).unwrap_err();
            assert!(found.contains(part), "{found}");
        }
    }

    #[test]
    fn safetensors_are_told_by_their_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tracks");
        let points = Tensor::arange(12, (Kind::Float, tch::Device::Cpu)).view([3, 2, 2]);
        Tensor::write_safetensors(&[("tracks", &points)], &path).unwrap();
        assert_eq!(read(&path).unwrap(), tracks_of(&array(&[3, 2, 2]), None).unwrap());
        Tensor::write_safetensors(&[("points", &points)], &path).unwrap();
        assert!(read(&path).unwrap_err().to_string().ends_with("the array `tracks` is not there"));
        std::fs::write(&path, b"\xff\0\0\0\0\0\0\0{}").unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert_eq!(message.matches("tracks").count(), 1, "{message}");
    }
}
