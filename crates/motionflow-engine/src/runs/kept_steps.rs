//! Steps of a stage that are kept as they are made: on the disk, in the record and as events.

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::Result;
use motionflow::error::Error;

use crate::cancel::CancelToken;
use crate::event::Event;
use crate::folder::record::StepRecord;
use crate::folder::unfinished::Unfinished;
use crate::progress::Stage;

/// The steps of a stage, those of an earlier process before those of this one.
pub(crate) struct KeptSteps<'a> {
    unfinished: &'a mut Unfinished,
    stage: Stage<'a>,
    cancel: CancelToken,
    records: Vec<StepRecord>,
    since: Instant,
    saved: Result<()>,
}

impl<'a> KeptSteps<'a> {
    pub(crate) fn new(
        unfinished: &'a mut Unfinished,
        stage: Stage<'a>,
        cancel: CancelToken,
        records: Vec<StepRecord>,
    ) -> Self {
        Self { unfinished, stage, cancel, records, since: Instant::now(), saved: Ok(()) }
    }

    /// How long the running step has taken.
    pub(crate) fn seconds(&self) -> f64 {
        self.since.elapsed().as_secs_f64()
    }

    /// Keeps a step that is done. Breaks off where it could not be saved, or the run is cancelled.
    pub(crate) fn keep(
        &mut self,
        number: usize,
        record: StepRecord,
        save: impl FnOnce(&mut Unfinished, &StepRecord) -> Result<()>,
    ) -> ControlFlow<()> {
        self.saved = save(self.unfinished, &record);
        self.stage.step(number, "");
        self.stage.event(&Event::Step { step: &record });
        self.records.push(record);
        self.since = Instant::now();
        if self.saved.is_err() || self.cancel.is_cancelled() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Ends the stage with its outcome and the records of all steps.
    ///
    /// # Errors
    /// That of a step that could not be saved, else that of the outcome.
    pub(crate) fn finish<T>(self, outcome: Result<T, Error>) -> Result<(T, Vec<StepRecord>)> {
        let Self { unfinished, stage, records, saved, .. } = self;
        saved.and_then(|()| unfinished.settle())?;
        let outcome = outcome?;
        stage.finish();
        Ok((outcome, records))
    }
}
