//! How OpenMP threads wait for each other.

/// Lets threads that wait for others sleep instead of spin.
///
/// Spinning gains nothing measurable on an idle machine, and on one that others use too it made runs 3 to 5 times
/// slower (seen on 2 cores). OpenMP reads its policy when it is loaded, before this program's first line, so the
/// program starts itself once more with the policy set. A policy that the user has set is left alone. `may_use_gpu` says
/// whether a GPU computes where there is one: then these threads have little to do, and starting again takes longer.
#[cfg(target_os = "linux")]
pub(crate) fn wait_asleep(may_use_gpu: bool) {
    use std::os::unix::process::CommandExt;
    const POLICY: &str = "OMP_WAIT_POLICY";
    if may_use_gpu && std::path::Path::new("/dev/nvidiactl").exists() {
        return;
    }
    if [POLICY, "GOMP_SPINCOUNT"].iter().any(|variable| std::env::var_os(variable).is_some()) {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        let mut again = std::process::Command::new(program);
        // Only returns when it fails; then the run goes on, spinning.
        let _ = again.args(std::env::args_os().skip(1)).env(POLICY, "PASSIVE").exec();
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn wait_asleep(_: bool) {}
