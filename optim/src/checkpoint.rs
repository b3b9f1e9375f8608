//! A run in one file: parameters, optimizer, and where the sampler was.

use std::path::Path;

use osculate_engine::Real;
use osculate_engine::store::Store;

use crate::options::Change;
use crate::state::whole;
use crate::{Error, Optimizer, Result};

/// A run as it was left: parameters and optimizer, the sampler's position, and arrays of one's own.
///
/// ```
/// use osculate_optim::{by_name, Checkpoint, Optimizer};
/// let path = std::env::temp_dir().join(format!("osculate-doc-run-{}.safetensors", std::process::id()));
/// let (params, adam) = ([1.0, 2.0], by_name::<f64>("adam", 2)?);
/// Checkpoint::of(&params, adam.as_ref(), (3, 128)).save(&path)?;
///
/// let (mut params, mut adam) = ([0.0; 2], by_name::<f64>("adam", 2)?);
/// let position = Checkpoint::open(&path)?.restore(&mut params, adam.as_mut())?; // for `Batches::at`
/// assert_eq!((params, position), ([1.0, 2.0], (3, 128)));
/// // Of another kind of optimizer it is refused.
/// let other = Checkpoint::open(&path)?.restore(&mut params, by_name::<f64>("kafisto", 2)?.as_mut());
/// let error = other.err().map(|e| e.to_string()).unwrap_or_default();
/// assert!(error.contains("the run's optimizer is \"osculate.first_order\", not \"osculate.kafisto\""), "{error}");
/// # std::fs::remove_file(path).ok();
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    run: Store,
    /// Arrays of the user's, apart so that none takes the place of the run's.
    own: Store,
}

/// What its files are called.
const WHAT: &str = "osculate.run";
const PARAMS: &str = "params";
const POSITION: &str = "position";
/// What the sampler draws from, how many at a time, and by which seed.
const SAMPLER: &str = "sampler";
/// Before the names of the optimizer's arrays.
const OPTIMIZER: &str = "optimizer.";
/// Before what the optimizer's states are called, in the name of an array of no meaning: files name arrays, and hold no words.
const KIND: &str = "optimizer-is.";

/// Whether an array is one of the run's.
fn of_run(name: &str) -> bool {
    [PARAMS, POSITION, SAMPLER].contains(&name) || name.starts_with(OPTIMIZER) || name.starts_with(KIND)
}

/// An array alone.
fn named(file: &Store, name: &str) -> Store {
    let mut alone = Store::new(WHAT);
    // Of all whose names begin so, the one with nothing behind it.
    let with = file.part(name, WHAT);
    for (rest, shape) in with.names().filter(|(rest, _)| rest.is_empty()) {
        let (shape, size) = (shape.into(), shape.iter().product());
        match (with.get::<f32>(rest, size), with.get::<f64>(rest, size)) {
            (Ok(values), _) => alone.put_shaped(name, &shape, &values),
            (_, Ok(values)) => alone.put_shaped(name, &shape, &values),
            _ => {}
        }
    }
    alone
}

fn fault(why: String) -> Error {
    osculate_engine::Error::State(why).into()
}

impl Checkpoint {
    /// A run now: flat parameters, the optimizer's state, and the sampler's position, an epoch and a row of it.
    pub fn of<T: Real>(params: &[T], optimizer: &dyn Optimizer<T>, position: (u64, usize)) -> Checkpoint {
        let (mut run, state) = (Store::new(WHAT), optimizer.save());
        run.put(PARAMS, params);
        run.put(POSITION, &[position.0 as f64, position.1 as f64]);
        run.put(format!("{KIND}{}", state.what()), &[1.0]);
        run.put_all(OPTIMIZER, &state);
        Checkpoint { run, own: Store::new(WHAT) }
    }

    /// With what the sampler's position is one of: the number of examples, of a minibatch's, and the seed, as `Batches::source` has them.
    ///
    /// ```
    /// use osculate_optim::{by_name, Checkpoint};
    /// let run = Checkpoint::of(&[1.0], by_name::<f64>("sgd", 1)?.as_ref(), (3, 128)).sampled([1437, 64, 7]);
    /// run.must_sample([1437, 64, 7])?;
    /// let error = run.must_sample([1437, 128, 7]).err().map(|e| e.to_string()).unwrap_or_default();
    /// assert!(error.contains("the run's minibatch size is 64, not 128"), "{error}");
    /// # Ok::<(), osculate_optim::Error>(())
    /// ```
    pub fn sampled(mut self, source: [u64; 3]) -> Checkpoint {
        // Halves: f64 has not the digits of every seed.
        let halves = source.map(|number| [(number >> 32) as f64, f64::from(number as u32)]);
        self.run.put(SAMPLER, halves.as_flattened());
        self
    }

    /// Refuses a sampler to which the position would mean other minibatches; one of a run that was saved without its sampler is believed.
    ///
    /// # Errors
    /// Another number of examples, of a minibatch's, or another seed.
    pub fn must_sample(&self, source: [u64; 3]) -> Result<()> {
        if !self.run.names().any(|(name, _)| name == SAMPLER) {
            return Ok(());
        }
        let halves = self.run.get::<f64>(SAMPLER, 6)?;
        let names = ["number of examples", "minibatch size", "sampler's seed"];
        for ((half, now), name) in halves.as_chunks::<2>().0.iter().zip(source).zip(names) {
            let saved = (half[0] as u64) << 32 | half[1] as u64;
            if saved != now {
                return Err(fault(format!(
                    "the run's {name} is {saved}, not {now}: from its position on, other minibatches would follow"
                )));
            }
        }
        Ok(())
    }

    /// A file that [`save`](Checkpoint::save) wrote.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint> {
        let file = Store::load(path, WHAT)?;
        let (mut run, mut own) = (Store::new(WHAT), Store::new(WHAT));
        for (name, _) in file.names() {
            let into = if of_run(name) { &mut run } else { &mut own };
            into.put_all("", &named(&file, name));
        }
        Ok(Checkpoint { run, own })
    }

    /// Writes it to a file, aside first, so that no half of one is ever found.
    ///
    /// # Errors
    /// The file system's, and an array of one's own that has the name of one of the run's.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        if let Some((name, _)) = self.own.names().find(|(name, _)| of_run(name)) {
            return Err(fault(format!(
                "an array of one's own is called {name:?}, as the run's are: {PARAMS:?}, {POSITION:?}, {SAMPLER:?} and \
                 whatever begins with {OPTIMIZER:?} or {KIND:?}; another name is wanted"
            )));
        }
        let mut file = self.run.clone();
        file.put_all("", &self.own);
        Ok(file.save(path)?)
    }

    /// Named arrays of one's own, which are saved and opened with the run (the best loss so far, say).
    pub fn store(&mut self) -> &mut Store {
        &mut self.own
    }

    /// Puts parameters and optimizer back to where they were, and returns the sampler's position.
    ///
    /// # Errors
    /// Another number of parameters, one that is not finite, another kind of optimizer, or a state that it does not
    /// [load](Optimizer::load); nothing is changed then.
    pub fn restore<T: Real>(&self, params: &mut [T], optimizer: &mut dyn Optimizer<T>) -> Result<(u64, usize)> {
        Ok(self.put_back(params, optimizer, |optimizer, state| optimizer.load(state).map(|()| Vec::new()))?.0)
    }

    /// Puts a run back under other rates, schedules, decays and bounds, as [`Optimizer::resume`] does; the sampler's position, and the options
    /// that changed.
    ///
    /// # Errors
    /// As [`restore`](Checkpoint::restore)'s.
    pub fn resume<T: Real>(
        &self,
        params: &mut [T],
        optimizer: &mut dyn Optimizer<T>,
    ) -> Result<((u64, usize), Vec<Change>)> {
        self.put_back(params, optimizer, |optimizer, state| optimizer.resume(state))
    }

    fn put_back<T: Real>(
        &self,
        params: &mut [T],
        optimizer: &mut dyn Optimizer<T>,
        load: impl FnOnce(&mut dyn Optimizer<T>, &Store) -> Result<Vec<Change>>,
    ) -> Result<((u64, usize), Vec<Change>)> {
        let values: Vec<T> = self.run.get(PARAMS, params.len())?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let value = values[at].to_f64();
            return Err(fault(format!("element {at} of the run's {PARAMS:?} is {value}: a finite number is wanted")));
        }
        let position = self.run.get::<f64>(POSITION, 2)?;
        let position = (whole(POSITION, position[0])?, whole(POSITION, position[1])? as usize);
        let what = optimizer.save().what().to_string();
        // Files from before kinds were kept are believed.
        match self.run.names().find_map(|(name, _)| name.strip_prefix(KIND)) {
            Some(kind) if kind != what => {
                return Err(fault(format!("the run's optimizer is {kind:?}, not {what:?}")));
            }
            _ => {}
        }
        let changes = load(optimizer, &self.run.part(OPTIMIZER, &what))?;
        params.copy_from_slice(&values);
        Ok((position, changes))
    }
}
