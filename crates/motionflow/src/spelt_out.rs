//! Words that a vocabulary has only in small pieces: a sign that the text encoder has never learnt what they mean.

use std::ops::Range;

/// Letters in the mean below which the pieces of a word say nothing of its meaning. This project's choice: CLIP's own
/// vocabulary makes two or three longer pieces of rare but ordinary words (`hippo|potam|us`, `armad|illo`).
const SMALL_PIECE: usize = 3;

/// The words of `text` in pieces of less than [`SMALL_PIECE`] letters, or one sign, in the mean. `words` and `ranges`
/// tell of every token which word it is of, and the bytes that it stands for.
pub(crate) fn of_letters(text: &str, words: &[Option<u32>], ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut spelt_out = Vec::new();
    for pieces in by_word(words, ranges) {
        let whole = pieces[0].start..pieces[pieces.len() - 1].end;
        let Some(word) = text.get(whole.clone()) else { continue };
        // A sign, as an emoji is, may well be a piece of its own.
        let small = if word.chars().all(char::is_alphabetic) { SMALL_PIECE } else { 1 };
        if pieces.len() > 1 && word.chars().count() < small * pieces.len() {
            spelt_out.push(whole);
        }
    }
    spelt_out
}

/// The same of SentencePiece's `pieces`, whose words are all that stands between spaces: signs around a word are not of
/// it, a piece that is only a space is none, and where a script's characters are words or syllables one is a piece.
pub(crate) fn of_pieces(
    text: &str,
    words: &[Option<u32>],
    ranges: &[Range<usize>],
    pieces: &[String],
) -> Vec<Range<usize>> {
    let mut spelt_out = Vec::new();
    let mut first = 0;
    for word in by_word(words, ranges) {
        let pieces = &pieces[first..first + word.len()];
        first += word.len();
        let (start, end) = (word[0].start, word[word.len() - 1].end);
        let Some(whole) = text.get(start..end) else { continue };
        let is_sign = |c: char| !c.is_alphanumeric();
        let inner = if whole.chars().all(is_sign) { whole.trim() } else { whole.trim_matches(is_sign) };
        let start = start + (inner.as_ptr() as usize - whole.as_ptr() as usize);
        let range = start..start + inner.len();
        let overlaps = |piece: &Range<usize>| piece.start < range.end && range.start < piece.end;
        let count = word.iter().zip(pieces).filter(|(at, piece)| overlaps(at) && *piece != "▁").count();
        let letters: usize = if inner.chars().all(char::is_alphabetic) {
            inner.chars().map(|c| if is_small_script(c) { SMALL_PIECE } else { 1 }).sum()
        } else {
            inner.chars().count() * SMALL_PIECE
        };
        if count > 1 && letters < SMALL_PIECE * count {
            spelt_out.push(range);
        }
    }
    spelt_out
}

/// The ranges of each word's tokens.
fn by_word<'a>(
    words: &'a [Option<u32>],
    ranges: &'a [Range<usize>],
) -> impl Iterator<Item = &'a [Range<usize>]> {
    let mut first = 0;
    words.chunk_by(|a, b| a == b).map(move |word| {
        first += word.len();
        &ranges[first - word.len()..first]
    })
}

/// Whether a letter is of a script that writes words or syllables as one character, or no spaces between words: those
/// of South-East Asia, China, Japan and Korea.
fn is_small_script(letter: char) -> bool {
    matches!(letter, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}')
        || matches!(letter, '\u{2e80}'..='\u{9fff}' | '\u{a000}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7af}')
        || matches!(letter, '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}
