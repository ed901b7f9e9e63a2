//! Launches of the kernels of a diffusion transformer's tokens (`dit.cu`), on rows of channels that lie dense.

use tch::{Kind, Tensor};

use super::program::{Argument, Grid, Program, Source};
use super::{Numbers, THREADS, int, pointer, pointer_or_null};

/// Packs of a thread at most.
const MOST_PACKS: i64 = 4;

impl Numbers {
    /// Whether rows of so many channels go through the kernels.
    pub(in crate::kernels) fn can_transform(self, channels: i64) -> bool {
        Rows::of(self, channels).is_some_and(|rows| rows.program.ready().is_ok())
    }
}

/// How the threads of a block share a row.
struct Rows {
    program: Program,
    threads: i64,
}

impl Rows {
    fn of(numbers: Numbers, channels: i64) -> Option<Self> {
        let width = numbers.pack(channels);
        let packs = channels / width;
        let of_a_thread = (packs + THREADS - 1) / THREADS;
        let threads = (packs + of_a_thread - 1) / of_a_thread;
        (1..=MOST_PACKS).contains(&of_a_thread).then(|| Self {
            program: numbers.program(Source::DiffusionTransformer, 16 * width + of_a_thread),
            threads: (threads + 31) / 32 * 32,
        })
    }
}

/// Runs a kernel on every row of x. The arguments that all of them end in are the channels and what is in `rest`.
fn launch(numbers: Numbers, name: &'static str, x: &Tensor, tensors: &[Argument], rest: &[Argument]) {
    let channels = channels_of(x);
    let rows = x.numel() as i64 / channels.max(1);
    let Some(Rows { program, threads }) = Rows::of(numbers, channels).filter(|_| rows > 0) else { return };
    let grid = Grid { blocks: [rows, 1], threads: [threads, 1], shared: 0 };
    let mut arguments = [tensors, &[int(channels)], rest].concat();
    program.launch(name, grid, &mut arguments);
}

fn channels_of(x: &Tensor) -> i64 {
    x.size().last().copied().unwrap_or_default()
}

/// x·gate + residual, where there is one, and its norm with factor and shift \[channels\], all of them float32.
pub(in crate::kernels) fn modulated_norm(
    numbers: Numbers,
    x: &Tensor,
    residual: Option<&Tensor>,
    gate: Option<&Tensor>,
    [factor, shift]: [&Tensor; 2],
    epsilon: f64,
) -> (Tensor, Tensor) {
    let sum = if residual.is_some() { x.empty_like() } else { x.shallow_clone() };
    let y = x.empty_like();
    let tensors = [
        pointer(x),
        pointer_or_null(residual),
        pointer_or_null(gate),
        pointer(factor),
        pointer(shift),
        pointer(&sum),
        pointer(&y),
    ];
    launch(numbers, "modulated_norm", x, &tensors, &[Argument::Float(epsilon as f32)]);
    (sum, y)
}

/// The gradients with respect to the sum, and to what was multiplied by the gate; `dsum` is what reaches the sum otherwise.
pub(in crate::kernels) fn modulated_norm_backward(
    numbers: Numbers,
    [sum, factor, dy]: [&Tensor; 3],
    gate: Option<&Tensor>,
    dsum: Option<&Tensor>,
    epsilon: f64,
) -> [Tensor; 2] {
    let dresidual = sum.empty_like();
    let dx = if gate.is_some() { sum.empty_like() } else { dresidual.shallow_clone() };
    let tensors = [
        pointer(sum),
        pointer_or_null(gate),
        pointer(factor),
        pointer(dy),
        pointer_or_null(dsum),
        pointer(&dresidual),
        pointer(&dx),
    ];
    launch(numbers, "modulated_norm_backward", sum, &tensors, &[Argument::Float(epsilon as f32)]);
    [dresidual, dx]
}

/// What heads of `d` features are turned by: cosines and sines of each row, [rows, d / 2] in float32.
pub(in crate::kernels) type Turn<'a> = Option<[&'a Tensor; 2]>;

/// The RMS norm over all channels, its pairs of neighbours turned.
pub(in crate::kernels) fn rms_norm(
    numbers: Numbers,
    [x, weight]: [&Tensor; 2],
    turn: Turn,
    epsilon: f64,
) -> Tensor {
    let y = x.empty_like();
    let tensors = [pointer(x), pointer(weight), cosines(turn), sines(turn), pointer(&y)];
    launch(numbers, "rms_norm", x, &tensors, &rms_norm_sizes(turn, epsilon));
    y
}

/// The gradient with respect to its input.
pub(in crate::kernels) fn rms_norm_backward(
    numbers: Numbers,
    [x, weight, dy]: [&Tensor; 3],
    turn: Turn,
    epsilon: f64,
) -> Tensor {
    let dx = x.empty_like();
    let tensors = [pointer(x), pointer(weight), cosines(turn), sines(turn), pointer(dy), pointer(&dx)];
    launch(numbers, "rms_norm_backward", x, &tensors, &rms_norm_sizes(turn, epsilon));
    dx
}

fn cosines(turn: Turn) -> Argument {
    pointer_or_null(turn.map(|[cosines, _]| cosines))
}

fn sines(turn: Turn) -> Argument {
    pointer_or_null(turn.map(|[_, sines]| sines))
}

fn rms_norm_sizes(turn: Turn, epsilon: f64) -> [Argument; 2] {
    let of_head = turn.map_or(2, |[cosines, _]| 2 * channels_of(cosines));
    [int(of_head), Argument::Float(epsilon as f32)]
}

/// x·gate + residual, where there is one; the gate \[channels\] is float32.
pub(in crate::kernels) fn gated_add(
    numbers: Numbers,
    x: &Tensor,
    gate: &Tensor,
    residual: Option<&Tensor>,
) -> Tensor {
    debug_assert_eq!(gate.kind(), Kind::Float);
    let y = x.empty_like();
    let tensors = [pointer(x), pointer(gate), pointer_or_null(residual), pointer(&y)];
    launch(numbers, "gated_add", x, &tensors, &[]);
    y
}
