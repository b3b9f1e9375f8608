//! Constants that keep numbers within the range of a type stay where they were written.

use osculate::nn::weight_decay;
use osculate::{Array, Batch, Device, Examples, Expr, Form, Func, Request, Rng, Spec, Tape, spec};
use osculate_kernels::Real;

type Case = for<'t> fn(Expr<'t>) -> Expr<'t>;

/// Value, gradient and Hv at x along v.
fn all_of<T: Real>(f: Case, x: &[f64], v: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
    let n = x.len();
    let loss = Func::trace(spec([n]), spec([]), |_, x, _| f(x)).expect("a trace");
    let array = |x: &[f64]| Array::new([n], x.iter().map(|&x| T::from_f64(x)).collect()).expect("a vector");
    let (x, v, nothing) = (array(x), array(v), Array::scalar(T::zero()));
    let wide = |a: &Array<T>| a.values().iter().map(|&x| x.to_f64()).collect::<Vec<f64>>();
    let value = loss.compile::<T>(&Device::cpu()).unwrap().run(&x, &nothing).unwrap();
    let hvp = loss.hvp().unwrap().compile::<T>(&Device::cpu()).unwrap().run(&(x, v), &nothing).unwrap();
    (wide(&value)[0], wide(&hvp.0), wide(&hvp.1))
}

fn near(got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= tolerance * want.abs(), "{got:e}, not {want:e}");
    }
}

#[test]
fn constants_that_prevent_overflow_do() {
    // The length of a vector whose squares overflow.
    let length: Case = |x| (x * 1e-20).square().sum().sqrt() * 1e20;
    let (value, gradient, curvature) = all_of::<f32>(length, &[3e20, 4e20], &[1e20, 0.0]);
    near(&[value], &[5e20], 1e-6);
    near(&gradient, &[0.6, 0.8], 1e-6);
    // (I − uuᵀ)v/‖x‖ of the direction u.
    near(&curvature, &[0.64 * 0.2, -0.48 * 0.2], 1e-5);
    let square: Case = |x| (x * 1e-170).square().sum();
    let (value, gradient, curvature) = all_of::<f64>(square, &[1e170], &[1e170]);
    near(&[value], &[1.0], 1e-15);
    near(&gradient, &[2e-170], 1e-15);
    near(&curvature, &[2e-170], 1e-15);
    let dot: Case = |x| (x * 1e-25).dot(x * 1e-25);
    let (value, gradient, curvature) = all_of::<f32>(dot, &[1e25, 1e25], &[1e25, 0.0]);
    near(&[value], &[2.0], 1e-6);
    near(&gradient, &[2e-25, 2e-25], 1e-6);
    assert!(curvature[1] == 0.0);
    near(&curvature[..1], &[2e-25], 1e-6);
}

#[test]
fn constants_that_prevent_underflow_do() {
    let square: Case = |x| (x * 1e30).square().sum() * 1e-30;
    let (value, gradient, curvature) = all_of::<f32>(square, &[2e-30], &[1e-30]);
    near(&[value], &[4e-30], 1e-6);
    near(&gradient, &[4.0], 1e-6);
    near(&curvature, &[2.0], 1e-6);
    let cube: Case = |x| (x * 1e200).powi(3).sum();
    let (value, gradient, curvature) = all_of::<f64>(cube, &[2e-200], &[1e-200]);
    near(&[value], &[8.0], 1e-14);
    near(&gradient, &[12e200], 1e-14);
    near(&curvature, &[12e200], 1e-14);
}

#[test]
fn every_way_to_write_a_scaling() {
    let at = [1e25, 2e25];
    let cases: [(Case, f64); 13] = [
        (|x| (1e-25 * x).square().sum(), 5.0),
        (|x| (x * x.tape().full([2], 1e-25)).square().sum(), 5.0),
        (|x| (x * 1e-13 * 1e-12).square().sum(), 5.0),
        (|x| (x * (x.tape().lit(1e-25)).stop_gradient()).square().sum(), 5.0),
        (|x| (x.broadcast_to([3, 2]) * 1e-25).square().sum(), 15.0),
        (|x| ((x * 1e-25).broadcast_to([3, 2])).square().sum(), 15.0),
        (|x| (x.pad(0, 1, 1) * 1e-25).square().sum(), 5.0),
        (|x| ((x * 1e-25).pad(0, 1, 1)).square().sum(), 5.0),
        (|x| (x * 1e-25 + x * 2e-25).square().sum(), 45.0),
        (|x| (x * 3e-25 - x * 2e-25).square().sum(), 5.0),
        (|x| (x * -1e-25).square().sum(), 5.0),
        (|x| (x.reshape([2, 1]) * 1e-25).t().square().sum(), 5.0),
        (|x| x.sum() * 1e-25 * x.mean() * 1e-25, 4.5),
    ];
    for (case, (f, want)) in cases.into_iter().enumerate() {
        // Quadratic forms: ½ xᵀHx is the value, Hx the gradient.
        let (value, gradient, curvature) = all_of::<f32>(f, &at, &at);
        let slope = |g: &[f64]| 0.5 * (g[0] * at[0] + g[1] * at[1]);
        assert!(
            [value, slope(&gradient), slope(&curvature)].iter().all(|v| (v / want - 1.0).abs() < 1e-5),
            "case {case}: {value} {gradient:?} {curvature:?}"
        );
        let (value, ..) = all_of::<f64>(f, &at, &at);
        near(&[value], &[want], 1e-14);
    }
}

#[test]
fn constants_beyond_a_type_are_infinite_there_or_0() {
    let big: Case = |x| (x * 1e300).sum();
    assert_eq!(all_of::<f32>(big, &[1.0], &[1.0]).0, f64::INFINITY);
    assert_eq!(all_of::<f64>(big, &[1.0], &[1.0]).0, 1e300);
    let small: Case = |x| (x * 1e-300).sum();
    assert_eq!(all_of::<f32>(small, &[1.0], &[1.0]).0, 0.0);
    // Two scalings of one number are one.
    let back: Case = |x| (x * 1e300 * 1e-300).sum();
    assert_eq!(all_of::<f32>(back, &[2.5], &[1.0]).0, 2.5);
}

#[test]
fn ordinary_coefficients_still_merge() {
    let text = |f: for<'t> fn(&'t Tape, Expr<'t>) -> Expr<'t>| {
        let f = Func::trace(spec([4]), spec([]), |t, x, _| f(t, x)).expect("a trace");
        f.graph().to_string().lines().skip(2).map(|l| l.split_once(" = ").map_or(l, |(_, r)| r).to_string()).collect()
    };
    let lines: Vec<String> = text(|_, x| (0.5 * x).dot(x * -2.0) * (1.0 / 1024.0));
    assert_eq!(lines, ["contract[-1 a,a->] %0 %0", "contract[0.0009765625 ->] %2", "return %3"]);
    let lines: Vec<String> = text(|_, x| (1e-4 * x) * x.mean());
    assert_eq!(lines, ["contract[a->] %0", "contract[0.000025 a,->a] %0 %2", "return %3"]);
    // What would leave the range does not.
    let lines: Vec<String> = text(|_, x| (1e-6 * x) * (x * 1e-6));
    assert_eq!(lines, ["contract[0.000001 a->a] %0", "contract[0.000001 a,a->a] %0 %2", "return %3"]);
}

/// Coefficients of one sign add up within the range, in one node or two.
#[test]
fn sums_of_scaled_terms() {
    let f: Case = |x| (3e38 * x + 3e38 * x).sum() * 1e-38;
    let (value, gradient, _) = all_of::<f32>(f, &[0.1], &[1.0]);
    near(&[value, gradient[0]], &[0.6, 6.0], 1e-6);
    let f: Case = |x| (1e-170 * x + 1e-170 * x).square().sum();
    let (value, gradient, curvature) = all_of::<f64>(f, &[1e170], &[1e170]);
    near(&[value, gradient[0], curvature[0]], &[4.0, 8e-170, 8e-170], 1e-15);
}

/// An expression and the binary logarithm of the size of its elements.
type Sized<'t> = (Expr<'t>, i32);

/// A random positive function of a vector of size 2^`mag` and one of size 1, the logarithm of its own size, and those of its parts
/// within ±`reach`, if `extreme`; else of numbers of size 1 with the same digits.
fn random_scaled<'t>(rng: &mut Rng, x: Expr<'t>, d: Expr<'t>, reach: i32, mag: i32, extreme: bool) -> Expr<'t> {
    let pick = |rng: &mut Rng, n: usize| (rng.uniform(0.0, 1.0) * n as f64) as usize;
    let level = |rng: &mut Rng, reach: i32| (rng.uniform(-1.0, 1.0) * f64::from(reach)) as i32;
    let to = |(e, from): Sized<'t>, to: i32, digits: f64| -> Sized<'t> {
        (e * (digits * if extreme { 2f64.powi(to - from) } else { 1.0 }), to)
    };
    let mut pool: Vec<Sized<'t>> = vec![(x, mag), (d, 0)];
    for _ in 0..5 {
        let (a, b) = (pool[pick(rng, pool.len())], pool[pick(rng, pool.len())]);
        let (digits, other) = (rng.uniform(0.7, 1.3), rng.uniform(0.7, 1.3));
        let half = level(rng, reach / 2);
        let made = match pick(rng, 8) {
            0 | 1 => to(a, level(rng, reach), digits),
            2 => (to(a, half, digits).0.square(), 2 * half),
            3 => {
                let left = level(rng, reach / 2);
                (to(a, half, digits).0 * to(b, left, other).0, half + left)
            }
            4 => {
                let at = level(rng, reach);
                (to(a, at, digits).0 + to(b, at, other).0, at)
            }
            5 => (a.0.sum().broadcast_to(x.shape()) * 0.3, a.1),
            6 => (to(a, 2 * (half / 2), digits).0.sqrt(), half / 2),
            _ => ((to(a, 0, digits).0 + 0.5).recip() + to(b, 0, other).0.ln_1p(), 0),
        };
        pool.push(made);
    }
    let all = pool.into_iter().skip(2).map(|e| to(e, 0, 1.0).0.sum()).reduce(|a, b| a + b);
    all.expect("a term") + 0.1 * to((x, mag), 0, 1.0).0.square().sum()
}

/// Loss, gradient and Hv along a vector of the parameter's size, and third derivatives along it, all in units of that size.
fn measured<T: Real>(seed: u64, reach: i32, mag: i32, extreme: bool) -> Vec<f64> {
    let loss =
        Func::trace(spec([3]), spec([3]), |_, x, d| random_scaled(&mut Rng::new(seed), x, d, reach, mag, extreme));
    let loss = loss.expect("a trace");
    let rng = &mut Rng::new(seed + 1000);
    let unit = if extreme { 2f64.powi(mag) } else { 1.0 };
    let mut array = |unit: f64| Array::from_fn([3], |_| T::from_f64(f64::from(rng.uniform(0.6, 1.6) as f32) * unit));
    let (x, v, d) = (array(unit), array(unit), array(1.0));
    let mut all = Vec::new();
    let hvp = loss.hvp().unwrap();
    let (g, h) = hvp.compile::<T>(&Device::cpu()).unwrap().run(&(x.clone(), v.clone()), &d).unwrap();
    let batched = |a: &Array<T>| Array::new([1, 3], a.values().to_vec()).unwrap();
    let (vg, vh) = (hvp.vmap(1).unwrap().compile::<T>(&Device::cpu()).unwrap())
        .run(&(x.clone(), v.clone()), &batched(&d))
        .unwrap();
    for values in [g, h, vg, vh] {
        all.extend(values.values().iter().map(|&g| g.to_f64() * unit));
    }
    let along = loss.directional(3).unwrap().compile::<T>(&Device::cpu()).unwrap().run(&(x, v), &d).unwrap();
    all.extend(along.iter().map(|a| a.values()[0].to_f64()));
    all
}

fn agree(got: &[f64], want: &[f64], tolerance: f64, what: &str) {
    // Gradients and Hv by themselves: their elements are of one size.
    for part in [0..3, 3..6, 6..9, 9..12, 12..13, 13..14, 14..15, 15..16] {
        let scale = want[part.clone()].iter().fold(0.0f64, |m, v| m.max(v.abs())).max(1e-2);
        for at in part {
            let gap = (got[at] - want[at]).abs();
            assert!(gap <= tolerance * scale, "{what}: number {at} is {:e}, not {:e}", got[at], want[at]);
        }
    }
}

#[test]
fn random_functions_at_all_scales() {
    for seed in 0..150 {
        let mag = [0, 30, -30, 60, -60][seed as usize % 5];
        let want = measured::<f64>(seed, 0, 0, false);
        agree(&measured::<f32>(seed, 60, mag, true), &want, 2e-4, &format!("f32, seed {seed}"));
        agree(&measured::<f64>(seed, 400, 6 * mag, true), &want, 1e-11, &format!("f64, seed {seed}"));
    }
}

/// Sums of gradients and Hv, and their variances, in every form.
fn moments<T: Real>(seed: u64, reach: i32, mag: i32, extreme: bool, form: Form) -> Vec<f64> {
    let unit = if extreme { 2f64.powi(mag) } else { 1.0 };
    let loss = Func::trace(spec([3, 2]), spec([3]), |_, w, d| {
        // A dense layer in units of its own, and a decay.
        let z = d.dot(w * (1.0 / unit)).square();
        let x = w.slice(1, 0..1).reshape([3]);
        random_scaled(&mut Rng::new(seed), x * (z.sum() + 0.5), d, reach, mag, extreme)
            + 0.3 * weight_decay(w.tape(), &(w * (1.0 / unit)), |_| true)
    });
    let loss: Func<Spec, Spec, Spec> = loss.expect("a trace");
    let rng = &mut Rng::new(seed + 1000);
    let mut list = |n: usize, unit: f64| -> Vec<T> {
        (0..n).map(|_| T::from_f64(f64::from(rng.uniform(0.6, 1.6) as f32) * unit)).collect()
    };
    let (w, v) = (list(6, unit), list(6, unit));
    let batch = Examples::new(spec([3]), Array::new([4, 3], list(12, 1.0)).unwrap()).unwrap();
    let batch: Batch<T> = batch.all().unwrap();
    let request = Request::gradient().and_hvp().and_elementwise().and_inner().in_form(form);
    let mut program = loss.moments::<T>(4, request, &Device::cpu()).unwrap();
    let mut moments = program.moments();
    program.run(&w, Some(&v), &batch, &mut moments).unwrap();
    let mut all: Vec<f64> = Vec::new();
    all.extend(moments.gradient().unwrap().sum.iter().map(|&g| g.to_f64() * unit));
    all.extend(moments.hvp().unwrap().sum.iter().map(|&g| g.to_f64() * unit));
    all.push(moments.gradient_variance().unwrap().value.sqrt() * unit);
    all.push(moments.hvp_variance().unwrap().value.sqrt() * unit);
    all.extend(moments.gradient_elementwise_variance().unwrap().iter().map(|v| v.value.sqrt() * unit));
    all
}

#[test]
fn moments_at_all_scales_in_every_form() {
    for seed in 0..24 {
        let mag = [0, 12, -12, 25, -25][seed as usize % 5];
        let want = moments::<f64>(seed, 0, 0, false, Form::Made);
        for form in [Form::Cheapest, Form::Factored, Form::Gram, Form::Made] {
            let got = moments::<f64>(seed, 200, 4 * mag, true, form);
            for (at, (got, want)) in got.iter().zip(&want).enumerate() {
                assert!((got - want).abs() <= 1e-6 * (1.0 + want.abs()), "f64 {form}, seed {seed}, {at}: {got} {want}");
            }
            let got = moments::<f32>(seed, 40, mag, true, form);
            for (at, (got, want)) in got.iter().zip(&want).enumerate() {
                let gap = (got - want).abs();
                assert!(gap <= 2e-2 * (1.0 + want.abs()), "f32 {form}, seed {seed}, {at}: {got} {want}");
            }
        }
    }
}

#[test]
fn scalings_of_three_operands_stay_within_the_range() {
    // Whatever two are multiplied first, no coefficient may take their product out of f32.
    for [a, b, c] in [[29, 29, -29], [29, -29, 29], [-29, 29, 29], [20, 20, -20], [-29, -29, 29]] {
        let f = Func::trace(spec([1]), (spec([1]), spec([1])), |tape, x, (y, z)| {
            let scaled = [x * 2f64.powi(a), y * 2f64.powi(b), z * 2f64.powi(c)];
            tape.einsum("i,i,i->", &scaled)
        })
        .unwrap();
        // Within the range as written, in any order.
        let numbers = [a, b, c].map(|e| f64::from(3e-10f32) * 2f64.powi(-e));
        let [x, y, z] = numbers.map(|n| Array::new([1], vec![n as f32]).unwrap());
        let got = f.compile::<f32>(&Device::cpu()).unwrap().run(&x, &(y, z)).unwrap().values()[0];
        let want = 2.7e-29f64;
        assert!((f64::from(got) / want - 1.0).abs() < 1e-5, "{a}, {b}, {c}: {got:e}");
    }
}

#[test]
fn constant_indices_that_f32_cannot_count_are_an_error() {
    let f = |bound: usize| {
        Func::trace(spec([bound]), spec([]), |tape, w, _| {
            w.take(tape.indices([1], &[bound as u32 - 1], bound), 0).sum()
        })
        .unwrap()
    };
    let error = f((1 << 24) + 1).compile::<f32>(&Device::cpu()).expect_err("an index that f32 rounds");
    assert!(error.to_string().contains("are not exact in f32"), "{error}");
    assert!(f(1 << 24).compile::<f32>(&Device::cpu()).is_ok());
    assert!(f((1 << 24) + 1).compile::<f64>(&Device::cpu()).is_ok());
}

#[test]
fn windows_and_steps_of_any_size() {
    let f = Func::trace(spec([2, 3]), spec([]), |_, x, _| {
        let far = osculate::Window::new(0, 1).dilation(usize::MAX).stride(usize::MAX);
        x.slice_step(0, 0..2, 1 << 63).sum() + x.patches(&[far], 0.0).sum()
    })
    .unwrap();
    let x = Array::new([2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    let got = f.value_and_grad().unwrap().compile::<f64>(&Device::cpu()).unwrap().run(&x, &Array::scalar(0.0)).unwrap();
    assert_eq!((got.0.item(), got.1.values()), (Some(12.0), &[2.0, 2.0, 2.0, 0.0, 0.0, 0.0][..]));
}
