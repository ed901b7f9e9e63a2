//! Masks and attention maps laid over frames.

use image::{GrayImage, Luma, Rgb, RgbImage};

use crate::error::{Error, Result};
use crate::text::mix;

/// A map of values over a frame, in cells of its own resolution: a motion mask, or an attention map.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    width: u32,
    height: u32,
    values: Vec<f32>,
}

impl Mask {
    /// A map of `width` × `height` cells, `values` row by row, each clamped to 0..=1; what is not a number counts as 0.
    ///
    /// # Errors
    /// [`Error::BadMask`] when the number of values is not `width` × `height`, or is 0.
    pub fn new(width: u32, height: u32, mut values: Vec<f32>) -> Result<Self> {
        if values.is_empty() || values.len() != width as usize * height as usize {
            return Err(Error::BadMask { width, height, found: values.len() });
        }
        for value in &mut values {
            *value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
        }
        Ok(Self { width, height, values })
    }

    /// As [`Mask::new`] for values of any range: divided by the largest, so that this one becomes 1.
    ///
    /// # Errors
    /// As [`Mask::new`].
    pub fn relative_to_largest(width: u32, height: u32, mut values: Vec<f32>) -> Result<Self> {
        let largest = values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f32::max);
        if largest > 0.0 {
            for value in &mut values {
                *value /= largest;
            }
        }
        Self::new(width, height, values)
    }

    /// Width in cells.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in cells.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The values row by row, in 0..=1.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The mask as a picture of a size, white in cells of one half or more and black elsewhere. Cells are drawn as they are.
    pub fn picture(&self, width: u32, height: u32) -> GrayImage {
        let (columns, rows) = (cells_under(width, self.width), cells_under(height, self.height));
        GrayImage::from_fn(width, height, |x, y| {
            let value = self.values[rows[y as usize] * self.width as usize + columns[x as usize]];
            Luma([if value >= 0.5 { u8::MAX } else { 0 }])
        })
    }

    /// The values as the greys of a picture of a size, smoothed between cells.
    pub fn soft_picture(&self, width: u32, height: u32) -> GrayImage {
        GrayImage::from_fn(width, height, |x, y| {
            Luma([(self.bilinear(x, y, (width, height)) * 255.0).round() as u8])
        })
    }

    /// The value at a pixel's middle, blended from the four nearest cells' middles.
    fn bilinear(&self, x: u32, y: u32, (width, height): (u32, u32)) -> f32 {
        let place = |at: u32, pixels: u32, cells: u32| {
            let place =
                ((at as f32 + 0.5) * cells as f32 / pixels as f32 - 0.5).clamp(0.0, cells as f32 - 1.0);
            let before = place.floor();
            (before as usize, (before as usize + 1).min(cells as usize - 1), place - before)
        };
        let (left, right, across) = place(x, width, self.width);
        let (above, below, down) = place(y, height, self.height);
        let row = |row: usize| {
            let at = |column: usize| self.values[row * self.width as usize + column];
            at(left) * (1.0 - across) + at(right) * across
        };
        row(above) * (1.0 - down) + row(below) * down
    }
}

/// How strongly a mask of 1 tints what is under it.
const TINT: f32 = 0.45;

/// How dark the outer half of the outline is, which makes it show on a ground of the mask's own colour.
const SHADE: f32 = 0.7;

/// Colours for the masks of several subjects, one after the other, easy to tell apart.
pub const COLORS: [Rgb<u8>; 4] =
    [Rgb([0, 229, 255]), Rgb([255, 64, 200]), Rgb([255, 214, 0]), Rgb([120, 255, 80])];

/// The frame with the mask laid over it in `color`: tinted by the mask's value, with an outline around the cells of
/// one half or more. Cells are drawn as they are, without smoothing, so that the mask's resolution shows.
///
/// Enlarge small frames before ([`crate::picture::enlarge`]), so that the outline stays thin.
pub fn overlay(frame: &RgbImage, mask: &Mask, color: Rgb<u8>) -> RgbImage {
    let size = frame.dimensions();
    let thickness = (size.0.min(size.1) as usize / 128).max(1);
    let (columns, rows) = (cells_under(size.0, mask.width), cells_under(size.1, mask.height));
    let value = |x: u32, y: u32| mask.values[rows[y as usize] * mask.width as usize + columns[x as usize]];
    let inside: Vec<bool> = mask.values.iter().map(|value| *value >= 0.5).collect();
    let (near_columns, near_rows) = (cells_near(&columns, thickness), cells_near(&rows, thickness));
    RgbImage::from_fn(size.0, size.1, |x, y| {
        let within = value(x, y) >= 0.5;
        let outline = near_rows[y as usize].iter().any(|row| {
            let row = &inside[row * mask.width as usize..];
            near_columns[x as usize].iter().any(|column| row[*column] != within)
        });
        let pixel = *frame.get_pixel(x, y);
        match (outline, within) {
            (true, true) => color,
            (true, false) => mix(pixel, Rgb([0, 0, 0]), SHADE),
            (false, _) => mix(pixel, color, TINT * value(x, y)),
        }
    })
}

/// For each of `pixels` in a row the one of `cells` that covers its middle.
fn cells_under(pixels: u32, cells: u32) -> Vec<usize> {
    let cell = |at: u32| (2 * u64::from(at) + 1) * u64::from(cells) / (2 * u64::from(pixels));
    (0..pixels).map(|at| cell(at) as usize).collect()
}

/// For each pixel in a row the cells that cover it and up to `thickness` pixels on either side.
fn cells_near(cells: &[usize], thickness: usize) -> Vec<Vec<usize>> {
    let near = |at: usize| {
        let mut near = cells[at.saturating_sub(thickness)..cells.len().min(at + thickness + 1)].to_vec();
        near.dedup();
        near
    };
    (0..cells.len()).map(near).collect()
}

/// The frame with an attention map laid over it as a heat map, smoothed between cells: black over purple and orange to
/// pale yellow (matplotlib's "inferno"). `opacity` in 0..=1 says how much of the frame it hides.
pub fn heat(frame: &RgbImage, map: &Mask, opacity: f32) -> RgbImage {
    let size = frame.dimensions();
    RgbImage::from_fn(size.0, size.1, |x, y| {
        mix(*frame.get_pixel(x, y), inferno(map.bilinear(x, y, size)), opacity)
    })
}

/// The colour of a value in 0..=1 in the map "inferno", by a polynomial that keeps within about 1 % of it.
pub fn inferno(value: f32) -> Rgb<u8> {
    /// Red, green and blue coefficients from the constant upwards.
    const COEFFICIENTS: [[f64; 7]; 3] = [
        [0.000_219, 0.106_513, 11.602_493, -41.703_996, 77.162_936, -71.319_428, 25.131_126],
        [0.001_651, 0.563_956, -3.972_854, 17.436_399, -33.402_359, 32.626_064, -12.242_669],
        [-0.019_481, 3.932_712, -15.942_394, 44.354_145, -81.807_309, 73.209_520, -23.070_325],
    ];
    let value = f64::from(value.clamp(0.0, 1.0));
    Rgb(COEFFICIENTS.map(|channel| {
        let sum = channel.iter().rev().fold(0.0, |sum, coefficient| sum * value + coefficient);
        (sum.clamp(0.0, 1.0) * 255.0).round() as u8
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: Rgb<u8> = Rgb([255, 0, 0]);

    #[test]
    fn cells_keep_their_borders() {
        let frame = RgbImage::from_pixel(40, 20, Rgb([0, 0, 100]));
        let laid = overlay(&frame, &Mask::new(4, 2, vec![0., 0., 0., 0., 0., 1., 0., 0.]).unwrap(), RED);
        assert_eq!(laid.dimensions(), (40, 20));
        assert_eq!(laid.get_pixel(8, 15).0, [0, 0, 100], "beside the cell");
        assert_eq!(laid.get_pixel(9, 15).0, [0, 0, 30], "the shade around it");
        assert_eq!(laid.get_pixel(10, 15).0, [255, 0, 0], "its left edge");
        assert_eq!(laid.get_pixel(15, 10).0, [255, 0, 0], "its upper edge");
        assert_eq!(laid.get_pixel(15, 15).0, [115, 0, 55], "its inside");
        assert_eq!(laid.get_pixel(15, 19).0, [115, 0, 55], "the frame's edge is no edge of the mask");
        assert_eq!(laid.get_pixel(21, 15).0, [0, 0, 100], "beyond it");
    }

    #[test]
    fn a_mask_is_a_picture_of_its_cells_or_of_smooth_greys() {
        let mask = Mask::new(2, 1, vec![0.49, 1.0]).unwrap();
        assert_eq!(mask.picture(4, 2).into_raw(), [0, 0, 255, 255, 0, 0, 255, 255]);
        assert_eq!(mask.soft_picture(4, 1).into_raw(), [125, 157, 222, 255]);
    }

    #[test]
    fn an_outline_is_where_a_pixel_near_by_is_on_the_other_side() {
        for (width, height) in [(3, 2), (7, 5), (20, 30)] {
            let values = (0..width * height).map(|at| f32::from(u8::from(at * at % 7 < 3))).collect();
            let mask = Mask::new(width, height, values).unwrap();
            let laid = overlay(&RgbImage::from_pixel(7, 5, Rgb([0, 0, 100])), &mask, RED);
            let inside = |x: u32, y: u32| {
                let (column, row) = ((2 * x + 1) * width / 14, (2 * y + 1) * height / 10);
                mask.values()[(row * width + column) as usize] >= 0.5
            };
            for (x, y, pixel) in laid.enumerate_pixels() {
                let near = |at: u32, end: u32| at.saturating_sub(1)..(at + 2).min(end);
                let other =
                    near(y, 5).any(|row| near(x, 7).any(|column| inside(column, row) != inside(x, y)));
                assert_eq!(
                    [[255, 0, 0], [0, 0, 30]].contains(&pixel.0),
                    other,
                    "{width}x{height} at {x}, {y}"
                );
            }
        }
    }

    #[test]
    fn masks_of_other_shapes_cover_the_frame() {
        let frame = RgbImage::new(7, 5);
        for (width, height) in [(1, 1), (3, 2), (7, 5), (20, 30)] {
            let mask = Mask::new(width, height, vec![1.0; (width * height) as usize]).unwrap();
            assert!(overlay(&frame, &mask, RED).pixels().all(|pixel| pixel.0 == [115, 0, 0]));
            assert!(heat(&frame, &mask, 1.0).pixels().all(|pixel| *pixel == inferno(1.0)));
        }
    }

    #[test]
    fn values_are_made_sound() {
        let mask = Mask::new(4, 1, vec![f32::NAN, -1.0, 0.25, f32::INFINITY]).unwrap();
        assert_eq!(mask.values(), [0.0, 0.0, 0.25, 1.0]);
        let relative = Mask::relative_to_largest(3, 1, vec![0.01, 0.02, f32::NAN]).unwrap();
        assert_eq!(relative.values(), [0.5, 1.0, 0.0]);
        assert_eq!(Mask::relative_to_largest(2, 1, vec![0.0; 2]).unwrap().values(), [0.0, 0.0]);
        assert!(matches!(Mask::new(2, 2, vec![0.0; 3]), Err(Error::BadMask { found: 3, .. })));
        assert!(Mask::new(0, 0, vec![]).is_err());
    }

    #[test]
    fn inferno_is_that_of_matplotlib() {
        for (value, expected) in
            [(0.0, [0, 0, 4]), (0.25, [87, 16, 110]), (0.5, [188, 55, 84]), (1.0, [252, 255, 164])]
        {
            let found = inferno(value).0;
            assert!(
                found.iter().zip(expected).all(|(a, b): (&u8, u8)| a.abs_diff(b) <= 6),
                "{value}: {found:?}"
            );
        }
    }
}
