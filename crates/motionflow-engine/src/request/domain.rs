//! What a checkpoint knows: `[domain]` of its `motionflow.toml`.

use motionflow::prompt::Prompt;
use schemars::JsonSchema;
use serde::Deserialize;

/// The checkpoint to take for real footage.
const FOR_FOOTAGE: &str = "--model cerspense/zeroscope_v2_576w";
/// More words than these are not told at once.
const MOST_TOLD: usize = 60;

/// What a checkpoint that knows little knows. A checkpoint without one knows all that its text encoder does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Domain {
    /// What its videos show, in one sentence.
    pub about: String,
    /// The words for subjects that it knows.
    pub subjects: Vec<String>,
    /// The scenes that it knows, such as "in the snow".
    pub scenes: Vec<String>,
}

impl Domain {
    /// What to tell of a prompt whose subjects are not among those that are known. `which` names the prompt.
    pub fn warning(&self, which: &str, prompt: &Prompt) -> Option<String> {
        if self.subjects.is_empty() {
            return None;
        }
        let unknown: Vec<String> = if prompt.subjects.is_empty() {
            let knows_one = self.knows(&prompt.text);
            (!knows_one && !prompt.text.trim().is_empty()).then(|| prompt.text.clone()).into_iter().collect()
        } else {
            let texts = prompt.subjects.iter().map(|subject| subject.text.clone());
            texts.filter(|subject| !self.knows(subject)).collect()
        };
        if unknown.is_empty() {
            return None;
        }
        let named = unknown.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(" and ");
        Some(format!(
            "{which}: this checkpoint does not know {named}, so it will not show it: {}. Its subjects are {}. For other \
             subjects and real footage take {FOR_FOOTAGE}",
            self.about.trim_end_matches('.'),
            self.subjects[..self.subjects.len().min(MOST_TOLD)].join(", ")
        ))
    }

    /// Whether a text has one of the subjects as a word.
    fn knows(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        text.split(|letter: char| !letter.is_alphanumeric())
            .any(|word| self.subjects.iter().any(|subject| subject.to_lowercase() == word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> Domain {
        let [subjects, scenes] = [["car", "panda"], ["in the snow", "on a road"]];
        Domain {
            about: "It shows a painted world.".into(),
            subjects: subjects.map(String::from).into(),
            scenes: scenes.map(String::from).into(),
        }
    }

    fn warning(prompt: &str) -> Option<String> {
        domain().warning("the prompt", &prompt.parse().unwrap())
    }

    #[test]
    fn unknown_subjects_are_told_with_what_is_known() {
        assert_eq!(warning("a [Red Car] on a road"), None);
        assert_eq!(warning("a panda in the snow"), None);
        let told = warning("a [bear] and a [panda] in the snow").unwrap();
        assert!(told.contains("\"bear\"") && !told.contains("\"panda\""), "{told}");
        assert!(told.contains("a painted world. Its subjects are car, panda.") && told.contains("zeroscope"));
        assert!(warning("a scarf").unwrap().contains("\"a scarf\""), "part of a word is no word");
    }

    #[test]
    fn a_checkpoint_without_a_list_knows_everything() {
        let open = Domain::default();
        assert_eq!(open.warning("the prompt", &"a [bear]".parse().unwrap()), None);
    }
}
