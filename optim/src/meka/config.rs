//! Options of MEKA.

use crate::options::{Field, Legal, Options};
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
    /// Refuses what has no meaning together.
    pub(super) fn check(&self) -> Result<()> {
        // One number of noise says nothing of single coordinates or directions.
        let scalar = self.covariance == Covariance::Scalar;
        if self.noise.is_some() && (!scalar || self.directional) {
            let why = "known noise goes with covariance = scalar, directional = false".into();
            return Err(Error::Option { option: "gradient-noise", value: self.noise.map_or(0.0, |n| n.gradient), why });
        }
        if self.directional && !scalar {
            return Err(Error::Option {
                option: "directional",
                value: 1.0,
                why: "it goes with covariance = scalar".into(),
            });
        }
        Ok(())
    }
}

impl Options for MekaConfig {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        let mut init = usize::from(self.init == Init::FirstObservation);
        let about = "how the filters start: of a large variance, or with the first observation";
        see("init", about, Field::Choice(&mut init, &["diffuse", "first-observation"]));
        match (init, &mut self.init) {
            (0, Init::Diffuse(variance)) => {
                see("variance", "that variance", Field::Number(variance, Legal::Positive));
            }
            (0, other) => *other = Init::Diffuse(1e4),
            (_, other) => *other = Init::FirstObservation,
        }

        let mut of = usize::from(self.variance_of == VarianceOf::Sample);
        let about = "whose variances are filtered with: the minibatch mean's, or one example's";
        see("variance-of", about, Field::Choice(&mut of, &["mean", "sample"]));
        self.variance_of = if of == 0 { VarianceOf::Mean } else { VarianceOf::Sample };

        let mut direction = usize::from(self.direction != Direction::Mean);
        let about = "what is stepped along: the filtered gradient, or that over its root mean square (AdaMEKA)";
        see("direction", about, Field::Choice(&mut direction, &["mean", "adaptive"]));
        match (direction, &mut self.direction) {
            (0, other) => *other = Direction::Mean,
            (_, Direction::Adaptive { epsilon }) => {
                see("epsilon", "ε, added to that root", Field::Number(epsilon, Legal::NotNegative));
            }
            (_, other) => *other = Direction::Adaptive { epsilon: 1e-8 },
        }
        self.each_of_step(see);
        self.each_of_covariance(see);
        self.each_of_noise(see);
    }
}

impl MekaConfig {
    fn each_of_step(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        let mut rule = match self.step {
            StepRule::Fixed(_) => 0,
            StepRule::Quadratic => 1,
            StepRule::Improvement => 2,
            StepRule::Expected => 3,
        };
        let about =
            "how far: a fixed step, to the least expected loss, of most probable or largest expected improvement";
        see("step", about, Field::Choice(&mut rule, &["fixed", "quadratic", "improvement", "expected"]));
        match (rule, &mut self.step) {
            (0, StepRule::Fixed(rate)) => {
                see("rate", "the fixed step", Field::Number(rate, Legal::Positive));
                self.schedule.each(see);
            }
            (0, other) => *other = StepRule::Fixed(0.1),
            (1, other) => *other = StepRule::Quadratic,
            (2, other) => *other = StepRule::Improvement,
            (_, other) => *other = StepRule::Expected,
        }
        see("scale", "what every step is multiplied by", Field::Number(&mut self.scale, Legal::Positive));
        see("max-step", "largest step before that", Field::Maybe(&mut self.max_step, Legal::Positive));
        if rule == 0 {
            return;
        }
        use Correction::{Absolute, Exact, None, Secant, Surprise};
        const CORRECTIONS: [Correction; 5] = [None, Surprise, Secant, Exact, Absolute];
        let mut correction = CORRECTIONS.iter().position(|c| *c == self.correction).unwrap_or(0);
        let about = "what keeps steps finite where the curvature is negative";
        see("correction", about, Field::Choice(&mut correction, &["none", "surprise", "secant", "exact", "absolute"]));
        self.correction = CORRECTIONS[correction.min(4)];
        if matches!(self.correction, Surprise | Exact) {
            let about = "least third derivative that a correction counts with";
            see("floor", about, Field::Number(&mut self.floor, Legal::NotNegative));
        }
        let about = "β, by which the averages of the step's coefficients fade in a step";
        see("coefficient-decay", about, Field::Number(&mut self.coefficient_decay, Legal::Decay));
        if !matches!(self.step, StepRule::Fixed(_)) {
            let about = "step where the rule has no finite answer and none was taken yet";
            see("first-step", about, Field::Number(&mut self.first_step, Legal::Positive));
        }
    }

    fn each_of_covariance(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        const COVARIANCES: [Covariance; 3] = [Covariance::Scalar, Covariance::Diagonal, Covariance::Full];
        let mut covariance = COVARIANCES.iter().position(|c| *c == self.covariance).unwrap_or(0);
        let about = "what the gradient's covariance is taken for (full: at most 512 parameters)";
        see("covariance", about, Field::Choice(&mut covariance, &["scalar", "diagonal", "full"]));
        self.covariance = COVARIANCES[covariance.min(2)];
        if self.covariance == Covariance::Scalar {
            let about = "whether variances along a direction are those of the examples' own slopes and curvatures";
            see("directional", about, Field::Flag(&mut self.directional));
        } else {
            self.directional = false;
        }
    }

    fn each_of_noise(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        let about = "β, by which the average of the gradient's variance fades in a step";
        see("gradient-decay", about, Field::Number(&mut self.gradient_decay, Legal::Decay));
        // What the loss is filtered to is of no use to fixed steps.
        if !matches!(self.step, StepRule::Fixed(_)) {
            let about = "β, by which the average of the loss's variance fades in a step";
            see("loss-decay", about, Field::Number(&mut self.loss_decay, Legal::Decay));
            let about = "whether a surprising loss adds to its predicted variance";
            see("surprise", about, Field::Flag(&mut self.surprise));
        }
        let of = |noise: Noise| [noise.loss, noise.gradient, noise.hvp].map(Some);
        let mut known = self.noise.map_or([None; 3], of);
        let about = [
            "variance of the minibatch's loss, if it is known beforehand",
            "variance of a coordinate of the minibatch's gradient, if it is known beforehand",
            "variance of a coordinate of any Hessian-vector product, if it is known beforehand",
        ];
        let names = ["loss-noise", "gradient-noise", "hvp-noise"];
        for ((name, about), value) in names.into_iter().zip(about).zip(&mut known) {
            see(name, about, Field::Maybe(value, Legal::NotNegative));
        }
        // What is not named beside one that is, is zero.
        let [loss, gradient, hvp] = known.map(|value| value.unwrap_or(0.0));
        self.noise = known.iter().any(Option::is_some).then_some(Noise { loss, gradient, hvp });
    }
}
