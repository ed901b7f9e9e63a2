//! Where the entries of a zip archive lie (<https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>), as far as
//! `torch.save` uses the format: one part, nothing compressed, sizes of up to 64 bits.

use std::collections::BTreeMap;
use std::ops::Range;

/// What is wrong with an archive: what, what was expected, what was found.
pub(super) type ZipError = (String, String, String);

const END: &[u8] = b"PK\x05\x06";
const END_LENGTH: usize = 22;
const END_64_LOCATOR: &[u8] = b"PK\x06\x07";
const END_64: &[u8] = b"PK\x06\x06";
const CENTRAL: &[u8] = b"PK\x01\x02";
const CENTRAL_LENGTH: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_LENGTH: usize = 30;
/// The end record is followed by a comment of at most so many bytes.
const MAX_COMMENT: usize = 0xffff;
/// torch.save writes an entry for each tensor and about ten more.
const MAX_ENTRIES: usize = 1_000_000;
/// In a field of 32 bits: the value stands in the extra field, in 64 bits.
const IN_EXTRA: u64 = 0xffff_ffff;

/// The bytes of `archive` that each entry's content is; all of them lie inside of it.
pub(super) fn entries(archive: &[u8]) -> Result<BTreeMap<String, Range<usize>>, ZipError> {
    let mut directory = central_directory(archive)?;
    let mut entries = BTreeMap::new();
    while !directory.is_empty() {
        let (entry, rest) = Entry::split_from(directory)
            .ok_or_else(|| wrong("the zip's directory", "whole entries", "a cut or foreign one"))?;
        directory = rest;
        let what = format!("zip entry `{}`", entry.name);
        if entry.method != 0 || entry.flags & 1 != 0 {
            return Err(wrong(
                &what,
                "stored bytes, as torch.save writes them",
                "compressed or encrypted ones",
            ));
        }
        let Some(content) = entry.content(archive) else {
            let found = format!("{} bytes at {}", entry.size, entry.header);
            return Err(wrong(&what, format!("a place in the {} bytes of the file", archive.len()), found));
        };
        if entries.insert(entry.name.to_owned(), content).is_some() {
            return Err(wrong(&what, "one of that name", "two"));
        }
        if entries.len() > MAX_ENTRIES {
            return Err(wrong("the zip's directory", format!("at most {MAX_ENTRIES} entries"), "more"));
        }
    }
    Ok(entries)
}

fn wrong(what: &str, expected: impl Into<String>, found: impl Into<String>) -> ZipError {
    (what.to_owned(), expected.into(), found.into())
}

/// The directory at the archive's end.
fn central_directory(archive: &[u8]) -> Result<&[u8], ZipError> {
    let missing = || wrong("the zip", "a directory at its end", "none (a truncated download?)");
    let earliest = archive.len().saturating_sub(END_LENGTH + MAX_COMMENT);
    let end = archive[earliest..].windows(END.len()).rposition(|bytes| bytes == END).ok_or_else(missing)?
        + earliest;
    let record = &archive[end..];
    let length = u16_at(record, 20).map(|comment| END_LENGTH + comment as usize);
    if length.is_none_or(|length| length > record.len()) {
        return Err(missing());
    }
    let (mut size, mut start) = u32_at(record, 12).zip(u32_at(record, 16)).ok_or_else(missing)?;
    let locator = end.checked_sub(20).map(|start| &archive[start..end]);
    if let Some(locator) = locator.filter(|bytes| bytes.starts_with(END_64_LOCATOR)) {
        let record = u64_at(locator, 8).and_then(|at| archive.get(usize::try_from(at).ok()?..));
        let record = record.filter(|bytes| bytes.starts_with(END_64)).ok_or_else(missing)?;
        (size, start) = u64_at(record, 40).zip(u64_at(record, 48)).ok_or_else(missing)?;
    }
    slice(archive, start, size).ok_or_else(|| {
        let expected = format!("a place in the {} bytes of the file", archive.len());
        wrong("the zip's directory", expected, format!("{size} bytes at {start}"))
    })
}

/// What the directory says of an entry.
struct Entry<'a> {
    name: &'a str,
    flags: u64,
    method: u64,
    /// As stored, in bytes.
    size: u64,
    /// Where the local header is.
    header: u64,
}

impl<'a> Entry<'a> {
    /// Reads the directory's first entry; also gives the rest of the directory.
    fn split_from(directory: &'a [u8]) -> Option<(Self, &'a [u8])> {
        if !directory.starts_with(CENTRAL) {
            return None;
        }
        let (name, extra) = (u16_at(directory, 28)?, u16_at(directory, 30)?);
        let comment = u16_at(directory, 32)?;
        let name_end = CENTRAL_LENGTH + name as usize;
        let extra_end = name_end + extra as usize;
        let full_size = u32_at(directory, 24)?;
        let (mut size, mut header) = (u32_at(directory, 20)?, u32_at(directory, 42)?);
        let mut wide = zip64_field(directory.get(name_end..extra_end)?);
        // The extra field holds just those values that did not fit, in this order.
        if full_size == IN_EXTRA {
            wide = wide.get(8..)?;
        }
        if size == IN_EXTRA {
            size = u64_at(wide, 0)?;
            wide = &wide[8..];
        }
        if header == IN_EXTRA {
            header = u64_at(wide, 0)?;
        }
        let name = std::str::from_utf8(directory.get(CENTRAL_LENGTH..name_end)?).ok()?;
        let entry = Self { name, flags: u16_at(directory, 8)?, method: u16_at(directory, 10)?, size, header };
        Some((entry, directory.get(extra_end + comment as usize..)?))
    }

    fn content(&self, archive: &[u8]) -> Option<Range<usize>> {
        let local = archive.get(usize::try_from(self.header).ok()?..)?;
        if !local.starts_with(LOCAL) {
            return None;
        }
        let skipped = LOCAL_LENGTH as u64 + u16_at(local, 26)? + u16_at(local, 28)?;
        let start = self.header + skipped;
        slice(archive, start, self.size)?;
        Some(start as usize..(start + self.size) as usize)
    }
}

/// The content of the extra field 1, which holds values of 64 bits; empty when there is none.
fn zip64_field(mut extra: &[u8]) -> &[u8] {
    while let (Some(id), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let end = 4 + length as usize;
        match extra.get(4..end) {
            Some(content) if id == 1 => return content,
            Some(_) => extra = &extra[end..],
            None => break,
        }
    }
    &[]
}

fn slice(bytes: &[u8], start: u64, length: u64) -> Option<&[u8]> {
    bytes.get(usize::try_from(start).ok()?..usize::try_from(start.checked_add(length)?).ok()?)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes).into())
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;
    use zip::write::SimpleFileOptions;

    use super::*;

    const SAVED: &[u8] = include_bytes!("../../tests/data/checkpoint/state_dict.bin");

    fn written(large: bool, comment: &str) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options =
            SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).large_file(large);
        for (name, content) in [("a/data.pkl", "pickle"), ("a/data/0", ""), ("ü", "more")] {
            zip.start_file(name, options).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.set_comment(comment);
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn finds_what_another_program_wrote() {
        for (large, comment) in [(false, ""), (true, "with a comment")] {
            let archive = written(large, comment);
            let entries = entries(&archive).unwrap();
            let contents: Vec<_> =
                entries.iter().map(|(name, at)| (&name[..], &archive[at.clone()])).collect();
            assert_eq!(contents, [("a/data.pkl", &b"pickle"[..]), ("a/data/0", b""), ("ü", b"more")]);
        }
    }

    #[test]
    fn finds_what_torch_wrote() {
        let entries = entries(SAVED).unwrap();
        assert_eq!(&SAVED[entries["state_dict/byteorder"].clone()], b"little");
        assert_eq!(entries["state_dict/data/1"].len(), 96);
    }

    #[test]
    fn every_truncation_is_an_error() {
        for length in 0..SAVED.len() {
            assert!(entries(&SAVED[..length]).is_err(), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_leave_the_file(
            changes in prop::collection::vec((0..SAVED.len(), any::<u8>()), 1..12), tail in 0..1500_usize,
        ) {
            let mut bytes = SAVED.to_vec();
            for (at, byte) in changes {
                // Most of what there is to break is in the directory at the end.
                let at = if at % 2 == 0 { at } else { bytes.len() - 1 - at % tail.max(1) };
                bytes[at] = byte;
            }
            for place in entries(&bytes).iter().flat_map(BTreeMap::values) {
                prop_assert!(bytes.get(place.clone()).is_some());
            }
        }
    }
}
