//! Elementwise work on flat vectors: traced once, run in place, so that a step touches every byte once.

use osculate_engine::{Expr, Func, Real, Spec, Sweep, spec};

use crate::{Error, Result};

/// A rule that turns `S` scalars and, element by element, `M` vectors and `R` more into new values of the `M`, and `K` sums.
#[derive(Debug, Clone)]
pub(crate) struct Vectors<T, const M: usize, const R: usize, const S: usize, const K: usize = 0>(Sweep<T>);

impl<T: Real, const M: usize, const R: usize, const S: usize> Vectors<T, M, R, S> {
    /// Traces a rule: given the scalars, the vectors to change and those to read.
    pub fn new<F>(rule: F) -> Result<Vectors<T, M, R, S>>
    where
        F: for<'t> Fn([Expr<'t>; S], [Expr<'t>; M], [Expr<'t>; R]) -> [Expr<'t>; M],
    {
        Vectors::summing(|scalars, changed, read| (rule(scalars, changed, read), []))
    }
}

impl<T: Real, const M: usize, const R: usize, const S: usize, const K: usize> Vectors<T, M, R, S, K> {
    /// The same of a rule that says besides what is to be added up over all elements.
    pub fn summing<F>(rule: F) -> Result<Vectors<T, M, R, S, K>>
    where
        F: for<'t> Fn([Expr<'t>; S], [Expr<'t>; M], [Expr<'t>; R]) -> ([Expr<'t>; M], [Expr<'t>; K]),
    {
        let vectors = vec![spec([2]); M + R];
        let func = Func::<Spec, Vec<Spec>, Vec<Spec>>::trace_tree(spec([S.max(1)]), vectors, |_, scalars, vectors| {
            let scalars = std::array::from_fn(|i| scalars.at(0, i));
            let (changed, read) = vectors.split_at(M);
            let (new, sums) = rule(scalars, std::array::from_fn(|i| changed[i]), std::array::from_fn(|i| read[i]));
            new.into_iter().chain(sums).collect()
        })?;
        Ok(Vectors(func.sweep(M)?))
    }

    /// Changes the vectors, all of one length; the sums.
    pub fn run(&mut self, scalars: [f64; S], mut changed: [&mut [T]; M], read: [&[T]; R]) -> Result<[f64; K]> {
        let scalars = scalars.map(T::from_f64);
        // A rule without scalars was traced with one that it does not look at: there are no buffers of no elements.
        let scalars = if S == 0 { &[T::zero()][..] } else { &scalars };
        let sums = self.0.run(scalars, &mut changed, &read).map_err(osculate_engine::Error::from)?;
        Ok(std::array::from_fn(|i| sums[i]))
    }
}

/// A vector of one value; an error where there is no room for it.
pub(crate) fn filled<T: Real>(len: usize, value: T) -> Result<Vec<T>> {
    let mut vector = Vec::new();
    let bytes = len as u128 * size_of::<T>() as u128;
    vector.try_reserve_exact(len).map_err(|_| Error::Memory { len, bytes })?;
    vector.resize(len, value);
    Ok(vector)
}

/// Copies of vectors that a step may have to give back; their room is taken once, by the first step that wants it.
#[derive(Debug, Clone)]
pub(crate) struct Undo<T> {
    copies: Vec<Vec<T>>,
    at: usize,
}

impl<T> Default for Undo<T> {
    fn default() -> Undo<T> {
        Undo { copies: Vec::new(), at: 0 }
    }
}

impl<T: Copy> Undo<T> {
    /// Begins anew, with the first vector to be kept or put back.
    pub fn rewind(&mut self) -> &mut Undo<T> {
        self.at = 0;
        self
    }

    /// Copies the next vector.
    pub fn keep(&mut self, vector: &[T]) -> &mut Undo<T> {
        if self.at == self.copies.len() {
            self.copies.push(Vec::new());
        }
        if let Some(copy) = self.copies.get_mut(self.at) {
            copy.clear();
            copy.extend_from_slice(vector);
        }
        self.at += 1;
        self
    }

    /// Puts the next vector back, in the order in which they were kept.
    pub fn put_back(&mut self, vector: &mut [T]) -> &mut Undo<T> {
        if let Some(copy) = self.copies.get(self.at) {
            vector.copy_from_slice(copy);
        }
        self.at += 1;
        self
    }
}

/// x within bounds; by comparisons, since `maximum` minds ties for derivatives that nobody takes here.
pub(crate) fn between<'t>(x: Expr<'t>, [least, most]: [f64; 2]) -> Expr<'t> {
    let x = x.less(least).select(least, x);
    x.tape().lit(most).less(x).select(most, x)
}

/// The larger of two numbers; NaN if either is, where `f64::max` would forget it: a bound that is not known must not pass for a small one.
pub(crate) fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// Whether scalars are finite among the numbers of a type: a bound in f64 of what they multiply does not say so, since an infinity times 0
/// is no number.
pub(crate) fn held<T: Real>(scalars: &[f64]) -> bool {
    scalars.iter().all(|&x| T::from_f64(x).is_finite())
}

/// What does not leave the numbers of a type: so what is kept from step to step stays finite, however large gradients are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// What can be squared.
    pub squared: [f64; 2],
    /// What can be added to what is within the same.
    pub added: [f64; 2],
    /// The largest step that leaves every parameter a number: less than half a last digit of the largest.
    pub step: f64,
    /// The least that can be divided by.
    pub least: f64,
}

impl Limits {
    pub fn of<T: Real>() -> Limits {
        let most = T::max_value().to_f64() / 4.0;
        let (step, least) = (most * T::epsilon().to_f64() / 2.0, T::min_positive_value().to_f64());
        Limits { squared: [-most.sqrt(), most.sqrt()], added: [-most, most], step, least }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_are_not_known_are_not_small() {
        assert_eq!([larger(1.0, 2.0), larger(2.0, 1.0), larger(f64::INFINITY, 1.0)], [2.0, 2.0, f64::INFINITY]);
        assert!(larger(f64::NAN, 1.0).is_nan() && larger(1.0, f64::NAN).is_nan());
        assert!(held::<f64>(&[1e300, -1e-300]) && !held::<f32>(&[0.0, 1e39]) && !held::<f64>(&[f64::NAN]));
    }

    #[test]
    fn all_lengths_by_blocks_and_threads() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads");
        pool.install(|| {
            let mut rule: Vectors<f64, 2, 1, 2> = Vectors::new(|[s, t], [x, y], [g]| [x - s * g, t * y + g])?;
            for len in [1, 5, 15, 16, 17, 4095, 4096, 4097, 1 << 17, (1 << 17) + 7, 3 * (1 << 17) - 1] {
                let g: Vec<f64> = (0..len).map(|i| (i % 17) as f64).collect();
                let (mut x, mut y) = (vec![1.0; len], vec![2.0; len]);
                rule.run([0.5, 4.0], [&mut x, &mut y], [&g])?;
                assert!(x.iter().zip(&g).all(|(x, g)| *x == 1.0 - 0.5 * g), "{len}");
                assert!(y.iter().zip(&g).all(|(y, g)| *y == 8.0 + g), "{len}");
            }
            Ok::<(), crate::Error>(())
        })
        .expect("a rule");
    }

    #[test]
    fn sums_are_of_what_was_computed_however_many_threads_there_are() {
        let sums = |threads: usize, len: usize, at: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                // x ← x + s·g with ⟨x', g⟩ and Σ x of the old ones.
                let mut rule: Vectors<f32, 1, 1, 1, 2> =
                    Vectors::summing(|[s], [x], [g]| ([x + s * g], [(x + s * g) * g, x]))?;
                let vector = |seed: usize| (0..len).map(|i| ((i * 7919 + seed) as f32).sin()).collect::<Vec<f32>>();
                // The same wherever the vectors lie.
                let (x, g) = (vector(1), vector(2));
                let mut placed = vec![0.0; len + 16];
                placed[at..at + len].copy_from_slice(&x);
                let sums = rule.run([0.5], [&mut placed[at..at + len]], [&g])?;
                let new: Vec<f32> = x.iter().zip(&g).map(|(x, g)| x + 0.5 * g).collect();
                assert_eq!(placed[at..at + len], new);
                let exact: f64 = new.iter().zip(&g).map(|(x, g)| f64::from(x * g)).sum();
                let old: f64 = x.iter().map(|&x| f64::from(x)).sum();
                let size = len as f64;
                assert!((sums[0] - exact).abs() < 1e-6 * size && (sums[1] - old).abs() < 1e-6 * size, "{len}");
                // Again, with the same room.
                assert_eq!(
                    rule.run([0.0], [&mut placed[at..at + len]], [&g])?,
                    rule.run([0.0], [&mut new.clone()], [&g])?
                );
                Ok::<_, crate::Error>(sums)
            })
            .expect("a rule")
        };
        for len in [1, 15, 16, 17, 1023, 1024, 1025, 4097, 1 << 17, 3 * (1 << 17) + 77] {
            let one = sums(1, len, 0);
            assert!(sums(3, len, 0) == one && sums(2, len, 7) == one, "{len}");
        }
    }
}
