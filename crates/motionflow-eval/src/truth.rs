//! Where the subjects of a painted clip truly are.

use std::path::Path;

use crate::file_error::FileError;
use crate::npz::{Array, Npz};

/// The truth about a clip: for each of its subjects, in the order of its prompt, where it is in each frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// \[subjects\], each with all frames.
    pub subjects: Vec<Vec<Shown>>,
    /// Rows, and columns, of the masks.
    pub grid: usize,
}

/// A subject in a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// x to the right and y down, both in fractions of the picture's width; none where the subject is not visible.
    pub centre: Option<[f64; 2]>,
    /// Which cells show it, row by row, [grid · grid].
    pub mask: Vec<bool>,
}

impl Truth {
    /// Reads an npz archive with `centres` [frames, subjects, 2], NaN where the subject is not visible, and `masks`
    /// [frames, subjects, grid, grid] of 0 and 1.
    ///
    /// # Errors
    /// [`FileError`] when it cannot be read or has something else in it.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let mut file = Npz::open(path)?;
        let (centres, masks) = (file.read("centres")?, file.read("masks")?);
        Self::of(&centres, &masks).map_err(|reason| FileError::new(path, reason))
    }

    fn of(centres: &Array, masks: &Array) -> Result<Self, String> {
        let (&[frames, subjects, 2], &[mask_frames, mask_subjects, grid, columns]) =
            (centres.shape.as_slice(), masks.shape.as_slice())
        else {
            return Err(format!(
                "`centres` must be [frames, subjects, 2] and `masks` [frames, subjects, 64, 64]; they are {:?} and {:?}",
                centres.shape, masks.shape
            ));
        };
        if (frames, subjects, grid) != (mask_frames, mask_subjects, columns) || frames * subjects * grid == 0
        {
            return Err(format!(
                "`centres` {:?} and `masks` {:?} must be of as many frames and subjects, one at least, and the masks square",
                centres.shape, masks.shape
            ));
        }
        if centres.values.iter().any(|place| place.abs() > 10.0) {
            return Err("`centres` must be in fractions of the picture's width".to_owned());
        }
        if masks.values.iter().any(|cell| ![0.0, 1.0].contains(cell)) {
            return Err("`masks` must be of 0 and 1".to_owned());
        }
        let shown = |(centre, mask): (&[f32], &[f32])| Shown {
            centre: (!centre[0].is_nan() && !centre[1].is_nan())
                .then(|| [centre[0].into(), centre[1].into()]),
            mask: mask.iter().map(|&cell| cell > 0.5).collect(),
        };
        let all: Vec<Shown> =
            centres.values.chunks(2).zip(masks.values.chunks(grid * grid)).map(shown).collect();
        let subjects =
            (0..subjects).map(|k| all.iter().skip(k).step_by(subjects).cloned().collect()).collect();
        Ok(Self { subjects, grid })
    }

    /// How many frames the clip has.
    pub fn frames(&self) -> usize {
        self.subjects.first().map_or(0, Vec::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(shape: &[usize], values: &[f32]) -> Array {
        Array { shape: shape.to_vec(), values: values.to_vec() }
    }

    #[test]
    fn each_subject_has_its_frames() {
        let centres = array(&[2, 2, 2], &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, f32::NAN, f32::NAN]);
        let truth = Truth::of(&centres, &array(&[2, 2, 1, 1], &[1.0, 0.0, 0.0, 0.0])).unwrap();
        let [first, second] = truth.subjects.as_slice() else { panic!("two subjects") };
        assert_eq!((truth.frames(), truth.grid), (2, 1));
        assert_eq!(first[1].centre, Some([f64::from(0.5_f32), f64::from(0.6_f32)]));
        assert_eq!((first[0].mask[0], first[1].mask[0], second[0].mask[0]), (true, false, false));
        assert_eq!(second[1].centre, None);
    }

    #[test]
    fn says_what_does_not_fit() {
        let centres = array(&[1, 1, 2], &[0.5, 0.5]);
        let mask = |values: &[f32]| array(&[1, 1, 1, 1], values);
        for (centres, masks, part) in [
            (array(&[1, 2], &[0.5, 0.5]), mask(&[1.0]), "must be [frames, subjects, 2]"),
            (centres.clone(), array(&[2, 1, 1, 1], &[1.0, 1.0]), "as many frames"),
            (array(&[0, 1, 2], &[]), array(&[0, 1, 1, 1], &[]), "one at least"),
            (array(&[1, 1, 2], &[64.0, 64.0]), mask(&[1.0]), "fractions"),
            (centres, mask(&[255.0]), "0 and 1"),
        ] {
            let reason = Truth::of(&centres, &masks).unwrap_err();
            assert!(reason.contains(part), "{reason}");
        }
    }
}
