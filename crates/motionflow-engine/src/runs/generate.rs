//! `motionflow generate`: a video from a prompt alone.

use std::path::Path;

use anyhow::Result;
use motionflow::model::VideoModel;
use motionflow::prompt::Prompt;
use motionflow::settings::{Init, Settings};
use motionflow_media::contact_sheet::{COLUMNS, Row, contact_sheet};
use motionflow_media::{gif, picture, video};

use crate::args;
use crate::runs::open::{self as asked, Asked};
use crate::folder::changes::compare;
use crate::folder::checksums::files_in;
use crate::estimate::{Task, Way};
use crate::runs::sampling::{Start, make_video};
use crate::folder::leave;
use crate::folder::metadata::Notes;
use crate::request::prompts;
use crate::folder::record::{
    OutputRecord, ProgramRecord, PromptRecord, RunHistory, RunRecord, Totals, VideoRecord, write_json,
};
use crate::folder::report;
use crate::request::tables::required;
use crate::request::resolve;
use crate::session::Session;
use crate::source::find_ffmpeg;
use crate::models::suitability::warn_of_frames;

const COMMAND: &str = "generate";

const FILES: [(&str, &str); 5] = [
    ("contact-sheet.png", "the video, frame by frame"),
    ("result.mp4", "the new video"),
    ("result.gif", "the same, for a page"),
    ("run.toml", "every setting"),
    ("run.json", "every step, and the warnings"),
];

/// Runs the command.
pub(crate) fn run(args: &args::Generate, session: &mut Session) -> Result<()> {
    asked::run(COMMAND, args.request(), &args.recall, session, make)
}

fn make(asked: Asked, session: &mut Session) -> Result<()> {
    let Asked { request, mut folder } = asked;
    let text = required(request.prompts.new.prompt.as_ref(), prompts::PROMPT_MISSING)?;
    let prompt = prompts::parse("--prompt", &text)?;
    let ffmpeg = find_ffmpeg()?;
    let found = session.find(&request.model)?;
    found.prepare_record();
    let settings = Settings {
        init: Init::Noise,
        updates: false,
        guided_steps: 0,
        ..request.settings.resolve(&found.recommended.settings)
    };
    resolve::check(&settings, &found.schedule()?)?;
    let size = request.video.resolve(&found.recommended.video)?;
    found.check_size(&size)?;
    warn_of_frames(&size, &found.recommended, &mut session.progress);
    session
        .check_memory(&Task::new(found.configs()?, &settings, Way::Generate, session.compute()?)?, &size)?;
    compare(&request, None, &found, folder.is_resumed(), &mut session.progress)?;
    folder.take_up(session.memory(), &found.recommended, &mut session.progress)?;

    let model = session.load(&found)?;
    let negative_prompt = request.prompts.new.negative_prompt.as_ref();
    let negative_prompt = negative_prompt.unwrap_or(&found.recommended.negative_prompt);
    let record = RunRecord {
        program: ProgramRecord::new(COMMAND, &ffmpeg, session.compute()?),
        prompts: PromptRecord {
            source_prompt: None,
            prompt: Some(text),
            negative_prompt: Some(negative_prompt.clone()),
        },
        source: None,
        video: VideoRecord::of(&size),
        model: found.record()?,
        settings,
        output: OutputRecord { metadata: request.output.metadata.unwrap_or(true) },
    };
    let progress = &mut session.progress;
    let [frames, height, width] = [size.frames, size.height, size.width].map(i64::from);
    let latents = model.noise(frames, height, width, record.settings.seed)?;
    let text = model.encode_prompt(&prompt)?;
    let negative = model.encode_prompt(&Prompt::literal(negative_prompt))?;
    for warning in text.warnings.iter().chain(&negative.warnings) {
        progress.warn(warning);
    }
    let start = Start { latents, masks: None, prompt: &text, negative: &negative };
    let (_, result, steps) = make_video(&*model, start, &record.settings, folder.begin(&record)?, progress)?;

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
        let leaves = [
            leave::essential("result.mp4", &write_result),
            leave::picture("result.gif", &write_gif),
            leave::picture("contact-sheet.png", &write_sheet),
        ];
        let left_out = leave::write(folder, &leaves)?;
        stage.finish();
        left_out.tell(progress);
        files.retain(|(name, _)| !left_out.has(name));
        record.write(folder)?;
        let history = RunHistory {
            inversion: None,
            steps,
            masks: Vec::new(),
            totals: Totals::of(progress),
            files: files_in(folder, None)?,
        };
        write_json(&folder.join("run.json"), &history)
    })?;
    report::made(&path, &files, progress);
    Ok(())
}
