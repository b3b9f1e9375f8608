//! What the filter takes the covariance of the gradient for: a number times the identity, a diagonal, or a whole matrix.
//!
//! ```text
//! m⁻ = m + b    P⁻ = P + Q    K = P⁻(P⁻ + Σ)⁻¹    m = m⁻ + K(g − m⁻)    P = (I − K)P⁻(I − K)ᵀ + KΣKᵀ       Eq. 4, 6–8
//! ```
//!
//! Q is the covariance of the mean of Hδ, Σ the moving average of that of g; in the scalar model both are averages of the diagonal, and P's
//! extent along a direction v is p‖v‖², or with `directional` p Var(v·g)/σ, which is right as long as P is a multiple of Σ.

use osculate_engine::store::Store;
use osculate_engine::{Moments, Real, Request};

use super::config::{Covariance, Init, MekaConfig};
use super::diagonal::Diagonal;
use super::full::Full;
use super::scalar::Scalar;
use crate::state::Reader;
use crate::{Oracle, Result};

/// What a minibatch showed at the parameters.
pub(super) struct Seen<'a, T> {
    /// Whether no step was taken before: there is no Hδ, and δ is 0.
    pub first: bool,
    pub moments: &'a Moments<T>,
    pub delta: &'a [T],
    /// ‖δ‖².
    pub squared: f64,
    /// What a variance of the examples is divided by.
    pub nu: f64,
}

/// What a step of the filter came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Filtered {
    /// δᵀPδ of the step before and δᵀQδ.
    pub along: [f64; 2],
    /// δ·b of the sums b of Hδ over examples, d·d and d·m, of the new direction and mean.
    pub inner: [f64; 3],
    /// Averages of the diagonals of K, P, Σ, Q.
    pub gain: f64,
    pub p: f64,
    pub sigma: f64,
    pub q: f64,
}

/// A covariance of the gradient, and the mean's filter that goes with it; results of a step are kept aside until `commit`.
pub(super) trait Model<T: Real> {
    /// What it asks of a minibatch besides.
    fn request(&self, base: Request) -> Request {
        base
    }

    /// Looks at the examples one by one.
    fn look(&mut self, _at: &[T], _delta: Option<&[T]>, _oracle: &mut dyn Oracle<T>) -> Result<()> {
        Ok(())
    }

    /// One step; `mean` becomes `next` and the direction of descent. What is not finite shows in d·d, or in what else is returned.
    fn filter(&mut self, seen: &Seen<'_, T>, mean: &[T], next: &mut [T], direction: &mut [T]) -> Result<Filtered>;

    /// dᵀPd of the step that is not yet committed, dᵀQ(d)d, and d·b of the sums b of Hd over examples; `squared` is ‖d‖².
    fn along(&mut self, d: &[T], squared: f64, moments: &Moments<T>, nu: f64) -> Result<[f64; 3]>;

    /// The step was taken.
    fn commit(&mut self);

    /// Forgets P.
    fn reset(&mut self);

    fn write(&self, store: &mut Store);

    fn read(&mut self, state: &mut Reader<'_>) -> Result<()>;
}

/// The models by name, so that an optimizer can be cloned.
#[derive(Debug, Clone)]
pub(super) enum AnyModel<T> {
    Scalar(Box<Scalar<T>>),
    Diagonal(Box<Diagonal<T>>),
    Full(Box<Full<T>>),
}

impl<T: Real> AnyModel<T> {
    pub fn new(len: usize, config: &MekaConfig) -> Result<AnyModel<T>> {
        Ok(match config.covariance {
            Covariance::Scalar => AnyModel::Scalar(Box::new(Scalar::new(len, config)?)),
            Covariance::Diagonal => AnyModel::Diagonal(Box::new(Diagonal::new(len, config)?)),
            Covariance::Full => AnyModel::Full(Box::new(Full::new(len, config)?)),
        })
    }

    pub fn get(&self) -> &dyn Model<T> {
        match self {
            AnyModel::Scalar(model) => model.as_ref(),
            AnyModel::Diagonal(model) => model.as_ref(),
            AnyModel::Full(model) => model.as_ref(),
        }
    }

    pub fn get_mut(&mut self) -> &mut dyn Model<T> {
        match self {
            AnyModel::Scalar(model) => model.as_mut(),
            AnyModel::Diagonal(model) => model.as_mut(),
            AnyModel::Full(model) => model.as_mut(),
        }
    }
}

/// The variance before anything was observed.
pub(super) fn start(init: Init) -> f64 {
    match init {
        Init::Diffuse(variance) => variance,
        Init::FirstObservation => f64::INFINITY,
    }
}
