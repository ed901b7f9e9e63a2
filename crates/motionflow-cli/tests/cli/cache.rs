//! `motionflow cache`: entries laid out by hand, in the format that docs/cache.md gives.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::common::{Outcome, Place, program, run};

fn cache(place: &Place, arguments: &[&str]) -> Outcome {
    run(program()
        .arg("cache")
        .args(arguments)
        .env("MOTIONFLOW_CACHE", place.path("cache"))
        .env_remove("MOTIONFLOW_CACHE_LIMIT"))
}

/// An entry of 2000 bytes and a manifest, last used so many days ago.
fn entry(place: &Place, digit: &str, prompt: &str, days: u64) -> PathBuf {
    let folder = place.path("cache").join(digit.repeat(64));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("a.bin"), [7; 2000]).unwrap();
    let frames = "0123456789abcdef".repeat(4);
    let manifest =
        format!("version = \"0.1.0\"\n\n[key]\nprompt = {prompt:?}\nsteps = \"25\"\nframes = \"{frames}\"\n");
    fs::write(folder.join("entry.toml"), manifest).unwrap();
    let used = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
    fs::File::open(&folder).unwrap().set_modified(used).unwrap();
    folder
}

#[test]
fn list_shows_what_is_there_the_last_used_first() {
    let place = Place::new();
    entry(&place, "a", "a [car] on a road", 5);
    entry(&place, "b", "a [dog]\non the grass", 0);
    fs::write(entry(&place, "c", "", 9).join("entry.toml"), "?").unwrap();
    fs::create_dir(place.path("cache/notes")).unwrap();
    let outcome = cache(&place, &["list"]).ok();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let expected = [
        "key           size     last used   prompt                   made from",
        "bbbbbbbbbbbb  2.1 KiB  just now    \"a [dog]\\non the grass\"  frames 01234567, steps 25",
        "aaaaaaaaaaaa  2.1 KiB  5 days ago  \"a [car] on a road\"      frames 01234567, steps 25",
        "cccccccccccc  2.0 KiB  9 days ago  (unreadable)",
    ];
    assert_eq!(lines[..4], expected, "{}", outcome.stdout);
    let total = format!("3 inversions in {}, 6.1 KiB of at most 10.0 GiB", place.text("cache"));
    assert_eq!(lines[4..], [total.as_str()]);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn clear_says_how_much_it_freed() {
    let place = Place::new();
    entry(&place, "a", "a [car]", 40);
    entry(&place, "b", "a [dog]", 2);
    entry(&place, "c", "a [cat]", 2);
    let outcome = cache(&place, &["clear", "--older-than", "30"]).ok();
    let expected = format!("1 inversion removed from {}, 2.1 KiB freed\n", place.text("cache"));
    assert_eq!(outcome.stdout, expected);
    assert_eq!(place.names("cache"), ["b".repeat(64), "c".repeat(64)]);
    let outcome = cache(&place, &["clear"]).ok();
    assert!(outcome.stdout.starts_with("2 inversions removed"), "{}", outcome.stdout);
    assert!(place.names("cache").is_empty());
}

#[test]
fn an_inversion_in_use_is_kept() {
    let place = Place::new();
    let reader = fs::File::open(entry(&place, "a", "a [car]", 40).join("entry.toml")).unwrap();
    reader.lock_shared().unwrap();
    let outcome = cache(&place, &["clear"]).ok();
    assert!(outcome.stdout.starts_with("0 inversions removed"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("1 inversion in use kept"), "{}", outcome.stdout);
    drop(reader);
    assert!(cache(&place, &["clear"]).ok().stdout.starts_with("1 inversion removed"));
}

#[test]
fn an_empty_cache_is_told_and_not_made() {
    let place = Place::new();
    let outcome = cache(&place, &["list"]).ok();
    assert_eq!(outcome.stdout, format!("nothing is cached in {} (limit 10.0 GiB)\n", place.text("cache")));
    assert!(cache(&place, &["clear"]).ok().stdout.contains("0 B freed"));
    assert!(place.names("").is_empty());
    assert_eq!(cache(&place, &["list", "--quiet"]).ok().stdout, "");
}

#[test]
fn the_folder_and_the_limit_come_from_variables() {
    let place = Place::new();
    let list = |variables: &[(&str, &str)]| {
        let mut command = program();
        command.args(["cache", "list"]).env_remove("MOTIONFLOW_CACHE").env("HOME", place.path("home"));
        command.env("MOTIONFLOW_CACHE_LIMIT", "1.5MB").env_remove("XDG_CACHE_HOME");
        run(command.envs(variables.iter().copied()))
    };
    if cfg!(target_os = "linux") {
        let stdout = list(&[]).ok().stdout;
        assert!(stdout.contains(&place.text("home/.cache/motionflow/inversions")), "{stdout}");
        let stdout = list(&[("XDG_CACHE_HOME", &place.text("xdg"))]).ok().stdout;
        assert!(stdout.contains(&place.text("xdg/motionflow/inversions")), "{stdout}");
    }
    let stdout = list(&[("MOTIONFLOW_CACHE", &place.text("here"))]).ok().stdout;
    assert!(stdout.contains(&format!("{} (limit 1.4 MiB)", place.text("here"))), "{stdout}");
    for limit in ["lots", "-1", "5 potatoes"] {
        list(&[("MOTIONFLOW_CACHE_LIMIT", limit)])
            .fails(2, &["MOTIONFLOW_CACHE_LIMIT", limit, "10GiB", "500MB"]);
    }
}

#[test]
fn a_file_is_no_cache() {
    let place = Place::new();
    fs::write(place.path("cache"), "mine").unwrap();
    for command in ["list", "clear"] {
        cache(&place, &[command]).fails(1, &[&place.text("cache"), "MOTIONFLOW_CACHE"]);
    }
    assert_eq!(fs::read_to_string(place.path("cache")).unwrap(), "mine");
}
