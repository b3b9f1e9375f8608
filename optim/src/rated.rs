//! What optimizers have in common that choose one number a step: how far to go along a base direction.

use osculate_engine::store::Store;
use osculate_engine::{Real, dots, finite, largest};

use crate::base::Base;
use crate::optimizer::{check_len, check_new};
use crate::options::{self, Legal, Options};
use crate::schedule::Pace;
use crate::state::{Kept, Reader, kept};
use crate::vectors::{Limits, Undo, Vectors, between, filled};
use crate::worker::{Form, Use, Worker};
use crate::{Error, Optimizer, Oracle, Report, Result, Schedule, Status};

/// A rule that chooses the learning rate of each step; it is its own options.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::options::{Field, Legal, Options};
/// use osculate_optim::rated::{Rule, Seen};
/// use osculate_optim::{base::Base, Minibatches, Optimizer, Rated};
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
///     fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
///         see("rate", "first learning rate", Field::Number(&mut self.rate, Legal::Positive));
///     }
/// }
///
/// impl Rule for Halving {
///     const WHAT: &'static str = "example.halving";
///     const STARTS: &'static [&'static str] = &["rate"]; // only `start` reads it
///     fn base(&self) -> Base {
///         Base::sgd()
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
/// // So a saved run does not go on under another, which would change nothing.
/// let mut other = Rated::new(1, Halving { rate: 1.0 })?;
/// assert!(Optimizer::<f64>::resume(&mut other, &Optimizer::<f64>::save(&halving)).is_err());
/// # Ok::<(), osculate_optim::Error>(())
/// ```
pub trait Rule: Options + Clone {
    /// What its states are called.
    const WHAT: &'static str;
    /// Options that it reads only before the first step: a state is not resumed under others.
    const STARTS: &'static [&'static str] = &[];

    /// The direction.
    fn base(&self) -> Base;

    /// Refuses options that are legal one by one, but not together.
    ///
    /// # Errors
    /// Those.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Its numbers before the first step.
    fn start(&self) -> Vec<f64>;

    /// What its numbers may be in a state that is loaded.
    fn legal(&self, index: usize) -> Legal {
        let _ = index;
        Legal::Finite
    }

    /// Course of what the rule chooses.
    fn schedule(&self) -> Schedule {
        Schedule::default()
    }

    /// μ of a velocity that steps add up in, if it is not 0.
    fn velocity(&self) -> f64 {
        0.0
    }

    /// The learning rate; none if no step is to be taken. `state` are its numbers.
    ///
    /// It is asked a second time with a slope of 0, of a state that is thrown away, to know how far a step may go.
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
    pace: Pace,
    state: Vec<f64>,
    next: Vec<f64>,
    gradient: Vec<T>,
    direction: Vec<T>,
    /// z, if there is one, and a bound of it.
    velocity: Vec<T>,
    most: f64,
    worker: Worker<T, 3>,
    /// For steps that are taken back: of the worker and the direction, and of parameters and velocity.
    undo: [Undo<T>; 2],
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
        options::check(&mut rule.schedule())?;
        if !Legal::Decay.holds(rule.velocity()) {
            let why = format!("{} is wanted", Legal::Decay);
            return Err(Error::Option { option: "velocity", value: rule.velocity(), why });
        }
        let limits = Limits::of::<T>();
        let state = rule.start();
        Ok(Rated {
            pace: Pace::new(rule.schedule()),
            next: state.clone(),
            state,
            gradient: filled(len, T::zero())?,
            direction: filled(len, T::zero())?,
            velocity: filled(if rule.velocity() > 0.0 { len } else { 0 }, T::zero())?,
            most: 0.0,
            worker: Worker::new(rule.base(), Form::Direction, len)?,
            undo: [Undo::default(), Undo::default()],
            advance: Vectors::new(|[rate], [x], [v]| [x - rate * v])?,
            glide: Vectors::new(move |[rate, mu], [x, z], [v]| {
                let z = between(mu * z - rate * v, limits.added);
                [x - rate * v + mu * z, z]
            })?,
            rule,
        })
    }

    /// Moves along the direction, whose length is known; `false` if that would leave the type's numbers: nothing is changed then.
    fn advance(&mut self, params: &mut [T], rate: f64, length: f64) -> Result<bool> {
        // As the kernel has it.
        let (step, limit) = (T::from_f64(rate).to_f64().abs() * length, Limits::of::<T>().step);
        let mu = self.rule.velocity();
        if self.velocity.is_empty() {
            if step < limit {
                self.advance.run([rate], [params], [&self.direction])?;
            }
            return Ok(step < limit);
        }
        let after = |most: f64| mu * most + step;
        if after(self.most) + step >= limit {
            self.most = largest(&self.velocity);
        }
        let safe = after(self.most) + step < limit;
        if !safe {
            self.undo[1].rewind().keep(params).keep(&self.velocity);
        }
        self.glide.run([rate, mu], [params, &mut self.velocity], [&self.direction])?;
        self.most = after(self.most);
        if !safe && (!finite(params) || !finite(&self.velocity)) {
            self.undo[1].rewind().put_back(params).put_back(&mut self.velocity);
            self.most = f64::INFINITY;
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether a step may be too large for the type, as far as can be said before the direction is known.
    fn may_leave(&mut self, seen: Seen, factor: f64) -> bool {
        self.next.copy_from_slice(&self.state);
        let rate = self.rule.rate(&mut self.next, &seen).unwrap_or(0.0) * factor;
        let longest = rate.abs() * T::MODERATE.sqrt() * (self.gradient.len() as f64).sqrt();
        // A NaN is beyond, too.
        longest.is_nan() || longest >= Limits::of::<T>().step
    }
}

impl<T: Real, R: Rule> Optimizer<T> for Rated<T, R> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.gradient.len(), params.len())?;
        let (loss, size) = oracle.checked_gradient(params, &mut self.gradient)?;
        let [squared, previous] = dots([[&self.gradient[..], &self.gradient], [&self.gradient, &self.direction]]);
        if !size.is_finite() || !squared.is_finite() {
            return Ok(Report::not_finite(loss));
        }
        let steps = self.worker.steps();
        let factor = self.pace.factor(steps);
        let seen = Seen { steps, loss, squared, previous, slope: 0.0 };
        let count = self.worker.count();
        let plain = self.worker.run_plain();
        let mut before = None;
        let (slope, length) = if plain {
            std::mem::swap(&mut self.direction, &mut self.gradient);
            (squared, squared.sqrt())
        } else {
            if self.may_leave(seen, factor) {
                let undo = self.undo[0].rewind().keep(&self.direction);
                before = Some(self.worker.keep(undo));
            }
            let run = self.worker.run(&mut self.direction, &self.gradient, size, Use::scaled(1.0))?;
            let Some([_, slope, square]) = run else { return Ok(Report::not_finite(loss)) };
            (self.worker.correction() * slope, square.sqrt())
        };
        self.next.copy_from_slice(&self.state);
        let rate = self.rule.rate(&mut self.next, &Seen { slope, ..seen }).map(|rate| rate * factor);
        let moved = match rate {
            Some(rate) if self.next.iter().all(|x| x.is_finite()) => self.advance(params, rate, length)?,
            _ => false,
        };
        if moved || rate.is_none() {
            std::mem::swap(&mut self.state, &mut self.next);
        }
        match (moved, rate) {
            (true, Some(rate)) => {
                self.pace.see(steps, loss);
                Ok(Report::new(Status::Stepped, loss, rate))
            }
            (_, None) => Ok(Report::new(Status::NoDescent, loss, 0.0)),
            // Too long a step: as if nothing had been looked at.
            _ if plain => {
                std::mem::swap(&mut self.direction, &mut self.gradient);
                self.worker.put_count(count);
                Ok(Report::not_finite(loss))
            }
            _ => match before {
                Some(before) => {
                    let undo = self.undo[0].rewind().put_back(&mut self.direction);
                    self.worker.put_back(undo, before);
                    Ok(Report::not_finite(loss))
                }
                // That could not be foreseen: the averages have the gradient.
                None => Ok(Report::new(Status::NoDescent, loss, 0.0)),
            },
        }
    }

    kept!();
}

impl<T: Real, R: Rule> Kept for Rated<T, R> {
    const WHAT: &'static str = R::WHAT;
    const STARTS: &'static [&'static str] = R::STARTS;

    fn with_options<X>(&self, see: impl FnOnce(&mut dyn Options) -> X) -> X {
        see(&mut self.rule.clone())
    }

    fn write(&self, store: &mut Store) {
        store.put("state", &self.state);
        store.put("direction", &self.direction);
        store.put("velocity", &self.velocity);
        self.worker.write(store);
        self.pace.write(store);
    }

    fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        self.state = state.list("state", self.state.len(), |index| self.rule.legal(index))?;
        self.direction = state.vector("direction", self.direction.len(), Legal::Finite)?;
        self.velocity = state.vector("velocity", self.velocity.len(), Legal::Finite)?;
        self.most = f64::INFINITY; // to be measured
        self.worker.read(state)?;
        self.pace.read(state)
    }
}
