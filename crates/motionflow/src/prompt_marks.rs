//! Weights, alternatives and tags as other programs write them into prompts. Here they are plain text, and a bracket marks
//! a subject, which a user of those programs should know.

use std::sync::OnceLock;

use regex::Regex;

use crate::printable::printable;
use crate::prompt::Prompt;

/// A number as it stands behind a colon.
const WEIGHT: &str = r"-?(?:\d+\.?\d*|\.\d+)";

/// How many marks are shown of one prompt.
const SHOWN: usize = 4;

struct Marks {
    /// In a text.
    text: Vec<Regex>,
    /// Between a subject's brackets.
    subject: Vec<Regex>,
    /// Words in capitals that join prompts, in a text that is not all in capitals.
    joints: Regex,
}

fn marks() -> Option<&'static Marks> {
    static MARKS: OnceLock<Option<Marks>> = OnceLock::new();
    MARKS
        .get_or_init(|| {
            let all = |patterns: &[String]| patterns.iter().map(|pattern| Regex::new(pattern)).collect();
            // A digit before the colon is a time or a ratio: 10:30, 16:9.
            let weighted = format!(r"[^\d\s:]\s*:\s*{WEIGHT}\s*");
            let text: Result<_, regex::Error> = all(&[
                format!(r"\([^()]*{weighted}\)"),
                format!(r"\[[^\[\]]*{weighted}\]"),
                r"\(\([^()]*\)\)".to_owned(),
                r"\{[^{}]*\}".to_owned(),
                r"<[A-Za-z_]+:[^<>]*>".to_owned(),
                // compel: car++, (red car)--, (red car)1.3, ("a", "b").blend(1, 2)
                r"[\p{L})]\++(?:[\s,.;]|$)".to_owned(),
                r"[\p{L})]--+(?:[\s,.;]|$)".to_owned(),
                r"\([^()]*\)\d*\.\d+".to_owned(),
                r"\.(?:and|blend|swap)\(".to_owned(),
                // Midjourney: car::2, --ar 16:9
                format!(r"\S::\s*{WEIGHT}"),
                r"(?:^|\s)--[a-z]{2,}\b".to_owned(),
                // A wildcard: __animal__
                r"__[\w/-]+?__".to_owned(),
            ]);
            let subject = all(&[
                format!(r"{weighted}$"),
                format!(r"::\s*{WEIGHT}\s*$"),
                r"\|".to_owned(),
                r"^[^:]*[^\d\s:]\s*:[^:]*:".to_owned(),
            ]);
            let joints = Regex::new(r"(?:^|\s)(?:AND|BREAK)(?:\s|$)");
            Some(Marks { text: text.ok()?, subject: subject.ok()?, joints: joints.ok()? })
        })
        .as_ref()
}

/// The marks of a prompt, as they stand in it.
fn found(prompt: &Prompt) -> Vec<String> {
    let Some(marks) = marks() else { return Vec::new() };
    let is_time = |text: &str| text.chars().filter(|c| c.is_alphabetic()).count() == 0;
    let subjects = prompt.subjects.iter().map(|subject| subject.text.as_str());
    let subjects =
        subjects.filter(|text| !is_time(text) && marks.subject.iter().any(|mark| mark.is_match(text)));
    let mut all: Vec<String> = subjects.map(|text| format!("[{text}]")).collect();
    let text = prompt.text.as_str();
    let is_in_capitals = !text.chars().any(char::is_lowercase);
    let joints = (!is_in_capitals).then_some(&marks.joints);
    for mark in marks.text.iter().chain(joints) {
        all.extend(mark.find_iter(text).map(|found| with_word(text, found.start(), found.end())));
    }
    let mut seen = Vec::new();
    all.retain(|mark| {
        !seen.contains(mark) && {
            seen.push(mark.clone());
            true
        }
    });
    all
}

/// What was found, together with the word that it ends.
fn with_word(text: &str, start: usize, end: usize) -> String {
    let before = &text[..start];
    let begin = before.rfind(|c: char| c.is_whitespace() || "([,".contains(c));
    let begin = begin.map_or(0, |at| at + before[at..].chars().next().map_or(0, char::len_utf8));
    let whole = if text[start..end].starts_with(|c: char| "({<[".contains(c) || c.is_whitespace()) {
        start
    } else {
        begin.min(start)
    };
    text[whole..end].trim().trim_end_matches([',', ';']).to_owned()
}

/// A warning for a prompt that has them.
pub(crate) fn warning(prompt: &Prompt) -> Option<String> {
    let found = found(prompt);
    if found.is_empty() {
        return None;
    }
    let shown: Vec<String> =
        found.iter().take(SHOWN).map(|mark| format!("\"{}\"", printable(mark))).collect();
    let more = if found.len() > SHOWN { ", ..." } else { "" };
    Some(format!(
        "{}{more} in a prompt: brackets mark the subject; weights, alternatives and tags as other programs write them are \
         not read, but taken for words: leave them out",
        shown.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found_in(prompt: &str) -> Vec<String> {
        found(&prompt.parse().unwrap())
    }

    #[test]
    fn marks_of_other_programs_are_found() {
        for (prompt, mark) in [
            ("a (car:1.3) on a road", "(car:1.3)"),
            ("a ((car)) on a road", "((car))"),
            ("a [car:1.3] on a road", "[car:1.3]"),
            ("a [red car: .5] on a road", "[red car: .5]"),
            ("a [car|dog] on a road", "[car|dog]"),
            ("a [car:dog:0.5] on a road", "[car:dog:0.5]"),
            ("a [car::0.5] on a road", "[car::0.5]"),
            ("a [dog:10] on a road", "[dog:10]"),
            ("a {car|dog} on a road", "{car|dog}"),
            ("a {{car}} on a road", "{car}"),
            ("a [car] <lora:x:1>", "<lora:x:1>"),
            ("a [car] <hypernet:some_thing:0.5>", "<hypernet:some_thing:0.5>"),
            ("a [car]++ on a road", "car++"),
            ("a red car+, on a road", "car+"),
            ("a [car]-- on a road", "car--"),
            ("a (red car)1.3 on a road", "(red car)1.3"),
            ("a (red car)++ on a road", ")++"),
            ("a [car] AND a dog", "AND"),
            ("a [car] BREAK on a road", "BREAK"),
            ("a [car]::2 on a road", "car::2"),
            ("a [car] on a road --ar 16:9", "--ar"),
            ("a [car] beside a __farm/animal__", "__farm/animal__"),
            (r#"("a [car]", "a road").blend(0.5, 0.5)"#, ".blend("),
        ] {
            let found = found_in(prompt);
            assert!(found.iter().any(|found| found.contains(mark)), "{prompt}: {found:?}");
            assert!(warning(&prompt.parse().unwrap()).is_some());
        }
    }

    #[test]
    fn a_negative_prompt_has_them_too() {
        for mark in ["[blurry:1.3]", "(worst quality:1.4)", "((ugly))", "{bad}"] {
            assert_eq!(found(&Prompt::literal(&format!("dark, {mark}, dust"))), [mark]);
        }
    }

    #[test]
    fn ordinary_text_has_none() {
        for prompt in [
            "a [car] on a road",
            "a [red car] (vintage) on a road, 4k",
            "a [clock] at 10:30, 16:9",
            "a [clock at 10:30] on a wall",
            "a [10:30] on a wall",
            "title: a [dog] and a [cat]",
            "A [CAR] AND A [DOG]",
            "a [dog] - small, black - runs; 18+ only",
            "a [dog]--small--on a road",
            r"a [dog] with a sign \[x\], c:\windows",
            "a [car] at 50% & more, #1 <3",
            "une [voiture], c'est l'été; 一只[猫]",
        ] {
            assert_eq!(found_in(prompt), Vec::<String>::new(), "{prompt}");
        }
    }

    #[test]
    fn many_are_cut_short() {
        let weights: Vec<String> = (0..9).map(|i| format!("(w{i}x:1.1)")).collect();
        let prompt = format!("a [car] {}", weights.join(" "));
        let warning = warning(&prompt.parse().unwrap()).unwrap();
        assert!(
            warning.starts_with("\"(w0x:1.1)\", \"(w1x:1.1)\", ") && warning.contains(", ... in a prompt"),
            "{warning}"
        );
    }
}
