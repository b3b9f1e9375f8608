//! MEKA and AdaMEKA: Kalman filters for the loss and its gradient, and the step that most probably improves.
//!
//! R. T. Q. Chen, D. Choi, L. Balles, D. Duvenaud, P. Hennig, *Self-Tuning Stochastic Optimization with Curvature-Aware Gradient
//! Filtering*, 2020, with its supplement (Algorithm 1, Appendix B).
//!
//! With y, g the minibatch's mean loss and gradient, δ the last displacement, b = mean Hδ, r, Σ the (smoothed) variances of y and
//! of g's coordinates, q that of b's:
//!
//! ```text
//! loss      u⁻ = u + m·δ + ½δ·b       c = s + p‖δ‖² + ¼q‖δ‖² + r     λ = max((y − u⁻)² − c, 0)      Eq. 16–22
//!           s⁻ = λ + c − r            K = s⁻/(s⁻ + r)                 u = u⁻ + K(y − u⁻)
//! gradient  m⁻ = m + b                p⁻ = p + q                      k = p⁻/(p⁻ + Σ)               Eq. 6–8
//!           m = m⁻ + k(g − m⁻)        p = (1 − k)²p⁻ + k²Σ
//! direction d = −m, or −m/(√(m² + p) + ε) for AdaMEKA                                                  Eq. 9
//! step      a = −d·m, b = d·(mean Hd), p̃ = p‖d‖², q̃ = q(d)‖d‖², V₀ = 2s + λ                           Eq. 11, 13
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `config` | options |
//! | `model`, `scalar`, `diagonal`, `full` | the gradient's covariance P: p times the identity as above, a diagonal, or a matrix |
//! | `rule` | the coefficients along the direction, corrections for negative curvature, and the step they lead to |
//!
//! Deviations from the paper's text: Eq. 9 is read with m², not m (units); the moving average of Algorithm 1 is on the step's
//! coefficients, not on the step (the latter diverges); Q is that of the current step (Eq. 4); the variances are those of the
//! minibatch mean unless [`VarianceOf::Sample`]; λ is 0 in the first step, whose prediction is void; the displacement is measured
//! (θ − previous θ), so that weight decay or a projection between steps is accounted for; where the improvement
//! is a million times its deviation, the mean's minimiser is taken (the limit of vanishing noise) instead of a vanishing step. Eq. 23 and
//! the other corrections are there but off: Algorithm 1 has none, and with averages over 1000 steps curvatures are hardly ever negative.
//!
//! Kept as the model has them, though they are not quite so: V₀ counts the errors of the loss now and after the step as independent, and
//! the loss and its gradient, of one minibatch, are filtered as if they were.

mod config;
mod diagonal;
mod full;
mod model;
mod rule;
mod scalar;

use osculate_engine::store::Store;
use osculate_engine::{Real, Request, finite};

pub use config::{Correction, Covariance, Direction, Init, MekaConfig, Noise, StepRule, VarianceOf};
use model::{AnyModel, Seen};
use rule::{Along, Rule};

use crate::improvement::Coefficients;
use crate::optimizer::{check_len, check_new};
use crate::options::{Legal, Options};
use crate::registry::Entry;
use crate::schedule::Pace;
use crate::state::{Kept, Reader, kept, whole};
use crate::vectors::{Vectors, filled, larger};

use crate::{Optimizer, Oracle, Report, Result, Smooth, Status, kalman};

/// The scalars of the filters after a step, in the paper's letters; of a diagonal or full covariance, averages of the diagonals.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Filter {
    /// Posterior mean of the loss.
    pub u: f64,
    /// Its variance.
    pub s: f64,
    /// Variance of a coordinate of the gradient's mean.
    pub p: f64,
    /// Smoothed variance of the minibatch loss.
    pub r: f64,
    /// Smoothed variance of a coordinate of the minibatch gradient (Σ).
    pub sigma: f64,
    /// Variance of a coordinate of Hδ.
    pub q: f64,
    /// Surprise λ of the loss.
    pub lambda: f64,
    /// Gain of the gradient filter.
    pub gain: f64,
    /// Gain of the loss filter.
    pub loss_gain: f64,
}

/// Everything that changes but the vectors.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scalars {
    /// Steps taken, for the schedule.
    steps: u64,
    /// Whether nothing was filtered yet, or all was forgotten.
    fresh: bool,
    filter: Filter,
    loss_noise: Smooth,
    rule: Rule,
    /// δ·(mean Hδ) and ‖δ‖² of this step.
    bend: [f64; 2],
}

/// MEKA and AdaMEKA, see the [module](self).
///
/// A step asks for the gradient's moments with those of Hδ, and for adaptive steps for those of Hd as well.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{Meka, MekaConfig, Minibatches, Optimizer};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// let batch = Examples::new(spec([]), Array::new([2], vec![1.0, 3.0])?)?.all()?;
/// let mut oracles = Minibatches::new(&loss, &Device::cpu());
/// let (mut w, mut meka) = ([0.0], Meka::new(1, MekaConfig::default())?);
/// for _ in 0..10 {
///     meka.step(&mut w, &mut oracles.on(&batch))?;     // no learning rate
/// }
/// assert!((w[0] - 2.0f64).abs() < 0.1);
/// // The examples' curvatures are the same, so that gradients are transported exactly and all noise is averaged away.
/// let filter = meka.filter();
/// assert!(filter.q == 0.0 && (filter.sigma - 1.0).abs() < 1e-12 && filter.p < 0.101);
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Meka<T> {
    config: MekaConfig,
    pace: Pace,
    now: Scalars,
    model: AnyModel<T>,
    mean: Vec<T>,
    previous: Vec<T>,
    /// Results of the step being taken, swapped in when it succeeds.
    next_mean: Vec<T>,
    direction: Vec<T>,
    displacement: Vec<T>,
    /// Of the last step.
    coefficients: Option<Coefficients>,
    /// θ − previous θ, with its ‖·‖² and its product with m.
    displace: Vectors<T, 1, 3, 0, 2>,
    /// θ + step · d and θ as it was, with the size of the former.
    advance: Vectors<T, 2, 1, 1, 1>,
}

impl<T: Real> Meka<T> {
    /// For `len` parameters.
    ///
    /// # Errors
    /// Options out of range; too many parameters for a full covariance.
    pub fn new(len: usize, config: MekaConfig) -> Result<Meka<T>> {
        check_new::<T>(len, &config)?;
        config.check()?;
        let zeros = || filled(len, T::zero());
        Ok(Meka {
            now: Scalars {
                steps: 0,
                fresh: true,
                filter: Filter::default(),
                loss_noise: Smooth::new(config.loss_decay),
                rule: Rule::new(&config),
                bend: [0.0; 2],
            },
            config,
            model: AnyModel::new(len, &config)?,
            pace: Pace::new(config.schedule),
            mean: zeros()?,
            previous: zeros()?,
            next_mean: zeros()?,
            direction: zeros()?,
            displacement: zeros()?,
            coefficients: None,
            displace: Vectors::summing(|[], [_], [x, previous, mean]| {
                let delta = x - previous;
                ([delta], [delta * delta, mean * delta])
            })?,
            advance: Vectors::summing(|[step], [x, _], [d]| {
                let next = x + step * d;
                ([next, x], [next.abs()])
            })?,
        })
    }

    /// The scalars of the filters after the last step.
    pub fn filter(&self) -> &Filter {
        &self.now.filter
    }

    /// What the last step's size was chosen by: averaged coefficients of the loss along the direction; none of a fixed step.
    pub fn coefficients(&self) -> Option<&Coefficients> {
        self.coefficients.as_ref()
    }

    /// The filtered gradient.
    pub fn mean(&self) -> &[T] {
        &self.mean
    }

    /// Forgets all that was filtered, as after a jump of the parameters; the averages of the variances and of the step's coefficients are
    /// kept, and a schedule goes on.
    pub fn reset(&mut self) {
        self.now.fresh = true;
        self.now.filter = Filter::default();
        self.now.rule.reset();
        self.model.get_mut().reset();
        self.mean.fill(T::zero());
    }

    /// What variances of the examples are divided by.
    fn nu(&self, n: usize) -> f64 {
        if self.config.variance_of == VarianceOf::Mean { n as f64 } else { 1.0 }
    }

    /// One step of all the filters, on scratch, with [`Filtered::inner`](model::Filtered::inner); `None` if something was not finite.
    fn filtered(
        &mut self,
        params: &[T],
        oracle: &mut dyn Oracle<T>,
        loss: &mut f64,
    ) -> Result<Option<(Scalars, [f64; 3])>> {
        let mut now = self.now;
        let first = now.fresh;
        let (n, nu) = (oracle.count() as f64, self.nu(oracle.count()));
        // None in the first step.
        let previous = if first { params } else { &self.previous };
        let [squared, slope] = self.displace.run([], [&mut self.displacement], [params, previous, &self.mean])?;
        let delta = &self.displacement;
        let model = self.model.get_mut();
        let given = (!first).then_some(delta.as_slice());
        model.look(params, given, oracle)?;
        let request = if first { Request::gradient() } else { Request::gradient().and_hvp() };
        let request = model.request(request);
        // Inner products want a direction even where there is none.
        let moments = oracle.moments(params, request.directed().then_some(delta.as_slice()), request)?;
        let y = moments.loss();
        *loss = y;
        let noise = match self.config.noise {
            Some(noise) => noise.loss,
            None => moments.loss_variance()? / nu,
        };
        if !y.is_finite() || !noise.is_finite() {
            return Ok(None);
        }
        let r = now.loss_noise.add(noise);
        let seen = Seen { first, moments, delta, squared, nu };
        let filtered = model.filter(&seen, &self.mean, &mut self.next_mean, &mut self.direction)?;

        // The loss's filter goes by the gradient's mean and covariance of the step before.
        let Filter { u, s, .. } = now.filter;
        let s = match (first, self.config.init) {
            (true, Init::Diffuse(variance)) => variance,
            (true, Init::FirstObservation) => f64::INFINITY,
            (false, _) => s,
        };
        let [bend, length, _] = filtered.inner;
        now.bend = [bend / n, squared];
        let predicted = u + slope + 0.5 * now.bend[0];
        let [along_p, along_q] = filtered.along;
        let spread = s + along_p + 0.25 * along_q;
        let surprise = (y - predicted).powi(2) - (spread + r);
        let lambda = if first || !self.config.surprise { 0.0 } else { larger(surprise, 0.0) };
        // s⁻ = λ + c − r, without the cancellation.
        let (loss_gain, s) = kalman::update(lambda + spread, r);
        let u = predicted + loss_gain * (y - predicted);
        now.filter = Filter {
            u,
            s,
            p: filtered.p,
            r,
            sigma: filtered.sigma,
            q: filtered.q,
            lambda,
            gain: filtered.gain,
            loss_gain,
        };
        now.steps += 1;
        now.fresh = false;
        let scalars = [u, s, lambda, filtered.p, filtered.sigma, filtered.q, filtered.gain];
        // Where the gradient or Hδ is not finite, so is not the direction, nor its square, which else at most overflows; where their
        // squares are not, so is not one of the scalars.
        let known = length.is_finite() || (length == f64::INFINITY && finite(&self.direction));
        let known = known && scalars.iter().all(|x| x.is_finite());
        Ok(known.then_some((now, filtered.inner)))
    }

    /// What the rule has to know of the direction.
    fn along(
        &mut self,
        now: &Scalars,
        [_, squared, slope]: [f64; 3],
        params: &[T],
        oracle: &mut dyn Oracle<T>,
    ) -> Result<Along> {
        let d = &self.direction;
        let (n, nu) = (oracle.count() as f64, self.nu(oracle.count()));
        let third = match self.config.correction {
            Correction::Exact => oracle.directional(params, d, 3)?[3],
            _ => 0.0,
        };
        let model = self.model.get_mut();
        let moments = oracle.moments(params, Some(d), model.request(Request::hvp()))?;
        let [along_p, along_q, bend] = model.along(d, squared, moments, nu)?;
        Ok(Along {
            slope: -slope,
            curvature: bend / n,
            variances: [along_p, along_q],
            loss: [now.filter.s, now.filter.lambda],
            squares: [squared, now.bend[1]],
            bend: now.bend[0],
            third,
        })
    }
}

impl<T: Real> Optimizer<T> for Meka<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.mean.len(), params.len())?;
        let mut loss = f64::NAN;
        let Some((mut now, inner)) = self.filtered(params, oracle, &mut loss)? else {
            return Ok(Report::not_finite(loss));
        };
        let mut coefficients = None;
        let (mut curvature, mut status) = (f64::NAN, Status::Stepped);
        let mut step = match self.config.step {
            StepRule::Fixed(step) => step * self.pace.factor(now.steps - 1),
            _ => {
                let along = self.along(&now, inner, params, oracle)?;
                let Some(averaged) = now.rule.average(&self.config, &along) else {
                    return Ok(Report::not_finite(loss));
                };
                (coefficients, curvature) = (Some(averaged), along.curvature);
                let (best, how) = now.rule.choose(&self.config, &averaged);
                status = how;
                best
            }
        };
        step = step.min(self.config.max_step.unwrap_or(f64::INFINITY));
        now.rule.stepped(&self.config, step, curvature);
        let changed = [&mut *params, &mut self.displacement];
        let [size] = self.advance.run([self.config.scale * step], changed, [&self.direction])?;
        if !size.is_finite() && !finite(params) {
            params.copy_from_slice(&self.displacement);
            return Ok(Report::not_finite(loss));
        }
        self.pace.see(now.steps - 1, loss);
        self.now = now;
        self.coefficients = coefficients;
        self.model.get_mut().commit();
        std::mem::swap(&mut self.mean, &mut self.next_mean);
        std::mem::swap(&mut self.previous, &mut self.displacement);
        Ok(Report {
            gain: Some(now.filter.gain),
            gradient_noise: Some(now.filter.sigma),
            // Unknown where both the change and its deviation are beyond f64.
            probability: coefficients.map(|c| c.probability(self.config.scale * step)).filter(|p| !p.is_nan()),
            curvature: (inner[1] > 0.0 && curvature.is_finite()).then_some(curvature / inner[1]),
            ..Report::new(status, loss, step)
        })
    }

    kept!();
}

impl<T: Real> Kept for Meka<T> {
    const WHAT: &'static str = "osculate.meka";

    fn with_options<X>(&self, see: impl FnOnce(&mut dyn Options) -> X) -> X {
        see(&mut self.config.clone())
    }

    fn write(&self, store: &mut Store) {
        let Filter { u, s, p, r, sigma, q, lambda, gain, loss_gain } = self.now.filter;
        store.put("filter", &[u, s, p, r, sigma, q, lambda, gain, loss_gain]);
        let [value, weight] = self.now.loss_noise.state();
        store.put("counters", &[self.now.steps as f64, value, weight, f64::from(u8::from(self.now.fresh))]);
        self.now.rule.write(store);
        self.model.get().write(store);
        store.put("mean", &self.mean);
        store.put("previous", &self.previous);
        self.pace.write(store);
    }

    fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        let (any, variance, part) = (Legal::Finite, Legal::NotNegative, Legal::Unit);
        let legal = [any, variance, variance, variance, variance, variance, variance, part, part];
        let [u, s, p, r, sigma, q, lambda, gain, loss_gain] = state.numbers("filter", legal)?;
        self.now.filter = Filter { u, s, p, r, sigma, q, lambda, gain, loss_gain };
        let [steps, value, weight, fresh] = state.numbers("counters", [variance, variance, part, part])?;
        self.now.steps = whole("counters", steps)?;
        self.now.fresh = fresh == 1.0;
        self.now.loss_noise = self.now.loss_noise.restored([value, weight]);
        self.now.rule = self.now.rule.restored(state)?;
        self.coefficients = None;
        self.model.get_mut().read(state)?;
        self.mean = state.vector("mean", self.mean.len(), any)?;
        self.previous = state.vector("previous", self.previous.len(), any)?;
        self.pace.read(state)
    }
}

/// The optimizers of this file, for the registry.
pub(crate) fn entries<T: Real>() -> Vec<Entry<T>> {
    let entry =
        |name, about, config| Entry::new(name, about, config, |len, config| Ok(Box::new(Meka::new(len, config)?)));
    let meka = MekaConfig::default();
    let adameka = MekaConfig { direction: Direction::Adaptive { epsilon: 1e-8 }, ..meka };
    let with = |step: StepRule, config: MekaConfig| MekaConfig { step, ..config };
    vec![
        entry("meka", "MEKA, steps of most probable improvement: no learning rate", meka),
        entry(
            "meka-quadratic",
            "MEKA, steps to the minimum of the expected loss: no learning rate",
            with(StepRule::Quadratic, meka),
        ),
        entry(
            "meka-expected",
            "MEKA, a sixth of the steps of largest expected improvement: no learning rate",
            // Where noise grows with the step they end at ten of the quadratic's, and twice that is as far as a parabola forgives.
            MekaConfig { scale: 0.15, ..with(StepRule::Expected, meka) },
        ),
        entry(
            "meka-diagonal",
            "MEKA with a variance for every coordinate: no learning rate",
            MekaConfig { covariance: Covariance::Diagonal, ..meka },
        ),
        entry("meka-fixed", "MEKA with SGD's learning rate", with(StepRule::Fixed(0.1), meka)),
        entry("adameka", "AdaMEKA, steps of most probable improvement: no learning rate", adameka),
        entry("adameka-fixed", "AdaMEKA with Adam's learning rate", with(StepRule::Fixed(1e-3), adameka)),
    ]
}
