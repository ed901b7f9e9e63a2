//! What a subject covers in one frame: a shape, and where it is put.

use std::sync::Arc;

/// x to the right and y down, in pixels of the video, 0 at its left and upper edges.
pub(crate) type Point = [f64; 2];

/// p ↦ m·p + t
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Affine {
    /// The matrix, row by row.
    pub(crate) matrix: [f64; 4],
    /// What is added.
    pub(crate) shift: Point,
}

impl Affine {
    pub(crate) const IDENTITY: Self = Self { matrix: [1.0, 0.0, 0.0, 1.0], shift: [0.0, 0.0] };

    pub(crate) fn moved(shift: Point) -> Self {
        Self { shift, ..Self::IDENTITY }
    }

    /// A matrix that leaves `centre` where it is.
    pub(crate) fn about(centre: Point, matrix: [f64; 4]) -> Self {
        let [x, y] = Self { matrix, shift: [0.0, 0.0] }.apply(centre);
        Self { matrix, shift: [centre[0] - x, centre[1] - y] }
    }

    pub(crate) fn apply(&self, [x, y]: Point) -> Point {
        let [a, b, c, d] = self.matrix;
        [a * x + b * y + self.shift[0], c * x + d * y + self.shift[1]]
    }

    /// This one first, then `next`.
    pub(crate) fn then(&self, next: &Self) -> Self {
        let [a, b, c, d] = self.matrix;
        let [e, f, g, h] = next.matrix;
        let matrix = [e * a + f * c, e * b + f * d, g * a + h * c, g * b + h * d];
        Self { matrix, shift: next.apply(self.shift) }
    }

    fn determinant(&self) -> f64 {
        self.matrix[0] * self.matrix[3] - self.matrix[1] * self.matrix[2]
    }

    fn inverse(&self) -> Option<Self> {
        let determinant = self.determinant();
        if determinant.abs() < 1e-12 {
            return None;
        }
        let [a, b, c, d] = self.matrix;
        let matrix = [d, -b, -c, a].map(|value| value / determinant);
        let back = Self { matrix, shift: [0.0, 0.0] }.apply(self.shift);
        Some(Self { matrix, shift: [-back[0], -back[1]] })
    }
}

/// A mask as a picture of the video's size.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Row by row, in 0..=1.
    pub(crate) values: Vec<f32>,
    /// Whether the mask that it is a frame of has no other values than 0 and 1.
    pub(crate) is_binary: bool,
}

impl Picture {
    /// The value at a place, blended from the four nearest pixels' middles; 0 outside.
    fn at(&self, [x, y]: Point) -> f32 {
        let (left, above) = ((x - 0.5).floor(), (y - 0.5).floor());
        let (across, down) = ((x - 0.5 - left) as f32, (y - 0.5 - above) as f32);
        let pixel = |column: f64, row: f64| {
            let is_inside =
                column >= 0.0 && row >= 0.0 && column < self.width as f64 && row < self.height as f64;
            if is_inside { self.values[row as usize * self.width + column as usize] } else { 0.0 }
        };
        let row = |row: f64| pixel(left, row) * (1.0 - across) + pixel(left + 1.0, row) * across;
        row(above) * (1.0 - down) + row(above + 1.0) * down
    }
}

/// What is put somewhere.
#[derive(Debug, PartialEq)]
pub(crate) enum Shape {
    Polygon(Vec<Point>),
    Picture(Picture),
}

/// A shape, where it is put, and by how much it is grown there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Placed {
    pub(crate) shape: Arc<Shape>,
    pub(crate) at: Affine,
    /// In pixels; less than 0 shrinks.
    pub(crate) grown: f64,
}

impl Placed {
    pub(crate) fn new(shape: Shape) -> Self {
        Self { shape: Arc::new(shape), at: Affine::IDENTITY, grown: 0.0 }
    }

    /// The same, put elsewhere.
    pub(crate) fn then(&self, next: &Affine) -> Self {
        let scale = next.determinant().abs().sqrt();
        Self { shape: Arc::clone(&self.shape), at: self.at.then(next), grown: self.grown * scale }
    }

    /// Its middle, and the pixels that it covers. None where it is empty.
    pub(crate) fn middle_and_area(&self) -> Option<(Point, f64)> {
        let (middle, area) = match &*self.shape {
            Shape::Polygon(corners) => of_polygon(corners)?,
            Shape::Picture(picture) => of_picture(picture)?,
        };
        Some((self.at.apply(middle), area * self.at.determinant().abs()))
    }

    /// Its middle.
    pub(crate) fn middle(&self) -> Option<Point> {
        self.middle_and_area().map(|(middle, _)| middle)
    }

    /// The polygon where it is put.
    pub(crate) fn corners(&self) -> Option<Vec<Point>> {
        match &*self.shape {
            Shape::Polygon(corners) => Some(corners.iter().map(|corner| self.at.apply(*corner)).collect()),
            Shape::Picture(_) => None,
        }
    }

    /// Its mask of a size, row by row, in 0..=1.
    pub(crate) fn mask(&self, width: usize, height: usize) -> Vec<f32> {
        let middles =
            || (0..height).flat_map(move |y| (0..width).map(move |x| [x as f64 + 0.5, y as f64 + 0.5]));
        let values: Vec<f32> = match &*self.shape {
            Shape::Polygon(_) => {
                let corners = self.corners().unwrap_or_default();
                middles().map(|place| if is_in(&corners, place) { 1.0 } else { 0.0 }).collect()
            }
            Shape::Picture(picture) if self.at == Affine::IDENTITY => picture.values.clone(),
            Shape::Picture(picture) => {
                let Some(back) = self.at.inverse() else { return vec![0.0; width * height] };
                let value = |place| {
                    let value = picture.at(back.apply(place));
                    if picture.is_binary { f32::from(u8::from(value >= 0.5)) } else { value }
                };
                middles().map(value).collect()
            }
        };
        if self.grown.abs() < 0.5 { values } else { grown(&values, width, self.grown) }
    }
}

/// Centroid and area of a polygon.
fn of_polygon(corners: &[Point]) -> Option<(Point, f64)> {
    let edges = corners.iter().zip(corners.iter().cycle().skip(1));
    let (mut twice, mut sum) = (0.0, [0.0, 0.0]);
    for ([x, y], [next_x, next_y]) in edges {
        let cross = x * next_y - next_x * y;
        twice += cross;
        sum = [sum[0] + (x + next_x) * cross, sum[1] + (y + next_y) * cross];
    }
    (twice.abs() > 1e-9).then(|| (sum.map(|sum| sum / (3.0 * twice)), twice.abs() / 2.0))
}

fn of_picture(picture: &Picture) -> Option<(Point, f64)> {
    let (mut total, mut sum) = (0.0, [0.0, 0.0]);
    for (index, value) in picture.values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
        let value = f64::from(*value);
        let (x, y) = ((index % picture.width) as f64 + 0.5, (index / picture.width) as f64 + 0.5);
        total += value;
        sum = [sum[0] + x * value, sum[1] + y * value];
    }
    (total > 0.0).then(|| (sum.map(|sum| sum / total), total))
}

/// Whether a place is in a polygon: a ray from it crosses the outline an odd number of times.
fn is_in(corners: &[Point], [x, y]: Point) -> bool {
    let edges = corners.iter().zip(corners.iter().cycle().skip(1));
    let crossed = edges.filter(|([from_x, from_y], [to_x, to_y])| {
        (*from_y > y) != (*to_y > y) && x < (to_x - from_x) * (y - from_y) / (to_y - from_y) + from_x
    });
    crossed.count() % 2 == 1
}

/// A mask, of which a place belongs to the subject from one half on, grown by a disc of so many pixels, or shrunk.
fn grown(values: &[f32], width: usize, pixels: f64) -> Vec<f32> {
    let grows = pixels > 0.0;
    // To shrink the subject is to grow what is not the subject; beyond the picture is neither.
    let is_set: Vec<bool> = values.iter().map(|value| (*value >= 0.5) == grows).collect();
    let height = values.len().checked_div(width).unwrap_or(0);
    // Farther than from corner to corner there is nothing.
    let radius = pixels.abs().min((width as f64).hypot(height as f64));
    // For each row how many pixels are set up to each column.
    let before: Vec<usize> = is_set
        .chunks(width.max(1))
        .flat_map(|row| {
            let counted = row.iter().scan(0, |count, set| {
                *count += usize::from(*set);
                Some(*count)
            });
            [0].into_iter().chain(counted).collect::<Vec<_>>()
        })
        .collect();
    let reach = radius.floor() as usize;
    let half_widths: Vec<usize> =
        (0..=reach).map(|down| (radius * radius - (down * down) as f64).sqrt() as usize).collect();
    let touches = |x: usize, y: usize| {
        (y.saturating_sub(reach)..(y + reach + 1).min(height)).any(|row| {
            let half = half_widths[row.abs_diff(y)];
            let row = &before[row * (width + 1)..];
            row[(x + half + 1).min(width)] > row[x.saturating_sub(half)]
        })
    };
    let value = |index: usize| f32::from(u8::from(touches(index % width, index / width) == grows));
    (0..values.len()).map(value).collect()
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the numbers are exact")]
mod tests {
    use super::*;

    fn square(left: f64, top: f64, side: f64) -> Placed {
        let (right, bottom) = (left + side, top + side);
        Placed::new(Shape::Polygon(vec![[left, top], [right, top], [right, bottom], [left, bottom]]))
    }

    fn picture(is_binary: bool) -> Placed {
        let values = (0..64).map(|at| if (2..4).contains(&(at % 8)) && at / 8 == 1 { 1.0 } else { 0.0 });
        Placed::new(Shape::Picture(Picture { width: 8, height: 8, values: values.collect(), is_binary }))
    }

    fn covered(mask: &[f32]) -> Vec<usize> {
        mask.iter().enumerate().filter(|(_, value)| **value > 0.0).map(|(at, _)| at).collect()
    }

    #[test]
    fn a_polygon_covers_the_pixels_whose_middles_are_in_it() {
        assert_eq!(covered(&square(1.0, 1.0, 2.0).mask(4, 4)), [5, 6, 9, 10]);
        assert_eq!(square(1.0, 1.0, 2.0).middle_and_area(), Some(([2.0, 2.0], 4.0)));
        assert_eq!(covered(&square(-9.0, 1.0, 2.0).mask(4, 4)), Vec::<usize>::new());
    }

    #[test]
    fn transforms_are_joined_and_taken_back() {
        let turn = Affine::about([2.0, 3.0], [0.0, -1.0, 1.0, 0.0]);
        let both = turn.then(&Affine::moved([1.0, 1.0]));
        assert_eq!(both.apply([2.0, 3.0]), [3.0, 4.0]);
        let [x, y] = both.inverse().unwrap().apply(both.apply([7.0, -2.0]));
        assert!((x - 7.0).abs() < 1e-9 && (y + 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_picture_is_moved_by_whole_and_by_parts_of_pixels() {
        let moved = |by: Point, is_binary| picture(is_binary).then(&Affine::moved(by)).mask(8, 8);
        assert_eq!(covered(&moved([2.0, 1.0], true)), [20, 21]);
        assert_eq!(moved([0.5, 0.0], false)[10..13], [0.5, 1.0, 0.5]);
        assert_eq!(covered(&moved([20.0, 0.0], true)), Vec::<usize>::new());
        assert_eq!(picture(true).middle(), Some([3.0, 1.5]));
    }

    #[test]
    fn a_mask_grows_and_shrinks_by_a_disc() {
        let dot = Placed { grown: 1.0, ..square(2.0, 2.0, 1.0) };
        assert_eq!(covered(&dot.mask(5, 5)), [7, 11, 12, 13, 17]);
        let shrunk = Placed { grown: -1.0, ..square(1.0, 1.0, 3.0) };
        assert_eq!(covered(&shrunk.mask(5, 5)), [12]);
        // What is cut off by the picture's edge is not worn away there.
        let at_the_edge = Placed { grown: -1.0, ..square(0.0, 0.0, 3.0) };
        assert_eq!(covered(&at_the_edge.mask(5, 5)), [0, 1, 5, 6]);
    }
}
