//! Which of the files that a repository publishes make a checkpoint.

use super::layout::{Component, ComponentKind, Layout};
use super::{INDEX, adapter, clip, index_names, only_like_weights, tokenizer_files, whole_name};

/// Chooses the files that a checkpoint needs out of all names that a repository has, with `/` between the parts.
///
/// Of each net's weights one form is chosen: the `fp16` variant before full precision, since it is half as large and
/// the nets were published from it, then safetensors before `.bin`, then one file before shards. `model_index.json`
/// comes first and weights last, so that what is wrong is found before much is read. A part that not every checkpoint of a
/// layout has is needed where its config is published.
///
/// # Errors
/// What is missing, in words: the repository holds no checkpoint in one of these layouts, and this is what the one wants
/// that it lacks least for.
pub fn needed_files(published: &[&str], layouts: &[&'static Layout]) -> Result<Vec<String>, Vec<String>> {
    let needed = layouts.iter().map(|layout| needed_of(published, layout));
    let lacking = |needed: &Result<_, Vec<String>>| needed.as_ref().err().map_or(0, Vec::len);
    needed.min_by_key(lacking).unwrap_or_else(|| Ok(Vec::new()))
}

fn needed_of(published: &[&str], layout: &Layout) -> Result<Vec<String>, Vec<String>> {
    let mut names = vec![INDEX.to_owned()];
    let has = |name: &str| published.contains(&name);
    let config_of = |component: &Component| format!("{}/{}", component.name, component.config());
    let optional = layout.optional.iter().filter(|component| has(&config_of(component)));
    let components: Vec<&Component> = layout.components.iter().chain(optional).collect();
    let configs = components.iter().filter(|component| component.kind != ComponentKind::Tokenizer);
    names.extend(configs.map(|component| config_of(component)));
    let mut missing: Vec<String> = names.iter().filter(|name| !has(name)).cloned().collect();
    for component in components.iter().filter(|component| component.kind == ComponentKind::Tokenizer) {
        match tokenizer_files(&format!("{}/", component.name), has) {
            Ok(files) => names.extend(files),
            Err(lacks) => missing.extend(lacks),
        }
    }
    // The denoising net, the first component, is the largest: it comes last.
    let (first, others) = components.split_at(1);
    for component in others.iter().chain(first) {
        let Some(stems) = component.weight_stems() else { continue };
        let prefix = format!("{}/", component.name);
        let weights = smallest_weights(published, &prefix, stems);
        if weights.is_empty() {
            missing.push(format!("the weights of {}{}", component.name, found(published, &prefix)));
        }
        names.extend(weights);
    }
    if missing.is_empty() { Ok(names) } else { Err(missing) }
}

/// Chooses the files that a CLIP model needs, as [`needed_files`] does; `config.json` comes first.
///
/// # Errors
/// What is missing, in words: the repository holds no CLIP model in the Hugging Face layout.
pub fn needed_clip_files(published: &[&str]) -> Result<Vec<String>, Vec<String>> {
    let (mut names, mut missing) = match clip::small_files(|name| published.contains(&name)) {
        Ok(names) => (names, Vec::new()),
        Err(missing) => (Vec::new(), missing),
    };
    let weights = smallest_weights(published, "", clip::WEIGHT_STEMS);
    if weights.is_empty() {
        missing.push(format!("the weights{}", found(published, "")));
    }
    if !missing.is_empty() {
        return Err(missing);
    }
    names.extend(weights);
    Ok(names)
}

/// Chooses the files that a motion adapter needs, as [`needed_files`] does; `config.json` comes first.
///
/// # Errors
/// What is missing, in words.
pub fn needed_adapter_files(published: &[&str]) -> Result<Vec<String>, Vec<String>> {
    let mut names = vec![adapter::CONFIG.to_owned()];
    let mut missing: Vec<String> =
        names.iter().filter(|name| !published.contains(&name.as_str())).cloned().collect();
    let weights = smallest_weights(published, "", adapter::WEIGHT_STEMS);
    if weights.is_empty() {
        missing.push(format!("the weights{}", found(published, "")));
    }
    names.extend(weights);
    if missing.is_empty() { Ok(names) } else { Err(missing) }
}

/// Weights behind `prefix` whose names are not known, for a message.
fn found(published: &[&str], prefix: &str) -> String {
    let names = published.iter().filter_map(|name| name.strip_prefix(prefix));
    let found = only_like_weights(names.filter(|name| !name.contains('/')).map(str::to_owned));
    if found.is_empty() { String::new() } else { format!(" (found {})", found.join(", ")) }
}

/// The files of the preferred form of the weights behind `prefix`: one file, or an index and its shards.
fn smallest_weights(published: &[&str], prefix: &str, stems: (&str, &str)) -> Vec<String> {
    for variant in ["fp16", ""] {
        for (stem, ending) in [(stems.0, "safetensors"), (stems.1, "bin")] {
            let whole = format!("{prefix}{}", whole_name(stem, variant, ending));
            if published.contains(&whole.as_str()) {
                return vec![whole];
            }
            let mut indexes =
                index_names(stem, variant, ending).into_iter().map(|name| format!("{prefix}{name}"));
            if let Some(index) = indexes.find(|index| published.contains(&index.as_str())) {
                let mut shards: Vec<String> = published
                    .iter()
                    .filter(|name| is_shard(name, prefix, stem, variant, ending))
                    .map(|&name| name.to_owned())
                    .collect();
                shards.sort();
                shards.insert(0, index);
                return shards;
            }
        }
    }
    Vec::new()
}

/// Whether this is `STEM-00001-of-00002.ENDING` behind the prefix, with the variant before or behind the numbers.
fn is_shard(name: &str, prefix: &str, stem: &str, variant: &str, ending: &str) -> bool {
    let file = name.strip_prefix(prefix);
    let middle = file.and_then(|file| file.strip_prefix(stem)).and_then(|file| file.strip_suffix(ending));
    middle.is_some_and(|middle| {
        let numbers = middle.replacen(&format!(".{variant}"), "", usize::from(!variant.is_empty()));
        middle.contains("fp16") != variant.is_empty()
            && numbers.ends_with('.')
            && numbers.starts_with('-')
            && numbers.contains("-of-")
            && !numbers.contains('/')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::layouts;

    const SMALL: [&str; 9] = [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "vae/config.json",
    ];

    /// The weights that are chosen when these are published beside all the small files.
    fn chosen(weights: &[&str]) -> Vec<String> {
        let published = [&SMALL[..], weights, &["README.md", ".gitattributes"]].concat();
        let needed = needed_files(&published, &layouts()).unwrap();
        assert!(SMALL.iter().all(|name| needed.contains(&(*name).to_owned())), "{needed:?}");
        assert_eq!(needed[0], "model_index.json");
        needed[SMALL.len()..].to_vec()
    }

    #[test]
    fn zeroscope_as_published() {
        let chosen = chosen(&[
            "text_encoder/pytorch_model.bin",
            "unet/diffusion_pytorch_model.bin",
            "vae/diffusion_pytorch_model.bin",
            "zs2_576w/open_clip_pytorch_model.bin",
            "zs2_576w/text2video_pytorch_model.pth",
        ]);
        assert_eq!(
            chosen,
            [
                "vae/diffusion_pytorch_model.bin",
                "text_encoder/pytorch_model.bin",
                "unet/diffusion_pytorch_model.bin"
            ]
        );
    }

    #[test]
    fn modelscope_as_published() {
        let mut published = Vec::new();
        for (component, stem, bin) in [
            ("text_encoder", "model", "pytorch_model"),
            ("unet", "diffusion_pytorch_model", "diffusion_pytorch_model"),
            ("vae", "diffusion_pytorch_model", "diffusion_pytorch_model"),
        ] {
            for variant in ["", ".fp16"] {
                published.push(format!("{component}/{bin}{variant}.bin"));
                published.push(format!("{component}/{stem}{variant}.safetensors"));
            }
        }
        let published: Vec<&str> = published.iter().map(String::as_str).collect();
        assert_eq!(
            chosen(&published),
            [
                "vae/diffusion_pytorch_model.fp16.safetensors",
                "text_encoder/model.fp16.safetensors",
                "unet/diffusion_pytorch_model.fp16.safetensors"
            ]
        );
    }

    #[test]
    fn a_second_transformer_is_needed_where_its_config_is_published() {
        let mut published = vec![
            "model_index.json",
            "scheduler/scheduler_config.json",
            "text_encoder/config.json",
            "text_encoder/model.safetensors",
            "tokenizer/tokenizer.json",
            "transformer/config.json",
            "transformer/diffusion_pytorch_model.safetensors",
            "vae/config.json",
            "vae/diffusion_pytorch_model.safetensors",
        ];
        let one = needed_files(&published, &layouts()).unwrap();
        let weights = "transformer_2/diffusion_pytorch_model.safetensors";
        published.push(weights);
        assert_eq!(needed_files(&published, &layouts()).unwrap(), one);
        published.push("transformer_2/config.json");
        let two = needed_files(&published, &layouts()).unwrap();
        assert_eq!(two.len(), one.len() + 2);
        assert!(two.iter().any(|name| name == weights), "{two:?}");
        assert_eq!(two.last().unwrap(), "transformer/diffusion_pytorch_model.safetensors");
        published.retain(|name| *name != weights);
        let missing = needed_files(&published, &layouts()).unwrap_err();
        assert_eq!(missing, ["the weights of transformer_2"]);
    }

    #[test]
    fn shards_come_with_their_index_and_in_one_variant() {
        let chosen = chosen(&[
            "text_encoder/model.safetensors",
            "unet/diffusion_pytorch_model-00001-of-00002.fp16.safetensors",
            "unet/diffusion_pytorch_model-00002-of-00002.fp16.safetensors",
            "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
            "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
            "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
            "unet/diffusion_pytorch_model.safetensors.index.json",
            "vae/diffusion_pytorch_model-00001-of-00001.safetensors",
            "vae/diffusion_pytorch_model.safetensors.index.json",
        ]);
        assert_eq!(
            chosen,
            [
                "vae/diffusion_pytorch_model.safetensors.index.json",
                "vae/diffusion_pytorch_model-00001-of-00001.safetensors",
                "text_encoder/model.safetensors",
                "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
                "unet/diffusion_pytorch_model-00001-of-00002.fp16.safetensors",
                "unet/diffusion_pytorch_model-00002-of-00002.fp16.safetensors",
            ]
        );
    }

    #[test]
    fn a_clip_as_published() {
        let published = [
            ".gitattributes",
            "README.md",
            "config.json",
            "flax_model.msgpack",
            "merges.txt",
            "preprocessor_config.json",
            "pytorch_model.bin",
            "special_tokens_map.json",
            "tf_model.h5",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.json",
        ];
        let needed = needed_clip_files(&published).unwrap();
        assert_eq!((needed.len(), needed[0].as_str()), (7, "config.json"));
        assert_eq!(needed[6], "pytorch_model.bin");
        let missing = needed_clip_files(&["config.json", "vocab.json"]).unwrap_err();
        assert_eq!(
            missing,
            ["preprocessor_config.json (or processor_config.json)", "merges.txt", "the weights"]
        );
    }

    #[test]
    fn what_transformers_5_saves() {
        let published = [
            "config.json",
            "model.safetensors",
            "processor_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ];
        let mut needed = needed_clip_files(&published).unwrap();
        assert_eq!(needed[0], "config.json");
        needed.sort();
        assert_eq!(needed, published);
        // Where the older files are there too, the newer one is not fetched.
        let both = [&published[..], &["vocab.json", "merges.txt"]].concat();
        assert!(!needed_clip_files(&both).unwrap().contains(&"tokenizer.json".to_owned()));
        for name in [
            "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
            "unet/diffusion_pytorch_model.safetensors.fp16.index.json",
            "unet/diffusion_pytorch_model.fp16.safetensors.index.json",
        ] {
            let chosen = chosen(&[
                "vae/diffusion_pytorch_model.safetensors",
                "text_encoder/model.safetensors",
                name,
                "unet/diffusion_pytorch_model-00001-of-00001.fp16.safetensors",
            ]);
            assert_eq!(chosen[2..], [name, "unet/diffusion_pytorch_model-00001-of-00001.fp16.safetensors"]);
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let missing = needed_files(&["model_index.json", "unet/config.json", "vae/config.json"], &layouts())
            .unwrap_err();
        assert!(missing.contains(&"the weights of unet".to_owned()), "{missing:?}");
        assert!(missing.contains(&"tokenizer/vocab.json".to_owned()), "{missing:?}");
        assert!(!missing.contains(&"tokenizer/tokenizer_config.json".to_owned()), "{missing:?}");
        let other = ["unet/diffusion_pytorch_model.bf16.safetensors", "unet/README.md"];
        let missing = needed_files(&other, &layouts()).unwrap_err();
        let found = "the weights of unet (found diffusion_pytorch_model.bf16.safetensors)";
        assert!(missing.contains(&found.to_owned()), "{missing:?}");
    }
}
