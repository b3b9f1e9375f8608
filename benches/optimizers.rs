//! Steps of optimizers on the `mlp`: the time beyond their oracle's, beside a copy of the bytes that they must touch.
//!
//! `cargo bench --bench optimizers` takes all that there are, `cargo bench --bench optimizers -- adam meka` those named.

use std::hint::black_box;
use std::time::{Duration, Instant};

use osculate::nn::{Init, cross_entropy, models};
use osculate::optim::{Minibatches, Optimizer, Oracle, Result, registry};
use osculate::{Array, Batch, Device, Examples, Flat, Func, Layout, Moments, Request, Rng, label, spec};

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
    fn checked_gradient(&mut self, at: &[f32], into: &mut [f32]) -> Result<(f64, bool)> {
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

/// A fused copy of a step's bytes: one pass that reads the gradient and reads and writes all that is replaced. Compiled for any
/// machine, which with vectors that the second cache does not hold is no slower than for this one.
fn touch(replaced: &mut [Vec<f32>], gradient: &[f32]) {
    let share = gradient.len().div_ceil(rayon::current_num_threads());
    let mut shares: Vec<_> = replaced.iter_mut().map(|v| v.chunks_mut(share)).collect();
    rayon::scope(|scope| {
        for gradient in gradient.chunks(share) {
            let mut mine: Vec<&mut [f32]> = shares.iter_mut().filter_map(Iterator::next).collect();
            scope.spawn(move |_| {
                for (block, gradient) in gradient.chunks(BLOCK).enumerate() {
                    for vector in &mut mine {
                        for (x, g) in vector[block * BLOCK..].iter_mut().zip(gradient) {
                            *x += 1e-9 * g;
                        }
                    }
                }
            });
        }
    });
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Vectors that a step replaces: the parameters, and those that its optimizer keeps.
fn replaced(optimizer: &dyn Optimizer<f32>, len: usize) -> usize {
    1 + optimizer.save().names().map(|(_, shape)| shape.iter().product::<usize>() / len).sum::<usize>()
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
    println!("{:<16} {:>8} {:>8} {:>8} {:>8} {:>12}", "", "vectors", "oracle", "copy", "step", "step / copy");
    for name in registry::names() {
        if !wanted.is_empty() && wanted.iter().all(|wanted| *wanted != name) {
            continue;
        }
        let mut optimizer = registry::by_name::<f32>(name, first.len()).expect("an optimizer");
        let (mut params, mut gradient) = (first.clone(), first.clone());
        let mut vectors = vec![first.clone(); replaced(&*optimizer, first.len())];
        let mut round = || {
            oracles.on(&batch).checked_gradient(&vectors[0], &mut gradient).expect("a gradient");
            let start = Instant::now();
            touch(black_box(&mut vectors), black_box(&gradient));
            let copy = micros(start.elapsed());
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
        println!("{name:<16} {:>8} {oracle:>8.0} {copy:>8.0} {step:>8.0} {ratio:>12.2}", vectors.len());
    }
}
