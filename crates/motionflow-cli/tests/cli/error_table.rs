//! docs/errors.md as a table: which messages there are, and with which exit code the program ends.

use std::fs;
use std::sync::OnceLock;

use crate::common::tree;

/// A message with `…` where it varies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) message: String,
    /// None for a warning.
    pub(crate) code: Option<i32>,
}

impl Row {
    /// Whether this is a message of this row, all of it. Spaces and ends of lines count alike.
    fn is_of(&self, text: &str) -> bool {
        let (pattern, text) = (words(&self.message), words(text));
        let pieces: Vec<&str> = pattern.split('…').collect();
        let [first, middle @ .., last] = pieces.as_slice() else { return pattern == text };
        let rest = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
        let Some(mut rest) = rest else { return false };
        for piece in middle {
            let Some((_, after)) = rest.split_once(piece) else { return false };
            rest = after;
        }
        true
    }

    /// How much of it is said, not left open.
    pub(crate) fn letters(&self) -> usize {
        self.message.chars().filter(|letter| letter.is_alphabetic()).count()
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Every row, of errors and of warnings.
pub(crate) fn rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let text = fs::read_to_string(tree().join("docs/errors.md")).unwrap();
        text.lines().filter_map(row).collect()
    })
}

/// `| message | exit code | cause | what to do |`, or `| message | cause | what to do |` for a warning.
fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
    let message = code_span(cells[0])?;
    assert!(cells.iter().all(|cell| !cell.is_empty()), "an empty cell in docs/errors.md: {line}");
    let code = match cells.len() {
        4 => Some(cells[1].parse().unwrap()),
        3 => None,
        _ => panic!("not 3 or 4 cells in docs/errors.md: {line}"),
    };
    Some(Row { message: message.to_owned(), code })
}

/// What stands in backticks, or in double ones where there are backticks in it.
fn code_span(cell: &str) -> Option<&str> {
    let double = cell.strip_prefix("``").and_then(|rest| rest.strip_suffix("``"));
    double.or_else(|| cell.strip_prefix('`')?.strip_suffix('`')).map(str::trim)
}

/// The row of a message: where several fit, the one that says most.
pub(crate) fn row_of(message: &str, code: Option<i32>) -> Option<&'static Row> {
    rows().iter().filter(|row| row.code == code && row.is_of(message)).max_by_key(|row| row.letters())
}

/// The messages after `error: ` in what a run printed.
pub(crate) fn errors_in(stderr: &str) -> Vec<&str> {
    let starts: Vec<usize> = starts(stderr, "error: ").collect();
    let ends = starts.iter().skip(1).copied().chain([stderr.len()]);
    starts.iter().zip(ends).map(|(start, end)| stderr[start + "error: ".len()..end].trim_end()).collect()
}

/// The lines after `warning: `.
pub(crate) fn warnings_in(stderr: &str) -> impl Iterator<Item = &str> {
    stderr.lines().filter_map(|line| line.strip_prefix("warning: "))
}

/// Where lines begin with a word.
fn starts<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(at, _)| at).filter(|&at| at == 0 || text[..at].ends_with('\n'))
}

/// Every error and warning of a run must have its row.
#[track_caller]
pub(crate) fn assert_told_in_docs(code: i32, stderr: &str) {
    for message in errors_in(stderr) {
        assert!(
            row_of(message, Some(code)).is_some(),
            "docs/errors.md has no row for this message; add one:\n| `{}` | {code} | cause | what to do |",
            words(message)
        );
    }
    for message in warnings_in(stderr) {
        assert!(
            row_of(message, None).is_some(),
            "docs/errors.md has no row for this warning; add one:\n| `{message}` | cause | what to do |"
        );
    }
}

#[test]
fn a_row_is_found_by_its_message() {
    let row = |message: &str| Row { message: message.into(), code: Some(2) };
    assert!(row("--… is …, but must be …").is_of("--tau is 7, but must be\n  less than 1"));
    assert!(!row("--… is …, but must be …").is_of("error --tau is 7, but must be less than 1"));
    assert!(!row("no such …").is_of("no such"));
    assert!(row("stopped").is_of("stopped") && !row("stopped").is_of("stopped early"));
    assert_eq!(errors_in("a note\nerror: one\n  more\nerror: two\n"), ["one\n  more", "two"]);
}
