//! Stop and go on, bit for bit: parameters, optimizer and the sampler's position in files.
//!
//! `cargo run --release --example resume_training`

use std::path::Path;

use osculate::nn::{Batches, Init, Mlp, cross_entropy, digits};
use osculate::optim::{Minibatches, Optimizer, Result, by_name};
use osculate::store::Store;
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

    fn save(&self, folder: &Path) -> Result<()> {
        let mut store = Store::new("example.run");
        store.put("params", self.params.values());
        let (epoch, row) = self.batches.position();
        store.put("position", &[epoch as f64, row as f64]);
        store.put_all("optimizer", &self.optimizer.save());
        store.save(folder.join("run.safetensors"))?; // written aside, then renamed
        Ok(())
    }

    fn load(mut self, folder: &Path) -> Result<Run> {
        let store = Store::load(folder.join("run.safetensors"), "example.run")?;
        let what = self.optimizer.save().what().to_string();
        self.optimizer.load(&store.part("optimizer", &what))?;
        let params = store.get("params", self.params.values().len())?;
        self.params.values_mut().copy_from_slice(&params);
        let position = store.get::<f64>("position", 2)?;
        self.batches = self.batches.at((position[0] as u64, position[1] as usize));
        Ok(self)
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

    let folder = std::env::temp_dir();
    let mut first = Run::new(&model, data.train.count())?;
    walk(&mut first, 40)?;
    first.save(&folder)?;
    drop(first); // as if the process had ended
    let mut second = Run::new(&model, data.train.count())?.load(&folder)?;
    let resumed = walk(&mut second, 60)?;

    println!("loss of step 100: {uninterrupted} uninterrupted, {resumed} resumed after step 40");
    println!("parameters are the same bits: {}", whole.params.values() == second.params.values());
    Ok(())
}
