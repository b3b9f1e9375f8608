//! Every optimizer from its defaults, and again with options that take it other ways.

use osculate::Real;
use osculate::optim::{Optimizer, names, registry};

/// Options that change what is stored, asked for, or computed.
const OTHERS: &[(&str, &[(&str, &str)])] = &[
    ("meka", &[("covariance", "full")]),
    ("adameka", &[("covariance", "full"), ("init", "first-observation")]),
    ("meka", &[("covariance", "diagonal"), ("init", "first-observation")]),
    ("meka", &[("directional", "true"), ("init", "first-observation")]),
    ("meka", &[("correction", "surprise")]),
    ("meka", &[("correction", "secant")]),
    ("meka", &[("correction", "exact")]),
    ("meka-fixed", &[("schedule", "cosine"), ("period", "15")]),
    ("ogr-d", &[("estimate", "elementwise"), ("subspace", "oja")]),
    ("ogr-d-hybrid", &[("estimate", "geometric")]),
    ("svrg", &[("rule", "adam"), ("rate", "0.01"), ("every", "7")]),
    ("igt-adam", &[("schedule", "step"), ("period", "5")]),
    ("adam", &[("clip", "0.5"), ("weight-decay", "0.1")]),
    ("kalman-descent", &[("schedule", "inverse"), ("period", "10")]),
    ("kafisto", &[("koala-compat", "true"), ("weight-decay", "0.01")]),
    ("kafisto-vanilla", &[("koala-compat", "true"), ("adaptive-position-noise", "true")]),
    ("kafisto-vanilla", &[("by-layer", "true"), ("adaptive-position-noise", "true")]),
    ("momentum", &[("dampening", "0.5")]),
    ("adam", &[("amsgrad", "true"), ("epsilon", "0")]),
    ("nadam", &[("weight-decay", "0.1")]),
    ("rmsprop", &[("momentum", "0.9"), ("centred", "true")]),
    ("rmsprop", &[("momentum", "0.5"), ("epsilon", "0")]),
    ("adagrad", &[("initial", "0.1"), ("epsilon", "0")]),
    ("sgd", &[("schedule", "plateau"), ("period", "2"), ("patience", "1"), ("cooldown", "1"), ("warm-up", "3")]),
    ("momentum", &[("schedule", "milestones"), ("milestones", "3,7"), ("weight-decay", "0.1")]),
    ("adahessian", &[("epsilon", "0"), ("block", "none")]),
    ("adameka", &[("epsilon", "0")]),
    ("lradapt-adam", &[("noise-measured", "true"), ("schedule", "linear"), ("period", "30")]),
    ("lradapt-sgd", &[("optimum", "0"), ("generalised-ratio", "true"), ("epoch", "3")]),
    ("ali-g", &[("velocity", "0.9"), ("schedule", "inverse")]),
    ("ogr-safe", &[("origin", "latest"), ("soft", "1"), ("schedule", "inverse"), ("first-steps", "3")]),
    ("ogr-d-hybrid", &[("schedule", "cosine"), ("period", "40")]),
    ("meka", &[("loss-noise", "0.1"), ("gradient-noise", "0.2"), ("hvp-noise", "0.01")]),
];

/// What each is called in messages, its name and its options.
pub fn variants() -> Vec<(String, &'static str, Vec<(String, String)>)> {
    let plain = names().into_iter().map(|name| (name, &[][..]));
    (plain.chain(OTHERS.iter().copied()))
        .map(|(name, options)| {
            let set: Vec<_> = options.iter().map(|(option, value)| (option.to_string(), value.to_string())).collect();
            let text: Vec<_> = options.iter().map(|(option, value)| format!("-{option}-{value}")).collect();
            (format!("{name}{}", text.concat()), name, set)
        })
        .collect()
}

/// One of them, for so many parameters.
pub fn made<T: Real>(name: &str, set: &[(String, String)], len: usize) -> Box<dyn Optimizer<T>> {
    registry::with_options(name, len, set).expect("an optimizer")
}
