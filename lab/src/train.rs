//! `train`: one problem, several optimizers, one table.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use osculate::nn::Batches;
use osculate::optim::observe::{Csv, Events, Observer};
use osculate::optim::{Minibatches, Optimizer, Oracle, Report, Status, registry};
use osculate::{Batch, Device, Real};

use crate::error::{Error, Result};
use crate::output::{self, Row};
use crate::{plot, problems};

/// What to train, and how.
#[derive(Args, Debug)]
pub struct Options {
    /// The problem; `osculate-lab list` names them.
    problem: String,
    /// Optimizers, separated by commas, or `all`; `osculate-lab list` names them.
    #[arg(long, value_delimiter = ',', default_value = "meka,meka-fixed,adameka,sgd")]
    optimizer: Vec<String>,
    /// Sets an option of every optimizer that has it, or of one (`sgd.rate=0.01`); `osculate-lab list NAME` lists them.
    #[arg(long, value_name = "[OPTIMIZER.]OPTION=VALUE")]
    set: Vec<String>,
    /// Seed of the initial parameters and of the minibatches.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Passes over the training examples.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    epochs: u64,
    /// Examples in a minibatch (at least 2: variances are measured).
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u64).range(2..))]
    batch: u64,
    /// Weight decay within the loss: λ of λ/2 Σ w² over weights, not biases, for whatever optimizer.
    #[arg(long, value_name = "λ", default_value_t = 0.0, value_parser = decay)]
    decay: f64,
    /// Folder for curves (CSV) and plots (SVG).
    #[arg(long, default_value_os_t = crate::default_out())]
    out: PathBuf,
    /// Write event files for TensorBoard, too: `tensorboard --logdir OUT` shows them.
    #[arg(long)]
    tensorboard: bool,
    /// Print the rows as one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

/// A number that is not negative.
fn decay(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number >= 0.0 && number.is_finite());
    number.ok_or_else(|| "a number that is not negative is wanted".to_string())
}

/// What was recorded of one optimizer's run.
pub struct Run {
    pub optimizer: String,
    pub reports: Vec<Report>,
}

/// The optimizers that are asked for, with their options set.
pub fn chosen<T: Real>(names: &[String], set: &[String], len: usize) -> Result<Vec<(String, Box<dyn Optimizer<T>>)>> {
    let all = registry::all::<T>();
    let names: Vec<&str> = match names {
        [one] if one == "all" => all.iter().map(|entry| entry.name).collect(),
        names => names.iter().map(String::as_str).collect(),
    };
    let (settings, mut used) = (set, vec![false; set.len()]);
    let mut optimizers = Vec::new();
    for name in names {
        let entry = all.iter().find(|entry| entry.name == name);
        let known = entry.map(|entry| entry.options()).unwrap_or_default();
        let mut mine = Vec::new();
        for (at, text) in settings.iter().enumerate() {
            let wrong = || Error::Set { text: text.clone(), why: "OPTION=VALUE is wanted".into() };
            let (left, value) = text.split_once('=').ok_or_else(wrong)?;
            // What is named with its optimizer must be an option of it.
            let (of, option) = match left.split_once('.') {
                Some((optimizer, option)) => (optimizer == name, option),
                None => (known.iter().any(|(known, _)| *known == left), left),
            };
            if of {
                mine.push((at, left != option, (option.to_string(), value.to_string())));
            }
        }
        let set: Vec<_> = mine.iter().map(|(_, _, pair)| pair.clone()).collect();
        // What is said to all is for those who have a use for it.
        mine.retain(|(_, named, (option, _))| *named || entry.is_some_and(|entry| entry.heeds(option, &set)));
        mine.iter().for_each(|(at, ..)| used[*at] = true);
        let set: Vec<_> = mine.into_iter().map(|(_, _, pair)| pair).collect();
        optimizers.push((name.to_string(), registry::with_options(name, len, &set)?));
    }
    match settings.iter().zip(used).find(|(_, used)| !used) {
        None => Ok(optimizers),
        Some((text, _)) => {
            let why = "none of the optimizers has this option, or a use for it; `osculate-lab list NAME` lists an optimizer's".into();
            Err(Error::Set { text: text.clone(), why })
        }
    }
}

/// Trains and reports.
pub fn run(options: &Options) -> Result<()> {
    problems::known(&options.problem)?;
    let problem = problems::digits_mlp::<f32>(options.seed, options.decay)?;
    let start = problem.params.values();
    // Every name is looked up before the first minute is spent.
    let optimizers = chosen::<f32>(&options.optimizer, &options.set, start.len())?;
    let per_epoch = Batches::new(problem.train.count(), options.batch as usize, options.seed).per_epoch();
    let steps = per_epoch * options.epochs as usize;
    output::folder(&options.out)?;
    let whole = problem.train.all()?;
    let mut rows: Vec<Row> = Vec::new();
    let mut runs = Vec::new();
    for (name, mut optimizer) in optimizers {
        let bar = ProgressBar::new(steps as u64).with_message(name.clone());
        if let Ok(style) = ProgressStyle::with_template("{msg:>15} {wide_bar} {pos}/{len} steps, {eta} left") {
            bar.set_style(style);
        }
        let mut params = start.to_vec();
        let mut oracles = Minibatches::new(&problem.loss, &Device::cpu());
        let mut batches = Batches::new(problem.train.count(), options.batch as usize, options.seed);
        let mut batch = Batch::default();
        let mut watchers: Vec<Box<dyn Observer>> =
            vec![Box::new(Csv::create(&options.out.join(format!("{}-{name}.csv", options.problem)))?)];
        if options.tensorboard {
            watchers.push(Box::new(Events::create(&options.out.join(&options.problem).join(&name))?));
        }
        let mut reports = Vec::with_capacity(steps);
        let mut times = Vec::with_capacity(steps);
        for step in 0..steps {
            problem.train.gather(batches.next_rows(), &mut batch)?;
            let began = Instant::now();
            let report = optimizer.step(&mut params, &mut oracles.on(&batch).of(&whole))?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            watchers.iter_mut().try_for_each(|watcher| watcher.see(step as u64, &report))?;
            reports.push(report);
            bar.inc(1);
        }
        bar.finish_and_clear();
        times.sort_unstable_by(f64::total_cmp);
        rows.push(Row {
            optimizer: name.clone(),
            test_accuracy: problem.test_accuracy(&params)?,
            train_loss: oracles.on(&whole).loss(&params)?,
            steps,
            ms_per_step: times[times.len() / 2],
            ratio_to_sgd: None,
            held: reports.iter().filter(|r| r.status != Status::Stepped).count(),
        });
        // At once: a later optimizer's trouble costs no finished run.
        watchers.iter_mut().try_for_each(|watcher| watcher.finish())?;
        runs.push(Run { optimizer: name, reports });
    }
    if let Some(sgd) = rows.iter().find(|row| row.optimizer == "sgd").map(|row| row.ms_per_step) {
        rows.iter_mut().for_each(|row| row.ratio_to_sgd = Some(row.ms_per_step / sgd));
    }
    let plots = plot::all(&options.out, &options.problem, &runs)?;
    output::table(&rows)?;
    output::say(format_args!("curves and plots: {}", plots.join(", ")))?;
    if options.json { output::json(&options.problem, &rows) } else { Ok(()) }
}
