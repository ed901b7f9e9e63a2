//! A figure: a number with a name, and what measured it.

use serde::{Deserialize, Serialize};

/// One number about a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is, as the field calls it: `motion_fidelity_lk`, `text_similarity`, `trajectory_error`.
    pub name: String,
    /// The subject that it is about, where it is about one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The number.
    pub value: f64,
    /// The model, tracker or detector that it was made with.
    pub made_with: String,
}
