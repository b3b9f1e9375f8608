//! Steps of optimizers on the `mlp`: the time beyond their oracle's, beside a copy of the bytes that they must touch.
//!
//! `cargo bench --bench optimizers` takes all that there are, `cargo bench --bench optimizers -- adam meka` those named.

use std::hint::black_box;
use std::time::{Duration, Instant};

use osculate::nn::{Init, cross_entropy, models};
use osculate::optim::{Minibatches, Optimizer, Oracle, Result, registry};
use osculate::{Array, Batch, Device, Examples, Flat, Func, Layout, Moments, Request, Rng, Size, label, spec};

/// Rounds, in each of which a gradient with a copy and a step are run in turns.
const ROUNDS: usize = 101;

/// Answers for another, and knows how long that took.
struct Timed<'a> {
    oracle: &'a mut dyn Oracle<f32>,
    spent: Duration,
}

impl Timed<'_> {
    fn ask<'a, R>(&'a mut self, what: impl FnOnce(&'a mut dyn Oracle<f32>) -> R) -> R {
        let start = Instant::now();
        let answer = what(self.oracle);
        self.spent += start.elapsed();
        answer
    }
}

impl Oracle<f32> for Timed<'_> {
    fn layout(&self) -> &Layout {
        self.oracle.layout()
    }
    fn count(&self) -> usize {
        self.oracle.count()
    }
    fn loss(&mut self, at: &[f32]) -> Result<f64> {
        self.ask(|oracle| oracle.loss(at))
    }
    fn gradient(&mut self, at: &[f32], into: &mut [f32]) -> Result<f64> {
        self.ask(|oracle| oracle.gradient(at, into))
    }
    fn checked_gradient(&mut self, at: &[f32], into: &mut [f32]) -> Result<(f64, Size)> {
        self.ask(|oracle| oracle.checked_gradient(at, into))
    }
    fn hvp(&mut self, at: &[f32], along: &[f32], into: &mut [f32]) -> Result<()> {
        self.ask(|oracle| oracle.hvp(at, along, into))
    }
    fn directional(&mut self, at: &[f32], along: &[f32], order: usize) -> Result<[f64; 4]> {
        self.ask(|oracle| oracle.directional(at, along, order))
    }
    fn moments(&mut self, at: &[f32], along: Option<&[f32]>, request: Request) -> Result<&Moments<f32>> {
        self.ask(|oracle| oracle.moments(at, along, request))
    }
    fn per_example(&mut self, at: &[f32], along: Option<&[f32]>, g: &mut [f32], h: &mut [f32]) -> Result<()> {
        self.ask(|oracle| oracle.per_example(at, along, g, h))
    }
    fn whole_gradient(&mut self, at: &[f32], into: &mut [f32]) -> Result<f64> {
        self.ask(|oracle| oracle.whole_gradient(at, into))
    }
}

/// Elements of a block, which stays in a first cache.
const BLOCK: usize = 1024;

/// A fused copy of a step's bytes: passes that read some vectors and read and write others. Compiled for any machine, which with
/// vectors that the second cache does not hold is no slower than for this one.
fn touch(passes: &[[usize; 2]], replaced: &mut [Vec<f32>], read: &[Vec<f32>]) {
    let len = read[0].len();
    let share = len.div_ceil(rayon::current_num_threads()).next_multiple_of(BLOCK);
    for &[replace, look] in passes {
        let mut shares: Vec<_> = replaced[..replace].iter_mut().map(|v| v.chunks_mut(share)).collect();
        rayon::scope(|scope| {
            for start in (0..len).step_by(share) {
                let mut mine: Vec<&mut [f32]> = shares.iter_mut().filter_map(Iterator::next).collect();
                let read = &read[..look];
                scope.spawn(move |_| {
                    let mut sums = [0.0; 64];
                    for at in (start..len.min(start + share)).step_by(BLOCK) {
                        let end = len.min(start + share).min(at + BLOCK);
                        for vector in read.iter().skip(usize::from(!mine.is_empty())) {
                            for values in vector[at..end].chunks_exact(64) {
                                sums.iter_mut().zip(values).for_each(|(sum, x)| *sum += x);
                            }
                        }
                        for vector in &mut mine {
                            for (x, g) in vector[at - start..end - start].iter_mut().zip(&read[0][at..end]) {
                                *x += 1e-9 * g;
                            }
                        }
                    }
                    black_box(sums);
                });
            }
        });
    }
}

/// The bytes that a step must touch beside its oracle's work: how many vectors each of its passes replaces, and how many more it reads.
/// A pass ends where a number of the whole of a vector is wanted to go on, or an answer of the oracle.
fn passes(name: &str, kept: usize) -> Vec<[usize; 2]> {
    // θ and what is kept, by the gradient.
    let step = [1 + kept, 1];
    match name {
        // δ = θ − θ' with m·δ; variances of g and b; m and d; the curvature along d, and Q's; θ and θ'.
        "meka-fixed" | "adameka-fixed" => vec![[1, 3], [0, 2], [2, 3], [2, 1]],
        "meka-diagonal" => vec![[1, 3], [4, 6], [0, 4], [2, 1]],
        name if name.contains("meka") => vec![[1, 3], [0, 2], [2, 3], [0, 2], [2, 1]],
        // v with g·v; θ, and what it was if the step is refused.
        name if name.starts_with("lradapt") => vec![step, [2, 1]],
        // x + p with ‖x − x̄‖²; ‖g‖²; all of them.
        "kafisto" => vec![[1, 3], [0, 1], step],
        "kafisto-vanilla" | "sps" | "sps-max" | "ali-g" => vec![[0, 1], [1, 1]],
        // Along v̂: g and θ; then θ and v; v̂. The others keep theirs, or two.
        "ogr" => vec![[0, 3], [2, 2], [1, 1]],
        "ogr-safe" => vec![[0, 4], [2, 2]],
        "ogr-centred" => vec![[0, 3], [2, 2]],
        // The basis of ten with g, m and θ − θ'; what is kept and θ.
        name if name.starts_with("ogr-d") => vec![[0, 14], [1 + kept, 1]],
        // ‖g‖² and along the direction before; the direction; θ.
        "sgd-hd" => vec![[0, 2], [1, 1]],
        name if name.starts_with("l4") || name == "adam-hd" => vec![[0, 2], [kept, 1], [1, 1]],
        // Where the gradient is asked for; its average, and θ as it was; θ and what the direction keeps.
        name if name.starts_with("igt") => vec![[1, 2], [2, 2], [kept - 1, 1]],
        // ‖g‖²; what is tried; that again.
        "armijo" => vec![[0, 1], [1, 2], [1, 1]],
        // Signs; whether products are finite; all of them.
        "adahessian" => vec![[1, 1], [0, 1], [3, 2]],
        // g − g(s) + μ; θ.
        "svrg" => vec![[1, 2], [1, 1]],
        _ => vec![step],
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Vectors that an optimizer keeps from step to step.
fn kept(optimizer: &dyn Optimizer<f32>, len: usize) -> usize {
    optimizer.save().names().map(|(_, shape)| shape.iter().product::<usize>() / len).sum()
}

/// The perceptron, a minibatch of as many random images as it is trained with, and its first parameters.
fn mlp() -> osculate::Result<(Minibatches<(osculate::Spec, osculate::Spec), f32>, Batch<f32>, Vec<f32>)> {
    let (model, rng) = (models::mlp(), &mut Rng::new(0));
    let data = (spec([784]), label(10));
    let loss = Func::trace(model.clone(), data.clone(), |_, p, (x, y)| cross_entropy(p.apply(x, |h| h.relu()), y))?;
    let x = Array::from_fn([128, 784], |_| rng.normal() as f32);
    let y = Array::index([128], (0..128).map(|i| i % 10).collect())?;
    let batch = Examples::new(data, (x, y))?.all()?;
    let params = Flat::pack(&model, &Init::HeNormal.tree::<f32, _>(&model, rng)?)?.values().to_vec();
    Ok((Minibatches::new(&loss, &Device::cpu()), batch, params))
}

fn main() {
    let (mut oracles, batch, first) = mlp().expect("a perceptron");
    // `cargo test` runs benches, too, to see that they run.
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rounds = if args.iter().any(|arg| arg == "--bench") { ROUNDS } else { 1 };
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    println!("medians of {rounds} rounds in turns, in microseconds, of {} parameters\n", first.len());
    println!("{:<16} {:>8} {:>8} {:>8} {:>8} {:>12}", "", "touched", "oracle", "copy", "step", "step / copy");
    for name in registry::names() {
        if !wanted.is_empty() && wanted.iter().all(|wanted| *wanted != name) {
            continue;
        }
        let mut optimizer = registry::by_name::<f32>(name, first.len()).expect("an optimizer");
        let mut params = first.clone();
        let passes = passes(name, kept(&*optimizer, first.len()));
        let most = |at: usize| passes.iter().map(|pass| pass[at]).max().unwrap_or(0);
        let (mut replaced, mut read) = (vec![first.clone(); most(0)], vec![first.clone(); most(1)]);
        let mut round = || {
            oracles.on(&batch).checked_gradient(&replaced[0], &mut read[0]).expect("a gradient");
            let start = Instant::now();
            touch(black_box(&passes), black_box(&mut replaced), black_box(&read));
            let copy = micros(start.elapsed());
            // From where it began: losses near zero are made of numbers that are no longer normal, which are slow.
            params.copy_from_slice(&first);
            let mut oracle = oracles.on(&batch).of(&batch);
            let mut oracle = Timed { oracle: &mut oracle, spent: Duration::ZERO };
            let start = Instant::now();
            optimizer.step(&mut params, &mut oracle).expect("a step");
            let step = micros(start.elapsed() - oracle.spent);
            [micros(oracle.spent), copy, step, step / copy]
        };
        // Programs are compiled, and what steps keep is there.
        (0..3).for_each(|_| _ = round());
        let rounds: Vec<[f64; 4]> = (0..rounds).map(|_| round()).collect();
        let [oracle, copy, step, ratio] = std::array::from_fn(|i| median(rounds.iter().map(|r| r[i]).collect()));
        // What is replaced is read and written.
        let touched: usize = passes.iter().map(|[replace, look]| 2 * replace + look).sum();
        println!("{name:<16} {touched:>8} {oracle:>8.0} {copy:>8.0} {step:>8.0} {ratio:>12.2}");
    }
}
