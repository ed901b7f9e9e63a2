//! Launches of the CUDA kernels, on rows of channels [.., channels] that lie dense.

pub(super) mod compiled;
pub(super) mod dit;
mod program;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use self::program::{Argument, Grid, Program, Source};
use super::Norm;

/// Threads of a block.
const THREADS: i64 = 512;
/// Blocks that fill a large device several times over.
const BLOCKS: i64 = 1056;
/// Blocks of a group norm: two for each of an H200's multiprocessors were the fastest of 264 to 2112.
const GROUP_NORM_BLOCKS: i64 = 264;
/// Shared memory that every device has for a block, in bytes; a kernel's own few go off it.
const SHARED: i64 = 48 << 10;
/// Longest row that a layer norm takes.
const LONGEST_ROW: i64 = 2048;

/// A place and a type of numbers that there are kernels for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    device: usize,
    kind: Kind,
}

/// How the rows of a group norm lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupNormShape {
    /// What is normalised together: frames or videos.
    pub(super) sets: i64,
    /// Rows of a set.
    pub(super) rows: i64,
    pub(super) channels: i64,
    pub(super) groups: i64,
    /// Frames and places of a set, where the result goes into the order (video, place, frame).
    pub(super) places_first: Option<[i64; 2]>,
    pub(super) silu: bool,
}

impl Numbers {
    /// Those of a tensor; none on the CPU.
    pub(super) fn of(x: &Tensor) -> Option<Self> {
        match (x.device(), x.kind()) {
            (Device::Cuda(device), kind @ (Kind::Float | Kind::Half | Kind::BFloat16)) => {
                Some(Self { device, kind })
            }
            _ => None,
        }
    }

    /// Whether they are float16 or bfloat16.
    pub(super) fn is_half(self) -> bool {
        self.kind != Kind::Float
    }

    fn program(self, source: Source, width: i64) -> Program {
        let kind = match self.kind {
            Kind::Float => 0,
            Kind::Half => 1,
            _ => 2,
        };
        Program { device: self.device, source, kind, width, dim: 0 }
    }

    /// Elements that are moved at once, up to 16 bytes.
    fn pack(self, channels: i64) -> i64 {
        let most = if self.kind == Kind::Float { 4 } else { 8 };
        [most, 4, 2].into_iter().find(|width| channels % width == 0).unwrap_or(1)
    }

    /// Why not all kernels can be used here, if they cannot.
    pub(super) fn problem(self) -> Option<String> {
        let sources = [
            (Source::GroupNorm, 4),
            (Source::LayerNorm, 10),
            (Source::Elementwise, 4),
            (Source::DiffusionTransformer, 16 * 8 + 1),
        ];
        let attention = Program { dim: 64, ..self.program(Source::TemporalAttention, 24) };
        let mut programs = sources.into_iter().map(|(source, width)| self.program(source, width));
        programs.find_map(|program| program.ready().err()).or_else(|| attention.ready().err())
    }

    pub(super) fn can_group_norm(self, channels: i64, groups: i64) -> bool {
        let columns = channels / self.pack(channels);
        channels % groups == 0
            && group_norm_shared(channels, groups, columns) < SHARED
            && self.program(Source::GroupNorm, self.pack(channels)).ready().is_ok()
    }

    pub(super) fn can_layer_norm(self, channels: i64) -> bool {
        channels % 2 == 0
            && channels <= LONGEST_ROW
            && self.program(Source::LayerNorm, packs_of_a_lane(channels)).ready().is_ok()
    }

    pub(super) fn can_elementwise(self, channels: i64) -> bool {
        self.program(Source::Elementwise, self.pack(channels)).ready().is_ok()
    }
}

/// Rows that a block works on at once.
fn lanes(columns: i64) -> i64 {
    (THREADS / columns).max(1)
}

/// Threads of a block whose x goes over the columns.
fn block(columns: i64) -> [i64; 2] {
    [columns.min(THREADS), lanes(columns)]
}

/// Packs of two elements for each lane of a warp: one of the widths that kernels are compiled for.
fn packs_of_a_lane(channels: i64) -> i64 {
    [2, 5, 10, 20, 32].into_iter().find(|packs| channels <= 64 * packs).unwrap_or(32)
}

fn pointer(tensor: &Tensor) -> Argument {
    Argument::Pointer(tensor.data_ptr())
}

fn pointer_or_null(tensor: Option<&Tensor>) -> Argument {
    tensor.map_or(Argument::Pointer(std::ptr::null()), pointer)
}

fn int(value: i64) -> Argument {
    Argument::Int(value as i32)
}

impl GroupNormShape {
    fn chunks(self, columns: i64) -> i64 {
        (GROUP_NORM_BLOCKS / self.sets).clamp(1, (self.rows / (4 * lanes(columns))).max(1))
    }

    fn order(self) -> [Argument; 4] {
        let [frames, places] = self.places_first.unwrap_or([1, 1]);
        [int(frames), int(places), int(self.silu.into()), int(self.places_first.is_some().into())]
    }
}

/// The pieces that both launches of a group norm share.
struct GroupNormLaunch {
    program: Program,
    grid: Grid,
    /// Channels, groups, rows of a set, rows of a chunk.
    sizes: [Argument; 4],
    /// Sums of every chunk and, behind them, two figures of every set and group.
    sums: Tensor,
    figures: Tensor,
    arrived: Tensor,
    count: f64,
}

impl GroupNormLaunch {
    fn new(numbers: Numbers, shape: GroupNormShape, device: Device) -> Self {
        let width = numbers.pack(shape.channels);
        let columns = shape.channels / width;
        let chunks = shape.chunks(columns);
        let rows_per_chunk = (shape.rows + chunks - 1) / chunks;
        let shared = group_norm_shared(shape.channels, shape.groups, columns);
        let sums = Tensor::empty([shape.sets * (chunks + 1), shape.groups, 2], (Kind::Float, device));
        Self {
            program: numbers.program(Source::GroupNorm, width),
            grid: Grid { blocks: [chunks, shape.sets], threads: block(columns), shared },
            sizes: [int(shape.channels), int(shape.groups), Argument::Long(shape.rows), int(rows_per_chunk)],
            figures: sums.narrow(0, shape.sets * chunks, shape.sets),
            sums,
            arrived: arrived(numbers.device, shape.sets),
            count: (shape.rows * (shape.channels / shape.groups)) as f64,
        }
    }

    /// Where the sums' kernel writes, and what it makes of them: mean and 1/√(variance + ε), or both means where `epsilon`
    /// is negative.
    fn finish(&self, epsilon: f64) -> [Argument; 5] {
        [
            pointer(&self.sums),
            pointer(&self.figures),
            pointer(&self.arrived),
            Argument::Double(self.count),
            Argument::Float(epsilon as f32),
        ]
    }
}

/// A counter for every set, which kernels leave as zeros.
fn arrived(device: usize, sets: i64) -> Tensor {
    static COUNTERS: Mutex<BTreeMap<usize, Tensor>> = Mutex::new(BTreeMap::new());
    let mut counters = COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
    let made = |sets: i64| Tensor::zeros([sets], (Kind::Int, Device::Cuda(device)));
    let counter = counters.entry(device).or_insert_with(|| made(1024));
    if counter.size()[0] < sets {
        *counter = made(sets);
    }
    counter.shallow_clone()
}

/// Bytes of shared memory: two sums a channel and lane, or what the last block adds up.
fn group_norm_shared(channels: i64, groups: i64, columns: i64) -> i64 {
    let [x, y] = block(columns);
    (8 * channels * lanes(columns)).max(32 * (x * y).max((groups + 1) / 2))
}

/// What comes out, of the input's shape or places first, and the statistics that the gradient needs.
pub(super) fn group_norm(
    numbers: Numbers,
    shape: GroupNormShape,
    x: &Tensor,
    shift: Option<&Tensor>,
    norm: &Norm,
) -> (Tensor, Tensor) {
    let launch = GroupNormLaunch::new(numbers, shape, x.device());
    let input = [pointer(x), pointer_or_null(shift)];
    let mut arguments = [&input[..], &launch.finish(norm.epsilon), &launch.sizes].concat();
    launch.program.launch("group_norm_sums", launch.grid, &mut arguments);
    let y = x.empty_like();
    let tensors = [pointer(&launch.figures), pointer(norm.weight), pointer(norm.bias), pointer(&y)];
    let mut arguments = [&input[..], &tensors, &launch.sizes, &shape.order()].concat();
    launch.program.launch("group_norm_apply", launch.grid, &mut arguments);
    (y, launch.figures)
}

/// The gradient with respect to the input.
pub(super) fn group_norm_backward(
    numbers: Numbers,
    shape: GroupNormShape,
    [x, stats, dy]: [&Tensor; 3],
    shift: Option<&Tensor>,
    [weight, bias]: [&Tensor; 2],
) -> Tensor {
    let launch = GroupNormLaunch::new(numbers, shape, x.device());
    let input =
        [pointer(x), pointer_or_null(shift), pointer(stats), pointer(weight), pointer(bias), pointer(dy)];
    let mut arguments = [&input[..], &launch.finish(-1.0), &launch.sizes, &shape.order()].concat();
    launch.program.launch("group_norm_backward_sums", launch.grid, &mut arguments);
    let dx = x.empty_like();
    let tensors = [pointer(&launch.figures), pointer(&dx)];
    let mut arguments = [&input[..], &tensors, &launch.sizes, &shape.order()].concat();
    launch.program.launch("group_norm_backward_apply", launch.grid, &mut arguments);
    dx
}

fn layer_norm_grid(rows: i64) -> Grid {
    Grid { blocks: [(rows + 7) / 8, 1], threads: [32, 8], shared: 0 }
}

/// Rows [.., channels] and a residual that is added before, if any -> the sum (the input itself without one), normed, and
/// with `positions` [.., tokens, channels] added, if any
pub(super) fn layer_norm(
    numbers: Numbers,
    x: &Tensor,
    residual: Option<&Tensor>,
    [weight, bias]: [&Tensor; 2],
    epsilon: f64,
    positions: Option<&Tensor>,
) -> (Tensor, Tensor) {
    let channels = weight.size()[0];
    let tokens = positions.map_or(1, |positions| positions.numel() as i64 / channels);
    let rows = x.numel() as i64 / channels;
    let sum = if residual.is_some() { x.empty_like() } else { x.shallow_clone() };
    let y = x.empty_like();
    let mut arguments = [
        pointer(x),
        pointer_or_null(residual),
        pointer(weight),
        pointer(bias),
        pointer_or_null(positions),
        pointer(&sum),
        pointer(&y),
        Argument::Long(rows),
        int(channels),
        int(tokens),
        Argument::Float(epsilon as f32),
    ];
    let program = numbers.program(Source::LayerNorm, packs_of_a_lane(channels));
    program.launch("layer_norm", layer_norm_grid(rows), &mut arguments);
    (sum, y)
}

/// The gradient with respect to the sum; `dsum` is what reaches it otherwise.
pub(super) fn layer_norm_backward(
    numbers: Numbers,
    [x, weight, dy]: [&Tensor; 3],
    dsum: Option<&Tensor>,
    epsilon: f64,
) -> Tensor {
    let channels = weight.size()[0];
    let rows = x.numel() as i64 / channels;
    let dx = x.empty_like();
    let mut arguments = [
        pointer(x),
        pointer(weight),
        pointer(dy),
        pointer_or_null(dsum),
        pointer(&dx),
        Argument::Long(rows),
        int(channels),
        Argument::Float(epsilon as f32),
    ];
    let program = numbers.program(Source::LayerNorm, packs_of_a_lane(channels));
    program.launch("layer_norm_backward", layer_norm_grid(rows), &mut arguments);
    dx
}

/// Where the rows of a sum lie in another order: (video, place, frame).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Nowhere.
    Same,
    /// In the input; frames and places.
    From([i64; 2]),
    /// In the result; frames and places.
    To([i64; 2]),
}

/// Rows [.., channels] + bias \[channels\] + residual, which lies as the result of [`Order::From`].
pub(super) fn add(
    numbers: Numbers,
    x: &Tensor,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
    channels: i64,
    order: Order,
) -> Tensor {
    let rows = x.numel() as i64 / channels;
    let y = residual.unwrap_or(x).empty_like();
    let width = numbers.pack(channels);
    let (code, [frames, places]) = match order {
        Order::Same => (0, [1, 1]),
        Order::From(sizes) => (1, sizes),
        Order::To(sizes) => (2, sizes),
    };
    let mut arguments = [
        pointer(x),
        pointer_or_null(bias),
        pointer_or_null(residual),
        pointer(&y),
        Argument::Long(rows),
        int(channels),
        int(frames),
        int(places),
        int(code),
    ];
    let threads = block(channels / width);
    let blocks = ((rows + threads[1] - 1) / threads[1]).min(4 * BLOCKS);
    let grid = Grid { blocks: [blocks, 1], threads, shared: 0 };
    numbers.program(Source::Elementwise, width).launch("add", grid, &mut arguments);
    y
}

/// [.., 2·inner] -> [.., inner]
pub(super) fn geglu(numbers: Numbers, x: &Tensor) -> Tensor {
    let mut size = x.size();
    let inner = size.last().copied().unwrap_or_default() / 2;
    if let Some(last) = size.last_mut() {
        *last = inner;
    }
    let y = Tensor::empty(size, (x.kind(), x.device()));
    launch_geglu(numbers, "geglu", &[x, &y], inner, y.numel() as i64);
    y
}

/// The gradient with respect to the input [.., 2·inner].
pub(super) fn geglu_backward(numbers: Numbers, x: &Tensor, dy: &Tensor) -> Tensor {
    let dx = x.empty_like();
    let inner = dy.size().last().copied().unwrap_or_default();
    launch_geglu(numbers, "geglu_backward", &[x, dy, &dx], inner, dy.numel() as i64);
    dx
}

fn launch_geglu(numbers: Numbers, name: &'static str, tensors: &[&Tensor], inner: i64, elements: i64) {
    let width = numbers.pack(inner);
    let packs = elements / width;
    let mut arguments: Vec<Argument> = tensors.iter().map(|tensor| pointer(tensor)).collect();
    arguments.extend([Argument::Long(packs), int(inner)]);
    let blocks = ((packs + 255) / 256).clamp(1, 16 * BLOCKS);
    let grid = Grid { blocks: [blocks, 1], threads: [256, 1], shared: 0 };
    numbers.program(Source::Elementwise, width).launch(name, grid, &mut arguments);
}

/// Most tokens, and features of a head, that [`short_attention`] takes.
const MOST_TOKENS: i64 = 32;
const MOST_FEATURES: i64 = 160;

/// Attention over short sequences: queries, keys and values of all heads lie together, [batch, tokens, 3, heads, d].
#[derive(Debug, Clone, Copy)]
pub(super) struct ShortAttention {
    program: Program,
    batch: i64,
    tokens: i64,
    heads: i64,
    head_dim: i64,
}

impl ShortAttention {
    /// Over [batch, tokens, 3·heads·d]. None where no kernel can do it.
    pub(super) fn of(joined: &Tensor, heads: i64) -> Option<Self> {
        let numbers = Numbers::of(joined).filter(|numbers| numbers.kind != Kind::Float)?;
        let size = joined.size();
        let (tokens, head_dim) = (size[1], size[2] / (3 * heads));
        let fits = tokens <= MOST_TOKENS && head_dim <= MOST_FEATURES && head_dim % 8 == 0;
        let aligned = (joined.data_ptr() as usize).is_multiple_of(16);
        let program =
            Program { dim: head_dim, ..numbers.program(Source::TemporalAttention, (tokens + 7) / 8 * 8) };
        let this = Self { program, batch: size[0], tokens, heads, head_dim };
        (fits && aligned && joined.is_contiguous() && program.ready().is_ok()).then_some(this)
    }

    /// [batch, tokens, heads·d]
    pub(super) fn forward(self, joined: &Tensor) -> Tensor {
        let size = [self.batch, self.tokens, self.heads * self.head_dim];
        let y = Tensor::empty(size, (joined.kind(), joined.device()));
        self.launch("temporal_attention", &[joined, &y]);
        y
    }

    /// The gradient with respect to queries, keys and values.
    pub(super) fn backward(self, joined: &Tensor, dy: &Tensor) -> Tensor {
        let gradient = joined.empty_like();
        self.launch("temporal_attention_backward", &[joined, dy, &gradient]);
        gradient
    }

    fn launch(self, name: &'static str, tensors: &[&Tensor]) {
        let sequences = self.batch * self.heads;
        let mut arguments: Vec<Argument> = tensors.iter().map(|tensor| pointer(tensor)).collect();
        arguments.extend([
            Argument::Long(sequences),
            int(self.heads),
            int(self.tokens),
            Argument::Float((self.head_dim as f32).powf(-0.5)),
        ]);
        let warps = self.warps();
        let blocks = [(sequences + warps - 1) / warps, 1];
        self.program.launch(name, Grid { blocks, threads: [32, warps], shared: 0 }, &mut arguments);
    }

    /// Sequences of a block, as the source has `WARPS`.
    fn warps(self) -> i64 {
        let (held, pitch) = ((self.tokens + 15) / 16 * 16, (self.head_dim + 31) / 32 * 32 + 8);
        (SHARED / (2 * held * pitch * 2)).min(4)
    }
}

/// Nearest neighbour: [images, height, width, channels] -> [images, `to`, channels]
pub(super) fn enlarge(numbers: Numbers, x: &Tensor, to: [i64; 2]) -> Tensor {
    let size = x.size();
    let (channels, width) = (size[3], numbers.pack(size[3]));
    let y = Tensor::empty([size[0], to[0], to[1], channels], (x.kind(), x.device()));
    let packs = y.numel() as i64 / width;
    let mut arguments = [
        pointer(x),
        pointer(&y),
        Argument::Long(packs),
        int(channels),
        int(size[1]),
        int(size[2]),
        int(to[0]),
        int(to[1]),
    ];
    let grid =
        Grid { blocks: [((packs + 255) / 256).clamp(1, 16 * BLOCKS), 1], threads: [256, 1], shared: 0 };
    numbers.program(Source::Elementwise, width).launch("enlarge", grid, &mut arguments);
    y
}
