//! The naive executor in f64: one scalar at a time, no blocks, no threads. What it computes is what a command means.

use crate::lookup::row;
use crate::memory::{Buffer, allocate, check};
use crate::nest::offset;
use crate::{Body, Command, Error, First, Fold, Instr, Lookup, Nest, Out, Product, Program, Simd, View};

/// Runs a program literally; the oracle of every kernel test.
///
/// ```
/// # use osculate_kernels::*;
/// let fill = Command::Map(Nest { dims: vec![2], body: Body(vec![Instr::Const(3.0)]), inputs: vec![], out: View::new(0, 0, &[1]) });
/// let program = Program::new(vec![Slot::Output { len: 2, wide: false }], vec![fill])?;
/// let mut out = [0.0; 2];
/// Reference::new(program).run(&[], &mut [Out::Real(&mut out)])?;
/// assert_eq!(out, [3.0, 3.0]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reference {
    program: Program,
    owned: Vec<Buffer<f64>>,
}

impl Reference {
    /// Takes a program and allocates its scratch.
    pub fn new(program: Program) -> Reference {
        let owned = allocate(&program);
        Reference { program, owned }
    }

    /// The program it runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Runs all commands in order.
    ///
    /// # Errors
    /// Wrong numbers or lengths of buffers; nothing is written then.
    pub fn run(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_, f64>]) -> Result<(), Error> {
        check(&self.program, inputs, outputs)?;
        for command in self.program.commands() {
            let read = |view: &View, at: usize| -> f64 {
                match inputs.get(view.slot) {
                    Some(input) => input[view.offset + at],
                    None => self.owned[view.slot][view.offset + at],
                }
            };
            let (out, dims, values) = match command {
                Command::Map(nest) | Command::AddTo(nest) => (&nest.out, nest.dims.clone(), map(nest, read)),
                Command::Reduce { nest, over, fold, scale } => {
                    (&nest.out, nest.dims.clone(), reduce(nest, over, *fold, *scale, read))
                }
                Command::MatMul(product) => {
                    let [_, _, dims] = product.dims();
                    (&product.out, dims, matmul(product, read))
                }
                Command::Gather(lookup) => {
                    let [_, _, dims] = lookup.dims();
                    (&lookup.values, dims, gather(lookup, read))
                }
                Command::ScatterAdd(lookup) => {
                    let [_, dims, _] = lookup.dims();
                    (&lookup.table, dims, scatter(lookup, read))
                }
                Command::First(first) => (&first.out, first.dims(), firsts(first, read)),
            };
            let target = match out.slot.checked_sub(inputs.len()) {
                Some(index) if index < outputs.len() => match &mut outputs[index] {
                    Out::Real(values) | Out::Wide(values) => &mut values[..],
                },
                _ => &mut self.owned[out.slot],
            };
            let accumulate = match command {
                Command::MatMul(product) => product.accumulate,
                command => matches!(command, Command::AddTo(_) | Command::ScatterAdd(_)),
            };
            for (index, value) in values.into_iter().enumerate() {
                let element = &mut target[out.offset + offset(index, &dims, &out.strides)];
                *element = if accumulate { *element + value } else { value };
            }
        }
        Ok(())
    }
}

fn eval(body: &Body, load: impl Fn(usize) -> f64) -> f64 {
    let mut registers: Vec<f64> = Vec::new();
    for instr in &body.0 {
        registers.push(match *instr {
            Instr::Load(input) => load(input),
            Instr::Const(value) => value,
            Instr::Apply(scalar, a) => {
                let mut value = [registers[a]];
                (scalar.f64)(Simd::portable(), &mut value);
                value[0]
            }
            Instr::Add(a, b) => registers[a] + registers[b],
            Instr::Apply2(scalar, a, b) => {
                let mut value = [registers[a]];
                (scalar.f64)(Simd::portable(), &mut value, &[registers[b]]);
                value[0]
            }
            Instr::Mul(a, b) => registers[a] * registers[b],
            Instr::Div(a, b) => registers[a] / registers[b],
            Instr::Compare(how, a, b) => f64::from(how.holds(registers[a], registers[b])),
            Instr::Select(mask, a, b) => registers[if registers[mask] != 0.0 { a } else { b }],
        });
    }
    registers[registers.len() - 1]
}

fn map(nest: &Nest, read: impl Fn(&View, usize) -> f64) -> Vec<f64> {
    (0..nest.dims.iter().product())
        .map(|i| eval(&nest.body, |n| read(&nest.inputs[n], offset(i, &nest.dims, &nest.inputs[n].strides))))
        .collect()
}

fn reduce(nest: &Nest, over: &[usize], fold: Fold, scale: f64, read: impl Fn(&View, usize) -> f64) -> Vec<f64> {
    let all = [nest.dims.as_slice(), over].concat();
    let inner: usize = over.iter().product();
    (0..nest.dims.iter().product::<usize>())
        .map(|i| {
            let values = (0..inner).map(|j| {
                eval(&nest.body, |n| read(&nest.inputs[n], offset(i * inner + j, &all, &nest.inputs[n].strides)))
            });
            scale
                * match fold {
                    Fold::Sum => sum(values),
                    Fold::Max => values.fold(f64::NEG_INFINITY, |a, b| if a > b || a.is_nan() { a } else { b }),
                }
        })
        .collect()
}

fn matmul(product: &Product, read: impl Fn(&View, usize) -> f64) -> Vec<f64> {
    let [a_dims, b_dims, _] = product.dims();
    let size = |dims: &[usize]| dims.iter().product::<usize>();
    let [m, k, n] = [&product.rows, &product.inner, &product.cols].map(|d| size(d));
    let mut values = Vec::new();
    for p in 0..size(&product.batch) {
        for i in 0..m {
            for j in 0..n {
                let (a, b) = (&product.a, &product.b);
                let total = sum((0..k).map(|l| {
                    read(a, offset((p * m + i) * k + l, &a_dims, &a.strides))
                        * read(b, offset((p * k + l) * n + j, &b_dims, &b.strides))
                }));
                values.push(product.scale * total);
            }
        }
    }
    values
}

/// For every element of the values, the row that its index names, and where that lies in the table, if it is there.
fn rows<'l>(
    lookup: &'l Lookup,
    read: impl Fn(&View, usize) -> f64 + 'l,
) -> impl Iterator<Item = (usize, Option<usize>)> + 'l {
    let Lookup { batch, positions, rows, inner, .. } = lookup;
    let [index_dims, ..] = lookup.dims();
    let size = |dims: &[usize]| dims.iter().product::<usize>();
    let (each, len) = (size(positions), size(inner));
    (0..size(batch) * each * len).map(move |i| {
        let (list, lane) = (i / len / each, i % len);
        let index = read(&lookup.index, offset(i / len, &index_dims, &lookup.index.strides));
        (i, row(index, *rows).map(|row| (list * rows + row) * len + lane))
    })
}

fn gather(lookup: &Lookup, read: impl Fn(&View, usize) -> f64) -> Vec<f64> {
    let [_, dims, _] = lookup.dims();
    let value = |at: usize| read(&lookup.table, offset(at, &dims, &lookup.table.strides));
    rows(lookup, &read).map(|(_, at)| at.map_or(0.0, value)).collect()
}

fn scatter(lookup: &Lookup, read: impl Fn(&View, usize) -> f64) -> Vec<f64> {
    let [_, table, dims] = lookup.dims();
    let mut added = vec![Vec::new(); table.iter().product()];
    for (i, at) in rows(lookup, &read) {
        if let Some(at) = at {
            added[at].push(read(&lookup.values, offset(i, &dims, &lookup.values.strides)));
        }
    }
    added.into_iter().map(|values| sum(values.into_iter())).collect()
}

fn firsts(first: &First, read: impl Fn(&View, usize) -> f64) -> Vec<f64> {
    let (dims, each) = (first.dims(), first.positions.iter().product::<usize>());
    let index = |i: usize| row(read(&first.index, offset(i, &dims, &first.index.strides)), u32::MAX as usize);
    let found = |i: usize| (i / each * each..i).find(|&j| index(j) == index(i)).unwrap_or(i) % each;
    (0..dims.iter().product()).map(|i| found(i) as f64).collect()
}

/// Neumaier's compensated sum: what it rounds off does not grow with the number of terms.
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut total, mut lost) = (0.0f64, 0.0);
    for value in values {
        let next = total + value;
        lost += if total.abs() >= value.abs() { (total - next) + value } else { (value - next) + total };
        total = next;
    }
    // Infinities leave NaN in what was lost.
    if total.is_finite() { total + lost } else { total }
}
