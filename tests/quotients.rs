//! Quotients rounded once, whole powers of either sign, means: numbers that a product with a reciprocal gets wrong.

use osculate::{Array, Device, Examples, Expr, Form, Func, Real, Request, spec};

/// Value, gradient and diagonal of the Hessian of Σ f at some points.
fn orders<T: Real>(f: fn(Expr<'_>) -> Expr<'_>, points: &[f64]) -> [Vec<T>; 3] {
    let x: Vec<T> = points.iter().map(|&x| T::from_f64(x)).collect();
    let n = x.len();
    let (x, one) = (Array::new([n], x).expect("an array"), Array::new([n], vec![T::one(); n]).expect("an array"));
    let (none, cpu) = (Array::scalar(T::zero()), Device::cpu());
    let each = Func::trace(spec([n]), spec([]), |_, x, _| f(x)).expect("a trace");
    let sum = Func::trace(spec([n]), spec([]), |_, x, _| f(x).sum()).expect("a trace");
    let value = each.compile::<T>(&cpu).expect("a program").run(&x, &none).expect("a run");
    let (grad, hv) =
        sum.hvp().expect("hvp").compile::<T>(&cpu).expect("a program").run(&(x, one), &none).expect("a run");
    [value, grad, hv].map(|a| a.values().to_vec())
}

/// x/z, and the gradient of Σ x/z.
fn quotient<T: Real>(x: f64, z: f64) -> [f64; 3] {
    let pair = (Array::scalar(T::from_f64(x)), Array::scalar(T::from_f64(z)));
    let (none, cpu) = (Array::scalar(T::zero()), Device::cpu());
    let f = Func::trace((spec([]), spec([])), spec([]), |_, (x, z), _| x / z).expect("a trace");
    let value = f.compile::<T>(&cpu).expect("a program").run(&pair, &none).expect("a run");
    let (dx, dz) = f.grad().expect("grad").compile::<T>(&cpu).expect("a program").run(&pair, &none).expect("a run");
    [value, dx, dz].map(|a| a.item().expect("a scalar").to_f64())
}

#[test]
fn whole_numbers_divide_themselves_exactly() {
    let whole: Vec<f64> = (1..=1000).map(f64::from).collect();
    let n = whole.len();
    let x = Array::new([n], whole.clone()).expect("an array");
    let f = Func::trace(spec([n]), spec([n]), |_, x, z| x / z).expect("a trace");
    let got = f.compile::<f64>(&Device::cpu()).expect("a program").run(&x, &x).expect("a run");
    assert_eq!(got.values(), vec![1.0; n]);
    // By constants, of constants, and beside a broadcast.
    for k in [3.0, 7.0, 49.0, 98.0, 103.0, 1e22] {
        let f = Func::trace(spec([2, 1]), spec([3]), move |_, x, z| x / k + k / z).expect("a trace");
        let (x, z) = (Array::new([2, 1], vec![k, 2.0 * k]), Array::new([3], vec![k, k / 2.0, 4.0 * k]));
        let run = f.compile::<f64>(&Device::cpu()).expect("a program").run(&x.expect("x"), &z.expect("z"));
        assert_eq!(run.expect("a run").values(), [2.0, 3.0, 1.25, 3.0, 4.0, 2.25]);
    }
}

#[test]
fn quotients_of_the_smallest_and_the_largest() {
    assert_eq!(quotient::<f64>(1e-310, 1e-310)[0], 1.0);
    assert_eq!(quotient::<f64>(0.0, 1e-310)[0], 0.0);
    assert_eq!(quotient::<f64>(0.0, 1e-310)[2], 0.0);
    assert_eq!(quotient::<f32>(1e-39, 2e-39)[0], f64::from(1e-39f32 / 2e-39f32));
    assert_eq!(quotient::<f64>(f64::MAX, f64::MAX), [1.0, 1.0 / f64::MAX, -1.0 / f64::MAX]);
    assert_eq!(quotient::<f32>(3e38, 3e38)[0], 1.0);
    assert_eq!(quotient::<f64>(1.0, 0.0)[0], f64::INFINITY);
    assert!(quotient::<f64>(0.0, 0.0)[0].is_nan());
    assert_eq!(quotient::<f64>(7.0, f64::INFINITY), [0.0, 0.0, -0.0]);
    // A power of two is a scaling only where its reciprocal is one of every type.
    let f = Func::trace(spec([]), spec([]), |_, x, _| x / 2f64.powi(-1030)).expect("a trace");
    let got = f.compile::<f64>(&Device::cpu()).expect("a program").run(&Array::scalar(1e-310), &Array::scalar(0.0));
    assert_eq!(got.expect("a run").item(), Some(1e-310 / 2f64.powi(-1030)));
    assert!(Func::trace(spec([]), spec([]), |_, x, _| x / 8.0).expect("a trace").graph().to_string().contains("0.125"));
}

#[test]
fn a_mean_of_ones_is_one() {
    for n in [3usize, 49, 98, 103, 128] {
        let x = Array::new([n, 1], vec![1.0; n]).expect("an array");
        let f = Func::trace(spec([n, 1]), spec([]), |_, x, _| x.mean() + x.mean_axes(&[0]).sum()).expect("a trace");
        let got = f.compile::<f64>(&Device::cpu()).expect("a program").run(&x, &Array::scalar(0.0)).expect("a run");
        assert_eq!(got.item(), Some(2.0), "{n}");
    }
}

#[test]
fn whole_powers_at_all_scales() {
    // r⁻¹² at 5000: 4.096e-45 is a subnormal number of f32, its derivatives are smaller than any.
    let [value, slope, second] = orders::<f32>(|r| r.powi(-12), &[5000.0, 10.0, 0.5]);
    assert_eq!((value[0], value[2]), (4.096e-45, 4096.0));
    let all = value[1..2].iter().chain(&slope).chain(&second);
    for (got, want) in all.zip([1e-12, 0.0, -1.2e-12, -98304.0, 0.0, 1.56e-12, 2555904.0]) {
        assert!((got - want).abs() <= 2e-6 * f32::abs(want), "{got}, not {want}");
    }
    let [value, slope, second] = orders::<f64>(|r| r.powi(-12), &[1e25]);
    assert!((value[0] / 1e-300 - 1.0).abs() < 1e-14 && slope[0] == -0.0 && second[0] == 0.0, "{value:?} {slope:?}");
    // At 0, and at infinity.
    assert_eq!(orders::<f64>(|x| x.powi(2), &[0.0, -0.0]), [vec![0.0; 2], vec![0.0; 2], vec![2.0; 2]]);
    assert_eq!(orders::<f64>(|x| x.powi(3), &[0.0]), [vec![0.0], vec![0.0], vec![0.0]]);
    assert_eq!(orders::<f64>(|x| x.powi(0), &[f64::NAN, 0.0]), [vec![1.0; 2], vec![0.0; 2], vec![0.0; 2]]);
    assert_eq!(orders::<f64>(|x| x.powi(1), &[f64::INFINITY]), [vec![f64::INFINITY], vec![1.0], vec![0.0]]);
    assert_eq!(orders::<f64>(|x| x.powi(-2), &[f64::INFINITY, -0.0])[0], [0.0, f64::INFINITY]);
    // The least exponent: its derivatives have lower ones still.
    let [value, slope, second] = orders::<f64>(|x| x.powi(i32::MIN), &[1.0, 2.0, -1.0]);
    assert_eq!(value, [1.0, 0.0, 1.0]);
    assert_eq!(slope, [-2147483648.0, -0.0, 2147483648.0]);
    assert_eq!(second, [2147483648.0 * 2147483649.0, 0.0, 2147483648.0 * 2147483649.0]);
    assert_eq!(orders::<f64>(|x| x.powi(i32::MAX), &[1.0, -1.0])[0], [1.0, -1.0]);
}

/// Per-example gradients that are outer products over a number of the example's, of each row, or of all examples still factor.
#[test]
fn quotients_of_outer_products_factor() {
    let n = 5;
    let loss =
        Func::trace((spec([7, 6]), spec([])), (spec([6]), spec([]), spec([7, 1])), |_, (w, scale), (x, s, rows)| {
            let each = (w / s).dot(x) + ((w / rows) / 3.0).dot(x.square()) + (w / (1.0 + scale.square())).dot(x.sin());
            each.tanh().sum()
        })
        .expect("a trace");
    let at: Vec<f64> = (0..43).map(|i| f64::from(i * i % 17) / 17.0 - 0.4).collect();
    let v: Vec<f64> = (0..43).map(|i| f64::from(i * i % 13) / 13.0 - 0.6).collect();
    let numbers = |len: usize| (0..len).map(|i| 0.5 + (i * i % 11) as f64 / 11.0).collect::<Vec<f64>>();
    let x = Array::new([n, 6], numbers(6 * n)).expect("x");
    let data = (x, Array::new([n], numbers(n)).expect("s"), Array::new([n, 7, 1], numbers(7 * n)).expect("rows"));
    let batch = Examples::new(loss.data().clone(), data).and_then(|e| e.all()).expect("a batch");
    let run = |form: Form| {
        let request = Request::gradient().and_hvp().and_elementwise().in_form(form);
        let mut program = loss.moments::<f64>(n, request, &Device::cpu()).expect("a program");
        let mut moments = program.moments();
        program.run(&at, Some(&v), &batch, &mut moments).expect("a run");
        let sums = [moments.gradient().expect("g"), moments.hvp().expect("h")];
        let numbers = sums.map(|s| [s.sum.clone(), s.norms.totals(), s.deviations.clone().expect("e")].concat());
        (program.plan(), numbers.concat())
    };
    let (_, made) = run(Form::Made);
    let scale = made.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for form in [Form::Factored, Form::Gram, Form::Cheapest] {
        let (plan, got) = run(form);
        let near = got.iter().zip(&made).all(|(g, w)| (g - w).abs() <= 1e-13 * scale);
        assert!(near, "{form}: {got:?} instead of {made:?}");
        // Of the three terms of w's gradient, each is an outer product.
        assert!(plan.contains("3 term(s)") || form == Form::Cheapest, "{form}: {plan}");
    }
}
