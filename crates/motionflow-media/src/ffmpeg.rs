//! The program ffmpeg: finding it, running it, and what it says when it fails.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use crate::children;
use crate::error::{Error, Result};

/// The environment variables that may name the program, the first that is set wins.
pub const VARIABLES: [&str; 2] = ["MOTIONFLOW_FFMPEG", "FFMPEG"];

/// A program `ffmpeg` that starts. Reading and writing videos goes through it; ffprobe is never needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ffmpeg {
    program: PathBuf,
    version: String,
}

impl Ffmpeg {
    /// Finds the program: `$MOTIONFLOW_FFMPEG` or `$FFMPEG` when set, else `own` (a copy that the caller brings) when
    /// that file exists, else `ffmpeg` on the search path. Runs it once to know that it works.
    ///
    /// # Errors
    /// [`Error::FfmpegMissing`] when there is none, [`Error::FfmpegNotRunnable`] when a variable names one that does
    /// not start.
    pub fn find(own: Option<&Path>) -> Result<Self> {
        let named = VARIABLES.iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
        Self::find_among(named, own, "ffmpeg".as_ref())
    }

    /// Takes the program at `program`, and runs it once to know that it works.
    ///
    /// # Errors
    /// [`Error::FfmpegNotRunnable`] when it does not start or does not answer as ffmpeg does.
    pub fn at(program: impl Into<PathBuf>) -> Result<Self> {
        let program = program.into();
        match version_of(&program) {
            Ok(version) => Ok(Self { program, version }),
            Err(source) => Err(Error::FfmpegNotRunnable { program, source }),
        }
    }

    fn find_among(named: Option<OsString>, own: Option<&Path>, on_path: &OsStr) -> Result<Self> {
        if let Some(program) = named {
            return Self::at(program);
        }
        if let Some(own) = own.filter(|own| own.is_file()) {
            return Self::at(own);
        }
        match version_of(Path::new(on_path)) {
            Ok(version) => Ok(Self { program: on_path.into(), version }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let own = own.map(|own| format!(", {}", own.display())).unwrap_or_default();
                let [first, second] = VARIABLES;
                let looked_for = format!("${first} and ${second}{own}, `{}` on PATH", on_path.display());
                Err(Error::FfmpegMissing { looked_for })
            }
            Err(source) => Err(Error::FfmpegNotRunnable { program: on_path.into(), source }),
        }
    }

    /// The program's path, or its bare name when it was found on the search path.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What the program calls its version, such as `7.1`, for run records.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A command that says nothing but errors and asks nothing.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-hide_banner", "-nostdin", "-loglevel", "error"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // Ctrl-C is for the program that waits for it: it may want to let the file be finished.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }

    /// Starts a command; its error output is gathered aside, so that it never blocks.
    pub(crate) fn start(&self, command: &mut Command) -> Result<Running> {
        let mut child = out_of_reach(|| command.spawn())
            .map_err(|source| Error::FfmpegNotRunnable { program: self.program.clone(), source })?;
        children::began(child.id());
        let stderr = child.stderr.take();
        let mut running = Running { child, complaints: None };
        let gather = |mut stderr: std::process::ChildStderr| {
            std::thread::Builder::new().spawn(move || {
                let mut bytes = Vec::new();
                // Read on to the end, but a broken film's thousands of complaints are not all kept.
                let mut chunk = [0; 4096];
                while let Ok(count @ 1..) = stderr.read(&mut chunk) {
                    bytes.extend_from_slice(&chunk[..count]);
                    if bytes.len() > 1 << 16 {
                        bytes.drain(..bytes.len() - (1 << 15));
                    }
                }
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        running.complaints = stderr
            .map(gather)
            .transpose()
            .map_err(|source| Error::FfmpegNotRunnable { program: self.program.clone(), source })?;
        Ok(running)
    }

    /// Runs a command to its end; gives its standard output, and its last complaint if it failed.
    pub(crate) fn output(&self, command: &mut Command) -> Result<(Vec<u8>, Outcome)> {
        let mut running = self.start(command.stdout(Stdio::piped()))?;
        let mut bytes = Vec::new();
        if let Some(stdout) = running.child.stdout.as_mut() {
            // A pipe that breaks off shows in the exit status.
            stdout.read_to_end(&mut bytes).ok();
        }
        Ok((bytes, running.finish()))
    }
}

/// Starts a program that Ctrl-C shall not reach. It inherits which signals are blocked: until it is in a group of its own,
/// a signal to this program's is one to it as well.
#[cfg(unix)]
fn out_of_reach(start: impl FnOnce() -> std::io::Result<Child>) -> std::io::Result<Child> {
    use nix::sys::signal::{SigSet, SigmaskHow, Signal};
    use Signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
    let ends = SigSet::from_iter([SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2]);
    let before = ends.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let started = start();
    before.thread_set_mask()?;
    started
}

#[cfg(not(unix))]
fn out_of_reach(start: impl FnOnce() -> std::io::Result<Child>) -> std::io::Result<Child> {
    start()
}

/// An ffmpeg at work. Dropping it ends it.
pub(crate) struct Running {
    pub(crate) child: Child,
    complaints: Option<JoinHandle<String>>,
}

/// How an ffmpeg ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) success: bool,
    /// The line of its error output that says most, if it wrote any.
    pub(crate) complaint: Option<String>,
    /// Whether the file has no stream of the kind asked for.
    pub(crate) no_such_stream: bool,
    /// Whether the stream was there, but not one frame came out of it.
    pub(crate) no_frame: bool,
}

impl Outcome {
    /// The complaint, or words to stand in for it.
    pub(crate) fn reason(self) -> String {
        self.complaint.unwrap_or_else(|| "ffmpeg stopped without saying why".into())
    }
}

impl Running {
    /// Waits for its end. Close its pipes before.
    pub(crate) fn finish(mut self) -> Outcome {
        drop(self.child.stdin.take());
        drop(self.child.stdout.take());
        let success = self.child.wait().is_ok_and(|status| status.success());
        let said = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        Outcome {
            success,
            complaint: telling_line(&said),
            no_such_stream: said.contains("matches no streams"),
            no_frame: said.contains("received no packets"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as well.
        self.child.kill().ok();
        self.child.wait().ok();
        children::ended(self.child.id());
    }
}

/// A path as ffmpeg takes it without reading a protocol, an option or a pattern into it.
pub(crate) fn file_url(path: &Path) -> OsString {
    let mut url = OsString::from("file:");
    url.push(path);
    url
}

/// Runs `program -version` and reads the version's name from the first line.
fn version_of(program: &Path) -> std::io::Result<String> {
    let output = Command::new(program).arg("-version").stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.strip_prefix("ffmpeg version ") {
        Some(rest) if output.status.success() => {
            Ok(rest.split_whitespace().next().unwrap_or_default().to_owned())
        }
        _ => Err(std::io::Error::other("it does not answer `-version` as ffmpeg does")),
    }
}

/// The last line of ffmpeg's error output that says something of its own, without the `[part @ address]` before it.
fn telling_line(said: &str) -> Option<String> {
    /// Lines that only say that something failed.
    const EMPTY: [&str; 9] = [
        "Error opening input file ",
        "Cannot determine format of input",
        "Could not open encoder before EOF",
        "Task finished with error code",
        "Conversion failed",
        "Last message repeated",
        "Error opening output file ",
        "Terminating thread",
        "Nothing was written into output file",
    ];
    /// Beginnings that only say where.
    const WHERE: [&str; 3] =
        ["Error opening input files: ", "Error opening input: ", "Error opening output files: "];
    // Whatever follows it only tells of its consequences.
    if let Some(refused) = said.lines().find(|line| line.contains("Resource temporarily unavailable")) {
        return Some(refused.to_owned());
    }
    let mut lines = said.lines().rev().map(|line| {
        let mut line = line.trim();
        while let Some((place, rest)) = line.strip_prefix('[').and_then(|line| line.split_once("] ")) {
            if !place.contains(" @ ") {
                break;
            }
            line = rest;
        }
        WHERE.iter().find_map(|start| line.strip_prefix(start)).unwrap_or(line)
    });
    lines
        .find(|line| !line.is_empty() && !EMPTY.iter().any(|start| line.starts_with(start)))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telling_line_is_found() {
        let said = "[in#0 @ 0x562c465d3040] moov atom not found\n\
                    [in#0 @ 0x562c465d2d00] Error opening input: Invalid data found when processing input\n\
                    Error opening input file t.mp4.\n\
                    Error opening input files: Invalid data found when processing input\n";
        assert_eq!(telling_line(said).unwrap(), "Invalid data found when processing input");
        assert_eq!(
            telling_line("Unknown encoder 'libx264'\nConversion failed!\n\n").unwrap(),
            "Unknown encoder 'libx264'"
        );
        assert_eq!(telling_line("[a b] stays"), Some("[a b] stays".into()));
        assert_eq!(telling_line("\n \n"), None);
    }

    #[test]
    fn a_missing_program_says_where_it_was_looked_for() {
        let own = Path::new("/nowhere/at/all/ffmpeg");
        let error = Ffmpeg::find_among(None, Some(own), "no-such-ffmpeg".as_ref()).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, Error::FfmpegMissing { .. }));
        for part in ["$MOTIONFLOW_FFMPEG", "/nowhere/at/all/ffmpeg", "no-such-ffmpeg", "cargo xtask setup"] {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
    }

    #[test]
    fn a_named_program_that_is_not_there_is_not_passed_over() {
        let named = Some("/nowhere/ffmpeg".into());
        let error = Ffmpeg::find_among(named, None, "ffmpeg".as_ref()).unwrap_err();
        assert!(error.to_string().contains("/nowhere/ffmpeg"), "{error}");
    }

    #[test]
    fn another_program_is_not_taken_for_ffmpeg() {
        assert!(matches!(Ffmpeg::at("true"), Err(Error::FfmpegNotRunnable { .. })));
    }
}
