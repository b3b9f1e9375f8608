//! Where functions saturate and kink: the inputs that users of such libraries reported, with the right numbers.

use osculate::nn::{Dense, elu, gelu, leaky_relu, silu};
use osculate::{Array, Device, Expr, Func, Real, spec};

/// Value, gradient and diagonal of the Hessian of Σ f at some points.
fn orders<T: Real>(f: fn(Expr<'_>) -> Expr<'_>, points: &[f64]) -> [Vec<f64>; 3] {
    let x: Vec<T> = points.iter().map(|&x| T::from_f64(x)).collect();
    let n = x.len();
    let (x, one) = (Array::new([n], x).expect("an array"), Array::new([n], vec![T::one(); n]).expect("an array"));
    let (none, cpu) = (Array::scalar(T::zero()), Device::cpu());
    let each = Func::trace(spec([n]), spec([]), |_, x, _| f(x)).expect("a trace");
    let sum = Func::trace(spec([n]), spec([]), |_, x, _| f(x).sum()).expect("a trace");
    let value = each.compile::<T>(&cpu).expect("a program").run(&x, &none).expect("a run");
    let (grad, hv) =
        sum.hvp().expect("hvp").compile::<T>(&cpu).expect("a program").run(&(x, one), &none).expect("a run");
    [value, grad, hv].map(|a| a.values().iter().map(|&x| x.to_f64()).collect())
}

fn near(got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance * want.abs(), "{got:e}, not {want:e}");
}

#[test]
fn elu_of_a_dead_layer_has_a_gradient() {
    let layer = Dense::new(3, 2);
    let loss = Func::trace(layer.clone(), spec([3]), |_, p, x| elu(p.apply(x), 1.0).sum()).expect("a trace");
    let zeros = Dense { w: Array::from_fn(layer.w.shape.clone(), |_| 0.0), b: Array::from_fn([2], |_| 0.0) };
    let x = Array::new([3], vec![1.0, -2.0, 3.0]).expect("an array");
    let g =
        loss.grad().expect("grad").compile::<f64>(&Device::cpu()).expect("a program").run(&zeros, &x).expect("a run");
    assert_eq!(g.b.values(), [1.0, 1.0]);
    let inf = f64::INFINITY;
    let [value, slope, _] = orders::<f64>(|x| elu(x, 0.5), &[-inf, -1e3, 0.0, -0.0, 2.0, 1e300, inf]);
    assert_eq!(value, [-0.5, -0.5, 0.0, 0.0, 2.0, 1e300, inf]);
    assert_eq!(slope, [0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 1.0]);
    let [value, slope, _] = orders::<f64>(|x| leaky_relu(x, 0.1), &[-inf, -3.0, 0.0, 3.3, inf]);
    assert_eq!(value, [-inf, 0.1 * -3.0, 0.0, 3.3, inf]);
    assert_eq!(slope, [0.1, 0.1, 0.1, 1.0, 1.0]);
}

#[test]
fn gelu_keeps_its_digits_below() {
    let [value, slope, second] = orders::<f32>(gelu, &[-5.5, -6.0, -13.0]);
    for (got, want) in value.iter().zip([-1.044_425_94e-7, -5.919_525_87e-9, -7.952_313_7e-38]) {
        near(*got, want, 1e-6);
    }
    let [wide, wide_slope, wide_second] = orders::<f64>(gelu, &[-5.5, -6.0, -8.0, -13.0]);
    near(wide[2], -4.976_768_459_417_427e-15, 1e-15);
    for (narrow, wide) in [(&value, &wide), (&slope, &wide_slope), (&second, &wide_second)] {
        for (n, w) in narrow.iter().zip([wide[0], wide[1], wide[3]]) {
            near(*n, w, 2e-6);
        }
    }
}

#[test]
fn activations_of_infinities_are_their_limits() {
    let inf = f64::INFINITY;
    for f in [gelu as fn(Expr<'_>) -> Expr<'_>, silu] {
        let [value, slope, second] = orders::<f64>(f, &[-inf, inf, f64::NAN]);
        assert_eq!((value[0], value[1], &slope[..2], &second[..2]), (0.0, inf, &[0.0, 1.0][..], &[0.0, 0.0][..]));
        assert!(value[2].is_nan() && slope[2].is_nan() && second[2].is_nan());
    }
    let others: [fn(Expr<'_>) -> Expr<'_>; 4] = [|x| x.tanh(), |x| x.sigmoid(), |x| x.erf(), |x| x.softsign()];
    for f in others {
        let [_, slope, second] = orders::<f32>(f, &[-inf, inf]);
        assert_eq!((slope, second), (vec![0.0; 2], vec![0.0; 2]));
    }
}

#[test]
fn saturated_derivatives_are_not_zero() {
    let at = |f: fn(Expr<'_>) -> Expr<'_>, x: f64, order: usize| orders::<f32>(f, &[x])[order][0];
    near(at(|x| x.tanh(), 9.0109, 1), 5.960_628_9e-8, 1e-6);
    near(at(|x| x.sigmoid(), 17.0, 1), 4.139_937_38e-8, 1e-6);
    near(at(|x| x.sigmoid(), -17.0, 1), 4.139_937_38e-8, 1e-6);
    near(at(|x| x.exp_m1(), -17.0, 1), 4.139_937_72e-8, 1e-6);
    near(orders::<f64>(|x| x.softplus(), &[40.0])[2][0], 4.248_354_255_291_589e-18, 1e-14);
    near(orders::<f64>(|x| x.tanh(), &[20.0])[1][0], 1.699_341_702_116_635_5e-17, 1e-14);
}
