//! Programs of many nodes: right values, no recursion, work and memory that grow evenly with the steps of a loop.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use osculate::{Array, Device, Expr, Func, Request, Result, Spec, Tape, spec};

/// Counts bytes, so that what is copied again and again shows.
struct Counting;

thread_local! {
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    BYTES.with(|b| b.set(b.get() + bytes));
}

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches a plain thread-local.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Loss = Func<Vec<Spec>, Vec<Spec>, Spec>;

/// h ← sin(h·w), `n` times.
fn elementwise(n: usize) -> Result<Loss> {
    Func::trace(vec![spec([2])], vec![spec([2])], |_, w, x| {
        let steps = (0..n).fold(x[0], |h, _| (h * w[0]).sin());
        steps.sum()
    })
}

/// h ← tanh(W h), `n` times.
fn products(n: usize) -> Result<Loss> {
    Func::trace(vec![spec([3, 3])], vec![spec([3])], |_, w, x| {
        let steps = (0..n).fold(x[0], |h, _| w[0].dot(h).tanh());
        steps.sum()
    })
}

fn recurrence<'t>(tape: &'t Tape, p: &[Expr<'t>], x: Expr<'t>, n: usize) -> Vec<Expr<'t>> {
    let mut states = vec![tape.full(p[2].shape(), 0.0)];
    for t in 0..n {
        states.push((states[t].dot(p[0]) + x.at(0, t).dot(p[1]) + p[2]).tanh());
    }
    states
}

fn recurrent(width: usize) -> Vec<Spec> {
    vec![spec([width, width]), spec([2, width]), spec([width])]
}

/// A recurrent network unrolled over `n` steps, its weights shared by all, a sequence that is cut into steps.
fn unrolled(n: usize) -> Result<Loss> {
    Func::trace(recurrent(4), vec![spec([n, 2])], |tape, p, x| recurrence(tape, &p, x[0], n)[n].square().sum())
}

/// The same, its states joined and cut again.
fn joined(n: usize) -> Result<Loss> {
    Func::trace(recurrent(4), vec![spec([n, 2])], |tape, p, x| {
        let states = tape.stack(&recurrence(tape, &p, x[0], n)[1..]);
        (0..n).fold(tape.lit(0.0), |sum, t| sum + states.at(0, t).square().sum())
    })
}

/// A vector put together of `n` parts, one by one.
fn padded(n: usize) -> Result<Loss> {
    Func::trace(vec![spec([n])], vec![spec([n])], |tape, w, x| {
        let part = |t: usize| (w[0].slice(0, t..t + 1) * x[0].slice(0, t..t + 1)).pad(0, t, n - 1 - t);
        let whole = (0..n).fold(tape.full([n], 0.0), |sum, t| sum + part(t));
        whole.square().sum()
    })
}

/// `n` parameters, one after the other.
fn leaves(n: usize) -> Result<Loss> {
    Func::trace(vec![spec([2]); n], vec![spec([2])], |_, w, x| w.iter().fold(x[0], |h, &w| (h * w).sin()).sum())
}

const LOSSES: [(&str, fn(usize) -> Result<Loss>); 6] = [
    ("elementwise", elementwise),
    ("products", products),
    ("unrolled", unrolled),
    ("joined", joined),
    ("padded", padded),
    ("leaves", leaves),
];

/// Bytes allocated in all while something is made.
fn bytes<R>(make: impl FnOnce() -> Result<R>) -> (usize, R) {
    let before = BYTES.with(Cell::get);
    let made = make().unwrap();
    (BYTES.with(Cell::get) - before, made)
}

/// Eight times the steps take at most eight times the memory traffic and some: an exponent of 1.1.
#[test]
fn work_grows_evenly() {
    let cpu = &Device::cpu();
    for (name, loss) in LOSSES {
        let of = |n: usize| {
            let (traced, loss) = bytes(|| loss(n));
            let (value, _) = bytes(|| loss.compile::<f64>(cpu));
            let (transformed, hvp) = bytes(|| loss.hvp());
            let (planned, _) = bytes(|| hvp.compile::<f64>(cpu));
            let (moments, _) = bytes(|| loss.moments::<f64>(2, Request::gradient().and_hvp(), cpu));
            let nodes = [loss.graph().len(), hvp.graph().len()];
            [traced, value, transformed, planned, moments, nodes[0], nodes[1]]
        };
        let whats = ["trace", "value", "transforms", "plan", "moments", "nodes", "nodes of Hv"];
        for ((what, small), large) in whats.iter().zip(of(128)).zip(of(1024)) {
            let exponent = (large as f64 / small as f64).ln() / 8f64.ln();
            assert!(exponent <= 1.1, "{name}, {what}: {small} and {large}, an exponent of {exponent:.2}");
        }
    }
}

/// What is shared by all steps receives as many terms, of which few are alive at once; so are the states of a chain.
#[test]
fn memory_is_of_what_is_alive() {
    let width = 128;
    let mib = |n: usize| {
        let loss =
            Func::trace(recurrent(width), vec![spec([n, 2])], |tape, p, x| recurrence(tape, &p, x[0], n)[n].sum());
        let gradient = loss.unwrap().grad().unwrap().compile::<f64>(&Device::cpu()).unwrap();
        gradient.peak_bytes() as f64 / 1_048_576.0
    };
    // A weight matrix is 1/8 MiB, a state 1/1024: 300 steps more take their states, not their matrices.
    let (short, long) = (mib(100), mib(400));
    assert!(long - short < 300.0 * 8.0 / 1024.0, "{short} and {long} MiB");
    let chain = |n: usize| {
        let loss = Func::trace(spec([1 << 17]), spec([1 << 17]), |_, w, x| (0..n).fold(x, |h, _| (h * w).sin()).sum());
        loss.unwrap().compile::<f64>(&Device::cpu()).unwrap().peak_bytes() >> 20
    };
    assert!(chain(500) <= chain(50) + 2, "{} and {} MiB", chain(500), chain(50));
}

/// Two hundred thousand nodes in a thread of little stack: values and Hv as by hand.
#[test]
fn no_recursion() {
    let small = |work: fn()| std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap();
    small(|| {
        let n = 25_000;
        let loss = Func::trace(spec([]), spec([]), |_, w, x| (0..n).fold(x, |h, _| (h * w).sin())).unwrap();
        let hvp = loss.value_and_grad().unwrap().jvp().unwrap();
        assert!(hvp.graph().len() > 200_000, "{}", hvp.graph().len());
        let (w, x) = (1.2, 0.5);
        // h, ḣ and ḧ by w.
        let (mut h, mut h1, mut h2) = (x, 0.0, 0.0);
        for _ in 0..n {
            let (z, z1, z2): (f64, f64, f64) = (h * w, h + w * h1, 2.0 * h1 + w * h2);
            (h, h1, h2) = (z.sin(), z.cos() * z1, z.cos() * z2 - z.sin() * z1 * z1);
        }
        let (w, x) = (Array::scalar(w), Array::scalar(x));
        let one = Array::scalar(1.0);
        let found = hvp.compile::<f64>(&Device::cpu()).unwrap().run(&(w.clone(), one), &x).unwrap();
        let found = [found.0.0, found.0.1, found.1.1].map(|array| array.item().unwrap());
        for (found, want) in found.into_iter().zip([h, h1, h2]) {
            assert!((found - want).abs() <= 1e-12 * want.abs(), "{found} instead of {want}");
        }
        let text = hvp.graph().to_string();
        assert_eq!(text.lines().count(), hvp.graph().len() + 1);
    });
    // What is cut is looked through, however deep.
    small(|| {
        let loss = Func::trace(spec([1]), spec([1]), |tape, w, x| {
            let whole = (0..4000).fold(w, |all, _| tape.concat(&[all.pad(0, 0, 1), x], 0));
            whole.slice(0, 0..1).sum()
        });
        assert_eq!(loss.unwrap().graph().len(), 3);
    });
}

/// Sums of parts put together one by one are those of the parts, in every order.
#[test]
fn parts_in_any_order() {
    let n = 200;
    let order: Vec<usize> = (0..n).map(|i| (i * 77 + 13) % n).collect();
    let loss = Func::trace(spec([n]), spec([n]), |tape, w, x| {
        let part = |&t: &usize| (w.slice(0, t..t + 1).sin() * x.slice(0, t..t + 1)).pad(0, t, n - 1 - t);
        let whole = order.iter().map(part).fold(tape.full([n], 0.0), |sum, part| sum + part);
        (whole * whole).sum()
    });
    let gradient = loss.unwrap().value_and_grad().unwrap().compile::<f64>(&Device::cpu());
    let w: Vec<f64> = (0..n).map(|i| (i as f64 * 0.7).cos()).collect();
    let x: Vec<f64> = (0..n).map(|i| (i as f64 * 0.3).sin() + 2.0).collect();
    let arrays = [&w, &x].map(|v| Array::new([n], v.clone()).unwrap());
    let (value, gradient) = gradient.unwrap().run(&arrays[0], &arrays[1]).unwrap();
    let want: f64 = w.iter().zip(&x).map(|(w, x)| (w.sin() * x).powi(2)).sum();
    assert!((value.item().unwrap() - want).abs() <= 1e-13 * want);
    for ((g, w), x) in gradient.values().iter().zip(&w).zip(&x) {
        let want = 2.0 * w.sin() * w.cos() * x * x;
        assert!((g - want).abs() <= 1e-13 * want.abs().max(1.0), "{g} instead of {want}");
    }
}
