//! Base directions W g: what a gradient becomes before it is multiplied by a learning rate.
//!
//! All in the forms of PyTorch, t counted from 1:
//!
//! ```text
//! sgd       W g = g
//! momentum  m = β₁m + g                                          W g = m                          Polyak 1964
//! nesterov  m = β₁m + g                                          W g = g + β₁m                    Nesterov 1983
//! adam      m = β₁m + (1−β₁)g   v = β₂v + (1−β₂)g²               W g = m̂/(√v̂ + ε)                 Kingma and Ba 2015
//!           m̂ = m/(1−β₁ᵗ)       v̂ = v/(1−β₂ᵗ)
//! average   m = β₁m + (1−β₁)g                                    W g = m̂
//! adagrad   v = v + g²                                           W g = g/(√v + ε)                 Duchi et al. 2011
//! rmsprop   v = β₂v + (1−β₂)g²                                   W g = g/(√v + ε)                 Hinton 2012
//! adadelta  v = β₂v + (1−β₂)g²  W g = √((u + ε)/(v + ε)) · g     u = β₂u + (1−β₂)(W g)²           Zeiler 2012
//! ```
//!
//! Deviations: where v is kept, gradients that could not be squared (in f32, beyond 9e18) count as the largest that can, as do sums beyond a quarter
//! of the type's numbers (8e37): what is kept stays finite. Adadelta's root of a quotient is a quotient of roots in PyTorch: the same,
//! but in f32 for gradients above 1e17.

use osculate_engine::store::Store;
use osculate_engine::{Expr, Real};

use crate::error::{decay, positive};
use crate::options::{Field, Options};
use crate::vectors::{Limits, Vectors, between};
use crate::{Error, Result};

/// Which direction, and its constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Base {
    /// Index of [`Base::RULES`].
    pub rule: usize,
    /// β₁, of the gradient's average.
    pub momentum: f64,
    /// β₂, of the squares' average.
    pub second: f64,
    /// ε.
    pub epsilon: f64,
}

impl Base {
    /// Names of the rules.
    pub const RULES: &[&str] = &["sgd", "momentum", "nesterov", "adam", "adagrad", "rmsprop", "adadelta", "average"];
    const SGD: usize = 0;
    const MOMENTUM: usize = 1;
    const NESTEROV: usize = 2;
    const ADAM: usize = 3;
    const ADAGRAD: usize = 4;
    const RMSPROP: usize = 5;
    const ADADELTA: usize = 6;
    const AVERAGE: usize = 7;

    /// The gradient itself.
    pub fn sgd() -> Base {
        Base { rule: Base::SGD, momentum: 0.9, second: 0.999, epsilon: 1e-8 }
    }

    /// β₁ = 0.9.
    pub fn momentum() -> Base {
        Base { rule: Base::MOMENTUM, ..Base::sgd() }
    }

    /// β₁ = 0.9.
    pub fn nesterov() -> Base {
        Base { rule: Base::NESTEROV, ..Base::sgd() }
    }

    /// β = (0.9, 0.999), ε = 1e-8.
    pub fn adam() -> Base {
        Base { rule: Base::ADAM, ..Base::sgd() }
    }

    /// ε = 1e-10.
    pub fn adagrad() -> Base {
        Base { rule: Base::ADAGRAD, epsilon: 1e-10, ..Base::sgd() }
    }

    /// β₂ = 0.99, ε = 1e-8.
    pub fn rmsprop() -> Base {
        Base { rule: Base::RMSPROP, second: 0.99, ..Base::sgd() }
    }

    /// β₂ = 0.95, ε = 1e-6.
    pub fn adadelta() -> Base {
        Base { rule: Base::ADADELTA, second: 0.95, epsilon: 1e-6, ..Base::sgd() }
    }

    /// The debiased moving average of the gradient, β₁ = 0.9.
    pub fn average() -> Base {
        Base { rule: Base::AVERAGE, ..Base::sgd() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.rule >= Base::RULES.len() {
            return Err(Error::Option {
                option: "rule",
                value: self.rule as f64,
                why: "an index of Base::RULES is wanted",
            });
        }
        decay("momentum", self.momentum)?;
        decay("second", self.second)?;
        positive("epsilon", self.epsilon)
    }

    /// Whether its first buffer is an average of gradients.
    fn averages(&self) -> bool {
        matches!(self.rule, Base::AVERAGE | Base::ADAM)
    }

    /// Vectors that are kept from step to step.
    fn buffers(&self) -> usize {
        match self.rule {
            Base::SGD => 0,
            Base::ADAM | Base::ADADELTA => 2,
            _ => 1,
        }
    }

    /// The direction, and new values of the buffers; `first` and `second` are the corrections 1/(1−β₁ᵗ) and 1/√(1−β₂ᵗ).
    fn direct<'t>(
        &self,
        g: Expr<'t>,
        kept: &[Expr<'t>],
        [first, second]: [Expr<'t>; 2],
        limits: Limits,
    ) -> (Expr<'t>, Vec<Expr<'t>>) {
        let (b1, b2, epsilon) = (self.momentum, self.second, self.epsilon.max(limits.least));
        let g = match self.rule {
            Base::ADAM | Base::ADAGRAD | Base::RMSPROP | Base::ADADELTA => between(g, limits.squared),
            _ => g,
        };
        let within = |x| between(x, limits.added);
        let squares = |v: Expr<'t>| b2 * v + (1.0 - b2) * g * g;
        match (self.rule, kept) {
            (Base::MOMENTUM, &[m]) => {
                let m = within(b1 * m + g);
                (m, vec![m])
            }
            (Base::NESTEROV, &[m]) => {
                let m = within(b1 * m + g);
                (within(g + b1 * m), vec![m])
            }
            (Base::AVERAGE, &[m]) => {
                let m = b1 * m + (1.0 - b1) * g;
                (first * m, vec![m])
            }
            (Base::ADAM, &[m, v]) => {
                let (m, v) = (b1 * m + (1.0 - b1) * g, squares(v));
                (m / (second * v.sqrt() + epsilon) * first, vec![m, v])
            }
            (Base::ADAGRAD, &[v]) => {
                let v = within(v + g * g);
                (g / (v.sqrt() + epsilon), vec![v])
            }
            (Base::RMSPROP, &[v]) => {
                let v = squares(v);
                (g / (v.sqrt() + epsilon), vec![v])
            }
            (Base::ADADELTA, &[v, u]) => {
                let v = squares(v);
                let d = ((u + epsilon) / (v + epsilon)).sqrt() * g;
                (d, vec![v, b2 * u + (1.0 - b2) * d * d])
            }
            _ => (g, Vec::new()),
        }
    }
}

impl Options for Base {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, Field<'_>)) {
        see("rule", Field::Choice(&mut self.rule, Base::RULES));
        see("momentum", Field::Number(&mut self.momentum));
        see("second", Field::Number(&mut self.second));
        see("epsilon", Field::Number(&mut self.epsilon));
    }
}

/// What becomes of x, for the direction of g' = c·g + λ·x; what is not there is not computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Form {
    /// x ← s · W g.
    Direction,
    /// x ← x + s · W g.
    Step,
    /// x ← k · x + s · W g', with c and λ.
    Decayed,
}

/// The scalars of a [`Form`]: those that it has none of are not looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Use {
    /// k.
    pub keep: f64,
    /// s.
    pub scale: f64,
    /// c.
    pub clip: f64,
    /// λ.
    pub decay: f64,
}

impl Use {
    /// s alone.
    pub fn scaled(scale: f64) -> Use {
        Use { keep: 1.0, scale, clip: 1.0, decay: 0.0 }
    }
}

/// A base direction at work: its buffers, and its rule as one pass over all vectors, with the first `K` of the sums ⟨g, x⟩ of the new
/// x, ⟨m, x⟩ with the new average of gradients (which [`Worker::correction`] debiases; g if the direction keeps none), and ⟨x, x⟩.
#[derive(Debug, Clone)]
pub(crate) struct Worker<T, const K: usize = 0> {
    base: Base,
    steps: u64,
    buffers: Vec<Vec<T>>,
    rule: Rule<T, K>,
}

/// Scalars of a rule: those of [`Use`], and two corrections.
const SCALARS: usize = 6;

/// By the number of buffers.
#[derive(Debug, Clone)]
enum Rule<T, const K: usize> {
    None(Vectors<T, 1, 1, SCALARS, K>),
    One(Vectors<T, 2, 1, SCALARS, K>),
    Two(Vectors<T, 3, 1, SCALARS, K>),
}

impl<T: Real, const K: usize> Worker<T, K> {
    pub fn new(base: Base, form: Form, len: usize) -> Result<Worker<T, K>> {
        base.check()?;
        fn traced<T: Real, const M: usize, const K: usize>(
            base: Base,
            form: Form,
        ) -> Result<Vectors<T, M, 1, SCALARS, K>> {
            Vectors::summing(move |[keep, scale, clip, decay, first, second], changed: [Expr<'_>; M], [g]| {
                let (x, kept) = (changed[0], &changed[1..]);
                let g = if form == Form::Decayed { clip * g + decay * x } else { g };
                let (direction, new) = base.direct(g, kept, [first, second], Limits::of::<T>());
                let step = scale * direction;
                let mut results = changed;
                results[0] = match form {
                    Form::Direction => step,
                    Form::Step => x + step,
                    Form::Decayed => keep * x + step,
                };
                results[1..].copy_from_slice(&new);
                let mean = if base.averages() { new[0] } else { g };
                (results, std::array::from_fn(|i| [g, mean, results[0]][i] * results[0]))
            })
        }
        let rule = match base.buffers() {
            0 => Rule::None(traced(base, form)?),
            1 => Rule::One(traced(base, form)?),
            _ => Rule::Two(traced(base, form)?),
        };
        Ok(Worker { base, steps: 0, buffers: vec![vec![T::zero(); len]; base.buffers()], rule })
    }

    /// One step; g is finite.
    pub fn run(&mut self, x: &mut [T], g: &[T], with: Use) -> Result<[f64; K]> {
        let steps = self.steps + 1;
        let power = |decay: f64| 1.0 - decay.powf(steps as f64);
        let corrections = [1.0 / power(self.base.momentum), 1.0 / power(self.base.second).sqrt()];
        let scalars = [with.keep, with.scale, with.clip, with.decay, corrections[0], corrections[1]];
        let sums = match (&mut self.rule, &mut self.buffers[..]) {
            (Rule::None(rule), _) => rule.run(scalars, [x], [g])?,
            (Rule::One(rule), [a]) => rule.run(scalars, [x, a], [g])?,
            (Rule::Two(rule), [a, b]) => rule.run(scalars, [x, a, b], [g])?,
            _ => [0.0; K], // there are as many buffers as the rule was traced for
        };
        self.steps = steps;
        Ok(sums)
    }

    /// What debiases the average of the gradients (of `average` and `adam`; 1 if none is kept).
    pub fn correction(&self) -> f64 {
        if self.base.averages() { 1.0 / (1.0 - self.base.momentum.powf(self.steps as f64)) } else { 1.0 }
    }

    /// Counts a step of the form `Direction`, scaled by 1, if its direction is g itself, and says whether it is: whoever has g need
    /// not have it written once more. Else it does nothing.
    pub fn run_plain(&mut self) -> bool {
        let plain = self.base.rule == Base::SGD;
        self.steps += u64::from(plain);
        plain
    }

    /// Steps that were taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Writes the state.
    pub fn save(&self, store: &mut Store) {
        store.put("steps", &[self.steps as f64]);
        for (index, buffer) in self.buffers.iter().enumerate() {
            store.put(format!("buffer.{index}"), buffer);
        }
    }

    /// Reads a state; nothing is changed if it is none of this direction.
    pub fn load(&mut self, store: &Store) -> Result<()> {
        let steps = store.get::<f64>("steps", 1)?;
        let buffers = (self.buffers.iter().enumerate())
            .map(|(index, buffer)| store.get(&format!("buffer.{index}"), buffer.len()))
            .collect::<osculate_engine::Result<Vec<Vec<T>>>>()?;
        finite_state(steps.iter().all(|s| s.is_finite()) && buffers.iter().flatten().all(|x| x.is_finite()))?;
        (self.steps, self.buffers) = (steps[0] as u64, buffers);
        Ok(())
    }
}

/// Refuses a state with numbers that are not finite.
pub(crate) fn finite_state(is: bool) -> Result<()> {
    if is {
        Ok(())
    } else {
        Err(osculate_engine::Error::State("the state holds a number that is not finite".into()).into())
    }
}
