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

use crate::base::{Base, Form, Use, Worker};
use crate::error::{not_negative, positive};
use crate::optimizer::{check_len, check_new};
use crate::options::{self, Field, Options};
use crate::registry::Entry;

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
    fn each(&mut self, see: &mut dyn FnMut(&'static str, Field<'_>)) {
        see("rate", Field::Number(&mut self.rate));
        self.base.each(see);
        self.schedule.each(see);
        see("weight-decay", Field::Number(&mut self.weight_decay));
        see("decoupled", Field::Flag(&mut self.decoupled));
        see("clip", Field::Maybe(&mut self.clip));
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
    gradient: Vec<T>,
    worker: Worker<T>,
}

impl<T: Real> FirstOrder<T> {
    /// For `len` parameters.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(len: usize, config: Config) -> Result<FirstOrder<T>> {
        check_new::<T>(len, &config)?;
        positive("rate", config.rate)?;
        config.schedule.check()?;
        not_negative("weight-decay", config.weight_decay)?;
        if let Some(clip) = config.clip {
            positive("clip", clip)?;
        }
        let plain = config.weight_decay == 0.0 && config.clip.is_none();
        let form = if plain { Form::Step } else { Form::Decayed };
        Ok(FirstOrder { config, gradient: vec![T::zero(); len], worker: Worker::new(config.base, form, len)? })
    }
}

impl<T: Real> Optimizer<T> for FirstOrder<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.gradient.len(), params.len())?;
        let (loss, finite) = oracle.checked_gradient(params, &mut self.gradient)?;
        let norm = self.config.clip.map(|clip| (clip, dot(&self.gradient, &self.gradient).sqrt()));
        let clip = norm.map_or(1.0, |(clip, norm)| if norm > clip { clip / norm } else { 1.0 });
        // A norm that overflows would stop everything silently.
        if !finite || norm.is_some_and(|(_, norm)| !norm.is_finite()) {
            return Ok(Report::new(Status::NonFinite, loss, 0.0));
        }
        let Config { weight_decay, decoupled, .. } = self.config;
        let rate = self.config.rate * self.config.schedule.factor(self.worker.steps());
        let (shrink, decay) = if decoupled { (rate * weight_decay, 0.0) } else { (0.0, weight_decay) };
        let with = Use { keep: 1.0 - shrink, scale: -rate, clip, decay };
        self.worker.run(params, &self.gradient, with)?;
        Ok(Report::new(Status::Stepped, loss, rate))
    }

    fn save(&self) -> Store {
        let mut store = Store::new("osculate.first_order");
        options::save(&mut self.config.clone(), &mut store);
        self.worker.save(&mut store);
        store
    }

    fn load(&mut self, state: &Store) -> Result<()> {
        state.must_be("osculate.first_order")?;
        options::check(&mut self.config.clone(), state)?;
        self.worker.load(state)
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
        entry("adagrad", "Adagrad", Config::of(Base::adagrad(), 0.01)),
        entry("rmsprop", "RMSprop", Config::of(Base::rmsprop(), 0.01)),
        entry("adadelta", "Adadelta", Config::of(Base::adadelta(), 1.0)),
    ]
}
