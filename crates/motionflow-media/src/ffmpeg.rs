//! The program ffmpeg: finding it, running it, and what it says when it fails.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use crate::children;
use crate::error::{Error, Result};
use crate::formats;
#[cfg(target_os = "linux")]
use crate::orphan;

/// The environment variables that may name the program, the first that is set wins.
pub const VARIABLES: [&str; 2] = ["MOTIONFLOW_FFMPEG", "FFMPEG"];

/// A program `ffmpeg` that starts. Reading and writing videos goes through it; ffprobe is never needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ffmpeg {
    program: PathBuf,
    version: String,
    /// The arguments that keep an input from leading to other files.
    limits: Vec<String>,
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
            Ok(version) => Ok(Self { limits: Self::limits_of(&program)?, program, version }),
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
            Ok(version) => {
                let program = PathBuf::from(on_path);
                Ok(Self { limits: Self::limits_of(&program)?, program, version })
            }
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

    /// A command that says nothing but errors and asks nothing. The first input that is added to it is not followed to
    /// other files.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.bare_command();
        command.args(&self.limits);
        command
    }

    /// As [`Ffmpeg::command`], for one without an input.
    pub(crate) fn bare_command(&self) -> Command {
        self.command_saying("error")
    }

    /// As [`Ffmpeg::command`], for one that tells what it does, each line with its level.
    pub(crate) fn telling_command(&self) -> Command {
        let mut command = self.command_saying("level+info");
        command.args(&self.limits);
        command
    }

    fn command_saying(&self, level: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-hide_banner", "-nostdin", "-nostats", "-loglevel", level]);
        // A statically linked ffmpeg crashes when its iconv loads the system's modules, as for the names in an MPEG-TS.
        // With this set, glibc does not look into its cache of them.
        if std::env::var_os("GCONV_PATH").is_none() {
            command.env("GCONV_PATH", "/dev/null/gconv");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        #[cfg(target_os = "linux")]
        orphan::ends_with_parent(&mut command);
        // Ctrl-C is for the program that waits for it: it may want to let the file be finished.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }

    /// The output options with which each frame is given once, whatever its time.
    pub(crate) fn every_frame(&self) -> [&'static str; 2] {
        // Versions that are not numbers are made from the newest source.
        let mut numbers =
            self.version.trim_start_matches('n').split(['.', '-']).map(|part| part.parse().ok());
        let version: (Option<u32>, Option<u32>) = (numbers.next().flatten(), numbers.next().flatten());
        let is_old = version.0.is_some() && version < (Some(5), Some(1));
        if is_old { ["-vsync", "passthrough"] } else { ["-fps_mode", "passthrough"] }
    }

    /// Starts a command; its error output is gathered aside, so that it never blocks.
    pub(crate) fn start(&self, command: &mut Command) -> Result<Running> {
        self.start_heard(command, |_| {})
    }

    /// Starts a command; `hear` is called with each line of its error output, on another thread.
    pub(crate) fn start_heard(
        &self,
        command: &mut Command,
        mut hear: impl FnMut(&str) + Send + 'static,
    ) -> Result<Running> {
        let mut child = out_of_reach(|| command.spawn())
            .map_err(|source| Error::FfmpegNotRunnable { program: self.program.clone(), source })?;
        children::began(child.id());
        let stderr = child.stderr.take();
        let mut running = Running { child, complaints: None };
        let gather = |stderr: std::process::ChildStderr| {
            std::thread::Builder::new().spawn(move || {
                // Read on to the end, but a broken film's thousands of complaints are not all kept.
                let mut said = String::new();
                let mut stderr = BufReader::new(stderr);
                while let Some(line) = next_line(&mut stderr) {
                    hear(&line);
                    if let Some(complaint) = complaint_in(&line) {
                        said.push_str(complaint);
                        said.push('\n');
                    }
                    if said.len() > 1 << 16 {
                        let half = said.len() - (1 << 15);
                        let from = said[..].char_indices().map(|(at, _)| at).find(|at| *at >= half);
                        said.drain(..from.unwrap_or(said.len()));
                    }
                }
                said
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
    use Signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
    use nix::sys::signal::{SigSet, SigmaskHow, Signal};
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
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) success: bool,
    /// The line of its error output that says most, if it wrote any.
    pub(crate) complaint: Option<String>,
    /// Whether the file has no stream of the kind asked for.
    pub(crate) no_such_stream: bool,
    /// How a signal ended it, such as `crashed (signal 11)`, if one did.
    pub(crate) ended_by_signal: Option<String>,
}

impl Outcome {
    /// The crash or the complaint, or words to stand in for it.
    pub(crate) fn reason(self) -> String {
        if let Some(how) = self.ended_by_signal {
            return format!("ffmpeg {how}");
        }
        self.complaint.unwrap_or_else(|| "ffmpeg stopped without saying why".into())
    }
}

impl Running {
    /// Waits for its end. Close its pipes before.
    pub(crate) fn finish(mut self) -> Outcome {
        drop(self.child.stdin.take());
        drop(self.child.stdout.take());
        let status = self.child.wait().ok();
        let said = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        Outcome {
            success: status.is_some_and(|status| status.success()),
            ended_by_signal: status.and_then(ended_by_signal),
            complaint: formats::refusal(&said).or_else(|| telling_line(&said)),
            no_such_stream: said.contains("matches no streams"),
        }
    }
}

/// `crashed (signal 11)` or `was killed (signal 9)`, where a signal ended it.
#[cfg(unix)]
fn ended_by_signal(status: ExitStatus) -> Option<String> {
    use nix::sys::signal::Signal;
    let signal = std::os::unix::process::ExitStatusExt::signal(&status)?;
    let crash = matches!(
        Signal::try_from(signal),
        Ok(Signal::SIGSEGV
            | Signal::SIGBUS
            | Signal::SIGILL
            | Signal::SIGABRT
            | Signal::SIGFPE
            | Signal::SIGTRAP
            | Signal::SIGSYS)
    );
    let how = if crash { "crashed" } else { "was killed" };
    Some(format!("{how} (signal {signal})"))
}

#[cfg(not(unix))]
fn ended_by_signal(_: ExitStatus) -> Option<String> {
    None
}

/// The next line, of a long one its beginning; `None` at the end.
fn next_line(stream: &mut impl BufRead) -> Option<String> {
    const LONGEST: u64 = 1 << 12;
    let mut line = Vec::new();
    let mut count = stream.by_ref().take(LONGEST).read_until(b'\n', &mut line).ok()?;
    if count == 0 {
        return None;
    }
    let mut last = line.last().copied();
    let mut rest = Vec::new();
    while last != Some(b'\n') && count > 0 {
        rest.clear();
        count = stream.by_ref().take(LONGEST).read_until(b'\n', &mut rest).ok()?;
        last = rest.last().copied();
    }
    Some(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// What a line complains of: all of it where lines have no level, else those of errors and of broken packets.
pub(crate) fn complaint_in(line: &str) -> Option<&str> {
    const BROKEN: [&str; 3] = ["corrupt decoded frame", "corrupt input packet", "Packet corrupt"];
    match level(line) {
        None | Some(("error" | "fatal" | "panic", _)) => Some(line),
        Some(("warning", text)) if BROKEN.iter().any(|start| text.starts_with(start)) => Some(line),
        Some(_) => None,
    }
}

/// The level that a line of a telling command has, and what it says: `[h264 @ 0x1] [error] no frame!`.
pub(crate) fn level(line: &str) -> Option<(&str, &str)> {
    const LEVELS: [&str; 6] = ["info", "warning", "error", "fatal", "panic", "verbose"];
    let line = without_place(line);
    let (level, text) = line.strip_prefix('[')?.split_once(']')?;
    LEVELS.contains(&level).then(|| (level, text.trim_start()))
}

/// A line without the `[part @ address]` at its beginning.
fn without_place(line: &str) -> &str {
    let mut line = line.trim();
    while let Some((place, rest)) = line.strip_prefix('[').and_then(|line| line.split_once("] ")) {
        if !place.contains(" @ ") {
            break;
        }
        line = rest;
    }
    line
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
    let output = children::output_of(Command::new(program).arg("-version"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.strip_prefix("ffmpeg version ") {
        Some(rest) if output.status.success() => {
            Ok(rest.split_whitespace().next().unwrap_or_default().to_owned())
        }
        _ => Err(std::io::Error::other("it does not answer `-version` as ffmpeg does")),
    }
}

/// The last line of ffmpeg's error output that says something of its own, without the `[part @ address]` before it: where
/// there is one, a line that says more than that something is wrong.
pub(crate) fn telling_line(said: &str) -> Option<String> {
    /// Lines that only say that something failed.
    const EMPTY: [&str; 13] = [
        "Error opening input file ",
        "Cannot determine format of input",
        "Could not open encoder before EOF",
        "Task finished with error code",
        "Conversion failed",
        "Last message repeated",
        "Error opening output file ",
        "Terminating thread",
        "Nothing was written into output file",
        "Error sending frames to consumers",
        "Error while processing the decoded data",
        "Error while filtering",
        "Error reinitializing filters",
    ];
    /// Beginnings that only say where.
    const WHERE: [&str; 3] =
        ["Error opening input files: ", "Error opening input: ", "Error opening output files: "];
    /// Lines that name no cause.
    const GENERAL: [&str; 8] = [
        "Invalid data found when processing input",
        "Invalid argument",
        "End of file",
        "Unknown error occurred",
        "Generic error in an external library",
        "Error submitting packet to decoder",
        "Decode error rate ",
        "Error writing trailer",
    ];
    // Whatever follows it only tells of its consequences.
    if let Some(refused) = said.lines().find(|line| line.contains("Resource temporarily unavailable")) {
        return Some(refused.to_owned());
    }
    let begins = |line: &str, starts: &[&str]| starts.iter().any(|start| line.starts_with(start));
    let lines = said.lines().rev().map(|line| {
        let line = level(line).map_or_else(|| without_place(line), |(_, text)| text);
        WHERE.iter().find_map(|start| line.strip_prefix(start)).unwrap_or(line)
    });
    let mut lines = lines.filter(|line| !line.is_empty() && !begins(line, &EMPTY)).peekable();
    let last = lines.peek().copied();
    lines.find(|line| !begins(line, &GENERAL)).or(last).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn the_telling_line_is_found() {
        let said = "[in#0 @ 0x562c465d3040] moov atom not found\n\
                    [in#0 @ 0x562c465d2d00] Error opening input: Invalid data found when processing input\n\
                    Error opening input file t.mp4.\n\
                    Error opening input files: Invalid data found when processing input\n";
        assert_eq!(telling_line(said).unwrap(), "moov atom not found");
        assert_eq!(
            telling_line(
                "[in#0 @ 0x1] [error] Error opening input: Invalid data found when processing input\n"
            ),
            Some("Invalid data found when processing input".into())
        );
        assert_eq!(
            telling_line("[h264 @ 0x1] [error] no frame!\n[fatal] Conversion failed!"),
            Some("no frame!".into())
        );
        assert_eq!(
            telling_line("Unknown encoder 'libx264'\nConversion failed!\n\n").unwrap(),
            "Unknown encoder 'libx264'"
        );
        assert_eq!(telling_line("[a b] stays"), Some("[a b] stays".into()));
        assert_eq!(telling_line("\n \n"), None);
    }

    #[test]
    fn lines_of_a_telling_command_are_sorted() {
        assert_eq!(complaint_in("no level"), Some("no level"));
        assert_eq!(complaint_in("[showinfo@in @ 0x1] [info] n:   0 pts:      0"), None);
        assert_eq!(complaint_in("[h264 @ 0x1] [error] no frame!"), Some("[h264 @ 0x1] [error] no frame!"));
        assert!(complaint_in("[vist#0:0/h264 @ 0x1] [warning] corrupt decoded frame").is_some());
        assert!(complaint_in("[swscaler @ 0x1] [warning] deprecated pixel format used").is_none());
        assert_eq!(level("[h264 @ 0x1] [error] no frame!"), Some(("error", "no frame!")));
        assert_eq!(level("[a b] stays"), None);
        let mut long = Cursor::new([&[b'x'; 9999][..], b"\nnext"].concat());
        assert_eq!(next_line(&mut long).unwrap().len(), 1 << 12);
        assert_eq!(next_line(&mut long).unwrap(), "next");
        assert_eq!(next_line(&mut long), None);
    }

    #[test]
    fn old_versions_have_another_name_for_every_frame() {
        let option = |version: &str| {
            Ffmpeg { program: "ffmpeg".into(), version: version.into(), limits: Vec::new() }.every_frame()[0]
        };
        assert_eq!(["4.4.2-0ubuntu0.22.04.1", "5.0", "n4.4"].map(option), ["-vsync"; 3]);
        assert_eq!(
            ["5.1", "7.0.2-static", "n6.1", "8.0", "N-1-gabc", "2025-01-01-git"].map(option),
            ["-fps_mode"; 6]
        );
    }

    #[cfg(unix)]
    #[test]
    fn an_end_by_a_signal_is_told() {
        let said = |script: &str| {
            let ffmpeg = Ffmpeg { program: "sh".into(), version: String::new(), limits: Vec::new() };
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            ffmpeg.output(&mut command).unwrap().1.reason()
        };
        assert_eq!(said("kill -SEGV $$"), "ffmpeg crashed (signal 11)");
        assert_eq!(said("kill -KILL $$"), "ffmpeg was killed (signal 9)");
        assert_eq!(said("exit 3"), "ffmpeg stopped without saying why");
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
