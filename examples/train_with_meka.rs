//! Handwritten digits with MEKA: no learning rate is given.
//!
//! `cargo run --release --example train_with_meka`

use osculate::nn::{Batches, Init, Mlp, cross_entropy, digits};
use osculate::optim::{Meka, MekaConfig, Minibatches, Optimizer, Oracle, Result};
use osculate::{Batch, Device, Flat, Func, Rng, label, spec};

fn main() -> Result<()> {
    let data = digits::<f32>()?;
    let model = Mlp::new(&[64, 100, 10]);
    let loss =
        Func::trace(model.clone(), (spec([64]), label(10)), |_, p, (x, y)| cross_entropy(p.apply(x, |h| h.relu()), y))?;

    let mut params = Flat::pack(&model, &Init::HeNormal.tree(&model, &mut Rng::new(0))?)?;
    let mut meka = Meka::new(params.values().len(), MekaConfig::default())?;
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let mut batches = Batches::new(data.train.count(), 128, 0);
    let mut batch = Batch::default();

    println!("step   loss      step size   gain     P(improve)");
    for step in 0..120 {
        data.train.gather(batches.next_rows(), &mut batch)?;
        let report = meka.step(params.values_mut(), &mut oracles.on(&batch))?;
        if step % 10 == 0 {
            let (gain, probability) = (report.gain.unwrap_or(0.0), report.probability.unwrap_or(0.0));
            println!("{step:>4}   {:<8.4}  {:<9.4}   {gain:<6.3}   {probability:.3}", report.loss, report.step);
        }
    }
    let test = data.test.all()?;
    println!("test loss {:.4}", oracles.on(&test).loss(params.values())?);
    meka.save().save(std::env::temp_dir().join("meka.safetensors"))?; // resumes bit for bit
    Ok(())
}
