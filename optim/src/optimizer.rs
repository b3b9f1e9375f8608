//! What every optimizer is, and what it says of a step.

use osculate_engine::store::Store;
use osculate_engine::{Real, finite};

use crate::options::{self, Change, Options};
use crate::vectors::Undo;
use crate::{Error, Oracle, Result};

/// An optimizer of a flat parameter vector.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{by_name, Minibatches, Optimizer, Status};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// let batch = Examples::new(spec([]), Array::new([2], vec![1.0, 3.0])?)?.all()?;
/// let mut oracles = Minibatches::new(&loss, &Device::cpu());
/// let (mut w, mut adam) = ([0.0], by_name::<f64>("adam", 1)?);
/// for _ in 0..10 {
///     let report = adam.step(&mut w, &mut oracles.on(&batch))?;
///     assert_eq!((report.status, report.step), (Status::Stepped, 1e-3));
/// }
/// // Another takes up where this one is, bit for bit.
/// let (mut v, mut other) = (w, by_name::<f64>("adam", 1)?);
/// other.load(&adam.save())?;
/// adam.step(&mut w, &mut oracles.on(&batch))?;
/// other.step(&mut v, &mut oracles.on(&batch))?;
/// assert_eq!(w, v);
/// # Ok::<(), osculate_optim::Error>(())
/// ```
pub trait Optimizer<T: Real> {
    /// Takes one step on the oracle's minibatch, changing `params` in place.
    ///
    /// A loss or gradient that is not finite is no error, nor is a step that would leave the type's numbers: the report's [`Status`] says so,
    /// and what of the state has changed. But for steps that were taken, `params` are unchanged.
    ///
    /// # Errors
    /// The oracle's, and a parameter vector of another length. Parameters and state are then unchanged, except averages of LR-Adapt's
    /// direction, which have taken the gradient in when an oracle fails at a trial point (its rate, its count of steps and its schedule are
    /// as before).
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report>;

    /// The whole state, so that [`load`](Optimizer::load) resumes bit for bit.
    fn save(&self) -> Store;

    /// Restores a saved state; the options must be those it was saved under.
    ///
    /// # Errors
    /// The state is of another optimizer, type, size or of other options, or it holds what no step leaves (a number that is not finite, a
    /// negative variance, an array too many); nothing is changed then.
    fn load(&mut self, state: &Store) -> Result<()>;

    /// Restores a state that was saved under other rates, schedules, decays and bounds, and says which options changed; the new ones hold.
    ///
    /// # Errors
    /// As of [`load`](Optimizer::load), of which only such options are excepted; an optimizer that does not implement it loads.
    ///
    /// ```
    /// use osculate_optim::{registry::with_options, Optimizer, by_name};
    /// let saved = by_name::<f32>("adam", 3)?.save();
    /// let mut slower = with_options::<f32>("adam", 3, &[("rate".into(), "0.0001".into())])?;
    /// assert!(slower.load(&saved).is_err());
    /// let changed = slower.resume(&saved)?;
    /// assert_eq!(changed[0].to_string(), "rate was 0.001 and is 0.0001");
    /// # Ok::<(), osculate_optim::Error>(())
    /// ```
    fn resume(&mut self, state: &Store) -> Result<Vec<Change>> {
        self.load(state).map(|()| Vec::new())
    }
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// A step was taken, of the size that the rule gave.
    Stepped,
    /// A step was taken, of the last good size: the rule had no finite answer.
    Fallback,
    /// No step was taken: the direction promised no descent. The parameters are as before; averages, counts of steps and rates have taken
    /// the minibatch in, as in a step (LR-Adapt's rate shrinks if its direction was not finite), and a schedule's plateau has not.
    NoDescent,
    /// A step was tried and taken back. The parameters are as before; averages and counts of steps have taken the minibatch in, the rate is
    /// smaller, and a schedule's plateau has not seen the loss.
    Rejected,
    /// Nothing was changed, neither parameters nor state: the loss, the gradient or a statistic was not finite, or the step would leave the type's numbers.
    NonFinite,
}

/// What an optimizer did and why.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{Meka, MekaConfig, Minibatches, Optimizer, Report, Status};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// let batch = Examples::new(spec([]), Array::new([2], vec![1.0, 3.0])?)?.all()?;
/// let mut oracles = Minibatches::new(&loss, &Device::cpu());
/// let report = Meka::new(1, MekaConfig::default())?.step(&mut [0.0], &mut oracles.on(&batch))?;
/// assert_eq!((report.status, report.loss, report.curvature), (Status::Stepped, 2.5, Some(1.0)));
/// // For tables and files: what each knows, by name.
/// let known = Report::NUMBERS.into_iter().zip(report.numbers()).filter(|(_, number)| number.is_some());
/// let names: Vec<&str> = known.map(|(name, _)| name).collect();
/// assert_eq!(names, ["loss", "step size", "gain", "gradient noise", "probability", "curvature"]);
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// How it went.
    pub status: Status,
    /// Mean loss of the minibatch before the step.
    pub loss: f64,
    /// Step size (multiplies the direction).
    pub step: f64,
    /// Kalman gain, if there is a filter (MEKA's of the gradient, KaFiStO's of the loss): 1 trusts what was observed, 0 what was predicted.
    pub gain: Option<f64>,
    /// Smoothed, dimension-averaged variance of the minibatch's gradient (not of one example's, unless so configured), if measured.
    pub gradient_noise: Option<f64>,
    /// Probability that the step improves, if the rule knows it.
    pub probability: Option<f64>,
    /// Decrease of the minibatch's loss to the decrease that was expected, if the rule looked.
    pub ratio: Option<f64>,
    /// Second derivative of the loss along the direction of the step, for a direction of length 1, if the rule looked (MEKA's of this
    /// minibatch, OGR's of its line).
    pub curvature: Option<f64>,
}

impl Report {
    /// Names of [`numbers`](Report::numbers).
    pub const NUMBERS: [&str; 7] = ["loss", "step size", "gain", "gradient noise", "probability", "ratio", "curvature"];

    /// All numbers, in the order of their names; none for what the optimizer does not know.
    pub fn numbers(&self) -> [Option<f64>; 7] {
        [Some(self.loss), Some(self.step), self.gain, self.gradient_noise, self.probability, self.ratio, self.curvature]
    }

    /// A report of no more than how it went, the mean loss before the step, and the step's size; what else there is to tell is set.
    ///
    /// ```
    /// use osculate_optim::{Report, Status};
    /// let report = Report { ratio: Some(0.9), ..Report::new(Status::Stepped, 2.5, 0.1) };
    /// assert_eq!((report.loss, report.ratio, report.gain), (2.5, Some(0.9), None));
    /// ```
    pub fn new(status: Status, loss: f64, step: f64) -> Report {
        Report { status, loss, step, gain: None, gradient_noise: None, probability: None, ratio: None, curvature: None }
    }

    /// A report that nothing was changed, since something was not finite.
    pub fn not_finite(loss: f64) -> Report {
        Report::new(Status::NonFinite, loss, 0.0)
    }
}

/// Refuses to optimise nothing, options that are not legal, and those that would be infinite among numbers of the parameters' type.
pub(crate) fn check_new<T: Real>(len: usize, options: &(impl Options + Clone)) -> Result<()> {
    if len == 0 {
        return Err(Error::Length { want: 1, got: 0 });
    }
    let mut refused = Ok(());
    options.clone().each(&mut |option, _, field| {
        for value in field.numbers() {
            if !T::from_f64(value).is_finite() && value.is_finite() && refused.is_ok() {
                let why = "a number that the parameters' type can hold is wanted".into();
                refused = Err(Error::Option { option, value, why });
            }
        }
    });
    refused.and_then(|()| options::check(&mut options.clone()))
}

pub(crate) fn check_len(want: usize, got: usize) -> Result<()> {
    if want == got { Ok(()) } else { Err(Error::Length { want, got }) }
}

/// An optimizer whose step can be taken back: what a step changes of it.
pub(crate) trait Undone<T> {
    /// All but vectors.
    type Numbers: Copy;

    /// The numbers as they are.
    fn numbers(&self) -> Self::Numbers;

    /// Puts numbers back.
    fn set_numbers(&mut self, numbers: Self::Numbers);

    /// Shows the vectors that a step changes, always in the same order.
    fn vectors(&mut self, see: &mut dyn FnMut(&mut [T]));

    /// Where copies of them are kept.
    fn undo(&mut self) -> &mut Undo<T>;
}

/// Takes a step that is known to stay within the type's numbers, or tries one that may not with copies at hand: if it is not finite,
/// nothing is changed, and the report says so.
pub(crate) fn tried<T: Real, O: Undone<T>>(
    optimizer: &mut O,
    params: &mut [T],
    safe: bool,
    step: impl FnOnce(&mut O, &mut [T]) -> Result<Report>,
    kept: impl FnOnce(&O) -> bool,
) -> Result<Report> {
    if safe {
        return step(optimizer, params);
    }
    let numbers = optimizer.numbers();
    let mut undo = std::mem::take(optimizer.undo());
    undo.rewind().keep(params);
    optimizer.vectors(&mut |vector| {
        undo.keep(vector);
    });
    let mut report = step(optimizer, params);
    let good = |report: &Report| report.status != Status::NonFinite && finite(params) && kept(optimizer);
    if !report.as_ref().is_ok_and(good) {
        undo.rewind().put_back(params);
        optimizer.vectors(&mut |vector| {
            undo.put_back(vector);
        });
        optimizer.set_numbers(numbers);
        report = report.map(|report| Report::not_finite(report.loss));
    }
    *optimizer.undo() = undo;
    report
}
