//! Per-example derivatives against JAX's, in f64, to 1e-12 of the largest entry of each array.

use osculate::nn::{Conv, Norm, Padding, Sliding, convolve, max_pool};
use osculate::{Array, Device, Examples, Expr, Func, Request, Result, Tape, Tree, label, spec, tree};
use serde_json::Value;

/// Σ_k sin-shaped values that the files describe: parameter `j`, row-major index `k`.
fn wave(shape: &[usize], amplitude: f64, phase: f64, step: f64, j: usize) -> Array<f64> {
    Array::from_fn(shape.to_vec(), |k| amplitude * (0.7 * k as f64 + phase + step * j as f64).sin())
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().expect("a number")],
    }
}

fn close(what: &str, got: &[f64], want: &Value) {
    let want = numbers(want);
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let worst = got.iter().zip(&want).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
    assert!(worst <= 1e-12 * scale, "{what}: {worst:e} of {scale:e}");
}

fn cross_entropy<'t>(logits: Expr<'t>, y: Expr<'t>) -> Expr<'t> {
    let shift = logits.max().stop_gradient();
    (logits - shift).exp().sum().ln() + shift - (y.one_hot() * logits).sum()
}

/// Checks every array of a reference file for a model with parameters `P`.
fn check<P, F>(text: &str, classes: usize, params: P, input: &[usize], f: F) -> Result<()>
where
    P: osculate::Signature,
    F: for<'t> Fn(&'t Tape, P::With<Expr<'t>>, Expr<'t>) -> Expr<'t>,
{
    let file: Value = serde_json::from_str(text).expect("a reference file");
    let n = file["batch"].as_u64().expect("a count") as usize;
    let data = (spec(input.to_vec()), label(classes));
    let loss = Func::trace(params.clone(), data.clone(), |tape, p, (x, y)| cross_entropy(f(tape, p, x), y))?;
    let mut j = 0;
    let p = params.map("", |_, s| {
        j += 1;
        Ok(wave(&s.shape, 0.8, 0.2, 0.31, j - 1))
    })?;
    j = 0;
    let v = params.map("", |_, s| {
        j += 1;
        Ok(wave(&s.shape, 0.5, 1.1, 0.17, j - 1))
    })?;
    let xs = Array::new([&[n], input].concat(), numbers(&file["x"]))?;
    let ys = Array::index([n], numbers(&file["y"]).iter().map(|&y| y as u32).collect())?;
    let names: Vec<String> =
        params.leaves("").iter().map(|(path, _)| path.to_string().trim_start_matches('.').to_string()).collect();

    for device in [Device::cpu(), Device::reference()] {
        let losses = loss.vmap(n)?.compile::<f64>(&device)?.run(&p, &(xs.clone(), ys.clone()))?;
        close("loss", losses.values(), &file["loss"]);
        let pair = (copy(&params, &p)?, copy(&params, &v)?);
        let (g, h) = loss.hvp()?.vmap(n)?.compile::<f64>(&device)?.run(&pair, &(xs.clone(), ys.clone()))?;
        for ((name, (_, g)), (_, h)) in names.iter().zip(g.leaves("")).zip(h.leaves("")) {
            close(name, g.values(), &file["grad"][name]);
            close(name, h.values(), &file["hvp"][name]);
        }
        // The second and third derivatives along v by forward mode alone.
        let along = loss.directional(3)?.vmap(n)?.compile::<f64>(&device)?.run(&pair, &(xs.clone(), ys.clone()))?;
        close("loss", along[0].values(), &file["loss"]);
        close("second", along[2].values(), &file["dHd"]);
        close("third", along[3].values(), &file["third_directional"]);

        // Chunks of any size add up to the same.
        let examples = Examples::new(data.clone(), (xs.clone(), ys.clone()))?;
        let flat = |tree: &P::With<Array<f64>>| -> Vec<f64> {
            tree.leaves("").iter().flat_map(|(_, a)| a.values().to_vec()).collect()
        };
        let request = Request::gradient().and_hvp();
        for size in [1, 2, 4, 6] {
            let mut merged = osculate::Moments::empty(osculate::Layout::of(&params, "params"), request);
            let mut batch = osculate::Batch::default();
            for rows in (0..n).collect::<Vec<_>>().chunks(size) {
                examples.gather(rows, &mut batch)?;
                let mut program = loss.moments::<f64>(rows.len(), request, &device)?;
                let mut part = program.moments();
                program.run(&flat(&p), Some(&flat(&v)), &batch, &mut part)?;
                merged.merge(&part)?;
            }
            close("losses of chunks", merged.losses(), &file["loss"]);
            close("gradient norms of chunks", &merged.gradient()?.norms.totals(), &file["grad_sq_norm"]);
            close("hvp norms of chunks", &merged.hvp()?.norms.totals(), &file["hvp_sq_norm"]);
            close("gradient variance of chunks", &[merged.gradient_variance()?.value], &file["mean_dim_grad_variance"]);
            close("hvp variance of chunks", &[merged.hvp_variance()?.value], &file["mean_dim_hvp_variance"]);
        }

        let batch = examples.all()?;
        let mut program = loss.moments::<f64>(n, Request::gradient().and_hvp(), &device)?;
        let mut moments = program.moments();
        program.run(&flat(&p), Some(&flat(&v)), &batch, &mut moments)?;
        close("losses", moments.losses(), &file["loss"]);
        close("gradient norms", &moments.gradient()?.norms.totals(), &file["grad_sq_norm"]);
        close("hvp norms", &moments.hvp()?.norms.totals(), &file["hvp_sq_norm"]);
        close("gradient variance", &[moments.gradient_variance()?.value], &file["mean_dim_grad_variance"]);
        close("hvp variance", &[moments.hvp_variance()?.value], &file["mean_dim_hvp_variance"]);
    }
    Ok(())
}

fn copy<P: osculate::Signature>(spec: &P, tree: &P::With<Array<f64>>) -> Result<P::With<Array<f64>>> {
    let leaves: Vec<Array<f64>> = tree.leaves("").into_iter().map(|(_, a)| a.clone()).collect();
    let mut leaves = leaves.into_iter();
    spec.map("", |_, _| Ok(leaves.next().expect("as many")))
}

tree! { struct Mlp { w1, b1, w2, b2 } }

#[test]
fn mlp() -> Result<()> {
    let params = Mlp { w1: spec([4, 5]), b1: spec([4]), w2: spec([3, 4]), b2: spec([3]) };
    check(include_str!("data/mlp.json"), 3, params, &[5], |_, p, x| p.w2.dot((p.w1.dot(x) + p.b1).tanh()) + p.b2)
}

tree! { struct Lstm { w, u, b, v } }

#[test]
fn lstm() -> Result<()> {
    let params = Lstm { w: spec([12, 2]), u: spec([12, 3]), b: spec([12]), v: spec([4, 3]) };
    check(include_str!("data/lstm.json"), 4, params, &[6, 2], |tape, p, x| {
        let (mut h, mut c) = (tape.full([3], 0.0), tape.full([3], 0.0));
        for t in 0..6 {
            let gates = (p.w.dot(x.at(0, t)) + p.u.dot(h) + p.b).split(0, 4);
            c = gates[1].sigmoid() * c + gates[0].sigmoid() * gates[2].tanh();
            h = gates[3].sigmoid() * c.tanh();
        }
        p.v.dot(h)
    })
}

tree! { struct Cnn { w1, b1, gamma, beta, w2, w3 } }

#[test]
fn cnn() -> Result<()> {
    let params = Cnn {
        w1: spec([4, 2, 3, 3]),
        b1: spec([4]),
        gamma: spec([4]),
        beta: spec([4]),
        w2: spec([6, 4, 3, 3]),
        w3: spec([3, 24]),
    };
    check(include_str!("data/cnn.json"), 3, params, &[2, 8, 8], |_, p, x| {
        let h = Conv { w: p.w1, b: p.b1 }.apply(x, Sliding::default());
        let h = Norm { gamma: p.gamma, beta: p.beta }.group(h, 2).relu();
        let h = max_pool(h, &[2, 2], Sliding { stride: 2, padding: Padding::Valid, dilation: 1 });
        let h = convolve(h, p.w2, Sliding { stride: 2, padding: Padding::Exactly(1), dilation: 1 }, 1).tanh();
        p.w3.dot(h.flatten())
    })
}
