//! Many results, and a report on them: clips x prompts x variants x seeds from a file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::{Table, Value};

use super::{Cell, Experiment, Report, Variant, cells_folder, differences, slug};
use crate::batch::jobs::{self, Job};
use crate::batch::values;
use crate::engine::Engine;
use crate::error::Misuse;
use crate::eval::judges::Judges;
use crate::progress::Progress;
use crate::request::{MotionOptions, Request};
use crate::toml_file;

/// The file of a suite.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct File {
    /// What the report is called.
    title: String,
    /// Every transfer is made with each; else once, with the seed that the settings say.
    seeds: Vec<u64>,
    /// What measures the results.
    measure: Judges,
    /// What every transfer asks for where its variant says nothing.
    defaults: Request,
    /// The sources.
    clip: Vec<Clip>,
    /// File with more sources, as [[clip]], relative to this file's folder
    clips_from: Option<PathBuf>,
    /// How many of each clip's prompts are taken, from the first on; all where nothing is said
    prompts_per_clip: Option<usize>,
    /// The settings that are compared.
    variant: Vec<Named>,
}

/// A source and what is made of it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Clip {
    /// Name of the clip in the report
    name: String,
    /// What kind of motion it has, where the report shall put clips together
    motion: Option<String>,
    /// The video, relative to the file's folder
    source: PathBuf,
    /// What it shows, its subject in brackets
    source_prompt: String,
    /// File that says where its subjects are, relative to the file's folder
    truth: Option<PathBuf>,
    /// The motion that is given instead of a source, or what is changed of the source's
    #[serde(flatten)]
    given: MotionOptions,
    /// The same as its file says it
    #[serde(skip)]
    given_said: MotionOptions,
    /// What the new videos show, each with its subject in brackets
    prompts: Vec<String>,
    /// The source as its file says it
    #[serde(skip)]
    said: PathBuf,
}

/// A file of sources that several suites share.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Clips {
    /// The sources.
    clip: Vec<Clip>,
}

/// A request under a name.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Named {
    /// Name of the variant in the report
    name: String,
    #[serde(flatten)]
    request: Request,
}

/// The experiment that a file asks for. `judges` go before those of the file.
///
/// # Errors
/// When the file cannot be read, or says what no transfer may.
pub fn read(
    path: &Path,
    output: PathBuf,
    judges: &Judges,
    engine: &Engine,
    progress: &mut Progress,
) -> Result<Experiment> {
    let misuse = |what: String| Misuse(format!("{}: {what}", path.display()));
    let file = toml_file::read(path)?;
    let File { title, seeds, measure, defaults, clip, clips_from, prompts_per_clip, variant: variants } =
        file;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut clips = in_folder(clip, folder);
    if let Some(more) = clips_from.map(|more| folder.join(more)) {
        let Clips { clip } = toml_file::read(&more)?;
        clips.extend(in_folder(clip, more.parent().unwrap_or(Path::new(""))));
    }
    if prompts_per_clip == Some(0) {
        return Err(misuse("prompts_per_clip is 0, but must be 1 or more".to_owned()).into());
    }
    for clip in &mut clips {
        clip.prompts.truncate(prompts_per_clip.unwrap_or(usize::MAX));
    }
    check(&clips, &variants, &seeds).map_err(misuse)?;
    for Clip { name, truth, .. } in &clips {
        if let Some(truth) = truth.as_ref().filter(|truth| !truth.is_file()) {
            return Err(misuse(format!("clip \"{name}\": there is no file {}", truth.display())).into());
        }
    }
    let mut requests = Vec::new();
    for Named { name, request } in &variants {
        let whose = |what: &str| misuse(format!("variant \"{name}\": {what}"));
        if let Some(what) = values::contradiction_in(request)? {
            return Err(whose(&what).into());
        }
        let request = request.over(defaults.clone())?;
        jobs::refuse_what_is_for_all(&request).map_err(|what| whose(&what))?;
        let clips_own = ["prompts.prompt", "prompts.source_prompt", "source.path", "source.inversion"];
        if let Some(key) = request.keys()?.keys().find(|key| clips_own.contains(&key.as_str())) {
            return Err(whose(&format!("{key} cannot be said here; every [[clip]] has its own")).into());
        }
        // The truth is of the file's frames, one by one.
        let cut = &request.source.cut;
        let is_cut = cut.start.is_some_and(|start| start > 0.0) || cut.every.is_some_and(|every| every > 1);
        if let Some(clip) = clips.iter().find(|clip| is_cut && clip.truth.is_some()) {
            let what = format!(
                "source.start and source.every cannot be said for the clip \"{}\", whose truth is of every frame from \
                 the first on",
                clip.name
            );
            return Err(whose(&what).into());
        }
        let mut from_here = request.clone();
        from_here.paths_from(folder);
        values::check(&from_here, engine, progress).map_err(|what| whose(&what))?;
        requests.push(request);
    }
    let mut cells = Vec::new();
    let seeds: Vec<Option<u64>> =
        if seeds.is_empty() { vec![None] } else { seeds.into_iter().map(Some).collect() };
    for clip in &clips {
        for (variant, (Named { name, .. }, request)) in variants.iter().zip(&requests).enumerate() {
            for prompt in &clip.prompts {
                for &seed in &seeds {
                    cells.push(cell(clip, folder, prompt, (variant, name), seed, request.clone(), &output)?);
                }
            }
        }
    }
    let said: Result<Vec<_>> = variants.iter().map(|variant| variant.request.keys()).collect();
    let variants = variants.into_iter().zip(differences(said?));
    Ok(Experiment {
        title: if title.is_empty() { stem(path) } else { title },
        file: path.to_owned(),
        output,
        variants: variants.map(|(Named { name, .. }, settings)| Variant { name, settings }).collect(),
        cells,
        judges: Some(over(judges, measure)?),
        report: Report::Page,
    })
}

fn cell(
    clip: &Clip,
    folder: &Path,
    prompt: &str,
    (variant, variant_name): (usize, &str),
    seed: Option<u64>,
    mut request: Request,
    output: &Path,
) -> Result<Cell> {
    let mut name = [&clip.name, prompt, variant_name].map(slug).join("--");
    name.extend(seed.map(|seed| format!("--seed-{seed}")));
    request.source.path = said(&clip.said);
    request.prompts.source_prompt = Some(clip.source_prompt.clone()).filter(|prompt| !prompt.is_empty());
    let mut request = with_motion(&clip.given_said, &request)?;
    request.prompts.new.prompt = Some(prompt.to_owned());
    request.settings.sampling.seed = seed.or(request.settings.sampling.seed);
    // Without the folder's own place, so that a report may be moved together with what it was made of.
    let requested = request.to_text_as_said()?;
    request.paths_from(folder);
    request.source.path = said(&clip.source);
    if !clip.given.is_empty() {
        request = with_motion(&clip.given, &request)?;
    }
    Ok(Cell {
        job: Job { folder: cells_folder(output).join(&name), name, request, requested },
        clip: clip.name.clone(),
        motion: clip.motion.clone(),
        prompt: prompt.to_owned(),
        variant,
        seed,
        truth: clip.truth.clone(),
    })
}

fn said(path: &Path) -> Option<PathBuf> {
    Some(path.to_owned()).filter(|path| !path.as_os_str().is_empty())
}

/// A request with the motion of its clip.
fn with_motion(motion: &MotionOptions, request: &Request) -> Result<Request> {
    Request { motion: motion.clone(), ..Request::default() }.over(request.clone())
}

/// Lets the clips' paths start at `folder`.
fn in_folder(mut clips: Vec<Clip>, folder: &Path) -> Vec<Clip> {
    for clip in &mut clips {
        clip.said.clone_from(&clip.source);
        if !clip.source.as_os_str().is_empty() {
            clip.source = folder.join(&clip.source);
        }
        clip.truth = clip.truth.take().map(|truth| folder.join(truth));
        clip.given_said.clone_from(&clip.given);
        for path in clip.given.paths_mut() {
            *path = folder.join(&*path);
        }
    }
    clips
}

/// Checks what the schema cannot: that there is something to do, and that no two transfers share a folder.
fn check(clips: &[Clip], variants: &[Named], seeds: &[u64]) -> Result<(), String> {
    if clips.is_empty() {
        return Err("has no [[clip]]; give one for every source, or name a file of them with clips_from (docs/suite.md)".to_owned());
    }
    if variants.is_empty() {
        return Err(
            "has no [[variant]]; give one for all settings that are compared (docs/suite.md)".to_owned()
        );
    }
    distinct("clips", clips.iter().map(|clip| clip.name.as_str()))?;
    distinct("variants", variants.iter().map(|variant| variant.name.as_str()))?;
    for Clip { name, source, source_prompt, prompts, given, .. } in clips {
        let missing = [
            ("source", source.as_os_str().is_empty() && !given.gives_all()),
            ("source_prompt", source_prompt.is_empty() && !given.gives_all()),
            ("prompts", prompts.is_empty()),
        ];
        if let Some((key, _)) = missing.into_iter().find(|(_, missing)| *missing) {
            return Err(format!("clip \"{name}\" has no {key}"));
        }
        distinct(&format!("prompts of the clip \"{name}\""), prompts.iter().map(String::as_str))?;
    }
    if seeds.iter().collect::<BTreeSet<_>>().len() < seeds.len() {
        return Err("a seed is there twice".to_owned());
    }
    Ok(())
}

/// Names that would give folders of one name are one too many.
fn distinct<'a>(of: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.trim().is_empty() {
            return Err(format!("one of the {of} has no name"));
        }
        if !seen.insert(slug(name)) {
            return Err(format!("two of the {of} are named \"{name}\", or nearly so"));
        }
    }
    Ok(())
}

/// What the flags say of the judges, and the file where they say nothing.
fn over(flags: &Judges, file: Judges) -> Result<Judges> {
    let mut judges = Table::try_from(file)?;
    judges.extend(Table::try_from(flags)?);
    Ok(Value::Table(judges).try_into()?)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
