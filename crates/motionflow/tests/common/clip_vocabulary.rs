//! One copy of CLIP's vocabulary for all tests: its merges, from which everything else follows.

use std::fs;
use std::path::Path;

/// `merges.txt` of CLIP: 48,894 merges. Released by `OpenAI` under the MIT licence.
pub(crate) const MERGES: &str = include_str!("../data/clip-vocabulary/merges.txt");

/// Writes `vocab.json` and `merges.txt` into `folder`, which it makes.
pub(crate) fn write(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("merges.txt"), MERGES).unwrap();
    let printable = || (33..=126).chain(161..=172).chain(174..=255);
    let others = 256 - printable().count() as u32;
    let codes = printable().chain(256..256 + others);
    let letters: Vec<String> = codes.map(|code| char::from_u32(code).unwrap().to_string()).collect();
    let ends = letters.iter().map(|letter| format!("{letter}</w>"));
    let merged = MERGES.lines().skip(1).map(|pair| pair.replace(' ', ""));
    let special = ["<|startoftext|>", "<|endoftext|>"].map(String::from);
    let tokens = letters.iter().cloned().chain(ends).chain(merged).chain(special);
    let entries: serde_json::Map<_, _> = tokens.enumerate().map(|(id, token)| (token, id.into())).collect();
    fs::write(folder.join("vocab.json"), serde_json::to_vec(&entries).unwrap()).unwrap();
}
