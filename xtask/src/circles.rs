//! No folders of a crate may import one another in a circle: a reader could not say which stands on which.
//!
//! Imports are found as text: paths that begin with `crate::`, outside of comments and of a file's tests. A folder and the
//! folders in it count as one another's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// Which folders each folder imports, with a file that does.
type Imports = BTreeMap<PathBuf, BTreeMap<PathBuf, PathBuf>>;

/// Checks every crate of the workspace.
pub fn circles(workspace: &Workspace) -> Result<()> {
    let crates = fs::read_dir(workspace.join("crates"))?;
    let mut sources: Vec<PathBuf> =
        crates.map(|entry| Ok(entry?.path().join("src"))).collect::<Result<_>>()?;
    sources.push(workspace.join("xtask/src"));
    sources.sort();
    let mut found = Vec::new();
    for source in sources {
        if let Some(circle) = circle(&imports(&source)?) {
            found.push(format!("{}: {}", workspace.show(&source), told(&circle)));
        }
    }
    if !found.is_empty() {
        bail!("folders import one another in a circle; move what both need below them\n{}", found.join("\n"));
    }
    Ok(())
}

fn imports(source: &Path) -> Result<Imports> {
    let mut files = Vec::new();
    rust_files(source, &mut files)?;
    let mut imports = Imports::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let from = file.parent().unwrap_or(source).to_owned();
        for path in paths(&text) {
            let to = folder_of(source, &path);
            if !from.starts_with(&to) && !to.starts_with(&from) {
                imports.entry(from.clone()).or_default().entry(to).or_insert_with(|| file.clone());
            }
        }
    }
    Ok(imports)
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The paths that a file takes from its own crate, without `crate::`.
fn paths(text: &str) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let text = text.split("#[cfg(test)]\npub(crate) mod tests").next().unwrap_or_default();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let is_of_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    code.flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.split(|letter| !is_of_path(letter)).next().unwrap_or_default().to_owned())
        .collect()
}

/// The folder in which the module of a path lies.
fn folder_of(source: &Path, path: &str) -> PathBuf {
    let mut folder = source.to_owned();
    for part in path.split("::") {
        if !folder.join(part).is_dir() {
            break;
        }
        folder.push(part);
    }
    folder
}

/// A circle, if there is one: each folder with a file in it that imports the next.
fn circle(imports: &Imports) -> Option<Vec<(PathBuf, PathBuf)>> {
    imports.keys().find_map(|start| way(imports, start, start, &mut BTreeSet::new()))
}

/// The way from a folder to `end`.
fn way(
    imports: &Imports,
    from: &Path,
    end: &Path,
    seen: &mut BTreeSet<PathBuf>,
) -> Option<Vec<(PathBuf, PathBuf)>> {
    for (to, file) in imports.get(from)? {
        let step = (from.to_owned(), file.clone());
        if to == end {
            return Some(vec![step]);
        }
        if seen.insert(to.clone())
            && let Some(rest) = way(imports, to, end, seen)
        {
            return Some([vec![step], rest].concat());
        }
    }
    None
}

fn told(circle: &[(PathBuf, PathBuf)]) -> String {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let steps = circle.iter().map(|(folder, file)| format!("{} (by {})", name(folder), name(file)));
    steps.collect::<Vec<_>>().join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[(&str, &str)]) -> (PathBuf, impl Drop) {
        struct Folder(PathBuf);
        impl Drop for Folder {
            fn drop(&mut self) {
                let _ = fs::remove_dir_all(&self.0);
            }
        }
        let name = format!("motionflow-circles-{}-{}", std::process::id(), files.len());
        let root = std::env::temp_dir().join(name);
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&root)).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        (root.clone(), Folder(root))
    }

    #[test]
    fn a_circle_is_found_with_its_files() {
        let (root, _folder) = written(&[
            ("a/mod.rs", "use crate::b::thing;"),
            ("b/mod.rs", "mod deep;"),
            ("b/deep.rs", "fn f() { crate::c::g(); }"),
            ("c/mod.rs", "use crate::a;"),
            ("d/mod.rs", "use crate::a;"),
        ]);
        let found = circle(&imports(&root).expect("readable")).expect("a circle");
        assert_eq!(told(&found), "a (by mod.rs) -> b (by deep.rs) -> c (by mod.rs)");
    }

    #[test]
    fn tests_comments_and_own_folders_do_not_count() {
        let (root, _folder) = written(&[
            ("a/mod.rs", "// crate::b\nuse crate::a::x;\n#[cfg(test)]\nmod tests { use crate::b; }"),
            ("a/x/mod.rs", "use crate::a;"),
            ("b/mod.rs", "use crate::a;"),
        ]);
        assert!(circle(&imports(&root).expect("readable")).is_none());
    }
}
