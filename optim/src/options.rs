//! Options by name: what a command line sets, a state is saved with, and a help page lists.

use std::fmt;

use crate::{Error, Milestones, Result};

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
    /// Shows every option that has a meaning beside the others: its name, what it means (with its unit, without legal values and default,
    /// which are known), and its value.
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>));
}

/// One option, to be read or written.
#[derive(Debug)]
pub enum Field<'a> {
    /// A number.
    Number(&'a mut f64, Legal),
    /// A number, or none.
    Maybe(&'a mut Option<f64>, Legal),
    /// Yes or no.
    Flag(&'a mut bool),
    /// A whole number.
    Count(&'a mut u64, Legal),
    /// One of several names, by its index.
    Choice(&'a mut usize, &'static [&'static str]),
    /// Steps at which something happens.
    Steps(&'a mut Milestones),
}

/// Numbers that an option may have, or an array of a state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Legal {
    /// Any finite number.
    Finite,
    /// Above 0.
    Positive,
    /// 0 or above.
    NotNegative,
    /// In [0, 1): what averages fade by.
    Decay,
    /// In [0, 1].
    Unit,
    /// In (0, 1].
    Part,
    /// In (0, 1).
    Inside,
    /// 1 or above.
    AtLeastOne,
    /// Between two numbers, both included.
    Between(f64, f64),
}

impl Legal {
    /// Whether a number is one of them.
    ///
    /// ```
    /// use osculate_optim::options::Legal;
    /// assert!(Legal::Decay.holds(0.0) && !Legal::Decay.holds(1.0) && !Legal::Finite.holds(f64::NAN));
    /// ```
    pub fn holds(self, value: f64) -> bool {
        value.is_finite()
            && match self {
                Legal::Finite => true,
                Legal::Positive => value > 0.0,
                Legal::NotNegative => value >= 0.0,
                Legal::Decay => (0.0..1.0).contains(&value),
                Legal::Unit => (0.0..=1.0).contains(&value),
                Legal::Part => value > 0.0 && value <= 1.0,
                Legal::Inside => value > 0.0 && value < 1.0,
                Legal::AtLeastOne => value >= 1.0,
                Legal::Between(least, most) => (least..=most).contains(&value),
            }
    }
}

impl fmt::Display for Legal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Legal::Finite => f.write_str("a finite number"),
            Legal::Positive => f.write_str("a positive number"),
            Legal::NotNegative => f.write_str("a finite number that is not negative"),
            Legal::Decay => f.write_str("a number in [0, 1)"),
            Legal::Unit => f.write_str("a number in [0, 1]"),
            Legal::Part => f.write_str("a number in (0, 1]"),
            Legal::Inside => f.write_str("a number in (0, 1)"),
            Legal::AtLeastOne => f.write_str("a number of at least 1"),
            Legal::Between(least, most) => write!(f, "a number from {least} to {most}"),
        }
    }
}

/// What there is to know of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Help {
    /// What it is called.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
    /// What it may be.
    pub legal: String,
    /// Its value, which is the default where nothing was set.
    pub value: String,
}

impl Field<'_> {
    /// As numbers; none is NaN.
    pub(crate) fn numbers(&self) -> Vec<f64> {
        match self {
            Field::Number(value, _) => vec![**value],
            Field::Maybe(value, _) => vec![value.unwrap_or(f64::NAN)],
            Field::Flag(value) => vec![f64::from(u8::from(**value))],
            // Two halves, where one number has not the digits.
            Field::Count(value, _) if **value >= 1 << 53 => vec![(**value >> 32) as f64, f64::from(**value as u32)],
            Field::Count(value, _) => vec![**value as f64],
            Field::Choice(value, _) => vec![**value as f64],
            Field::Steps(steps) => steps.iter().map(|step| step as f64).collect(),
        }
    }

    /// What numbers that were saved are called.
    fn named(&self, numbers: &[f64]) -> String {
        let one = numbers.first().copied().unwrap_or(f64::NAN);
        match self {
            Field::Maybe(..) if one.is_nan() => "none".into(),
            Field::Flag(_) => (one == 1.0).to_string(),
            Field::Count(..) if numbers.len() == 2 => ((one as u64) << 32 | numbers[1] as u64).to_string(),
            Field::Choice(_, names) => names.get(one as usize).map_or_else(|| one.to_string(), |name| name.to_string()),
            Field::Steps(_) => numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(","),
            _ => one.to_string(),
        }
    }

    fn text(&self) -> String {
        match self {
            Field::Steps(steps) => steps.to_string(),
            other => other.named(&other.numbers()),
        }
    }

    fn legal(&self) -> String {
        match self {
            Field::Number(_, legal) => legal.to_string(),
            Field::Maybe(_, legal) => format!("{legal}, or none"),
            Field::Flag(_) => "true or false".into(),
            Field::Count(_, Legal::NotNegative) => "a whole number".into(),
            Field::Count(_, Legal::Positive) => "a whole number above 0".into(),
            Field::Count(_, legal) => legal.to_string().replace("a number", "a whole number"),
            Field::Choice(_, names) => format!("one of {}", names.join(", ")),
            Field::Steps(_) => format!("at most {} whole numbers that grow, like 30,60,80", Milestones::MOST),
        }
    }

    /// Reads a text; says what is wanted if it is none of that.
    fn set(&mut self, text: &str) -> std::result::Result<(), String> {
        let wanted = format!("{} is wanted", self.legal());
        let number = || text.parse::<f64>().ok().filter(|v| v.is_finite()).ok_or("a number is wanted".to_string());
        match self {
            Field::Number(value, _) => **value = number()?,
            Field::Maybe(value, _) => **value = if text == "none" { None } else { Some(number()?) },
            Field::Flag(value) => **value = text.parse().map_err(|_| wanted)?,
            Field::Count(value, _) => **value = text.parse().map_err(|_| wanted)?,
            Field::Choice(value, names) => {
                **value = names.iter().position(|name| *name == text).ok_or(wanted)?;
            }
            Field::Steps(steps) => **steps = text.parse()?,
        }
        Ok(())
    }

    /// What is wrong with its value, if something is.
    fn fault(&self) -> Option<(f64, String)> {
        let bad = match self {
            Field::Number(value, legal) => Some(**value).filter(|&value| !legal.holds(value)),
            Field::Maybe(value, legal) => value.filter(|&value| !legal.holds(value)),
            Field::Count(value, legal) => Some(**value as f64).filter(|&value| !legal.holds(value)),
            Field::Choice(value, names) => (**value >= names.len()).then_some(**value as f64),
            Field::Flag(_) | Field::Steps(_) => None,
        };
        bad.map(|value| (value, format!("{} is wanted", self.legal())))
    }
}

/// Names of all options and their values as text.
pub fn list(options: &mut dyn Options) -> Vec<(&'static str, String)> {
    help(options).into_iter().map(|help| (help.name, help.value)).collect()
}

/// Names, meanings, legal values and values of all options.
///
/// ```
/// use osculate_optim::{first_order::Config, options};
/// let help = options::help(&mut Config::sgd());
/// assert_eq!((help[0].name, help[0].legal.as_str(), help[0].value.as_str()), ("rate", "a positive number", "0.1"));
/// ```
pub fn help(options: &mut dyn Options) -> Vec<Help> {
    let mut all = Vec::new();
    options.each(&mut |name, about, field| {
        all.push(Help { name, about, legal: field.legal(), value: field.text() });
    });
    all
}

/// Refuses values that are not legal.
///
/// # Errors
/// The first of them.
pub fn check(options: &mut dyn Options) -> Result<()> {
    let mut refused = Ok(());
    options.each(&mut |option, _, field| {
        if let (Some((value, why)), Ok(())) = (field.fault(), &refused) {
            refused = Err(Error::Option { option, value, why });
        }
    });
    refused
}

/// Sets one option from text.
///
/// # Errors
/// There is no such option beside the others, or the text is no value of it.
pub fn set(options: &mut dyn Options, name: &str, text: &str) -> Result<()> {
    match try_set(options, name, text) {
        Some(done) => done,
        None => Err(absent(options, name, text)),
    }
}

/// Sets an option if it is there.
fn try_set(options: &mut dyn Options, name: &str, text: &str) -> Option<Result<()>> {
    let mut result = None;
    options.each(&mut |known, _, mut field| {
        if known == name {
            result = Some(field.set(text));
        }
    });
    result.map(|set| set.map_err(|why| Error::Setting { name: name.into(), text: text.into(), why }))
}

/// Why an option is not there: it is none, or others would have to be otherwise.
fn absent(options: &mut dyn Options, name: &str, text: &str) -> Error {
    let mut companions = None;
    search(options, &mut |help, settings| {
        if help.name == name {
            companions = Some(settings.to_vec());
        }
        companions.is_some()
    });
    let why = match companions {
        Some(settings) => {
            let is = settings.iter().map(|setting| setting.is.as_str()).collect::<Vec<_>>().join(" and ");
            format!("it has no meaning beside the other options: with {} it has, not with {is}", joined(&settings))
        }
        None => {
            let names: Vec<&str> = list(options).iter().map(|(name, _)| *name).collect();
            format!("there is no such option; there are {}", names.join(", "))
        }
    };
    Error::Setting { name: name.into(), text: text.into(), why }
}

/// An option that has to be otherwise for another to have a meaning.
#[derive(Debug, Clone)]
struct Setting {
    option: &'static str,
    is: String,
    needed: String,
}

fn joined(settings: &[Setting]) -> String {
    settings.iter().map(|setting| format!("{} = {}", setting.option, setting.needed)).collect::<Vec<_>>().join(" and ")
}

/// Options that have a meaning only where one or two others are otherwise, and these others, like `schedule = step and warm-up = 1`.
pub(crate) fn elsewhere(options: &mut dyn Options) -> Vec<(Help, String)> {
    let mut all: Vec<(Help, String)> = Vec::new();
    search(options, &mut |help, settings| {
        if all.iter().all(|(known, _)| known.name != help.name) {
            all.push((help.clone(), joined(settings)));
        }
        false
    });
    all
}

/// Tells of the options that are not there, those that one other setting brings before those that two bring, until `told` has enough.
fn search(options: &mut dyn Options, told: &mut dyn FnMut(&Help, &[Setting]) -> bool) {
    let first = alternatives(options);
    let known: Vec<&str> = first.iter().map(|(name, ..)| *name).collect();
    let mut seconds = Vec::new();
    let mut enough = each_alternative(options, &first, &mut |options, setting| {
        let brought: Vec<Help> = help(options).into_iter().filter(|help| !known.contains(&help.name)).collect();
        if !brought.is_empty() {
            seconds.push(setting.clone());
        }
        brought.iter().any(|help| told(help, std::slice::from_ref(&setting)))
    });
    // Two matter together where one of them brings something by itself.
    for one in seconds {
        if enough {
            break;
        }
        try_set(options, one.option, &one.needed);
        let second = alternatives(options);
        let there: Vec<&str> = second.iter().map(|(name, ..)| *name).collect();
        enough = each_alternative(options, &second, &mut |options, two| {
            let new = |help: &Help| !known.contains(&help.name) && !there.contains(&help.name);
            two.option != one.option
                && help(options).iter().filter(|help| new(help)).any(|help| told(help, &[one.clone(), two.clone()]))
        });
        restore(options, &first);
    }
}

/// Every option, its value, and other values that may bring forth further options.
fn alternatives(options: &mut dyn Options) -> Vec<(&'static str, String, Vec<String>)> {
    let mut all = Vec::new();
    options.each(&mut |known, _, field| {
        let others: Vec<String> = match &field {
            Field::Flag(value) => vec![(!**value).to_string()],
            Field::Choice(_, names) => names.iter().map(|name| name.to_string()).collect(),
            Field::Maybe(Some(_), _) => vec!["none".into()],
            Field::Maybe(None, _) => vec!["0.5".into(), "1".into()],
            Field::Number(..) | Field::Count(..) => vec!["1".into(), "0".into(), "0.5".into()],
            Field::Steps(_) => Vec::new(),
        };
        all.push((known, field.text(), others));
    });
    all
}

/// Sets each option to each legal alternative in turn, and back, until `look` has seen enough; whether it has.
fn each_alternative(
    options: &mut dyn Options,
    all: &[(&'static str, String, Vec<String>)],
    look: &mut dyn FnMut(&mut dyn Options, Setting) -> bool,
) -> bool {
    for (option, is, others) in all {
        for needed in others.iter().filter(|needed| *needed != is) {
            let set = matches!(try_set(options, option, needed), Some(Ok(())));
            // Nobody is told to set what is then refused.
            let mut legal = set;
            options.each(&mut |name, _, field| legal &= name != *option || field.fault().is_none());
            let setting = Setting { option, is: is.clone(), needed: needed.clone() };
            let enough = legal && look(options, setting);
            restore(options, all);
            if enough {
                return true;
            }
        }
    }
    false
}

/// Puts options back to their texts; one that another brings with it comes in a second round.
fn restore(options: &mut dyn Options, texts: &[(&'static str, String, Vec<String>)]) {
    for _ in 0..2 {
        for (name, text, _) in texts {
            try_set(options, name, text);
        }
    }
}

/// Sets several options from text, in any order: some are there only beside others, as ε is of an adaptive direction.
///
/// # Errors
/// As [`set`]'s, or an option that has no meaning beside the others.
///
/// ```
/// use osculate_optim::{MekaConfig, options};
/// let pair = |name: &str, text: &str| (name.to_string(), text.to_string());
/// let (epsilon, adaptive) = (pair("epsilon", "0.5"), pair("direction", "adaptive"));
/// assert!(options::set_all(&mut MekaConfig::default(), &[epsilon.clone(), adaptive]).is_ok());
/// let error = options::set_all(&mut MekaConfig::default(), &[epsilon]).err().map(|e| e.to_string()).unwrap_or_default();
/// assert_eq!(
///     error,
///     "option epsilon = \"0.5\": it has no meaning beside the other options: with direction = adaptive it has, not with mean"
/// );
/// ```
pub fn set_all(options: &mut dyn Options, to: &[(String, String)]) -> Result<()> {
    let mut left: Vec<&(String, String)> = to.iter().collect();
    // Each round may bring forth what others wait for.
    loop {
        let before = left.len();
        let mut waiting = Vec::new();
        for pair in left {
            match try_set(options, &pair.0, &pair.1) {
                Some(done) => done?,
                None => waiting.push(pair),
            }
        }
        left = waiting;
        if left.is_empty() || left.len() == before {
            break;
        }
    }
    // Of several texts for one option the last counts; and what was set may have lost its meaning since.
    let last = |at: usize, name: &str| to[at + 1..].iter().all(|(later, _)| later != name);
    let lost = to
        .iter()
        .enumerate()
        .find(|(at, (name, _))| last(*at, name) && !list(options).iter().any(|(known, _)| known == name));
    match lost {
        None => to
            .iter()
            .enumerate()
            .filter(|(at, (name, _))| last(*at, name))
            .try_for_each(|(_, (name, text))| set(options, name, text)),
        Some((_, (name, text))) => Err(absent(options, name, text)),
    }
}

/// Whether an option of a list is there when all of the list are set as far as they can be; bad values count as there, to be refused.
pub(crate) fn heeds(options: &mut dyn Options, name: &str, to: &[(String, String)]) -> bool {
    for _ in 0..=to.len() {
        to.iter().for_each(|(name, text)| {
            try_set(options, name, text);
        });
    }
    list(options).iter().any(|(known, _)| *known == name)
}

/// A difference between the options that a state was saved under and those that it was loaded under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The option's name.
    pub option: String,
    /// What it was when the state was saved; nothing if it had no meaning then.
    pub saved: Option<String>,
    /// What it is now; nothing if it has no meaning now.
    pub now: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "not in use".into());
        write!(f, "{} was {} and is {}", self.option, text(&self.saved), text(&self.now))
    }
}

/// Differences between the options and numbers that were saved of them by name.
pub(crate) fn changes(options: &mut dyn Options, saved: &[(String, Vec<f64>)]) -> Vec<Change> {
    let same =
        |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || a.is_nan() && b.is_nan());
    let (mut changed, mut known) = (Vec::new(), Vec::new());
    options.each(&mut |name, _, field| {
        known.push(name);
        let before = saved.iter().find(|(saved, _)| saved == name).map(|(_, numbers)| numbers);
        if before.is_none_or(|before| !same(before, &field.numbers())) {
            let saved = before.map(|before| field.named(before));
            changed.push(Change { option: name.into(), saved, now: Some(field.text()) });
        }
    });
    let gone = saved.iter().filter(|(name, _)| !known.iter().any(|known| known == name));
    changed.extend(gone.map(|(name, numbers)| {
        let saved = numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        Change { option: name.clone(), saved: Some(saved), now: None }
    }));
    changed
}
