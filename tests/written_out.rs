//! Methods that no published numbers pin down, against their equations in a few lines of plain arithmetic.

use osculate::optim::base::Base;
use osculate::optim::hypergradient::Hypergradient;
use osculate::optim::l4::L4;
use osculate::optim::polyak::Polyak;
use osculate::optim::{
    Armijo, Asgd, FirstOrder, Igt, Kafisto, LrAdapt, Minibatches, Ogr, Optimizer, Oracle, Rated, Report, Schedule,
    Status, armijo, asgd, first_order, igt, kafisto, lr_adapt, ogr,
};
use osculate::{Array, Batch, Device, Examples, Func, Layout, Moments, Request, Rng, Spec, spec};

type Vector = [f64; 3];
/// Of the diagonal quadratic that is optimised.
const H: Vector = [2.0, 0.7, 0.3];
const START: Vector = [1.0, -2.0, 1.5];

fn map(f: impl FnMut(usize) -> f64) -> Vector {
    std::array::from_fn(f)
}

fn dot(a: Vector, b: Vector) -> f64 {
    (0..3).map(|i| a[i] * b[i]).sum()
}

/// An oracle that remembers where it was asked.
struct Recorded<'a> {
    of: &'a mut dyn Oracle<f64>,
    gradients: Vec<Vec<f64>>,
    losses: usize,
}

impl Oracle<f64> for Recorded<'_> {
    fn layout(&self) -> &Layout {
        self.of.layout()
    }

    fn count(&self) -> usize {
        self.of.count()
    }

    fn loss(&mut self, at: &[f64]) -> osculate::optim::Result<f64> {
        self.losses += 1;
        self.of.loss(at)
    }

    fn gradient(&mut self, at: &[f64], into: &mut [f64]) -> osculate::optim::Result<f64> {
        self.gradients.push(at.to_vec());
        self.of.gradient(at, into)
    }

    fn hvp(&mut self, at: &[f64], along: &[f64], into: &mut [f64]) -> osculate::optim::Result<()> {
        self.of.hvp(at, along, into)
    }

    fn directional(&mut self, at: &[f64], along: &[f64], order: usize) -> osculate::optim::Result<[f64; 4]> {
        self.of.directional(at, along, order)
    }

    fn moments(
        &mut self,
        at: &[f64],
        along: Option<&[f64]>,
        request: Request,
    ) -> osculate::optim::Result<&Moments<f64>> {
        self.of.moments(at, along, request)
    }
}

/// Steps of an optimizer over minibatches of one example of ½wᵀHw + ξ·w + c, ξ being drawn; `look` compares after each with what
/// follows from w before the step, ξ, and what the oracle was asked.
struct Walk {
    loss: Func<Spec, Spec, Spec>,
    noise: Vec<Vector>,
    constant: f64,
}

impl Walk {
    fn new(constant: f64, deviation: f64) -> Walk {
        let loss = Func::trace(spec([3]), spec([3]), move |tape, w, xi| {
            let h = tape.stack(&H.map(|h| tape.lit(h)));
            0.5 * (h * w * w).sum() + xi.dot(w) + constant
        });
        let rng = &mut Rng::new(11);
        let noise = (0..60).map(|_| map(|_| deviation * rng.normal())).collect();
        Walk { loss: loss.expect("a loss"), noise, constant }
    }

    fn value(&self, t: usize, w: Vector) -> f64 {
        0.5 * dot(w, map(|i| H[i] * w[i])) + dot(self.noise[t], w) + self.constant
    }

    fn slope(&self, t: usize, w: Vector) -> Vector {
        map(|i| H[i] * w[i] + self.noise[t][i])
    }

    fn steps(
        &self,
        optimizer: &mut dyn Optimizer<f64>,
        steps: usize,
        mut look: impl FnMut(usize, Report, Vector, &Recorded<'_>),
    ) {
        let all = self.noise.as_flattened().to_vec();
        let data = Examples::new(spec([3]), Array::new([self.noise.len(), 3], all).expect("an array"));
        let data = data.expect("examples");
        let (mut oracles, mut batch) = (Minibatches::new(&self.loss, &Device::cpu()), Batch::default());
        let mut w = START;
        for t in 0..steps {
            data.gather(&[t], &mut batch).expect("a row");
            let mut oracle = Recorded { of: &mut oracles.on(&batch), gradients: Vec::new(), losses: 0 };
            let report = optimizer.step(&mut w, &mut oracle).expect("a step");
            look(t, report, w, &oracle);
        }
    }
}

#[track_caller]
fn near(got: &[f64], want: &[f64], t: usize) {
    for (a, b) in got.iter().zip(want) {
        assert!((a - b).abs() <= 1e-11 * b.abs().max(1.0), "step {t}: {got:?} instead of {want:?}");
    }
}

/// What an averaged gradient v becomes: SGD's, heavy-ball's and Adam's directions, for any gradient.
#[derive(Default)]
struct Direction {
    t: i32,
    mean: Vector,
    square: Vector,
}

impl Direction {
    fn heavy_ball(&mut self, beta: f64, g: Vector) -> Vector {
        self.mean = map(|i| beta * self.mean[i] + g[i]);
        self.mean
    }

    /// Adam's m̂ and direction.
    fn adam(&mut self, beta: f64, epsilon: f64, g: Vector) -> (Vector, Vector) {
        self.t += 1;
        self.mean = map(|i| beta * self.mean[i] + (1.0 - beta) * g[i]);
        self.square = map(|i| 0.999 * self.square[i] + 0.001 * g[i] * g[i]);
        let mean = map(|i| self.mean[i] / (1.0 - beta.powi(self.t)));
        (mean, map(|i| mean[i] / ((self.square[i] / (1.0 - 0.999f64.powi(self.t))).sqrt() + epsilon)))
    }
}

#[test]
fn igt_and_where_it_asks() {
    let walk = Walk::new(0.0, 0.5);
    let tail = |c: f64, t: f64| {
        let gamma = c * t / (1.0 + c * t) * (1.0 - ((1.0 - c) / (t * (t + 1.0))).sqrt() / c);
        if t < 2.0 { 0.0 } else { gamma.max(0.0) }
    };
    for (base, c) in [
        (Base::sgd(), None),
        (Base::momentum(), None),
        (Base::adam(), None),
        (Base::sgd(), Some(0.5)),
        (Base::sgd(), Some(0.1)),
    ] {
        let config = igt::Config { base, tail: c, delta: 1.5, rate: 0.05, ..igt::Config::sgd() };
        let (mut x, mut last, mut v, mut direction) = (START, START, [0.0; 3], Direction::default());
        walk.steps(&mut Igt::new(3, config).expect("options"), 25, |t, _, w, oracle| {
            let gamma = c.map_or(t as f64 / (t as f64 + 1.5), |c| tail(c, t as f64));
            let at = map(|i| x[i] + gamma / (1.0 - gamma) * (x[i] - last[i]));
            assert_eq!(oracle.gradients.len(), 1);
            near(&oracle.gradients[0], &at, t);
            let g = walk.slope(t, at);
            v = map(|i| gamma * v[i] + (1.0 - gamma) * g[i]);
            let along = match base {
                base if base == Base::momentum() => direction.heavy_ball(0.9, v),
                base if base == Base::adam() => direction.adam(0.9, 1e-8, v).1,
                _ => v,
            };
            last = x;
            x = map(|i| x[i] - 0.05 * along[i]);
            near(&w, &x, t);
        });
    }
}

#[test]
fn rates_that_learn_along_adams_direction() {
    let walk = Walk::new(20.0, 0.5);
    let rule = Hypergradient { growth: 1e-3, rate: 0.01, ..Hypergradient::adam() };
    let (mut x, mut u, mut rate, mut direction) = (START, [0.0; 3], 0.01, Direction::default());
    walk.steps(&mut Rated::new(3, rule).expect("options"), 30, |t, report, w, _| {
        let g = walk.slope(t, x);
        rate += 1e-3 * dot(g, u);
        u = direction.adam(0.9, 1e-8, g).1;
        x = map(|i| x[i] - rate * u[i]);
        near(&[report.step], &[rate], t);
        near(&w, &x, t);
    });
    let (mut x, mut least, mut direction) = (START, 0.0, Direction::default());
    // Its steps are long, so that rounding grows.
    walk.steps(&mut Rated::new(3, L4::adam()).expect("options"), 15, |t, report, w, _| {
        let loss = walk.value(t, x);
        let (mean, v) = direction.adam(0.9, 1e-4, walk.slope(t, x));
        least = if t == 0 { 0.75 * loss } else { least }.min(loss);
        let rate = 0.15 * (loss - 0.9 * least) / (dot(mean, v) + 1e-12);
        least *= 1.001;
        x = map(|i| x[i] - rate * v[i]);
        near(&[report.step], &[rate], t);
        near(&w, &x, t);
    });
}

#[test]
fn polyaks_velocity_and_losses_below_the_optimum() {
    let walk = Walk::new(3.0, 0.5);
    let (mut x, mut z) = (START, [0.0; 3]);
    let rule = Polyak { velocity: 0.8, ..Polyak::ali_g() };
    walk.steps(&mut Rated::new(3, rule).expect("options"), 30, |t, report, w, _| {
        let (loss, g) = (walk.value(t, x), walk.slope(t, x));
        let rate = (loss / (dot(g, g) + 1e-5)).min(0.1);
        z = map(|i| 0.8 * z[i] - rate * g[i]);
        x = map(|i| x[i] - rate * g[i] + 0.8 * z[i]);
        near(&[report.step], &[rate], t);
        near(&w, &x, t);
    });
    // f* is no bound of these losses: no step up the gradient, and no growth from what was not stepped.
    let walk = Walk::new(0.0, 3.0);
    for rule in [Polyak::sps(), Polyak::sps_max(), Polyak::ali_g()] {
        let (mut before, mut below) = (START, 0);
        walk.steps(&mut Rated::new(3, rule).expect("options"), 40, |t, report, w, _| {
            if walk.value(t, before) <= 0.0 {
                below += 1;
                assert!(report.status == Status::NoDescent && w == before, "step {t}");
            } else {
                assert!(report.status == Status::Stepped && report.step > 0.0, "step {t}");
            }
            before = w;
        });
        assert!((5..35).contains(&below), "{below}");
    }
}

#[test]
fn schedules_multiply_whatever_rate_there_is() {
    // No noise of the loss, no curvature: by a schedule of 1, ½, ¼, … per step what is stepped is that part of what it was.
    let walk = Walk::new(30.0, 0.5);
    let schedule = Schedule { course: Schedule::STEP, period: 1, drop: 0.5, ..Schedule::default() };
    let constant = Schedule::default();
    type Made = Box<dyn Optimizer<f64>>;
    let makers: [(&str, &dyn Fn(Schedule) -> Made); 9] = [
        ("sgd", &|schedule| {
            let config = first_order::Config { schedule, ..first_order::Config::sgd() };
            Box::new(FirstOrder::new(3, config).expect("options"))
        }),
        ("adam-hd", &|schedule| {
            Box::new(Rated::new(3, Hypergradient { schedule, ..Hypergradient::adam() }).expect("options"))
        }),
        ("l4", &|schedule| Box::new(Rated::new(3, L4 { schedule, ..L4::momentum() }).expect("options"))),
        ("sps", &|schedule| Box::new(Rated::new(3, Polyak { schedule, ..Polyak::sps() }).expect("options"))),
        ("asgd", &|schedule| {
            let wide = asgd::Config { least_rate: 1e-300, most_rate: 1e300, ..asgd::Config::spread() };
            Box::new(Asgd::new(3, asgd::Config { schedule, ..wide }).expect("options"))
        }),
        ("ogr", &|schedule| {
            let config = ogr::Config { schedule, first_steps: 1, ..ogr::Config::one() };
            Box::new(Ogr::new(3, config).expect("options"))
        }),
        ("ogr-d", &|schedule| {
            let config = osculate::optim::ogr_d::Config { schedule, ..osculate::optim::ogr_d::Config::hybrid() };
            Box::new(osculate::optim::OgrD::new(3, config).expect("options"))
        }),
        ("lradapt", &|schedule| {
            let config = lr_adapt::Config { schedule, ..lr_adapt::Config::of(Base::sgd()) };
            Box::new(LrAdapt::new(3, config).expect("options"))
        }),
        ("kafisto", &|schedule| {
            let config = kafisto::Config { schedule, ..kafisto::Config::vanilla() };
            Box::new(Kafisto::new(3, config).expect("options"))
        }),
    ];
    for (name, make) in makers {
        // The same state before the third step, by the same steps: a course that sets in with it.
        let late = Schedule { course: Schedule::STEP, period: 2, drop: 0.25, ..Schedule::default() };
        let third = |schedule: Schedule| {
            let (mut before, mut moved) = (START, [0.0; 3]);
            walk.steps(&mut *make(schedule), 3, |_, _, w, _| {
                moved = map(|i| w[i] - before[i]);
                before = w;
            });
            moved
        };
        let (full, part) = (third(constant), third(late));
        assert!(dot(full, full) > 0.0, "{name}");
        for i in 0..3 {
            assert!(
                (part[i] - 0.25 * full[i]).abs() <= 1e-12 * full[i].abs().max(1e-3),
                "{name}: {part:?} of {full:?}"
            );
        }
        // And it goes on.
        let mut last = START;
        walk.steps(&mut *make(schedule), 30, |_, _, w, _| last = w);
        let mut next = last;
        walk.steps(&mut *make(schedule), 31, |_, _, w, _| next = w);
        assert!((0..3).all(|i| (next[i] - last[i]).abs() < 1e-6), "{name}");
    }
}

#[test]
fn lr_adapts_noise_of_the_loss() {
    // Two examples of losses 3 and 9 at w = 2: f = 6, Var(l)/n = 9, g = 6, v = 0.6, φ = 3.6.
    let loss = Func::trace(spec([]), spec([]), |_, w, x| 1.5 * w * w * x).expect("a loss");
    let data = Examples::new(spec([]), Array::new([2], vec![0.5, 1.5]).expect("an array")).expect("examples");
    let batch = data.all().expect("a batch");
    let of = lr_adapt::Config { rate: 0.1, ..lr_adapt::Config::of(Base::sgd()) };
    for (config, noise) in [
        (lr_adapt::Config { noise: 0.5, ..of }, 0.5),
        (lr_adapt::Config { noise: 0.5, exact_gaussian: true, ..of }, 2.0),
        (lr_adapt::Config { noise_part: 0.05, ..of }, 0.3),
        (lr_adapt::Config { noise_measured: true, ..of }, 9.0),
        (lr_adapt::Config { noise: 0.5, noise_part: 0.05, noise_measured: true, exact_gaussian: true, ..of }, 39.2),
    ] {
        for optimum in [None, Some(-1.0)] {
            let mut oracles = Minibatches::new(&loss, &Device::cpu());
            let mut w = [2.0];
            let mut adapt = LrAdapt::new(1, lr_adapt::Config { optimum, ..config }).expect("options");
            adapt.step(&mut w, &mut oracles.on(&batch)).expect("a step");
            let decrease = optimum.map_or(1.8, |optimum| 6.0 - optimum);
            near(&w, &[2.0 - 0.6 * 2.0 * decrease / (3.6 + noise)], 0);
            let after = 1.5 * w[0] * w[0];
            near(&[adapt.trial().after, adapt.trial().ratio], &[after, (6.0 - after) / 1.8], 0);
        }
    }
}

#[test]
fn lr_adapts_ratio_of_other_steps() {
    // ½·3w²: ρ = 2 − ηh of steps t ≥ 1 times v, the decrease to the expected one of shorter ones, the same at t = 1.
    let loss = Func::trace(spec([]), spec([]), |_, w, x| 1.5 * w * w * x).expect("a loss");
    let batch = Examples::new(spec([]), Array::full([1], 1.0)).expect("examples").all().expect("a batch");
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let at = |rate: f64, part: f64, oracles: &mut Minibatches<Spec, f64>| {
        // φ = 36η at w = 2, where f = 6: f* for that part.
        let optimum = Some(6.0 - 18.0 * rate * part);
        let config = lr_adapt::Config { rate, optimum, generalised_ratio: true, ..lr_adapt::Config::of(Base::sgd()) };
        let mut adapt = LrAdapt::new(1, config).expect("options");
        let report = adapt.step(&mut [2.0], &mut oracles.on(&batch)).expect("a step");
        (report.ratio.expect("a ratio"), adapt.rate() / rate)
    };
    for rate in [0.01, 0.2, 1.0 / 3.0, 0.45] {
        for part in [1.0, 1.5, 2.0, 2.5, 40.0] {
            let (ratio, change) = at(rate, part, &mut oracles);
            assert!((ratio - (2.0 - 3.0 * rate)).abs() < 1e-10, "{ratio} of {part} at {rate}");
            let want = [(0.01, 1.2), (0.2, 1.2), (0.45, 0.5)].iter().find(|(r, _)| *r == rate).map_or(1.0, |w| w.1);
            assert!((change - want).abs() < 1e-12, "{change} at {rate}");
        }
        for part in [0.1, 0.7] {
            let want = (1.0 - 0.5 * part * 3.0 * rate) / (1.0 - 0.5 * part);
            assert!((at(rate, part, &mut oracles).0 - want).abs() < 1e-10);
        }
    }
    // Along a schedule a rate that fits stays, however short steps become.
    let schedule = Schedule { course: Schedule::COSINE, period: 20, ..Schedule::default() };
    let config = lr_adapt::Config { rate: 1.0 / 3.0, schedule, ..lr_adapt::Config::of(Base::sgd()) };
    let mut adapt = LrAdapt::new(1, config).expect("options");
    for t in 0..25 {
        let mut w = [2.0];
        adapt.step(&mut w, &mut oracles.on(&batch)).expect("a step");
        near(&w, &[2.0 * (1.0 - schedule.factor(t))], t as usize);
        assert_eq!(adapt.rate(), 1.0 / 3.0);
    }
}

#[test]
fn lr_adapt_tries_in_some_epochs_and_steps_as_its_base() {
    let walk = Walk::new(0.0, 0.5);
    for base in [Base::sgd(), Base::momentum(), Base::nesterov(), Base::adam(), Base::adagrad(), Base::rmsprop()] {
        // Nothing is learnt, so that every step is the base's, bit for bit.
        let config = lr_adapt::Config { up: 1.0, down: 1.0, epoch: 2, ..lr_adapt::Config::of(base) };
        let plain = first_order::Config::of(config.base, config.rate);
        let mut want = Vec::new();
        walk.steps(&mut FirstOrder::new(3, plain).expect("options"), 40, |_, _, w, _| want.push(w));
        let mut tried = Vec::new();
        walk.steps(&mut LrAdapt::new(3, config).expect("options"), 40, |t, _, w, oracle| {
            assert_eq!(w, want[t], "step {t}");
            tried.extend((oracle.losses > 0).then_some(t / 2 + 1));
        });
        // Two steps to an epoch; epochs 1, 2, 4, 8 and 16.
        assert_eq!(tried, [1, 1, 2, 2, 4, 4, 8, 8, 16, 16]);
    }
}

#[test]
fn asgds_rates() {
    let walk = Walk::new(0.0, 0.5);
    let of = asgd::Config { decay: 0.8, epsilon: 0.0, least_rate: 0.02, most_rate: 0.3, ..asgd::Config::spread() };
    for confidence in [None, Some(0.4)] {
        let config = asgd::Config { confidence, ..of };
        // All points and slopes there were, from a first one of variance 1, covariance 0.
        let (mut x, mut nu, mut clamped) = (START, [1.0; 3], 0);
        let mut seen = vec![(START, [0.0; 3])];
        walk.steps(&mut Asgd::new(3, config).expect("options"), 40, |t, report, w, _| {
            let g = walk.slope(t, x);
            seen.push((x, g));
            let faded = |of: &dyn Fn(&(Vector, Vector)) -> f64| {
                let weights = seen.iter().rev().enumerate().map(|(age, point)| (0.8f64.powi(age as i32), point));
                weights.map(|(w, point)| if point == &seen[0] { w } else { 0.2 * w } * of(point)).sum::<f64>()
            };
            let first = 0.8f64.powi(t as i32 + 1);
            let (mx, mg) = (map(|i| faded(&|p| p.0[i])), map(|i| faded(&|p| p.1[i])));
            let vx = map(|i| first + faded(&|p| (p.0[i] - mx[i]).powi(2)));
            let vg = map(|i| first + faded(&|p| (p.1[i] - mg[i]).powi(2)));
            let slope = map(|i| faded(&|p| (p.0[i] - mx[i]) * (p.1[i] - mg[i])) / vx[i]);
            nu = map(|i| 0.8 * nu[i] + 0.2 * (g[i] - mg[i] - slope[i] * (x[i] - mx[i])).powi(2));
            let rates = map(|i| match confidence {
                None => 0.5 * (vx[i] / vg[i]).sqrt(),
                Some(gamma) => 0.5 / (slope[i].abs() + gamma * (nu[i] / vx[i]).sqrt()),
            });
            clamped += rates.iter().filter(|&&rate| !(0.02..=0.3).contains(&rate)).count();
            let rates = rates.map(|rate| rate.clamp(0.02, 0.3));
            near(&[report.step], &[rates.iter().sum::<f64>() / 3.0], t);
            x = map(|i| x[i] - rates[i] * g[i]);
            near(&w, &x, t);
        });
        assert!((1..120).contains(&clamped), "{clamped}");
    }
    // In f32 far from 0, variances are of differences: none is negative, though squares of parameters have no digits for them.
    let loss = Func::trace(spec([2]), spec([2]), |_, w, xi| 0.5 * (w - xi).square().sum()).expect("a loss");
    let rng = &mut Rng::new(3);
    let data = Array::from_fn([50, 2], |_| (1000.0 + 0.01 * rng.normal()) as f32);
    let data = Examples::new(spec([2]), data).expect("examples");
    let (mut oracles, mut batch) = (Minibatches::new(&loss, &Device::cpu()), Batch::default());
    let (mut w, mut optimizer) = ([1000.02f32, 999.99], Asgd::<f32>::new(2, asgd::Config::spread()).expect("options"));
    for t in 0..50 {
        data.gather(&[t], &mut batch).expect("a row");
        optimizer.step(&mut w, &mut oracles.on(&batch)).expect("a step");
        for vector in ["kept.2", "kept.3"] {
            let variances = optimizer.save().get::<f32>(vector, 2).expect("variances");
            assert!(variances.iter().all(|v| *v >= 0.0 && v.is_finite()), "step {t}: {variances:?}");
        }
    }
}

/// The line through points that fade by β, as weighted least squares: slope and root.
fn line(points: &[(f64, f64)], beta: f64) -> (f64, f64) {
    let weights: Vec<f64> = (0..points.len()).rev().map(|age| beta.powi(age as i32)).collect();
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| {
        points.iter().zip(&weights).map(|(p, w)| w * of(p)).sum::<f64>() / weights.iter().sum::<f64>()
    };
    let (mt, mg) = (mean(&|p| p.0), mean(&|p| p.1));
    let slope = mean(&|p| (p.0 - mt) * (p.1 - mg)) / mean(&|p| (p.0 - mt).powi(2));
    (slope, mt - mg / slope)
}

#[test]
fn ogr_with_two_directions() {
    let walk = Walk::new(0.0, 0.1);
    for (origin, soft) in [(0, None), (1, None), (0, Some(0.5))] {
        let config = ogr::Config { origin, soft, first_steps: 3, turn: 4, clip: 0.3, rate: 0.1, ..ogr::Config::safe() };
        let (mut x, mut v) = (START, [0.0; 3]);
        let unit = |v: Vector| map(|i| v[i] / dot(v, v).sqrt());
        let (mut now, mut next) = ([0.0; 3], [0.0; 3]);
        let (mut points, mut coming) = (Vec::new(), Vec::new());
        walk.steps(&mut Ogr::new(3, config).expect("options"), 40, |t, _, w, _| {
            let g = walk.slope(t, x);
            if t >= 6 && (t - 6) % 4 == 0 {
                if t > 6 {
                    (now, points) = (next, std::mem::take(&mut coming));
                }
                (next, coming) = (unit(v), Vec::new());
            }
            if t >= 3 {
                points.push((dot(x, now), dot(g, now)));
            }
            v = map(|i| 0.95 * v[i] + g[i]);
            if t < 6 {
                x = map(|i| x[i] - 0.015 * v[i]);
            } else {
                coming.push((dot(x, next), dot(g, next)));
                let (slope, root) = line(&points, 0.9);
                let (at, along) = (dot(x, now), dot(g, now));
                let root = if origin == 0 { root } else { at - along / slope };
                let sign = soft.map_or(slope.signum(), |scale: f64| (slope / scale).tanh());
                let step = 0.5 * sign * (root - at).clamp(-0.3, 0.3);
                x = map(|i| x[i] + step * now[i] - 0.1 * (g[i] - along * now[i]));
            }
            if t == 2 {
                now = unit(v);
            }
            (0..3).for_each(|i| assert!((w[i] - x[i]).abs() < 1e-9, "step {t}: {w:?} instead of {x:?}"));
        });
    }
}

#[test]
fn kafisto_as_its_authors_wrote_it() {
    let walk = Walk::new(4.0, 0.3);
    let decay = 0.05;
    for of in [kafisto::Config::vanilla(), kafisto::Config::dynamics()] {
        let dynamics = of.dynamics;
        let config = kafisto::Config {
            koala_compat: true,
            adaptive_position_noise: true,
            weight_decay: decay,
            momentum_noise: 0.02,
            ..of
        };
        let (mut x, mut p, mut mean) = (START, [0.0; 3], [0.0; 3]);
        let (mut sx, mut sc, mut sp) = (0.1, 0.0, if dynamics { 0.1 } else { 0.0 });
        let (mut r, mut qx) = (1.0, of.position_noise);
        walk.steps(&mut Kafisto::new(3, config).expect("options"), 30, |t, _, w, _| {
            let off = map(|i| x[i] - mean[i]);
            qx = 0.9 * qx + 0.1 * dot(off, off).sqrt() / 3.0;
            if dynamics {
                x = map(|i| x[i] + p[i]);
                p = map(|i| 0.9 * p[i]);
                (sx, sc, sp) = (sx + 2.0 * sc + sp + qx, 0.9 * (sc + sp), 0.81 * sp + 0.02);
            } else {
                sx += qx;
            }
            let (loss, raw) = (walk.value(t, x), walk.slope(t, x));
            r = 0.9 * r + 0.1 * loss * loss;
            let g = map(|i| raw[i] + decay * x[i]);
            let residual = loss + 0.5 * decay * dot(x, x);
            let s = sx * dot(g, g) + r;
            let h = dot(g, g) / s;
            let along = if dynamics { g } else { raw };
            x = map(|i| x[i] - sx / s * residual * along[i]);
            p = map(|i| p[i] - sc / s * residual * along[i]);
            (sx, sc, sp) = (sx - h * sx * sx, sc - h * sx * sc, sp - h * sc * sc);
            mean = map(|i| 0.9 * mean[i] + 0.1 * x[i]);
            near(&w, &x, t);
        });
    }
}

/// By layers, an array without a gradient is left alone, and the covariance, which goes by the others, remains one.
#[test]
fn kafisto_by_layers() {
    let loss = Func::trace((spec([2]), spec([3])), spec([3]), |_, (_, w), xi| 0.5 * (w - xi).square().sum() + 0.1);
    let loss = loss.expect("a loss");
    let rng = &mut Rng::new(5);
    let data = Examples::new(spec([3]), Array::from_fn([60, 3], |_| rng.normal())).expect("examples");
    let config = kafisto::Config { by_layer: true, ..kafisto::Config::dynamics() };
    let mut kafisto = Kafisto::new(5, config).expect("options");
    let (mut oracles, mut batch) = (Minibatches::new(&loss, &Device::cpu()), Batch::default());
    let mut w = [7.0, -7.0, 1.0, 2.0, 3.0];
    for t in 0..60 {
        data.gather(&[t], &mut batch).expect("a row");
        let before = w;
        kafisto.step(&mut w, &mut oracles.on(&batch)).expect("a step");
        let filter = kafisto.filter();
        let [[px, _, _], [sx, sc, sp]] = [filter.predicted, filter.covariance];
        assert!(w[..2] == [7.0, -7.0] && w[2..] != before[2..], "step {t}: {w:?}");
        assert!(sx > 0.0 && sx < px && sx * sp >= sc * sc, "step {t}: {filter:?}");
    }
    // Two arrays, of which that with the larger gradient decides.
    let loss = Func::trace((spec([2]), spec([2])), spec([2]), |_, (v, w), xi| v.dot(xi) + 3.0 * w.dot(xi));
    let (loss, data) = (loss.expect("a loss"), Examples::new(spec([2]), Array::full([1, 2], 1.0)).expect("examples"));
    let (mut kafisto, mut w) = (Kafisto::new(4, config).expect("options"), [1.0, 2.0, 3.0, 4.0]);
    kafisto
        .step(&mut w, &mut Minibatches::new(&loss, &Device::cpu()).on(&data.all().expect("a batch")))
        .expect("a step");
    let filter = kafisto.filter();
    let [px, pc, pp] = filter.predicted;
    let (r, h) = (filter.loss_noise, 18.0 / (18.0 * px + filter.loss_noise));
    near(&filter.covariance, &[px - h * px * px, pc - h * px * pc, pp - h * pc * pc], 0);
    near(&[filter.innovation, r], &[18.0 * px + r, 0.9 + 0.1 * 24.0 * 24.0], 0);
    let moved = |g: f64, n: f64| 24.0 * px / (n * px + r) * g;
    near(&w, &[1.0 - moved(1.0, 2.0), 2.0 - moved(1.0, 2.0), 3.0 - moved(3.0, 18.0), 4.0 - moved(3.0, 18.0)], 0);
}

#[test]
fn line_searches_shorten_no_more_than_they_must() {
    let walk = Walk::new(0.0, 0.5);
    let config = armijo::Config { rate: 5.0, epoch: 4, ..armijo::Config::default() };
    let (mut x, mut rate, mut shortened) = (START, 5.0f64, 0);
    walk.steps(&mut Armijo::new(3, config).expect("options"), 40, |t, report, w, oracle| {
        let (loss, g) = (walk.value(t, x), walk.slope(t, x));
        rate = (2f64.powf(0.25) * rate).min(10.0);
        let mut trials = 1;
        while walk.value(t, map(|i| x[i] - rate * g[i])) > loss - 0.1 * rate * dot(g, g) {
            rate *= 0.9;
            trials += 1;
        }
        shortened += trials - 1;
        assert_eq!(oracle.losses, trials, "step {t}");
        x = map(|i| x[i] - rate * g[i]);
        near(&[report.step], &[rate], t);
        near(&w, &x, t);
    });
    assert!(shortened > 20, "{shortened}");
}
