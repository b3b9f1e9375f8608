//! Programs that accumulate [`Moments`]: chunks of examples within a memory budget, shared among threads.

mod means;

use osculate_kernels::{Out, Real, Size};
use rayon::prelude::*;

use crate::func::specs;
use crate::program::{Device, In, Program};
use crate::transform::{Product, Vectors, jvp, outer_products, replay, vmap};
use crate::tree::{Layout, Signature};
use crate::{Batch, Error, Expr, Func, Moments, Request, Result, Spec};

pub use means::MeansProgram;

/// Memory that a moments program may hold, in bytes: minibatches that would need more are taken in chunks.
///
/// ```
/// use osculate_engine::Budget;
/// assert_eq!(Budget::mib(2).bytes(), 2 << 20);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget(usize);

impl Budget {
    /// A number of MiB.
    pub fn mib(n: usize) -> Budget {
        Budget(n.saturating_mul(1 << 20))
    }

    /// In bytes.
    pub fn bytes(self) -> usize {
        self.0
    }
}

impl Default for Budget {
    /// 48 MiB: larger chunks make convolutional nets no faster.
    fn default() -> Budget {
        Budget::mib(48)
    }
}

/// Results of a chunk's program: losses; sums and second moments, of gradients and of products; factors of per-example numbers.
type Results = (Spec, ((Vec<Spec>, Vec<Spec>), (Vec<Spec>, Vec<Spec>)), Vec<Spec>);

/// A compiled accumulation of [`Moments`] over minibatches of a fixed size.
///
/// A minibatch that fits the budget is one program whose commands share the threads. A larger one is taken in chunks: each thread
/// has a lane of its own that works through consecutive chunks and adds them up, and the lanes are added in order. So results
/// depend on the chunks and lanes, which are fixed when the program is made, and never on timing.
#[derive(Debug, Clone)]
pub struct MomentsProgram<T> {
    lanes: Vec<Lane<T>>,
    /// What is left of a minibatch after the lanes' equal shares.
    tail: Option<Lane<T>>,
    layout: Layout,
    request: Request,
    n: usize,
    /// Bytes of what a run is given.
    given: usize,
}

/// One thread's share.
#[derive(Debug, Clone)]
struct Lane<T> {
    chunk: Chunk<T>,
    /// Examples it takes, from the first.
    from: usize,
    to: usize,
    /// Moments of a chunk and of the share so far, unless there is one chunk for all.
    own: Option<[Moments<T>; 2]>,
    failed: Option<Error>,
}

/// The program of `n` examples.
#[derive(Debug, Clone)]
struct Chunk<T> {
    program: Program<T, (Vec<Spec>, Vec<Spec>), Vec<Spec>, Results>,
    n: usize,
    scalars: Scalars,
    /// Why each parameter's vectors are factored or made, of gradients, then of products.
    reasons: Vec<String>,
}

/// Per-example numbers as sums of products of per-example factors.
#[derive(Debug, Clone, Default)]
struct Scalars {
    /// Of each kind (see [`Kind`]) one entry a product: its segment, coefficient, and the positions of its factors.
    products: [Vec<(usize, f64, Vec<usize>)>; 5],
    /// All factors, `[n]` each.
    factors: Vec<f64>,
}

/// What per-example numbers are.
#[derive(Debug, Clone, Copy)]
enum Kind {
    GradientNorm,
    HvpNorm,
    Slope,
    Crossing,
    Curvature,
}

/// Fewest examples of a chunk: products of fewer rows are slow.
const FEWEST: usize = 4;

impl<P: Signature, D: Signature> Func<P, D, Spec> {
    /// Plans and compiles a program of per-example statistics for minibatches of `n`, see [`Moments`](crate::Moments).
    ///
    /// # Errors
    /// The result is not a scalar, or `n` is 0.
    pub fn moments<T: Real>(&self, n: usize, request: Request, device: &Device) -> Result<MomentsProgram<T>> {
        self.moments_within(n, request, device, Budget::default())
    }

    /// The same within a memory budget: minibatches that need more are taken in chunks.
    ///
    /// # Errors
    /// The result is not a scalar, or `n` is 0.
    pub fn moments_within<T: Real>(
        &self,
        n: usize,
        request: Request,
        device: &Device,
        budget: Budget,
    ) -> Result<MomentsProgram<T>> {
        MomentsProgram::new(self, n, request, device, budget)
    }

    /// Plans and compiles mean gradients and Hessian-vector products of minibatches of `n`, whichever are requested.
    ///
    /// # Errors
    /// The result is not a scalar, or `n` is 0.
    pub fn means<T: Real>(&self, n: usize, request: Request, device: &Device) -> Result<MeansProgram<T>> {
        self.means_within(n, request, device, Budget::default())
    }

    /// The same within a memory budget: minibatches that need more are taken in chunks.
    ///
    /// # Errors
    /// The result is not a scalar, or `n` is 0.
    pub fn means_within<T: Real>(
        &self,
        n: usize,
        request: Request,
        device: &Device,
        budget: Budget,
    ) -> Result<MeansProgram<T>> {
        MeansProgram::new(self, n, request, device, budget)
    }
}

impl<T: Real> MomentsProgram<T> {
    pub(crate) fn new<P: Signature, D: Signature>(
        loss: &Func<P, D, Spec>,
        n: usize,
        request: Request,
        device: &Device,
        budget: Budget,
    ) -> Result<Self> {
        let layout = Layout::of(loss.params(), "params");
        let threads = if *device == Device::Reference { 1 } else { rayon::current_num_threads() };
        let lane = |chunk: Chunk<T>, from: usize, to: usize| {
            let own = (chunk.n < n).then(|| {
                let [mut part, mut total] = [(); 2].map(|()| Moments::empty(layout.clone(), request));
                part.reserve(chunk.n);
                total.reserve(to - from);
                [part, total]
            });
            Lane { chunk, from, to, own, failed: None }
        };
        let size = chunk_size(loss, n, request, device, budget, threads)?;
        let chunk = Chunk::new(loss, size, request, device, if size == n { threads } else { 1 })?;
        let chunks = n / size;
        let count = threads.min(chunks);
        let start = |l: usize| (l * chunks / count) * size;
        let lanes = (0..count).map(|l| lane(chunk.clone(), start(l), start(l + 1))).collect();
        let tail = match n - chunks * size {
            0 => None,
            rest => Some(lane(Chunk::new(loss, rest, request, device, threads)?, n - rest, n)),
        };
        let width = if *device == Device::Reference { 8 } else { size_of::<T>() };
        let vectors = if request.directed() { 2 } else { 1 };
        let example: usize = specs(loss.data()).iter().map(|s| s.shape.size()).sum();
        let given = width * (vectors * layout.len() + n * example);
        Ok(MomentsProgram { lanes, tail, layout, request, n, given })
    }

    /// Moments of no examples, with the memory that a run needs.
    pub fn moments(&self) -> Moments<T> {
        let mut moments = Moments::empty(self.layout.clone(), self.request);
        moments.reserve(self.n);
        moments
    }

    /// Examples of a chunk.
    pub fn chunk(&self) -> usize {
        self.lanes.first().map_or(0, |lane| lane.chunk.n)
    }

    /// Bytes alive during a run: of the program, the minibatch, the parameters and direction, and the moments it fills.
    pub fn peak_bytes(&self) -> usize {
        let moments = |n| Moments::<T>::bytes(&self.layout, self.request, n);
        let lane = |lane: &Lane<T>| {
            let own = if lane.own.is_some() { moments(lane.chunk.n) + moments(lane.to - lane.from) } else { 0 };
            lane.chunk.bytes() + own
        };
        self.given + moments(self.n) + self.lanes.iter().chain(&self.tail).map(lane).sum::<usize>()
    }

    /// From now on, runs on the CPU add up the time that each command takes, which [`plan`](MomentsProgram::plan) then tells of one
    /// lane's chunk.
    pub fn measure(&mut self) {
        self.lanes.iter_mut().chain(&mut self.tail).for_each(|lane| lane.chunk.program.measure());
    }

    /// The plan as text: why each parameter took its form, and every command of a chunk, with its time if that is measured.
    pub fn plan(&self) -> String {
        let Some(lane) = self.lanes.first() else { return String::new() };
        let mut text = format!(
            "{} examples in chunks of {}, {} lane(s), {:.1} MiB, {:.3} GFLOP\n\n",
            self.n,
            lane.chunk.n,
            self.lanes.len(),
            self.peak_bytes() as f64 / 1_048_576.0,
            self.flop() as f64 * 1e-9
        );
        let wanted = [(self.request.gradient, "gradient"), (self.request.hvp, "Hv product")];
        let whats = wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, what)| what);
        let segments = whats.flat_map(|what| self.layout.segments().iter().map(move |s| (what, s)));
        for ((what, segment), reason) in segments.zip(&lane.chunk.reasons) {
            text += &format!("{what:>10} of {} {}: {reason}\n", segment.name, segment.shape);
        }
        text + "\n" + &lane.chunk.program.plan()
    }

    /// Floating-point operations of one run.
    pub fn flop(&self) -> u64 {
        let runs = |lane: &Lane<T>| ((lane.to - lane.from) / lane.chunk.n) as u64 * lane.chunk.program.flop();
        self.lanes.iter().chain(&self.tail).map(runs).sum()
    }

    /// The moments of one minibatch at flat parameters, along a flat direction if products were asked for; `into` is overwritten.
    ///
    /// # Errors
    /// A direction missing or not asked for, buffers of wrong lengths, an index out of range; `into` is then of no examples.
    pub fn run(&mut self, params: &[T], along: Option<&[T]>, batch: &Batch<T>, into: &mut Moments<T>) -> Result<()> {
        if along.is_some() != self.request.directed() {
            let why = "a direction is given exactly when Hessian-vector products or inner products are requested";
            return Err(Error::State(why.into()));
        }
        if into.layout != self.layout || into.request != self.request {
            return Err(Error::State("these moments are of other parameters or were requested differently".into()));
        }
        self.sized(params, along, batch)?;
        into.clear();
        if let Some(chunk) = self.whole() {
            return chunk.run(params, along, batch, 0, into, [None, None], false).map(drop);
        }
        self.each_lane(params, along, batch, |total| into.merge(total)).inspect_err(|_| into.clear())
    }

    /// Whether buffers have the sizes that this is for.
    fn sized(&self, params: &[T], along: Option<&[T]>, batch: &Batch<T>) -> Result<()> {
        let wrong = |path: &str, want: String, got: String| Err(Error::Signature { path: path.into(), want, got });
        let want = self.layout.len();
        for (path, vector) in [("params", Some(params)), ("direction", along)] {
            if let Some(got) = vector.map(<[T]>::len).filter(|&got| got != want) {
                return wrong(path, format!("{want} reals"), format!("{got} reals"));
            }
        }
        match batch.count() {
            n if n == self.n => Ok(()),
            n => wrong("data", format!("a minibatch of {}", self.n), n.to_string()),
        }
    }

    /// The program of all examples, if that is one.
    fn whole(&mut self) -> Option<&mut Chunk<T>> {
        match (&mut self.lanes[..], &self.tail) {
            ([Lane { chunk, own: None, .. }], None) => Some(chunk),
            _ => None,
        }
    }

    /// Runs all lanes and takes what each adds up to, in order.
    fn each_lane(
        &mut self,
        params: &[T],
        along: Option<&[T]>,
        batch: &Batch<T>,
        mut take: impl FnMut(&Moments<T>) -> Result<()>,
    ) -> Result<()> {
        self.lanes.par_iter_mut().for_each(|lane| lane.run(params, along, batch));
        if let Some(tail) = &mut self.tail {
            tail.run(params, along, batch);
        }
        for lane in self.lanes.iter_mut().chain(&mut self.tail) {
            if let Some(error) = lane.failed.take() {
                return Err(error);
            }
            if let Some([_, total]) = &lane.own {
                take(total)?;
            }
        }
        Ok(())
    }
}

impl<T: Real> Lane<T> {
    fn run(&mut self, params: &[T], along: Option<&[T]>, batch: &Batch<T>) {
        let Some([part, total]) = &mut self.own else { return };
        total.clear();
        for from in (self.from..self.to).step_by(self.chunk.n) {
            let done = self.chunk.run(params, along, batch, from, part, [None, None], false);
            if let Err(error) = done.and_then(|_| total.merge(part)) {
                self.failed = Some(error);
                return;
            }
        }
    }
}

/// Examples of a chunk: all, if that fits the budget, else equal shares for every thread that do. Memory grows evenly with
/// examples, so two small programs tell how.
fn chunk_size<P: Signature, D: Signature>(
    loss: &Func<P, D, Spec>,
    n: usize,
    request: Request,
    device: &Device,
    budget: Budget,
    threads: usize,
) -> Result<usize> {
    if n <= FEWEST {
        return Ok(n);
    }
    let bytes = |n: usize| Ok::<f64, Error>(Chunk::<f32>::new(loss, n, request, device, 1)?.bytes() as f64);
    let (small, large) = (bytes(FEWEST / 2)?, bytes(FEWEST)?);
    let each = (large - small) / (FEWEST - FEWEST / 2) as f64;
    let fixed = large - each * FEWEST as f64;
    let limit = budget.bytes() as f64;
    if fixed + each * n as f64 <= limit {
        return Ok(n);
    }
    let most = (((limit / threads as f64 - fixed) / each) as usize).clamp(FEWEST, n);
    // As many chunks as keep every thread busy to the end; up to twice as many, if n is a multiple of those: then nothing is left.
    let chunks = n.div_ceil(most).next_multiple_of(threads);
    let even = (chunks..=2 * chunks).step_by(threads).find(|&chunks| n.is_multiple_of(chunks) && n / chunks >= FEWEST);
    Ok(even.map_or(n.div_ceil(chunks), |chunks| n / chunks).max(FEWEST))
}

impl<T: Real> Chunk<T> {
    fn new<P: Signature, D: Signature>(
        loss: &Func<P, D, Spec>,
        n: usize,
        request: Request,
        device: &Device,
        threads: usize,
    ) -> Result<Self> {
        let one = loss.value_and_grad()?;
        let leaves = specs(loss.params());
        let directions = if request.directed() { leaves.clone() } else { Vec::new() };
        // The data as a list: what a chunk reads does not depend on the user's tree.
        let data: Vec<Spec> =
            specs(loss.data()).into_iter().map(|s| Spec { shape: s.shape.batched(n), kind: s.kind }).collect();
        let count = leaves.len();
        // One example: value, gradient, and its tangent along v.
        let pair = (leaves.clone(), directions);
        let single = one.rebuild(pair.clone(), one.data().clone(), Vec::<Spec>::new(), |tape, params, data| {
            let inputs = [&params[..count], &data].concat();
            if !request.hvp {
                return replay(one.graph(), tape, &inputs);
            }
            let along = (0..count).map(|at| params.get(count + at).copied());
            let tangents: Vec<_> = along.chain(data.iter().map(|_| None)).collect();
            let (mut outputs, moved) = jvp(one.graph(), tape, &inputs, &tangents);
            let zero = |at: usize| tape.full(outputs[at].shape(), 0.0);
            let products: Vec<_> = (1..=count).map(|at| moved[at].unwrap_or_else(|| zero(at))).collect();
            outputs.extend(products);
            outputs
        })?;
        let part = |wanted: bool| if wanted { leaves.clone() } else { Vec::new() };
        let sums = |wanted: bool| (part(wanted), part(wanted && request.elementwise));
        let mut results: Results = (Spec::real([n]), (sums(request.gradient), sums(request.hvp)), Vec::new());
        let (mut scalars, mut reasons) = (Scalars::default(), Vec::new());
        let func = single.rebuild(pair, data, results.clone(), |tape, params, data| {
            let batched: Vec<bool> = params.iter().map(|_| false).chain(data.iter().map(|_| true)).collect();
            let each = vmap(single.graph(), tape, &[&params[..], &data].concat(), &batched, n);
            let outer = outer_products(tape);
            let vectors = |wanted: bool, from: usize| -> Vec<Vectors<'_>> {
                let squares = request.variances || request.inner;
                let open = |&x| Vectors::new(x, &outer, squares, request.form);
                if wanted { each[from..from + count].iter().map(open).collect() } else { Vec::new() }
            };
            let (g, h) = (vectors(request.gradient, 1), vectors(request.hvp, 1 + count));
            reasons = g.iter().chain(&h).map(|x| x.reason.clone()).collect();
            let mut results = vec![each[0]];
            for vectors in [&g, &h] {
                results.extend(vectors.iter().zip(&leaves).map(|(x, leaf)| x.sum(&leaf.shape)));
                if request.elementwise {
                    results.extend(vectors.iter().zip(&leaves).map(|(x, leaf)| x.elementwise(&leaf.shape)));
                }
            }
            let mut factors = Vec::new();
            if request.variances {
                scalars.collect(Kind::GradientNorm, g.iter().map(Vectors::norms), &mut factors);
                scalars.collect(Kind::HvpNorm, h.iter().map(Vectors::norms), &mut factors);
            }
            if request.inner {
                let v = &params[count..];
                scalars.collect(Kind::Slope, g.iter().zip(v).map(|(g, &v)| g.along(v)), &mut factors);
                scalars.collect(Kind::Crossing, g.iter().zip(&h).map(|(g, h)| g.inner(h)), &mut factors);
                scalars.collect(Kind::Curvature, h.iter().zip(v).map(|(h, &v)| h.along(v)), &mut factors);
            }
            scalars.factors = vec![0.0; n * factors.len()];
            results.extend(factors);
            results
        })?;
        results.2 = vec![Spec::real([n]); scalars.factors.len() / n];
        // Losses and factors of per-example numbers are wanted in f64.
        let wide = |path: &str| path == "result.0" || path.starts_with("result.2.");
        let func = func.with_outputs(results).wide(wide)?;
        Ok(Chunk { program: func.compile_shared(device, threads)?, n, scalars, reasons })
    }

    /// Bytes of the program alone.
    fn bytes(&self) -> usize {
        self.program.owned_bytes() + 8 * self.scalars.factors.len()
    }

    /// The moments of `n` examples from row `from` on; `into` is overwritten. Sums of gradients and of products go to `vectors`, if
    /// those are given, else to `into`. Tells how large what the program made is, if it is to look.
    #[allow(clippy::too_many_arguments, reason = "what a run is given and what it fills")]
    fn run(
        &mut self,
        params: &[T],
        along: Option<&[T]>,
        batch: &Batch<T>,
        from: usize,
        into: &mut Moments<T>,
        vectors: [Option<&mut [T]>; 2],
        look: bool,
    ) -> Result<Size> {
        let n = self.n;
        into.losses.resize(n, 0.0);
        let mut outputs: [Out<'_, T>; 6] = std::array::from_fn(|_| Out::Real(&mut []));
        let mut used = 0;
        let mut push = |out| {
            outputs[used] = out;
            used += 1;
        };
        push(Out::Wide(&mut into.losses));
        for (sums, vector) in [&mut into.gradient, &mut into.hvp].into_iter().zip(vectors) {
            match (vector, sums) {
                (Some(vector), _) => push(Out::Real(vector)),
                (None, Some(sums)) => {
                    push(Out::Real(&mut sums.sum));
                    if let Some(elementwise) = &mut sums.elementwise {
                        push(Out::Real(elementwise));
                    }
                }
                (None, None) => {}
            }
        }
        if !self.scalars.factors.is_empty() {
            push(Out::Wide(&mut self.scalars.factors));
        }
        let (program, outputs, rows) = (&mut self.program, &mut outputs[..used], from..from + n);
        let run = |inputs: &[In<'_, T>]| match look {
            true => program.run_sized(inputs, outputs),
            false => program.run_flat(inputs, outputs).map(|()| Size::Moderate),
        };
        let size = match along {
            Some(v) => batch.feed_rows(rows, [In::Real(params), In::Real(v)], run)?,
            None => batch.feed_rows(rows, [In::Real(params)], run)?,
        };
        into.count_losses();
        let scalars = &self.scalars;
        for (kind, sums) in [(Kind::GradientNorm, &mut into.gradient), (Kind::HvpNorm, &mut into.hvp)] {
            if let (Some(sums), true) = (sums, into.request.variances) {
                scalars.put_together(kind, n, &mut sums.norms.values, sums.squares.len());
                for (segment, square) in sums.squares.iter_mut().enumerate() {
                    *square = (0..n).map(|i| sums.norms.example(i)[segment]).sum();
                }
            }
        }
        if let Some(inner) = &mut into.inner {
            let segments = into.layout.segments().len();
            let [g, h] = [into.request.gradient, into.request.hvp];
            for (kind, wanted, numbers) in [
                (Kind::Slope, g, &mut inner.slopes),
                (Kind::Crossing, g && h, &mut inner.crossings),
                (Kind::Curvature, h, &mut inner.curvatures),
            ] {
                if wanted {
                    scalars.put_together(kind, n, &mut numbers.values, segments);
                }
            }
        }
        Ok(size)
    }
}

impl Scalars {
    /// Notes how the numbers of all segments are made; adds their factors to `factors`, each once.
    fn collect<'t>(&mut self, kind: Kind, of: impl Iterator<Item = Vec<Product<'t>>>, factors: &mut Vec<Expr<'t>>) {
        for (segment, products) in of.enumerate() {
            for Product { coef, factors: parts } in products {
                let place = |part: Expr<'t>| {
                    factors.iter().position(|f| f.var == part.var).unwrap_or_else(|| {
                        factors.push(part);
                        factors.len() - 1
                    })
                };
                let places = parts.into_iter().map(place).collect();
                self.products[kind as usize].push((segment, coef, places));
            }
        }
    }

    /// The numbers of a kind, `[n, segments]`.
    fn put_together(&self, kind: Kind, n: usize, into: &mut Vec<f64>, segments: usize) {
        into.clear();
        into.resize(n * segments, 0.0);
        for (segment, coef, factors) in &self.products[kind as usize] {
            for (i, numbers) in into.chunks_exact_mut(segments).enumerate() {
                numbers[*segment] += coef * factors.iter().map(|f| self.factors[f * n + i]).product::<f64>();
            }
        }
    }
}
