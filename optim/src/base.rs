//! Base directions W g: what a gradient becomes before it is multiplied by a learning rate.
//!
//! All in the forms of PyTorch, t counted from 1:
//!
//! ```text
//! sgd       W g = g
//! momentum  m = β₁m + (1−τ)g, at first g                         W g = m                          Polyak 1964
//! nesterov  m = β₁m + g                                          W g = g + β₁m                    Nesterov 1983
//! adam      m = β₁m + (1−β₁)g   v = β₂v + (1−β₂)g²               W g = m̂/(√v̂ + ε)                 Kingma and Ba 2015
//!           m̂ = m/(1−β₁ᵗ)       v̂ = v/(1−β₂ᵗ); amsgrad has the largest v there was            Reddi et al. 2018
//! nadam     m and v as adam     μₜ = β₁(1 − ½·0.96^(ψt))         W g = m'/(√v̂ + ε)                Dozat 2016
//!           m' = μₜ₊₁ m/(1 − Πᵗ⁺¹μ) + (1−μₜ) g/(1 − Πᵗμ)
//! average   m = β₁m + (1−β₁)g                                    W g = m̂
//! adagrad   v = v + g², at first v₀ + g²                         W g = g/(√v + ε)                 Duchi et al. 2011
//! rmsprop   v = β₂v + (1−β₂)g²                                   W g = g/(√v + ε)                 Hinton 2012
//!           centred: √(v − a²) for √v, with a = β₂a + (1−β₂)g; with β₁: m = β₁m + g/(√v + ε), W g = m
//! adadelta  v = β₂v + (1−β₂)g²  W g = √((u + ε)/(v + ε)) · g     u = β₂u + (1−β₂)(W g)²           Zeiler 2012
//! ```
//!
//! Deviations: where v is kept, gradients that could not be squared (in f32, beyond 9e18) count as the largest that can, as do sums beyond a quarter
//! of the type's numbers (8e37): what is kept stays finite. Adadelta's root of a quotient is a quotient of roots in PyTorch: the same,
//! but in f32 for gradients above 1e17. ε counts as the type's least normal number where it is smaller: with ε = 0, a coordinate that never
//! had a gradient stays, where PyTorch's becomes NaN. Centred variances that rounding makes negative count as 0.

use osculate_engine::Expr;

use crate::options::{Field, Legal, Options};
use crate::vectors::{Limits, between};

/// Which direction, and its constants: those that the rule does not use are not looked at.
///
/// ```
/// use osculate_optim::base::Base;
/// let amsgrad = Base { amsgrad: true, ..Base::adam() };
/// assert_eq!((amsgrad.momentum, amsgrad.second), (0.9, 0.999));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Base {
    /// Index of [`Base::RULES`].
    pub rule: usize,
    /// β₁, of the gradient's average (of what is stepped along, in `rmsprop`).
    pub momentum: f64,
    /// τ, the part of a gradient that `momentum` leaves out.
    pub dampening: f64,
    /// β₂, of the squares' average.
    pub second: f64,
    /// ε.
    pub epsilon: f64,
    /// v₀ of `adagrad`.
    pub initial: f64,
    /// Whether `adam` divides by the largest v there was.
    pub amsgrad: bool,
    /// Whether `rmsprop` divides by the gradient's deviation instead of its root mean square.
    pub centred: bool,
    /// ψ of `nadam`.
    pub momentum_decay: f64,
}

impl Base {
    /// Names of the rules.
    pub const RULES: &[&str] =
        &["sgd", "momentum", "nesterov", "adam", "adagrad", "rmsprop", "adadelta", "average", "nadam"];
    pub(crate) const SGD: usize = 0;
    pub(crate) const MOMENTUM: usize = 1;
    pub(crate) const NESTEROV: usize = 2;
    pub(crate) const ADAM: usize = 3;
    pub(crate) const ADAGRAD: usize = 4;
    pub(crate) const RMSPROP: usize = 5;
    pub(crate) const ADADELTA: usize = 6;
    pub(crate) const AVERAGE: usize = 7;
    pub(crate) const NADAM: usize = 8;

    /// The gradient itself.
    pub fn sgd() -> Base {
        Base {
            rule: Base::SGD,
            momentum: 0.9,
            dampening: 0.0,
            second: 0.999,
            epsilon: 1e-8,
            initial: 0.0,
            amsgrad: false,
            centred: false,
            momentum_decay: 4e-3,
        }
    }

    /// β₁ = 0.9, τ = 0.
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

    /// ε = 1e-10, v₀ = 0.
    pub fn adagrad() -> Base {
        Base { rule: Base::ADAGRAD, epsilon: 1e-10, ..Base::sgd() }
    }

    /// β₁ = 0, β₂ = 0.99, ε = 1e-8.
    pub fn rmsprop() -> Base {
        Base { rule: Base::RMSPROP, momentum: 0.0, second: 0.99, ..Base::sgd() }
    }

    /// β₂ = 0.95, ε = 1e-6.
    pub fn adadelta() -> Base {
        Base { rule: Base::ADADELTA, second: 0.95, epsilon: 1e-6, ..Base::sgd() }
    }

    /// The debiased moving average of the gradient, β₁ = 0.9.
    pub fn average() -> Base {
        Base { rule: Base::AVERAGE, ..Base::sgd() }
    }

    /// β = (0.9, 0.999), ε = 1e-8, ψ = 0.004.
    pub fn nadam() -> Base {
        Base { rule: Base::NADAM, ..Base::sgd() }
    }

    /// A rule with its constants.
    fn of(rule: usize) -> Base {
        let base = match rule {
            Base::ADAGRAD => Base::adagrad(),
            Base::RMSPROP => Base::rmsprop(),
            Base::ADADELTA => Base::adadelta(),
            _ => Base::sgd(),
        };
        Base { rule, ..base }
    }

    fn is(&self, rules: &[usize]) -> bool {
        rules.contains(&self.rule)
    }

    /// Whether it divides by roots of squares.
    pub(crate) fn adapts(&self) -> bool {
        self.is(&[Base::ADAM, Base::NADAM, Base::ADAGRAD, Base::RMSPROP, Base::ADADELTA])
    }

    /// Whether β₁ is an average's of gradients.
    pub(crate) fn has_momentum(&self) -> bool {
        self.is(&[Base::MOMENTUM, Base::NESTEROV, Base::ADAM, Base::NADAM, Base::AVERAGE])
    }

    /// Whether its first buffer is an average of gradients, with weights that add up to 1 − β₁ᵗ.
    pub(crate) fn averages(&self) -> bool {
        self.is(&[Base::AVERAGE, Base::ADAM, Base::NADAM])
    }

    /// Vectors that are kept from step to step: what each of them may hold, and what it begins with.
    pub(crate) fn buffers(&self) -> Vec<(Legal, f64)> {
        let (any, squares) = ((Legal::Finite, 0.0), (Legal::NotNegative, 0.0));
        let mut all = match self.rule {
            Base::SGD => vec![],
            Base::ADAM | Base::NADAM => vec![any, squares],
            Base::ADADELTA => vec![squares, squares],
            Base::ADAGRAD => vec![(Legal::NotNegative, self.initial)],
            Base::RMSPROP => vec![squares],
            _ => vec![any],
        };
        match self.rule {
            Base::ADAM if self.amsgrad => all.push(squares),
            Base::RMSPROP => {
                all.extend(self.centred.then_some(any));
                all.extend((self.momentum > 0.0).then_some(any));
            }
            _ => {}
        }
        all
    }

    /// The direction, and new values of the buffers; of the scalars, see [`Base::scalars`].
    pub(crate) fn direct<'t>(
        &self,
        g: Expr<'t>,
        kept: &[Expr<'t>],
        [first, second, third]: [Expr<'t>; 3],
        limits: Limits,
    ) -> (Expr<'t>, Vec<Expr<'t>>) {
        let (b1, b2, epsilon) = (self.momentum, self.second, self.epsilon.max(limits.least));
        let g = if self.adapts() { between(g, limits.squared) } else { g };
        let within = |x| between(x, limits.added);
        let squares = |v: Expr<'t>| b2 * v + (1.0 - b2) * g * g;
        match (self.rule, kept) {
            (Base::MOMENTUM, &[m]) => {
                let m = within(b1 * m + if self.dampening > 0.0 { first * g } else { g });
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
            (Base::ADAM, &[m, v, most]) => {
                let (m, v) = (b1 * m + (1.0 - b1) * g, squares(v));
                let most = most.less(v).select(v, most);
                (m / (second * most.sqrt() + epsilon) * first, vec![m, v, most])
            }
            (Base::NADAM, &[m, v]) => {
                let (m, v) = (b1 * m + (1.0 - b1) * g, squares(v));
                ((first * m + third * g) / (second * v.sqrt() + epsilon), vec![m, v])
            }
            (Base::ADAGRAD, &[v]) => {
                let v = within(v + g * g);
                (g / (v.sqrt() + epsilon), vec![v])
            }
            (Base::RMSPROP, [v, rest @ ..]) => {
                let v = squares(*v);
                let mut new = vec![v];
                let mut spread = v;
                if let (true, Some(&mean)) = (self.centred, rest.first()) {
                    let mean = b2 * mean + (1.0 - b2) * g;
                    new.push(mean);
                    spread = v - mean * mean;
                    spread = spread.less(0.0).select(0.0, spread);
                }
                let mut direction = g / (spread.sqrt() + epsilon);
                if let (true, Some(&m)) = (self.momentum > 0.0, rest.last()) {
                    direction = within(b1 * m + within(direction));
                    new.push(direction);
                }
                (direction, new)
            }
            (Base::ADADELTA, &[v, u]) => {
                let v = squares(v);
                let d = ((u + epsilon) / (v + epsilon)).sqrt() * g;
                (d, vec![v, b2 * u + (1.0 - b2) * d * d])
            }
            _ => (g, Vec::new()),
        }
    }

    /// The scalars of a step, counted from 1: 1/(1−β₁ᵗ) and 1/√(1−β₂ᵗ); of `momentum`, first, what is taken of the gradient; of `nadam`, first
    /// and third, the factors of m and g, for which it knows the product of all μ up to this step.
    pub(crate) fn scalars(&self, step: u64, product: f64) -> [f64; 3] {
        let power = |decay: f64| 1.0 - decay.powf(step as f64);
        let second = 1.0 / power(self.second).sqrt();
        match self.rule {
            Base::MOMENTUM => [if step == 1 { 1.0 } else { 1.0 - self.dampening }, second, 0.0],
            Base::NADAM => {
                let (now, next) = (self.weight(step), self.weight(step + 1));
                [next / (1.0 - product * next), second, (1.0 - now) / (1.0 - product)]
            }
            _ => [1.0 / power(self.momentum), second, 0.0],
        }
    }

    /// μ of `nadam` at a step, counted from 1.
    pub(crate) fn weight(&self, step: u64) -> f64 {
        self.momentum * (1.0 - 0.5 * 0.96f64.powf(step as f64 * self.momentum_decay))
    }
}

impl Options for Base {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        use Base as B;
        let before = self.rule;
        see("rule", "direction that the rate multiplies", Field::Choice(&mut self.rule, Base::RULES));
        if self.rule != before {
            // Another rule's constants are not this one's.
            *self = Base::of(self.rule);
        }
        if self.has_momentum() || self.is(&[B::RMSPROP]) {
            let about = "β₁, by which the average of gradients (rmsprop: of steps) fades in a step";
            see("momentum", about, Field::Number(&mut self.momentum, Legal::Decay));
        }
        if self.is(&[B::MOMENTUM]) {
            let about = "part of each gradient but the first that the momentum leaves out";
            see("dampening", about, Field::Number(&mut self.dampening, Legal::Decay));
        }
        if self.is(&[B::ADAM, B::NADAM, B::RMSPROP, B::ADADELTA]) {
            let about = "β₂, by which the average of squared gradients fades in a step";
            see("second", about, Field::Number(&mut self.second, Legal::Decay));
        }
        if self.adapts() {
            let about = "ε, added to the root that is divided by (adadelta: to what is under it)";
            see("epsilon", about, Field::Number(&mut self.epsilon, Legal::NotNegative));
        }
        if self.is(&[B::ADAGRAD]) {
            let about = "sum of squared gradients before the first";
            see("initial", about, Field::Number(&mut self.initial, Legal::NotNegative));
        }
        if self.is(&[B::ADAM]) {
            see(
                "amsgrad",
                "whether the largest average of squares there was is divided by",
                Field::Flag(&mut self.amsgrad),
            );
        }
        if self.is(&[B::RMSPROP]) {
            let about = "whether the gradient's deviation is divided by instead of its root mean square";
            see("centred", about, Field::Flag(&mut self.centred));
        }
        if self.is(&[B::NADAM]) {
            let about = "ψ, by which the momentum approaches β₁";
            see("momentum-decay", about, Field::Number(&mut self.momentum_decay, Legal::NotNegative));
        }
    }
}
