//! What a net is told of the noise in its latents.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// A timestep: whole in a schedule of diffusion, 1000·σ in one of flow matching.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Deserialize)]
#[serde(transparent)]
pub struct Timestep(f64);

impl Timestep {
    /// The number.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl From<i64> for Timestep {
    fn from(timestep: i64) -> Self {
        Self(timestep as f64)
    }
}

impl From<f64> for Timestep {
    fn from(timestep: f64) -> Self {
        Self(timestep)
    }
}

impl fmt::Display for Timestep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A whole one without a point.
impl Serialize for Timestep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = self.0 as i64;
        if self.0.fract().abs() < f64::MIN_POSITIVE {
            serializer.serialize_i64(whole)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_ones_have_no_point() {
        let written = |timestep: Timestep| (timestep.to_string(), serde_json::to_string(&timestep).unwrap());
        assert_eq!(written(981.into()), ("981".to_owned(), "981".to_owned()));
        assert_eq!(written(750.25.into()), ("750.25".to_owned(), "750.25".to_owned()));
        for text in ["981", "750.25"] {
            assert_eq!(serde_json::from_str::<Timestep>(text).unwrap().to_string(), text);
        }
    }
}
