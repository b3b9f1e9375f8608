//! What optimizers have in common that choose one number a step: how far to go along a base direction.

use osculate_engine::store::Store;
use osculate_engine::{Real, dots, finite};

use crate::base::{Base, Form, Use, Worker, finite_state};
use crate::error::decay;
use crate::optimizer::{check_len, check_new};
use crate::options::{self, Options};
use crate::vectors::{Limits, Vectors, between};
use crate::{Optimizer, Oracle, Report, Result, Schedule, Status};

/// A rule that chooses the learning rate of each step; it is its own options.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::options::{Field, Options};
/// use osculate_optim::rated::{Rule, Seen};
/// use osculate_optim::{base::Base, Minibatches, Optimizer, Rated, Result};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// let batch = Examples::new(spec([]), Array::new([2], vec![1.0, 3.0])?)?.all()?;
/// let mut oracles = Minibatches::new(&loss, &Device::cpu());
///
/// /// Halves its rate when the loss has grown.
/// #[derive(Clone)]
/// struct Halving {
///     rate: f64,
/// }
///
/// impl Options for Halving {
///     fn each(&mut self, see: &mut dyn FnMut(&'static str, Field<'_>)) {
///         see("rate", Field::Number(&mut self.rate));
///     }
/// }
///
/// impl Rule for Halving {
///     const WHAT: &'static str = "example.halving";
///     fn base(&self) -> Base {
///         Base::sgd()
///     }
///     fn check(&self) -> Result<()> {
///         Ok(())
///     }
///     fn start(&self) -> Vec<f64> {
///         vec![self.rate, f64::MAX] // saved and loaded with the optimizer
///     }
///     fn rate(&self, state: &mut [f64], seen: &Seen) -> Option<f64> {
///         let [rate, last] = state else { return None };
///         *rate = if seen.loss > *last { *rate / 2.0 } else { *rate };
///         *last = seen.loss;
///         Some(*rate)
///     }
/// }
///
/// let (mut w, mut halving) = ([0.0], Rated::new(1, Halving { rate: 3.0 })?);
/// for _ in 0..20 {
///     halving.step(&mut w, &mut oracles.on(&batch))?;
/// }
/// assert!((w[0] - 2.0f64).abs() < 1e-3);
/// # Ok::<(), osculate_optim::Error>(())
/// ```
pub trait Rule: Options + Clone {
    /// What its states are called.
    const WHAT: &'static str;

    /// The direction.
    fn base(&self) -> Base;

    /// Refuses options out of range.
    ///
    /// # Errors
    /// Those.
    fn check(&self) -> Result<()>;

    /// Its numbers before the first step.
    fn start(&self) -> Vec<f64>;

    /// Course of what the rule chooses.
    fn schedule(&self) -> Schedule {
        Schedule::default()
    }

    /// μ of a velocity that steps add up in, if it is not 0.
    fn velocity(&self) -> f64 {
        0.0
    }

    /// The learning rate; none if no step is to be taken. `state` are its numbers.
    fn rate(&self, state: &mut [f64], seen: &Seen) -> Option<f64>;
}

/// What a rule sees of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Steps before this one.
    pub steps: u64,
    /// Loss of the minibatch.
    pub loss: f64,
    /// ‖g‖².
    pub squared: f64,
    /// ⟨g, u⟩ with the direction u of the step before; 0 in the first.
    pub previous: f64,
    /// ⟨m̂, v⟩ of the debiased average of gradients (or g, if the direction keeps none) with the direction v.
    pub slope: f64,
}

/// An optimizer whose learning rate a [`Rule`] chooses: θ ← θ − ηv; with μ, z ← μz − ηv and θ ← θ − ηv + μz.
#[derive(Debug, Clone)]
pub struct Rated<T, R> {
    rule: R,
    state: Vec<f64>,
    next: Vec<f64>,
    gradient: Vec<T>,
    direction: Vec<T>,
    /// z, if there is one.
    velocity: Vec<T>,
    worker: Worker<T, 3>,
    advance: Vectors<T, 1, 1, 1>,
    glide: Vectors<T, 2, 1, 2>,
}

impl<T: Real, R: Rule> Rated<T, R> {
    /// For `len` parameters.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(len: usize, rule: R) -> Result<Rated<T, R>> {
        check_new::<T>(len, &rule)?;
        rule.check()?;
        rule.schedule().check()?;
        decay("velocity", rule.velocity())?;
        let (limits, most) = (Limits::of::<T>(), T::max_value().to_f64());
        let state = rule.start();
        Ok(Rated {
            next: state.clone(),
            state,
            gradient: vec![T::zero(); len],
            direction: vec![T::zero(); len],
            velocity: vec![T::zero(); if rule.velocity() > 0.0 { len } else { 0 }],
            worker: Worker::new(rule.base(), Form::Direction, len)?,
            advance: Vectors::new(|[rate], [x], [v]| [x - rate * v])?,
            glide: Vectors::new(move |[rate, mu], [x, z], [v]| {
                let z = between(mu * z - rate * v, limits.added);
                // Steps that were bounded one by one may leave the numbers together.
                [between(x - rate * v + mu * z, [-most, most]), z]
            })?,
            rule,
        })
    }
}

impl<T: Real, R: Rule> Optimizer<T> for Rated<T, R> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.gradient.len(), params.len())?;
        let (loss, known) = oracle.checked_gradient(params, &mut self.gradient)?;
        let g = &self.gradient[..];
        let [squared, previous] = dots([[g, g], [g, &self.direction]]);
        if !known || !squared.is_finite() {
            return Ok(Report::new(Status::NonFinite, loss, 0.0));
        }
        let steps = self.worker.steps();
        let (slope, length) = if self.worker.run_plain() {
            std::mem::swap(&mut self.direction, &mut self.gradient);
            (squared, squared.sqrt())
        } else {
            let [_, slope, square] = self.worker.run(&mut self.direction, g, Use::scaled(1.0))?;
            (self.worker.correction() * slope, square.sqrt())
        };
        self.next.copy_from_slice(&self.state);
        let rate = self.rule.rate(&mut self.next, &Seen { steps, loss, squared, previous, slope });
        let rate = rate.map(|rate| rate * self.rule.schedule().factor(steps));
        // As the kernel has it.
        let fits = |rate: f64| T::from_f64(rate).to_f64().abs() * length < Limits::of::<T>().step;
        if rate.is_none_or(fits) && self.next.iter().all(|x| x.is_finite()) {
            std::mem::swap(&mut self.state, &mut self.next);
        }
        let Some(rate) = rate.filter(|&rate| fits(rate)) else {
            if !slope.is_finite() || rate.is_some() {
                self.direction.fill(T::zero()); // an infinity would stay, and no step was taken along the others
            }
            return Ok(Report::new(Status::NoDescent, loss, 0.0));
        };
        if self.velocity.is_empty() {
            self.advance.run([rate], [params], [&self.direction])?;
        } else {
            self.glide.run([rate, self.rule.velocity()], [params, &mut self.velocity], [&self.direction])?;
        }
        Ok(Report::new(Status::Stepped, loss, rate))
    }

    fn save(&self) -> Store {
        let mut store = Store::new(R::WHAT);
        options::save(&mut self.rule.clone(), &mut store);
        store.put("state", &self.state);
        store.put("direction", &self.direction);
        store.put("velocity", &self.velocity);
        self.worker.save(&mut store);
        store
    }

    fn load(&mut self, state: &Store) -> Result<()> {
        state.must_be(R::WHAT)?;
        options::check(&mut self.rule.clone(), state)?;
        let numbers = state.get::<f64>("state", self.state.len())?;
        let direction: Vec<T> = state.get("direction", self.direction.len())?;
        let velocity: Vec<T> = state.get("velocity", self.velocity.len())?;
        finite_state(numbers.iter().all(|x| x.is_finite()) && finite(&direction) && finite(&velocity))?;
        self.worker.load(state)?;
        (self.state, self.direction, self.velocity) = (numbers, direction, velocity);
        Ok(())
    }
}
