//! Programs that accumulate [`Moments`]: chunks of examples within a memory budget, shared among threads.

mod budget;
mod chunk;
mod means;

use std::panic::Location;

use osculate_kernels::Real;
use rayon::prelude::*;

use crate::func::specs;
use crate::program::Device;
use crate::sizes::{available, countable};
use crate::transform::replay;
use crate::tree::{Layout, Signature};
use crate::{Batch, Error, Func, Moments, Request, Result, Spec};

pub use budget::Budget;
use chunk::Chunk;
pub use means::MeansProgram;

/// A loss of one example, its parameters and data as lists: what is compiled does not depend on the user's trees.
type Listed = Func<Vec<Spec>, Vec<Spec>, Spec>;

/// A compiled accumulation of [`Moments`] over minibatches of a fixed size.
///
/// A minibatch of little memory is one program whose commands share the threads. A larger one is taken in chunks, one a thread at a
/// time, that are added up in order. How large chunks are depends on the loss, the size of the minibatch and the [`Budget`] alone: results
/// have the same bits for any number of threads.
#[derive(Debug, Clone)]
pub struct MomentsProgram<T> {
    /// One a thread.
    lanes: Vec<Lane<T>>,
    /// What is left of a minibatch after whole chunks.
    rest: Option<Lane<T>>,
    layout: Layout,
    request: Request,
    n: usize,
    /// Bytes of what a run is given.
    given: usize,
}

/// A chunk's program, and where its moments go.
#[derive(Debug, Clone)]
struct Lane<T> {
    chunk: Chunk<T>,
    /// Moments of a chunk, unless there is one chunk for all.
    part: Option<Moments<T>>,
    failed: Option<Error>,
}

impl<P: Signature, D: Signature> Func<P, D, Spec> {
    /// A program of per-example statistics of minibatches of `n`, see [`Moments`](crate::Moments).
    ///
    /// # Errors
    /// [`Error::Transform`]: the result is not a scalar. [`Error::Empty`]: `n` is 0.
    #[track_caller]
    pub fn moments<T: Real>(&self, n: usize, request: Request, device: &Device) -> Result<MomentsProgram<T>> {
        self.moments_within(n, request, device, Budget::default())
    }

    /// A program of per-example statistics that takes minibatches in chunks as small as a memory budget wants.
    ///
    /// ```
    /// use osculate_engine::{spec, Budget, Device, Error, Func, Request};
    /// let loss = Func::trace(spec([100]), spec([100]), |_, w, x| w.dot(x).tanh())?;
    /// let within = |budget| loss.moments_within::<f32>(64, Request::gradient(), &Device::cpu(), budget);
    /// let Err(Error::Budget { least, .. }) = within(Budget::bytes(10)) else { panic!("nothing fits 10 bytes") };
    /// assert!(within(Budget::bytes(least))?.peak_bytes() <= least);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Transform`]: the result is not a scalar. [`Error::Empty`]: `n` is 0. [`Error::Budget`]: not even the smallest chunks fit.
    #[track_caller]
    pub fn moments_within<T: Real>(
        &self,
        n: usize,
        request: Request,
        device: &Device,
        budget: Budget,
    ) -> Result<MomentsProgram<T>> {
        if n == 0 {
            return Err(Error::empty("moments"));
        }
        countable("moments", n, &specs(self.data()))?;
        let line = Location::caller();
        let made = self.both_listed().and_then(|loss| {
            MomentsProgram::new(&loss, Layout::of(self.params(), "params"), n, request, device, budget)
        });
        made.map_err(|error| error.on_line(line))
    }

    /// A program of mean gradients and Hessian-vector products of minibatches of `n`, whichever are requested.
    ///
    /// # Errors
    /// [`Error::Transform`]: the result is not a scalar. [`Error::Empty`]: `n` is 0.
    #[track_caller]
    pub fn means<T: Real>(&self, n: usize, request: Request, device: &Device) -> Result<MeansProgram<T>> {
        self.means_within(n, request, device, Budget::default())
    }

    /// A program of means that takes minibatches in chunks as small as a memory budget wants.
    ///
    /// # Errors
    /// [`Error::Transform`]: the result is not a scalar. [`Error::Empty`]: `n` is 0. [`Error::Budget`]: not even the smallest chunks fit.
    #[track_caller]
    pub fn means_within<T: Real>(
        &self,
        n: usize,
        request: Request,
        device: &Device,
        budget: Budget,
    ) -> Result<MeansProgram<T>> {
        if n == 0 {
            return Err(Error::empty("means"));
        }
        countable("means", n, &specs(self.data()))?;
        let line = Location::caller();
        let made = self
            .both_listed()
            .and_then(|loss| MeansProgram::new(&loss, Layout::of(self.params(), "params"), n, request, device, budget));
        made.map_err(|error| error.on_line(line))
    }

    fn both_listed(&self) -> Result<Listed> {
        let (params, data, loss) = (specs(self.params()), specs(self.data()), self.outputs().clone());
        self.rebuild(params, data, loss, |tape, params, data| replay(self.graph(), tape, &[params, data].concat()))
    }
}

impl<T: Real> MomentsProgram<T> {
    fn new(loss: &Listed, layout: Layout, n: usize, request: Request, device: &Device, budget: Budget) -> Result<Self> {
        let reference = *device == Device::Reference;
        let threads = if reference { 1 } else { rayon::current_num_threads() };
        let limit = budget.limit().unwrap_or(usize::MAX).min(isize::MAX as usize);
        let vectors = if request.directed() { 2 } else { 1 };
        let example: usize = loss.data().iter().map(|s| s.shape.size()).sum();
        let width = if reference { 8 } else { size_of::<T>() };
        let given = (n.saturating_mul(example)).saturating_add(vectors * layout.len()).saturating_mul(width);
        available(given, || format!("a minibatch of {n} examples"))?;
        let make = |n| Chunk::new(loss, n, request, device);
        let part = |size: usize| (size < n).then(|| Moments::empty(layout.clone(), request));
        let mut size = budget::preferred(n, make)?;
        let mut least = usize::MAX;
        // The largest chunks that one thread can hold; those of many threads are as large.
        loop {
            let lanes = vec![Lane::new(make(size)?, part(size))];
            let rest = if n.is_multiple_of(size) { None } else { Some(Lane::new(make(n % size)?, part(n % size))) };
            let program = MomentsProgram { lanes, rest, layout: layout.clone(), request, n, given };
            let peak = program.peak_bytes();
            least = least.min(peak);
            match size {
                _ if peak <= limit => return program.on(threads, limit),
                1 => return Err(Error::Budget { limit, least }),
                _ => size = size.div_ceil(2),
            }
        }
    }

    /// The same on as many threads as are here and fit a limit: one a lane, and those beside them help within a lane's commands.
    fn on(mut self, threads: usize, limit: usize) -> Result<Self> {
        let (spare, chunks) = (limit - self.peak_bytes(), self.n / self.chunk().max(1));
        if threads == 1 {
            return Ok(self);
        }
        let Some(one) = self.lanes.pop() else { return Ok(self) };
        let count = threads.min(chunks).min(1 + spare / self.lane_bytes(&one).max(1));
        self.lanes = (0..count).map(|_| one.clone().ready()).collect();
        let share = |program: Self, each: usize, rest: usize| {
            let lanes = program.lanes.into_iter().map(|lane| lane.shared(each)).collect::<Result<_>>()?;
            Ok::<_, Error>(Self { lanes, rest: program.rest.map(|lane| lane.shared(rest)).transpose()?, ..program })
        };
        let shared = share(self, threads / count, threads)?;
        if shared.peak_bytes() <= limit { Ok(shared) } else { share(shared, 1, 1) }
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
        let lanes = self.lanes.iter().chain(&self.rest).map(|lane| self.lane_bytes(lane));
        let filled = Moments::<T>::bytes(&self.layout, self.request, self.n);
        lanes.fold(self.given.saturating_add(filled), usize::saturating_add)
    }

    fn lane_bytes(&self, lane: &Lane<T>) -> usize {
        let part = if lane.part.is_some() { Moments::<T>::bytes(&self.layout, self.request, lane.chunk.n) } else { 0 };
        lane.chunk.bytes() + part
    }

    /// From now on, runs on the CPU add up the time that each command takes, which [`plan`](MomentsProgram::plan) then tells of one
    /// lane's chunk.
    pub fn measure(&mut self) {
        self.lanes.iter_mut().chain(&mut self.rest).for_each(|lane| lane.chunk.program.measure());
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
        let chunks = self.lanes.first().map_or(0, |lane| (self.n / lane.chunk.n) as u64 * lane.chunk.program.flop());
        chunks + self.rest.as_ref().map_or(0, |lane| lane.chunk.program.flop())
    }

    /// The moments of one minibatch at flat parameters, along a flat direction if products were asked for; `into` is overwritten.
    ///
    /// # Errors
    /// [`Error::Empty`]: the minibatch has no examples. [`Error::State`]: a direction missing or not asked for, moments of others.
    /// [`Error::Signature`]: buffers of wrong lengths. [`Error::Index`]: an index out of range; `into` is then of no examples.
    #[track_caller]
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
            let run = chunk.run(params, along, batch, 0, into, [None, None], false).map(drop);
            return run.inspect_err(|_| into.clear());
        }
        self.each_chunk(params, along, batch, |part| into.merge(part)).inspect_err(|_| into.clear())
    }

    /// Whether buffers have the sizes that this is for.
    #[track_caller]
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
            0 => Err(Error::empty("run")),
            n => wrong("data", format!("a minibatch of {}", self.n), n.to_string()),
        }
    }

    /// The program of all examples, if that is one.
    fn whole(&mut self) -> Option<&mut Chunk<T>> {
        match &mut self.lanes[..] {
            [Lane { chunk, part: None, .. }] => Some(chunk),
            _ => None,
        }
    }

    /// Runs all chunks, as many at a time as there are lanes, and takes the moments of each, in order.
    fn each_chunk(
        &mut self,
        params: &[T],
        along: Option<&[T]>,
        batch: &Batch<T>,
        mut take: impl FnMut(&Moments<T>) -> Result<()>,
    ) -> Result<()> {
        let (size, mut from) = (self.chunk(), 0);
        while from + size <= self.n {
            let count = self.lanes.len().min((self.n - from) / size);
            let lanes = &mut self.lanes[..count];
            let run = |(at, lane): (usize, &mut Lane<T>)| lane.run(params, along, batch, from + at * size);
            lanes.par_iter_mut().enumerate().for_each(run);
            lanes.iter_mut().try_for_each(|lane| lane.taken(&mut take))?;
            from += count * size;
        }
        if let Some(rest) = &mut self.rest {
            rest.run(params, along, batch, from);
            rest.taken(&mut take)?;
        }
        Ok(())
    }
}

impl<T: Real> Lane<T> {
    fn new(chunk: Chunk<T>, part: Option<Moments<T>>) -> Lane<T> {
        Lane { chunk, part, failed: None }.ready()
    }

    /// With the memory that a run needs, which a clone has not.
    fn ready(mut self) -> Lane<T> {
        self.part.iter_mut().for_each(|part| part.reserve(self.chunk.n));
        self
    }

    fn shared(self, threads: usize) -> Result<Lane<T>> {
        Ok(Lane { chunk: self.chunk.shared(threads)?, ..self }.ready())
    }

    /// The moments of the chunk from a row on.
    fn run(&mut self, params: &[T], along: Option<&[T]>, batch: &Batch<T>, from: usize) {
        let Some(part) = &mut self.part else { return };
        self.failed = self.chunk.run(params, along, batch, from, part, [None, None], false).err();
    }

    /// Hands them on.
    fn taken(&mut self, take: &mut impl FnMut(&Moments<T>) -> Result<()>) -> Result<()> {
        match (self.failed.take(), &self.part) {
            (Some(error), _) => Err(error),
            (None, Some(part)) => take(part),
            (None, None) => Ok(()),
        }
    }
}
