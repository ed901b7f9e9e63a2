//! What a crash of a queue does to its messages is put right from its records.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use motionflow_engine::queue::{Queue, Result};

use crate::broker::Broker;
use crate::shared::{Shared, line_key, now, text};

/// The record that says when it was last seen to the messages.
const REPAIRED: &str = "repaired";

impl<B: Broker> Shared<B> {
    pub(crate) fn repair_messages(&self, every: Duration) -> Result<()> {
        let record = self.broker.get(REPAIRED)?;
        let (last, revision): (f64, u64) = match &record {
            Some(record) => (serde_json::from_slice(&record.value).unwrap_or_default(), record.revision),
            None => (0.0, 0),
        };
        // A clock that was wrong may have left a time to come.
        let is_recent = (0.0..every.as_secs_f64()).contains(&(now() - last));
        if is_recent || (self.broker.put(REPAIRED, &text(&now()), revision)?.is_none() && !every.is_zero()) {
            return Ok(());
        }
        let mut waiting: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut lines = self.lines()?;
        for job in self.jobs()?.into_iter().filter(|job| !job.state.is_over()) {
            let line = job.needs.line();
            if !lines.contains_key(&line) {
                self.broker.set(&line_key(&line), &text(&job.needs), false)?;
                lines.insert(line.clone(), job.needs);
            }
            waiting.entry(line).or_default().push(job.id);
        }
        for line in lines.into_keys() {
            let jobs = waiting.remove(&line).unwrap_or_default();
            // Each message of a long line is looked at only where somebody waits for that.
            if every.is_zero() || !self.broker.is_sound(&line, jobs.len())? {
                self.repair_line(&line, jobs)?;
            }
        }
        Ok(())
    }

    /// Removes the messages of jobs that are over, which a crash may have brought back, and sends those of `jobs`, which
    /// are not over, that it has lost.
    fn repair_line(&self, line: &str, mut jobs: Vec<String>) -> Result<()> {
        let messages = self.broker.messages(line)?;
        let waiting: BTreeSet<&str> = jobs.iter().map(String::as_str).collect();
        for (number, id) in messages.iter().filter(|(_, id)| !waiting.contains(id.as_str())) {
            // Who tries a job again writes its record before its message.
            if self.known(id)?.is_none_or(|job| job.state.is_over()) {
                self.broker.remove_message(*number)?;
            }
        }
        let told: BTreeSet<&str> = messages.iter().map(|(_, id)| id.as_str()).collect();
        jobs.retain(|id| !told.contains(id.as_str()));
        // One too many does no harm: it is dropped when it is delivered.
        if jobs.is_empty() { Ok(()) } else { self.broker.push(line, &jobs) }
    }
}
