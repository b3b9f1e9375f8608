//! Compiled functions without their trees: made and run once for each type in this crate, not in every crate that has trees of its own.

use std::any::Any;
use std::fmt::Debug;

use osculate_kernels::{Cpu, Out, Real, Reference, Simd, Size, Slot};

use super::{Device, INPUTS, In};
use crate::graph::Graph;
use crate::plan::{Value, lower};
use crate::sizes::{available, zeros};
use crate::tree::BufferSpec;
use crate::{Array, Error, Kind, Result, Spec};

/// A compiled function of lists of arrays and of flat buffers.
pub(crate) trait Run<T>: Debug + Send + Sync {
    /// Runs on arrays, one a leaf; results in the program's type.
    fn on_arrays(&mut self, arrays: &[&Array<T>]) -> Result<Vec<Array<T>>>;
    /// The same; results in f64.
    fn on_arrays_wide(&mut self, arrays: &[&Array<T>]) -> Result<Vec<Array<f64>>>;
    /// Runs on flat buffers; tells how large outputs are, if that is to be looked at.
    fn on_buffers(&mut self, inputs: &[In<'_, T>], outputs: &mut [Out<'_, T>], look: bool) -> Result<Size>;
    /// Shares commands among a number of threads.
    fn share(&mut self, threads: usize) -> Result<()>;
    fn measure(&mut self);
    fn plan(&self) -> String;
    fn flop(&self) -> u64;
    /// Bytes of what a run is given and fills, and of what the program holds itself.
    fn bytes(&self) -> [usize; 2];
    fn boxed(&self) -> Box<dyn Run<T>>;
}

impl<T> Clone for Box<dyn Run<T>> {
    fn clone(&self) -> Self {
        (**self).boxed()
    }
}

/// What a function is given and gives: leaves by path, and the buffers that hold them.
pub(crate) struct Interface {
    /// Of parameters and data.
    pub leaves: Vec<(String, Spec)>,
    pub reads: Vec<BufferSpec>,
    pub writes: Vec<BufferSpec>,
}

/// Plans and compiles a graph.
pub(crate) fn compiled<T: Real>(
    graph: &Graph,
    interface: Interface,
    device: &Device,
    threads: usize,
) -> Result<Box<dyn Run<T>>> {
    // Instances of this crate's own, behind a pointer that is `T`'s.
    let made: Box<dyn Any> = match T::NAME {
        <f32 as Real>::NAME => Box::new(single(graph, interface, device, threads)?),
        _ => Box::new(double(graph, interface, device, threads)?),
    };
    let of_type = made.downcast::<Box<dyn Run<T>>>();
    of_type.map(|run| *run).map_err(|_| Error::State(format!("programs run in f32 or f64, not in {}", T::NAME)))
}

fn single(graph: &Graph, interface: Interface, device: &Device, threads: usize) -> Result<Box<dyn Run<f32>>> {
    Ok(Box::new(Compiled::new(graph, interface, device, threads)?))
}

fn double(graph: &Graph, interface: Interface, device: &Device, threads: usize) -> Result<Box<dyn Run<f64>>> {
    Ok(Box::new(Compiled::new(graph, interface, device, threads)?))
}

#[derive(Debug, Clone)]
enum Executor<T> {
    Cpu(Cpu<T>),
    Reference(Reference),
}

/// Whole numbers up to this are exact in a type of so many bytes.
fn exact(width: usize) -> u64 {
    1 << if width == 4 { 24 } else { 53 }
}

/// The program of a graph between the buffers of an interface, for a type.
pub(crate) fn lowered(
    graph: &Graph,
    of: &Interface,
    width: usize,
    type_name: &str,
) -> Result<osculate_kernels::Program> {
    let Interface { reads, writes, .. } = of;
    if reads.len() > INPUTS {
        let why =
            format!("{} input buffers, but a program has at most {INPUTS}: put arrays into a struct", reads.len());
        return Err(Error::Transform { transform: "compile", why });
    }
    for buffer in reads {
        if let Kind::Index(bound) = buffer.kind
            && (bound == 0 || bound as u64 > exact(width))
        {
            let why = format!("indices of {} below {bound} are not exact in {type_name}", name(buffer));
            return Err(Error::Transform { transform: "compile", why });
        }
    }
    let inner = graph.nodes.iter().map(|node| (&node.op, node.spec.kind));
    for (op, kind) in inner {
        if let Kind::Index(bound) = kind
            && bound as u64 > exact(width)
        {
            let why = format!("indices of {} below {bound} are not exact in {type_name}", op.word());
            return Err(Error::Transform { transform: "compile", why });
        }
    }
    let slots = (reads.iter().map(|b| Slot::Input(b.layout.len())))
        .chain(writes.iter().map(|b| Slot::Output { len: b.layout.len(), wide: is_wide(b) }))
        .collect();
    lower(graph, slots, &places(reads, 0), &places(writes, reads.len()))
}

/// A program, an executor for it, and the buffers between them and the user.
#[derive(Debug, Clone)]
struct Compiled<T> {
    executor: Executor<T>,
    leaves: Vec<(String, Spec)>,
    reads: Vec<BufferSpec>,
    writes: Vec<BufferSpec>,
    /// Indices as numbers of the program's type, one buffer for every index input.
    staged: Vec<Vec<T>>,
    bytes: [usize; 2],
    flop: u64,
}

impl<T: Real> Compiled<T> {
    fn new(graph: &Graph, interface: Interface, device: &Device, threads: usize) -> Result<Self> {
        let program = lowered(graph, &interface, size_of::<T>(), T::NAME)?;
        let Interface { leaves, reads, writes } = interface;
        let width = if *device == Device::Reference { 8 } else { size_of::<T>() };
        let total = |bytes: &mut dyn Iterator<Item = usize>| bytes.fold(0, usize::saturating_add);
        let given = total(&mut reads.iter().map(|b| b.layout.len().saturating_mul(width)));
        let made = total(&mut writes.iter().map(|b| b.layout.len().saturating_mul(if is_wide(b) { 8 } else { width })));
        let scratch = total(&mut program.slots().iter().map(|slot| match slot {
            Slot::Input(_) | Slot::Output { .. } => 0,
            slot => slot.len().saturating_mul(width),
        }));
        let labels = total(&mut reads.iter().filter(|b| is_index(b)).map(|b| b.layout.len().saturating_mul(width)));
        available(scratch.saturating_add(labels), || {
            format!("scratch of the program, the most of it for {},", largest(graph))
        })?;
        let flop = program.flop();
        let executor = match device {
            Device::Cpu => Executor::Cpu(Cpu::with(program, threads, Simd::chosen()?)),
            Device::Reference => Executor::Reference(Reference::new(program)),
        };
        let staged: Vec<Vec<T>> =
            reads.iter().map(|b| if is_index(b) { vec![T::zero(); b.layout.len()] } else { vec![] }).collect();
        let owned = if let Executor::Cpu(cpu) = &executor { cpu.bytes() } else { scratch };
        Ok(Compiled {
            bytes: [given.saturating_add(made), owned.saturating_add(labels)],
            flop,
            staged,
            executor,
            leaves,
            reads,
            writes,
        })
    }

    fn run_as<R: Real>(&mut self, arrays: &[&Array<T>]) -> Result<Vec<Array<R>>> {
        if arrays.len() != self.leaves.len() {
            return Err(Error::Signature {
                path: "arguments".into(),
                want: format!("{} arrays", self.leaves.len()),
                got: format!("{}", arrays.len()),
            });
        }
        for ((path, spec), array) in self.leaves.iter().zip(arrays) {
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
                Kind::Wide => Ok((Vec::new(), zeros(b.layout.len(), || name(b))?)),
                _ => Ok((zeros(b.layout.len(), || name(b))?, Vec::new())),
            })
            .collect::<Result<_>>()?;
        let mut outs: Vec<Out<'_, T>> = (self.writes.iter().zip(&mut results))
            .map(|(b, (real, wide))| if b.kind == Kind::Wide { Out::Wide(wide) } else { Out::Real(real) })
            .collect();
        self.go(&inputs, &mut outs, false)?;
        let count = self.writes.iter().map(|b| b.leaves.len()).sum();
        let mut made: Vec<Option<Array<R>>> = vec![None; count];
        for (b, (real, wide)) in self.writes.iter().zip(&results) {
            for (&leaf, segment) in b.leaves.iter().zip(b.layout.segments()) {
                let shape = segment.shape.clone();
                let real = || real[segment.range()].iter().map(|&v| v.to_f64());
                made[leaf] = Some(match b.kind {
                    Kind::Index(_) => Array::index(shape, real().map(|v| v as u32).collect())?,
                    Kind::Wide => Array::new(shape, wide[segment.range()].iter().map(|&v| R::from_f64(v)).collect())?,
                    Kind::Real => Array::new(shape, real().map(R::from_f64).collect())?,
                });
            }
        }
        Ok(made.into_iter().flatten().collect())
    }

    /// Runs, and tells how large outputs are if that is to be looked at.
    fn go(&mut self, inputs: &[In<'_, T>], outputs: &mut [Out<'_, T>], look: bool) -> Result<Size> {
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
            Executor::Cpu(cpu) if look => return Ok(cpu.run_sized(table, outputs)?),
            Executor::Cpu(cpu) => cpu.run(table, outputs)?,
            Executor::Reference(reference) => in_f64(reference, table, outputs)?,
        }
        let sizes = outputs.iter().filter(|_| look).map(size);
        Ok(sizes.max().unwrap_or(Size::Moderate))
    }
}

impl<T: Real> Run<T> for Compiled<T> {
    fn on_arrays(&mut self, arrays: &[&Array<T>]) -> Result<Vec<Array<T>>> {
        self.run_as(arrays)
    }

    fn on_arrays_wide(&mut self, arrays: &[&Array<T>]) -> Result<Vec<Array<f64>>> {
        self.run_as(arrays)
    }

    fn on_buffers(&mut self, inputs: &[In<'_, T>], outputs: &mut [Out<'_, T>], look: bool) -> Result<Size> {
        self.go(inputs, outputs, look)
    }

    fn share(&mut self, threads: usize) -> Result<()> {
        if let Executor::Cpu(cpu) = &mut self.executor {
            self.bytes[1] -= cpu.bytes();
            *cpu = Cpu::with(cpu.program().clone(), threads, Simd::chosen()?);
            self.bytes[1] += cpu.bytes();
        }
        Ok(())
    }

    fn measure(&mut self) {
        if let Executor::Cpu(cpu) = &mut self.executor {
            cpu.measure();
        }
    }

    fn plan(&self) -> String {
        match &self.executor {
            Executor::Cpu(cpu) => cpu.plan(),
            Executor::Reference(reference) => reference.program().to_string(),
        }
    }

    fn flop(&self) -> u64 {
        self.flop
    }

    fn bytes(&self) -> [usize; 2] {
        self.bytes
    }

    fn boxed(&self) -> Box<dyn Run<T>> {
        Box::new(self.clone())
    }
}

fn is_wide(buffer: &BufferSpec) -> bool {
    buffer.kind == Kind::Wide
}

/// The largest array of a graph, as it is printed.
fn largest(graph: &Graph) -> String {
    let nodes = graph.nodes.iter().max_by_key(|node| node.spec.shape.size());
    nodes.map_or("nothing".into(), |node| format!("{}, {}", node.op.word(), node.spec))
}

fn size<T: Real>(out: &Out<'_, T>) -> Size {
    match out {
        Out::Real(values) => Size::of(values),
        Out::Wide(values) => Size::of(values),
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
