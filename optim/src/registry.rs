//! All optimizers by name: to add one, write its file and name it here.

use osculate_engine::Real;

use crate::{Error, Optimizer, Result, meka, sgd};

/// An optimizer that can be made by name, with its defaults.
pub struct Entry<T> {
    /// What it is called on a command line.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// Makes it for a number of parameters.
    pub make: fn(usize) -> Result<Box<dyn Optimizer<T>>>,
}

/// Every optimizer.
pub fn all<T: Real>() -> Vec<Entry<T>> {
    [meka::entries(), sgd::entries()].into_iter().flatten().collect()
}

/// Names of all optimizers.
pub fn names() -> Vec<&'static str> {
    all::<f64>().iter().map(|entry| entry.name).collect()
}

/// Makes an optimizer for `len` parameters, from its defaults.
///
/// # Errors
/// There is none of that name; the error lists those there are.
///
/// ```
/// assert!(osculate_optim::by_name::<f32>("meka", 10).is_ok());
/// let error = osculate_optim::by_name::<f32>("newton", 10).err().map(|e| e.to_string()).unwrap_or_default();
/// assert!(error.starts_with("there is no optimizer \"newton\"; there are meka"));
/// ```
pub fn by_name<T: Real>(name: &str, len: usize) -> Result<Box<dyn Optimizer<T>>> {
    match all::<T>().into_iter().find(|entry| entry.name == name) {
        Some(entry) => (entry.make)(len),
        None => Err(Error::Unknown { name: name.into(), known: names().join(", ") }),
    }
}
