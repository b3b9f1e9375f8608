//! A run in one file: parameters, optimizer, and where the sampler was.

use std::path::Path;

use osculate_engine::Real;
use osculate_engine::store::Store;

use crate::options::Change;
use crate::state::whole;
use crate::{Optimizer, Result};

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
/// # std::fs::remove_file(path).ok();
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    store: Store,
}

/// What its files are called.
const WHAT: &str = "osculate.run";
/// Before the names of the optimizer's arrays.
const OPTIMIZER: &str = "optimizer.";

impl Checkpoint {
    /// A run now: flat parameters, the optimizer's state, and the sampler's position, an epoch and a row of it.
    pub fn of<T: Real>(params: &[T], optimizer: &dyn Optimizer<T>, position: (u64, usize)) -> Checkpoint {
        let mut store = Store::new(WHAT);
        store.put("params", params);
        store.put("position", &[position.0 as f64, position.1 as f64]);
        store.put_all(OPTIMIZER, &optimizer.save());
        Checkpoint { store }
    }

    /// A file that [`save`](Checkpoint::save) wrote.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint> {
        Ok(Checkpoint { store: Store::load(path, WHAT)? })
    }

    /// Writes it to a file, aside first, so that no half of one is ever found.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(self.store.save(path)?)
    }

    /// The named arrays, to which one's own can be added (the best loss so far, say).
    pub fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Puts parameters and optimizer back to where they were, and returns the sampler's position.
    ///
    /// # Errors
    /// Another number of parameters, or a state that the optimizer does not [load](Optimizer::load); nothing is changed then.
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
        let values: Vec<T> = self.store.get("params", params.len())?;
        let position = self.store.get::<f64>("position", 2)?;
        let position = (whole("position", position[0])?, whole("position", position[1])? as usize);
        let what = optimizer.save().what().to_string();
        let changes = load(optimizer, &self.store.part(OPTIMIZER, &what))?;
        params.copy_from_slice(&values);
        Ok((position, changes))
    }
}
