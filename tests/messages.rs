//! What a user reads after a mistake: the method called, the shapes, what to do, and the line of this file, never the engine's own.

use osculate::{Expr, Func, Spec, Tape, Window, label, spec};

/// Wrong uses of an array `[2, 3]`, a vector `[3]`, and labels `[2]` below 5, with what the message says.
type Wrong = for<'t> fn(&'t Tape, Expr<'t>, Expr<'t>, Expr<'t>) -> Expr<'t>;

const WRONG: &[(Wrong, &str, &str)] = &[
    (|_, a, _, _| a.dot(a), "dot", "the last axis of [2, 3] does not match the first of [2, 3]"),
    (|_, a, _, y| a.dot(y), "dot", "not labels [2] below 5: use one_hot, take or to_real"),
    (|_, a, _, _| a + a.t(), "add", "shapes [2, 3] and [3, 2] do not broadcast: 3 against 2"),
    (|_, a, _, _| a - a.t(), "subtract", "do not broadcast"),
    (|_, a, _, _| a * a.t(), "multiply", "do not broadcast"),
    (|_, a, _, _| a / a.t(), "", "do not broadcast"),
    (|_, a, _, y| a * y, "multiply", "numbers are wanted, not labels [2] below 5"),
    (|_, _, _, y| y + 1.0, "add", "numbers are wanted, not labels [2] below 5"),
    (|_, _, _, y| -y, "negate", "numbers are wanted, not labels [2] below 5"),
    (|_, _, _, y| y.exp(), "exp", "numbers are wanted, not labels [2] below 5"),
    (|_, _, _, y| y.sum(), "sum", "numbers are wanted"),
    (|_, _, _, y| y.max(), "max", "numbers are wanted"),
    (|_, _, _, y| y.min(), "min", "numbers are wanted"),
    (|_, _, _, y| y.norm(), "norm", "numbers are wanted"),
    (|_, _, _, y| y.smooth_norm(1.0), "smooth_norm", "numbers are wanted"),
    (|_, a, _, _| a.smooth_norm(0.0), "smooth_norm", "ε is 0, but above 0 and finite is wanted"),
    (|_, _, _, y| y.prod(), "prod", "numbers are wanted"),
    (|_, _, _, y| y.cumsum(0), "cumsum", "numbers are wanted"),
    (|_, _, _, y| y.argmax(0), "argmax", "numbers are wanted"),
    (|_, _, _, y| y.permute(&[0]), "permute", "numbers are wanted"),
    (|_, a, _, _| a.cumsum(2), "cumsum", "[2] are not distinct axes of [2, 3]"),
    (|_, a, _, _| a.argmin(7), "argmin", "[7] are not distinct axes of [2, 3]"),
    (|_, a, _, _| a.sum_axes(&[2]), "sum", "[2] are not distinct axes of [2, 3]"),
    (|_, a, _, _| a.mean_axes(&[1, 1]), "mean", "[1, 1] are not distinct axes of [2, 3]"),
    (|_, a, _, _| a.max_axes(&[2]), "max", "[2] are not distinct axes of [2, 3]"),
    (|_, a, _, _| a.norm_axes(&[0, 0]), "norm", "[0, 0] are not distinct axes of [2, 3]"),
    (|_, a, _, _| a.var_axes(&[3]), "var", "[3] are not distinct axes of [2, 3]"),
    (|_, a, _, _| a.std_axes(&[3]), "std", "[3] are not distinct axes of [2, 3]"),
    (|_, a, _, _| a.reshape([4]), "reshape", "[2, 3] has 6 elements, [4] has 4"),
    (|_, a, _, _| a.permute(&[0, 0]), "permute", "[0, 0] is not an order of the axes of [2, 3]"),
    (|_, a, _, _| a.broadcast_to([5, 3]), "broadcast_to", "[2, 3]"),
    (|_, a, _, _| a.slice(1, 2..5), "slice", "2..5 is not a range of axis 1 of [2, 3]"),
    (|_, a, _, _| a.slice_step(1, 0..3, 0), "slice_step", "a step of 0"),
    (|_, a, _, _| a.at(3, 0), "at", "[2, 3] has no axis 3"),
    (|_, a, _, _| a.at(1, 3), "at", "axis 1 of [2, 3] has no index 3"),
    (|_, a, _, _| a.split(1, 2)[0], "split", "axis 1 of [2, 3] has no 2 equal parts"),
    (|_, a, _, _| a.flip(2), "flip", "[2] are not distinct axes of [2, 3]"),
    (|_, a, _, _| a.roll(2, 1), "roll", "[2] are not distinct axes of [2, 3]"),
    (|_, a, _, _| a.pad(2, 1, 1), "pad", "[2, 3] has no axis 2"),
    (|_, _, _, y| y.pad(0, 1, 1), "pad", "labels [2] below 5, which have no zero"),
    (|_, a, _, _| a.squeeze(0), "squeeze", "axis 0 of [2, 3] is not one of extent 1"),
    (|_, a, _, _| a.expand_dims(3), "expand_dims", "there is no place 3 among the axes of [2, 3]"),
    (|_, a, _, _| a.swapaxes(0, 2), "swapaxes", "0 and 2 are not axes of [2, 3]"),
    (|_, a, _, _| a.moveaxis(2, 0), "moveaxis", "2 and 0 are not axes of [2, 3]"),
    (|_, _, v, _| v.tril(0), "tril", "[3] has no two axes to be a matrix"),
    (|_, _, v, _| v.sum().diag(), "diag", "one number has no axis"),
    (|_, _, v, _| v.trace(), "trace", "[3] has no two axes"),
    (|_, a, _, _| a.one_hot(), "one_hot", "labels are wanted, not [2, 3]"),
    (|_, a, _, y| a.less(y), "less", "shapes [2, 3] and [2] do not broadcast"),
    (|_, a, v, _| v.select(a, a.t()), "select", "do not broadcast"),
    (|_, a, _, _| a.maximum(a.t()), "maximum", "do not broadcast"),
    (
        |_, a, _, _| a.patches(&[Window::new(1, 5)], 0.0),
        "patches",
        "a window that spans 5 does not fit axis 1 of [2, 3]",
    ),
    (|_, _, _, y| y.patches(&[Window::new(0, 1)], 0.0), "patches", "numbers are wanted, not labels [2] below 5"),
    (|t, a, v, _| t.concat(&[a, v], 0), "concat", "[2, 3] and [3] do not join along axis 0"),
    (|t, a, v, _| t.einsum("ij,j->k", &[a, v]), "einsum \"ij,j->k\"", "a letter of the result stands in no operand"),
    (|t, a, _, _| t.einsum("ij", &[a]), "einsum \"ij\"", "an arrow"),
    (|t, a, _, _| t.einsum("i->i", &[a]), "einsum \"i->i\"", "\"i\" does not name the axes of [2, 3]"),
    (|t, a, _, _| t.einsum("i...->i", &[a]), "einsum \"i...->i\"", "the result lacks the ..."),
    (|t, a, _, _| t.einsum("ij->ii", &[a]), "einsum \"ij->ii\"", "a letter stands twice in the result"),
    (|t, a, _, _| t.einsum("i1->i", &[a]), "einsum \"i1->i\"", "'1' names no axis"),
    (|t, a, _, _| t.einsum("ii->i", &[a]), "einsum \"ii->i\"", "axes 0 and 1 of [2, 3] have one name"),
    (|t, a, v, _| t.einsum("ij,i->j", &[a, v]), "einsum \"ij,i->j\"", "'i' is 2 in one operand and 3 in another"),
    (|t, a, _, y| t.einsum("ij,i->j", &[a, y]), "einsum \"ij,i->j\"", "not labels [2] below 5"),
    (|t, _, _, _| t.constant([2], &[1.0]), "constant", "1 values were given for the shape [2]"),
    (|t, _, _, _| t.constant([0], &[]), "constant", "at least one element"),
    (|t, _, _, _| t.indices([1], &[3], 3), "indices", "3 is not below 3"),
    (|t, _, _, _| t.arange(1 << 40), "arange", "pass so large an array as data"),
    (|t, a, _, _| t.custom(&[a], |a| a[0].dot(a[0]), |_, v| v[0]), "dot", "does not match"),
    (|t, a, _, _| t.custom(&[a], |a| a[0], |a, v| a[0] + v[0].t()), "add", "do not broadcast"),
    (|t, a, _, _| t.custom(&[a], |a| a[0].sum(), |_, v| v[0]), "custom", "the value is one number, its tangent [2, 3]"),
    (|t, a, _, _| t.custom(&[a], |a| a[0], |_, v| v[0] * v[0]), "custom", "not linear in the arguments' tangents"),
    (|t, a, _, _| t.custom(&[a], |a| a[0], |_, v| v[0] + 1.0), "custom", "not linear"),
    (|t, a, _, _| t.custom(&[a], |a| a[0], |_, v| v[0].abs()), "custom", "not linear"),
    (|t, a, _, _| t.custom(&[a], |a| a[0], |_, v| v[0].stop_gradient()), "custom", "not linear"),
    (|t, a, _, _| t.custom(&[a], |a| a[0], |_, v| v[0].relu()), "custom", "not linear"),
    (|t, a, _, _| t.custom(&[a], |a| a[0], |a, _| a[0]), "custom", "not linear"),
    (|t, _, _, _| t.custom(&[], |_| unreachable(), |_, _| unreachable()), "custom", "at least one argument is wanted"),
    (|_, a, _, _| (0..40).fold(a, |x, _| x.expand_dims(0)), "reshape", "more than 32 axes"),
];

/// Never called.
fn unreachable<'t>() -> Expr<'t> {
    panic!("called without arguments")
}

fn message<T>(result: Result<T, impl std::fmt::Display>) -> String {
    result.err().map(|e| e.to_string()).unwrap_or_else(|| panic!("no error"))
}

/// No word of the inside.
#[track_caller]
fn plain(text: &str) {
    for inner in ["contract", "make", "lower", "engine/src", "i<", "f[", "->a"] {
        assert!(!text.contains(inner), "{inner} in {text}");
    }
}

#[test]
fn every_mistake_names_its_method_and_line() {
    for (at, &(wrong, op, why)) in WRONG.iter().enumerate() {
        let data = (spec([3]), Spec::index([2], 5));
        let text = message(Func::trace(spec([2, 3]), data, |tape, a, (v, y)| wrong(tape, a, v, y).to_real().sum()));
        assert!(text.contains("tests/messages.rs:"), "{at}: {text}");
        assert!(text.starts_with(op) && text.contains(why), "{at}: {text}, not {op} … {why}");
        if !op.starts_with("einsum") {
            plain(&text);
        }
        // Debug, which main prints, says the same.
        let error = Func::trace(spec([2, 3]), (spec([3]), Spec::index([2], 5)), |t, a, (v, y)| wrong(t, a, v, y).sum());
        assert_eq!(format!("{:?}", error.expect_err("an error")), text.clone());
    }
}

#[test]
fn functions_and_their_parts() {
    let f = Func::trace((spec([2]), spec([])), label(3), |_, (w, b), y| w.sum() * b + y.to_real()).expect("a trace");
    let text = message(f.value_and_grad().expect("a gradient").output("1.2"));
    assert_eq!(text, "output: there is no \"1.2\"; there are 0, 1.0, 1.1");
    assert_eq!(
        message(f.grad().expect("a gradient").outputs_where(|_| false)),
        "outputs_where: no result is picked; there are 0, 1"
    );
    let text = message(f.vmap_where(2, |path| path == "data.0"));
    assert_eq!(text, "vmap_where: no input is picked; there are params.0, params.1, data");
    let wrong = Func::trace((spec([2]), spec([])), spec([]), |tape, p, y| f.call(tape, &p, &y));
    let text = message(wrong);
    assert!(
        text.starts_with("call at tests/messages.rs:")
            && text.ends_with("data: want one label below 3, got one number"),
        "{text}"
    );
    let text = message(f.vmap(2).expect("a batch").grad());
    assert!(
        text.contains("the result is [2], not a scalar: for the gradient of a mean over examples use mean(n)"),
        "{text}"
    );
    let text = message(Func::trace(spec([]), label(0), |_, w, _| w));
    assert!(text.contains("data: want at least one class, got one label below 0"), "{text}");
}

#[test]
fn results_by_path() {
    let f = Func::trace((spec([2]), spec([])), spec([2]), |_, (w, b), x| w.dot(x) * b).expect("a trace");
    let all = f.value_and_grad().expect("a gradient");
    let device = osculate::Device::cpu();
    let vector = |x: [f64; 2]| osculate::Array::new([2], x.to_vec()).expect("an array");
    let (p, x) = ((vector([1.0, 2.0]), osculate::Array::scalar(3.0)), vector([5.0, 7.0]));
    let run =
        |f: Func<(Spec, Spec), Spec, Spec>| f.compile::<f64>(&device).expect("a program").run(&p, &x).expect("a run");
    assert_eq!(run(all.first().expect("the value")).item(), Some(57.0));
    assert_eq!(run(all.output("0").expect("the value")).item(), Some(57.0));
    assert_eq!(run(all.output("1.1").expect("a part")).item(), Some(19.0));
    assert_eq!(run(all.output("1.0").expect("a part")).values(), [15.0, 21.0]);
    let both = all.outputs_where(|path| path.starts_with("1.")).expect("parts");
    let both = both.compile::<f64>(&device).expect("a program").run(&p, &x).expect("a run");
    assert_eq!((both[0].values(), both[1].item()), (&[15.0, 21.0][..], Some(19.0)));
    // What others needed is not computed.
    assert!(all.output("1.1").expect("a part").graph().len() < all.graph().len());
    // Σ wᵢ ∇lossᵢ.
    let sum = f.weighted(2).expect("a sum").grad().expect("its gradient");
    let rows = osculate::Array::new([2, 2], vec![5.0, 7.0, 1.0, 0.0]).expect("an array");
    let sum = sum.compile::<f64>(&device).expect("a program").run(&p, &(rows, vector([2.0, -1.0]))).expect("a run");
    assert_eq!((sum.0.values(), sum.1.item()), (&[27.0, 42.0][..], Some(37.0)));
}

#[test]
fn trees_from_lists() {
    use osculate::Tree;
    osculate::tree! { struct Pair { a, b } }
    let pair = Pair { a: spec([2]), b: spec([]) };
    let paths: Vec<String> = pair.leaves("").iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(paths, ["a", "b"]);
    let arrays = || vec![osculate::Array::full([2], 1.0), osculate::Array::scalar(2.0)];
    let made = pair.with_leaves(arrays()).expect("a tree");
    assert_eq!(made.clone(), made);
    assert_eq!(made.b.item(), Some(2.0));
    for count in [1, 3] {
        let list = arrays().into_iter().chain(arrays()).take(count);
        assert_eq!(message(pair.with_leaves(list)), format!("{count} arrays were given to a tree of 2"));
    }
    fn twice<P: osculate::Signature>(values: &P::With<osculate::Array<f64>>) -> [P::With<osculate::Array<f64>>; 2] {
        [values.clone(), values.clone()]
    }
    assert_eq!(twice::<Pair<Spec>>(&made)[1], made);
}
