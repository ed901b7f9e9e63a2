//! ffmpeg: which one, and whether it has what the program uses.

use super::Finding;
use motionflow_engine::source::find_ffmpeg;

pub(super) fn look() -> Vec<Finding> {
    let ffmpeg = match find_ffmpeg() {
        Ok(ffmpeg) => ffmpeg,
        Err(error) => return vec![Finding::error(&error)],
    };
    let mut findings = vec![Finding::ok(format!("{}, {}", ffmpeg.version(), ffmpeg.program().display()))];
    match ffmpeg.lacking_parts() {
        Ok(lacking) if lacking.is_empty() => {
            findings
                .push(Finding::ok("the encoders, filters and formats that videos need, libx264 among them"));
        }
        Ok(lacking) => findings.push(Finding::missing(
            format!("built without {}", lacking.join(", ")),
            "install a full ffmpeg, or set MOTIONFLOW_FFMPEG to one",
        )),
        Err(error) => findings.push(Finding::error(&error.into())),
    }
    findings
}
