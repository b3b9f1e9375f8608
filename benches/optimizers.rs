//! Steps of optimizers without their oracle, on as many parameters as the `mlp` has: bytes that a step must touch, beside a copy.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use osculate::optim::{Oracle, Result, by_name};
use osculate::{Layout, Moments, Request, spec};

/// Parameters of the `mlp`.
const LEN: usize = 1_336_610;

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
        into[0] = 1e-3;
        Ok(1.0)
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

fn steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("optimizer");
    // A copy reads one vector and writes one, by all threads.
    let (from, mut to) = (vec![1.0f32; LEN], vec![0.0f32; LEN]);
    group.throughput(Throughput::Bytes(8 * LEN as u64));
    group.bench_function("copy", |b| {
        b.iter(|| {
            let threads = rayon::current_num_threads();
            let share = LEN.div_ceil(threads);
            rayon::scope(|scope| {
                for (to, from) in to.chunks_mut(share).zip(black_box(&from).chunks(share)) {
                    scope.spawn(|_| to.copy_from_slice(from));
                }
            });
        });
    });
    let mut idle = Idle(Layout::of(&spec([LEN]), "params"));
    // Vectors read and written: parameters, gradient, and what is kept.
    for (name, vectors) in
        [("sgd", 3), ("momentum", 5), ("adam", 7), ("adagrad", 5), ("rmsprop", 5), ("adadelta", 7), ("asgd", 11)]
    {
        let mut optimizer = by_name::<f32>(name, LEN).expect("an optimizer");
        let mut params = vec![0.5f32; LEN];
        group.throughput(Throughput::Bytes(4 * vectors * LEN as u64));
        group.bench_function(name, |b| b.iter(|| optimizer.step(&mut params, &mut idle).expect("a step")));
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
