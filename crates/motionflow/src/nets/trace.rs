//! The gradient of a loss on attention maps with respect to the latents, with as much of the net computed again on the way
//! back as memory asks for ("Training Deep Nets with Sublinear Memory Cost", <https://arxiv.org/abs/1604.06174>).

use std::ops::ControlFlow;

use tch::Tensor;

use super::attention::AttentionObserver;
use crate::native;

/// A net under one timestep and one text, as a row of stages, each from one tensor to the next.
pub(super) trait Row {
    /// How many stages there are.
    fn count(&self) -> usize;

    /// What goes into the first stage, of latents [1, channels, frames, height, width].
    fn input(&self, latents: &Tensor) -> Tensor;

    /// Whether the observer looks at a stage.
    fn is_observed(&self, stage: usize, observer: &dyn AttentionObserver) -> bool;

    /// What a stage takes of the outputs of earlier stages.
    fn skip(&self, _stage: usize) -> Skip {
        Skip::None
    }

    /// Whether a stage's output is kept as a skip.
    fn is_kept(&self, _stage: usize) -> bool {
        false
    }

    /// Runs a stage on its input and the skip that it takes, or ends where the observer says so.
    fn run(
        &self,
        stage: usize,
        x: &Tensor,
        skip: Option<&Tensor>,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor>;
}

/// What a stage takes of the last skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    /// Nothing.
    None,
    /// Its channels, behind those of the input; the skip is used up.
    Joined,
    /// Its height and width.
    Size,
}

/// The hidden states and the skips between two stages, each with the number of what made it, where that is kept.
pub(super) struct State {
    pub(super) x: (Option<usize>, Tensor),
    skips: Vec<(Option<usize>, Tensor)>,
}

impl State {
    pub(super) fn new(x: Tensor) -> Self {
        Self { x: (None, x), skips: Vec::new() }
    }

    /// What a stage takes of the skips.
    pub(super) fn skip_of(&mut self, skip: Skip) -> Option<(Option<usize>, Tensor)> {
        match skip {
            Skip::None => None,
            Skip::Joined => self.skips.pop(),
            // Its size alone: no gradient goes there.
            Skip::Size => self.skips.last().map(|(made_by, skip)| (*made_by, skip.shallow_clone())),
        }
    }

    /// Goes on with what a stage has made, which is a skip, too, or not.
    pub(super) fn advance(&mut self, is_kept: bool, made_by: Option<usize>, x: Tensor) {
        if is_kept {
            self.skips.push((made_by, x.shallow_clone()));
        }
        self.x = (made_by, x);
    }
}

/// Which stages are computed again on the way back; of the others everything is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recomputed {
    /// None.
    None,
    /// Those before the first attention that is looked at.
    Unobserved,
    /// All but the products of attentions over the whole video, where the net can keep them: most of the work, and little of the
    /// memory.
    AllButAttention,
    /// All.
    All,
}

/// A run of the net as far as an observer wanted, from which the gradient can be taken.
pub struct Trace<'a> {
    row: Box<dyn Row + 'a>,
    latents: Tensor,
    token_weights: Option<Tensor>,
    /// The stages that are computed again: the first ones.
    steps: Vec<Step>,
    /// What the graph of the rest, and of the loss, hangs on: outputs of `steps`, by index, and maps that they showed.
    leaves: Vec<(usize, Tensor)>,
    maps: Vec<(usize, ShownMap)>,
}

/// A stage that was run without a graph.
struct Step {
    /// The step whose output it takes; none of the first, which takes the latents.
    input: Option<usize>,
    skip: Option<usize>,
    /// None of the last, where the observer ended the run.
    output: Option<Tensor>,
}

impl<'a> Trace<'a> {
    /// Runs a net as far as the observer wants. `row` is made of latents [1, channels, frames, height, width] that ask for
    /// their gradient.
    pub(super) fn run<R: Row + 'a>(
        latents: &Tensor,
        row: impl FnOnce(&Tensor) -> R,
        recomputed: Recomputed,
        observer: &mut dyn AttentionObserver,
    ) -> Self {
        let latents = latents.detach().set_requires_grad(true);
        let mut trace = Self {
            row: Box::new(row(&latents)),
            token_weights: observer.token_weights().map(Tensor::shallow_clone),
            steps: Vec::new(),
            leaves: Vec::new(),
            maps: Vec::new(),
            latents,
        };
        let _ = trace.forward(recomputed, observer);
        trace
    }

    fn forward(&mut self, recomputed: Recomputed, observer: &mut dyn AttentionObserver) -> ControlFlow<()> {
        let count = self.row.count();
        let again = match recomputed {
            Recomputed::None => 0,
            Recomputed::Unobserved => {
                (0..count).find(|&stage| self.row.is_observed(stage, observer)).unwrap_or(0)
            }
            Recomputed::AllButAttention | Recomputed::All => count,
        };
        let mut state = State::new(native::no_grad(|| self.row.input(&self.latents)));
        for stage in 0..again {
            self.step(stage, &mut state, observer)?;
        }
        self.hang_on_leaves(&mut state);
        for stage in again..count {
            let skip = state.skip_of(self.row.skip(stage)).map(|(_, skip)| skip);
            let x = self.row.run(stage, &state.x.1, skip.as_ref(), observer)?;
            state.advance(self.row.is_kept(stage), None, x);
        }
        ControlFlow::Continue(())
    }

    /// Runs a stage without a graph.
    fn step(
        &mut self,
        stage: usize,
        state: &mut State,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<()> {
        let skip = state.skip_of(self.row.skip(stage));
        let mut shown = Shown { observer, leaves: Vec::new() };
        let output = native::no_grad(|| {
            self.row.run(stage, &state.x.1, skip.as_ref().map(|(_, skip)| skip), &mut shown)
        });
        self.maps.extend(shown.leaves.into_iter().map(|shown| (stage, shown)));
        let output = output.continue_value();
        let (input, skip) = (state.x.0, skip.and_then(|(made_by, _)| made_by));
        let kept = output.as_ref().map(Tensor::shallow_clone);
        self.steps.push(Step { input, skip, output: kept });
        match output {
            Some(x) => {
                state.advance(self.row.is_kept(stage), Some(stage), x);
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }

    /// Between what is computed again and what is not: the latter's graph begins here.
    fn hang_on_leaves(&mut self, state: &mut State) {
        if self.steps.is_empty() {
            state.x.1 = self.row.input(&self.latents);
            return;
        }
        for (made_by, tensor) in state.skips.iter_mut().chain([&mut state.x]) {
            let Some(index) = *made_by else { continue };
            let known = self.leaves.iter().find(|(of, _)| *of == index);
            let leaf = known
                .map_or_else(|| tensor.detach().set_requires_grad(true), |(_, leaf)| leaf.shallow_clone());
            *tensor = leaf.shallow_clone();
            if known.is_none() {
                self.leaves.push((index, leaf));
            }
        }
    }

    /// ∂loss/∂latents [1, channels, frames, height, width], of the loss that was made of the maps that were observed. Zeros
    /// where it does not depend on them.
    pub fn gradient(mut self, loss: &Tensor) -> Tensor {
        let zeros = self.latents.zeros_like();
        if !loss.requires_grad() {
            return zeros;
        }
        let leaves =
            self.leaves.iter().map(|(_, leaf)| leaf).chain(self.maps.iter().map(|(_, shown)| &shown.map));
        let mut inputs: Vec<Tensor> = leaves.map(Tensor::shallow_clone).collect();
        inputs.push(self.latents.shallow_clone());
        let ones = loss.detach().ones_like();
        let mut found = native::gradients(&[(loss.shallow_clone(), ones)], &inputs);
        drop(inputs);
        let direct = found.pop().flatten();
        if self.steps.is_empty() {
            return direct.unwrap_or(zeros);
        }
        let of_maps = found.split_off(self.leaves.len());
        let mut along: Vec<Option<Tensor>> = self.steps.iter().map(|_| None).collect();
        for ((index, _), gradient) in self.leaves.iter().zip(found) {
            add(&mut along[*index], gradient);
        }
        let maps = std::mem::take(&mut self.maps).into_iter().zip(of_maps);
        let of_maps = maps
            .filter_map(|((index, shown), gradient)| Some((index, ShownMap { map: gradient?, ..shown })))
            .collect();
        self.back(along, of_maps).unwrap_or(zeros)
    }

    /// Back through the steps, the last first. `along` are the gradients with respect to their outputs, `of_maps` those with
    /// respect to the maps that they showed, by step and layer.
    fn back(mut self, mut along: Vec<Option<Tensor>>, mut of_maps: Vec<(usize, ShownMap)>) -> Option<Tensor> {
        self.leaves.clear();
        let mut of_latents = None;
        while let Some(Step { input, skip, output }) = self.steps.pop() {
            drop(output);
            let index = self.steps.len();
            let gradient = along.pop().flatten();
            let shown = of_maps.split_off(of_maps.partition_point(|(of, _)| *of < index));
            let shown: Vec<ShownMap> = shown.into_iter().map(|(_, shown)| shown).collect();
            if gradient.is_none() && shown.is_empty() {
                continue;
            }
            let output_of = |index: usize| self.steps.get(index).and_then(|step| step.output.as_ref());
            let leaf = match input {
                Some(index) => output_of(index)?.detach().set_requires_grad(true),
                None => self.latents.shallow_clone(),
            };
            let skip_leaf = skip.and_then(output_of).map(|skip| skip.detach().set_requires_grad(true));
            let mut again = Again { shown, outputs: Vec::new(), token_weights: self.token_weights.as_ref() };
            let x = if input.is_some() { leaf.shallow_clone() } else { self.row.input(&leaf) };
            let output = self.row.run(index, &x, skip_leaf.as_ref(), &mut again).continue_value();
            let mut outputs = again.outputs;
            outputs.extend(output.zip(gradient));
            let inputs: Vec<Tensor> =
                [Some(&leaf), skip_leaf.as_ref()].into_iter().flatten().map(Tensor::shallow_clone).collect();
            let mut gradients = native::gradients(&outputs, &inputs).into_iter();
            let of_input = gradients.next().flatten();
            match input {
                Some(index) => add(&mut along[index], of_input),
                None => of_latents = of_input,
            }
            if let Some(index) = skip {
                add(&mut along[index], gradients.next().flatten());
            }
        }
        of_latents
    }
}

fn add(sum: &mut Option<Tensor>, term: Option<Tensor>) {
    *sum = match (sum.take(), term) {
        (Some(sum), Some(term)) => Some(sum + term),
        (sum, term) => sum.or(term),
    };
}

/// What an observer was shown of a layer, and the values that it is a product with, if it is one.
struct ShownMap {
    layer: String,
    map: Tensor,
    values: Option<Tensor>,
}

/// Another observer, to whom maps without a graph are shown as leaves of one.
struct Shown<'a> {
    observer: &'a mut dyn AttentionObserver,
    leaves: Vec<ShownMap>,
}

impl AttentionObserver for Shown<'_> {
    fn wants(&self, layer: &str) -> bool {
        self.observer.wants(layer)
    }

    fn observe(&mut self, layer: &str, probabilities: Tensor) -> ControlFlow<()> {
        let leaf = probabilities.detach().set_requires_grad(true);
        let values = self.observer.values(layer).map(Tensor::shallow_clone);
        self.leaves.push(ShownMap { layer: layer.to_owned(), map: leaf.shallow_clone(), values });
        tch::with_grad(|| self.observer.observe(layer, leaf))
    }

    fn values(&self, layer: &str) -> Option<&Tensor> {
        self.observer.values(layer)
    }

    fn token_weights(&self) -> Option<&Tensor> {
        self.observer.token_weights()
    }
}

/// Looks at the maps that have a gradient once more, each with its gradient in the map's place.
struct Again<'a> {
    shown: Vec<ShownMap>,
    outputs: Vec<(Tensor, Tensor)>,
    token_weights: Option<&'a Tensor>,
}

impl Again<'_> {
    fn of(&self, layer: &str) -> Option<&ShownMap> {
        self.shown.iter().find(|shown| shown.layer == layer)
    }
}

impl AttentionObserver for Again<'_> {
    fn wants(&self, layer: &str) -> bool {
        self.of(layer).is_some()
    }

    fn observe(&mut self, layer: &str, probabilities: Tensor) -> ControlFlow<()> {
        let gradient = self.of(layer).map(|shown| shown.map.shallow_clone());
        self.outputs.extend(gradient.map(|gradient| (probabilities, gradient)));
        ControlFlow::Continue(())
    }

    fn values(&self, layer: &str) -> Option<&Tensor> {
        self.of(layer)?.values.as_ref()
    }

    fn token_weights(&self) -> Option<&Tensor> {
        self.token_weights
    }
}
