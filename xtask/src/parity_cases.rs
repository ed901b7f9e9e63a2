//! The shapes in which the Rust program is compared with diffusers.

/// One case: a name, a script of `tools/reference` and its flags.
pub struct Case {
    /// The folder's name.
    pub name: &'static str,
    /// What makes it.
    pub script: Script,
    /// Flags that differ from the script's defaults.
    pub flags: &'static [&'static str],
    /// When it is run.
    pub when: When,
}

/// When a case is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// By `cargo xtask parity`.
    Always,
    /// By `cargo xtask parity --full` only: slower.
    Full,
    /// It is small and lies in the repository: part of `cargo xtask test`.
    Committed,
}

/// A script that makes cases.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Of the method on `UNet3DConditionModel`: `make_case.py`.
    Method,
    /// Of the method on AnimateDiff: `make_case_animatediff.py`.
    AnimateDiff,
    /// Of the method on Wan 2.1: `make_case_wan.py`.
    Wan,
    /// Of CLIP: `make_clip_case.py`.
    Clip,
}

const fn always(name: &'static str, flags: &'static [&'static str]) -> Case {
    Case { name, script: Script::Method, flags, when: When::Always }
}

const fn full(name: &'static str, flags: &'static [&'static str]) -> Case {
    Case { name, script: Script::Method, flags, when: When::Full }
}

const fn committed(name: &'static str, flags: &'static [&'static str]) -> Case {
    Case { name, script: Script::Method, flags, when: When::Committed }
}

const fn animatediff(name: &'static str, when: When, flags: &'static [&'static str]) -> Case {
    Case { name, script: Script::AnimateDiff, flags, when }
}

const fn wan(name: &'static str, when: When, flags: &'static [&'static str]) -> Case {
    Case { name, script: Script::Wan, flags, when }
}

const fn clip(name: &'static str, when: When, flags: &'static [&'static str]) -> Case {
    Case { name, script: Script::Clip, flags, when }
}

const WORDS: &str = "a [shiny red sports car] driving on a road";
const OTHER_WORDS: &str = "a [very old camel] in the desert";
const TWO: &str = "a [red car] and a [dog] on a road";
const TWO_OTHERS: &str = "a [very old camel] and a [cat] in the desert";
const NOT_ASCII: &str = "ein [großer Elefant] läuft über die Brücke — ☃";
const NOT_ASCII_EITHER: &str = "ein [weißer Bär] im Café, 漫画 style 🐼";

/// More than fits into a text encoder.
const LONG: &str = "a very long street and a very long street and a very long street and a very long street and a very \
    long street and a very long street and a very long street and a very long street and a very long street and a very \
    long street and a very long street and a very long street and a very long street and a very long street and a car";

/// Every case.
#[rustfmt::skip]
pub const CASES: &[Case] = &[
    always("default", &["--seed", "0"]),
    always("odd-5x7", &["--seed", "1", "--latent", "5x7", "--frames", "3"]),
    always("three-levels", &["--seed", "2", "--blocks", "32,64,96"]),
    always("four-levels-odd", &["--seed", "3", "--blocks", "16,32,48,64", "--latent", "9x13", "--frames", "3"]),
    always("two-layers", &["--seed", "4", "--layers", "2"]),
    always("attention-on-the-last-level", &["--seed", "5", "--plain-last", "0"]),
    always("one-level", &["--seed", "6", "--blocks", "32", "--plain-last", "0"]),
    always("head-dim-8-groups-4", &["--seed", "7", "--head-dim", "8", "--groups", "4"]),
    always("head-dim-24-groups-16", &["--seed", "8", "--blocks", "48,96", "--head-dim", "24", "--groups", "16", "--context", "32"]),
    always("heads-that-do-not-fill", &["--seed", "17", "--head-dim", "24"]),
    always("odd-channels", &["--seed", "18", "--blocks", "33,45", "--head-dim", "7", "--groups", "3", "--plain-last", "0"]),
    always("bin", &["--seed", "9", "--layout", "bin"]),
    always("legacy-pad", &["--seed", "10", "--layout", "legacy", "--pad-token", "!"]),
    always("words", &["--seed", "11", "--source-prompt", WORDS, "--prompt", OTHER_WORDS]),
    always("not-ascii", &["--seed", "12", "--source-prompt", NOT_ASCII, "--prompt", NOT_ASCII_EITHER]),
    always("empty-negative-prompt", &["--seed", "13", "--negative-prompt", "", "--pad-token", "!"]),
    always("one-frame", &["--seed", "14", "--frames", "1"]),
    always("quick-gelu", &["--seed", "15", "--text-act", "quick_gelu", "--text-layers", "3", "--vae-blocks", "16,16,32"]),
    full("zeroscope-like", &["--seed", "25", "--blocks", "64,128,256,256", "--layers", "2", "--head-dim", "64", "--groups", "32",
        "--context", "128", "--latent", "10x18", "--frames", "8", "--vae-blocks", "32,64,64,64", "--vae-groups", "32", "--layout", "legacy", "--pad-token", "!"]),
    full("many-frames", &["--seed", "21", "--frames", "17", "--latent", "7x16"]),
    full("four-levels-two-layers-no-plain", &["--seed", "22", "--blocks", "32,32,64,64", "--layers", "2", "--plain-last", "0", "--latent", "11x5"]),
    full("more-steps", &["--seed", "23", "--steps", "20", "--guided-steps", "10", "--lr", "50"]),
    committed("tiny", &["--seed", "30", "--vocabulary", "300", "--blocks", "8,16", "--head-dim", "4", "--context", "8",
        "--vae-blocks", "4,8", "--vae-groups", "4"]),
    committed("tiny-odd-words", &["--seed", "34", "--vocabulary", "300", "--blocks", "8,8,16", "--head-dim", "4", "--groups", "4", "--context", "8",
        "--vae-blocks", "4,8", "--vae-groups", "2", "--latent", "5x7", "--frames", "3",
        "--source-prompt", "ein [Bär] läuft über die Brücke — ☃", "--prompt", "ein [süßes Lama] im Café, 漫画 style 🐼"]),
    committed("tiny-legacy-pad", &["--seed", "32", "--vocabulary", "300", "--blocks", "8,16", "--head-dim", "4", "--groups", "4", "--context", "8",
        "--vae-blocks", "4,8", "--vae-groups", "2", "--sharpness", "12", "--frames", "2", "--layout", "legacy", "--pad-token", "!",
        "--text-act", "quick_gelu", "--negative-prompt", "", "--source-prompt", WORDS, "--prompt", OTHER_WORDS]),
    committed("tiny-one-frame", &["--seed", "33", "--vocabulary", "300", "--blocks", "8,16", "--head-dim", "4", "--groups", "4", "--context", "8",
        "--vae-blocks", "4,4,8", "--vae-groups", "2", "--frames", "1", "--plain-last", "0", "--layers", "2", "--layout", "bin"]),
    animatediff("animatediff", When::Always, &["--seed", "50"]),
    animatediff("animatediff-merged", When::Always, &["--seed", "51", "--checkpoint", "merged", "--layers", "2"]),
    animatediff("animatediff-plain-middle", When::Always, &["--seed", "52", "--motion-mid", "0", "--source-prompt", WORDS, "--prompt", OTHER_WORDS]),
    animatediff("animatediff-linear-projection", When::Always, &["--seed", "53", "--linear-projection", "1"]),
    animatediff("animatediff-two-layers", When::Always, &["--seed", "54", "--layers", "2", "--negative-prompt", ""]),
    animatediff("animatediff-three-levels-odd", When::Always, &["--seed", "55", "--blocks", "32,64,96", "--latent", "7x9", "--frames", "3"]),
    animatediff("animatediff-four-levels-odd", When::Always, &["--seed", "156", "--blocks", "16,32,48,64", "--latent", "9x13", "--frames", "3",
        "--text-act", "gelu"]),
    animatediff("animatediff-bin", When::Always, &["--seed", "57", "--layout", "bin", "--adapter-layout", "bin"]),
    animatediff("animatediff-legacy-pad", When::Always, &["--seed", "58", "--layout", "legacy", "--pad-token", "!"]),
    animatediff("animatediff-one-frame", When::Always, &["--seed", "59", "--frames", "1"]),
    animatediff("animatediff-last-level-attends", When::Always, &["--seed", "60", "--plain-last", "0"]),
    animatediff("animatediff-two-subjects", When::Always, &["--seed", "61", "--source-prompt", TWO, "--prompt", TWO_OTHERS]),
    animatediff("animatediff-motion-heads", When::Always, &["--seed", "62", "--motion-heads", "8", "--motion-length", "24", "--heads", "2", "--frames", "5"]),
    animatediff("animatediff-most-frames", When::Always, &["--seed", "63", "--motion-length", "6", "--frames", "6", "--alpha-to-one", "1"]),
    animatediff("animatediff-tiny", When::Committed, &["--seed", "0", "--vocabulary", "300", "--blocks", "8,16", "--heads", "2", "--groups", "4",
        "--context", "8", "--vae-blocks", "4,8", "--vae-groups", "4"]),
    animatediff("animatediff-tiny-merged", When::Committed, &["--seed", "5", "--checkpoint", "merged", "--adapter-again", "0", "--motion-mid", "0",
        "--vocabulary", "300", "--blocks", "8,16", "--heads", "2", "--groups", "4", "--context", "8", "--vae-blocks", "4,8", "--vae-groups", "4",
        "--latent", "5x7", "--frames", "3"]),
    wan("wan", When::Always, &["--seed", "70"]),
    wan("wan-shift-5-euler", When::Always, &["--seed", "71", "--shift", "5", "--scheduler", "euler"]),
    wan("wan-one-frame", When::Always, &["--seed", "72", "--frames", "1"]),
    wan("wan-13-frames-odd", When::Always, &["--seed", "73", "--frames", "13", "--latent", "6x10"]),
    wan("wan-sharded", When::Always, &["--seed", "74", "--layout", "sharded"]),
    wan("wan-self-attention", When::Always, &["--seed", "75", "--self-attention", "1", "--weights", "1,0.5,0.25"]),
    wan("wan-six-blocks", When::Always, &["--seed", "76", "--depth", "6", "--guidance-blocks", "1-3"]),
    wan("wan-no-byte-fallback", When::Always, &["--seed", "77", "--byte-fallback", "0",
        "--source-prompt", "a [großer Elefant] on the road", "--prompt", "a [weißer Bär] 漫画 style"]),
    wan("wan-text-layers-other-heads", When::Always, &["--seed", "78", "--text-layers", "3", "--text-heads", "3", "--text-head-dim", "10",
        "--text-dim", "20", "--heads", "3", "--head-dim", "12"]),
    wan("wan-two-subjects", When::Always, &["--seed", "79", "--source-prompt", TWO, "--prompt", TWO_OTHERS]),
    wan("wan-identity-normalization", When::Always, &["--seed", "181", "--normalization", "identity", "--negative-prompt", ""]),
    wan("wan-two-vae-layers", When::Always, &["--seed", "82", "--vae-layers", "2", "--vae-mult", "1,1,2,4"]),
    wan("wan-tiny", When::Committed, &["--seed", "6", "--pieces", "400", "--normalization", "identity", "--vae-dim", "4",
        "--vae-mult", "1,1,2,2", "--latent", "6x8", "--frames", "5", "--channels", "3", "--text-dim", "12", "--sharpness", "10",
        "--depth", "3", "--guidance-blocks", "0-1"]),
    wan("wan-tiny-self-attention", When::Committed, &["--seed", "105", "--pieces", "400", "--normalization", "identity", "--vae-dim", "4",
        "--vae-mult", "1,1,2,2", "--latent", "6x6", "--frames", "9", "--channels", "3", "--text-dim", "12", "--sharpness", "10",
        "--tau", "0.5", "--depth", "2", "--guidance-blocks", "0-1", "--self-attention", "1", "--weights", "1,0.5,0.25",
        "--layout", "sharded", "--scheduler", "euler", "--shift", "5", "--source-prompt", TWO, "--prompt", TWO_OTHERS]),
    clip("clip", When::Always, &["--seed", "40"]),
    clip("clip-own-end-token-gelu", When::Always, &["--seed", "41", "--act", "gelu", "--eos", "own", "--image", "48", "--patch", "16",
        "--heads", "2,6", "--layers", "3,1", "--pad-token", "!"]),
    clip("clip-bin-odd-patch", When::Always, &["--seed", "42", "--layout", "bin", "--patch", "7", "--pictures", "500x300,224x224,32x33,1920x1080,90x160"]),
    clip("clip-half-not-ascii", When::Always, &["--seed", "43", "--layout", "half", "--image", "64", "--patch", "32", "--projection", "40",
        "--texts", NOT_ASCII, NOT_ASCII_EITHER, LONG]),
    clip("clip-tiny", When::Committed, &["--seed", "44", "--vocabulary", "300", "--hidden", "16,24", "--projection", "12"]),
];
