//! What a checkpoint says that it knows, told before a run of something else.

use crate::common::{car, motionflow, program, run, tree};

const UNKNOWN: &str = "this checkpoint does not know";

fn dry_run(source_prompt: &str, prompt: &str) -> String {
    let mut command = program();
    command.args(["transfer", "--dry-run", "--model"]).arg(tree().join("models/demo"));
    command.args(["--source", &car(), "--source-prompt", source_prompt, "--prompt", prompt]);
    run(&mut command).ok().stderr
}

#[test]
fn a_subject_that_the_checkpoint_does_not_know_is_told_with_what_to_do() {
    let told = dry_run("a [bear] in a forest", "a [panda] in the snow");
    for part in
        [UNKNOWN, "the source prompt", "\"bear\"", "dog, cat, panda", "--model cerspense/zeroscope_v2_576w"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = dry_run("a [car] on a road", "a [red dragon] in the snow");
    assert!(told.contains("\"red dragon\"") && told.matches(UNKNOWN).count() == 1, "{told}");
    let silent = dry_run("a [car] on a road", "a [Panda] in the snow");
    assert!(!silent.contains(UNKNOWN), "{silent}");
}

#[test]
fn models_shows_what_a_checkpoint_knows() {
    let table = motionflow(&["models"]).ok().stdout;
    let line = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("demo ").contains("48 subjects, 8 scenes"), "{table}");
    assert!(line("cerspense/zeroscope_v2_576w").contains("open prompts"), "{table}");
}
