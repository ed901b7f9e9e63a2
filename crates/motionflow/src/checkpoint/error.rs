//! What can be wrong with a checkpoint, in words that name the file.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::printable::printable;
use crate::tokenizer::{MERGES, TokenizerError, VOCABULARY, WHOLE};

/// Why a checkpoint, or a part of it, could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The operating system would not let us read a file.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Files that a checkpoint in the diffusers text-to-video layout has are not there.
    #[error("{}: not a whole text-to-video checkpoint in the diffusers layout; missing: {}", folder.display(), listed(missing))]
    Incomplete {
        /// The checkpoint's folder.
        folder: PathBuf,
        /// Every missing file, or the choice of names that were looked for.
        missing: Vec<String>,
    },
    /// Files that a CLIP model in the Hugging Face layout has are not there.
    #[error("{}: not a whole CLIP model in the Hugging Face layout; missing: {}", folder.display(), listed(missing))]
    IncompleteClip {
        /// The model's folder.
        folder: PathBuf,
        /// Every missing file, or the choice of names that were looked for.
        missing: Vec<String>,
    },
    /// Files that a motion adapter has are not there.
    #[error("{}: not a whole motion adapter in the diffusers layout; missing: {}", folder.display(), listed(missing))]
    IncompleteAdapter {
        /// The adapter's folder.
        folder: PathBuf,
        /// Every missing file, or the choice of names that were looked for.
        missing: Vec<String>,
    },
    /// A checkpoint that makes pictures has no motion adapter.
    #[error(
        "{}: is a Stable Diffusion checkpoint, which makes videos with a motion adapter alone; give one \
         (--motion-adapter FOLDER, or OWNER/NAME on the hub, such as guoyww/animatediff-motion-adapter-v1-5-2)",
        folder.display()
    )]
    NoMotionAdapter {
        /// The checkpoint's folder.
        folder: PathBuf,
    },
    /// A checkpoint that makes videos by itself is given a motion adapter.
    #[error(
        "{}: makes videos without a motion adapter; leave --motion-adapter out, or give a Stable Diffusion 1.5 \
         checkpoint to --model",
        folder.display()
    )]
    TakesNoMotionAdapter {
        /// The checkpoint's folder.
        folder: PathBuf,
    },
    /// A motion adapter is given as a checkpoint.
    #[error(
        "{}: is a motion adapter; give it to --motion-adapter, and a Stable Diffusion 1.5 checkpoint to --model",
        folder.display()
    )]
    IsMotionAdapter {
        /// The adapter's folder.
        folder: PathBuf,
    },
    /// A JSON file does not parse, or does not say what it must.
    #[error("{}:{line}:{column}: {message}; repair the file, or get the checkpoint anew", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, from 1; 0 when the problem is of the whole file.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// The checkpoint is of another kind of model.
    #[error("{}: {what} is {found}, but this program runs {expected}", path.display())]
    Unsupported {
        /// The file that says so.
        path: PathBuf,
        /// Which entry.
        what: String,
        /// What can be run.
        expected: String,
        /// What the file says.
        found: String,
    },
    /// A weights file contradicts itself or its own size: truncated, corrupt or hostile.
    #[error("{}: {what}: expected {expected}, found {found}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which part of it.
        what: String,
        /// What would have been right.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A pickle asks for something that no table of weights needs. Nothing was executed.
    #[error(
        "{}: the pickle wants to call `{callable}`, which a table of weights does not need; \
         nothing was executed, and the file is not to be trusted", path.display()
    )]
    ForbiddenCallable {
        /// The file.
        path: PathBuf,
        /// Module and name, as in `os.system`.
        callable: String,
    },
    /// The tensors of a component are not those that its config calls for.
    #[error("{0}")]
    Tensors(Box<TensorProblems>),
    /// There is no memory left for the weights.
    #[error("{component}: {message}")]
    OutOfMemory {
        /// The component and the files of its weights.
        component: String,
        /// What libtorch says.
        message: String,
    },
    /// The tokenizer's files are wrong.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// What is missing, in one line, with what does instead.
pub fn listed(missing: &[String]) -> String {
    let list = missing.join("; ");
    if missing.iter().any(|name| name.ends_with(VOCABULARY) || name.ends_with(MERGES)) {
        return format!("{list} (or {WHOLE} for {VOCABULARY} and {MERGES})");
    }
    list
}

impl CheckpointError {
    /// A [`CheckpointError::Malformed`]; the parts may quote the file.
    pub(super) fn malformed(
        path: &Path,
        what: impl AsRef<str>,
        expected: impl AsRef<str>,
        found: impl AsRef<str>,
    ) -> Self {
        Self::Malformed {
            path: path.to_path_buf(),
            what: printable(what.as_ref()),
            expected: printable(expected.as_ref()),
            found: printable(found.as_ref()),
        }
    }
}

/// All that is wrong with the tensors of one component, gathered before anything is said.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct TensorProblems {
    /// The component and the files of its weights.
    pub component: String,
    /// Names that the config calls for and the files lack.
    pub missing: Vec<String>,
    /// Names that the files have and nothing asked for.
    pub extra: Vec<String>,
    /// Tensors of a shape or type that the config does not call for, one line each.
    pub wrong: Vec<String>,
}

impl TensorProblems {
    /// How many names of each list are printed.
    const SHOWN: usize = 20;

    /// Whether there is nothing to report.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.wrong.is_empty()
    }
}

impl fmt::Display for TensorProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the weights do not fit the config", self.component)?;
        for (what, list) in
            [("missing", &self.missing), ("wrong", &self.wrong), ("not part of the model", &self.extra)]
        {
            if list.is_empty() {
                continue;
            }
            write!(f, "\n  {} {what}:", list.len())?;
            for line in list.iter().take(Self::SHOWN) {
                write!(f, "\n    {line}")?;
            }
            if list.len() > Self::SHOWN {
                write!(f, "\n    and {} more", list.len() - Self::SHOWN)?;
            }
        }
        Ok(())
    }
}
