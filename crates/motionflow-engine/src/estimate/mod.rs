//! How long a run will take and how much memory it will need: counted from the configs, and timed by running layers of
//! the nets' own sizes for a moment.

mod group_memory;
mod machine;
mod memory;
mod refusal;
pub mod system_memory;
mod task;

use motionflow::compute::Compute;
use motionflow::device;
use serde::Serialize;

pub(crate) use self::task::{Task, Way};

use self::machine::Machine;
use self::memory::{Memory, Room};
use self::task::{Stage, window_of};
use crate::progress::peak_memory;
use crate::request::recommended::Video;
use crate::units::brief;

/// What a run will take.
#[derive(Debug, Serialize)]
pub struct Estimate {
    device: String,
    precision: String,
    memory: String,
    /// Context windows, and the frames of each.
    windows: u64,
    frames_at_once: i64,
    stages: Vec<(&'static str, f64)>,
    seconds: f64,
    peak_memory_bytes: u64,
    /// What the peak is the sum of, besides the program itself on the CPU.
    #[serde(flatten)]
    parts: Memory,
    /// Where the system tells.
    free_memory_bytes: Option<u64>,
    /// Why it would not be begun.
    refusal: Option<String>,
    /// Whether it may be less: updates end at a loss that nobody knows before.
    at_most: bool,
    flops: f64,
    parameters: u64,
}

impl Estimate {
    /// Of a task with this process's threads.
    pub(crate) fn of(task: &Task, video: &Video) -> Self {
        let Compute { device, memory, .. } = task.compute;
        let room = Room::on(device);
        let program = if device.is_cuda() { 0 } else { peak_memory().unwrap_or(0) };
        let parts = task.memory(video, memory);
        let stages = task.stages(video);
        let (window, windows) = window_of(video, task.context);
        let free = room.map(|room| room.free);
        let machine = Machine::time(task.compute, free, stages.iter().flat_map(Stage::runs));
        let seconds = |stage: &Stage| stage.runs().iter().map(|run| machine.seconds(run)).sum();
        let timed: Vec<(&'static str, f64)> =
            stages.iter().map(|stage| (stage.name, seconds(stage))).collect();
        Self {
            device: device::name_of(device),
            precision: task.compute.precision().to_string(),
            memory: memory.to_string(),
            windows,
            frames_at_once: window.frames,
            seconds: timed.iter().map(|(_, seconds)| seconds).sum(),
            stages: timed,
            peak_memory_bytes: program + parts.total(),
            parts,
            free_memory_bytes: free,
            refusal: task.refusal(video),
            at_most: task.at_most,
            flops: stages.iter().map(Stage::flops).sum(),
            parameters: task.parameters(),
        }
    }

    /// The stages with their seconds.
    pub fn stages(&self) -> &[(&'static str, f64)] {
        &self.stages
    }

    /// The estimate in a few lines.
    pub fn lines(&self) -> Vec<String> {
        let stages: Vec<String> =
            self.stages.iter().map(|(name, seconds)| format!("{name} {}", brief(*seconds))).collect();
        let at_most = if self.at_most { "at most " } else { "" };
        let free = self.free_memory_bytes.map(|free| format!(" of {} free", bytes(free)));
        let mut lines =
            vec![format!("device  {}, {}, --memory {}", self.device, self.precision, self.memory)];
        if self.windows > 1 {
            lines.push(format!("windows {} of {} frames each", self.windows, self.frames_at_once));
        }
        lines.extend([
            format!("time    {at_most}about {} ({})", brief(self.seconds), stages.join(", ")),
            format!("memory  about {}{}", bytes(self.peak_memory_bytes), free.unwrap_or_default()),
            format!(
                "work    {at_most}{}FLOP; the model has {:.1} million parameters",
                scaled(self.flops),
                self.parameters as f64 / 1e6
            ),
        ]);
        lines.extend(self.refusal.iter().map(|refusal| format!("refused {refusal}")));
        lines
    }
}

/// Bytes to read.
pub fn bytes(bytes: u64) -> String {
    const MIB: f64 = (1 << 20) as f64;
    let mebibytes = bytes as f64 / MIB;
    if mebibytes < 1000.0 { format!("{mebibytes:.0} MiB") } else { format!("{:.1} GiB", mebibytes / 1024.0) }
}

/// A number with the unit's prefix: `3.7 P`.
fn scaled(number: f64) -> String {
    let prefixes = [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (unit, prefix) = prefixes.into_iter().find(|(unit, _)| number >= *unit).unwrap_or((1.0, ""));
    format!("{:.1} {prefix}", number / unit)
}

#[cfg(test)]
mod tests {
    use motionflow::architecture::Architecture;
    use motionflow::compute::MemoryUse;
    use motionflow::nets::umt5::Umt5Config;
    use motionflow::nets::unet::{
        GuidanceBlocks, MotionAdapterConfig, UNet2DConfig, UNet3DConfig, UNetShape,
    };
    use motionflow::nets::wan::WanConfig;
    use motionflow::nets::wan_vae::WanVaeConfig;
    use motionflow::schedule::{FlowConfig, FlowSchedule, Schedule, ScheduleConfig};
    use motionflow::settings::{Init, MaskSource, Settings};
    use motionflow::text_to_video::UNetCosts;
    use motionflow::wan::{WanArchitecture, WanCosts};
    use tch::{Device, Kind};

    use super::*;
    use crate::models::found::FoundModel;
    use crate::progress::Progress;
    use crate::request::tables as request;

    pub(super) fn demo() -> FoundModel {
        FoundModel::find(&request::Model::default(), &mut Progress::silent()).unwrap()
    }

    #[test]
    fn every_stage_of_a_run_is_estimated() {
        let video = Video { width: 32, height: 32, frames: 2, fps: 8.0 };
        let estimate = |settings: &Settings, way| {
            let compute = Compute::exact(Device::Cpu);
            let task = Task::new(&demo(), settings, way, compute).unwrap();
            Estimate::of(&task, &video)
        };
        let settings = Settings { steps: 4, guided_steps: 2, ..Settings::default() };
        let names =
            |estimate: &Estimate| -> Vec<&str> { estimate.stages.iter().map(|(name, _)| *name).collect() };
        let whole = estimate(&settings, Way::Transfer);
        assert_eq!(names(&whole), ["encode", "invert", "generate", "decode"]);
        assert!(whole.stages.iter().all(|(_, seconds)| *seconds > 0.0), "{whole:?}");
        let reused = estimate(&settings, Way::FromInversion);
        assert_eq!(names(&reused), ["generate", "decode"]);
        let inverted = estimate(&settings, Way::Invert);
        assert_eq!(names(&inverted), ["encode", "invert"]);
        assert!((whole.flops / (reused.flops + inverted.flops) - 1.0).abs() < 1e-9);
        let plain = Settings { updates: false, ..settings.clone() };
        assert!(estimate(&plain, Way::Transfer).flops < whole.flops);

        let noised = Settings { mask_source: MaskSource::Noised, ..settings };
        let all = estimate(&noised, Way::Transfer);
        assert_eq!(names(&all), ["encode", "masks", "invert", "generate", "decode"]);
        assert_eq!(names(&estimate(&noised, Way::FromInversion)), ["encode", "masks", "generate", "decode"]);
        let inspected = estimate(&noised, Way::Inspect);
        assert_eq!(names(&inspected), ["encode", "masks"]);
        assert!(inspected.flops < inverted.flops);
        let from_noise = estimate(&Settings { init: Init::Noise, ..noised }, Way::Transfer);
        assert_eq!(names(&from_noise), ["encode", "masks", "generate", "decode"]);
        assert!((from_noise.flops / (reused.flops + inspected.flops) - 1.0).abs() < 1e-9);
        let flops = |settings: &Settings| estimate(settings, Way::Generate).flops;
        let step = (flops(&plain) - flops(&Settings { steps: 1, ..plain.clone() })) / 3.0;
        let of_steps = |settings: &Settings| flops(settings) - (flops(&plain) - 4.0 * step);
        let unguided = Settings { guidance_interval: Some("1000:2000".parse().unwrap()), ..plain.clone() };
        assert!((of_steps(&unguided) / step - 2.0).abs() < 0.01, "half of each step");
        let cached = Settings { deepcache_interval: 4, ..plain.clone() };
        let cost = of_steps(&cached) / step;
        assert!(1.0 < cost && cost < 3.0, "a part of three steps of four: {cost}");
    }

    #[test]
    fn windows_take_the_memory_of_one_and_the_time_of_all() {
        let [long, short] = [64, 16].map(|frames| Video { width: 128, height: 128, frames, fps: 8.0 });
        let compute = Compute { device: Device::Cuda(0), kind: Kind::Half, memory: MemoryUse::Balanced };
        let task = |settings: &Settings| Task::new(&demo(), settings, Way::Transfer, compute).unwrap();
        let whole = Settings { deepcache_interval: 1, ..Settings::default() };
        let windows = Settings { context_frames: Some(16), ..whole.clone() };
        let bytes = |settings: &Settings, video| task(settings).memory(video, MemoryUse::Balanced).total();
        assert_eq!(bytes(&windows, &long), bytes(&whole, &short));
        assert_eq!(bytes(&windows, &short), bytes(&whole, &short));
        assert!(bytes(&whole, &long) > bytes(&windows, &long));
        // Five windows begin at the frames 0, 12, 24, 36 and 48.
        for stage in ["invert", "generate"] {
            let flops = |settings: &Settings, video| -> f64 {
                let stages = task(settings).stages(video);
                stages.iter().filter(|of_run| of_run.name == stage).map(Stage::flops).sum()
            };
            assert!((flops(&windows, &long) / flops(&whole, &short) / 5.0 - 1.0).abs() < 1e-9, "{stage}");
        }
        // Deep features wait in every window for the next step.
        let cached = Settings { deepcache_interval: 2, ..windows };
        assert!(bytes(&cached, &long) > bytes(&cached, &short));
        let exact = Task::new(&demo(), &cached, Way::Transfer, Compute::exact(Device::Cpu)).unwrap();
        let line = |video: &Video| Estimate::of(&exact, video).lines().swap_remove(1);
        let tiny = Video { width: 16, height: 16, frames: 20, fps: 8.0 };
        assert_eq!(line(&tiny), "windows 2 of 16 frames each");
        assert!(line(&Video { frames: 16, ..tiny }).starts_with("time "));
    }

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!([scaled(3.7e15), scaled(12.0), scaled(4.26e9)], ["3.7 P", "12.0 ", "4.3 G"]);
        assert_eq!([bytes(716 << 20), bytes(31 << 30)], ["716 MiB", "31.0 GiB"]);
    }

    /// GiB on CUDA in half precision of a transfer with these nets, which lie in files of so many bytes.
    fn gibibytes(unet: &UNetShape, text: &str, file_bytes: u64, video: &Video, memory: MemoryUse) -> f64 {
        let scheduler =
            ScheduleConfig { class_name: Some("DDIMScheduler".into()), ..ScheduleConfig::default() };
        let sampled = Settings::default().step_plans(&Schedule::new(&scheduler).unwrap()).unwrap();
        let vae = std::fs::read_to_string("../../xtask/zeroscope/vae/config.json").unwrap();
        let costs = Box::new(UNetCosts {
            unet: unet.clone(),
            vae: serde_json::from_str(&vae).unwrap(),
            text_encoder: serde_json::from_str(text).unwrap(),
            tokens: 77,
            blocks: GuidanceBlocks::ALL,
        });
        let compute = Compute { device: Device::Cuda(0), kind: Kind::Half, memory };
        let task = Task::of(costs, file_bytes, sampled, &Settings::default(), Way::Transfer, compute);
        task.memory(video, memory).total() as f64 / f64::from(1 << 30)
    }

    #[test]
    fn zeroscopes_size_takes_what_its_memory_allows() {
        let unet = UNet3DConfig::default().shape().unwrap();
        let text = std::fs::read_to_string("../../xtask/zeroscope/text_encoder/config.json").unwrap();
        let video = Video { width: 576, height: 320, frames: 24, fps: 8.0 };
        let zeroscope = |memory| gibibytes(&unet, &text, 3_700_000_000, &video, memory);
        let [low, balanced, fast] = [MemoryUse::Low, MemoryUse::Balanced, MemoryUse::Fast].map(zeroscope);
        assert!(low < 6.0 && balanced < 8.0 && fast > balanced, "{low} {balanced} {fast}");
    }

    #[test]
    fn animate_diffs_size_takes_what_its_memory_allows() {
        let mut unet = UNet2DConfig::default();
        unet.spatial.cross_attention_dim = Some(768);
        let unet = unet.shape_with(&MotionAdapterConfig::default()).unwrap();
        let text = r#"{"vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
                       "num_attention_heads": 12, "hidden_act": "quick_gelu"}"#;
        let video = Video { width: 512, height: 512, frames: 16, fps: 8.0 };
        let animate_diff = |memory| gibibytes(&unet, text, 3_960_000_000, &video, memory);
        let [low, balanced] = [MemoryUse::Low, MemoryUse::Balanced].map(animate_diff);
        // 0.8 of them are CUDA's own.
        assert!(low < 5.0 && balanced < 6.8, "{low} {balanced}");
    }

    #[test]
    fn wans_size_takes_what_its_memory_allows() {
        let small =
            WanConfig { num_attention_heads: 12, ffn_dim: 8960, num_layers: 30, ..WanConfig::default() };
        let gibibytes = |transformer: &WanConfig, frames, memory| {
            let text = Umt5Config {
                vocab_size: 256_384,
                d_model: 4096,
                d_ff: 10_240,
                num_layers: 24,
                num_heads: 64,
                ..Umt5Config::default()
            };
            let costs = WanCosts::new(transformer.clone(), None, WanVaeConfig::default(), text, &[]).unwrap();
            let settings = WanArchitecture.suited().settings;
            let schedule = Schedule::Flow(FlowSchedule::new(&FlowConfig::default()).unwrap());
            let sampled = settings.step_plans(&schedule).unwrap();
            let compute = Compute { device: Device::Cuda(0), kind: Kind::BFloat16, memory };
            let costs = Box::new(costs);
            let task = Task::of(costs, 28_400_000_000, sampled, &settings, Way::Transfer, compute);
            let video = Video { width: 832, height: 480, frames, fps: 16.0 };
            task.memory(&video, memory).total() as f64 / f64::from(1 << 30)
        };
        let large = WanConfig::default();
        for frames in [33, 81] {
            let [low, balanced] =
                [MemoryUse::Low, MemoryUse::Balanced].map(|memory| gibibytes(&small, frames, memory));
            // The text encoder is most of the second, before the other nets run.
            assert!(low < 10.0 && balanced < 24.0, "{low} {balanced}");
            let low = gibibytes(&large, frames, MemoryUse::Low);
            assert!(low < 24.0, "{low}");
        }
        assert!(gibibytes(&large, 33, MemoryUse::Balanced) > 24.0);
    }
}
