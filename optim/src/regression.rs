//! Linear regression over exponentially fading points.

/// The line through points (t, g) whose weights fade by β a step: means and centred second moments, which do not cancel.
///
/// Equation 3 of Duda 2019 keeps s, t̄, ḡ, avg(gt), avg(t²) and subtracts; in f32 at |t| = 1000 that once gave a variance of −0.06 for
/// one of 1e-6. Numerator and denominator of λ both divided by s, this is the same.
///
/// ```
/// use osculate_optim::regression::Line;
/// let mut line = Line::new(0.8);
/// for t in [1.0, 1.5, 1.25] {
///     line.add(t, 2.0 * (t - 0.25));
/// }
/// assert!((line.slope() - 2.0).abs() < 1e-12 && (line.root() - 0.25).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    decay: f64,
    weight: f64,
    mean: [f64; 2],
    /// Of t with itself, of t with g, of g with itself.
    moments: [f64; 3],
}

/// Parts of t² below which its variance is rounding.
const TINY: f64 = 1e-12;

impl Line {
    /// Of no points, β in [0, 1).
    pub fn new(decay: f64) -> Line {
        Line { decay, weight: 0.0, mean: [0.0; 2], moments: [0.0; 3] }
    }

    /// Adds a point; one that is so far away that squares leave the numbers there are is not taken.
    pub fn add(&mut self, t: f64, g: f64) {
        let new = 1.0 - self.decay;
        let weight = self.decay * self.weight + new;
        let spread = self.decay * self.weight * new / weight;
        let (dt, dg) = (t - self.mean[0], g - self.mean[1]);
        let mean = [self.mean[0] + new / weight * dt, self.mean[1] + new / weight * dg];
        let mut moments = self.moments;
        for (moment, product) in moments.iter_mut().zip([dt * dt, dt * dg, dg * dg]) {
            *moment = self.decay * *moment + spread * product;
        }
        if mean.iter().chain(&moments).all(|x| x.is_finite()) {
            (self.weight, self.mean, self.moments) = (weight, mean, moments);
        }
    }

    /// λ, the slope; 0 if the points lie at one t.
    pub fn slope(&self) -> f64 {
        let [tt, tg, _] = self.moments;
        if tt <= TINY * (tt + self.weight * self.mean[0].powi(2)) { 0.0 } else { tg / tt }
    }

    /// Where the line is 0; not finite if the slope is 0.
    pub fn root(&self) -> f64 {
        self.mean[0] - self.mean[1] / self.slope()
    }

    /// σ_t/σ_g, the inverse slope as it would be without noise (Eq. 8).
    pub fn spread(&self) -> f64 {
        (self.moments[0] / self.moments[2]).sqrt()
    }

    /// Moves the origin of t.
    pub fn shift(&mut self, by: f64) {
        self.mean[0] -= by;
    }

    pub(crate) fn state(&self) -> [f64; 6] {
        let ([t, g], [tt, tg, gg]) = (self.mean, self.moments);
        [self.weight, t, g, tt, tg, gg]
    }

    pub(crate) fn restored(self, [weight, t, g, tt, tg, gg]: [f64; 6]) -> Line {
        Line { decay: self.decay, weight, mean: [t, g], moments: [tt, tg, gg] }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Line;

    proptest! {
        /// Weighted least squares, written out; the origin does not matter.
        #[test]
        fn is_least_squares(
            points in prop::collection::vec((-3.0..3.0f64, -3.0..3.0f64), 3..20), decay in 0.3..0.99f64, origin in -1e3..1e3f64,
        ) {
            let mut line = Line::new(decay);
            points.iter().for_each(|&(t, g)| line.add(t + origin, g));
            let weights: Vec<f64> = (0..points.len()).rev().map(|age| decay.powi(age as i32)).collect();
            let total: f64 = weights.iter().sum();
            let mean = |of: fn(&(f64, f64)) -> f64| points.iter().zip(&weights).map(|(p, w)| w * of(p)).sum::<f64>() / total;
            let (mt, mg) = (mean(|p| p.0), mean(|p| p.1));
            let about = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
                points.iter().zip(&weights).map(|(p, w)| w * f(p.0 - mt, p.1 - mg)).sum()
            };
            let (tt, tg) = (about(&|t, _| t * t), about(&|t, g| t * g));
            prop_assume!(tt > 1e-3 * total && tg.abs() > 1e-3 * total);
            let want = tg / tt;
            prop_assert!((line.slope() - want).abs() < 1e-10 * want.abs().max(1.0), "{} {}", line.slope(), want);
            line.shift(origin);
            // A root is as sure as 1/λ is.
            let certain = (1.0 + (mg / want).abs()) * (1.0 + 1.0 / want.abs());
            prop_assert!((line.root() - (mt - mg / want)).abs() < 1e-10 * certain);
        }
    }

    #[test]
    fn what_is_too_far_away_is_not_taken() {
        let mut line = Line::new(0.9);
        [(1.0, 2.0), (2.0, 5.0)].iter().for_each(|&(t, g)| line.add(t, g));
        let before = line;
        let far = [(1e200, 1.0), (1.0, -1e200), (f64::NAN, 0.0), (0.0, f64::INFINITY)];
        far.iter().for_each(|&(t, g)| line.add(t, g));
        assert_eq!(line, before);
    }

    #[test]
    fn one_point_has_no_slope() {
        let mut line = Line::new(0.9);
        assert_eq!(line.slope(), 0.0);
        for _ in 0..5 {
            line.add(1e3, 2.0);
            assert_eq!(line.slope(), 0.0);
        }
    }
}
