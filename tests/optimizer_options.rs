//! What an optimizer lists it reads: every option of every one, set otherwise, changes what a run comes to.

use std::collections::HashMap;

use osculate::optim::options::Help;
use osculate::optim::{Minibatches, registry};
use osculate::{Array, Batch, Device, Examples, Func, Spec, spec};

/// A few arrays, one of them a kernel, one without a gradient; curvature of both signs, noise.
fn loss() -> Func<(Spec, Spec, Spec), Spec, Spec> {
    Func::trace((spec([1, 1, 2, 2]), spec([3]), spec([1])), spec([3]), |_, (k, w, _), x| {
        let k = k.flatten();
        let first = (k * k * k).sum() * x.at(0, 0) + (k.slice(0, 0..3) * x).square().sum();
        let second = (w - x).square().sum() + 0.05 * w.powi(4).sum() - 0.4 * (2.0 * w).cos().sum();
        0.3 * first.tanh() + second + 0.5 * x.at(0, 1) + 2.0
    })
    .expect("a loss")
}

/// Curved downwards where runs start: rules that want a minimum along the direction have none there.
fn hill() -> Func<(Spec, Spec, Spec), Spec, Spec> {
    Func::trace((spec([1, 1, 2, 2]), spec([3]), spec([1])), spec([3]), |_, (k, w, _), x| {
        10.0 + k.cos().sum() + (w - 0.1 * x).cos().sum()
    })
    .expect("a loss")
}

fn batches() -> Vec<Batch<f64>> {
    let rng = &mut osculate::Rng::new(9);
    let data = Examples::new(spec([3]), Array::from_fn([48, 3], |_| rng.normal())).expect("examples");
    let mut all: Vec<Batch<f64>> = (0..8)
        .map(|at| {
            let mut batch = Batch::default();
            let rows: Vec<usize> = (0..6).map(|i| at * 6 + i).collect();
            data.gather(&rows, &mut batch).expect("rows");
            batch
        })
        .collect();
    all.push(data.all().expect("a batch"));
    all
}

type Set = Vec<(String, String)>;

/// Bits of parameters and reports along a run.
struct Runs {
    oracles: [Minibatches<Spec, f64>; 2],
    batches: Vec<Batch<f64>>,
}

impl Runs {
    fn bits(&mut self, name: &str, set: &[(String, String)]) -> Result<Vec<u64>, String> {
        let (whole, parts) = self.batches.split_last().expect("batches");
        let mut bits = Vec::new();
        for (oracles, steps) in self.oracles.iter_mut().zip([40, 3]) {
            let mut optimizer = registry::with_options::<f64>(name, 8, set).map_err(|e| e.to_string())?;
            let mut w = [1.0, -0.7, 0.4, 0.9, -1.2, 0.8, 1.5, 0.6];
            for batch in parts.iter().cycle().take(steps) {
                let mut oracle = oracles.on(batch).of(whole);
                let report = optimizer.step(&mut w, &mut oracle).map_err(|e| e.to_string())?;
                let numbers = report.numbers().map(|number| number.unwrap_or(f64::NAN));
                bits.extend(w.iter().chain(&numbers).map(|x| x.to_bits()));
            }
        }
        Ok(bits)
    }
}

/// Other legal values of an option.
fn others(help: &Help) -> Vec<String> {
    let text = |values: &[&str]| values.iter().filter(|v| **v != help.value).map(|v| v.to_string()).collect();
    let legal = help.legal.as_str();
    if let Some(names) = legal.strip_prefix("one of ") {
        return names.split(", ").filter(|name| *name != help.value).map(String::from).collect();
    }
    match legal {
        "true or false" => text(&["true", "false"]),
        _ if legal.starts_with("a whole number") => text(&["3", "2", "1"]),
        _ if legal.starts_with("at most 16") => text(&["5,9"]),
        _ if legal.contains("or none") => text(&["0.01", "0.75", "1.5", "none"]),
        _ => text(&["0.3", "0.75", "0.01", "1.5", "1e-7", "20"]),
    }
}

/// Settings beside which an option shows, where with the others as they are it may not.
const COMPANIONS: &[(&str, &str, &[(&str, &str)])] = &[
    // Of a clamp and of a bound there is something to see where they are reached.
    ("*", "clamp", &[("least-loss", "20")]),
    ("*", "cooldown", &[("patience", "0"), ("period", "1"), ("drop", "0.5")]),
    ("*", "patience", &[("period", "1"), ("drop", "0.5")]),
    ("*", "threshold", &[("patience", "0"), ("period", "2"), ("drop", "0.5")]),
    ("*", "least", &[("period", "4"), ("patience", "0")]),
    ("*", "drop", &[("period", "4"), ("patience", "0"), ("milestones", "4,9")]),
    ("*", "period", &[("patience", "0")]),
    ("*", "down", &[("rate", "3")]),
    ("*", "worse", &[("rate", "0.7")]),
    ("*", "first", &[("growth", "1.5"), ("epoch", "1")]),
    ("armijo", "most", &[("rate", "20")]),
    ("armijo", "trials", &[("rate", "9"), ("shrink", "0.5")]),
    ("armijo", "growth", &[("epoch", "1")]),
    ("armijo", "shrink", &[("rate", "9")]),
    ("armijo", "part", &[("shrink", "0.5")]),
    ("*", "floor", &[("coefficient-decay", "0.1")]),
    ("*", "correction", &[("coefficient-decay", "0.1")]),
    ("*", "first-step", &[("coefficient-decay", "0"), ("step", "quadratic")]),
    ("ogr-safe", "turn", &[("first-steps", "2")]),
    ("ogr-centred", "turn", &[("first-steps", "2")]),
    ("*", "negative", &[("first-steps", "2")]),
    ("*", "soft", &[("first-steps", "2")]),
    ("*", "origin", &[("first-steps", "2")]),
    ("*", "least-rate", &[("trust", "0.00001")]),
    ("*", "most-rate", &[("trust", "5")]),
    ("*", "amsgrad", &[("second", "0.5")]),
];

/// Settings of numbers that bring forth others.
const MORE: &[&[(&str, &str)]] = &[
    &[("warm-up", "4")],
    &[("warm-up", "4"), ("schedule", "cosine"), ("period", "6")],
    &[("weight-decay", "0.1")],
    &[("noise", "0.5")],
    &[("weight", "0.5")],
];

#[test]
fn every_option_is_read() {
    let mut runs =
        Runs { oracles: [loss(), hill()].map(|loss| Minibatches::new(&loss, &Device::cpu())), batches: batches() };
    let (mut unread, mut looked) = (Vec::new(), 0);
    for entry in registry::all::<f64>() {
        // As it comes, and with every choice, flag and bound taken otherwise: each may bring forth options of its own.
        let mut settings: Vec<Set> = vec![Vec::new()];
        for help in entry.help().iter().filter(|help| !help.legal.starts_with("a number")) {
            settings.extend(others(help).into_iter().map(|text| vec![(help.name.to_string(), text)]));
        }
        for pairs in MORE {
            settings.push(pairs.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect());
        }
        let mut known_bits: HashMap<Set, Vec<u64>> = HashMap::new();
        let mut seen: Vec<(String, bool)> = Vec::new();
        for setting in settings {
            let Ok(listed) = shown(entry.name, &setting) else { continue };
            for help in listed {
                if setting.iter().any(|(name, _)| name == help.name) {
                    continue;
                }
                let known = seen.iter().position(|(name, _)| name == help.name);
                if known.is_some_and(|at| seen[at].1) {
                    continue;
                }
                let mut set = setting.clone();
                let of = |(name, option, _): &&(&str, &str, &[(&str, &str)])| {
                    (*name == "*" || *name == entry.name) && *option == help.name
                };
                for (_, _, more) in COMPANIONS.iter().filter(of) {
                    for (option, text) in *more {
                        let mut with = set.clone();
                        with.push((option.to_string(), text.to_string()));
                        if shown(entry.name, &with).is_ok() {
                            set = with;
                        }
                    }
                }
                if !known_bits.contains_key(&set) {
                    let Ok(bits) = runs.bits(entry.name, &set) else { continue };
                    known_bits.insert(set.clone(), bits);
                }
                let before = &known_bits[&set];
                let read = others(&help).into_iter().any(|text| {
                    let mut set = set.clone();
                    set.push((help.name.to_string(), text));
                    looked += 1;
                    runs.bits(entry.name, &set).is_ok_and(|bits| bits != *before)
                });
                match known {
                    Some(at) => seen[at].1 |= read,
                    None => seen.push((help.name.to_string(), read)),
                }
            }
        }
        unread.extend(seen.iter().filter(|(_, read)| !read).map(|(name, _)| format!("{}: {name}", entry.name)));
    }
    assert!(unread.is_empty() && looked > 500, "{looked} runs; nothing reads {}", unread.join(", "));
}

/// What an optimizer shows with a setting.
fn shown(name: &str, set: &[(String, String)]) -> Result<Vec<Help>, String> {
    let entry = registry::all::<f64>().into_iter().find(|entry| entry.name == name).ok_or("no optimizer")?;
    entry.help_with(set).map_err(|e| e.to_string())
}

#[test]
fn what_is_not_read_is_refused() {
    for (name, option, text, companion) in [
        ("sgd", "momentum", "0.5", "with rule = momentum it has, not with sgd"),
        ("sgd", "epsilon", "0.5", "with rule = adam it has, not with sgd"),
        ("adagrad", "second", "0.5", "with rule = adam it has, not with adagrad"),
        ("kafisto-vanilla", "alpha", "0.5", "with dynamics = true it has, not with false"),
        ("kafisto-vanilla", "momentum-noise", "0.5", "with dynamics = true it has, not with false"),
        ("kafisto", "position-noise", "0.5", "with adaptive-position-noise = false it has, not with true"),
        ("adam", "decoupled", "true", "with weight-decay = 1 it has, not with 0"),
        ("ogr", "turn", "5", "with variant = 1ds it has, not with 1d"),
        ("igt-tail", "delta", "2", "with tail = none it has, not with 0.5"),
        // Not with 0.5, which is no growth that is legal.
        ("sps-max", "first", "1", "with growth = 1 it has, not with none"),
        // Where two others have to be otherwise, both are told.
        ("adam", "warm-up-within", "true", "with schedule = step and warm-up = 1 it has, not with constant and 0"),
        ("meka", "warm-up-from", "0.5", "with step = fixed and warm-up = 1 it has, not with improvement and 0"),
    ] {
        let refused = registry::with_options::<f64>(name, 3, &[(option.into(), text.into())]).err();
        let want = format!("option {option} = {text:?}: it has no meaning beside the other options: {companion}");
        assert_eq!(refused.map(|e| e.to_string()).unwrap_or_default(), want, "{name}");
    }
    // Together with what gives it one it is taken, in any order.
    let set = |pairs: &[(&str, &str)]| -> Set { pairs.iter().map(|(n, t)| (n.to_string(), t.to_string())).collect() };
    for pairs in [[("momentum", "0.5"), ("rule", "momentum")], [("rule", "momentum"), ("momentum", "0.5")]] {
        assert!(registry::with_options::<f64>("sgd", 3, &set(&pairs)).is_ok());
    }
}

/// Whatever an option's absence is answered with can be set, and then the option is there.
#[test]
fn what_is_advised_can_be_done() {
    let mut advised = 0;
    for entry in registry::all::<f64>() {
        let listed = entry.help();
        for (help, with) in entry.elsewhere() {
            assert!(listed.iter().all(|known| known.name != help.name), "{}: {help:?}", entry.name);
            let pair = |text: &str| text.split_once(" = ").map(|(n, t)| (n.to_string(), t.to_string()));
            let set: Option<Set> = with.split(" and ").map(pair).collect();
            let set = set.expect("settings");
            let there = entry.help_with(&set).expect("settings that can be set");
            assert!(there.iter().any(|there| there.name == help.name), "{}: {} with {with}", entry.name, help.name);
            entry.make(3, &set).unwrap_or_else(|error| panic!("{}: {with}: {error}", entry.name));
            advised += 1;
        }
    }
    assert!(advised > 100, "{advised}");
}

#[test]
fn another_rule_comes_with_its_own_constants() {
    let rule = [("rule".to_string(), "rmsprop".to_string())];
    let help = shown("svrg", &rule).expect("options");
    let value = |name: &str| help.iter().find(|help| help.name == name).map(|help| help.value.as_str());
    assert_eq!([value("momentum"), value("second"), value("epsilon")], [Some("0"), Some("0.99"), Some("0.00000001")]);
}

#[test]
fn every_option_is_explained() {
    for entry in registry::all::<f32>() {
        for help in entry.help() {
            assert!(
                help.about.len() > 5 && !help.legal.is_empty() && !help.value.is_empty(),
                "{}: {help:?}",
                entry.name
            );
            assert!(!help.about.ends_with('.'), "{help:?}");
        }
    }
}
