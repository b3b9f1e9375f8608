//! Multilayer perceptrons.

use osculate_engine::{Expr, Spec, tree};

use crate::Dense;

tree! {
    /// Dense layers with an elementwise function between them (none after the last).
    pub struct Mlp {
        /// First to last.
        layers: [Dense],
    }
}

impl Mlp<Spec> {
    /// The layers between these widths: `[784, 100, 10]` makes two.
    pub fn new(widths: &[usize]) -> Mlp<Spec> {
        Mlp { layers: widths.windows(2).map(|w| Dense::new(w[0], w[1])).collect() }
    }
}

impl<'t> Mlp<Expr<'t>> {
    /// The output for one example.
    #[track_caller]
    pub fn apply(&self, x: Expr<'t>, activation: impl Fn(Expr<'t>) -> Expr<'t>) -> Expr<'t> {
        let mut h = x;
        for (at, layer) in self.layers.iter().enumerate() {
            h = layer.apply(if at == 0 { h } else { activation(h) });
        }
        h
    }
}
