//! The masks of a run as files for any editor: `masks/SUBJECT/0001.png`, and `masks.npz`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use motionflow_eval::npz;
use motionflow_media::image::GrayImage;
use motionflow_media::picture::write_grey_png;

use crate::folder::mask_folder::{ARRAYS, FOLDER, SOFT};
use crate::folder::outputs::LeftOut;
use crate::folder_name;

/// One subject's masks at the video's size, one a frame.
#[derive(Debug, Clone)]
pub(crate) struct SubjectPictures {
    /// White where the subject is, black elsewhere.
    pub(crate) masks: Vec<GrayImage>,
    /// The greys that the masks were made of.
    pub(crate) soft: Vec<GrayImage>,
}

/// Writes them into the folder of a run, each kind of file where it can be; `subjects` are their words.
pub(crate) fn write(
    folder: &Path,
    subjects: &[&str],
    pictures: &Result<Vec<SubjectPictures>>,
    left_out: &mut LeftOut,
) {
    left_out.attempt(folder, FOLDER.0, |path| write_folder(path, subjects, pictures));
    left_out.attempt(folder, ARRAYS.0, |path| write_arrays(path, pictures));
}

/// Writes `masks/`.
pub(crate) fn write_folder(
    path: &Path,
    subjects: &[&str],
    pictures: &Result<Vec<SubjectPictures>>,
) -> Result<()> {
    for (name, pictures) in folder_names(subjects).iter().zip(made(pictures)?) {
        write_numbered(&path.join(name), &pictures.masks)?;
        write_numbered(&path.join(name).join(SOFT), &pictures.soft)?;
    }
    Ok(())
}

fn made(pictures: &Result<Vec<SubjectPictures>>) -> Result<&[SubjectPictures]> {
    pictures.as_deref().map_err(|error| anyhow::anyhow!("{error:#}"))
}

/// What the picture of a frame, counted from 1, is called.
pub(crate) fn numbered(number: usize) -> String {
    format!("{number:04}.png")
}

/// Pictures as `0001.png` and so on.
pub(crate) fn write_numbered(folder: &Path, pictures: &[GrayImage]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    for (index, picture) in pictures.iter().enumerate() {
        write_grey_png(&folder.join(numbered(index + 1)), picture)?;
    }
    Ok(())
}

/// Writes `masks.npz`: `masks` of 0 and 1 and `soft` of 0 to 255, both [frames, subjects, height, width].
pub(crate) fn write_arrays(path: &Path, pictures: &Result<Vec<SubjectPictures>>) -> Result<()> {
    let subjects = made(pictures)?;
    let Some(first) = subjects.first().and_then(|subject| subject.masks.first()) else { return Ok(()) };
    let frames = subjects.iter().map(|subject| subject.masks.len()).min().unwrap_or(0);
    let shape = [frames, subjects.len(), first.height() as usize, first.width() as usize];
    let all = |of: fn(&SubjectPictures) -> &[GrayImage]| -> Vec<u8> {
        let frame = |frame: usize| subjects.iter().flat_map(move |subject| of(subject)[frame].as_raw());
        (0..frames).flat_map(frame).copied().collect()
    };
    let masks: Vec<u8> = all(|subject| &subject.masks).into_iter().map(|value| value / u8::MAX).collect();
    let soft = all(|subject| &subject.soft);
    let arrays = [
        npz::Named { name: "masks", shape: &shape, values: npz::Values::Bytes(&masks) },
        npz::Named { name: "soft", shape: &shape, values: npz::Values::Bytes(&soft) },
    ];
    Ok(npz::write(path, &arrays)?)
}

/// A folder's name for each subject: its words, as far as every file system takes them, and a number where another subject
/// has the same.
pub(crate) fn folder_names(subjects: &[&str]) -> Vec<String> {
    let plain = |words: &&str| {
        let kept = |sign: char| if sign.is_alphanumeric() || "-_. ".contains(sign) { sign } else { '_' };
        let name: String = words.chars().map(kept).take(60).collect();
        let name = name.trim().to_owned();
        if folder_name::is_fit(&name) && folder_name::folded(&name) != SOFT {
            name
        } else {
            format!("{name}_")
        }
    };
    let plain: Vec<String> = subjects.iter().map(plain).collect();
    let mut names: Vec<String> = Vec::new();
    for name in &plain {
        let is_taken = |names: &[String], name: &str| {
            names.iter().any(|other| folder_name::folded(other) == folder_name::folded(name))
        };
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let free = [name.clone()].into_iter().chain(numbered).find(|name| !is_taken(&names, name));
        names.extend(free);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_of_one_name_get_a_number() {
        assert_eq!(folder_names(&["dog", "red ball", "Dog", "dog"]), ["dog", "red ball", "Dog-2", "dog-3"]);
        assert_eq!(folder_names(&["a/b", "con", "..."]), ["a_b", "con_", "..._"]);
    }
}
