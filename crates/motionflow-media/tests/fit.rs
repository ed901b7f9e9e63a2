//! Cropping, padding and stretching.

use motionflow_media::Fit;
use motionflow_media::image::{Rgb, RgbImage};
use proptest::prelude::*;

/// Red in the left quarter, green in the middle, blue in the right quarter.
fn flag(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, _| {
        if x < width / 4 {
            Rgb([255, 0, 0])
        } else if x < width - width / 4 {
            Rgb([0, 255, 0])
        } else {
            Rgb([0, 0, 255])
        }
    })
}

#[test]
fn cropping_keeps_the_middle() {
    let fitted = Fit::Crop.apply(&flag(64, 32), 32, 32);
    assert!(fitted.enumerate_pixels().all(|(_, _, pixel)| pixel.0 == [0, 255, 0]));
    let fitted = Fit::Crop.apply(&flag(64, 32), 16, 16);
    assert_eq!(fitted.get_pixel(8, 8).0, [0, 255, 0]);
}

#[test]
fn padding_shows_everything_between_black_bars() {
    let fitted = Fit::Pad.apply(&flag(64, 32), 64, 64);
    assert_eq!(fitted.get_pixel(32, 15).0, [0, 0, 0]);
    assert_eq!(fitted.get_pixel(32, 16).0, [0, 255, 0]);
    assert_eq!(fitted.get_pixel(0, 47).0, [255, 0, 0]);
    assert_eq!(fitted.get_pixel(63, 47).0, [0, 0, 255]);
    assert_eq!(fitted.get_pixel(32, 48).0, [0, 0, 0]);
}

#[test]
fn stretching_shows_everything() {
    let fitted = Fit::Stretch.apply(&flag(64, 32), 32, 32);
    assert_eq!(fitted.get_pixel(2, 16).0, [255, 0, 0]);
    assert_eq!(fitted.get_pixel(16, 31).0, [0, 255, 0]);
    assert_eq!(fitted.get_pixel(30, 0).0, [0, 0, 255]);
}

#[test]
fn the_right_size_is_left_alone() {
    let picture = RgbImage::from_fn(17, 9, |x, y| Rgb([x as u8 * 13, y as u8 * 27, 77]));
    for fit in Fit::ALL {
        assert_eq!(fit.apply(&picture, 17, 9), picture);
    }
}

#[test]
fn fine_detail_becomes_grey_not_noise() {
    let picture = RgbImage::from_fn(256, 256, |x, y| Rgb([if (x + y) % 2 == 0 { 255 } else { 0 }; 3]));
    let fitted = Fit::Stretch.apply(&picture, 32, 32);
    assert!(fitted.iter().all(|channel| channel.abs_diff(128) < 12));
}

#[test]
fn names_are_read_back() {
    for fit in Fit::ALL {
        assert_eq!(fit.name().parse::<Fit>().unwrap(), fit);
    }
    let message = "zoom".parse::<Fit>().unwrap_err().to_string();
    assert_eq!(message, "--fit is `zoom`, expected crop, pad or stretch");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sizes_cover_or_lie_within(
        from in (1_u32..5000, 1_u32..5000), to in (1_u32..2000, 1_u32..2000),
    ) {
        let (width, height) = Fit::Crop.scaled_size(from, to);
        prop_assert!(width >= to.0 && height >= to.1 && (width == to.0 || height == to.1));
        let (padded_width, padded_height) = Fit::Pad.scaled_size(from, to);
        prop_assert!(padded_width <= to.0 && padded_height <= to.1);
        prop_assert!(padded_width == to.0 || padded_height == to.1);
        prop_assert_eq!(Fit::Stretch.scaled_size(from, to), to);
        // The aspect ratio is right to half a pixel.
        for (width, height) in [(width, height), (padded_width, padded_height)] {
            let (across, down) = (f64::from(width) * f64::from(from.1), f64::from(height) * f64::from(from.0));
            let half = 0.5 * f64::from(from.0.max(from.1)) + 1e-6;
            prop_assert!((across - down).abs() <= half || width == 1 || height == 1);
        }
    }

    #[test]
    fn every_fit_gives_the_size(
        from in (1_u32..40, 1_u32..40), to in (1_u32..40, 1_u32..40), value in any::<[u8; 3]>(),
    ) {
        let picture = RgbImage::from_pixel(from.0, from.1, Rgb(value));
        for fit in Fit::ALL {
            let fitted = fit.apply(&picture, to.0, to.1);
            prop_assert_eq!(fitted.dimensions(), to);
            let scaled = fit.scaled_size(from, to);
            let bars = (to.0.saturating_sub(scaled.0) / 2, to.1.saturating_sub(scaled.1) / 2);
            let middle = fitted.get_pixel(bars.0 + scaled.0.min(to.0) / 2, bars.1 + scaled.1.min(to.1) / 2).0;
            prop_assert!(middle.iter().zip(value).all(|(a, b)| a.abs_diff(b) <= 1), "{:?} {:?}", middle, value);
        }
    }
}
