//! Entry points for fuzzing. Each takes any bytes and reads them as the program reads such a file; it panics when
//! something does not hold that must hold for all bytes. `fuzz/` drives them, and a test replays `fuzz/corpus`.

use std::fmt::Display;
use std::path::Path;
use std::sync::LazyLock;

use tokenizers::pre_tokenizers::byte_level::ByteLevel;

pub use crate::checkpoint::fuzzing::{config, pickle, safetensors, torch_file};

use crate::checkpoint::fuzzing::{model_index, shard_index};
use crate::nets::clip_text::ClipTextConfig;
use crate::nets::clip_vision::ClipVisionConfig;
use crate::nets::umt5::Umt5Config;
use crate::nets::unet::{MotionAdapterConfig, UNet2DConfig, UNet3DConfig, UNetMotionConfig, UNetShape};
use crate::nets::vae::VaeConfig;
use crate::nets::wan::WanConfig;
use crate::nets::wan_vae::WanVaeConfig;
use crate::parity::parse_case;
use crate::prompt::{Prompt, subject_positions};
use crate::registry;
use crate::sampler::Sampler;
use crate::schedule::{FlowConfig, FlowSchedule, Schedule, ScheduleConfig};
use crate::settings::{Init, SamplerName, Settings};
use crate::text_to_video::check_size;
use crate::tokenizer::{Files, Tokenizer, Tokens, Words};

/// An error's message is fit for a terminal: not long, and without control characters.
pub fn told(error: &dyn Display) {
    let message = error.to_string();
    assert!(message.len() < 6000, "{} bytes: {}", message.len(), &message[..100]);
    assert!(message.chars().all(|c| c == '\n' || !c.is_control()), "{message:?}");
}

/// What was read; an error is checked as [`told`] does.
pub fn or_told<T, E: Display>(result: Result<T, E>) -> Option<T> {
    result.map_err(|error| told(&error)).ok()
}

/// A JSON file of a checkpoint or case; the first byte says which. The texts of a tokenizer's four files stand one
/// after the other, with a byte 0 between.
pub fn configs(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    match kind {
        b'u' => check_unet(text),
        b'v' => check_vae(text),
        b'a' => check_wan_vae(text),
        b'n' => check_wan(text),
        b't' => check_text_encoder(text),
        b's' => check_schedule(text),
        b'f' => check_flow(text),
        b'm' => model_index(text, &registry::layouts()),
        b'i' => shard_index(text),
        b'w' => check_vision(text),
        b'5' => check_umt5(text),
        // A picture's preprocessor, which motionflow-eval reads.
        b'p' => {}
        b'c' => drop(or_told(parse_case(Path::new("case.json"), text))),
        _ => check_tokenizer(text),
    }
}

/// The configs of every kind of UNet, and of a motion adapter.
fn check_unet(text: &[u8]) {
    if let Some(unet) = config::<UNet3DConfig>(text) {
        check_shape(unet.shape());
    }
    if let Some(unet) = config::<UNetMotionConfig>(text) {
        check_shape(unet.shape());
    }
    if let Some(unet) = config::<UNet2DConfig>(text) {
        let adapter = MotionAdapterConfig {
            block_out_channels: unet.spatial.block_out_channels.clone(),
            motion_layers_per_block: unet.spatial.layers_per_block,
            ..MotionAdapterConfig::default()
        };
        check_shape(unet.shape_with(&adapter));
    }
    if let Some(adapter) = config::<MotionAdapterConfig>(text) {
        check_shape(UNet2DConfig::default().shape_with(&adapter));
    }
}

fn check_shape<E: Display>(shape: Result<UNetShape, E>) {
    let Some(shape) = or_told(shape) else { return };
    assert!(shape.block_out_channels.len() <= 16 && shape.layers_per_block <= 64);
    assert!(shape.norm_num_groups > 0 && shape.heads.of(shape.block_out_channels[0]).1 >= 0);
    or_told(check_size(&shape, &VaeConfig::default(), 1, 8, 8));
}

fn check_vae(text: &[u8]) {
    let Some(vae) = config::<VaeConfig>(text) else { return };
    if or_told(vae.validate()).is_some() {
        assert!(vae.block_out_channels.len() <= 16 && vae.layers_per_block <= 64 && vae.norm_num_groups > 0);
        if let Some(unet) = or_told(UNet3DConfig::default().shape()) {
            or_told(check_size(&unet, &vae, 1, 8, 8));
        }
    }
}

fn check_wan_vae(text: &[u8]) {
    let Some(vae) = config::<WanVaeConfig>(text) else { return };
    if or_told(vae.validate()).is_some() {
        assert!(vae.channels().iter().all(|channels| (1..=1 << 20).contains(channels)));
        assert!(vae.downscale() <= 1 << 15 && vae.temporal_downscale() <= 4 && vae.num_res_blocks <= 64);
        assert_eq!(vae.latent_frames(vae.frames(7)), Some(7));
    }
}

fn check_wan(text: &[u8]) {
    let Some(transformer) = config::<WanConfig>(text) else { return };
    if or_told(transformer.validate()).is_some() {
        assert!((1..=1 << 24).contains(&transformer.channels()) && transformer.num_layers <= 256);
        assert!(transformer.attention_head_dim % 2 == 0 && transformer.rope_max_seq_len <= 1 << 16);
    }
}

fn check_text_encoder(text: &[u8]) {
    let Some(encoder) = config::<ClipTextConfig>(text) else { return };
    if or_told(encoder.validate()).is_some() {
        assert!(encoder.num_hidden_layers <= 256 && encoder.hidden_size >= encoder.num_attention_heads);
    }
}

fn check_umt5(text: &[u8]) {
    let Some(encoder) = config::<Umt5Config>(text) else { return };
    if or_told(encoder.validate()).is_some() {
        let half = encoder.relative_attention_num_buckets / 2;
        assert!(encoder.num_layers <= 256 && encoder.relative_attention_max_distance > half / 2 && half > 1);
    }
}

fn check_vision(text: &[u8]) {
    let Some(vision) = config::<ClipVisionConfig>(text) else { return };
    if or_told(vision.validate()).is_some() {
        assert!(vision.num_hidden_layers <= 256 && (vision.patch_size..=4096).contains(&vision.image_size));
    }
}

fn check_schedule(text: &[u8]) {
    let Some(schedule) = config::<ScheduleConfig>(text) else { return };
    // More timesteps are the same, only slower.
    if or_told(schedule.validate()).is_none() || schedule.num_train_timesteps > 100 {
        return;
    }
    let Some(computed) = or_told(Schedule::new(&schedule)) else { return };
    for step in computed.ascending(computed.max_steps()) {
        assert!((0..schedule.num_train_timesteps).contains(&step.key), "{step:?}");
    }
    for sampler in [SamplerName::Ddim, SamplerName::Dpmpp2m, SamplerName::UniPc] {
        for (steps, karras_sigmas) in [(1, None), (7, None), (7, Some(true))] {
            let settings = Settings { steps, sampler, karras_sigmas, ..Settings::default() };
            let Some(sampler) = or_told(Sampler::new(&computed, &settings)) else { continue };
            let timesteps = sampler.timesteps();
            let are_trained_on = timesteps
                .iter()
                .all(|timestep| (0..schedule.num_train_timesteps).contains(&(timestep.value() as i64)));
            assert!(timesteps.len() == steps && are_trained_on, "{timesteps:?}");
        }
    }
}

fn check_flow(text: &[u8]) {
    let Some(flow) = config::<FlowConfig>(text) else { return };
    let Some(schedule) = or_told(FlowSchedule::new(&flow)) else { return };
    let steps = schedule.ascending(schedule.train_timesteps().min(7));
    // What float32 makes of a small shift lies a little above 1.
    let most = 1.0001 * schedule.train_timesteps() as f64;
    assert!(steps.iter().all(|step| (0.0..=most).contains(&step.timestep.value())), "{steps:?}");
    assert!(steps.iter().all(|step| step.lower < step.upper), "{steps:?}");
    assert!(steps[0].lower == 0.0 && steps.is_sorted_by(|one, next| one.upper <= next.lower), "{steps:?}");
    let computed = Schedule::Flow(schedule);
    for sampler in [SamplerName::Euler, SamplerName::UniPc] {
        let plain = Settings { init: Init::Noise, updates: false, ..Settings::default() };
        let settings = Settings { steps: steps.len(), sampler, ..plain };
        let Some(sampler) = or_told(Sampler::new(&computed, &settings)) else { continue };
        let timesteps = sampler.timesteps();
        let are_levels = timesteps.iter().all(|timestep| (0.0..=most).contains(&timestep.value()));
        assert!(timesteps.len() == steps.len() && are_levels, "{timesteps:?}");
    }
}

fn check_tokenizer(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let mut parts = text.split('\0').map(str::to_owned);
    let mut next = || parts.next().filter(|part| !part.is_empty());
    let (vocabulary, merges) = (next().unwrap_or_default(), next().unwrap_or_default());
    let (config, special_tokens) = (next(), next());
    // The same text as the whole tokenizer, too.
    for words in [Words::Whole(vocabulary.clone()), Words::Apart { vocabulary, merges }] {
        let files = Files { words, config: config.clone(), special_tokens: special_tokens.clone() };
        check_tokenizer_of(&files);
    }
}

fn check_tokenizer_of(files: &Files) {
    let Some(tokenizer) = or_told(Tokenizer::of_files(Path::new("tokenizer"), files, 77)) else { return };
    for text in ["a red car, on a road!", "<|endoftext|>  e\u{301}猫"] {
        if let Some(tokens) = or_told(tokenizer.encode(text)) {
            check_tokens(&tokenizer, &tokens, text);
        }
    }
}

fn check_tokens(tokenizer: &Tokenizer, tokens: &Tokens, text: &str) {
    let most = tokenizer.max_length();
    assert!(tokens.ids.len() == most || tokens.first == 0 && tokens.ids.len() < most, "{tokens:?}");
    let vocabulary = 0..tokenizer.vocabulary_size() as i64;
    assert!(tokens.ids.iter().all(|id| vocabulary.contains(id)), "{tokens:?}");
    assert!(tokens.length <= tokens.ids.len() && tokens.length <= tokens.total, "{tokens:?}");
    assert_eq!(tokens.truncated, tokens.length < tokens.total, "{tokens:?}");
    assert_eq!(tokens.offsets.len(), tokens.length, "{tokens:?}");
    assert!(tokens.offsets.iter().all(|range| text.get(range.clone()).is_some()), "{tokens:?} of {text:?}");
    assert!(tokens.unknown.iter().all(|&position| position < tokens.length), "{tokens:?}");
    assert!(text.is_char_boundary(tokens.text_used) && (tokens.truncated || tokens.text_used == text.len()));
    assert!(tokens.spelt_out.iter().all(|range| text.get(range.clone()).is_some()), "{tokens:?} of {text:?}");
}

/// A prompt with its subjects, and the tokens that stand for them.
pub fn prompt(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let prompt: Prompt = match text.parse() {
        Ok(prompt) => prompt,
        Err(error) => {
            told(&error);
            let message = error.to_string();
            let mut lines = message.lines().skip(1);
            let (shown, caret) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
            let pointed_at = shown.chars().nth(caret.chars().count() - 1);
            assert!(matches!(pointed_at, Some('[' | ']')), "{message}");
            return;
        }
    };
    let mut end = 0;
    for subject in &prompt.subjects {
        assert!(subject.range.start >= end, "{prompt:?}");
        end = subject.range.end;
        assert_eq!(prompt.text.get(subject.range.clone()), Some(&subject.text[..]));
        assert!(!subject.text.is_empty() && subject.text.trim() == subject.text, "{prompt:?}");
    }
    if !prompt.text.contains('\\') {
        assert_eq!(marked(&prompt).parse().as_ref(), Ok(&prompt));
    }
    let Some(tokens) = or_told(BYTES.encode(&prompt.text)) else { return };
    check_tokens(&BYTES, &tokens, &prompt.text);
    for subject in &prompt.subjects {
        if let Ok(positions) = subject_positions(&tokens, subject) {
            assert!(!positions.is_empty() && positions.is_sorted(), "{positions:?}");
            assert!(
                positions.iter().all(|position| (tokens.first..tokens.length - 1).contains(position)),
                "{positions:?}"
            );
        }
    }
}

/// The text with brackets around its subjects.
fn marked(prompt: &Prompt) -> String {
    let escaped = |text: &str| text.replace('[', r"\[").replace(']', r"\]");
    let mut marked = String::new();
    let mut end = 0;
    for subject in &prompt.subjects {
        marked += &escaped(&prompt.text[end..subject.range.start]);
        marked.extend(["[", &escaped(&subject.text), "]"]);
        end = subject.range.end;
    }
    marked + &escaped(&prompt.text[end..])
}

/// A tokenizer that knows every byte, a few words, and short texts only.
static BYTES: LazyLock<Tokenizer> = LazyLock::new(|| {
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let letters = alphabet.iter().map(char::to_string).chain(alphabet.iter().map(|c| format!("{c}</w>")));
    let tokens = letters.chain(["do", "dog</w>", "<|startoftext|>", "<|endoftext|>"].map(str::to_owned));
    let vocabulary: serde_json::Map<_, _> = tokens.zip(0..).map(|(token, id)| (token, id.into())).collect();
    let files = Files {
        words: Words::Apart {
            vocabulary: serde_json::Value::from(vocabulary).to_string(),
            merges: "d o\ndo g</w>\n".to_owned(),
        },
        config: None,
        special_tokens: None,
    };
    Tokenizer::of_files(Path::new("bytes"), &files, 24).unwrap_or_else(|error| panic!("{error}"))
});
