//! Keeps the attention maps of chosen layers while a net runs.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use tch::{Kind, Tensor};

use crate::losses::AttentionMaps;
use crate::model::GuidanceLayer;
use crate::nets::attention::AttentionObserver;

/// Keeps the maps of a set of layers, in float32.
#[derive(Debug)]
pub struct MapKeeper<'a> {
    wanted: BTreeSet<&'a str>,
    stops: bool,
    values: AttentionMaps,
    /// What has been seen so far.
    pub maps: AttentionMaps,
}

impl<'a> MapKeeper<'a> {
    /// Keeps the maps and lets the net run to its end.
    pub fn new(layers: impl IntoIterator<Item = &'a GuidanceLayer>) -> Self {
        let wanted = layers.into_iter().map(|layer| layer.name.as_str()).collect();
        Self { wanted, stops: false, values: AttentionMaps::new(), maps: AttentionMaps::new() }
    }

    /// Keeps the maps and ends the net's run when it has seen them all.
    pub fn stopping(layers: impl IntoIterator<Item = &'a GuidanceLayer>) -> Self {
        Self { stops: true, ..Self::new(layers) }
    }

    /// The same, with the products of some layers' maps with these values in place of the maps.
    #[must_use]
    pub fn with_values(self, values: AttentionMaps) -> Self {
        Self { values, ..self }
    }
}

impl AttentionObserver for MapKeeper<'_> {
    fn wants(&self, layer: &str) -> bool {
        self.wanted.contains(layer)
    }

    fn observe(&mut self, layer: &str, probabilities: Tensor) -> ControlFlow<()> {
        self.maps.insert(layer.to_owned(), probabilities.to_kind(Kind::Float));
        if self.stops && self.maps.len() == self.wanted.len() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn values(&self, layer: &str) -> Option<&Tensor> {
        self.values.get(layer)
    }
}
