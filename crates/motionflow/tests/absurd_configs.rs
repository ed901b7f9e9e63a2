//! Configs of absurd numbers are refused by name, before anything is made of them.

use std::fmt::{Debug, Display};

use motionflow::error::Error;
use motionflow::nets::clip_text::ClipTextConfig;
use motionflow::nets::clip_vision::ClipVisionConfig;
use motionflow::nets::umt5::Umt5Config;
use motionflow::nets::unet::{MotionAdapterConfig, UNet2DConfig, UNet3DConfig, UNetMotionConfig, UNetShape};
use motionflow::nets::vae::VaeConfig;
use motionflow::nets::wan::WanConfig;
use motionflow::nets::wan_vae::WanVaeConfig;
use motionflow::schedule::{FlowConfig, FlowSchedule, ScheduleConfig};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A config of this one key is refused, in a short message that has the key and what could stand there.
#[track_caller]
fn refused<T: DeserializeOwned, Made: Debug, E: Debug + Display>(
    validate: impl FnOnce(&T) -> Result<Made, E>,
    key: &str,
    value: &Value,
    expected: &str,
) {
    let config = serde_json::from_value(json!({ key: value })).expect("a config");
    let message = validate(&config).expect_err(key).to_string();
    assert!(message.contains(&format!(": {key}")) && message.contains(expected), "{message}");
    assert!(message.len() < 1000, "{} bytes", message.len());
}

#[test]
fn of_the_unet() {
    let refused = |key, value: &Value, expected| refused(UNet3DConfig::shape, key, value, expected);
    refused("block_out_channels", &json!([1_000_000_000, 8, 8, 8]), "1 to 1048576");
    refused("block_out_channels", &json!([0, 8, 8, 8]), "1 to 1048576");
    refused("block_out_channels", &json!(vec![8; 1_000_000]), "1 to 16 levels");
    refused("block_out_channels", &json!([]), "1 to 16 levels");
    refused("down_block_types", &json!(vec!["DownBlock3D"; 1_000_000]), "one block a level");
    refused("up_block_types", &json!(vec!["UpBlock3D"; 1_000_000]), "one block a level");
    refused("layers_per_block", &json!(1_000_000_000), "1 to 1048576");
    refused("layers_per_block", &json!(65), "1 to 64");
    refused("attention_head_dim", &json!(0), "1 to 1048576");
    refused("attention_head_dim", &json!(i64::MIN), "1 to 1048576");
    refused("attention_head_dim", &json!(1 << 20), "at most the 320 channels");
    refused("norm_num_groups", &json!(0), "1 to 1048576");
    refused("norm_num_groups", &json!(33), "a divisor of 320 channels");
    refused("cross_attention_dim", &json!(i64::MAX), "1 to 1048576");
    refused("time_cond_proj_dim", &json!(i64::MAX), "1 to 1048576");
    refused("downsample_padding", &json!(1_000_000), "0 or 1");
    refused("norm_eps", &json!(-1), "more than 0");
    refused("mid_block_scale_factor", &json!(0), "a positive number");
    refused("_class_name", &json!("\u{1b}[2J".repeat(100_000)), "UNet3DConditionModel");
}

/// The shape of a net with an adapter that is as the net's config says.
fn with_its_adapter(unet: &UNet2DConfig) -> Result<UNetShape, Error> {
    let adapter = MotionAdapterConfig {
        block_out_channels: unet.spatial.block_out_channels.clone(),
        motion_layers_per_block: unet.spatial.layers_per_block,
        ..MotionAdapterConfig::default()
    };
    unet.shape_with(&adapter)
}

#[test]
fn of_the_unet_with_motion_modules() {
    let refused = |key, value: &Value, expected| {
        self::refused(UNetMotionConfig::shape, key, value, expected);
        self::refused(with_its_adapter, key, value, expected);
    };
    refused("block_out_channels", &json!([1_000_000_000, 8, 8, 8]), "1 to 1048576");
    refused("block_out_channels", &json!(vec![8; 1_000_000]), "1 to 16 levels");
    refused("down_block_types", &json!(vec!["DownBlockMotion"; 1_000_000]), "one block a level");
    refused("up_block_types", &json!(vec!["UpBlock2D"; 4]), "at least one with cross-attention");
    refused("layers_per_block", &json!([65, 65]), "1 to 64");
    refused("num_attention_heads", &json!(0), "1 to 1048576");
    refused("num_attention_heads", &json!(1 << 20), "at most the 320 channels");
    refused("norm_num_groups", &json!(33), "a divisor of 320 channels");
    refused("cross_attention_dim", &json!(i64::MAX), "1 to 1048576");
    refused("downsample_padding", &json!(0), "runs 1");
    refused("transformer_layers_per_block", &json!([1, 2, 10]), "runs 1");
    refused("addition_embed_type", &json!("text_time"), "runs null");
    refused("encoder_hid_dim", &json!(768), "runs null");
    refused("_class_name", &json!("\u{1b}[2J".repeat(100_000)), "runs UNet");
    let refused = |key, value: &Value, expected| self::refused(UNetMotionConfig::shape, key, value, expected);
    refused("motion_max_seq_length", &json!(0), "1 to 1048576");
    refused("motion_num_attention_heads", &json!(321), "at most the 320 channels");
    refused("mid_block_layers", &json!(2), "runs 1");
    let refused = |key, value: &Value, expected| self::refused(with_its_adapter, key, value, expected);
    refused("attention_head_dim", &json!(-8), "1 to 1048576");
    refused("mid_block_type", &json!(null), "UNetMidBlock2DCrossAttn");
    refused("only_cross_attention", &json!([true, false]), "runs false");
    refused("class_embed_type", &json!("timestep"), "runs null");
}

#[test]
fn of_a_motion_adapter() {
    let with = |adapter: &MotionAdapterConfig| UNet2DConfig::default().shape_with(adapter);
    let refused = |key, value: &Value, expected| self::refused(with, key, value, expected);
    refused("conv_in_channels", &json!(9), "runs null");
    refused("motion_attention_bias", &json!(true), "runs false");
    refused("motion_cross_attention_dim", &json!(768), "runs null");
    refused("motion_activation_fn", &json!("gelu"), "runs \"geglu\"");
    refused("motion_max_seq_length", &json!(-1), "1 to 1048576");
    refused("motion_num_attention_heads", &json!(0), "1 to 1048576");
    refused("motion_transformer_layers_per_block", &json!([1, 1, 4]), "runs 1");
    refused("_class_name", &json!("SparseControlNetModel"), "runs MotionAdapter");
}

#[test]
fn numbers_that_differ_from_level_to_level_are_refused() {
    for (key, value) in [("attention_head_dim", json!([5, 10, 20, 20])), ("layers_per_block", json!([1, 2]))]
    {
        let message = serde_json::from_value::<UNet2DConfig>(json!({ key: value })).unwrap_err().to_string();
        assert!(message.contains("the same number for every level"), "{message}");
    }
}

#[test]
fn of_the_vae() {
    let refused = |key, value: &Value, expected| refused(VaeConfig::validate, key, value, expected);
    refused("block_out_channels", &json!([1_000_000_000]), "1 to 1048576");
    refused("latent_channels", &json!(1_000_000_000_000_i64), "1 to 1048576");
    refused("layers_per_block", &json!(1_000_000_000), "1 to 1048576");
    refused("layers_per_block", &json!(1 << 20), "1 to 64");
    refused("norm_num_groups", &json!(0), "1 to 1048576");
    refused("scaling_factor", &json!(0), "a positive number");
    refused("down_block_types", &json!(vec!["DownEncoderBlock2D"; 1_000_000]), "a level");
}

#[test]
fn of_wans_transformer() {
    let refused = |key, value: &Value, expected| refused(WanConfig::validate, key, value, expected);
    refused("_class_name", &json!("WanVACETransformer3DModel"), "WanTransformer3DModel");
    refused("_class_name", &json!("\u{1b}[2J".repeat(100_000)), "WanTransformer3DModel");
    refused("patch_size", &json!([1, 4, 4]), "runs [1, 2, 2]");
    refused("patch_size", &json!([]), "runs [1, 2, 2]");
    refused("patch_size", &json!(vec![2; 1_000_000]), "runs [1, 2, 2]");
    refused("num_attention_heads", &json!(0), "1 to 1048576");
    refused("num_attention_heads", &json!(i64::MAX), "1 to 1048576");
    refused("num_attention_heads", &json!(4097), "1 to 4096");
    refused("attention_head_dim", &json!(i64::MIN), "1 to 1048576");
    refused("attention_head_dim", &json!(127), "an even number of at most 4096");
    refused("attention_head_dim", &json!(1 << 20), "an even number of at most 4096");
    refused("in_channels", &json!(0), "1 to 1048576");
    refused("out_channels", &json!(1_000_000_000_000_i64), "1 to 1048576");
    refused("text_dim", &json!(-1), "1 to 1048576");
    refused("freq_dim", &json!(i64::MAX), "1 to 1048576");
    refused("ffn_dim", &json!(1_000_000_000), "1 to 1048576");
    refused("num_layers", &json!(0), "1 to 1048576");
    refused("num_layers", &json!(257), "1 to 256");
    refused("rope_max_seq_len", &json!(65_537), "1 to 65536");
    refused("cross_attn_norm", &json!(false), "runs true");
    refused("qk_norm", &json!(null), "rms_norm_across_heads");
    refused("qk_norm", &json!("rms_norm"), "rms_norm_across_heads");
    refused("eps", &json!(0), "more than 0");
    refused("image_dim", &json!(1280), "text-to-video alone");
    refused("added_kv_proj_dim", &json!(vec![vec!["\u{1b}"; 1000]; 100]), "text-to-video alone");
    refused("pos_embed_seq_len", &json!(514), "text-to-video alone");
}

#[test]
fn of_wans_vae() {
    let refused = |key, value: &Value, expected| refused(WanVaeConfig::validate, key, value, expected);
    refused("_class_name", &json!("AutoencoderKL"), "AutoencoderKLWan");
    refused("base_dim", &json!(0), "1 to 1048576");
    refused("base_dim", &json!(i64::MAX), "1 to 1048576");
    refused("z_dim", &json!(1_000_000_000_000_i64), "1 to 1048576");
    refused("dim_mult", &json!([1, 1 << 20, 1, 1]), "1 to 1048576");
    refused("dim_mult", &json!([1, i64::MIN, 1, 1]), "1 to 1048576");
    refused("dim_mult", &json!([]), "1 to 16 levels");
    refused("dim_mult", &json!(vec![1; 1_000_000]), "1 to 16 levels");
    refused("num_res_blocks", &json!(0), "1 to 1048576");
    refused("num_res_blocks", &json!(65), "1 to 64");
    refused("attn_scales", &json!([0.5]), "runs []");
    refused("temperal_downsample", &json!([true, true]), "every level but the last");
    refused("temperal_downsample", &json!(vec![true; 1_000_000]), "every level but the last");
    refused("temperal_downsample", &json!([true, true, true]), "true at most twice");
    refused("latents_mean", &json!([0.0]), "16 numbers");
    refused("latents_mean", &json!(vec![1e300; 16]), "numbers below a million");
    refused("latents_std", &json!(vec![0.0; 16]), "numbers above a millionth");
    refused("latents_std", &json!(vec![1.0; 1_000_000]), "16 numbers");
    refused("is_residual", &json!(true), "runs false");
    refused("in_channels", &json!(12), "runs 3");
    refused("out_channels", &json!(12), "runs 3");
    refused("patch_size", &json!(2), "runs null");
    refused("clip_output", &json!(false), "runs true");
    refused("decoder_base_dim", &json!(256), "runs null");
    refused("scale_factor_temporal", &json!(8), "4, as its levels have it");
    refused("scale_factor_spatial", &json!(16), "8, as its levels have it");
}

#[test]
fn of_wans_vae_with_one_channel() {
    let config = WanVaeConfig { base_dim: 1, dim_mult: vec![1; 4], ..WanVaeConfig::default() };
    let message = config.validate().unwrap_err().to_string();
    assert!(message.contains("2 or more where the decoder halves the channels"), "{message}");
}

#[test]
fn of_the_text_encoder() {
    let refused = |key, value: &Value, expected| refused(ClipTextConfig::validate, key, value, expected);
    refused("vocab_size", &json!(1_000_000_000), "1 to 1048576");
    refused("hidden_size", &json!(i64::MAX), "1 to 1048576");
    refused("num_hidden_layers", &json!(1_000_000), "1 to 256");
    refused("num_attention_heads", &json!(0), "1 to 1048576");
    refused("num_attention_heads", &json!(7), "a divisor of 512");
    refused("max_position_embeddings", &json!(1_000_000_000_000_i64), "1 to 1048576");
    refused("layer_norm_eps", &json!(0), "more than 0");
}

#[test]
fn of_the_umt5_encoder() {
    let refused = |key, value: &Value, expected| refused(Umt5Config::validate, key, value, expected);
    refused("model_type", &json!("t5"), "runs \"umt5\"");
    refused("feed_forward_proj", &json!("relu"), "runs \"gated-gelu\"");
    refused("feed_forward_proj", &json!("\u{1b}[2J".repeat(100_000)), "runs \"gated-gelu\"");
    refused("dense_act_fn", &json!("silu"), "runs \"gelu_new\"");
    refused("is_gated_act", &json!(false), "runs true");
    refused("is_decoder", &json!(true), "runs false");
    refused("vocab_size", &json!(1_000_000_000), "1 to 1048576");
    refused("d_model", &json!(i64::MAX), "1 to 1048576");
    refused("d_kv", &json!(0), "1 to 1048576");
    refused("d_ff", &json!(-1), "1 to 1048576");
    refused("num_heads", &json!(i64::MIN), "1 to 1048576");
    refused("num_layers", &json!(257), "1 to 256");
    refused("relative_attention_num_buckets", &json!(3), "4 or more");
    refused("relative_attention_num_buckets", &json!(1 << 21), "1 to 1048576");
    refused("relative_attention_max_distance", &json!(8), "more than a quarter of the 32");
    refused("layer_norm_epsilon", &json!(1), "more than 0");
}

#[test]
fn of_the_picture_encoder() {
    let refused = |key, value: &Value, expected| refused(ClipVisionConfig::validate, key, value, expected);
    refused("hidden_size", &json!(i64::MAX), "1 to 1048576");
    refused("num_hidden_layers", &json!(1_000_000), "1 to 256");
    refused("num_attention_heads", &json!(7), "a divisor of 768");
    refused("image_size", &json!(1 << 20), "1 to 4096");
    refused("patch_size", &json!(0), "1 to 1048576");
    refused("patch_size", &json!(225), "1 to the image_size");
    refused("num_channels", &json!(4), "3");
}

#[test]
fn of_the_schedule() {
    let refused = |key, value: &Value, expected| refused(ScheduleConfig::validate, key, value, expected);
    refused("num_train_timesteps", &json!(1_000_000_000_000_i64), "at most 100000");
    refused("num_train_timesteps", &json!(0), "1 to 1048576");
    refused("trained_betas", &json!(vec![0.5; 100_000]), "one number a timestep");
    refused("steps_offset", &json!(i64::MAX), "below num_train_timesteps");
}

#[test]
fn of_a_schedule_of_flow_matching() {
    let refused = |key, value: &Value, expected| refused(FlowSchedule::new, key, value, expected);
    refused("_class_name", &json!("DDIMScheduler"), "FlowMatchEulerDiscreteScheduler");
    refused("_class_name", &json!("\u{1b}[2J".repeat(100_000)), "FlowMatchEulerDiscreteScheduler");
    refused("num_train_timesteps", &json!(0), "1 to 1048576");
    refused("num_train_timesteps", &json!(i64::MAX), "1 to 1048576");
    refused("num_train_timesteps", &json!(100_001), "at most 100000");
    for shift in [0.0, -3.0, 1e-9, 0.01, 1e300] {
        refused("shift", &json!(shift), "0.1 to 1000");
    }
    refused("use_dynamic_shifting", &json!(true), "runs false");
    refused("invert_sigmas", &json!(true), "runs false");
    refused("stochastic_sampling", &json!(true), "runs false");
    refused("shift_terminal", &json!(0.1), "runs null");
}

/// The keys of `UniPCMultistepScheduler`, which has other ones of its own.
#[test]
fn of_flow_matching_with_unipcs_keys() {
    let refused = |key: &str, value: Value, expected: &str| {
        let mut config = json!({
            "_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction", "use_flow_sigmas": true,
        });
        config[key] = value;
        let config: FlowConfig = serde_json::from_value(config).unwrap();
        let message = FlowSchedule::new(&config).unwrap_err().to_string();
        assert!(message.contains(&format!(": {key}")) && message.contains(expected), "{message}");
        assert!(message.len() < 1000, "{} bytes", message.len());
    };
    refused("prediction_type", json!("epsilon".repeat(1_000_000)), "flow_prediction");
    refused("use_flow_sigmas", json!(false), "runs true");
    refused("flow_shift", json!(0), "0.1 to 1000");
    refused("flow_shift", json!(1001), "0.1 to 1000");
    refused("use_karras_sigmas", json!(true), "runs false");
    refused("thresholding", json!(true), "runs false");
}
