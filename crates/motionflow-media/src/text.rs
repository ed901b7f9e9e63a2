//! Words on pictures, in one embedded typeface: Inter Medium, cut down to Latin, Greek and Cyrillic letters.
//!
//! The typeface is under the SIL Open Font License 1.1, see `assets/inter-license.txt`.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, Glyph, GlyphId, PxScale, PxScaleFont, ScaleFont, point};
use image::{Rgb, RgbImage};

type Scaled = PxScaleFont<&'static FontRef<'static>>;

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
    let font = INTER.as_scaled(PxScale::from(size));
    let dots = font.glyph_id('…');
    // The width of each beginning with the dots behind it, and the place in the text where it ends.
    let (mut ends, mut x, mut before) = (Vec::new(), 0.0, None);
    for (place, letter) in text.char_indices() {
        ends.push((place, set(&font, x, before, dots).1));
        let glyph = glyph_of(&font, letter);
        x = set(&font, x, before, glyph).1;
        before = Some(glyph);
    }
    if x <= limit {
        return text.to_owned();
    }
    let mut end = text.len();
    while let Some((place, _)) = text[..end].char_indices().next_back() {
        end = text[..place].trim_end().len();
        let width = ends[ends.partition_point(|(at, _)| *at < end)].1;
        if width <= limit {
            return format!("{}…", &text[..end]);
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
    for letter in text.chars() {
        let id = glyph_of(&font, letter);
        let (start, end) = set(&font, x, before, id);
        glyphs.push(id.with_scale_and_position(scale, point(start, 0.0)));
        x = end;
        before = Some(id);
    }
    (glyphs, x)
}

/// The glyph of a letter; control characters are spaces.
fn glyph_of(font: &Scaled, letter: char) -> GlyphId {
    font.glyph_id(if letter.is_control() { ' ' } else { letter })
}

/// Where a glyph begins and ends that follows what ends at `x`.
fn set(font: &Scaled, x: f32, before: Option<GlyphId>, glyph: GlyphId) -> (f32, f32) {
    let start = before.map_or(x, |before| x + font.kern(before, glyph));
    (start, start + font.h_advance(glyph))
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
    fn as_much_as_fits_is_kept_of_a_text_of_any_length() {
        let letters = "AV To,  \tYä\u{7}f…i ";
        for (text, size) in [(letters.repeat(3), 18.0), ("   \n ".repeat(9), 12.5), (String::new(), 14.0)] {
            for limit in 0..300 {
                let limit = limit as f32 * 1.37;
                let beginnings =
                    text.char_indices().rev().map(|(end, _)| format!("{}…", text[..end].trim_end()));
                let longest = || beginnings.into_iter().find(|shorter| width(shorter, size) <= limit);
                let expected = if width(&text, size) <= limit { Some(text.clone()) } else { longest() };
                assert_eq!(shortened(&text, size, limit), expected.unwrap_or_default(), "{limit}");
            }
        }
        let long = shortened(&"a word ".repeat(200_000), 18.0, 1000.0);
        assert!(long.ends_with('…') && width(&long, 18.0) <= 1000.0, "{long}");
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
