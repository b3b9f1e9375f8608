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
use osculate_engine::{Real, finite};

use crate::base::{Base, Form, Use, Worker, finite_state};
use crate::error::positive;
use crate::optimizer::{check_len, check_new};
use crate::options::{self, Field, Options};
use crate::registry::Entry;
use crate::vectors::{Limits, Vectors, between};
use crate::{Error, Optimizer, Oracle, Report, Result, Schedule, Status};

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

    /// γ at a step.
    fn weight(&self, step: u64) -> f64 {
        let t = step as f64;
        match self.tail {
            None => t / (t + self.delta),
            Some(_) if step < 2 => 0.0,
            Some(c) => (c * t / (1.0 + c * t) * (1.0 - ((1.0 - c) / (t * (t + 1.0))).sqrt() / c)).max(0.0),
        }
    }
}

impl Options for Config {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, Field<'_>)) {
        see("rate", Field::Number(&mut self.rate));
        self.base.each(see);
        self.schedule.each(see);
        see("delta", Field::Number(&mut self.delta));
        see("tail", Field::Maybe(&mut self.tail));
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
    gradient: Vec<T>,
    /// v.
    average: Vec<T>,
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
        positive("rate", config.rate)?;
        positive("delta", config.delta)?;
        config.schedule.check()?;
        if let Some(value) = config.tail.filter(|c| !(*c > 0.0 && *c <= 1.0)) {
            return Err(Error::Option { option: "tail", value, why: "a number in (0, 1] is wanted" });
        }
        let zeros = || vec![T::zero(); len];
        let limits = Limits::of::<T>();
        Ok(Igt {
            gradient: zeros(),
            average: zeros(),
            before: zeros(),
            shifted: zeros(),
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
        let weight = self.config.weight(steps);
        let factor = if steps == 0 { 0.0 } else { weight / (1.0 - weight) };
        self.shift.run([factor], [&mut self.shifted], [params, &self.before])?;
        let (loss, known) = oracle.checked_gradient(&self.shifted, &mut self.gradient)?;
        if !known {
            return Ok(Report::new(Status::NonFinite, loss, 0.0));
        }
        let changed = [&mut self.gradient[..], &mut self.shifted];
        self.mix.run([weight, 1.0 - weight], changed, [&self.average, params])?;
        let rate = self.config.rate * self.config.schedule.factor(steps);
        self.worker.run(params, &self.gradient, Use::scaled(-rate))?;
        std::mem::swap(&mut self.average, &mut self.gradient);
        std::mem::swap(&mut self.before, &mut self.shifted);
        Ok(Report { gain: Some(1.0 - weight), ..Report::new(Status::Stepped, loss, rate) })
    }

    fn save(&self) -> Store {
        let mut store = Store::new("osculate.igt");
        options::save(&mut self.config.clone(), &mut store);
        store.put("average", &self.average);
        store.put("before", &self.before);
        self.worker.save(&mut store);
        store
    }

    fn load(&mut self, state: &Store) -> Result<()> {
        state.must_be("osculate.igt")?;
        options::check(&mut self.config.clone(), state)?;
        let (average, before): (Vec<T>, Vec<T>) =
            (state.get("average", self.average.len())?, state.get("before", self.before.len())?);
        finite_state(finite(&average) && finite(&before))?;
        self.worker.load(state)?;
        (self.average, self.before) = (average, before);
        Ok(())
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
