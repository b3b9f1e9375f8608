//! Steps of optimizers without their oracle, on as many parameters as the `mlp` has, each beside a copy of the bytes that it must touch.

use std::hint::black_box;
use std::time::Instant;

use osculate::optim::{Oracle, Result, by_name};
use osculate::{Layout, Moments, Request, finite, spec};

/// Parameters of the `mlp`.
const LEN: usize = 1_336_610;

/// Rounds, in each of which a copy and a step are run some times in turns.
const ROUNDS: usize = 101;
const RUNS: u32 = 10;

/// Answers at once: whatever is asked for lies there already.
struct Idle(Layout);

impl Oracle<f32> for Idle {
    fn layout(&self) -> &Layout {
        &self.0
    }
    fn count(&self) -> usize {
        128
    }
    fn loss(&mut self, _: &[f32]) -> Result<f64> {
        Ok(1.0)
    }
    fn gradient(&mut self, _: &[f32], into: &mut [f32]) -> Result<f64> {
        // Once: pages that nobody wrote to are all the same page of zeros, which costs nothing to read.
        if into[LEN - 1] != 1e-3 {
            into.fill(1e-3);
        }
        Ok(1.0)
    }
    fn checked_gradient(&mut self, at: &[f32], into: &mut [f32]) -> Result<(f64, bool)> {
        Ok((self.gradient(at, into)?, true))
    }
    fn hvp(&mut self, _: &[f32], _: &[f32], _: &mut [f32]) -> Result<()> {
        Ok(())
    }
    fn directional(&mut self, _: &[f32], _: &[f32], _: usize) -> Result<[f64; 4]> {
        Ok([1.0, 0.0, 0.0, 0.0])
    }
    fn moments(&mut self, _: &[f32], _: Option<&[f32]>, _: Request) -> Result<&Moments<f32>> {
        Err(osculate::Error::State("there are no moments here".into()).into())
    }
}

/// Elements of a block, which stays in a first cache.
const BLOCK: usize = 1024;

/// What a fused copy of a step's bytes takes: one pass that reads the gradient and reads and writes all that is replaced. Compiled for
/// any machine, which with vectors that the second cache does not hold is no slower than for this one.
fn touch(replaced: &mut [Vec<f32>], gradient: &[f32]) {
    let share = LEN.div_ceil(rayon::current_num_threads());
    let mut shares: Vec<_> = replaced.iter_mut().map(|v| v.chunks_mut(share)).collect();
    rayon::scope(|scope| {
        for gradient in gradient.chunks(share) {
            let mut mine: Vec<&mut [f32]> = shares.iter_mut().filter_map(Iterator::next).collect();
            scope.spawn(move |_| {
                for (block, gradient) in gradient.chunks(BLOCK).enumerate() {
                    for vector in &mut mine {
                        for (x, g) in vector[block * BLOCK..].iter_mut().zip(gradient) {
                            *x += g;
                        }
                    }
                }
            });
        }
    });
}

/// Microseconds that some runs take, each, after one that brings the vectors back to the caches.
fn time(mut run: impl FnMut()) -> f64 {
    run();
    let start = Instant::now();
    (0..RUNS).for_each(|_| run());
    start.elapsed().as_secs_f64() * 1e6 / f64::from(RUNS)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    // `cargo test` runs benches, too, to see that they run.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { ROUNDS } else { 1 };
    let mut idle = Idle(Layout::of(&spec([LEN]), "params"));
    println!("medians of {rounds} rounds of {RUNS} runs each in turns, in microseconds\n");
    println!("{:<10} {:>8} {:>8} {:>12}", "", "copy", "step", "step / copy");
    // Vectors that a step replaces: parameters, and what is kept; the gradient is read.
    for (name, replaced) in
        [("sgd", 1), ("momentum", 2), ("adagrad", 2), ("rmsprop", 2), ("adam", 3), ("adadelta", 3), ("asgd", 5)]
    {
        let (mut vectors, gradient) = (vec![vec![0.5f32; LEN]; replaced], vec![1e-3f32; LEN]);
        let (mut optimizer, mut params) = (by_name::<f32>(name, LEN).expect("an optimizer"), vec![0.5f32; LEN]);
        let mut round = || {
            let copy = time(|| touch(black_box(&mut vectors), black_box(&gradient)));
            let step = time(|| _ = optimizer.step(&mut params, &mut idle).expect("a step"));
            [copy, step, step / copy]
        };
        round();
        let rounds: Vec<[f64; 3]> = (0..rounds).map(|_| round()).collect();
        let [copy, step, ratio] = std::array::from_fn(|i| median(rounds.iter().map(|r| r[i]).collect()));
        println!("{name:<10} {copy:>8.0} {step:>8.0} {ratio:>12.2}");
    }
    let gradient = vec![1e-3f32; LEN];
    let look = median((0..rounds).map(|_| time(|| _ = black_box(finite(black_box(&gradient))))).collect());
    println!("\nlooking whether a gradient is finite, which is the oracle's to do, alone: {look:.0}");
}
