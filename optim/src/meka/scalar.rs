//! The covariance pI of the paper.

use osculate_engine::store::Store;
use osculate_engine::{Moments, Real, Request, dot};

use super::config::{Direction, MekaConfig};
use super::model::{Filtered, Model, Seen, start};
use crate::options::Legal;
use crate::state::Reader;
use crate::vectors::{Limits, Vectors, filled};
use crate::{Result, Smooth, kalman};

/// pI.
#[derive(Debug, Clone)]
pub(super) struct Scalar<T> {
    config: MekaConfig,
    now: (f64, Smooth),
    next: (f64, Smooth),
    /// Of this minibatch, before it is averaged.
    sigma: f64,
    zero: Vec<T>,
    /// The new m and d from k, p, 1/n and m, b, g, δ, where b and g come as sums over the minibatch; with δ·b, d·d and d·m.
    update: Vectors<T, 2, 4, 3, 3>,
}

impl<T: Real> Scalar<T> {
    pub fn new(len: usize, config: &MekaConfig) -> Result<Scalar<T>> {
        let (adaptive, least) = (config.direction, Limits::of::<T>().least);
        let update = Vectors::summing(move |[gain, p, each], [_, _], [m, b, g, delta]| {
            let predicted = m + each * b;
            let m = predicted + gain * (each * g - predicted);
            let d = match adaptive {
                Direction::Mean => -m,
                Direction::Adaptive { epsilon } => -m / ((m * m + p).sqrt() + epsilon.max(least)),
            };
            ([m, d], [delta * b, d * d, d * m])
        })?;
        let now = (start(config.init), Smooth::new(config.gradient_decay));
        Ok(Scalar { config: *config, now, next: now, sigma: 0.0, zero: filled(len, T::zero())?, update })
    }

    /// vᵀPv for a p, and vᵀQv where Q, averaged over coordinates q, is measured along v.
    fn extent(&self, p: f64, q: f64, squared: f64, moments: &Moments<T>, nu: f64) -> Result<[f64; 2]> {
        if !self.config.directional {
            return Ok([p * squared, q * squared]);
        }
        let inner = moments.inner()?;
        let own = inner.slopes.variance()? / nu;
        let anisotropy = if self.sigma > 0.0 { own / self.sigma } else { squared };
        Ok([p * anisotropy, inner.curvatures.variance()? / nu])
    }

    fn q(&self, moments: &Moments<T>, nu: f64) -> Result<f64> {
        match self.config.noise {
            Some(noise) => Ok(noise.hvp),
            None => Ok(moments.hvp_variance()?.value / nu),
        }
    }
}

impl<T: Real> Model<T> for Scalar<T> {
    fn request(&self, base: Request) -> Request {
        match (self.config.noise, self.config.directional) {
            (Some(_), _) => base.means(),
            // Slopes along the direction come with gradients alone.
            (None, true) => Request { gradient: true, ..base }.and_inner(),
            (None, false) => base,
        }
    }

    fn filter(&mut self, seen: &Seen<'_, T>, mean: &[T], next: &mut [T], direction: &mut [T]) -> Result<Filtered> {
        let (p, mut noise) = self.now;
        let moments = seen.moments;
        self.sigma = match self.config.noise {
            Some(noise) => noise.gradient,
            None => moments.gradient_variance()?.value / seen.nu,
        };
        let q = if seen.first { 0.0 } else { self.q(moments, seen.nu)? };
        // Nothing has moved before the first step, however uncertain the gradient (∞·0 would be NaN).
        let along = if seen.first { [0.0; 2] } else { self.extent(p, q, seen.squared, moments, seen.nu)? };
        let sigma = noise.add(self.sigma);
        let (gain, p) = kalman::update(p + q, sigma);
        let b = if seen.first { &self.zero } else { &moments.hvp()?.sum };
        let scalars = [gain, p, 1.0 / moments.count() as f64];
        let read = [mean, b, &moments.gradient()?.sum, seen.delta];
        let inner = self.update.run(scalars, [next, direction], read)?;
        self.next = (p, noise);
        Ok(Filtered { along, inner, gain, p, sigma, q })
    }

    fn along(&mut self, d: &[T], squared: f64, moments: &Moments<T>, nu: f64) -> Result<[f64; 3]> {
        let (q, bend) = match self.config.noise {
            None if !self.config.directional => {
                let (variance, bend) = moments.hvp_variance_along(d)?;
                (variance.value / nu, bend)
            }
            noise => (noise.map_or(0.0, |noise| noise.hvp), dot(d, &moments.hvp()?.sum)),
        };
        let [p, q] = self.extent(self.next.0, q, squared, moments, nu)?;
        Ok([p, q, bend])
    }

    fn commit(&mut self) {
        self.now = self.next;
    }

    fn reset(&mut self) {
        self.now.0 = start(self.config.init);
    }

    fn write(&self, store: &mut Store) {
        let [value, weight] = self.now.1.state();
        // It is infinite before a first observation that is trusted.
        let p = if self.now.0.is_finite() { [self.now.0, 1.0] } else { [0.0; 2] };
        store.put("covariance", &[p[0], p[1], value, weight]);
    }

    fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        let legal = [Legal::NotNegative, Legal::Unit, Legal::NotNegative, Legal::Unit];
        let [p, finite, value, weight] = state.numbers("covariance", legal)?;
        let p = if finite == 0.0 { f64::INFINITY } else { p };
        self.now = (p, self.now.1.restored([value, weight]));
        Ok(())
    }
}
