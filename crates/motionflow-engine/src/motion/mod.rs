//! The motion of subjects as masks in every frame: out of a run, and into one, from pictures, key frames or tracked points.

pub mod command;
mod curve;
mod drawing;
pub(crate) mod given;
pub(crate) mod mask_files;
mod pictures;
mod points;
mod shape;
pub mod shown;
pub mod track;
pub mod transform;

use motionflow::given::GivenMask;
use motionflow_media::image::GrayImage;
use tch::Tensor;

use shape::{Picture, Placed, Shape};

/// What a subject covers in each frame of a video.
#[derive(Debug, Clone)]
pub struct Motion {
    /// None where it covers nothing.
    frames: Vec<Option<Placed>>,
    /// Of the video, in pixels.
    width: usize,
    height: usize,
}

impl Motion {
    /// Of pictures of a mask, one a frame, each row by row.
    fn of_pictures(pictures: Vec<Vec<f32>>, width: usize, height: usize, is_binary: bool) -> Self {
        let placed = |values: Vec<f32>| {
            let picture = Picture { width, height, values, is_binary };
            picture.values.iter().any(|value| *value > 0.0).then(|| Placed::new(Shape::Picture(picture)))
        };
        Self { frames: pictures.into_iter().map(placed).collect(), width, height }
    }

    /// Of masks of white and black.
    pub(crate) fn of_masks(masks: &[GrayImage]) -> Self {
        let (width, height) = masks.first().map_or((0, 0), GrayImage::dimensions);
        let values =
            |mask: &GrayImage| mask.as_raw().iter().map(|value| f32::from(u8::from(*value >= 128))).collect();
        Self::of_pictures(masks.iter().map(values).collect(), width as usize, height as usize, true)
    }

    /// The mask of a frame, row by row, in 0..=1.
    fn mask(&self, frame: usize) -> Vec<f32> {
        let placed = self.frames.get(frame).and_then(Option::as_ref);
        placed.map_or_else(
            || vec![0.0; self.width * self.height],
            |placed| placed.mask(self.width, self.height),
        )
    }

    /// The middle of what of it is in the picture.
    fn seen_middle(&self, frame: usize) -> Option<[f64; 2]> {
        let picture =
            Picture { width: self.width, height: self.height, values: self.mask(frame), is_binary: true };
        Placed::new(Shape::Picture(picture)).middle()
    }

    /// The masks of all frames as the method takes them, and as pictures.
    pub(crate) fn masks(&self) -> (GivenMask, Vec<GrayImage>) {
        let masks: Vec<Vec<f32>> = (0..self.frames.len()).map(|frame| self.mask(frame)).collect();
        let shape = [masks.len(), self.height, self.width].map(|side| side as i64);
        let given = GivenMask::new(&Tensor::from_slice(&masks.concat()).view(shape));
        let picture = |values: &Vec<f32>| {
            let bytes = values.iter().map(|value| (value * 255.0).round() as u8).collect();
            GrayImage::from_raw(self.width as u32, self.height as u32, bytes).unwrap_or_default()
        };
        (given, masks.iter().map(picture).collect())
    }
}
