//! Checkpoints from a hub that the tests serve themselves.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{Outcome, Place, SMALL, read_toml, run, text, tiny_model};
use crate::hub_server::{Cut, Hub, MAIN, Request, TAGGED, UNET, program_with_hub, sha256};

const ID: &str = "someone/tiny-video";
/// Nothing listens here.
const NOWHERE: &str = "http://127.0.0.1:9";

fn unet() -> Vec<u8> {
    fs::read(Path::new(&tiny_model()).join(UNET)).unwrap()
}

fn fetch(hub: &Hub, place: &Place) -> Outcome {
    run(&mut hub.program(place, &["models", "fetch", ID]))
}

/// Arguments of a short run with a checkpoint from the hub.
fn generate(command: &mut Command, place: &Place, id: &str) -> Outcome {
    command.args(["generate", "-p", "a panda", "--force", "-o", &place.text("out"), "--model", id]);
    run(command.args(SMALL))
}

/// The repository's folder in the cache.
fn repository() -> String {
    format!("hf/hub/models--{}", ID.replace('/', "--"))
}

fn pointer(place: &Place, name: &str) -> std::path::PathBuf {
    place.path(&format!("{}/snapshots/{MAIN}/{name}", repository()))
}

/// The names of the files whose bytes were requested.
fn fetched(requests: &[Request]) -> Vec<String> {
    let of_hub = requests.iter().filter(|request| !request.at_store && request.method == "GET");
    let prefix = format!("/{ID}/resolve/{MAIN}/");
    of_hub.filter_map(|request| Some(request.path.strip_prefix(&prefix)?.to_owned())).collect()
}

/// Which part of the UNet's weights was requested, each time.
fn ranges(requests: &[Request]) -> Vec<Option<String>> {
    let of_unet = requests.iter().filter(|request| request.at_store && request.path.ends_with(UNET));
    of_unet.map(|request| request.range.clone()).collect()
}

#[test]
fn a_run_fetches_what_it_needs_and_only_once() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    let outcome = generate(&mut hub.program(&place, &[]), &place, ID).ok();
    assert!(outcome.stderr.contains(&format!("fetching {ID} (main, commit {MAIN})")), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("fetch: done in "), "{}", outcome.stderr);
    let record = read_toml(&place.path("out/run.toml"));
    assert_eq!(record["model"]["name"].as_str(), Some(ID));
    assert_eq!(record["model"]["revision"].as_str(), Some(MAIN));

    // What was requested is what a checkpoint consists of.
    let mut requested = fetched(&hub.requests());
    requested.sort();
    let mut needed = vec![
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        UNET,
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ];
    needed.sort_unstable();
    assert_eq!(requested, needed);

    // The cache is as huggingface_hub lays it out.
    assert_eq!(fs::read_to_string(place.path(&format!("{}/refs/main", repository()))).unwrap(), MAIN);
    assert_eq!(fs::read(pointer(&place, UNET)).unwrap(), unet());
    #[cfg(unix)]
    assert_eq!(
        fs::read_link(pointer(&place, UNET)).unwrap(),
        Path::new(&format!("../../../blobs/{}", sha256(&unet())))
    );

    // Neither a second run nor one that is offline asks for anything.
    let outcome = generate(&mut hub.program(&place, &[]), &place, ID).ok();
    assert!(!outcome.stderr.contains("fetch"), "{}", outcome.stderr);
    generate(program_with_hub(NOWHERE, &place).env("HF_HUB_OFFLINE", "1"), &place, ID).ok();
    assert!(hub.requests().is_empty());
    assert_eq!(read_toml(&place.path("out/run.toml"))["model"], record["model"]);
}

#[test]
fn a_snapshot_that_lacks_a_file_is_completed() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    fetch(&hub, &place).ok();
    fs::remove_file(pointer(&place, UNET)).unwrap();
    fs::write(place.path(&format!("{}/blobs/{}", repository(), sha256(&unet()))), "cut off").unwrap();
    hub.requests();
    let offline = &mut program_with_hub(NOWHERE, &place);
    generate(offline.env("HF_HUB_OFFLINE", "1"), &place, ID)
        .fails(2, &[ID, "not whole", &place.text("hf"), "it lacks unet/", "HF_HUB_OFFLINE"]);
    generate(&mut hub.program(&place, &[]), &place, ID).ok();
    assert_eq!(fetched(&hub.requests()), [UNET]);
    assert_eq!(fs::read(pointer(&place, UNET)).unwrap(), unet());
}

#[test]
fn a_cut_connection_goes_on_where_it_stopped() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    hub.change(|hub| hub.cut = Cut::Once);
    fetch(&hub, &place).ok();
    let rest = format!("bytes={}-", unet().len() / 2);
    assert_eq!(ranges(&hub.requests()), [None, Some(rest)]);
    assert_eq!(fs::read(pointer(&place, UNET)).unwrap(), unet());
}

#[test]
fn the_next_run_goes_on_where_the_last_one_stopped() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    hub.change(|hub| hub.cut = Cut::Always);
    fetch(&hub, &place).fails(1, &[UNET, "broke off", "run the same command again"]);
    assert!(!pointer(&place, UNET).exists());
    hub.requests();
    hub.change(|hub| hub.cut = Cut::Never);
    fetch(&hub, &place).ok();
    let requests = hub.requests();
    assert_eq!(ranges(&requests), [Some(format!("bytes={}-", unet().len() / 2))]);
    assert_eq!(fetched(&requests), [UNET]);
    assert_eq!(fs::read(pointer(&place, UNET)).unwrap(), unet());
    let blobs = place.names(&format!("{}/blobs", repository()));
    assert!(blobs.iter().all(|name| !name.contains("incomplete")), "{blobs:?}");
}

#[test]
fn a_server_that_knows_no_ranges_spoils_nothing() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    hub.change(|hub| (hub.cut, hub.ignores_ranges) = (Cut::Once, true));
    fetch(&hub, &place).ok();
    assert_eq!(ranges(&hub.requests()).len(), 2);
    assert_eq!(fs::read(pointer(&place, UNET)).unwrap(), unet());
}

#[test]
fn bytes_that_are_not_the_announced_ones_are_thrown_away() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    hub.change(|hub| hub.corrupt = true);
    fetch(&hub, &place).fails(1, &[UNET, "not what the hub announced", "checksum"]);
    let blobs = place.names(&format!("{}/blobs", repository()));
    assert!(blobs.iter().all(|name| !name.contains(&sha256(&unet()))), "{blobs:?}");
    hub.change(|hub| hub.corrupt = false);
    fetch(&hub, &place).ok();
    assert_eq!(fs::read(pointer(&place, UNET)).unwrap(), unet());
}

#[test]
fn a_beginning_that_is_not_ours_is_replaced() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    let blobs = place.path(&format!("{}/blobs", repository()));
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(format!("{}.incomplete", sha256(&unet()))), vec![0; 1000]).unwrap();
    fetch(&hub, &place).ok();
    assert_eq!(ranges(&hub.requests()), [Some("bytes=1000-".into()), None]);
    assert_eq!(fs::read(pointer(&place, UNET)).unwrap(), unet());
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    hub.change(|hub| hub.token = Some("Bearer hf_secret".into()));
    fetch(&hub, &place).fails(2, &[ID, "HTTP 401", "gated", "set HF_TOKEN", &format!("/{ID}")]);
    run(hub.program(&place, &["models", "fetch", ID]).env("HF_TOKEN", "hf_wrong"))
        .fails(2, &["HTTP 401", "the token which was sent"]);
    hub.requests();
    run(hub.program(&place, &["models", "fetch", ID]).env("HF_TOKEN", "hf_secret")).ok();
    let requests = hub.requests();
    let (store, hubs): (Vec<_>, Vec<_>) = requests.iter().partition(|request| request.at_store);
    assert_eq!(store.len(), 3);
    assert!(store.iter().all(|request| request.token.is_none()), "{store:?}");
    assert!(hubs.iter().all(|request| request.token.as_deref() == Some("Bearer hf_secret")), "{hubs:?}");

    // The token that `hf auth login` stores does as well.
    let other = Place::new();
    fs::create_dir(other.path("hf")).unwrap();
    fs::write(other.path("hf/token"), "hf_secret\n").unwrap();
    fetch(&hub, &other).ok();
}

#[test]
fn what_the_hub_does_not_have() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    let mut other = hub.program(&place, &[]);
    generate(&mut other, &place, "someone/else").fails(2, &["no repository someone/else", "check the name"]);
    let mut other = hub.program(&place, &["models", "fetch", ID, "--revision", "v9"]);
    run(&mut other).fails(2, &[ID, "no revision \"v9\"", "--revision"]);
    let mut other = hub.program(&place, &["models", "fetch", ID, "--revision", "../x"]);
    run(&mut other).fails(2, &["--revision \"../x\"", "not a branch"]);
    let mut other = hub.program(&place, &["models", "fetch", "tiny"]);
    run(&mut other).fails(2, &["tiny", "OWNER/NAME"]);
    assert!(!place.path("hf").exists() && !place.path("out").exists());
}

#[test]
fn a_revision_is_taken_and_recorded() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    generate(hub.program(&place, &[]).args(["--revision", "v1"]), &place, ID).fails(2, &["--revision"]);
    let mut command = hub.program(&place, &["generate", "-p", "a panda", "-o", &place.text("out")]);
    run(command.args(["--model", ID, "--revision", "v1"]).args(SMALL)).ok();
    assert_eq!(read_toml(&place.path("out/run.toml"))["model"]["revision"].as_str(), Some(TAGGED));
    assert_eq!(fs::read_to_string(place.path(&format!("{}/refs/v1", repository()))).unwrap(), TAGGED);

    let mut command =
        hub.program(&place, &["generate", "-p", "a panda", "-o", &place.text("out"), "--force"]);
    run(command.args(["--model", &tiny_model(), "--revision", "v1"])).fails(2, &["--revision v1", "the hub"]);
}

#[test]
fn a_run_is_done_again_with_the_commit_of_its_record() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    let mut command = hub.program(&place, &["generate", "-p", "a panda", "-o", &place.text("out")]);
    run(command.args(["--model", ID, "--revision", "v1"]).args(SMALL)).ok();
    hub.requests();
    let (record, again) = (place.text("out/run.toml"), place.text("again"));
    let mut command = hub.program(&place, &["generate", "--config", &record, "-o", &again]);
    run(&mut command).ok();
    assert!(hub.requests().is_empty());
    let runs = ["out/run.toml", "again/run.toml"].map(|run| read_toml(&place.path(run)));
    assert_eq!(runs[0]["model"], runs[1]["model"]);

    let mut command = hub.program(&place, &["generate", "--config", &record, "-o", &place.text("main")]);
    run(command.args(["--revision", "main"])).ok();
    assert_eq!(read_toml(&place.path("main/run.toml"))["model"]["revision"].as_str(), Some(MAIN));
}

#[test]
fn without_a_network() {
    let place = Place::new();
    generate(&mut program_with_hub(NOWHERE, &place), &place, ID)
        .fails(1, &["cannot get someone/tiny-video", NOWHERE, "refused", "HF_ENDPOINT"]);
    generate(program_with_hub(NOWHERE, &place).env("HF_HUB_OFFLINE", "1"), &place, ID)
        .fails(2, &[ID, "not whole", "HF_HUB_OFFLINE"]);
    let hub = Hub::serving(ID);
    fetch(&hub, &place).ok();
    let outcome = run(program_with_hub(NOWHERE, &place).args(["models", "fetch", ID])).ok();
    assert!(outcome.stderr.contains("cannot be reached") && outcome.stderr.contains(MAIN), "{outcome:?}");
}

#[test]
fn a_disk_without_room() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    hub.change(|hub| hub.announced = Some(1 << 60));
    fetch(&hub, &place).fails(2, &[ID, "1.0 EiB", "still to be fetched", "left", "HF_HOME"]);
    assert!(!place.path("hf").exists());
}

#[test]
fn a_repository_of_something_else() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    hub.change(|hub| {
        let index = String::from_utf8(hub.files["model_index.json"].clone()).unwrap();
        let other = index.replace("TextToVideoSDPipeline", "CogVideoXPipeline");
        hub.files.insert("model_index.json".into(), other.into_bytes());
    });
    fetch(&hub, &place).fails(2, &[ID, "CogVideoXPipeline", "TextToVideoSDPipeline"]);
    assert_eq!(fetched(&hub.requests()), ["model_index.json"]);
    hub.change(|hub| hub.files.retain(|name, _| !name.starts_with("unet/") && !name.ends_with("index.json")));
    fetch(&hub, &place).fails(2, &[ID, "not a text-to-video checkpoint", "model_index.json", "unet"]);
}

#[test]
fn the_half_precision_variant_is_taken_where_one_is_published() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    hub.change(|hub| {
        for name in [UNET, "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"] {
            let half = name.replace(".safetensors", ".fp16.safetensors");
            let bytes = hub.files.insert(name.into(), b"too large".to_vec()).unwrap();
            hub.files.insert(name.replace(".safetensors", ".bin"), b"worse".to_vec());
            hub.files.insert(half, bytes);
        }
    });
    generate(&mut hub.program(&place, &[]), &place, ID).ok();
    let weights: Vec<String> =
        fetched(&hub.requests()).into_iter().filter(|name| name.contains("model.")).collect();
    assert_eq!(weights.len(), 3, "{weights:?}");
    assert!(weights.iter().all(|name| name.ends_with(".fp16.safetensors")), "{weights:?}");
}

#[test]
fn the_cache_is_where_the_environment_says() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    run(hub.program(&place, &["models", "fetch", ID]).env("HF_HUB_CACHE", place.path("elsewhere"))).ok();
    assert!(place.path("elsewhere/models--someone--tiny-video/refs/main").is_file());
    assert!(!place.path("hf").exists());
}

#[test]
fn two_at_once_do_no_harm() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    let command = || hub.program(&place, &["models", "fetch", ID, "--quiet"]);
    let both = [command().spawn().unwrap(), command().spawn().unwrap()];
    for mut process in both {
        assert!(process.wait().unwrap().success());
    }
    assert_eq!(fs::read(pointer(&place, UNET)).unwrap(), unet());
    assert_eq!(ranges(&hub.requests()), [None]);
    generate(program_with_hub(NOWHERE, &place).env("HF_HUB_OFFLINE", "1"), &place, ID).ok();
}

#[test]
fn a_known_checkpoint_brings_what_suits_it() {
    let (id, place) = ("cerspense/zeroscope_v2_576w", Place::new());
    let hub = Hub::serving(id);
    generate(&mut hub.program(&place, &[]), &place, id).ok();
    let record = read_toml(&place.path("out/run.toml"));
    assert!(record["prompts"]["negative_prompt"].as_str().unwrap().contains("washed out"), "{record}");
    assert_eq!(record["video"]["fps"].as_float(), Some(8.0));
    assert_eq!(record["settings"]["sampler"].as_str(), Some("dpmpp-2m"));
    assert_eq!(record["settings"]["karras_sigmas"].as_bool(), Some(true));
}

#[test]
fn the_list_says_what_is_known_and_what_is_here() {
    let (hub, place) = (Hub::serving(ID), Place::new());
    place.copied_model();
    let list = |place: &Place| {
        let mut command = program_with_hub(NOWHERE, place);
        run(command.env("MOTIONFLOW_MODELS", place.path("")).arg("models")).ok().stdout
    };
    let line = |list: &str, name: &str| {
        let named = list.lines().find(|line| line.split_whitespace().next() == Some(name));
        named.map_or_else(|| panic!("{name} is not in:\n{list}"), str::to_owned)
    };
    let before = list(&place);
    let zeroscope = line(&before, "cerspense/zeroscope_v2_576w");
    for part in ["3.4 GiB to fetch", "CC-BY-NC-4.0", "576x320, 24 frames", "not here"] {
        assert!(zeroscope.contains(part), "{zeroscope}");
    }
    assert!(line(&before, "demo").contains("128x128, 16 frames"), "{before}");
    assert!(line(&before, "model").contains(&place.text("model")), "{before}");
    assert!(!before.contains(ID), "{before}");

    fetch(&hub, &place).ok();
    let here = text(pointer(&place, UNET).parent().unwrap().parent().unwrap());
    assert!(line(&list(&place), ID).ends_with(&here));
    fs::remove_file(pointer(&place, UNET)).unwrap();
    assert!(line(&list(&place), ID).contains("not whole"));
}
