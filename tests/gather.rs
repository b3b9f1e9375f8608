//! Elements by indices: values, derivatives of every order, batches of tables and of indices, what plans hold.

mod support;

use osculate::{Array, Device, Examples, Expr, Form, Func, Kind, Real, Request, Rng, Spec, Sums, Tape, label, spec};
use proptest::prelude::*;
use support::*;

/// A table, indices into it, and how they are picked.
#[derive(Debug, Clone)]
struct Case {
    table: Vec<usize>,
    index: Vec<usize>,
    axis: usize,
    /// Every index for its own place.
    along: bool,
}

impl Case {
    fn pick<'t>(&self, table: Expr<'t>, index: Expr<'t>) -> Expr<'t> {
        if self.along { table.take_along_axis(index, self.axis) } else { table.take(index, self.axis) }
    }

    /// Of row-major data, element by element.
    fn by_hand(&self, table: &[f64], index: &[u32]) -> Vec<f64> {
        let Case { table: shape, index: of_index, axis, along } = self;
        let out: Vec<usize> = match along {
            true => {
                (0..shape.len()).map(|a| if a == *axis { of_index[a] } else { shape[a].max(of_index[a]) }).collect()
            }
            false => [&shape[..*axis], of_index, &shape[axis + 1..]].concat(),
        };
        let flat = |at: &[usize], dims: &[usize]| {
            at.iter().zip(dims).fold(0, |flat, (&i, &d)| flat * d + if d == 1 { 0 } else { i })
        };
        let element = |mut flat_at: usize| {
            let mut at = vec![0; out.len()];
            for a in (0..out.len()).rev() {
                (at[a], flat_at) = (flat_at % out[a], flat_at / out[a]);
            }
            let picked = match along {
                true => index[flat(&at, of_index)],
                false => index[flat(&at[*axis..axis + of_index.len()], of_index)],
            };
            let mut from = match along {
                true => at,
                false => [&at[..*axis], &[0], &at[axis + of_index.len()..]].concat(),
            };
            from[*axis] = picked as usize;
            let dims: Vec<usize> = shape.clone();
            // Only a picked axis of extent 1 has index 0 anyway.
            table[flat(&from, &dims)]
        };
        (0..out.iter().product()).map(element).collect()
    }
}

fn cases() -> Vec<Case> {
    let of = |along: bool| {
        move |(table, index, axis): (&[usize], &[usize], usize)| Case {
            table: table.to_vec(),
            index: index.to_vec(),
            axis,
            along,
        }
    };
    let take: Vec<Case> = [
        (&[5, 3][..], &[4][..], 0),
        (&[5, 3], &[], 0),
        (&[5, 3], &[2, 3], 1),
        (&[5], &[7], 0),
        (&[2, 3, 4], &[2, 2], 1),
        (&[2, 3, 4], &[1], 2),
        (&[1, 3], &[4], 0),
        (&[3, 1], &[1, 5], 0),
        (&[2, 1, 2], &[3], 1),
    ]
    .map(of(false))
    .to_vec();
    let along = [
        (&[4, 3][..], &[2, 3][..], 0),
        (&[4, 3], &[4, 5], 1),
        (&[4, 3], &[4, 1], 1),
        (&[4, 3], &[1, 2], 1),
        (&[1, 3], &[4, 2], 1),
        (&[6], &[4], 0),
        (&[2, 3, 2], &[2, 4, 1], 1),
        (&[2, 1, 2], &[1, 3, 2], 1),
    ]
    .map(of(true));
    [take, along.to_vec()].concat()
}

/// Indices below a bound: any, or all the same.
fn indices(shape: &[usize], bound: usize, rng: &mut Rng) -> Array<f64> {
    array(&Spec::index(shape.to_vec(), bound), rng, (0.0, 1.0))
}

#[test]
fn values_are_those_picked_by_hand() {
    let rng = &mut Rng::new(1);
    for case in cases() {
        let bound = case.table[case.axis];
        let (table, index) = (Spec::real(case.table.clone()), Spec::index(case.index.clone(), bound));
        let f = trace(vec![table.clone()], vec![index], |_, p, d| vec![case.pick(p[0], d[0])]);
        let (p, d) = (arrays(&[table], rng), vec![indices(&case.index, bound, rng)]);
        let want = case.by_hand(p[0].values(), d[0].indices());
        for device in [Device::cpu(), Device::reference()] {
            let got = f.compile::<f64>(&device).unwrap().run(&p, &d).unwrap();
            assert_eq!(got[0].values(), want, "{case:?}");
        }
        let single: Array<f32> = Array::from_fn(case.table.clone(), |i| p[0].values()[i] as f32);
        let of_f32 = Array::<f32>::index(case.index.clone(), d[0].indices().to_vec()).unwrap();
        let got = f.compile::<f32>(&Device::cpu()).unwrap().run(&vec![single], &vec![of_f32]).unwrap();
        let want: Vec<f32> = want.iter().map(|&v| v as f32).collect();
        assert_eq!(got[0].values(), want, "{case:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    /// Derivatives, transposes and batches of what is picked, of its gradient (which adds) and of that one's.
    #[test]
    fn derivatives_and_batches(seed in any::<u64>()) {
        for case in cases() {
            let rng = &mut Rng::new(seed);
            let bound = case.table[case.axis];
            let index = Spec::index(case.index.clone(), bound);
            let f = trace(vec![Spec::real(case.table.clone())], vec![index, spec([])], |_, p, d| {
                let picked = case.pick(p[0] * d[1], d[0]);
                vec![picked * picked.sin() + picked.sum()]
            });
            let fail = |e| TestCaseError::fail(format!("{case:?}: {e}"));
            let p = arrays(f.params(), rng);
            let g = grad_word(&f);
            for f in [&f, &g, &jvp_word(&g)] {
                let d = arrays(f.data(), rng);
                jvp_is_a_difference(f, &p, &d, rng).map_err(fail)?;
                adjoint(f, &p, &d, rng).map_err(fail)?;
                vmap_is_a_loop(f, &p, rng, 3).map_err(fail)?;
            }
            // Batched tables, with indices of their own and without.
            let table = trace(vec![], vec![Spec::real(case.table.clone()), Spec::index(case.index.clone(), bound)], |_, _, d| {
                let picked = case.pick(d[0], d[1]);
                vec![picked.tanh() * 2.0]
            });
            vmap_is_a_loop(&table, &vec![], rng, 4).map_err(fail)?;
            let gradient = {
                let f = trace(vec![Spec::real(case.table.clone())], vec![Spec::index(case.index.clone(), bound)], |_, p, d| {
                    vec![case.pick(p[0], d[0]).sin().sum()]
                });
                f.dot_output().unwrap().grad().unwrap()
            };
            // The same indices for all.
            let n = 3;
            let shared = gradient.vmap_where(n, |path| path.starts_with("params")).unwrap();
            let tables = arrays(&batched(gradient.params(), n), rng);
            let data = (vec![indices(&case.index, bound, rng)], vec![Array::scalar(1.0)]);
            let all = shared.compile::<f64>(&Device::cpu()).unwrap().run(&tables, &data).unwrap();
            for i in 0..n {
                let table = row(&tables, gradient.params(), i);
                let one = gradient.compile::<f64>(&Device::cpu()).unwrap().run(&table, &data).unwrap();
                same(&row(&all, gradient.params(), i), &one, 1e-12).map_err(fail)?;
            }
        }
    }
}

#[test]
fn graphs_name_axes() {
    let take = Func::trace(spec([3, 2]), Spec::index([4], 3), |_, table, index| table.take(index, 0)).unwrap();
    assert!(take.graph().to_string().contains("%2: f[4, 2] = gather[*b,a->ab] %0 %1"), "{}", take.graph());
    let scatter = take.vjp().unwrap();
    assert!(scatter.graph().to_string().contains("f[3, 2] = scatter_add[cb,c->*b]"), "{}", scatter.graph());
    // What all rows share, and what is repeated, is not picked.
    let alike =
        Func::trace(spec([2]), Spec::index([4], 3), |_, x, index| x.broadcast_to([3, 2]).take(index, 0)).unwrap();
    assert!(!alike.graph().to_string().contains("gather"), "{}", alike.graph());
    let scaled =
        Func::trace(spec([3, 1]), Spec::index([4], 3), |_, x, index| (x * 2.0).broadcast_to([3, 5]).take(index, 0));
    let scaled = scaled.unwrap().graph().to_string();
    assert!(scaled.contains("f[4] = gather[*c,a->a] %0 %1") && scaled.contains("contract[2 a->ab]"), "{scaled}");
    // Copies of a value are added without being made.
    let mean = Func::trace(spec([3, 2]), Spec::index([4], 3), |_, x, index| x.take(index, 0).sum()).unwrap();
    let gradient = mean.grad().unwrap().graph().to_string();
    assert!(gradient.contains("contract[->]\n") && gradient.contains("scatter_add[,c->*b]"), "{gradient}");
}

/// Linearising keeps indices among the residuals.
#[test]
fn linear_maps_read_indices() {
    let f = trace(vec![spec([5, 2])], vec![Spec::index([3], 5)], |_, p, d| vec![p[0].take(d[0], 0).sin()]);
    let rng = &mut Rng::new(2);
    let (p, v, d) = (arrays(f.params(), rng), arrays(f.params(), rng), arrays(f.data(), rng));
    let split = f.linearize().unwrap();
    let cpu = Device::cpu();
    let (value, residuals) = split.value.compile::<f64>(&cpu).unwrap().run(&p, &d).unwrap();
    let (want, moved) = f.jvp().unwrap().compile::<f64>(&cpu).unwrap().run(&(p, v.clone()), &d).unwrap();
    same(&value, &want, 1e-15).unwrap();
    same(&split.map.compile::<f64>(&cpu).unwrap().run(&v, &residuals).unwrap(), &moved, 1e-15).unwrap();
    assert!(residuals.iter().any(|r| r.indices() == d[0].indices()));
}

type Loss = Func<Vec<Spec>, Vec<Spec>, Spec>;

fn loss(
    params: &[Spec],
    data: &[Spec],
    f: impl for<'t> FnOnce(&'t Tape, Vec<Expr<'t>>, Vec<Expr<'t>>) -> Expr<'t>,
) -> Loss {
    Func::trace(params.to_vec(), data.to_vec(), f).expect("a trace")
}

const ROWS: usize = 6;

/// Losses whose parameters are tables, with what else their gradients may be made of.
fn losses() -> Vec<(&'static str, Loss)> {
    let (table, words) = (spec([ROWS, 3]), Spec::index([5], ROWS));
    vec![
        (
            "words",
            loss(std::slice::from_ref(&table), &[words.clone(), spec([5])], |_, p, d| {
                (p[0].take(d[0], 0).tanh().t() * d[1]).sum_axes(&[1]).square().sum()
            }),
        ),
        (
            "mean of words",
            loss(std::slice::from_ref(&table), &[words.clone(), spec([3])], |_, p, d| {
                (p[0].take(d[0], 0).mean_axes(&[0]) * d[1]).sum().sin()
            }),
        ),
        (
            "one word",
            loss(std::slice::from_ref(&table), &[label(ROWS), spec([3])], |_, p, d| {
                (p[0].take(d[0], 0) * d[1]).sum().exp()
            }),
        ),
        (
            "columns",
            loss(&[spec([3, ROWS])], &[Spec::index([2, 2], ROWS), spec([3])], |t, p, d| {
                t.einsum("iab,i->ab", &[p[0].take(d[0], 1).sin(), d[1]]).square().sum()
            }),
        ),
        (
            "tied",
            loss(std::slice::from_ref(&table), &[words.clone(), Spec::index([5, 1], ROWS)], |_, p, d| {
                let logits = p[0].take(d[0], 0).tanh().dot(p[0].t());
                let total = logits.exp().sum_axes(&[1]).ln().sum();
                total - logits.take_along_axis(d[1], 1).sum()
            }),
        ),
        (
            "two texts",
            loss(std::slice::from_ref(&table), &[words.clone(), Spec::index([3], ROWS), spec([3])], |_, p, d| {
                let other = p[0].take(d[1], 0).sin().sum_axes(&[0]);
                (p[0].take(d[0], 0).tanh() * other).sum_axes(&[0]).dot(d[2]).square()
            }),
        ),
        (
            "with decay",
            loss(std::slice::from_ref(&table), &[words.clone(), spec([5])], |_, p, d| {
                (p[0].take(d[0], 0).sin().t() * d[1]).sum().square()
                    + 0.3 * p[0].square().sum()
                    + 0.1 * p[0].powi(4).sum()
            }),
        ),
        (
            "scaled",
            loss(&[table.clone(), spec([3]), spec([ROWS, 1])], &[words.clone(), spec([5])], |_, p, d| {
                ((p[0] * p[1] * p[2]).take(d[0], 0).tanh().t() * d[1]).sum().square()
            }),
        ),
        (
            "each its own",
            loss(&[spec([4, ROWS])], &[Spec::index([4, 3], ROWS), spec([4, 1])], |_, p, d| {
                (p[0].take_along_axis(d[0], 1).sin() * d[1]).sum_axes(&[0]).square().sum()
            }),
        ),
        (
            "one of each",
            loss(&[spec([4, ROWS])], &[Spec::index([4, 1], ROWS), spec([4, 1])], |_, p, d| {
                (p[0].take_along_axis(d[0], 1) * d[1]).sum().sin()
            }),
        ),
        (
            "rows and columns",
            loss(&[spec([ROWS, ROWS])], &[words.clone(), Spec::index([2], ROWS)], |_, p, d| {
                (p[0].take(d[0], 0).sum() * p[0].take(d[1], 1).sin().sum()).tanh()
            }),
        ),
        (
            "both at once",
            loss(&[spec([ROWS, ROWS])], &[words.clone(), Spec::index([2], ROWS)], |_, p, d| {
                p[0].take(d[0], 0).take(d[1], 1).sin().sum().square()
            }),
        ),
        (
            "bounds that differ",
            loss(&[table], &[words, Spec::index([4], 2), spec([3])], |_, p, d| {
                (p[0].take(d[0], 0).sin().sum_axes(&[0]) * p[0].take(d[1], 0).sum_axes(&[0]) * d[2]).sum().tanh()
            }),
        ),
    ]
}

/// Data of `n` examples: indices that are any, each another as far as there are, or all the same.
fn examples(loss: &Loss, n: usize, kind: usize, rng: &mut Rng) -> Arrays {
    let of = |s: &Spec| match (s.kind, kind) {
        (Kind::Index(bound), 1) => {
            let start = (rng.uniform(0.0, bound as f64)) as usize;
            Array::index(s.shape.clone(), (0..s.shape.size()).map(|i| ((i + start) % bound) as u32).collect()).unwrap()
        }
        (Kind::Index(bound), 2) => {
            let one = (rng.uniform(0.0, bound as f64)) as u32;
            Array::index(s.shape.clone(), vec![one; s.shape.size()]).unwrap()
        }
        _ => array(s, rng, (-1.0, 1.0)),
    };
    batched(loss.data(), n).iter().map(of).collect()
}

fn close_to(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    for (at, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * scale, "{what}, element {at}: {g} instead of {w}");
    }
}

/// Everything that moments tell of tables is that of every example's vectors.
fn moments_of_vectors<T: Real>(name: &str, loss: &Loss, n: usize, kind: usize, seed: u64, tolerance: f64) {
    let rng = &mut Rng::new(seed);
    let (p, v, data) = (arrays(loss.params(), rng), arrays(loss.params(), rng), examples(loss, n, kind, rng));
    let each = loss.hvp().unwrap().vmap(n).unwrap().compile::<f64>(&Device::reference()).unwrap();
    let (g, h) = { each }.run(&(p.clone(), v.clone()), &data).unwrap();
    let rows = |x: &Arrays, i: usize| -> Vec<Vec<f64>> {
        x.iter().map(|a| a.values()[i * a.values().len() / n..(i + 1) * a.values().len() / n].to_vec()).collect()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let flat = |x: &Arrays| x.iter().flat_map(|a| a.values()).map(|&v| T::from_f64(v)).collect::<Vec<T>>();
    let narrowed: Vec<Array<T>> = data
        .iter()
        .map(|a| match a.values() {
            [] => Array::index(a.shape().clone(), a.indices().to_vec()).unwrap(),
            values => Array::from_fn(a.shape().clone(), |i| T::from_f64(values[i])),
        })
        .collect();
    let batch = Examples::new(loss.data().clone(), narrowed).unwrap().all().unwrap();
    let request = Request::gradient().and_hvp().and_elementwise().and_inner();
    for form in [Form::Made, Form::Factored, Form::Gram, Form::Cheapest] {
        let what = format!("{name}, n = {n}, kind {kind}, {form}");
        let mut program = loss.moments::<T>(n, request.in_form(form), &Device::cpu()).unwrap();
        let mut moments = program.moments();
        program.run(&flat(&p), Some(&flat(&v)), &batch, &mut moments).unwrap();
        let wide = |x: &[T]| x.iter().map(|&v| v.to_f64()).collect::<Vec<_>>();
        for (sums, x) in [(moments.gradient().unwrap(), &g), (moments.hvp().unwrap(), &h)] {
            let all: Vec<Vec<f64>> = (0..n).map(|i| rows(x, i).concat()).collect();
            let column = |f: &dyn Fn(f64) -> f64| {
                (0..all[0].len()).map(|j| all.iter().map(|x| f(x[j])).sum::<f64>()).collect::<Vec<_>>()
            };
            close_to(&format!("{what}: sum"), &wide(&sums.sum), &column(&|x| x), tolerance);
            let about = wide(sums.deviations.as_ref().unwrap()).into_iter().zip(wide(&sums.sum));
            let squares: Vec<f64> = about.map(|(m2, sum)| m2 + sum * sum / n as f64).collect();
            close_to(&format!("{what}: squares"), &squares, &column(&|x| x * x), tolerance);
            for i in 0..n {
                let want: Vec<f64> = rows(x, i).iter().map(|x| dot(x, x)).collect();
                close_to(&format!("{what}: norms"), sums.norms.example(i), &want, tolerance);
            }
        }
        let inner = moments.inner().unwrap();
        let v: Vec<Vec<f64>> = v.iter().map(|a| a.values().to_vec()).collect();
        for i in 0..n {
            let (g, h) = (rows(&g, i), rows(&h, i));
            let pairs = |a: &[Vec<f64>], b: &[Vec<f64>]| a.iter().zip(b).map(|(a, b)| dot(a, b)).collect::<Vec<_>>();
            close_to(&format!("{what}: slopes"), inner.slopes.example(i), &pairs(&g, &v), tolerance);
            close_to(&format!("{what}: crossings"), inner.crossings.example(i), &pairs(&g, &h), tolerance);
            close_to(&format!("{what}: curvatures"), inner.curvatures.example(i), &pairs(&h, &v), tolerance);
        }
    }
}

#[test]
fn moments_are_those_of_vectors() {
    for (name, loss) in losses() {
        for (n, kind, seed) in [(1, 0, 1), (2, 2, 2), (7, 0, 3), (7, 1, 4), (3, 2, 5)] {
            moments_of_vectors::<f64>(name, &loss, n, kind, seed, 1e-12);
        }
        moments_of_vectors::<f32>(name, &loss, 5, 0, 6, 1e-4);
    }
}

/// Which gradients are added to rows: one term for look-ups by indices of one kind, beside those of what else is done with a table.
#[test]
fn tables_open_into_terms() {
    let request = Request::gradient().in_form(Form::Factored);
    for (name, loss) in losses() {
        let terms = match name {
            "tied" | "with decay" | "rows and columns" | "bounds that differ" => 2,
            _ => 1,
        };
        let plan = loss.moments::<f64>(4, request, &Device::cpu()).unwrap().plan();
        assert!(plan.contains(&format!("factored: {terms} term(s)")), "{name}: {plan}");
        assert!(plan.contains("scatter add"), "{name}: {plan}");
    }
}

/// Neither gradients nor moments hold a table an example.
#[test]
fn no_example_has_a_table_of_its_own() {
    let (rows, width, words) = (4000, 8, 6);
    let loss = loss(&[spec([rows, width])], &[Spec::index([words], rows), spec([words])], |_, p, d| {
        (p[0].take(d[0], 0).tanh().t() * d[1]).sum().square()
    });
    let table = rows * width * 8;
    let request = Request::gradient().and_hvp().and_elementwise().and_inner();
    let moments = |n: usize| loss.moments::<f64>(n, request, &Device::cpu()).unwrap();
    let gradient = |n: usize| loss.mean(n).unwrap().hvp().unwrap().compile::<f64>(&Device::cpu()).unwrap();
    // Parameters, direction, gradient and product, deviations of both; both sums again, beside squares and the difference from them of
    // one after the other. An example adds words, not rows.
    assert!(moments(16).peak_bytes() < 11 * table, "{} of {table}", moments(16).peak_bytes());
    assert!(gradient(16).peak_bytes() < 5 * table, "{} of {table}", gradient(16).peak_bytes());
    let most = 16 * 40 * words * width * 8;
    assert!(moments(32).peak_bytes() - moments(16).peak_bytes() < most);
    assert!(gradient(32).peak_bytes() - gradient(16).peak_bytes() < most);
    let plan = moments(4).plan();
    assert!(plan.contains("gradient of params.0 [4000, 8]: factored: 1 term(s)"), "{plan}");
}

/// The same bits for any number of threads, whatever positions meet.
#[test]
fn threads_change_no_bit() {
    let (rows, width, words, n) = (50, 16, 64, 24);
    let loss = loss(&[spec([rows, width])], &[Spec::index([words], rows), spec([words])], |_, p, d| {
        (p[0].take(d[0], 0).tanh().t() * d[1]).sum().square()
    });
    let rng = &mut Rng::new(9);
    let flat: Vec<f32> = (0..rows * width).map(|_| rng.normal() as f32).collect();
    let index = (0..n * words).map(|_| rng.uniform(0.0, rows as f64) as u32).collect();
    let x = Array::from_fn([n, words], |_| rng.normal() as f32);
    let data = vec![Array::index([n, words], index).unwrap(), x];
    let batch = Examples::new(loss.data().clone(), data).unwrap().all().unwrap();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let request = Request::gradient().and_hvp().and_elementwise();
            let mut program = loss.moments::<f32>(n, request, &Device::cpu()).unwrap();
            let mut moments = program.moments();
            program.run(&flat, Some(&flat), &batch, &mut moments).unwrap();
            let bits = |x: &[f32]| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            let of = |sums: &Sums<f32>| (bits(&sums.sum), bits(sums.deviations.as_ref().unwrap()), sums.norms.totals());
            (of(moments.gradient().unwrap()), of(moments.hvp().unwrap()))
        })
    };
    let one = run(1);
    assert!([2, 3, 4, 8].iter().all(|&threads| run(threads) == one));
}
