//! The scalar Kalman filter: a variance that grows when the state moves and shrinks when it is observed.

/// Gain and posterior variance for a predicted variance and an observation's.
///
/// Gain `k = p/(p + r)`, posterior in Joseph's form `(1−k)²p + k²r`, which stays non-negative under rounding. Without any noise
/// (`p = r = 0`) the observation is trusted: `k = 1`.
///
/// ```
/// use osculate_optim::kalman::update;
/// let (gain, variance) = update(3.0, 1.0);
/// assert_eq!((gain, variance), (0.75, 0.75));
/// assert_eq!(update(0.0, 0.0), (1.0, 0.0));
/// ```
pub fn update(predicted: f64, noise: f64) -> (f64, f64) {
    let gain = if predicted + noise == 0.0 { 1.0 } else { predicted / (predicted + noise) };
    (gain, (1.0 - gain) * (1.0 - gain) * predicted + gain * gain * noise)
}

#[cfg(test)]
mod tests {
    use super::update;

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
}
