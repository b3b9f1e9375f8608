//! Learning rates over time.
//!
//! ```text
//! warm-up   from + (1 − from) t/w for t < w, then the course, counted from the warm-up's end
//! constant  1                               step        drop^⌊t/T⌋
//! cosine    l + (1 − l)(1 + cos πt/T)/2     milestones  drop^(milestones at or before t)
//! linear    1 − (1 − l) t/T                 inverse     1/(1 + t/T)
//! plateau   times drop whenever the mean loss of T steps was no better more than `patience` times in a row, down to l
//! ```
//!
//! With steps t counted from 0, T the period and l the least factor, `warm-up` with `cosine` is optax's `warmup_cosine_decay_schedule` (whose
//! `decay_steps` are w + T) and torch's `SequentialLR` of `LinearLR` and `CosineAnnealingLR`; `step`, `milestones` and `plateau` are
//! torch's `StepLR`, `MultiStepLR` and `ReduceLROnPlateau`, whose `eps` of 1e-8, below which a drop is none, is one of the factor here. With `warm-up-within` the course counts from step 0, and the factor is the smaller
//! of the two.

use osculate_engine::store::Store;

use crate::options::{Field, Legal, Options};
use crate::state::Reader;
use crate::{Milestones, Result};

/// A learning rate's factor by step: a warm-up, and one of seven courses.
///
/// ```
/// use osculate_optim::Schedule;
/// let cosine = Schedule { course: Schedule::COSINE, period: 100, least: 0.1, warm_up: 10, ..Schedule::default() };
/// assert_eq!([0, 5, 10].map(|step| cosine.factor(step)), [0.0, 0.5, 1.0]);
/// assert!((cosine.factor(60) - 0.55).abs() < 1e-12);
/// assert!((cosine.factor(1000) - 0.1).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Index of [`Schedule::COURSES`].
    pub course: usize,
    /// Steps T: between two drops of `step`, until the end of `cosine` and `linear`, until half of `inverse`, of one look of `plateau`.
    pub period: u64,
    /// What `step`, `milestones` and `plateau` multiply by.
    pub drop: f64,
    /// The end of `cosine` and `linear`, and what `plateau` does not go below.
    pub least: f64,
    /// Steps at which `milestones` drops.
    pub milestones: Milestones,
    /// Looks in a row without improvement that `plateau` bears.
    pub patience: u64,
    /// Part of the best loss by which `plateau` wants a loss to be smaller.
    pub threshold: f64,
    /// Looks after a drop of `plateau` that do not count.
    pub cooldown: u64,
    /// Steps of linear growth at the start.
    pub warm_up: u64,
    /// The factor at step 0 of a warm-up.
    pub warm_up_from: f64,
    /// Whether the course counts from step 0 and the smaller factor is taken, instead of from the warm-up's end.
    pub warm_up_within: bool,
}

impl Schedule {
    /// Names of the courses.
    pub const COURSES: &[&str] = &["constant", "step", "cosine", "linear", "inverse", "milestones", "plateau"];
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
    /// `drop` to the number of milestones at or before t.
    pub const MILESTONES: usize = 5;
    /// `drop` to how often the loss has stopped falling: [`factor`](Schedule::factor), which knows no losses, is that of no drop.
    pub const PLATEAU: usize = 6;

    /// The factor at a step, counted from 0.
    pub fn factor(&self, step: u64) -> f64 {
        let course = self.course_at(step);
        match step < self.warm_up {
            false => course,
            true => {
                let line = self.warm_up_from + (1.0 - self.warm_up_from) * step as f64 / self.warm_up as f64;
                if self.warm_up_within { course.min(line) } else { line }
            }
        }
    }

    /// Steps of the course before a step.
    fn along(&self, step: u64) -> u64 {
        if self.warm_up_within { step } else { step.saturating_sub(self.warm_up) }
    }

    fn course_at(&self, step: u64) -> f64 {
        let step = self.along(step);
        let (t, period) = (step as f64, self.period as f64);
        let part = (t / period).min(1.0);
        let drops = |count: u64| self.drop.powi(count.min(i32::MAX as u64) as i32);
        match self.course {
            Schedule::STEP => drops(step / self.period.max(1)),
            Schedule::COSINE => self.least + (1.0 - self.least) * 0.5 * (1.0 + (std::f64::consts::PI * part).cos()),
            Schedule::LINEAR => (1.0 - part) + self.least * part,
            Schedule::INVERSE => 1.0 / (1.0 + t / period),
            Schedule::MILESTONES => drops(self.milestones.iter().filter(|&milestone| milestone <= step).count() as u64),
            _ => 1.0,
        }
    }

    fn is(&self, courses: &[usize]) -> bool {
        courses.contains(&self.course)
    }
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule {
            course: Schedule::CONSTANT,
            period: 1000,
            drop: 0.1,
            least: 0.0,
            milestones: Milestones::default(),
            patience: 10,
            threshold: 1e-4,
            cooldown: 0,
            warm_up: 0,
            warm_up_from: 0.0,
            warm_up_within: false,
        }
    }
}

impl Options for Schedule {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        use Schedule as S;
        let about = "course of the rate over the steps";
        see("schedule", about, Field::Choice(&mut self.course, Schedule::COURSES));
        if self.is(&[S::STEP, S::COSINE, S::LINEAR, S::INVERSE, S::PLATEAU]) {
            let about = "steps between drops (step), to the end (cosine, linear), to half (inverse), of a look at the loss (plateau)";
            see("period", about, Field::Count(&mut self.period, Legal::Positive));
        }
        if self.is(&[S::STEP, S::MILESTONES, S::PLATEAU]) {
            see("drop", "what a drop multiplies the rate by", Field::Number(&mut self.drop, Legal::Positive));
        }
        if self.is(&[S::COSINE, S::LINEAR, S::PLATEAU]) {
            see("least", "least part of the rate", Field::Number(&mut self.least, Legal::Unit));
        }
        if self.is(&[S::MILESTONES]) {
            see("milestones", "steps at which the rate drops", Field::Steps(&mut self.milestones));
        }
        if self.is(&[S::PLATEAU]) {
            let about = "looks in a row without improvement before a drop";
            see("patience", about, Field::Count(&mut self.patience, Legal::NotNegative));
            let about = "part of the best loss by which a loss must be smaller to be better";
            see("threshold", about, Field::Number(&mut self.threshold, Legal::Unit));
            let about = "looks after a drop that do not count";
            see("cooldown", about, Field::Count(&mut self.cooldown, Legal::NotNegative));
        }
        let about = "steps over which the rate grows linearly at the start";
        see("warm-up", about, Field::Count(&mut self.warm_up, Legal::NotNegative));
        if self.warm_up > 0 {
            let about = "part of the rate at the first step of the warm-up";
            see("warm-up-from", about, Field::Number(&mut self.warm_up_from, Legal::Unit));
        }
        // What a constant or a plateau does, no step counts.
        if self.warm_up > 0 && !self.is(&[S::CONSTANT, S::PLATEAU]) {
            let about = "whether the schedule counts from the first step, and the smaller rate is taken, instead of from the warm-up's end";
            see("warm-up-within", about, Field::Flag(&mut self.warm_up_within));
        }
    }
}

/// A smaller drop of a plateau is none: so factors end near 1e-8, not at 0, where a run would stand still for ever.
const LEAST_DROP: f64 = 1e-8;

/// A schedule at work: it remembers what losses it saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pace {
    schedule: Schedule,
    /// Of a plateau: looks that there were, the best, those without improvement in a row, those that do not count yet, the factor, and the
    /// sum and number of the losses of the next look.
    plateau: [f64; 7],
}

impl Pace {
    pub fn new(schedule: Schedule) -> Pace {
        Pace { schedule, plateau: [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0] }
    }

    /// The factor at a step, counted from 0.
    pub fn factor(&self, step: u64) -> f64 {
        self.schedule.factor(step) * self.plateau[4]
    }

    /// The loss before a step that was taken.
    pub fn see(&mut self, step: u64, loss: f64) {
        let Schedule { course, period, drop, least, patience, threshold, cooldown, warm_up, .. } = self.schedule;
        if course != Schedule::PLATEAU || step < warm_up {
            return;
        }
        let [looks, best, bad, resting, factor, sum, count] = &mut self.plateau;
        // A sum of finite losses may be none, and would be no number of a saved state.
        (*sum, *count) = ((*sum + loss).clamp(-f64::MAX, f64::MAX), *count + 1.0);
        if *count < period as f64 {
            return;
        }
        let mean = *sum / *count;
        (*sum, *count) = (0.0, 0.0);
        // As torch's ReduceLROnPlateau has it, in its order.
        if *looks == 0.0 || mean < *best * (1.0 - threshold) {
            (*best, *bad) = (mean, 0.0);
        } else {
            *bad += 1.0;
        }
        *looks += 1.0;
        if *resting > 0.0 {
            (*resting, *bad) = ((*resting - 1.0).max(0.0), 0.0);
        }
        if *bad > patience as f64 {
            let dropped = (*factor * drop).clamp(least, f64::MAX);
            if (*factor - dropped).abs() > LEAST_DROP {
                *factor = dropped;
            }
            (*resting, *bad) = (cooldown as f64, 0.0);
        }
    }

    /// Writes what it remembers, if it does.
    pub fn write(&self, store: &mut Store) {
        if self.schedule.course == Schedule::PLATEAU {
            store.put("plateau", &self.plateau);
        }
    }

    /// What was remembered; nothing of a state that was saved under another course.
    pub fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        if self.schedule.course == Schedule::PLATEAU && state.has("plateau") {
            let legal = [Legal::NotNegative; 7];
            let legal = std::array::from_fn(|i| match i {
                1 | 5 => Legal::Finite,
                _ => legal[i],
            });
            self.plateau = state.numbers("plateau", legal)?;
        } else {
            state.skip("plateau");
        }
        Ok(())
    }
}
