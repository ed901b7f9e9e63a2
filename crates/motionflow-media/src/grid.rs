//! Pictures in rows and columns, under their names.

use image::imageops;
use image::{Rgb, RgbImage};

use crate::error::{Error, Result};
use crate::fit::Fit;
use crate::text;

/// What stands in a place of a grid.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// A picture, shown in its own size.
    Picture(RgbImage),
    /// There is none; the text says why.
    Empty(String),
}

/// A row of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Written above it.
    pub label: String,
    /// From left to right.
    pub places: Vec<Place>,
}

const GAP: u32 = 8;
const MARGIN: u32 = 16;
const GROUND: Rgb<u8> = Rgb([250, 250, 250]);
const HOLE: Rgb<u8> = Rgb([228, 228, 231]);
const INK: Rgb<u8> = Rgb([39, 39, 42]);
const FAINT: Rgb<u8> = Rgb([113, 113, 122]);

/// Draws the rows one below the other, the names of the columns above the first; a single column needs no name.
///
/// Every place has the size of the largest picture; smaller ones, and other shapes, are padded.
///
/// # Errors
/// [`Error::NothingToDraw`] without a picture.
pub fn grid(columns: &[String], rows: &[Row]) -> Result<RgbImage> {
    let pictures = || {
        rows.iter().flat_map(|row| &row.places).filter_map(|place| match place {
            Place::Picture(picture) => Some(picture),
            Place::Empty(_) => None,
        })
    };
    let width = pictures().map(RgbImage::width).max().filter(|width| *width > 0);
    let height = pictures().map(RgbImage::height).max().filter(|height| *height > 0);
    let Some((width, height)) = width.zip(height) else {
        return Err(Error::NothingToDraw { what: "grid".into() });
    };
    let count = rows.iter().map(|row| row.places.len()).max().unwrap_or(0).max(columns.len()) as u32;
    let named = columns.len() > 1;
    // The larger the pictures, the more the grid is made smaller to be looked at.
    let letters = (width as f32 / 36.0).clamp(17.0, 26.0);
    let line = (letters * 1.65) as u32;
    let top = MARGIN / 2 + if named { line } else { 0 };
    let sheet_width = 2 * MARGIN + count * (width + GAP) - GAP;
    let sheet_height = top + rows.len() as u32 * (line + height + GAP) + MARGIN / 2;
    let mut sheet = RgbImage::from_pixel(sheet_width, sheet_height, GROUND);
    let left = |column: usize| MARGIN + column as u32 * (width + GAP);
    for (column, name) in columns.iter().enumerate().filter(|_| named) {
        let name = text::shortened(name, letters, width as f32);
        let x = left(column) as f32 + (width as f32 - text::width(&name, letters)) / 2.0;
        text::draw(&mut sheet, x, MARGIN as f32 / 2.0 + 4.0, letters, INK, &name);
    }
    for (index, row) in rows.iter().enumerate() {
        let y = top + index as u32 * (line + height + GAP);
        let label = text::shortened(&row.label, letters, (sheet_width - 2 * MARGIN) as f32);
        text::draw(&mut sheet, MARGIN as f32, y as f32 + 5.0, letters, INK, &label);
        for (column, place) in row.places.iter().enumerate() {
            let (x, y) = (left(column), y + line);
            match place {
                Place::Picture(picture) if picture.dimensions() == (width, height) => {
                    imageops::replace(&mut sheet, picture, x.into(), y.into());
                }
                Place::Picture(picture) => {
                    let picture = Fit::Pad.apply(picture, width, height);
                    imageops::replace(&mut sheet, &picture, x.into(), y.into());
                }
                Place::Empty(why) => {
                    let hole = RgbImage::from_pixel(width, height, HOLE);
                    imageops::replace(&mut sheet, &hole, x.into(), y.into());
                    let why = text::shortened(why, letters, width as f32 - 16.0);
                    let middle = y as f32 + (height as f32 - letters) / 2.0;
                    text::draw(&mut sheet, x as f32 + 8.0, middle, letters, FAINT, &why);
                }
            }
        }
    }
    Ok(sheet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32) -> Place {
        Place::Picture(RgbImage::from_pixel(width, height, Rgb([200, 0, 0])))
    }

    #[test]
    fn pictures_and_holes_have_their_places() {
        let rows = [
            Row { label: "seed 1".into(), places: vec![picture(60, 40), Place::Empty("failed".into())] },
            Row { label: "seed 2".into(), places: vec![picture(60, 40), picture(30, 20)] },
        ];
        let sheet = grid(&["tau 0.2".into(), "tau 0.4".into()], &rows).unwrap();
        assert_eq!(sheet.width(), 2 * 16 + 2 * 60 + 8);
        let at = |column: u32, row: u32| sheet.get_pixel(16 + column * 68 + 1, 36 + row * 76 + 28 + 1).0;
        assert_eq!([at(0, 0), at(1, 0), at(0, 1)], [[200, 0, 0], [228, 228, 231], [200, 0, 0]]);
        assert_eq!(
            sheet.get_pixel(16 + 68 + 30, 36 + 76 + 28 + 20).0,
            [200, 0, 0],
            "the small one is enlarged"
        );
    }

    #[test]
    fn without_a_picture_there_is_no_grid() {
        let rows = [Row { label: String::new(), places: vec![Place::Empty("failed".into())] }];
        assert!(matches!(grid(&[], &rows), Err(Error::NothingToDraw { .. })));
    }
}
