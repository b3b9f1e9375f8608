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
//! Deviations from the paper's text: Eq. 9 is read with m², not m (units); the moving average of Algorithm 1 is on the step's
//! coefficients, not on the step (the latter diverges); Q is that of the current step (Eq. 4); the variances are those of the
//! minibatch mean unless [`VarianceOf::Sample`]; λ is 0 in the first step, whose prediction is void; the displacement is measured
//! (θ − previous θ), so that weight decay or a projection between steps is accounted for.

use osculate_engine::store::Store;
use osculate_engine::{Device, Func, In, Out, Program, Real, Request, Spec, dot, spec};

use crate::base::finite_state;
use crate::error::{decay, positive};
use crate::improvement::{Coefficients, Outcome};
use crate::optimizer::{check_len, some_parameters};
use crate::options::{self, Field, Options};
use crate::registry::Entry;
use crate::vectors::finite;
use crate::{Error, Optimizer, Oracle, Report, Result, Smooth, Status, kalman};

/// How the filters start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// m = 0, u = 0 with this variance (10⁴ in the paper): the first gain is almost 1.
    Diffuse(f64),
    /// m = g, u = y with the variances of the first minibatch: the limit of infinite variance.
    FirstObservation,
}

/// Whose variance the filters work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VarianceOf {
    /// The minibatch mean's: that of an example over n. What the model asks for.
    Mean,
    /// One example's: apparently what the authors used; for reproducing their figures.
    Sample,
}

/// What is stepped along.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Direction {
    /// −m.
    Mean,
    /// −m/(√(m² + p) + ε): AdaMEKA.
    Adaptive {
        /// ε, 1e-8 in the paper.
        epsilon: f64,
    },
}

/// How far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StepRule {
    /// A fixed α.
    Fixed(f64),
    /// The minimiser a/b of the expected loss.
    Quadratic,
    /// The maximiser of the probability of improvement.
    Improvement,
}

/// Variances supplied by the caller instead of measured, of the minibatch mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// Of the loss.
    pub loss: f64,
    /// Of a coordinate of the gradient.
    pub gradient: f64,
    /// Of a coordinate of any Hessian-vector product.
    pub hvp: f64,
}

/// Options of [`Meka`]; the defaults are the paper's, with no learning rate to set.
///
/// ```
/// use osculate_optim::meka::{MekaConfig, StepRule};
/// let fixed = MekaConfig { step: StepRule::Fixed(0.1), ..MekaConfig::default() };
/// assert_eq!(fixed.gradient_decay, 0.999);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MekaConfig {
    /// Start of the filters.
    pub init: Init,
    /// Normalisation of the variances.
    pub variance_of: VarianceOf,
    /// Direction.
    pub direction: Direction,
    /// Step size.
    pub step: StepRule,
    /// β of the average of the loss's variance.
    pub loss_decay: f64,
    /// β of the average of the gradient's variance.
    pub gradient_decay: f64,
    /// β of the averages of the step's coefficients.
    pub coefficient_decay: f64,
    /// Multiplies every step (c in the paper's Fig. 6).
    pub scale: f64,
    /// Whether a surprising loss adds λ to the predicted variance.
    pub surprise: bool,
    /// Largest α, if any.
    pub max_step: Option<f64>,
    /// α where the rule has no finite answer and none has been taken yet.
    pub first_step: f64,
    /// Variances known beforehand; none are measured then, and minibatches of one example will do.
    pub noise: Option<Noise>,
}

impl Default for MekaConfig {
    fn default() -> MekaConfig {
        MekaConfig {
            init: Init::Diffuse(1e4),
            variance_of: VarianceOf::Mean,
            direction: Direction::Mean,
            step: StepRule::Improvement,
            loss_decay: 0.999,
            gradient_decay: 0.999,
            coefficient_decay: 0.999,
            scale: 1.0,
            surprise: true,
            max_step: None,
            first_step: 0.01,
            noise: None,
        }
    }
}

impl Options for MekaConfig {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, Field<'_>)) {
        let (mut init, mut variance) = match self.init {
            Init::Diffuse(variance) => (0, variance),
            Init::FirstObservation => (1, 1e4),
        };
        see("init", Field::Choice(&mut init, &["diffuse", "first-observation"]));
        see("variance", Field::Number(&mut variance));
        self.init = if init == 0 { Init::Diffuse(variance) } else { Init::FirstObservation };

        let mut of = usize::from(self.variance_of == VarianceOf::Sample);
        see("variance-of", Field::Choice(&mut of, &["mean", "sample"]));
        self.variance_of = if of == 0 { VarianceOf::Mean } else { VarianceOf::Sample };

        let (mut direction, mut epsilon) = match self.direction {
            Direction::Mean => (0, 1e-8),
            Direction::Adaptive { epsilon } => (1, epsilon),
        };
        see("direction", Field::Choice(&mut direction, &["mean", "adaptive"]));
        see("epsilon", Field::Number(&mut epsilon));
        self.direction = if direction == 0 { Direction::Mean } else { Direction::Adaptive { epsilon } };

        let (mut rule, mut rate) = match self.step {
            StepRule::Fixed(rate) => (0, rate),
            StepRule::Quadratic => (1, 0.1),
            StepRule::Improvement => (2, 0.1),
        };
        see("step", Field::Choice(&mut rule, &["fixed", "quadratic", "improvement"]));
        see("rate", Field::Number(&mut rate));
        self.step = [StepRule::Fixed(rate), StepRule::Quadratic, StepRule::Improvement][rule.min(2)];

        see("loss-decay", Field::Number(&mut self.loss_decay));
        see("gradient-decay", Field::Number(&mut self.gradient_decay));
        see("coefficient-decay", Field::Number(&mut self.coefficient_decay));
        see("scale", Field::Number(&mut self.scale));
        see("surprise", Field::Flag(&mut self.surprise));
        see("max-step", Field::Maybe(&mut self.max_step));
        see("first-step", Field::Number(&mut self.first_step));

        let mut known = self.noise.map_or([None; 3], |noise| [noise.loss, noise.gradient, noise.hvp].map(Some));
        for (name, value) in ["loss-noise", "gradient-noise", "hvp-noise"].into_iter().zip(&mut known) {
            see(name, Field::Maybe(value));
        }
        // What is not named beside one that is, is zero.
        let [loss, gradient, hvp] = known.map(|value| value.unwrap_or(0.0));
        self.noise = known.iter().any(Option::is_some).then_some(Noise { loss, gradient, hvp });
    }
}

/// The scalars of the filters after a step, in the paper's letters.
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
    steps: u64,
    filter: Filter,
    loss_noise: Smooth,
    gradient_noise: Smooth,
    /// Averages of a, b, p̃, q̃, V₀.
    coefficients: [Smooth; 5],
    last_step: f64,
}

/// The filters' vector work, m⁻ and direction: `((m, b, g), (k, p)) -> (m, d)`, where b and g come as sums over the minibatch.
type Update<T> = Program<T, (Spec, Spec, Spec), (Spec, Spec, Spec), (Spec, Spec)>;

/// MEKA and AdaMEKA with a scalar covariance, see the [module](self).
///
/// A step asks for the gradient's moments with those of Hδ, and for adaptive steps for those of Hd as well.
#[derive(Debug, Clone)]
pub struct Meka<T> {
    config: MekaConfig,
    now: Scalars,
    mean: Vec<T>,
    previous: Vec<T>,
    /// Results of the step being taken, swapped in when it succeeds.
    next_mean: Vec<T>,
    direction: Vec<T>,
    displacement: Vec<T>,
    next_params: Vec<T>,
    zero: Vec<T>,
    update: Update<T>,
    /// x + step · d; with step −1 the displacement since the last step.
    advance: Program<T, (Spec, Spec), Spec, Spec>,
}

impl<T: Real> Meka<T> {
    /// For `len` parameters.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(len: usize, config: MekaConfig) -> Result<Meka<T>> {
        decay("loss_decay", config.loss_decay)?;
        decay("gradient_decay", config.gradient_decay)?;
        decay("coefficient_decay", config.coefficient_decay)?;
        positive("scale", config.scale)?;
        positive("first_step", config.first_step)?;
        if let StepRule::Fixed(step) = config.step {
            positive("step", step)?;
        }
        if let Init::Diffuse(variance) = config.init {
            positive("initial variance", variance)?;
        }
        if let Some(max) = config.max_step {
            positive("max_step", max)?;
        }
        if let Direction::Adaptive { epsilon } = config.direction {
            positive("epsilon", epsilon)?;
        }
        for (option, value) in
            config.noise.iter().flat_map(|n| [("loss", n.loss), ("gradient", n.gradient), ("hvp", n.hvp)])
        {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::Option { option, value, why: "a variance is wanted: finite and not negative" });
            }
        }
        some_parameters(len)?;
        let vector = || spec([len]);
        let scalars = (spec([]), spec([]), spec([]));
        let update = Func::<_, _, (Spec, Spec)>::trace_tree(
            (vector(), vector(), vector()),
            scalars,
            |_, (m, b, g), (gain, p, each)| {
                let predicted = m + each * b;
                let m = predicted + gain * (each * g - predicted);
                let d = match config.direction {
                    Direction::Mean => -m,
                    Direction::Adaptive { epsilon } => -m / ((m * m + p).sqrt() + epsilon),
                };
                (m, d)
            },
        )?;
        let advance = Func::trace((vector(), vector()), spec([]), |_, (x, d), step| x + step * d)?;
        let zeros = || vec![T::zero(); len];
        Ok(Meka {
            now: Scalars {
                steps: 0,
                filter: Filter::default(),
                loss_noise: Smooth::new(config.loss_decay),
                gradient_noise: Smooth::new(config.gradient_decay),
                coefficients: [Smooth::new(config.coefficient_decay); 5],
                last_step: 0.0,
            },
            config,
            mean: zeros(),
            previous: zeros(),
            next_mean: zeros(),
            direction: zeros(),
            displacement: zeros(),
            next_params: zeros(),
            zero: zeros(),
            update: update.compile(&Device::cpu())?,
            advance: advance.compile(&Device::cpu())?,
        })
    }

    /// The scalars of the filters after the last step.
    pub fn filter(&self) -> &Filter {
        &self.now.filter
    }

    /// The filtered gradient.
    pub fn mean(&self) -> &[T] {
        &self.mean
    }

    /// Forgets all that was filtered, as after a jump of the parameters; the averages of the variances are kept.
    pub fn reset(&mut self) {
        self.now.steps = 0;
        self.now.filter = Filter::default();
        self.mean.fill(T::zero());
    }

    /// One step of all the filters, on scratch; `None` if something was not finite.
    fn filtered(&mut self, params: &[T], oracle: &mut dyn Oracle<T>, loss: &mut f64) -> Result<Option<Scalars>> {
        let mut now = self.now;
        let first = now.steps == 0;
        let n = oracle.count() as f64;
        let nu = if self.config.variance_of == VarianceOf::Mean { n } else { 1.0 };
        // θ − previous θ; in the first step there is none.
        if first {
            self.displacement.fill(T::zero());
        } else {
            let inputs = [In::Real(params), In::Real(&self.previous), In::Real(&[T::one().neg()] as &[T])];
            self.advance.run_flat(&inputs, &mut [Out::Real(&mut self.displacement)])?;
        }
        let delta = &self.displacement;
        let request = if first { Request::gradient() } else { Request::gradient().and_hvp() };
        let moments = oracle.moments(params, (!first).then_some(delta.as_slice()), request)?;
        let y = moments.loss();
        *loss = y;
        let (noise, q) = match self.config.noise {
            Some(noise) => ([noise.loss, noise.gradient], if first { 0.0 } else { noise.hvp }),
            None => {
                let q = if first { 0.0 } else { moments.hvp_variance()?.value / nu };
                ([moments.loss_variance()? / nu, moments.gradient_variance()?.value / nu], q)
            }
        };
        if !moments.is_finite() || ![y, q, noise[0], noise[1]].iter().all(|x| x.is_finite()) {
            return Ok(None);
        }
        let r = now.loss_noise.add(noise[0]);
        let sigma = now.gradient_noise.add(noise[1]);
        let g = &moments.gradient()?.sum;
        let b = if first { &self.zero } else { &moments.hvp()?.sum };

        // The loss filter first: it needs the gradient's mean and variance of the step before.
        let squared = dot(delta, delta);
        let Filter { u, s, p, .. } = now.filter;
        let (s, p) = match (first, self.config.init) {
            (true, Init::Diffuse(variance)) => (variance, variance),
            (true, Init::FirstObservation) => (f64::INFINITY, f64::INFINITY),
            (false, _) => (s, p),
        };
        let predicted = u + dot(&self.mean, delta) + 0.5 * dot(delta, b) / n;
        // Nothing has moved before the first step, however uncertain the gradient (∞·0 would be NaN).
        let spread = if first { s } else { s + p * squared + 0.25 * q * squared };
        let surprise = (y - predicted).powi(2) - (spread + r);
        let lambda = if first || !self.config.surprise { 0.0 } else { surprise.max(0.0) };
        let known = |predicted: f64, noise: f64| {
            if predicted.is_infinite() { (1.0, noise) } else { kalman::update(predicted, noise) }
        };
        // s⁻ = λ + c − r, without the cancellation.
        let (loss_gain, s) = known(lambda + spread, r);
        let u = predicted + loss_gain * (y - predicted);

        let (gain, p) = known(p + q, sigma);
        let inputs = [
            In::Real(&self.mean),
            In::Real(b),
            In::Real(g),
            In::Real(&[T::narrow(gain)] as &[T]),
            In::Real(&[T::narrow(p)] as &[T]),
            In::Real(&[T::narrow(1.0 / n)] as &[T]),
        ];
        self.update.run_flat(&inputs, &mut [Out::Real(&mut self.next_mean), Out::Real(&mut self.direction)])?;
        now.filter = Filter { u, s, p, r, sigma, q, lambda, gain, loss_gain };
        now.steps += 1;
        let finite = [u, s, p].iter().all(|x| x.is_finite()) && self.direction.iter().all(|x| x.is_finite());
        Ok(finite.then_some(now))
    }

    /// The step's smoothed coefficients along the direction; `None` if something was not finite.
    fn coefficients(
        &self,
        now: &mut Scalars,
        params: &[T],
        oracle: &mut dyn Oracle<T>,
    ) -> Result<Option<Coefficients>> {
        let d = &self.direction;
        let n = oracle.count() as f64;
        let nu = if self.config.variance_of == VarianceOf::Mean { n } else { 1.0 };
        let moments = oracle.moments(params, Some(d), Request::hvp())?;
        let curvature = dot(d, &moments.hvp()?.sum) / n;
        let q = match self.config.noise {
            Some(noise) => noise.hvp,
            None => moments.hvp_variance()?.value / nu,
        };
        let squared = dot(d, d);
        let Filter { s, p, lambda, .. } = now.filter;
        let raw = [-dot(d, &self.next_mean), curvature, p * squared, q * squared, 2.0 * s + lambda];
        if raw.iter().any(|x| !x.is_finite()) {
            return Ok(None);
        }
        let mut smooth = [0.0; 5];
        for ((value, average), raw) in smooth.iter_mut().zip(&mut now.coefficients).zip(raw) {
            *value = average.add(raw);
        }
        let [slope, curvature, v2, v4, v0] = smooth;
        Ok(Some(Coefficients { slope, curvature, v0, v2, v4, ..Coefficients::default() }))
    }
}

impl<T: Real> Optimizer<T> for Meka<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.mean.len(), params.len())?;
        let mut loss = f64::NAN;
        let Some(mut now) = self.filtered(params, oracle, &mut loss)? else {
            return Ok(Report::new(Status::NonFinite, loss, 0.0));
        };
        let mut coefficients = None;
        let (step, status) = match self.config.step {
            StepRule::Fixed(step) => (step, Status::Stepped),
            rule => {
                let Some(along) = self.coefficients(&mut now, params, oracle)? else {
                    return Ok(Report::new(Status::NonFinite, loss, 0.0));
                };
                coefficients = Some(along);
                let (best, outcome) = match rule {
                    StepRule::Quadratic if along.slope <= 0.0 => (0.0, Outcome::NotDescent),
                    StepRule::Quadratic => match along.mean_minimiser() {
                        Some(step) => (step, Outcome::Mean),
                        None => (f64::INFINITY, Outcome::Unbounded),
                    },
                    _ => along.best_step(),
                };
                match outcome {
                    Outcome::Ok | Outcome::Mean if best.is_finite() => (best, Status::Stepped),
                    Outcome::NotDescent | Outcome::ZeroV0 => (0.0, Status::NoDescent),
                    _ if now.last_step > 0.0 => (now.last_step, Status::Fallback),
                    _ => (self.config.first_step, Status::Fallback),
                }
            }
        };
        let step = step.min(self.config.max_step.unwrap_or(f64::INFINITY));
        if step > 0.0 {
            now.last_step = step;
        }
        let scaled = [T::narrow(self.config.scale * step)];
        let inputs = [In::Real(params as &[T]), In::Real(&self.direction), In::Real(&scaled)];
        self.advance.run_flat(&inputs, &mut [Out::Real(&mut self.next_params)])?;
        if self.next_params.iter().any(|x| !x.is_finite()) {
            return Ok(Report::new(Status::NonFinite, loss, 0.0));
        }
        self.now = now;
        std::mem::swap(&mut self.mean, &mut self.next_mean);
        self.previous.copy_from_slice(params);
        params.copy_from_slice(&self.next_params);
        Ok(Report {
            gain: Some(now.filter.gain),
            gradient_noise: Some(now.filter.sigma),
            probability: coefficients.map(|c| c.probability(self.config.scale * step)),
            ..Report::new(status, loss, step)
        })
    }

    fn save(&self) -> Store {
        let mut store = Store::new("osculate.meka");
        let Filter { u, s, p, r, sigma, q, lambda, gain, loss_gain } = self.now.filter;
        store.put("filter", &[u, s, p, r, sigma, q, lambda, gain, loss_gain]);
        store.put("counters", &[self.now.steps as f64, self.now.last_step]);
        let averages = [self.now.loss_noise, self.now.gradient_noise];
        let averages = averages.iter().chain(&self.now.coefficients).flat_map(|a| a.state()).collect::<Vec<_>>();
        store.put("averages", &averages);
        options::save(&mut self.config.clone(), &mut store);
        store.put("mean", &self.mean);
        store.put("previous", &self.previous);
        store
    }

    fn load(&mut self, state: &Store) -> Result<()> {
        state.must_be("osculate.meka")?;
        let mean = state.get("mean", self.mean.len())?;
        let previous = state.get("previous", self.previous.len())?;
        let f = state.get::<f64>("filter", 9)?;
        let counters = state.get::<f64>("counters", 2)?;
        let averages = state.get::<f64>("averages", 14)?;
        options::check(&mut self.config.clone(), state)?;
        let scalars = f.iter().chain(&counters).chain(&averages).all(|x| x.is_finite());
        finite_state(scalars && finite::<T>(&mean) && finite::<T>(&previous))?;
        let average = |at: usize, of: Smooth| of.restored([averages[2 * at], averages[2 * at + 1]]);
        let mut now = self.now;
        now.filter = Filter {
            u: f[0],
            s: f[1],
            p: f[2],
            r: f[3],
            sigma: f[4],
            q: f[5],
            lambda: f[6],
            gain: f[7],
            loss_gain: f[8],
        };
        now.steps = counters[0] as u64;
        now.last_step = counters[1];
        now.loss_noise = average(0, now.loss_noise);
        now.gradient_noise = average(1, now.gradient_noise);
        for (at, coefficient) in now.coefficients.iter_mut().enumerate() {
            *coefficient = average(2 + at, *coefficient);
        }
        (self.now, self.mean, self.previous) = (now, mean, previous);
        Ok(())
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
        entry("meka-fixed", "MEKA with SGD's learning rate", with(StepRule::Fixed(0.1), meka)),
        entry("adameka", "AdaMEKA, steps of most probable improvement: no learning rate", adameka),
        entry("adameka-fixed", "AdaMEKA with Adam's learning rate", with(StepRule::Fixed(1e-3), adameka)),
    ]
}
