//! LR-Adapt: a learning rate that follows how well the last step went as it was expected to, around any base direction.
//!
//! F. de Roos, C. Jidling, A. Wills, T. Schön, P. Hennig, *A Probabilistically Motivated Learning Rate Adaptation for Stochastic
//! Optimization*, 2021, Algorithm 1. With f, g of the minibatch, v = ηWg and φ = g·v:
//!
//! ```text
//! Δf = f − f*  if f* is known, else φ/2                                   lines 8 to 11
//! θ⁺ = θ − v · 2Δf/(φ + R)                                                Eq. 12; θ − v if R = 0 and f* is not known
//! f⁺ = f(θ⁺) on the same minibatch
//! ρ  = (f − f⁺)/(φ/2);   ρ > 4/3: η ← 1.2η;   ρ < 3/4: η ← η/2
//! ```
//!
//! Deviations: Eq. 12 lacks a factor 4 before R, which `exact_gaussian` brings back (no difference where R = 0). If φ ≤ 0, as momentum
//! may have it, the paper's rule would divide by a negative number: v is taken as it is, and η halved if the loss rises; with f* no step
//! is taken, nor where f ≤ f*. If φ is not finite, no step is taken and η is halved. If f⁺ or θ⁺ is not finite, η is halved and the step taken back. η stays within 1e-12 and 1e6. With f* the paper divides by φ/2
//! though the step is t = 2Δf/(φ + R) times v, of which φ(t − t²/2) is expected. That is no scale where t nears 2, so
//! `generalised_ratio` has ρ = 1 + (f − f⁺ − φ(t − t²/2))/(φ max(t − t²/2, t²/2)): the paper's where t = 1, and of a parabola 2 − ηh
//! for every t ≥ 1. A schedule's factor is one of t, and has ρ formed so; η is what adapts.
//! `epoch` steps to an epoch make the cheap schedule of Sec. 4.4: f⁺ is evaluated in epochs 1, 2, 4, 8, … only.

use osculate_engine::store::Store;
use osculate_engine::{Real, Request, Size, finite};

use crate::base::Base;
use crate::optimizer::{check_len, check_new};
use crate::options::{Field, Legal, Options};
use crate::registry::Entry;
use crate::schedule::Pace;
use crate::state::{Kept, Reader, kept};
use crate::vectors::{Vectors, filled};
use crate::worker::{Form, Use, Worker};
use crate::{Error, Optimizer, Oracle, Report, Result, Schedule, Status};

/// Options of [`LrAdapt`]; the defaults are the paper's, but for η₀, which it sweeps from 1e-5 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// η₀.
    pub rate: f64,
    /// Direction; the paper takes β₁ = 0.5 where there is one.
    pub base: Base,
    /// What η is multiplied by after a step that was better than expected.
    pub up: f64,
    /// What it is multiplied by after a worse one.
    pub down: f64,
    /// Ratio from which a step was better.
    pub better: f64,
    /// Ratio to which it was worse.
    pub worse: f64,
    /// f*, the least loss, if it is known.
    pub optimum: Option<f64>,
    /// R, the variance of the loss: a number,
    pub noise: f64,
    /// plus a part of |f|, as in the paper's Fig. 4 (0.05),
    pub noise_part: f64,
    /// plus, if so wished, what it is measured to be in the minibatch: the variance of its examples' losses by their number (Sec. 3).
    pub noise_measured: bool,
    /// Whether R counts four times, as exact conditioning has it.
    pub exact_gaussian: bool,
    /// Whether ρ is of the step that is taken with f*, not of v.
    pub generalised_ratio: bool,
    /// Steps to an epoch, if f⁺ is to be evaluated in epochs 1, 2, 4, 8, … only; else 0.
    pub epoch: u64,
    /// Course of the part of v that is stepped.
    pub schedule: Schedule,
}

impl Config {
    /// Around a base direction; its β₁ becomes 0.5.
    pub fn of(base: Base) -> Config {
        Config {
            rate: 0.01,
            base: if base.has_momentum() { Base { momentum: 0.5, ..base } } else { base },
            up: 1.2,
            down: 0.5,
            better: 4.0 / 3.0,
            worse: 0.75,
            optimum: None,
            noise: 0.0,
            noise_part: 0.0,
            noise_measured: false,
            exact_gaussian: false,
            generalised_ratio: false,
            epoch: 0,
            schedule: Schedule::default(),
        }
    }

    /// Whether f⁺ is evaluated at a step.
    fn evaluates(&self, step: u64) -> bool {
        self.epoch == 0 || (step / self.epoch + 1).is_power_of_two()
    }
}

impl Options for Config {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        see("rate", "first learning rate η₀", Field::Number(&mut self.rate, Legal::Positive));
        self.base.each(see);
        let about = "what the rate is multiplied by after a step that was better than expected";
        see("up", about, Field::Number(&mut self.up, Legal::Positive));
        see("down", "what it is multiplied by after a worse one", Field::Number(&mut self.down, Legal::Positive));
        let about = "decrease to the expected one above which a step was better";
        see("better", about, Field::Number(&mut self.better, Legal::Positive));
        let about = "decrease to the expected one below which a step was worse, at most `better`";
        see("worse", about, Field::Number(&mut self.worse, Legal::Finite));
        see("optimum", "f*, the least loss, if it is known", Field::Maybe(&mut self.optimum, Legal::Finite));
        see("noise", "R, the variance of the loss", Field::Number(&mut self.noise, Legal::NotNegative));
        let about = "part of the loss that is added to its variance";
        see("noise-part", about, Field::Number(&mut self.noise_part, Legal::NotNegative));
        let about = "whether the variance measured in the minibatch is added";
        see("noise-measured", about, Field::Flag(&mut self.noise_measured));
        let noisy = self.noise > 0.0 || self.noise_part > 0.0 || self.noise_measured;
        if noisy {
            let about = "whether the variance counts four times, as exact conditioning has it";
            see("exact-gaussian", about, Field::Flag(&mut self.exact_gaussian));
        }
        // Other steps than whole ones are there with f*, R, or a schedule, and that has it so anyway.
        if noisy || self.optimum.is_some() {
            let about = "whether the expected decrease is that of the step that is taken instead of a whole one";
            see("generalised-ratio", about, Field::Flag(&mut self.generalised_ratio));
        }
        let about =
            "steps of an epoch, to look at the loss after a step in epochs 1, 2, 4, 8, … only; 0: after every step";
        see("epoch", about, Field::Count(&mut self.epoch, Legal::NotNegative));
        self.schedule.each(see);
    }
}

/// What the last step came to, in the paper's letters.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Trial {
    /// φ = g·v.
    pub phi: f64,
    /// f⁺; NaN if it was not evaluated.
    pub after: f64,
    /// ρ; NaN if it was not formed.
    pub ratio: f64,
}

/// η is kept between these.
const RATES: (f64, f64) = (1e-12, 1e6);

/// LR-Adapt around a base direction, see the [module](self).
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{base::Base, lr_adapt::Config, LrAdapt, Minibatches, Optimizer};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// let batch = Examples::new(spec([]), Array::new([2], vec![1.0, 3.0])?)?.all()?;
/// let mut oracles = Minibatches::new(&loss, &Device::cpu());
/// // The curvature is 1, the first rate far too small: it grows by 1.2 a step until ρ = 2 − η is at most 4/3.
/// let (mut w, mut adapt) = ([0.0], LrAdapt::new(1, Config { rate: 0.01, ..Config::of(Base::sgd()) })?);
/// for _ in 0..30 {
///     w = [0.0];
///     adapt.step(&mut w, &mut oracles.on(&batch))?;
/// }
/// assert!((2.0 / 3.0..0.8).contains(&adapt.rate()) && w == [2.0 * adapt.rate()]);
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LrAdapt<T> {
    config: Config,
    pace: Pace,
    rate: f64,
    trial: Trial,
    gradient: Vec<T>,
    /// v.
    velocity: Vec<T>,
    /// θ before the step, for steps that are taken back.
    before: Vec<T>,
    worker: Worker<T, 1>,
    /// θ − tv, and θ as it was, with the size of the former.
    advance: Vectors<T, 2, 1, 1, 1>,
}

impl<T: Real> LrAdapt<T> {
    /// For `len` parameters.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(len: usize, config: Config) -> Result<LrAdapt<T>> {
        check_new::<T>(len, &config)?;
        if config.worse > config.better {
            let why = "at most `better` is wanted".into();
            return Err(Error::Option { option: "worse", value: config.worse, why });
        }
        let zeros = || filled(len, T::zero());
        Ok(LrAdapt {
            rate: config.rate,
            trial: Trial::default(),
            pace: Pace::new(config.schedule),
            gradient: zeros()?,
            velocity: zeros()?,
            before: zeros()?,
            worker: Worker::new(config.base, Form::Direction, len)?,
            advance: Vectors::summing(|[t], [x, _], [v]| {
                let next = x - t * v;
                ([next, x], [next.abs()])
            })?,
            config,
        })
    }

    /// The learning rate of the next step.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// What the last step came to.
    pub fn trial(&self) -> &Trial {
        &self.trial
    }

    /// The loss, how large it and its gradient are, and what the loss's variance is measured to be.
    fn look(&mut self, params: &[T], oracle: &mut dyn Oracle<T>) -> Result<(f64, Size, f64)> {
        if !self.config.noise_measured {
            let (loss, size) = oracle.checked_gradient(params, &mut self.gradient)?;
            return Ok((loss, size, 0.0));
        }
        let moments = oracle.moments(params, None, Request::gradient().means())?;
        let each = T::from_f64(1.0 / moments.count() as f64);
        self.gradient.iter_mut().zip(&moments.gradient()?.sum).for_each(|(g, sum)| *g = *sum * each);
        let (loss, variance) = (moments.loss(), moments.loss_variance()? / moments.count() as f64);
        Ok((loss, Size::of(&[loss, variance]).max(Size::of(&self.gradient)), variance))
    }

    fn scale_rate(&mut self, factor: f64) {
        self.rate = (self.rate * factor).clamp(RATES.0, RATES.1);
    }
}

impl<T: Real> Optimizer<T> for LrAdapt<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.gradient.len(), params.len())?;
        let (config, rate) = (self.config, self.rate);
        let (loss, size, measured) = self.look(params, oracle)?;
        let steps = self.worker.steps();
        if !size.is_finite() {
            return Ok(Report::not_finite(loss));
        }
        let (count, trial) = (self.worker.count(), self.trial);
        let run = self.worker.run(&mut self.velocity, &self.gradient, size, Use::scaled(rate))?;
        let Some([phi]) = run else {
            self.scale_rate(config.down);
            return Ok(Report::new(Status::NoDescent, loss, 0.0));
        };
        let evaluates = config.evaluates(steps);
        self.trial = Trial { phi, after: f64::NAN, ratio: f64::NAN };
        let descends = phi > 0.0 && phi.is_finite();
        let noise = config.noise + config.noise_part * loss.abs() + measured;
        let noise = if config.exact_gaussian { 4.0 * noise } else { noise };
        // Line 8 to 12: how much of v.
        let part = match config.optimum {
            _ if !descends => 1.0,
            Some(optimum) => 2.0 * (loss - optimum) / (phi + noise),
            None if noise == 0.0 => 1.0,
            None => phi / (phi + noise),
        };
        let factor = self.pace.factor(steps);
        let part = factor * part;
        let reached = config.optimum.is_some_and(|optimum| !descends || loss <= optimum);
        if reached || !T::from_f64(part).is_finite() || !phi.is_finite() {
            self.velocity.fill(T::zero()); // an infinity would stay
            if !phi.is_finite() {
                self.scale_rate(config.down);
            }
            return Ok(Report::new(Status::NoDescent, loss, 0.0));
        }
        let [size] = self.advance.run([part], [params, &mut self.before], [&self.velocity])?;
        if !size.is_finite() && !finite(params) {
            params.copy_from_slice(&self.before);
            self.scale_rate(config.down);
            return Ok(Report::new(Status::Rejected, loss, rate));
        }
        let mut report = Report::new(Status::Stepped, loss, factor * rate);
        if !evaluates {
            self.pace.see(steps, loss);
            return Ok(report);
        }
        let after = match oracle.loss(params) {
            Ok(after) => after,
            Err(error) => {
                params.copy_from_slice(&self.before);
                self.worker.put_count(count);
                self.trial = trial;
                return Err(error);
            }
        };
        self.trial.after = after;
        if !after.is_finite() {
            params.copy_from_slice(&self.before);
            self.scale_rate(config.down);
            return Ok(Report::new(Status::Rejected, loss, rate));
        }
        self.pace.see(steps, loss);
        if !descends {
            self.scale_rate(if after <= loss { 1.0 } else { config.down });
            return Ok(report);
        }
        let ratio = match config.generalised_ratio || factor != 1.0 {
            false => (loss - after) / (0.5 * phi),
            true => {
                let bend = 0.5 * part * part;
                let (expected, scale) = (part - bend, (part - bend).max(bend));
                // A step so short that the loss's rounding is all there is to see says nothing.
                if phi * scale <= 8.0 * T::epsilon().to_f64() * loss.abs() {
                    return Ok(report);
                }
                1.0 + ((loss - after) / phi - expected) / scale
            }
        };
        self.trial.ratio = ratio;
        report.ratio = Some(ratio);
        if ratio > config.better {
            self.scale_rate(config.up);
        } else if ratio < config.worse {
            self.scale_rate(config.down);
        }
        Ok(report)
    }

    kept!();
}

impl<T: Real> Kept for LrAdapt<T> {
    const WHAT: &'static str = "osculate.lr_adapt";
    const STARTS: &'static [&'static str] = &["rate"];

    fn with_options<X>(&self, see: impl FnOnce(&mut dyn Options) -> X) -> X {
        see(&mut self.config.clone())
    }

    fn write(&self, store: &mut Store) {
        store.put("rate", &[self.rate]);
        self.worker.write(store);
        self.pace.write(store);
    }

    fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        [self.rate] = state.numbers("rate", [Legal::Positive])?;
        self.worker.read(state)?;
        self.pace.read(state)
    }
}

/// The optimizers of this file, for the registry.
pub(crate) fn entries<T: Real>() -> Vec<Entry<T>> {
    let entry = |name, about, base| {
        Entry::new(name, about, Config::of(base), |len, config| Ok(Box::new(LrAdapt::new(len, config)?)))
    };
    vec![
        entry("lradapt-sgd", "SGD whose learning rate adapts to what steps bring", Base::sgd()),
        entry("lradapt-momentum", "momentum with such a learning rate", Base::momentum()),
        entry("lradapt-adam", "Adam with such a learning rate", Base::adam()),
        entry("lradapt-adagrad", "Adagrad with such a learning rate", Base::adagrad()),
        entry("lradapt-rmsprop", "RMSprop with such a learning rate", Base::rmsprop()),
    ]
}
