//! Words on pictures, in one embedded typeface: Inter Medium, cut down to Latin, Greek and Cyrillic letters.
//!
//! The typeface is under the SIL Open Font License 1.1, see `assets/inter-license.txt`.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, Glyph, PxScale, ScaleFont, point};
use image::{Rgb, RgbImage};

static INTER: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(include_bytes!("../assets/inter-medium-subset.otf"))
        .expect("the embedded typeface is whole")
});

/// The width of a line of text in pixels, at `size` pixels from the top of the tallest letter to the lowest tail.
pub fn width(text: &str, size: f32) -> f32 {
    layout(text, size).1
}

/// Writes one line of text, its upper left corner at (`x`, `y`), its letters about `size` pixels high from the top of
/// the tallest to the lowest tail. What stands over the picture's edge is cut off.
pub fn draw(picture: &mut RgbImage, x: f32, y: f32, size: f32, color: Rgb<u8>, text: &str) {
    let ascent = INTER.as_scaled(PxScale::from(size)).ascent();
    for mut glyph in layout(text, size).0 {
        glyph.position += point(x, y + ascent);
        let Some(outline) = INTER.outline_glyph(glyph) else { continue };
        let corner = outline.px_bounds().min;
        outline.draw(|column, row, cover| {
            let (column, row) = (corner.x + column as f32, corner.y + row as f32);
            if column >= 0.0 && row >= 0.0 && column < picture.width() as f32 && row < picture.height() as f32
            {
                let pixel = picture.get_pixel_mut(column as u32, row as u32);
                *pixel = mix(*pixel, color, cover);
            }
        });
    }
}

/// The text, or as much of it as fits into `limit` pixels with `…` behind it.
pub fn shortened(text: &str, size: f32, limit: f32) -> String {
    if width(text, size) <= limit {
        return text.to_owned();
    }
    let mut kept: String = text.to_owned();
    while kept.pop().is_some() {
        let shorter = format!("{}…", kept.trim_end());
        if width(&shorter, size) <= limit {
            return shorter;
        }
    }
    String::new()
}

/// `from` moved towards `to` by `share` in 0..=1, per channel.
pub(crate) fn mix(from: Rgb<u8>, to: Rgb<u8>, share: f32) -> Rgb<u8> {
    let share = share.clamp(0.0, 1.0);
    let channel = |index: usize| {
        let (from, to) = (f32::from(from.0[index]), f32::from(to.0[index]));
        (from + (to - from) * share).round() as u8
    };
    Rgb([channel(0), channel(1), channel(2)])
}

/// The letters in their places on a line that begins at the origin, and the line's length.
fn layout(text: &str, size: f32) -> (Vec<Glyph>, f32) {
    let scale = PxScale::from(size);
    let font = INTER.as_scaled(scale);
    let (mut glyphs, mut x, mut before) = (Vec::new(), 0.0, None);
    for letter in text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }) {
        let id = font.glyph_id(letter);
        if let Some(before) = before {
            x += font.kern(before, id);
        }
        glyphs.push(id.with_scale_and_position(scale, point(x, 0.0)));
        x += font.h_advance(id);
        before = Some(id);
    }
    (glyphs, x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shortened() {
        let text = "a panda bouncing in the snow, very far from home";
        assert_eq!(shortened("short", 14.0, 100.0), "short");
        let short = shortened(text, 14.0, 100.0);
        assert!(short.ends_with('…') && width(&short, 14.0) <= 100.0, "{short}");
        assert_eq!(shortened(text, 14.0, 1.0), "");
    }

    #[test]
    fn text_marks_the_picture_and_stays_inside() {
        let mut picture = RgbImage::new(40, 20);
        draw(&mut picture, 2.0, 2.0, 14.0, Rgb([255; 3]), "größe");
        assert!(picture.pixels().any(|pixel| pixel.0[0] > 200));
        draw(&mut picture, -30.0, -9.0, 50.0, Rgb([255; 3]), "beyond\nthe edge");
    }

    #[test]
    fn words_of_other_scripts_have_letters() {
        for letter in "aßłΩЖ’…–→".chars() {
            assert_ne!(INTER.glyph_id(letter).0, 0, "{letter}");
        }
    }
}
