//! `random-checkpoint`: a checkpoint of exactly a published one's shape with random weights, to measure with.
//!
//! The built xtask needs nothing else for it, so that it can be written on the machine that is measured.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use half::f16;

use crate::arguments::Arguments;
use crate::checkpoint_shapes::{SHAPES, Shape};

/// Values are drawn from so many, evenly apart: as many as a float16's mantissa tells apart.
const LEVELS: u16 = 1 << 11;

/// Runs the chore.
pub fn random_checkpoint(mut arguments: Arguments) -> Result<ExitCode> {
    let shape = match arguments.value("--like")? {
        Some(name) => SHAPES.iter().find(|shape| shape.name == name).with_context(|| {
            let known: Vec<&str> = SHAPES.iter().map(|shape| shape.name).collect();
            format!("--like {name}: there are {}", known.join(", "))
        })?,
        None => &SHAPES[0],
    };
    let folder =
        arguments.next().context("give the folder to write: random-checkpoint [--like NAME] FOLDER")?;
    let folder = PathBuf::from(folder);
    arguments.finish()?;
    ensure!(!folder.exists(), "{} is there already; remove it, or give another folder", folder.display());
    let mut partial = folder.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    let count = write(&partial, shape).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, &folder).with_context(|| format!("cannot write {}", folder.display()))?;
    println!("{}: {count} random parameters of float16, the shape of {}", folder.display(), shape.name);
    Ok(ExitCode::SUCCESS)
}

/// Writes the whole checkpoint and gives the number of its parameters.
fn write(folder: &Path, shape: &Shape) -> Result<usize> {
    for (name, text) in shape.files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, text)?;
    }
    let tensors = tensors(shape.tensors)?;
    for (component, file) in shape.weights {
        let own: Vec<&Tensor> = tensors.iter().filter(|tensor| tensor.component == *component).collect();
        write_weights(&folder.join(file), &own)?;
    }
    Ok(tensors.iter().map(Tensor::elements).sum())
}

/// A tensor, and how its values are drawn: evenly from `centre - reach` to `centre + reach`.
struct Tensor {
    component: String,
    name: String,
    shape: Vec<u32>,
    centre: f64,
    reach: f64,
}

impl Tensor {
    fn elements(&self) -> usize {
        self.shape.iter().map(|&side| side as usize).product()
    }
}

/// Reads the list.
fn tensors(list: &str) -> Result<Vec<Tensor>> {
    let mut tensors = Vec::new();
    let mut component = "";
    for line in list.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            component = name;
            continue;
        }
        let mut words = line.split(' ');
        let (Some(layer), Some(shape)) = (words.next(), words.next()) else {
            bail!("a line of the list: {line}")
        };
        let shape = shape.split('x').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        let (kind, bias) = match words.next() {
            None => ("weight", None),
            Some("+bias") => ("weight", Some(shape[0])),
            Some("pe") => ("pe", None),
            Some(other) => bail!("a line of the list ends in {other}: {line}"),
        };
        let (centre, reach) = if kind == "pe" { (0.0, 1.0) } else { weight_values(layer, &shape) };
        let tensor = |parameter: &str, shape, centre, reach| Tensor {
            component: component.to_owned(),
            name: format!("{layer}.{parameter}"),
            shape,
            centre,
            reach,
        };
        tensors.push(tensor(kind, shape, centre, reach));
        tensors.extend(bias.map(|channels| tensor("bias", vec![channels], 0.0, 0.02)));
    }
    Ok(tensors)
}

/// Centre and reach of a layer's weight: activations stay near 1 through all nets, and attentions are peaked, so that
/// masks and losses say something.
fn weight_values(layer: &str, shape: &[u32]) -> (f64, f64) {
    if shape.len() == 1 {
        return (1.0, 0.1); // a norm
    }
    let ends = |names: &[&str]| names.iter().any(|name| layer.ends_with(name));
    let looked_up = ends(&["token_embedding", "position_embedding"]);
    let fan_in = if looked_up { 1 } else { shape[1..].iter().product() };
    let gain = if ends(&["to_q", "to_k", "q_proj", "k_proj"]) { 1.5 } else { 0.6 };
    // The deviation of an even spread is its reach by √3.
    (0.0, gain * (3.0 / f64::from(fan_in)).sqrt())
}

/// Writes a safetensors file: the length of its header, the header, and the tensors in the header's order.
fn write_weights(path: &Path, tensors: &[&Tensor]) -> Result<()> {
    let mut header = String::from(r#"{"__metadata__":{"format":"pt"}"#);
    let mut places = Vec::new();
    let mut end = 0;
    for tensor in tensors {
        let Tensor { name, shape, .. } = tensor;
        let begin = end;
        end += 2 * tensor.elements();
        write!(header, r#","{name}":{{"dtype":"F16","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#)?;
        places.push(begin);
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
        let mut file = BufWriter::with_capacity(1 << 20, File::options().write(true).open(path)?);
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(tensor) = tensors.get(index) else { break };
            file.seek(SeekFrom::Start((start + places[index]) as u64))?;
            write_values(&mut file, tensor)?;
        }
        Ok(file.flush()?)
    };
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..thread::available_parallelism().map_or(1, usize::from)).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })
}

/// Writes a tensor's values, which follow from its name.
fn write_values(file: &mut impl Write, tensor: &Tensor) -> Result<()> {
    let level = |index: u16| {
        let at = 2.0 * f64::from(index) / f64::from(LEVELS - 1) - 1.0;
        f16::from_f64(tensor.centre + tensor.reach * at).to_le_bytes()
    };
    let values: Vec<[u8; 2]> = (0..LEVELS).map(level).collect();
    let mut random = Xorshift::of(&tensor.name);
    let mut left = tensor.elements();
    while left > 0 {
        let bits = random.next().to_le_bytes();
        let index = |place: usize| usize::from(u16::from_le_bytes([bits[place], bits[place + 1]]) % LEVELS);
        let four = [0, 2, 4, 6].map(|place| values[index(place)]);
        let count = left.min(four.len());
        file.write_all(four[..count].as_flattened())?;
        left -= count;
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
        let tensors = tensors(shape.tensors).expect("a list that can be read");
        tensors.iter().filter(|tensor| tensor.component == component).map(Tensor::elements).sum()
    }

    #[test]
    fn the_nets_have_as_many_parameters_as_those_published() {
        let [zeroscope, animatediff] = &SHAPES;
        assert_eq!(parameters(zeroscope, "unet"), 1_411_233_860);
        assert_eq!(parameters(animatediff, "unet"), 859_520_964);
        assert_eq!(parameters(animatediff, "motion_adapter"), 453_813_440);
    }

    #[test]
    fn every_component_has_a_file() {
        for shape in &SHAPES {
            let tensors = tensors(shape.tensors).expect("a list that can be read");
            let has_file = |tensor: &Tensor| shape.weights.iter().any(|(name, _)| *name == tensor.component);
            assert!(tensors.iter().all(has_file), "{}", shape.name);
        }
    }

    #[test]
    fn a_file_is_a_whole_safetensors_file_and_the_same_again() {
        let list = "[vae]\nquant_conv 3x2x1x1 +bias\nconv_norm_out 5 +bias\npos_embed 1x2x3 pe\n";
        let tensors = tensors(list).expect("a list");
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
