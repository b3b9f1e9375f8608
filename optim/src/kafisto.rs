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
//! the authors' code; x̄ starts at x₀ and qx has the square of the norm, as in the paper — `koala_compat` has what the code does instead:
//! x̄ from 0 and after the step, the norm without its square, a moving average of qx from 0.01, and, of Vanilla, steps along the gradient
//! without its weight decay (S and the loss have it). With momentum steps decay, as they do without `koala_compat`. An array whose gradient is shorter
//! than 1e-9 is left alone.

use std::ops::Range;

use osculate_engine::store::Store;
use osculate_engine::{Expr, Real, Request, dot, finite};

use crate::base::finite_state;
use crate::error::{decay, not_negative, number, positive};
use crate::optimizer::{check_len, check_new};
use crate::options::{self, Field, Options};
use crate::registry::Entry;
use crate::vectors::Vectors;
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
    /// qx, unless it adapts.
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
    /// Whether every parameter array has an innovation of its own.
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
    fn each(&mut self, see: &mut dyn FnMut(&'static str, Field<'_>)) {
        see("dynamics", Field::Flag(&mut self.dynamics));
        see("alpha", Field::Number(&mut self.alpha));
        see("variance", Field::Number(&mut self.variance));
        see("position-noise", Field::Number(&mut self.position_noise));
        see("momentum-noise", Field::Number(&mut self.momentum_noise));
        see("adaptive-position-noise", Field::Flag(&mut self.adaptive_position_noise));
        see("loss-noise", Field::Number(&mut self.loss_noise));
        see("adaptive-loss-noise", Field::Flag(&mut self.adaptive_loss_noise));
        see("rate", Field::Number(&mut self.rate));
        self.schedule.each(see);
        see("least-loss", Field::Number(&mut self.least_loss));
        see("below", Field::Maybe(&mut self.below));
        see("clamp", Field::Flag(&mut self.clamp));
        see("by-layer", Field::Flag(&mut self.by_layer));
        see("weight-decay", Field::Number(&mut self.weight_decay));
        see("koala-compat", Field::Flag(&mut self.koala_compat));
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
    steps: u64,
    filter: Filter,
    /// p; empty for the vanilla filter.
    momentum: Vec<T>,
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
}

#[derive(Debug, Clone)]
struct Block<T> {
    range: Range<usize>,
    update: Update<T>,
    /// G, and e with the array's own decay.
    squared: f64,
    residual: f64,
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
        decay("alpha", config.alpha)?;
        for (option, value) in [("variance", config.variance), ("loss-noise", config.loss_noise), ("rate", config.rate)]
        {
            positive(option, value)?;
        }
        for (option, value) in [
            ("position-noise", config.position_noise),
            ("momentum-noise", config.momentum_noise),
            ("weight-decay", config.weight_decay),
        ] {
            not_negative(option, value)?;
        }
        number("least-loss", config.least_loss)?;
        number("below", config.below.unwrap_or(0.0))?;
        config.schedule.check()?;
        let zeros = |is: bool| vec![T::zero(); if is { len } else { 0 }];
        Ok(Kafisto {
            steps: 0,
            filter: Filter::default(),
            momentum: zeros(config.dynamics),
            average: zeros(config.adaptive_position_noise),
            len,
            position: zeros(config.dynamics),
            blocks: Vec::new(),
            add: Vectors::new(|[], [_], [x, p]| [x + p])?,
            distance: Vectors::summing(|[], [], [x, mean]| ([], [(x - mean) * (x - mean)]))?,
            predict: Vectors::summing(|[], [_], [x, p, mean]| ([x + p], [(x - mean) * (x - mean)]))?,
            follow: Vectors::new(|[part], [mean], [x]| [mean + part * (x - mean)])?,
            config,
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
        let ranges: Vec<Range<usize>> = match self.config.by_layer {
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
            self.blocks.push(Block { range, update, squared: 0.0, residual: 0.0 });
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
        let before = if self.steps == 0 { 0.01 } else { self.filter.position_noise };
        DECAY * before + (1.0 - DECAY) * squared.sqrt() / len
    }
}

impl<T: Real> Optimizer<T> for Kafisto<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.len, params.len())?;
        let Config { alpha, weight_decay, momentum_noise, .. } = self.config;
        if self.blocks.is_empty() {
            self.find_blocks(oracle)?;
        }
        let first = self.steps == 0;
        let [sx, sc, sp] = match (first, self.config.dynamics) {
            (false, _) => self.filter.covariance,
            (true, true) => [self.config.variance, 0.0, self.config.variance],
            (true, false) => [self.config.variance, 0.0, 0.0],
        };
        let adaptive = self.config.adaptive_position_noise;
        let [squared] = match (self.config.dynamics, adaptive) {
            (true, true) => self.predict.run([], [&mut self.position], [params, &self.momentum, &self.average])?,
            (true, false) => {
                self.add.run([], [&mut self.position], [params, &self.momentum])?;
                [0.0]
            }
            (false, true) => self.distance.run([], [], [params, &self.average])?,
            (false, false) => [0.0],
        };
        let position = if self.config.dynamics { &self.position[..] } else { &*params };
        let qx = self.position_noise(squared);
        let predicted @ [px, pc, _] = match self.config.dynamics {
            true => [sx + 2.0 * sc + sp + qx, alpha * (sc + sp), alpha * alpha * sp + momentum_noise],
            false => [sx + qx, 0.0, 0.0],
        };
        let n = oracle.count() as f64;
        let moments = oracle.moments(position, None, Request::gradient().means())?;
        let loss = moments.loss();
        let g = &moments.gradient()?.sum;
        let least = self.config.below.map_or(self.config.least_loss, |below| loss - below);
        let squares: f64 = moments.losses().iter().map(|l| (l - least).powi(2)).sum();
        let start = if first { self.config.loss_noise } else { self.filter.loss_noise };
        let noise = match self.config.adaptive_loss_noise {
            true => DECAY * start + (1.0 - DECAY) * squares / n,
            false => start,
        };
        if !(loss.is_finite() && noise.is_finite() && predicted.iter().all(|x| x.is_finite())) {
            return Ok(Report::new(Status::NonFinite, loss, 0.0));
        }
        let (mut most, mut innovation) = (0.0f64, noise);
        for block in &mut self.blocks {
            let (g, w) = (&g[block.range.clone()], &position[block.range.clone()]);
            let mut residual = loss - least;
            block.squared = dot(g, g) / (n * n);
            if weight_decay > 0.0 {
                let weights = dot(w, w);
                block.squared += weight_decay * (2.0 * dot(g, w) / n + weight_decay * weights);
                residual += 0.5 * weight_decay * weights;
            }
            block.residual = if self.config.clamp { residual.max(0.0) } else { residual };
            // It is not where the gradient is not.
            if !block.squared.is_finite() {
                return Ok(Report::new(Status::NonFinite, loss, 0.0));
            }
            if block.squared >= NONE {
                let s = px * block.squared + noise;
                most = most.max(block.squared / s);
                innovation = innovation.max(s);
            }
        }

        let rate = self.config.rate * self.config.schedule.factor(self.steps);
        let undecayed = self.config.koala_compat && !self.config.dynamics;
        let mut step = 0.0f64;
        // At first it is where x is.
        let mut nearer = 1.0 - DECAY;
        if self.follows() && first {
            self.average.copy_from_slice(params);
            nearer = 0.0;
        }
        if self.follows() && !self.config.dynamics {
            self.follow.run([nearer], [&mut self.average], [params])?;
        }
        for block in &mut self.blocks {
            let range = block.range.clone();
            let factor = match block.squared >= NONE {
                true => -rate * block.residual / (px * block.squared + noise),
                false => 0.0,
            };
            step = step.max((factor * px).abs());
            let decay = if undecayed { 0.0 } else { weight_decay };
            let scalars = [1.0 / n, decay, alpha, factor * px, factor * pc, nearer];
            let (x, g) = (&mut params[range.clone()], &g[range.clone()]);
            match &mut block.update {
                Update::Vanilla(update) => update.run(scalars, [x], [g])?,
                Update::Dynamics(update) => update.run(scalars, [x, &mut self.momentum[range]], [g])?,
                Update::Following(update) => {
                    let (p, mean) = (&mut self.momentum[range.clone()], &mut self.average[range]);
                    update.run(scalars, [x, p, mean], [g])?
                }
            };
        }
        if adaptive && self.config.koala_compat {
            self.follow.run([1.0 - DECAY], [&mut self.average], [params])?;
        }
        let [px, pc, pp] = predicted;
        self.filter = Filter {
            covariance: [px - most * px * px, pc - most * px * pc, pp - most * pc * pc],
            predicted,
            loss_noise: noise,
            position_noise: qx,
            innovation,
        };
        self.steps += 1;
        Ok(Report { gain: Some(most * px), ..Report::new(Status::Stepped, loss, step) })
    }

    fn save(&self) -> Store {
        let mut store = Store::new("osculate.kafisto");
        options::save(&mut self.config.clone(), &mut store);
        let Filter { covariance, predicted, loss_noise, position_noise, innovation } = self.filter;
        let scalars = [[self.steps as f64, loss_noise, position_noise], covariance, predicted, [innovation, 0.0, 0.0]];
        store.put("scalars", scalars.as_flattened());
        store.put("momentum", &self.momentum);
        store.put("average", &self.average);
        store
    }

    fn load(&mut self, state: &Store) -> Result<()> {
        state.must_be("osculate.kafisto")?;
        options::check(&mut self.config.clone(), state)?;
        let scalars = state.get::<f64>("scalars", 12)?;
        let momentum: Vec<T> = state.get("momentum", self.momentum.len())?;
        let average: Vec<T> = state.get("average", self.average.len())?;
        finite_state(scalars.iter().all(|x| x.is_finite()) && finite(&momentum) && finite(&average))?;
        let three = |at: usize| [scalars[at], scalars[at + 1], scalars[at + 2]];
        self.filter = Filter {
            covariance: three(3),
            predicted: three(6),
            loss_noise: scalars[1],
            position_noise: scalars[2],
            innovation: scalars[9],
        };
        (self.steps, self.momentum, self.average) = (scalars[0] as u64, momentum, average);
        Ok(())
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
