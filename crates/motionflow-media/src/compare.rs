//! Videos side by side under their names.

use image::imageops;
use image::{Rgb, RgbImage};

use crate::error::{Error, Result};
use crate::fit::Fit;
use crate::picture::enlarge;
use crate::text;

/// One of the videos of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct Pane<'a> {
    /// Its name, such as "source"; shortened where it does not fit.
    pub label: &'a str,
    /// Its frames.
    pub frames: &'a [RgbImage],
}

/// Panes are enlarged until their shorter side has so many pixels.
const SHORTEST_SIDE: u32 = 240;
/// Pixels between panes, and around them.
const GAP: u32 = 6;
/// Height of the bar with the names.
const BAR: u32 = 30;
const LETTERS: f32 = 19.0;
const GROUND: Rgb<u8> = Rgb([24, 24, 27]);
const INK: Rgb<u8> = Rgb([228, 228, 231]);

/// The panes' frames next to each other, a bar with the names above; sizes are even.
///
/// Small frames are enlarged by a whole factor. Every pane gets the size of the first, others are padded to it. A pane
/// that ends before the longest keeps its last frame.
///
/// # Errors
/// [`Error::NothingToDraw`] without panes, or when one has no frames.
pub fn side_by_side(panes: &[Pane<'_>]) -> Result<Vec<RgbImage>> {
    let length = panes.iter().map(|pane| pane.frames.len()).max().unwrap_or(0);
    let mut rows = vec![Vec::new(); length];
    for pane in panes {
        let Some(last) = pane.frames.last() else {
            return Err(Error::NothingToDraw { what: format!("comparison, \"{}\"", pane.label) });
        };
        for (index, row) in rows.iter_mut().enumerate() {
            row.push(pane.frames.get(index).unwrap_or(last));
        }
    }
    if rows.is_empty() {
        return Err(Error::NothingToDraw { what: "comparison".into() });
    }
    let (width, height) = enlarge(rows[0][0], SHORTEST_SIDE).dimensions();
    let count = panes.len() as u32;
    let mut ground = RgbImage::from_pixel(
        (count * (width + GAP) + GAP).next_multiple_of(2),
        (BAR + height + GAP).next_multiple_of(2),
        GROUND,
    );
    let left = |index: usize| GAP + index as u32 * (width + GAP);
    for (index, pane) in panes.iter().enumerate() {
        let label = text::shortened(pane.label, LETTERS, width as f32);
        let x = left(index) as f32 + (width as f32 - text::width(&label, LETTERS)) / 2.0;
        text::draw(&mut ground, x, (BAR as f32 - LETTERS) / 2.0, LETTERS, INK, &label);
    }
    let compose = |row: Vec<&RgbImage>| {
        let mut canvas = ground.clone();
        for (index, frame) in row.into_iter().enumerate() {
            let picture = Fit::Pad.apply(&enlarge(frame, SHORTEST_SIDE), width, height);
            imageops::replace(&mut canvas, &picture, left(index).into(), BAR.into());
        }
        canvas
    };
    Ok(rows.into_iter().map(compose).collect())
}
