//! SVRG: gradients whose noise vanishes with the distance to a point where the gradient of all the data is known.
//!
//! R. Johnson, T. Zhang, *Accelerating stochastic gradient descent using predictive variance reduction*, 2013. Every m steps s = θ and
//! μ = ∇L(s) over all the data; then, with the same minibatch in both gradients,
//!
//! ```text
//! v = g(θ) − g(s) + μ        θ ← θ − η W v
//! ```
//!
//! W is any [base direction](crate::base), SGD's in the paper. Defaults: η = 0.1, m = 100; s is the last θ of the steps before (the
//! paper's option I), where the paper's analysis takes a random one. The oracle must know the data: `oracles.on(&batch).of(&all)`.

use osculate_engine::store::Store;
use osculate_engine::{Real, Size, finite};

use crate::base::Base;
use crate::optimizer::{check_len, check_new};
use crate::options::{Field, Legal, Options};
use crate::registry::Entry;
use crate::schedule::Pace;
use crate::state::{Kept, Reader, kept};
use crate::vectors::{Vectors, filled};
use crate::worker::{Form, Use, Worker};
use crate::{Optimizer, Oracle, Report, Result, Schedule, Status};

/// Options of [`Svrg`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// η, multiplied by the schedule's factor.
    pub rate: f64,
    /// Direction of the corrected gradient.
    pub base: Base,
    /// Course of the learning rate.
    pub schedule: Schedule,
    /// m, steps between two looks at all the data.
    pub every: u64,
}

impl Default for Config {
    /// SGD's η = 0.1, m = 100.
    fn default() -> Config {
        Config { rate: 0.1, base: Base::sgd(), schedule: Schedule::default(), every: 100 }
    }
}

impl Options for Config {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        see("rate", "learning rate", Field::Number(&mut self.rate, Legal::Positive));
        self.base.each(see);
        self.schedule.each(see);
        see("every", "steps between two looks at all the data", Field::Count(&mut self.every, Legal::Positive));
    }
}

/// SVRG, see the [module](self).
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{svrg::Config, Minibatches, Optimizer, Svrg};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// let examples = Examples::new(spec([]), Array::new([2], vec![1.0, 3.0])?)?;
/// let (all, mut one) = (examples.all()?, Default::default());
/// let mut oracles = Minibatches::new(&loss, &Device::cpu());
/// let (mut w, mut svrg) = ([0.0], Svrg::new(1, Config::default())?);
/// for row in [0, 1, 1, 0] {
///     examples.gather(&[row], &mut one)?;
///     svrg.step(&mut w, &mut oracles.on(&one).of(&all))?;
/// }
/// assert!((w[0] - 2.0 * (1.0 - 0.9f64.powi(4))).abs() < 1e-15);     // the way of the whole data's gradient
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Svrg<T> {
    config: Config,
    pace: Pace,
    gradient: Vec<T>,
    /// g(s) of the minibatch, or of all the data.
    there: Vec<T>,
    /// s and μ.
    snapshot: Vec<T>,
    mean: Vec<T>,
    /// The next s.
    started: Vec<T>,
    worker: Worker<T>,
    /// g − 1·g(s) + μ.
    correct: Vectors<T, 1, 2, 1>,
}

impl<T: Real> Svrg<T> {
    /// For `len` parameters.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(len: usize, config: Config) -> Result<Svrg<T>> {
        check_new::<T>(len, &config)?;
        let zeros = || filled(len, T::zero());
        Ok(Svrg {
            pace: Pace::new(config.schedule),
            gradient: zeros()?,
            there: zeros()?,
            snapshot: zeros()?,
            mean: zeros()?,
            started: zeros()?,
            worker: Worker::new(config.base, Form::Step, len)?,
            correct: Vectors::new(|[one], [g], [there, mean]| [g - one * there + mean])?,
            config,
        })
    }
}

impl<T: Real> Optimizer<T> for Svrg<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.gradient.len(), params.len())?;
        let steps = self.worker.steps();
        let (loss, size) = oracle.checked_gradient(params, &mut self.gradient)?;
        // All the data are not looked at for a step that cannot be taken.
        if !size.is_finite() {
            return Ok(Report::not_finite(loss));
        }
        let look = steps.is_multiple_of(self.config.every);
        match look {
            true => oracle.whole_gradient(params, &mut self.there)?,
            false => oracle.gradient(&self.snapshot, &mut self.there)?,
        };
        if !finite(&self.there) {
            return Ok(Report::not_finite(loss));
        }
        if look {
            // Here g(θ) = g(s).
            self.started.copy_from_slice(params);
            self.gradient.copy_from_slice(&self.there);
        } else {
            self.correct.run([1.0], [&mut self.gradient], [&self.there, &self.mean])?;
        }
        let rate = self.config.rate * self.pace.factor(steps);
        // Sums of what is finite need not be.
        let size = Size::of(&self.gradient);
        if !size.is_finite() || self.worker.run(params, &self.gradient, size, Use::scaled(-rate))?.is_none() {
            return Ok(Report::not_finite(loss));
        }
        if look {
            std::mem::swap(&mut self.snapshot, &mut self.started);
            std::mem::swap(&mut self.mean, &mut self.there);
        }
        self.pace.see(steps, loss);
        Ok(Report::new(Status::Stepped, loss, rate))
    }

    kept!();
}

impl<T: Real> Kept for Svrg<T> {
    const WHAT: &'static str = "osculate.svrg";

    fn with_options<R>(&self, see: impl FnOnce(&mut dyn Options) -> R) -> R {
        see(&mut self.config.clone())
    }

    fn write(&self, store: &mut Store) {
        store.put("snapshot", &self.snapshot);
        store.put("mean", &self.mean);
        self.worker.write(store);
        self.pace.write(store);
    }

    fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        self.snapshot = state.vector("snapshot", self.snapshot.len(), Legal::Finite)?;
        self.mean = state.vector("mean", self.mean.len(), Legal::Finite)?;
        self.worker.read(state)?;
        self.pace.read(state)
    }
}

/// The optimizers of this file, for the registry.
pub(crate) fn entries<T: Real>() -> Vec<Entry<T>> {
    let about = "SGD with gradients corrected by those at a point where all the data were looked at";
    vec![Entry::new("svrg", about, Config::default(), |len, config| Ok(Box::new(Svrg::new(len, config)?)))]
}
