//! Addresses of the hub's pages, as people copy them from a browser.

use super::environment::endpoint;
use super::is_id;

/// A repository of models, and perhaps a revision of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// `OWNER/NAME`
    pub(crate) id: String,
    pub(crate) revision: Option<String>,
}

impl Address {
    /// Takes an address apart; none where `text` is none. The error says why it stands for no repository.
    pub(crate) fn of(text: &str) -> Result<Option<Self>, String> {
        Self::at(text.trim(), &endpoint())
    }

    /// `https://huggingface.co/OWNER/NAME[/tree/REVISION]`; `endpoint` is taken for the hub, too.
    fn at(text: &str, endpoint: &str) -> Result<Option<Self>, String> {
        let own = text.strip_prefix(endpoint).filter(|rest| rest.starts_with('/'));
        let (scheme, bare) = text.split_once("://").unwrap_or(("", text));
        let host = bare.split(['/', '?', '#']).next().unwrap_or_default();
        let is_hub =
            ["huggingface.co", "www.huggingface.co", "hf.co"].contains(&host.to_lowercase().as_str());
        let path = match (own, scheme) {
            (Some(path), _) => path,
            (None, "hf") => bare,
            (None, "" | "http" | "https") if is_hub => &bare[host.len()..],
            (None, "") => return Ok(None),
            _ => return Err("is no address on the Hugging Face hub; give a folder, or OWNER/NAME".to_owned()),
        };
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let parts = parts.strip_prefix(&["models"]).unwrap_or(&parts);
        let (id, rest) = match parts {
            [kind @ ("datasets" | "spaces"), ..] => {
                return Err(format!("is of the hub's {kind}, which hold no model; give OWNER/NAME of one"));
            }
            [owner, name, rest @ ..] => (format!("{owner}/{name}"), rest),
            _ => return Err("names no model on the hub; give OWNER/NAME".to_owned()),
        };
        if !is_id(&id) {
            return Err("names no model on the hub; give OWNER/NAME".to_owned());
        }
        match rest {
            ["blob" | "resolve" | "raw", _, file @ ..] if !file.is_empty() => {
                Err(format!("is one file, and single files are not read; give the whole checkpoint: {id}"))
            }
            ["tree" | "commit" | "blob" | "resolve" | "raw", revision, ..] => {
                // The hub writes the slash in a branch's name so.
                Ok(Some(Self { id, revision: Some(revision.replace("%2F", "/").replace("%2f", "/")) }))
            }
            _ => Ok(Some(Self { id, revision: None })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Option<(String, Option<String>)>, String> {
        let address = Address::at(text, "http://127.0.0.1:80")?;
        Ok(address.map(|Address { id, revision }| (id, revision)))
    }

    #[test]
    fn addresses_are_taken_apart() {
        for text in [
            "https://huggingface.co/o/n",
            "https://huggingface.co/o/n/",
            "http://www.huggingface.co/o/n?library=diffusers#use",
            "huggingface.co/o/n",
            "HTTPS://HuggingFace.co/o/n".to_lowercase().as_str(),
            "https://hf.co/o/n/discussions/3",
            "hf://o/n",
            "http://127.0.0.1:80/o/n",
        ] {
            assert_eq!(of(text), Ok(Some(("o/n".into(), None))), "{text}");
        }
        for (text, revision) in [
            ("https://huggingface.co/o/n/tree/main", "main"),
            ("https://huggingface.co/o/n/tree/fp16/unet", "fp16"),
            ("https://huggingface.co/o/n/tree/refs%2Fpr%2F3", "refs/pr/3"),
            ("https://huggingface.co/o/n/commit/0123abc", "0123abc"),
        ] {
            assert_eq!(of(text), Ok(Some(("o/n".into(), Some(revision.into())))), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_left_alone() {
        for text in ["o/n", "demo", "./huggingface.co", "models/demo", "/a/b", "C:\\models"] {
            assert_eq!(of(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn addresses_of_something_else_are_told() {
        for (text, part) in [
            ("https://example.com/o/n", "no address on the Hugging Face hub"),
            ("https://huggingface.co/datasets/o/n", "datasets"),
            ("https://huggingface.co/o", "OWNER/NAME"),
            ("https://huggingface.co/o/n/blob/main/x.safetensors", "single files are not read"),
            ("https://huggingface.co/o/n/resolve/main/unet/x.bin", "o/n"),
        ] {
            let message = of(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
