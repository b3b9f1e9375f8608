//! The three steps of a perceptron on the digits' shape: gradient, gradient with Hv, and the moments of both.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use osculate::nn::{Init, Mlp, cross_entropy};
use osculate::optim::{Minibatches, Oracle};
use osculate::{Array, Device, Examples, Flat, Func, Request, Rng, label, spec};

fn steps(c: &mut Criterion) {
    let model = Mlp::new(&[64, 100, 10]);
    let data = (spec([64]), label(10));
    let loss = Func::trace(model.clone(), data.clone(), |_, p, (x, y)| cross_entropy(p.apply(x, |h| h.relu()), y));
    let loss = loss.expect("a loss");
    let rng = &mut Rng::new(0);
    let x = Array::from_fn([128, 64], |_| rng.normal() as f32);
    let y = Array::index([128], (0..128).map(|i| i % 10).collect()).expect("labels");
    let batch = Examples::new(data, (x, y)).and_then(|e| e.all()).expect("a batch");
    let mut vector = || {
        let tree = Init::HeNormal.tree::<f32, _>(&model, rng).expect("values");
        Flat::pack(&model, &tree).expect("a buffer").values().to_vec()
    };
    let (at, v) = (vector(), vector());
    let mut out = at.clone();
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let mut group = c.benchmark_group("digits mlp, 128 examples");
    group.bench_function("gradient", |b| b.iter(|| oracles.on(&batch).gradient(black_box(&at), &mut out)));
    group.bench_function("hvp", |b| b.iter(|| oracles.on(&batch).hvp(black_box(&at), &v, &mut out)));
    let request = Request::gradient().and_hvp();
    group.bench_function("moments", |b| {
        b.iter(|| oracles.on(&batch).moments(black_box(&at), Some(&v), request).map(|m| m.loss()))
    });
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
