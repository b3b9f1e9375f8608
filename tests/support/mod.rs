//! What the property tests share: random arrays, random functions, comparisons.
#![allow(dead_code)]

use osculate::{Array, Device, Expr, Func, Rng, Spec, Tape, Window, spec};

/// Functions of lists: one type whatever was transformed.
pub type F = Func<Vec<Spec>, Vec<Spec>, Vec<Spec>>;
/// Their arguments and results.
pub type Arrays = Vec<Array<f64>>;

/// Traces a function of lists.
pub fn trace<C>(params: Vec<Spec>, data: Vec<Spec>, f: C) -> F
where
    C: for<'t> FnOnce(&'t Tape, Vec<Expr<'t>>, Vec<Expr<'t>>) -> Vec<Expr<'t>>,
{
    F::trace_tree(params, data, f).expect("a trace")
}

/// Random arrays for specs; indices anywhere below their bound.
pub fn arrays(specs: &[Spec], rng: &mut Rng) -> Arrays {
    specs.iter().map(|s| array(s, rng, (-1.0, 1.0))).collect()
}

pub fn array(s: &Spec, rng: &mut Rng, (low, high): (f64, f64)) -> Array<f64> {
    match s.kind {
        osculate::Kind::Index(bound) => {
            let draw = |_| (rng.uniform(0.0, 1.0) * bound as f64) as u32;
            Array::index(s.shape.clone(), (0..s.shape.size()).map(draw).collect()).expect("a size")
        }
        _ => Array::from_fn(s.shape.clone(), |_| rng.uniform(low, high)),
    }
}

/// Compiles and runs.
pub fn run(f: &F, p: &Arrays, d: &Arrays) -> Arrays {
    f.compile::<f64>(&Device::cpu()).expect("a program").run(p, d).expect("a run")
}

/// ⟨a, b⟩ over lists.
pub fn dot(a: &Arrays, b: &Arrays) -> f64 {
    a.iter().zip(b).flat_map(|(a, b)| a.values().iter().zip(b.values())).map(|(x, y)| x * y).sum()
}

/// a + t·b.
pub fn moved(a: &Arrays, t: f64, b: &Arrays) -> Arrays {
    a.iter().zip(b).map(|(a, b)| Array::from_fn(a.shape(), |i| a.values()[i] + t * b.values()[i])).collect()
}

/// Whether lists are the derivative of `f` at 0, to `tolerance` of the largest entry (at least `floor`), by five-point central
/// differences.
///
/// Those of a step h and of 2h differ by 15 times what the former leaves out, so that much of a gap is the difference's own, however
/// steep a random function is; a derivative that is wrong is far from both.
pub fn is_slope(got: &Arrays, mut f: impl FnMut(f64) -> Arrays, tolerance: f64, floor: f64) -> Result<(), String> {
    let h = 2.5e-4;
    let values = [h, -h, 2.0 * h, -2.0 * h, 4.0 * h, -4.0 * h].map(|t| flat(&f(t)));
    let [a, b, c, d, e, g] = &values;
    let got = flat(got);
    if got.len() != a.len() {
        return Err(format!("{} numbers and {}", got.len(), a.len()));
    }
    let five = |near: f64, far: f64, h: f64| (8.0 * near - far) / (12.0 * h);
    let fine: Vec<f64> = (0..got.len()).map(|i| five(a[i] - b[i], c[i] - d[i], h)).collect();
    let scale = got.iter().chain(&fine).fold(floor, |m, v| m.max(v.abs()));
    for (i, (x, y)) in got.iter().zip(&fine).enumerate() {
        let left_out = (five(c[i] - d[i], e[i] - g[i], 2.0 * h) - y).abs() / 15.0;
        let gap = (x - y).abs();
        // Nothing is known of it where the function ends before.
        let own = if left_out.is_finite() { 2.0 * left_out } else { 0.0 };
        if gap > tolerance * scale + own || gap.is_nan() {
            return Err(format!(
                "{x} and the difference {y}, off by {left_out:e}, differ by {:e} of {scale}",
                gap / scale
            ));
        }
    }
    Ok(())
}

/// All numbers of lists.
fn flat(a: &Arrays) -> Vec<f64> {
    a.iter().flat_map(|a| a.values().to_vec()).collect()
}

/// Whether lists agree to `tolerance`, relative to the largest entry (at least `floor`).
pub fn close(a: &Arrays, b: &Arrays, tolerance: f64, floor: f64) -> Result<(), String> {
    if a.len() != b.len() {
        return Err(format!("{} arrays and {}", a.len(), b.len()));
    }
    for (a, b) in a.iter().zip(b) {
        if a.shape() != b.shape() {
            return Err(format!("shapes {} and {}", a.shape(), b.shape()));
        }
    }
    let (a, b) = (flat(a), flat(b));
    let scale = a.iter().chain(&b).fold(floor, |m, v| m.max(v.abs()));
    for (x, y) in a.iter().zip(&b) {
        let gap = (x - y).abs();
        if gap > tolerance * scale || gap.is_nan() {
            return Err(format!("{x} and {y} differ by {:e} of {scale}", (x - y).abs() / scale));
        }
    }
    Ok(())
}

/// Whether two ways to the same numbers agree to `tolerance`, relative to the largest of them or to 1 where all are smaller:
/// arguments are of that size, and what is left where they cancel keeps their rounding.
pub fn same(a: &Arrays, b: &Arrays, tolerance: f64) -> Result<(), String> {
    close(a, b, tolerance, 1.0)
}

/// Row `i` of batched data.
pub fn row(batched: &Arrays, specs: &[Spec], i: usize) -> Arrays {
    batched
        .iter()
        .zip(specs)
        .map(|(a, s)| {
            let range = i * s.shape.size()..(i + 1) * s.shape.size();
            if a.values().is_empty() {
                Array::index(s.shape.clone(), a.indices()[range].to_vec()).expect("a row")
            } else {
                Array::new(s.shape.clone(), a.values()[range].to_vec()).expect("a row")
            }
        })
        .collect()
}

/// Specs with a leading axis.
pub fn batched(specs: &[Spec], n: usize) -> Vec<Spec> {
    specs.iter().map(|s| Spec { shape: [&[n], &s.shape[..]].concat().into(), kind: s.kind }).collect()
}

/// vmap is the loop.
pub fn vmap_is_a_loop(f: &F, p: &Arrays, rng: &mut Rng, n: usize) -> Result<(), String> {
    let data = arrays(&batched(f.data(), n), rng);
    let all = run(&f.vmap(n).expect("a batch"), p, &data);
    for i in 0..n {
        let one = run(f, p, &row(&data, f.data(), i));
        same(&row(&all, f.outputs(), i), &one, 1e-12).map_err(|e| format!("example {i}: {e}"))?;
    }
    Ok(())
}

/// ⟨Jv, u⟩ = ⟨v, Jᵀu⟩.
pub fn adjoint(f: &F, p: &Arrays, d: &Arrays, rng: &mut Rng) -> Result<(), String> {
    let (v, u) = (arrays(f.params(), rng), arrays(f.outputs(), rng));
    let cpu = Device::cpu();
    let (_, jv) =
        f.jvp().expect("jvp").compile::<f64>(&cpu).expect("a program").run(&(p.clone(), v.clone()), d).expect("a run");
    let (_, jtu) =
        f.vjp().expect("vjp").compile::<f64>(&cpu).expect("a program").run(&(p.clone(), u.clone()), d).expect("a run");
    let (left, right) = (dot(&jv, &u), dot(&v, &jtu));
    let scale = jv.iter().chain(&jtu).flat_map(|a| a.values()).map(|x| x.abs()).sum::<f64>() + 1e-6;
    if (left - right).abs() <= 1e-12 * scale { Ok(()) } else { Err(format!("<Jv,u> = {left}, <v,J'u> = {right}")) }
}

/// Jv against central differences.
pub fn jvp_is_a_difference(f: &F, p: &Arrays, d: &Arrays, rng: &mut Rng) -> Result<(), String> {
    let v = arrays(f.params(), rng);
    let jvp = f.jvp().expect("jvp").compile::<f64>(&Device::cpu()).expect("a program").run(&(p.clone(), v.clone()), d);
    let (value, jv) = jvp.expect("a run");
    same(&value, &run(f, p, d), 1e-13).map_err(|e| format!("primal: {e}"))?;
    is_slope(&jv, |t| run(f, &moved(p, t, &v), d), 1e-6, 1e-2)
}

/// Gradient of ⟨u, f⟩, with u as further data.
pub fn grad_word(f: &F) -> F {
    let n = f.data().len();
    let grad = f.dot_output().expect("a scalar").grad().expect("a gradient");
    let data = [f.data().clone(), f.outputs().clone()].concat();
    trace(f.params().clone(), data, |tape, p, d| grad.call(tape, &p, &(d[..n].to_vec(), d[n..].to_vec())))
}

/// Df\[v\], with v as further data.
pub fn jvp_word(f: &F) -> F {
    let n = f.data().len();
    let jvp = f.jvp().expect("a tangent");
    let data = [f.data().clone(), f.params().clone()].concat();
    trace(f.params().clone(), data, |tape, p, d| jvp.call(tape, &(p, d[n..].to_vec()), &d[..n].to_vec()).1)
}

/// A random function of two parameter arrays, an array and a label, without kinks in the parameters unless asked for.
pub fn random_function(seed: u64, ops: usize, kinks: bool) -> F {
    let rng = &mut Rng::new(seed);
    let pick = |rng: &mut Rng, n: usize| (rng.uniform(0.0, 1.0) * n as f64) as usize;
    let shape = |rng: &mut Rng| -> Vec<usize> {
        let rank = pick(rng, 3);
        (0..=rank).map(|_| 1 + pick(rng, 3)).collect()
    };
    let params = vec![spec(shape(rng)), spec(shape(rng))];
    let classes = 2 + pick(rng, 3);
    let data = vec![spec(shape(rng)), Spec::index([], classes)];
    trace(params, data, |tape, p, d| {
        let mut pool = vec![p[0], p[1], d[0], d[1].one_hot()];
        for _ in 0..ops {
            let a = pool[pick(rng, pool.len())];
            let b = pool[pick(rng, pool.len())];
            let rank = a.shape().rank();
            let axis = pick(rng, rank.max(1));
            let made = match pick(rng, if kinks { 19 } else { 16 }) {
                0 => a.tanh(),
                1 => a.sin() + 0.3,
                2 => (0.5 * a).exp(),
                3 => a.sigmoid() * 2.0 - 1.0,
                4 => {
                    // Any two shapes multiply after one is summed away or they broadcast.
                    a * b.mean()
                }
                5 => a.flatten().at(0, 0) + b,
                6 if rank > 0 => a.sum_axes(&[axis]),
                7 if rank > 0 => a.t(),
                8 if rank > 0 && a.shape()[axis] > 1 => a.slice(axis, 1..a.shape()[axis]),
                9 if rank > 0 => a.pad(axis, pick(rng, 2), pick(rng, 2)),
                10 if rank > 0 => tape.concat(&[a, a.tanh(), a * 0.5], axis),
                11 => {
                    // An outer product, contracted again.
                    let (x, y) = (a.flatten(), b.flatten());
                    tape.einsum("i,j->ji", &[x, y]).dot(x) * 0.3
                }
                12 => a.flatten(),
                13 if rank > 0 => {
                    let mask = d[0].flatten().at(0, 0).less(0.1);
                    mask.select(a, a.sin())
                }
                14 if rank > 0 => {
                    let window = Window::new(axis, 1 + pick(rng, 2)).stride(1 + pick(rng, 2)).pad(pick(rng, 2), 1);
                    a.patches(&[window], 0.0)
                }
                15 if rank > 1 => {
                    // A small convolution over the last axis.
                    let last = rank - 1;
                    let x = a.patches(&[Window::new(last, 2).pad(1, 1)], 0.0);
                    x.dot(b.flatten().at(0, 0) * tape.stack(&[tape.lit(0.5), d[0].mean()]))
                }
                16 if rank > 0 => a.max_axes(&[axis]),
                17 => a.relu() - 0.1 * a,
                18 => a.maximum(0.2),
                _ => a.softplus() * a,
            };
            // Sizes and values stay small.
            pool.push(if made.shape().size() > 60 { made.mean() } else { made });
        }
        let last = pool[pool.len() - 1];
        vec![last.tanh() + (p[0].sum() * p[1].sum()).sin(), pool[4 + pick(rng, pool.len() - 4)].sum()]
    })
}
