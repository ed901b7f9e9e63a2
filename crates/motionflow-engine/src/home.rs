//! The user's folders, where there are any: a container may run a program as a user that it does not know.

use std::path::PathBuf;

use etcetera::BaseStrategy;

/// The home folder. None where there is none, or where what is said to be it is no whole path: nothing of the user's is made
/// in the current folder.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| home.is_absolute())
}

/// The folder for what can be made again: `$XDG_CACHE_HOME`, else the system's usual one below the home folder.
pub(crate) fn cache() -> Option<PathBuf> {
    let usual = || {
        folder()?;
        Some(etcetera::base_strategy::choose_native_strategy().ok()?.cache_dir())
    };
    xdg_cache().filter(|_| cfg!(not(target_os = "macos"))).or_else(usual)
}

/// `$XDG_CACHE_HOME`, of which only whole paths count.
pub(crate) fn xdg_cache() -> Option<PathBuf> {
    std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute())
}
