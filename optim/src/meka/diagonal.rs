//! A variance for every coordinate, from the second moments of gradients and products.
//!
//! They are formed in the type of the program: where a coordinate's mean is more than a thousand times its deviation, f32 leaves no digit.

use osculate_engine::store::Store;
use osculate_engine::{Device, Expr, Func, In, Moments, Out, Program, Real, Request, Spec, finite, spec};

use super::config::{Direction, Init, MekaConfig};
use super::model::{Filtered, Model, Seen};
use crate::Result;
use crate::base::finite_state;

/// m and d, P and Σ, and the means of the diagonals of K, P, Σ, Q.
type Filters = ((Spec, Spec), (Spec, Spec), Spec);

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
    update: Program<T, Spec, Vec<Spec>, Filters>,
    extent: Program<T, Spec, Vec<Spec>, Spec>,
}

/// What is left of a variance after rounding: not below 0.
fn positive(x: Expr<'_>) -> Expr<'_> {
    x.less(0.0).select(0.0, x)
}

impl<T: Real> Diagonal<T> {
    pub fn new(len: usize, config: &MekaConfig) -> Result<Diagonal<T>> {
        let beta = config.gradient_decay;
        let adaptive = config.direction;
        // The unbiased variance of the minibatch mean, from sums over examples; `c` is 1/((n − 1)ν).
        let update = Func::<_, _, Filters>::trace_tree(spec([4]), vec![spec([len]); 7], |tape, s, v| {
            let [m, b, g, bb, gg, p, sigma] = std::array::from_fn(|i| v[i]);
            let [each, c, debias, trust] = std::array::from_fn(|i| s.at(0, i));
            let q = c * positive(bb - each * b * b);
            let sigma = beta * sigma + (1.0 - beta) * c * positive(gg - each * g * g);
            let noise = debias * sigma;
            let predicted = p + q;
            let total = predicted + noise;
            // Nothing known, or nothing uncertain: the observation is trusted.
            let trusted = tape.lit(0.5).less(trust);
            let gain = tape.lit(0.0).less(total).select(predicted / total, 1.0);
            let gain = trusted.select(1.0, gain);
            let before = trusted.select(0.0, predicted);
            let p = (1.0 - gain).square() * before + gain * gain * noise;
            let moved = m + each * b;
            let m = moved + gain * (each * g - moved);
            let d = match adaptive {
                Direction::Mean => -m,
                Direction::Adaptive { epsilon } => -m / ((m * m + p).sqrt() + epsilon),
            };
            let means = tape.stack(&[gain.mean(), p.mean(), noise.mean(), q.mean()]);
            ((m, d), (p, sigma), means)
        })?;
        let extent = Func::trace(spec([2]), vec![spec([len]); 4], |tape, s, v| {
            let [p, along, b, bb] = std::array::from_fn(|i| v[i]);
            let q = s.at(0, 1) * positive(bb - s.at(0, 0) * b * b);
            let squared = along * along;
            tape.stack(&[(p * squared).sum(), (q * squared).sum()])
        })?;
        let vector = |value: f64| vec![T::narrow(value); len];
        let held = match config.init {
            Init::Diffuse(variance) => variance,
            Init::FirstObservation => 0.0, // trusted, whatever stands here
        };
        let device = Device::cpu();
        Ok(Diagonal {
            config: *config,
            now: [vector(held), vector(0.0)],
            next: [vector(held), vector(0.0)],
            weight: 0.0,
            zero: vector(0.0),
            update: update.wide(|path| path == "result.2")?.compile(&device)?,
            extent: extent.wide(|_| true)?.compile(&device)?,
        })
    }

    /// 1/n and 1/((n − 1)ν).
    fn scalars(moments: &Moments<T>, nu: f64) -> [f64; 2] {
        let n = moments.count() as f64;
        [1.0 / n, 1.0 / ((n - 1.0) * nu)]
    }

    fn extent(
        program: &mut Program<T, Spec, Vec<Spec>, Spec>,
        p: &[T],
        v: &[T],
        moments: &Moments<T>,
        nu: f64,
    ) -> Result<[f64; 2]> {
        let hvp = moments.hvp()?;
        let scalars = Self::scalars(moments, nu).map(T::narrow);
        let squares = hvp.elementwise.as_deref().unwrap_or(&[]);
        let inputs = [In::Real(&scalars), In::Real(p), In::Real(v), In::Real(&hvp.sum), In::Real(squares)];
        let mut both = [0.0; 2];
        program.run_flat(&inputs, &mut [Out::Wide(&mut both)])?;
        Ok(both)
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
                (&hvp.sum[..], hvp.elementwise.as_deref().unwrap_or(&[]))
            }
        };
        let along = match seen.first {
            true => [0.0; 2],
            false => Self::extent(&mut self.extent, &self.now[0], seen.delta, seen.moments, seen.nu)?,
        };
        let beta = self.config.gradient_decay;
        let weight = beta * self.weight + 1.0 - beta;
        let trust = seen.first && self.config.init == Init::FirstObservation;
        let [each, c] = Self::scalars(seen.moments, seen.nu);
        let scalars = [each, c, 1.0 / weight, f64::from(u8::from(trust))].map(T::narrow);
        let inputs = [
            In::Real(&scalars),
            In::Real(mean),
            In::Real(b),
            In::Real(&gradient.sum),
            In::Real(bb),
            In::Real(gradient.elementwise.as_deref().unwrap_or(&[])),
            In::Real(&self.now[0]),
            In::Real(&self.now[1]),
        ];
        let [p, sigma] = &mut self.next;
        let mut means = [0.0; 4];
        let mut outputs =
            [Out::Real(next), Out::Real(direction), Out::Real(p), Out::Real(sigma), Out::Wide(&mut means)];
        self.update.run_flat(&inputs, &mut outputs)?;
        let [gain, p, sigma, q] = means;
        Ok(Filtered { along, gain, p, sigma, q })
    }

    fn along(&mut self, d: &[T], moments: &Moments<T>, nu: f64) -> Result<[f64; 2]> {
        Self::extent(&mut self.extent, &self.next[0], d, moments, nu)
    }

    fn commit(&mut self) {
        std::mem::swap(&mut self.now, &mut self.next);
        let beta = self.config.gradient_decay;
        self.weight = beta * self.weight + 1.0 - beta;
    }

    fn reset(&mut self) {
        if let Init::Diffuse(variance) = self.config.init {
            self.now[0].fill(T::narrow(variance));
        }
    }

    fn save(&self, store: &mut Store) {
        store.put("covariance", &[self.weight]);
        store.put("covariance.p", &self.now[0]);
        store.put("covariance.sigma", &self.now[1]);
    }

    fn load(&mut self, store: &Store) -> Result<()> {
        let weight = store.get::<f64>("covariance", 1)?[0];
        let len = self.zero.len();
        let now: [Vec<T>; 2] = [store.get("covariance.p", len)?, store.get("covariance.sigma", len)?];
        finite_state(weight.is_finite() && now.iter().all(|vector| finite(vector)))?;
        (self.weight, self.now) = (weight, now);
        Ok(())
    }
}
