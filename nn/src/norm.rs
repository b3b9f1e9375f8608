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
    /// # Errors
    /// Tracing fails at the caller's line where channels do not split into `groups`, or γ and β are not one number a channel.
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
        let channels = shape.first().copied().unwrap_or(0);
        if channels == 0 || groups == 0 || channels % groups != 0 {
            return x.fail("group norm", format!("{channels} channels of {shape} do not split into {groups} groups"));
        }
        let (Some(gamma), Some(beta)) = (per_channel(self.gamma, x), per_channel(self.beta, x)) else {
            return self.misfit("group norm", x, channels);
        };
        let (each, places) = (channels / groups, shape.size() / channels);
        // Channels and places stay apart: where channels lie innermost they could not be joined without a copy.
        let y = standardised(x.reshape([groups, each, places]), &[1, 2]).reshape(shape);
        y * gamma + beta
    }

    /// Layer normalisation (Ba et al. 2016) over the last axis, which γ and β run along.
    ///
    /// # Errors
    /// Tracing fails at the caller's line where γ and β are not as long as the last axis.
    #[track_caller]
    pub fn layer(&self, x: Expr<'t>) -> Expr<'t> {
        let shape = x.shape();
        let last = shape.last().copied().unwrap_or(0);
        if [self.gamma, self.beta].iter().any(|v| v.shape()[..] != [last]) {
            return self.misfit("layer norm", x, last);
        }
        standardised(x.reshape([shape.size() / last, last]), &[1]).reshape(shape) * self.gamma + self.beta
    }
}

impl<'t> Norm<Expr<'t>> {
    /// Says that γ and β are not as long as what they scale and shift.
    #[track_caller]
    fn misfit(&self, what: &str, x: Expr<'t>, channels: usize) -> Expr<'t> {
        let (gamma, beta) = (self.gamma.shape(), self.beta.shape());
        x.fail(what, format!("{} wants scales and shifts [{channels}], not {gamma} and {beta}", x.shape()))
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
