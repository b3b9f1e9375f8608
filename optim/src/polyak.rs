//! Polyak's steps: as far as the loss would have to go down a line to its least value.
//!
//! ```text
//! sps     η = (L − f*)/(c‖g‖² + 1e-8), at most η_max             Loizou et al., *Stochastic Polyak Step-size*, 2021
//!         smooth: at most γ^(1/steps of an epoch) times the step before
//! ali-g   η = L/(‖g‖² + 1e-5), at most η_max                    Berrada et al., *Training Neural Networks for and by
//!                                                                Interpolation*, 2020
//! ```
//!
//! ALI-G's momentum, and here anyone's: z ← μz − ηg, θ ← θ − ηg + μz. Defaults: f* = 0; c = ½, γ = 2, η₀ = 1; ALI-G's η_max 0.1.
//!
//! No step is taken where ‖g‖ < 1e-8, nor (a deviation) where L ≤ f*: f* is no bound of such a loss, and a step back along the gradient,
//! which the formulas take, would be all that `sps` may grow from. A schedule multiplies η.

use osculate_engine::Real;

use crate::Schedule;
use crate::base::Base;
use crate::options::{Field, Legal, Options};
use crate::rated::{Rated, Rule, Seen};
use crate::registry::Entry;

/// Polyak's step and its bounds.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{polyak::Polyak, Minibatches, Optimizer, Rated};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// let data = Examples::new(spec([]), Array::new([1], vec![3.0])?)?.all()?;
/// let mut w = [1.0];
/// let polyak = Polyak { scale: 1.0, ..Polyak::sps() };
/// Rated::new(1, polyak)?.step(&mut w, &mut Minibatches::new(&loss, &Device::cpu()).on(&data))?;
/// assert!((w[0] - 2.0f64).abs() < 1e-8);     // half the way, L/‖g‖² = ½
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Polyak {
    /// f*.
    pub optimum: f64,
    /// c.
    pub scale: f64,
    /// Added to c‖g‖².
    pub epsilon: f64,
    /// η_max, if any.
    pub most: Option<f64>,
    /// γ: how much η may grow in an epoch, if that is bounded.
    pub growth: Option<f64>,
    /// Steps of an epoch.
    pub epoch: u64,
    /// η before the first step, for the growth.
    pub first: f64,
    /// μ.
    pub velocity: f64,
    /// Course of η.
    pub schedule: Schedule,
}

impl Polyak {
    /// SPS with smooth growth: c = ½, γ = 2.
    pub fn sps() -> Polyak {
        Polyak {
            optimum: 0.0,
            scale: 0.5,
            epsilon: 1e-8,
            most: None,
            growth: Some(2.0),
            epoch: 100,
            first: 1.0,
            velocity: 0.0,
            schedule: Schedule::default(),
        }
    }

    /// SPS_max: c = ½, η at most 1.
    pub fn sps_max() -> Polyak {
        Polyak { most: Some(1.0), growth: None, ..Polyak::sps() }
    }

    /// ALI-G, η at most 0.1.
    pub fn ali_g() -> Polyak {
        Polyak { scale: 1.0, epsilon: 1e-5, most: Some(0.1), growth: None, ..Polyak::sps() }
    }
}

impl Options for Polyak {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        see("optimum", "f*, the least loss there is", Field::Number(&mut self.optimum, Legal::Finite));
        let about = "c, by which the gradient's square is multiplied";
        see("scale", about, Field::Number(&mut self.scale, Legal::Positive));
        see("epsilon", "added to that product", Field::Number(&mut self.epsilon, Legal::NotNegative));
        see("most", "largest rate", Field::Maybe(&mut self.most, Legal::Positive));
        let about = "γ, how much the rate may grow in an epoch";
        see("growth", about, Field::Maybe(&mut self.growth, Legal::AtLeastOne));
        if self.growth.is_some() {
            see("epoch", "steps of an epoch", Field::Count(&mut self.epoch, Legal::Positive));
            see("first", "rate before the first step, to grow from", Field::Number(&mut self.first, Legal::Positive));
        }
        see("velocity", "μ of a velocity that steps add up in", Field::Number(&mut self.velocity, Legal::Decay));
        self.schedule.each(see);
    }
}

impl Rule for Polyak {
    const WHAT: &'static str = "osculate.polyak";

    fn base(&self) -> Base {
        Base::sgd()
    }

    fn schedule(&self) -> Schedule {
        self.schedule
    }

    fn velocity(&self) -> f64 {
        self.velocity
    }

    fn start(&self) -> Vec<f64> {
        vec![self.first]
    }

    fn legal(&self, _: usize) -> Legal {
        Legal::Positive
    }

    fn rate(&self, state: &mut [f64], seen: &Seen) -> Option<f64> {
        let above = seen.loss - self.optimum;
        if seen.squared < 1e-16 || above <= 0.0 {
            return None;
        }
        let mut rate = above / (self.scale * seen.squared + self.epsilon);
        if let Some(most) = self.most {
            rate = rate.min(most);
        }
        if let (Some(growth), Some(last)) = (self.growth, state.first_mut()) {
            rate = rate.min(*last * growth.powf(1.0 / self.epoch as f64));
            // From 0 nothing grows.
            if rate <= 0.0 {
                return None;
            }
            *last = rate;
        }
        Some(rate)
    }
}

/// The optimizers of this file, for the registry.
pub(crate) fn entries<T: Real>() -> Vec<Entry<T>> {
    let entry = |name, about, rule| Entry::new(name, about, rule, |len, rule| Ok(Box::new(Rated::new(len, rule)?)));
    vec![
        entry("sps", "SGD by stochastic Polyak steps, smoothly growing", Polyak::sps()),
        entry("sps-max", "SGD by stochastic Polyak steps of a bounded size", Polyak::sps_max()),
        entry("ali-g", "SGD by Polyak steps for losses that interpolate", Polyak::ali_g()),
    ]
}
