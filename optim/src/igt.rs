//! Implicit gradient transport: an average of gradients that is as if all were taken at the same point.
//!
//! S. M. R. Arnold, P.-A. Manzagol, R. Babanezhad, I. Mitliagkas, N. Le Roux, *Reducing the variance in online optimization by
//! transporting past gradients*, 2019. With t counted from 0:
//!
//! ```text
//! γ = t/(t + δ)                                       anytime: ITA has c t/(1 + c t) (1 − √((1 − c)/(t(t + 1)))/c), 0 for t < 2
//! g at θ + γ/(1 − γ) (θ − θ₋)        v ← γv + (1 − γ)g        θ ← θ − η W v
//! ```
//!
//! W is any [base direction](crate::base): SGD's, heavy-ball momentum's or Adam's in the paper. Defaults: δ = 1, c = ½. Deviation: ITA's γ,
//! negative in early steps where c < ½, is 0 there.

use osculate_engine::store::Store;
use osculate_engine::{Real, Size};

use crate::base::Base;
use crate::optimizer::{check_len, check_new};
use crate::options::{Field, Legal, Options};
use crate::registry::Entry;
use crate::schedule::Pace;
use crate::state::{Kept, Reader, kept};
use crate::vectors::{Limits, Vectors, between, filled};
use crate::worker::{Form, Use, Worker};
use crate::{Optimizer, Oracle, Report, Result, Schedule, Status};

/// Options of [`Igt`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// η, multiplied by the schedule's factor.
    pub rate: f64,
    /// Direction of the transported average.
    pub base: Base,
    /// Course of the learning rate.
    pub schedule: Schedule,
    /// δ.
    pub delta: f64,
    /// c of anytime tail averaging (ITA), in (0, 1], instead of δ.
    pub tail: Option<f64>,
}

impl Config {
    /// IGT's average stepped along.
    pub fn sgd() -> Config {
        Config { rate: 0.1, base: Base::sgd(), schedule: Schedule::default(), delta: 1.0, tail: None }
    }

    /// The anytime average, c = ½.
    pub fn tail() -> Config {
        Config { tail: Some(0.5), ..Config::sgd() }
    }

    /// γ, 1 − γ and γ/(1 − γ) at a step.
    fn weights(&self, step: u64) -> [f64; 3] {
        let t = step as f64;
        match self.tail {
            // 1 − γ would be 0 where δ is small beside t.
            None => [t / (t + self.delta), self.delta / (t + self.delta), t / self.delta],
            Some(_) if step < 2 => [0.0, 1.0, 0.0],
            Some(c) => {
                let weight = (c * t / (1.0 + c * t) * (1.0 - ((1.0 - c) / (t * (t + 1.0))).sqrt() / c)).max(0.0);
                [weight, 1.0 - weight, weight / (1.0 - weight)]
            }
        }
    }
}

impl Options for Config {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        see("rate", "learning rate", Field::Number(&mut self.rate, Legal::Positive));
        self.base.each(see);
        self.schedule.each(see);
        if self.tail.is_none() {
            let about = "δ of γ = t/(t + δ): how soon past gradients weigh more than new ones";
            see("delta", about, Field::Number(&mut self.delta, Legal::Positive));
        }
        let about = "c of an anytime tail average over the last part c of all steps, instead of δ";
        see("tail", about, Field::Maybe(&mut self.tail, Legal::Part));
    }
}

/// IGT, see the [module](self).
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{igt::Config, Igt, Minibatches, Optimizer};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// let data = Examples::new(spec([]), Array::new([2], vec![1.0, 3.0])?)?.all()?;
/// let (mut w, mut igt) = ([0.0], Igt::new(1, Config::sgd())?);
/// igt.step(&mut w, &mut Minibatches::new(&loss, &Device::cpu()).on(&data))?;
/// assert_eq!(w, [0.2]);
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Igt<T> {
    config: Config,
    pace: Pace,
    gradient: Vec<T>,
    /// v, and how large gradients in it were.
    average: Vec<T>,
    size: Size,
    /// θ₋.
    before: Vec<T>,
    shifted: Vec<T>,
    worker: Worker<T>,
    /// θ + f(θ − θ₋).
    shift: Vectors<T, 1, 2, 1>,
    /// γv + (1 − γ)g and a copy of θ.
    mix: Vectors<T, 2, 2, 2>,
}

impl<T: Real> Igt<T> {
    /// For `len` parameters.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(len: usize, config: Config) -> Result<Igt<T>> {
        check_new::<T>(len, &config)?;
        let zeros = || filled(len, T::zero());
        let limits = Limits::of::<T>();
        Ok(Igt {
            pace: Pace::new(config.schedule),
            gradient: zeros()?,
            average: zeros()?,
            size: Size::Moderate,
            before: zeros()?,
            shifted: zeros()?,
            worker: Worker::new(config.base, Form::Step, len)?,
            shift: Vectors::new(|[factor], [_], [x, before]| [x + factor * (x - before)])?,
            // A mean of what is finite is, but for its last digit.
            mix: Vectors::new(move |[old, new], [g, _], [v, x]| [between(old * v + new * g, limits.added), x])?,
            config,
        })
    }
}

impl<T: Real> Optimizer<T> for Igt<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.gradient.len(), params.len())?;
        let steps = self.worker.steps();
        let [weight, new, factor] = self.config.weights(steps);
        // An infinity times no way at all is no number.
        let factor = factor.min(Limits::of::<T>().added[1]);
        self.shift.run([factor], [&mut self.shifted], [params, &self.before])?;
        let (loss, size) = oracle.checked_gradient(&self.shifted, &mut self.gradient)?;
        if !size.is_finite() {
            return Ok(Report::not_finite(loss));
        }
        let changed = [&mut self.gradient[..], &mut self.shifted];
        self.mix.run([weight, new], changed, [&self.average, params])?;
        let rate = self.config.rate * self.pace.factor(steps);
        // An average of moderate vectors is moderate, of others at least finite.
        let size = size.max(self.size);
        if self.worker.run(params, &self.gradient, size, Use::scaled(-rate))?.is_none() {
            return Ok(Report::not_finite(loss));
        }
        self.size = size;
        self.pace.see(steps, loss);
        std::mem::swap(&mut self.average, &mut self.gradient);
        std::mem::swap(&mut self.before, &mut self.shifted);
        Ok(Report { gain: Some(new), ..Report::new(Status::Stepped, loss, rate) })
    }

    kept!();
}

impl<T: Real> Kept for Igt<T> {
    const WHAT: &'static str = "osculate.igt";

    fn with_options<R>(&self, see: impl FnOnce(&mut dyn Options) -> R) -> R {
        see(&mut self.config.clone())
    }

    fn write(&self, store: &mut Store) {
        store.put("average", &self.average);
        store.put("before", &self.before);
        self.worker.write(store);
        self.pace.write(store);
    }

    fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        self.average = state.vector("average", self.average.len(), Legal::Finite)?;
        self.size = Size::of(&self.average);
        self.before = state.vector("before", self.before.len(), Legal::Finite)?;
        self.worker.read(state)?;
        self.pace.read(state)
    }
}

/// The optimizers of this file, for the registry.
pub(crate) fn entries<T: Real>() -> Vec<Entry<T>> {
    let entry =
        |name, about, config| Entry::new(name, about, config, |len, config| Ok(Box::new(Igt::new(len, config)?)));
    let along = |base: Base, rate: f64| Config { base, rate, ..Config::sgd() };
    vec![
        entry("igt", "SGD along gradients that are transported to where the parameters are", Config::sgd()),
        entry("igt-momentum", "heavy-ball momentum along them", along(Base::momentum(), 0.01)),
        entry("igt-adam", "Adam along them", along(Base::adam(), 1e-3)),
        entry("igt-tail", "SGD along an anytime tail average of them", Config::tail()),
    ]
}
