//! MEKA with everything that its published traces leave out, against its equations in plain arithmetic over single examples.

use osculate::optim::improvement::{Coefficients, Outcome};
use osculate::optim::meka::{Correction, Noise, VarianceOf};
use osculate::optim::{Meka, MekaConfig, Minibatches, Optimizer, Status};
use osculate::{Array, Batch, Device, Examples, Func, Rng, Spec, spec};

type Vector = [f64; 2];
const N: usize = 5;
const STEPS: usize = 25;

fn map(f: impl Fn(usize) -> f64) -> Vector {
    std::array::from_fn(f)
}

fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1]
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

fn variance(x: &[f64]) -> f64 {
    let m = mean(x);
    x.iter().map(|x| (x - m).powi(2)).sum::<f64>() / (x.len() - 1) as f64
}

/// A debiased moving average.
#[derive(Clone, Copy, Default)]
struct Average(f64, f64);

impl Average {
    fn add(&mut self, beta: f64, x: f64) -> f64 {
        *self = Average(beta * self.0 + (1.0 - beta) * x, beta * self.1 + 1.0 - beta);
        self.0 / self.1
    }
}

/// Examples ½ Σⱼ hⱼwⱼ² + ξ·w + 1000, of noisy curvatures h, negative ones among them, and slopes ξ.
struct Problem {
    curvatures: Vec<Vector>,
    slopes: Vec<Vector>,
}

impl Problem {
    fn new(curvature: f64) -> Problem {
        let rng = &mut Rng::new(4);
        let mut draw = |about: Vector, deviation: f64| -> Vec<Vector> {
            (0..N * STEPS).map(|_| [about[0] + deviation * rng.normal(), about[1] + deviation * rng.normal()]).collect()
        };
        Problem { curvatures: draw([curvature, 1.0], 0.4), slopes: draw([0.0, 0.5], 0.6) }
    }

    fn loss() -> Func<Spec, (Spec, Spec), Spec> {
        let loss =
            Func::trace(spec([2]), (spec([2]), spec([2])), |_, w, (h, xi)| 0.5 * (h * w * w).sum() + xi.dot(w) + 1e3);
        loss.expect("a loss")
    }

    fn examples(&self) -> Examples<(Spec, Spec), f64> {
        let array = |v: &[Vector]| Array::new([v.len(), 2], v.as_flattened().to_vec()).expect("an array");
        Examples::new((spec([2]), spec([2])), (array(&self.curvatures), array(&self.slopes))).expect("examples")
    }
}

/// The reference: filters and rule of one number of covariance, all as `methods` has them.
struct Written {
    config: MekaConfig,
    x: Vector,
    last: Vector,
    m: Vector,
    p: f64,
    u: f64,
    s: f64,
    sigma: Average,
    r: Average,
    coefficients: [Average; 6],
    surprises: usize,
}

impl Written {
    fn step(&mut self, first: bool, h: &[Vector], xi: &[Vector]) -> (f64, f64) {
        let config = self.config;
        let x = self.x;
        let nu = if config.variance_of == VarianceOf::Mean { N as f64 } else { 1.0 };
        let losses: Vec<f64> =
            (0..N).map(|i| 0.5 * (h[i][0] * x[0] * x[0] + h[i][1] * x[1] * x[1]) + dot(xi[i], x) + 1e3).collect();
        let gradients: Vec<Vector> = (0..N).map(|i| map(|j| h[i][j] * x[j] + xi[i][j])).collect();
        let products = |v: Vector| -> Vec<Vector> { (0..N).map(|i| map(|j| h[i][j] * v[j])).collect() };
        let averaged = |rows: &[Vector]| map(|j| rows.iter().map(|r| r[j]).sum::<f64>() / N as f64);
        let spread = |rows: &[Vector]| {
            (0..2).map(|j| variance(&rows.iter().map(|r| r[j]).collect::<Vec<_>>())).sum::<f64>() / 2.0 / nu
        };
        let along = |rows: &[Vector], v: Vector| variance(&rows.iter().map(|r| dot(*r, v)).collect::<Vec<_>>()) / nu;
        let known = config.noise;

        let (y, g) = (mean(&losses), averaged(&gradients));
        let delta = if first { [0.0; 2] } else { map(|j| x[j] - self.last[j]) };
        let rows = products(delta);
        let b = averaged(&rows);
        let now = known.map_or(spread(&gradients), |noise| noise.gradient);
        let q = if first { 0.0 } else { known.map_or(spread(&rows), |noise| noise.hvp) };
        let r = self.r.add(config.loss_decay, known.map_or(variance(&losses) / nu, |noise| noise.loss));
        let sigma = self.sigma.add(config.gradient_decay, now);
        // vᵀPv and vᵀQv: by one number, or as far as the examples spread along v.
        let extents = |p: f64, q: f64, v: Vector, rows: &[Vector]| match config.directional {
            false => [p * dot(v, v), q * dot(v, v)],
            true => [p * along(&gradients, v) / now, along(rows, v)],
        };

        let [pe, qe] = if first { [0.0; 2] } else { extents(self.p, q, delta, &rows) };
        let predicted = self.u + dot(self.m, delta) + 0.5 * dot(delta, b);
        let c = self.s + pe + 0.25 * qe + r;
        let lambda = if first { 0.0 } else { ((y - predicted).powi(2) - c).max(0.0) };
        self.surprises += usize::from(lambda > 0.0);
        let prior = lambda + c - r;
        let gain = prior / (prior + r);
        self.u = predicted + gain * (y - predicted);
        self.s = gain * r;

        let k = (self.p + q) / (self.p + q + sigma);
        self.m = map(|j| (1.0 - k) * (self.m[j] + b[j]) + k * g[j]);
        self.p = k * sigma;

        let d = self.m.map(|m| -m);
        let rows = products(d);
        let q = known.map_or(spread(&rows), |noise| noise.hvp);
        let [pe, qe] = extents(self.p, q, d, &rows);
        let surprise = config.correction == Correction::Surprise;
        let ratio = if first { 0.0 } else { dot(d, d) / dot(delta, delta) };
        let v6 = if surprise { (lambda * ratio.powi(3)).max(config.floor * dot(d, d).powi(3)) } else { 0.0 };
        let v0 = 2.0 * self.s + if surprise { 0.0 } else { lambda };
        let mut values = [-dot(d, self.m), dot(d, averaged(&rows)), v0, pe, qe, v6];
        values.iter_mut().zip(&mut self.coefficients).for_each(|(v, a)| *v = a.add(config.coefficient_decay, *v));
        let [slope, curvature, v0, v2, v4, v6] = values;
        let curvature = if config.correction == Correction::Absolute { curvature.abs() } else { curvature };
        let coefficients = Coefficients { slope, curvature, cubic: 0.0, v0, v2, v4, v6 };
        let (step, outcome) = coefficients.best_step();
        assert_eq!(outcome, Outcome::Ok);
        self.last = x;
        self.x = map(|j| x[j] + step * d[j]);
        (step, coefficients.probability(step))
    }
}

#[test]
fn every_way_of_the_scalar_model() {
    let nines = MekaConfig { loss_decay: 0.9, gradient_decay: 0.9, coefficient_decay: 0.8, ..MekaConfig::default() };
    let noise = Some(Noise { loss: 0.03, gradient: 0.02, hvp: 0.005 });
    for (config, curvature) in [
        (nines, 1.5),
        (MekaConfig { variance_of: VarianceOf::Sample, ..nines }, 1.5),
        (MekaConfig { directional: true, ..nines }, 1.5),
        (MekaConfig { noise, ..nines }, 1.5),
        (MekaConfig { correction: Correction::Surprise, ..nines }, 1.5),
        (MekaConfig { correction: Correction::Surprise, floor: 1e-3, ..nines }, -0.5),
        (MekaConfig { correction: Correction::Absolute, ..nines }, -0.5),
        (MekaConfig { correction: Correction::Surprise, directional: true, floor: 0.01, ..nines }, 0.5),
    ] {
        let problem = Problem::new(curvature);
        let (loss, examples) = (Problem::loss(), problem.examples());
        let (mut oracles, mut batch) = (Minibatches::new(&loss, &Device::cpu()), Batch::default());
        let mut written = Written {
            config,
            x: [3.0, -2.0],
            last: [0.0; 2],
            m: [0.0; 2],
            p: 1e4,
            u: 0.0,
            s: 1e4,
            sigma: Average::default(),
            r: Average::default(),
            coefficients: Default::default(),
            surprises: 0,
        };
        let (mut meka, mut w) = (Meka::new(2, config).expect("options"), [3.0, -2.0]);
        for t in 0..STEPS {
            let rows: Vec<usize> = (N * t..N * (t + 1)).collect();
            examples.gather(&rows, &mut batch).expect("rows");
            let report = meka.step(&mut w, &mut oracles.on(&batch)).expect("a step");
            let range = N * t..N * (t + 1);
            // y² of the first step is 1e6, far more than its variance of 1e4: it is no surprise.
            let (step, probability) = written.step(t == 0, &problem.curvatures[range.clone()], &problem.slopes[range]);
            let filter = meka.filter();
            for (what, got, want) in [
                ("step", report.step, step),
                ("probability", report.probability.unwrap_or(f64::NAN), probability),
                ("w", w[0], written.x[0]),
                ("w", w[1], written.x[1]),
                ("u", filter.u, written.u),
                ("s", filter.s, written.s),
                ("p", filter.p, written.p),
            ] {
                let near = (got - want).abs() <= 1e-9 * want.abs().max(1.0);
                assert!(near, "{config:?}, step {t}, {what}: {got} instead of {want}");
            }
            assert_eq!(report.status, Status::Stepped);
            // Something else moves the parameters between steps: displacements are what they are.
            if t % 5 == 4 {
                w[0] += 0.05;
                written.x[0] += 0.05;
            }
        }
        // Variances of single examples are wide enough for all there is.
        assert!(written.surprises > 0 || config.variance_of == VarianceOf::Sample, "{config:?}");
    }
}

/// Where the filtered gradient is exactly zero there is no direction.
#[test]
fn no_gradient_is_no_descent() {
    let loss = Func::trace(spec([2]), spec([]), |_, w, x| 0.5 * (w * w).sum() * x).expect("a loss");
    let data = Examples::new(spec([]), Array::new([2], vec![1.0, 3.0]).expect("an array")).expect("examples");
    let batch = data.all().expect("a batch");
    let (mut meka, mut w) = (Meka::new(2, MekaConfig::default()).expect("options"), [0.0; 2]);
    for _ in 0..3 {
        let report = meka.step(&mut w, &mut Minibatches::new(&loss, &Device::cpu()).on(&batch)).expect("a step");
        assert!(report.status == Status::NoDescent && report.step == 0.0 && w == [0.0; 2], "{report:?}");
    }
}
