//! Pictures with transparent places.

use image::{Rgb, RgbImage, RgbaImage};

/// The picture laid over black: each channel times its opacity, rounded.
pub(crate) fn over_black(picture: &RgbaImage) -> RgbImage {
    let mut opaque = RgbImage::new(picture.width(), picture.height());
    for (to, from) in opaque.pixels_mut().zip(picture.pixels()) {
        let [red, green, blue, alpha] = from.0.map(u32::from);
        *to = Rgb([red, green, blue].map(|channel| ((channel * alpha + 127) / 255) as u8));
    }
    opaque
}

/// Whether any place of the picture is not opaque.
pub(crate) fn is_transparent(picture: &RgbaImage) -> bool {
    picture.pixels().any(|pixel| pixel.0[3] != 255)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgba;

    #[test]
    fn opacity_darkens() {
        let picture = RgbaImage::from_fn(3, 1, |x, _| Rgba([200, 100, 255, [0, 128, 255][x as usize]]));
        assert!(is_transparent(&picture));
        let opaque = over_black(&picture);
        assert_eq!(opaque.get_pixel(0, 0).0, [0, 0, 0]);
        assert_eq!(opaque.get_pixel(1, 0).0, [100, 50, 128]);
        assert_eq!(opaque.get_pixel(2, 0).0, [200, 100, 255]);
    }
}
