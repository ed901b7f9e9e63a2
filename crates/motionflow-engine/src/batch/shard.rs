//! One of several parts of many jobs.

use std::ops::Range;
use std::str::FromStr;

/// One of several parts of the jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    number: usize,
    of: usize,
}

impl Shard {
    /// Of so many jobs in a row those of this part, one after the other.
    pub fn range(self, jobs: usize) -> Range<usize> {
        (self.number - 1) * jobs / self.of..self.number * jobs / self.of
    }

    /// Whether there are other parts.
    pub fn is_part(self) -> bool {
        self.of > 1
    }

    /// Whether the job at `index` is this part's.
    pub fn has(self, index: usize) -> bool {
        index % self.of + 1 == self.number
    }

    /// The file that its summary is written into.
    pub fn summary_name(self) -> String {
        match self {
            Self { of: 1, .. } => "summary.json".to_owned(),
            Self { number, of } => format!("summary-{number}-of-{of}.json"),
        }
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((number, of)) if 1 <= number && number <= of => Ok(Self { number, of }),
            _ => Err("must be two numbers like 2/8, the first from 1 to the second".to_owned()),
        }
    }
}
