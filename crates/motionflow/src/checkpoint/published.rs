//! Which of the files that a repository publishes make a checkpoint.

use super::{COMPONENTS, TOKENIZER_FILES, weight_stems};

/// Chooses the files that a checkpoint needs out of all names that a repository has, with `/` between the parts.
///
/// Of each net's weights one form is chosen: the `fp16` variant before full precision, since it is half as large and
/// the nets were published from it, then safetensors before `.bin`, then one file before shards. `model_index.json`
/// comes first and weights last, so that what is wrong is found before much is read.
///
/// # Errors
/// What is missing, in words: the repository holds no checkpoint in the diffusers text-to-video layout.
pub fn needed_files(published: &[&str]) -> Result<Vec<String>, Vec<String>> {
    let mut names = vec!["model_index.json".to_owned()];
    let mut optional = Vec::new();
    for (component, config, _) in COMPONENTS {
        names.push(format!("{component}/{config}"));
        if component == "tokenizer" {
            names.push(format!("{component}/{}", TOKENIZER_FILES[0]));
            optional.extend(TOKENIZER_FILES[1..].iter().map(|file| format!("{component}/{file}")));
        }
    }
    let has = |name: &String| published.contains(&name.as_str());
    let mut missing: Vec<String> = names.iter().filter(|name| !has(name)).cloned().collect();
    names.extend(optional.into_iter().filter(has));
    for component in ["vae", "text_encoder", "unet"] {
        let weights = smallest_weights(published, component);
        if weights.is_empty() {
            missing.push(format!("the weights of {component}"));
        }
        names.extend(weights);
    }
    if missing.is_empty() { Ok(names) } else { Err(missing) }
}

/// The files of the preferred form of a component's weights: one file, or an index and its shards.
fn smallest_weights(published: &[&str], component: &str) -> Vec<String> {
    let (safetensors, bin) = weight_stems(component);
    for variant in ["fp16", ""] {
        let dotted = if variant.is_empty() { String::new() } else { format!(".{variant}") };
        for (stem, ending) in [(safetensors, "safetensors"), (bin, "bin")] {
            let whole = format!("{component}/{stem}{dotted}.{ending}");
            if published.contains(&whole.as_str()) {
                return vec![whole];
            }
            let index = format!("{component}/{stem}.{ending}.index{dotted}.json");
            if published.contains(&index.as_str()) {
                let mut shards: Vec<String> = published
                    .iter()
                    .filter(|name| is_shard(name, component, stem, variant, ending))
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

/// Whether this is `STEM-00001-of-00002.ENDING` of the component, with the variant before or behind the numbers.
fn is_shard(name: &str, component: &str, stem: &str, variant: &str, ending: &str) -> bool {
    let file = name.strip_prefix(component).and_then(|name| name.strip_prefix('/'));
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
        let needed = needed_files(&published).unwrap();
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
    fn what_is_missing_is_said() {
        let missing = needed_files(&["model_index.json", "unet/config.json", "vae/config.json"]).unwrap_err();
        assert!(missing.contains(&"the weights of unet".to_owned()), "{missing:?}");
        assert!(missing.contains(&"tokenizer/vocab.json".to_owned()), "{missing:?}");
        assert!(!missing.contains(&"tokenizer/tokenizer_config.json".to_owned()), "{missing:?}");
    }
}
