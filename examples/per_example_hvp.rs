//! Exact gradients and Hessian-vector products of every example of a minibatch, from the loss of one.
//!
//! `cargo run --example per_example_hvp`

use osculate::nn::{Init, Mlp, cross_entropy};
use osculate::{Array, Device, Func, Result, Rng, label, spec};

fn main() -> Result<()> {
    // One example in, no batch axis anywhere.
    let model = Mlp::new(&[4, 8, 3]);
    let loss =
        Func::trace(model.clone(), (spec([4]), label(3)), |_, p, (x, y)| cross_entropy(p.apply(x, |h| h.tanh()), y))?;

    // Forward over reverse, then batched: ((parameters, v), examples) -> (gradients, H v), each with a leading axis of 5.
    let n = 5;
    let mut each = loss.hvp()?.vmap(n)?.compile::<f64>(&Device::cpu())?;

    let mut rng = Rng::new(0);
    let params = Init::LecunNormal.tree(&model, &mut rng)?;
    let v = Init::Normal(1.0).tree(&model, &mut rng)?;
    let x = Array::from_fn([n, 4], |_| rng.normal());
    let y = Array::index([n], vec![0, 1, 2, 1, 0])?;
    let (gradients, products) = each.run(&(params, v), &(x, y))?;

    println!("example   |dl/db|²      |(Hv)_b|²    (b: the last layer's biases)");
    let (g, h) = (&gradients.layers[1].b, &products.layers[1].b);
    for (i, (g, h)) in g.values().chunks(3).zip(h.values().chunks(3)).enumerate() {
        let squared = |x: &[f64]| x.iter().map(|v| v * v).sum::<f64>();
        println!("{i:>7}   {:<12.6}  {:<12.6}", squared(g), squared(h));
    }
    println!("\nthe program of one example's gradient, a line a node:\n{}", loss.grad()?.graph());
    Ok(())
}
