//! L4: steps to a fixed part of the way to the least loss that seems possible.
//!
//! M. Rolínek, G. Martius, *L4: Practical loss-based stepsize adaptation for deep learning*, 2018. With ĝ the debiased average of
//! gradients and v the direction (ĝ, or Adam's):
//!
//! ```text
//! L_min = 0.75 L in the first step;   L_min ← min(L_min, L)
//! η = α (L − 0.9 L_min)/(⟨ĝ, v⟩ + 1e-12);   θ ← θ − ηv;   L_min ← (1 + 1/1000) L_min
//! ```
//!
//! Defaults: α = 0.15; averages over 10 steps (β₁ = 0.9), of squares over 1000; ε = 1e-4. Losses must not be negative: such a step is
//! not taken (a deviation: the paper demands such losses). A schedule multiplies η.

use osculate_engine::Real;

use crate::Schedule;
use crate::base::Base;
use crate::options::{Field, Legal, Options};
use crate::rated::{Rated, Rule, Seen};
use crate::registry::Entry;

/// L4's rule, of momentum or of Adam.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{l4::L4, Minibatches, Optimizer, Rated};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// let batch = Examples::new(spec([]), Array::new([2], vec![1.0, 3.0])?)?.all()?;
/// let mut oracles = Minibatches::new(&loss, &Device::cpu());
/// let report = Rated::new(1, L4::momentum())?.step(&mut [0.0], &mut oracles.on(&batch))?;
/// // L = 2.5, of which 0.75 is thought possible and 0.9 of that aimed at; ⟨ĝ, v⟩ = 4.
/// assert!((report.step - 0.15 * 2.5 * (1.0 - 0.9 * 0.75) / 4.0f64).abs() < 1e-12);
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct L4 {
    /// α, the part of the way.
    pub part: f64,
    /// Direction: `average` or `adam`.
    pub base: Base,
    /// Part of the first loss that is thought possible.
    pub first: f64,
    /// Part of L_min that is aimed at.
    pub aim: f64,
    /// Steps in which L_min is forgotten.
    pub memory: f64,
    /// Course of η.
    pub schedule: Schedule,
}

impl L4 {
    /// Of the averaged gradient.
    pub fn momentum() -> L4 {
        L4 { part: 0.15, base: Base::average(), first: 0.75, aim: 0.9, memory: 1000.0, schedule: Schedule::default() }
    }

    /// Of Adam's direction, ε = 1e-4.
    pub fn adam() -> L4 {
        L4 { base: Base { epsilon: 1e-4, ..Base::adam() }, ..L4::momentum() }
    }
}

impl Options for L4 {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        let about = "α, the part of the way to the least loss that a step takes";
        see("part", about, Field::Number(&mut self.part, Legal::Positive));
        self.base.each(see);
        see("first", "part of the first loss that is thought possible", Field::Number(&mut self.first, Legal::Unit));
        see("aim", "part of the least loss that is aimed at", Field::Number(&mut self.aim, Legal::Unit));
        see("memory", "steps in which the least loss is forgotten", Field::Number(&mut self.memory, Legal::Positive));
        self.schedule.each(see);
    }
}

impl Rule for L4 {
    const WHAT: &'static str = "osculate.l4";

    fn base(&self) -> Base {
        self.base
    }

    fn schedule(&self) -> Schedule {
        self.schedule
    }

    fn start(&self) -> Vec<f64> {
        vec![0.0, 0.0]
    }

    fn legal(&self, index: usize) -> Legal {
        // The least loss, and whether it is known.
        if index == 0 { Legal::NotNegative } else { Legal::Unit }
    }

    fn rate(&self, state: &mut [f64], seen: &Seen) -> Option<f64> {
        let [least, known] = state else { return None };
        if seen.loss < 0.0 {
            return None;
        }
        if *known == 0.0 {
            (*least, *known) = (self.first * seen.loss, 1.0);
        }
        *least = least.min(seen.loss);
        let rate = self.part * (seen.loss - self.aim * *least) / (seen.slope + 1e-12);
        // A memory of next to nothing forgets all of it; of 0 there is nothing to forget.
        *least = if *least > 0.0 { (*least * (1.0 + 1.0 / self.memory)).min(f64::MAX) } else { 0.0 };
        Some(rate)
    }
}

/// The optimizers of this file, for the registry.
pub(crate) fn entries<T: Real>() -> Vec<Entry<T>> {
    let entry = |name, about, rule| Entry::new(name, about, rule, |len, rule| Ok(Box::new(Rated::new(len, rule)?)));
    vec![
        entry(
            "l4-momentum",
            "averaged gradients by steps to a part of the least loss: no learning rate",
            L4::momentum(),
        ),
        entry("l4-adam", "Adam by steps to a part of the least loss: no learning rate", L4::adam()),
    ]
}
