//! Comparisons, sheets and plots.

use motionflow_media::compare::{Pane, side_by_side};
use motionflow_media::contact_sheet::{COLUMNS, Row, contact_sheet};
use motionflow_media::image::{self, Rgb, RgbImage};
use motionflow_media::picture::{enlarge, write_png};
use motionflow_media::plot::{Update, loss_svg, write_loss_svg};

fn plain(value: u8, width: u32, height: u32) -> RgbImage {
    RgbImage::from_pixel(width, height, Rgb([value; 3]))
}

#[test]
fn panes_stand_side_by_side_at_an_even_size() {
    let (left, right) = (vec![plain(250, 127, 128); 3], vec![plain(3, 64, 64); 2]);
    let panes = [Pane { label: "source", frames: &left }, Pane { label: "result", frames: &right }];
    let frames = side_by_side(&panes).unwrap();
    assert_eq!(frames.len(), 3);
    assert_eq!(frames[0].dimensions(), (2 * 254 + 3 * 6, 256 + 30 + 6));
    assert_eq!(frames[2].get_pixel(6 + 127, 30 + 128).0, [250; 3]);
    assert_eq!(frames[2].get_pixel(12 + 254 + 127, 30 + 128).0, [3; 3]);
    let empty = [panes[0], Pane { label: "nothing", frames: &[] }];
    assert!(side_by_side(&empty).unwrap_err().to_string().contains("nothing"));
    assert!(side_by_side(&[]).is_err());
}

#[test]
fn sheets_are_saved_whole() {
    let folder = tempfile::tempdir().unwrap();
    let frames: Vec<RgbImage> = (0..16).map(|index| plain(10 * index, 128, 128)).collect();
    let sheet = contact_sheet(&[Row { label: "a [car] on a road", frames: &frames }], COLUMNS).unwrap();
    let path = folder.path().join("sheet.png");
    write_png(&path, &sheet).unwrap();
    assert_eq!(image::open(&path).unwrap().into_rgb8(), sheet);
    assert!(write_png(&path, &RgbImage::new(0, 0)).is_err());
}

#[test]
fn enlarging_is_by_whole_factors() {
    assert_eq!(enlarge(&plain(1, 18, 10), 100).dimensions(), (180, 100));
    assert_eq!(enlarge(&plain(1, 18, 10), 101).dimensions(), (198, 110));
    assert_eq!(enlarge(&plain(1, 200, 100), 100).dimensions(), (200, 100));
    assert_eq!(enlarge(&RgbImage::new(0, 0), 100).dimensions(), (0, 0));
}

fn update(value: f64, norm: Option<f64>) -> Update {
    Update {
        total: 3.0 * value,
        cross: value,
        self_attention: value / 2.0,
        temporal: value / 3.0,
        outside: value / 4.0,
        other: f64::NAN,
        gradient_norm: norm,
    }
}

#[test]
fn plots_of_any_history_are_sound() {
    let nan = f64::NAN;
    let falling: Vec<Update> =
        (0..60).map(|step| update((-0.03 * f64::from(step)).exp(), Some(0.02))).collect();
    let gaps =
        [update(1.0, None), update(nan, Some(nan)), update(0.5, Some(f64::INFINITY)), update(nan, None)];
    for history in [
        &[][..],
        &[update(0.7, None)],
        &[update(nan, Some(nan))],
        &[update(0.0, Some(0.0)); 2],
        &gaps,
        &falling,
    ] {
        let svg = loss_svg(history);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        let opened = svg.matches('<').count() - svg.matches("</").count();
        assert_eq!(opened, svg.matches("</").count() + svg.matches("/>").count(), "every element is closed");
    }
    assert!(loss_svg(&[]).contains("no guided updates"));
    assert!(loss_svg(&[update(nan, None)]).contains("no finite values"));
    assert!(loss_svg(&[update(0.7, None)]).contains("<circle"));
    assert!(!loss_svg(&[update(0.7, None)]).contains("Gradient norm"));
    assert!(loss_svg(&falling).contains("Gradient norm"));
}

#[test]
fn values_far_apart_have_labels() {
    for scale in [1e-9, 1e-4, 1.0, 1e3, 1e12] {
        let svg = loss_svg(&[update(scale, None), update(0.2 * scale, None)]);
        let labels: Vec<&str> = svg.lines().filter(|line| line.contains("text-anchor=\"end\"")).collect();
        let mut distinct = labels.clone();
        distinct.dedup_by_key(|line| line.split('>').nth(1).map(str::to_owned));
        assert!(labels.len() >= 3 && labels.len() == distinct.len(), "{labels:?}");
    }
}

#[test]
fn a_plot_is_written_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("loss.svg");
    write_loss_svg(&path, &[update(1.0, Some(2.0))]).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), loss_svg(&[update(1.0, Some(2.0))]));
}
