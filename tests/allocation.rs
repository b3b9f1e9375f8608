//! Steps allocate nothing: counted by the allocator, on the thread that steps.

#[path = "support/variants.rs"]
mod variants;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use osculate::nn::{Init, Mlp, cross_entropy};
use osculate::optim::Minibatches;
use osculate::{Array, Device, Examples, Flat, Func, Rng, label, spec};
use osculate_kernels::Simd;
use variants::{made, variants};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches a plain thread-local.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|c| c.set(c.get() + 1));
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|c| c.set(c.get() + 1));
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the third step of every optimizer (the first two compile).
fn allocations(widths: &[usize], n: usize) -> Vec<(String, usize)> {
    let model = Mlp::new(widths);
    let data = (spec([widths[0]]), label(widths[2]));
    let loss = Func::trace(model.clone(), data.clone(), |_, p, (x, y)| cross_entropy(p.apply(x, |h| h.relu()), y));
    let loss = loss.expect("a trace");
    let rng = &mut Rng::new(0);
    let x = Array::from_fn([n, widths[0]], |_| rng.normal() as f32);
    let y = Array::index([n], (0..n).map(|i| (i % widths[2]) as u32).collect()).expect("labels");
    let batch = Examples::new(data, (x, y)).and_then(|e| e.all()).expect("a batch");
    let tree = Init::HeNormal.tree::<f32, _>(&model, rng).expect("values");
    let start = Flat::pack(&model, &tree).expect("a buffer");
    // A full covariance is for few parameters.
    let few = start.values().len() <= 512;
    (variants().into_iter().filter(|(name, ..)| few || !name.contains("full")))
        .map(|(name, of, set)| {
            let mut params = start.values().to_vec();
            let mut oracles = Minibatches::new(&loss, &Device::cpu());
            let mut optimizer = made::<f32>(of, &set, params.len());
            for _ in 0..2 {
                optimizer.step(&mut params, &mut oracles.on(&batch).of(&batch)).expect("a step");
            }
            let before = COUNT.with(Cell::get);
            optimizer.step(&mut params, &mut oracles.on(&batch).of(&batch)).expect("a step");
            (name, COUNT.with(Cell::get) - before)
        })
        .collect()
}

/// Where there are no tiles of our own, matrixmultiply takes a buffer for each product; elsewhere they pack into room that is there from
/// the start.
fn buffers(products: usize) -> usize {
    if Simd::chosen().is_ok_and(|simd| simd.name() == "portable") { products } else { 0 }
}

#[test]
fn a_small_step_allocates_nothing() {
    for (name, count) in allocations(&[5, 7, 3], 6) {
        // Products this small are loops.
        assert!(count == 0, "{name}: {count}");
    }
}

#[test]
fn a_large_step_allocates_nothing() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    for (name, count) in pool.install(|| allocations(&[64, 100, 10], 128)) {
        // A diagonal covariance squares elements, and directional variances want the gradients along the step as well.
        let products = match &name {
            name if name.contains("diagonal") => 42,
            name if name.contains("directional") => 50,
            _ => 40,
        };
        assert!(count <= buffers(products), "{name}: {count}");
    }
}
