//! What a run is made of: which nets run how often, and what that holds in memory.

use anyhow::Result;
use motionflow::compute::{Compute, MemoryUse};
use motionflow::cost::{Costs, MemoryPlan, NetCost, Operation, Runs, VideoSize};
use motionflow::layer_choice::CANDIDATES;
use motionflow::settings::{MaskSource, Settings};
use motionflow::step_plan::{Features, StepPlan};
use motionflow::windows::ContextOptions;

use super::memory::{Elements, Memory, Room};
use crate::models::found::FoundModel;
use crate::request::recommended::Video;

/// Which parts of the way a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From a source to a new video.
    Transfer,
    /// From an inversion that was made before to a new video.
    FromInversion,
    /// From noise to a new video.
    Generate,
    /// From a source to its inversion.
    Invert,
    /// From a source to its attention maps.
    Inspect,
}

/// What a run does, whatever its video's size.
#[derive(Debug)]
pub(crate) struct Task {
    costs: Box<dyn Costs>,
    /// The size of the checkpoint's files.
    file_bytes: u64,
    steps: f64,
    /// Whether the source is inverted.
    inverts: bool,
    /// Forward passes on the noised source.
    passes: f64,
    /// Sampling steps.
    sampled: Vec<StepPlan>,
    updates: f64,
    pub(super) context: ContextOptions,
    /// Whether updates may end before that, at a loss that nobody knows before.
    pub(super) at_most: bool,
    pub(super) way: Way,
    pub(crate) compute: Compute,
}

/// A part of a run that is reported by its name.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) name: &'static str,
    runs: Vec<NetRun>,
}

/// One net, so many times in a row.
#[derive(Debug)]
pub(super) struct NetRun {
    pub(super) times: f64,
    pub(super) cost: NetCost,
    /// Whether the gradient is computed, too.
    pub(super) backward: bool,
}

impl Task {
    /// The run of a checkpoint that these settings ask for.
    pub(crate) fn new(found: &FoundModel, settings: &Settings, way: Way, compute: Compute) -> Result<Self> {
        let costs = found.costs(&found.possible_blocks(settings)?)?;
        let sampled = settings.step_plans(&found.schedule()?)?;
        Ok(Self::of(costs, found.file_bytes(), sampled, settings, way, compute))
    }

    /// The run of nets of these costs.
    pub(super) fn of(
        costs: Box<dyn Costs>,
        file_bytes: u64,
        sampled: Vec<StepPlan>,
        settings: &Settings,
        way: Way,
        compute: Compute,
    ) -> Self {
        let samples = matches!(way, Way::Transfer | Way::FromInversion | Way::Generate);
        let is_guided = samples && settings.is_guided();
        let inverts = match way {
            Way::Transfer => settings.takes_inversion(),
            Way::Invert => true,
            Way::Inspect => settings.mask_source == MaskSource::Inversion,
            Way::FromInversion | Way::Generate => false,
        };
        let passes = match way {
            Way::Generate => 0,
            Way::Transfer | Way::Invert if settings.chooses_layers() => {
                settings.pass_timesteps().len() + CANDIDATES
            }
            _ => settings.pass_timesteps().len(),
        };
        let updates = if is_guided { settings.guided_steps * settings.updates_per_step } else { 0 };
        Self {
            costs,
            file_bytes,
            sampled,
            steps: settings.steps as f64,
            inverts,
            passes: passes as f64,
            updates: updates as f64,
            context: settings.context(),
            at_most: updates > 0 && settings.loss_threshold > 0.0,
            way,
            compute,
        }
    }

    /// With passes on so many clips besides.
    pub(crate) fn looking_at(mut self, clips: usize, settings: &Settings) -> Self {
        self.passes += (clips * settings.all_pass_timesteps().len()) as f64;
        self
    }

    fn plan(&self, memory: MemoryUse) -> MemoryPlan {
        MemoryPlan::of(Compute { memory, ..self.compute })
    }

    /// Weights of all nets.
    pub(super) fn parameters(&self) -> u64 {
        self.costs.parameters()
    }

    /// Whether the checkpoint's files are large enough for the weights that its configs call for.
    pub(super) fn may_have_its_weights(&self) -> bool {
        const SMALLEST: u64 = 2;
        self.parameters() <= self.file_bytes / SMALLEST
    }

    pub(super) fn stages(&self, video: &Video) -> Vec<Stage> {
        self.stages_in(video, self.context, self.plan(self.compute.memory))
    }

    fn stages_in(&self, video: &Video, context: ContextOptions, plan: MemoryPlan) -> Vec<Stage> {
        let size = size_of(video);
        let run =
            |times: f64, runs: Runs| NetRun { times: times * runs.times, cost: runs.cost, backward: false };
        // Of the denoising net, which runs on one window after the other.
        let (window, windows) = window_of(video, context);
        let run_windows = |times: f64, runs: Runs| run(windows as f64 * times, runs);
        let mut stages = Vec::new();
        if self.inverts || self.passes > 0.0 {
            stages.push(Stage { name: "encode", runs: vec![run(1.0, self.costs.encode(size, plan))] });
        }
        if self.passes > 0.0 {
            stages.push(Stage {
                name: "masks",
                runs: vec![run_windows(self.passes, self.costs.maps(window, plan))],
            });
        }
        if self.inverts {
            stages.push(Stage {
                name: "invert",
                runs: vec![run_windows(self.steps, self.costs.predict(window, plan))],
            });
        }
        if !matches!(self.way, Way::Invert | Way::Inspect) {
            let mut runs = Vec::new();
            for (has_guidance, is_reused) in [(true, false), (true, true), (false, false), (false, true)] {
                let is_such = |step: &&StepPlan| {
                    step.has_guidance == has_guidance && (step.features == Features::Reused) == is_reused
                };
                let steps = self.sampled.iter().filter(is_such).count();
                if steps > 0 {
                    let cost = match (has_guidance, is_reused) {
                        (true, false) => self.costs.predict_guided(window, plan),
                        (true, true) => self.costs.predict_guided_from_features(window, plan),
                        (false, false) => self.costs.predict(window, plan),
                        (false, true) => self.costs.predict_from_features(window, plan),
                    };
                    runs.push(run_windows(steps as f64, cost));
                }
            }
            if self.updates > 0.0 {
                let update = run_windows(self.updates, self.costs.update(window, plan));
                runs.push(NetRun { backward: true, ..update });
            }
            stages.push(Stage { name: "generate", runs });
            stages.push(Stage { name: "decode", runs: vec![run(1.0, self.costs.decode(size, plan))] });
        }
        stages
    }

    /// What the run holds at its fullest. Quick: nothing is timed.
    pub(super) fn memory(&self, video: &Video, memory: MemoryUse) -> Memory {
        self.memory_in(video, self.context, memory)
    }

    /// As [`Task::memory`], with other context windows.
    pub(super) fn memory_in(&self, video: &Video, context: ContextOptions, memory: MemoryUse) -> Memory {
        let plan = self.plan(memory);
        let stages = self.stages_in(video, context, plan);
        let activations = stages.iter().map(Stage::activations).max().unwrap_or_default();
        let activations = activations + self.kept_features(video, context);
        let text_encoder = self.costs.held_text_encoder_parameters(plan);
        let (kept, released) = if plan.keeps_text_encoder() { (text_encoder, 0) } else { (0, text_encoder) };
        let weights = self.costs.held_parameters(plan) + kept;
        Memory::of(self.compute, Elements { weights, activations, released }, self.file_bytes)
    }

    /// Whether it fits into memory beside checkpoints of so many bytes that are loaded, too. Where the system does not tell
    /// what there is, nothing fits beside it.
    pub(crate) fn fits_beside(&self, video: &Video, others: u64) -> bool {
        let Some(room) = Room::on(self.compute.device) else { return others == 0 };
        // What this process holds of a CUDA device counts as free, and of the machine's memory it does not.
        let taken = if self.compute.device.is_cuda() { others } else { 0 };
        self.memory(video, self.compute.memory).total() + taken <= room.free
    }

    /// Deep features that wait for the next step, in elements.
    fn kept_features(&self, video: &Video, context: ContextOptions) -> u64 {
        let is_kept = |step: &&StepPlan| self.way != Way::Invert && step.features == Features::Kept;
        let halves =
            self.sampled.iter().filter(is_kept).map(|step| if step.has_guidance { 2 } else { 1 }).max();
        let (window, windows) = window_of(video, context);
        halves.map_or(0, |halves| halves * windows * self.costs.deep_features(window))
    }

    /// Whether the nets can take a video of this size.
    pub(super) fn takes(&self, video: &Video) -> bool {
        self.costs.takes(window_of(video, self.context).0)
    }

    /// What both sides of a video are multiples of.
    pub(super) fn side_step(&self) -> u32 {
        u32::try_from(self.costs.side_step()).unwrap_or(1)
    }
}

fn size_of(video: &Video) -> VideoSize {
    let [frames, height, width] = [video.frames, video.height, video.width].map(i64::from);
    VideoSize { frames, height, width }
}

/// The size of a video's context windows, and how many there are.
pub(super) fn window_of(video: &Video, context: ContextOptions) -> (VideoSize, u64) {
    let size = size_of(video);
    let windows = context.windows(size.frames).len() as u64;
    (VideoSize { frames: context.frames_at_once(size.frames), ..size }, windows)
}

impl Stage {
    pub(super) fn runs(&self) -> &[NetRun] {
        &self.runs
    }

    pub(super) fn flops(&self) -> f64 {
        self.runs.iter().map(|run| run.times * run.flops()).sum()
    }

    /// Elements.
    fn activations(&self) -> u64 {
        let peak = |run: &NetRun| if run.backward { run.cost.backward_peak } else { run.cost.forward_peak };
        self.runs.iter().map(peak).max().unwrap_or_default()
    }
}

impl NetRun {
    fn flops(&self) -> f64 {
        let again: f64 = self.cost.recomputed.iter().map(Operation::flops).sum();
        let backward = if self.backward { self.cost.backward_flops() + again } else { 0.0 };
        self.cost.flops() + backward
    }
}
