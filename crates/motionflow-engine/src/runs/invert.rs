//! An inversion: the first half of a transfer, kept to be reused.

use std::path::Path;

use anyhow::Result;
use motionflow_media::contact_sheet::{COLUMNS, Row, contact_sheet};
use motionflow_media::{picture, video};

use crate::engine::Engine;
use crate::estimate::Way;
use crate::folder::checksums::files_in;
use crate::folder::inversion_file::{self, InversionRecord};
use crate::folder::mask_folder;
use crate::folder::outputs;
use crate::folder::record::{RunHistory, Totals, write_json};
use crate::folder::report;
use crate::folder::run_folder::RunFolder;
use crate::motion::mask_files;
use crate::progress::Progress;
use crate::request::prompts;
use crate::runs::analysis::SourceAnalysis;
use crate::runs::inspection::{self, Command, Inspected};
use crate::runs::open::OpenRun;
use crate::runs::pictures::{legend, with_masks};

const COMMAND: Command = Command { name: "invert", way: Way::Invert };

const FILES: [(&str, &str); 6] = [
    ("contact-sheet.png", "source and motion mask, frame by frame"),
    ("masks.mp4", "where the model saw the subject"),
    (inversion_file::TENSORS, "what `motionflow transfer --inversion` needs"),
    (inversion_file::RECORD, "what was inverted, and how"),
    ("run.toml", "every setting"),
    ("run.json", "every step, and the warnings"),
];

impl Engine {
    /// Inverts a source, to be reused by transfers.
    ///
    /// # Errors
    /// Of whatever kind; [`ErrorKind::of`](crate::error::ErrorKind::of) tells which.
    pub fn invert(&self, run: OpenRun, progress: &mut Progress) -> Result<()> {
        inspection::inspect_source(
            COMMAND,
            self,
            run,
            progress,
            |folder, inspected, analysis, _, progress| write(folder, inspected, analysis, progress),
        )
    }
}

fn write(
    folder: RunFolder,
    job: &Inspected,
    analysis: SourceAnalysis,
    progress: &mut Progress,
) -> Result<()> {
    let subjects = prompts::subjects(&job.prompt);
    let shown = analysis.shown_masks().unwrap_or_else(|error| {
        progress.warn(outputs::left_out("masks.mp4", &error));
        Vec::new()
    });
    let pictures = analysis.pictures(&job.video);
    let masked = with_masks(&job.source.frames, &shown);
    let mut files = FILES.to_vec();
    files.extend([mask_folder::FOLDER, mask_folder::ARRAYS]);
    let path = folder.path().to_owned();
    folder.publish(|folder| {
        let stage = progress.stage("write", 1);
        inversion_file::write(folder, &analysis.inversion()?.0, &job.source.frames, job.inversion_record())?;
        let source_label = format!("source: {}", job.prompt.text);
        let mask_label = format!("motion mask: {}", legend(&subjects));
        let rows = [
            Row { label: &source_label, frames: &job.source.frames },
            Row { label: &mask_label, frames: &masked },
        ];
        let (ffmpeg, fps) = (&job.ffmpeg, job.video.fps);
        let write_masks = |path: &Path| Ok(video::write_mp4(ffmpeg, path, &masked, fps, &[])?);
        let write_sheet = |path: &Path| Ok(picture::write_png(path, &contact_sheet(&rows, COLUMNS)?)?);
        let files_to_write = [
            outputs::picture("masks.mp4", &write_masks),
            outputs::picture("contact-sheet.png", &write_sheet),
        ];
        let mut left_out = outputs::write(folder, &files_to_write)?;
        mask_files::write(folder, &subjects, &pictures, &mut left_out);
        stage.finish();
        left_out.tell(progress);
        files.retain(|(name, _)| !left_out.has(name));
        job.record.write(folder)?;
        let history = RunHistory {
            inversion: analysis.origin(),
            layer_choice: job.layer_choice.clone(),
            steps: analysis.steps,
            masks: analysis.figures,
            totals: Totals::of(progress),
            files: files_in(folder, None)?,
        };
        write_json(&folder.join("run.json"), &history)
    })?;
    report::finished(&path, &files, &[], progress);
    Ok(())
}

impl Inspected {
    fn inversion_record(&self) -> InversionRecord {
        InversionRecord {
            source_prompt: self.record.prompts.source_prompt.clone().unwrap_or_default(),
            steps: self.settings.steps,
            subject_map: self.settings.subject_map,
            sha256: String::new(),
            program: self.record.program.clone(),
            source: self.source.record.clone(),
            video: self.record.video.clone(),
            model: self.record.model.clone(),
        }
    }
}
