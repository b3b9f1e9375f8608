//! A variance for every coordinate, from the deviations of gradients and products from their means.

use osculate_engine::store::Store;
use osculate_engine::{Moments, Real, Request};

use super::config::{Direction, Init, MekaConfig};
use super::model::{Filtered, Model, Seen};
use crate::Result;
use crate::options::Legal;
use crate::state::Reader;
use crate::vectors::{Vectors, filled};

/// A number a coordinate.
#[derive(Debug, Clone)]
pub(super) struct Diagonal<T> {
    config: MekaConfig,
    /// The diagonals of P, and of Σ as the average carries it.
    now: [Vec<T>; 2],
    next: [Vec<T>; 2],
    /// Debiases the average of Σ.
    weight: f64,
    zero: Vec<T>,
    /// The new m and d, P and Σ from m, the sums of b and g and of their squared deviations, P, Σ and δ; with δᵀPδ and δᵀQδ, δ·b, d·d and d·m, and
    /// the sums of the diagonals of K, P, Σ, Q. The first observation's, which may be trusted, and that of all others.
    update: [Vectors<T, 4, 8, 5, 9>; 2],
    /// vᵀPv and vᵀQv, and v·b.
    extent: Vectors<T, 0, 4, 1, 3>,
}

impl<T: Real> Diagonal<T> {
    pub fn new(len: usize, config: &MekaConfig) -> Result<Diagonal<T>> {
        let beta = config.gradient_decay;
        let adaptive = config.direction;
        let least = T::min_positive_value().to_f64();
        // Unbiased variances of the minibatch mean, from sums over examples: `each` is 1/n and `less` −1/n, `c` is 1/((n − 1)ν) and
        // `fresh` the part of it that an average takes.
        let rule = |trusted: bool| {
            Vectors::summing(move |[each, less, c, fresh, debias], _, [m, b, g, bb, gg, p, sigma, delta]| {
                let squared = delta * delta;
                let q = c * bb;
                let along = [p * squared, q * squared];
                let missing = less * g;
                let sigma = beta * sigma + fresh * gg;
                let noise = debias * sigma;
                // Without any uncertainty (not even the least that can be divided by) the observation is trusted: K = 1.
                let predicted = p + q;
                let total = predicted + noise;
                let gain = total.less(least).select(1.0, predicted / total);
                let gain = if trusted { p.tape().full(p.shape(), 1.0) } else { gain };
                // At this K, (1 − K)²P⁻ + K²Σ is KΣ.
                let p = gain * noise;
                let moved = m + each * b;
                let m = moved - gain * (moved + missing);
                let d = match adaptive {
                    Direction::Mean => -m,
                    Direction::Adaptive { epsilon } => -m / ((m * m + p).sqrt() + epsilon.max(least)),
                };
                ([m, d, p, sigma], [along[0], along[1], delta * b, d * d, d * m, gain, p, noise, q])
            })
        };
        let extent = Vectors::summing(|[c], [], [p, v, b, bb]| {
            let squared = v * v;
            ([], [p * squared, c * bb * squared, v * b])
        })?;
        let later = rule(false)?;
        let vector = |value: f64| filled(len, T::from_f64(value));
        let held = match config.init {
            Init::Diffuse(variance) => variance,
            Init::FirstObservation => 0.0, // trusted, whatever stands here
        };
        Ok(Diagonal {
            config: *config,
            now: [vector(held)?, vector(0.0)?],
            next: [vector(held)?, vector(0.0)?],
            weight: 0.0,
            zero: vector(0.0)?,
            update: [if config.init == Init::FirstObservation { rule(true)? } else { later.clone() }, later],
            extent,
        })
    }

    /// 1/n and 1/((n − 1)ν).
    fn scalars(moments: &Moments<T>, nu: f64) -> [f64; 2] {
        let n = moments.count() as f64;
        [1.0 / n, 1.0 / ((n - 1.0) * nu)]
    }
}

impl<T: Real> Model<T> for Diagonal<T> {
    fn request(&self, base: Request) -> Request {
        base.and_elementwise()
    }

    fn filter(&mut self, seen: &Seen<'_, T>, mean: &[T], next: &mut [T], direction: &mut [T]) -> Result<Filtered> {
        let gradient = seen.moments.gradient()?;
        let (b, bb) = match seen.first {
            true => (&self.zero[..], &self.zero[..]),
            false => {
                let hvp = seen.moments.hvp()?;
                (&hvp.sum[..], hvp.deviations.as_deref().unwrap_or(&[]))
            }
        };
        let beta = self.config.gradient_decay;
        let weight = beta * self.weight + 1.0 - beta;
        let [each, c] = Self::scalars(seen.moments, seen.nu);
        let scalars = [each, -each, c, (1.0 - beta) * c, 1.0 / weight];
        let gg = gradient.deviations.as_deref().unwrap_or(&[]);
        let [p, sigma] = &mut self.next;
        let read = [mean, b, &gradient.sum, bb, gg, &self.now[0], &self.now[1], seen.delta];
        let sums = self.update[usize::from(!seen.first)].run(scalars, [next, direction, p, sigma], read)?;
        let [along_p, along_q, bend, squared, slope, ..] = sums;
        let [gain, p, sigma, q] = std::array::from_fn(|i| sums[5 + i] / mean.len() as f64);
        Ok(Filtered { along: [along_p, along_q], inner: [bend, squared, slope], gain, p, sigma, q })
    }

    fn along(&mut self, d: &[T], _: f64, moments: &Moments<T>, nu: f64) -> Result<[f64; 3]> {
        let hvp = moments.hvp()?;
        let deviations = hvp.deviations.as_deref().unwrap_or(&[]);
        let [_, c] = Self::scalars(moments, nu);
        self.extent.run([c], [], [&self.next[0], d, &hvp.sum, deviations])
    }

    fn commit(&mut self) {
        std::mem::swap(&mut self.now, &mut self.next);
        let beta = self.config.gradient_decay;
        self.weight = beta * self.weight + 1.0 - beta;
    }

    fn reset(&mut self) {
        if let Init::Diffuse(variance) = self.config.init {
            self.now[0].fill(T::from_f64(variance));
        }
    }

    fn write(&self, store: &mut Store) {
        store.put("covariance", &[self.weight]);
        store.put("covariance.p", &self.now[0]);
        store.put("covariance.sigma", &self.now[1]);
    }

    fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        [self.weight] = state.numbers("covariance", [Legal::Unit])?;
        for (name, vector) in ["covariance.p", "covariance.sigma"].into_iter().zip(&mut self.now) {
            *vector = state.vector(name, vector.len(), Legal::NotNegative)?;
        }
        Ok(())
    }
}
