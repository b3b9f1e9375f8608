//! ASGD and ASGDc: a learning rate for every coordinate, from how far it and its gradient spread.
//!
//! J. Duda, *Improving SGD convergence by online linear regression of gradients in multiple statistically relevant directions*, 2019,
//! Algorithms 8 and 9. By coordinate, with moving averages of θ and g, their variances, and for ASGDc their covariance:
//!
//! ```text
//! ASGD    θ ← θ − α √(var θ/(var g + ε)) g                              Eq. 8, 9: the inverse curvature, were there no noise
//! ASGDc   λ = cov/var θ      ν ← βν + (1−β)(g − ḡ − λ(θ − θ̄))²
//!         θ ← θ − α (|λ| + γ √(ν/var θ))⁻¹ g                            Eq. 13: the curvature and what it may be off
//! ```
//!
//! Averages take the current point in before the step. Deviations: variances are kept centred; ASGDc starts with cov = 0 and ν = var g;
//! rates stay between `least_rate` and `most_rate`, since under noise alone they would decay to 0 or grow without end, whichever side of
//! √((1 − β²)/β) the trust α is on (0.46 for β = 0.9, 0.14 for 0.99); differences that could not be squared count as the largest that can.

use osculate_engine::store::Store;
use osculate_engine::{Expr, Real, Size, finite, largest};

use crate::optimizer::{Undone, check_len, check_new, tried};
use crate::options::{Field, Legal, Options};
use crate::registry::Entry;
use crate::schedule::Pace;
use crate::state::{Kept, Reader, kept};
use crate::vectors::{Limits, Undo, Vectors, between, filled, held};
use crate::{Error, Optimizer, Oracle, Report, Result, Schedule, Status};

/// Options of [`Asgd`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// α, trust in the parabola.
    pub trust: f64,
    /// β of the averages.
    pub decay: f64,
    /// First variances of θ and of g.
    pub variance: f64,
    /// ε.
    pub epsilon: f64,
    /// γ of ASGDc; ASGD if there is none.
    pub confidence: Option<f64>,
    /// Smallest rate.
    pub least_rate: f64,
    /// Largest rate.
    pub most_rate: f64,
    /// Course of the rates.
    pub schedule: Schedule,
}

impl Config {
    /// Algorithm 8.
    pub fn spread() -> Config {
        Config {
            trust: 0.5,
            decay: 0.99,
            variance: 1.0,
            epsilon: 1e-12,
            confidence: None,
            least_rate: 1e-6,
            most_rate: 0.5,
            schedule: Schedule::default(),
        }
    }

    /// Algorithm 9, γ = 1: with the paper's 0.1 rates run to their bound.
    pub fn confident() -> Config {
        Config { confidence: Some(1.0), ..Config::spread() }
    }
}

impl Options for Config {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        see("trust", "α, trust in the parabola", Field::Number(&mut self.trust, Legal::Positive));
        see("decay", "β, by which averages fade in a step", Field::Number(&mut self.decay, Legal::Decay));
        let about = "first variances of a parameter and of its gradient";
        see("variance", about, Field::Number(&mut self.variance, Legal::Positive));
        see("epsilon", "ε, added to what is divided by", Field::Number(&mut self.epsilon, Legal::NotNegative));
        let about = "γ, how much of what a curvature may be off is added to it (ASGDc)";
        see("confidence", about, Field::Maybe(&mut self.confidence, Legal::NotNegative));
        see("least-rate", "smallest rate of a coordinate", Field::Number(&mut self.least_rate, Legal::Positive));
        see("most-rate", "largest rate of a coordinate", Field::Number(&mut self.most_rate, Legal::Positive));
        self.schedule.each(see);
    }
}

/// θ, θ̄, ḡ and var θ, with var g (ASGD) or cov and ν (ASGDc), from g; the sum of the rates.
#[derive(Debug, Clone)]
enum Rule<T> {
    Spread(Vectors<T, 5, 1, 2, 1>),
    Confident(Vectors<T, 6, 1, 2, 1>),
}

/// ASGD and ASGDc, see the [module](self); the step size that is reported is the mean of the rates.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{asgd::Config, Asgd, Minibatches, Optimizer};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 1.5 * (w - x).square())?;
/// let data = Examples::new(spec([]), Array::new([2], vec![1.0, 3.0])?)?.all()?;
/// let mut oracles = Minibatches::new(&loss, &Device::cpu());
/// let (mut w, mut asgd) = ([0.0], Asgd::new(1, Config::spread())?);
/// for _ in 0..60 {
///     asgd.step(&mut w, &mut oracles.on(&data))?;
/// }
/// assert!((w[0] - 2.0f64).abs() < 1e-3);
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Asgd<T> {
    config: Config,
    pace: Pace,
    steps: u64,
    gradient: Vec<T>,
    /// θ̄, ḡ, var θ, and the rest.
    kept: Vec<Vec<T>>,
    rule: Rule<T>,
    undo: Undo<T>,
}

/// Algorithm 8: new θ̄, ḡ, var θ and var g from θ, them and g, and the rate.
pub(crate) fn spread<'t>(
    config: Config,
    limits: Limits,
    trust: Expr<'t>,
    [x, mx, mg, vx, vg]: [Expr<'t>; 5],
    g: Expr<'t>,
) -> ([Expr<'t>; 4], Expr<'t>) {
    let (beta, epsilon) = (config.decay, config.epsilon.max(limits.least));
    let (dx, dg) = (between(x - mx, limits.squared), between(g - mg, limits.squared));
    let (mx, mg) = (mx + (1.0 - beta) * dx, mg + (1.0 - beta) * dg);
    let vx = beta * vx + beta * (1.0 - beta) * dx * dx;
    let vg = beta * vg + beta * (1.0 - beta) * dg * dg;
    let rate = between(trust * (vx / (vg + epsilon)).sqrt(), [config.least_rate, config.most_rate]);
    ([mx, mg, vx, vg], rate)
}

impl<T: Real> Asgd<T> {
    /// For `len` parameters.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(len: usize, config: Config) -> Result<Asgd<T>> {
        check_new::<T>(len, &config)?;
        if config.most_rate < config.least_rate {
            let why = "at least `least-rate` is wanted".into();
            return Err(Error::Option { option: "most-rate", value: config.most_rate, why });
        }
        let limits = Limits::of::<T>();
        let (beta, epsilon) = (config.decay, config.epsilon.max(limits.least));
        let rule = match config.confidence {
            None => Rule::Spread(Vectors::summing(move |[trust, course], [x, mx, mg, vx, vg], [g]| {
                let ([mx, mg, vx, vg], rate) = spread(config, limits, trust, [x, mx, mg, vx, vg], g);
                let rate = course * rate;
                ([x - rate * g, mx, mg, vx, vg], [rate])
            })?),
            Some(gamma) => Rule::Confident(Vectors::summing(move |[trust, course], [x, mx, mg, vx, cov, nu], [g]| {
                let (dx, dg) = (between(x - mx, limits.squared), between(g - mg, limits.squared));
                let (mx, mg) = (mx + (1.0 - beta) * dx, mg + (1.0 - beta) * dg);
                let vx = beta * (vx + (1.0 - beta) * dx * dx);
                let cov = beta * (cov + (1.0 - beta) * dx * dg);
                // A coordinate that never moves has no slope.
                let slope = between(cov / (vx + epsilon), limits.squared);
                let off = between(g - mg - slope * between(x - mx, limits.squared), limits.squared);
                let nu = beta * nu + (1.0 - beta) * off * off;
                let curvature = slope.abs() + gamma * between(nu / (vx + epsilon), limits.added).sqrt();
                let rate = course * between(trust / (curvature + epsilon), [config.least_rate, config.most_rate]);
                ([x - rate * g, mx, mg, vx, cov, nu], [rate])
            })?),
        };
        let constant = |value: f64| filled(len, T::from_f64(value));
        let mut kept = vec![constant(0.0)?, constant(0.0)?, constant(config.variance)?];
        match config.confidence {
            None => kept.push(constant(config.variance)?),
            Some(_) => kept.extend([constant(0.0)?, constant(config.variance)?]),
        }
        Ok(Asgd {
            pace: Pace::new(config.schedule),
            config,
            steps: 0,
            gradient: constant(0.0)?,
            kept,
            rule,
            undo: Undo::default(),
        })
    }
}

impl<T: Real> Asgd<T> {
    /// One pass over all vectors.
    fn walk(&mut self, params: &mut [T], loss: f64, factor: f64) -> Result<Report> {
        if self.steps == 0 {
            self.kept[0].copy_from_slice(params);
        }
        let scalars = [self.config.trust, factor];
        let g = &self.gradient[..];
        let [rates] = match (&mut self.rule, &mut self.kept[..]) {
            (Rule::Spread(rule), [a, b, c, d]) => rule.run(scalars, [params, a, b, c, d], [g])?,
            (Rule::Confident(rule), [a, b, c, d, e]) => rule.run(scalars, [params, a, b, c, d, e], [g])?,
            _ => [0.0], // there are as many vectors as the rule was traced for
        };
        self.pace.see(self.steps, loss);
        self.steps += 1;
        Ok(Report::new(Status::Stepped, loss, rates / params.len() as f64))
    }
}

impl<T: Real> Optimizer<T> for Asgd<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.gradient.len(), params.len())?;
        let (loss, size) = oracle.checked_gradient(params, &mut self.gradient)?;
        if !size.is_finite() {
            return Ok(Report::not_finite(loss));
        }
        let factor = self.pace.factor(self.steps);
        let most = if size == Size::Moderate { T::MODERATE } else { largest(&self.gradient) };
        // No rate is above the largest; means and variances are kept within the type's numbers.
        let safe = held::<T>(&[factor]) && 2.0 * self.config.most_rate * factor * most < Limits::of::<T>().step;
        let all = |asgd: &Asgd<T>| asgd.kept.iter().all(|vector| finite(vector));
        tried(self, params, safe, |asgd, params| asgd.walk(params, loss, factor), all)
    }

    kept!();
}

impl<T: Real> Undone<T> for Asgd<T> {
    type Numbers = (Pace, u64);

    fn numbers(&self) -> Self::Numbers {
        (self.pace, self.steps)
    }

    fn set_numbers(&mut self, numbers: Self::Numbers) {
        (self.pace, self.steps) = numbers;
    }

    fn vectors(&mut self, see: &mut dyn FnMut(&mut [T])) {
        self.kept.iter_mut().for_each(|vector| see(vector));
    }

    fn undo(&mut self) -> &mut Undo<T> {
        &mut self.undo
    }
}

impl<T: Real> Kept for Asgd<T> {
    const WHAT: &'static str = "osculate.asgd";

    fn with_options<X>(&self, see: impl FnOnce(&mut dyn Options) -> X) -> X {
        see(&mut self.config.clone())
    }

    fn write(&self, store: &mut Store) {
        store.put("steps", &[self.steps as f64]);
        self.kept.iter().enumerate().for_each(|(index, vector)| store.put(format!("kept.{index}"), vector));
        self.pace.write(store);
    }

    fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        self.steps = state.steps("steps")?;
        // θ̄, ḡ, var θ, then var g, or cov and ν.
        let variances = if self.config.confidence.is_none() { [2, 3] } else { [2, 4] };
        for (index, vector) in self.kept.iter_mut().enumerate() {
            let legal = if variances.contains(&index) { Legal::NotNegative } else { Legal::Finite };
            *vector = state.vector(&format!("kept.{index}"), vector.len(), legal)?;
        }
        self.pace.read(state)
    }
}

/// The optimizers of this file, for the registry.
pub(crate) fn entries<T: Real>() -> Vec<Entry<T>> {
    let entry =
        |name, about, config| Entry::new(name, about, config, |len, config| Ok(Box::new(Asgd::new(len, config)?)));
    vec![
        entry("asgd", "a rate for every coordinate from its spread and its gradient's", Config::spread()),
        entry("asgdc", "the same from its curvature and how sure that is", Config::confident()),
    ]
}
