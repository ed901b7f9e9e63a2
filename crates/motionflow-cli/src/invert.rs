//! `motionflow invert`: the first half of a transfer, kept to be reused.

use anyhow::Result;
use motionflow_media::contact_sheet::{COLUMNS, Row, contact_sheet};
use motionflow_media::{picture, video};

use crate::args;
use crate::inversion_file::{self, InversionRecord};
use crate::inverting::{guided_timesteps, invert_source, judge_masks, shown_masks};
use crate::pictures::{legend, with_masks};
use crate::progress::Progress;
use crate::prompts;
use crate::record::{ProgramRecord, RunHistory, Totals, VideoRecord, write_json};
use crate::report;

const FILES: [(&str, &str); 5] = [
    ("contact-sheet.png", "source and motion mask, frame by frame"),
    ("masks.mp4", "where the model saw the subject"),
    (inversion_file::TENSORS, "what `motionflow transfer --inversion` needs"),
    (inversion_file::RECORD, "what was inverted, and how"),
    ("run.json", "every step, and the warnings"),
];

/// Runs the command.
pub(crate) fn run(args: &args::Invert, progress: &mut Progress) -> Result<()> {
    let job = args.looking.prepare(progress)?;
    let (inversion, steps) =
        invert_source(&job.model, &job.source, &job.text, &job.settings, progress, &mut |_| ())?;
    let timesteps = guided_timesteps(&job.model, &job.settings);
    let subjects = prompts::subjects(&job.prompt);
    let masks = judge_masks(&inversion, &timesteps, &subjects, progress);
    let masked = with_masks(&job.source.frames, &shown_masks(&inversion, &timesteps)?);
    let record = InversionRecord {
        source_prompt: args.looking.source.source_prompt.clone(),
        steps: job.settings.steps,
        tau: job.settings.tau,
        sha256: String::new(),
        program: ProgramRecord::new("invert", &job.ffmpeg),
        source: job.source.record.clone(),
        video: VideoRecord::of(&job.video),
        model: job.found.record()?,
    };
    job.folder.publish(|folder| {
        let stage = progress.stage("write", 1);
        inversion_file::write(folder, &inversion, &job.source.frames, record)?;
        video::write_mp4(&job.ffmpeg, &folder.join("masks.mp4"), &masked, job.video.fps, &[])?;
        let source_label = format!("source: {}", job.prompt.text);
        let mask_label = format!("motion mask: {}", legend(&subjects));
        let rows = [
            Row { label: &source_label, frames: &job.source.frames },
            Row { label: &mask_label, frames: &masked },
        ];
        picture::write_png(&folder.join("contact-sheet.png"), &contact_sheet(&rows, COLUMNS)?)?;
        stage.finish();
        let history = RunHistory { steps, masks, totals: Totals::of(progress) };
        write_json(&folder.join("run.json"), &history)
    })?;
    report::made(job.folder.path(), &FILES, progress);
    Ok(())
}
