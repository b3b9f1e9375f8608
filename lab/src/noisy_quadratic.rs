//! `noisy-quadratic`: Figure 4 of the MEKA paper, seven methods on an ill-conditioned quadratic with noisy gradients.

use std::path::PathBuf;

use clap::Args;
use osculate::nn::problems::{noise, quadratic};
use osculate::optim::meka::StepRule;
use osculate::optim::symmetric::Symmetric;
use osculate::optim::{FirstOrder, Meka, MekaConfig, Minibatches, Optimizer, Oracle, first_order};
use osculate::{Array, Device, Func, Rng, Spec, dot};
use serde_json::json;

use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::{interrupt, names, output, plot};

/// How long, and how often.
#[derive(Args, Debug)]
pub struct Options {
    /// Steps of every method.
    #[arg(long, default_value_t = 1000, value_parser = names::whole(2, 100_000), allow_hyphen_values = true)]
    steps: u64,
    /// Seeds, each with its own quadratic, start and noise; the median is shown.
    #[arg(long, default_value_t = 8, value_parser = names::whole(1, 100), allow_hyphen_values = true)]
    seeds: u64,
    /// Examples in a minibatch.
    #[arg(long, default_value_t = 16, value_parser = names::whole(2, 1024), allow_hyphen_values = true)]
    batch: u64,
    /// Folder for the picture (SVG).
    #[arg(long, default_value_os_t = crate::default_out())]
    out: PathBuf,
    /// Print the rows as one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

/// Dimensions.
const D: usize = 20;

/// What is compared, and where the paper's plot ends (read off it at 1000 steps; a range for what diffuses).
const METHODS: [(&str, &str); 7] = [
    ("SGD 0.01", "2 to 8"),
    ("SGD adaptive", "2 to 8"),
    ("SGD 0.001", "0.3"),
    ("MEKA 0.01", "0.025"),
    ("GD 0.01", "0.015"),
    ("MEKA adaptive", "0.01"),
    ("GD adaptive", "0.002"),
];

/// H = AAᵀ of Gaussian A, the first whose condition is above 1000 and whose largest eigenvalue is below 100.
fn matrix(rng: &mut Rng) -> Result<Vec<f64>> {
    let mut room = Symmetric::new(D);
    loop {
        let a: Vec<f64> = (0..D * D).map(|_| rng.normal()).collect();
        let h: Vec<f64> = (0..D * D).map(|at| (0..D).map(|k| a[at / D * D + k] * a[at % D * D + k]).sum()).collect();
        let values = room.decompose(&h)?;
        let (least, most) = values.iter().fold((f64::INFINITY, 0.0f64), |(l, m), &e| (l.min(e), m.max(e)));
        if most < 100.0 && most > 1000.0 * least {
            return Ok(h);
        }
    }
}

/// How a method steps.
enum Stepper {
    Optimizer(Box<dyn Optimizer<f64>>),
    /// Along the gradient to the minimum of the parabola there, α = gᵀg/gᵀHg.
    Exact {
        g: Vec<f64>,
        hg: Vec<f64>,
    },
}

impl Stepper {
    fn of(method: &str) -> Result<Stepper> {
        let rate = |rate: f64| first_order::Config { rate, ..first_order::Config::sgd() };
        Ok(Stepper::Optimizer(match method {
            "SGD 0.001" => Box::new(FirstOrder::new(D, rate(0.001))?),
            "SGD 0.01" | "GD 0.01" => Box::new(FirstOrder::new(D, rate(0.01))?),
            "MEKA 0.01" => Box::new(Meka::new(D, MekaConfig { step: StepRule::Fixed(0.01), ..MekaConfig::default() })?),
            "MEKA adaptive" => Box::new(Meka::new(D, MekaConfig::default())?),
            _ => return Ok(Stepper::Exact { g: vec![0.0; D], hg: vec![0.0; D] }),
        }))
    }

    fn step(&mut self, at: &mut [f64], oracle: &mut dyn Oracle<f64>) -> Result<()> {
        match self {
            Stepper::Optimizer(optimizer) => {
                optimizer.step(at, oracle)?;
            }
            Stepper::Exact { g, hg } => {
                oracle.gradient(at, g)?;
                oracle.hvp(at, g, hg)?;
                let rate = dot(g, g) / dot(g, hg);
                if rate.is_finite() {
                    at.iter_mut().zip(g).for_each(|(x, g)| *x -= rate * *g);
                }
            }
        }
        Ok(())
    }
}

/// E f of every step of a method, under one seed.
fn curve(method: &str, loss: &Func<Spec, Spec, Spec>, start: &[f64], seed: u64, options: &Options) -> Result<Vec<f64>> {
    let (steps, n) = (options.steps as usize, options.batch as usize);
    let deviation = if method.starts_with("GD") { 0.0 } else { 1.0 };
    let rng = &mut Rng::new(seed + 1_000_003);
    let silent = noise(1, D, 0.0, &mut Rng::new(0))?.all()?;
    let (mut oracles, mut exact) = (Minibatches::new(loss, &Device::cpu()), Minibatches::new(loss, &Device::cpu()));
    let (mut at, mut stepper) = (start.to_vec(), Stepper::of(method)?);
    let mut values = Vec::new();
    for _ in 0..steps {
        let batch = noise(n, D, deviation, rng)?.all()?;
        stepper.step(&mut at, &mut oracles.on(&batch))?;
        values.push(exact.on(&silent).loss(&at)?);
    }
    Ok(values)
}

/// Runs, prints and draws.
pub fn run(options: &Options) -> Result<()> {
    interrupt::listen();
    output::folder(&options.out)?;
    let mut progress = Progress::new("noisy quadratic", options.seeds * METHODS.len() as u64);
    let mut curves: Vec<Vec<Vec<f64>>> = vec![Vec::new(); METHODS.len()];
    'seeds: for seed in 0..options.seeds {
        let rng = &mut Rng::new(seed);
        let h = matrix(rng)?;
        let start: Vec<f64> = (0..D).map(|_| rng.normal()).collect();
        let loss = quadratic(&Array::new([D, D], h)?)?;
        for (curves, (method, _)) in curves.iter_mut().zip(METHODS) {
            if interrupt::asked() {
                break 'seeds;
            }
            curves.push(curve(method, &loss, &start, seed, options)?);
            progress.step(|| " runs".into());
        }
    }
    progress.finish();
    // Of seeds that every method has run.
    let seeds = curves.iter().map(Vec::len).min().unwrap_or(0);
    curves.iter_mut().for_each(|curves| curves.truncate(seeds));
    if seeds == 0 {
        return Err(Error::Interrupted);
    }
    let medians: Vec<Vec<f64>> = (curves.iter())
        .map(|curves| {
            (0..options.steps as usize)
                .map(|step| {
                    let mut values: Vec<f64> = curves.iter().map(|curve| curve[step]).collect();
                    values.sort_unstable_by(f64::total_cmp);
                    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
                })
                .collect()
        })
        .collect();
    let named: Vec<(&str, &[f64])> =
        METHODS.iter().zip(&medians).map(|((name, _), curve)| (*name, &curve[..])).collect();
    let file = plot::log_log(&options.out, "noisy-quadratic", "E f, median of seeds", &named)?;
    // The paper's order is that of the list; ours is counted from the worst, too.
    let last = |curve: &Vec<f64>| curve[curve.len() - 1];
    let rank = |curve: &Vec<f64>| 1 + medians.iter().filter(|other| last(other) > last(curve)).count();
    let header = ["method", "paper's order", "paper's E f", "our order", "E f"].map(String::from);
    output::grid(
        &header,
        METHODS.iter().zip(&medians).enumerate().map(|(at, ((name, paper), curve))| {
            vec![
                name.to_string(),
                (at + 1).to_string(),
                paper.to_string(),
                rank(curve).to_string(),
                format!("{:.4}", last(curve)),
            ]
        }),
    )?;
    output::say(format_args!(
        "after {} steps of {} examples, median of {seeds} seeds; picture: {file}",
        options.steps, options.batch
    ))?;
    if options.json {
        let rows: Vec<_> = METHODS
            .iter()
            .zip(&medians)
            .map(|((name, _), curve)| json!({ "method": name, "median_final": last(curve), "curve": curve }))
            .collect();
        output::say(json!({ "rows": rows }))?;
    }
    if interrupt::asked() { Err(Error::Interrupted) } else { Ok(()) }
}
