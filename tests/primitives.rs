//! Every row of the table and every structural primitive: derivatives, transposes, batching.

mod support;

use osculate::{Array, Device, Expr, Rng, Spec, Tape, Window, elementwise, spec};
use proptest::prelude::*;
use support::*;

#[test]
fn every_elementwise_row() {
    for row in elementwise() {
        for seed in 0..8 {
            let rng = &mut Rng::new(seed);
            let f = trace(vec![spec([2, 3])], vec![spec([2, 1])], |_, p, d| vec![(row.apply)(p[0]) * d[0]]);
            let p = vec![array(&spec([2, 3]), rng, row.domain)];
            let d = arrays(f.data(), rng);
            let what = |e| format!("{}: {e}", row.name);
            jvp_is_a_difference(&f, &p, &d, rng).map_err(what).unwrap();
            adjoint(&f, &p, &d, rng).map_err(what).unwrap();
            // Batched parameters, so that the function itself is batched.
            let g = trace(vec![], vec![spec([3])], |_, _, d| vec![(row.apply)(d[0])]);
            let rows = batched(g.data(), 4);
            let data = vec![array(&rows[0], rng, row.domain)];
            let all = run(&g.vmap(4).unwrap(), &vec![], &data);
            for i in 0..4 {
                let one = run(&g, &vec![], &row_of(&data, i));
                close(&row_of(&all, i), &one, 1e-12, 1e-6).map_err(what).unwrap();
            }
            // Second and third derivatives too: the row's derivative is itself differentiated.
            let second = grad_word(&jvp_word(&f));
            let extra = arrays(&second.data()[1..], rng);
            let data = [d, extra].concat();
            jvp_is_a_difference(&second, &p, &data, rng).map_err(what).unwrap();
        }
    }
    fn row_of(a: &Arrays, i: usize) -> Arrays {
        row(a, &[spec([3])], i)
    }
}

#[test]
fn values_at_the_edges() {
    let inf = f64::INFINITY;
    let cases: &[(&str, f64, f64)] = &[
        ("relu", 0.0, 0.0),
        ("step", 0.0, 0.0),
        ("sign", 0.0, 0.0),
        ("softplus", 800.0, 800.0),
        ("softplus", -800.0, 0.0),
        ("softplus", inf, inf),
        ("sigmoid", -inf, 0.0),
        ("sigmoid", inf, 1.0),
        ("tanh", 1e300, 1.0),
        ("softsign", -1e300, -1.0),
        ("exp_m1", 1e-18, 1e-18),
        ("ln_1p", 1e-18, 1e-18),
        ("erf", 0.5, 0.5204998778130465),
        ("erfc", 0.5, 0.4795001221869535),
        ("erfc", 6.0, 2.1519736712498913e-17),
        ("erfc", 28.0, 0.0),
        ("erfc", inf, 0.0),
        ("erfc", -inf, 2.0),
        ("gaussian", inf, 0.0),
    ];
    for &(name, x, want) in cases {
        let row = elementwise().iter().find(|r| r.name == name).expect("a row");
        let f = trace(vec![spec([])], vec![], |_, p, _| vec![(row.apply)(p[0])]);
        let got = run(&f, &vec![Array::scalar(x)], &vec![])[0].item().unwrap();
        assert_eq!(got, want, "{name}({x})");
    }
    for row in elementwise() {
        let f = trace(vec![spec([])], vec![], |_, p, _| vec![(row.apply)(p[0])]);
        let got = run(&f, &vec![Array::scalar(f64::NAN)], &vec![])[0].item().unwrap();
        assert!(got.is_nan(), "{} loses a NaN: {got}", row.name);
    }
}

#[test]
fn derivatives_at_kinks_are_as_documented() {
    let slope = |f: fn(Expr<'_>) -> Expr<'_>, x: &[f64]| {
        let n = x.len();
        let f = trace(vec![spec([n])], vec![], |_, p, _| vec![f(p[0]).sum()]);
        let g = grad_word(&f);
        let p = vec![Array::new([n], x.to_vec()).unwrap()];
        run(&g, &p, &vec![Array::scalar(1.0)])[0].values().to_vec()
    };
    assert_eq!(slope(|x| x.relu(), &[0.0]), [0.0]);
    assert_eq!(slope(|x| x.abs(), &[0.0]), [0.0]);
    // Ties of a maximum over a set of axes share evenly.
    let third = 1.0 / 3.0;
    assert_eq!(slope(|x| x.reshape([2, 2]).max_axes(&[0, 1]), &[1.0, 1.0, 1.0, 0.0]), [third, third, third, 0.0]);
    assert_eq!(slope(|x| x.maximum(1.0), &[1.0, 2.0, 0.0]), [0.5, 1.0, 0.0]);
}

#[test]
fn select_is_no_product_with_its_mask() {
    // The branch not taken is infinite in value and tangent; 0·∞ would be NaN.
    let f = trace(vec![spec([])], vec![], |_, p, _| vec![p[0].less(0.5).select(p[0].square(), p[0].recip())]);
    let jvp = f.jvp().unwrap().compile::<f64>(&Device::cpu()).unwrap();
    let one = |x: f64| vec![Array::scalar(x)];
    let (value, tangent) = jvp.clone().run(&(one(0.0), one(1.0)), &vec![]).unwrap();
    assert_eq!((value[0].item(), tangent[0].item()), (Some(0.0), Some(0.0)));
}

type Build = for<'t> fn(&'t Tape, Expr<'t>, Expr<'t>, Expr<'t>) -> Expr<'t>;

/// Every structural primitive, of parameters `[2, 3]` and `[3, 2]` and an index below 3, on its own.
const STRUCTURAL: &[(&str, Build)] = &[
    ("add", |_, x, y, _| x + y.t()),
    ("subtract", |_, x, y, _| x - y.t() * 3.0),
    ("product", |_, x, y, _| x * y.t()),
    ("square", |_, x, _, _| x * x),
    ("broadcast", |_, x, y, _| x * y.sum_axes(&[1]) + y.slice(0, 0..1).mean()),
    ("unit axes", |_, x, y, _| x.reshape([2, 1, 3]) * y.t().reshape([1, 2, 3])),
    ("matmul", |_, x, y, _| x.dot(y)),
    ("outer", |t, x, y, _| t.einsum("ij,kl->ljki", &[x, y])),
    ("three", |t, x, y, _| t.einsum("ij,jk,ik->jk", &[x, y, x.dot(y)])),
    ("four", |t, x, y, _| t.einsum("ij,jk,lk,li->il", &[x, y, y, x.dot(y).reshape([2, 2]).concat_self()])),
    ("sum first", |t, x, y, _| t.einsum("ij,kl->k", &[x, y])),
    ("permute", |_, x, _, _| x.reshape([2, 3, 1]).permute(&[2, 0, 1])),
    ("reshape", |_, x, _, _| x.t().reshape([6])),
    ("slice", |_, x, _, _| x.slice(1, 1..3)),
    ("pad", |_, x, _, _| x.pad(0, 1, 2)),
    ("concat", |t, x, y, _| t.concat(&[x, y.t(), x * 2.0], 0)),
    ("stack", |t, x, y, _| t.stack(&[x, y.t()])),
    ("split", |t, x, _, _| {
        let parts = x.split(1, 3);
        t.concat(&[parts[2], parts[0], parts[1]], 0)
    }),
    ("take", |_, x, y, i| y.take(i, 0) * x.take(i, 1)),
    ("one-hot twice", |_, _, y, i| y.take(i, 0) * i.one_hot().dot(y)),
    ("max", |_, x, y, _| x.max_axes(&[1]) + y.max_axes(&[0, 1])),
    ("maximum", |_, x, y, _| x.maximum(y.t()) * x.minimum(0.3)),
    ("select", |_, x, y, _| x.less(y.t()).select(x * y.t(), y.t())),
    ("compare", |_, x, y, _| x.less_equal(y.t()) * x + x.equal(y.t())),
    ("mean", |_, x, y, _| x.mean_axes(&[0]) * y.mean()),
    ("division", |_, x, y, _| x / (y.t() + 2.5)),
    ("power", |_, x, _, _| x.powi(5) + (x + 2.0).powi(-2) + x.powi(0)),
    ("patches", |_, x, _, _| x.patches(&[Window::new(1, 2)], 0.0)),
    ("patches of both axes", |_, x, y, _| {
        x.patches(&[Window::new(0, 2).pad(1, 0), Window::new(1, 2).stride(2).pad(1, 2)], 0.0) * y.sum()
    }),
    ("dilated patches", |_, x, _, _| x.reshape([6]).patches(&[Window::new(0, 2).dilation(3).stride(2).pad(0, 1)], 0.5)),
    ("convolution", |t, x, y, _| {
        t.einsum(
            "cpk,ock->op",
            &[x.patches(&[Window::new(1, 2).pad(1, 1)], 0.0), y.reshape([3, 1, 2]).broadcast_to([3, 2, 2])],
        )
    }),
    ("pooling", |_, x, _, _| {
        x.patches(&[Window::new(0, 2).pad(1, 1), Window::new(1, 2)], f64::NEG_INFINITY).max_axes(&[2, 3])
    }),
    ("fill", |t, x, _, _| t.full([2, 3], 2.0) * x + t.full([2, 3], 1.0)),
];

trait ConcatSelf<'t> {
    fn concat_self(self) -> Expr<'t>;
}
impl<'t> ConcatSelf<'t> for Expr<'t> {
    /// `[2, 2]` to `[3, 2]`.
    fn concat_self(self) -> Expr<'t> {
        self.tape().concat(&[self, self.slice(0, 0..1)], 0)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_structural_primitive(seed in any::<u64>()) {
        for &(name, build) in STRUCTURAL {
            let rng = &mut Rng::new(seed);
            let f = trace(
                vec![spec([2, 3]), spec([3, 2])],
                vec![Spec::index([], 3), spec([])],
                |t, p, d| vec![build(t, p[0] * d[1], p[1], d[0])],
            );
            // Distinct values 0.17 apart, so that differences meet no kink.
            let mut grid: Vec<f64> = (0..12).map(|k| 0.17 * f64::from(k) - 0.98).collect();
            rng.shuffle(&mut grid);
            let (x, y) = grid.split_at(6);
            let p = vec![Array::new([2, 3], x.to_vec()).unwrap(), Array::new([3, 2], y.to_vec()).unwrap()];
            let mut d = arrays(f.data(), rng);
            let fail = |e| TestCaseError::fail(format!("{name}: {e}"));
            adjoint(&f, &p, &d, rng).map_err(fail)?;
            d[1] = Array::scalar(1.0);
            jvp_is_a_difference(&f, &p, &d, rng).map_err(fail)?;
            adjoint(&f, &p, &d, rng).map_err(fail)?;
            vmap_is_a_loop(&f, &p, rng, 3).map_err(fail)?;
            // The planner and the fast executor against the naive one.
            let slow = f.compile::<f64>(&Device::reference()).unwrap().run(&p, &d).unwrap();
            same(&run(&f, &p, &d), &slow, 1e-13).map_err(fail)?;
            // Batched parameters: an ensemble.
            let ensemble = f.vmap_where(2, |path| path.starts_with("params.0")).unwrap();
            let members = vec![array(&batched(&f.params()[..1], 2)[0], rng, (-1.0, 1.0)), p[1].clone()];
            let all = run(&ensemble, &members, &d);
            for i in 0..2 {
                let one = run(&f, &vec![row(&members[..1].to_vec(), &f.params()[..1], i)[0].clone(), p[1].clone()], &d);
                same(&row(&all, f.outputs(), i), &one, 1e-12).map_err(fail)?;
            }
        }
    }

    #[test]
    fn random_functions(seed in any::<u64>(), ops in 1usize..14) {
        let f = random_function(seed, ops, false);
        let rng = &mut Rng::new(seed ^ 1);
        let (p, d) = (arrays(f.params(), rng), arrays(f.data(), rng));
        jvp_is_a_difference(&f, &p, &d, rng).map_err(TestCaseError::fail)?;
        adjoint(&f, &p, &d, rng).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn random_functions_with_kinks(seed in any::<u64>(), ops in 1usize..14) {
        let f = random_function(seed, ops, true);
        let rng = &mut Rng::new(seed ^ 1);
        let (p, d) = (arrays(f.params(), rng), arrays(f.data(), rng));
        adjoint(&f, &p, &d, rng).map_err(TestCaseError::fail)?;
        vmap_is_a_loop(&f, &p, rng, 3).map_err(TestCaseError::fail)?;
        let slow = f.compile::<f64>(&Device::reference()).unwrap().run(&p, &d).unwrap();
        same(&run(&f, &p, &d), &slow, 1e-13).map_err(TestCaseError::fail)?;
    }
}
