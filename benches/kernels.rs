//! Kernels on one thread, f32: products, convolutions and their two gradients, elementwise work and sums.
//!
//! Throughput is counted in operations (`Gelem/s` reads GFLOP/s) for products, in bytes for the rest; beside them the machine's own:
//! multiply-adds of registers, and a copy.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use osculate_kernels::{Body, Command, Cpu, Fold, Instr, Nest, Out, Product, Program, Simd, Slot, View, math};

/// Runs one command on inputs of these lengths.
fn run(c: &mut Criterion, group: &str, name: &str, work: Throughput, inputs: [usize; 2], out: usize, command: Command) {
    let slots = vec![Slot::Input(inputs[0]), Slot::Input(inputs[1]), Slot::Output { len: out, wide: false }];
    let mut cpu = Cpu::<f32>::with(Program::new(slots, vec![command]).expect("a program"), 1, Simd::best());
    let data = inputs.map(|len| (0..len).map(|i| ((i * 7919) % 101) as f32 * 0.01 - 0.5).collect::<Vec<f32>>());
    let mut result = vec![0.0; out];
    let mut group = c.benchmark_group(group);
    group.throughput(work);
    group.bench_function(name, |b| {
        b.iter(|| cpu.run(black_box(&[&data[0], &data[1]]), &mut [Out::Real(&mut result)]).expect("a run"));
    });
    group.finish();
}

fn operations(multiply_adds: usize) -> Throughput {
    Throughput::Elements(2 * multiply_adds as u64)
}

/// Multiply-adds of registers alone, twelve chains of them: the most that one core can do.
#[cfg(target_arch = "x86_64")]
mod peak {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    /// Chains: as many as two units of a latency of five cycles take, and two.
    pub const CHAINS: usize = 12;

    #[target_feature(enable = "avx512f")]
    pub fn avx512(rounds: usize) -> f32 {
        let (x, y) = (_mm512_set1_ps(0.999), _mm512_set1_ps(1e-3));
        // Chains that are known to be alike would be one.
        let mut sums = black_box([_mm512_set1_ps(1.0); CHAINS]);
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, x, y);
            }
        }
        sums.iter().map(|&sum| _mm512_reduce_add_ps(sum)).sum()
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn avx2(rounds: usize) -> f32 {
        let (x, y) = (_mm256_set1_ps(0.999), _mm256_set1_ps(1e-3));
        let mut sums = black_box([_mm256_set1_ps(1.0); CHAINS]);
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, x, y);
            }
        }
        black_box(sums).iter().map(|&sum| _mm256_cvtss_f32(sum)).sum()
    }
}

/// What the machine can do at most.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
fn peaks(c: &mut Criterion) {
    const ROUNDS: usize = 10_000;
    let mut group = c.benchmark_group("peak");
    for simd in Simd::available() {
        let (lanes, run): (usize, fn(usize) -> f32) = match simd.to_string().as_str() {
            // SAFETY: `available` found these instructions.
            "avx512" => (16, |rounds| unsafe { peak::avx512(rounds) }),
            // SAFETY: as above.
            "avx2" => (8, |rounds| unsafe { peak::avx2(rounds) }),
            _ => continue,
        };
        group.throughput(Throughput::Elements((2 * lanes * peak::CHAINS * ROUNDS) as u64));
        group.bench_function(format!("multiply-adds of registers, {simd}"), |b| b.iter(|| run(black_box(ROUNDS))));
    }
    group.finish();
}

#[cfg(not(target_arch = "x86_64"))]
fn peaks(_: &mut Criterion) {}

fn products(c: &mut Criterion) {
    for (name, [m, k, n]) in [
        ("64x256x32, in cache", [64, 256, 32]),
        ("512x512x512", [512, 512, 512]),
        ("128x784x1000", [128, 784, 1000]),
        ("784x128x1000", [784, 128, 1000]),
        ("16x144x1024", [16, 144, 1024]),
        ("32x288x256", [32, 288, 256]),
        ("64x576x64", [64, 576, 64]),
        ("16x784x1000", [16, 784, 1000]),
        ("4x784x1000", [4, 784, 1000]),
    ] {
        // c = a b, and the products of its gradients: dc bᵀ, aᵀ dc.
        for (what, [m, k, n], a, b) in [
            ("", [m, k, n], [k, 1], [n, 1]),
            (", gradient of a", [m, n, k], [n, 1], [1, n]),
            (", gradient of b", [k, m, n], [1, k], [n, 1]),
        ] {
            let product = Product {
                rows: vec![m],
                inner: vec![k],
                cols: vec![n],
                scale: 1.0,
                a: View::new(0, 0, &a),
                b: View::new(1, 0, &b),
                out: View::new(2, 0, &[n, 1]),
                ..Product::default()
            };
            let name = format!("{name}{what}");
            run(c, "product", &name, operations(m * k * n), [m * k, k * n], m * n, Command::MatMul(product));
        }
    }
}

/// 3×3 convolutions of padded square images, eight at once, with both gradients.
fn convolutions(c: &mut Criterion) {
    let n = 8;
    for [from, to, side] in [[16, 16, 32], [32, 32, 16], [64, 64, 8], [64, 96, 12], [256, 256, 8]] {
        let taps = from * 9;
        let (image, result) = ((side + 2) * (side + 2) * from, to * side * side);
        // Channels lie innermost, as the planner has them: steps of a row, and of one of results.
        let (row, line) = ((side + 2) * from, side * to);
        let work = operations(n * result * taps);
        let name = |what: &str| format!("{from} to {to} channels, {side}x{side}: {what}");
        let forward = Product {
            rows: vec![to],
            inner: vec![from, 3, 3],
            cols: vec![n, side, side],
            scale: 1.0,
            a: View::new(0, 0, &[taps, 9, 3, 1]),
            b: View::new(1, 0, &[1, row, from, image, row, from]),
            out: View::new(2, 0, &[1, result, line, to]),
            ..Product::default()
        };
        run(
            c,
            "convolution",
            &name("forward"),
            work.clone(),
            [to * taps, n * image],
            n * result,
            Command::MatMul(forward),
        );
        let weights = Product {
            rows: vec![to],
            inner: vec![n, side, side],
            cols: vec![from, 3, 3],
            scale: 1.0,
            a: View::new(0, 0, &[1, result, line, to]),
            b: View::new(1, 0, &[image, row, from, 1, row, from]),
            out: View::new(2, 0, &[taps, 9, 3, 1]),
            ..Product::default()
        };
        run(
            c,
            "convolution",
            &name("weights"),
            work.clone(),
            [n * result, n * image],
            to * taps,
            Command::MatMul(weights),
        );
        let inputs = Product {
            rows: vec![n, side, side],
            inner: vec![to],
            cols: vec![from, 3, 3],
            scale: 1.0,
            a: View::new(0, 0, &[result, line, to, 1]),
            b: View::new(1, 0, &[taps, 9, 3, 1]),
            out: View::new(2, 0, &[image, row, from, 1, row, from]),
            accumulate: true,
            ..Product::default()
        };
        run(c, "convolution", &name("inputs"), work, [n * result, to * taps], n * image, Command::MatMul(inputs));
    }
}

fn elementwise(c: &mut Criterion) {
    for len in [1 << 12, 1 << 18, 1 << 22] {
        let data: Vec<f32> = (0..len).map(|i| i as f32).collect();
        let mut copy = vec![0.0f32; len];
        let mut group = c.benchmark_group("elementwise");
        group.throughput(Throughput::Bytes(8 * len as u64));
        group.bench_function(format!("copy by memcpy, {len}"), |b| b.iter(|| copy.copy_from_slice(black_box(&data))));
        group.finish();
        let body = Body(vec![Instr::Load(0), Instr::Load(1), Instr::Mul(0, 1), Instr::Const(0.5), Instr::Add(2, 3)]);
        let flat = |slot: usize| View::new(slot, 0, &[1]);
        let map = Nest { dims: vec![len], body, inputs: vec![flat(0), flat(1)], out: flat(2) };
        let bytes = Throughput::Bytes(12 * len as u64);
        run(c, "elementwise", &format!("a*b + 0.5, {len}"), bytes, [len, len], len, Command::Map(map));
        let nest =
            Nest { dims: vec![], body: Body::product(2), inputs: vec![flat(0), flat(1)], out: View::new(2, 0, &[]) };
        let sum = Command::Reduce { nest, over: vec![len], fold: Fold::Sum, scale: 1.0 };
        run(c, "elementwise", &format!("sum of a*b, {len}"), Throughput::Bytes(8 * len as u64), [len, len], 1, sum);
    }
}

/// Elementary functions in cache, beside what the standard library's cost one by one.
fn functions(c: &mut Criterion) {
    let data: Vec<f32> = (0..4096).map(|i| 0.1 + (i % 997) as f32 * 1e-3).collect();
    let mut values = data.clone();
    let mut group = c.benchmark_group("function");
    group.throughput(Throughput::Elements(data.len() as u64));
    macro_rules! both {
        ($($name:ident: $std:expr;)*) => {$(
            group.bench_function(concat!(stringify!($name), ", one by one"), |b| b.iter(|| {
                values.copy_from_slice(black_box(&data));
                values.iter_mut().for_each(|v| *v = $std(*v));
            }));
            group.bench_function(stringify!($name), |b| b.iter(|| {
                values.copy_from_slice(black_box(&data));
                Simd::best().each(&mut values, math::$name::<f32>);
            }));
        )*};
    }
    both! {
        exp: f32::exp;
        exp_m1: f32::exp_m1;
        ln: f32::ln;
        ln_1p: f32::ln_1p;
        tanh: f32::tanh;
        sigmoid: |v: f32| 1.0 / (1.0 + (-v).exp());
        erf: libm::erff;
    }
    group.finish();
}

criterion_group!(benches, peaks, products, convolutions, elementwise, functions);
criterion_main!(benches);
