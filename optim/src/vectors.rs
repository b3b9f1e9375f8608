//! Elementwise work on flat vectors: traced once, run in place, so that a step touches every byte once.

use osculate_engine::{Expr, Func, Real, Spec, Sweep, spec};

use crate::Result;

/// A rule that turns `S` scalars and, element by element, `M` vectors and `R` more into new values of the `M`.
#[derive(Debug, Clone)]
pub(crate) struct Vectors<T, const M: usize, const R: usize, const S: usize>(Sweep<T>);

impl<T: Real, const M: usize, const R: usize, const S: usize> Vectors<T, M, R, S> {
    /// Traces a rule: given the scalars, the vectors to change and those to read.
    pub fn new<F>(rule: F) -> Result<Vectors<T, M, R, S>>
    where
        F: for<'t> Fn([Expr<'t>; S], [Expr<'t>; M], [Expr<'t>; R]) -> [Expr<'t>; M],
    {
        let vectors = vec![spec([2]); M + R];
        let func = Func::<Spec, Vec<Spec>, Vec<Spec>>::trace_tree(spec([S]), vectors, |_, scalars, vectors| {
            let scalars = std::array::from_fn(|i| scalars.at(0, i));
            let (changed, read) = vectors.split_at(M);
            rule(scalars, std::array::from_fn(|i| changed[i]), std::array::from_fn(|i| read[i])).to_vec()
        })?;
        Ok(Vectors(func.sweep(M)?))
    }

    /// Changes the vectors, all of one length.
    pub fn run(&mut self, scalars: [f64; S], mut changed: [&mut [T]; M], read: [&[T]; R]) -> Result<()> {
        Ok(self.0.run(&scalars.map(T::narrow), &mut changed, &read).map_err(osculate_engine::Error::from)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
