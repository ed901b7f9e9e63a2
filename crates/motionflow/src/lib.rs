//! MotionFlow: the motion of one video in another, without training.
//!
//! The method of "MotionFlow: Attention-Driven Motion Transfer in Video Diffusion Models"
//! (<https://arxiv.org/abs/2412.05275>): a pre-trained text-to-video diffusion model inverts the source video, its
//! cross-attention shows where the subject is in every frame, and while a new video is generated the latents are
//! corrected by gradient so that the new subject's attention follows those places.

pub mod animatediff;
pub mod architecture;
mod charsmap;
pub mod checkpoint;
pub mod clip;
mod collapsed;
pub mod compute;
pub mod cost;
pub mod device;
pub mod diagnostics;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod generation;
pub mod given;
pub mod guidance_interval;
pub mod inversion;
pub mod kernels;
pub mod latents;
pub mod layer_choice;
mod load_net;
mod loss_scale;
pub mod losses;
pub mod map_score;
pub mod masking;
pub mod masks;
pub mod model;
pub mod multistep_config;
mod native;
pub mod nets;
pub mod noised;
pub mod observer;
pub mod out_of_memory;
pub mod parity;
pub mod parity_case;
mod plain_attention;
mod predictor;
mod printable;
pub mod prompt;
mod prompt_marks;
pub mod registry;
pub mod sampler;
pub mod schedule;
mod schedule_config;
pub mod settings;
pub mod small_file;
mod spacing;
mod spelt_out;
mod statistics;
pub mod step_plan;
mod text_encoder;
pub mod text_to_video;
pub mod timestep;
mod token_weight;
pub mod tokenizer;
mod tokenizer_json;
mod unigram;
pub mod update;
pub mod wan;
pub mod wider;
pub mod windows;
