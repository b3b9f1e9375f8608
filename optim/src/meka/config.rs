//! Options of MEKA.

use crate::error::{decay, not_negative, positive};
use crate::options::{Field, Options};
use crate::{Error, Result, Schedule};

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

/// What the gradient's covariance is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covariance {
    /// A number times the identity: the paper's.
    Scalar,
    /// A number a coordinate.
    Diagonal,
    /// A matrix, for at most 512 parameters; looks at every example's gradient by itself.
    Full,
}

/// What keeps steps finite where the curvature along the direction is negative (methods of the supplement's B.2, and others).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correction {
    /// Nothing: where the rule has no finite answer, the last good step is taken.
    None,
    /// Eq. 23: the loss's surprise λ is laid to the third derivative, V gains ℓα⁶ with ℓ = λ‖d‖⁶/‖δ‖⁶, and loses λ.
    /// For the probability of improvement: the expected one grows with V.
    Surprise,
    /// A cubic mean whose c = M‖d‖³ is from the change of curvature along the last step: M averages |δᵀ(B_t − B_{t−1})δ|/‖δ‖³.
    Secant,
    /// A cubic mean with c = |D³l[d, d, d]|, by one more level of forward mode.
    Exact,
    /// The curvature's absolute value.
    Absolute,
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
    /// The first local maximum of the expected improvement, up to ten times the quadratic step (and `max_step`).
    Expected,
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

/// Options of [`Meka`](super::Meka); the defaults are the paper's, with no learning rate to set.
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
    /// Course of a fixed α.
    pub schedule: Schedule,
    /// Covariance of the gradient.
    pub covariance: Covariance,
    /// Whether variances along a direction are those of the examples' own slopes and curvatures along it (of the scalar covariance;
    /// the full one has them anyway).
    pub directional: bool,
    /// What is done about negative curvature.
    pub correction: Correction,
    /// Least λ/‖δ‖⁶ of [`Correction::Surprise`], least c of [`Correction::Exact`].
    pub floor: f64,
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
            schedule: Schedule::default(),
            covariance: Covariance::Scalar,
            directional: false,
            correction: Correction::None,
            floor: 1e-12,
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

impl MekaConfig {
    /// Refuses what has no meaning.
    pub(super) fn check(&self) -> Result<()> {
        decay("loss-decay", self.loss_decay)?;
        decay("gradient-decay", self.gradient_decay)?;
        decay("coefficient-decay", self.coefficient_decay)?;
        positive("scale", self.scale)?;
        positive("first-step", self.first_step)?;
        not_negative("floor", self.floor)?;
        self.schedule.check()?;
        if let StepRule::Fixed(step) = self.step {
            positive("rate", step)?;
        }
        if let Init::Diffuse(variance) = self.init {
            positive("variance", variance)?;
        }
        if let Some(max) = self.max_step {
            positive("max-step", max)?;
        }
        if let Direction::Adaptive { epsilon } = self.direction {
            positive("epsilon", epsilon)?;
        }
        for (option, value) in self
            .noise
            .iter()
            .flat_map(|n| [("loss-noise", n.loss), ("gradient-noise", n.gradient), ("hvp-noise", n.hvp)])
        {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::Option { option, value, why: "a variance is wanted: finite and not negative" });
            }
        }
        // One number of noise says nothing of single coordinates or directions.
        let scalar = self.covariance == Covariance::Scalar;
        if self.noise.is_some() && (!scalar || self.directional) {
            let why = "known noise goes with covariance = scalar, directional = false";
            return Err(Error::Option { option: "gradient-noise", value: self.noise.map_or(0.0, |n| n.gradient), why });
        }
        if self.directional && !scalar {
            return Err(Error::Option { option: "directional", value: 1.0, why: "it goes with covariance = scalar" });
        }
        Ok(())
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
            StepRule::Expected => (3, 0.1),
        };
        see("step", Field::Choice(&mut rule, &["fixed", "quadratic", "improvement", "expected"]));
        see("rate", Field::Number(&mut rate));
        let rules = [StepRule::Fixed(rate), StepRule::Quadratic, StepRule::Improvement, StepRule::Expected];
        self.step = rules[rule.min(3)];
        self.schedule.each(see);

        const COVARIANCES: [Covariance; 3] = [Covariance::Scalar, Covariance::Diagonal, Covariance::Full];
        let mut covariance = COVARIANCES.iter().position(|c| *c == self.covariance).unwrap_or(0);
        see("covariance", Field::Choice(&mut covariance, &["scalar", "diagonal", "full"]));
        self.covariance = COVARIANCES[covariance.min(2)];
        see("directional", Field::Flag(&mut self.directional));

        use Correction::{Absolute, Exact, None, Secant, Surprise};
        const CORRECTIONS: [Correction; 5] = [None, Surprise, Secant, Exact, Absolute];
        let mut correction = CORRECTIONS.iter().position(|c| *c == self.correction).unwrap_or(0);
        see("correction", Field::Choice(&mut correction, &["none", "surprise", "secant", "exact", "absolute"]));
        self.correction = CORRECTIONS[correction.min(4)];
        see("floor", Field::Number(&mut self.floor));

        see("loss-decay", Field::Number(&mut self.loss_decay));
        see("gradient-decay", Field::Number(&mut self.gradient_decay));
        see("coefficient-decay", Field::Number(&mut self.coefficient_decay));
        see("scale", Field::Number(&mut self.scale));
        see("surprise", Field::Flag(&mut self.surprise));
        see("max-step", Field::Maybe(&mut self.max_step));
        see("first-step", Field::Number(&mut self.first_step));

        let of = |noise: Noise| [noise.loss, noise.gradient, noise.hvp].map(Option::Some);
        let mut known = self.noise.map_or([Option::None; 3], of);
        for (name, value) in ["loss-noise", "gradient-noise", "hvp-noise"].into_iter().zip(&mut known) {
            see(name, Field::Maybe(value));
        }
        // What is not named beside one that is, is zero.
        let [loss, gradient, hvp] = known.map(|value| value.unwrap_or(0.0));
        self.noise = known.iter().any(Option::is_some).then_some(Noise { loss, gradient, hvp });
    }
}
