//! A body evaluated over a block of lanes: inputs are read where they lie or copied side by side, then the machine runs.

use std::ops::Range;

use super::Source;
use super::code::{ARGS, Arg, Code, Function};
use super::machine::{LOCAL, Lanes};
use super::pack::copy;
use super::simd::Simd;
use super::walk::{Patch, Path};
use crate::Real;
use crate::program::VIEWS;

/// Elements worked on at once: enough to be worth the walk, few enough for a body's blocks to stay in the first cache.
pub(super) const BLOCK: usize = 1024;

/// Lanes of the loops' steps: blocks are computed in whole ones, so that no loop has a remainder.
pub(super) const STEP: usize = 16;

/// Room for what a body works on.
#[derive(Debug, Clone)]
pub(super) struct Registers<O> {
    simd: Simd,
    /// Of the inputs, of what is stored on the way for functions, and of a result.
    blocks: Vec<Block<O>>,
    /// Of what is stored on the way for the same tile.
    locals: Vec<Local<O>>,
    /// Numbers that are the same in every lane: inputs, then constants.
    same: Vec<Same<O>>,
    /// Where a body finds both.
    args: Box<[Lanes<O>; ARGS]>,
    /// What the blocks of inputs hold whose rows are all alike.
    held: [Held; VIEWS],
    /// Sums of a block, in the type of the result and in f64; whoever takes them puts them back.
    pub sums: (Vec<O>, Vec<f64>),
}

/// Rows that a block holds, and where they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    from: usize,
    rows: usize,
}

impl Held {
    const NONE: Held = Held { from: 0, rows: 0 };
}

/// The lanes of an argument, in whole cache lines.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Block<O>(pub [O; BLOCK]);

/// Those that a tile keeps, packed: where blocks lie they would all claim the same few lines of the first cache.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Local<O>(pub [O; LOCAL]);

/// As many lanes as a vector has at most.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Same<O>(pub [O; STEP]);

/// Where the lanes of an input lie.
#[derive(Clone, Copy)]
struct Strided<'d, T> {
    /// From the first lane on.
    data: &'d [T],
    /// Where that is in its slot.
    from: usize,
    /// From one row to the next.
    row: usize,
    lane: usize,
    /// Offsets of all lanes, if they are not evenly spaced; else empty.
    table: &'d [u32],
}

/// What a body's inputs are: paths, and where each starts, in two parts that are added.
#[derive(Clone, Copy)]
pub(super) struct Reads<'d, T> {
    pub source: Source<'d, T>,
    pub paths: &'d [Path],
    pub from: &'d [usize],
    pub along: &'d [usize],
}

impl<'d, T: Real> Reads<'d, T> {
    #[inline(always)]
    fn lanes(self, input: usize, patch: Patch) -> Strided<'d, T> {
        let path = &self.paths[input];
        let from = self.from[input] + self.along[input];
        let data = &self.source.slot(path.slot)[from..];
        let len = if path.row == 0 { patch.lanes } else { patch.len() };
        let table = if path.table.is_empty() { &[] } else { &path.table[patch.first..patch.first + len] };
        Strided { data, from, row: path.row, lane: path.lane, table }
    }
}

impl<O: Real> Registers<O> {
    /// For any of some bodies.
    pub fn new<'c>(simd: Simd, bodies: impl Iterator<Item = &'c Code>) -> Registers<O> {
        let (mut blocks, mut locals, mut same) = (0, 0, 0);
        for code in bodies {
            let [local, whole] = code.kept();
            blocks = blocks.max(code.inputs.len() + whole + 1);
            locals = locals.max(local);
            same = same.max(code.inputs.len() + code.constants.len());
        }
        Registers {
            simd,
            blocks: vec![Block([O::zero(); BLOCK]); blocks],
            locals: vec![Local([O::zero(); LOCAL]); locals],
            same: vec![Same([O::zero(); STEP]); same],
            args: Box::new([Lanes::NONE; ARGS]),
            held: [Held::NONE; VIEWS],
            sums: (vec![O::zero(); BLOCK.min(blocks * BLOCK)], vec![0.0; BLOCK.min(blocks * BLOCK)]),
        }
    }

    /// To be called before a nest is walked: what is held, and where, is another's.
    #[inline(always)]
    pub fn begin(&mut self, code: &Code) {
        self.held = [Held::NONE; VIEWS];
        let (inputs, blocks, same) = (code.inputs.len(), self.blocks.as_mut_ptr(), self.same.as_mut_ptr());
        let args = &mut self.args[1 + inputs..];
        for (at, (arg, &value)) in (inputs..).zip(args.iter_mut().zip(&code.constants)) {
            self.same[at].0 = [O::from_f64(value); STEP];
            *arg = Lanes::same(same.wrapping_add(at).cast());
        }
        let (args, [local, whole]) = (&mut args[code.constants.len()..], code.kept());
        let locals = self.locals.as_mut_ptr();
        for (at, arg) in (0..local).zip(args.iter_mut()) {
            *arg = Lanes::local(locals.wrapping_add(at).cast());
        }
        for (at, arg) in (inputs..inputs + whole).zip(args) {
            *arg = Lanes::vector(blocks.wrapping_add(at).cast());
        }
    }

    pub fn bytes(&self) -> usize {
        let sums = size_of_val(&self.sums.0[..]) + size_of_val(&self.sums.1[..]);
        let kept = size_of_val(&self.locals[..]) + size_of_val(&self.same[..]);
        size_of_val(&self.blocks[..]) + kept + size_of_val(&*self.args) + sums
    }

    /// Runs the body over a patch; lanes of the result beyond the patch mean nothing.
    #[inline(always)]
    pub fn eval<'r, T: Real>(&'r mut self, code: &Code, patch: Patch, reads: Reads<'r, T>) -> &'r [O] {
        let spare = self.blocks.len() - 1;
        let whole = patch.len().next_multiple_of(STEP);
        let Some(input) = code.copied else {
            self.run(code, patch, reads, &mut []);
            return &self.blocks[spare].0[..whole];
        };
        let to = &mut self.blocks[spare].0[..whole];
        match reads.lanes(input, patch).into(self.simd, patch, to) {
            Made::Written => to,
            Made::Elsewhere(Value::Block(block)) => block,
            Made::Elsewhere(Value::Same(value)) => {
                to.fill(value);
                to
            }
        }
    }

    /// The same, straight to where it is wanted.
    #[inline(always)]
    pub fn eval_into<T: Real>(&mut self, code: &Code, patch: Patch, reads: Reads<'_, T>, to: &mut [O]) {
        let Some(input) = code.copied else {
            return self.run(code, patch, reads, to);
        };
        match reads.lanes(input, patch).into(self.simd, patch, to) {
            Made::Written => {}
            Made::Elsewhere(Value::Block(block)) => copy(to, block),
            Made::Elsewhere(Value::Same(value)) => to.fill(value),
        }
    }

    /// All instructions over a patch, the result to `to`, which holds all lanes or none; without it, to the last block.
    #[inline(always)]
    #[allow(unsafe_code)]
    fn run<T: Real>(&mut self, code: &Code, patch: Patch, reads: Reads<'_, T>, to: &mut [O]) {
        let whole = patch.len().next_multiple_of(STEP);
        let (blocks, same) = (self.blocks.as_mut_ptr(), self.same.as_mut_ptr());
        let last = blocks.wrapping_add(self.blocks.len() - 1).cast::<O>();
        for (at, (&input, arg)) in code.inputs.iter().zip(&mut self.args[1..]).enumerate() {
            // SAFETY: there is a block and a number for each input of every body that `new` was told of; nothing else refers to them.
            let (block, same) = unsafe { (&mut (*blocks.add(at)).0, &mut (*same.add(at)).0) };
            *arg = match loaded(self.simd, reads.lanes(input, patch), patch, &mut self.held[at], block) {
                Value::Block(lanes) => Lanes::vector(lanes.as_ptr().cast_mut()),
                Value::Same(value) => {
                    *same = [value; STEP];
                    Lanes::same(same.as_mut_ptr())
                }
            };
        }
        // Whole steps go where they are wanted, what is left through a block.
        let steps = if to.len() == whole { whole } else { to.len() / STEP * STEP };
        for (range, at) in [(0..steps, to.as_mut_ptr()), (steps..whole, last)] {
            if !range.is_empty() {
                self.args[0] = Lanes::vector(at);
                // SAFETY: inputs were sliced to whole steps, blocks are longer, and so is `to` in the range for which it is taken. What
                // is stored to are blocks and locals that nothing else refers to, and `to`. The first range begins at 0; so does the
                // second if `to` holds nothing, else it is the one step that is left.
                unsafe { stretches(self.simd, code, &self.args, range, patch.len()) };
            }
        }
        if !to.is_empty() && steps < whole {
            copy(&mut to[steps..], &self.blocks[self.blocks.len() - 1].0[steps..whole]);
        }
    }
}

/// All instructions and functions over a range of lanes; functions only of lanes before `len`, since some are slow.
///
/// # Safety
/// That of [`Real::steps`], of all instructions; functions are applied to what is stored.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) unsafe fn stretches<O: Real>(
    simd: Simd,
    code: &Code,
    args: &[Lanes<O>; ARGS],
    range: Range<usize>,
    len: usize,
) {
    for (ops, apply) in code.stretches() {
        // SAFETY: the caller's contract.
        unsafe { O::steps(simd, ops, args, range.clone()) };
        if let Some(apply) = apply {
            let at = |arg: Arg| args[usize::from(arg)].at.wrapping_add(range.start);
            let count = range.end.min(len) - range.start;
            // SAFETY: lanes that were just stored to.
            let lanes = unsafe { std::slice::from_raw_parts_mut(at(apply.to), count) };
            match apply.function {
                Function::One(scalar) => O::apply(scalar, simd, lanes),
                Function::Two(scalar, other) => {
                    // SAFETY: other lanes that were stored to, in a block of their own.
                    let others = unsafe { std::slice::from_raw_parts(at(other), count) };
                    O::apply2(scalar, simd, lanes, others);
                }
            }
        }
    }
}

/// What reading came to.
enum Made<'r, O> {
    /// It is where it was to go.
    Written,
    Elsewhere(Value<'r, O>),
}

/// The lanes of an input.
#[derive(Clone, Copy)]
enum Value<'r, O> {
    Block(&'r [O]),
    /// The same number in every lane.
    Same(O),
}

/// The lanes of an input, as they lie if they can be read so, else copied; rows that are all alike are copied once as long as they are
/// the same.
#[inline(always)]
fn loaded<'r, T: Real, O: Real>(
    simd: Simd,
    lanes: Strided<'r, T>,
    patch: Patch,
    held: &mut Held,
    block: &'r mut [O; BLOCK],
) -> Value<'r, O> {
    let whole = patch.len().next_multiple_of(STEP);
    let alike = lanes.row == 0 && patch.rows > 1;
    if alike && held.from == lanes.from && held.rows >= patch.rows {
        return Value::Block(&block[..whole]);
    }
    match lanes.into(simd, patch, block) {
        Made::Written => {
            *held = if alike { Held { from: lanes.from, rows: patch.rows } } else { Held::NONE };
            Value::Block(&block[..whole])
        }
        Made::Elsewhere(value) => value,
    }
}

impl<'d, T: Real> Strided<'d, T> {
    /// Copies them, unless they are one number or lie side by side.
    #[inline(always)]
    fn into<O: Real>(self, simd: Simd, patch: Patch, to: &mut [O]) -> Made<'d, O> {
        if self.row != 0 || patch.rows == 1 || (self.lane == 0 && self.table.is_empty()) {
            return self.rows(simd, patch, to);
        }
        // One row, over and over.
        match self.rows(simd, Patch { rows: 1, ..patch }, to) {
            Made::Elsewhere(Value::Block(row)) => copy(&mut to[..patch.lanes], row),
            Made::Elsewhere(Value::Same(value)) => to[..patch.lanes].fill(value),
            Made::Written => {}
        }
        let (row, rest) = to[..patch.len()].split_at_mut(patch.lanes);
        for next in rest.chunks_exact_mut(patch.lanes) {
            copy(next, row);
        }
        Made::Written
    }

    /// The same of rows that need not be alike.
    #[inline(always)]
    fn rows<O: Real>(self, simd: Simd, patch: Patch, to: &mut [O]) -> Made<'d, O> {
        let (lanes, len) = (self, patch.len());
        if !lanes.table.is_empty() {
            listed(simd, lanes.data, lanes.table, to);
            return Made::Written;
        }
        if lanes.lane == 0 && (lanes.row == 0 || patch.rows == 1) {
            return Made::Elsewhere(Value::Same(O::from_f64(lanes.data[0].to_f64())));
        }
        let joined = patch.rows == 1 || lanes.row == patch.lanes * lanes.lane;
        // Whole steps, if there are as many elements: lanes beyond the patch mean nothing.
        let whole = lanes.data.get(..len.next_multiple_of(STEP)).and_then(T::same::<O>);
        if let (1, true, Some(whole)) = (lanes.lane, joined, whole) {
            return Made::Elsewhere(Value::Block(whole));
        }
        let (rows, width) = if joined { (1, len) } else { (patch.rows, patch.lanes) };
        for row in 0..rows {
            gather(simd, &lanes.data[row * lanes.row..], lanes.lane, width, &mut to[row * width..]);
        }
        Made::Written
    }
}

/// Copies lanes from wherever the table says.
#[inline(always)]
fn listed<T: Real, O: Real>(simd: Simd, data: &[T], table: &[u32], to: &mut [O]) {
    match T::same::<O>(data) {
        Some(data) => O::listed(simd, data, table, to),
        None => {
            for (to, &from) in to.iter_mut().zip(table) {
                *to = O::from_f64(data[from as usize].to_f64());
            }
        }
    }
}

/// Copies a row of lanes, in the type of the output: what is wanted in f64 is computed in f64. Whole steps are written where there
/// is room, since what comes after is written later.
#[inline(always)]
fn gather<T: Real, O: Real>(simd: Simd, data: &[T], step: usize, len: usize, to: &mut [O]) {
    match (step, T::same::<O>(data)) {
        (0, _) => to[..len].fill(O::from_f64(data[0].to_f64())),
        (1, Some(data)) => {
            let ((whole, rest), (to_whole, to_rest)) = (data[..len].as_chunks::<STEP>(), to.as_chunks_mut::<STEP>());
            for (to, from) in to_whole.iter_mut().zip(whole) {
                *to = *from;
            }
            if rest.is_empty() {
                return;
            }
            match (data[len - rest.len()..].first_chunk::<STEP>(), to_whole.get_mut(whole.len())) {
                (Some(from), Some(to)) => *to = *from,
                (None, Some(to)) => copy(&mut to[..rest.len()], rest),
                (_, None) => copy(&mut to_rest[..rest.len()], rest),
            }
        }
        (1, None) => {
            for (to, &v) in to[..len].iter_mut().zip(data) {
                *to = O::from_f64(v.to_f64());
            }
        }
        (2, Some(data)) => {
            for at in (0..len).step_by(STEP) {
                match (data[2 * at..].first_chunk::<{ 2 * STEP }>(), to[at..].first_chunk_mut::<STEP>()) {
                    (Some(data), Some(to)) => O::evens(simd, data, to),
                    _ => {
                        for lane in at..len.min(at + STEP) {
                            to[lane] = data[2 * lane];
                        }
                    }
                }
            }
        }
        _ => {
            for (to, &v) in to[..len].iter_mut().zip(data.iter().step_by(step)) {
                *to = O::from_f64(v.to_f64());
            }
        }
    }
}
