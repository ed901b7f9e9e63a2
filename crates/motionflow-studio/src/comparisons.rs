//! Blind comparisons of results, as the field's user studies make them: pairs in random order and on random sides, a question
//! each, and the preference with its interval.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use motionflow_engine::clips;
use motionflow_engine::source::find_ffmpeg;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use crate::files;
use crate::jobs::is_id;
use crate::place::inside;
use crate::problem::{Code, Problem};
use crate::route::{Done, Json, NoBody, NoQuery, Route, Shared, With};
use crate::runs::read_toml;
use crate::studio::{Studio, now, random_id};

/// What is asked where nothing is said.
const QUESTIONS: [&str; 3] = ["motion", "prompt", "quality"];
/// Of a normal distribution, for 95 %.
const Z: f64 = 1.959_963_984_540_054;
/// Characters of a voter's name, a question or a label.
const LONGEST: usize = 100;
/// Votes of one comparison.
const MOST_VOTES: usize = 100_000;
/// Comparisons at once.
const MOST: usize = 1000;

/// One side of a comparison: its runs, a folder of runs, or a variant of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Side {
    label: String,
    #[serde(default)]
    runs: Option<Vec<String>>,
    #[serde(default)]
    folder: Option<String>,
    #[serde(default)]
    report: Option<String>,
    #[serde(default)]
    variant: Option<String>,
}

/// A comparison to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewComparison {
    title: String,
    a: Side,
    b: Side,
    #[serde(default)]
    questions: Option<Vec<String>>,
}

/// A comparison.
#[derive(Debug, Serialize, JsonSchema)]
struct Comparison {
    id: String,
    title: String,
    /// Its label
    a: String,
    /// Its label
    b: String,
    questions: Vec<String>,
    pairs: usize,
    votes: usize,
    voters: usize,
    /// Seconds since 1970
    created: f64,
}

/// All comparisons.
#[derive(Debug, Serialize, JsonSchema)]
struct Comparisons {
    comparisons: Vec<Comparison>,
}

/// The file of a comparison.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    asked: NewComparison,
    questions: Vec<String>,
    pairs: Vec<KeptPair>,
    /// Makes the order and sides.
    salt: String,
    created: f64,
}

/// Two results of one source and prompt.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct KeptPair {
    id: String,
    a: String,
    b: String,
    prompt: Option<String>,
}

/// A line of the file of votes.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Vote {
    voter: String,
    pair: String,
    /// a, b or same
    answers: BTreeMap<String, String>,
    time: f64,
}

/// Who is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Who {
    voter: String,
}

/// What a voter sees next.
#[derive(Debug, Serialize, JsonSchema)]
struct Pair {
    /// Null: this voter is done
    pair: Option<String>,
    /// Address of a video
    left: Option<String>,
    /// Address of a video
    right: Option<String>,
    /// Address of a video
    source: Option<String>,
    prompt: Option<String>,
    done: usize,
    of: usize,
}

/// What a voter says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewVote {
    voter: String,
    pair: String,
    /// left, right or same to every question
    answers: BTreeMap<String, String>,
}

/// What came out.
#[derive(Debug, Serialize, JsonSchema)]
struct Outcome {
    questions: Vec<Preference>,
    votes: usize,
    voters: usize,
}

/// What came out of one question.
#[derive(Debug, Serialize, JsonSchema)]
struct Preference {
    question: String,
    a: usize,
    b: usize,
    same: usize,
    /// The share of a; same counts half for each
    preference: Option<f64>,
    /// Of its 95 % interval (Wilson)
    low: Option<f64>,
    high: Option<f64>,
}

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new(&Method::GET, "/api/comparisons", "Blind comparisons", list),
        Route::new(&Method::PUT, "/api/comparisons/{id}", "Makes a comparison", put),
        Route::new(&Method::GET, "/api/comparisons/{id}", "A comparison", get),
        Route::new(&Method::DELETE, "/api/comparisons/{id}", "Removes a comparison with its votes", remove),
        Route::new(&Method::GET, "/api/comparisons/{id}/next", "What a voter sees next", next),
        Route::new(&Method::POST, "/api/comparisons/{id}/votes", "Keeps a vote", vote),
        Route::new(&Method::GET, "/api/comparisons/{id}/result", "What came out", result),
        Route::raw("/api/comparisons/{id}/videos/{key}", "A video of a pair", "video/mp4", video),
    ]
}

/// A number that is the same for the same texts, and looks random.
fn drawn(parts: &[&str]) -> u64 {
    let digest = Sha256::digest(parts.join("\n"));
    digest.iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte))
}

impl Kept {
    /// The name of a video that tells nothing of what it is.
    fn key(&self, pair: &str, what: &str) -> String {
        format!("{:016x}", drawn(&[&self.salt, "video", pair, what]))
    }

    /// Whether a voter sees a on the left.
    fn a_is_left(&self, voter: &str, pair: &str) -> bool {
        drawn(&[&self.salt, "side", voter, pair]).is_multiple_of(2)
    }

    /// The pairs in a voter's order.
    fn order(&self, voter: &str) -> Vec<&KeptPair> {
        let mut pairs: Vec<&KeptPair> = self.pairs.iter().collect();
        pairs.sort_by_key(|pair| drawn(&[&self.salt, "order", voter, &pair.id]));
        pairs
    }
}

impl Studio {
    fn comparison_folder(&self, id: &str) -> Result<PathBuf, Problem> {
        if is_id(id) {
            return Ok(self.place.own("comparisons").join(id));
        }
        Err(Problem::malformed("the id of a comparison has 1 to 64 letters, digits, - and _"))
    }

    fn comparison(&self, id: &str) -> Result<(Kept, Vec<Vote>), Problem> {
        let folder = self.comparison_folder(id)?;
        let nothing = || Problem::not_found(format!("there is no comparison \"{id}\""));
        let kept = fs::read(folder.join("comparison.json")).map_err(|_| nothing())?;
        let kept = serde_json::from_slice(&kept).map_err(|_| {
            Problem::new(
                Code::Unreadable,
                format!("the file of the comparison \"{id}\" is damaged; remove the comparison"),
            )
        })?;
        let votes = fs::read_to_string(folder.join("votes.jsonl")).unwrap_or_default();
        // A line that was not written to its end is no vote.
        Ok((kept, votes.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()))
    }

    /// The comparison that shows a run, where one does.
    pub(crate) fn comparison_of(&self, run: &str) -> Option<String> {
        let entries = fs::read_dir(self.place.own("comparisons")).into_iter().flatten().flatten();
        let mut ids = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let shows = |pair: &KeptPair| pair.a == run || pair.b == run;
        ids.find(|id| self.comparison(id).is_ok_and(|(kept, _)| kept.pairs.iter().any(shows)))
    }

    /// The runs of a side, each with what it is paired by.
    fn runs_of(&self, side: &Side) -> Result<Vec<(String, String)>, Problem> {
        let misuse = |what: String| Problem::new(Code::Misuse, what);
        let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
        match (&side.runs, &side.folder, &side.report, &side.variant) {
            (Some(runs), None, None, None) => {
                for run in runs {
                    self.run_folder(run)?;
                }
                Ok(runs.iter().enumerate().map(|(index, run)| (format!("{index:06}"), run.clone())).collect())
            }
            (None, Some(folder), None, None) => {
                Ok(self.runs_in(Some(folder))?.into_iter().map(|(name, _)| (last(&name), name)).collect())
            }
            (None, None, Some(report), Some(variant)) => {
                let rows = self.report(report, true)?.rows();
                let of = rows
                    .into_iter()
                    .filter(|row| row.values.get("variant").and_then(Value::as_str) == Some(variant));
                let runs = of.filter_map(|row| {
                    let key = ["clip", "prompt", "seed"]
                        .map(|key| row.values.get(key).map(Value::to_string).unwrap_or_default());
                    Some((key.join("\n"), row.run?))
                });
                Ok(runs.collect())
            }
            _ => {
                Err(misuse("a side is runs, a folder, or a variant of a report; give one of them".to_owned()))
            }
        }
    }

    fn pairs_of(&self, asked: &NewComparison) -> Result<Vec<KeptPair>, Problem> {
        let (a, b) = (self.runs_of(&asked.a)?, self.runs_of(&asked.b)?);
        let b: BTreeMap<String, String> = b.into_iter().collect();
        let mut pairs = Vec::new();
        for (key, a) in a {
            let Some(b) = b.get(&key) else { continue };
            if [&a, b].iter().any(|run| inside(&self.place.runs().join(run), "result.mp4").is_none()) {
                continue;
            }
            let record = read_toml(&self.place.runs().join(&a).join("run.toml")).unwrap_or_default();
            let prompt = record.pointer("/prompts/prompt").and_then(Value::as_str);
            let prompt = prompt.map(|prompt| prompt.replace(['[', ']'], ""));
            pairs.push(KeptPair { id: format!("p{}", pairs.len() + 1), a, b: b.clone(), prompt });
        }
        if pairs.is_empty() {
            let message = "the two sides have no pair of results: runs are paired by the last part of their names, lists in order";
            return Err(Problem::new(Code::Misuse, message));
        }
        Ok(pairs)
    }

    fn shown_comparison(&self, id: &str) -> Result<Comparison, Problem> {
        let (kept, votes) = self.comparison(id)?;
        let voters: BTreeSet<&String> = votes.iter().map(|vote| &vote.voter).collect();
        Ok(Comparison {
            id: id.to_owned(),
            title: kept.asked.title,
            a: kept.asked.a.label,
            b: kept.asked.b.label,
            questions: kept.questions,
            pairs: kept.pairs.len(),
            votes: votes.len(),
            voters: voters.len(),
            created: kept.created,
        })
    }
}

fn list(studio: &Shared, (): (), _: NoQuery, _: NoBody) -> Result<Json<Comparisons>, Problem> {
    let entries = fs::read_dir(studio.place.own("comparisons")).into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut comparisons: Vec<Comparison> = ids.filter_map(|id| studio.shown_comparison(&id).ok()).collect();
    comparisons.sort_by(|one, other| other.created.total_cmp(&one.created));
    Ok(Json(Comparisons { comparisons }))
}

fn checked(text: &str, what: &str) -> Result<(), Problem> {
    let is_fit =
        !text.trim().is_empty() && text.chars().count() <= LONGEST && !text.chars().any(char::is_control);
    if is_fit {
        Ok(())
    } else {
        Err(Problem::new(Code::Misuse, format!("{what} must have 1 to {LONGEST} characters")))
    }
}

fn put(
    studio: &Shared,
    id: String,
    _: NoQuery,
    Json(asked): Json<NewComparison>,
) -> Result<With<Comparison>, Problem> {
    let folder = studio.comparison_folder(&id)?;
    let _alone = studio.changing();
    if let Ok((kept, _)) = studio.comparison(&id) {
        if kept.asked == asked {
            return Ok(With(StatusCode::OK, studio.shown_comparison(&id)?));
        }
        return Err(Problem::new(
            Code::Exists,
            format!("there is another comparison \"{id}\"; give another id"),
        ));
    }
    if fs::read_dir(studio.place.own("comparisons"))?.count() >= MOST {
        return Err(Problem::new(Code::TooMany, format!("there are {MOST} comparisons; remove some")));
    }
    checked(&asked.title, "the title")?;
    checked(&asked.a.label, "a label")?;
    checked(&asked.b.label, "a label")?;
    let questions = asked.questions.clone().unwrap_or_else(|| QUESTIONS.map(str::to_owned).into());
    questions.iter().try_for_each(|question| checked(question, "a question"))?;
    if questions.is_empty() || questions.iter().collect::<BTreeSet<_>>().len() != questions.len() {
        return Err(Problem::new(Code::Misuse, "give at least one question, and each once"));
    }
    let pairs = studio.pairs_of(&asked)?;
    let kept = Kept { asked, questions, pairs, salt: random_id(16)?, created: now() };
    fs::create_dir_all(&folder)?;
    let text =
        serde_json::to_vec_pretty(&kept).map_err(|error| Problem::new(Code::Failed, error.to_string()))?;
    studio.write_whole(&folder.join("comparison.json"), &text)?;
    Ok(With(StatusCode::CREATED, studio.shown_comparison(&id)?))
}

fn get(studio: &Shared, id: String, _: NoQuery, _: NoBody) -> Result<Json<Comparison>, Problem> {
    Ok(Json(studio.shown_comparison(&id)?))
}

fn remove(studio: &Shared, id: String, _: NoQuery, _: NoBody) -> Result<Done, Problem> {
    let folder = studio.comparison_folder(&id)?;
    if !folder.is_dir() {
        return Err(Problem::not_found(format!("there is no comparison \"{id}\"")));
    }
    fs::remove_dir_all(folder)?;
    Ok(Done)
}

fn next(studio: &Shared, id: String, who: Who, _: NoBody) -> Result<Json<Pair>, Problem> {
    checked(&who.voter, "the voter's name")?;
    let (kept, votes) = studio.comparison(&id)?;
    let done: BTreeSet<&str> =
        votes.iter().filter(|vote| vote.voter == who.voter).map(|vote| vote.pair.as_str()).collect();
    let (done_count, of) = (done.len(), kept.pairs.len());
    let Some(pair) = kept.order(&who.voter).into_iter().find(|pair| !done.contains(pair.id.as_str())) else {
        return Ok(Json(Pair {
            pair: None,
            left: None,
            right: None,
            source: None,
            prompt: None,
            done: done_count,
            of,
        }));
    };
    let url = |what: &str| format!("/api/comparisons/{id}/videos/{}", kept.key(&pair.id, what));
    let (left, right) = if kept.a_is_left(&who.voter, &pair.id) { ("a", "b") } else { ("b", "a") };
    let has_source = video_path(studio, pair, "source").is_some();
    Ok(Json(Pair {
        pair: Some(pair.id.clone()),
        left: Some(url(left)),
        right: Some(url(right)),
        source: has_source.then(|| url("source")),
        prompt: pair.prompt.clone(),
        done: done_count,
        of,
    }))
}

fn vote(studio: &Shared, id: String, _: NoQuery, Json(new): Json<NewVote>) -> Result<With<Value>, Problem> {
    checked(&new.voter, "the voter's name")?;
    let _alone = studio.changing();
    let (kept, votes) = studio.comparison(&id)?;
    if !kept.pairs.iter().any(|pair| pair.id == new.pair) {
        return Err(Problem::not_found(format!("there is no pair \"{}\"", new.pair)));
    }
    if votes.iter().any(|vote| vote.voter == new.voter && vote.pair == new.pair) {
        return Err(Problem::new(Code::Voted, format!("{} has voted on this pair", new.voter)));
    }
    if votes.len() >= MOST_VOTES {
        return Err(Problem::new(Code::TooMany, format!("there are {MOST_VOTES} votes")));
    }
    let a_is_left = kept.a_is_left(&new.voter, &new.pair);
    let mut answers = BTreeMap::new();
    for question in &kept.questions {
        let answer = match (new.answers.get(question).map(String::as_str), a_is_left) {
            (Some("same"), _) => "same",
            (Some("left"), true) | (Some("right"), false) => "a",
            (Some("left"), false) | (Some("right"), true) => "b",
            _ => {
                let message = format!("the question \"{question}\" takes left, right or same");
                return Err(Problem::new(Code::Misuse, message));
            }
        };
        answers.insert(question.clone(), answer.to_owned());
    }
    if answers.len() != new.answers.len() {
        return Err(Problem::new(Code::Misuse, "there is an answer to a question that was not asked"));
    }
    let vote = Vote { voter: new.voter, pair: new.pair, answers, time: now() };
    let line = serde_json::to_string(&vote).map_err(|error| Problem::new(Code::Failed, error.to_string()))?;
    let path = studio.comparison_folder(&id)?.join("votes.jsonl");
    let mut text = fs::read_to_string(&path).unwrap_or_default();
    text.push_str(&line);
    text.push('\n');
    studio.write_whole(&path, text.as_bytes())?;
    Ok(With(StatusCode::CREATED, json!({})))
}

/// The 95 % interval of a share of so many (E. B. Wilson, 1927).
fn wilson(share: f64, count: f64) -> (f64, f64) {
    let square = Z * Z / count;
    let middle = (share + square / 2.0) / (1.0 + square);
    let half = Z * (share * (1.0 - share) / count + square / (4.0 * count)).sqrt() / (1.0 + square);
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

fn result(studio: &Shared, id: String, _: NoQuery, _: NoBody) -> Result<Json<Outcome>, Problem> {
    let (kept, votes) = studio.comparison(&id)?;
    let preference = |question: &String| {
        let count = |answer: &str| {
            votes.iter().filter(|vote| vote.answers.get(question).is_some_and(|said| said == answer)).count()
        };
        let (a, b, same) = (count("a"), count("b"), count("same"));
        let all = (a + b + same) as f64;
        let share = (all > 0.0).then(|| (a as f64 + same as f64 / 2.0) / all);
        let interval = share.map(|share| wilson(share, all));
        Preference {
            question: question.clone(),
            a,
            b,
            same,
            preference: share,
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
        }
    };
    let voters: BTreeSet<&String> = votes.iter().map(|vote| &vote.voter).collect();
    Ok(Json(Outcome {
        questions: kept.questions.iter().map(preference).collect(),
        votes: votes.len(),
        voters: voters.len(),
    }))
}

/// A video of a pair; the source where the studio has it.
fn video_path(studio: &Studio, pair: &KeptPair, what: &str) -> Option<PathBuf> {
    let run = studio.place.runs().join(if what == "b" { &pair.b } else { &pair.a });
    if what != "source" {
        return inside(&run, "result.mp4");
    }
    let record = read_toml(&run.join("run.toml"))?;
    let path = PathBuf::from(record.pointer("/source/path")?.as_str()?);
    studio.place.reference_of(&path).map(|_| path)
}

/// The file of a video by its key. Results are given without their settings, which would tell what they are.
fn video_file(studio: &Studio, id: &str, key: &str) -> Result<PathBuf, Problem> {
    let nothing = || Problem::not_found("there is no such video");
    let (kept, _) = studio.comparison(id)?;
    let all = kept.pairs.iter().flat_map(|pair| ["a", "b", "source"].map(|what| (pair, what)));
    let (pair, what) =
        all.into_iter().find(|(pair, what)| kept.key(&pair.id, what) == key).ok_or_else(nothing)?;
    let path = video_path(studio, pair, what).ok_or_else(nothing)?;
    if what == "source" {
        return Ok(path);
    }
    let plain = studio.comparison_folder(id)?.join(format!("{key}.mp4"));
    if !plain.is_file() {
        clips::write_without_settings(&find_ffmpeg()?, &path, &plain)?;
    }
    Ok(plain)
}

async fn video(studio: Shared, request: Request<Body>) -> Response {
    let path = request.uri().path();
    let (id, key) =
        (files::segment(path, 2).unwrap_or_default(), files::segment(path, 4).unwrap_or_default());
    let found = spawn_blocking(move || {
        video_file(&studio, &id, &key).map_err(|problem| problem.without(studio.place.runs()))
    });
    match found.await {
        Ok(Ok(path)) => files::serve(&path, request).await,
        Ok(Err(problem)) => problem.into_response(),
        Err(error) => Problem::new(Code::Failed, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        let (low, high) = wilson(0.5, 10.0);
        assert!((low - 0.2366).abs() < 1e-4 && (high - 0.7634).abs() < 1e-4, "{low} {high}");
        let (low, high) = wilson(1.0, 4.0);
        assert!((low - 0.5101).abs() < 1e-4 && high <= 1.0, "{low} {high}");
    }
}
