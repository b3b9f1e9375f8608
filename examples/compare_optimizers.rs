//! Several optimizers on the same minibatches, by name, one with options set by name.
//!
//! `cargo run --release --example compare_optimizers`

use osculate::nn::{Batches, Init, Mlp, cross_entropy, digits};
use osculate::optim::registry::with_options;
use osculate::optim::{Minibatches, Oracle, Result, Status};
use osculate::{Batch, Device, Flat, Func, Rng, label, spec};

fn main() -> Result<()> {
    let data = digits::<f32>()?;
    let model = Mlp::new(&[64, 100, 10]);
    let loss =
        Func::trace(model.clone(), (spec([64]), label(10)), |_, p, (x, y)| cross_entropy(p.apply(x, |h| h.relu()), y))?;
    let start = Flat::pack(&model, &Init::HeNormal.tree(&model, &mut Rng::new(0))?)?;
    let set = |name: &str, value: &str| (name.to_string(), value.to_string());

    println!("optimizer      test loss   steps not taken");
    for (name, options) in [
        ("adam", vec![set("rate", "0.003"), set("schedule", "cosine"), set("period", "240")]),
        ("lradapt-adam", vec![]),
        ("kafisto", vec![set("by-layer", "true")]),
        ("ogr-safe", vec![]),
        ("meka", vec![]),
    ] {
        let mut params = start.values().to_vec();
        let mut optimizer = with_options::<f32>(name, params.len(), &options)?;
        let mut oracles = Minibatches::new(&loss, &Device::cpu());
        let (mut batches, mut batch) = (Batches::new(data.train.count(), 128, 0), Batch::default());
        let mut not_taken = 0;
        for _ in 0..240 {
            data.train.gather(batches.next_rows(), &mut batch)?;
            let report = optimizer.step(&mut params, &mut oracles.on(&batch))?;
            not_taken += usize::from(report.status != Status::Stepped);
        }
        let test = data.test.all()?;
        println!("{name:<13}  {:<9.4}   {not_taken}", oracles.on(&test).loss(&params)?);
    }
    Ok(())
}
