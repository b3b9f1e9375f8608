//! How far: the coefficients of the loss along the direction, averaged, and what a rule makes of them.
//!
//! ```text
//! a = −d·m   b = d·(mean Hd)   p̃ = dᵀPd   q̃ = dᵀQ(d)d   V₀ = 2s + λ                                      Eq. 11, 13
//! ```
//!
//! and against negative curvature c or ℓ of a [`Correction`]; each passes through its own moving average, but for the secant's c, whose
//! M has one (of decay 0.9).

use osculate_engine::store::Store;

use super::config::{Correction, MekaConfig, StepRule};
use crate::improvement::{Coefficients, Outcome};
use crate::options::Legal;
use crate::state::Reader;
use crate::vectors::larger;
use crate::{Result, Smooth, Status};

/// What the rule is told of a step.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Along {
    /// −d·m.
    pub slope: f64,
    /// d·(mean Hd).
    pub curvature: f64,
    /// dᵀPd and dᵀQd.
    pub variances: [f64; 2],
    /// s and λ of the loss's filter.
    pub loss: [f64; 2],
    /// ‖d‖² and ‖δ‖².
    pub squares: [f64; 2],
    /// δ·(mean Hδ).
    pub bend: f64,
    /// D³l[d, d, d], if it was asked for.
    pub third: f64,
}

/// Averages of a rule, and what it remembers of the last step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rule {
    /// Of a, b, c, V₀, p̃, q̃, ℓ.
    coefficients: [Smooth; 7],
    /// M of the secant.
    secant: Smooth,
    /// δᵀBδ of the last step, with the curvature from before it was taken; NaN if none was.
    bend: f64,
    last_step: f64,
}

/// Decay of the secant's average.
const SECANT: f64 = 0.9;

/// Whether the improvement of a step is many times what is unsure of it, so that variances are mostly rounding: as where all examples are
/// alike. The probability is 1 for steps of all sizes then, and vanishing ones would be as good as the mean's minimiser.
fn certain(along: &Coefficients, step: f64) -> bool {
    const CERTAIN: f64 = 1e6;
    -along.mean(step) >= CERTAIN * along.variance(step).sqrt()
}

impl Rule {
    pub fn new(config: &MekaConfig) -> Rule {
        Rule {
            coefficients: [Smooth::new(config.coefficient_decay); 7],
            secant: Smooth::new(SECANT),
            bend: f64::NAN,
            last_step: 0.0,
        }
    }

    /// The averaged coefficients; `None` if one is not finite.
    pub fn average(&mut self, config: &MekaConfig, raw: &Along) -> Option<Coefficients> {
        let [squared, moved] = raw.squares;
        let [s, lambda] = raw.loss;
        let (mut v0, mut v6, mut cubic) = (2.0 * s + lambda, 0.0, 0.0);
        match config.correction {
            Correction::Surprise => {
                // λ‖d‖⁶/‖δ‖⁶, whose powers could overflow by themselves.
                let measured = if moved > 0.0 && lambda > 0.0 { lambda * (squared / moved).powi(3) } else { 0.0 };
                let least = if config.floor > 0.0 { config.floor * squared.powi(3) } else { 0.0 };
                (v0, v6) = (2.0 * s, larger(measured, least));
            }
            Correction::Exact => cubic = larger(raw.third.abs(), config.floor),
            Correction::Secant if self.bend.is_finite() && moved > 0.0 => {
                self.secant.add(((raw.bend - self.bend) / moved.powf(1.5)).abs());
            }
            _ => {}
        }
        let values = [raw.slope, raw.curvature, cubic, v0, raw.variances[0], raw.variances[1], v6];
        if values.iter().any(|x| !x.is_finite()) || !self.secant.get().is_finite() {
            return None;
        }
        let mut smooth = [0.0; 7];
        for ((value, average), raw) in smooth.iter_mut().zip(&mut self.coefficients).zip(values) {
            *value = average.add(raw);
        }
        let [slope, mut curvature, mut cubic, v0, v2, v4, v6] = smooth;
        match config.correction {
            Correction::Absolute => curvature = curvature.abs(),
            Correction::Secant => cubic = self.secant.get() * squared.powf(1.5),
            _ => {}
        }
        Some(Coefficients { slope, curvature, cubic, v0, v2, v4, v6 })
    }

    /// The step along the direction, and how it came about.
    pub fn choose(&self, config: &MekaConfig, along: &Coefficients) -> (f64, Status) {
        let (best, outcome) = match config.step {
            StepRule::Fixed(step) => (step, Outcome::Ok),
            StepRule::Quadratic if along.slope <= 0.0 => (0.0, Outcome::NotDescent),
            StepRule::Quadratic => match along.mean_minimiser() {
                Some(step) => (step, Outcome::Mean),
                None => (f64::INFINITY, Outcome::Unbounded),
            },
            StepRule::Improvement => match along.mean_minimiser() {
                Some(step) if certain(along, step) => (step, Outcome::Mean),
                _ => along.best_step(),
            },
            StepRule::Expected => along.best_expected(config.max_step),
        };
        match outcome {
            Outcome::Ok | Outcome::Mean if best.is_finite() => (best, Status::Stepped),
            Outcome::NotDescent | Outcome::ZeroV0 => (0.0, Status::NoDescent),
            _ if self.last_step > 0.0 => (self.last_step, Status::Fallback),
            _ => (config.first_step, Status::Fallback),
        }
    }

    /// What a step leaves: its size, and δᵀBδ for the raw curvature along the direction.
    pub fn stepped(&mut self, config: &MekaConfig, step: f64, curvature: f64) {
        if step > 0.0 {
            self.last_step = step;
        }
        let bend = (config.scale * step).powi(2) * curvature;
        // Beyond f64 it says nothing.
        self.bend = if bend.is_finite() { bend } else { f64::NAN };
    }

    /// Forgets the last step.
    pub fn reset(&mut self) {
        self.bend = f64::NAN;
    }

    pub fn write(&self, store: &mut Store) {
        let averages = self.coefficients.iter().chain([&self.secant]).flat_map(|a| a.state()).collect::<Vec<_>>();
        let bend = if self.bend.is_nan() { [0.0, 0.0] } else { [self.bend, 1.0] };
        store.put("rule", &[self.last_step, bend[0], bend[1]]);
        store.put("rule.averages", &averages);
    }

    /// The rule as it was saved.
    pub fn restored(self, state: &mut Reader<'_>) -> Result<Rule> {
        // The last step, δᵀBδ, and whether there is one.
        let [last_step, bend, known] = state.numbers("rule", [Legal::NotNegative, Legal::Finite, Legal::Unit])?;
        // Sums and weights; a and b have either sign.
        let legal = |at: usize| match at {
            0 | 2 => Legal::Finite,
            at if at % 2 == 1 => Legal::Unit,
            _ => Legal::NotNegative,
        };
        let averages: [f64; 16] = state.numbers("rule.averages", std::array::from_fn(legal))?;
        let average = |at: usize, of: Smooth| of.restored([averages[2 * at], averages[2 * at + 1]]);
        Ok(Rule {
            coefficients: std::array::from_fn(|at| average(at, self.coefficients[at])),
            secant: average(7, self.secant),
            last_step,
            bend: if known > 0.0 { bend } else { f64::NAN },
        })
    }
}
