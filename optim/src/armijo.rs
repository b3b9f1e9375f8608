//! A line search on each minibatch: the step is shortened until the loss has gone down as far as a line with part of the slope.
//!
//! S. Vaswani, A. Mishkin, I. Laradji, M. Schmidt, G. Gidel, S. Lacoste-Julien, *Painless Stochastic Gradient: Interpolation,
//! Line-Search, and Convergence Rates*, 2019. With the losses of one minibatch:
//!
//! ```text
//! η ← min(γ^(1/steps of an epoch) η, η_max);   while f(θ − ηg) > f − cη‖g‖²: η ← βη;   θ ← θ − ηg
//! ```
//!
//! Defaults, of the authors' code: η = 1 at first, c = 0.1, β = 0.9, γ = 2, η_max = 10, at most 100 trials a step. Deviation: where none of
//! these goes down, no step is taken (the code takes one of 1e-6).

use osculate_engine::store::Store;
use osculate_engine::{Real, dot};

use crate::optimizer::{check_len, check_new};
use crate::options::{Field, Legal, Options};
use crate::registry::Entry;
use crate::state::{Kept, Reader, kept};
use crate::vectors::{Limits, Vectors, filled};
use crate::{Optimizer, Oracle, Report, Result, Status};

/// Options of [`Armijo`]; the defaults are those of the authors' code.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// First η.
    pub rate: f64,
    /// c.
    pub part: f64,
    /// β.
    pub shrink: f64,
    /// γ.
    pub growth: f64,
    /// Steps of an epoch.
    pub epoch: u64,
    /// η_max.
    pub most: f64,
    /// Most losses looked at in a step.
    pub trials: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config { rate: 1.0, part: 0.1, shrink: 0.9, growth: 2.0, epoch: 100, most: 10.0, trials: 100 }
    }
}

impl Options for Config {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        see("rate", "first rate", Field::Number(&mut self.rate, Legal::Positive));
        let about = "c, the part of the slope that the loss must have gone down";
        see("part", about, Field::Number(&mut self.part, Legal::Inside));
        let about = "β, by which a rate that is too long is shortened";
        see("shrink", about, Field::Number(&mut self.shrink, Legal::Inside));
        see("growth", "γ, how much the rate grows in an epoch", Field::Number(&mut self.growth, Legal::AtLeastOne));
        see("epoch", "steps of an epoch", Field::Count(&mut self.epoch, Legal::Positive));
        see("most", "largest rate", Field::Number(&mut self.most, Legal::Positive));
        see("trials", "most losses looked at in a step", Field::Count(&mut self.trials, Legal::Positive));
    }
}

/// SGD with a line search on each minibatch, see the [module](self).
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{armijo::Config, Armijo, Minibatches, Optimizer};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 50.0 * (w - x).square())?;
/// let data = Examples::new(spec([]), Array::new([1], vec![3.0])?)?.all()?;
/// let (mut w, mut armijo) = ([1.0], Armijo::new(1, Config::default())?);
/// let report = armijo.step(&mut w, &mut Minibatches::new(&loss, &Device::cpu()).on(&data))?;
/// assert!(report.step < 0.02 && (w[0] - 3.0f64).abs() < 2.0);     // η h < 2(1 − c) with h = 100
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Armijo<T> {
    config: Config,
    rate: f64,
    gradient: Vec<T>,
    trial: Vec<T>,
    advance: Vectors<T, 1, 2, 1>,
    accept: Vectors<T, 1, 1, 1>,
}

impl<T: Real> Armijo<T> {
    /// For `len` parameters.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(len: usize, config: Config) -> Result<Armijo<T>> {
        check_new::<T>(len, &config)?;
        Ok(Armijo {
            rate: config.rate,
            gradient: filled(len, T::zero())?,
            trial: filled(len, T::zero())?,
            advance: Vectors::new(|[rate], [_], [x, g]| [x - rate * g])?,
            accept: Vectors::new(|[rate], [x], [g]| [x - rate * g])?,
            config,
        })
    }
}

impl<T: Real> Optimizer<T> for Armijo<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.gradient.len(), params.len())?;
        let (loss, size) = oracle.checked_gradient(params, &mut self.gradient)?;
        let squared = dot(&self.gradient, &self.gradient);
        if !size.is_finite() || !squared.is_finite() {
            return Ok(Report::not_finite(loss));
        }
        let length = squared.sqrt();
        let mut rate = (self.rate * self.config.growth.powf(1.0 / self.config.epoch as f64)).min(self.config.most);
        for _ in 0..self.config.trials {
            // A rate that is 0 among the type's numbers goes nowhere, and nothing grows from 0.
            if T::from_f64(rate) <= T::zero() {
                break;
            }
            // What is too long for the type is too long.
            if rate * length >= Limits::of::<T>().step {
                rate *= self.config.shrink;
                continue;
            }
            self.advance.run([rate], [&mut self.trial], [params, &self.gradient])?;
            let after = oracle.loss(&self.trial)?;
            // A loss that is not a number is no descent.
            if after <= loss - self.config.part * rate * squared {
                // The trial's very digits, for no more than a copy of it.
                self.accept.run([rate], [params], [&self.gradient])?;
                self.rate = rate;
                let ratio = (squared > 0.0).then(|| (loss - after) / (rate * squared));
                return Ok(Report { ratio, ..Report::new(Status::Stepped, loss, rate) });
            }
            rate *= self.config.shrink;
        }
        Ok(Report::new(Status::NoDescent, loss, 0.0))
    }

    kept!();
}

impl<T: Real> Kept for Armijo<T> {
    const WHAT: &'static str = "osculate.armijo";
    const STARTS: &'static [&'static str] = &["rate"];

    fn with_options<X>(&self, see: impl FnOnce(&mut dyn Options) -> X) -> X {
        see(&mut self.config.clone())
    }

    fn write(&self, store: &mut Store) {
        store.put("rate", &[self.rate]);
    }

    fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        [self.rate] = state.numbers("rate", [Legal::Positive])?;
        Ok(())
    }
}

/// The optimizers of this file, for the registry.
pub(crate) fn entries<T: Real>() -> Vec<Entry<T>> {
    let about = "SGD with a line search on each minibatch: no learning rate";
    vec![Entry::new("armijo", about, Config::default(), |len, config| Ok(Box::new(Armijo::new(len, config)?)))]
}
