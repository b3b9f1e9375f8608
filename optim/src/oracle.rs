//! What an optimizer may ask about a minibatch.

use osculate_engine::{Layout, Moments, Real, Request, Size};

use crate::{Error, Result};

/// Answers about one minibatch at parameters of the optimizer's choice; what is not asked is not computed.
///
/// Parameters and vectors are flat, in the order of [`layout`](Oracle::layout). All answers are means over the minibatch unless they
/// are moments, and all are about the same minibatch.
pub trait Oracle<T: Real> {
    /// How the parameters lie in a flat vector.
    fn layout(&self) -> &Layout;

    /// Number of examples n.
    fn count(&self) -> usize;

    /// Mean loss.
    ///
    /// # Errors
    /// Vectors of wrong lengths, indices out of range.
    fn loss(&mut self, at: &[T]) -> Result<f64>;

    /// Mean loss; the mean gradient goes to `into`.
    ///
    /// # Errors
    /// Vectors of wrong lengths, indices out of range.
    fn gradient(&mut self, at: &[T], into: &mut [T]) -> Result<f64>;

    /// Mean loss, and how large it and the mean gradient, which goes to `into`, are: no step is taken of what is not finite.
    ///
    /// Who knows it without looking once more says so here.
    ///
    /// # Errors
    /// Vectors of wrong lengths, indices out of range.
    fn checked_gradient(&mut self, at: &[T], into: &mut [T]) -> Result<(f64, Size)> {
        let loss = self.gradient(at, into)?;
        Ok((loss, Size::of(&[loss]).max(Size::of(into))))
    }

    /// The mean Hessian-vector product goes to `into`.
    ///
    /// # Errors
    /// Vectors of wrong lengths, indices out of range.
    fn hvp(&mut self, at: &[T], along: &[T], into: &mut [T]) -> Result<()>;

    /// Mean loss and its first three directional derivatives `[l, Dl[v], D²l[v,v], D³l[v,v,v]]`, by forward mode alone, up to
    /// `order` (the rest are 0).
    ///
    /// # Errors
    /// Vectors of wrong lengths, indices out of range.
    fn directional(&mut self, at: &[T], along: &[T], order: usize) -> Result<[f64; 4]>;

    /// Statistics of the examples; `along` is given exactly if the [request](Request::directed) wants a direction.
    ///
    /// # Errors
    /// Vectors of wrong lengths, indices out of range.
    fn moments(&mut self, at: &[T], along: Option<&[T]>, request: Request) -> Result<&Moments<T>>;

    /// Every example's gradient as a row of `gradients` `[n, D]`, and with `along` its Hessian-vector product as one of `products`.
    ///
    /// For few parameters: what statistics need, [`moments`](Oracle::moments) yields without ever making the rows.
    ///
    /// # Errors
    /// Arrays of wrong lengths, indices out of range; an oracle that knows only means.
    fn per_example(&mut self, at: &[T], along: Option<&[T]>, gradients: &mut [T], products: &mut [T]) -> Result<()> {
        let _ = (at, along, gradients, products);
        Err(Error::Oracle { what: "gradients of every example", instead: "implement `Oracle::per_example`" })
    }

    /// The mean gradient of all the data that minibatches are drawn from goes to `into`; its mean loss.
    ///
    /// # Errors
    /// Vectors of wrong lengths, indices out of range; an oracle that knows only its minibatch.
    fn whole_gradient(&mut self, at: &[T], into: &mut [T]) -> Result<f64> {
        let _ = (at, into);
        Err(Error::Oracle { what: "the gradient of all the data", instead: WHOLE })
    }
}

/// What makes an oracle of the whole data.
pub(crate) const WHOLE: &str = "make the oracle by `oracles.on(&batch).of(&examples.all()?)`";
