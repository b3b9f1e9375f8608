//! Normalisations of one example. (Batch normalisation mixes examples, so that per-example derivatives are not defined under it.)

use osculate_engine::{Expr, Spec, spec, tree};

use crate::conv::per_channel;

/// Added to variances.
const EPSILON: f64 = 1e-5;

tree! {
    /// Scale γ and shift β after a normalisation.
    pub struct Norm {
        /// Scales, `[channels]`.
        gamma,
        /// Shifts, `[channels]`.
        beta,
    }
}

impl Norm<Spec> {
    /// Its shapes.
    pub fn new(channels: usize) -> Norm<Spec> {
        Norm { gamma: spec([channels]), beta: spec([channels]) }
    }
}

impl<'t> Norm<Expr<'t>> {
    /// Group normalisation (Wu and He 2018) of `[channels, spatial…]`: every group of channels to mean 0 and variance 1, then γ and
    /// β a channel.
    ///
    /// ```
    /// use osculate_engine::{spec, Func};
    /// use osculate_nn::Norm;
    /// let f = Func::trace(Norm::new(16), spec([16, 8, 8]), |_, p, x| p.group(x, 4).sum())?;
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    #[track_caller]
    pub fn group(&self, x: Expr<'t>, groups: usize) -> Expr<'t> {
        let shape = x.shape();
        // Groups are of whole channels: where they are not, the reshape says so.
        let channels = shape.first().copied().unwrap_or(1);
        let (each, places) = (channels / groups.max(1), shape.size() / channels.max(1));
        // Channels and places stay apart: where channels lie innermost they could not be joined without a copy.
        let y = standardised(x.reshape([groups, each, places]), &[1, 2]).reshape(shape);
        y * per_channel(self.gamma, y) + per_channel(self.beta, y)
    }

    /// Layer normalisation (Ba et al. 2016) over the last axis, which γ and β run along.
    #[track_caller]
    pub fn layer(&self, x: Expr<'t>) -> Expr<'t> {
        let shape = x.shape();
        let last = shape.last().copied().unwrap_or(1);
        standardised(x.reshape([shape.size() / last, last]), &[1]).reshape(shape) * self.gamma + self.beta
    }
}

/// To mean 0 and variance 1 over some axes.
#[track_caller]
fn standardised<'t>(x: Expr<'t>, axes: &[usize]) -> Expr<'t> {
    let shape = x.shape();
    let one: Vec<usize> = (0..shape.rank()).map(|axis| if axes.contains(&axis) { 1 } else { shape[axis] }).collect();
    let centred = x - x.mean_axes(axes).reshape(one.clone());
    let variance = centred.square().mean_axes(axes);
    centred * (variance + EPSILON).rsqrt().reshape(one)
}
