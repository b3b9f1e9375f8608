//! Losses, softmax and layers mean what numpy and torch mean at every rank; what does not fit is an error at the caller's line.

mod support;

use osculate::nn::{
    Conv, Dense, Norm, Sliding, convolve, cross_entropy, log_softmax, log_softmax_axes, log_sum_exp, log_sum_exp_axes,
    softmax, softmax_axes, squared_error,
};
use osculate::{Array, Error, Expr, Func, Rng, Spec, label, spec};
use support::*;

/// All indices of a shape, outermost first.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().fold(vec![vec![]], |all, &extent| {
        all.iter().flat_map(|i| (0..extent).map(move |j| [&i[..], &[j]].concat())).collect()
    })
}

/// x, ln Σ exp x over axes (repeated to the shape of x), by loops.
fn by_loops(x: &Array<f64>, axes: &[usize]) -> Vec<f64> {
    let all = indices(x.shape());
    let alike = |i: &[usize], j: &[usize]| (0..i.len()).all(|a| axes.contains(&a) || i[a] == j[a]);
    all.iter()
        .map(|i| {
            let row = all.iter().zip(x.values()).filter(|(j, _)| alike(i, j));
            row.map(|(_, x)| x.exp()).sum::<f64>().ln()
        })
        .collect()
}

#[test]
fn softmax_along_any_axes() {
    let cases: &[(&[usize], &[usize])] = &[
        (&[3], &[0]),
        (&[1], &[0]),
        (&[2, 3], &[1]),
        (&[2, 3], &[0]),
        (&[2, 3], &[0, 1]),
        (&[2, 1, 3], &[1]),
        (&[2, 3, 4], &[2]),
        (&[2, 3, 4], &[1]),
        (&[2, 3, 4], &[0, 2]),
        (&[2, 2, 1, 3, 2], &[3, 0]),
    ];
    for &(shape, axes) in cases {
        let f = trace(vec![spec(shape)], vec![], |_, p, _| {
            let mut all = vec![softmax_axes(p[0], axes), log_softmax_axes(p[0], axes), log_sum_exp_axes(p[0], axes)];
            if axes == [shape.len() - 1] {
                all.extend([softmax(p[0]), log_softmax(p[0]), log_sum_exp(p[0])]);
            }
            all
        });
        let rng = &mut Rng::new(1);
        let p = arrays(f.params(), rng);
        let (got, sums) = (run(&f, &p, &vec![]), by_loops(&p[0], axes));
        let logs: Vec<f64> = p[0].values().iter().zip(&sums).map(|(x, s)| x - s).collect();
        let near = |got: &Array<f64>, want: &[f64]| {
            assert_eq!(got.values().len(), want.len(), "{shape:?} over {axes:?}");
            assert!(got.values().iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-14), "{shape:?} over {axes:?}");
        };
        let kept: Vec<usize> = (0..shape.len()).filter(|a| !axes.contains(a)).map(|a| shape[a]).collect();
        assert_eq!(got[2].shape()[..], kept[..]);
        let first: Vec<f64> = indices(shape)
            .iter()
            .zip(&sums)
            .filter(|(i, _)| axes.iter().all(|&a| i[a] == 0))
            .map(|(_, &s)| s)
            .collect();
        for part in got.chunks(3) {
            near(&part[0], &logs.iter().map(|l| l.exp()).collect::<Vec<_>>());
            near(&part[1], &logs);
            near(&part[2], &first);
        }
        jvp_is_a_difference(&f, &p, &vec![], rng).unwrap();
        adjoint(&f, &p, &vec![], rng).unwrap();
        let second = grad_word(&jvp_word(&f));
        let data = arrays(second.data(), rng);
        jvp_is_a_difference(&second, &p, &data, rng).unwrap();
        // Batched by hand is batched by vmap.
        let g = trace(vec![], vec![spec(shape)], |_, _, d| vec![softmax_axes(d[0], axes)]);
        vmap_is_a_loop(&g, &vec![], rng, 3).unwrap();
    }
}

#[test]
fn cross_entropy_has_the_shape_of_the_labels() {
    let rng = &mut Rng::new(3);
    let one = trace(vec![spec([5])], vec![label(5)], |_, p, d| vec![cross_entropy(p[0], d[0])]);
    for leading in [&[][..], &[1], &[5], &[2, 3], &[2, 1, 2, 2]] {
        let logits = spec([leading, &[5]].concat());
        let f = trace(vec![logits], vec![Spec::index(leading, 5)], |_, p, d| vec![cross_entropy(p[0], d[0])]);
        assert_eq!(f.outputs()[0].shape[..], *leading);
        let (p, d) = (arrays(f.params(), rng), arrays(f.data(), rng));
        let got = run(&f, &p, &d);
        for (at, loss) in got[0].values().iter().enumerate() {
            let z = Array::new([5], p[0].values()[5 * at..5 * at + 5].to_vec()).unwrap();
            let y = Array::index([], vec![d[0].indices()[at]]).unwrap();
            let alone = run(&one, &vec![z], &vec![y])[0].item().unwrap();
            assert!((loss - alone).abs() < 1e-14);
        }
        jvp_is_a_difference(&f, &p, &d, rng).unwrap();
        adjoint(&f, &p, &d, rng).unwrap();
        let g = grad_word(&f);
        let data = [d, arrays(f.outputs(), rng)].concat();
        jvp_is_a_difference(&g, &p, &data, rng).unwrap();
    }
}

type Fits = for<'t> fn(Vec<Expr<'t>>) -> Expr<'t>;

#[test]
fn what_does_not_fit_is_an_error_at_the_callers_line() {
    let s = |shape: &[usize]| spec(shape);
    let cases: Vec<(Vec<Spec>, Fits, &str)> = vec![
        (vec![s(&[])], |d| softmax(d[0]), ": a scalar has no axis to work along"),
        (vec![s(&[])], |d| log_softmax(d[0]), ": a scalar has no axis"),
        (vec![s(&[])], |d| log_sum_exp(d[0]), ": a scalar has no axis"),
        (vec![s(&[3])], |d| softmax_axes(d[0], &[1]), "[1] are not distinct axes of [3]"),
        (vec![s(&[2, 3])], |d| log_sum_exp_axes(d[0], &[0, 0]), "[0, 0] are not distinct axes of [2, 3]"),
        (
            vec![s(&[5, 5]), label(5)],
            |d| cross_entropy(d[0], d[1]),
            "labels are [], but logits [5, 5] want a label for each of [5]",
        ),
        (
            vec![s(&[5]), Spec::index([5], 5)],
            |d| cross_entropy(d[0], d[1]),
            "labels are [5], but logits [5] want a label for each of []",
        ),
        (
            vec![s(&[4, 5]), Spec::index([4], 4)],
            |d| cross_entropy(d[0], d[1]),
            "labels are below 4, but the last axis of logits [4, 5] holds 5 classes",
        ),
        (
            vec![s(&[2, 3, 5]), Spec::index([3, 2], 5)],
            |d| cross_entropy(d[0], d[1]),
            "labels are [3, 2], but logits [2, 3, 5] want a label for each of [2, 3]",
        ),
        (vec![s(&[5]), s(&[])], |d| cross_entropy(d[0], d[1]), "labels are one number: indices are wanted"),
        (vec![s(&[]), label(5)], |d| cross_entropy(d[0], d[1]), "logits are a scalar"),
        (vec![s(&[3]), s(&[3, 1])], |d| squared_error(d[0], d[1]), "the prediction is [3], the target [3, 1]"),
        (vec![s(&[3]), s(&[])], |d| squared_error(d[0], d[1]), "the prediction is [3], the target []"),
        (
            vec![s(&[1]), s(&[2]), s(&[2])],
            |d| Norm { gamma: d[0], beta: d[1] }.layer(d[2]),
            "wants scales and shifts [2]",
        ),
        (
            vec![s(&[2]), s(&[1]), s(&[2])],
            |d| Norm { gamma: d[0], beta: d[1] }.layer(d[2]),
            "wants scales and shifts [2]",
        ),
        (
            vec![s(&[4]), s(&[1]), s(&[4, 2])],
            |d| Norm { gamma: d[0], beta: d[1] }.group(d[2], 2),
            "wants scales and shifts [4], not [4] and [1]",
        ),
        (
            vec![s(&[6]), s(&[6]), s(&[6, 2])],
            |d| Norm { gamma: d[0], beta: d[1] }.group(d[2], 4),
            "6 channels of [6, 2] do not split into 4 groups",
        ),
        (
            vec![s(&[6]), s(&[6]), s(&[6, 2])],
            |d| Norm { gamma: d[0], beta: d[1] }.group(d[2], 0),
            "6 channels of [6, 2] do not split into 0 groups",
        ),
        (
            vec![s(&[3, 2]), s(&[1]), s(&[3])],
            |d| Dense { w: d[0], b: d[1] }.apply(d[2]),
            "[..., inputs], [inputs, outputs] and [outputs] are wanted, not [3], weights [3, 2] and biases [1]",
        ),
        (vec![s(&[3, 2]), s(&[3, 2]), s(&[3, 3])], |d| Dense { w: d[0], b: d[1] }.apply(d[2]), "biases [3, 2]"),
        (vec![s(&[3, 2, 2]), s(&[2]), s(&[3])], |d| Dense { w: d[0], b: d[1] }.apply(d[2]), "weights [3, 2, 2]"),
        (vec![s(&[3, 2]), s(&[2]), s(&[])], |d| Dense { w: d[0], b: d[1] }.apply(d[2]), "are wanted, not []"),
        (
            vec![s(&[4, 3, 3, 3]), s(&[6]), s(&[3, 6, 6])],
            |d| Conv { w: d[0], b: d[1] }.apply(d[2], Sliding::default()),
            "biases [6] are not one for each channel of [4, 6, 6]",
        ),
        (
            vec![s(&[4, 3, 3, 3]), s(&[2, 2]), s(&[3, 6, 6])],
            |d| Conv { w: d[0], b: d[1] }.apply(d[2], Sliding::default()),
            "biases [2, 2] are not one for each channel",
        ),
        (
            vec![s(&[4, 2, 3]), s(&[3, 6])],
            |d| convolve(d[1], d[0], Sliding::default(), 1),
            "weights [4, 2, 3] are for 2 channels, but [3, 6] has 3",
        ),
        (
            vec![s(&[4, 2, 3]), s(&[6, 6])],
            |d| convolve(d[1], d[0], Sliding::default(), 2),
            "weights [4, 2, 3] are for 2 channels a group, but [6, 6] has 3",
        ),
        (
            vec![s(&[4, 2, 3]), s(&[5, 6])],
            |d| convolve(d[1], d[0], Sliding::default(), 2),
            "5 channels to 4 do not split into 2 groups",
        ),
        (
            vec![s(&[4, 3]), s(&[3, 6])],
            |d| convolve(d[1], d[0], Sliding::default(), 1),
            "are wanted, not [3, 6] and [4, 3]",
        ),
    ];
    for (case, (specs, f, want)) in cases.into_iter().enumerate() {
        let error = Func::trace(Vec::<Spec>::new(), specs, |_, _, d| f(d)).err();
        let Some(Error::Expression { at, .. }) = &error else { panic!("case {case}: {error:?}") };
        let text = error.as_ref().map(|e| e.to_string()).unwrap_or_default();
        assert!(text.contains(want), "case {case}: {text}");
        assert!(at.file().ends_with("tests/ranks.rs"), "case {case}: {text}");
    }
}
