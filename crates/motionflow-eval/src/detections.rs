//! What the detector saw in a clip, and how it is read.

use tch::{Device, Kind, Tensor};

/// A cell shows a class where its probability is above this.
const SURE: f32 = 0.5;

/// Where no cell's probability is above this there is nothing, not even something blurred.
const FLOOR: f32 = 0.1;

/// Cells of 64×64 that a subject has at least.
const LEAST: usize = 8;

/// Probabilities of the scene (class 0) and of each subject (from 1), in each cell of each frame.
#[derive(Debug, Clone, Default)]
pub struct Detections {
    frames: usize,
    classes: usize,
    grid: usize,
    /// [frames · classes · grid · grid]
    probabilities: Vec<f32>,
}

/// Where a subject is in a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// x to the right and y down, in fractions of the width. Where the subject is not seen, the picture's centre.
    pub centre: [f64; 2],
    /// Which cells show it, row by row.
    pub mask: Vec<bool>,
}

impl Detections {
    /// Adds frames: [frames, classes, grid, grid].
    pub(crate) fn add(&mut self, probabilities: &Tensor) {
        let size = probabilities.size();
        let mut values = vec![0.0; probabilities.numel()];
        let probabilities = probabilities.to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
        probabilities.copy_data(&mut values, probabilities.numel());
        self.probabilities.extend(values);
        self.frames += size[0] as usize;
        (self.classes, self.grid) = (size[1] as usize, size[2] as usize);
    }

    /// The probability of a class in each cell of a frame, row by row, [grid · grid].
    ///
    /// # Panics
    /// If the frame or the class is out of range.
    pub fn map(&self, frame: usize, class: usize) -> &[f32] {
        let cells = self.grid * self.grid;
        &self.probabilities[(frame * self.classes + class) * cells..][..cells]
    }

    /// Where the subject of class `wanted[at]` is, frame by frame, in a clip that is to show all of `wanted`.
    ///
    /// In a frame in which its own class is above 0.5 somewhere, its map is the probability of that class. Else it is
    /// that of being no scene and none of the other wanted subjects, if that is above 0.1 somewhere, so that
    /// a blurred or wrong-looking subject still has a place. Its mask is where its map is above 0.5, or above half of the
    /// map's maximum if that is less; its centre the mean of the mask's cells, weighted by the map. Where neither map
    /// shows anything the mask is empty, and the centre the picture's.
    ///
    /// # Panics
    /// If `at` or a class is out of range.
    pub fn follow(&self, wanted: &[usize], at: usize) -> Vec<Place> {
        (0..self.frames)
            .map(|frame| {
                let own = self.map(frame, wanted[at]);
                if maximum(own) > SURE {
                    return self.place(own);
                }
                let mut rest: Vec<f32> = self.map(frame, 0).iter().map(|scene| 1.0 - scene).collect();
                for (_, &other) in wanted.iter().enumerate().filter(|&(k, _)| k != at) {
                    rest.iter_mut().zip(self.map(frame, other)).for_each(|(rest, other)| *rest -= other);
                }
                self.place(&rest)
            })
            .collect()
    }

    fn place(&self, map: &[f32]) -> Place {
        let top = maximum(map);
        if top <= FLOOR {
            return Place { centre: [0.5, 0.5], mask: vec![false; map.len()] };
        }
        let threshold = SURE.min(top / 2.0);
        let mask: Vec<bool> = map.iter().map(|&p| p > threshold).collect();
        let (mut sum, mut total) = ([0.0; 2], 0.0);
        for (cell, &weight) in map.iter().enumerate().filter(|&(cell, _)| mask[cell]) {
            let weight = f64::from(weight);
            let middle = |at: usize| (at as f64 + 0.5) / self.grid as f64;
            sum[0] += weight * middle(cell % self.grid);
            sum[1] += weight * middle(cell / self.grid);
            total += weight;
        }
        Place { centre: sum.map(|sum| sum / total), mask }
    }

    /// Whether the clip shows each of the wanted classes. One alone: in most frames there is something, and of all that
    /// is in the clip that class has most. Of several, each must be there by its own class in most frames.
    ///
    /// # Panics
    /// If a class is out of range.
    pub fn shows(&self, wanted: &[usize]) -> Vec<bool> {
        if let &[class] = wanted {
            let something = self.in_most_frames(|frame| {
                self.map(frame, 0).iter().filter(|&&scene| 1.0 - scene > SURE).count()
            });
            let share = |class: usize| -> f64 {
                (0..self.frames).flat_map(|frame| self.map(frame, class)).map(|&p| f64::from(p)).sum()
            };
            let most = (1..self.classes).max_by(|&a, &b| share(a).total_cmp(&share(b)));
            return vec![something && most == Some(class)];
        }
        let own = |class: usize| {
            self.in_most_frames(|frame| self.map(frame, class).iter().filter(|&&p| p > SURE).count())
        };
        wanted.iter().map(|&class| own(class)).collect()
    }

    fn in_most_frames(&self, cells: impl Fn(usize) -> usize) -> bool {
        (0..self.frames).filter(|&frame| cells(frame) >= LEAST).count() * 2 > self.frames
    }
}

fn maximum(map: &[f32]) -> f32 {
    map.iter().copied().fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: usize = 8;

    /// Frames of two classes and the scene; each entry: class, column, row of a square of 4×4 cells, its probability.
    fn seen(frames: &[&[(usize, usize, usize, f32)]]) -> Detections {
        let mut probabilities = Vec::new();
        for squares in frames {
            let mut maps = vec![vec![0.0; GRID * GRID]; 3];
            for &(class, column, row, p) in *squares {
                for cell in (0..16).map(|i| (row + i / 4) * GRID + column + i % 4) {
                    maps[class][cell] = p;
                }
            }
            maps[0] = (0..GRID * GRID).map(|cell| 1.0 - maps[1][cell] - maps[2][cell]).collect();
            probabilities.extend(maps.concat());
        }
        Detections { frames: frames.len(), classes: 3, grid: GRID, probabilities }
    }

    /// In cells.
    fn centre(seen: &Detections, wanted: &[usize], at: usize) -> [u32; 2] {
        seen.follow(wanted, at)[0].centre.map(|side| (side * GRID as f64).round() as u32)
    }

    #[test]
    fn a_subject_is_where_its_class_is() {
        let both = seen(&[&[(1, 0, 0, 0.9), (2, 4, 4, 0.9)]]);
        assert_eq!(centre(&both, &[1, 2], 0), [2, 2]);
        assert_eq!(centre(&both, &[1, 2], 1), [6, 6]);
        assert_eq!(both.follow(&[1], 0)[0].mask.iter().filter(|&&cell| cell).count(), 16);
    }

    #[test]
    fn a_wrong_subject_still_has_a_place_but_not_that_of_another() {
        let wrong = seen(&[&[(2, 4, 0, 0.9)]]);
        assert_eq!(centre(&wrong, &[1], 0), [6, 2]);
        assert_eq!(centre(&wrong, &[1, 2], 0), [4, 4], "the only thing there is the other subject");
        let faint = seen(&[&[(1, 4, 0, 0.2)]]);
        assert_eq!(centre(&faint, &[1], 0), [6, 2]);
        let nothing = seen(&[&[(1, 4, 0, 0.05)]]);
        assert_eq!(nothing.follow(&[1], 0)[0], Place { centre: [0.5, 0.5], mask: vec![false; GRID * GRID] });
    }

    #[test]
    fn one_subject_is_right_when_most_of_the_clip_is_it() {
        let first: &[_] = &[(1, 0, 0, 0.9)];
        let second: &[_] = &[(2, 0, 0, 0.9)];
        assert_eq!(seen(&[first, first, second]).shows(&[1]), [true]);
        assert_eq!(seen(&[first, first, second]).shows(&[2]), [false]);
        assert_eq!(seen(&[first, &[], &[]]).shows(&[1]), [false], "most frames are empty");
        assert_eq!(seen(&[]).shows(&[1]), [false]);
    }

    #[test]
    fn of_two_subjects_each_must_be_there() {
        let both: &[_] = &[(1, 0, 0, 0.9), (2, 4, 4, 0.9)];
        let one: &[_] = &[(1, 0, 0, 0.9)];
        assert_eq!(seen(&[both, both, one]).shows(&[1, 2]), [true, true]);
        assert_eq!(seen(&[both, one, one]).shows(&[1, 2]), [true, false]);
    }
}
