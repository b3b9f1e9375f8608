//! Elementwise work on flat vectors: traced once, run in place block by block, so that a step touches every byte once.

use osculate_engine::{Device, Expr, Func, In, Out, Program, Real, Spec, spec};

use crate::Result;

/// Elements of a block: its results stay in the first caches until they are written back.
const BLOCK: usize = 4096;

/// Elements from which threads share the work.
const SHARED: usize = 1 << 17;

/// A rule that turns `S` scalars and, element by element, `M` vectors and `R` more into new values of the `M`.
#[derive(Debug, Clone)]
pub(crate) struct Vectors<T, const M: usize, const R: usize, const S: usize> {
    lanes: Vec<Lane<T>>,
    scalars: [T; S],
}

/// One thread's share.
#[derive(Debug, Clone)]
struct Lane<T> {
    len: usize,
    block: Step<T>,
    /// What is left of the vectors, or all if they are short.
    tail: Option<Step<T>>,
}

/// The rule for so many elements.
#[derive(Debug, Clone)]
struct Step<T> {
    len: usize,
    program: Program<T, Spec, Vec<Spec>, Vec<Spec>>,
    results: Vec<T>,
}

impl<T: Real, const M: usize, const R: usize, const S: usize> Vectors<T, M, R, S> {
    /// Traces a rule for vectors of `len`: given the scalars, the vectors to change and those to read.
    pub fn new<F>(len: usize, rule: F) -> Result<Vectors<T, M, R, S>>
    where
        F: for<'t> Fn([Expr<'t>; S], [Expr<'t>; M], [Expr<'t>; R]) -> [Expr<'t>; M],
    {
        let step = |len: usize| -> Result<Step<T>> {
            let vectors = vec![spec([len]); M + R];
            let func = Func::<Spec, Vec<Spec>, Vec<Spec>>::trace_tree(spec([S]), vectors, |_, scalars, vectors| {
                let scalars = std::array::from_fn(|i| scalars.at(0, i));
                let (changed, read) = vectors.split_at(M);
                rule(scalars, std::array::from_fn(|i| changed[i]), std::array::from_fn(|i| read[i])).to_vec()
            })?;
            Ok(Step { len, program: func.compile(&Device::cpu())?, results: vec![T::zero(); M * len] })
        };
        let (block, left) = (BLOCK.min(len), len % BLOCK);
        let block = step(block)?;
        let blocks = len / BLOCK;
        let threads = if len >= SHARED { rayon::current_num_threads().min(blocks) } else { 1 };
        let mut lanes = Vec::new();
        for lane in 0..threads {
            let share = (lane + 1) * blocks / threads - lane * blocks / threads;
            lanes.push(Lane { len: share * BLOCK, block: block.clone(), tail: None });
        }
        if let (Some(last), true) = (lanes.last_mut(), left > 0) {
            last.len += left;
            last.tail = Some(if blocks == 0 { block } else { step(left)? });
        }
        Ok(Vectors { lanes, scalars: [T::zero(); S] })
    }

    /// Changes the vectors, all of the length that was traced.
    pub fn run(&mut self, scalars: [f64; S], changed: [&mut [T]; M], read: [&[T]; R]) -> Result<()> {
        self.scalars = scalars.map(T::narrow);
        share(&mut self.lanes, &self.scalars, changed, read)
    }
}

/// Halves the lanes and the vectors until one thread has one lane.
fn share<T: Real, const M: usize, const R: usize>(
    lanes: &mut [Lane<T>],
    scalars: &[T],
    changed: [&mut [T]; M],
    read: [&[T]; R],
) -> Result<()> {
    if let [lane] = lanes {
        return lane.run(scalars, changed, read);
    }
    let half = lanes.len() / 2;
    let at: usize = lanes[..half].iter().map(|lane| lane.len).sum();
    let mut after: [&mut [T]; M] = std::array::from_fn(|_| &mut [][..]);
    let mut rest = after.iter_mut();
    let before = changed.map(|vector| {
        let (before, left) = vector.split_at_mut(at);
        if let Some(slot) = rest.next() {
            *slot = left;
        }
        before
    });
    let (left, right) = lanes.split_at_mut(half);
    let (first, second) = (read.map(|vector| &vector[..at]), read.map(|vector| &vector[at..]));
    let (left, right) = rayon::join(|| share(left, scalars, before, first), || share(right, scalars, after, second));
    left.and(right)
}

impl<T: Real> Lane<T> {
    fn run<const M: usize, const R: usize>(
        &mut self,
        scalars: &[T],
        mut changed: [&mut [T]; M],
        read: [&[T]; R],
    ) -> Result<()> {
        let mut from = 0;
        while from < self.len {
            let step = match &mut self.tail {
                Some(tail) if self.len - from == tail.len => tail,
                _ => &mut self.block,
            };
            let range = from..from + step.len;
            let mut inputs = [In::Real(scalars); INPUTS];
            for (input, vector) in inputs[1..].iter_mut().zip(changed.iter().map(|v| &v[..]).chain(read)) {
                *input = In::Real(&vector[range.clone()]);
            }
            step.program.run_flat(&inputs[..1 + M + R], &mut [Out::Real(&mut step.results)])?;
            for (vector, result) in changed.iter_mut().zip(step.results.chunks_exact(step.len)) {
                vector[range.clone()].copy_from_slice(result);
            }
            from = range.end;
        }
        Ok(())
    }
}

/// Most buffers of a rule.
const INPUTS: usize = 16;

/// Whether all elements are finite.
pub(crate) fn finite<T: Real>(vector: &[T]) -> bool {
    if vector.len() >= SHARED {
        let (left, right) = vector.split_at(vector.len() / 2);
        let (left, right) = rayon::join(|| finite(left), || finite(right));
        return left && right;
    }
    // A product with zero is zero, or NaN; sums in lanes, so that they are vectors.
    const LANES: usize = 32;
    let (chunks, rest) = vector.as_chunks::<LANES>();
    let mut sums = [T::zero(); LANES];
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += x * T::zero();
        }
    }
    sums.iter().chain(rest).all(|x| x.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lengths_by_blocks_and_threads() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads");
        for len in [1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, SHARED, SHARED + 7, SHARED + BLOCK - 1] {
            pool.install(|| {
                let mut rule: Vectors<f64, 2, 1, 2> = Vectors::new(len, |[s, t], [x, y], [g]| [x - s * g, t * y + g])?;
                let g: Vec<f64> = (0..len).map(|i| (i % 17) as f64).collect();
                let (mut x, mut y) = (vec![1.0; len], vec![2.0; len]);
                rule.run([0.5, 4.0], [&mut x, &mut y], [&g])?;
                assert!(x.iter().zip(&g).all(|(x, g)| *x == 1.0 - 0.5 * g), "{len}");
                assert!(y.iter().zip(&g).all(|(y, g)| *y == 8.0 + g), "{len}");
                Ok::<(), crate::Error>(())
            })
            .expect("a rule");
        }
    }

    #[test]
    fn one_infinity_is_found_wherever_it_is() {
        for (len, step) in [(1, 1), (31, 1), (32, 1), (33, 1), (100, 1), (2 * SHARED + 5, 9973)] {
            let mut x = vec![1e300; len];
            assert!(finite(&x));
            for at in (0..len).step_by(step).chain([len - 1]) {
                for bad in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
                    x[at] = bad;
                    assert!(!finite(&x), "{bad} at {at} of {len}");
                }
                x[at] = -0.5;
            }
        }
    }
}
