//! `bench` and `plan`: what a gradient, a Hessian-vector product and the moments of both cost on reference models.

mod peers;
mod programs;
mod steps;

use std::time::Instant;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::error::{Error, Result};
use crate::{names, output};
use steps::Steps;

/// What to measure.
#[derive(Subcommand, Debug)]
pub enum Bench {
    /// Time one step of a reference model: median and minimum over several runs, after a check of its results.
    #[command(after_help = "Example: osculate-lab bench step --model mlp --batch 128 --step all")]
    Step(StepOptions),
    /// Time the steps beside JAX and PyTorch, whichever a Python has, taking turns; print the ratios and the machine.
    #[command(after_help = "Example: python3 -m venv peers && peers/bin/pip install jax torch\n         \
                      osculate-lab bench peers --python peers/bin/python")]
    Peers(peers::Options),
    /// Fit how the time of a step grows with examples and with parameters, and that to make programs with the steps of a loop that they
    /// unroll; what a second thread and an empty program cost.
    Growth(GrowthOptions),
}

/// Options of `bench step`.
#[derive(Args, Debug)]
pub struct StepOptions {
    /// The model.
    #[arg(long)]
    model: Model,
    /// Examples in a minibatch.
    #[arg(long, default_value_t = 128, value_parser = names::whole(2, u64::MAX), allow_hyphen_values = true)]
    batch: u64,
    /// What to time; ratios are to the gradient of the same run.
    #[arg(long, default_value = "all")]
    step: What,
    /// Threads (default: one a core).
    #[arg(long, default_value_t = 0, value_parser = names::whole(0, 4096), allow_hyphen_values = true)]
    threads: u64,
    /// Runs of each step.
    #[arg(long, default_value_t = 15, value_parser = names::whole(1, u64::MAX), allow_hyphen_values = true)]
    runs: u64,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Options of `bench growth`.
#[derive(Args, Debug)]
pub struct GrowthOptions {
    /// Runs of each size.
    #[arg(long, default_value_t = 9, value_parser = names::whole(1, u64::MAX), allow_hyphen_values = true)]
    runs: u64,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// A reference model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Model {
    /// 784-10: 7,850 parameters.
    Logreg,
    /// 784-1000-500-100-10: 1,336,610 parameters.
    Mlp,
    /// Three convolutions, three dense layers: 895,210 parameters.
    #[value(name = "3c3d")]
    ThreeCThreeD,
    /// Residual, group-normalised: 0.46 million parameters.
    Resnet32,
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Mean loss and gradient.
    Gradient,
    /// Those and the mean Hessian-vector product.
    #[value(name = "grad_hvp", alias = "grad-hvp")]
    GradHvp,
    /// Those and the variances of losses, gradients and products.
    Moments,
    /// All three.
    All,
}

impl What {
    const EACH: [What; 3] = [What::Gradient, What::GradHvp, What::Moments];
}

/// Its name on the command line.
fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|v| v.get_name().to_string()).unwrap_or_default()
}

/// Options of `plan`.
#[derive(Args, Debug)]
pub struct Plan {
    /// The model.
    #[arg(long)]
    model: Model,
    /// Examples in a minibatch.
    #[arg(long, default_value_t = 128, value_parser = names::whole(1, u64::MAX), allow_hyphen_values = true)]
    batch: u64,
    /// The step; `all` is moments.
    #[arg(long, value_enum, default_value_t = What::Moments)]
    step: What,
    /// Run it so many times and head each command with its time, operations and bytes a second.
    #[arg(long, default_value_t = 0, value_parser = names::whole(0, u64::MAX), allow_hyphen_values = true)]
    timed: u64,
    /// Threads (default: one a core).
    #[arg(long, default_value_t = 0, value_parser = names::whole(0, 4096), allow_hyphen_values = true)]
    threads: u64,
}

/// Prints the plan of a step, with the times of its commands if wanted, and how long it took to make.
pub fn plan(options: &Plan) -> Result<()> {
    on(options.threads as usize, || {
        let mut steps = Steps::unchecked(options.model, options.batch as usize)?;
        if options.timed > 0 {
            steps.run(options.step)?;
            steps.measure();
            (0..options.timed).try_for_each(|_| steps.run(options.step).map(drop))?;
        }
        let (text, took) = steps.plan(options.step);
        output::say(text)?;
        output::say(format_args!("traced, transformed and planned in {took:.3} s"))
    })
}

/// Runs on so many threads (0: one a core).
fn on<R: Send>(threads: usize, work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|e| Error::Bench(e.to_string()))?.install(work)
}

/// Measures.
pub fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Step(options) => on(options.threads as usize, || measure(options)),
        Bench::Peers(options) => on(0, || peers::run(options)),
        Bench::Growth(options) => growth(options),
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

fn measure(options: &StepOptions) -> Result<()> {
    let n = options.batch as usize;
    let mut steps = Steps::new(options.model, n)?;
    let wanted = |what: What| options.step == What::All || options.step == what;
    let mut times: [Vec<f64>; 3] = Default::default();
    // Rounds of all steps, so that a slow moment of the machine meets each of them; the first is not counted.
    for round in 0..=options.runs {
        for (what, times) in What::EACH.into_iter().zip(&mut times) {
            if what == What::Gradient || wanted(what) {
                let took = steps.run(what)?;
                if round > 0 {
                    times.push(took);
                }
            }
        }
    }
    let gradient = median(&mut times[0]);
    let model = name(&options.model);
    for (what, mut taken) in What::EACH.into_iter().zip(times).filter(|(what, _)| wanted(*what)) {
        let (step, (bytes, flop)) = (name(&what), steps.cost(what));
        let (ms, gflop) = (median(&mut taken), flop as f64 * 1e-9);
        let (least, ratio) = (taken.first().copied().unwrap_or(f64::NAN), ms / gradient);
        if options.json {
            let line = json!({
                "model": model, "step": step, "parameters": steps.parameters(), "batch": n,
                "threads": rayon::current_num_threads(), "median_ms": ms, "min_ms": least, "peak_bytes": bytes,
                "gflop": gflop, "ratio_to_gradient": ratio,
            });
            output::say(line)?;
        } else {
            let (mib, rate) = (bytes as f64 / 1_048_576.0, gflop / ms * 1e3);
            output::say(format_args!(
                "{model:>8} {step:>8}  n {n:>4}  {ms:>9.3} ms (min {least:>9.3})  {mib:>8.1} MiB  {gflop:>8.3} GFLOP  \
                 {rate:>6.1} GFLOP/s  {ratio:>6.2} x gradient"
            ))?;
        }
    }
    Ok(())
}

/// Times over a decade of examples and one of parameters, with one thread and with two, and those of a program of tiny nodes.
fn growth(options: &GrowthOptions) -> Result<()> {
    let say = |what: &str, value: f64, unit: &str, wanted: &str| match options.json {
        true => output::say(json!({ "what": what, "value": value, "unit": unit, "wanted": wanted })),
        false => output::say(format_args!("{what:<44} {value:>8.3} {unit:<3} (wanted: {wanted})")),
    };
    let timed = |steps: &mut [Steps], what: What| -> Result<Vec<f64>> {
        let mut times = vec![Vec::new(); steps.len()];
        for round in 0..=options.runs {
            for (steps, times) in steps.iter_mut().zip(&mut times) {
                let took = steps.run(what)?;
                if round > 0 {
                    times.push(took);
                }
            }
        }
        Ok(times.iter_mut().map(|times| median(times)).collect())
    };
    let exponent = |sizes: &[f64], times: &[f64]| {
        let logs = |of: &[f64]| of.iter().map(|x| x.ln()).collect::<Vec<_>>();
        let (x, y) = (logs(sizes), logs(times));
        let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
        let (mx, my) = (mean(&x), mean(&y));
        let dot =
            |a: &[f64], ma: f64, b: &[f64], mb: f64| a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum::<f64>();
        dot(&x, mx, &y, my) / dot(&x, mx, &x, mx)
    };
    on(0, || {
        for what in [What::Gradient, What::Moments] {
            for model in [Model::Mlp, Model::ThreeCThreeD, Model::Resnet32] {
                let sizes = [128, 256, 512, 1280];
                let mut steps = sizes.iter().map(|&n| Steps::unchecked(model, n)).collect::<Result<Vec<_>>>()?;
                let grown = exponent(&sizes.map(|n| n as f64), &timed(&mut steps, what)?);
                say(&format!("exponent of {} in n, {}", name(&what), name(&model)), grown, "", "0.9 to 1.1")?;
            }
            let mut steps =
                [512, 768, 1152, 1760].map(|width| Steps::wide(width, 128)).into_iter().collect::<Result<Vec<_>>>()?;
            let sizes: Vec<f64> = steps.iter().map(|s| s.parameters() as f64).collect();
            let grown = exponent(&sizes, &timed(&mut steps, what)?);
            say(&format!("exponent of {} in D, mlp", name(&what)), grown, "", "0.9 to 1.1")?;
        }
        Ok(())
    })?;
    for model in [Model::Mlp, Model::ThreeCThreeD, Model::Resnet32] {
        // Taking turns, each in a pool of its own.
        let pools = [1, 2].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build());
        let mut pools =
            pools.into_iter().collect::<std::result::Result<Vec<_>, _>>().map_err(|e| Error::Bench(e.to_string()))?;
        for what in [What::Gradient, What::Moments] {
            let mut steps = Vec::new();
            for pool in &mut pools {
                steps.push(pool.install(|| Steps::unchecked(model, 128))?);
            }
            let mut times = [Vec::new(), Vec::new()];
            for round in 0..=options.runs {
                for ((pool, steps), times) in pools.iter().zip(&mut steps).zip(&mut times) {
                    // The first run of a turn wakes threads and fills caches.
                    let took = pool.install(|| steps.run(what).and_then(|_| steps.run(what)))?;
                    if round > 0 {
                        times.push(took);
                    }
                }
            }
            let [one, two] = &mut times;
            let what = format!("one thread to two, {} of {}", name(&what), name(&model));
            say(&what, median(one) / median(two), "x", "at least 1.7")?;
        }
    }
    programs::growth(exponent, |what, value| say(what, value, "", "at most 1.1"))?;
    let mut program = steps::tiny()?;
    let mut times = Vec::new();
    for _ in 0..=options.runs {
        let began = Instant::now();
        for _ in 0..1000 {
            program()?;
        }
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    say("a program of 100 tiny nodes", median(&mut times), "us", "less than 20")
}
