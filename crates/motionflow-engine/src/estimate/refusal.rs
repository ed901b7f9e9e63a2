//! What is said of a run that would not fit into memory: what would.

use motionflow::compute::{Compute, MemoryUse};
use motionflow::device;
use motionflow::windows::ContextOptions;
use tch::Device;

use super::memory::Room;
use super::task::window_of;
use super::{Task, Way, bytes};
use crate::request::recommended::Video;

/// Context windows of fewer frames are not advised: a net sees too little motion in them.
const FEWEST_CONTEXT_FRAMES: i64 = 8;

impl Task {
    /// Why a run of this size is not begun, and what would fit instead. None where it fits, and where the system does not
    /// tell what there is; nor where weights are missing, of which the loading tells.
    pub(crate) fn refusal(&self, video: &Video) -> Option<String> {
        if !self.may_have_its_weights() {
            return None;
        }
        refusal(self, video, Room::on(self.compute.device)?)
    }
}

fn refusal(task: &Task, video: &Video, room: Room) -> Option<String> {
    let Compute { device, memory, .. } = task.compute;
    let need = |video: &Video, memory: MemoryUse| task.memory(video, memory).total();
    if need(video, memory) <= room.limit {
        return None;
    }
    let fits = |video: &Video, memory: MemoryUse| need(video, memory) <= room.free;
    let with =
        |flags: String, video: &Video, memory| format!("{flags} (about {})", bytes(need(video, memory)));
    let smaller_uses: &[MemoryUse] = match memory {
        MemoryUse::Fast => &[MemoryUse::Balanced, MemoryUse::Low],
        MemoryUse::Balanced => &[MemoryUse::Low],
        MemoryUse::Low => &[],
    };
    let instead = if let Some(memory) = smaller_uses.iter().find(|memory| fits(video, **memory)) {
        with(format!("give --memory {memory}"), video, *memory)
    } else {
        let saves = need(video, MemoryUse::Low) < need(video, memory);
        let (memory, flag) = if saves { (MemoryUse::Low, "--memory low ") } else { (memory, "") };
        let fewer = largest(&fewer_frames(video), |video| fits(video, memory));
        let smaller = largest(&smaller_sizes(task, video), |video| fits(video, memory));
        let windows = longest_windows(task, video, memory, room.free)
            .map(|(frames, need)| format!("{flag}--context-frames {frames} (about {})", bytes(need)));
        let sizes: Vec<String> = [
            fewer.map(|video| with(format!("{flag}--frames {}", video.frames), &video, memory)),
            smaller.map(|video| {
                with(format!("{flag}--width {} --height {}", video.width, video.height), &video, memory)
            }),
        ]
        .into_iter()
        .flatten()
        .collect();
        let sizes = sizes.join(", or ");
        // An inversion that was made before has its size.
        let is_inverted = task.way == Way::FromInversion;
        match windows {
            Some(windows) if sizes.is_empty() => format!("give {windows}"),
            Some(windows) if is_inverted => format!("give {windows}, or invert again with {sizes}"),
            Some(windows) => format!("give {windows}, or {sizes}"),
            None if sizes.is_empty() => {
                "neither one frame nor the smallest size would fit; end what else takes memory, or compute elsewhere"
                    .to_owned()
            }
            None if is_inverted => format!("invert again with {sizes}"),
            None => format!("give {sizes}"),
        }
    };
    let place = match device {
        Device::Cuda(_) => device::name_of(device),
        _ if room.is_of_group => "this container (control group)".to_owned(),
        _ => "this machine".to_owned(),
    };
    Some(format!(
        "this run would take about {} of memory, and {place} has {} free: {instead}; --ignore-memory begins it all the \
         same",
        bytes(need(video, memory)),
        bytes(room.free)
    ))
}

/// The longest context windows, shorter than those that there are, with which the run fits, and its bytes.
fn longest_windows(task: &Task, video: &Video, memory: MemoryUse, free: u64) -> Option<(i64, u64)> {
    let fewest = FEWEST_CONTEXT_FRAMES.max(task.context.overlap as i64 + 1);
    let lengths: Vec<i64> = (fewest..window_of(video, task.context).0.frames).collect();
    let need = |length: i64| {
        let context = ContextOptions { frames: usize::try_from(length).ok(), ..task.context };
        task.memory_in(video, context, memory).total()
    };
    let count = lengths.partition_point(|length| need(*length) <= free);
    let longest = *lengths.get(count.checked_sub(1)?)?;
    Some((longest, need(longest))).filter(|(_, need)| *need <= free)
}

/// From one frame up to one frame fewer.
fn fewer_frames(video: &Video) -> Vec<Video> {
    (1..video.frames).map(|frames| Video { frames, ..video.clone() }).collect()
}

/// Of nearly the same shape, from small to large.
fn smaller_sizes(task: &Task, video: &Video) -> Vec<Video> {
    let step = task.side_step();
    let shape = f64::from(video.width) / f64::from(video.height);
    let of_height = |height: u32| {
        let width = (f64::from(height) * shape / f64::from(step)).round() as u32 * step;
        Video { width, height, ..video.clone() }
    };
    let sizes = (1..video.height.div_ceil(step)).map(|steps| of_height(steps * step));
    sizes.filter(|video| task.takes(video)).collect()
}

/// The last that fits; whatever is before one that fits does, too.
fn largest(videos: &[Video], fits: impl Fn(&Video) -> bool) -> Option<Video> {
    let count = videos.partition_point(fits);
    count.checked_sub(1).map(|last| videos[last].clone())
}

#[cfg(test)]
mod tests {
    use motionflow::settings::Settings;
    use tch::Kind;

    use super::*;
    use crate::estimate::tests::demo;

    fn task(way: Way, device: Device, memory: MemoryUse) -> Task {
        let compute = Compute { device, kind: Kind::Half, memory };
        Task::new(&demo(), &Settings::default(), way, compute).unwrap()
    }

    fn refused(task: &Task, video: &Video, limit: u64) -> Option<String> {
        refusal(task, video, Room { free: limit, limit, is_of_group: false })
    }

    /// The number behind a flag.
    fn number(message: &str, flag: &str) -> u32 {
        let (_, rest) = message.split_once(flag).unwrap();
        rest.trim_start().split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    }

    #[test]
    fn less_memory_goes_before_a_smaller_video() {
        let video = Video { width: 512, height: 512, frames: 24, fps: 8.0 };
        let [fast, balanced, low] = [MemoryUse::Fast, MemoryUse::Balanced, MemoryUse::Low]
            .map(|memory| task(Way::Transfer, Device::Cuda(0), memory).memory(&video, memory).total());
        assert!(fast > balanced && balanced >= low, "{fast} {balanced} {low}");
        let task = task(Way::Transfer, Device::Cuda(0), MemoryUse::Fast);
        assert_eq!(refused(&task, &video, fast), None);
        let message = refused(&task, &video, fast - 1).unwrap();
        assert!(message.contains("give --memory balanced (about "), "{message}");
        assert!(message.contains("cuda has"), "{message}");
        assert!(refused(&task, &video, low).unwrap().contains("give --memory low (about "));
    }

    #[test]
    fn what_is_named_fits_and_the_next_larger_does_not() {
        let video = Video { width: 768, height: 512, frames: 40, fps: 8.0 };
        for device in [Device::Cuda(0), Device::Cpu] {
            let task = task(Way::Transfer, device, MemoryUse::Balanced);
            let low = |video: &Video| task.memory(video, MemoryUse::Low).total();
            let limit = low(&video) / 2;
            let message = refused(&task, &video, limit).unwrap();
            assert!(message.contains("give --memory low --context-frames "), "{message}");
            let frames = number(&message, "--context-frames") as usize;
            let windows = |frames| {
                let context = ContextOptions { frames: Some(frames), ..task.context };
                task.memory_in(&video, context, MemoryUse::Low).total()
            };
            assert!(windows(frames) <= limit && windows(frames + 1) > limit, "{message}");
            assert!(message.contains(", or --memory low --frames "), "{message}");
            let frames = number(&message, "--frames");
            assert!(low(&Video { frames, ..video.clone() }) <= limit, "{message}");
            assert!(low(&Video { frames: frames + 1, ..video.clone() }) > limit, "{message}");
            let (width, height) = (number(&message, "--width"), number(&message, "--height"));
            let smaller = Video { width, height, ..video.clone() };
            assert!(task.takes(&smaller) && low(&smaller) <= limit, "{message}");
            assert!((f64::from(width) / f64::from(height) - 1.5).abs() < 0.05, "{message}");
            let larger = Video { width: width + 12, height: height + 8, ..video.clone() };
            assert!(low(&larger) > limit, "{message}");
        }
    }

    #[test]
    fn an_inversion_has_its_size() {
        let video = Video { width: 512, height: 512, frames: 24, fps: 8.0 };
        let task = task(Way::FromInversion, Device::Cpu, MemoryUse::Low);
        let half = task.memory(&video, MemoryUse::Low).total() / 2;
        let message = refused(&task, &video, half).unwrap();
        assert!(
            message.contains("this machine has ") && message.contains(", or invert again with --frames"),
            "{message}"
        );
        let short = Video { frames: 8, ..video };
        let half = task.memory(&short, MemoryUse::Low).total() / 2;
        let message = refused(&task, &short, half).unwrap();
        assert!(message.contains(": invert again with --frames"), "{message}");
    }

    #[test]
    fn where_nothing_fits_no_size_is_named() {
        let video = Video { width: 64, height: 64, frames: 2, fps: 8.0 };
        let message =
            refused(&task(Way::Generate, Device::Cuda(1), MemoryUse::Low), &video, 1 << 20).unwrap();
        assert!(message.contains("cuda:1 has 1 MiB free: neither one frame"), "{message}");
    }
}
