//! The command line, taken apart from the left.

use std::collections::VecDeque;

use anyhow::{Result, bail};

/// What is left of the command line.
pub struct Arguments(VecDeque<String>);

impl Arguments {
    /// Those that this process was started with.
    pub fn from_env() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    /// Takes the next one.
    pub fn next(&mut self) -> Option<String> {
        self.0.pop_front()
    }

    /// Takes the flag `name`, wherever it stands before a `--`; true if it was there.
    pub fn flag(&mut self, name: &str) -> bool {
        let position = self.0.iter().take_while(|a| *a != "--").position(|a| a == name);
        position.is_some_and(|at| self.0.remove(at).is_some())
    }

    /// Takes the flag `name` and what follows it, wherever they stand before a `--`.
    pub fn value(&mut self, name: &str) -> Result<Option<String>> {
        let position = self.0.iter().take_while(|a| *a != "--").position(|a| a == name);
        let Some(at) = position else { return Ok(None) };
        self.0.remove(at);
        match self.0.remove(at) {
            Some(value) if value != "--" => Ok(Some(value)),
            _ => bail!("{name} needs a value; `cargo xtask help` says which"),
        }
    }

    /// All that is left, without a leading `--`.
    pub fn rest(mut self) -> Vec<String> {
        if self.0.front().is_some_and(|a| a == "--") {
            self.0.pop_front();
        }
        self.0.into()
    }

    /// All that is left, which must begin with `--` unless there is nothing.
    pub fn after_dashes(self) -> Result<Vec<String>> {
        match self.0.front() {
            Some(first) if first != "--" => {
                bail!("unknown argument `{first}`; `cargo xtask help` says what there is")
            }
            _ => Ok(self.rest()),
        }
    }

    /// Nothing may be left.
    pub fn finish(self) -> Result<()> {
        match self.0.front() {
            Some(first) => bail!("unknown argument `{first}`; `cargo xtask help` says what there is"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;

    fn arguments(line: &str) -> Arguments {
        Arguments(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn a_flag_is_taken_only_before_the_dashes() {
        let mut line = arguments("one --quick two -- --quick");
        assert!(line.flag("--quick"));
        assert!(!line.flag("--quick"));
        assert_eq!(line.rest(), ["one", "two", "--", "--quick"]);
    }

    #[test]
    fn a_flags_value_is_taken_with_it() {
        let mut line = arguments("one --like two three");
        assert_eq!(line.value("--like").expect("a value").as_deref(), Some("two"));
        assert_eq!(line.value("--like").expect("nothing"), None);
        assert_eq!(line.rest(), ["one", "three"]);
        assert!(arguments("one --like").value("--like").is_err());
        assert!(arguments("--like -- two").value("--like").is_err());
    }

    #[test]
    fn the_leading_dashes_are_dropped_once() {
        assert_eq!(arguments("-- a -- b").rest(), ["a", "--", "b"]);
        assert_eq!(arguments("-- a").after_dashes().expect("after the dashes"), ["a"]);
        assert!(arguments("a -- b").after_dashes().is_err());
        assert!(arguments("").after_dashes().expect("nothing").is_empty());
    }
}
