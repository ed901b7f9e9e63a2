//! Between which noise levels there is classifier-free guidance.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Classifier-free guidance where LOW < σ ≤ HIGH alone (<https://arxiv.org/abs/2404.07724>), with σ = √((1−ᾱ)/ᾱ); elsewhere
/// the net predicts under the prompt alone. Written `LOW:HIGH`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GuidanceInterval {
    low: f64,
    high: f64,
}

impl GuidanceInterval {
    /// Whether a noise level lies in it.
    pub fn contains(self, sigma: f64) -> bool {
        self.low < sigma && sigma <= self.high
    }
}

impl FromStr for GuidanceInterval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once(':').map(|(low, high)| (low.trim().parse(), high.trim().parse()));
        match numbers {
            Some((Ok(low), Ok(high))) if 0.0 <= low && low < high => Ok(Self { low, high }),
            _ => {
                Err("must be two noise levels LOW:HIGH such as 0.3:5, 0 or more, the lower first".to_owned())
            }
        }
    }
}

impl fmt::Display for GuidanceInterval {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{}", self.low, self.high)
    }
}

impl TryFrom<String> for GuidanceInterval {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<GuidanceInterval> for String {
    fn from(interval: GuidanceInterval) -> Self {
        interval.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_levels_are_read_and_written() {
        let interval: GuidanceInterval = "0.28: 5.42".parse().unwrap();
        assert_eq!(interval.to_string(), "0.28:5.42");
        assert_eq!(
            [0.28, 0.29, 5.42, 5.43].map(|sigma| interval.contains(sigma)),
            [false, true, true, false]
        );
        assert!("0:inf".parse::<GuidanceInterval>().unwrap().contains(f64::INFINITY));
        for wrong in ["", "1", "2:1", "1:1", "-1:2", "nan:1", "1:2:3", "low:high", "1,2"] {
            assert!(wrong.parse::<GuidanceInterval>().unwrap_err().contains("LOW:HIGH"), "{wrong}");
        }
    }
}
