//! The number of threads changes no bit: the same work in processes of 1, 2, 3, 4 and 8 threads.

#[path = "support/variants.rs"]
mod variants;

use std::process::Command;

use osculate::nn::models::ThreeCThreeD;
use osculate::nn::{Init, Mlp, cross_entropy};
use osculate::optim::Minibatches;
use osculate::{
    Array, Batch, Budget, Device, Error, Examples, Expr, Flat, Func, Moments, Request, Rng, Signature, Spec, label,
    spec,
};
use variants::{made, variants};

type Data = (Spec, Spec);

/// Set in the processes that do the work.
const CHILD: &str = "OSCULATE_TEST_THREADS_CHILD";

/// FNV-1a of the bits.
fn hash<'a>(values: impl IntoIterator<Item = &'a f32>) -> u64 {
    let step = |hash: u64, bits: u32| (hash ^ u64::from(bits)).wrapping_mul(0x100_0000_01b3);
    values.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, value| step(hash, value.to_bits()))
}

/// Of all that moments hold.
fn of_moments(moments: &Moments<f32>) -> u64 {
    let (g, h, inner) = (moments.gradient().ok(), moments.hvp().ok(), moments.inner().ok());
    let sums = || g.into_iter().chain(h);
    let vectors = sums().flat_map(|s| s.sum.iter().chain(s.deviations.iter().flatten()));
    let losses = [moments.loss(), moments.loss_variance().unwrap_or(0.0)];
    let numbers = sums().flat_map(|s| [s.squares.clone(), s.norms.totals()].concat());
    let inner =
        inner.into_iter().flat_map(|i| [i.slopes.totals(), i.crossings.totals(), i.curvatures.totals()].concat());
    let halves = |x: f64| [f32::from_bits((x.to_bits() >> 32) as u32), f32::from_bits(x.to_bits() as u32)];
    let wide: Vec<f32> = losses.into_iter().chain(numbers).chain(inner).flat_map(halves).collect();
    hash(vectors.chain(&wide))
}

struct Case {
    loss: Func<Vec<Spec>, Data, Spec>,
    batch: Batch<f32>,
    at: Vec<f32>,
    v: Vec<f32>,
}

fn case<P, F>(model: &P, input: &[usize], classes: usize, n: usize, logits: F) -> Case
where
    P: Signature,
    F: for<'t> Fn(P::With<Expr<'t>>, Expr<'t>) -> Expr<'t>,
{
    let data = (spec(input.to_vec()), label(classes));
    let loss = Func::trace(model.clone(), data.clone(), |_, p, (x, y)| cross_entropy(logits(p, x), y));
    let loss = loss.and_then(|loss| loss.listed()).expect("a trace");
    let rng = &mut Rng::new(1);
    let mut values = || {
        let tree = Init::HeNormal.tree::<f32, _>(model, rng).expect("values");
        Flat::pack(model, &tree).expect("a buffer").values().to_vec()
    };
    let (at, v) = (values(), values());
    let x = Array::from_fn([&[n], input].concat(), |_| rng.uniform(0.0, 1.0) as f32);
    let y = Array::index([n], (0..n).map(|i| (i * 7 % classes) as u32).collect()).expect("labels");
    Case { loss, batch: Examples::new(data, (x, y)).and_then(|e| e.all()).expect("a batch"), at, v }
}

fn dense(widths: &[usize], n: usize) -> Case {
    case(&Mlp::new(widths), &widths[..1], widths[2], n, |p, x| p.apply(x, |h| h.relu()))
}

impl Case {
    /// Hashes of moments and of means within a budget.
    fn report(&self, name: &str, request: Request, budget: Budget) {
        let (device, n) = (Device::cpu(), self.batch.count());
        let mut program = self.loss.moments_within(n, request, &device, budget).expect("a program");
        let mut moments = program.moments();
        let along = request.directed().then_some(&self.v[..]);
        program.run(&self.at, along, &self.batch, &mut moments).expect("a run");
        println!("HASH {name} moments in chunks of {}: {:016x}", program.chunk(), of_moments(&moments));
        for means in [Request::gradient(), Request::hvp(), Request::gradient().and_hvp()] {
            let mut program = self.loss.means_within(n, means, &device, budget).expect("means");
            let (mut g, mut h) = (vec![0.0; self.at.len()], vec![0.0; self.at.len()]);
            let (into_g, into_h) = (means.gradient.then_some(&mut g[..]), means.hvp.then_some(&mut h[..]));
            let along = means.hvp.then_some(&self.v[..]);
            let (loss, _) = program.run_sized(&self.at, along, &self.batch, into_g, into_h).expect("a run");
            let hash = hash(g.iter().chain(&h)) ^ loss.to_bits();
            println!("HASH {name} means in chunks of {}: {hash:016x}", program.chunk());
        }
    }

    /// Hashes of the parameters after 20 steps of every optimizer that is picked.
    fn optimize(&self, name: &str, picked: impl Fn(&str) -> bool) {
        for (optimizer, of, set) in variants().into_iter().filter(|(name, ..)| picked(name)) {
            if optimizer.contains("full") && self.at.len() > 512 {
                continue; // a full covariance is for few parameters
            }
            let (mut params, mut oracles) = (self.at.clone(), Minibatches::new(&self.loss, &Device::cpu()));
            let mut optimizer_made = made::<f32>(of, &set, params.len());
            for _ in 0..20 {
                let mut oracle = oracles.on(&self.batch).of(&self.batch);
                optimizer_made.step(&mut params, &mut oracle).expect("a step");
            }
            println!("HASH {name} {optimizer}: {:016x}", hash(&params));
        }
    }
}

fn work() {
    let everything = Request::gradient().and_hvp().and_elementwise().and_inner();
    let small = dense(&[20, 30, 5], 43);
    let Err(Error::Budget { least, .. }) =
        small.loss.moments_within::<f32>(43, everything, &Device::cpu(), Budget::bytes(0))
    else {
        panic!("nothing fits no memory")
    };
    println!("HASH least budget: {least:016x}");
    for budget in [least, least * 5 / 4, least * 3 / 2, least * 2, 1 << 30] {
        small.report("small", everything, Budget::bytes(budget));
    }
    let every = |_: &str| true;
    small.optimize("small", every);
    dense(&[5, 7, 3], 6).optimize("tiny", every);
    // Commands, sums and sweeps that threads share.
    let wide = dense(&[100, 200, 10], 127);
    wide.report("wide", everything, Budget::default());
    wide.report("wide", everything, Budget::mib(2));
    dense(&[300, 450, 10], 9)
        .optimize("wide", |name| ["meka", "adam", "kafisto", "ogr-d", "adahessian"].contains(&name));
    let convolutions = case(&ThreeCThreeD::new(), &[3, 32, 32], 10, 8, |p, x| p.apply(x));
    convolutions.report("3c3d", Request::gradient().and_hvp(), Budget::mib(36));
}

#[test]
fn threads_change_no_bit() {
    if std::env::var_os(CHILD).is_some() {
        return work();
    }
    let exe = std::env::current_exe().expect("this test");
    let hashes = |threads: usize| -> Vec<String> {
        let mut child = Command::new(&exe);
        child.args(["--exact", "threads_change_no_bit", "--nocapture", "--test-threads=1"]);
        child.env(CHILD, "1").env("RAYON_NUM_THREADS", threads.to_string());
        let output = child.output().expect("a process");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{threads} threads: {text}\n{}", String::from_utf8_lossy(&output.stderr));
        text.lines().filter_map(|line| line.find("HASH ").map(|at| line[at..].to_string())).collect()
    };
    let one = hashes(1);
    println!("{} hashes:\n{}", one.len(), one.join("\n"));
    assert!(one.len() > 150);
    for threads in [2, 3, 4, 8] {
        let other = hashes(threads);
        assert_eq!(one.len(), other.len());
        for (one, other) in one.iter().zip(&other) {
            assert_eq!(one, other, "{threads} threads");
        }
    }
}
