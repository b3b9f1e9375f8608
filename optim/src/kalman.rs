//! Kalman filters of a quantity that is predicted to move and then observed: a number's, or a vector's with its whole covariance.

use crate::Result;
use crate::symmetric::{Symmetric, product, sized};

/// Gain and posterior variance for a predicted variance and an observation's.
///
/// Gain `k = p/(p + r)`, posterior in Joseph's form `(1−k)²p + k²r`, which stays non-negative under rounding. Without any noise
/// (`p = r = 0`) the observation is trusted: `k = 1`; and so it is if nothing was known before (`p = ∞`).
///
/// ```
/// use osculate_optim::kalman::update;
/// let (gain, variance) = update(3.0, 1.0);
/// assert_eq!((gain, variance), (0.75, 0.75));
/// assert_eq!(update(0.0, 0.0), (1.0, 0.0));
/// assert_eq!(update(f64::INFINITY, 2.0), (1.0, 2.0));
/// ```
pub fn update(predicted: f64, noise: f64) -> (f64, f64) {
    if predicted.is_infinite() {
        return (1.0, noise);
    }
    let gain = if predicted + noise == 0.0 { 1.0 } else { predicted / (predicted + noise) };
    (gain, (1.0 - gain) * (1.0 - gain) * predicted + gain * gain * noise)
}

/// The filter of a vector `[n]` with a covariance `[n, n]`, for small n.
///
/// ```text
/// m⁻ = m + b     P⁻ = P + Q                                        Chen et al. 2020, Eq. 4 and 6
/// K = P⁻(P⁻ + Σ)⁻¹     m = m⁻ + K(g − m⁻)     P = (I − K)P⁻(I − K)ᵀ + KΣKᵀ
/// ```
///
/// Where neither the prediction nor the observation varies, the observation is trusted.
///
/// ```
/// use osculate_optim::kalman::Full;
/// let sigma = [2.0, 1.0, 1.0, 3.0];
/// let mut filter = Full::new(vec![1.0, 0.0], sigma.to_vec())?;
/// for t in 1..10 {
///     filter.predict(&[0.0; 2], &[0.0; 4])?;
///     filter.observe(&[0.5, 0.5], &sigma)?;
///     // A constant observed t + 1 times.
///     assert!(filter.covariance().iter().zip(sigma).all(|(p, s)| (p - s / (t + 1) as f64).abs() < 1e-14));
/// }
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Full {
    mean: Vec<f64>,
    covariance: Vec<f64>,
    gain: Vec<f64>,
    room: Symmetric,
    scratch: [Vec<f64>; 2],
    surprise: Vec<f64>,
}

/// Eigenvalues of P⁻ + Σ below this part of the largest count as 0.
const NOTHING: f64 = 1e-14;

impl Full {
    /// From a mean `[n]` and a covariance `[n, n]`, in rows.
    ///
    /// # Errors
    /// A covariance of another size.
    pub fn new(mean: Vec<f64>, covariance: Vec<f64>) -> Result<Full> {
        let n = mean.len();
        sized(n * n, &[covariance.len()])?;
        let square = || vec![0.0; n * n];
        Ok(Full {
            covariance,
            gain: square(),
            room: Symmetric::new(n),
            scratch: [square(), square()],
            surprise: vec![0.0; n],
            mean,
        })
    }

    /// m `[n]`.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// P `[n, n]`.
    pub fn covariance(&self) -> &[f64] {
        &self.covariance
    }

    /// K `[n, n]` of the last observation.
    pub fn gain(&self) -> &[f64] {
        &self.gain
    }

    /// vᵀPv.
    pub fn along(&self, v: &[f64]) -> f64 {
        let along = quadratic(&self.covariance, v);
        // Rounding may leave less than nothing where nothing varies.
        if along < 0.0 { 0.0 } else { along }
    }

    /// Starts anew.
    ///
    /// # Errors
    /// Arrays of other sizes.
    pub fn set(&mut self, mean: &[f64], covariance: &[f64]) -> Result<()> {
        self.sized(mean, covariance)?;
        self.mean.copy_from_slice(mean);
        self.covariance.copy_from_slice(covariance);
        Ok(())
    }

    fn sized(&self, vector: &[f64], matrix: &[f64]) -> Result<()> {
        sized(self.mean.len(), &[vector.len()])?;
        sized(self.covariance.len(), &[matrix.len()])
    }

    /// The state moved by `b`, which is known up to a covariance Q.
    ///
    /// # Errors
    /// Arrays of other sizes.
    pub fn predict(&mut self, b: &[f64], q: &[f64]) -> Result<()> {
        self.sized(b, q)?;
        self.mean.iter_mut().zip(b).for_each(|(m, b)| *m += b);
        self.covariance.iter_mut().zip(q).for_each(|(p, q)| *p += q);
        Ok(())
    }

    /// `g` was observed, with covariance Σ.
    ///
    /// # Errors
    /// Arrays of other sizes.
    pub fn observe(&mut self, g: &[f64], sigma: &[f64]) -> Result<()> {
        self.sized(g, sigma)?;
        let n = self.mean.len();
        let [sum, inverse] = &mut self.scratch;
        sum.iter_mut().zip(&self.covariance).zip(sigma).for_each(|((sum, p), s)| *sum = p + s);
        let floor = NOTHING * self.room.decompose(sum)?.iter().copied().fold(0.0, f64::max);
        self.room.map(|e| if e > floor { 1.0 / e } else { 0.0 }, inverse)?;
        product(&self.covariance, false, inverse, false, &mut self.gain);
        // What varies in neither.
        self.room.map(|e| if e > floor { 0.0 } else { 1.0 }, inverse)?;
        self.gain.iter_mut().zip(&*inverse).for_each(|(k, null)| *k += null);

        self.surprise.iter_mut().zip(g).zip(&self.mean).for_each(|((s, g), m)| *s = g - m);
        for (m, row) in self.mean.iter_mut().zip(self.gain.chunks(n.max(1))) {
            *m += row.iter().zip(&self.surprise).map(|(k, s)| k * s).sum::<f64>();
        }
        // Joseph's form, with `sum` for I − K.
        let keep = sum;
        for (at, (keep, k)) in keep.iter_mut().zip(&self.gain).enumerate() {
            *keep = if at / n == at % n { 1.0 - k } else { -k };
        }
        product(keep, false, &self.covariance, false, inverse);
        product(inverse, false, keep, true, &mut self.covariance);
        product(&self.gain, false, sigma, false, inverse);
        product(inverse, false, &self.gain, true, keep);
        self.covariance.iter_mut().zip(&*keep).for_each(|(p, more)| *p += more);
        for i in 0..n {
            for j in 0..i {
                let mean = 0.5 * (self.covariance[i * n + j] + self.covariance[j * n + i]);
                (self.covariance[i * n + j], self.covariance[j * n + i]) = (mean, mean);
            }
        }
        Ok(())
    }
}

/// vᵀAv.
fn quadratic(a: &[f64], v: &[f64]) -> f64 {
    v.iter().zip(a.chunks(v.len().max(1))).map(|(x, row)| x * row.iter().zip(v).map(|(a, y)| a * y).sum::<f64>()).sum()
}

#[cfg(test)]
mod tests {
    use super::{Full, update};

    #[test]
    fn josephs_form_is_the_standard_one() {
        for i in -12..=12 {
            for j in -12..=12 {
                let (p, r) = (10f64.powi(i), 10f64.powi(j) * 1.7);
                let (gain, posterior) = update(p, r);
                let standard = p * r / (p + r); // (1 − k)p without its cancellation
                assert!((0.0..=1.0).contains(&gain));
                assert!((posterior - standard).abs() <= 1e-12 * standard.max(f64::EPSILON * p), "{p:e} {r:e}");
                assert!(posterior <= p.min(r) * (1.0 + 1e-12));
            }
        }
    }

    #[test]
    fn diagonal_covariances_are_many_scalar_filters() {
        let diagonal = |a: [f64; 3]| {
            let mut out = vec![0.0; 9];
            (0..3).for_each(|i| out[4 * i] = a[i]);
            out
        };
        let (mut p, mut m) = ([1.0, 0.0, 5.0], [0.0, 1.0, 2.0]);
        let mut full = Full::new(m.to_vec(), diagonal(p)).unwrap();
        Full::new(vec![], vec![]).and_then(|mut none| none.observe(&[], &[])).unwrap();
        // The second neither moves nor is observed with noise.
        for step in 0..20 {
            let (b, q, g, sigma) = ([0.1, 0.2, -0.3], [0.01, 0.0, 2.0], [1.0, 0.5 * step as f64, 3.0], [3.0, 0.0, 0.2]);
            full.predict(&b, &diagonal(q)).unwrap();
            full.observe(&g, &diagonal(sigma)).unwrap();
            for i in 0..3 {
                let (gain, posterior) = update(p[i] + q[i], sigma[i]);
                m[i] = m[i] + b[i] + gain * (g[i] - m[i] - b[i]);
                p[i] = posterior;
                assert!((full.mean()[i] - m[i]).abs() < 1e-14 && (full.covariance()[4 * i] - p[i]).abs() < 1e-14);
                assert!((full.gain()[4 * i] - gain).abs() < 1e-14);
            }
        }
        assert!((full.along(&[1.0, 2.0, 3.0]) - (p[0] + 4.0 * p[1] + 9.0 * p[2])).abs() < 1e-13);
    }
}
