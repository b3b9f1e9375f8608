//! Kalman gradient descent: the gradient is filtered, and so are the parameters that it is taken at.
//!
//! J. Vuckovic, *Kalman gradient descent: adaptive variance reduction in stochastic optimization*, 2018. The state of a coordinate is
//! (x, h), the parameter and its gradient; the gradient is observed:
//!
//! ```text
//! predict   x⁻ = x − ηh    h⁻ = h                        P⁻ = APAᵀ + QI     A = [1 −η; 0 1]
//! observe   k = P⁻(:, h)/(P⁻ₕₕ + R)    y = g(x⁻) − h⁻     x = x⁻ + k_x y     h = h⁻ + k_h y     P = (I − kC)P⁻
//! ```
//!
//! All coordinates share P. The optimizer leaves its parameters at x⁻, where the next gradient is due. The variance of x itself enters no
//! gain and is not kept. Defaults: η = 0.1; the paper's Q = 0.01, R = 2, P = 0.01.

use osculate_engine::store::Store;
use osculate_engine::{Real, Size, finite, largest};

use crate::optimizer::{Undone, check_len, check_new, tried};
use crate::options::{Field, Legal, Options};
use crate::registry::Entry;
use crate::schedule::Pace;
use crate::state::{Kept, Reader, kept, whole};
use crate::vectors::{Limits, Undo, Vectors, filled, held};
use crate::{Optimizer, Oracle, Report, Result, Schedule, Status};

/// Options of [`KalmanDescent`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// η, multiplied by the schedule's factor.
    pub rate: f64,
    /// Course of the learning rate.
    pub schedule: Schedule,
    /// Q, by which the state moves in a step.
    pub process_noise: f64,
    /// R, variance of an observed gradient.
    pub noise: f64,
    /// P before the first step, of x and of h.
    pub variance: f64,
}

impl Default for Config {
    /// η = 0.1 and the paper's Q = 0.01, R = 2, P = 0.01.
    fn default() -> Config {
        Config { rate: 0.1, schedule: Schedule::default(), process_noise: 0.01, noise: 2.0, variance: 0.01 }
    }
}

impl Options for Config {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        see("rate", "learning rate", Field::Number(&mut self.rate, Legal::Positive));
        self.schedule.each(see);
        let about = "Q, the variance by which the state moves in a step";
        see("process-noise", about, Field::Number(&mut self.process_noise, Legal::NotNegative));
        see("noise", "R, the variance of an observed gradient", Field::Number(&mut self.noise, Legal::Positive));
        let about = "P before the first step, of a parameter and of its gradient";
        see("variance", about, Field::Number(&mut self.variance, Legal::NotNegative));
    }
}

/// Kalman gradient descent, see the [module](self).
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{kalman_descent::Config, KalmanDescent, Minibatches, Optimizer};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// let data = Examples::new(spec([]), Array::new([2], vec![1.0, 3.0])?)?.all()?;
/// let (mut w, mut filter) = ([0.0], KalmanDescent::new(1, Config::default())?);
/// filter.step(&mut w, &mut Minibatches::new(&loss, &Device::cpu()).on(&data))?;
/// // P⁻ = (0.02, −0.001) about h, from P = 0.01: gains of −0.001/2.02 and 0.02/2.02 for the gradient −2.
/// let want: f64 = (0.001 + 0.1 * 0.02) / 2.02 * 2.0;
/// assert!((w[0] - want).abs() < 1e-15);
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct KalmanDescent<T> {
    config: Config,
    pace: Pace,
    steps: u64,
    gradient: Vec<T>,
    /// h, and a bound of it.
    filtered: Vec<T>,
    most: f64,
    /// P⁻ of x with h, and of h.
    covariance: [f64; 2],
    rule: Vectors<T, 2, 1, 3>,
    undo: Undo<T>,
}

impl<T: Real> KalmanDescent<T> {
    /// For `len` parameters.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(len: usize, config: Config) -> Result<KalmanDescent<T>> {
        check_new::<T>(len, &config)?;
        let pace = Pace::new(config.schedule);
        let rate = config.rate * pace.factor(0);
        Ok(KalmanDescent {
            pace,
            steps: 0,
            gradient: filled(len, T::zero())?,
            filtered: filled(len, T::zero())?,
            most: 0.0,
            covariance: predicted([0.0, config.variance], rate, config.process_noise),
            rule: Vectors::new(|[x_gain, gain, rate], [x, h], [g]| {
                let surprise = g - h;
                let h = h + gain * surprise;
                [x + x_gain * surprise - rate * h, h]
            })?,
            config,
            undo: Undo::default(),
        })
    }
}

/// APAᵀ + QI, without the variance of x.
fn predicted([xh, hh]: [f64; 2], rate: f64, process_noise: f64) -> [f64; 2] {
    [xh - rate * hh, hh + process_noise]
}

impl<T: Real> KalmanDescent<T> {
    /// One pass over all vectors; `most` bounds the filtered gradient then.
    fn walk(&mut self, params: &mut [T], loss: f64, rate: f64, most: f64) -> Result<Report> {
        let Config { process_noise, noise, .. } = self.config;
        let [xh, hh] = self.covariance;
        let total = hh + noise;
        let gains = [xh / total, hh / total];
        self.rule.run([gains[0], gains[1], rate], [params, &mut self.filtered], [&self.gradient])?;
        self.covariance = predicted([xh * (noise / total), hh * (noise / total)], rate, process_noise);
        self.most = most;
        self.pace.see(self.steps, loss);
        self.steps += 1;
        Ok(Report { gain: Some(gains[1]), ..Report::new(Status::Stepped, loss, rate) })
    }
}

impl<T: Real> Optimizer<T> for KalmanDescent<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.gradient.len(), params.len())?;
        let (loss, size) = oracle.checked_gradient(params, &mut self.gradient)?;
        if !size.is_finite() {
            return Ok(Report::not_finite(loss));
        }
        let rate = self.config.rate * self.pace.factor(self.steps);
        let [xh, hh] = self.covariance;
        // h' lies between h and g.
        let (total, limits) = (hh + self.config.noise, Limits::of::<T>());
        let most = if size == Size::Moderate { T::MODERATE } else { largest(&self.gradient) }.max(self.most);
        let step = 2.0 * (2.0 * (xh / total).abs() + rate) * most;
        let safe = held::<T>(&[xh / total, rate]) && most < limits.added[1] && step < limits.step;
        let safe = safe && (xh + rate * hh).is_finite();
        let kept =
            |filter: &KalmanDescent<T>| finite(&filter.filtered) && filter.covariance.iter().all(|x| x.is_finite());
        tried(self, params, safe, |filter, params| filter.walk(params, loss, rate, most), kept)
    }

    kept!();
}

impl<T: Real> Undone<T> for KalmanDescent<T> {
    type Numbers = (Pace, u64, f64, [f64; 2]);

    fn numbers(&self) -> Self::Numbers {
        (self.pace, self.steps, self.most, self.covariance)
    }

    fn set_numbers(&mut self, numbers: Self::Numbers) {
        (self.pace, self.steps, self.most, self.covariance) = numbers;
    }

    fn vectors(&mut self, see: &mut dyn FnMut(&mut [T])) {
        see(&mut self.filtered);
    }

    fn undo(&mut self) -> &mut Undo<T> {
        &mut self.undo
    }
}

impl<T: Real> Kept for KalmanDescent<T> {
    const WHAT: &'static str = "osculate.kalman_descent";

    fn with_options<X>(&self, see: impl FnOnce(&mut dyn Options) -> X) -> X {
        see(&mut self.config.clone())
    }

    fn write(&self, store: &mut Store) {
        store.put("scalars", &[self.steps as f64, self.covariance[0], self.covariance[1]]);
        store.put("filtered", &self.filtered);
        self.pace.write(store);
    }

    fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        // P of the gradient is a variance; that with the parameter may have any sign.
        let [steps, xh, hh] = state.numbers("scalars", [Legal::NotNegative, Legal::Finite, Legal::NotNegative])?;
        (self.steps, self.covariance) = (whole("scalars", steps)?, [xh, hh]);
        self.filtered = state.vector("filtered", self.filtered.len(), Legal::Finite)?;
        self.most = largest(&self.filtered);
        self.pace.read(state)
    }
}

/// The optimizers of this file, for the registry.
pub(crate) fn entries<T: Real>() -> Vec<Entry<T>> {
    let about = "gradient descent along a Kalman filter's gradient";
    let make = |len, config| Ok(Box::new(KalmanDescent::new(len, config)?) as Box<dyn Optimizer<T>>);
    vec![Entry::new("kalman-descent", about, Config::default(), make)]
}
