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
use osculate_engine::{Real, finite};

use crate::base::finite_state;
use crate::error::{not_negative, positive};
use crate::optimizer::{check_len, check_new};
use crate::options::{self, Field, Options};
use crate::registry::Entry;
use crate::vectors::Vectors;
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
    fn each(&mut self, see: &mut dyn FnMut(&'static str, Field<'_>)) {
        see("rate", Field::Number(&mut self.rate));
        self.schedule.each(see);
        see("process-noise", Field::Number(&mut self.process_noise));
        see("noise", Field::Number(&mut self.noise));
        see("variance", Field::Number(&mut self.variance));
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
    steps: u64,
    gradient: Vec<T>,
    /// h.
    filtered: Vec<T>,
    /// P⁻ of x with h, and of h.
    covariance: [f64; 2],
    rule: Vectors<T, 2, 1, 3>,
}

impl<T: Real> KalmanDescent<T> {
    /// For `len` parameters.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(len: usize, config: Config) -> Result<KalmanDescent<T>> {
        check_new::<T>(len, &config)?;
        positive("rate", config.rate)?;
        config.schedule.check()?;
        not_negative("process-noise", config.process_noise)?;
        positive("noise", config.noise)?;
        not_negative("variance", config.variance)?;
        let rate = config.rate * config.schedule.factor(0);
        Ok(KalmanDescent {
            steps: 0,
            gradient: vec![T::zero(); len],
            filtered: vec![T::zero(); len],
            covariance: predicted([0.0, config.variance], rate, config.process_noise),
            rule: Vectors::new(|[x_gain, gain, rate], [x, h], [g]| {
                let surprise = g - h;
                let h = h + gain * surprise;
                [x + x_gain * surprise - rate * h, h]
            })?,
            config,
        })
    }
}

/// APAᵀ + QI, without the variance of x.
fn predicted([xh, hh]: [f64; 2], rate: f64, process_noise: f64) -> [f64; 2] {
    [xh - rate * hh, hh + process_noise]
}

impl<T: Real> Optimizer<T> for KalmanDescent<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.gradient.len(), params.len())?;
        let (loss, finite) = oracle.checked_gradient(params, &mut self.gradient)?;
        if !finite {
            return Ok(Report::new(Status::NonFinite, loss, 0.0));
        }
        let Config { rate, schedule, process_noise, noise, .. } = self.config;
        let rate = rate * schedule.factor(self.steps);
        let [xh, hh] = self.covariance;
        let total = hh + noise;
        let gains = [xh / total, hh / total];
        self.rule.run([gains[0], gains[1], rate], [params, &mut self.filtered], [&self.gradient])?;
        self.covariance = predicted([xh * (noise / total), hh * (noise / total)], rate, process_noise);
        self.steps += 1;
        Ok(Report { gain: Some(gains[1]), ..Report::new(Status::Stepped, loss, rate) })
    }

    fn save(&self) -> Store {
        let mut store = Store::new("osculate.kalman_descent");
        options::save(&mut self.config.clone(), &mut store);
        store.put("scalars", &[self.steps as f64, self.covariance[0], self.covariance[1]]);
        store.put("filtered", &self.filtered);
        store
    }

    fn load(&mut self, state: &Store) -> Result<()> {
        state.must_be("osculate.kalman_descent")?;
        options::check(&mut self.config.clone(), state)?;
        let scalars = state.get::<f64>("scalars", 3)?;
        let filtered: Vec<T> = state.get("filtered", self.filtered.len())?;
        finite_state(scalars.iter().all(|x| x.is_finite()) && finite(&filtered))?;
        (self.steps, self.covariance, self.filtered) = (scalars[0] as u64, [scalars[1], scalars[2]], filtered);
        Ok(())
    }
}

/// The optimizers of this file, for the registry.
pub(crate) fn entries<T: Real>() -> Vec<Entry<T>> {
    let about = "gradient descent along a Kalman filter's gradient";
    let make = |len, config| Ok(Box::new(KalmanDescent::new(len, config)?) as Box<dyn Optimizer<T>>);
    vec![Entry::new("kalman-descent", about, Config::default(), make)]
}
