//! Small symmetric matrices: eigenvalues by Jacobi's rotations, functions of a matrix, and the two equations that regressions ask for.
//!
//! Matrices are rows of f64, one after the other. Nothing is allocated after [`Symmetric::new`].

use crate::{Error, Result};

/// Room for decomposing matrices `[n, n]`, and the last decomposition `A = Uᵀ diag(e) U`.
///
/// ```
/// let mut room = osculate_optim::symmetric::Symmetric::new(2);
/// let values = room.decompose(&[2.0, 1.0, 1.0, 2.0])?;
/// assert!((values[0] * values[1] - 3.0).abs() < 1e-14 && (values[0] + values[1] - 4.0).abs() < 1e-14);
/// let mut root = [0.0; 4];
/// room.map(f64::sqrt, &mut root)?;
/// assert!((root[0].powi(2) + root[1].powi(2) - 2.0).abs() < 1e-14);
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Symmetric {
    n: usize,
    values: Vec<f64>,
    /// One eigenvector a row.
    vectors: Vec<f64>,
    work: Vec<f64>,
    spare: [Vec<f64>; 2],
}

/// Sweeps of rotations; they converge quadratically, after five or so.
const SWEEPS: usize = 50;

impl Symmetric {
    /// For matrices `[n, n]`.
    pub fn new(n: usize) -> Symmetric {
        let square = || vec![0.0; n * n];
        Symmetric { n, values: vec![0.0; n], vectors: square(), work: square(), spare: [square(), square()] }
    }

    /// Decomposes the symmetric part of a matrix and returns its eigenvalues, in no order.
    ///
    /// # Errors
    /// A matrix of another size.
    pub fn decompose(&mut self, a: &[f64]) -> Result<&[f64]> {
        sized(self.n * self.n, &[a.len()])?;
        let n = self.n;
        for i in 0..n {
            for j in 0..n {
                // Halves first: a sum could overflow.
                self.work[i * n + j] = 0.5 * a[i * n + j] + 0.5 * a[j * n + i];
                self.vectors[i * n + j] = if i == j { 1.0 } else { 0.0 };
            }
        }
        for _ in 0..SWEEPS {
            let mut turned = false;
            for p in 0..n {
                for q in p + 1..n {
                    turned |= self.rotate(p, q);
                }
            }
            if !turned {
                break;
            }
        }
        for i in 0..n {
            self.values[i] = self.work[i * n + i];
        }
        Ok(&self.values)
    }

    /// Turns the plane of p and q so that their element vanishes; `false` if it is nothing to its diagonal.
    fn rotate(&mut self, p: usize, q: usize) -> bool {
        let (n, m) = (self.n, &mut self.work);
        let (pp, qq, pq) = (m[p * n + p], m[q * n + q], m[p * n + q]);
        if pq.abs() <= f64::EPSILON * 0.1 * pp.abs().sqrt() * qq.abs().sqrt() || pq.abs() < f64::MIN_POSITIVE {
            return false;
        }
        let theta = (qq - pp) / (2.0 * pq);
        let t = if theta == 0.0 { 1.0 } else { theta.signum() / (theta.abs() + theta.hypot(1.0)) };
        let c = 1.0 / t.hypot(1.0);
        let s = t * c;
        let turn = |a: &mut [f64], x: usize, y: usize| (a[x], a[y]) = (c * a[x] - s * a[y], s * a[x] + c * a[y]);
        for k in 0..n {
            turn(m, k * n + p, k * n + q);
        }
        for k in 0..n {
            turn(m, p * n + k, q * n + k);
        }
        (m[p * n + q], m[q * n + p]) = (0.0, 0.0);
        (m[p * n + p], m[q * n + q]) = (pp - t * pq, qq + t * pq);
        for k in 0..n {
            turn(&mut self.vectors, p * n + k, q * n + k);
        }
        true
    }

    /// The last eigenvalues.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// A function of the last matrix: Uᵀ diag(f(e)) U.
    ///
    /// # Errors
    /// Room for a matrix of another size.
    pub fn map(&self, f: impl Fn(f64) -> f64, into: &mut [f64]) -> Result<()> {
        sized(self.n * self.n, &[into.len()])?;
        into.fill(0.0);
        for (&value, vector) in self.values.iter().zip(self.vectors.chunks(self.n.max(1))) {
            let value = f(value);
            for (row, x) in into.chunks_mut(self.n.max(1)).zip(vector) {
                row.iter_mut().zip(vector).for_each(|(out, y)| *out += value * x * y);
            }
        }
        Ok(())
    }

    /// The symmetric H of least squares for `G = H T` from C = cov(t) and M = cov(g, t): the solution of `HC + CH = M + Mᵀ`.
    ///
    /// Directions in which nothing varies (of eigenvalues below `least` of the largest) are left out.
    ///
    /// # Errors
    /// Matrices of another size.
    pub fn lyapunov(&mut self, c: &[f64], m: &[f64], least: f64, into: &mut [f64]) -> Result<()> {
        sized(self.n * self.n, &[m.len(), into.len()])?;
        let n = self.n;
        let largest = self.decompose(c)?.iter().copied().fold(0.0, f64::max);
        let (turned, half) = (&mut self.work, &mut self.spare[0]);
        for i in 0..n {
            for j in 0..n {
                turned[i * n + j] = m[i * n + j] + m[j * n + i];
            }
        }
        congruence(&self.vectors, turned, false, half, into);
        for i in 0..n {
            for j in 0..n {
                let sum = self.values[i] + self.values[j];
                let known = self.values[i] > least * largest && self.values[j] > least * largest;
                turned[i * n + j] = if known { into[i * n + j] / sum } else { 0.0 };
            }
        }
        congruence(&self.vectors, turned, true, half, into);
        Ok(())
    }

    /// The geometric mean of C⁻¹ and G, the only positive semi-definite H with `HCH = G`: `C^(−½)(C^½ G C^½)^½ C^(−½)`.
    ///
    /// Directions in which C does not vary (of eigenvalues below `least` of the largest) are left out.
    ///
    /// # Errors
    /// Matrices of another size.
    pub fn geometric_mean(&mut self, c: &[f64], g: &[f64], least: f64, into: &mut [f64]) -> Result<()> {
        sized(self.n * self.n, &[g.len(), into.len()])?;
        let largest = self.decompose(c)?.iter().copied().fold(0.0, f64::max);
        let floor = least * largest;
        let [mut root, mut inverse] = std::mem::take(&mut self.spare);
        self.map(|e| if e > floor { e.sqrt() } else { 0.0 }, &mut root)?;
        self.map(|e| if e > floor { 1.0 / e.sqrt() } else { 0.0 }, &mut inverse)?;
        let mut half = std::mem::take(&mut self.work);
        congruence(&root, g, false, &mut half, into);
        self.work = half;
        self.decompose(into)?;
        self.map(|e| e.max(0.0).sqrt(), &mut root)?;
        congruence(&inverse, &root, false, &mut self.work, into);
        self.spare = [root, inverse];
        Ok(())
    }
}

/// Refuses arrays that do not hold as many numbers.
pub(crate) fn sized(want: usize, got: &[usize]) -> Result<()> {
    match got.iter().find(|&&got| got != want) {
        None => Ok(()),
        Some(&got) => Err(Error::Matrix { want, got }),
    }
}

/// `U A Uᵀ`, or with `back` `Uᵀ A U`.
fn congruence(u: &[f64], a: &[f64], back: bool, half: &mut [f64], into: &mut [f64]) {
    product(u, back, a, false, half);
    product(half, false, u, !back, into);
}

/// `A B` of square matrices, each transposed if asked for.
pub(crate) fn product(a: &[f64], transpose_a: bool, b: &[f64], transpose_b: bool, into: &mut [f64]) {
    let n = a.len().isqrt();
    let at = |m: &[f64], transpose: bool, i: usize, j: usize| if transpose { m[j * n + i] } else { m[i * n + j] };
    for i in 0..n {
        for j in 0..n {
            into[i * n + j] = (0..n).map(|k| at(a, transpose_a, i, k) * at(b, transpose_b, k, j)).sum();
        }
    }
}

/// Whether a finite matrix `[n, n]` is symmetric and positive semi-definite, but for the rounding of numbers as large as it or as `beside`.
pub(crate) fn is_covariance(matrix: &[f64], n: usize, beside: f64) -> bool {
    const ROUNDING: f64 = 1e-6;
    // Smaller numbers than the least of these have lost their digits.
    let least = f64::MIN_POSITIVE / f64::EPSILON;
    let most = (0..n).map(|i| matrix[i * n + i]).fold(beside.max(least), f64::max);
    // Cholesky's factor of one that is a little larger; scaled, so that products of large numbers are numbers.
    let scale = 1.0 / most;
    let mut l = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let (below, above) = (matrix[i * n + j] * scale, matrix[j * n + i] * scale);
            if (below - above).abs() > ROUNDING || below.is_infinite() {
                return false;
            }
            let more = if i == j { ROUNDING } else { 0.0 };
            let sum = below + more - (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum::<f64>();
            if i == j && (sum <= 0.0 || sum.is_nan()) {
                return false;
            }
            l[i * n + j] = if i == j { sum.sqrt() } else { sum / l[j * n + j] };
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Symmetric, product};

    fn square(n: usize) -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(-1.0..1.0f64, n * n)
    }

    /// A matrix and its transpose's product, shifted: positive definite.
    fn positive(a: &[f64], n: usize, shift: f64) -> Vec<f64> {
        let mut out = vec![0.0; n * n];
        product(a, false, a, true, &mut out);
        (0..n).for_each(|i| out[i * n + i] += shift);
        out
    }

    fn near(a: &[f64], b: &[f64], tolerance: f64) -> bool {
        let scale = b.iter().fold(1e-300f64, |s, x| s.max(x.abs()));
        a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * scale)
    }

    proptest! {
        #[test]
        fn decompositions_multiply_back((n, a) in (1usize..9).prop_flat_map(|n| (Just(n), square(n))), scale in -300i32..300) {
            let scale = 10f64.powi(scale / 2);
            let symmetric: Vec<f64> = (0..n * n).map(|at| scale * (a[at] + a[at % n * n + at / n])).collect();
            let mut room = Symmetric::new(n);
            room.decompose(&symmetric).unwrap();
            let mut back = vec![0.0; n * n];
            room.map(|e| e, &mut back).unwrap();
            prop_assert!(near(&back, &symmetric, 1e-13), "{back:?} {symmetric:?}");
            room.map(|_| 1.0, &mut back).unwrap();
            let one: Vec<f64> = (0..n * n).map(|at| if at / n == at % n { 1.0 } else { 0.0 }).collect();
            prop_assert!(near(&back, &one, 1e-13));
        }

        /// The least squares over symmetric matrices, from its normal equations, and HC + CH = M + Mᵀ.
        #[test]
        fn lyapunovs_equation((n, a, m) in (1usize..7).prop_flat_map(|n| (Just(n), square(n), square(n)))) {
            let c = positive(&a, n, 0.1);
            let (mut room, mut h) = (Symmetric::new(n), vec![0.0; n * n]);
            room.lyapunov(&c, &m, 1e-12, &mut h).unwrap();
            let (mut left, mut right) = (vec![0.0; n * n], vec![0.0; n * n]);
            product(&h, false, &c, false, &mut left);
            product(&c, false, &h, false, &mut right);
            let sum: Vec<f64> = left.iter().zip(&right).map(|(l, r)| l + r).collect();
            let want: Vec<f64> = (0..n * n).map(|at| m[at] + m[at % n * n + at / n]).collect();
            prop_assert!(near(&sum, &want, 1e-11), "{sum:?} {want:?}");
            prop_assert!((0..n * n).all(|at| (h[at] - h[at % n * n + at / n]).abs() < 1e-11));
        }

        #[test]
        fn geometric_means((n, a, b) in (1usize..7).prop_flat_map(|n| (Just(n), square(n), square(n)))) {
            let (c, g) = (positive(&a, n, 0.1), positive(&b, n, 0.1));
            let (mut room, mut h) = (Symmetric::new(n), vec![0.0; n * n]);
            room.geometric_mean(&c, &g, 1e-12, &mut h).unwrap();
            let (mut hc, mut hch) = (vec![0.0; n * n], vec![0.0; n * n]);
            product(&h, false, &c, false, &mut hc);
            product(&hc, false, &h, false, &mut hch);
            prop_assert!(near(&hch, &g, 1e-10), "{hch:?} {g:?}");
            prop_assert!(room.decompose(&h).unwrap().iter().all(|&e| e > 0.0));
        }
    }

    #[test]
    fn what_does_not_vary_is_left_out() {
        // Only the first coordinate moved.
        let (mut room, mut h) = (Symmetric::new(2), vec![f64::NAN; 4]);
        room.lyapunov(&[2.0, 0.0, 0.0, 0.0], &[6.0, 0.0, 4.0, 0.0], 1e-12, &mut h).unwrap();
        assert_eq!(h, [3.0, 0.0, 0.0, 0.0]);
        room.geometric_mean(&[2.0, 0.0, 0.0, 0.0], &[18.0, 3.0, 3.0, 5.0], 1e-12, &mut h).unwrap();
        assert!(near(&h, &[3.0, 0.0, 0.0, 0.0], 1e-15), "{h:?}");
        room.lyapunov(&[0.0; 4], &[0.0; 4], 1e-12, &mut h).unwrap();
        assert_eq!(h, [0.0; 4]);
        let mut none = Symmetric::new(0);
        assert_eq!(none.decompose(&[]).unwrap(), [0.0; 0]);
        none.map(f64::sqrt, &mut []).and_then(|()| none.geometric_mean(&[], &[], 0.0, &mut [])).unwrap();
        assert!(room.decompose(&[1.0; 3]).is_err() && room.lyapunov(&[1.0; 4], &[1.0; 4], 0.0, &mut [0.0; 9]).is_err());
    }
}
