//! What the nets' JSON configs have in common: checks of values that would change the arithmetic.

use thiserror::Error;

use crate::printable::printable;

/// A checkpoint's `config.json` asks for something that this program does not compute.
#[derive(Debug, Error)]
#[error("{}: {key} is {found}, but this program runs {expected}", place_of(component))]
pub struct ConfigError {
    /// The component's folder: `unet`, `motion_adapter`, `vae`, `text_encoder` or `scheduler`; or a part of a CLIP model: `config`,
    /// `text_config`, `vision_config` or `preprocessor`.
    pub component: &'static str,
    /// The key in the file.
    pub key: String,
    /// The value in the file.
    pub found: String,
    /// What could stand there.
    pub expected: String,
}

/// The file that says it.
fn place_of(component: &str) -> String {
    match component {
        "scheduler" => "scheduler/scheduler_config.json".to_owned(),
        "preprocessor" => "preprocessor_config.json".to_owned(),
        "config" => "config.json".to_owned(),
        "motion_adapter" => "the motion adapter's config.json".to_owned(),
        "text_config" | "vision_config" => format!("config.json, {component}"),
        folder => format!("{folder}/config.json"),
    }
}

impl ConfigError {
    /// Of a component's config; `found` is shown as Rust writes it.
    pub fn new(
        component: &'static str,
        key: impl Into<String>,
        found: impl std::fmt::Debug,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            component,
            key: key.into(),
            found: printable(&format!("{found:?}")),
            expected: expected.into(),
        }
    }
}

/// Largest channel count, group count and the like that a config may name: far above any published net, and small
/// enough that no product of a few of them overflows.
const LARGEST: i64 = 1 << 20;

/// Checks that `value` is a count that a net can have.
///
/// # Errors
/// [`ConfigError`] with the range.
pub fn count(component: &'static str, key: &str, value: i64) -> Result<(), ConfigError> {
    if (1..=LARGEST).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::new(component, key, value, format!("1 to {LARGEST}")))
}

/// Checks that `value` is a small positive number, as what keeps a norm from dividing by zero.
pub(crate) fn epsilon(component: &'static str, key: &str, value: f64) -> Result<(), ConfigError> {
    if value > 0.0 && value < 1.0 {
        return Ok(());
    }
    Err(ConfigError::new(component, key, value, "more than 0 and less than 1"))
}

/// Checks that `channels` split evenly into `parts` (groups of a norm, heads of an attention).
pub(crate) fn divides(
    component: &'static str,
    key: &str,
    parts: i64,
    channels: i64,
) -> Result<(), ConfigError> {
    if channels % parts == 0 {
        return Ok(());
    }
    Err(ConfigError::new(component, key, parts, format!("a divisor of {channels} channels")))
}
