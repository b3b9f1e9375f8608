//! Watch an optimizer from outside: its reports as CSV and as event files for TensorBoard, beside numbers of one's own.
//!
//! `cargo run --release --example watch_training`, then `tensorboard --logdir out/watched`

use osculate::nn::{Batches, Init, Mlp, cross_entropy, digits};
use osculate::optim::observe::{Csv, Events, Observer};
use osculate::optim::{Meka, MekaConfig, Minibatches, Optimizer, Oracle};
use osculate::{Batch, Device, Flat, Func, Rng, label, spec};

fn main() -> osculate::optim::Result<()> {
    let data = digits::<f32>()?;
    let model = Mlp::new(&[64, 100, 10]);
    let loss =
        Func::trace(model.clone(), (spec([64]), label(10)), |_, p, (x, y)| cross_entropy(p.apply(x, |h| h.relu()), y))?;
    let mut params = Flat::pack(&model, &Init::HeNormal.tree(&model, &mut Rng::new(0))?)?;
    let mut meka = Meka::new(params.values().len(), MekaConfig::default())?;
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let (mut batches, mut batch) = (Batches::new(data.train.count(), 128, 0), Batch::default());
    let test = data.test.all()?;

    let folder = std::path::Path::new("out/watched");
    let mut events = Events::create(folder)?;
    let mut csv = Csv::create(&folder.join("meka.csv"))?;
    for step in 0..240 {
        data.train.gather(batches.next_rows(), &mut batch)?;
        let report = meka.step(params.values_mut(), &mut oracles.on(&batch))?;
        events.see(step, &report)?;
        csv.see(step, &report)?;
        if step % 20 == 19 {
            events.scalar("test loss", step, oracles.on(&test).loss(params.values())?)?;
        }
    }
    events.finish()?;
    csv.finish()?;
    println!("out/watched/meka.csv and {}", events.path().display());
    Ok(())
}
