//! What is removed from a queue.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use motionflow_engine::queue::{Cleaned, FileRef, Queue, QueueError, Result, State};

use crate::broker::Broker;
use crate::shared::{Shared, job_of, key_of, now};

/// Files that no job needs are younger than this where somebody is about to submit a job with them.
const YOUNG: Duration = Duration::from_secs(60 * 60);

/// The id of the job that an object belongs to.
fn owner(object: &str) -> Option<&str> {
    let mut parts = object.split('.');
    parts.next().filter(|place| matches!(*place, "kept" | "result")).and(parts.next())
}

/// What a lease writes of one kind.
fn upload(object: &str) -> String {
    object.split('.').take(3).collect::<Vec<_>>().join(".")
}

impl<B: Broker> Shared<B> {
    pub(crate) fn clean_up(&self, over_for: Duration, most_bytes: u64) -> Result<Cleaned> {
        // A store that is full does not let it.
        let repaired = self.repair(Duration::ZERO);
        let mut cleaned = Cleaned::default();
        let objects = self.broker.objects()?;
        let mut jobs = self.jobs()?;
        // The longest over goes first.
        jobs.sort_by(|one, other| {
            one.finished.unwrap_or(f64::MAX).total_cmp(&other.finished.unwrap_or(f64::MAX))
        });
        let mut total: u64 = objects.iter().map(|object| object.bytes).sum();
        let own = |id: &str| {
            let prefixes = [format!("kept.{id}."), format!("result.{id}.")];
            let mine =
                objects.iter().filter(|object| prefixes.iter().any(|own| object.name.starts_with(own)));
            mine.map(|object| object.bytes).sum::<u64>()
        };
        let mut left = Vec::new();
        for job in jobs {
            let age = job.finished.map(|finished| Duration::from_secs_f64((now() - finished).max(0.0)));
            let is_old = age.is_some_and(|age| age >= over_for);
            if job.state.is_over() && (is_old || total > most_bytes) {
                total -= own(&job.id).min(total);
                self.broker.remove(&key_of(&job.id))?;
                cleaned.jobs += 1;
            } else {
                left.push(job);
            }
        }
        // Whatever the list may have missed: what a job has is not removed before its record was looked for by its id.
        let known: BTreeSet<&str> = left.iter().map(|job| job.id.as_str()).collect();
        let owners: BTreeSet<&str> = objects.iter().filter_map(|object| owner(&object.name)).collect();
        let missed: Vec<&str> = owners.into_iter().filter(|id| !known.contains(id)).collect();
        for id in missed {
            left.extend(self.known(id)?);
        }
        let mut needed: BTreeSet<String> = BTreeSet::new();
        for job in &left {
            let inputs = job.task.inputs.iter().map(|input| &input.file);
            needed.extend(inputs.chain(&job.kept).chain(&job.result).map(|file| file.object.clone()));
            for input in job.task.inputs.iter().filter(|input| input.is_folder) {
                needed.extend(self.listed(&input.file)?.into_iter().map(|file| file.object));
            }
        }
        let leases: BTreeMap<&str, Option<&str>> = left
            .iter()
            .map(|job| (job.id.as_str(), job.lease.as_deref().filter(|_| job.state == State::Running)))
            .collect();
        // Without the files that its job knows, a lease has only what it is just writing: where nothing was written for longer than
        // it lasts, its worker is gone.
        let mut youngest: BTreeMap<String, Duration> = BTreeMap::new();
        for object in objects.iter().filter(|object| !needed.contains(&object.name)) {
            let age = youngest.entry(upload(&object.name)).or_insert(object.age);
            *age = object.age.min(*age);
        }
        let mut gone = BTreeSet::new();
        for object in objects {
            let mut parts = object.name.split('.');
            let is_needed = match (parts.next(), parts.next(), parts.next()) {
                (Some("cache"), ..) => object.age < over_for && total <= most_bytes,
                // What another process of this machine is just writing.
                (Some(""), ..) => object.age < YOUNG,
                // Not for so long where everything is to go.
                (Some("input"), ..) => object.age < YOUNG.min(over_for.max(self.broker.lasts() * 2)),
                // What the worker is just writing.
                (Some("kept" | "result"), Some(id), Some(lease)) => {
                    let age = youngest.get(&upload(&object.name)).copied().unwrap_or_default();
                    leases.get(id) == Some(&Some(lease)) && age < self.broker.lasts() * 2
                }
                _ => false,
            };
            if is_needed || needed.contains(&object.name) {
                cleaned.left_bytes += object.bytes;
                continue;
            }
            self.broker.discard(&object.name)?;
            gone.insert(object.name);
            cleaned.files += 1;
            cleaned.bytes += object.bytes;
        }
        for record in self.broker.all("cache.")? {
            let files: Option<Vec<FileRef>> = serde_json::from_slice(&record.value).ok();
            if files.is_none_or(|files| files.iter().any(|file| gone.contains(&file.object))) {
                self.broker.remove(&record.key)?;
            }
        }
        for record in self.broker.all("job.")?.iter().filter(|record| job_of(record).is_none()) {
            self.broker.remove(&record.key)?;
            cleaned.jobs += 1;
        }
        self.clean_lines()?;
        if repaired.is_err() {
            self.repair(Duration::ZERO)?;
        }
        Ok(cleaned)
    }

    /// Removes lines in which no job is.
    fn clean_lines(&self) -> Result<()> {
        let records = self.broker.all("line.")?;
        // After the lines: whose job is seen now may have a line that is not in the list, and not the other way round.
        let used: BTreeSet<String> = self.jobs()?.iter().map(|job| job.needs.line()).collect();
        for record in records {
            let line = record.key.trim_start_matches("line.");
            if !used.contains(line) {
                self.broker.remove(&record.key)?;
                self.broker.forget(line)?;
            }
        }
        Ok(())
    }

    /// The files of a folder.
    fn listed(&self, list: &FileRef) -> Result<Vec<FileRef>> {
        let place = tempfile::NamedTempFile::new()
            .map_err(|source| QueueError::File { path: std::env::temp_dir(), source })?;
        if !self.broker.read(&list.object, list.bytes, place.path())? {
            return Ok(Vec::new());
        }
        Ok(std::fs::read(place.path())
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default())
    }
}
