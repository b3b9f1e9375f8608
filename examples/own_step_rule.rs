//! A rule of one's own for the learning rate, around any base direction, beside those that come with the library; `own_optimizer` has a
//! whole optimizer of one's own.
//!
//! `cargo run --release --example own_step_rule`

use osculate::nn::{Batches, Init, Mlp, cross_entropy, digits};
use osculate::optim::base::Base;
use osculate::optim::options::{Field, Legal, Options};
use osculate::optim::rated::{Rated, Rule, Seen};
use osculate::optim::{LrAdapt, Minibatches, Optimizer, Oracle, Result, lr_adapt};
use osculate::{Batch, Device, Flat, Func, Rng, label, spec};

/// Grows the rate while successive gradients agree with the steps before them, and shrinks it when they do not.
#[derive(Clone)]
struct Agreement {
    rate: f64,
    base: Base,
}

impl Options for Agreement {
    // Names, meanings and legal values: for command lines, help pages and saved states.
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        see("rate", "first learning rate", Field::Number(&mut self.rate, Legal::Positive));
        self.base.each(see);
    }
}

impl Rule for Agreement {
    const WHAT: &'static str = "example.agreement"; // what its saved states are called
    const STARTS: &'static [&'static str] = &["rate"]; // read by `start` alone: a saved run does not go on under another

    fn base(&self) -> Base {
        self.base
    }

    fn start(&self) -> Vec<f64> {
        vec![self.rate]
    }

    fn rate(&self, state: &mut [f64], seen: &Seen) -> Option<f64> {
        let rate = state.first_mut()?;
        *rate *= if seen.previous >= 0.0 { 1.05 } else { 0.8 };
        Some(*rate)
    }
}

fn main() -> Result<()> {
    let data = digits::<f32>()?;
    let model = Mlp::new(&[64, 100, 10]);
    let loss =
        Func::trace(model.clone(), (spec([64]), label(10)), |_, p, (x, y)| cross_entropy(p.apply(x, |h| h.relu()), y))?;
    let start = Flat::pack(&model, &Init::HeNormal.tree(&model, &mut Rng::new(0))?)?;
    let len = start.values().len();
    let test = data.test.all()?;

    let around = |base: Base| Agreement { rate: 1e-3, base };
    let optimizers: [(&str, Box<dyn Optimizer<f32>>); 4] = [
        ("own rule, SGD", Box::new(Rated::new(len, around(Base::sgd()))?)),
        ("own rule, Adam", Box::new(Rated::new(len, around(Base::adam()))?)),
        ("LR-Adapt, SGD", Box::new(LrAdapt::new(len, lr_adapt::Config::of(Base::sgd()))?)),
        ("LR-Adapt, Adam", Box::new(LrAdapt::new(len, lr_adapt::Config::of(Base::adam()))?)),
    ];
    for (name, mut optimizer) in optimizers {
        let (mut params, mut oracles) = (start.values().to_vec(), Minibatches::new(&loss, &Device::cpu()));
        let (mut batches, mut batch) = (Batches::new(data.train.count(), 128, 0), Batch::default());
        let mut rate = 0.0;
        for _ in 0..120 {
            data.train.gather(batches.next_rows(), &mut batch)?;
            rate = optimizer.step(&mut params, &mut oracles.on(&batch))?.step;
        }
        println!("{name:>14}: test loss {:.4}, last rate {rate:.2e}", oracles.on(&test).loss(&params)?);
    }
    Ok(())
}
