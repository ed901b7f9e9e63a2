//! Checkpoints as other programs and versions write them, and prompts as other programs read them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::common::{Outcome, Place, SMALL, car, copy, program, read_json, read_toml, run};
use crate::common::{tiny_model, tree};
use crate::hub_server::{Hub, MAIN, TAGGED};

const ID: &str = "someone/tiny-video";

fn dry_run(model: &Path) -> Outcome {
    dry_run_of(model, "a [car] on a road", "a [panda] in the snow!")
}

fn dry_run_of(model: &Path, source_prompt: &str, prompt: &str) -> Outcome {
    let mut command = program();
    command.args(["transfer", "--source", &car(), "--source-prompt", source_prompt, "-p", prompt]);
    run(command.args(SMALL).arg("--dry-run").arg("--model").arg(model))
}

/// The tokens of a dry run.
fn tokens(outcome: &Outcome) -> String {
    let (_, tokens) = outcome.stdout.split_once("tokens of the source prompt").unwrap();
    tokens.split_once("\nmodel ").unwrap().0.to_owned()
}

/// A checkpoint's folder of this case.
fn case(name: &str, place: &Place) -> std::path::PathBuf {
    let model = place.path(name);
    copy(&tree().join("crates/motionflow/tests/cases").join(name).join("model"), &model);
    model
}

/// Replaces `vocab.json`, `merges.txt` and `special_tokens_map.json` by the `tokenizer.json` that transformers 5 saves, or
/// by one of before tokenizers 0.20.
fn save_anew(folder: &Path, merges_as_pairs: bool) {
    let vocabulary: Value = read_json(&folder.join("vocab.json"));
    let merges = fs::read_to_string(folder.join("merges.txt")).unwrap();
    let merge = |line: &str| match line.split_once(' ') {
        Some((one, other)) if merges_as_pairs => json!([one, other]),
        _ => json!(line),
    };
    let merges: Vec<Value> =
        merges.lines().filter(|line| !line.starts_with("#version") && !line.is_empty()).map(merge).collect();
    let mut config: Value = read_json(&folder.join("tokenizer_config.json"));
    let named = ["bos_token", "eos_token", "unk_token", "pad_token"].map(|name| match &config[name] {
        Value::Object(token) => token["content"].as_str().unwrap().to_owned(),
        token => token.as_str().unwrap_or("<|endoftext|>").to_owned(),
    });
    let mut special = named.to_vec();
    special.sort_by_key(|token| vocabulary[token].as_u64());
    special.dedup();
    let added: Vec<Value> = special
        .iter()
        .map(|token| {
            json!({ "id": vocabulary[token], "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true })
        })
        .collect();
    let whole = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "NFC" }, { "type": "Replace", "pattern": { "Regex": "\\s+" }, "content": " " },
            { "type": "Lowercase" } ] },
        "model": { "type": "BPE", "dropout": null, "unk_token": "<|endoftext|>", "continuing_subword_prefix": "",
                   "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                   "vocab": vocabulary, "merges": merges },
    });
    fs::write(folder.join("tokenizer.json"), serde_json::to_string_pretty(&whole).unwrap()).unwrap();
    let object = config.as_object_mut().unwrap();
    object.remove("added_tokens_decoder");
    for (name, token) in ["bos_token", "eos_token", "unk_token", "pad_token"].into_iter().zip(named) {
        object.insert(name.to_owned(), token.into());
    }
    fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
    for name in ["vocab.json", "merges.txt", "special_tokens_map.json"] {
        let _ = fs::remove_file(folder.join(name));
    }
}

#[test]
fn a_tokenizer_in_one_file_gives_the_same_tokens() {
    // One pads with the end token, one with a sign that prompts have.
    for (name, pairs) in [("tiny", true), ("tiny-legacy-pad", true), ("tiny-odd-words", false)] {
        let place = Place::new();
        let model = case(name, &place);
        let before = tokens(&dry_run(&model).ok());
        save_anew(&model.join("tokenizer"), pairs);
        assert_eq!(tokens(&dry_run(&model).ok()), before, "{name}");
    }
    let place = Place::new();
    let model = case("tiny", &place);
    let generate = |output: &str| {
        let mut command = program();
        command.args(["generate", "-p", "a panda, naïve", "--no-metadata", "-o", &place.text(output)]);
        run(command.args(SMALL).arg("--model").arg(&model)).ok();
        fs::read(place.path(output).join("result.mp4")).unwrap()
    };
    let before = generate("before");
    save_anew(&model.join("tokenizer"), true);
    assert!(generate("after") == before, "the same bytes");

    // What is no tokenizer of CLIP's, or none at all, is reported with both ways.
    let whole = model.join("tokenizer/tokenizer.json");
    let saved = fs::read_to_string(&whole).unwrap();
    for (from, to, part) in [
        ("\"BPE\"", "\"WordPiece\"", "model.type is \"WordPiece\""),
        ("</w>\",", "\",", "end_of_word_suffix is \"\""),
        ("\"Lowercase\"", "\"NFKC\"", "does not lower the case"),
        ("\"merges\": [", "\"merges\": [\"a b c\", ", "merges[0]"),
        ("\"merges\"", "\"marges\"", "merges"),
    ] {
        let changed = if from == "</w>\"," {
            saved.replace("\"end_of_word_suffix\": \"</w>\"", "\"end_of_word_suffix\": \"\"")
        } else {
            saved.replacen(from, to, 1)
        };
        assert_ne!(changed, saved, "{from}");
        fs::write(&whole, changed).unwrap();
        dry_run(&model).fails(1, &["tokenizer.json: the tokenizer cannot use this file", part]);
    }
    fs::remove_file(&whole).unwrap();
    dry_run(&model).fails(1, &["tokenizer/vocab.json; tokenizer/merges.txt (or tokenizer.json for"]);
}

#[test]
fn a_clip_model_may_have_its_tokenizer_in_one_file() {
    let place = Place::new();
    let clip = place.path("clip");
    copy(&tree().join("crates/motionflow/tests/clip-cases/clip-tiny/model"), &clip);
    let eval = || {
        let mut command = program();
        command.args(["eval", "--source", &car(), "--result", &car(), "-p", "a [car] on a road"]);
        let outcome = run(command.args(["--threads", "1", "--json", "--clip"]).arg(&clip)).ok();
        let figure = |line: &&str| line.contains("text_similarity");
        outcome.stdout.lines().find(figure).unwrap().to_owned()
    };
    let before = eval();
    save_anew(&clip, true);
    assert_eq!(eval(), before);
    // So are the pictures' settings, as transformers 5 saves them.
    let preprocessor: Value = read_json(&clip.join("preprocessor_config.json"));
    let processor = json!({ "processor_class": "CLIPProcessor", "image_processor": preprocessor });
    fs::write(clip.join("processor_config.json"), processor.to_string()).unwrap();
    fs::remove_file(clip.join("preprocessor_config.json")).unwrap();
    assert_eq!(eval(), before);
}

#[test]
fn the_hub_gives_the_tokenizer_in_one_file_where_there_is_no_other() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    let model = case("tiny", &place);
    save_anew(&model.join("tokenizer"), true);
    hub.change(|hub| {
        hub.files.retain(|name, _| !name.starts_with("tokenizer/"));
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            hub.files
                .insert(format!("tokenizer/{name}"), fs::read(model.join("tokenizer").join(name)).unwrap());
        }
    });
    run(&mut hub.program(&place, &["models", "fetch", ID])).ok();
    let requested: Vec<String> = hub.requests().into_iter().map(|request| request.path).collect();
    for (name, is_asked) in [("tokenizer.json", true), ("tokenizer_config.json", true), ("vocab.json", false)]
    {
        assert_eq!(
            requested.iter().any(|path| path.ends_with(&format!("tokenizer/{name}"))),
            is_asked,
            "{requested:?}"
        );
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_file() {
    let place = Place::new();
    let model = case("tiny", &place);
    let before = tokens(&dry_run(&model).ok());
    for name in [
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "tokenizer/tokenizer_config.json",
        "tokenizer/special_tokens_map.json",
        "model_index.json",
        "unet/config.json",
        "scheduler/scheduler_config.json",
    ] {
        let text = fs::read_to_string(model.join(name)).unwrap();
        fs::write(model.join(name), format!("\u{feff}{text}")).unwrap();
    }
    assert_eq!(tokens(&dry_run(&model).ok()), before);
    // A byte order mark is not taken for a merge.
    let merges = fs::read_to_string(model.join("tokenizer/merges.txt")).unwrap();
    let without_version: Vec<&str> = merges.lines().skip(1).collect();
    fs::write(model.join("tokenizer/merges.txt"), format!("\u{feff}{}", without_version.join("\r\n")))
        .unwrap();
    assert_eq!(tokens(&dry_run(&model).ok()), before);
}

#[test]
fn parts_that_do_not_fit_are_told_before_the_run() {
    let place = Place::new();
    let model = case("tiny", &place);
    let config = model.join("tokenizer/tokenizer_config.json");
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains("77"));
    fs::write(&config, text.replace("77", "99")).unwrap();
    dry_run(&model).fails(1, &["do not fit together", "gives 99 tokens, the text encoder takes 77"]);
    fs::write(&config, &text).unwrap();
    let config = model.join("vae/config.json");
    let mut vae = read_json(&config);
    vae["latent_channels"] = 3.into();
    fs::write(&config, vae.to_string()).unwrap();
    dry_run(&model).fails(1, &["do not fit together", "the VAE's latents have 3"]);
}

#[test]
fn an_index_is_found_under_each_name_that_it_has_had() {
    let place = Place::new();
    let model = case("tiny", &place);
    let unet = model.join("unet");
    let whole = "diffusion_pytorch_model.safetensors";
    let bytes = fs::read(unet.join(whole)).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let names: Vec<&String> =
        header.as_object().unwrap().keys().filter(|name| *name != "__metadata__").collect();
    let shard = "diffusion_pytorch_model-00001-of-00001.fp16.safetensors";
    let map: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).clone(), shard.into())).collect();
    let index = json!({ "metadata": { "total_size": 1 }, "weight_map": map }).to_string();
    fs::rename(unet.join(whole), unet.join(shard)).unwrap();
    for name in [
        "diffusion_pytorch_model.safetensors.index.fp16.json",
        "diffusion_pytorch_model.safetensors.fp16.index.json",
        "diffusion_pytorch_model.fp16.safetensors.index.json",
        "diffusion_pytorch_model.safetensors.index.json",
    ] {
        fs::write(unet.join(name), &index).unwrap();
        let mut command = program();
        command.args(["generate", "-p", "a panda", "--force", "-o", &place.text("out")]).args(SMALL);
        run(command.arg("--model").arg(&model)).ok();
        fs::remove_file(unet.join(name)).unwrap();
    }
    // Another name is reported, and so is a shard that is not there.
    fs::write(unet.join("diffusion_pytorch_model.non_ema.index.json"), &index).unwrap();
    dry_run(&model).fails(
        1,
        &[
            "missing: unet/diffusion_pytorch_model.safetensors",
            "found",
            shard,
            "diffusion_pytorch_model.non_ema.index.json",
        ],
    );
    fs::write(unet.join("diffusion_pytorch_model.safetensors.fp16.index.json"), &index).unwrap();
    fs::remove_file(unet.join(shard)).unwrap();
    dry_run(&model).fails(1, &[shard, "cannot be read"]);
}

#[test]
fn a_scheduler_that_is_no_ddims_is_refused_by_name() {
    let place = Place::new();
    let model = case("tiny", &place);
    let path = model.join("scheduler/scheduler_config.json");
    let original: Value = read_json(&path);
    let with = |key: &str, value: Option<Value>| {
        let mut config = original.clone();
        match value {
            Some(value) => config[key] = value,
            None => drop(config.as_object_mut().unwrap().remove(key)),
        }
        fs::write(&path, config.to_string()).unwrap();
        dry_run(&model)
    };
    for class in [
        "FlowMatchEulerDiscreteScheduler",
        "EDMEulerScheduler",
        "LCMScheduler",
        "TCDScheduler",
        "SomeScheduler",
    ] {
        with("_class_name", Some(class.into())).fails(1, &["scheduler_config.json: _class_name is", class]);
    }
    for class in ["PNDMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "DDPMScheduler"] {
        with("_class_name", Some(class.into())).ok();
    }
    with("_class_name", None).fails(1, &["_class_name", "not there"]);
    fs::write(&path, "{}").unwrap();
    dry_run(&model).fails(1, &["_class_name", "not there"]);
    for (key, value) in [
        ("prediction_type", json!("flow_prediction")),
        ("beta_schedule", json!("exp")),
        ("timestep_spacing", json!("geometric")),
        ("thresholding", json!(true)),
        ("use_karras_sigmas", json!(true)),
        ("trained_betas", json!([0.1])),
        ("steps_offset", json!(1000)),
    ] {
        with(key, Some(value)).fails(1, &[&format!("{key} is")]);
    }
    // What only a sampler reads, it refuses.
    for (key, value) in [
        ("solver_order", json!(3)),
        ("algorithm_type", json!("sde-dpmsolver++")),
        ("final_sigmas_type", json!("one")),
    ] {
        let with_sampler = |class: &str| {
            let mut config = original.clone();
            config["_class_name"] = class.into();
            config[key] = value.clone();
            fs::write(&path, config.to_string()).unwrap();
            dry_run(&model)
        };
        let parts = ["cannot load the checkpoint", &format!("{key} is"), "--sampler ddim does not read it"];
        with_sampler("DPMSolverMultistepScheduler").fails(1, &parts);
        with_sampler("DDIMScheduler").ok();
    }
    fs::write(&path, original.to_string()).unwrap();
    let index = fs::read_to_string(model.join("model_index.json")).unwrap();
    let other = index.replace("DDIMScheduler", "FlowMatchEulerDiscreteScheduler");
    assert_ne!(index, other);
    fs::write(model.join("model_index.json"), other).unwrap();
    dry_run(&model).fails(1, &["model_index.json: scheduler is FlowMatchEulerDiscreteScheduler"]);
}

#[test]
fn the_sampler_is_the_one_that_the_scheduler_names_where_nothing_else_is_said() {
    let place = Place::new();
    let model = case("tiny", &place);
    let path = model.join("scheduler/scheduler_config.json");
    let mut config: Value = read_json(&path);
    let mut sampler = |class: &str, flags: &[&str]| {
        config["_class_name"] = class.into();
        // As Python writes it.
        let text = config.to_string().replacen('{', "{\"lambda_min_clipped\": -Infinity, ", 1);
        fs::write(&path, text).unwrap();
        let mut command = program();
        command.args(["transfer", "--source", &car(), "--source-prompt", "a [car]", "-p", "a [panda]"]);
        let outcome = run(command.args(SMALL).arg("--dry-run").arg("--model").arg(&model).args(flags)).ok();
        let line = outcome.stdout.lines().find(|line| line.starts_with("sampler = ")).unwrap().to_owned();
        line.trim_start_matches("sampler = ").trim_matches('"').to_owned()
    };
    assert_eq!(sampler("DDIMScheduler", &[]), "ddim");
    assert_eq!(sampler("EulerDiscreteScheduler", &[]), "ddim");
    assert_eq!(sampler("DPMSolverMultistepScheduler", &[]), "dpmpp-2m");
    assert_eq!(sampler("UniPCMultistepScheduler", &[]), "unipc");
    assert_eq!(sampler("UniPCMultistepScheduler", &["--preset", "paper"]), "ddim");
    assert_eq!(sampler("DDIMScheduler", &["--sampler", "unipc"]), "unipc");
    fs::write(model.join("motionflow.toml"), "[settings]\nsampler = \"dpmpp-2m\"").unwrap();
    assert_eq!(sampler("UniPCMultistepScheduler", &[]), "dpmpp-2m");
}

/// Random weights predict noise, whatever they are said to predict; what counts is that every part of a run takes it.
#[test]
fn a_schedule_that_ends_in_pure_noise_is_inverted_and_sampled() {
    let place = Place::new();
    let model = case("tiny", &place);
    let path = model.join("scheduler/scheduler_config.json");
    let mut config: Value = read_json(&path);
    config["rescale_betas_zero_snr"] = true.into();
    config["timestep_spacing"] = "trailing".into();
    let mut transfer = |prediction_type: &str, sampler: &str| {
        config["prediction_type"] = prediction_type.into();
        fs::write(&path, config.to_string()).unwrap();
        let mut command = program();
        command.args(["transfer", "--source", &car(), "--source-prompt", "a [car]", "-p", "a [panda]"]);
        command.args(["--force", "--no-cache", "-o", &place.text("out"), "--sampler", sampler]);
        run(command.args(SMALL).arg("--model").arg(&model))
    };
    for sampler in ["ddim", "dpmpp-2m", "unipc"] {
        for prediction_type in ["v_prediction", "sample"] {
            transfer(prediction_type, sampler).ok();
            let history = read_json(&place.path("out/run.json"));
            let steps = history["steps"].as_array().unwrap();
            let last = steps.iter().rfind(|step| step["stage"] == "inversion").unwrap();
            assert_eq!(last["timestep"], 999);
        }
    }
    transfer("epsilon", "ddim").fails(1, &["rescale_betas_zero_snr is true", "--timestep-spacing leading"]);
}

/// A run of 15 steps of DPM-Solver++ 2M, with Karras's noise levels or not.
fn fifteen_steps(place: &Place, zero_snr: bool, karras_sigmas: bool) -> Outcome {
    let model = case("tiny", place);
    let path = model.join("scheduler/scheduler_config.json");
    let mut config: Value = read_json(&path);
    config["timestep_spacing"] = "trailing".into();
    config["prediction_type"] = "v_prediction".into();
    config["rescale_betas_zero_snr"] = zero_snr.into();
    fs::write(&path, config.to_string()).unwrap();
    let mut command = program();
    command.args(["generate", "-p", "a panda", "--force", "-o", &place.text("out"), "--sampler", "dpmpp-2m"]);
    command.args(["-W", "24", "-H", "16", "--frames", "3", "--steps", "15", "--threads", "1"]);
    command.args(karras_sigmas.then_some("--karras-sigmas")).arg("--model").arg(&model);
    run(&mut command)
}

#[test]
fn noise_levels_that_lose_most_steps_are_warned_of() {
    let stderr = |zero_snr, karras_sigmas| fifteen_steps(&Place::new(), zero_snr, karras_sigmas).ok().stderr;
    let warning = "8 of 15 steps are at noise levels where nothing of the video can be seen";
    assert!(stderr(true, true).contains(warning));
    assert!(!stderr(true, false).contains("noise levels"));
    assert!(!stderr(false, true).contains("noise levels"));
}

#[test]
fn what_a_scheduler_leaves_out_is_its_classs_default() {
    let place = Place::new();
    let model = case("tiny", &place);
    let path = model.join("scheduler/scheduler_config.json");
    let original: Value = read_json(&path);
    let result = |class: &str, clips: Option<bool>| {
        let mut config = original.clone();
        config["_class_name"] = class.into();
        let object = config.as_object_mut().unwrap();
        object.remove("clip_sample");
        object.extend(clips.map(|clips| ("clip_sample".to_owned(), clips.into())));
        fs::write(&path, config.to_string()).unwrap();
        let mut command = program();
        command.args(["generate", "-p", "a panda", "--force", "--no-metadata", "-o", &place.text("out")]);
        run(command.args(SMALL).arg("--model").arg(&model)).ok();
        fs::read(place.path("out/result.mp4")).unwrap()
    };
    let (clipped, plain) = (result("DDIMScheduler", Some(true)), result("DDIMScheduler", Some(false)));
    assert!(clipped != plain);
    assert!(result("DDIMScheduler", None) == clipped, "DDIMScheduler clips where nothing is said");
    assert!(result("DDPMScheduler", None) == clipped);
    assert!(result("PNDMScheduler", None) == plain, "PNDMScheduler knows no clipping");
    assert!(result("EulerDiscreteScheduler", None) == plain);
}

#[test]
fn single_files_are_not_read() {
    let place = Place::new();
    let file = place.text("x.safetensors");
    fs::write(&file, "weights").unwrap();
    for model in [file.as_str(), "models/none.ckpt", "./x.pth", "x.gguf"] {
        let mut command = program();
        command.args(["generate", "-p", "a panda", "-o", &place.text("out"), "--model", model]);
        // Nothing is asked of the hub.
        command.env("HF_ENDPOINT", "http://127.0.0.1:9").env("HF_HOME", place.path("hf"));
        run(&mut command).fails(2, &[model, "single files are not read", "diffusers"]);
    }
}

#[test]
fn an_address_of_the_hub_is_its_repository() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    let endpoint = {
        let command = hub.program(&place, &[]);
        let found = command.get_envs().find(|(name, _)| *name == "HF_ENDPOINT").unwrap().1.unwrap();
        found.to_str().unwrap().to_owned()
    };
    let generate = |model: &str, flags: &[&str]| {
        let mut command =
            hub.program(&place, &["generate", "-p", "a panda", "--force", "-o", &place.text("out")]);
        run(command.args(SMALL).args(["--model", model]).args(flags))
    };
    for (address, commit) in [
        (format!("{endpoint}/{ID}"), MAIN),
        (format!("https://huggingface.co/{ID}/tree/main"), MAIN),
        (format!("huggingface.co/{ID}/tree/v1/unet"), TAGGED),
    ] {
        generate(&address, &[]).ok();
        let record = read_toml(&place.path("out/run.toml"));
        assert_eq!(record["model"]["name"].as_str(), Some(ID), "{address}");
        assert_eq!(record["model"]["revision"].as_str(), Some(commit), "{address}");
    }
    generate(&format!("https://huggingface.co/{ID}/tree/v1"), &["--revision", "main"])
        .fails(2, &["names the revision v1", "--revision main"]);
    generate("https://example.com/a/b", &[]).fails(2, &["https://example.com/a/b", "OWNER/NAME"]);
    generate("https://huggingface.co/datasets/a/b", &[]).fails(2, &["datasets"]);
    generate("https://huggingface.co/a", &[]).fails(2, &["names no model"]);
    generate("https://huggingface.co/a/b/resolve/main/x.safetensors", &[])
        .fails(2, &["single files are not read"]);
    run(&mut hub.program(&place, &["models", "fetch", &format!("{endpoint}/{ID}")])).ok();
}

#[test]
fn weights_and_alternatives_in_prompts_are_told() {
    let model = tiny_model();
    let model = Path::new(&model);
    for (prompt, mark) in [
        ("a [panda] (snow:1.3)", "\"(snow:1.3)\""),
        ("a [panda] in the ((snow))", "\"((snow))\""),
        ("a [panda:1.3] in the snow", "\"[panda:1.3]\""),
        ("a [panda|dog] in the snow", "\"[panda|dog]\""),
        ("a [panda:dog:0.5] in the snow", "\"[panda:dog:0.5]\""),
        ("a {panda|dog} in the [snow]", "\"{panda|dog}\""),
        ("a [panda] <lora:x:1>", "\"<lora:x:1>\""),
        ("a [panda]++ in the snow", "panda++\""),
        ("a [panda] AND a dog", "\"AND\""),
        ("a [panda] BREAK in the snow", "\"BREAK\""),
    ] {
        let outcome = dry_run_of(model, "a [car] on a road", prompt).ok();
        let told = outcome.stderr.contains("weights, alternatives and tags") && outcome.stderr.contains(mark);
        assert!(told, "{prompt}: {}", outcome.stderr);
    }
    for prompt in ["a [panda] (small) at 10:30, 16:9", "A [PANDA] AND A DOG", "a [panda] - in the snow"] {
        let outcome = dry_run_of(model, "a [car] on a road", prompt).ok();
        assert!(!outcome.stderr.contains("weights, alternatives"), "{prompt}: {}", outcome.stderr);
    }
    dry_run_of(model, "a [car] on a road", "a [panda] and a [dog]")
        .fails(2, &["the source prompt marks 1 subject and the prompt 2: mark as many"]);
    // A run warns, too.
    let place = Place::new();
    let mut command = program();
    command.args(["generate", "-p", "a (panda:1.2)", "-o", &place.text("out"), "--model", &tiny_model()]);
    let outcome = run(command.args(SMALL)).ok();
    assert!(outcome.stderr.contains("\"(panda:1.2)\""), "{}", outcome.stderr);
    let warnings = read_json(&place.path("out/run.json"))["warnings"].to_string();
    assert!(warnings.contains("panda:1.2"), "{warnings}");
}

#[test]
fn a_subject_of_accents_as_characters_of_their_own_has_both_brackets() {
    let model = tree().join("models/demo");
    let mut command = program();
    command.args(["transfer", "--source", &car(), "--source-prompt", "a [cafe\u{301}] on a road"]);
    command.args(["-p", "an [e\u{301}le\u{301}phant]", "-W", "64", "-H", "64", "--frames", "8", "--dry-run"]);
    let outcome = run(command.arg("--model").arg(model)).ok();
    let tokens = tokens(&outcome);
    assert_eq!((tokens.matches('[').count(), tokens.matches(']').count()), (2, 2), "{tokens}");
    assert!(tokens.contains("e\u{301}]"), "{tokens}");
}

/// What the rows of docs/errors.md about names of checkpoints and about prompts say.
pub(crate) fn provoked(place: &Place) -> Vec<Outcome> {
    let generate = |model: &str, flags: &[&str]| {
        let mut command = program();
        command.args(["generate", "-p", "a (panda:1.2)", "-o", &place.text("out"), "--model", model]);
        run(command.args(SMALL).args(flags))
    };
    vec![
        generate("x.safetensors", &[]),
        generate("https://example.com/a/b", &[]),
        generate("https://huggingface.co/spaces/a/b", &[]),
        generate("https://huggingface.co/a", &[]),
        generate("https://huggingface.co/a/b/blob/main/x.ckpt", &[]),
        generate("https://huggingface.co/a/b/tree/v1", &["--revision", "v2"]),
        generate(&tiny_model(), &[]),
        fifteen_steps(place, true, true),
    ]
}
