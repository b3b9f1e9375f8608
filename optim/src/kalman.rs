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
