//! All optimizers by name: to add one, write its file and name it here.

use osculate_engine::Real;

use crate::options::{self, Help, Options};
use crate::{
    Error, Optimizer, Result, adahessian, armijo, asgd, first_order, hypergradient, igt, kafisto, kalman_descent, l4,
    lr_adapt, meka, ogr, ogr_d, polyak, svrg,
};

/// An optimizer that can be made by name, with its defaults or other options.
pub struct Entry<T> {
    /// What it is called on a command line.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    config: Box<dyn Configured<T>>,
}

/// Options that know what they are of.
trait Configured<T> {
    /// What there is to know of the options when some are set.
    fn help(&self, set: &[(String, String)]) -> Result<Vec<Help>>;
    /// Options that others would have to bring forth, and how.
    fn elsewhere(&self) -> Vec<(Help, String)>;
    /// Whether an option has a meaning beside others.
    fn heeds(&self, name: &str, set: &[(String, String)]) -> bool;
    /// The optimizer for a number of parameters, with some options set.
    fn make(&self, len: usize, set: &[(String, String)]) -> Result<Box<dyn Optimizer<T>>>;
}

/// Defaults, and what makes an optimizer of options.
struct Defaults<T, C> {
    config: C,
    make: fn(usize, C) -> Result<Box<dyn Optimizer<T>>>,
}

impl<T, C: Options + Clone> Configured<T> for Defaults<T, C> {
    fn help(&self, set: &[(String, String)]) -> Result<Vec<Help>> {
        let mut config = self.config.clone();
        options::set_all(&mut config, set)?;
        Ok(options::help(&mut config))
    }

    fn elsewhere(&self) -> Vec<(Help, String)> {
        options::elsewhere(&mut self.config.clone())
    }

    fn heeds(&self, name: &str, set: &[(String, String)]) -> bool {
        options::heeds(&mut self.config.clone(), name, set)
    }

    fn make(&self, len: usize, set: &[(String, String)]) -> Result<Box<dyn Optimizer<T>>> {
        let mut config = self.config.clone();
        options::set_all(&mut config, set)?;
        (self.make)(len, config)
    }
}

impl<T: 'static> Entry<T> {
    pub(crate) fn new<C: Options + Clone + 'static>(
        name: &'static str,
        about: &'static str,
        config: C,
        make: fn(usize, C) -> Result<Box<dyn Optimizer<T>>>,
    ) -> Entry<T> {
        Entry { name, about, config: Box::new(Defaults { config, make }) }
    }

    /// Names of the options that its defaults leave a meaning, and their values.
    pub fn options(&self) -> Vec<(&'static str, String)> {
        self.help().into_iter().map(|help| (help.name, help.value)).collect()
    }

    /// Names, meanings, legal values and defaults of the same options.
    ///
    /// ```
    /// let adam = osculate_optim::registry::all::<f32>().into_iter().find(|entry| entry.name == "adam").ok_or("no adam")?;
    /// let rate = &adam.help()[0];
    /// assert_eq!([rate.name, rate.about, &rate.legal, &rate.value], ["rate", "learning rate", "a positive number", "0.001"]);
    /// # Ok::<(), &str>(())
    /// ```
    pub fn help(&self) -> Vec<Help> {
        self.config.help(&[]).unwrap_or_default()
    }

    /// Names, meanings, legal values and values of the options that have a meaning when some are set.
    ///
    /// # Errors
    /// Options that it has not, or that have no meaning beside the others.
    pub fn help_with(&self, set: &[(String, String)]) -> Result<Vec<Help>> {
        self.config.help(set)
    }

    /// The options that its defaults leave no meaning, each with the settings, one or two, that give it one.
    ///
    /// ```
    /// let adam = osculate_optim::registry::all::<f32>().into_iter().find(|entry| entry.name == "adam").ok_or("no adam")?;
    /// let elsewhere = adam.elsewhere();
    /// let with = |name: &str| elsewhere.iter().find(|(help, _)| help.name == name).map(|(_, with)| with.as_str());
    /// assert_eq!(with("decoupled"), Some("weight-decay = 1"));
    /// assert_eq!(with("warm-up-within"), Some("schedule = step and warm-up = 1"));
    /// # Ok::<(), &str>(())
    /// ```
    pub fn elsewhere(&self) -> Vec<(Help, String)> {
        self.config.elsewhere()
    }

    /// Whether it has an option with a meaning beside the others that are set: MEKA's `rate` has none but with `step` `fixed`.
    ///
    /// ```
    /// let meka = osculate_optim::registry::all::<f32>().into_iter().find(|entry| entry.name == "meka").ok_or("no meka")?;
    /// let (rate, fixed) = (("rate".to_string(), "0.5".to_string()), ("step".to_string(), "fixed".to_string()));
    /// assert!(!meka.heeds("rate", &[rate.clone()]) && meka.heeds("rate", &[rate, fixed]));
    /// # Ok::<(), &str>(())
    /// ```
    pub fn heeds(&self, name: &str, set: &[(String, String)]) -> bool {
        self.config.heeds(name, set)
    }

    /// Makes it for `len` parameters, with some options set by name, in any order.
    ///
    /// # Errors
    /// Options that it has not, that have no meaning beside the others, or are out of range.
    pub fn make(&self, len: usize, set: &[(String, String)]) -> Result<Box<dyn Optimizer<T>>> {
        self.config.make(len, set)
    }
}

/// Every optimizer.
pub fn all<T: Real>() -> Vec<Entry<T>> {
    let families = [
        meka::entries(),
        lr_adapt::entries(),
        kafisto::entries(),
        ogr::entries(),
        ogr_d::entries(),
        asgd::entries(),
        first_order::entries(),
        hypergradient::entries(),
        l4::entries(),
        igt::entries(),
        polyak::entries(),
        armijo::entries(),
        adahessian::entries(),
        svrg::entries(),
        kalman_descent::entries(),
    ];
    families.into_iter().flatten().collect()
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
    with_options(name, len, &[])
}

/// The same, with options set by name.
///
/// # Errors
/// There is no optimizer, or none of its options, of that name; a value out of range.
///
/// ```
/// use osculate_optim::registry::with_options;
/// let set = [("rate".to_string(), "0.01".to_string()), ("schedule".to_string(), "cosine".to_string())];
/// assert!(with_options::<f32>("adam", 10, &set).is_ok());
/// ```
pub fn with_options<T: Real>(name: &str, len: usize, set: &[(String, String)]) -> Result<Box<dyn Optimizer<T>>> {
    match all::<T>().into_iter().find(|entry| entry.name == name) {
        Some(entry) => entry.make(len, set),
        None => Err(Error::Unknown { name: name.into(), known: names().join(", ") }),
    }
}
