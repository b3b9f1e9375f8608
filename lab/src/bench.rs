//! `bench step`: what a gradient, a Hessian-vector product and the moments of both cost on reference models.

use std::time::Instant;

use clap::{Args, Subcommand, ValueEnum};
use osculate::nn::models::{ResNet32, ThreeCThreeD};
use osculate::nn::{Init, Mlp, cross_entropy, models};
use osculate::{Array, Batch, Device, Examples, Expr, Flat, Func, In, Out, Request, Rng, Signature, Spec, label, spec};
use serde_json::json;

use crate::error::{Error, Result};
use crate::output;

/// What to measure.
#[derive(Subcommand, Debug)]
pub enum Bench {
    /// Time one step of a reference model: median and minimum over several runs, after a check of its results.
    #[command(after_help = "Example: osculate-lab bench step --model mlp --batch 128 --step all")]
    Step(Step),
}

/// Options of `bench step`.
#[derive(Args, Debug)]
pub struct Step {
    /// The model.
    #[arg(long)]
    model: Model,
    /// Examples in a minibatch.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u64).range(2..))]
    batch: u64,
    /// What to time; ratios are to the gradient of the same run.
    #[arg(long, default_value = "all")]
    step: What,
    /// Threads (default: one a core).
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Runs of each step.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Model {
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Mean loss and gradient.
    Gradient,
    /// Those and the mean Hessian-vector product.
    GradHvp,
    /// Those and the variances of losses, gradients and products.
    Moments,
    /// All three.
    All,
}

/// Options of `plan`.
#[derive(Args, Debug)]
pub struct Plan {
    /// The model.
    #[arg(long)]
    model: Model,
    /// Examples in a minibatch.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
}

/// Prints the plan of a moments step, and how long it took to make.
pub fn plan(options: &Plan) -> Result<()> {
    fn show<P, F>(options: &Plan, model: P, input: &[usize], logits: F) -> Result<()>
    where
        P: Signature,
        F: for<'t> Fn(P::With<Expr<'t>>, Expr<'t>) -> Expr<'t>,
    {
        let began = Instant::now();
        let data = (spec(input.to_vec()), label(10));
        let loss = Func::trace(model, data, |_, p, (x, y)| cross_entropy(logits(p, x), y))?;
        let request = Request::gradient().and_hvp();
        let program = loss.moments::<f32>(options.batch as usize, request, &Device::cpu())?;
        let took = began.elapsed().as_secs_f64();
        output::say(program.plan())?;
        output::say(format_args!("traced, transformed and planned in {took:.3} s"))
    }
    match options.model {
        Model::Logreg => show(options, Mlp::new(&[784, 10]), &[784], |p, x| p.apply(x, |h| h.relu())),
        Model::Mlp => show(options, models::mlp(), &[784], |p, x| p.apply(x, |h| h.relu())),
        Model::ThreeCThreeD => show(options, ThreeCThreeD::new(), &[3, 32, 32], |p, x| p.apply(x)),
        Model::Resnet32 => show(options, ResNet32::new(), &[3, 32, 32], |p, x| p.apply(x)),
    }
}

/// Measures.
pub fn run(bench: &Bench) -> Result<()> {
    let Bench::Step(options) = bench;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads).build();
    let pool = pool.map_err(|e| Error::Bench(e.to_string()))?;
    pool.install(|| match options.model {
        Model::Logreg => measure(options, Mlp::new(&[784, 10]), &[784], |p, x| p.apply(x, |h| h.relu())),
        Model::Mlp => measure(options, models::mlp(), &[784], |p, x| p.apply(x, |h| h.relu())),
        Model::ThreeCThreeD => measure(options, ThreeCThreeD::new(), &[3, 32, 32], |p, x| p.apply(x)),
        Model::Resnet32 => measure(options, ResNet32::new(), &[3, 32, 32], |p, x| p.apply(x)),
    })
}

type Data = (Spec, Spec);

fn examples(n: usize, input: &[usize], rng: &mut Rng) -> Result<Examples<Data, f32>> {
    let x = Array::from_fn([&[n], input].concat(), |_| rng.uniform(0.0, 1.0) as f32);
    let y = Array::index([n], (0..n).map(|_| rng.uniform(0.0, 10.0) as u32).collect())?;
    Ok(Examples::new((spec(input.to_vec()), label(10)), (x, y))?)
}

fn measure<P, F>(options: &Step, model: P, input: &[usize], logits: F) -> Result<()>
where
    P: Signature,
    F: for<'t> Fn(P::With<Expr<'t>>, Expr<'t>) -> Expr<'t>,
{
    let data = (spec(input.to_vec()), label(10));
    let loss = Func::trace(model.clone(), data, |_, p, (x, y)| cross_entropy(logits(p, x), y))?;
    let rng = &mut Rng::new(0);
    let at = Flat::pack(&model, &Init::HeNormal.tree::<f32, _>(&model, rng)?)?;
    let v: Vec<f32> = at.values().iter().map(|_| 1e-2 * rng.normal() as f32).collect();
    check(&loss, at.values(), &v, &examples(8, input, rng)?)?;

    let n = options.batch as usize;
    let batch = examples(n, input, rng)?.all()?;
    let cpu = Device::cpu();
    let mut gradient = loss.means::<f32>(n, Request::gradient(), &cpu)?;
    let mut hvp = loss.means::<f32>(n, Request::gradient().and_hvp(), &cpu)?;
    let mut program = loss.moments::<f32>(n, Request::gradient().and_hvp(), &cpu)?;
    let mut moments = program.moments();
    let (mut g, mut h) = (v.clone(), v.clone());
    let at = at.values();

    let wanted = |what: What| options.step == What::All || options.step == what;
    let mut times: [Vec<f64>; 3] = Default::default();
    // Rounds of all steps, so that a slow moment of the machine meets each of them; the first is not counted.
    for round in 0..=options.runs {
        for (which, times) in times.iter_mut().enumerate() {
            let began = Instant::now();
            match which {
                0 => drop(gradient.run(at, None, &batch, Some(&mut g), None)?),
                1 if wanted(What::GradHvp) => drop(hvp.run(at, Some(&v), &batch, Some(&mut g), Some(&mut h))?),
                2 if wanted(What::Moments) => program.run(at, Some(&v), &batch, &mut moments)?,
                _ => continue,
            }
            if round > 0 {
                times.push(began.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    times.iter_mut().for_each(|times| times.sort_unstable_by(f64::total_cmp));
    let median = |times: &[f64]| times[times.len() / 2];
    let costs = [
        (What::Gradient, "gradient", gradient.peak_bytes(), gradient.flop()),
        (What::GradHvp, "grad_hvp", hvp.peak_bytes(), hvp.flop()),
        (What::Moments, "moments", program.peak_bytes(), program.flop()),
    ];
    let model = options.model.to_possible_value().map(|v| v.get_name().to_string()).unwrap_or_default();
    for ((what, step, bytes, flop), taken) in costs.into_iter().zip(&times) {
        if !wanted(what) {
            continue;
        }
        let (ms, gflop, ratio) = (median(taken), flop as f64 * 1e-9, median(taken) / median(&times[0]));
        if options.json {
            let line = json!({
                "model": model, "step": step, "parameters": v.len(), "batch": n, "threads": rayon::current_num_threads(),
                "median_ms": ms, "min_ms": taken[0], "peak_bytes": bytes, "gflop": gflop, "ratio_to_gradient": ratio,
            });
            output::say(line)?;
        } else {
            let (mib, rate, least) = (bytes as f64 / 1_048_576.0, gflop / ms * 1e3, taken[0]);
            output::say(format_args!(
                "{model:>8} {step:>8}  n {n:>4}  {ms:>9.3} ms (min {least:>9.3})  {mib:>8.1} MiB  {gflop:>8.3} GFLOP  \
                 {rate:>6.1} GFLOP/s  {ratio:>6.2} x gradient"
            ))?;
        }
    }
    Ok(())
}

/// Compares moments in f64 with those of materialised vectors, and the f32 gradient with the f64 one, on a few examples.
fn check<P: Signature>(
    loss: &Func<P, Data, Spec>,
    at: &[f32],
    v: &[f32],
    examples: &Examples<Data, f32>,
) -> Result<()> {
    let n = examples.count();
    let cpu = Device::cpu();
    let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    let (at64, v64) = (wide(at), wide(v));
    let (Some(x), Some(y)) = (examples.array(0), examples.array(1)) else { return Ok(()) };
    let x64 = Array::new(x.shape(), wide(x.values()))?;
    let all = Examples::new(examples.spec().clone(), (x64, Array::index(y.shape(), y.indices().to_vec())?))?;

    let mut program = loss.moments::<f64>(n, Request::gradient().and_hvp(), &cpu)?;
    let mut moments = program.moments();
    program.run(&at64, Some(&v64), &all.all()?, &mut moments)?;
    // One example's vectors after the other.
    let mut one = loss.hvp()?.vmap(1)?.compile::<f64>(&cpu)?;
    let d = at.len();
    let mut sums = [vec![0.0; d], vec![0.0; d]];
    let mut norms = [Vec::new(), Vec::new()];
    let mut batch = Batch::default();
    for row in 0..n {
        all.gather(&[row], &mut batch)?;
        let mut vectors = [vec![0.0; d], vec![0.0; d]];
        let [g, h] = &mut vectors;
        batch.feed([In::Real(&at64), In::Real(&v64)], |inputs| {
            one.run_flat(inputs, &mut [Out::Real(g), Out::Real(h)])
        })?;
        for ((sum, norms), x) in sums.iter_mut().zip(&mut norms).zip(&vectors) {
            sum.iter_mut().zip(x).for_each(|(s, x)| *s += x);
            norms.push(x.iter().map(|x| x * x).sum::<f64>());
        }
    }
    let scale = |x: &[f64]| x.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let close = |what: &str, got: &[f64], want: &[f64], tolerance: f64| {
        let worst = got.iter().zip(want).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
        if worst <= tolerance * scale(want) {
            return Ok(());
        }
        Err(Error::Bench(format!("{what} differs from its materialised form by {worst:e} of {:e}", scale(want))))
    };
    for ((what, got), (sum, norms)) in
        [("gradient", moments.gradient()?), ("Hv product", moments.hvp()?)].into_iter().zip(sums.iter().zip(&norms))
    {
        close(&format!("the sum of the {what}"), &got.sum, sum, 1e-10)?;
        close(&format!("the norm of the {what}"), &got.norms.totals(), norms, 1e-10)?;
    }
    let mut gradient = loss.means::<f32>(n, Request::gradient(), &cpu)?;
    let mut g = vec![0f32; d];
    gradient.run(at, None, &examples.all()?, Some(&mut g), None)?;
    let mean: Vec<f64> = sums[0].iter().map(|s| s / n as f64).collect();
    close("the f32 gradient", &wide(&g), &mean, 1e-3)
}
