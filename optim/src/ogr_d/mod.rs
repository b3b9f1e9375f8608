//! OGR-d: online regression of gradients in a subspace, and Newton's steps there.
//!
//! J. Duda, *Improving SGD convergence by online linear regression of gradients in multiple statistically relevant directions*, 2019,
//! Sections IV.C and V, in the forms of the author's notebooks. With an orthonormal basis V `[d, D]`, points t = Vθ and gradients Vg
//! that fade by β:
//!
//! ```text
//! V ← orth(V + Γ 1ĝᵀ)  (explore)   or   orth(V + Γ (Vĝ)ĝᵀ)  (oja: online principal components)       ĝ = g/‖g‖
//! lyapunov     HC + CH = M + Mᵀ       C = cov(t), M = cov(Vg, t)      the symmetric H of least squares
//! geometric    HCH = cov(Vg)          its only positive semi-definite solution: what ASGD's spread is in d dimensions
//! elementwise  Hᵢⱼ = √|cov(Vg)ᵢⱼ/Cᵢⱼ|                                 Eq. 14, as printed; no estimate where coordinates do not correlate
//! m ← γm + (1−γ)g
//! θ ← θ − Vᵀ |H|⁻¹ Vm − η(m − VᵀVm)       eigenvalues of |H|⁻¹: 1/max(div·|e|, cut)
//! ```
//!
//! and with a weight w < 1 the convex combination of that step with ASGD's along the gradient (dsOGR). Deviations: averages are
//! centred and debiased instead of starting at C = I; points are counted from the parameters, so that large ones cost no digits; what was
//! learnt turns with the basis (the notebooks keep it as it is); Γ multiplies ĝ, so that units do not matter.

mod regression;

use osculate_engine::store::Store;
use osculate_engine::{Real, Rng, combine, dot, gram};

use regression::{NAMES, Regression};

use crate::asgd;
use crate::optimizer::{check_len, check_new};
use crate::options::{Field, Legal, Options};
use crate::registry::Entry;
use crate::schedule::Pace;
use crate::state::{Kept, Reader, kept, whole};
use crate::symmetric::Symmetric;
use crate::vectors::{Limits, Vectors, filled, held};
use crate::{Error, Optimizer, Oracle, Report, Result, Schedule, Status};

/// Options of [`OgrD`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// d, at most 64; with fewer parameters, their number.
    pub dimensions: u64,
    /// How H is estimated: index of [`Config::ESTIMATES`].
    pub estimate: usize,
    /// How the basis follows gradients: index of [`Config::SUBSPACES`].
    pub subspace: usize,
    /// Γ.
    pub exploration: f64,
    /// β, by which points fade.
    pub decay: f64,
    /// γ of the gradient's average.
    pub momentum: f64,
    /// div.
    pub divisor: f64,
    /// cut, the least curvature that is believed.
    pub cut: f64,
    /// η in the other directions.
    pub rate: f64,
    /// w of the subspace's step.
    pub weight: f64,
    /// ASGD's trust, for what is not the subspace's.
    pub trust: f64,
    /// Largest of ASGD's rates.
    pub most_rate: f64,
    /// Seed of the first basis.
    pub seed: u64,
    /// Course of the whole step.
    pub schedule: Schedule,
}

impl Config {
    /// Names of the estimates.
    pub const ESTIMATES: &[&str] = &["lyapunov", "geometric", "elementwise"];
    /// Names of the ways to follow gradients.
    pub const SUBSPACES: &[&str] = &["explore", "oja"];
    const LYAPUNOV: usize = 0;
    const GEOMETRIC: usize = 1;

    /// Ten directions, Lyapunov's equation.
    pub fn regression() -> Config {
        Config {
            dimensions: 10,
            estimate: Config::LYAPUNOV,
            subspace: 0,
            exploration: 0.1,
            decay: 0.95,
            momentum: 0.9,
            divisor: 1.5,
            cut: 2.0,
            rate: 0.3,
            weight: 1.0,
            trust: 0.5,
            most_rate: 0.5,
            seed: 0,
            schedule: Schedule::default(),
        }
    }

    /// The geometric mean.
    pub fn geometric() -> Config {
        Config { estimate: Config::GEOMETRIC, ..Config::regression() }
    }

    /// Half of a step by the subspace, half by ASGD.
    pub fn hybrid() -> Config {
        Config { weight: 0.5, ..Config::regression() }
    }
}

impl Options for Config {
    fn each(&mut self, see: &mut dyn FnMut(&'static str, &'static str, Field<'_>)) {
        let about = "d, directions that are regressed in (with fewer parameters, their number)";
        see("dimensions", about, Field::Count(&mut self.dimensions, Legal::Between(1.0, MOST as f64)));
        see("estimate", "how the Hessian is estimated", Field::Choice(&mut self.estimate, Config::ESTIMATES));
        see("subspace", "how the directions follow gradients", Field::Choice(&mut self.subspace, Config::SUBSPACES));
        let about = "Γ, how far the directions turn towards the gradient in a step";
        see("exploration", about, Field::Number(&mut self.exploration, Legal::NotNegative));
        see("decay", "β, by which points fade in a step", Field::Number(&mut self.decay, Legal::Decay));
        let about = "γ, by which the average of gradients fades in a step";
        see("momentum", about, Field::Number(&mut self.momentum, Legal::Decay));
        see("divisor", "div, by which curvatures are multiplied", Field::Number(&mut self.divisor, Legal::Positive));
        see("cut", "cut, the least curvature that is believed", Field::Number(&mut self.cut, Legal::Positive));
        see("rate", "η in the other directions", Field::Number(&mut self.rate, Legal::NotNegative));
        let about = "w, the part of a step that the directions take; the rest is ASGD's";
        see("weight", about, Field::Number(&mut self.weight, Legal::Unit));
        if self.weight < 1.0 {
            see("trust", "ASGD's trust in the parabola", Field::Number(&mut self.trust, Legal::Positive));
            see("most-rate", "largest of ASGD's rates", Field::Number(&mut self.most_rate, Legal::Positive));
        }
        see("seed", "seed of the first directions", Field::Count(&mut self.seed, Legal::NotNegative));
        self.schedule.each(see);
    }
}

/// Most directions.
const MOST: usize = 64;

/// OGR-d, see the [module](self).
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{ogr_d::Config, Minibatches, OgrD, Optimizer};
/// // ½(w₀² + 3w₁²) of a known Hessian
/// let loss = Func::trace(spec([2]), spec([]), |_, w, x| 0.5 * x * (w.at(0, 0).square() + 3.0 * w.at(0, 1).square()))?;
/// let data = Examples::new(spec([]), Array::full([2], 1.0))?.all()?;
/// let mut oracles = Minibatches::new(&loss, &Device::cpu());
/// let (mut w, mut ogr) = ([1.0, -1.0], OgrD::new(2, Config { cut: 0.1, divisor: 1.0, ..Config::regression() })?);
/// for _ in 0..6 {
///     ogr.step(&mut w, &mut oracles.on(&data))?;
/// }
/// let (h, v) = (ogr.hessian(), ogr.basis());
/// let entry = |i: usize, j: usize| (0..4).map(|at| v[at / 2 * 2 + i] * h[at] * v[at % 2 * 2 + j]).sum::<f64>();
/// assert!((entry(0, 0) - 1.0).abs() < 1e-6 && (entry(1, 1) - 3.0).abs() < 1e-6 && entry(0, 1).abs() < 1e-6);
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct OgrD<T> {
    config: Config,
    pace: Pace,
    d: usize,
    steps: u64,
    /// V.
    basis: Vec<T>,
    gradient: Vec<T>,
    /// m and the last parameters.
    mean: Vec<T>,
    previous: Vec<T>,
    /// ASGD's θ̄, ḡ, var θ, var g and rule, if a part of the step is its.
    diagonal: Option<(Vec<Vec<T>>, Vectors<T, 5, 2, 2>)>,
    now: Regression,
    next: Regression,
    hessian: Vec<f64>,
    next_hessian: Vec<f64>,
    room: Symmetric,
    scratch: [Vec<f64>; 2],
    /// Inner products of V, g, m and θ − last θ with each other, `[d + 3, d + 3]`.
    products: Vec<f64>,
    /// A `[d, d]`, b and e `[d]`.
    scalars: Vec<f64>,
    /// What becomes of V, m, θ and the last θ, of them and g: `[d + 3, d + 4]`.
    combined: Vec<T>,
}

impl<T: Real> OgrD<T> {
    /// For `len` parameters.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(len: usize, config: Config) -> Result<OgrD<T>> {
        check_new::<T>(len, &config)?;
        let d = (config.dimensions as usize).min(len);
        let weight = config.weight;
        let bytes = d as u128 * len as u128 * size_of::<T>() as u128;
        let zeros = |n: usize| filled(n, T::zero());
        let square = || vec![0.0; d * d];
        let diagonal = match weight < 1.0 {
            false => None,
            true => {
                let own = asgd::Config { decay: config.decay, most_rate: config.most_rate, ..asgd::Config::spread() };
                let ones = || filled(len, T::one());
                let limits = Limits::of::<T>();
                let rule = Vectors::new(move |[trust, share], [next, mx, mg, vx, vg], [x, g]| {
                    let (kept, rate) = asgd::spread(own, limits, trust, [x, mx, mg, vx, vg], g);
                    let [mx, mg, vx, vg] = kept;
                    [next - share * (rate * g), mx, mg, vx, vg]
                })?;
                Some((vec![zeros(len)?, zeros(len)?, ones()?, ones()?], rule))
            }
        };
        let mut ogr = OgrD {
            config,
            d,
            pace: Pace::new(config.schedule),
            steps: 0,
            basis: d.checked_mul(len).and_then(|all| zeros(all).ok()).ok_or(Error::Memory { len, bytes })?,
            gradient: zeros(len)?,
            mean: zeros(len)?,
            previous: zeros(len)?,
            diagonal,
            now: Regression::new(d),
            next: Regression::new(d),
            hessian: square(),
            next_hessian: square(),
            room: Symmetric::new(d),
            scratch: [square(), square()],
            products: vec![0.0; (d + 3) * (d + 3)],
            scalars: vec![0.0; d * d + 2 * d],
            combined: zeros((d + 3) * (d + 4))?,
        };
        ogr.first_basis();
        Ok(ogr)
    }

    /// Random rows, orthonormal by Gram and Schmidt (twice, for their digits).
    fn first_basis(&mut self) {
        let len = self.gradient.len();
        let rng = &mut Rng::new(self.config.seed);
        self.basis.iter_mut().for_each(|x| *x = T::from_f64(rng.normal()));
        for row in 0..self.d {
            let (before, rest) = self.basis.split_at_mut(row * len);
            let this = &mut rest[..len];
            for _ in 0..2 {
                for other in before.chunks(len) {
                    let along = T::from_f64(dot(other, this));
                    this.iter_mut().zip(other).for_each(|(x, o)| *x += -along * *o);
                }
                let scale = T::from_f64(1.0 / dot(this, this).sqrt());
                this.iter_mut().for_each(|x| *x *= scale);
            }
        }
    }

    /// H `[d, d]` in the basis, after the last step.
    pub fn hessian(&self) -> &[f64] {
        &self.hessian
    }

    /// V `[d, D]`, after the last step.
    pub fn basis(&self) -> &[T] {
        &self.basis
    }

    /// How the basis turns towards the gradient: V' = A(V + agᵀ) as A and b = Aa in the scalars, and R = V'Vᵀ in the scratch.
    ///
    /// `false` if its rows would not stay independent: it is left as it is then.
    fn turn(&mut self) -> bool {
        let d = self.d;
        let product = |i: usize, j: usize| self.products[i * (d + 3) + j];
        let gg = product(d, d);
        let length = gg.sqrt();
        let along = |i: usize| product(i, d);
        let mut towards = [0.0; MOST];
        if length > 0.0 {
            for (i, towards) in towards.iter_mut().take(d).enumerate() {
                let by = if self.config.subspace == 0 { 1.0 } else { along(i) / length };
                *towards = self.config.exploration * by / length;
            }
        }
        // Gram's matrix of V + agᵀ, its Cholesky factor L in place, and A = L⁻¹: what Gram and Schmidt do, row by row.
        let [l, r] = &mut self.scratch;
        for i in 0..d {
            for j in 0..d {
                l[i * d + j] =
                    product(i, j) + towards[i] * along(j) + along(i) * towards[j] + gg * towards[i] * towards[j];
            }
        }
        for i in 0..d {
            for j in 0..=i {
                let sum = l[i * d + j] - (0..j).map(|k| l[i * d + k] * l[j * d + k]).sum::<f64>();
                if i == j && sum <= 1e-12 {
                    return false;
                }
                l[i * d + j] = if i == j { sum.sqrt() } else { sum / l[j * d + j] };
            }
        }
        let (a, b) = self.scalars.split_at_mut(d * d);
        for j in 0..d {
            for i in 0..d {
                let unit = if i == j { 1.0 } else { 0.0 };
                let sum: f64 = (j..i).map(|k| l[i * d + k] * a[k * d + j]).sum();
                a[i * d + j] = if i < j { 0.0 } else { (unit - sum) / l[i * d + i] };
            }
        }
        for i in 0..d {
            b[i] = (0..=i).map(|k| a[i * d + k] * towards[k]).sum();
        }
        for i in 0..d {
            for j in 0..d {
                r[i * d + j] = (0..=i).map(|k| a[i * d + k] * (product(k, j) + towards[k] * along(j))).sum();
            }
        }
        true
    }

    /// What becomes of V, m, θ and the last θ, from A, b and e; `false` if anything could leave the numbers there are.
    fn plan(&mut self) -> bool {
        let (d, Config { rate, weight, momentum, .. }) = (self.d, self.config);
        let factor = self.factor();
        let share = (1.0 - weight) * factor * self.config.most_rate;
        let known = held::<T>(&[factor * (1.0 - weight)]);
        let weight = weight * factor;
        let (a, b) = self.scalars.split_at(d * d);
        let (b, e) = b.split_at(d);
        let n = d + 4;
        let [mean, params, last, gradient] = [d, d + 1, d + 2, d + 3];
        let matrix = &mut self.combined;
        matrix.fill(T::zero());
        let mut set = |row: usize, column: usize, value: f64| matrix[row * n + column] = T::from_f64(value);
        for (i, (a, &b)) in a.chunks(d).zip(b).enumerate() {
            a.iter().enumerate().for_each(|(k, &a)| set(i, k, a));
            set(i, gradient, b);
        }
        set(mean, mean, momentum);
        set(mean, gradient, 1.0 - momentum);
        // θ − w(ηm + V'ᵀe), where V'ᵀe = Vᵀ(Aᵀe) + (b·e) g.
        for k in 0..d {
            set(params, k, -weight * (0..d).map(|i| e[i] * a[i * d + k]).sum::<f64>());
        }
        let along_g: f64 = b.iter().zip(e).map(|(b, e)| b * e).sum();
        set(params, mean, -weight * rate * momentum);
        set(params, gradient, -weight * (rate * (1.0 - momentum) + along_g));
        set(params, params, 1.0);
        set(last, params, 1.0);
        // No element is larger than its row. What is added to θ, ASGD's share with it, is less than half a last digit of the largest
        // number, so no θ is too large.
        let length = |column: usize| match column {
            _ if column < d => self.products[column * (d + 3) + column].sqrt(),
            _ if column == gradient => self.products[d * (d + 3) + d].sqrt(),
            _ if column == mean => self.products[(d + 1) * (d + 3) + d + 1].sqrt(),
            _ => 0.0,
        };
        let bound =
            |row: &[T]| row.iter().enumerate().map(|(k, &factor)| factor.to_f64().abs() * length(k)).sum::<f64>();
        let share = share * length(gradient);
        known && matrix.chunks(n).all(|row| bound(row) + share < Limits::of::<T>().step)
    }

    /// The schedule's factor in this step.
    fn factor(&self) -> f64 {
        self.pace.factor(self.steps)
    }

    /// A and R for a basis that stays.
    fn stay(&mut self) {
        let d = self.d;
        self.scalars.fill(0.0);
        self.scratch[1].fill(0.0);
        for i in 0..d {
            (self.scalars[i * d + i], self.scratch[1][i * d + i]) = (1.0, 1.0);
        }
    }
}

impl<T: Real> Optimizer<T> for OgrD<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.gradient.len(), params.len())?;
        let (loss, size) = oracle.checked_gradient(params, &mut self.gradient)?;
        if !size.is_finite() {
            return Ok(Report::not_finite(loss));
        }
        let (d, Config { divisor, cut, rate, momentum, .. }) = (self.d, self.config);
        let previous = if self.steps == 0 { params as &[T] } else { &self.previous };
        let mut rows: [&[T]; MOST + 2] = [&[]; MOST + 2];
        let given = self.basis.chunks_exact(params.len()).chain([&self.gradient[..], &self.mean]);
        rows.iter_mut().zip(given).for_each(|(to, row)| *to = row);
        gram(&rows[..d + 2], [[params, previous]], &mut self.products).map_err(osculate_engine::Error::from)?;
        if !self.products.iter().all(|x| x.is_finite()) {
            return Ok(Report::not_finite(loss));
        }
        if !self.turn() {
            self.stay();
        }
        self.next.copy(&self.now);
        let product = |i: usize, j: usize| self.products[i * (d + 3) + j];
        // What was learnt, seen from the parameters as they are now, in the turned basis.
        (0..d).for_each(|i| self.next.t[i] -= product(i, d + 2));
        let [half, r] = &mut self.scratch;
        self.next.turn(r, half);
        let (a, b) = self.scalars.split_at(d * d);
        // V'g and V'm of the new m.
        let (mut g, mut m) = ([0.0; MOST], [0.0; MOST]);
        for i in 0..d {
            let along =
                |row: usize| (0..d).map(|k| a[i * d + k] * product(k, row)).sum::<f64>() + b[i] * product(d, row);
            g[i] = along(d);
            m[i] = momentum * along(d + 1) + (1.0 - momentum) * g[i];
        }
        self.next.add(&g[..d], self.config.decay);
        self.next.estimate(self.config.estimate, &mut self.room, &mut self.next_hessian)?;
        self.room.decompose(&self.next_hessian)?;
        let [inverse, _] = &mut self.scratch;
        self.room.map(|e| 1.0 / (divisor * e.abs()).max(cut), inverse)?;
        let (mut moved, mut length) = (0.0, 0.0);
        for (i, e) in self.scalars[d * d + d..].iter_mut().enumerate() {
            let newton: f64 = inverse[i * d..(i + 1) * d].iter().zip(&m).map(|(h, m)| h * m).sum();
            *e = newton - rate * m[i];
            moved += newton * newton;
            length += m[i] * m[i];
        }
        let known = self.next.is_finite() && self.next_hessian.iter().all(|x| x.is_finite());
        if !known || !self.plan() {
            return Ok(Report::not_finite(loss));
        }
        if self.steps == 0
            && let Some((kept, _)) = &mut self.diagonal
        {
            kept[0].copy_from_slice(params);
        }
        let mut rows: [&mut [T]; MOST + 3] = std::array::from_fn(|_| &mut [][..]);
        let replaced =
            self.basis.chunks_exact_mut(params.len()).chain([&mut self.mean[..], params, &mut self.previous]);
        rows.iter_mut().zip(replaced).for_each(|(to, row)| *to = row);
        combine(&self.combined, &mut rows[..d + 3], &[&self.gradient]).map_err(osculate_engine::Error::from)?;
        let factor = self.factor();
        if let Some((kept, rule)) = &mut self.diagonal
            && let [mx, mg, vx, vg] = &mut kept[..]
        {
            // The other share, from where the parameters were.
            rule.run(
                [self.config.trust, factor * (1.0 - self.config.weight)],
                [params, mx, mg, vx, vg],
                [&self.previous, &self.gradient],
            )?;
        }
        std::mem::swap(&mut self.now, &mut self.next);
        std::mem::swap(&mut self.hessian, &mut self.next_hessian);
        self.pace.see(self.steps, loss);
        self.steps += 1;
        let step = if length > 0.0 { factor * (moved / length).sqrt() } else { 0.0 };
        Ok(Report::new(Status::Stepped, loss, step))
    }

    kept!();
}

impl<T: Real> Kept for OgrD<T> {
    const WHAT: &'static str = "osculate.ogr_d";

    fn with_options<X>(&self, see: impl FnOnce(&mut dyn Options) -> X) -> X {
        see(&mut self.config.clone())
    }

    fn write(&self, store: &mut Store) {
        store.put("scalars", &[self.steps as f64, self.now.weight]);
        store.put("hessian", &self.hessian);
        NAMES.iter().zip(self.now.all()).for_each(|(name, buffer)| store.put(format!("regression.{name}"), buffer));
        store.put("basis", self.basis());
        store.put("mean", &self.mean);
        store.put("previous", &self.previous);
        for (index, vector) in self.diagonal.iter().flat_map(|(kept, _)| kept).enumerate() {
            store.put(format!("diagonal.{index}"), vector);
        }
        self.pace.write(store);
    }

    fn read(&mut self, state: &mut Reader<'_>) -> Result<()> {
        let [steps, weight] = state.numbers("scalars", [Legal::NotNegative, Legal::Unit])?;
        (self.steps, self.now.weight) = (whole("scalars", steps)?, weight);
        self.hessian = state.list("hessian", self.hessian.len(), |_| Legal::Finite)?;
        let d = self.d;
        for (name, buffer) in NAMES.iter().zip(self.now.all_mut()) {
            let array = format!("regression.{name}");
            *buffer = match *name {
                "tt" | "gg" => state.covariance(&array, d, 0.0)?,
                _ => state.list(&array, buffer.len(), |_| Legal::Finite)?,
            };
        }
        self.basis = state.vector("basis", self.basis.len(), Legal::Finite)?;
        self.mean = state.vector("mean", self.mean.len(), Legal::Finite)?;
        self.previous = state.vector("previous", self.previous.len(), Legal::Finite)?;
        // Of ASGD: θ̄, ḡ and the variances.
        for (index, vector) in self.diagonal.iter_mut().flat_map(|(kept, _)| kept).enumerate() {
            let legal = if index < 2 { Legal::Finite } else { Legal::NotNegative };
            *vector = state.vector(&format!("diagonal.{index}"), vector.len(), legal)?;
        }
        self.pace.read(state)
    }
}

/// The optimizers of this file, for the registry.
pub(crate) fn entries<T: Real>() -> Vec<Entry<T>> {
    let entry =
        |name, about, config| Entry::new(name, about, config, |len, config| Ok(Box::new(OgrD::new(len, config)?)));
    vec![
        entry("ogr-d", "online regression of gradients in ten directions", Config::regression()),
        entry("ogr-d-geometric", "the same, H from how far parameters and gradients spread", Config::geometric()),
        entry("ogr-d-hybrid", "half of a step by ten directions, half by ASGD", Config::hybrid()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_combined_as_the_equations_say() -> Result<()> {
        let (d, len) = (3, 7);
        let rng = &mut Rng::new(5);
        let mut ogr = OgrD::<f64>::new(len, Config { dimensions: d as u64, weight: 0.7, ..Config::regression() })?;
        let mut draw = |values: &mut [f64]| values.iter_mut().for_each(|x| *x = rng.normal());
        let (mut params, mut last) = (vec![0.0; len], vec![0.0; len]);
        for values in [&mut ogr.scalars, &mut ogr.basis, &mut ogr.gradient, &mut ogr.mean, &mut params] {
            draw(values);
        }
        assert!(ogr.plan());
        let (basis, mean, first) = (ogr.basis.clone(), ogr.mean.clone(), params.clone());
        let replaced = ogr.basis.chunks_exact_mut(len).chain([&mut ogr.mean[..], &mut params, &mut last]);
        combine(&ogr.combined, &mut replaced.collect::<Vec<_>>(), &[&ogr.gradient]).expect("rows");
        let (a, rest) = ogr.scalars.split_at(d * d);
        let (b, e) = rest.split_at(d);
        let near = |got: f64, want: f64| assert!((got - want).abs() < 1e-13 * want.abs().max(1.0), "{got}, not {want}");
        for (at, &before) in first.iter().enumerate() {
            // V' = AV + bgᵀ, m' = γm + (1−γ)g and θ − w(ηm' + V'ᵀe).
            let g = ogr.gradient[at];
            let turned = |i: usize| (0..d).map(|k| a[i * d + k] * basis[k * len + at]).sum::<f64>() + b[i] * g;
            (0..d).for_each(|i| near(ogr.basis[i * len + at], turned(i)));
            near(ogr.mean[at], 0.9 * mean[at] + (1.0 - 0.9) * g);
            let step = ogr.config.rate * ogr.mean[at] + (0..d).map(|i| e[i] * turned(i)).sum::<f64>();
            near(params[at], before - 0.7 * step);
            assert_eq!(last[at], before);
        }
        Ok(())
    }
}
