//! Finding what a name stands for: a folder here, or a repository of the hub.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::error::{Missing, Misuse};
use crate::hub::{self, Address, Hub, Layout};
use crate::progress::Progress;

/// A folder of checkpoints, each in a folder of its name.
const FOLDER: &str = "models";
/// Names a folder of checkpoints.
pub const FOLDER_VARIABLE: &str = "MOTIONFLOW_MODELS";

/// What a name may stand for, in messages.
#[derive(Debug, Clone, Copy)]
pub struct Lookup {
    /// The flag that the name came from.
    pub flag: &'static str,
    /// What it is called.
    pub noun: &'static str,
    /// What else can be given.
    pub instead: &'static str,
}

pub(crate) const CHECKPOINT: Lookup = Lookup {
    flag: "--model",
    noun: "checkpoint",
    instead: "one in the diffusers text-to-video layout, a name, or OWNER/NAME on the Hugging Face hub",
};

pub(crate) const MOTION_ADAPTER: Lookup = Lookup {
    flag: "--motion-adapter",
    noun: "motion adapter",
    instead: "one in the diffusers layout, a name, or OWNER/NAME on the Hugging Face hub",
};

/// Where what was named lies.
#[derive(Debug)]
pub(crate) struct Found {
    /// Without what an address says besides.
    pub(crate) name: String,
    /// The commit, where it is from the hub.
    pub(crate) revision: Option<String>,
    pub(crate) folder: PathBuf,
}

impl Found {
    /// Finds what a flag names, on disk or on the hub. `recorded` is where the record of a run says that it was.
    ///
    /// # Errors
    /// When there is no such thing, or it cannot be fetched.
    pub(crate) fn of(
        said: &str,
        revision: Option<&str>,
        recorded: Option<PathBuf>,
        (sought, layout): (Lookup, Layout),
        progress: &mut Progress,
    ) -> Result<Self> {
        let (name, revision) = named(sought.flag, said, revision)?;
        let is_on_hub = is_on_hub(&name);
        // A run is done again with the checkpoint of its record, wherever it is done; but not where the name beside it was
        // changed.
        let last = |path: &Path| path.file_name().map(ToOwned::to_owned);
        let is_named =
            |path: &PathBuf| is_on_hub || last(Path::new(&name)).is_none_or(|own| last(path) == Some(own));
        let recorded = recorded.filter(|path| path.is_dir() && is_named(path));
        let (folder, revision) = match (&revision, recorded) {
            (revision, Some(recorded)) if is_on_hub => (recorded, revision.clone()),
            (revision, None) if is_on_hub => {
                let revision = revision.as_deref().unwrap_or(hub::REVISION);
                let snapshot = Hub::of(layout)?.get(&name, revision, progress)?;
                (snapshot.folder, Some(snapshot.commit))
            }
            (Some(revision), _) => {
                let Lookup { flag, noun, .. } = sought;
                let only = format!("only a {noun} from the hub has revisions");
                return Err(Misuse(format!("{} {revision}: {only}, not {name}", revision_flag(flag))).into());
            }
            (None, recorded) => (folder_of(&name, sought).or_else(|error| recorded.ok_or(error))?, None),
        };
        Ok(Self { name, revision, folder })
    }
}

/// What a name says, and which revision: an address of the hub's is taken apart. `flag` is where it came from.
///
/// # Errors
/// A [`Misuse`] where an address is none of a repository, or names another revision.
pub fn named(flag: &str, said: &str, revision: Option<&str>) -> Result<(String, Option<String>)> {
    let own = || Ok((said.to_owned(), revision.map(str::to_owned)));
    if Path::new(said).exists() {
        return own();
    }
    let Some(address) = Address::of(said).map_err(|what| Misuse(format!("{flag} {said}: {what}")))? else {
        return own();
    };
    match (revision, address.revision) {
        (Some(requested), Some(said_too)) if requested != said_too => Err(Misuse(format!(
            "{flag} {said}: names the revision {said_too}, and {} {requested}; give one of them",
            revision_flag(flag)
        ))
        .into()),
        (requested, said_too) => Ok((address.id, requested.map(str::to_owned).or(said_too))),
    }
}

/// The flag that says a revision of what another one names.
fn revision_flag(flag: &str) -> &'static str {
    if flag == MOTION_ADAPTER.flag { "--motion-adapter-revision" } else { "--revision" }
}

/// The folder that a name or path stands for.
///
/// # Errors
/// [`Missing`], with where it was looked for.
pub fn folder_of(name: &str, sought: Lookup) -> Result<PathBuf> {
    let Lookup { flag, noun, instead } = sought;
    let is_name = !name.is_empty() && !name.contains(['/', '\\']) && name != "." && name != "..";
    let path = PathBuf::from(name);
    let mut places =
        if is_name { model_folders().into_iter().map(|shelf| shelf.join(name)).collect() } else { vec![] };
    places.push(path);
    if let Some(folder) = places.iter().find(|place| place.is_dir()) {
        return Ok(folder.clone());
    }
    if is_one_file(Path::new(name)) {
        let whole = format!("single files are not read; give the folder of a whole {noun}");
        return Err(Misuse(format!("{flag} {name}: {whole}: {instead}")).into());
    }
    let mut message = if is_name {
        format!("there is no {noun} \"{name}\"; looked for the folders")
    } else {
        format!("{flag} {name}: there is no such folder; give {instead}")
    };
    if is_name {
        for place in &places {
            let _ = write!(message, "\n  {}", place.display());
        }
        let _ = write!(message, "\ngive the folder of a {noun} to {flag}, or set {FOLDER_VARIABLE}");
    }
    Err(Missing(message).into())
}

/// Whether a name is of the hub's, and nothing that lies here.
pub(crate) fn is_on_hub(name: &str) -> bool {
    // A repository may end in what other files end in, too.
    let is_weights = |ending: &str| ending == "safetensors" || ending == "ckpt";
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
    hub::is_id(name) && !Path::new(name).exists() && !ending.is_some_and(is_weights)
}

/// Whether a name stands for a folder here, so that nothing needs to be fetched.
pub(crate) fn is_local(name: &str, sought: Lookup) -> bool {
    !is_on_hub(name) && folder_of(name, sought).is_ok()
}

/// Whether this is, or is named like, weights in one file.
fn is_one_file(path: &Path) -> bool {
    let endings = ["safetensors", "ckpt", "pt", "pth", "bin", "gguf", "onnx", "zip"];
    let is_named_so =
        path.extension().is_some_and(|found| endings.iter().any(|ending| found.eq_ignore_ascii_case(ending)));
    path.is_file() || is_named_so && !path.is_dir()
}

/// The folders that hold checkpoints by name, the first to be looked into first.
pub fn model_folders() -> Vec<PathBuf> {
    let named = std::env::var_os(FOLDER_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut model_folders: Vec<PathBuf> = named.into_iter().collect();
    model_folders.extend(beside_program(FOLDER));
    model_folders.push(PathBuf::from(FOLDER));
    model_folders
}

/// A file or folder of this name beside the program or in a folder above it: so a build inside the source tree finds
/// what belongs to the tree, and an unpacked release what lies in its folder.
pub fn beside_program(name: impl AsRef<Path>) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let program = program.canonicalize().unwrap_or(program);
    program.ancestors().skip(1).map(|folder| folder.join(&name)).find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_lists_where_it_was_looked_for() {
        let message = folder_of("no-such-checkpoint", CHECKPOINT).unwrap_err().to_string();
        assert!(
            message.contains("models/no-such-checkpoint") && message.contains(FOLDER_VARIABLE),
            "{message}"
        );
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(folder_of(folder.path().to_str().unwrap(), CHECKPOINT).unwrap(), folder.path());
        assert!(folder_of("./no/such", CHECKPOINT).unwrap_err().to_string().contains("./no/such"));
    }
}
