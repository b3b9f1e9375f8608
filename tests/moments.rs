//! Moments: against the materialised computation, as a monoid, and their numerics.

mod support;

use osculate::nn::{Init, Mlp, cross_entropy};
use osculate::{
    Array, Batch, Budget, Device, Error, Examples, Flat, Form, Func, Layout, Moments, MomentsProgram, Real, Request,
    Result, Rng, Size, Spec, Tree, Window, label, spec, tree,
};
use proptest::prelude::*;
use support::*;

type Data = (Spec, Spec);

fn classifier(widths: &[usize]) -> (Mlp<Spec>, Func<Mlp<Spec>, Data, Spec>) {
    let model = Mlp::new(widths);
    let data = (spec([widths[0]]), label(widths[widths.len() - 1]));
    let loss = Func::trace(model.clone(), data, |_, p, (x, y)| cross_entropy(p.apply(x, |h| h.tanh()), y));
    (model, loss.expect("a trace"))
}

fn examples<T: Real>(n: usize, inputs: usize, classes: usize, rng: &mut Rng) -> Examples<Data, T> {
    let x = Array::from_fn([n, inputs], |_| T::from_f64(rng.normal()));
    let y = Array::index([n], (0..n).map(|i| (i * 7 % classes) as u32).collect()).expect("labels");
    Examples::new((spec([inputs]), label(classes)), (x, y)).expect("examples")
}

fn weights<T: Real>(model: &Mlp<Spec>, seed: u64) -> Vec<T> {
    let tree = Init::LecunNormal.tree::<T, _>(model, &mut Rng::new(seed)).expect("values");
    Flat::pack(model, &tree).expect("a buffer").values().to_vec()
}

fn everything() -> Request {
    Request::gradient().and_hvp().and_elementwise().and_inner()
}

/// The moments of some rows, in f64.
fn of(
    loss: &Func<Mlp<Spec>, Data, Spec>,
    data: &Examples<Data, f64>,
    rows: &[usize],
    at: &[f64],
    v: &[f64],
) -> Result<Moments<f64>> {
    let mut batch = Batch::default();
    data.gather(rows, &mut batch)?;
    let mut program = loss.moments::<f64>(rows.len(), everything(), &Device::cpu())?;
    let mut moments = program.moments();
    program.run(at, Some(v), &batch, &mut moments)?;
    Ok(moments)
}

fn near(got: f64, want: f64, tolerance: f64) -> bool {
    (got - want).abs() <= tolerance * want.abs().max(1e-12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every statistic equals that of the materialised per-example vectors, and merging is adding.
    #[test]
    fn against_materialised_vectors(seed in any::<u64>(), n in 2usize..9, cut in 1usize..8) {
        let (model, loss) = classifier(&[3, 4, 3]);
        let rng = &mut Rng::new(seed);
        let data = examples::<f64>(n, 3, 3, rng);
        let (at, v) = (weights::<f64>(&model, seed), weights::<f64>(&model, seed ^ 1));
        let rows: Vec<usize> = (0..n).collect();
        let moments = of(&loss, &data, &rows, &at, &v)?;

        // One example at a time, through the flat program of the Hessian-vector product.
        let mut each = loss.hvp().unwrap().compile::<f64>(&Device::cpu()).unwrap();
        let (mut gs, mut hs) = (Vec::new(), Vec::new());
        for &row in &rows {
            let mut batch = Batch::default();
            data.gather(&[row], &mut batch).unwrap();
            let (mut g, mut h) = (vec![0.0; at.len()], vec![0.0; at.len()]);
            let inputs = [osculate::In::Real(&at), osculate::In::Real(&v)];
            let mut outputs = [osculate::Out::Real(&mut g), osculate::Out::Real(&mut h)];
            batch.feed(inputs, |inputs| each.run_flat(inputs, &mut outputs)).unwrap();
            gs.push(g);
            hs.push(h);
        }
        for (sums, vectors, variance, parts, each) in [
            (
                moments.gradient()?,
                &gs,
                moments.gradient_variance()?,
                moments.gradient_variances()?,
                moments.gradient_elementwise_variance()?,
            ),
            (moments.hvp()?, &hs, moments.hvp_variance()?, moments.hvp_variances()?, moments.hvp_elementwise_variance()?),
        ] {
            let d = at.len();
            let mut spreads = Vec::new();
            for j in 0..d {
                let column: Vec<f64> = vectors.iter().map(|x| x[j]).collect();
                let sum: f64 = column.iter().sum();
                prop_assert!((sums.sum[j] - sum).abs() < 1e-12);
                let second: f64 = column.iter().map(|x| x * x).sum();
                spreads.push(column.iter().map(|x| (x - sum / n as f64).powi(2)).sum::<f64>() / (n - 1) as f64);
                prop_assert!((each[j].value - spreads[j]).abs() < 1e-12 * second.max(1.0));
            }
            for (norm, x) in sums.norms.totals().iter().zip(vectors) {
                prop_assert!(near(*norm, x.iter().map(|v| v * v).sum(), 1e-12));
            }
            let mean = |s: &[f64]| s.iter().sum::<f64>() / s.len() as f64;
            prop_assert!(near(variance.value, mean(&spreads), 1e-10));
            prop_assert!(variance.trusted && variance.amplification >= 1.0 - 1e-12);
            for (segment, part) in moments.layout().segments().iter().zip(parts) {
                prop_assert!((part.value - mean(&spreads[segment.range()])).abs() < 1e-12);
            }
        }

        let inner = moments.inner()?;
        for i in 0..n {
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            // Rounding is of what is added up.
            let size = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x * y).abs()).sum::<f64>().max(1.0);
            for (of, x, y) in [(&inner.slopes, &gs[i], &v), (&inner.crossings, &gs[i], &hs[i]), (&inner.curvatures, &hs[i], &v)] {
                prop_assert_eq!(of.count(), n);
                for (segment, got) in moments.layout().segments().iter().zip(of.example(i)) {
                    let (x, y) = (&x[segment.range()], &y[segment.range()]);
                    prop_assert!((got - dot(x, y)).abs() < 1e-12 * size(x, y));
                }
                prop_assert!((of.totals()[i] - dot(x, y)).abs() < 1e-12 * size(x, y));
            }
        }

        // Chunks of any size, merged in order.
        let mut merged = Moments::empty(moments.layout().clone(), everything());
        for chunk in rows.chunks(cut) {
            merged.merge(&of(&loss, &data, chunk, &at, &v)?)?;
        }
        prop_assert_eq!(merged.count(), n);
        prop_assert!(near(merged.loss(), moments.loss(), 1e-12));
        prop_assert!(near(merged.loss_variance()?, moments.loss_variance()?, 1e-9));
        prop_assert!(near(merged.gradient_variance()?.value, moments.gradient_variance()?.value, 1e-10));
        prop_assert!(near(merged.hvp_variance()?.value, moments.hvp_variance()?.value, 1e-10));
        let (variance, along) = moments.hvp_variance_along(&moments.gradient()?.sum)?;
        prop_assert!(variance == moments.hvp_variance()?);
        prop_assert!(along == osculate::dot(&moments.gradient()?.sum, &moments.hvp()?.sum));
        prop_assert!(moments.hvp_variance_along(&[]).is_err());
        for (got, want) in merged.inner()?.crossings.totals().iter().zip(moments.inner()?.crossings.totals()) {
            prop_assert!((got - want).abs() < 1e-12 * want.abs().max(1.0));
        }
    }
}

#[test]
fn only_what_was_asked_for() {
    let (model, loss) = classifier(&[3, 4, 3]);
    let all = loss.moments::<f32>(16, everything(), &Device::cpu()).expect("a program");
    let some = loss.moments::<f32>(16, Request::gradient(), &Device::cpu()).expect("a program");
    let losses = loss.moments::<f32>(16, Request::default(), &Device::cpu()).expect("a program");
    assert!(losses.peak_bytes() < some.peak_bytes() && some.peak_bytes() < all.peak_bytes());
    assert!(some.moments().hvp().is_err() && losses.moments().gradient().is_err());
    let mut other = some.moments();
    assert!(other.merge(&all.moments()).is_err());
    assert_eq!(
        some.moments().layout().len(),
        Flat::<_, f32>::pack(&model, &model.map("", |_, s| Ok(Array::full(&s.shape, 0.0))).expect("zeros"))
            .expect("a buffer")
            .values()
            .len()
    );
}

tree! { struct Pair { w, b } }

/// f32 gradients whose spread is a small part of their mean, against the two-pass value in f64.
#[test]
fn a_small_variance_is_exact_or_flagged() {
    let (inputs, outputs, n) = (512, 1024, 128);
    let params = Pair { w: spec([inputs, outputs]), b: spec([outputs]) };
    // The gradient is the outer product of x and of r, both nearly the same for all examples.
    let loss =
        Func::trace(params, (spec([inputs]), spec([outputs])), |_, p, (x, r)| (x.dot(p.w) * r).sum() + (p.b * r).sum());
    let loss = loss.expect("a trace");
    for (noise, exact) in [(1e-1, 1e-6), (1e-2, 1e-4), (1e-3, 1e-3), (1e-4, f64::NAN), (1e-5, f64::NAN)] {
        let rng = &mut Rng::new(1);
        let base = |len: usize, rng: &mut Rng| (0..len).map(|_| 1.0 + 0.5 * rng.normal()).collect::<Vec<_>>();
        let (a, b) = (base(inputs, rng), base(outputs, rng));
        let near = |of: &[f64], rng: &mut Rng| -> Array<f32> {
            Array::from_fn([n, of.len()], |i| (of[i % of.len()] * (1.0 + noise * rng.normal())) as f32)
        };
        let (x, r) = (near(&a, rng), near(&b, rng));
        // Two passes in f64 over what the f32 program sees.
        let at = |array: &Array<f32>, i: usize, j: usize| f64::from(array.values()[i * array.shape()[1] + j]);
        let mut m2 = 0.0;
        for j in 0..=inputs {
            for k in 0..outputs {
                let value = |i: usize| (if j == inputs { 1.0 } else { at(&x, i, j) }) * at(&r, i, k);
                let mean = (0..n).map(value).sum::<f64>() / n as f64;
                m2 += (0..n).map(|i| (value(i) - mean).powi(2)).sum::<f64>();
            }
        }
        let want = m2 / (n - 1) as f64 / ((inputs + 1) * outputs) as f64;
        let batch = Examples::new((spec([inputs]), spec([outputs])), (x, r)).and_then(|e| e.all()).expect("a batch");
        let mut program = loss.moments::<f32>(n, Request::gradient(), &Device::cpu()).expect("a program");
        let mut moments = program.moments();
        program.run(&vec![0.0; (inputs + 1) * outputs], None, &batch, &mut moments).expect("a run");
        let variance = moments.gradient_variance().expect("a variance");
        assert!(variance.value >= 0.0);
        let error = (variance.value / want - 1.0).abs();
        println!("noise {noise:e}: error {error:.1e}, amplification {:.1e}", variance.amplification);
        if exact.is_nan() {
            assert!(error <= 1e-3 || !variance.trusted, "noise {noise:e}: silently wrong by {error:e}");
        } else {
            assert!(error <= exact, "noise {noise:e}: {error:e}");
            assert!(variance.trusted == (variance.amplification * 2f64.powi(-24) <= 1e-2));
        }
    }
}

/// Shared weights, slices, ties, labels: the moments of random functions are those of their vectors.
#[test]
fn random_functions() {
    for seed in 0..40 {
        let f = random_function(seed, 8, true);
        let rng = &mut Rng::new(seed);
        let p = arrays(f.params(), rng);
        let n = 3;
        let scalar = Func::trace(f.params().clone(), (f.data()[0].clone(), f.data()[1].clone()), |tape, p, (x, y)| {
            f.call(tape, &p, &vec![x, y]).iter().fold(tape.lit(0.0), |sum, o| sum + o.sum())
        })
        .expect("a trace");
        let flat: Vec<f64> = p.iter().flat_map(|a| a.values().to_vec()).collect();
        let data = arrays(&batched(f.data(), n), rng);
        let examples = Examples::new(scalar.data().clone(), (data[0].clone(), data[1].clone())).expect("examples");
        let mut program = scalar.moments::<f64>(n, everything(), &Device::cpu()).expect("a program");
        let mut moments = program.moments();
        program.run(&flat, Some(&flat), &examples.all().expect("a batch"), &mut moments).expect("a run");
        let mut hvp =
            scalar.hvp().expect("hvp").vmap(n).expect("a batch").compile::<f64>(&Device::cpu()).expect("a program");
        let (g, h) = hvp.run(&(p.clone(), p), &(data[0].clone(), data[1].clone())).expect("a run");
        for (sums, each) in [(moments.gradient().expect("g"), g), (moments.hvp().expect("h"), h)] {
            let norms = |i: usize| {
                each.iter()
                    .map(|a| {
                        a.values()[i * a.values().len() / n..][..a.values().len() / n]
                            .iter()
                            .map(|v| v * v)
                            .sum::<f64>()
                    })
                    .sum::<f64>()
            };
            for i in 0..n {
                assert!(near(sums.norms.totals()[i], norms(i), 1e-11), "seed {seed}");
            }
        }
    }
}

/// The least budget that a program can be held in.
fn least<V>(make: impl Fn(Budget) -> Result<V>) -> Budget {
    match make(Budget::bytes(0)) {
        Err(Error::Budget { least, .. }) => Budget::bytes(least),
        _ => panic!("nothing fits no memory"),
    }
}

/// A small budget makes chunks; they change no result, and threads change no bit.
#[test]
fn chunks_within_a_budget() {
    let (model, loss) = classifier(&[20, 30, 5]);
    let (at, v) = (weights::<f32>(&model, 1), weights::<f32>(&model, 2));
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    for n in [9, 16, 43, 100] {
        let batch = examples::<f32>(n, 20, 5, &mut Rng::new(3)).all().expect("a batch");
        let make = |budget| loss.moments_within::<f32>(n, everything(), &Device::cpu(), budget);
        let whole = make(Budget::default()).expect("a program");
        assert_eq!(whole.chunk(), n);
        let least = least(make).limit().expect("a limit");
        for budget in [least, least + (whole.peak_bytes() - least) / 2] {
            let chunked = pool(4).install(|| make(Budget::bytes(budget))).expect("a program");
            assert!(chunked.chunk() < n, "{n}: {}", chunked.chunk());
            let run = |program: &MomentsProgram<f32>, threads: usize| {
                let mut program = program.clone();
                let mut moments = program.moments();
                pool(threads).install(|| program.run(&at, Some(&v), &batch, &mut moments)).expect("a run");
                // Again, over what is there.
                pool(threads).install(|| program.run(&at, Some(&v), &batch, &mut moments)).expect("a run");
                moments
            };
            let one = run(&chunked, 1);
            assert_eq!(one, run(&chunked, 2));
            assert_eq!(one, run(&chunked, 4));
            let all = run(&whole, 2);
            assert_eq!((one.count(), one.losses().len()), (n, n));
            assert!(near(one.loss(), all.loss(), 1e-6));
            assert!(near(one.gradient_variance().expect("v").value, all.gradient_variance().expect("v").value, 1e-5));
            assert!(near(one.hvp_variance().expect("v").value, all.hvp_variance().expect("v").value, 1e-5));
        }
    }
    // With the smallest chunks an example adds itself and its numbers (84 and at most 2 × 168 bytes), never a vector (3140).
    let bytes = |n: usize| {
        least(|budget| loss.moments_within::<f32>(n, everything(), &Device::cpu(), budget)).limit().expect("a limit")
    };
    assert!(bytes(512) - bytes(128) <= 384 * 420 && bytes(128) - bytes(64) <= 64 * 420);
    let text = loss.moments::<f32>(16, everything(), &Device::cpu()).expect("a program").plan();
    assert!(text.contains("gradient of params.layers.0.w [20, 30]: factored: 1 term(s), 1 product(s)"), "{text}");
    assert!(text.contains("matmul"));
}

/// Means in one program and in chunks are those of the mean loss, whatever is asked for.
#[test]
fn means_of_chunks() {
    let (model, loss) = classifier(&[5, 7, 3]);
    let (at, v) = (weights::<f64>(&model, 1), weights::<f64>(&model, 2));
    let device = Device::cpu();
    for n in [1, 2, 7, 13, 32] {
        let batch = examples::<f64>(n, 5, 3, &mut Rng::new(n as u64)).all().expect("a batch");
        let mean = loss.mean(n).expect("a mean");
        let (mut value, mut g, mut h) = ([0.0], vec![0.0; at.len()], vec![0.0; at.len()]);
        let mut gradient = mean.value_and_grad().expect("a gradient").compile::<f64>(&device).expect("a program");
        let mut outputs = [osculate::Out::Real(&mut value), osculate::Out::Real(&mut g)];
        batch.feed([osculate::In::Real(&at)], |inputs| gradient.run_flat(inputs, &mut outputs)).expect("a run");
        let mut product = mean.hvp().and_then(|f| f.second()).expect("a product").compile::<f64>(&device).expect("one");
        let both = [osculate::In::Real(&at), osculate::In::Real(&v)];
        batch.feed(both, |inputs| product.run_flat(inputs, &mut [osculate::Out::Real(&mut h)])).expect("a run");
        for whole in [true, false] {
            for (with_g, with_h) in [(true, false), (false, true), (true, true), (false, false)] {
                let mut request = Request::default();
                (request.gradient, request.hvp) = (with_g, with_h);
                let make = |budget| loss.means_within::<f64>(n, request, &device, budget);
                let mut means = make(if whole { Budget::default() } else { least(make) }).expect("means");
                assert!(if whole { means.chunk() == n } else { means.chunk() < n || n < 13 });
                let mut got = [vec![f64::NAN; at.len()], vec![f64::NAN; at.len()]];
                let [into_g, into_h] = &mut got;
                // Twice: what is there is overwritten.
                for _ in 0..2 {
                    let along = with_h.then_some(&v[..]);
                    let (into_g, into_h) = (with_g.then_some(&mut into_g[..]), with_h.then_some(&mut into_h[..]));
                    let loss = means.run(&at, along, &batch, into_g, into_h).expect("a run");
                    assert!(near(loss, value[0], 1e-12), "{loss} {}", value[0]);
                }
                for (got, want) in got.iter().zip([&g, &h]).zip([with_g, with_h]).filter_map(|(x, w)| w.then_some(x)) {
                    let scale = want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
                    assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() <= 1e-12 * scale), "n {n}");
                }
                // Missing or unasked vectors, wrong lengths and other minibatches are refused.
                let mut short = vec![0.0; 3];
                assert!(means.run(&at, None, &batch, Some(&mut short), Some(&mut h.clone())).is_err());
                if with_g && !with_h {
                    assert!(means.run(&at, None, &batch, Some(&mut short), None).is_err());
                    assert!(means.run(&at, None, &batch, None, None).is_err());
                    let other = examples::<f64>(n + 1, 5, 3, &mut Rng::new(0)).all().expect("a batch");
                    assert!(means.run(&at, None, &other, Some(&mut g.clone()), None).is_err());
                }
            }
        }
    }
}

/// Whether loss and gradient are finite is told of one program, of chunks with a rest, and on the reference device.
#[test]
fn means_that_are_not_finite() {
    // The gradient of √w is infinite at 0, its value is not.
    let loss = Func::trace(spec([3]), spec([3]), |_, w, x| (w.sqrt() * x).sum()).expect("a trace");
    for n in [1, 4, 19] {
        let x = Array::from_fn([n, 3], |i| 1.0 + i as f64);
        let batch = Examples::<_, f64>::new(spec([3]), x).and_then(|examples| examples.all()).expect("a batch");
        for (device, whole) in [Device::cpu(), Device::Reference].map(|d| [(d, true), (d, false)]).concat() {
            let make = |budget| loss.means_within::<f64>(n, Request::gradient(), &device, budget);
            let mut means = make(if whole { Budget::default() } else { least(make) }).expect("means");
            let mut g = [0.0; 3];
            let mut run = |w: [f64; 3]| means.run_sized(&w, None, &batch, Some(&mut g), None).expect("a run");
            assert_eq!(run([1.0, 4.0, 9.0]).1, Size::Moderate);
            let (value, size) = run([1.0, 0.0, 4.0]);
            assert!(value.is_finite() && !size.is_finite(), "{n} {device:?} {whole}");
            assert!(!run([f64::NAN, 1.0, 1.0]).1.is_finite());
            assert!(run([1.0, 1.0, 1e300]).1.is_finite());
            assert_eq!(run([1.0, 1.0, 1e-320]).1, Size::Finite);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Of whatever function: sums and norms in every form are those of the vectors of single examples.
    #[test]
    fn of_random_functions(seed in any::<u64>(), ops in 1usize..12, n in 1usize..4) {
        let loss = support::random_function(seed, ops, true).dot_output().unwrap();
        let rng = &mut Rng::new(seed ^ 5);
        let mut draw = |specs: &[Spec]| support::arrays(specs, rng);
        let (at, v) = (draw(loss.params()), draw(loss.params()));
        let (d, w) = loss.data();
        let data = (draw(&support::batched(d, n)), draw(&support::batched(w, n)));
        let each = loss.hvp().unwrap().vmap(n).unwrap().compile::<f64>(&Device::cpu()).unwrap();
        let (gradients, products) = { each }.run(&(at.clone(), v.clone()), &data).unwrap();
        let flat = |arrays: &[Array<f64>]| arrays.iter().flat_map(|a| a.values().to_vec()).collect::<Vec<f64>>();
        let (at, v) = (flat(&at), flat(&v));
        let batch = Examples::new(loss.data().clone(), data).unwrap().all().unwrap();
        let request = Request::gradient().and_hvp();
        for (form, request) in [Form::Made, Form::Factored, Form::Gram, Form::Cheapest]
            .iter()
            .flat_map(|form| [(form, request.in_form(*form)), (form, request.means().in_form(*form))])
        {
            let mut program = loss.moments::<f64>(n, request, &Device::cpu()).unwrap();
            let mut moments = program.moments();
            program.run(&at, Some(&v), &batch, &mut moments).unwrap();
            for (sums, each) in [(moments.gradient().unwrap(), &gradients), (moments.hvp().unwrap(), &products)] {
                let size = |a: &Array<f64>| a.values().len() / n;
                let largest = each.iter().flat_map(|a| a.values()).fold(1.0f64, |m, x| m.max(x.abs()));
                let column = |a: &Array<f64>, i: usize| (0..n).map(|row| a.values()[row * size(a) + i]).sum::<f64>();
                let want = each.iter().flat_map(|a| (0..size(a)).map(move |i| column(a, i)));
                for (got, want) in sums.sum.iter().zip(want) {
                    prop_assert!((got - want).abs() <= 1e-11 * largest, "{form}: {got} instead of {want}");
                }
                for (row, got) in sums.norms.totals().iter().enumerate() {
                    let rows = each.iter().flat_map(|a| &a.values()[row * size(a)..(row + 1) * size(a)]);
                    let want: f64 = rows.map(|x| x * x).sum();
                    prop_assert!((got - want).abs() <= 1e-11 * largest * largest, "{form}: {got} instead of {want}");
                }
            }
        }
    }
}

/// What is summed over an axis along which a part is alike counts as often as the axis is long: x = uqᵀ + b, whose rows' images are added.
#[test]
fn axes_along_which_all_is_alike() {
    let (n, rows, inner, outer) = (3, 4, 2, 3);
    let params = (spec([inner]), spec([inner, outer]));
    let loss = Func::trace(params, (spec([rows]), spec([inner])), |tape, (b, w), (u, q)| {
        let x = tape.einsum("s,j->sj", &[u, q]) + b;
        x.dot(w).sum_axes(&[0]).tanh().sum()
    });
    let loss = loss.expect("a trace").listed().expect("a list");
    let rng = &mut Rng::new(6);
    let mut draw = |shape: &[usize]| Array::from_fn(shape.to_vec(), |_| rng.normal());
    let data = (draw(&[n, rows]), draw(&[n, inner]));
    let (at, v) = ([draw(&[inner]), draw(&[inner, outer])], [draw(&[inner]), draw(&[inner, outer])]);
    let pair = (at.to_vec(), v.to_vec());
    let each = loss.hvp().expect("hvp").vmap(n).expect("a batch").compile::<f64>(&Device::cpu());
    let (gradients, products) = each.expect("a program").run(&pair, &data).expect("a run");
    let flat = |arrays: &[Array<f64>]| arrays.iter().flat_map(|a| a.values().to_vec()).collect::<Vec<f64>>();
    let (at, v) = (flat(&at), flat(&v));
    let batch = Examples::new((spec([rows]), spec([inner])), data).and_then(|e| e.all()).expect("a batch");
    for form in [Form::Made, Form::Factored, Form::Gram, Form::Cheapest] {
        for request in [everything(), Request::gradient().and_hvp().means()] {
            let mut program = loss.moments::<f64>(n, request.in_form(form), &Device::cpu()).expect("a program");
            let mut moments = program.moments();
            program.run(&at, Some(&v), &batch, &mut moments).expect("a run");
            for (sums, each) in [(moments.gradient(), &gradients), (moments.hvp(), &products)] {
                let sums = sums.expect("sums");
                let want = each.iter().flat_map(|a| {
                    let size = a.values().len() / n;
                    (0..size).map(move |i| (0..n).map(|row| a.values()[row * size + i]).sum::<f64>())
                });
                for (got, want) in sums.sum.iter().zip(want) {
                    assert!((got - want).abs() < 1e-12 * want.abs().max(1.0), "{form}: {got} instead of {want}");
                }
                for (row, got) in sums.norms.totals().iter().enumerate() {
                    let size = |a: &Array<f64>| a.values().len() / n;
                    let want: f64 = each
                        .iter()
                        .map(|a| a.values()[row * size(a)..(row + 1) * size(a)].iter().map(|x| x * x).sum::<f64>())
                        .sum();
                    assert!((got - want).abs() < 1e-12 * want.max(1.0), "{form}: {got} instead of {want}");
                }
            }
        }
    }
}

tree! { struct Shared { kernel, gain, shift, mix, head } }

/// Convolution, normalisation, a residual, a weight used at every step of an unrolled recurrence and once more, a dense head, and with
/// every other seed terms of the parameters alone, some of whose gradients are alike along an axis: the moments of every form are those
/// of the made vectors.
#[test]
fn every_form() {
    for seed in 0..24 {
        let rng = &mut Rng::new(seed);
        let mut pick =
            |from: usize, to: usize| from + (rng.uniform(0.0, (to - from + 1) as f64) as usize).min(to - from);
        let (channels, length, taps, steps, classes, n) =
            (pick(1, 3), pick(4, 7), pick(1, 3), pick(1, 4), pick(2, 4), pick(1, 5));
        let params = Shared {
            kernel: spec([channels, 1, taps]),
            gain: spec([channels, 1]),
            shift: spec([channels, 1]),
            mix: spec([channels, channels]),
            head: spec([channels * length, classes]),
        };
        let data = (spec([1, length]), label(classes));
        let window = Window::new(1, taps).pad(taps - 1, 0);
        let loss = Func::trace(params, data, |tape, p, (x, y)| {
            let patches = x.patches(&[window], 0.0);
            let h = tape.einsum("oik,ipk->op", &[p.kernel, patches]);
            let centred = h - h.mean_axes(&[1]).reshape([channels, 1]);
            let spread = (centred.square().mean_axes(&[1]).reshape([channels, 1]) + 1e-2).sqrt();
            let mut h = (centred / spread * p.gain + p.shift).tanh();
            for _ in 0..steps {
                h = h + p.mix.dot(h).tanh();
            }
            let fit = cross_entropy(h.reshape([channels * length]).dot(p.head), y);
            let decay = 0.3 * p.mix.square().sum() + 0.2 * p.head.square().sum() + 0.1 * p.gain.powi(4).sum();
            let alike = p.head.sum_axes(&[0]).square().sum() + p.kernel.sum_axes(&[0, 1]).square().sum();
            if seed % 2 == 0 { fit } else { fit + decay + 0.1 * alike }
        })
        .expect("a trace");
        let at: Vec<f64> = (0..Layout::of(loss.params(), "").len()).map(|_| rng.normal()).collect();
        let v: Vec<f64> = at.iter().map(|_| rng.normal()).collect();
        let batch = examples_of(loss.data(), n, classes, rng);
        let run = |form: Form| {
            let request = everything().in_form(form);
            let mut program = loss.moments::<f64>(n, request, &Device::cpu()).expect("a program");
            let mut moments = program.moments();
            program.run(&at, Some(&v), &batch, &mut moments).expect("a run");
            moments
        };
        let made = run(Form::Made);
        for form in [Form::Factored, Form::Gram, Form::Cheapest] {
            let got = run(form);
            let close = |what: &str, got: &[f64], want: &[f64]| {
                let scale = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
                for (g, w) in got.iter().zip(want) {
                    assert!((g - w).abs() <= 1e-10 * scale, "seed {seed}, {form}, {what}: {g} instead of {w}");
                }
            };
            for (what, got, want) in [
                ("gradient", got.gradient().expect("g"), made.gradient().expect("g")),
                ("Hv", got.hvp().expect("h"), made.hvp().expect("h")),
            ] {
                close(what, &got.sum, &want.sum);
                close(what, &got.squares, &want.squares);
                close(what, &got.norms.totals(), &want.norms.totals());
                close(what, got.deviations.as_ref().expect("e"), want.deviations.as_ref().expect("e"));
            }
            let (got, want) = (got.inner().expect("i"), made.inner().expect("i"));
            close("slopes", &got.slopes.totals(), &want.slopes.totals());
            close("crossings", &got.crossings.totals(), &want.crossings.totals());
            close("curvatures", &got.curvatures.totals(), &want.curvatures.totals());
        }
    }
}

fn examples_of(spec: &Data, n: usize, classes: usize, rng: &mut Rng) -> Batch<f64> {
    let x = Array::from_fn([&[n], &spec.0.shape[..]].concat(), |_| rng.normal());
    let y = Array::index([n], (0..n).map(|i| (i % classes) as u32).collect()).expect("labels");
    Examples::new(spec.clone(), (x, y)).and_then(|e| e.all()).expect("a batch")
}
