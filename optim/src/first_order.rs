//! Optimizers with a learning rate: a [base direction](crate::base), a [schedule](Schedule), clipping and weight decay.
//!
//! ```text
//! g ← g · min(1, c/‖g‖) + λθ          θ ← θ − η_t W g           decay in the loss (L2)
//! g ← g · min(1, c/‖g‖)               θ ← (1 − η_t λ)θ − η_t W g   decoupled (Loshchilov and Hutter 2019)
//! ```
//!
//! All in the forms of PyTorch, λ for all parameters alike; a decay of some belongs in the loss. The defaults are its too (momentum's and
//! Nesterov's β₁ = 0.9), but for η = 0.1 of SGD and 0.01 of both, where it has none or 0.001 by version, and Adadelta's β₂ = 0.95 and
//! ε = 1e-6, which are its paper's.

use osculate_engine::store::Store;
use osculate_engine::{Real, dot};

use crate::base::Base;
use crate::optimizer::{check_len, check_new};
use crate::options::{Field, Legal, Options};
use crate::registry::Entry;
use crate::schedule::Pace;
use crate::state::{Kept, Reader, kept};
use crate::vectors::filled;
use crate::worker::{Form, Use, Worker};

use crate::{Optimizer, Oracle, Report, Result, Schedule, Status};

/// Options of [`FirstOrder`].
///
/// ```
/// use osculate_optim::first_order::Config;
/// let adamw = Config { rate: 3e-4, clip: Some(1.0), ..Config::adamw() };
/// assert!(adamw.decoupled && adamw.weight_decay == 0.01);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Learning rate η, multiplied by the schedule's factor.
    pub rate: f64,
    /// Direction.
    pub base: Base,
    /// Course of the learning rate.
    pub schedule: Schedule,
    /// λ.
    pub weight_decay: f64,
    /// Whether the decay bypasses the direction.
    pub decoupled: bool,
    /// Largest norm of the gradient, if any; longer ones are shortened to it.
    pub clip: Option<f64>,
}

impl Config {
    /// A direction with a learning rate, nothing else.
    pub fn of(base: Base, rate: f64) -> Config {
        Config { rate, base, schedule: Schedule::default(), weight_decay: 0.0, decoupled: false, clip: None }
    }

    /// Stochastic gradient descent, η = 0.1.
    pub fn sgd() -> Config {
        Config::of(Base::sgd(), 0.1)
    }

    /// AdamW: Adam with η = 0.001 and a decoupled decay of 0.01.
    pub fn adamw() -> Config {
        Config { weight_decay: 0.01, decoupled: true, ..Config::of(Base::adam(), 1e-3) }
    }
}

impl Options for Config {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        see("rate", "learning rate", Field::Number(&mut self.rate, Legal::Positive));
        self.base.each(see);
        self.schedule.each(see);
        let about = "λ of a decay of all parameters";
        see("weight-decay", about, Field::Number(&mut self.weight_decay, Legal::NotNegative));
        if self.weight_decay > 0.0 {
            let about = "whether the decay bypasses the direction (AdamW) instead of being added to the gradient";
            see("decoupled", about, Field::Flag(&mut self.decoupled));
        }
        let about = "largest norm of the gradient: longer ones are shortened to it";
        see("clip", about, Field::Maybe(&mut self.clip, Legal::Positive));
    }
}

/// An optimizer with a learning rate, see the [module](self).
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{first_order::Config, FirstOrder, Minibatches, Optimizer};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// let data = Examples::new(spec([]), Array::new([2], vec![1.0, 3.0])?)?.all()?;
/// let mut oracles = Minibatches::new(&loss, &Device::cpu());
/// let mut w = [0.0];
/// FirstOrder::new(1, Config::sgd())?.step(&mut w, &mut oracles.on(&data))?;
/// assert_eq!(w, [0.2]);
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FirstOrder<T> {
    config: Config,
    pace: Pace,
    gradient: Vec<T>,
    worker: Worker<T>,
}

impl<T: Real> FirstOrder<T> {
    /// For `len` parameters.
    ///
    /// # Errors
    /// Options out of range; no room for so many parameters.
    pub fn new(len: usize, config: Config) -> Result<FirstOrder<T>> {
        check_new::<T>(len, &config)?;
        let plain = config.weight_decay == 0.0 && config.clip.is_none();
        let form = if plain { Form::Step } else { Form::Decayed };
        Ok(FirstOrder {
            pace: Pace::new(config.schedule),
            gradient: filled(len, T::zero())?,
            worker: Worker::new(config.base, form, len)?,
            config,
        })
    }
}

impl<T: Real> Optimizer<T> for FirstOrder<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.gradient.len(), params.len())?;
        let (loss, size) = oracle.checked_gradient(params, &mut self.gradient)?;
        let norm = self.config.clip.map(|clip| (clip, dot(&self.gradient, &self.gradient).sqrt()));
        let clip = norm.map_or(1.0, |(clip, norm)| if norm > clip { clip / norm } else { 1.0 });
        // A norm that overflows would stop everything silently.
        if !size.is_finite() || norm.is_some_and(|(_, norm)| !norm.is_finite()) {
            return Ok(Report::not_finite(loss));
        }
        let Config { weight_decay, decoupled, .. } = self.config;
        let steps = self.worker.steps();
        let rate = self.config.rate * self.pace.factor(steps);
        let (shrink, decay) = if decoupled { (rate * weight_decay, 0.0) } else { (0.0, weight_decay) };
        let with = Use { keep: 1.0 - shrink, scale: -rate, clip, decay };
        if self.worker.run(params, &self.gradient, size, with)?.is_none() {
            return Ok(Report::not_finite(loss));
        }
        self.pace.see(steps, loss);
        Ok(Report::new(Status::Stepped, loss, rate))
    }

    kept!();
}

impl<T: Real> Kept for FirstOrder<T> {
    const WHAT: &'static str = "osculate.first_order";

    fn with_options<R>(&self, see: impl FnOnce(&mut dyn Options) -> R) -> R {
        see(&mut self.config.clone())
    }

    fn write(&self, store: &mut Store) {
        self.worker.write(store);
        self.pace.write(store);
    }

    fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        self.worker.read(state)?;
        self.pace.read(state)
    }
}

/// The optimizers of this file, for the registry.
pub(crate) fn entries<T: Real>() -> Vec<Entry<T>> {
    let entry = |name, about, config| {
        Entry::new(name, about, config, |len, config| Ok(Box::new(FirstOrder::new(len, config)?)))
    };
    vec![
        entry("sgd", "stochastic gradient descent", Config::sgd()),
        entry("momentum", "heavy-ball momentum", Config::of(Base::momentum(), 0.01)),
        entry("nesterov", "Nesterov's momentum", Config::of(Base::nesterov(), 0.01)),
        entry("adam", "Adam", Config::of(Base::adam(), 1e-3)),
        entry("adamw", "Adam with decoupled weight decay", Config::adamw()),
        entry("nadam", "Adam with Nesterov's momentum", Config::of(Base::nadam(), 2e-3)),
        entry("adagrad", "Adagrad", Config::of(Base::adagrad(), 0.01)),
        entry("rmsprop", "RMSprop", Config::of(Base::rmsprop(), 0.01)),
        entry("adadelta", "Adadelta", Config::of(Base::adadelta(), 1.0)),
    ]
}
