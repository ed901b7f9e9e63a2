//! What the limits of a container leave: of the control groups that this process is in, and of those above them.
//!
//! A process of Linux is in one group of version 2, or in one of version 1 for the controller `memory`, or in both kinds.
//! <https://docs.kernel.org/admin-guide/cgroup-v2.html>, <https://docs.kernel.org/admin-guide/cgroup-v1/memory.html>

use std::path::{Path, PathBuf};

/// The memory of the group that has least left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupMemory {
    /// Bytes that all of its processes together may have.
    pub limit: u64,
    /// Bytes that are left of them.
    pub left: u64,
}

/// Where the system usually has the groups, should it not tell.
const USUAL: &str = "/sys/fs/cgroup";

/// The files of a version. What the kernel can take back at once counts as used in none of them.
struct Version {
    limits: &'static [&'static str],
    used: &'static str,
    reclaimable: &'static str,
    /// The folder of the controller where the groups usually are.
    usual: &'static str,
}

const V1: Version = Version {
    limits: &["memory.limit_in_bytes"],
    used: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file",
    usual: "memory",
};
/// Beyond `memory.high` a group is not ended, but slowed down until it stands still.
const V2: Version = Version {
    limits: &["memory.max", "memory.high"],
    used: "memory.current",
    reclaimable: "inactive_file",
    usual: "",
};

/// Looks at the groups of this process; `root` is `/` but in tests. A group that does not tell how much it uses uses what this
/// process does, `own`. None where no limit is below what a machine can have.
pub(crate) fn group_memory(root: &Path, own: u64) -> Option<GroupMemory> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let mut found: Option<GroupMemory> = None;
    for folder in folders(root, &groups, &mounts) {
        for version in [&V1, &V2] {
            if let Some(memory) = version.look(&folder, own)
                && found.is_none_or(|found| memory.left < found.left)
            {
                found = Some(memory);
            }
        }
    }
    found
}

/// The folders of the process's groups and of all groups above them, as far as they can be seen.
fn folders(root: &Path, groups: &str, mounts: &str) -> Vec<PathBuf> {
    let usual = |version: &Version| Path::new(USUAL).join(version.usual);
    let mut folders: Vec<PathBuf> = [&V1, &V2].map(|version| within(root, &usual(version))).into();
    for (version, group) in groups.lines().filter_map(group) {
        let mut places: Vec<Mount> = mounts.lines().filter_map(|line| mount(line, version)).collect();
        places.push(Mount { of: "/".into(), at: usual(version) });
        for Mount { of, at } in places {
            // From within a container, its own group may be the root of what is mounted, under whatever name.
            let below = Path::new(group).strip_prefix(&of).unwrap_or(Path::new(""));
            folders.extend(below.ancestors().map(|below| within(root, &at).join(below)));
        }
    }
    folders
}

/// A line of `/proc/self/cgroup`, if its group is one that may limit memory: `NUMBER:CONTROLLERS:PATH`.
fn group(line: &str) -> Option<(&'static Version, &str)> {
    let (_, line) = line.split_once(':')?;
    let (controllers, path) = line.split_once(':')?;
    // As `a (deleted)`, or outside of what this process can see.
    let path = if path.starts_with("/../") { "/" } else { path };
    match controllers {
        "" => Some((&V2, path)),
        _ => controllers.split(',').any(|controller| controller == "memory").then_some((&V1, path)),
    }
}

/// Where a tree of groups, or a part of it, is mounted.
struct Mount {
    of: PathBuf,
    at: PathBuf,
}

/// A line of `/proc/self/mountinfo`, if it is of groups of this version.
fn mount(line: &str, version: &Version) -> Option<Mount> {
    let (place, kind) = line.split_once(" - ")?;
    let [_, _, _, of, at, ..] = place.split(' ').collect::<Vec<_>>()[..] else { return None };
    let mut kind = kind.split(' ');
    let is_of = match kind.next()? {
        "cgroup2" => version.usual.is_empty(),
        "cgroup" => {
            !version.usual.is_empty() && kind.nth(1)?.split(',').any(|option| option == version.usual)
        }
        _ => false,
    };
    is_of.then(|| Mount { of: unescaped(of).into(), at: unescaped(at).into() })
}

/// The kernel writes blanks in paths as `\040`, and the like.
fn unescaped(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (from, to)| path.replace(from, to))
}

fn within(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

impl Version {
    /// What a group has left, if it has a limit.
    fn look(&self, folder: &Path, own: u64) -> Option<GroupMemory> {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
        let limit =
            self.limits.iter().filter_map(|name| number(name)).min().filter(|limit| *limit < NO_LIMIT)?;
        let stat = read("memory.stat").unwrap_or_default();
        let reclaimable = stat.lines().find_map(|line| {
            line.split_once(' ').filter(|(name, _)| *name == self.reclaimable)?.1.trim().parse().ok()
        });
        let used = number(self.used).map_or(own, |used| used.saturating_sub(reclaimable.unwrap_or(0)));
        Some(GroupMemory { limit, left: limit.saturating_sub(used) })
    }
}

/// Version 1 says about 2^63 where there is no limit.
const NO_LIMIT: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// A system with these files.
    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn left(files: &[(&str, &str)]) -> Option<u64> {
        group_memory(system(files).path(), 7 * MIB).map(|memory| memory.left / MIB)
    }

    const MOUNT_2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const MOUNT_1: &str = "34 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                           35 31 0:32 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";

    #[test]
    fn the_least_of_a_group_and_those_above_it_counts() {
        let own = "sys/fs/cgroup/user.slice/run-1.scope";
        let of = |above: &str, high: &str, max: &str| {
            left(&[
                ("proc/self/cgroup", "0::/user.slice/run-1.scope\n"),
                ("proc/self/mountinfo", MOUNT_2),
                ("sys/fs/cgroup/user.slice/memory.max", above),
                ("sys/fs/cgroup/user.slice/memory.current", "104857600\n"),
                (&format!("{own}/memory.max"), max),
                (&format!("{own}/memory.high"), high),
                (&format!("{own}/memory.current"), "62914560\n"),
                (&format!("{own}/memory.stat"), "anon 1048576\nfile 9\ninactive_file 20971520\n"),
            ])
        };
        assert_eq!(of("max\n", "max\n", "max\n"), None);
        assert_eq!(of("max\n", "max\n", "524288000\n"), Some(500 - 60 + 20));
        assert_eq!(of("max\n", "314572800\n", "524288000\n"), Some(300 - 60 + 20));
        assert_eq!(of("209715200\n", "max\n", "524288000\n"), Some(200 - 100));
        assert_eq!(of("52428800\n", "max\n", "max\n"), Some(0));
    }

    #[test]
    fn groups_of_the_first_version_count_too() {
        let of = |mounts: &str, group: &str, folder: &str| {
            left(&[
                ("proc/self/cgroup", &format!("5:cpu:/x\n4:memory:{group}\n0::/\n")),
                ("proc/self/mountinfo", mounts),
                (&format!("{folder}/memory.limit_in_bytes"), "524288000\n"),
                (&format!("{folder}/memory.usage_in_bytes"), "62914560\n"),
                (&format!("{folder}/memory.stat"), "inactive_file 9\ntotal_inactive_file 20971520\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ])
        };
        let folder = "sys/fs/cgroup/memory/docker/1";
        assert_eq!(of(MOUNT_1, "/docker/1", folder), Some(500 - 60 + 20));
        assert_eq!(of(MOUNT_1, "/docker/1/init", folder), Some(500 - 60 + 20), "a group below it");
        assert_eq!(of("", "/docker/1", folder), Some(500 - 60 + 20), "without the mounts");
        // In a container that sees the names of the host: the group itself is what is mounted.
        let mounted = "34 31 0:31 /docker/1 /groups\\040of/memory ro - cgroup cgroup rw,memory,other\n";
        assert_eq!(of(mounted, "/docker/1", "groups of/memory"), Some(500 - 60 + 20));
    }

    #[test]
    fn a_container_sees_its_limit_at_the_root() {
        let of = |group: &str| {
            left(&[
                ("proc/self/cgroup", &format!("0::{group}\n")),
                ("proc/self/mountinfo", MOUNT_2),
                ("sys/fs/cgroup/memory.max", "524288000\n"),
            ])
        };
        for group in ["/", "/../host.slice", "/gone (deleted)"] {
            assert_eq!(of(group), Some(500 - 7), "{group}");
        }
        assert_eq!(left(&[]), None);
        assert_eq!(left(&[("proc/self/cgroup", "nonsense\n"), ("proc/self/mountinfo", "1 2 - x\n")]), None);
    }
}
