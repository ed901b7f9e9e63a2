//! `random-checkpoint`: a checkpoint of exactly a published one's shape with random weights, to measure with.
//!
//! The built xtask needs nothing else for it, so that it can be written on the machine that is measured.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use half::f16;

use crate::arguments::Arguments;
use crate::checkpoint_shapes::{SHAPES, Shape};
use crate::tensor_list::{self, Tensor};

/// Values are drawn from so many, evenly apart: as many as a float16's mantissa tells apart.
const LEVELS: u16 = 1 << 11;

/// Values that one thread writes at a time: a larger tensor is written by several.
const PIECE: usize = 1 << 26;

/// Bytes that are made before they go to the file.
const BUFFER: usize = 1 << 18;

/// Runs the chore.
pub fn random_checkpoint(mut arguments: Arguments) -> Result<ExitCode> {
    let shape = match arguments.value("--like")? {
        Some(name) => SHAPES.iter().find(|shape| shape.name == name).with_context(|| {
            let known: Vec<&str> = SHAPES.iter().map(|shape| shape.name).collect();
            format!("--like {name}: there are {}", known.join(", "))
        })?,
        None => &SHAPES[0],
    };
    let folder = arguments.next().filter(|folder| !folder.starts_with('-'));
    let folder = folder.context("give the folder to write: random-checkpoint [--like NAME] FOLDER")?;
    let folder = PathBuf::from(folder);
    arguments.finish()?;
    ensure!(!folder.exists(), "{} is there already; remove it, or give another folder", folder.display());
    let mut partial = folder.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    let tensors = tensor_list::read(shape.tensors)?;
    let count: usize = tensors.iter().map(Tensor::elements).sum();
    // Of 2 bytes each.
    let tenths = (count + 25_000_000) / 50_000_000;
    eprintln!("writing {}.{} GB into {}", tenths / 10, tenths % 10, folder.display());
    write(&partial, shape, &tensors).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, &folder).with_context(|| format!("cannot write {}", folder.display()))?;
    println!("{}: {count} random parameters of float16, the shape of {}", folder.display(), shape.name);
    Ok(ExitCode::SUCCESS)
}

/// Writes the whole checkpoint.
fn write(folder: &Path, shape: &Shape, tensors: &[Tensor]) -> Result<()> {
    for (name, text) in shape.files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, text)?;
    }
    for (component, file) in shape.weights {
        let own: Vec<&Tensor> = tensors.iter().filter(|tensor| tensor.component == *component).collect();
        write_weights(&folder.join(file), &own)?;
    }
    Ok(())
}

/// Writes a safetensors file: the length of its header, the header, and the tensors in the header's order.
fn write_weights(path: &Path, tensors: &[&Tensor]) -> Result<()> {
    let mut header = String::from(r#"{"__metadata__":{"format":"pt"}"#);
    let mut pieces = Vec::new();
    let mut end = 0;
    for tensor in tensors {
        let Tensor { name, shape, .. } = tensor;
        let begin = end;
        end += 2 * tensor.elements();
        write!(header, r#","{name}":{{"dtype":"F16","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#)?;
        for first in (0..tensor.elements()).step_by(PIECE) {
            let count = PIECE.min(tensor.elements() - first);
            pieces.push(Piece { tensor, index: first / PIECE, place: begin + 2 * first, count });
        }
    }
    header.push('}');
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let start = 8 + header.len();
    let mut file = File::create(path)?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    file.set_len((start + end) as u64)?;

    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        let mut file = File::options().write(true).open(path)?;
        while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            file.seek(SeekFrom::Start((start + piece.place) as u64))?;
            write_values(&mut file, piece)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..thread::available_parallelism().map_or(1, usize::from)).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })
}

/// What one thread writes at a time.
struct Piece<'tensor> {
    tensor: &'tensor Tensor,
    /// Its number in the tensor.
    index: usize,
    /// Where its bytes begin behind the header.
    place: usize,
    /// Values.
    count: usize,
}

/// Writes a piece's values, which follow from the tensor's name and the piece's number.
fn write_values(file: &mut impl Write, piece: &Piece) -> Result<()> {
    let &Piece { tensor, index, count, .. } = piece;
    let level = |index: u16| {
        let at = 2.0 * f64::from(index) / f64::from(LEVELS - 1) - 1.0;
        f16::from_f64(tensor.centre + tensor.reach * at).to_le_bytes()
    };
    let values: Vec<[u8; 2]> = (0..LEVELS).map(level).collect();
    let mut random = match index {
        0 => Xorshift::of(&tensor.name),
        _ => Xorshift::of(&format!("{} {index}", tensor.name)),
    };
    let mut buffer = vec![0; BUFFER.min((2 * count).next_multiple_of(8))];
    let mut left = 2 * count;
    while left > 0 {
        for eight in buffer.as_chunks_mut::<8>().0 {
            let bits = random.next().to_le_bytes();
            for (value, bits) in eight.as_chunks_mut().0.iter_mut().zip(bits.as_chunks().0) {
                *value = values[usize::from(u16::from_le_bytes(*bits) % LEVELS)];
            }
        }
        let bytes = left.min(buffer.len());
        file.write_all(&buffer[..bytes])?;
        left -= bytes;
    }
    Ok(())
}

/// xorshift64* (<https://doi.org/10.1145/2845077>): fast, and random enough for weights.
struct Xorshift(u64);

impl Xorshift {
    /// Seeded by a name, through FNV-1a.
    fn of(name: &str) -> Self {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(hash.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(shape: &Shape, component: &str) -> usize {
        let tensors = tensor_list::read(shape.tensors).expect("a list that can be read");
        tensors.iter().filter(|tensor| tensor.component == component).map(Tensor::elements).sum()
    }

    #[test]
    fn the_nets_have_as_many_parameters_as_those_published() {
        let [zeroscope, animatediff, small_wan, wan] = &SHAPES;
        assert_eq!(parameters(zeroscope, "unet"), 1_411_233_860);
        assert_eq!(parameters(animatediff, "unet"), 859_520_964);
        assert_eq!(parameters(animatediff, "motion_adapter"), 453_813_440);
        assert_eq!(parameters(small_wan, "transformer"), 1_418_996_800);
        assert_eq!(parameters(wan, "transformer"), 14_288_491_584);
        assert_eq!(parameters(wan, "text_encoder"), 5_680_910_336);
        assert_eq!(parameters(wan, "vae"), 126_892_531);
    }

    #[test]
    fn every_component_has_a_file() {
        for shape in &SHAPES {
            let tensors = tensor_list::read(shape.tensors).expect("a list that can be read");
            let has_file = |tensor: &Tensor| shape.weights.iter().any(|(name, _)| *name == tensor.component);
            assert!(tensors.iter().all(has_file), "{}", shape.name);
        }
    }

    #[test]
    fn a_file_is_a_whole_safetensors_file_and_the_same_again() {
        let list = "[vae]\nquant_conv 3x2x1x1 +bias\nconv_norm_out 5 +bias\npos_embed 1x2x3 pe\n";
        let tensors = tensor_list::read(&[list]).expect("a list");
        let tensors: Vec<&Tensor> = tensors.iter().collect();
        let path = std::env::temp_dir().join(format!("xtask-random-{}.safetensors", std::process::id()));
        let written = || {
            write_weights(&path, &tensors).expect("a file");
            fs::read(&path).expect("the file")
        };
        let bytes = written();
        assert_eq!(bytes, written());
        fs::remove_file(&path).expect("removed");
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
        let length = usize::try_from(length).expect("a short header");
        let header = std::str::from_utf8(&bytes[8..8 + length]).expect("text");
        assert!(
            header.contains(
                r#""quant_conv.weight":{"dtype":"F16","shape":[3, 2, 1, 1],"data_offsets":[0,12]}"#
            )
        );
        let data = &bytes[8 + length..];
        assert_eq!(data.len(), 2 * (6 + 3 + 5 + 5 + 6));
        assert!(header.contains(r#""pos_embed.pe":{"dtype":"F16","shape":[1, 2, 3],"#));
        let values: Vec<f32> =
            data.chunks_exact(2).map(|two| f16::from_le_bytes([two[0], two[1]]).to_f32()).collect();
        assert!(values[9..14].iter().all(|value| (value - 1.0).abs() <= 0.1), "{values:?}");
        assert!(values[..6].iter().all(|value| *value != 0.0 && value.abs() < 1.0), "{values:?}");
    }
}
