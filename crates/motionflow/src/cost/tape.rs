//! Keeping account while a net is walked through.

use super::{Layers, NetCost, Operation};

/// Images of one size: frames of one or more videos.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shape {
    pub(super) videos: i64,
    pub(super) frames: i64,
    pub(super) channels: i64,
    pub(super) size: [i64; 2],
}

impl Shape {
    pub(super) fn images(self) -> i64 {
        self.videos * self.frames
    }

    pub(super) fn places(self) -> i64 {
        self.size[0] * self.size[1]
    }

    pub(super) fn elements(self) -> i64 {
        self.images() * self.places() * self.channels
    }

    pub(super) fn with_channels(self, channels: i64) -> Self {
        Self { channels, ..self }
    }
}

/// What was computed so far, and what is in memory.
#[derive(Debug)]
pub(super) struct Tape {
    pub(super) cost: NetCost,
    pub(super) layers: Layers,
    /// Whether feed-forward nets run in parts.
    pub(super) in_parts: bool,
    /// Elements that callers keep while a layer runs.
    held: i64,
    /// Elements of the attention maps that were shown so far.
    shown: i64,
}

/// Where a part begins that is computed once more on the way back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    operations: usize,
    saved: u64,
    shown: i64,
}

impl Tape {
    pub(super) fn new(layers: Layers) -> Self {
        Self { cost: NetCost::default(), layers, in_parts: false, held: 0, shown: 0 }
    }

    /// `plain` with libtorch's layers, else `fused`.
    pub(super) fn either<T>(&self, plain: T, fused: T) -> T {
        match self.layers {
            Layers::Plain => plain,
            Layers::Fused => fused,
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { operations: self.cost.operations.len(), saved: self.cost.saved, shown: self.shown }
    }

    /// Of all since `mark`, its input and the maps it showed are kept for the gradient; the rest is computed once more.
    pub(super) fn recompute_since(&mut self, mark: Mark, input: i64) {
        self.compute_again_since(mark);
        self.cost.saved = mark.saved + (input + self.shown - mark.shown) as u64;
    }

    /// All since `mark` is computed once more on the way back.
    pub(super) fn compute_again_since(&mut self, mark: Mark) {
        self.cost.recomputed.extend_from_slice(&self.cost.operations[mark.operations..]);
    }

    pub(super) fn parameters(&mut self, count: i64) {
        self.cost.parameters += count as u64;
    }

    pub(super) fn run(&mut self, operation: Operation) {
        self.cost.operations.push(operation);
    }

    /// `passes` over so many elements.
    pub(super) fn pass(&mut self, elements: i64, passes: usize) {
        self.cost.operations.extend(std::iter::repeat_n(Operation::Elementwise { elements }, passes));
    }

    /// So many elements are in memory at once, besides those that are held or saved.
    pub(super) fn takes(&mut self, elements: i64) {
        let cost = &mut self.cost;
        cost.forward_peak = cost.forward_peak.max((self.held + elements) as u64);
        cost.backward_peak = cost.backward_peak.max(cost.saved + elements as u64);
    }

    /// So many elements are kept for the gradient.
    pub(super) fn save(&mut self, elements: i64) {
        self.cost.saved += elements as u64;
    }

    /// Attention maps of so many elements go to the losses.
    pub(super) fn show(&mut self, elements: i64) {
        self.shown += elements;
    }

    /// So many elements stay in memory until they are released.
    pub(super) fn hold(&mut self, elements: i64) {
        self.held += elements;
    }

    pub(super) fn release(&mut self, elements: i64) {
        self.held -= elements;
    }
}
