//! A generation: a video from a prompt alone.

use std::path::Path;

use anyhow::Result;
use motionflow::compute::Compute;
use motionflow::prompt::Prompt;
use motionflow::settings::{Init, Settings};
use motionflow_media::contact_sheet::{COLUMNS, Row, contact_sheet};
use motionflow_media::{gif, picture, video};

use crate::engine::{Engine, Stores};
use crate::estimate::{Task, Way};
use crate::folder::checksums::files_in;
use crate::folder::metadata::Notes;
use crate::folder::outputs;
use crate::folder::record::{
    OutputRecord, ProgramRecord, PromptRecord, RunHistory, RunRecord, Totals, VideoRecord, write_json,
};
use crate::folder::report;
use crate::models::suitability::{warn_of_frames, warn_of_levels};
use crate::progress::Progress;
use crate::request::tables::required;
use crate::request::{MotionOptions, prompts};
use crate::runs::compare::compare;
use crate::runs::open::{self, OpenRun};
use crate::runs::sampling::{Start, make_video};

const COMMAND: &str = "generate";

const FILES: [(&str, &str); 5] = [
    ("contact-sheet.png", "the video, frame by frame"),
    ("result.mp4", "the new video"),
    ("result.gif", "the same, for a page"),
    ("run.toml", "every setting"),
    ("run.json", "every step, and the warnings"),
];

impl Engine {
    /// Makes a video from a prompt alone.
    ///
    /// # Errors
    /// Of whatever kind; [`ErrorKind::of`](crate::error::ErrorKind::of) tells which.
    pub fn generate(&self, run: OpenRun, progress: &mut Progress) -> Result<()> {
        let resources = run.request.program.resources.clone();
        self.on_device(&resources, progress, |compute, stores, progress| {
            let output = run.output().to_owned();
            open::attempt(COMMAND, &output, compute, progress, |progress| {
                make(self, run, compute, stores, progress)
            })
        })
    }
}

fn make(
    engine: &Engine,
    run: OpenRun,
    compute: Compute,
    stores: &mut Stores,
    progress: &mut Progress,
) -> Result<()> {
    let OpenRun { request, mut folder } = run;
    let text = required(request.prompts.new.prompt.as_ref(), prompts::PROMPT_MISSING)?;
    let prompt = prompts::parse("--prompt", &text)?;
    let ffmpeg = stores.sources.ffmpeg()?;
    let found = engine.find(&request.model, progress)?;
    found.prepare_record();
    found.check_domain(&[("the prompt", &prompt)], progress);
    let settings = Settings {
        init: Init::Noise,
        updates: false,
        guided_steps: 0,
        ..request.settings.resolve(&found.recommended.settings)
    };
    found.check_settings(&settings)?;
    let size = request.video.resolve(&found.recommended.video)?;
    let context = settings.context();
    found.check_size(&size, context)?;
    warn_of_frames(&size, context, &found.recommended, progress);
    warn_of_levels(&found.schedule()?, &settings, progress);
    let compute = found.compute(request.program.resources.precision, compute);
    let task = Task::new(&found, &settings, Way::Generate, compute)?;
    engine.check_memory(&task, &size, &found, &mut stores.models)?;
    compare(&request, None, &MotionOptions::default(), &found, folder.is_resumed(), progress)?;
    folder.take_up(compute.memory, &found.recommended, progress)?;

    let model = stores.models.load(&found, compute, progress)?;
    let nets = model.nets();
    let negative_prompt = request.prompts.new.negative_prompt.as_ref();
    let negative_prompt = negative_prompt.unwrap_or(&found.recommended.negative_prompt);
    let record = RunRecord {
        program: ProgramRecord::new(COMMAND, &ffmpeg, compute),
        prompts: PromptRecord {
            source_prompt: None,
            prompt: Some(text),
            negative_prompt: Some(negative_prompt.clone()),
        },
        source: None,
        motion: MotionOptions::default(),
        video: VideoRecord::of(&size),
        model: found.record()?,
        settings,
        output: OutputRecord { metadata: request.output.metadata.unwrap_or(true) },
    };
    let [frames, height, width] = [size.frames, size.height, size.width].map(i64::from);
    let latents = context.noise(nets, [frames, height, width], record.settings.seed)?;
    let negative = Prompt::literal(negative_prompt);
    model.encode_ahead(&[&prompt, &negative])?;
    let (text, negative) = (model.encode(&prompt)?, model.encode(&negative)?);
    for warning in text.warnings.iter().chain(&negative.warnings) {
        progress.warn(warning);
    }
    let start = Start { latents, masks: None, prompt: &text, negative: &negative };
    let unfinished = folder.begin(&record)?;
    let (_, result, steps) = make_video(nets, start, &record.settings, None, unfinished, progress)?;

    let path = folder.path().to_owned();
    let notes = Notes::of(&record, progress)?;
    let mut files = FILES.to_vec();
    folder.publish(|folder| {
        let stage = progress.stage("write", 1);
        let rows = [Row { label: &prompt.text, frames: &result }];
        let write_result =
            |path: &Path| Ok(video::write_mp4(&ffmpeg, path, &result, size.fps, &notes.pairs())?);
        let write_gif = |path: &Path| Ok(gif::write_gif(&ffmpeg, path, &result, size.fps, notes.comment())?);
        let write_sheet = |path: &Path| Ok(picture::write_png(path, &contact_sheet(&rows, COLUMNS)?)?);
        let files_to_write = [
            outputs::essential("result.mp4", &write_result),
            outputs::picture("result.gif", &write_gif),
            outputs::picture("contact-sheet.png", &write_sheet),
        ];
        let left_out = outputs::write(folder, &files_to_write)?;
        stage.finish();
        left_out.tell(progress);
        files.retain(|(name, _)| !left_out.has(name));
        record.write(folder)?;
        let history = RunHistory {
            inversion: None,
            layer_choice: None,
            steps,
            masks: Vec::new(),
            totals: Totals::of(progress),
            files: files_in(folder, None)?,
        };
        write_json(&folder.join("run.json"), &history)
    })?;
    report::finished(&path, &files, &[], progress);
    Ok(())
}
