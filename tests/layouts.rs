//! Products choose in what order the axes of activations lie in memory, and what is computed of them follows: results must not.
//!
//! Channels are enough for products to put them innermost; every stage alone, whose results must lie row-major, tells what all stages
//! together should give.

use osculate::nn::{Norm, Padding, Sliding, average_pool, convolve, cross_entropy, global_average_pool, max_pool};
use osculate::{
    Array, Batch, Device, Examples, Expr, Flat, Form, Func, Request, Rng, Spec, Tree, check, label, spec, tree,
};
use proptest::prelude::*;

tree! { struct Net { first, shift, norm: Norm, second, third, head } }

/// Sizes of a net.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    channels: usize,
    wider: usize,
    groups: usize,
    side: [usize; 2],
    stride: usize,
    padding: Padding,
}

impl Sizes {
    fn net(&self) -> Net<Spec> {
        let Sizes { channels, wider, .. } = *self;
        Net {
            first: spec([channels, 2, 3, 2]),
            shift: spec([channels, 1, 1]),
            norm: Norm::new(channels),
            second: spec([wider, channels, 3, 3]),
            third: spec([wider, wider, 2, 1]),
            head: spec([wider + channels, 3]),
        }
    }

    fn sliding(&self) -> Sliding {
        Sliding { stride: self.stride, padding: self.padding, ..Sliding::default() }
    }
}

type Stage = for<'t> fn(Sizes, Net<Expr<'t>>, Expr<'t>) -> Expr<'t>;

/// From an image to logits; the maxima have kinks.
const STAGES: [Stage; 10] = [
    |s, p, x| convolve(x, p.first, s.sliding(), 1) + p.shift,
    |s, p, x| p.norm.group(x, s.groups),
    |_, _, x| max_pool(x, &[2, 3], Sliding { stride: 1, ..Sliding::default() }),
    |_, _, x| x.tanh() + 0.5 * x,
    |s, p, x| {
        // A shortcut with more channels, of zeros.
        let y = convolve(x, p.second, Sliding::default(), 1);
        y + x.pad(0, 0, s.wider - s.channels)
    },
    |s, _, x| average_pool(x, &[2, 1], s.sliding()),
    |s, p, x| {
        let y = convolve(x, p.third, Sliding { padding: Padding::Exactly(1), ..Sliding::default() }, 1);
        y.tape().concat(&[y, y.slice(0, 0..s.channels)], 0)
    },
    // Rows and columns change places while channels stay.
    |_, _, x| {
        let y = x.tape().einsum("cij->cji", &[x]);
        y * y.sum_axes(&[0]).sigmoid()
    },
    |_, _, x| max_pool(x, &[2, 2], Sliding { stride: 2, ..Sliding::default() }),
    |_, p, x| global_average_pool(x).dot(p.head),
];

const KINKS: [usize; 2] = [2, 8];

/// All stages, or those without kinks.
fn apply<'t>(sizes: Sizes, smooth: bool, p: Net<Expr<'t>>, x: Expr<'t>) -> Expr<'t> {
    let stages = STAGES.iter().enumerate().filter(|(at, _)| !smooth || !KINKS.contains(at));
    stages.fold(x, |x, (_, stage)| stage(sizes, p.clone(), x))
}

fn values(net: &Net<Spec>, rng: &mut Rng) -> Net<Array<f64>> {
    net.map("", |_, s| Ok(Array::from_fn(s.shape.clone(), |_| 0.1 * rng.normal()))).expect("values")
}

fn flat(net: &Net<Spec>, values: &Net<Array<f64>>) -> Vec<f64> {
    Flat::pack(net, values).expect("a buffer").values().to_vec()
}

prop_compose! {
    fn sizes()(
        channels in prop_oneof![Just(16usize), Just(18), Just(24), Just(40)],
        more in prop_oneof![Just(0usize), Just(1), Just(8)],
        groups in prop_oneof![Just(1usize), Just(2)],
        side in [5usize..9, 5usize..9],
        stride in 1usize..=2,
        padding in prop_oneof![Just(Padding::Valid), Just(Padding::Same), Just(Padding::Exactly(1))],
    ) -> Sizes {
        let groups = if channels % 8 == 0 { 4 * groups } else { groups };
        Sizes { channels, wider: channels + more, groups, side, stride, padding }
    }
}

fn near(got: &Array<f64>, want: &Array<f64>) -> Result<(), TestCaseError> {
    let scale = want.values().iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    for (got, want) in got.values().iter().zip(want.values()) {
        prop_assert!((got - want).abs() <= 1e-12 * scale, "{got} instead of {want}, of {scale}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stages_together_are_stages_apart(sizes in sizes(), n in 1usize..4, seed in any::<u64>()) {
        let rng = &mut Rng::new(seed);
        let net = sizes.net();
        let params = values(&net, rng);
        let x = Array::from_fn([&[n, 2], &sizes.side[..]].concat(), |_| rng.normal());
        let mut apart = x.clone();
        for stage in STAGES {
            let shape = apart.shape()[1..].to_vec();
            let f = Func::trace(net.clone(), spec(shape), |_, p, x| stage(sizes, p, x)).expect("a stage");
            let mut program = f.vmap(n).and_then(|f| f.compile::<f64>(&Device::reference())).expect("a program");
            apart = program.run(&params, &apart).expect("a run");
        }
        let input = spec([&[2], &sizes.side[..]].concat());
        let whole = Func::trace(net, input, |_, p, x| apply(sizes, false, p, x)).and_then(|f| f.vmap(n));
        let mut whole = whole.and_then(|f| f.compile::<f64>(&Device::cpu())).expect("a program");
        near(&whole.run(&params, &x).expect("a run"), &apart)?;
    }

    /// Tangents stage by stage are those of all, and cotangents are their adjoints.
    #[test]
    fn tangents_and_cotangents(sizes in sizes(), seed in any::<u64>()) {
        let rng = &mut Rng::new(seed);
        let (net, input) = (sizes.net(), spec([&[2], &sizes.side[..]].concat()));
        let (params, along) = (values(&net, rng), values(&net, rng));
        let [x, v] = [(); 2].map(|()| Array::from_fn(input.shape.clone(), |_| rng.normal()));
        let none = Array::scalar(0.0);
        let mut apart = (x.clone(), v.clone());
        for stage in STAGES {
            let f = Func::trace((net.clone(), spec(apart.0.shape())), spec([]), |_, (p, x), _| stage(sizes, p, x));
            let f = f.and_then(|f| f.jvp()).expect("a stage");
            let mut program = f.compile::<f64>(&Device::reference()).expect("a program");
            apart = program.run(&((params.clone(), apart.0), (along.clone(), apart.1)), &none).expect("a run");
        }
        let whole = Func::trace((net.clone(), input), spec([]), |_, (p, x), _| apply(sizes, false, p, x)).expect("a net");
        let mut forward = whole.jvp().and_then(|f| f.compile::<f64>(&Device::cpu())).expect("a program");
        let at = (params, x);
        let (_, moved) = forward.run(&(at.clone(), (along.clone(), v.clone())), &none).expect("a run");
        near(&moved, &apart.1)?;

        let u = Array::from_fn([3], |_| rng.normal());
        let mut back = whole.vjp().and_then(|f| f.compile::<f64>(&Device::cpu())).expect("a program");
        let (_, (g, gx)) = back.run(&(at, u.clone()), &none).expect("a run");
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let left = dot(moved.values(), u.values());
        let terms = [dot(&flat(&net, &g), &flat(&net, &along)), dot(gx.values(), v.values())];
        let scale = terms.iter().fold(1e-3f64, |m, t| m.max(t.abs()));
        prop_assert!((left - terms[0] - terms[1]).abs() <= 1e-11 * scale, "{left} and {terms:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    /// Gradients, products and third derivatives against differences; moments of every form against made vectors.
    #[test]
    fn derivatives_and_moments(sizes in sizes(), seed in any::<u64>()) {
        let rng = &mut Rng::new(seed);
        let net = sizes.net();
        let data = (spec([&[2], &sizes.side[..]].concat()), label(3));
        let loss = |smooth: bool| {
            let loss =
                Func::trace(net.clone(), data.clone(), |_, p, (x, y)| cross_entropy(apply(sizes, smooth, p, x), y));
            loss.expect("a loss")
        };
        let at = values(&net, rng);
        let x = Array::from_fn([&[2], &sizes.side[..]].concat(), |_| rng.normal());
        let y = Array::index([], vec![1]).expect("a label");
        check::derivatives(&loss(true), &at, &(x, y), 3).expect("derivatives agree");

        let n = 5;
        let x = Array::from_fn([&[n, 2], &sizes.side[..]].concat(), |_| rng.normal());
        let loss = loss(false);
        let y = Array::index([n], (0..n).map(|i| (i % 3) as u32).collect()).expect("labels");
        let batch: Batch<f64> = Examples::new(loss.data().clone(), (x, y)).and_then(|e| e.all()).expect("a batch");
        let (at, v) = (flat(&net, &at), flat(&net, &values(&net, rng)));
        let run = |form: Form| {
            let request = Request::gradient().and_hvp().and_elementwise().and_inner().in_form(form);
            let mut program = loss.moments::<f64>(n, request, &Device::cpu()).expect("a program");
            let mut moments = program.moments();
            program.run(&at, Some(&v), &batch, &mut moments).expect("a run");
            moments
        };
        let made = run(Form::Made);
        for form in [Form::Factored, Form::Cheapest] {
            let got = run(form);
            let close = |what: &str, got: &[f64], want: &[f64]| {
                let scale = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
                for (g, w) in got.iter().zip(want) {
                    assert!((g - w).abs() <= 1e-10 * scale, "{form}, {what}: {g} instead of {w}");
                }
            };
            for (what, got, want) in [
                ("gradient", got.gradient().expect("g"), made.gradient().expect("g")),
                ("Hv", got.hvp().expect("h"), made.hvp().expect("h")),
            ] {
                close(what, &got.sum, &want.sum);
                close(what, &got.norms.totals(), &want.norms.totals());
                close(what, got.deviations.as_ref().expect("e"), want.deviations.as_ref().expect("e"));
            }
            close("curvatures", &got.inner().expect("i").curvatures.totals(), &made.inner().expect("i").curvatures.totals());
        }
    }
}
