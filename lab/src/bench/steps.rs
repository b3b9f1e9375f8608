//! The steps of a reference model, compiled for one size of minibatch.

use std::time::Instant;

use osculate::nn::models::{ResNet32, ThreeCThreeD};
use osculate::nn::{Init, Mlp, cross_entropy, models};
use osculate::{
    Array, Batch, Device, Examples, Expr, Flat, Func, In, MeansProgram, Moments, MomentsProgram, Out, Request, Rng,
    Signature, Spec, label, spec,
};

use super::{Model, What};
use crate::error::{Error, Result};

type Data = (Spec, Spec);

/// Programs of the three steps, and what they run on.
pub struct Steps {
    gradient: MeansProgram<f32>,
    hvp: MeansProgram<f32>,
    moments: MomentsProgram<f32>,
    into: Moments<f32>,
    batch: Batch<f32>,
    at: Vec<f32>,
    v: Vec<f32>,
    g: Vec<f32>,
    h: Vec<f32>,
    /// Seconds that the three took to transform and plan.
    took: [f64; 3],
}

/// Does with a model's shapes, its input and its logits what there is to do with them.
trait Visit {
    type Result;
    fn visit<P, F>(self, model: P, input: &[usize], logits: F) -> Result<Self::Result>
    where
        P: Signature,
        F: for<'t> Fn(P::With<Expr<'t>>, Expr<'t>) -> Expr<'t>;
}

fn visit<V: Visit>(model: Model, visitor: V) -> Result<V::Result> {
    match model {
        Model::Logreg => visitor.visit(Mlp::new(&[784, 10]), &[784], |p, x| p.apply(x, |h| h.relu())),
        Model::Mlp => visitor.visit(models::mlp(), &[784], |p, x| p.apply(x, |h| h.relu())),
        Model::ThreeCThreeD => visitor.visit(ThreeCThreeD::new(), &[3, 32, 32], |p, x| p.apply(x)),
        Model::Resnet32 => visitor.visit(ResNet32::new(), &[3, 32, 32], |p, x| p.apply(x)),
    }
}

fn traced<P, F>(model: P, input: &[usize], logits: F) -> Result<Func<P, Data, Spec>>
where
    P: Signature,
    F: for<'t> Fn(P::With<Expr<'t>>, Expr<'t>) -> Expr<'t>,
{
    let data = (spec(input.to_vec()), label(10));
    Ok(Func::trace(model, data, |_, p, (x, y)| cross_entropy(logits(p, x), y))?)
}

/// A run of a program of 100 nodes of one element.
pub fn tiny() -> Result<impl FnMut() -> Result<()>> {
    // Products and maps in turn, so that none vanishes into the next.
    let chain = Func::trace(spec([2]), spec([2]), |_, p, x| (0..50).fold(x, |x, _| (x.dot(p) + x).sin()))?;
    let mut program = chain.compile::<f32>(&Device::cpu())?;
    let (input, mut output) = ([0.5f32, 0.25], [0f32; 2]);
    Ok(move || Ok(program.run_flat(&[In::Real(&input), In::Real(&input)], &mut [Out::Real(&mut output)])?))
}

fn examples(n: usize, input: &[usize], rng: &mut Rng) -> Result<Examples<Data, f32>> {
    let x = Array::from_fn([&[n], input].concat(), |_| rng.uniform(0.0, 1.0) as f32);
    let y = Array::index([n], (0..n).map(|_| rng.uniform(0.0, 10.0) as u32).collect())?;
    Ok(Examples::new((spec(input.to_vec()), label(10)), (x, y))?)
}

/// Makes the steps of minibatches of so many, after comparing their results with materialised vectors if wanted.
struct Make {
    n: usize,
    checked: bool,
}

impl Visit for Make {
    type Result = Steps;
    fn visit<P, F>(self, model: P, input: &[usize], logits: F) -> Result<Steps>
    where
        P: Signature,
        F: for<'t> Fn(P::With<Expr<'t>>, Expr<'t>) -> Expr<'t>,
    {
        let Make { n, checked } = self;
        let loss = traced(model.clone(), input, logits)?;
        let rng = &mut Rng::new(0);
        let at = Flat::pack(&model, &Init::HeNormal.tree::<f32, _>(&model, rng)?)?.values().to_vec();
        let v: Vec<f32> = at.iter().map(|_| 1e-2 * rng.normal() as f32).collect();
        if checked {
            check(&loss, &at, &v, &examples(8, input, rng)?)?;
        }
        let cpu = Device::cpu();
        let began = Instant::now();
        let gradient = loss.means(n, Request::gradient(), &cpu)?;
        let first = began.elapsed();
        let hvp = loss.means(n, Request::gradient().and_hvp(), &cpu)?;
        let second = began.elapsed();
        let moments = loss.moments(n, Request::gradient().and_hvp(), &cpu)?;
        let took = [first, second - first, began.elapsed() - second].map(|t| t.as_secs_f64());
        Ok(Steps {
            took,
            gradient,
            hvp,
            into: moments.moments(),
            moments,
            batch: examples(n, input, rng)?.all()?,
            g: v.clone(),
            h: v.clone(),
            at,
            v,
        })
    }
}

impl Steps {
    /// Of a model, for minibatches of `n`, after a check of their results.
    pub fn new(model: Model, n: usize) -> Result<Steps> {
        visit(model, Make { n, checked: true })
    }

    /// The same without a check.
    pub fn unchecked(model: Model, n: usize) -> Result<Steps> {
        visit(model, Make { n, checked: false })
    }

    /// Of a perceptron with two hidden layers of this width.
    pub fn wide(width: usize, n: usize) -> Result<Steps> {
        let make = Make { n, checked: false };
        make.visit(Mlp::new(&[width, width, width, 10]), &[width], |p, x| p.apply(x, |h| h.relu()))
    }

    /// Parameters of the model.
    pub fn parameters(&self) -> usize {
        self.at.len()
    }

    /// Bytes alive during a step, and its floating-point operations.
    pub fn cost(&self, what: What) -> (usize, u64) {
        match what {
            What::Gradient => (self.gradient.peak_bytes(), self.gradient.flop()),
            What::GradHvp => (self.hvp.peak_bytes(), self.hvp.flop()),
            What::Moments | What::All => (self.moments.peak_bytes(), self.moments.flop()),
        }
    }

    /// From now on, runs take the time of every command.
    pub fn measure(&mut self) {
        self.gradient.measure();
        self.hvp.measure();
        self.moments.measure();
    }

    /// The plan of a step as text, and the seconds that it took to make.
    pub fn plan(&self, what: What) -> (String, f64) {
        match what {
            What::Gradient => (self.gradient.plan(), self.took[0]),
            What::GradHvp => (self.hvp.plan(), self.took[1]),
            What::Moments | What::All => (self.moments.plan(), self.took[2]),
        }
    }

    /// Milliseconds of one run.
    pub fn run(&mut self, what: What) -> Result<f64> {
        let Steps { gradient, hvp, moments, into, batch, at, v, g, h, took: _ } = self;
        let began = Instant::now();
        match what {
            What::Gradient => drop(gradient.run(at, None, batch, Some(g), None)?),
            What::GradHvp => drop(hvp.run(at, Some(v), batch, Some(g), Some(h))?),
            What::Moments | What::All => moments.run(at, Some(v), batch, into)?,
        }
        Ok(began.elapsed().as_secs_f64() * 1e3)
    }
}

/// Compares moments in f64 with those of materialised vectors, and the f32 gradient with the f64 one, on a few examples.
fn check<P: Signature>(
    loss: &Func<P, Data, Spec>,
    at: &[f32],
    v: &[f32],
    examples: &Examples<Data, f32>,
) -> Result<()> {
    let n = examples.count();
    let cpu = Device::cpu();
    let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    let (at64, v64) = (wide(at), wide(v));
    let (Some(x), Some(y)) = (examples.array(0), examples.array(1)) else { return Ok(()) };
    let x64 = Array::new(x.shape(), wide(x.values()))?;
    let all = Examples::new(examples.spec().clone(), (x64, Array::index(y.shape(), y.indices().to_vec())?))?;

    let mut program = loss.moments::<f64>(n, Request::gradient().and_hvp(), &cpu)?;
    let mut moments = program.moments();
    program.run(&at64, Some(&v64), &all.all()?, &mut moments)?;
    // One example's vectors after the other.
    let mut one = loss.hvp()?.vmap(1)?.compile::<f64>(&cpu)?;
    let d = at.len();
    let mut sums = [vec![0.0; d], vec![0.0; d]];
    let mut norms = [Vec::new(), Vec::new()];
    let mut batch = Batch::default();
    for row in 0..n {
        all.gather(&[row], &mut batch)?;
        let mut vectors = [vec![0.0; d], vec![0.0; d]];
        let [g, h] = &mut vectors;
        batch.feed([In::Real(&at64), In::Real(&v64)], |inputs| {
            one.run_flat(inputs, &mut [Out::Real(g), Out::Real(h)])
        })?;
        for ((sum, norms), x) in sums.iter_mut().zip(&mut norms).zip(&vectors) {
            sum.iter_mut().zip(x).for_each(|(s, x)| *s += x);
            norms.push(x.iter().map(|x| x * x).sum::<f64>());
        }
    }
    let scale = |x: &[f64]| x.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let close = |what: &str, got: &[f64], want: &[f64], tolerance: f64| {
        let worst = got.iter().zip(want).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
        if worst <= tolerance * scale(want) {
            return Ok(());
        }
        Err(Error::Bench(format!("{what} differs from its materialised form by {worst:e} of {:e}", scale(want))))
    };
    for ((what, got), (sum, norms)) in
        [("gradient", moments.gradient()?), ("Hv product", moments.hvp()?)].into_iter().zip(sums.iter().zip(&norms))
    {
        close(&format!("the sum of the {what}"), &got.sum, sum, 1e-10)?;
        close(&format!("the norm of the {what}"), &got.norms.totals(), norms, 1e-10)?;
    }
    let mut gradient = loss.means::<f32>(n, Request::gradient(), &cpu)?;
    let mut g = vec![0f32; d];
    gradient.run(at, None, &examples.all()?, Some(&mut g), None)?;
    let mean: Vec<f64> = sums[0].iter().map(|s| s / n as f64).collect();
    close("the f32 gradient", &wide(&g), &mean, 1e-3)
}
