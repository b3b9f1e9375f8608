//! The step size that most probably improves the loss, and the one that improves it most by expectation.
//!
//! Along a direction the change of the loss after a step α is modelled as normal with mean and variance
//!
//! ```text
//! μ(α) = −aα + (b/2)α² + (c/6)α³        V(α) = V₀ + p̃α² + (q̃/4)α⁴ + ℓα⁶
//! ```
//!
//! (Chen et al. 2020, Eq. 11 and 13, with Eq. 23 of their supplement for ℓ; c is an optional cubic term). The probability of
//! improvement Φ(−μ/√V) is largest where `J = μ/√V` is least; `J′ = N V^(−3/2)` with a polynomial N that has exactly one root in
//! the interval where it is sought, so Newton's method inside a bracket finds it in a handful of iterations.
//!
//! The expected improvement `E max(−change, 0) = −μΦ(z) + √V φ(z)`, z = −μ/√V, grows without bound with the step wherever V does as
//! α⁴: its first local maximum is meant, which lies beyond the mean's minimiser.

/// Coefficients of mean and variance along a direction.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Coefficients {
    /// a: expected slope of descent.
    pub slope: f64,
    /// b: curvature along the direction.
    pub curvature: f64,
    /// c ≥ 0: cubic term, usually 0.
    pub cubic: f64,
    /// V₀: variance that does not depend on the step.
    pub v0: f64,
    /// p̃: variance of the slope.
    pub v2: f64,
    /// q̃: variance of the curvature.
    pub v4: f64,
    /// ℓ: variance of what the quadratic leaves out, usually 0.
    pub v6: f64,
}

/// How the maximisation went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The interior maximum.
    Ok,
    /// No variance depends on the step: the minimiser of the mean.
    Mean,
    /// The slope promises no descent: no step.
    NotDescent,
    /// The constant variance is 0, and the best step vanishes: no step.
    ZeroV0,
    /// The probability grows for ever: no finite step.
    Unbounded,
    /// A coefficient is not finite, or the step is not.
    NonFinite,
}

impl Coefficients {
    /// Expected change of the loss.
    pub fn mean(&self, step: f64) -> f64 {
        step * (-self.slope + step * (self.curvature / 2.0 + step * self.cubic / 6.0))
    }

    /// Variance of the change.
    pub fn variance(&self, step: f64) -> f64 {
        let s = step * step;
        self.v0 + s * (self.v2 + s * (self.v4 / 4.0 + s * self.v6))
    }

    /// Probability that the loss falls, Φ(−μ/√V).
    pub fn probability(&self, step: f64) -> f64 {
        let deviation = self.variance(step).sqrt();
        if deviation == 0.0 {
            return if self.mean(step) < 0.0 { 1.0 } else { 0.0 };
        }
        0.5 * libm::erfc(self.mean(step) / deviation * std::f64::consts::FRAC_1_SQRT_2)
    }

    /// J = μ/√V and its first two derivatives; the probability of improvement is Φ(−J). The slope and V₀ or p̃ must be positive,
    /// as where [`best_step`](Coefficients::best_step) finds a step; elsewhere the derivatives are NaN.
    pub fn objective(&self, step: f64) -> [f64; 3] {
        let n = self.stationarity();
        let value: f64 = n.iter().map(|&(c, p)| c * step.powi(p)).sum();
        let slope: f64 = n.iter().map(|&(c, p)| c * f64::from(p) * step.powi(p - 1)).sum();
        // N is scaled: means by the slope, variances by `unit`.
        let unit = self.variance_unit();
        let v = self.variance(step) / unit;
        let bend = step * (2.0 * self.v2 + step * step * (self.v4 + 6.0 * step * step * self.v6)) / unit;
        let scale = self.slope / unit.sqrt();
        [
            self.mean(step) / self.variance(step).sqrt(),
            scale * value * v.powf(-1.5),
            scale * (slope * v - 1.5 * value * bend) * v.powf(-2.5),
        ]
    }

    /// What variances are measured in: the constant one, or where that is 0 that of the slope.
    fn variance_unit(&self) -> f64 {
        if self.v0 > 0.0 { self.v0 } else { self.v2 }
    }

    /// Minimiser of the mean, if there is one beyond 0.
    pub fn mean_minimiser(&self) -> Option<f64> {
        let (a, b, c) = (self.slope, self.curvature, self.cubic);
        // √(b² + 2ac) without overflow.
        let root = b.hypot((2.0 * a * c).sqrt());
        match (b > 0.0, c > 0.0) {
            _ if a <= 0.0 => None,
            (true, false) => Some(a / b),
            (true, true) => Some(a / (b / 2.0 + root / 2.0)),
            (false, true) => Some((-b + root) / c),
            (false, false) => None,
        }
    }

    /// The step of largest probability of improvement.
    ///
    /// ```
    /// use osculate_optim::improvement::{Coefficients, Outcome};
    /// let c = Coefficients { slope: 1.0, curvature: 1.0, v0: 2.0, v2: 1.0, ..Coefficients::default() };
    /// let (step, outcome) = c.best_step();
    /// assert_eq!(outcome, Outcome::Ok);
    /// assert!((step - 0.84770759813956664).abs() < 1e-15);
    /// ```
    pub fn best_step(&self) -> (f64, Outcome) {
        let all = [self.slope, self.curvature, self.cubic, self.v0, self.v2, self.v4, self.v6];
        if all.iter().any(|c| !c.is_finite()) {
            return (0.0, Outcome::NonFinite);
        }
        if self.slope <= 0.0 {
            return (0.0, Outcome::NotDescent);
        }
        if self.v0 <= 0.0 && (self.curvature >= 0.0 || self.v2 <= 0.0) {
            return (0.0, Outcome::ZeroV0);
        }
        if self.v2 == 0.0 && self.v4 == 0.0 && self.v6 == 0.0 {
            return match self.mean_minimiser() {
                Some(step) => (step, Outcome::Mean),
                None => (f64::INFINITY, Outcome::Unbounded),
            };
        }
        if self.curvature <= 0.0 && self.cubic == 0.0 && self.v6 == 0.0 && self.v4 == 0.0 {
            return (f64::INFINITY, Outcome::Unbounded);
        }
        match self.root() {
            root if root > 0.0 && root.is_finite() => (root, Outcome::Ok),
            // Beyond what f64 can count: a step of 0 or infinity answers nothing.
            _ => (0.0, Outcome::NonFinite),
        }
    }

    /// Expected improvement E max(−change, 0) and its derivative.
    pub fn expected_improvement(&self, step: f64) -> [f64; 2] {
        let (mean, deviation) = (self.mean(step), self.variance(step).sqrt());
        let slope = -self.slope + step * (self.curvature + step * self.cubic / 2.0);
        if deviation == 0.0 {
            return if mean < 0.0 { [-mean, -slope] } else { [0.0, 0.0] };
        }
        let z = -mean / deviation;
        let below = 0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2);
        [deviation * (z * below + density(z)), self.widening(step) * density(z) - slope * below]
    }

    /// d√V/dα.
    fn widening(&self, step: f64) -> f64 {
        let s = step * step;
        step * (self.v2 + s * (self.v4 / 2.0 + 3.0 * s * self.v6)) / self.variance(step).sqrt()
    }

    /// Whether the expected improvement still grows: its derivative over Φ(z), which underflows late.
    fn still_improving(&self, step: f64) -> bool {
        let slope = -self.slope + step * (self.curvature + step * self.cubic / 2.0);
        slope < 0.0 || self.widening(step) * hazard(self.mean(step) / self.variance(step).sqrt()) > slope
    }

    /// The smallest step where the expected improvement has a maximum, at most ten times the minimiser of the mean and `limit`; or the
    /// smaller of these.
    ///
    /// ```
    /// use osculate_optim::improvement::{Coefficients, Outcome};
    /// let c = Coefficients { slope: 1.0, curvature: 1.0, v0: 2.0, v2: 0.1, ..Coefficients::default() };
    /// let (step, outcome) = c.best_expected(None);
    /// assert_eq!(outcome, Outcome::Ok);
    /// assert!(step > 1.0 && c.expected_improvement(step)[1].abs() < 1e-12);
    /// ```
    pub fn best_expected(&self, limit: Option<f64>) -> (f64, Outcome) {
        let all = [self.slope, self.curvature, self.cubic, self.v0, self.v2, self.v4, self.v6];
        if all.iter().any(|c| !c.is_finite()) {
            return (0.0, Outcome::NonFinite);
        }
        if self.slope <= 0.0 {
            return (0.0, Outcome::NotDescent);
        }
        let minimiser = self.mean_minimiser();
        if self.v0 == 0.0 && self.v2 == 0.0 && self.v4 == 0.0 && self.v6 == 0.0 {
            let Some(step) = minimiser.or(limit) else { return (f64::INFINITY, Outcome::Unbounded) };
            return (step.min(limit.unwrap_or(f64::INFINITY)), Outcome::Mean);
        }
        let limit = limit.unwrap_or(f64::INFINITY).min(minimiser.map_or(f64::INFINITY, |step| 10.0 * step));
        if limit.is_infinite() {
            return (f64::INFINITY, Outcome::Unbounded);
        }
        // Up to the minimiser both the mean and the spread favour longer steps.
        let Some(from) = minimiser.filter(|&step| step < limit) else { return (limit, Outcome::Ok) };
        let (mut low, mut high) = (from, from);
        for at in 0..=SCAN {
            if !self.still_improving(high) {
                break;
            }
            if at == SCAN {
                return (limit, Outcome::Ok);
            }
            let next = from * (limit / from).powf(f64::from(at + 1) / f64::from(SCAN));
            (low, high) = (high, if at + 1 == SCAN { limit } else { next.clamp(high, limit) });
        }
        while low < high {
            let middle = low + (high - low) / 2.0;
            if middle <= low || middle >= high {
                break;
            }
            if self.still_improving(middle) { low = middle } else { high = middle }
        }
        if low > 0.0 && low.is_finite() { (low, Outcome::Ok) } else { (0.0, Outcome::NonFinite) }
    }

    /// The terms `(coefficient, power)` of N, scaled so that neither slope nor variance sets their size.
    fn stationarity(&self) -> [(f64, i32); 7] {
        let v = self.variance_unit();
        let (b, c) = (self.curvature / self.slope, self.cubic / self.slope);
        let (v0, v2, v4, v6) = (self.v0 / v, self.v2 / v, self.v4 / v, self.v6 / v);
        [
            (-v0, 0),
            (b * v0, 1),
            (c * v0 / 2.0, 2),
            (b * v2 / 2.0, 3),
            (v4 / 4.0 + c * v2 / 3.0, 4),
            (2.0 * v6 + c * v4 / 24.0, 6),
            (-b * v6 / 2.0, 7),
        ]
    }

    /// The root of N: Newton inside a bracket, bisecting geometrically where Newton leaves it.
    fn root(&self) -> f64 {
        let n = self.stationarity();
        let (mut low, mut high) = self.bracket(&n);
        let mut x = high;
        for _ in 0..200 {
            let value: f64 = n.iter().map(|&(c, p)| c * x.powi(p)).sum();
            let slope: f64 = n.iter().map(|&(c, p)| c * f64::from(p) * x.powi(p - 1)).sum();
            if value == 0.0 {
                break;
            }
            if value > 0.0 {
                high = high.min(x)
            } else {
                low = low.max(x)
            }
            let newton = x - value / slope;
            let next = if slope > 0.0 && newton > low && newton < high { newton } else { (low * high).sqrt() };
            if (next - x).abs() <= 4e-16 * x {
                x = next;
                break;
            }
            x = next;
        }
        x
    }

    /// Bounds of the root from the dominance of single terms: below `low` N is negative, above `high` positive.
    fn bracket(&self, n: &[(f64, i32); 7]) -> (f64, f64) {
        // On (0, a/b] the seventh power takes at most a quarter of the sixth.
        let falling = self.curvature > 0.0 && self.v6 > 0.0;
        let (terms, sixth) = if falling { (&n[..6], 0.75) } else { (&n[..], 1.0) };
        let positive = || terms.iter().copied().filter(|t| t.0 > 0.0);
        let negative = || terms.iter().filter(|t| t.0 < 0.0).map(|&(c, p)| (-c, p));
        let (k, l) = (positive().count() as f64, negative().count() as f64);
        let low = positive()
            .map(|(c, m)| {
                let below = negative().filter(|t| t.1 < m);
                below.map(|(d, p)| (d / (k * c)).powf(1.0 / f64::from(m - p))).fold(0.0, f64::max)
            })
            .filter(|&bound| bound > 0.0)
            .fold(f64::INFINITY, f64::min);
        let top = negative().map(|t| t.1).max().unwrap_or(0);
        let high = positive()
            .filter(|t| t.1 > top)
            .map(|(c, m)| {
                let c = if m == 6 { sixth * c } else { c };
                negative().map(|(d, p)| (l * d / c).powf(1.0 / f64::from(m - p))).fold(0.0, f64::max)
            })
            .fold(self.mean_minimiser().unwrap_or(f64::INFINITY), f64::min);
        (low.min(high), high)
    }
}

/// Intervals in which the first maximum is looked for, between the minimiser of the mean and the limit.
const SCAN: u32 = 512;

/// The standard normal density φ.
fn density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt()
}

/// φ(t)/Φ(−t), where both may underflow.
fn hazard(t: f64) -> f64 {
    if t < 8.0 {
        return density(t) / (0.5 * libm::erfc(t * std::f64::consts::FRAC_1_SQRT_2));
    }
    // Laplace's continued fraction.
    (1..=40).rev().fold(t, |rest, k| t + f64::from(k) / rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hazards_meet_where_their_forms_change() {
        for t in [7.9f64, 8.0, 12.0, 30.0] {
            let (plain, fraction) = (
                density(t) / (0.5 * libm::erfc(t * std::f64::consts::FRAC_1_SQRT_2)),
                (1..=40).rev().fold(t, |rest, k| t + f64::from(k) / rest),
            );
            assert!((plain / fraction - 1.0).abs() < 1e-13, "{t}");
        }
        assert!((hazard(1e9) / 1e9 - 1.0).abs() < 1e-15 && hazard(-40.0) == density(40.0));
    }

    #[test]
    fn golden_vectors() {
        let golden = [
            ([1.0, 1.0, 0.0, 2.0, 1.0, 0.0, 0.0], 0.847_707_598_139_566_6, Outcome::Ok),
            ([1.0, 1.0, 0.0, 2.0, 0.0, 1.0, 0.0], 0.913_105_274_029_705_1, Outcome::Ok),
            ([1.0, 1.0, 0.0, 2.0, 1.0, 1.0, 0.0], 0.811_892_941_629_269_6, Outcome::Ok),
            ([1.0, 0.0, 0.0, 2.0, 0.0, 1.0, 0.0], 1.681792830507429, Outcome::Ok),
            ([2.0, -1.0, 0.0, 1.0, 0.25, 0.125, 0.0], 3.7474171277935415, Outcome::Ok),
            ([2.0, -1.0, 0.0, 1.0, 0.25, 0.0, 0.0], f64::INFINITY, Outcome::Unbounded),
            ([2.0, -1.0, 0.0, 1.0, 0.25, 0.125, 0.01], 2.076_047_671_037_431, Outcome::Ok),
            ([2.0, -1.0, 0.0, 1.0, 0.25, 0.0, 0.01], 2.180_914_122_348_028, Outcome::Ok),
            ([1.0, 1.0, 0.0, 2.0, 1.0, 1.0, 0.1], 0.799_909_084_857_039_5, Outcome::Ok),
            ([2.0, -1.0, 0.5, 1.0, 0.25, 0.125, 0.0], 2.5305193964479087, Outcome::Ok),
            ([2.0, -1.0, 0.5, 1.0, 0.25, 0.0, 0.0], 3.874_949_179_064_701, Outcome::Ok),
            ([1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0], 0.0, Outcome::ZeroV0),
            ([-1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0], 0.0, Outcome::NotDescent),
            ([1.0, 1.0, 0.0, 2.0, 0.0, 0.0, 0.0], 1.0, Outcome::Mean),
            ([f64::NAN, 1.0, 0.0, 2.0, 0.0, 0.0, 0.0], 0.0, Outcome::NonFinite),
        ];
        for (c, want, outcome) in golden {
            let [slope, curvature, cubic, v0, v2, v4, v6] = c;
            let (step, got) = Coefficients { slope, curvature, cubic, v0, v2, v4, v6 }.best_step();
            assert_eq!(got, outcome, "{c:?}");
            assert!(step == want || (step - want).abs() <= 1e-12 * want, "{c:?}: {step} instead of {want}");
        }
    }
}
