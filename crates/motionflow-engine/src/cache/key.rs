//! What a cached thing was made from, and the name that follows from that.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::source::hex;

/// Hashed first; another layout of entries gets another one, so that old entries are not found.
const LAYOUT: &[u8] = b"motionflow cache 1";

/// All that decides what an entry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    parts: BTreeMap<String, String>,
    name: String,
}

impl Key {
    /// A key of named parts; their order does not count, and no name may come twice.
    pub(crate) fn of(parts: &[(&str, &str)]) -> Self {
        let count = parts.len();
        let parts: BTreeMap<String, String> =
            parts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        debug_assert_eq!(parts.len(), count, "no name comes twice");
        let name = digest(parts.iter().flat_map(|(name, value)| [name.as_str(), value]));
        Self { parts, name }
    }

    /// The parts by their names.
    pub(crate) fn parts(&self) -> &BTreeMap<String, String> {
        &self.parts
    }

    /// SHA-256 over the parts, in hex: the name of the entry's folder.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a folder of this name may be an entry.
    pub(crate) fn may_be(name: &str) -> bool {
        name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

/// SHA-256, in hex, over texts. Lengths stand before them, so that no two lists of texts give the same bytes.
pub(super) fn digest<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    digest.update(LAYOUT);
    for text in texts {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    hex(&digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_stable() {
        let key = Key::of(&[("prompt", "a [car]"), ("steps", "25")]);
        assert_eq!(key.name(), "460f5d789f38e9c35d19ebb1df9a8b2706f2f779aa24a9cafe5e913f87043873");
        assert!(Key::may_be(key.name()) && !Key::may_be("notes") && !Key::may_be(&"G".repeat(64)));
    }

    #[test]
    fn every_part_counts_and_their_order_does_not() {
        let name = |parts: &[(&str, &str)]| Key::of(parts).name().to_owned();
        assert_eq!(name(&[("a", "1"), ("b", "2")]), name(&[("b", "2"), ("a", "1")]));
        let different = [
            name(&[("a", "1"), ("b", "2")]),
            name(&[("a", "2"), ("b", "1")]),
            name(&[("a", "1b2")]),
            name(&[("a", "1"), ("b", "")]),
            name(&[("a", "1")]),
            name(&[("a1", "")]),
            name(&[]),
        ];
        assert!((0..different.len()).all(|a| (0..a).all(|b| different[a] != different[b])), "{different:?}");
    }
}
