//! A covariance matrix, for few parameters: every example is looked at by itself.

use osculate_engine::store::Store;
use osculate_engine::{Moments, Real, Request, dot, dots};

use super::config::{Direction, Init, MekaConfig};
use super::model::{Filtered, Model, Seen};
use crate::options::Legal;
use crate::state::Reader;
use crate::vectors::larger;
use crate::{Error, Oracle, Result, kalman};

/// Most parameters.
const MOST: usize = 512;

/// A matrix, for few parameters.
#[derive(Debug, Clone)]
pub(super) struct Full<T> {
    config: MekaConfig,
    now: kalman::Full,
    next: kalman::Full,
    /// Σ as the average carries it, now and next, and its weight.
    sigma: [Vec<f64>; 2],
    weight: f64,
    /// Rows of the minibatch's examples; they grow with it.
    rows: [Vec<T>; 2],
    count: usize,
    /// Covariances of the means of g and Hδ, and Σ debiased.
    measured: [Vec<f64>; 3],
    vectors: [Vec<f64>; 2],
    centre: Vec<f64>,
}

impl<T: Real> Full<T> {
    pub fn new(len: usize, config: &MekaConfig) -> Result<Full<T>> {
        if len > MOST {
            let why = "a full covariance is for at most 512 parameters: take covariance = diagonal or scalar".into();
            return Err(Error::Option { option: "parameters", value: len as f64, why });
        }
        let square = || vec![0.0; len * len];
        let filter = kalman::Full::new(vec![0.0; len], isotropic(len, config.init))?;
        Ok(Full {
            config: *config,
            now: filter.clone(),
            next: filter,
            sigma: [square(), square()],
            weight: 0.0,
            rows: [Vec::new(), Vec::new()],
            count: 0,
            measured: [square(), square(), square()],
            vectors: [vec![0.0; len], vec![0.0; len]],
            centre: vec![0.0; len],
        })
    }

    /// The covariance of the mean of rows.
    fn covariance(rows: &[T], count: usize, nu: f64, centre: &mut [f64], into: &mut [f64]) {
        let len = centre.len();
        centre.fill(0.0);
        for row in rows.chunks(len) {
            centre.iter_mut().zip(row).for_each(|(c, &x)| *c += x.to_f64() / count as f64);
        }
        into.fill(0.0);
        let scale = 1.0 / ((count as f64 - 1.0) * nu);
        for row in rows.chunks(len) {
            for (i, out) in into.chunks_mut(len).enumerate() {
                let left = scale * (row[i].to_f64() - centre[i]);
                out.iter_mut().zip(row).zip(&*centre).for_each(|((out, &x), c)| *out += left * (x.to_f64() - c));
            }
        }
    }
}

/// The covariance before anything was observed; what is infinite is replaced by the first observation's.
fn isotropic(len: usize, init: Init) -> Vec<f64> {
    let variance = if let Init::Diffuse(variance) = init { variance } else { 0.0 };
    (0..len * len).map(|at| if at / len == at % len { variance } else { 0.0 }).collect()
}

/// The mean of a matrix's diagonal.
fn mean_diagonal(matrix: &[f64], len: usize) -> f64 {
    matrix.iter().step_by(len + 1).sum::<f64>() / len as f64
}

impl<T: Real> Model<T> for Full<T> {
    fn request(&self, base: Request) -> Request {
        // Its variances are those of the rows.
        let base = base.means();
        if base.hvp { base.and_inner() } else { base }
    }

    fn look(&mut self, at: &[T], delta: Option<&[T]>, oracle: &mut dyn Oracle<T>) -> Result<()> {
        self.count = oracle.count();
        let [gradients, products] = &mut self.rows;
        gradients.resize(self.count * at.len(), T::zero());
        products.resize(self.count * at.len(), T::zero());
        oracle.per_example(at, delta, gradients, products)
    }

    fn filter(&mut self, seen: &Seen<'_, T>, mean: &[T], next: &mut [T], direction: &mut [T]) -> Result<Filtered> {
        if !seen.moments.is_finite() {
            return Ok(Filtered { inner: [f64::NAN; 3], ..Filtered::default() });
        }
        let (len, n, nu) = (mean.len(), self.count, seen.nu);
        let [sigma, q, debiased] = &mut self.measured;
        let [gradients, products] = &self.rows;
        Self::covariance(gradients, n, nu, &mut self.centre, sigma);
        let beta = self.config.gradient_decay;
        let weight = beta * self.weight + 1.0 - beta;
        let [old, new] = &mut self.sigma;
        for (((new, old), now), out) in new.iter_mut().zip(&*old).zip(&*sigma).zip(debiased.iter_mut()) {
            *new = beta * old + (1.0 - beta) * now;
            *out = *new / weight;
        }
        let [g, b] = &mut self.vectors;
        g.copy_from_slice(&self.centre);
        self.next.set(self.now.mean(), self.now.covariance())?;
        let mut along = [0.0; 2];
        match seen.first {
            true => q.fill(0.0),
            false => {
                Self::covariance(products, n, nu, &mut self.centre, q);
                b.copy_from_slice(&self.centre);
                along = [
                    self.now.along(wide(seen.delta, &mut self.centre)),
                    seen.moments.inner()?.curvatures.variance()? / nu,
                ];
                self.next.predict(&self.vectors[1], q)?;
            }
        }
        if seen.first && self.config.init == Init::FirstObservation {
            self.next.set(&self.vectors[0], debiased)?;
        } else {
            self.next.observe(&self.vectors[0], debiased)?;
        }
        for (i, (m, d)) in next.iter_mut().zip(&mut *direction).enumerate() {
            let (mean, p) = (self.next.mean()[i], self.next.covariance()[i * (len + 1)]);
            *m = T::from_f64(mean);
            *d = T::from_f64(match self.config.direction {
                Direction::Mean => -mean,
                Direction::Adaptive { epsilon } => {
                    -mean / ((mean * mean + p).sqrt() + epsilon.max(T::min_positive_value().to_f64()))
                }
            });
        }
        let trusted = seen.first && self.config.init == Init::FirstObservation;
        let bend = if seen.first { 0.0 } else { dot(seen.delta, &seen.moments.hvp()?.sum) };
        let direction = &*direction;
        let [squared, slope] = dots([[direction, direction], [direction, next]]);
        Ok(Filtered {
            along,
            inner: [bend, squared, slope],
            // Eigenvalues of a gain lie between 0 and 1.
            gain: if trusted { 1.0 } else { mean_diagonal(self.next.gain(), len).clamp(0.0, 1.0) },
            // What is left of it where nothing varies is Σ's rounding, of either sign.
            p: larger(mean_diagonal(self.next.covariance(), len), 0.0),
            sigma: mean_diagonal(debiased, len),
            q: mean_diagonal(q, len),
        })
    }

    fn along(&mut self, d: &[T], _: f64, moments: &Moments<T>, nu: f64) -> Result<[f64; 3]> {
        let p = self.next.along(wide(d, &mut self.centre));
        Ok([p, moments.inner()?.curvatures.variance()? / nu, dot(d, &moments.hvp()?.sum)])
    }

    fn commit(&mut self) {
        std::mem::swap(&mut self.now, &mut self.next);
        self.sigma.swap(0, 1);
        let beta = self.config.gradient_decay;
        self.weight = beta * self.weight + 1.0 - beta;
    }

    fn reset(&mut self) {
        let len = self.centre.len();
        // Of the sizes that they have.
        self.now.set(&vec![0.0; len], &isotropic(len, self.config.init)).ok();
    }

    fn write(&self, store: &mut Store) {
        store.put("covariance", &[self.weight]);
        store.put("covariance.mean", self.now.mean());
        store.put("covariance.p", self.now.covariance());
        store.put("covariance.sigma", &self.sigma[0]);
    }

    fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        [self.weight] = state.numbers("covariance", [Legal::Unit])?;
        let len = self.centre.len();
        let mean = state.list("covariance.mean", len, |_| Legal::Finite)?;
        self.sigma[0] = state.covariance("covariance.sigma", len, 0.0)?;
        // What is left of P where nothing varies is Σ's rounding.
        let beside = self.sigma[0].iter().step_by(len + 1).copied().fold(0.0, f64::max);
        let p = state.covariance("covariance.p", len, beside)?;
        self.now.set(&mean, &p)
    }
}

/// A vector in f64.
fn wide<'a, T: Real>(v: &[T], into: &'a mut [f64]) -> &'a [f64] {
    into.iter_mut().zip(v).for_each(|(out, &x)| *out = x.to_f64());
    into
}
