//! OGR: online linear regression of gradients along one direction, and steps to where their trend is zero.
//!
//! J. Duda, *Improving SGD convergence by online linear regression of gradients in multiple statistically relevant directions*, 2019,
//! Algorithms 1 to 7. With v = γv + g, v̂ = v/‖v‖, t = θ·v̂, the line g·v̂ ≈ λ(t − p) over fading points ([`Line`]):
//!
//! ```text
//! θ ← θ + α sign(λ) C(p − t) v̂ − η (g − (g·v̂) v̂)        C(x) = sign(x) min(|x|, ε)
//! 1d   v̂ follows v at every step                                                                  Algorithm 1
//! 1ds  two directions: one to step along, one to learn the next line for; they change every m steps    Algorithm 6
//! 1dc  every m steps the origin of t moves to θ, then v̂ turns around it                            Algorithm 7
//! ```
//!
//! The first m (`first_steps`) steps are momentum's, θ ← θ − η₀v, the next m fill the averages (Algorithm 5). Deviations: averages are kept centred, and
//! with that the shift of 1dc is right for averages of any weight (the paper's formulas assume weight 1); where λ = 0, εα against the
//! slope; a direction of length 0 is not taken; the first averages pair gradients with where they were taken (Algorithm 5 is printed with
//! the step between, which `raw_warm_up` does).

use osculate_engine::store::Store;
use osculate_engine::{Real, Size, dot, dots, finite, largest};

use crate::optimizer::{Undone, check_len, check_new, tried};
use crate::options::{Field, Legal, Options};
use crate::registry::Entry;
use crate::regression::Line;
use crate::schedule::Pace;
use crate::state::{Kept, Reader, kept, whole};
use crate::vectors::{Limits, Undo, Vectors, between, filled, held};
use crate::{Optimizer, Oracle, Report, Result, Schedule, Status};

/// Options of [`Ogr`]; the paper names no values but those it plots.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Index of [`Config::VARIANTS`].
    pub variant: usize,
    /// α, trust in the line.
    pub trust: f64,
    /// β, by which points fade.
    pub decay: f64,
    /// γ of the momentum that finds directions.
    pub momentum: f64,
    /// ε, the longest step along the direction before α.
    pub clip: f64,
    /// η in the other directions.
    pub rate: f64,
    /// η₀ of the first steps.
    pub first_rate: f64,
    /// m of the first steps.
    pub first_steps: u64,
    /// m of 1ds and 1dc: steps along one direction.
    pub turn: u64,
    /// What to do if λ < 0: `reverse` leaves the maximum, `descend` takes a gradient step of η.
    pub negative: usize,
    /// Where the line's zero is: `averaged` of the line, or `latest`, from the last point along its slope (Eq. 6).
    pub origin: usize,
    /// If given, tanh(λ/soft) instead of λ's sign.
    pub soft: Option<f64>,
    /// Whether the first averages pair each gradient with the parameters after the step, as Algorithm 5 is printed.
    pub raw_warm_up: bool,
    /// Course of α, η and η₀.
    pub schedule: Schedule,
}

impl Config {
    /// Names of the variants.
    pub const VARIANTS: &[&str] = &["1d", "1ds", "1dc"];
    const DS: usize = 1;
    const DC: usize = 2;

    /// A variant with its defaults.
    fn of(variant: usize) -> Config {
        Config {
            variant,
            trust: 0.5,
            decay: 0.9,
            momentum: 0.95,
            clip: 0.1,
            rate: 0.3,
            first_rate: 0.015,
            first_steps: 10,
            turn: 10,
            negative: 0,
            origin: 0,
            soft: None,
            raw_warm_up: false,
            schedule: Schedule::default(),
        }
    }

    /// Algorithm 1.
    pub fn one() -> Config {
        Config::of(0)
    }

    /// Algorithm 6.
    pub fn safe() -> Config {
        Config::of(Config::DS)
    }

    /// Algorithm 7.
    pub fn centred() -> Config {
        Config { turn: 1, ..Config::of(Config::DC) }
    }

    /// Steps before those along the line.
    fn warm(&self) -> u64 {
        self.first_steps.saturating_mul(2)
    }
}

impl Options for Config {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        let about = "how directions are found: 1d follows the momentum, 1ds learns the next one aside, 1dc turns around the parameters";
        see("variant", about, Field::Choice(&mut self.variant, Config::VARIANTS));
        see("trust", "α, trust in the line", Field::Number(&mut self.trust, Legal::Positive));
        see("decay", "β, by which points fade in a step", Field::Number(&mut self.decay, Legal::Decay));
        let about = "γ, by which the momentum that finds directions fades in a step";
        see("momentum", about, Field::Number(&mut self.momentum, Legal::Decay));
        let about = "ε, the longest step along the direction before α";
        see("clip", about, Field::Number(&mut self.clip, Legal::Positive));
        see("rate", "η in the other directions", Field::Number(&mut self.rate, Legal::NotNegative));
        see("first-rate", "η₀ of the first steps", Field::Number(&mut self.first_rate, Legal::Positive));
        let about = "m, steps of momentum at first, and then as many that fill the averages";
        see("first-steps", about, Field::Count(&mut self.first_steps, Legal::Positive));
        if self.variant != 0 {
            see("turn", "m, steps along one direction", Field::Count(&mut self.turn, Legal::Positive));
        }
        let about = "what is done where λ < 0: leave the maximum, or a gradient step";
        see("negative", about, Field::Choice(&mut self.negative, &["reverse", "descend"]));
        let about = "where the line is zero: of the averages, or from the last point along the slope";
        see("origin", about, Field::Choice(&mut self.origin, &["averaged", "latest"]));
        let about = "if given, tanh(λ/soft) instead of λ's sign";
        see("soft", about, Field::Maybe(&mut self.soft, Legal::Positive));
        let about =
            "whether the first averages pair gradients with the parameters after the step, as Algorithm 5 is printed";
        see("raw-warm-up", about, Field::Flag(&mut self.raw_warm_up));
        self.schedule.each(see);
    }
}

/// A direction and the line along it.
#[derive(Debug, Clone)]
struct Along<T> {
    unit: Vec<T>,
    line: Line,
}

/// OGR along one direction, see the [module](self).
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{ogr::Config, Minibatches, Ogr, Optimizer};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 1.5 * (w - x).square())?;
/// let data = Examples::new(spec([]), Array::new([2], vec![1.0, 3.0])?)?.all()?;
/// let mut oracles = Minibatches::new(&loss, &Device::cpu());
/// let (mut w, mut ogr) = ([0.0], Ogr::new(1, Config { first_steps: 2, clip: 1.0, ..Config::one() })?);
/// for _ in 0..40 {
///     ogr.step(&mut w, &mut oracles.on(&data))?;
/// }
/// assert!((w[0] - 2.0f64).abs() < 1e-6 && (ogr.curvature() - 3.0).abs() < 1e-6);
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Ogr<T> {
    config: Config,
    pace: Pace,
    steps: u64,
    gradient: Vec<T>,
    /// v, and a bound of it.
    velocity: Vec<T>,
    most: f64,
    /// A bound of the parameters' places along any direction; infinite where it is not known.
    reach: f64,
    /// Stepped along.
    now: Along<T>,
    /// What the line of 1ds after this one is learnt for; empty otherwise.
    next: Along<T>,
    /// t since the origin moved, for 1dc: the steps along the direction added up, which cannot cancel.
    moved: f64,
    last: [f64; 2],
    /// θ + a v̂ − ηg and γv + g, with the latter's ‖·‖², and the former's Σ|·|.
    advance: Vectors<T, 2, 2, 3, 2>,
    /// v̂ = v/‖v‖.
    normalise: Vectors<T, 1, 1, 1>,
    undo: Undo<T>,
}

impl<T: Real> Ogr<T> {
    /// For `len` parameters.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(len: usize, config: Config) -> Result<Ogr<T>> {
        check_new::<T>(len, &config)?;
        let zeros = |is: bool| filled(if is { len } else { 0 }, T::zero());
        let along = |is: bool| zeros(is).map(|unit| Along { unit, line: Line::new(config.decay) });
        let (gamma, limits) = (config.momentum, Limits::of::<T>());
        Ok(Ogr {
            config,
            pace: Pace::new(config.schedule),
            steps: 0,
            gradient: zeros(true)?,
            velocity: zeros(true)?,
            most: 0.0,
            reach: f64::INFINITY,
            now: along(true)?,
            next: along(config.variant == Config::DS)?,
            moved: 0.0,
            last: [0.0; 2],
            advance: Vectors::summing(move |[a, eta, beta], [x, v], [u, g]| {
                // Warm-up steps along the new velocity: β is 1, else 0.
                let new = between(gamma * v + g, limits.added);
                let next = x + a * u - eta * g - beta * new;
                ([next, new], [new * new, next.abs()])
            })?,
            normalise: Vectors::new(|[each], [_], [v]| [each * v])?,
            undo: Undo::default(),
        })
    }

    /// λ of the last step.
    pub fn curvature(&self) -> f64 {
        self.last[0]
    }

    /// p of the last step; along the direction, from the origin of the variant.
    pub fn extremum(&self) -> f64 {
        self.last[1]
    }

    /// Makes the velocity's direction the one to learn for, given its ‖v‖².
    fn turn(&mut self, squared: f64) -> Result<()> {
        let each = 1.0 / squared.sqrt();
        // Squares that are hardly numbers of the type have lost their digits, and with them the length: the old one stays, as it does
        // where the velocity is too long.
        let least = T::min_positive_value().to_f64() / T::epsilon().to_f64();
        if squared < least || each == 0.0 || !held::<T>(&[each]) {
            return Ok(());
        }
        let unit = if self.next.unit.is_empty() { &mut self.now.unit } else { &mut self.next.unit };
        self.normalise.run([each], [unit], [&self.velocity])?;
        Ok(())
    }

    /// Steps since directions turn, if they do in this one.
    fn since(&self) -> Option<u64> {
        let Config { turn, variant, .. } = self.config;
        let turns = variant == Config::DS || variant == Config::DC;
        self.steps.checked_sub(self.config.warm()).filter(|after| turns && after % turn == 0)
    }

    /// What is done before the gradient of a step is used.
    fn prepare(&mut self, params: &[T]) -> Result<()> {
        let Some(after) = self.since() else { return Ok(()) };
        match self.config.variant {
            Config::DS => {
                if after > 0 {
                    std::mem::swap(&mut self.now, &mut self.next);
                }
                self.next.line = Line::new(self.config.decay);
                self.turn(dot(&self.velocity, &self.velocity))
            }
            Config::DC => {
                // The first origin is 0.
                self.now.line.shift(if after == 0 { dot(params, &self.now.unit) } else { self.moved });
                self.moved = 0.0;
                self.turn(dot(&self.velocity, &self.velocity))
            }
            _ => Ok(()),
        }
    }
}

impl<T: Real> Optimizer<T> for Ogr<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.gradient.len(), params.len())?;
        let (loss, size) = oracle.checked_gradient(params, &mut self.gradient)?;
        if !size.is_finite() {
            return Ok(Report::not_finite(loss));
        }
        let Config { trust, clip, rate, first_rate, momentum, .. } = self.config;
        let (factor, limits) = (self.pace.factor(self.steps), Limits::of::<T>());
        let most = if size == Size::Moderate { T::MODERATE } else { largest(&self.gradient) };
        let velocity = momentum * self.most + most;
        // No element of a direction is above 1, no slope above the gradient's length.
        let slope = most * (params.len() as f64).sqrt();
        let longest = trust * clip + 3.0 * rate * slope + first_rate * velocity;
        let places = self.reach < limits.squared[1];
        let safe =
            places && size == Size::Moderate && 2.0 * factor * longest < limits.step && velocity < limits.added[1];
        let kept = |ogr: &Ogr<T>| finite(&ogr.velocity) && finite(&ogr.now.unit) && finite(&ogr.next.unit);
        let report = tried(self, params, safe, |ogr, params| ogr.walk(params, loss, factor), kept)?;
        if report.status != Status::NonFinite {
            self.most = velocity.min(limits.added[1]);
            self.pace.see(self.steps - 1, loss);
        }
        Ok(report)
    }

    kept!();
}

impl<T: Real> Ogr<T> {
    /// A step along the gradient.
    fn walk(&mut self, params: &mut [T], loss: f64, factor: f64) -> Result<Report> {
        let Config { variant, first_steps, clip, .. } = self.config;
        let [trust, rate, first_rate] =
            [self.config.trust, self.config.rate, self.config.first_rate].map(|rate| factor * rate);
        let g = &self.gradient;
        // Directions turn before slopes along them are known; a step refused then finds them turned, which is no matter but the first
        // time and where two trade places. Slopes are finite if these are.
        let once = self.since().is_some_and(|after| after == 0 || variant == Config::DS);
        let [squared, place] = if once { dots([[g, g], [params, params]]) } else { [0.0; 2] };
        if !squared.is_finite() || !place.is_finite() {
            return Ok(Report::not_finite(loss));
        }
        self.prepare(params)?;
        let g = &self.gradient;
        let warming = self.steps < self.config.warm();
        let (mut step, mut status) = (0.0, Status::Stepped);
        let [slope, place] = dots([[&g[..], &self.now.unit], [params, &self.now.unit]]);
        let (mut line, mut next, mut moved, mut last) = (self.now.line, self.next.line, self.moved, self.last);
        if self.steps >= first_steps && !(warming && self.config.raw_warm_up) {
            let t = if variant == Config::DC && !warming { moved } else { place };
            line.add(t, slope);
            if !self.next.unit.is_empty() && !warming {
                let [t, slope] = dots([[&*params, &self.next.unit], [g, &self.next.unit]]);
                next.add(t, slope);
            }
            moved = t;
        }
        let scalars = match warming {
            true => [0.0, 0.0, first_rate],
            false => {
                let t = moved;
                let (curvature, extremum) = (line.slope(), line.root());
                let extremum = if self.config.origin == 0 { extremum } else { t - slope / curvature };
                last = [curvature, if extremum.is_finite() { extremum } else { t }];
                let sign = match self.config.soft {
                    Some(scale) => (curvature / scale).tanh(),
                    None => curvature.signum(),
                };
                step = match curvature {
                    l if l == 0.0 || !l.is_finite() || !extremum.is_finite() => {
                        status = Status::Fallback;
                        if slope == 0.0 { 0.0 } else { -trust * clip * slope.signum() }
                    }
                    l if l < 0.0 && self.config.negative == 1 => -rate * slope,
                    _ => trust * sign * (extremum - t).clamp(-clip, clip),
                };
                moved += step;
                [step + rate * slope, rate, 0.0]
            }
        };
        // No element of a direction is above 1.
        if !(moved.is_finite() && slope.is_finite() && scalars[0].abs() < Limits::of::<T>().step) {
            return Ok(Report::not_finite(loss));
        }
        (self.now.line, self.next.line, self.moved, self.last) = (line, next, moved, last);
        let changed = [&mut *params, &mut self.velocity];
        let [squared, reach] = self.advance.run(scalars, changed, [&self.now.unit, &self.gradient])?;
        if warming && self.config.raw_warm_up && self.steps >= first_steps {
            self.now.line.add(dot(params, &self.now.unit), slope);
        }
        (self.reach, self.steps) = (reach, self.steps + 1);
        // The first direction; from then on that of Algorithm 1 turns at every step.
        if self.steps == first_steps {
            self.turn(squared)?;
            if variant == Config::DS {
                std::mem::swap(&mut self.now.unit, &mut self.next.unit);
            }
        } else if variant == 0 && !warming {
            self.turn(squared)?;
        }
        let step = if warming { first_rate } else { step.abs() };
        Ok(Report { curvature: (!warming).then_some(self.last[0]), ..Report::new(status, loss, step) })
    }
}

impl<T: Real> Undone<T> for Ogr<T> {
    type Numbers = (Pace, u64, f64, f64, f64, [f64; 2], Line, Line);

    fn numbers(&self) -> Self::Numbers {
        (self.pace, self.steps, self.most, self.reach, self.moved, self.last, self.now.line, self.next.line)
    }

    fn set_numbers(&mut self, numbers: Self::Numbers) {
        (self.pace, self.steps, self.most, self.reach, self.moved, self.last, self.now.line, self.next.line) = numbers;
    }

    fn vectors(&mut self, see: &mut dyn FnMut(&mut [T])) {
        let Ogr { velocity, now, next, .. } = self;
        [velocity, &mut now.unit, &mut next.unit].into_iter().for_each(|vector| see(vector));
    }

    fn undo(&mut self) -> &mut Undo<T> {
        &mut self.undo
    }
}

impl<T: Real> Kept for Ogr<T> {
    const WHAT: &'static str = "osculate.ogr";

    fn with_options<X>(&self, see: impl FnOnce(&mut dyn Options) -> X) -> X {
        see(&mut self.config.clone())
    }

    fn write(&self, store: &mut Store) {
        store.put("scalars", &[self.steps as f64, self.moved]);
        store.put("last", &self.last);
        store.put("lines", [self.now.line.state(), self.next.line.state()].as_flattened());
        store.put("velocity", &self.velocity);
        store.put("now", &self.now.unit);
        store.put("next", &self.next.unit);
        self.pace.write(store);
    }

    fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        let [steps, moved] = state.numbers("scalars", [Legal::NotNegative, Legal::Finite])?;
        (self.steps, self.moved) = (whole("scalars", steps)?, moved);
        self.last = state.any("last")?; // for whoever asks
        // Weight, means, and second moments of which those of one thing with itself are not negative.
        let legal = [Legal::Unit, Legal::Finite, Legal::Finite, Legal::NotNegative, Legal::Finite, Legal::NotNegative];
        let lines: [f64; 12] = state.numbers("lines", std::array::from_fn(|at| legal[at % 6]))?;
        let line = |at: usize| Line::new(self.config.decay).restored(std::array::from_fn(|i| lines[6 * at + i]));
        (self.now.line, self.next.line) = (line(0), line(1));
        self.velocity = state.vector("velocity", self.velocity.len(), Legal::Finite)?;
        (self.most, self.reach) = (largest(&self.velocity), f64::INFINITY);
        // Of length 1, but for rounding.
        let part = Legal::Between(-1.0001, 1.0001);
        self.now.unit = state.vector("now", self.now.unit.len(), part)?;
        self.next.unit = state.vector("next", self.next.unit.len(), part)?;
        self.pace.read(state)
    }
}

/// The optimizers of this file, for the registry.
pub(crate) fn entries<T: Real>() -> Vec<Entry<T>> {
    let entry =
        |name, about, config| Entry::new(name, about, config, |len, config| Ok(Box::new(Ogr::new(len, config)?)));
    vec![
        entry("ogr", "online regression of gradients along the momentum", Config::one()),
        entry(
            "ogr-safe",
            "the same, with the next direction learnt beside the one that is stepped along",
            Config::safe(),
        ),
        entry("ogr-centred", "the same, with directions that turn around the parameters", Config::centred()),
    ]
}
