//! A base direction at work: what it keeps from step to step, and steps that never leave the type's numbers.
//!
//! Vectors are changed in place, in one pass, so a step that must not be taken has to be known beforehand. Bounds of what is kept follow from
//! bounds of gradients; while a step cannot reach the type's limit by them, nothing more is done. When it could, what is kept is measured,
//! and if that does not settle it, the step is tried with copies at hand.

use osculate_engine::store::Store;
use osculate_engine::{Real, Size, finite, largest};

use crate::Result;
use crate::base::Base;
use crate::options::Legal;
use crate::state::Reader;
use crate::vectors::{Limits, Undo, Vectors, filled, held, larger};

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
    form: Form,
    steps: u64,
    /// Π μ of `nadam`.
    product: f64,
    buffers: Vec<Vec<T>>,
    known: Known,
    rule: Rule<T, K>,
    undo: Undo<T>,
}

/// What a worker is put back to beside its buffers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    count: (u64, f64),
    known: Known,
}

/// Most vectors that are kept.
const KEPT: usize = 3;

/// What is known of the buffers without looking.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Known {
    /// Bounds of their magnitudes.
    most: [f64; KEPT],
    /// Of |m|/√v where both are averages.
    ratio: f64,
}

/// Scalars of a rule: those of [`Use`], and those of [`Base::scalars`].
const SCALARS: usize = 7;

/// By the number of buffers.
#[derive(Debug, Clone)]
enum Rule<T, const K: usize> {
    None(Vectors<T, 1, 1, SCALARS, K>),
    One(Vectors<T, 2, 1, SCALARS, K>),
    Two(Vectors<T, 3, 1, SCALARS, K>),
    Three(Vectors<T, 4, 1, SCALARS, K>),
}

impl<T: Real, const K: usize> Worker<T, K> {
    pub fn new(base: Base, form: Form, len: usize) -> Result<Worker<T, K>> {
        fn traced<T: Real, const M: usize, const K: usize>(
            base: Base,
            form: Form,
        ) -> Result<Vectors<T, M, 1, SCALARS, K>> {
            Vectors::summing(move |[keep, scale, clip, decay, one, two, three], changed: [_; M], [g]| {
                let (x, kept) = (changed[0], &changed[1..]);
                let g = if form == Form::Decayed { clip * g + decay * x } else { g };
                let (direction, new) = base.direct(g, kept, [one, two, three], Limits::of::<T>());
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
        let kept = base.buffers();
        let rule = match kept.len() {
            0 => Rule::None(traced(base, form)?),
            1 => Rule::One(traced(base, form)?),
            2 => Rule::Two(traced(base, form)?),
            _ => Rule::Three(traced(base, form)?),
        };
        let buffers = kept.iter().map(|(_, first)| filled(len, T::from_f64(*first))).collect::<Result<Vec<_>>>()?;
        let known = Known { most: std::array::from_fn(|i| kept.get(i).map_or(0.0, |kept| kept.1)), ratio: 0.0 };
        Ok(Worker { base, form, steps: 0, product: 1.0, buffers, known, rule, undo: Undo::default() })
    }

    /// One step along a gradient of a size, which is finite; the sums, or none if the step would leave the type's numbers: nothing is changed
    /// then.
    pub fn run(&mut self, x: &mut [T], g: &[T], size: Size, with: Use) -> Result<Option<[f64; K]>> {
        let most = match size {
            Size::Moderate => T::MODERATE,
            _ => largest(g),
        };
        let scalars = self.base.scalars(self.steps + 1, self.next_product());
        let mut bounded = self.bounded(x, most, with, scalars);
        if bounded.is_none() {
            // The bounds have come loose, or it is a large step indeed.
            self.known.most = std::array::from_fn(|i| self.buffers.get(i).map_or(0.0, |buffer| largest(buffer)));
            bounded = self.bounded(x, most, with, scalars);
        }
        let sums = match bounded {
            Some(known) => {
                let sums = self.change(x, g, with, scalars)?;
                self.known = known;
                sums
            }
            None => {
                let Worker { undo, buffers, .. } = self;
                undo.rewind().keep(x);
                buffers.iter().for_each(|buffer| {
                    undo.keep(buffer);
                });
                let sums = self.change(x, g, with, scalars)?;
                if !finite(x) || !self.buffers.iter().all(|buffer| finite(buffer)) {
                    let Worker { undo, buffers, .. } = self;
                    undo.rewind().put_back(x);
                    buffers.iter_mut().for_each(|buffer| {
                        undo.put_back(buffer);
                    });
                    return Ok(None);
                }
                self.known.ratio = self.ratio_after();
                self.known.most = [f64::INFINITY; KEPT]; // to be measured when they are wanted
                sums
            }
        };
        self.product = self.next_product();
        self.steps += 1;
        Ok(Some(sums))
    }

    fn change(&mut self, x: &mut [T], g: &[T], with: Use, [one, two, three]: [f64; 3]) -> Result<[f64; K]> {
        let scalars = [with.keep, with.scale, with.clip, with.decay, one, two, three];
        match (&mut self.rule, &mut self.buffers[..]) {
            (Rule::None(rule), _) => rule.run(scalars, [x], [g]),
            (Rule::One(rule), [a]) => rule.run(scalars, [x, a], [g]),
            (Rule::Two(rule), [a, b]) => rule.run(scalars, [x, a, b], [g]),
            (Rule::Three(rule), [a, b, c]) => rule.run(scalars, [x, a, b, c], [g]),
            _ => Ok([0.0; K]), // there are as many buffers as the rule was traced for
        }
    }

    fn next_product(&self) -> f64 {
        if self.base.rule == Base::NADAM { self.product * self.base.weight(self.steps + 1) } else { 1.0 }
    }

    /// A bound of |m|/√v after a step: of Cauchy and Schwarz.
    fn ratio_after(&self) -> f64 {
        let (b1, b2) = (self.base.momentum, self.base.second);
        let fading = if b1 == 0.0 { 0.0 } else { (self.known.ratio * b1).powi(2) / b2 };
        (fading + (1.0 - b1).powi(2) / (1.0 - b2)).sqrt()
    }

    /// What will be known after a step, if by what is known it cannot leave the type's numbers; `most` bounds the gradient.
    fn bounded(&self, x: &[T], most: f64, with: Use, [first, _, third]: [f64; 3]) -> Option<Known> {
        let limits = Limits::of::<T>();
        let Base { rule, momentum: b1, second: b2, centred, .. } = self.base;
        let (epsilon, mut known) = (self.base.epsilon.max(limits.least), self.known);
        let Use { keep, scale, clip, decay } = match self.form {
            Form::Decayed => with,
            _ => Use::scaled(with.scale),
        };
        let mut g = clip.abs() * most;
        if decay != 0.0 {
            g = match rule {
                // λx is taken from x: together they are not larger than x.
                Base::SGD if decay.abs() <= 1.0 && -1.0 <= scale * decay && scale * decay <= 0.0 && g < limits.step => {
                    g
                }
                _ if self.base.adapts() => f64::INFINITY,
                _ => g + decay.abs() * largest(x),
            };
        }
        if self.base.adapts() {
            g = g.min(limits.squared[1]);
        }
        // Squares may fall below the type's numbers, an error of an average that is itself divided by.
        let lost = (8.0 * limits.least * T::epsilon().to_f64() / (1.0 - b2)).sqrt() / epsilon;
        let [m, u, ..] = known.most;
        let direction = match rule {
            Base::MOMENTUM | Base::NESTEROV => {
                known.most[0] = (b1 * m + g).min(limits.added[1]);
                if rule == Base::MOMENTUM { known.most[0] } else { g + b1 * known.most[0] }
            }
            Base::AVERAGE => {
                known.most[0] = b1 * m + (1.0 - b1) * g;
                first * known.most[0]
            }
            Base::ADAM | Base::NADAM => {
                known.most[0] = b1 * m + (1.0 - b1) * g;
                known.ratio = self.ratio_after();
                let ratio = (known.ratio * (1.0 + lost)).min(known.most[0] / epsilon);
                first.abs() * ratio + third.abs() * (1.0 + lost) / (1.0 - b2).sqrt()
            }
            Base::ADAGRAD => 1.0 + lost,
            Base::RMSPROP => {
                let one = if centred { g / epsilon } else { (1.0 + lost) / (1.0 - b2).sqrt() };
                let last = self.buffers.len() - 1;
                match b1 > 0.0 {
                    false => one,
                    true => {
                        known.most[last] = (b1 * known.most[last] + one).min(limits.added[1]);
                        known.most[last]
                    }
                }
            }
            Base::ADADELTA => {
                let root = (u + epsilon).sqrt();
                let direction = root * (1.0 + lost) / (1.0 - b2).sqrt();
                known.most[1] = b2 * u + direction.powi(2);
                direction
            }
            _ => g,
        };
        // Twice for rounding.
        let fits = 2.0 * scale.abs() * direction < limits.step && keep.abs() <= 1.0 && held::<T>(&[scale, clip, decay]);
        (fits && known.most.iter().all(|most| *most <= limits.added[1])).then_some(known)
    }

    /// What debiases the average of the gradients (of `average`, `adam` and `nadam`; 1 if none is kept).
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

    /// What counts steps, to be put back after one that was none; averages keep what they took in.
    pub fn count(&self) -> (u64, f64) {
        (self.steps, self.product)
    }

    /// Puts a [`count`](Worker::count) back.
    pub fn put_count(&mut self, (steps, product): (u64, f64)) {
        (self.steps, self.product) = (steps, product);
    }

    /// Copies the buffers, and says what else to put back.
    pub fn keep(&self, undo: &mut Undo<T>) -> Before {
        self.buffers.iter().for_each(|buffer| {
            undo.keep(buffer);
        });
        Before { count: self.count(), known: self.known }
    }

    /// Puts all back.
    pub fn put_back(&mut self, undo: &mut Undo<T>, before: Before) {
        self.buffers.iter_mut().for_each(|buffer| {
            undo.put_back(buffer);
        });
        self.put_count(before.count);
        self.known = before.known;
    }

    /// Steps that were taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Writes the state.
    pub fn write(&self, store: &mut Store) {
        store.put("steps", &[self.steps as f64]);
        if self.base.rule == Base::NADAM {
            store.put("product", &[self.product]);
        }
        for (index, buffer) in self.buffers.iter().enumerate() {
            store.put(format!("buffer.{index}"), buffer);
        }
    }

    /// Reads a state.
    pub fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        self.steps = state.steps("steps")?;
        if self.base.rule == Base::NADAM {
            // After many steps, or with β₁ = 0 after one, it is 0.
            [self.product] = state.numbers("product", [Legal::Unit])?;
        }
        for (index, (legal, _)) in self.base.buffers().into_iter().enumerate() {
            let len = self.buffers[index].len();
            self.buffers[index] = state.vector(&format!("buffer.{index}"), len, legal)?;
        }
        let most = |buffer: &Vec<T>| largest(buffer);
        self.known.most = std::array::from_fn(|i| self.buffers.get(i).map_or(0.0, most));
        if let (true, [m, v, ..]) = (matches!(self.base.rule, Base::ADAM | Base::NADAM), &self.buffers[..]) {
            let least = (Limits::of::<T>().least * T::epsilon().to_f64()).sqrt();
            let ratios = m.iter().zip(v).map(|(&m, &v)| m.to_f64().abs() / (v.to_f64().sqrt() + least));
            self.known.ratio = ratios.fold(0.0, larger);
        }
        Ok(())
    }
}
