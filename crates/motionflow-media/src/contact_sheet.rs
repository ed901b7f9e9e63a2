//! Contact sheets: several videos as rows of sampled frames.

use image::imageops;
use image::{Rgb, RgbImage};

use crate::error::{Error, Result};
use crate::fit::Fit;
use crate::picture::most_enlarged;
use crate::text;

/// One video of a contact sheet.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Its name or prompt, written above; shortened where it does not fit.
    pub label: &'a str,
    /// Its frames.
    pub frames: &'a [RgbImage],
}

/// The usual number of frames in a row.
pub const COLUMNS: usize = 8;

/// Pixels that a frame is wide on the sheet, at the least and at the most.
const LEAST_WIDTH: u32 = 160;
const MOST_WIDTH: u32 = 288;
const GAP: u32 = 6;
const MARGIN: u32 = 16;
/// Height of a row's name with the space around it.
const LABEL: u32 = 32;
const LETTERS: f32 = 18.0;
/// Height of the line of frame numbers.
const NUMBERS: u32 = 22;
const DIGITS: f32 = 14.0;
const GROUND: Rgb<u8> = Rgb([250, 250, 250]);
const INK: Rgb<u8> = Rgb([39, 39, 42]);
const FAINT: Rgb<u8> = Rgb([113, 113, 122]);

/// Draws a row for each video: its name, and up to `columns` frames of it, the first and the last among them.
///
/// All are shown at the size of the first row's frames, enlarged or made smaller to read well; other shapes are padded.
/// Where all videos are equally long, the frames' numbers, from 0 on, stand below.
///
/// # Errors
/// [`Error::NothingToDraw`] without rows, or when one has no frames.
pub fn contact_sheet(rows: &[Row<'_>], columns: usize) -> Result<RgbImage> {
    let Some(first) = rows.first().and_then(|row| row.frames.first()).filter(|frame| !frame.is_empty())
    else {
        return Err(Error::NothingToDraw { what: "contact sheet".into() });
    };
    if let Some(row) = rows.iter().find(|row| row.frames.is_empty()) {
        return Err(Error::NothingToDraw { what: format!("contact sheet, \"{}\"", row.label) });
    }
    let (width, height) = shown_size(first.dimensions());
    let shown = rows.iter().map(|row| row.frames.len().min(columns.max(1))).max().unwrap_or(1) as u32;
    let length = rows[0].frames.len();
    let numbered = rows.iter().all(|row| row.frames.len() == length);
    let below = if numbered { NUMBERS } else { MARGIN };
    let row_height = LABEL + height;
    let sheet_width = 2 * MARGIN + shown * (width + GAP) - GAP;
    let mut sheet =
        RgbImage::from_pixel(sheet_width, MARGIN / 2 + rows.len() as u32 * row_height + below, GROUND);
    let left = |column: usize| MARGIN + column as u32 * (width + GAP);
    for (index, row) in rows.iter().enumerate() {
        let top = MARGIN / 2 + index as u32 * row_height;
        let label = text::shortened(row.label, LETTERS, (sheet_width - 2 * MARGIN) as f32);
        text::draw(&mut sheet, MARGIN as f32, top as f32 + 7.0, LETTERS, INK, &label);
        for (column, frame) in sampled(row.frames.len(), columns).into_iter().enumerate() {
            let picture = Fit::Pad.apply(&row.frames[frame], width, height);
            imageops::replace(&mut sheet, &picture, left(column).into(), (top + LABEL).into());
        }
    }
    if numbered {
        let top = (sheet.height() - NUMBERS) as f32 + 3.0;
        for (column, frame) in sampled(length, columns).into_iter().enumerate() {
            let number = frame.to_string();
            let x = left(column) as f32 + (width as f32 - text::width(&number, DIGITS)) / 2.0;
            text::draw(&mut sheet, x, top, DIGITS, FAINT, &number);
        }
    }
    Ok(sheet)
}

/// Up to `columns` positions out of `length`, evenly spread, with both ends where there are two or more.
pub fn sampled(length: usize, columns: usize) -> Vec<usize> {
    let count = length.min(columns.max(1));
    let spread = |column: usize| (2 * column * (length - 1) + (count - 1)) / (2 * (count - 1));
    if count < 2 { (0..count).collect() } else { (0..count).map(spread).collect() }
}

/// The size at which frames are shown: by a whole factor larger when small, within a greatest width when large.
fn shown_size((width, height): (u32, u32)) -> (u32, u32) {
    if width < LEAST_WIDTH {
        let factor = LEAST_WIDTH.div_ceil(width).min(most_enlarged(height));
        (width * factor, height * factor)
    } else if width > MOST_WIDTH {
        let scaled = u64::from(height) * u64::from(MOST_WIDTH) / u64::from(width);
        (MOST_WIDTH, (scaled as u32).max(1))
    } else {
        (width, height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spread_with_both_ends() {
        assert_eq!(sampled(16, 8), [0, 2, 4, 6, 9, 11, 13, 15]);
        assert_eq!(sampled(3, 8), [0, 1, 2]);
        assert_eq!(sampled(9, 1), [0]);
        assert_eq!(sampled(0, 8), [0; 0]);
    }

    #[test]
    fn rows_of_different_shapes_make_one_sheet() {
        let (small, wide) = (RgbImage::new(16, 16), RgbImage::new(576, 320));
        let (short, long) = (vec![small; 2], vec![wide; 24]);
        let rows = [
            Row { label: "a very long prompt ".repeat(9).leak(), frames: &short },
            Row { label: "", frames: &long },
        ];
        let sheet = contact_sheet(&rows, COLUMNS).unwrap();
        assert_eq!(sheet.dimensions(), (2 * 16 + 8 * 166 - 6, 8 + 2 * 192 + 16));
        let narrow = vec![RgbImage::new(8, 2048); 2];
        let sheet = contact_sheet(&[Row { label: "narrow", frames: &narrow }], COLUMNS).unwrap();
        assert!(sheet.height() < 4200, "{}", sheet.height());
        assert!(contact_sheet(&[], COLUMNS).is_err());
        let empty = [Row { label: "empty", frames: &[] }];
        assert!(contact_sheet(&[rows[0], empty[0]], COLUMNS).unwrap_err().to_string().contains("empty"));
    }
}
