//! AdaHessian: Adam whose second moments are of the Hessian's diagonal, estimated by one product with random signs a step.
//!
//! Z. Yao, A. Gholami, S. Shen, M. Mustafa, K. Keutzer, M. W. Mahoney, *AdaHessian: An Adaptive Second Order Optimizer for Machine
//! Learning*, 2021. With z of independent signs, whose z ⊙ Hz has the diagonal for its mean:
//!
//! ```text
//! h = |z ⊙ Hz|, averaged over the window of each of a two-dimensional convolution's kernels
//! m = β₁m + (1−β₁)g     v = β₂v + (1−β₂)h²     θ ← θ − η m̂/(√v̂ᵏ + ε)
//! ```
//!
//! Defaults, of the authors' code: η = 0.15, β = (0.9, 0.999), ε = 1e-4, k = 1. Signs are those of a counter: a resumed run draws the
//! same ones. Deviation: squares are of what can be squared, and sums within the type's numbers, as of [base directions](crate::base).

use osculate_engine::store::Store;
use osculate_engine::{Real, Size, finite, largest};

use crate::optimizer::{Undone, check_len, check_new, tried};
use crate::options::{Field, Legal, Options};
use crate::registry::Entry;
use crate::schedule::Pace;
use crate::state::{Kept, Reader, kept};
use crate::vectors::{Limits, Undo, Vectors, between, filled, held};
use crate::{Optimizer, Oracle, Report, Result, Schedule, Status};

/// Options of [`AdaHessian`]; the defaults are those of the authors' code.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// η, multiplied by the schedule's factor.
    pub rate: f64,
    /// Course of the learning rate.
    pub schedule: Schedule,
    /// β₁.
    pub momentum: f64,
    /// β₂.
    pub second: f64,
    /// ε.
    pub epsilon: f64,
    /// k, the power of the root.
    pub power: f64,
    /// Over what h is averaged: index of [`Config::BLOCKS`].
    pub block: usize,
    /// Seed of the signs.
    pub seed: u64,
}

impl Config {
    /// Names of what h is averaged over: nothing, or in arrays `[out, in, height, width]` the last two axes, as the authors' code has it.
    pub const BLOCKS: &[&str] = &["none", "spatial"];
    /// Nothing.
    pub const NONE: usize = 0;
    /// The window of kernels.
    pub const SPATIAL: usize = 1;
}

impl Default for Config {
    fn default() -> Config {
        Config {
            rate: 0.15,
            schedule: Schedule::default(),
            momentum: 0.9,
            second: 0.999,
            epsilon: 1e-4,
            power: 1.0,
            block: Config::SPATIAL,
            seed: 0,
        }
    }
}

impl Options for Config {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        see("rate", "learning rate", Field::Number(&mut self.rate, Legal::Positive));
        self.schedule.each(see);
        let about = "β₁, by which the average of gradients fades in a step";
        see("momentum", about, Field::Number(&mut self.momentum, Legal::Decay));
        let about = "β₂, by which the average of squared curvatures fades in a step";
        see("second", about, Field::Number(&mut self.second, Legal::Decay));
        see("epsilon", "ε, added to the root that is divided by", Field::Number(&mut self.epsilon, Legal::NotNegative));
        see("power", "k, the power of that root", Field::Number(&mut self.power, Legal::Part));
        let about =
            "over what curvatures are averaged: the window of two-dimensional convolutions' kernels, or nothing";
        see("block", about, Field::Choice(&mut self.block, Config::BLOCKS));
        see("seed", "seed of the random signs", Field::Count(&mut self.seed, Legal::NotNegative));
    }
}

/// AdaHessian, see the [module](self).
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{adahessian::Config, AdaHessian, Minibatches, Optimizer};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 4.0 * (w - x).square())?;
/// let data = Examples::new(spec([]), Array::new([1], vec![3.0])?)?.all()?;
/// let (mut w, config) = ([1.0], Config { rate: 1.0, epsilon: 1e-12, ..Config::default() });
/// AdaHessian::new(1, config)?.step(&mut w, &mut Minibatches::new(&loss, &Device::cpu()).on(&data))?;
/// assert!((w[0] - 3.0f64).abs() < 1e-9);     // Newton's step
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AdaHessian<T> {
    config: Config,
    pace: Pace,
    steps: u64,
    gradient: Vec<T>,
    signs: Vec<T>,
    /// Hz, then h.
    product: Vec<T>,
    /// m, a bound of it, and v.
    mean: Vec<T>,
    most: f64,
    squares: Vec<T>,
    rule: Vectors<T, 3, 2, 3>,
    undo: Undo<T>,
}

impl<T: Real> AdaHessian<T> {
    /// For `len` parameters.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(len: usize, config: Config) -> Result<AdaHessian<T>> {
        check_new::<T>(len, &config)?;
        let zeros = || filled(len, T::zero());
        let limits = Limits::of::<T>();
        let Config { momentum: b1, second: b2, power, .. } = config;
        let epsilon = config.epsilon.max(limits.least);
        Ok(AdaHessian {
            pace: Pace::new(config.schedule),
            steps: 0,
            gradient: zeros()?,
            signs: zeros()?,
            product: zeros()?,
            mean: zeros()?,
            most: 0.0,
            squares: zeros()?,
            rule: Vectors::new(move |[rate, first, second], [x, m, v], [g, h]| {
                let h = between(h, limits.squared);
                let (m, v) = (b1 * m + (1.0 - b1) * g, b2 * v + (1.0 - b2) * h * h);
                let root = (second * v).sqrt();
                let root = match power {
                    1.0 => root,
                    _ => (power * root.less(limits.least).select(limits.least, root).ln()).exp(),
                };
                [x - between(rate * first * m / (root + epsilon), limits.added), m, v]
            })?,
            config,
            undo: Undo::default(),
        })
    }
}

/// Independent signs, 64 of a hash.
fn draw<T: Real>(seed: u64, step: u64, signs: &mut [T]) {
    // SplitMix64 (Steele, Lea and Flood 2014).
    let mut state = seed ^ step.wrapping_add(1).wrapping_mul(0xd134_2543_de82_ef95);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = state;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    };
    let sign = |bit: bool| if bit { T::one() } else { -T::one() };
    let (whole, rest) = signs.as_chunks_mut::<64>();
    for chunk in whole {
        let bits = next();
        let (low, high) = chunk.split_at_mut(32);
        // Halves, whose masks are as wide as the numbers of f32.
        for (half, bits) in [(low, bits as u32), (high, (bits >> 32) as u32)] {
            // As many as the compiler knows that there are.
            for (at, to) in half.iter_mut().take(32).enumerate() {
                *to = sign(bits & (1 << at) != 0);
            }
        }
    }
    let bits = next();
    rest.iter_mut().enumerate().for_each(|(at, to)| *to = sign(bits >> at & 1 == 1));
}

impl<T: Real> AdaHessian<T> {
    /// One pass over all vectors; `most` bounds m then.
    fn walk(&mut self, params: &mut [T], loss: f64, rate: f64, most: f64) -> Result<Report> {
        let steps = self.steps + 1;
        let power = |decay: f64| 1.0 - decay.powf(steps as f64);
        let scalars = [rate, 1.0 / power(self.config.momentum), 1.0 / power(self.config.second)];
        let changed = [params, &mut self.mean, &mut self.squares];
        self.rule.run(scalars, changed, [&self.gradient, &self.product])?;
        self.pace.see(self.steps, loss);
        (self.steps, self.most) = (steps, most);
        Ok(Report::new(Status::Stepped, loss, rate))
    }
}

impl<T: Real> Optimizer<T> for AdaHessian<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.gradient.len(), params.len())?;
        let (loss, size) = oracle.checked_gradient(params, &mut self.gradient)?;
        draw(self.config.seed, self.steps, &mut self.signs);
        oracle.hvp(params, &self.signs, &mut self.product)?;
        if !size.is_finite() || !finite(&self.product) {
            return Ok(Report::not_finite(loss));
        }
        // Signs do not matter: |z ⊙ Hz| = |Hz|; what is squared need not be positive.
        let kernels = |rank: usize| self.config.block == Config::SPATIAL && rank == 4;
        for segment in oracle.layout().segments().iter().filter(|segment| kernels(segment.shape.len())) {
            let window: usize = segment.shape[2..].iter().product();
            for kernel in self.product[segment.range()].chunks_mut(window.max(1)) {
                let sum: f64 = kernel.iter().map(|&h| h.to_f64().abs()).sum();
                kernel.fill(T::from_f64(sum / window as f64));
            }
        }
        let rate = self.config.rate * self.pace.factor(self.steps);
        let (first, limits) = (1.0 - self.config.momentum.powf((self.steps + 1) as f64), Limits::of::<T>());
        // m' lies between m and g.
        let most = if size == Size::Moderate { T::MODERATE } else { largest(&self.gradient) }.max(self.most);
        let longest = 2.0 * rate / first * most / self.config.epsilon.max(limits.least);
        let safe = held::<T>(&[rate]) && longest < limits.step && most < limits.added[1];
        let kept = |this: &AdaHessian<T>| finite(&this.mean) && finite(&this.squares);
        tried(self, params, safe, |this, params| this.walk(params, loss, rate, most), kept)
    }

    kept!();
}

impl<T: Real> Undone<T> for AdaHessian<T> {
    type Numbers = (Pace, u64, f64);

    fn numbers(&self) -> Self::Numbers {
        (self.pace, self.steps, self.most)
    }

    fn set_numbers(&mut self, numbers: Self::Numbers) {
        (self.pace, self.steps, self.most) = numbers;
    }

    fn vectors(&mut self, see: &mut dyn FnMut(&mut [T])) {
        [&mut self.mean, &mut self.squares].into_iter().for_each(|vector| see(vector));
    }

    fn undo(&mut self) -> &mut Undo<T> {
        &mut self.undo
    }
}

impl<T: Real> Kept for AdaHessian<T> {
    const WHAT: &'static str = "osculate.adahessian";

    fn with_options<X>(&self, see: impl FnOnce(&mut dyn Options) -> X) -> X {
        see(&mut self.config.clone())
    }

    fn write(&self, store: &mut Store) {
        store.put("steps", &[self.steps as f64]);
        store.put("mean", &self.mean);
        store.put("squares", &self.squares);
        self.pace.write(store);
    }

    fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        self.steps = state.steps("steps")?;
        self.mean = state.vector("mean", self.mean.len(), Legal::Finite)?;
        self.squares = state.vector("squares", self.squares.len(), Legal::NotNegative)?;
        self.most = largest(&self.mean);
        self.pace.read(state)
    }
}

/// The optimizers of this file, for the registry.
pub(crate) fn entries<T: Real>() -> Vec<Entry<T>> {
    let about = "Adam with the Hessian's diagonal instead of squared gradients";
    vec![Entry::new("adahessian", about, Config::default(), |len, config| Ok(Box::new(AdaHessian::new(len, config)?)))]
}

#[cfg(test)]
mod tests {
    #[test]
    fn signs_are_even_and_differ_from_step_to_step() {
        let (mut a, mut b) = (vec![0.0f64; 10_000], vec![0.0f64; 10_000]);
        super::draw(0, 0, &mut a);
        super::draw(0, 1, &mut b);
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        assert!(a.iter().all(|s| s.abs() == 1.0));
        // Five standard deviations.
        for sum in [a.iter().sum::<f64>(), dot(&a, &b), dot(&a[1..], &a), dot(&a[64..], &a)] {
            assert!(sum.abs() < 500.0, "{sum}");
        }
    }

    #[test]
    fn signs_of_every_length_begin_alike() {
        let mut long = [0.0f32; 200];
        super::draw(3, 5, &mut long);
        // The bits of SplitMix64, lowest first.
        let mut state = 3 ^ 6u64.wrapping_mul(0xd134_2543_de82_ef95);
        for chunk in long.chunks(64) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let bits = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bits = bits ^ bits >> 31;
            assert!(chunk.iter().enumerate().all(|(at, &sign)| (sign == 1.0) == (bits >> at & 1 == 1)));
        }
        for len in [1, 63, 64, 65, 100, 128] {
            let mut short = vec![0.0f32; len];
            super::draw(3, 5, &mut short);
            assert_eq!(short, long[..len]);
        }
    }
}
