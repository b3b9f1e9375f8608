//! Minibatches of any size: none, many, and as large as a budget holds.

#[path = "support/variants.rs"]
mod variants;

use osculate::nn::models::{ThreeCThreeD, mlp};
use osculate::nn::{Init, Mlp, cross_entropy};
use osculate::optim::{self, FirstOrder, Minibatches, Optimizer, Oracle, first_order::Config};
use osculate::{
    Array, Batch, Budget, Device, Error, Examples, Expr, Flat, Func, In, Moments, Out, Request, Rng, Signature, Spec,
    label, spec,
};
use variants::{made, variants};

type Data = (Spec, Spec);

fn classifier<P, F>(model: &P, input: &[usize], classes: usize, logits: F) -> Func<Vec<Spec>, Data, Spec>
where
    P: Signature,
    F: for<'t> Fn(P::With<Expr<'t>>, Expr<'t>) -> Expr<'t>,
{
    let data = (spec(input.to_vec()), label(classes));
    let loss = Func::trace(model.clone(), data, |_, p, (x, y)| cross_entropy(logits(p, x), y));
    loss.and_then(|loss| loss.listed()).expect("a trace")
}

fn dense(widths: &[usize]) -> Func<Vec<Spec>, Data, Spec> {
    let classes = widths[widths.len() - 1];
    classifier(&Mlp::new(widths), &widths[..1], classes, |p, x| p.apply(x, |h| h.tanh()))
}

fn examples(n: usize, inputs: usize, classes: usize) -> Examples<Data, f64> {
    let rng = &mut Rng::new(n as u64);
    let x = Array::from_fn([n, inputs], |_| rng.normal());
    let y = Array::index([n], (0..n).map(|i| (i * 7 % classes) as u32).collect()).expect("labels");
    Examples::new((spec([inputs]), label(classes)), (x, y)).expect("examples")
}

fn start(widths: &[usize], seed: u64) -> Vec<f64> {
    let model = Mlp::new(widths);
    let tree = Init::LecunNormal.tree::<f64, _>(&model, &mut Rng::new(seed)).expect("values");
    Flat::pack(&model, &tree).expect("a buffer").values().to_vec()
}

/// What a program takes at the most, or the least that it could be given.
fn peak(loss: &Func<Vec<Spec>, Data, Spec>, n: usize, request: Request, budget: Budget) -> Result<usize, usize> {
    match loss.moments_within::<f32>(n, request, &Device::cpu(), budget) {
        Ok(program) => Ok(program.peak_bytes()),
        Err(Error::Budget { limit, least }) => {
            assert_eq!(Some(limit), budget.limit());
            Err(least)
        }
        Err(other) => panic!("{other}"),
    }
}

/// Within a budget or refused; the least is enough; more never means less; and a larger one never costs less than a smaller.
fn budgets(name: &str, loss: &Func<Vec<Spec>, Data, Spec>, n: usize, request: Request, steps: usize) {
    let whole = peak(loss, n, request, Budget::default()).expect("no limit");
    let least = peak(loss, n, request, Budget::bytes(0)).expect_err("nothing fits no memory");
    assert!(least <= whole, "{name}");
    let mut last = 0;
    println!("{name}, n {n}: from {least} to {whole} bytes");
    let budget = |step: usize| least + (whole - least) * step / steps;
    for budget in [least - 1].into_iter().chain((0..=steps).map(budget)).chain([whole - 1, whole, 1 << 36]) {
        match peak(loss, n, request, Budget::bytes(budget)) {
            Ok(peak) => {
                println!("    budget {budget}: {peak}");
                assert!(peak <= budget && peak <= whole, "{name}, n {n}: {peak} within {budget}");
                assert!(peak >= last || budget == whole - 1, "{name}, n {n}: {last}, then {peak} within {budget}");
                last = peak;
            }
            Err(needed) => assert!(needed == least && budget < least, "{name}, n {n}: {needed} of {least}"),
        }
    }
    assert_eq!(peak(loss, n, request, Budget::bytes(1 << 36)), Ok(whole), "{name}");
}

#[test]
fn a_smaller_budget_never_costs_more() {
    let everything = Request::gradient().and_hvp().and_elementwise().and_inner();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            for n in [1, 2, 5, 16, 43, 100] {
                budgets("small", &dense(&[20, 30, 5]), n, everything, 24);
                budgets("thin", &dense(&[3, 200, 3]), n, Request::gradient(), 24);
            }
            let loss = classifier(&mlp(), &[784], 10, |p, x| p.apply(x, |h| h.relu()));
            budgets("mlp", &loss, 512, Request::gradient().and_hvp(), 6);
            let loss = classifier(&ThreeCThreeD::new(), &[3, 32, 32], 10, |p, x| p.apply(x));
            budgets("3c3d", &loss, 48, Request::gradient(), 6);
        });
    }
}

/// How large chunks are does not depend on the threads that are there, with a budget and without.
#[test]
fn threads_make_no_other_chunks() {
    let loss = dense(&[20, 30, 5]);
    let chunks = |threads: usize, budget: Budget| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let program = || loss.moments_within::<f32>(43, Request::gradient(), &Device::cpu(), budget);
        pool.install(program).expect("a program").chunk()
    };
    let least = peak(&loss, 43, Request::gradient(), Budget::bytes(0)).expect_err("too little");
    for budget in [Budget::default(), Budget::bytes(least), Budget::bytes(least * 5 / 4), Budget::bytes(least * 2)] {
        let one = chunks(1, budget);
        assert!([2, 3, 4, 8].into_iter().all(|threads| chunks(threads, budget) == one), "{budget:?}");
    }
}

fn is_empty<V>(what: &str, result: Result<V, Error>) {
    match result {
        Err(error @ Error::Empty { .. }) => {
            let text = error.to_string();
            assert!(text.contains("needs at least one example"), "{text}");
            assert!(text.contains("tests/minibatches.rs:"), "the user's line: {text}");
        }
        Err(other) => panic!("{what}: {other}"),
        Ok(_) => panic!("{what}: no error"),
    }
}

#[test]
fn an_empty_minibatch_is_one_clear_error() {
    let loss = dense(&[3, 4, 2]);
    let (device, request) = (Device::cpu(), Request::gradient());
    is_empty("moments", loss.moments::<f64>(0, request, &device));
    is_empty("moments", loss.moments_within::<f64>(0, request, &device, Budget::mib(1)));
    is_empty("means", loss.means::<f64>(0, request, &device));
    is_empty("means", loss.means_within::<f64>(0, request, &device, Budget::mib(1)));
    is_empty("mean", loss.mean(0));
    is_empty("vmap", loss.vmap(0));
    is_empty("vmap", loss.vmap_where(0, |_| true));
    let data = examples(4, 3, 2);
    let full = data.all().expect("a batch");
    let mut batch = full.clone();
    is_empty("gather", data.gather(&[], &mut batch));
    is_empty("rows", batch.copy_rows(&full, 2..2));
    assert_eq!(batch, full, "nothing is changed");
    let none = Batch::default();
    is_empty("feed", none.feed([In::Real(&[])], |_| Ok(())));
    let at = start(&[3, 4, 2], 1);
    let mut program = loss.moments::<f64>(4, request, &device).expect("a program");
    let mut moments = program.moments();
    is_empty("run", program.run(&at, None, &none, &mut moments));
    let mut program = loss.means::<f64>(4, request, &device).expect("a program");
    is_empty("run", program.run(&at, None, &none, Some(&mut at.clone()), None));
    is_empty("run", program.run_sized(&at, None, &none, Some(&mut at.clone()), None));
}

/// And of every optimizer, at its first step and later; neither parameters nor state are changed.
#[test]
fn no_optimizer_steps_on_nothing() {
    let widths = [3, 4, 2];
    let (loss, data) = (dense(&widths), examples(8, 3, 2).all().expect("a batch"));
    let none = Batch::default();
    for (name, of, set) in variants() {
        let mut params = start(&widths, 1);
        let mut optimizer = made::<f64>(of, &set, params.len());
        let mut oracles = Minibatches::new(&loss, &Device::cpu());
        for step in 0..3 {
            let (before, state) = (params.clone(), optimizer.save());
            match optimizer.step(&mut params, &mut oracles.on(&none).of(&data)) {
                Err(optim::Error::Engine(error)) => is_empty(&name, Err::<(), _>(error)),
                other => panic!("{name}, step {step}: {other:?}"),
            }
            assert_eq!(params, before, "{name}, step {step}");
            assert!(optimizer.save() == state, "{name}, step {step}: its state is changed");
            optimizer.step(&mut params, &mut oracles.on(&data).of(&data)).expect("a step");
        }
    }
}

/// Every answer about a minibatch of any size, taken in pieces or not, is that of one program for all of it.
#[test]
fn pieces_answer_as_one() {
    let widths = [5, 6, 3];
    let (loss, device) = (dense(&widths), Device::cpu());
    let (at, v) = (start(&widths, 1), start(&widths, 2));
    let d = at.len();
    let mut oracles = Minibatches::new(&loss, &device);
    for n in [2, 16, 17, 19, 63, 127, 203] {
        let batch = examples(n, 5, 3).all().expect("a batch");
        let close = |what: &str, got: &[f64], want: &[f64]| {
            let scale = want.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
            assert_eq!(got.len(), want.len());
            for (got, want) in got.iter().zip(want) {
                assert!((got - want).abs() <= 1e-12 * scale, "n {n}, {what}: {got} instead of {want}");
            }
        };
        let request = Request::gradient().and_hvp().and_elementwise().and_inner();
        let mut program = loss.moments::<f64>(n, request, &device).expect("a program");
        let mut want = program.moments();
        program.run(&at, Some(&v), &batch, &mut want).expect("a run");
        let mean = |sum: &[f64]| sum.iter().map(|x| x / n as f64).collect::<Vec<f64>>();
        let (g, h) = (mean(&want.gradient().expect("g").sum), mean(&want.hvp().expect("h").sum));
        let mut oracle = oracles.on(&batch).of(&batch);
        close("loss", &[oracle.loss(&at).expect("a loss")], &[want.loss()]);
        let mut into = vec![f64::NAN; d];
        close("loss", &[oracle.gradient(&at, &mut into).expect("a gradient")], &[want.loss()]);
        close("gradient", &into, &g);
        into.fill(f64::NAN);
        assert!(oracle.checked_gradient(&at, &mut into).expect("a gradient").1.is_finite());
        close("gradient", &into, &g);
        oracle.whole_gradient(&at, &mut into).expect("a gradient");
        close("whole gradient", &into, &g);
        oracle.hvp(&at, &v, &mut into).expect("a product");
        close("Hv", &into, &h);
        let along = |x: &[f64]| x.iter().zip(&v).map(|(x, v)| x * v).sum::<f64>();
        let directional = oracle.directional(&at, &v, 3).expect("derivatives");
        close("directional", &directional[..3], &[want.loss(), along(&g), along(&h)]);
        let (mut gradients, mut products) = (vec![0.0; n * d], vec![0.0; n * d]);
        oracle.per_example(&at, Some(&v), &mut gradients, &mut products).expect("rows");
        let total =
            |rows: &[f64]| (0..d).map(|j| rows[j..].iter().step_by(d).sum::<f64>() / n as f64).collect::<Vec<_>>();
        close("rows", &total(&gradients), &g);
        close("rows of Hv", &total(&products), &h);
        assert!(oracle.per_example(&at, None, &mut gradients[1..], &mut []).is_err());
        for _ in 0..2 {
            let got = oracle.moments(&at, Some(&v), request).expect("moments");
            assert_eq!((got.count(), got.losses().len()), (n, n));
            close("losses", got.losses(), want.losses());
            close("sum", &got.gradient().expect("g").sum, &want.gradient().expect("g").sum);
            close("norms", &got.hvp().expect("h").norms.totals(), &want.hvp().expect("h").norms.totals());
            close("slopes", &got.inner().expect("i").slopes.totals(), &want.inner().expect("i").slopes.totals());
            let variances =
                |m: &Moments<f64>| [m.gradient_variance().expect("v").value, m.hvp_variance().expect("v").value];
            close("variances", &variances(got), &variances(&want));
        }
        // An infinity in the last piece alone is seen.
        let mut bad = at.clone();
        bad[0] = f64::NAN;
        assert!(!oracles.on(&batch).checked_gradient(&bad, &mut into).expect("a gradient").1.is_finite());
    }
}

/// Sizes as Poisson sampling draws them: a few programs, and the same bits whatever was asked before.
#[test]
fn many_sizes_share_few_programs() {
    let widths = [5, 6, 3];
    let (loss, at) = (dense(&widths), start(&widths, 1));
    let rng = &mut Rng::new(3);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let mut gradients: Vec<(usize, Vec<f64>)> = Vec::new();
    let gradient = |oracles: &mut Minibatches<Data, f64>, n: usize| {
        let batch = examples(n, 5, 3).all().expect("a batch");
        let mut into = vec![0.0; at.len()];
        oracles.on(&batch).gradient(&at, &mut into).expect("a gradient");
        into
    };
    for _ in 0..200 {
        let n = (128.0 + 128f64.sqrt() * rng.normal()).round() as usize;
        gradients.push((n, gradient(&mut oracles, n)));
    }
    let mut sizes: Vec<usize> = gradients.iter().map(|(n, _)| *n).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let compiled = oracles.compiled();
    println!("{} sizes, {compiled} programs", sizes.len());
    assert!(sizes.len() > 40 && compiled <= 25, "{} sizes, {compiled} programs", sizes.len());
    for (n, want) in gradients.iter().rev().take(50) {
        assert_eq!(&gradient(&mut Minibatches::new(&loss, &Device::cpu()), *n), want, "{n}");
    }
    // All sizes there are, twice: what is kept is bounded, what is dropped is made again, and nothing else changes.
    let all: Vec<Vec<f64>> = (1..=300).map(|n| gradient(&mut oracles, n)).collect();
    assert!((1..=300).rev().all(|n| gradient(&mut oracles, n) == all[n - 1]));
    // One size is compiled once.
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let batch = examples(100, 5, 3).all().expect("a batch");
    let (mut params, mut sgd) = (at.clone(), FirstOrder::new(at.len(), Config::sgd()).expect("an optimizer"));
    for _ in 0..5 {
        sgd.step(&mut params, &mut oracles.on(&batch)).expect("a step");
    }
    assert_eq!(oracles.compiled(), 1);
}

/// An output marked wide is f64 where it is read.
#[test]
fn wide_outputs() {
    let f = Func::trace(spec([3]), spec([]), |_, w, x| (w * x).sum()).expect("a trace").wide(|_| true).expect("wide");
    let mut program = f.compile::<f32>(&Device::cpu()).expect("a program");
    let (w, x) = (vec![1.0f32, 1e-5, 1e-9], vec![1.0f32]);
    let mut value = [0.0];
    program.run_flat(&[In::Real(&w), In::Real(&x)], &mut [Out::Wide(&mut value)]).expect("a run");
    let want: f64 = w.iter().map(|&w| f64::from(w)).sum();
    assert_eq!(value, [want]);
}
