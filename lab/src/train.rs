//! `train`: one problem, several optimizers, one table.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use osculate::nn::Batches;
use osculate::optim::observe::{Csv, Events, Observer};
use osculate::optim::{Minibatches, Optimizer, Oracle, Report, Status, registry};
use osculate::{Batch, Device, Real, Signature};

use crate::error::{Error, Result};
use crate::output::{self, Row};
use crate::problems::Problem;
use crate::progress::Progress;
use crate::{interrupt, names, plot, problems};

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
    #[arg(long, default_value_t = 0, value_parser = names::whole(0, u64::MAX), allow_hyphen_values = true)]
    seed: u64,
    /// Passes over the training examples.
    #[arg(long, default_value_t = 40, value_parser = names::whole(1, 1_000_000), allow_hyphen_values = true)]
    epochs: u64,
    /// Examples in a minibatch (at least 2: variances are measured).
    #[arg(long, default_value_t = 128, value_parser = names::whole(2, u64::MAX), allow_hyphen_values = true)]
    batch: u64,
    /// Weight decay within the loss: λ of λ/2 Σ w² over weights, not biases, for whatever optimizer.
    #[arg(long, value_name = "λ", default_value_t = 0.0, value_parser = names::not_negative, allow_hyphen_values = true)]
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
    let refused = |why| Err(Error::Optimizers { text: names.join(","), why });
    if names.iter().all(|name| name.trim().is_empty()) {
        return refused("a name is wanted, or several, separated by commas; `osculate-lab list` has them");
    }
    if names.iter().any(|name| name.trim().is_empty()) {
        return refused("a name is missing beside a comma");
    }
    if names.contains(&"all") {
        return refused("`all` stands alone");
    }
    let (settings, mut used) = (set, vec![false; set.len()]);
    let mut optimizers = Vec::new();
    for name in names {
        let entry = all.iter().find(|entry| entry.name == name);
        if entry.is_none() {
            return Err(names::unknown("optimizer", name, all.iter().map(|entry| entry.name)));
        }
        let mut mine = Vec::new();
        for (at, text) in settings.iter().enumerate() {
            let wrong = || Error::Set { text: text.clone(), why: "OPTION=VALUE is wanted".into() };
            let (left, value) = text.split_once('=').ok_or_else(wrong)?;
            // What is named with its optimizer must be an option of it.
            let (of, option) = match left.split_once('.') {
                Some((optimizer, option)) => (optimizer == name, option),
                None => (true, left),
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
    interrupt::listen();
    problems::known(&options.problem)?;
    let problem = problems::digits_mlp::<f32>(options.seed, options.decay)?;
    let start = problem.params.values();
    // Every name is looked up before the first minute is spent.
    let optimizers = chosen::<f32>(&options.optimizer, &options.set, start.len())?;
    output::folder(&options.out)?;
    let whole = problem.train.all()?;
    let first_loss = Minibatches::new(&problem.loss, &Device::cpu()).on(&whole).loss(start)?;
    let mut rows: Vec<Row> = Vec::new();
    let mut runs = Vec::new();
    // One optimizer's trouble ends the work, and costs no finished run.
    let mut trouble = None;
    for (name, optimizer) in optimizers {
        match train(options, &problem, &whole, name, optimizer) {
            Ok((row, run)) => {
                rows.push(row);
                runs.push(run);
            }
            Err(error) => trouble = Some(error),
        }
        if trouble.is_some() || interrupt::asked() {
            break;
        }
    }
    if let Some(sgd) = rows.iter().find(|row| row.optimizer == "sgd").map(|row| row.ms_per_step) {
        rows.iter_mut().for_each(|row| row.ratio_to_sgd = Some(row.ms_per_step / sgd));
    }
    if let Some(error) = trouble.take_if(|_| rows.is_empty()) {
        return Err(error);
    }
    output::table(&rows)?;
    // A picture that cannot be drawn costs no number.
    let plots = plot::all(&options.out, &options.problem, &runs);
    if let Ok(plots) = &plots {
        output::say(format_args!("curves and plots: {}", plots.join(", ")))?;
    }
    if options.json {
        output::json(&options.problem, &rows)?;
    }
    if let Some(error) = trouble {
        return Err(error);
    }
    plots?;
    match interrupt::asked() {
        true => Err(Error::Interrupted),
        false => diverged(&rows, first_loss),
    }
}

/// One optimizer's run, as far as nobody stops it.
fn train<P: Signature>(
    options: &Options,
    problem: &Problem<P, f32>,
    whole: &Batch<f32>,
    name: String,
    mut optimizer: Box<dyn Optimizer<f32>>,
) -> Result<(Row, Run)> {
    let mut batches = Batches::new(problem.train.count(), options.batch as usize, options.seed);
    let steps = batches.per_epoch() * options.epochs as usize;
    let mut progress = Progress::new(&name, steps as u64);
    let mut params = problem.params.values().to_vec();
    let mut oracles = Minibatches::new(&problem.loss, &Device::cpu());
    let mut batch = Batch::default();
    let mut watchers: Vec<Box<dyn Observer>> =
        vec![Box::new(Csv::create(&options.out.join(format!("{}-{name}.csv", options.problem)))?)];
    if options.tensorboard {
        watchers.push(Box::new(Events::create(&options.out.join(&options.problem).join(&name))?));
    }
    let (mut reports, mut times): (Vec<Report>, Vec<f64>) = (Vec::new(), Vec::new());
    for step in 0..steps {
        problem.train.gather(batches.next_rows(), &mut batch)?;
        let began = Instant::now();
        let report = optimizer.step(&mut params, &mut oracles.on(&batch).of(whole))?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        watchers.iter_mut().try_for_each(|watcher| watcher.see(step as u64, &report))?;
        progress.step(|| format!(" steps, minibatch loss {:.3e}", report.loss));
        reports.push(report);
        if interrupt::asked() {
            break;
        }
    }
    progress.finish();
    // At once: a later optimizer's trouble costs no finished run.
    watchers.iter_mut().try_for_each(|watcher| watcher.finish())?;
    times.sort_unstable_by(f64::total_cmp);
    let row = Row {
        optimizer: name.clone(),
        test_accuracy: problem.test_accuracy(&params)?,
        train_loss: oracles.on(whole).loss(&params)?,
        steps: reports.len(),
        ms_per_step: times[times.len() / 2],
        ratio_to_sgd: None,
        not_taken: not_taken(&reports),
    };
    Ok((row, Run { optimizer: name, reports }))
}

/// How often each status but a step as the rule asked was reported.
fn not_taken(reports: &[Report]) -> Vec<(Status, usize)> {
    let mut counts: Vec<(Status, usize)> = Vec::new();
    for status in reports.iter().map(|report| report.status).filter(|status| *status != Status::Stepped) {
        match counts.iter_mut().find(|(known, _)| *known == status) {
            Some((_, count)) => *count += 1,
            None => counts.push((status, 1)),
        }
    }
    counts
}

/// Runs that ended worse than they began, or nowhere, are an error once all was reported.
fn diverged(rows: &[Row], first_loss: f64) -> Result<()> {
    let worse = |row: &&Row| row.train_loss.is_nan() || row.train_loss > first_loss;
    let said: Vec<String> = (rows.iter().filter(worse))
        .map(|row| format!("{} ended at a train loss of {:.3e}", row.optimizer, row.train_loss))
        .collect();
    if said.is_empty() {
        return Ok(());
    }
    Err(Error::Diverged(format!("{}; all began at {first_loss:.3e}: try smaller steps", said.join(", "))))
}
