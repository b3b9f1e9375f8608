//! Options by name: what a command line sets, a state is saved with, and a help page lists.

use osculate_engine::store::Store;

use crate::{Error, Result};

/// A set of options that can be walked.
///
/// ```
/// use osculate_optim::options::{self, Options};
/// let mut sgd = osculate_optim::first_order::Config::sgd();
/// options::set(&mut sgd, "rate", "0.01")?;
/// assert_eq!(sgd.rate, 0.01);
/// assert!(options::set(&mut sgd, "rat", "1").is_err());
/// # Ok::<(), osculate_optim::Error>(())
/// ```
pub trait Options {
    /// Shows every option, always in the same order.
    fn each(&mut self, see: &mut dyn FnMut(&'static str, Field<'_>));
}

/// One option, to be read or written.
#[derive(Debug)]
pub enum Field<'a> {
    /// A number.
    Number(&'a mut f64),
    /// A number, or none.
    Maybe(&'a mut Option<f64>),
    /// Yes or no.
    Flag(&'a mut bool),
    /// A whole number.
    Count(&'a mut u64),
    /// One of several names, by its index.
    Choice(&'a mut usize, &'static [&'static str]),
}

impl Field<'_> {
    /// As a number; none is NaN.
    pub(crate) fn number(&self) -> f64 {
        match self {
            Field::Number(value) => **value,
            Field::Maybe(value) => value.unwrap_or(f64::NAN),
            Field::Flag(value) => f64::from(u8::from(**value)),
            Field::Count(value) => **value as f64,
            Field::Choice(value, _) => **value as f64,
        }
    }

    fn text(&self) -> String {
        match self {
            Field::Number(value) => value.to_string(),
            Field::Maybe(value) => value.map_or("none".into(), |v| v.to_string()),
            Field::Flag(value) => value.to_string(),
            Field::Count(value) => value.to_string(),
            Field::Choice(value, names) => names.get(**value).unwrap_or(&"").to_string(),
        }
    }

    /// Reads a text; says what is wanted if it is none of that.
    fn set(&mut self, text: &str) -> std::result::Result<(), String> {
        let number = || text.parse::<f64>().ok().filter(|v| v.is_finite()).ok_or("a number is wanted".to_string());
        match self {
            Field::Number(value) => **value = number()?,
            Field::Maybe(value) => **value = if text == "none" { None } else { Some(number()?) },
            Field::Flag(value) => **value = text.parse().map_err(|_| "true or false is wanted")?,
            Field::Count(value) => **value = text.parse().map_err(|_| "a whole number is wanted")?,
            Field::Choice(value, names) => {
                let found = names.iter().position(|name| *name == text);
                **value = found.ok_or_else(|| format!("one of {} is wanted", names.join(", ")))?;
            }
        }
        Ok(())
    }
}

/// Names of all options and their values as text.
pub fn list(options: &mut dyn Options) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    options.each(&mut |name, field| all.push((name, field.text())));
    all
}

/// Sets one option from text.
///
/// # Errors
/// There is no such option, or the text is no value of it.
pub fn set(options: &mut dyn Options, name: &str, text: &str) -> Result<()> {
    let mut result = None;
    options.each(&mut |known, mut field| {
        if known == name {
            result = Some(field.set(text));
        }
    });
    let refuse = |why: String| Err(Error::Setting { name: name.into(), text: text.into(), why });
    match result {
        Some(Ok(())) => Ok(()),
        Some(Err(why)) => refuse(why),
        None => {
            let names: Vec<&str> = list(options).iter().map(|(name, _)| *name).collect();
            refuse(format!("there is no such option; there are {}", names.join(", ")))
        }
    }
}

/// Sets several options from text, in any order: some are there only beside others, as ε is of an adaptive direction.
///
/// # Errors
/// The same, or an option that has no meaning beside the others.
///
/// ```
/// use osculate_optim::{MekaConfig, options};
/// let pair = |name: &str, text: &str| (name.to_string(), text.to_string());
/// let (epsilon, adaptive) = (pair("epsilon", "0.5"), pair("direction", "adaptive"));
/// assert!(options::set_all(&mut MekaConfig::default(), &[epsilon.clone(), adaptive]).is_ok());
/// let error = options::set_all(&mut MekaConfig::default(), &[epsilon]).err().map(|e| e.to_string()).unwrap_or_default();
/// assert_eq!(error, "option epsilon = \"0.5\": it has no meaning beside the other options");
/// ```
pub fn set_all(options: &mut dyn Options, to: &[(String, String)]) -> Result<()> {
    to.iter().try_for_each(|(name, text)| set(options, name, text))?;
    // Of several texts for one option the last counts.
    let last = |at: usize, name: &str| to[at + 1..].iter().all(|(later, _)| later != name);
    let to: Vec<_> = to.iter().enumerate().filter(|(at, (name, _))| last(*at, name)).map(|(_, pair)| pair).collect();
    to.iter().try_for_each(|(name, text)| set(options, name, text))?;
    match to.into_iter().find(|(name, text)| !keeps(options, name, text)) {
        None => Ok(()),
        Some((name, text)) => {
            let why = "it has no meaning beside the other options".into();
            Err(Error::Setting { name: name.clone(), text: text.clone(), why })
        }
    }
}

/// Whether an option is there, takes a text, and stays what the text says: some have no meaning beside others.
pub(crate) fn keeps(options: &mut dyn Options, name: &str, text: &str) -> bool {
    let mut wanted = None;
    options.each(&mut |known, mut field| {
        if known == name && field.set(text).is_ok() {
            wanted = Some(field.text());
        }
    });
    wanted.is_some_and(|wanted| list(options).iter().any(|(known, text)| *known == name && *text == wanted))
}

/// Saves all options with a state.
pub(crate) fn save(options: &mut dyn Options, store: &mut Store) {
    store.put("options", &numbers(options));
}

/// Refuses a state that was saved under other options.
pub(crate) fn check(options: &mut dyn Options, store: &Store) -> Result<()> {
    let now = numbers(options);
    let same =
        store.get::<f64>("options", now.len())?.iter().zip(&now).all(|(a, b)| a == b || a.is_nan() && b.is_nan());
    if same {
        return Ok(());
    }
    Err(osculate_engine::Error::State("the state was saved under other options".into()).into())
}

fn numbers(options: &mut dyn Options) -> Vec<f64> {
    let mut all = Vec::new();
    options.each(&mut |_, field| all.push(field.number()));
    all
}
