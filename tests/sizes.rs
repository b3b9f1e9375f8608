//! Sizes at and beyond what can be counted or held, through every door that takes one: an error or a result, no panic, abort or hang.

use std::panic::{AssertUnwindSafe, catch_unwind};

use osculate::nn::Batches;
use osculate::{
    Array, Batch, Budget, Device, Error, Examples, Expr, Func, Request, Result, Spec, Tape, Window, label, spec,
};

/// None, one, more than any machine has, and around where counting ends.
const SIZES: [usize; 10] =
    [0, 1, 1 << 40, 1 << 47, 1 << 60, 1 << 61, 1 << 62, isize::MAX as usize, usize::MAX - 1, usize::MAX];

/// Sizes that no memory holds.
fn is_huge(size: usize) -> bool {
    size >= 1 << 40
}

fn cpu() -> Device {
    Device::cpu()
}

/// Traces, differentiates and compiles a function of `[3]` and `[3]`.
fn traced(f: impl for<'t> Fn(&'t Tape, Expr<'t>, Expr<'t>) -> Expr<'t>) -> Result<()> {
    let func = Func::trace(spec([3]), spec([3]), |tape, w, x| f(tape, w, x).sum())?;
    let hvp = func.hvp()?;
    hvp.compile::<f32>(&cpu())?;
    hvp.vmap(3)?.compile::<f64>(&Device::reference()).map(drop)
}

type Door = (&'static str, fn(usize) -> Result<()>);

/// What must be refused if it is huge.
const REFUSED: &[Door] = &[
    ("parameters", |n| Func::trace(spec([n, n]), spec([]), |_, w, _| w.sum()).map(drop)),
    ("many parameters", |n| Func::trace(vec![spec([n, 1 << 20]); 8], spec([]), |_, w, _| w[0].sum()).map(drop)),
    ("data", |n| Func::trace(spec([]), spec([n, n]), |_, w, x| w * x.sum()).map(drop)),
    ("indices", |n| Func::trace(spec([]), Spec::index([n, n], 3), |_, w, _| w).map(drop)),
    ("labels", |n| {
        let loss = Func::trace(spec([]), label(n), |_, w, y| (w * y.one_hot()).sum().exp())?;
        loss.hvp()?.compile::<f64>(&cpu()).map(drop)
    }),
    ("full", |n| traced(|tape, w, _| w.sum() * tape.full([n, n], 1.0))),
    ("broadcast_to", |n| traced(|_, w, _| w.sum().broadcast_to([n, n]))),
    ("pad before", |n| traced(|_, w, x| (w * x).pad(0, n, n).exp())),
    ("pad after", |n| traced(|_, w, x| (w * x).exp().pad(0, 0, n).exp().exp())),
    ("concat", |n| traced(|tape, w, _| tape.concat(&[w.pad(0, 0, n), w.pad(0, n, 0)], 0).exp())),
    ("slice", |n| traced(|_, w, _| w.slice(0, 1..n))),
    ("slice from", |n| traced(|_, w, _| w.slice(0, n..n))),
    ("at", |n| traced(|_, w, _| w.at(0, n))),
    ("split", |n| traced(|_, w, _| w.split(0, n)[0])),
    ("split of many", |n| traced(|_, w, _| w.sum().broadcast_to([n]).split(0, n)[0])),
    ("reshape", |n| traced(|_, w, _| w.reshape([n, 3]))),
    ("reshape to nothing", |n| traced(|_, w, _| w.reshape([n, n, n, 0]))),
    ("sum_axes", |n| traced(|_, w, _| w.sum_axes(&[n]))),
    ("max_axes", |n| traced(|_, w, _| w.max_axes(&[n]))),
    ("permute", |n| traced(|_, w, _| w.permute(&[n]))),
    ("window size", |n| traced(|_, w, _| w.patches(&[Window::new(0, n)], 0.0))),
    ("window axis", |n| traced(|_, w, _| w.patches(&[Window::new(n, 2)], 0.0))),
    ("window dilation", |n| traced(|_, w, _| w.patches(&[Window::new(0, 2).dilation(n)], 0.0))),
    ("window padding", |n| traced(|_, w, _| w.patches(&[Window::new(0, 2).pad(n, n)], 0.0).exp())),
    ("outer products", |n| {
        let loss = Func::trace(spec([3]), spec([n]), |tape, w, x| {
            let all = x.exp();
            tape.einsum("i,j,k->ijk", &[all, all, w.sum().broadcast_to([n])]).exp().sum()
        })?;
        loss.compile::<f64>(&cpu()).map(drop)
    }),
    ("vmap", |n| loss()?.vmap(n)?.hvp_of_sum()),
    ("vmap twice", |n| loss()?.vmap(n)?.vmap(n).map(drop)),
    ("mean", |n| loss()?.mean(n)?.hvp()?.compile::<f64>(&cpu()).map(drop)),
    ("weighted", |n| loss()?.weighted(n)?.grad()?.compile::<f64>(&cpu()).map(drop)),
    ("directional", |n| loss()?.directional(n).map(drop)),
    ("jacfwd", |n| Func::trace(spec([n]), spec([]), |_, w, x| w * x)?.jacfwd().map(drop)),
    ("jacrev", |n| Func::trace(spec([n]), spec([]), |_, w, x| w * x)?.jacrev().map(drop)),
    ("hessian", |n| Func::trace(spec([n]), spec([]), |_, w, x| x * w.square().sum())?.hessian().map(drop)),
    ("moments", |n| loss()?.moments::<f64>(n, Request::gradient().and_hvp(), &cpu()).map(|p| drop(p.moments()))),
    ("means", |n| loss()?.means::<f32>(n, Request::gradient().and_hvp(), &cpu()).map(drop)),
    ("full array", |n| given(Array::full([n], 1.0), n)),
    ("array of a function", |n| given(Array::from_fn([n, 1], |i| i as f64), n)),
    ("array of values", |n| Array::new([n, 2], vec![1.0; 2]).map(drop)),
    ("array of indices", |n| Array::<f64>::index([n, n], vec![1]).map(drop)),
    ("gather", |n| {
        let examples = Examples::new(spec([]), Array::new([2], vec![1.0, 2.0])?)?;
        examples.gather(&[n + usize::from(n == 0) * 2], &mut Batch::default())
    }),
    ("minibatches", |n| {
        let rows = Batches::new(n, 2, 0).next_rows().len();
        if rows > 0 { Ok(()) } else { Err(Error::State("no rows".into())) }
    }),
];

/// What may succeed.
const TAKEN: &[Door] = &[
    ("window stride", |n| traced(|_, w, _| w.patches(&[Window::new(0, 2).stride(n)], 0.0))),
    ("window as large", |n| {
        let window = Window::new(0, n).stride(n).same(n);
        traced(|_, w, _| w.patches(&[window], 0.0))
    }),
    ("long vectors", |n| {
        let loss = Func::trace(spec([n]), spec([n]), |_, w, x| (w * x).exp().sum())?;
        loss.hvp()?.compile::<f32>(&cpu())?.peak_bytes();
        loss.hvp()?.compile::<f64>(&Device::reference()).map(drop)
    }),
    ("an ensemble", |n| loss()?.vmap_where(n, |path| path == "params")?.compile::<f64>(&cpu()).map(drop)),
    ("sweep", |n| {
        let step = Func::<Spec, Vec<Spec>, Vec<Spec>>::trace_tree(spec([1]), vec![spec([2])], |_, s, v| {
            vec![s.at(0, 0) * v[0]]
        });
        step?.sweep::<f32>(n).map(drop)
    }),
    ("a budget", |n| {
        let small = loss()?.moments_within::<f64>(8, Request::gradient(), &cpu(), Budget::mib(n));
        match small {
            // No memory holds nothing.
            Err(Error::Budget { .. }) if n == 0 => Ok(()),
            other => other.map(drop),
        }
    }),
    ("size of minibatches", |n| {
        assert_eq!(Batches::new(3, n, 0).next_rows().len(), n.clamp(1, 3));
        Ok(())
    }),
];

fn loss() -> Result<Func<Spec, Spec, Spec>> {
    Func::trace(spec([3]), spec([3]), |_, w, x| (w.dot(x)).tanh().exp())
}

trait OfSum {
    fn hvp_of_sum(&self) -> Result<()>;
}

impl OfSum for Func<Spec, Spec, Spec> {
    fn hvp_of_sum(&self) -> Result<()> {
        let sum = self.dot_output()?.hvp()?;
        sum.compile::<f64>(&cpu()).map(drop)
    }
}

/// Runs a program on an array that may not be there.
fn given(array: Array<f64>, n: usize) -> Result<()> {
    assert_eq!(array.shape()[0], n);
    let func = Func::trace(spec(array.shape()), spec([]), |_, w, x| w.sum() * x)?;
    func.compile::<f64>(&cpu())?.run(&array, &Array::scalar(1.0)).map(drop)
}

#[test]
fn every_door() {
    for (doors, refused) in [(REFUSED, true), (TAKEN, false)] {
        for (name, door) in doors {
            for size in SIZES {
                let went = catch_unwind(AssertUnwindSafe(|| door(size)));
                let Ok(went) = went else { panic!("{name} of {size} panics") };
                if refused && is_huge(size) {
                    let error = went.expect_err(&format!("{name} of {size}"));
                    let text = error.to_string();
                    // Errors of transforms and of expressions are the user's, not the engine's.
                    assert!(!text.contains("engine/src"), "{name} of {size}: {text}");
                }
            }
        }
    }
}

/// What is refused says what would be needed, and where.
#[test]
fn words() {
    let text = |result: Result<()>| result.expect_err("a refusal").to_string();
    let many = text(loss().and_then(|f| f.vmap(1 << 62)).map(drop));
    assert!(many.contains("vmap at tests/sizes.rs") && many.contains("more elements than can be counted"), "{many}");
    let tall = Func::trace(spec([1 << 22, 2]), spec([2, 1 << 22]), |_, w, x| w.dot(x).tanh().sum());
    let memory = text(tall.and_then(|f| f.compile::<f64>(&cpu())).map(drop));
    assert!(memory.contains("would take 140737488355") && memory.contains("[4194304, 4194304]"), "{memory}");
    let array = text(given(Array::full([usize::MAX], 1.0), usize::MAX));
    assert!(array.contains("at most 1152921504606846975 elements"), "{array}");
    let array = text(given(Array::full([1 << 45], 1.0), 1 << 45));
    assert!(array.contains("params, [35184372088832], would take 281474976710656 bytes"), "{array}");
}
