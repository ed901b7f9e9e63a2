use std::process::{Child, Command};
use std::thread;

use anyhow::bail;

use super::*;

/// A cache in a folder of its own.
struct Place {
    _folder: tempfile::TempDir,
    cache: Cache,
}

impl Place {
    fn with_limit(limit: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache { folder: folder.path().join("a/cache"), limit };
        Self { _folder: folder, cache }
    }

    fn new() -> Self {
        Self::with_limit(1 << 30)
    }

    /// Names of all that lies in the cache.
    fn names(&self) -> Vec<String> {
        self.cache.folders().unwrap().into_iter().map(|(name, _)| name).collect()
    }

    fn put(&self, name: &str, bytes: usize) -> bool {
        self.cache.put(&key(name), |folder| write(folder, name, bytes)).unwrap()
    }

    fn has(&self, name: &str) -> bool {
        matches!(self.cache.get(&key(name)), Found::Whole(_))
    }

    /// Lets an entry be unused for so long.
    fn rest(&self, name: &str, seconds: u64) {
        set_age(&self.cache.place_of(&key(name)), seconds);
    }
}

fn set_age(folder: &Path, seconds: u64) {
    File::open(folder).unwrap().set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
}

fn key(name: &str) -> Key {
    Key::of(&[("prompt", name), ("steps", "25")])
}

fn write(folder: &Path, name: &str, bytes: usize) -> Result<()> {
    fs::write(folder.join("a.bin"), name.repeat(bytes))?;
    fs::write(folder.join("b.txt"), format!("of {name}"))?;
    Ok(())
}

fn is_of(folder: &Path, name: &str, bytes: usize) -> bool {
    fs::read_to_string(folder.join("a.bin")).unwrap() == name.repeat(bytes)
        && fs::read_to_string(folder.join("b.txt")).unwrap() == format!("of {name}")
}

#[test]
fn what_is_put_is_got() {
    let place = Place::new();
    assert!(matches!(place.cache.get(&key("car")), Found::Nothing));
    assert!(!place.cache.folder().exists(), "looking makes nothing");
    assert!(place.put("car", 100));
    let Found::Whole(entry) = place.cache.get(&key("car")) else { panic!("not found") };
    assert!(is_of(entry.folder(), "car", 100));
    assert!(matches!(place.cache.get(&key("cart")), Found::Nothing));
    assert_eq!(place.names(), [key("car").name()]);

    let listed = place.cache.entries().unwrap();
    assert_eq!(listed[0].parts, *key("car").parts());
    assert!(listed[0].bytes > 306 && age(listed[0].used) < Duration::from_secs(3600));
}

#[test]
fn an_entry_says_what_it_is() {
    let place = Place::new();
    place.put("car", 1);
    let text = fs::read_to_string(place.cache.place_of(&key("car")).join("entry.toml")).unwrap();
    let entry: toml::Table = text.parse().unwrap();
    assert_eq!(entry["version"].as_str(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(entry["key"]["prompt"].as_str(), Some("car"));
    assert_eq!(entry["file"][0]["name"].as_str(), Some("a.bin"));
    assert_eq!(entry["file"][0]["bytes"].as_integer(), Some(3));
    assert_eq!(entry["file"][1]["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn damage_of_every_kind_is_noticed_and_repaired() {
    type Damage = fn(&Path);
    let damages: [(Damage, &str); 9] = [
        (|folder| flip(&folder.join("a.bin"), 150), "a.bin: its checksum is wrong"),
        (|folder| fs::write(folder.join("b.txt"), "").unwrap(), "b.txt: has 0 bytes, not 6"),
        (|folder| fs::remove_file(folder.join("b.txt")).unwrap(), "b.txt: is missing"),
        (|folder| fs::remove_file(folder.join("entry.toml")).unwrap(), "entry.toml: "),
        (|folder| fs::write(folder.join("entry.toml"), "").unwrap(), "entry.toml: missing field"),
        (|folder| fs::write(folder.join("entry.toml"), "[[").unwrap(), "entry.toml: "),
        (|folder| fs::write(folder.join("entry.toml"), [0xff, 0]).unwrap(), "entry.toml: "),
        (|folder| replace(&folder.join("entry.toml"), "\"car\"", "\"cat\""), "entry.toml: is of another key"),
        (
            |folder| cut_at_the_last(&folder.join("entry.toml"), "[[file]]"),
            "entry.toml: its checksum is wrong",
        ),
    ];
    let place = Place::new();
    for (damage, expected) in damages {
        assert!(place.put("car", 100));
        damage(&place.cache.place_of(&key("car")));
        match place.cache.get(&key("car")) {
            Found::Damaged(reason) => assert!(reason.starts_with(expected), "{reason}"),
            found => panic!("{expected}: {found:?}"),
        }
        assert!(place.names().is_empty(), "{expected}: {:?}", place.names());
        assert!(matches!(place.cache.get(&key("car")), Found::Nothing));
    }
    assert!(place.put("car", 100) && place.has("car"));
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn cut_at_the_last(path: &Path, words: &str) {
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, &text[..text.rfind(words).unwrap()]).unwrap();
}

fn replace(path: &Path, old: &str, new: &str) {
    fs::write(path, fs::read_to_string(path).unwrap().replace(old, new)).unwrap();
}

#[test]
fn the_least_recently_used_goes_first() {
    let place = Place::with_limit(8000);
    for (name, age) in [("one", 300), ("two", 200), ("six", 100)] {
        assert!(place.put(name, 600));
        place.rest(name, age);
    }
    assert!(place.has("one"), "three of 1800 bytes and their manifests are within the limit");
    assert!(place.put("ten", 600));
    assert!(!place.has("two") && place.has("six") && place.has("one") && place.has("ten"));
    let used: Vec<String> =
        place.cache.entries().unwrap().into_iter().map(|entry| entry.parts["prompt"].clone()).collect();
    assert_eq!(used, ["ten", "one", "six"], "the last used first");
}

#[test]
fn what_alone_exceeds_the_limit_is_not_kept() {
    let place = Place::with_limit(3000);
    assert!(place.put("car", 100));
    assert!(!place.put("boat", 1000));
    assert!(place.has("car") && !place.has("boat"));
    assert_eq!(place.names().len(), 1);
    // Just within the limit, it takes the place of the other.
    assert!(place.put("boat", 600));
    assert!(!place.has("car") && place.has("boat"));

    let none = Place::with_limit(0);
    assert!(!none.cache.put(&key("car"), |_| bail!("is not even asked")).unwrap());
    assert!(!none.cache.folder().exists());
}

#[test]
fn an_entry_in_use_is_not_removed() {
    let place = Place::with_limit(3000);
    assert!(place.put("car", 600));
    let Found::Whole(entry) = place.cache.get(&key("car")) else { panic!("not found") };
    assert_eq!(place.cache.clear(Duration::ZERO).unwrap(), Cleared { busy: 1, ..Cleared::default() });
    assert!(place.put("boat", 600), "the limit is exceeded for the moment");
    assert!(is_of(entry.folder(), "car", 600));
    assert!(place.has("car"), "readers share it");
    drop(entry);
    assert!(place.put("ship", 600));
    assert!(!place.has("car") && !place.has("boat") && place.has("ship"));
}

#[test]
fn clear_removes_what_was_not_used_for_so_long() {
    let place = Place::new();
    assert_eq!(place.cache.clear(Duration::ZERO).unwrap(), Cleared::default());
    for name in ["one", "two", "six"] {
        place.put(name, 100);
    }
    fs::write(place.cache.folder().join("notes.txt"), "mine").unwrap();
    fs::create_dir(place.cache.folder().join("mine")).unwrap();
    place.rest("two", 7200);
    let bytes = place.cache.entries().unwrap().iter().map(|entry| entry.bytes).sum::<u64>();
    let hour = place.cache.clear(Duration::from_secs(3600)).unwrap();
    assert_eq!((hour.entries, hour.busy), (1, 0));
    assert!(place.has("one") && !place.has("two"));
    let rest = place.cache.clear(Duration::ZERO).unwrap();
    assert_eq!((rest.entries, hour.bytes + rest.bytes), (2, bytes));
    assert_eq!(place.names(), ["mine"], "what is not the cache's stays");
    assert!(place.cache.folder().join("notes.txt").exists());
}

#[test]
fn the_first_of_two_stays() {
    let place = Place::new();
    let kept = place.cache.put(&key("car"), |folder| {
        assert!(place.put("car", 5), "another process is faster");
        write(folder, "car", 9)
    });
    assert!(kept.unwrap());
    let Found::Whole(entry) = place.cache.get(&key("car")) else { panic!("not found") };
    assert!(is_of(entry.folder(), "car", 5));
    assert_eq!(place.names().len(), 1);
}

#[test]
fn a_failed_write_leaves_nothing() {
    let place = Place::new();
    let failed = place.cache.put(&key("car"), |folder| {
        write(folder, "car", 5)?;
        bail!("no space left")
    });
    let message = format!("{:#}", failed.unwrap_err());
    assert!(message.contains("no space left") && message.contains(FOLDER_VARIABLE), "{message}");
    assert!(place.names().is_empty());
}

#[test]
fn a_cache_that_cannot_be_written_is_an_error_and_holds_nothing() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("file"), "").unwrap();
    for folder in ["file", "file/cache"] {
        let cache = Cache { folder: place.path().join(folder), limit: 1 << 30 };
        let message = format!("{:#}", cache.put(&key("car"), |_| Ok(())).unwrap_err());
        assert!(message.contains(folder) && message.contains(FOLDER_VARIABLE), "{message}");
        assert!(matches!(cache.get(&key("car")), Found::Nothing));
        let message = format!("{:#}", cache.entries().unwrap_err());
        assert!(message.contains("cannot be read"), "{message}");
    }
}

#[test]
fn leftovers_of_killed_processes_go() {
    let place = Place::new();
    place.put("car", 5);
    let make = |name: &str, age: u64| {
        let folder = place.cache.folder().join(name);
        fs::create_dir(&folder).unwrap();
        write(&folder, "half", 100).unwrap();
        let lock = Lock::new_in(&folder).unwrap();
        set_age(&folder, age);
        lock
    };
    let at_work = make(".partial-old-at-work", 3 * 24 * 3600);
    drop(make(".partial-killed", 120));
    drop(make(".gone-killed", 120));
    drop(make(".partial-young", 1));
    let bare = place.cache.folder().join(".gone-bare");
    fs::create_dir(&bare).unwrap();
    set_age(&bare, 120);

    assert_eq!(place.cache.sweep(), 2 * (400 + 7));
    let mut names = place.names();
    names.sort();
    assert_eq!(names, [".partial-old-at-work", ".partial-young", key("car").name()]);
    drop(at_work);
    set_age(&place.cache.folder().join(".partial-old-at-work"), 120);
    assert!(place.put("boat", 5), "a put sweeps too");
    assert!(!place.names().contains(&".partial-old-at-work".to_owned()));
}

const HAMMERED: &str = "MOTIONFLOW_TEST_HAMMERED_CACHE";

/// Puts, gets, evicts and clears at random; what it gets must be what was put. Gives the number of hits.
fn hammer(folder: &Path, mut seed: u64) -> usize {
    let names = ["car", "boat", "rocket", "dog", "penguin", "butterfly"];
    let size = |name: &str| 200 * name.len();
    let mut hits = 0;
    for _ in 0..150 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let dice = (seed >> 33) as usize;
        let name = names[dice % names.len()];
        // A small limit has some puts evict others.
        let limit = if (dice / 8).is_multiple_of(3) { 20_000 } else { 1 << 20 };
        let cache = Cache { folder: folder.to_owned(), limit };
        match dice / 64 % 16 {
            0 => drop(cache.clear(Duration::ZERO).unwrap()),
            1..=5 => drop(cache.put(&key(name), |folder| write(folder, name, size(name))).unwrap()),
            _ => match cache.get(&key(name)) {
                Found::Whole(entry) => {
                    // Time for others to remove it.
                    thread::sleep(Duration::from_millis(1));
                    assert!(is_of(entry.folder(), name, size(name)));
                    hits += 1;
                }
                Found::Nothing => {}
                Found::Damaged(reason) => panic!("{name}: {reason}"),
            },
        }
    }
    hits
}

#[test]
fn threads_and_processes_do_not_hurt_each_other() {
    if let Some(folder) = std::env::var_os(HAMMERED) {
        let hits = hammer(Path::new(&folder), u64::from(std::process::id()));
        assert!(hits > 0);
        return;
    }
    let place = Place::new();
    let this = "cache::tests::threads_and_processes_do_not_hurt_each_other";
    let start = |_| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", this, "--nocapture"]).env(HAMMERED, place.cache.folder());
        command.stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let processes: Vec<Child> = (0..3).map(start).collect();
    let folder = place.cache.folder();
    let hits: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|seed| scope.spawn(move || hammer(folder, seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(hits > 0);
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    assert!(place.names().iter().all(|name| Key::may_be(name)), "{:?}", place.names());
}
