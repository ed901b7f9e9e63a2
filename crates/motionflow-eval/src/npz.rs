//! Arrays that `NumPy` wrote with `savez` or `savez_compressed`.
//!
//! The format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>. The header of an array is read
//! here, since the crates that do it parse any Python literal, however deep, and the files are not ours.

use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::file_error::FileError;

/// The most bytes of one array: far more than tracks or masks of a clip need.
pub(crate) const MAX_BYTES: u64 = 1 << 28;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Numbers in rows: the last dimension goes fastest.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Length of each dimension.
    pub shape: Vec<usize>,
    /// The elements; booleans are 0 and 1.
    pub values: Vec<f32>,
}

/// An archive of arrays.
#[derive(Debug)]
pub struct Npz {
    path: PathBuf,
    archive: ZipArchive<File>,
}

impl Npz {
    /// Opens an archive and reads which arrays it has.
    ///
    /// # Errors
    /// [`FileError`] when it cannot be read or is no zip archive.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let unreadable = |error: std::io::Error| FileError::new(path, format!("cannot be read: {error}"));
        // Opening a pipe may wait for ever.
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(FileError::new(path, "cannot be read: it is not a file"));
        }
        let archive = ZipArchive::new(File::open(path).map_err(unreadable)?)
            .map_err(|error| FileError::new(path, format!("is not a whole npz file: {error}")))?;
        Ok(Self { path: path.to_owned(), archive })
    }

    /// Whether there is an array of that name.
    pub fn has(&self, name: &str) -> bool {
        self.archive.index_for_name(&format!("{name}.npy")).is_some()
    }

    /// Reads an array of integers, floating-point numbers or booleans.
    ///
    /// # Errors
    /// [`FileError`] when it is not there, damaged, too large, or of something else than numbers.
    pub fn read(&mut self, name: &str) -> Result<Array, FileError> {
        let Self { path, archive } = self;
        let wrong = |reason: &str| FileError::new(path, format!("the array `{name}` {reason}"));
        let entry = archive.by_name(&format!("{name}.npy")).map_err(|error| match error {
            ZipError::FileNotFound => wrong("is not there"),
            error => wrong(&format!("cannot be read: {error}")),
        })?;
        let mut bytes = Vec::new();
        entry
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| wrong(&format!("cannot be read: {error}")))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(wrong(&format!("has more than {} MiB", MAX_BYTES >> 20)));
        }
        parse(&bytes).map_err(|reason| wrong(&reason))
    }
}

/// Whether a file begins as an archive does.
pub fn is_npz(path: &Path) -> bool {
    begins_with(path, b"PK\x03\x04")
}

/// Whether a file begins as a single array does.
pub fn is_npy(path: &Path) -> bool {
    begins_with(path, MAGIC)
}

fn begins_with(path: &Path, magic: &[u8]) -> bool {
    let mut head = vec![0; magic.len()];
    // Opening a pipe may wait for ever.
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
        && File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok()
        && head == magic
}

/// Reads a file of one array, as `numpy.save` writes it.
///
/// # Errors
/// [`FileError`] when it cannot be read, is damaged, too large, or of something else than numbers.
pub fn read_npy(path: &Path) -> Result<Array, FileError> {
    let wrong = |reason: String| FileError::new(path, format!("the array {reason}"));
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong(format!("has more than {} MiB", MAX_BYTES >> 20)));
    }
    parse(&bytes).map_err(wrong)
}

/// The elements of an array to be written.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// As uint8.
    Bytes(&'a [u8]),
    /// As float32.
    Floats(&'a [f32]),
}

/// An array to be written.
#[derive(Debug)]
pub struct Named<'a> {
    /// Its name.
    pub name: &'a str,
    /// Length of each dimension.
    pub shape: &'a [usize],
    /// The elements, the last dimension fastest.
    pub values: Values<'a>,
}

/// Writes arrays as `numpy.savez_compressed` does, the same bytes for the same arrays.
///
/// # Errors
/// [`FileError`] when the file cannot be written.
pub fn write(path: &Path, arrays: &[Named]) -> Result<(), FileError> {
    let written = || -> Result<(), ZipError> {
        let mut writer = ZipWriter::new(BufWriter::new(File::create(path)?));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        for Named { name, shape, values } in arrays {
            writer.start_file(format!("{name}.npy"), options)?;
            let lengths: Vec<String> = shape.iter().map(usize::to_string).collect();
            let lengths = lengths.join(", ") + ",";
            let (descr, bytes) = match values {
                Values::Bytes(values) => ("|u1", values.to_vec()),
                Values::Floats(values) => {
                    ("<f4", values.iter().flat_map(|value| value.to_le_bytes()).collect())
                }
            };
            let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({lengths}), }}");
            // The elements begin at a multiple of 64 bytes.
            let padded = (MAGIC.len() + 4 + header.len() + 1).next_multiple_of(64) - MAGIC.len() - 4;
            let length = (padded as u16).to_le_bytes();
            writer.write_all(&[MAGIC, &[1, 0], &length].concat())?;
            writer.write_all(format!("{header:<width$}\n", width = padded - 1).as_bytes())?;
            writer.write_all(&bytes)?;
        }
        writer.finish()?.flush()?;
        Ok(())
    };
    written().map_err(|error| FileError::new(path, format!("cannot be written: {error}")))
}

/// An `.npy` file.
fn parse(bytes: &[u8]) -> Result<Array, String> {
    let (header, data) = split(bytes).ok_or("is not in NumPy's format")?;
    let header = Header::parse(header).ok_or("has a header that cannot be understood")?;
    let element = Element::of(header.descr)
        .ok_or_else(|| format!("is of the type `{}`, not of numbers", header.descr.escape_debug()))?;
    let count = header.shape.iter().try_fold(1_usize, |count, &length| count.checked_mul(length));
    if count.and_then(|count| count.checked_mul(element.size)) != Some(data.len()) {
        return Err(format!("has {} bytes, which does not fit its shape {:?}", data.len(), header.shape));
    }
    let values: Vec<f32> = data.chunks_exact(element.size).map(|bytes| element.value(bytes)).collect();
    let values = if header.fortran_order { rows_first(&values, &header.shape) } else { values };
    Ok(Array { shape: header.shape, values })
}

/// Header and elements.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (length, rest) = match rest.first()? {
        1 => (usize::from(u16::from_le_bytes(rest.get(2..4)?.try_into().ok()?)), &rest[4..]),
        2 | 3 => (u32::from_le_bytes(rest.get(2..6)?.try_into().ok()?) as usize, &rest[6..]),
        _ => return None,
    };
    let (header, data) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

/// What stands in `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
struct Header<'a> {
    descr: &'a str,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl<'a> Header<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let after = |key: &str| Some(text.split_once(&format!("'{key}':"))?.1.trim_start());
        let descr = after("descr")?.strip_prefix('\'')?.split_once('\'')?.0;
        let order = after("fortran_order")?;
        let fortran_order = match (order.starts_with("True"), order.starts_with("False")) {
            (true, _) => true,
            (_, true) => false,
            _ => return None,
        };
        let shape = after("shape")?.strip_prefix('(')?.split_once(')')?.0;
        let lengths = shape.split(',').map(str::trim).filter(|length| !length.is_empty());
        let shape: Vec<usize> = lengths.map(|length| length.parse().ok()).collect::<Option<_>>()?;
        (shape.len() <= 8).then_some(Self { descr, fortran_order, shape })
    }
}

/// How an element is stored.
struct Element {
    big_endian: bool,
    kind: char,
    size: usize,
}

impl Element {
    /// As in `<f4`: order of bytes, kind, bytes.
    fn of(descr: &str) -> Option<Self> {
        let mut letters = descr.chars();
        let (order, kind) = (letters.next()?, letters.next()?);
        let size = letters.as_str().parse().ok()?;
        let known = matches!((kind, size), ('b', 1) | ('i' | 'u', 1 | 2 | 4 | 8) | ('f', 2 | 4 | 8));
        let big_endian = match order {
            '<' | '|' => false,
            '>' => true,
            _ => return None,
        };
        known.then_some(Self { big_endian, kind, size })
    }

    fn value(&self, bytes: &[u8]) -> f32 {
        let little = |index: usize| bytes[if self.big_endian { self.size - 1 - index } else { index }];
        let bits = (0..self.size).fold(0_u64, |bits, index| bits | u64::from(little(index)) << (8 * index));
        match (self.kind, self.size) {
            ('f', 2) => half(bits as u16),
            ('f', 4) => f32::from_bits(bits as u32),
            ('f', _) => f64::from_bits(bits) as f32,
            // The sign of a shorter integer is moved up to the top and back.
            ('i', size) => ((bits << (64 - 8 * size)) as i64 >> (64 - 8 * size)) as f32,
            _ => bits as f32,
        }
    }
}

/// The value of a half-precision number (IEEE 754 binary16).
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2_f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2_f32.powi(exponent - 25),
    }
}

/// Elements whose first dimension goes fastest -> the last one does
fn rows_first(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let strides: Vec<usize> = shape
        .iter()
        .scan(1, |stride, &length| {
            let this = *stride;
            *stride *= length;
            Some(this)
        })
        .collect();
    let at = |mut index: usize| {
        let places = shape.iter().zip(&strides).rev().map(|(&length, &stride)| {
            let place = index % length;
            index /= length;
            place * stride
        });
        values[places.sum::<usize>()]
    };
    (0..values.len()).map(at).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let length = (header.len() as u16).to_le_bytes();
        [MAGIC, &[1, 0], &length, header.as_bytes(), data].concat()
    }

    fn of(descr: &str, shape: &str, data: &[u8]) -> Result<Array, String> {
        parse(&npy(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n"), data))
    }

    #[test]
    fn every_kind_of_number_is_read() {
        let one = |descr, data: &[u8]| of(descr, "(1,)", data).unwrap().values[0];
        assert_eq!(one("<f4", &1.5_f32.to_le_bytes()).to_bits(), 1.5_f32.to_bits());
        assert_eq!(one(">f8", &(-2.25_f64).to_be_bytes()).to_bits(), (-2.25_f32).to_bits());
        assert_eq!(one("<i2", &(-3_i16).to_le_bytes()).to_bits(), (-3_f32).to_bits());
        assert_eq!(one("|u1", &[200]).to_bits(), 200_f32.to_bits());
        assert_eq!(one("|b1", &[1]).to_bits(), 1_f32.to_bits());
        assert_eq!(one("<i8", &(-4_i64).to_le_bytes()).to_bits(), (-4_f32).to_bits());
        for (bits, value) in [(0x3c00, 1.0), (0xc000, -2.0), (1, 2_f32.powi(-24)), (0x7bff, 65504.0)] {
            assert_eq!(half(bits).to_bits(), f32::to_bits(value));
        }
        assert!(half(0x7e00).is_nan() && half(0xfc00) == f32::NEG_INFINITY);
    }

    #[test]
    fn fortran_order_is_turned() {
        let array =
            parse(&npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", &[1, 4, 2, 5, 3, 6]));
        let expected = Array { shape: vec![2, 3], values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
        assert_eq!(array.unwrap(), expected);
    }

    #[test]
    fn odd_arrays_are_refused() {
        for (array, reason) in [
            (of("<f4", "(2,)", &[0; 4]), "does not fit its shape [2]"),
            (of("<f4", "(99999999999, 99999999999)", &[0; 4]), "does not fit"),
            (of("|O", "(1,)", &[0; 8]), "type `|O`"),
            (of("<f3", "(1,)", &[0; 3]), "type `<f3`"),
            (of("<f4", "(-1,)", &[]), "header"),
            (of("<f4", "((((((((1,)", &[0; 4]), "header"),
            (parse(b"\x93NUMPY\x01\0\xff\xff{}"), "NumPy's format"),
            (parse(b""), "NumPy's format"),
        ] {
            let found = array.unwrap_err();
            assert!(found.contains(reason), "{found}");
        }
        assert!(of("<f4", "(0, 3)", &[]).unwrap().values.is_empty());
        assert_eq!(of("<f4", "()", &1_f32.to_le_bytes()).unwrap().values, [1.0]);
    }

    proptest! {
        #[test]
        fn no_file_brings_it_down(
            descr in "[<>|=]?[a-zA-Z][0-9]{1,2}",
            order in "(True|False|None|)",
            shape in "\\([0-9, ]{0,9}\\)?",
            data in prop::collection::vec(any::<u8>(), 0..80),
            cut in 0_usize..160,
        ) {
            let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
            let file = npy(&header, &data);
            if let Ok(array) = parse(&file) {
                prop_assert_eq!(array.shape.iter().product::<usize>(), array.values.len());
            }
            let _ = parse(&file[..cut.min(file.len())]);
        }
    }

    #[test]
    fn archives_are_read_compressed_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let mut writer = ZipWriter::new(File::create(&path).unwrap());
        for (name, method) in [("a", CompressionMethod::Stored), ("b", CompressionMethod::Deflated)] {
            let options = SimpleFileOptions::default().compression_method(method);
            writer.start_file(format!("{name}.npy"), options).unwrap();
            let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (300,), }";
            writer.write_all(&npy(header, &[7; 300])).unwrap();
        }
        writer.finish().unwrap();
        let mut npz = Npz::open(&path).unwrap();
        assert!(npz.has("a") && npz.has("b") && !npz.has("c"));
        assert_eq!(npz.read("a").unwrap(), npz.read("b").unwrap());
        assert!(npz.read("c").unwrap_err().to_string().ends_with("the array `c` is not there"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let values: Vec<u8> = (0..24).collect();
        let arrays = [
            Named { name: "masks", shape: &[2, 3, 4], values: Values::Bytes(&values) },
            Named { name: "one", shape: &[1], values: Values::Floats(&[-7.5]) },
        ];
        write(&path, &arrays).unwrap();
        assert!(is_npz(&path) && !is_npy(&path));
        let mut npz = Npz::open(&path).unwrap();
        let read = npz.read("masks").unwrap();
        assert_eq!((read.shape, read.values[23].to_bits()), (vec![2, 3, 4], 23_f32.to_bits()));
        assert_eq!(npz.read("one").unwrap().values, [-7.5]);
        let bytes = std::fs::read(&path).unwrap();
        write(&path, &arrays).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert!(write(&folder.path().join("no/a.npz"), &arrays).is_err());
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Npz::open(folder.path()).unwrap_err().to_string().contains("not a file"));
        let path = folder.path().join("text");
        std::fs::write(&path, "PK but not really").unwrap();
        assert!(Npz::open(&path).unwrap_err().to_string().contains("not a whole npz file"));
    }
}
