//! From flags to requests.

use std::path::Path;

use motionflow_engine::request::tables::{Model, Output, Program, Prompts, Source};
use motionflow_engine::request::{MotionOptions, Request, SettingOptions};

use super as args;

impl args::Output {
    fn request(&self) -> Output {
        Output {
            folder: self.output.clone(),
            force: self.force.then_some(true),
            metadata: self.no_metadata.then_some(false),
        }
    }
}

impl args::Generate {
    pub(crate) fn request(&self) -> Request {
        Request {
            prompts: Prompts { source_prompt: None, new: self.prompts.0.clone() },
            video: self.video.options(),
            model: Model { chosen: self.model.0.clone(), ..Model::default() },
            settings: SettingOptions {
                preset: self.preset.0,
                steps: self.steps.0.clone(),
                sampling: self.sampling.0.clone(),
                context: self.context.0.clone(),
                ..SettingOptions::default()
            },
            output: self.output.request(),
            ..Request::default()
        }
    }
}

impl args::Looking {
    pub(crate) fn request(&self) -> Request {
        Request {
            prompts: Prompts { source_prompt: self.source.source_prompt.clone(), ..Prompts::default() },
            source: self.source.request(None),
            motion: MotionOptions::default(),
            video: self.video.options(),
            model: Model { chosen: self.model.0.clone(), ..Model::default() },
            settings: SettingOptions {
                preset: self.preset.0,
                steps: self.steps.0.clone(),
                context: self.context.0.clone(),
                masks: self.masks.0.clone(),
                ..SettingOptions::default()
            },
            output: self.output.request(),
            program: Program { cache: self.cache.no_cache.then_some(false), ..Program::default() },
            ..Request::default()
        }
    }
}

impl args::Transfer {
    pub(crate) fn request(&self) -> Request {
        Request {
            prompts: Prompts {
                source_prompt: self.source.source_prompt.clone(),
                new: self.prompts.0.clone(),
            },
            source: self.source.request(self.inversion.as_deref()),
            motion: self.motion.0.clone(),
            video: self.video.options(),
            model: Model { chosen: self.model.0.clone(), ..Model::default() },
            settings: SettingOptions {
                preset: self.preset.0,
                steps: self.steps.0.clone(),
                sampling: self.sampling.0.clone(),
                context: self.context.0.clone(),
                masks: self.masks.0.clone(),
                guidance: self.guidance.0.clone(),
            },
            output: self.output.request(),
            program: Program { cache: self.cache.no_cache.then_some(false), ..Program::default() },
            ..Request::default()
        }
    }
}

impl args::Source {
    fn request(&self, inversion: Option<&Path>) -> Source {
        Source {
            path: self.source.clone(),
            inversion: inversion.map(Path::to_owned),
            cut: self.cut.0.clone(),
            ..Source::default()
        }
    }
}
