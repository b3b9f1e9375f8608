//! Compiled functions: a program, an executor, and the buffers between them and the user.

use osculate_kernels::{Cpu, Out, Real, Reference, Simd, Slot, Sweep, finite};

use crate::graph::Graph;
use crate::plan::{Value, lower};
use crate::tree::{BufferSpec, Signature, Tree, apart, buffers};
use crate::{Array, Error, Kind, Result, Spec};

/// Where programs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// rayon and matrixmultiply.
    Cpu,
    /// Naive loops in f64 whatever the type: slow, and what the others are tested against.
    Reference,
}

impl Device {
    /// The CPU, on the threads of the current rayon pool.
    pub fn cpu() -> Device {
        Device::Cpu
    }

    /// The instruction set that CPU programs are compiled for: `avx512`, `avx2` or `portable`.
    pub fn cpu_instructions() -> &'static str {
        Simd::chosen().unwrap_or_else(|_| Simd::best()).name()
    }

    /// The naive f64 executor.
    pub fn reference() -> Device {
        Device::Reference
    }
}

/// A buffer that a run reads: one a struct of reals, one an index leaf.
#[derive(Debug, Clone, Copy)]
pub enum In<'a, T> {
    /// Reals, in the order of their layout.
    Real(&'a [T]),
    /// Indices; checked against their bound.
    Index(&'a [u32]),
}

/// Most buffers a program may read: their table lives on the stack, so that a run allocates nothing.
pub(crate) const INPUTS: usize = 64;

#[derive(Debug, Clone)]
enum Executor<T> {
    Cpu(Cpu<T>),
    Reference(Reference),
}

/// A program of kernels, and the buffers that it reads and writes.
struct Lowered {
    reads: Vec<BufferSpec>,
    writes: Vec<BufferSpec>,
    program: osculate_kernels::Program,
}

impl Lowered {
    fn new<T: Real>(
        graph: &Graph,
        params: &impl Signature,
        data: &impl Signature,
        outputs: &impl Signature,
    ) -> Result<Lowered> {
        let mut reads = buffers(params, "params");
        let leaves = params.leaves("").len();
        for mut buffer in apart(data, "data") {
            buffer.leaves.iter_mut().for_each(|leaf| *leaf += leaves);
            reads.push(buffer);
        }
        let writes = buffers(outputs, "result");
        if reads.len() > INPUTS {
            let why =
                format!("{} input buffers, but a program has at most {INPUTS}: put arrays into a struct", reads.len());
            return Err(Error::Transform { transform: "compile", why });
        }
        let exact = 1u64 << if size_of::<T>() == 4 { 24 } else { 53 };
        for buffer in &reads {
            if let Kind::Index(bound) = buffer.kind
                && (bound == 0 || bound as u64 > exact)
            {
                let why = format!("indices of {} below {bound} are not exact in {}", name(buffer), T::NAME);
                return Err(Error::Transform { transform: "compile", why });
            }
        }
        let wide = |b: &BufferSpec| b.kind == Kind::Wide;
        let slots = (reads.iter().map(|b| Slot::Input(b.layout.len())))
            .chain(writes.iter().map(|b| Slot::Output { len: b.layout.len(), wide: wide(b) }))
            .collect();
        let program = lower(graph, slots, &places(&reads, 0), &places(&writes, reads.len()))?;
        Ok(Lowered { reads, writes, program })
    }
}

/// The function of a graph as one pass over vectors: one buffer of parameters holds all its numbers, the data are vectors of one
/// length, of which the first `replaced` give way to as many results; the others are added up.
pub(crate) fn sweep<T: Real>(
    graph: &Graph,
    params: &impl Signature,
    data: &impl Signature,
    outputs: &impl Signature,
    replaced: usize,
) -> Result<Sweep<T>> {
    let lowered = Lowered::new::<T>(graph, params, data, outputs)?;
    let numbers = buffers(params, "params").len();
    if numbers != 1 {
        let why = format!("the parameters of a sweep are one buffer of numbers, not {numbers}");
        return Err(Error::Transform { transform: "sweep", why });
    }
    Ok(Sweep::new(&lowered.program, replaced, Simd::chosen()?)?)
}

/// A function compiled for one type and device, with its memory.
///
/// [`run`](Program::run) takes and returns trees of arrays; [`run_flat`](Program::run_flat) works on flat buffers and allocates
/// nothing.
#[derive(Debug, Clone)]
pub struct Program<T, P, D, O> {
    executor: Executor<T>,
    params: P,
    data: D,
    outputs: O,
    reads: Vec<BufferSpec>,
    writes: Vec<BufferSpec>,
    /// Indices as numbers of the program's type, one buffer for every index input.
    staged: Vec<Vec<T>>,
    /// Bytes of what a run is given and fills, and of what the program holds itself.
    bytes: [usize; 2],
    flop: u64,
}

impl<T: Real, P: Signature, D: Signature, O: Signature> Program<T, P, D, O> {
    pub(crate) fn new(graph: &Graph, params: P, data: D, outputs: O, device: &Device, threads: usize) -> Result<Self> {
        let Lowered { reads, writes, program } = Lowered::new::<T>(graph, &params, &data, &outputs)?;
        let wide = |b: &BufferSpec| b.kind == Kind::Wide;
        let width = if *device == Device::Reference { 8 } else { size_of::<T>() };
        let given: usize = reads.iter().map(|b| b.layout.len() * width).sum();
        let made: usize = writes.iter().map(|b| b.layout.len() * if wide(b) { 8 } else { width }).sum();
        let flop = program.flop();
        let reference = program.owned_elements() * width;
        let executor = match device {
            Device::Cpu => Executor::Cpu(Cpu::with(program, threads, Simd::chosen()?)),
            Device::Reference => Executor::Reference(Reference::new(program)),
        };
        let staged: Vec<Vec<T>> =
            reads.iter().map(|b| if is_index(b) { vec![T::zero(); b.layout.len()] } else { vec![] }).collect();
        let owned = if let Executor::Cpu(cpu) = &executor { cpu.bytes() } else { reference };
        Ok(Program {
            bytes: [given + made, owned + staged.iter().map(|s| s.len() * size_of::<T>()).sum::<usize>()],
            flop,
            staged,
            executor,
            params,
            data,
            outputs,
            reads,
            writes,
        })
    }

    /// Bytes alive during a run: inputs, outputs, and the scratch allocated once at compilation.
    pub fn peak_bytes(&self) -> usize {
        self.bytes[0] + self.bytes[1]
    }

    /// Those of them that the program holds itself.
    pub(crate) fn owned_bytes(&self) -> usize {
        self.bytes[1]
    }

    /// Floating-point operations of one run.
    pub fn flop(&self) -> u64 {
        self.flop
    }

    /// From now on, runs on the CPU add up the time that each command takes, which [`plan`](Program::plan) then tells.
    pub fn measure(&mut self) {
        if let Executor::Cpu(cpu) = &mut self.executor {
            cpu.measure();
        }
    }

    /// The plan as text: one command a line, with its loops, slots, operations and bytes, and its time if that is measured.
    pub fn plan(&self) -> String {
        match &self.executor {
            Executor::Cpu(cpu) => cpu.plan(),
            Executor::Reference(reference) => reference.program().to_string(),
        }
    }

    /// Runs on trees of arrays.
    ///
    /// # Errors
    /// An array that does not fit its leaf, named by its path, or an index out of range; nothing is computed then.
    pub fn run(&mut self, params: &P::With<Array<T>>, data: &D::With<Array<T>>) -> Result<O::With<Array<T>>> {
        let wanted: Vec<(String, &Spec)> = [self.params.leaves("params"), self.data.leaves("data")]
            .into_iter()
            .flatten()
            .map(|(path, spec)| (path.to_string(), spec))
            .collect();
        let arrays: Vec<&Array<T>> =
            params.leaves("").into_iter().chain(data.leaves("")).map(|(_, array)| array).collect();
        if arrays.len() != wanted.len() {
            return Err(Error::Signature {
                path: "arguments".into(),
                want: format!("{} arrays", wanted.len()),
                got: format!("{}", arrays.len()),
            });
        }
        for ((path, spec), array) in wanted.iter().zip(&arrays) {
            array.fits(spec, path)?;
        }
        let reals: Vec<Vec<T>> = (self.reads.iter())
            .map(|b| b.leaves.iter().flat_map(|&leaf| arrays[leaf].values()).copied().collect())
            .collect();
        let inputs: Vec<In<'_, T>> = (self.reads.iter().zip(&reals))
            .map(|(b, real)| if is_index(b) { In::Index(arrays[b.leaves[0]].indices()) } else { In::Real(real) })
            .collect();
        let mut results: Vec<(Vec<T>, Vec<f64>)> = (self.writes.iter())
            .map(|b| match b.kind {
                Kind::Wide => (Vec::new(), vec![0.0; b.layout.len()]),
                _ => (vec![T::zero(); b.layout.len()], Vec::new()),
            })
            .collect();
        let mut outs: Vec<Out<'_, T>> = (self.writes.iter().zip(&mut results))
            .map(|(b, (real, wide))| if b.kind == Kind::Wide { Out::Wide(wide) } else { Out::Real(real) })
            .collect();
        self.run_flat(&inputs, &mut outs)?;
        let specs = self.outputs.leaves("");
        let mut made: Vec<Option<Array<T>>> = vec![None; specs.len()];
        for (b, (real, wide)) in self.writes.iter().zip(&results) {
            for (&leaf, segment) in b.leaves.iter().zip(b.layout.segments()) {
                let values = match b.kind {
                    Kind::Wide => wide[segment.range()].iter().map(|&v| T::from_f64(v)).collect(),
                    _ => real[segment.range()].to_vec(),
                };
                made[leaf] = Some(Array::new(segment.shape.clone(), values)?);
            }
        }
        self.outputs.with_leaves(made.into_iter().flatten())
    }

    /// Runs on flat buffers: those of the parameters, then those of the data, each in the order of its layout.
    ///
    /// # Errors
    /// A buffer of the wrong kind or length, or an index out of range; nothing is computed then.
    pub fn run_flat(&mut self, inputs: &[In<'_, T>], outputs: &mut [Out<'_, T>]) -> Result<()> {
        self.go(inputs, outputs, false).map(drop)
    }

    /// The same, and whether all that the outputs hold then is finite.
    pub(crate) fn run_finite(&mut self, inputs: &[In<'_, T>], outputs: &mut [Out<'_, T>]) -> Result<bool> {
        self.go(inputs, outputs, true)
    }

    /// Runs, and tells whether outputs are finite if that is to be looked at.
    fn go(&mut self, inputs: &[In<'_, T>], outputs: &mut [Out<'_, T>], look: bool) -> Result<bool> {
        if inputs.len() != self.reads.len() {
            return Err(Error::Signature {
                path: "inputs".into(),
                want: format!("{} buffers", self.reads.len()),
                got: format!("{}", inputs.len()),
            });
        }
        for ((input, spec), staged) in inputs.iter().zip(&self.reads).zip(&mut self.staged) {
            let want = spec.layout.len();
            match (input, spec.kind) {
                (In::Index(values), Kind::Index(bound)) if values.len() == want => {
                    for (position, (&value, slot)) in values.iter().zip(staged.iter_mut()).enumerate() {
                        if value as usize >= bound {
                            return Err(Error::Index { path: name(spec), position, value, bound });
                        }
                        *slot = T::from_f64(f64::from(value));
                    }
                }
                (In::Real(values), Kind::Real | Kind::Wide) if values.len() == want => {}
                (In::Index(values), _) => return Err(mismatch(spec, "indices", values.len())),
                (In::Real(values), _) => return Err(mismatch(spec, "reals", values.len())),
            }
        }
        let mut table: [&[T]; INPUTS] = [&[]; INPUTS];
        for ((entry, input), staged) in table.iter_mut().zip(inputs).zip(&self.staged) {
            *entry = match input {
                In::Real(values) => values,
                In::Index(_) => staged,
            };
        }
        let table = &table[..inputs.len()];
        match &mut self.executor {
            Executor::Cpu(cpu) if look => return Ok(cpu.run_finite(table, outputs)?),
            Executor::Cpu(cpu) => cpu.run(table, outputs)?,
            Executor::Reference(reference) => in_f64(reference, table, outputs)?,
        }
        Ok(!look || outputs.iter().all(are_finite))
    }
}

fn are_finite<T: Real>(out: &Out<'_, T>) -> bool {
    match out {
        Out::Real(values) => finite(values),
        Out::Wide(values) => finite(values),
    }
}

fn is_index(buffer: &BufferSpec) -> bool {
    matches!(buffer.kind, Kind::Index(_))
}

fn name(buffer: &BufferSpec) -> String {
    buffer.layout.segments().first().map(|s| s.name.clone()).unwrap_or_default()
}

fn mismatch(buffer: &BufferSpec, what: &str, count: usize) -> Error {
    let want = if is_index(buffer) { "indices" } else { "reals" };
    Error::Signature {
        path: name(buffer),
        want: format!("{} {want}", buffer.layout.len()),
        got: format!("{count} {what}"),
    }
}

/// Where every leaf lies, in the order of leaves.
fn places(buffers: &[BufferSpec], first: usize) -> Vec<Value> {
    let mut found: Vec<(usize, Value)> = Vec::new();
    for (slot, buffer) in buffers.iter().enumerate() {
        for (&leaf, segment) in buffer.leaves.iter().zip(buffer.layout.segments()) {
            found.push((leaf, Value::contiguous(first + slot, segment.offset, &segment.shape)));
        }
    }
    found.sort_by_key(|(leaf, _)| *leaf);
    found.into_iter().map(|(_, value)| value).collect()
}

/// Runs the reference executor for buffers of any type.
fn in_f64<T: Real>(reference: &mut Reference, inputs: &[&[T]], outputs: &mut [Out<'_, T>]) -> Result<()> {
    let inputs: Vec<Vec<f64>> = inputs.iter().map(|x| x.iter().map(|&v| v.to_f64()).collect()).collect();
    let mut results: Vec<Vec<f64>> = outputs.iter().map(|o| vec![0.0; o.len()]).collect();
    let mut outs: Vec<Out<'_, f64>> = (outputs.iter().zip(&mut results))
        .map(|(o, r)| if matches!(o, Out::Wide(_)) { Out::Wide(r) } else { Out::Real(r) })
        .collect();
    reference.run(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut outs)?;
    for (out, result) in outputs.iter_mut().zip(&results) {
        match out {
            Out::Real(values) => values.iter_mut().zip(result).for_each(|(v, &r)| *v = T::from_f64(r)),
            Out::Wide(values) => values.copy_from_slice(result),
        }
    }
    Ok(())
}
