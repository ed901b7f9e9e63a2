//! `motionflow generate`: a video from a prompt alone.

use anyhow::Result;
use motionflow::model::VideoModel;
use motionflow::prompt::Prompt;
use motionflow::settings::{Init, Settings};
use motionflow_media::contact_sheet::{COLUMNS, Row, contact_sheet};
use motionflow_media::{gif, picture, video};

use crate::args;
use crate::generating::{Start, make_video};
use crate::model::FoundModel;
use crate::progress::Progress;
use crate::prompts;
use crate::record::{
    ProgramRecord, PromptRecord, RunHistory, RunRecord, Totals, VideoRecord, write_json, write_toml,
};
use crate::report;
use crate::resolve::{self, SettingFlags};
use crate::run_folder::RunFolder;
use crate::source::find_ffmpeg;

const FILES: [(&str, &str); 5] = [
    ("contact-sheet.png", "the video, frame by frame"),
    ("result.mp4", "the new video"),
    ("result.gif", "the same, for a page"),
    ("run.toml", "every setting"),
    ("run.json", "every step, and the warnings"),
];

/// Runs the command.
pub(crate) fn run(args: &args::Generate, progress: &mut Progress) -> Result<()> {
    let prompt = prompts::parse("--prompt", &args.prompts.prompt)?;
    let output = RunFolder::claim(&args.output.output, args.output.force)?;
    let ffmpeg = find_ffmpeg()?;
    let found = FoundModel::find(&args.model, progress)?;
    let flags =
        SettingFlags { steps: args.steps.steps, sampling: Some(&args.sampling), ..SettingFlags::default() };
    let settings = Settings {
        init: Init::Noise,
        updates: false,
        guided_steps: 0,
        ..flags.resolve(&found.recommended.settings)
    };
    resolve::check(&settings, &found.schedule()?)?;
    let size = args.video.resolve(&found.recommended.video)?;
    found.check_size(&size)?;
    let negative_prompt = args.prompts.negative_prompt.as_ref().unwrap_or(&found.recommended.negative_prompt);

    let model = found.load(progress)?;
    let [frames, height, width] = [size.frames, size.height, size.width].map(i64::from);
    let noise = model.noise(frames, height, width, settings.seed)?;
    let text = model.encode_prompt(&prompt)?;
    let negative_text = model.encode_prompt(&Prompt::literal(negative_prompt))?;
    for warning in text.warnings.iter().chain(&negative_text.warnings) {
        progress.warn(warning);
    }
    let start = Start { latents: &noise, masks: None, prompt: &text, negative: &negative_text };
    let (_, result, steps) = make_video(&model, start, &settings, progress)?;

    let record = RunRecord {
        program: ProgramRecord::new("generate", &ffmpeg),
        prompts: PromptRecord {
            source_prompt: None,
            prompt: Some(args.prompts.prompt.clone()),
            negative_prompt: Some(negative_prompt.clone()),
        },
        source: None,
        video: VideoRecord::of(&size),
        model: found.record()?,
        settings,
    };
    output.publish(|folder| {
        let stage = progress.stage("write", 1);
        video::write_mp4(&ffmpeg, &folder.join("result.mp4"), &result, size.fps, &[])?;
        gif::write_gif(&ffmpeg, &folder.join("result.gif"), &result, size.fps, None)?;
        let rows = [Row { label: &prompt.text, frames: &result }];
        picture::write_png(&folder.join("contact-sheet.png"), &contact_sheet(&rows, COLUMNS)?)?;
        stage.finish();
        write_toml(&folder.join("run.toml"), "What `motionflow generate` was asked.", &record)?;
        let history = RunHistory { steps, masks: Vec::new(), totals: Totals::of(progress) };
        write_json(&folder.join("run.json"), &history)
    })?;
    report::made(output.path(), &FILES, progress);
    Ok(())
}
