//! Stop and go on, bit for bit: parameters, optimizer and the sampler's position in a file.
//!
//! `cargo run --release --example resume_training`

use osculate::nn::{Batches, Init, Mlp, cross_entropy, digits};
use osculate::optim::{Checkpoint, Minibatches, Optimizer, Result, by_name};
use osculate::{Batch, Device, Flat, Func, Rng, Spec, label, spec};

/// Everything that a run is made of.
struct Run {
    params: Flat<Mlp<Spec>, f32>,
    optimizer: Box<dyn Optimizer<f32>>,
    batches: Batches,
}

impl Run {
    fn new(model: &Mlp<Spec>, count: usize) -> Result<Run> {
        let params = Flat::pack(model, &Init::HeNormal.tree(model, &mut Rng::new(0))?)?;
        let optimizer = by_name("kafisto", params.values().len())?;
        Ok(Run { params, optimizer, batches: Batches::new(count, 128, 0) })
    }
}

fn main() -> Result<()> {
    let data = digits::<f32>()?;
    let model = Mlp::new(&[64, 100, 10]);
    let loss =
        Func::trace(model.clone(), (spec([64]), label(10)), |_, p, (x, y)| cross_entropy(p.apply(x, |h| h.relu()), y))?;
    let (mut oracles, mut batch) = (Minibatches::new(&loss, &Device::cpu()), Batch::default());
    let mut walk = |run: &mut Run, steps: usize| -> Result<f64> {
        let mut last = f64::NAN;
        for _ in 0..steps {
            data.train.gather(run.batches.next_rows(), &mut batch)?;
            last = run.optimizer.step(run.params.values_mut(), &mut oracles.on(&batch))?.loss;
        }
        Ok(last)
    };

    let mut whole = Run::new(&model, data.train.count())?;
    let uninterrupted = walk(&mut whole, 100)?;

    let file = std::env::temp_dir().join("osculate-run.safetensors");
    let mut first = Run::new(&model, data.train.count())?;
    walk(&mut first, 40)?;
    let run = Checkpoint::of(first.params.values(), first.optimizer.as_ref(), first.batches.position());
    run.sampled(first.batches.source()).save(&file)?;
    drop(first); // as if the process had ended

    let mut second = Run::new(&model, data.train.count())?;
    let saved = Checkpoint::open(&file)?;
    saved.must_sample(second.batches.source())?; // else the position would mean other minibatches
    let position = saved.restore(second.params.values_mut(), second.optimizer.as_mut())?;
    second.batches = second.batches.at(position);
    let resumed = walk(&mut second, 60)?;

    println!("loss of step 100: {uninterrupted} uninterrupted, {resumed} resumed after step 40");
    println!("parameters are the same bits: {}", whole.params.values() == second.params.values());
    Ok(())
}
