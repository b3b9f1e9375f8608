//! States of optimizers: their options and arrays by name, looked at before they are taken.

use osculate_engine::Real;
use osculate_engine::store::Store;

use crate::options::{self, Change, Legal, Options};
use crate::symmetric;
use crate::{Error, Result};

/// Before the names of options in a state.
const OPTION: &str = "option.";

/// Options that say how far and how a step goes, not what is kept: a state loads under others if that is asked for.
const COURSE: &[&str] = &[
    "rate",
    "schedule",
    "period",
    "drop",
    "least",
    "milestones",
    "patience",
    "threshold",
    "cooldown",
    "warm-up",
    "warm-up-from",
    "warm-up-within",
    "weight-decay",
    "decoupled",
    "clip",
    "max-step",
    "scale",
    "first-rate",
    "least-rate",
    "most-rate",
    "most",
];

/// An optimizer whose state is its options and named arrays.
pub(crate) trait Kept: Clone {
    /// What its states are called.
    const WHAT: &'static str;
    /// Options of those above that it reads only before its first step.
    const STARTS: &'static [&'static str] = &[];

    /// Its options.
    fn with_options<R>(&self, see: impl FnOnce(&mut dyn Options) -> R) -> R;

    /// Writes its arrays.
    fn write(&self, store: &mut Store);

    /// Takes its arrays; it is thrown away if that fails.
    fn read(&mut self, state: &mut Reader<'_>) -> Result<()>;
}

/// The state of an optimizer.
pub(crate) fn save<K: Kept>(kept: &K) -> Store {
    let mut store = Store::new(K::WHAT);
    kept.with_options(|options| {
        options.each(&mut |name, _, field| store.put(format!("{OPTION}{name}"), &field.numbers()));
    });
    kept.write(&mut store);
    store
}

/// Takes a state of the same options.
pub(crate) fn load<K: Kept>(kept: &mut K, state: &Store) -> Result<()> {
    take(kept, state, |_| false).map(drop)
}

/// Takes a state of other rates, schedules, decays and bounds; what changed.
pub(crate) fn resume<K: Kept>(kept: &mut K, state: &Store) -> Result<Vec<Change>> {
    take(kept, state, |option| COURSE.contains(&option) && !K::STARTS.contains(&option))
}

fn take<K: Kept>(kept: &mut K, state: &Store, may_change: impl Fn(&str) -> bool) -> Result<Vec<Change>> {
    state.must_be(K::WHAT)?;
    let mut saved = Vec::new();
    for (name, shape) in state.names() {
        if let Some(option) = name.strip_prefix(OPTION) {
            saved.push((option.to_string(), state.get::<f64>(name, shape.iter().product())?));
        }
    }
    let changes = kept.with_options(|options| options::changes(options, &saved));
    if let Some(change) = changes.iter().find(|change| !may_change(&change.option)) {
        let hint = if COURSE.contains(&change.option.as_str()) && !K::STARTS.contains(&change.option.as_str()) {
            "; `resume` loads it nevertheless"
        } else {
            ""
        };
        return Err(fault(format!("the state was saved under other options: {change}{hint}")));
    }
    let mut new = kept.clone();
    let mut reader = Reader { store: state, seen: Vec::new() };
    new.read(&mut reader)?;
    reader.done()?;
    *kept = new;
    Ok(changes)
}

fn fault(why: String) -> Error {
    osculate_engine::Error::State(why).into()
}

/// Gives the methods of [`Optimizer`](crate::Optimizer) that save and load to an optimizer that is [`Kept`].
macro_rules! kept {
    () => {
        fn save(&self) -> osculate_engine::store::Store {
            $crate::state::save(self)
        }

        fn load(&mut self, state: &osculate_engine::store::Store) -> $crate::Result<()> {
            $crate::state::load(self, state)
        }

        fn resume(&mut self, state: &osculate_engine::store::Store) -> $crate::Result<Vec<$crate::options::Change>> {
            $crate::state::resume(self, state)
        }
    };
}
pub(crate) use kept;

/// The most steps that are counted: whole numbers beyond have no digit for one more.
const MOST_STEPS: f64 = 9_007_199_254_740_991.0;

/// Reads a state's arrays, each once, and looks at what they hold.
pub(crate) struct Reader<'a> {
    store: &'a Store,
    seen: Vec<String>,
}

impl Reader<'_> {
    /// Whether there is an array of that name.
    pub fn has(&self, name: &str) -> bool {
        self.store.names().any(|(known, _)| known == name)
    }

    /// An array that may be there and is not wanted.
    pub fn skip(&mut self, name: &str) {
        self.seen.push(name.into());
    }

    /// An array of so many legal elements.
    pub fn vector<T: Real>(&mut self, name: &str, len: usize, legal: Legal) -> Result<Vec<T>> {
        self.seen.push(name.into());
        let values: Vec<T> = self.store.get(name, len)?;
        match values.iter().position(|value| !legal.holds((*value).to_f64())) {
            None => Ok(values),
            Some(at) => Err(illegal(name, at, values[at].to_f64(), legal)),
        }
    }

    /// A few numbers of f64, each with what is legal of it.
    pub fn numbers<const N: usize>(&mut self, name: &str, legal: [Legal; N]) -> Result<[f64; N]> {
        let values = self.list(name, N, |at| legal[at])?;
        Ok(std::array::from_fn(|at| values[at]))
    }

    /// As many numbers of f64, of each of which something is legal.
    pub fn list(&mut self, name: &str, len: usize, legal: impl Fn(usize) -> Legal) -> Result<Vec<f64>> {
        self.seen.push(name.into());
        let values = self.store.get::<f64>(name, len)?;
        match values.iter().enumerate().find(|(at, value)| !legal(*at).holds(**value)) {
            None => Ok(values),
            Some((at, value)) => Err(illegal(name, at, *value, legal(at))),
        }
    }

    /// A few numbers of which any will do.
    pub fn any<const N: usize>(&mut self, name: &str) -> Result<[f64; N]> {
        self.seen.push(name.into());
        let values = self.store.get::<f64>(name, N)?;
        Ok(std::array::from_fn(|at| values[at]))
    }

    /// A matrix `[n, n]`, row by row, that is symmetric and positive semi-definite but for the rounding of numbers as large as `beside`.
    pub fn covariance(&mut self, name: &str, n: usize, beside: f64) -> Result<Vec<f64>> {
        let variance = |at: usize| at / n == at % n && beside == 0.0;
        let matrix = self.list(name, n * n, |at| if variance(at) { Legal::NotNegative } else { Legal::Finite })?;
        match symmetric::is_covariance(&matrix, n, beside) {
            true => Ok(matrix),
            false => Err(fault(format!(
                "the state's {name:?} is no covariance: symmetric and positive semi-definite is wanted"
            ))),
        }
    }

    /// A number of steps.
    pub fn steps(&mut self, name: &str) -> Result<u64> {
        let [steps] = self.numbers(name, [Legal::Between(0.0, MOST_STEPS)])?;
        whole(name, steps)
    }

    /// Refuses arrays that nobody asked for.
    fn done(self) -> Result<()> {
        let wanted = |name: &str| name.starts_with(OPTION) || self.seen.iter().any(|seen| seen == name);
        match self.store.names().find(|(name, _)| !wanted(name)) {
            None => Ok(()),
            Some((name, _)) => {
                Err(fault(format!("the state holds an array {name:?}, of which this optimizer knows nothing")))
            }
        }
    }
}

/// A number of steps among other numbers.
pub(crate) fn whole(name: &str, steps: f64) -> Result<u64> {
    match steps.fract() == 0.0 && (0.0..=MOST_STEPS).contains(&steps) {
        true => Ok(steps as u64),
        false => Err(fault(format!("the state's {name:?} holds {steps} steps: a whole number is wanted"))),
    }
}

fn illegal(name: &str, at: usize, value: f64, legal: Legal) -> Error {
    fault(format!("element {at} of the state's {name:?} is {value}: {legal} is wanted"))
}
