//! Learning rates over time.

use crate::error::positive;
use crate::options::{Field, Options};
use crate::{Error, Result};

/// A learning rate's factor by step: a warm-up, and one of five courses.
///
/// ```
/// use osculate_optim::Schedule;
/// let cosine = Schedule { course: Schedule::COSINE, period: 100, least: 0.1, warm_up: 10, ..Schedule::default() };
/// assert_eq!(cosine.factor(0), 0.1); // a tenth of the warm-up
/// assert!((cosine.factor(50) - 0.55).abs() < 1e-12);
/// assert!((cosine.factor(1000) - 0.1).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Index of [`Schedule::COURSES`].
    pub course: usize,
    /// Steps: between two drops of `step`, until the end of `cosine` and `linear`, until half of `inverse`.
    pub period: u64,
    /// What `step` multiplies by.
    pub drop: f64,
    /// The end of `cosine` and `linear`.
    pub least: f64,
    /// Steps of linear growth at the start.
    pub warm_up: u64,
}

impl Schedule {
    /// Names of the courses.
    pub const COURSES: &[&str] = &["constant", "step", "cosine", "linear", "inverse"];
    /// 1.
    pub const CONSTANT: usize = 0;
    /// `drop` to the number of whole periods.
    pub const STEP: usize = 1;
    /// `least + (1 − least)(1 + cos πt/T)/2` (Loshchilov and Hutter 2017).
    pub const COSINE: usize = 2;
    /// A line from 1 to `least`.
    pub const LINEAR: usize = 3;
    /// `1/(1 + t/T)`.
    pub const INVERSE: usize = 4;

    /// The factor at a step, counted from 0.
    pub fn factor(&self, step: u64) -> f64 {
        let (t, period) = (step as f64, self.period as f64);
        let part = (t / period).min(1.0);
        let course = match self.course {
            Schedule::STEP => self.drop.powi((step / self.period.max(1)).min(i32::MAX as u64) as i32),
            Schedule::COSINE => self.least + (1.0 - self.least) * 0.5 * (1.0 + (std::f64::consts::PI * part).cos()),
            Schedule::LINEAR => (1.0 - part) + self.least * part,
            Schedule::INVERSE => 1.0 / (1.0 + t / period),
            _ => 1.0,
        };
        if step < self.warm_up { course.min((t + 1.0) / self.warm_up as f64) } else { course }
    }

    pub(crate) fn check(&self) -> Result<()> {
        positive("period", self.period as f64)?;
        positive("drop", self.drop)?;
        if !(0.0..=1.0).contains(&self.least) {
            return Err(Error::Option { option: "least", value: self.least, why: "a number in [0, 1] is wanted" });
        }
        Ok(())
    }
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule { course: Schedule::CONSTANT, period: 1000, drop: 0.1, least: 0.0, warm_up: 0 }
    }
}

impl Options for Schedule {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, Field<'_>)) {
        see("schedule", Field::Choice(&mut self.course, Schedule::COURSES));
        see("period", Field::Count(&mut self.period));
        see("drop", Field::Number(&mut self.drop));
        see("least", Field::Number(&mut self.least));
        see("warm-up", Field::Count(&mut self.warm_up));
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn courses() {
        let of = |course| Schedule { course, period: 10, drop: 0.5, least: 0.2, warm_up: 0 };
        let at = |course, steps: [u64; 4]| steps.map(|step| of(course).factor(step));
        assert_eq!(at(Schedule::CONSTANT, [0, 9, 10, u64::MAX]), [1.0; 4]);
        assert_eq!(at(Schedule::STEP, [0, 9, 10, 39]), [1.0, 1.0, 0.5, 0.125]);
        assert_eq!(at(Schedule::LINEAR, [0, 5, 10, 99]), [1.0, 0.6, 0.2, 0.2]);
        assert_eq!(at(Schedule::INVERSE, [0, 10, 30, 90]), [1.0, 0.5, 0.25, 0.1]);
        for (got, want) in at(Schedule::COSINE, [0, 5, 10, 11]).into_iter().zip([1.0, 0.6, 0.2, 0.2]) {
            assert!((got - want).abs() < 1e-15, "{got} {want}");
        }
        let warm = Schedule { warm_up: 4, ..of(Schedule::CONSTANT) };
        assert_eq!([0, 1, 2, 3, 4].map(|step| warm.factor(step)), [0.25, 0.5, 0.75, 1.0, 1.0]);
        assert!(Schedule { least: 2.0, ..Schedule::default() }.check().is_err());
        assert!(Schedule { period: 0, ..Schedule::default() }.check().is_err());
    }
}
