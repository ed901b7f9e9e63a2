//! Names of folders that are to lie side by side, on whatever file system.

use unicode_normalization::UnicodeNormalization;

/// What most file systems take, in bytes.
const LONGEST: usize = 255;

/// Devices on Windows and its file servers, with any ending.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];
const PORTS: [&str; 2] = ["com", "lpt"];

/// Whether every file system takes this name, as it is, for a folder that is not hidden.
pub fn is_fit(name: &str) -> bool {
    let is_plain = |sign: char| !sign.is_control() && !matches!(sign, '/' | '\\');
    !name.is_empty()
        && name.len() <= LONGEST
        && name.chars().all(is_plain)
        && name.trim() == name
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !is_device(name)
}

/// The same for names that a file system may take for one: case and ways to write an accent do not count.
pub fn folded(name: &str) -> String {
    let lower = |text: &str| text.nfc().flat_map(char::to_lowercase).collect::<String>();
    lower(&lower(name).to_uppercase()).nfc().collect()
}

fn is_device(name: &str) -> bool {
    let stem = folded(name.split('.').next().unwrap_or(name));
    let stem = stem.trim_end();
    let is_port = PORTS.iter().any(|port| {
        stem.strip_prefix(port)
            .is_some_and(|number| number.len() == 1 && number.as_bytes()[0].is_ascii_digit())
    });
    DEVICES.contains(&stem) || is_port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_some_file_system_does_not_take() {
        let long = "a".repeat(256);
        for name in [
            "",
            ".",
            "..",
            ".a",
            "a.",
            "a ",
            " a",
            "a/b",
            "a\\b",
            "../a",
            "a\0",
            "a\nb",
            "con",
            "CON",
            "nul.txt",
            "Aux .x",
            "com1",
            "LPT9.tar.gz",
            "a\u{a0}",
            &long,
        ] {
            assert!(!is_fit(name), "{name:?}");
        }
        for name in ["a", "a.b", "a b", "panda: snow", "común", "com", "com10", "console", "con-1", "熊猫"]
        {
            assert!(is_fit(name), "{name:?}");
        }
    }

    #[test]
    fn names_that_are_one_to_some_file_system() {
        for (one, other) in [
            ("A", "a"),
            ("É", "e\u{301}"),
            ("straße", "STRASSE"),
            ("ﬁn", "fin"),
            ("Ω", "\u{2126}"),
            ("ς", "Σ"),
        ] {
            assert_eq!(folded(one), folded(other), "{one} {other}");
        }
        assert_ne!(folded("a"), folded("á"));
        assert_ne!(folded("1"), folded("¹"));
    }
}
