//! The tokens of a prompt, as the text encoder will get it.

use axum::http::Method;
use motionflow_engine::plan::tokens::{PromptToken, Special};
use motionflow_engine::progress::Progress;
use motionflow_engine::request::tables;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::route::{Json, NoQuery, Route, Shared};

/// A prompt with its brackets.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Whose tokenizer; the default checkpoint's where nothing is said
    model: Option<String>,
    prompt: String,
    which: WhichPrompt,
}

/// What the prompt is of.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum WhichPrompt {
    /// The source.
    Source,
    /// The new video.
    New,
}

/// The tokens of a prompt.
#[derive(Debug, Serialize, JsonSchema)]
struct PromptTokens {
    /// Without brackets
    text: String,
    tokens: Vec<Token>,
    subjects: Vec<Subject>,
    /// Tokens that the text encoder takes
    limit: usize,
    warnings: Vec<String>,
}

/// A token. Places in the text count UTF-16 units.
#[derive(Debug, Serialize, JsonSchema)]
struct Token {
    position: usize,
    text: String,
    start: usize,
    end: usize,
    /// start or end, of a token that stands for no text
    special: Option<&'static str>,
    /// Which one it belongs to, from 0
    subject: Option<usize>,
    /// Whether the vocabulary does not have it
    unknown: bool,
    /// Whether its word goes on in the next token
    piece: bool,
}

/// A subject. Places in the text count UTF-16 units.
#[derive(Debug, Serialize, JsonSchema)]
struct Subject {
    text: String,
    start: usize,
    end: usize,
    /// Positions
    tokens: Vec<usize>,
}

pub(crate) fn routes() -> Vec<Route> {
    vec![Route::new(&Method::POST, "/api/prompts", "The tokens of a prompt", tokens)]
}

/// Bytes of a text in UTF-16 units.
fn units(text: &str, bytes: usize) -> usize {
    text.get(..bytes).map_or(0, |before| before.encode_utf16().count())
}

fn tokens(
    studio: &Shared,
    (): (),
    _: NoQuery,
    Json(asked): Json<Asked>,
) -> Result<Json<PromptTokens>, Problem> {
    let mut model = tables::Model::default();
    model.chosen.name = asked.model.or_else(|| studio.options.model.clone());
    model.chosen.name.as_deref().map_or(Ok(()), |name| studio.check_model(name))?;
    studio.refuse_to_fetch(&model)?;
    let which = match asked.which {
        WhichPrompt::Source => "the source prompt",
        WhichPrompt::New => "the prompt",
    };
    let found = studio.planner.tokens(&model, which, &asked.prompt, &mut Progress::silent())?;
    let text = &found.prompt.text;
    let token = |token: &PromptToken| Token {
        position: token.position,
        text: token.text.clone(),
        start: units(text, token.range.start),
        end: units(text, token.range.end),
        special: token.special.map(|special| match special {
            Special::Start => "start",
            Special::End => "end",
        }),
        subject: token.subject,
        unknown: token.is_unknown,
        piece: token.is_piece,
    };
    let of = |index: usize| {
        let tokens = found.tokens.iter().filter(move |token| token.subject == Some(index));
        tokens.map(|token| token.position).collect()
    };
    let subjects = found.prompt.subjects.iter().enumerate().map(|(index, subject)| Subject {
        text: subject.text.clone(),
        start: units(text, subject.range.start),
        end: units(text, subject.range.end),
        tokens: of(index),
    });
    Ok(Json(PromptTokens {
        text: text.clone(),
        tokens: found.tokens.iter().map(token).collect(),
        subjects: subjects.collect(),
        limit: found.limit,
        warnings: found.warnings.clone(),
    }))
}
