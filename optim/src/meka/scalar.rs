//! The covariance pI of the paper.

use osculate_engine::store::Store;
use osculate_engine::{Device, Func, In, Moments, Out, Program, Real, Request, Spec, dot, spec};

use super::config::{Direction, MekaConfig};
use super::model::{Filtered, Model, Seen, start};
use crate::base::finite_state;
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
    /// `((m, b, g), (k, p, 1/n)) -> (m, d)`, where b and g come as sums over the minibatch.
    update: Program<T, (Spec, Spec, Spec), (Spec, Spec, Spec), (Spec, Spec)>,
}

impl<T: Real> Scalar<T> {
    pub fn new(len: usize, config: &MekaConfig) -> Result<Scalar<T>> {
        let vector = || spec([len]);
        let adaptive = config.direction;
        let update = Func::<_, _, (Spec, Spec)>::trace_tree(
            (vector(), vector(), vector()),
            (spec([]), spec([]), spec([])),
            |_, (m, b, g), (gain, p, each)| {
                let predicted = m + each * b;
                let m = predicted + gain * (each * g - predicted);
                let d = match adaptive {
                    Direction::Mean => -m,
                    Direction::Adaptive { epsilon } => -m / ((m * m + p).sqrt() + epsilon),
                };
                (m, d)
            },
        )?;
        let now = (start(config.init), Smooth::new(config.gradient_decay));
        let update = update.compile(&Device::cpu())?;
        Ok(Scalar { config: *config, now, next: now, sigma: 0.0, zero: vec![T::zero(); len], update })
    }

    /// vᵀPv for a p, and vᵀQv where Q is measured along v.
    fn extent(&self, p: f64, v: &[T], moments: &Moments<T>, nu: f64) -> Result<[f64; 2]> {
        let squared = dot(v, v);
        if !self.config.directional {
            return Ok([p * squared, self.q(moments, nu)? * squared]);
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
        // Slopes along the direction come with gradients alone.
        if self.config.directional { Request { gradient: true, ..base }.and_inner() } else { base }
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
        let along = if seen.first { [0.0; 2] } else { self.extent(p, seen.delta, moments, seen.nu)? };
        let sigma = noise.add(self.sigma);
        let (gain, p) = kalman::update(p + q, sigma);
        let b = if seen.first { &self.zero } else { &moments.hvp()?.sum };
        let inputs = [
            In::Real(mean),
            In::Real(b),
            In::Real(&moments.gradient()?.sum),
            In::Real(&[T::narrow(gain)] as &[T]),
            In::Real(&[T::narrow(p)] as &[T]),
            In::Real(&[T::narrow(1.0 / moments.count() as f64)] as &[T]),
        ];
        self.update.run_flat(&inputs, &mut [Out::Real(next), Out::Real(direction)])?;
        self.next = (p, noise);
        Ok(Filtered { along, gain, p, sigma, q })
    }

    fn along(&mut self, d: &[T], moments: &Moments<T>, nu: f64) -> Result<[f64; 2]> {
        self.extent(self.next.0, d, moments, nu)
    }

    fn commit(&mut self) {
        self.now = self.next;
    }

    fn reset(&mut self) {
        self.now.0 = start(self.config.init);
    }

    fn save(&self, store: &mut Store) {
        let [value, weight] = self.now.1.state();
        store.put("covariance", &[self.now.0, value, weight]);
    }

    fn load(&mut self, store: &Store) -> Result<()> {
        let s = store.get::<f64>("covariance", 3)?;
        finite_state(!s[0].is_nan() && s[1..].iter().all(|x| x.is_finite()))?;
        self.now = (s[0], self.now.1.restored([s[1], s[2]]));
        Ok(())
    }
}
