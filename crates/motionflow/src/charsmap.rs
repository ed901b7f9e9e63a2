//! SentencePiece's table of replaced characters, checked before the library follows it.
//!
//! The table is the length of a double-array trie in bytes, the trie in units of 32 bits, and the replacements, each with
//! a zero byte behind it. The library follows units and offsets without looking whether they lie inside.

use tokenizers::normalizers::Precompiled;

/// The most bytes of a table; that of NFKC has 240 kB.
const MAX_TABLE: usize = 4 << 20;

/// The most bytes of a replacement; the longest of NFKC has 33.
const MAX_REPLACEMENT: usize = 1024;

/// Reads `precompiled_charsmap` of a tokenizer.json: the table in base 64.
pub(crate) fn read(base_64: &str) -> Result<Precompiled, String> {
    let table = decode(base_64).ok_or("precompiled_charsmap is not in base 64, or too long")?;
    check(&table).ok_or("precompiled_charsmap contradicts itself")?;
    Precompiled::from(&table).map_err(|error| error.to_string())
}

/// Base 64 with padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) || text.len() / 4 * 3 > MAX_TABLE {
        return None;
    }
    let padding = text.iter().rev().take(2).take_while(|&&sign| sign == b'=').count();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in text[..text.len() - padding].chunks(4) {
        let mut bits = 0;
        for &sign in group {
            let value = match sign {
                b'A'..=b'Z' => sign - b'A',
                b'a'..=b'z' => sign - b'a' + 26,
                b'0'..=b'9' => sign - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

/// One unit of the trie, as darts-clone packs it.
#[derive(Clone, Copy)]
struct Unit(u32);

impl Unit {
    fn has_leaf(self) -> bool {
        self.0 >> 8 & 1 == 1
    }

    fn value(self) -> usize {
        (self.0 & 0x7fff_ffff) as usize
    }

    fn is_child_by(self, byte: u8) -> bool {
        self.0 & 0x8000_00ff == u32::from(byte)
    }

    fn offset(self) -> usize {
        ((self.0 >> 10) as usize) << ((self.0 & 1 << 9) >> 6)
    }
}

/// Follows the trie along every text there is: each step and each replacement must lie inside the table.
fn check(table: &[u8]) -> Option<()> {
    let (size, rest) = table.split_first_chunk::<4>()?;
    let bytes = (u32::from_le_bytes(*size) / 4 * 4) as usize;
    let (trie, replacements) = rest.split_at_checked(bytes)?;
    let units: Vec<_> = trie.as_chunks::<4>().0.iter().map(|unit| Unit(u32::from_le_bytes(*unit))).collect();
    let replacements = std::str::from_utf8(replacements).ok()?;
    let mut seen = vec![false; units.len()];
    let mut bases = vec![units.first()?.offset()];
    while let Some(base) = bases.pop() {
        for byte in 1..=u8::MAX {
            let position = base ^ usize::from(byte);
            let unit = *units.get(position)?;
            if !unit.is_child_by(byte) || std::mem::replace(&mut seen[position], true) {
                continue;
            }
            let base = position ^ unit.offset();
            if unit.has_leaf() {
                let replacement = replacements.get(units.get(base)?.value()..)?;
                let end = replacement.bytes().take(MAX_REPLACEMENT + 1).position(|byte| byte == 0);
                if end.unwrap_or(replacement.len()) > MAX_REPLACEMENT {
                    return None;
                }
            }
            bases.push(base);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_is_read() {
        for (text, bytes) in [("", &b""[..]), ("YQ==", b"a"), ("YWI=", b"ab"), ("YWJj+/8=", b"abc\xfb\xff")] {
            assert_eq!(decode(text).as_deref(), Some(bytes), "{text}");
        }
        for wrong in ["YQ", "Y===", "YQ =", "====", "YW\u{e9}="] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }

    /// A table that replaces `b`, by what stands at `place`.
    fn table(place: u32, replacements: &[u8]) -> Vec<u8> {
        let mut units = vec![0_u32; 512];
        units[0] = 256 << 10;
        // The child by `b`, whose leaf is at 0x100 + 1.
        let child = 0x100 ^ usize::from(b'b');
        units[child] = ((child as u32 ^ 0x101) << 10) | 1 << 8 | u32::from(b'b');
        units[0x101] = 1 << 31 | place;
        let mut table = (units.len() as u32 * 4).to_le_bytes().to_vec();
        table.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        table.extend(replacements);
        table
    }

    #[test]
    fn a_table_that_leads_out_of_itself_is_refused() {
        let good = table(2, "x\0é\0".as_bytes());
        assert!(check(&good).is_some());
        assert_eq!(Precompiled::from(&good).unwrap().normalize_string("abc"), "aéc");
        assert!(check(&table(3, "x\0é\0".as_bytes())).is_none(), "inside of a character");
        assert!(check(&table(9, b"x\0")).is_none(), "behind the end");
        assert!(check(&table(0, &[b'x'; 2000])).is_none(), "too long");
        assert!(check(&table(0, b"\xff\0")).is_none(), "no text");
        for cut in [0, 3, 4, 100, 1500] {
            assert!(check(&good[..cut]).is_none(), "{cut} bytes");
        }
        let mut short = good.clone();
        short[..4].copy_from_slice(&8_u32.to_le_bytes());
        assert!(check(&short).is_none(), "units that are not there");
    }
}
