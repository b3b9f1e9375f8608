//! KaFiStO: a Kalman filter of the parameters that observes the loss, whose least value is the target.
//!
//! A. Davtyan, S. Sameni, L. Cerkezi, G. Meishvili, A. Bielski, P. Favaro, *KOALA: A Kalman Optimization Algorithm with Loss
//! Adaptivity*, 2022 (as KaFiStO, 2021), Sec. 3, with its supplement (Algorithm 2, Eq. 49 to 63). With the residual e = L − L_min,
//! G = ‖∇L‖² and covariances of one number each for position (sx), momentum (sp) and both (sc):
//!
//! ```text
//! predict  x̂ = x + p        p̂ = αp                                 Vanilla has no p: α = sc = sp = 0
//!          sx = sx + 2sc + sp + qx    sc = α(sc + sp)    sp = α²sp + qp
//! observe  L, ∇L at x̂       S = sx G + R      h = G/S
//! update   x = x̂ − η (sx/S) e ∇L              p = p̂ − η (sc/S) e ∇L
//!          sx = sx − h sx²    sc = sc − h sx sc    sp = sp − h sc²
//! noise    R = 0.9 R + 0.1 mean (lᵢ − L_min)²      x̄ = 0.9 x̄ + 0.1 x      qx = ‖x − x̄‖²/D    Eq. 23 to 25
//! ```
//!
//! By layers (Eq. 26), each parameter array has its own G and S, and h is the largest. A multiplier η < 1 is the same as
//! L_min = (1 − η)L, and so are its [schedules](Schedule); for losses without a bound, `below` puts L_min that far below L.
//!
//! Deviations: K is formed with the predicted covariance (Table 1 has the old one); R starts at 1 and is updated before it is used, as in
//! the authors' code; x̄ starts at x₀ and qx has the square of the norm, as in the paper. An array whose gradient is shorter than 1e-9 is left
//! alone.
//!
//! `koala_compat` does instead what the code does: it goes by layers; x̄ starts at 0 and follows x after the step, and qx is a moving
//! average, from `position_noise`, of the norm without its square; an array whose gradient without its weight decay is shorter than
//! 1e-9 is left out wholly (it does not decay, its x̄ does not follow, it has no part in h); Vanilla steps along the gradient without its
//! weight decay (S and the loss have it). Where all arrays are left out, the code fails: here the covariance stays as predicted.

use std::ops::Range;

use osculate_engine::store::Store;
use osculate_engine::{Expr, Real, Request, dot, finite, largest};

use crate::optimizer::{Undone, check_len, check_new, tried};
use crate::options::{Field, Legal, Options};
use crate::registry::Entry;
use crate::schedule::Pace;
use crate::state::{Kept, Reader, kept, whole};
use crate::vectors::{Limits, Undo, Vectors, filled, held, larger};
use crate::{Optimizer, Oracle, Report, Result, Schedule, Status};

/// Options of [`Kafisto`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Whether the filter has a momentum (Kalman Dynamics).
    pub dynamics: bool,
    /// α, the momentum's decay.
    pub alpha: f64,
    /// First variances of position and momentum, σ₀².
    pub variance: f64,
    /// qx; if it adapts, where it starts with `koala_compat`.
    pub position_noise: f64,
    /// qp.
    pub momentum_noise: f64,
    /// Whether qx adapts.
    pub adaptive_position_noise: bool,
    /// R, or where it starts.
    pub loss_noise: f64,
    /// Whether R adapts.
    pub adaptive_loss_noise: bool,
    /// η, multiplied by the schedule's factor.
    pub rate: f64,
    /// Course of η.
    pub schedule: Schedule,
    /// L_min.
    pub least_loss: f64,
    /// L − L_min, for losses without a bound.
    pub below: Option<f64>,
    /// Whether a loss below L_min counts as L_min; else it is stepped away from.
    pub clamp: bool,
    /// Whether every parameter array has an innovation of its own, as with `koala_compat` it has.
    pub by_layer: bool,
    /// λ of ½λ‖w‖², added to every array's loss and gradient.
    pub weight_decay: f64,
    /// Whether to do as the authors' code does.
    pub koala_compat: bool,
}

impl Config {
    /// KaFiStO: with momentum, all noise adaptive.
    pub fn dynamics() -> Config {
        Config {
            dynamics: true,
            alpha: 0.9,
            variance: 0.1,
            position_noise: 0.01,
            momentum_noise: 0.01,
            adaptive_position_noise: true,
            loss_noise: 1.0,
            adaptive_loss_noise: true,
            rate: 1.0,
            schedule: Schedule::default(),
            least_loss: 0.0,
            below: None,
            clamp: false,
            by_layer: false,
            weight_decay: 0.0,
            koala_compat: false,
        }
    }

    /// The filter of the position alone; Q = 1 is that of the authors' code, the paper names none.
    pub fn vanilla() -> Config {
        Config { dynamics: false, adaptive_position_noise: false, position_noise: 1.0, ..Config::dynamics() }
    }
}

impl Options for Config {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        let about = "whether the filter has a momentum (Kalman Dynamics)";
        see("dynamics", about, Field::Flag(&mut self.dynamics));
        if self.dynamics {
            see("alpha", "α, by which the momentum fades in a step", Field::Number(&mut self.alpha, Legal::Decay));
        }
        let about = "σ₀², first variance of position and momentum";
        see("variance", about, Field::Number(&mut self.variance, Legal::Positive));
        let about = "whether qx follows how far the position moves";
        see("adaptive-position-noise", about, Field::Flag(&mut self.adaptive_position_noise));
        if !self.adaptive_position_noise || self.koala_compat {
            let about = "qx, the variance by which the position moves in a step (first, if it adapts)";
            see("position-noise", about, Field::Number(&mut self.position_noise, Legal::NotNegative));
        }
        if self.dynamics {
            let about = "qp, the variance by which the momentum moves in a step";
            see("momentum-noise", about, Field::Number(&mut self.momentum_noise, Legal::NotNegative));
        }
        let about = "R, the variance of the loss (first, if it adapts)";
        see("loss-noise", about, Field::Number(&mut self.loss_noise, Legal::Positive));
        let about = "whether R follows the examples' losses";
        see("adaptive-loss-noise", about, Field::Flag(&mut self.adaptive_loss_noise));
        see("rate", "η, by which gains are multiplied", Field::Number(&mut self.rate, Legal::Positive));
        self.schedule.each(see);
        let about = "target this far below the loss, instead of a least one, for losses without a bound";
        see("below", about, Field::Maybe(&mut self.below, Legal::Positive));
        if self.below.is_none() {
            see("least-loss", "L_min, the target", Field::Number(&mut self.least_loss, Legal::Finite));
            let about = "whether a loss below the target counts as the target, instead of being stepped away from";
            see("clamp", about, Field::Flag(&mut self.clamp));
        }
        let about = "whether to do as the authors' code does, which goes by layers";
        see("koala-compat", about, Field::Flag(&mut self.koala_compat));
        if !self.koala_compat {
            let about = "whether every parameter array has an innovation of its own";
            see("by-layer", about, Field::Flag(&mut self.by_layer));
        }
        let about = "λ of ½λ‖w‖², added to every array's loss and gradient";
        see("weight-decay", about, Field::Number(&mut self.weight_decay, Legal::NotNegative));
    }
}

/// The scalars of the filter, in the paper's letters.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Filter {
    /// Covariances sx, sc, sp, after the update.
    pub covariance: [f64; 3],
    /// The same as predicted.
    pub predicted: [f64; 3],
    /// R.
    pub loss_noise: f64,
    /// qx.
    pub position_noise: f64,
    /// Largest S of the step.
    pub innovation: f64,
}

/// Factor of the averages of R, x̄ and (in the code) qx.
const DECAY: f64 = 0.9;

/// ‖∇L‖² of arrays that are left alone.
const NONE: f64 = 1e-18;

/// KaFiStO, see the [module](self).
///
/// A step asks for the losses of all examples and their mean gradient, at the predicted position.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{kafisto::Config, Kafisto, Minibatches, Optimizer};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// let data = Examples::new(spec([]), Array::new([1], vec![2.0])?)?.all()?;
/// let mut oracles = Minibatches::new(&loss, &Device::cpu());
/// let (mut w, mut kafisto) = ([0.0], Kafisto::new(1, Config::dynamics())?);
/// for _ in 0..100 {
///     kafisto.step(&mut w, &mut oracles.on(&data))?;
/// }
/// assert!((w[0] - 2.0f64).abs() < 0.2);
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Kafisto<T> {
    config: Config,
    pace: Pace,
    steps: u64,
    filter: Filter,
    /// p, empty for the vanilla filter, and a bound of it.
    momentum: Vec<T>,
    most: f64,
    /// x̄; empty if qx does not adapt.
    average: Vec<T>,
    len: usize,
    /// x̂; empty if it is x.
    position: Vec<T>,
    /// Arrays with an innovation of their own, found when a layout is first seen.
    blocks: Vec<Block<T>>,
    /// x + p.
    add: Vectors<T, 1, 2, 0>,
    /// ‖x − x̄‖².
    distance: Vectors<T, 0, 2, 0, 1>,
    /// Both.
    predict: Vectors<T, 1, 3, 0, 1>,
    /// x̄ = 0.9 x̄ + 0.1 x.
    follow: Vectors<T, 1, 1, 1>,
    undo: Undo<T>,
}

#[derive(Debug, Clone)]
struct Block<T> {
    range: Range<usize>,
    update: Update<T>,
    /// G, and e with the array's own decay.
    squared: f64,
    residual: f64,
    /// What multiplies its gradient in a step of variance 1, once that is known.
    factor: f64,
    /// Whether it has a gradient to step along.
    alive: bool,
    /// A bound of its gradient, with its decay.
    most: f64,
}

/// x and p, and the x̄ that follows x, from the gradient's sum: scalars 1/n, λ, α, the factors of the gradient in both, and how much
/// nearer x̄ comes.
#[derive(Debug, Clone)]
enum Update<T> {
    Vanilla(Vectors<T, 1, 1, 6>),
    Dynamics(Vectors<T, 2, 1, 6>),
    Following(Vectors<T, 3, 1, 6>),
}

/// The new x and p of the filter with dynamics.
fn dynamics<'t>(scalars: [Expr<'t>; 6], x: Expr<'t>, p: Expr<'t>, g: Expr<'t>) -> [Expr<'t>; 2] {
    let [each, decay, alpha, by_x, by_p, _] = scalars;
    let x = x + p;
    let g = each * g + decay * x;
    [x + by_x * g, alpha * p + by_p * g]
}

impl<T: Real> Kafisto<T> {
    /// For `len` parameters.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(len: usize, config: Config) -> Result<Kafisto<T>> {
        check_new::<T>(len, &config)?;
        let zeros = |is: bool| filled(if is { len } else { 0 }, T::zero());
        Ok(Kafisto {
            pace: Pace::new(config.schedule),
            steps: 0,
            filter: Filter::default(),
            momentum: zeros(config.dynamics)?,
            most: 0.0,
            average: zeros(config.adaptive_position_noise)?,
            len,
            position: zeros(config.dynamics)?,
            blocks: Vec::new(),
            add: Vectors::new(|[], [_], [x, p]| [x + p])?,
            distance: Vectors::summing(|[], [], [x, mean]| ([], [(x - mean) * (x - mean)]))?,
            predict: Vectors::summing(|[], [_], [x, p, mean]| ([x + p], [(x - mean) * (x - mean)]))?,
            follow: Vectors::new(|[part], [mean], [x]| [mean + part * (x - mean)])?,
            config,
            undo: Undo::default(),
        })
    }

    /// The scalars of the filter after the last step.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// p, empty for the vanilla filter.
    pub fn momentum(&self) -> &[T] {
        &self.momentum
    }

    /// The arrays that have innovations of their own.
    fn find_blocks(&mut self, oracle: &dyn Oracle<T>) -> Result<()> {
        check_len(self.len, oracle.layout().len())?;
        let ranges: Vec<Range<usize>> = match self.config.by_layer || self.config.koala_compat {
            true => oracle.layout().segments().iter().map(|segment| segment.range()).collect(),
            false => std::iter::once(0..self.len).collect(),
        };
        for range in ranges.into_iter().filter(|range| !range.is_empty()) {
            let update = match (self.config.dynamics, self.follows()) {
                (false, _) => Update::Vanilla(Vectors::new(|[each, decay, _, by_x, _, _], [x], [g]| {
                    [x + by_x * (each * g + decay * x)]
                })?),
                (true, false) => Update::Dynamics(Vectors::new(|scalars, [x, p], [g]| dynamics(scalars, x, p, g))?),
                (true, true) => Update::Following(Vectors::new(|scalars, [x, p, mean], [g]| {
                    let follows = mean + scalars[5] * (x - mean);
                    let [x, p] = dynamics(scalars, x, p, g);
                    [x, p, follows]
                })?),
            };
            self.blocks.push(Block {
                range,
                update,
                squared: 0.0,
                residual: 0.0,
                factor: 0.0,
                alive: false,
                most: 0.0,
            });
        }
        Ok(())
    }

    /// Whether x̄ follows x before the step.
    fn follows(&self) -> bool {
        self.config.adaptive_position_noise && !self.config.koala_compat
    }

    /// qx of this step from ‖x − x̄‖², without touching x̄: the average that follows x is 0.9 times as far from it.
    fn position_noise(&self, squared: f64) -> f64 {
        let len = self.len as f64;
        if !self.config.adaptive_position_noise {
            return self.config.position_noise;
        }
        if self.steps == 0 && !self.config.koala_compat {
            return 0.0;
        }
        if !self.config.koala_compat {
            return DECAY * DECAY * squared / len;
        }
        let before = if self.steps == 0 { self.config.position_noise } else { self.filter.position_noise };
        DECAY * before + (1.0 - DECAY) * squared.sqrt() / len
    }
}

/// What a step goes by, once the minibatch was looked at.
#[derive(Debug, Clone, Copy)]
struct Seen {
    loss: f64,
    /// n.
    count: f64,
    /// η.
    rate: f64,
    /// R and qx.
    noise: [f64; 2],
    predicted: [f64; 3],
}

impl<T: Real> Kafisto<T> {
    /// Covariances as predicted, with qx.
    fn predict(&mut self, params: &[T]) -> Result<([f64; 3], f64)> {
        let Config { alpha, variance, momentum_noise, dynamics, adaptive_position_noise: adaptive, .. } = self.config;
        let [sx, sc, sp] = match (self.steps, dynamics) {
            (0, true) => [variance, 0.0, variance],
            (0, false) => [variance, 0.0, 0.0],
            _ => self.filter.covariance,
        };
        let [squared] = match (dynamics, adaptive) {
            (true, true) => self.predict.run([], [&mut self.position], [params, &self.momentum, &self.average])?,
            (true, false) => {
                self.add.run([], [&mut self.position], [params, &self.momentum])?;
                [0.0]
            }
            (false, true) => self.distance.run([], [], [params, &self.average])?,
            (false, false) => [0.0],
        };
        let qx = self.position_noise(squared);
        let predicted = match dynamics {
            // A variance after rounding, too.
            true => [larger(sx + 2.0 * sc + sp, 0.0) + qx, alpha * (sc + sp), alpha * alpha * sp + momentum_noise],
            false => [sx + qx, 0.0, 0.0],
        };
        Ok((predicted, qx))
    }

    /// Looks at every array's gradient, whose sum over the examples is given; `false` if one is not finite.
    fn look(&mut self, sum: &[T], params: &[T], residual: f64, n: f64) -> bool {
        let Config { weight_decay, clamp, below, koala_compat, dynamics, .. } = self.config;
        let position = if dynamics { &self.position[..] } else { params };
        for block in &mut self.blocks {
            let (g, w) = (&sum[block.range.clone()], &position[block.range.clone()]);
            let raw = dot(g, g) / (n * n);
            (block.squared, block.residual, block.most) = (raw, residual, raw.sqrt());
            if weight_decay > 0.0 {
                let weights = dot(w, w);
                block.squared += weight_decay * (2.0 * dot(g, w) / n + weight_decay * weights);
                block.residual += 0.5 * weight_decay * weights;
                block.most += weight_decay * weights.sqrt();
            }
            if clamp && below.is_none() {
                block.residual = block.residual.max(0.0);
            }
            // It is not where the gradient is not.
            if !block.squared.is_finite() {
                return false;
            }
            block.alive = if koala_compat { raw } else { block.squared } >= NONE;
        }
        true
    }

    /// The update, of arrays that were looked at.
    fn update(&mut self, params: &mut [T], sum: &[T], seen: Seen) -> Result<Report> {
        let Config { alpha, weight_decay, dynamics, koala_compat, adaptive_position_noise, .. } = self.config;
        let (Seen { count: n, predicted, .. }, [noise, qx]) = (seen, seen.noise);
        let [px, pc, pp] = predicted;
        let (mut most, mut innovation, mut step) = (0.0f64, noise, 0.0f64);
        for block in &mut self.blocks {
            let s = px * block.squared + noise;
            block.factor = if block.alive { -seen.rate * block.residual / s } else { 0.0 };
            if block.alive {
                most = larger(most, block.squared / s);
                innovation = larger(innovation, s).min(f64::MAX);
            }
            step = larger(step, (block.factor * px).abs());
        }
        // A covariance is one after rounding, too; `max` and `clamp` would take what is no number for one.
        let [sx, sc, sp] = [px - most * px * px, pc - most * px * pc, pp - most * pc * pc];
        if ![sx, sc, sp, step].iter().all(|x| x.is_finite()) {
            return Ok(Report::not_finite(seen.loss));
        }
        let [sx, sp] = [sx, sp].map(|variance| variance.max(0.0));
        let bound = 0.5 * (sx + sp);
        // At first it is where x is.
        let nearer = if self.steps == 0 { 0.0 } else { 1.0 - DECAY };
        if self.follows() && self.steps == 0 {
            self.average.copy_from_slice(params);
        }
        if self.follows() && !dynamics {
            self.follow.run([nearer], [&mut self.average], [params])?;
        }
        for block in &mut self.blocks {
            let range = block.range.clone();
            let factor = block.factor;
            let decay = if koala_compat && !dynamics { 0.0 } else { weight_decay };
            let scalars = [1.0 / n, decay, alpha, factor * px, factor * pc, nearer];
            let (x, g) = (&mut params[range.clone()], &sum[range.clone()]);
            match &mut block.update {
                Update::Vanilla(update) => update.run(scalars, [x], [g])?,
                Update::Dynamics(update) => update.run(scalars, [x, &mut self.momentum[range.clone()]], [g])?,
                Update::Following(update) => {
                    let (p, mean) = (&mut self.momentum[range.clone()], &mut self.average[range.clone()]);
                    update.run(scalars, [x, p, mean], [g])?
                }
            };
            if koala_compat && adaptive_position_noise && block.alive {
                self.follow.run([1.0 - DECAY], [&mut self.average[range.clone()]], [&params[range]])?;
            }
        }
        self.filter = Filter {
            covariance: [sx, sc.clamp(-bound, bound), sp],
            predicted,
            loss_noise: noise,
            position_noise: qx,
            innovation,
        };
        self.pace.see(self.steps, seen.loss);
        self.steps += 1;
        Ok(Report { gain: Some((most * px).min(1.0)), ..Report::new(Status::Stepped, seen.loss, step) })
    }

    /// A bound of the momentum after an update, if that is known not to leave the type's numbers.
    fn bounded(&self, seen: Seen) -> Option<f64> {
        let ([px, pc, _], [noise, _], limits) = (seen.predicted, seen.noise, Limits::of::<T>());
        let (mut step, mut kick) = (0.0f64, 0.0f64);
        for block in self.blocks.iter().filter(|block| block.alive) {
            let factor = seen.rate * block.residual / (px * block.squared + noise);
            if !held::<T>(&[factor * px, factor * pc]) {
                return None;
            }
            let factor = factor.abs() * block.most;
            (step, kick) = (larger(step, factor * px.abs()), larger(kick, factor * pc.abs()));
        }
        let most = self.config.alpha * self.most + kick;
        let fits = 2.0 * (self.most + step) < limits.step && most < limits.added[1];
        fits.then_some(most)
    }
}

impl<T: Real> Optimizer<T> for Kafisto<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.len, params.len())?;
        if self.blocks.is_empty() {
            self.find_blocks(oracle)?;
        }
        let (predicted, qx) = self.predict(params)?;
        let position = if self.config.dynamics { &self.position[..] } else { &*params };
        let n = oracle.count() as f64;
        let moments = oracle.moments(position, None, Request::gradient().means())?;
        let loss = moments.loss();
        let sum = &moments.gradient()?.sum;
        let least = self.config.below.map_or(self.config.least_loss, |below| loss - below);
        let squares: f64 = moments.losses().iter().map(|l| (l - least).powi(2)).sum();
        let start = if self.steps == 0 { self.config.loss_noise } else { self.filter.loss_noise };
        let noise = match self.config.adaptive_loss_noise {
            true => DECAY * start + (1.0 - DECAY) * squares / n,
            false => start,
        };
        let known = loss.is_finite() && noise.is_finite() && predicted.iter().all(|x| x.is_finite());
        if !known || !self.look(sum, params, loss - least, n) {
            return Ok(Report::not_finite(loss));
        }
        let rate = self.config.rate * self.pace.factor(self.steps);
        let seen = Seen { loss, count: n, rate, noise: [noise, qx], predicted };
        let mut bounded = self.bounded(seen);
        if bounded.is_none() {
            self.most = largest(&self.momentum);
            bounded = self.bounded(seen);
        }
        let kept = |this: &Kafisto<T>| {
            let numbers = this.filter.covariance.iter().all(|x| x.is_finite());
            numbers && finite(&this.momentum) && finite(&this.average)
        };
        let report = tried(self, params, bounded.is_some(), |this, params| this.update(params, sum, seen), kept)?;
        if report.status == Status::Stepped {
            self.most = bounded.unwrap_or(f64::INFINITY); // to be measured
        }
        Ok(report)
    }

    kept!();
}

impl<T: Real> Undone<T> for Kafisto<T> {
    type Numbers = (Pace, u64, f64, Filter);

    fn numbers(&self) -> Self::Numbers {
        (self.pace, self.steps, self.most, self.filter)
    }

    fn set_numbers(&mut self, numbers: Self::Numbers) {
        (self.pace, self.steps, self.most, self.filter) = numbers;
    }

    fn vectors(&mut self, see: &mut dyn FnMut(&mut [T])) {
        [&mut self.momentum, &mut self.average].into_iter().for_each(|vector| see(vector));
    }

    fn undo(&mut self) -> &mut Undo<T> {
        &mut self.undo
    }
}

impl<T: Real> Kept for Kafisto<T> {
    const WHAT: &'static str = "osculate.kafisto";

    fn with_options<X>(&self, see: impl FnOnce(&mut dyn Options) -> X) -> X {
        see(&mut self.config.clone())
    }

    fn write(&self, store: &mut Store) {
        let Filter { covariance, predicted, loss_noise, position_noise, innovation } = self.filter;
        store.put("scalars", &[self.steps as f64, loss_noise, position_noise, innovation]);
        store.put("covariance", &covariance);
        store.put("predicted", &predicted);
        store.put("momentum", &self.momentum);
        store.put("average", &self.average);
        self.pace.write(store);
    }

    fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        let [steps, loss_noise, position_noise, innovation] = state.numbers("scalars", [Legal::NotNegative; 4])?;
        self.steps = whole("scalars", steps)?;
        let variances = [Legal::NotNegative, Legal::Finite, Legal::NotNegative];
        let covariance @ [sx, sc, sp] = state.numbers("covariance", variances)?;
        if sc.abs() > 0.5 * (sx + sp) {
            let why = "the state's \"covariance\" is none: its second element is larger than the mean of the others";
            return Err(osculate_engine::Error::State(why.into()).into());
        }
        let predicted = state.numbers("predicted", variances)?;
        self.filter = Filter { covariance, predicted, loss_noise, position_noise, innovation };
        self.momentum = state.vector("momentum", self.momentum.len(), Legal::Finite)?;
        self.average = state.vector("average", self.average.len(), Legal::Finite)?;
        self.most = largest(&self.momentum);
        self.pace.read(state)
    }
}

/// The optimizers of this file, for the registry.
pub(crate) fn entries<T: Real>() -> Vec<Entry<T>> {
    let entry =
        |name, about, config| Entry::new(name, about, config, |len, config| Ok(Box::new(Kafisto::new(len, config)?)));
    vec![
        entry(
            "kafisto",
            "KaFiStO, a Kalman filter of the parameters with momentum: no learning rate",
            Config::dynamics(),
        ),
        entry("kafisto-vanilla", "the same without momentum", Config::vanilla()),
    ]
}
