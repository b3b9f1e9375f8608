//! Peak bytes as plans predict them, and as the allocator counts them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use osculate::nn::models::{ResNet32, ThreeCThreeD, mlp};
use osculate::nn::{Init, cross_entropy};
use osculate::{Array, Device, Examples, Expr, Flat, Func, Request, Rng, Signature, label, spec};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(by: usize) {
    PEAK.fetch_max(LIVE.fetch_add(by, Relaxed) + by, Relaxed);
}

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches plain atomics.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_sub(layout.size(), Relaxed);
        grown(size);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Predicted and counted bytes of a gradient step and of a moments step; the steps are run if `run` says so.
fn bytes<P, F>(model: &P, input: &[usize], n: usize, run: bool, logits: F) -> [[usize; 2]; 2]
where
    P: Signature,
    F: for<'t> Fn(P::With<Expr<'t>>, Expr<'t>) -> Expr<'t>,
{
    let data = (spec(input.to_vec()), label(10));
    let loss =
        Func::trace(model.clone(), data.clone(), |_, p, (x, y)| cross_entropy(logits(p, x), y)).expect("a trace");
    let rng = &mut Rng::new(0);
    let start = Flat::pack(model, &Init::HeNormal.tree::<f32, _>(model, rng).expect("values")).expect("a buffer");
    let start = start.values().to_vec();
    let before = LIVE.load(Relaxed);
    let (at, v) = (start.clone(), vec![1e-2f32; start.len()]);
    let x = Array::from_fn([&[n], input].concat(), |_| rng.uniform(0.0, 1.0) as f32);
    let y = Array::index([n], (0..n).map(|i| (i % 10) as u32).collect()).expect("labels");
    let batch = Examples::new(data, (x, y)).and_then(|e| e.all()).expect("a batch");

    let (held, direction) = (LIVE.load(Relaxed), size_of_val(&v[..]));
    let mut program = loss.means::<f32>(n, Request::gradient(), &Device::cpu()).expect("a program");
    let mut g = vec![0f32; at.len()];
    PEAK.store(LIVE.load(Relaxed), Relaxed);
    if run {
        program.run(&at, None, &batch, Some(&mut g), None).expect("a step");
    }
    let gradient = [program.peak_bytes(), PEAK.load(Relaxed) - before - direction];
    drop((program, g));

    assert!(LIVE.load(Relaxed) <= held + 4096, "nothing of the first program is left");
    let request = Request::gradient().and_hvp();
    let mut program = loss.moments::<f32>(n, request, &Device::cpu()).expect("a program");
    let mut moments = program.moments();
    PEAK.store(LIVE.load(Relaxed), Relaxed);
    if run {
        program.run(&at, Some(&v), &batch, &mut moments).expect("a step");
    }
    [gradient, [program.peak_bytes(), PEAK.load(Relaxed) - before]]
}

/// One test, since the allocator counts for the whole process.
#[test]
fn predicted_and_counted() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
    pool.install(|| {
        type Case<'c> = (&'c str, &'c dyn Fn(usize) -> [[usize; 2]; 2]);
        // The larger nets are run where a step is short; their programs hold all they need from the start.
        let cases: [Case<'_>; 3] = [
            ("mlp", &|n| bytes(&mlp(), &[784], n, true, |p, x| p.apply(x, |h| h.relu()))),
            ("3c3d", &|n| bytes(&ThreeCThreeD::new(), &[3, 32, 32], n, n < 100, |p, x| p.apply(x))),
            ("resnet32", &|n| bytes(&ResNet32::new(), &[3, 32, 32], n, false, |p, x| p.apply(x))),
        ];
        for (name, of) in cases {
            let mut peaks = Vec::new();
            for n in [32, 128, 512] {
                let both @ [gradient, moments] = of(n);
                let mib = |bytes: usize| bytes as f64 / 1_048_576.0;
                println!(
                    "{name:>8} n {n:>3}: gradient {:>7.1} MiB predicted, {:>7.1} counted; moments {:>6.1} and {:>6.1}",
                    mib(gradient[0]),
                    mib(gradient[1]),
                    mib(moments[0]),
                    mib(moments[1])
                );
                for [predicted, counted] in both {
                    let apart = (counted as f64 / predicted as f64 - 1.0).abs();
                    assert!(apart < 0.05, "{name}, n {n}: {predicted} predicted, {counted} counted");
                }
                assert!(moments[0] <= 3 * gradient[0], "{name}, n {n}: {moments:?} to {gradient:?}");
                peaks.push(moments[0]);
            }
            // What an example adds is its activations at most: a gradient of it alone has 1.8 to 5 MiB.
            assert!(peaks[2] - peaks[1] <= 384 * (128 << 10), "{name}: {peaks:?}");
        }
    });
}
