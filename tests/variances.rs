//! Variances at the edges of the type: against two passes in f64 over what the program reads, in every form.

use osculate::{
    Array, Batch, Device, Error, Examples, Form, Func, Moments, Real, Request, Rng, Spec, Variance, spec, tree,
};

tree! { struct Pair { w, b } }

type Data = (Spec, Spec);

const FORMS: [Form; 4] = [Form::Cheapest, Form::Factored, Form::Gram, Form::Made];

/// Σₚ rₚᵀ(wᵀxₚ + b) over a few positions: the gradient of w is Σₚ xₚrₚᵀ, that of b is Σₚ rₚ, and both are the data's.
fn linear(positions: usize, inputs: usize, outputs: usize) -> Func<Pair<Spec>, Data, Spec> {
    let params = Pair { w: spec([inputs, outputs]), b: spec([outputs]) };
    let data = (spec([positions, inputs]), spec([positions, outputs]));
    Func::trace(params, data, |_, p, (x, r)| ((x.dot(p.w) + p.b) * r).sum()).expect("a trace")
}

/// The vectors of examples in f64, row by row, of data as the program's type has them.
fn vectors<T: Real>(n: usize, positions: usize, [inputs, outputs]: [usize; 2], x: &[T], r: &[T]) -> Vec<Vec<f64>> {
    let x = |i: usize, p: usize, k: usize| x[(i * positions + p) * inputs + k].to_f64();
    let r = |i: usize, p: usize, m: usize| r[(i * positions + p) * outputs + m].to_f64();
    (0..n)
        .map(|i| {
            let w = (0..inputs * outputs).map(|at| {
                let (k, m) = (at / outputs, at % outputs);
                (0..positions).map(|p| x(i, p, k) * r(i, p, m)).sum::<f64>()
            });
            w.chain((0..outputs).map(|m| (0..positions).map(|p| r(i, p, m)).sum::<f64>())).collect()
        })
        .collect()
}

/// Unbiased variance of every coordinate, by two passes.
fn exact(vectors: &[Vec<f64>]) -> Vec<f64> {
    let n = vectors.len() as f64;
    (0..vectors[0].len())
        .map(|j| {
            let first = vectors[0][j];
            let mean = first + vectors.iter().map(|v| v[j] - first).sum::<f64>() / n;
            vectors.iter().map(|v| (v[j] - mean).powi(2)).sum::<f64>() / (n - 1.0)
        })
        .collect()
}

fn moments<T: Real>(
    loss: &Func<Pair<Spec>, Data, Spec>,
    n: usize,
    x: &[T],
    r: &[T],
    request: Request,
) -> Result<Moments<T>, Error> {
    let (xs, rs) = loss.data();
    let arrays = (
        Array::new([&[n], &xs.shape[..]].concat(), x.to_vec())?,
        Array::new([&[n], &rs.shape[..]].concat(), r.to_vec())?,
    );
    let batch: Batch<T> = Examples::new(loss.data().clone(), arrays)?.all()?;
    let mut program = loss.moments::<T>(n, request, &Device::cpu())?;
    let mut moments = program.moments();
    let at = vec![T::zero(); moments.layout().len()];
    program.run(&at, None, &batch, &mut moments)?;
    Ok(moments)
}

fn unit<T: Real>() -> f64 {
    T::epsilon().to_f64() / 2.0
}

/// What is trusted is right, what is far from the rounding of the type is trusted, and nothing is negative.
fn judge<T: Real>(what: &str, got: Variance, want: f64, amplification: f64, rough: f64) {
    assert!(got.value >= 0.0 || got.value.is_nan(), "{what}: {got:?}");
    assert!(!got.value.is_nan() || !got.trusted, "{what}: {got:?}");
    let off = (got.value - want).abs() / want;
    if got.trusted && want != 0.0 {
        assert!(off <= rough, "{what}: {got:?} for {want:e}, off by {off:e}");
    }
    if got.trusted && want == 0.0 {
        assert_eq!(got.value, 0.0, "{what}: {got:?}");
    }
    let (least, most) = (T::min_positive_value().to_f64() / unit::<T>(), T::max_value().to_f64());
    if amplification * unit::<T>() <= 2e-3 && want > 1e3 * least && want < 1e-3 * most {
        assert!(got.trusted, "{what}: {got:?} for {want:e} at {amplification:e}");
    }
}

fn every_form<T: Real>(n: usize, positions: usize, offset: f64, noise: f64, scale: f64, seed: u64) {
    let [inputs, outputs] = [3, 18];
    let loss = linear(positions, inputs, outputs);
    let rng = &mut Rng::new(seed);
    let mut draw = |size: usize| -> Vec<T> {
        (0..n * positions * size).map(|_| T::from_f64(scale * (offset + noise * rng.normal()))).collect()
    };
    let (x, mut r) = (draw(inputs), draw(outputs));
    // A dead unit, and one that is the same for all.
    r.iter_mut().skip(2).step_by(outputs).for_each(|r| *r = T::zero());
    r.iter_mut().skip(5).step_by(outputs).for_each(|r| *r = T::from_f64(scale * 3.7));
    let rows = vectors(n, positions, [inputs, outputs], &x, &r);
    let want = exact(&rows);
    let average = want.iter().sum::<f64>() / want.len() as f64;
    let square = |v: &Vec<f64>| v.iter().map(|x| x * x).sum::<f64>();
    let kappa = rows.iter().map(square).sum::<f64>() / (average * (n - 1) as f64 * want.len() as f64);
    for form in FORMS {
        let request = Request::gradient().and_elementwise().in_form(form);
        let moments = moments(&loss, n, &x, &r, request).expect("moments");
        let what = format!("{} {form}, n {n}, {positions} positions, {offset:e} ± {noise:e}, times {scale:e}", T::NAME);
        judge::<T>(&what, moments.gradient_variance().expect("a variance"), average, kappa, 0.1);
        for (j, got) in moments.gradient_elementwise_variance().expect("variances").into_iter().enumerate() {
            let mean = rows.iter().map(|row| row[j]).sum::<f64>() / n as f64;
            let amplification = (1.0 + mean * mean / want[j]).sqrt();
            // Products that the type rounds to nothing vary by nothing.
            let largest = rows.iter().fold(0.0f64, |most, row| most.max(row[j].abs()));
            let want = if largest < T::min_positive_value().to_f64() { 0.0 } else { want[j] };
            judge::<T>(&format!("{what}, coordinate {j}"), got, want, amplification, 0.1);
            // The issue's own case, and anything that is less far out: as good as the data are.
            if want > 0.0 && amplification * unit::<T>() < 1e-3 && got.trusted {
                let tolerance = 1e-5f64.max(8.0 * positions as f64 * amplification * unit::<T>());
                let off = (got.value / want - 1.0).abs();
                assert!(off <= tolerance, "{what}, coordinate {j}: {got:?} for {}, off by {off:e}", want);
            }
        }
    }
}

#[test]
fn at_any_offset() {
    for n in [2, 3, 128] {
        for positions in [1, 2, 5] {
            for offset in [0.0, 1.0, 1e2, 1e4, 1e6, 1e8] {
                every_form::<f32>(n, positions, offset, 1.0, 1.0, n as u64);
                every_form::<f64>(n, positions, offset * offset.sqrt(), 1.0, 1.0, n as u64);
            }
        }
    }
}

#[test]
fn at_any_scale() {
    for n in [2, 50] {
        for positions in [1, 3] {
            for scale in [1e-30, 1e-18, 1e-10, 1e-6, 1e6, 1e9, 1e15, 1e18, 1e30] {
                every_form::<f32>(n, positions, 1.0, 1.0, scale, 5);
                every_form::<f64>(n, positions, 1.0, 1.0, scale, 5);
            }
            for scale in [1e-160, 1e-80, 1e80, 1e160] {
                every_form::<f64>(n, positions, 1.0, 1.0, scale, 5);
            }
        }
    }
}

/// Of examples that are all alike every variance by coordinate is 0, and none is negative.
#[test]
fn equal_examples() {
    for n in [2, 3, 7, 100] {
        for positions in [1, 4] {
            let loss = linear(positions, 3, 18);
            let rng = &mut Rng::new(9);
            let mut draw = |size: usize| (0..positions * size).map(|_| (1e3 * rng.normal()) as f32).collect::<Vec<_>>();
            let (x, r) = (draw(3).repeat(n), draw(18).repeat(n));
            for form in FORMS {
                let request = Request::gradient().and_elementwise().in_form(form);
                let moments = moments(&loss, n, &x, &r, request).expect("moments");
                let each = moments.gradient_elementwise_variance().expect("variances");
                assert!(each.iter().all(|v| v.value == 0.0 && !v.trusted), "{form}, n {n}: {each:?}");
                let variance = moments.gradient_variance().expect("a variance");
                assert!(variance.value >= 0.0 && !variance.trusted, "{form}, n {n}: {variance:?}");
            }
        }
    }
}

#[test]
fn one_example_has_no_variance() {
    let moments = moments(&linear(1, 2, 3), 1, &[1.0f32, 2.0], &[1.0; 3], Request::gradient().and_elementwise());
    let moments = moments.expect("moments");
    assert!(matches!(moments.gradient_variance(), Err(Error::Count { count: 1, .. })));
    assert!(matches!(moments.gradient_elementwise_variance(), Err(Error::Count { count: 1, .. })));
}

/// The loss w·x where x is 1e4 + N(0, 1): 1 is right, and a sum of squares in f32 leaves 0 to 13.
#[test]
fn a_large_mean_leaves_the_digits_of_a_small_deviation() {
    let (n, d) = (128, 64);
    let rng = &mut Rng::new(4);
    let x: Vec<f32> = (0..n * d).map(|_| (1e4 + rng.normal()) as f32).collect();
    let rows: Vec<Vec<f64>> = x.chunks(d).map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect();
    let loss = Func::trace(spec([d]), spec([d]), |_, w, x| w.dot(x)).expect("a trace");
    let data = Examples::new(spec([d]), Array::new([n, d], x).expect("data")).expect("examples");
    let request = Request::gradient().and_elementwise();
    // In one minibatch, and in several that are merged.
    for size in [n, 50, 1] {
        let mut total = Moments::<f32>::empty(osculate::Layout::of(&spec([d]), "params"), request);
        for from in (0..n).step_by(size) {
            let mut batch = Batch::default();
            data.gather(&(from..n.min(from + size)).collect::<Vec<_>>(), &mut batch).expect("rows");
            let mut program = loss.moments::<f32>(batch.count(), request, &Device::cpu()).expect("a program");
            let mut part = program.moments();
            program.run(&vec![0.0; d], None, &batch, &mut part).expect("a run");
            total.merge(&part).expect("the same parameters");
        }
        for (got, want) in total.gradient_elementwise_variance().expect("variances").iter().zip(exact(&rows)) {
            assert!(got.trusted && (got.value / want - 1.0).abs() < 2e-3, "{size}: {got:?} for {want}");
        }
    }
}
