//! Losses whose per-example vectors open into awkward terms: in every form, the moments are those of a loop over examples.

use osculate::{
    Array, Batch, Device, Error, Examples, Expr, Form, Func, Moments, Request, Result, Rng, Signature, Spec, label,
    spec,
};

const FORMS: [Form; 4] = [Form::Cheapest, Form::Factored, Form::Gram, Form::Made];

/// Moments of everything that can be asked for.
fn moments<P: Signature, D: Signature>(
    loss: &Func<P, D, Spec>,
    batch: &Batch<f64>,
    [w, v]: [&[f64]; 2],
    form: Form,
) -> Result<Moments<f64>> {
    let request = Request::gradient().and_hvp().and_elementwise().and_inner().in_form(form);
    let mut program = loss.moments::<f64>(batch.count(), request, &Device::cpu())?;
    let mut moments = program.moments();
    program.run(w, Some(v), batch, &mut moments)?;
    Ok(moments)
}

fn uniform(n: usize, rng: &mut Rng) -> Vec<f64> {
    (0..n).map(|_| rng.uniform(0.5, 1.5)).collect()
}

fn near(got: &[f64], want: &[f64], what: &str) {
    let largest = want.iter().fold(1e-12, |most: f64, x| most.max(x.abs()));
    assert_eq!(got.len(), want.len(), "{what}");
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= 1e-12 * largest, "{what}, element {at}: {got} instead of {want}");
    }
}

/// Compares every form with one example after the other.
fn compare<P: Signature, D: Signature>(loss: &Func<P, D, Spec>, examples: &Examples<D, f64>, seed: u64) {
    let rng = &mut Rng::new(seed);
    let len = osculate::Layout::of(loss.params(), "params").len();
    let (w, v) = (uniform(len, rng), uniform(len, rng));
    let n = examples.count();
    let single: Vec<Moments<f64>> = (0..n)
        .map(|row| {
            let mut batch = Batch::default();
            examples.gather(&[row], &mut batch).expect("a row");
            moments(loss, &batch, [&w, &v], Form::Made).expect("one example")
        })
        .collect();
    let batch = examples.all().expect("a minibatch");
    for form in FORMS {
        let all = moments(loss, &batch, [&w, &v], form).expect("moments");
        for hvp in [false, true] {
            let of = |m: &Moments<f64>| if hvp { m.hvp() } else { m.gradient() }.expect("sums").clone();
            let each: Vec<Vec<f64>> = single.iter().map(|m| of(m).sum).collect();
            let sum: Vec<f64> = (0..len).map(|at| each.iter().map(|x| x[at]).sum()).collect();
            let spread: Vec<f64> =
                (0..len).map(|at| each.iter().map(|x| (x[at] - sum[at] / n as f64).powi(2)).sum()).collect();
            let norms: Vec<f64> = each.iter().map(|x| x.iter().map(|x| x * x).sum()).collect();
            let what = format!("{form}, {}", if hvp { "Hv" } else { "g" });
            near(&of(&all).sum, &sum, &what);
            near(&of(&all).deviations.expect("deviations"), &spread, &format!("{what}, deviations"));
            near(&of(&all).norms.totals(), &norms, &format!("{what}, norms"));
        }
        let dots = |x: &dyn Fn(&Moments<f64>) -> Vec<f64>, y: &dyn Fn(&Moments<f64>) -> Vec<f64>| -> Vec<f64> {
            single.iter().map(|m| x(m).iter().zip(y(m)).map(|(a, b)| a * b).sum()).collect()
        };
        let g = |m: &Moments<f64>| m.gradient().expect("g").sum.clone();
        let h = |m: &Moments<f64>| m.hvp().expect("Hv").sum.clone();
        let along = |_: &Moments<f64>| v.clone();
        let inner = all.inner().expect("inner products");
        near(&inner.slopes.totals(), &dots(&g, &along), &format!("{form}, ⟨g, v⟩"));
        near(&inner.crossings.totals(), &dots(&g, &h), &format!("{form}, ⟨g, Hv⟩"));
        near(&inner.curvatures.totals(), &dots(&h, &along), &format!("{form}, ⟨v, Hv⟩"));
    }
}

fn reals(n: usize, extents: &[&[usize]], seed: u64) -> Vec<Array<f64>> {
    let rng = &mut Rng::new(seed);
    extents.iter().map(|of| Array::from_fn([&[n][..], of].concat(), |_| rng.uniform(0.5, 1.5))).collect()
}

#[test]
fn a_reshape_that_one_of_two_vectors_has() {
    let x = reals(4, &[&[2, 3]], 1).remove(0);
    let examples = |x: &Array<f64>| Examples::new(spec([2, 3]), x.clone()).expect("examples");
    // Hv is zero; Hv is reshaped and g is a sum; g is reshaped and Hv a sum.
    let losses: [for<'a> fn(Expr<'a>, Expr<'a>) -> Expr<'a>; 4] = [
        |w, x| (w.reshape([2, 3]) * x).sum(),
        |w, x| (w.reshape([2, 3]) * x).sum().square() + w.sum(),
        |w, x| (w.reshape([2, 3]) * x).sum() + w.square().sum(),
        |w, x| (w.reshape([2, 3]) * x).sum().square() + w.square().sum(),
    ];
    for (at, loss) in losses.into_iter().enumerate() {
        let loss = Func::trace(spec([6]), spec([2, 3]), |_, w, x| loss(w, x)).expect("a trace");
        compare(&loss, &examples(&x), at as u64);
    }
}

#[test]
fn terms_that_stand_for_several_positions() {
    let params = vec![spec([2, 2]), spec([2])];
    let loss = Func::trace(params, (spec([3]), spec([2])), |_, p, (u, v)| {
        (u.expand_dims(1) * v + p[1]).dot(p[0]).sum_axes(&[0]).square().sum()
    })
    .expect("a trace");
    let data = reals(5, &[&[3], &[2]], 2);
    let examples = Examples::new((spec([3]), spec([2])), (data[0].clone(), data[1].clone())).expect("examples");
    compare(&loss, &examples, 3);
}

#[test]
fn quotients_without_a_whole_numerator() {
    let data = (spec([2]), spec([2]), spec([2, 2]));
    let loss = Func::trace(spec([2, 2]), data.clone(), |_, w, (a, b, z)| (w.exp() * (a.expand_dims(1) * b / z)).sum())
        .expect("a trace");
    let x = reals(5, &[&[2], &[2], &[2, 2]], 4);
    let examples = Examples::new(data.clone(), (x[0].clone(), x[1].clone(), x[2].clone())).expect("examples");
    compare(&loss, &examples, 5);
    // 0/z of a z whose reciprocal is infinite.
    let row = |values: Vec<f64>, extents: &[usize]| Array::new([&[1], extents].concat(), values).expect("an array");
    let tiny = (row(vec![0.0; 2], &[2]), row(vec![1.0; 2], &[2]), row(vec![1e-310; 4], &[2, 2]));
    let batch = Examples::new(data, tiny).expect("examples").all().expect("a minibatch");
    let mut means = loss.means::<f64>(1, Request::gradient(), &Device::cpu()).expect("means");
    let mut g = [f64::NAN; 4];
    means.run(&[1.0; 4], None, &batch, Some(&mut g), None).expect("a run");
    assert_eq!(g, [0.0; 4]);
    for form in FORMS {
        let all = moments(&loss, &batch, [&[1.0; 4], &[1.0; 4]], form).expect("moments");
        assert_eq!(
            (&all.gradient().expect("g").sum[..], all.gradient().expect("g").norms.totals()),
            (&[0.0; 4][..], vec![0.0]),
            "{form}"
        );
    }
}

#[test]
fn look_ups_of_one_table() {
    // Several, of all examples' own indices; of different bounds; of an index that is computed.
    let data = (Spec::index([3], 4), label(2), spec([2]));
    let loss = Func::trace(spec([4, 2]), data.clone(), |tape, w, (tokens, side, x)| {
        let each = (0..3).fold(tape.lit(0.0), |sum, t| sum + (w.take(tokens.at(0, t), 0) * x).sin().sum());
        let fixed = w.take(tape.indices([2], &[3, 0], 4), 0).square().sum();
        each * w.take(side, 0).sum() + fixed + (w.take(x.argmax(0), 0) * x).exp().sum()
    })
    .expect("a trace");
    let rng = &mut Rng::new(6);
    let mut index = |n: usize, bound: f64| (0..n).map(|_| rng.uniform(0.0, bound) as u32).collect::<Vec<_>>();
    let (tokens, sides) = (index(18, 4.0), index(6, 2.0));
    let arrays = (Array::index([6, 3], tokens).expect("tokens"), Array::index([6], sides).expect("sides"));
    let x = reals(6, &[&[2]], 7).remove(0);
    let examples = Examples::new(data, (arrays.0, arrays.1, x)).expect("examples");
    compare(&loss, &examples, 8);
}

#[test]
fn look_ups_beside_dense_terms() {
    // The look-up's cotangent is a constant: examples differ by where it is added alone.
    let data = (label(3), spec([3]), spec([2]));
    let loss = Func::trace(spec([3, 2]), data.clone(), |_, w, (i, u, x)| w.take(i, 0).sum() + u.dot(w.dot(x)))
        .expect("a trace");
    let x = reals(5, &[&[3], &[2]], 10);
    let labels = Array::index([5], vec![0, 2, 2, 1, 0]).expect("labels");
    let examples = Examples::new(data, (labels, x[0].clone(), x[1].clone())).expect("examples");
    compare(&loss, &examples, 11);
    // A cotangent that repeats along the columns, from several words, one of them twice.
    let words = Spec::index([3], 4);
    let loss = Func::trace(spec([4, 2]), words.clone(), |tape, w, tokens| {
        let each = (0..3).fold(tape.lit(0.0), |sum, t| sum + w.take(tokens.at(0, t), 0).sum().sin());
        each + w.take(tokens.at(0, 1), 0).prod()
    })
    .expect("a trace");
    let tokens = Array::index([4, 3], vec![0, 1, 1, 3, 3, 3, 2, 0, 2, 1, 2, 0]).expect("tokens");
    compare(&loss, &Examples::new(words, tokens).expect("examples"), 12);
}

#[test]
fn look_ups_of_ones_own_stay_apart_from_the_datas() {
    // A penalty on all rows, by a constant index, is the same for all examples.
    let (rows, table) = (20_000, 20_000 * 8 * 4);
    let loss = Func::trace(spec([rows, 8]), Spec::index([], rows), |tape, w, token| {
        let all: Vec<u32> = (0..rows as u32).collect();
        w.take(token, 0).sin().sum() + 0.01 * w.take(tape.indices([rows], &all, rows), 0).square().sum()
    })
    .expect("a trace");
    let program = loss.moments::<f32>(64, Request::gradient(), &Device::cpu()).expect("a program");
    assert!(program.peak_bytes() < 12 * table, "{} tables", program.peak_bytes() / table);
}

/// Bytes of a program of gradients of a loss that looks a table up, word after word.
fn bytes(rows: usize, words: usize, request: Request) -> usize {
    let loss = Func::trace(spec([rows, 8]), Spec::index([words], rows), |tape, w, tokens| {
        (0..words).fold(tape.lit(0.0), |sum, t| sum + w.take(tokens.at(0, t), 0).sin().sum())
    });
    let program = loss.expect("a trace").moments::<f32>(64, request, &Device::cpu()).expect("a program");
    program.peak_bytes()
}

#[test]
fn many_look_ups_make_no_table_an_example() {
    let (rows, table) = (20_000, 20_000 * 8 * 4);
    for words in [3, 19, 20, 40] {
        let made = bytes(rows, words, Request::gradient());
        assert!(made < 4 * table, "{words} words: {} tables", made / table);
        let made = bytes(rows, words, Request::gradient().and_hvp());
        assert!(made < 8 * table, "{words} words, with Hv: {} tables", made / table);
    }
    // A step's gradient alone writes one table, however many words.
    let loss = Func::trace(spec([rows, 8]), Spec::index([40], rows), |tape, w, tokens| {
        (0..40).fold(tape.lit(0.0), |sum, t| sum + w.take(tokens.at(0, t), 0).sin().sum())
    })
    .expect("a trace");
    let graph = loss.grad().expect("a gradient").graph().to_string();
    assert_eq!(graph.matches("scatter_add").count(), 1, "{graph}");
}

#[test]
fn variances_of_tables_in_f64() {
    // All examples touch one row; the mean is a thousand times the deviation.
    let loss = Func::trace(spec([3]), (label(3), spec([])), |_, w, (i, x)| w.take(i, 0) * x).expect("a trace");
    let rng = &mut Rng::new(9);
    let x: Vec<f64> = (0..50).map(|_| 1000.0 + rng.normal()).collect();
    let mean = x.iter().sum::<f64>() / 50.0;
    let want = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 49.0;
    let data = (Array::index([50], vec![0; 50]).expect("labels"), Array::new([50], x).expect("numbers"));
    let batch = Examples::new((label(3), spec([])), data).expect("examples").all().expect("a minibatch");
    let request = Request::gradient().means().and_elementwise();
    let mut program = loss.moments::<f64>(50, request, &Device::cpu()).expect("a program");
    let mut moments = program.moments();
    program.run(&[1.0; 3], None, &batch, &mut moments).expect("a run");
    let got = moments.gradient_elementwise_variance().expect("variances");
    assert!(got[0].trusted && (got[0].value / want - 1.0).abs() < 1e-8, "{:?} instead of {want}", got[0]);
    assert_eq!((got[1].value, got[2].value), (0.0, 0.0));
}

#[test]
fn arrays_of_too_many_axes_are_an_error() {
    let loss = Func::trace(spec([]), spec([1; 32]), |_, w, x| (w * x).sum()).expect("a trace");
    for request in [Request::gradient(), Request::gradient().and_elementwise(), Request::gradient().and_hvp()] {
        let error = loss.moments::<f64>(2, request, &Device::cpu()).expect_err("33 axes");
        assert!(matches!(&error, Error::Expression { at, .. } if at.file().ends_with("terms.rs")), "{error}");
    }
    let error = Func::<_, _, Spec>::trace(spec(vec![1usize; 33]), spec([]), |_, w, _| w.sum()).expect_err("33 axes");
    assert_eq!(error.to_string(), format!("params: want at most 32 axes, got {}", spec(vec![1usize; 33])));
}

#[test]
fn indices_beyond_their_bound_are_named_by_place() {
    // The minibatch's own signature allows more than the loss.
    let data = (label(9), Spec::index([2], 5));
    let loss = Func::trace(spec([5]), data, |_, w, (y, i)| w.take(i, 0).sum() * y.to_real()).expect("a trace");
    // Of 7 is nothing wrong among the labels.
    let mut tokens = vec![1u32; 400];
    tokens[261] = 7;
    let arrays = (Array::index([200], vec![7; 200]).expect("labels"), Array::index([200, 2], tokens).expect("tokens"));
    let examples = Examples::<_, f64>::new((label(9), Spec::index([2], 9)), arrays);
    let batch = examples.expect("examples").all().expect("a minibatch");
    for budget in [osculate::Budget::default(), osculate::Budget::bytes(100_000)] {
        let program = loss.moments_within::<f64>(200, Request::gradient(), &Device::cpu(), budget);
        let mut program = program.expect("a program");
        let mut moments = program.moments();
        let error = program.run(&[0.0; 5], None, &batch, &mut moments).expect_err("7 is not below 5");
        assert!(matches!(error, Error::Index { position: 261, value: 7, bound: 5, .. }), "{error}");
        assert_eq!((moments.count(), moments.losses().len()), (0, 0));
    }
}
