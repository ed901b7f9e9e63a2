//! Motions as a picture: the outline in some frames, and the path, over a clip's frame or a grid.

use motionflow_media::contact_sheet::sampled;
use motionflow_media::image::{Rgb, RgbImage};
use motionflow_media::overlay::COLORS;
use motionflow_media::picture::enlarge;

use super::Motion;
use super::shape::{Affine, Placed, Point};

/// Outlines that are drawn of a motion.
const OUTLINES: usize = 7;
/// Small pictures are enlarged until the shorter side has so many pixels.
const SHORTEST_SIDE: u32 = 512;
/// Lines of the grid.
const LINES: u32 = 10;
const PAPER: Rgb<u8> = Rgb([39, 39, 42]);
const LINE: Rgb<u8> = Rgb([63, 63, 70]);
/// Half the thickness of a line, over the picture's width.
const PEN: f64 = 0.003;

/// Draws motions over `ground`, or over a grid of the video's size, each in its colour: faint at first, strong at last.
pub(crate) fn draw(motions: &[Motion], ground: Option<&RgbImage>) -> RgbImage {
    let (width, height) =
        motions.first().map_or((1, 1), |motion| (motion.width as u32, motion.height as u32));
    let plain = RgbImage::from_pixel(width, height, PAPER);
    let mut picture = enlarge(ground.unwrap_or(&plain), SHORTEST_SIDE);
    if ground.is_none() {
        rule(&mut picture);
    }
    for (index, motion) in motions.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let shown = sampled(motion.frames.len(), OUTLINES);
        for (order, frame) in shown.iter().enumerate() {
            let strength = 0.3 + 0.7 * order as f32 / (shown.len().max(2) - 1) as f32;
            outline(&mut picture, motion, *frame, color, strength);
        }
        path(&mut picture, motion, color);
    }
    picture
}

fn rule(picture: &mut RgbImage) {
    let (width, height) = picture.dimensions();
    for line in 1..LINES {
        (0..height).for_each(|y| picture.put_pixel(line * width / LINES, y, LINE));
        (0..width).for_each(|x| picture.put_pixel(x, line * height / LINES, LINE));
    }
}

fn outline(picture: &mut RgbImage, motion: &Motion, frame: usize, color: Rgb<u8>, strength: f32) {
    let Some(placed) = &motion.frames[frame] else { return };
    let (width, height) = picture.dimensions();
    let scale = f64::from(width) / motion.width as f64;
    let enlarged = Affine { matrix: [scale, 0.0, 0.0, scale], shift: [0.0, 0.0] };
    let mask = placed.then(&enlarged).mask(width as usize, height as usize);
    let is_in = |x: i64, y: i64| {
        x >= 0
            && y >= 0
            && x < i64::from(width)
            && y < i64::from(height)
            && mask[y as usize * width as usize + x as usize] >= 0.5
    };
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let (x, y) = (i64::from(x), i64::from(y));
        let is_edge = || [-2, 2].into_iter().any(|by| !is_in(x + by, y) || !is_in(x, y + by));
        if is_in(x, y) && is_edge() {
            let mixed = |channel: usize| {
                (f32::from(pixel.0[channel]) * (1.0 - strength) + f32::from(color.0[channel]) * strength)
                    as u8
            };
            *pixel = Rgb([0, 1, 2].map(mixed));
        }
    }
}

/// The way of the middle, with a dot in each frame and a larger one in the last.
fn path(picture: &mut RgbImage, motion: &Motion, color: Rgb<u8>) {
    let scale = f64::from(picture.width()) / motion.width as f64;
    let middle = |placed: &Option<Placed>| {
        let [x, y] = placed.as_ref()?.middle()?;
        Some([x * scale, y * scale])
    };
    let middles: Vec<Option<Point>> = motion.frames.iter().map(middle).collect();
    let pen = (PEN * f64::from(picture.width())).max(1.0);
    for pair in middles.windows(2) {
        let [Some(from), Some(to)] = pair else { continue };
        let Some((from, to)) = seen_part(*from, *to, picture.dimensions()) else { continue };
        let steps = ((to[0] - from[0]).hypot(to[1] - from[1]) / pen).ceil().max(1.0) as u32;
        for step in 0..=steps {
            let part = f64::from(step) / f64::from(steps);
            dot(picture, [0, 1].map(|axis| from[axis] + (to[axis] - from[axis]) * part), pen / 2.0, color);
        }
    }
    for place in middles.iter().flatten() {
        dot(picture, *place, pen * 1.5, color);
    }
    if let Some(last) = middles.iter().rev().flatten().next() {
        dot(picture, *last, pen * 3.5, color);
    }
}

/// The part of a line that is in the picture or near it. None where there is none.
fn seen_part(from: Point, to: Point, (width, height): (u32, u32)) -> Option<(Point, Point)> {
    let sides = [f64::from(width), f64::from(height)];
    let (mut first, mut last) = (0.0_f64, 1.0_f64);
    for axis in 0..2 {
        let along = to[axis] - from[axis];
        if !along.is_finite() {
            return None;
        }
        let limits = [-sides[axis], 2.0 * sides[axis]].map(|limit| limit - from[axis]);
        if along == 0.0 {
            if limits[0] > 0.0 || limits[1] < 0.0 {
                return None;
            }
            continue;
        }
        let parts = limits.map(|limit| limit / along);
        first = first.max(parts[0].min(parts[1]));
        last = last.min(parts[0].max(parts[1]));
    }
    let at = |part: f64| [0, 1].map(|axis| from[axis] + (to[axis] - from[axis]) * part);
    (first <= last).then(|| (at(first), if last < 1.0 { at(last) } else { to }))
}

fn dot(picture: &mut RgbImage, [x, y]: Point, radius: f64, color: Rgb<u8>) {
    let range = |at: f64, end: u32| {
        let limit = |at: f64| at.clamp(0.0, f64::from(end)) as u32;
        limit((at - radius).floor())..limit((at + radius).ceil() + 1.0)
    };
    for row in range(y, picture.height()) {
        for column in range(x, picture.width()) {
            if (f64::from(column) + 0.5 - x).hypot(f64::from(row) + 0.5 - y) <= radius.max(0.8) {
                picture.put_pixel(column, row, color);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::track::Track;
    use super::*;

    #[test]
    fn the_path_and_the_last_outline_are_drawn() {
        let table = "frame,x,y,width,height,shape\n0,0.25,0.5,0.2,0.2,box\n4,0.75,0.5,0.2,0.2,box";
        let motion = Track::parse(table).unwrap().motion(5, (64, 64), 8.0);
        let picture = draw(std::slice::from_ref(&motion), None);
        assert_eq!(picture.dimensions(), (512, 512));
        let at = |x: f64, y: f64| *picture.get_pixel((x * 512.0) as u32, (y * 512.0) as u32);
        assert_eq!((at(0.5, 0.5), at(0.75, 0.5)), (COLORS[0], COLORS[0]));
        assert_eq!(at(0.95, 0.05), PAPER);
        let ground = RgbImage::from_pixel(64, 64, Rgb([9, 9, 9]));
        assert_eq!(draw(&[motion], Some(&ground)).get_pixel(500, 20).0, [9, 9, 9]);
    }
}
