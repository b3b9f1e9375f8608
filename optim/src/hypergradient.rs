//! Hypergradient descent: the learning rate goes down its own gradient.
//!
//! A. G. Baydin, R. Cornish, D. Martínez Rubio, M. Schmidt, F. Wood, *Online Learning Rate Adaptation with Hypergradient Descent*, 2018.
//! With u the direction of the step before, η ← η + κ ⟨g, u⟩, then θ ← θ − ηv. Defaults: η₀ = 0.1 and κ = 1e-3 of SGD, 1e-3 and
//! 1e-7 of Adam.
//!
//! Deviations: those κ are the paper's experiments' (its code has 1e-6 and 1e-8); Adam's u has ε beside the debiased root, as the
//! step has, and as in PyTorch, not beside the other. A schedule multiplies the η that is stepped with, not the η that is learnt.

use osculate_engine::Real;

use crate::Schedule;
use crate::base::Base;
use crate::options::{Field, Legal, Options};
use crate::rated::{Rated, Rule, Seen};
use crate::registry::Entry;

/// The rule, around any direction.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{hypergradient::Hypergradient, Minibatches, Optimizer, Rated};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// let batch = Examples::new(spec([]), Array::new([2], vec![1.0, 3.0])?)?.all()?;
/// let mut oracles = Minibatches::new(&loss, &Device::cpu());
/// let rule = Hypergradient { rate: 0.1, growth: 0.01, ..Hypergradient::sgd() };
/// let (mut w, mut descent) = ([0.0], Rated::new(1, rule)?);
/// descent.step(&mut w, &mut oracles.on(&batch))?;
/// let report = descent.step(&mut w, &mut oracles.on(&batch))?;     // gradients −2 and −1.8
/// assert!((report.step - (0.1 + 0.01 * 2.0 * 1.8f64)).abs() < 1e-15);
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hypergradient {
    /// First η.
    pub rate: f64,
    /// κ.
    pub growth: f64,
    /// Direction.
    pub base: Base,
    /// Course of η beside what it learns.
    pub schedule: Schedule,
}

impl Hypergradient {
    /// SGD-HD; κ = 1e-3 as in the paper's experiments (its code has 1e-6).
    pub fn sgd() -> Hypergradient {
        Hypergradient { rate: 0.1, growth: 1e-3, base: Base::sgd(), schedule: Schedule::default() }
    }

    /// Adam-HD, κ = 1e-7 (in the code 1e-8).
    pub fn adam() -> Hypergradient {
        Hypergradient { rate: 1e-3, growth: 1e-7, base: Base::adam(), schedule: Schedule::default() }
    }
}

impl Options for Hypergradient {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        see("rate", "first learning rate", Field::Number(&mut self.rate, Legal::Positive));
        let about = "κ, the rate at which the learning rate descends its gradient";
        see("growth", about, Field::Number(&mut self.growth, Legal::NotNegative));
        self.base.each(see);
        self.schedule.each(see);
    }
}

impl Rule for Hypergradient {
    const WHAT: &'static str = "osculate.hypergradient";
    const STARTS: &'static [&'static str] = &["rate"];

    fn base(&self) -> Base {
        self.base
    }

    fn schedule(&self) -> Schedule {
        self.schedule
    }

    fn start(&self) -> Vec<f64> {
        vec![self.rate]
    }

    fn rate(&self, state: &mut [f64], seen: &Seen) -> Option<f64> {
        let rate = state.first_mut()?;
        *rate += self.growth * seen.previous;
        Some(*rate)
    }
}

/// The optimizers of this file, for the registry.
pub(crate) fn entries<T: Real>() -> Vec<Entry<T>> {
    let entry = |name, about, rule| Entry::new(name, about, rule, |len, rule| Ok(Box::new(Rated::new(len, rule)?)));
    vec![
        entry("sgd-hd", "SGD whose learning rate descends its own gradient", Hypergradient::sgd()),
        entry("adam-hd", "Adam whose learning rate descends its own gradient", Hypergradient::adam()),
    ]
}
