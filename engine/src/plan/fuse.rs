//! Fusion: an elementwise command moves into the only command that reads it.
//!
//! A temporary that one map writes and one map or reduction reads is never stored: the reader computes it in its own body. So do
//! several readers of one, where that costs less than storing and reading it. A reader's loops are matched with the writer's,
//! splitting loops where a reshape lies between them; a reader that would compute an element more than once is left alone.

use osculate_kernels::{Body, Command, Instr, Nest, Slot, View};

use super::memory::views;

/// Longest body that fusion makes.
const LONGEST: usize = 20;

/// Moves every map it can into its reader, and copies cheap ones into all of theirs; commands keep their order.
pub(super) fn fuse(slots: &[Slot], mut commands: Vec<Command>) -> Vec<Command> {
    let mut writers = vec![0; slots.len()];
    let mut cx = Fusion { kept: Vec::new(), written: vec![None; slots.len()], readers: vec![0; slots.len()] };
    // What products and lookups read must be stored anyway.
    let mut whole = vec![false; slots.len()];
    for command in &mut commands {
        let stored = !matches!(command, Command::Map(_) | Command::AddTo(_) | Command::Reduce { .. });
        let (out, inputs) = views(command);
        writers[out.slot] += 1;
        for view in inputs {
            cx.readers[view.slot] += 1;
            whole[view.slot] |= stored;
        }
    }
    for mut command in commands {
        match &mut command {
            Command::Map(nest) | Command::AddTo(nest) => cx.take_in(nest, &mut Vec::new()),
            Command::Reduce { nest, over, .. } => cx.take_in(nest, over),
            _ => {}
        }
        if let Command::Map(nest) = &command {
            let slot = nest.out.slot;
            let alone = matches!(slots[slot], Slot::Temp(_)) && writers[slot] == 1;
            let readers = cx.readers[slot];
            if alone
                && (readers == 1 || !whole[slot] && computing(nest, slots, readers) < storing(nest, slots, readers))
            {
                cx.written[slot] = Some(cx.kept.len());
            }
        }
        cx.kept.push(Some(command));
    }
    cx.kept.into_iter().flatten().collect()
}

/// Cost of an element of a map that each of several readers computes, in those of reading one from memory.
fn computing(nest: &Nest, slots: &[Slot], readers: usize) -> f64 {
    readers as f64 * (read(nest, slots) + work(nest))
}

/// The same of one that is computed once, stored, and read.
fn storing(nest: &Nest, slots: &[Slot], readers: usize) -> f64 {
    const WRITE: f64 = 1.5;
    read(nest, slots) + work(nest) + WRITE + readers as f64
}

/// Elements read for one of a map: what is broadcast stays in the caches.
fn read(nest: &Nest, slots: &[Slot]) -> f64 {
    let count: usize = nest.dims.iter().product();
    nest.inputs.iter().map(|v| (slots[v.slot].len() as f64 / count.max(1) as f64).min(1.0)).sum()
}

/// What the instructions cost.
fn work(nest: &Nest) -> f64 {
    let each = |instr: &Instr| match instr {
        Instr::Load(_) | Instr::Const(_) => 0.0,
        Instr::Apply(..) | Instr::Apply2(..) | Instr::Div(..) => 1.0,
        _ => 0.2,
    };
    nest.body.0.iter().map(each).sum()
}

/// Commands so far, and what of them could still move.
struct Fusion {
    kept: Vec<Option<Command>>,
    /// Where each temporary that could move is written.
    written: Vec<Option<usize>>,
    /// Views that read each slot.
    readers: Vec<usize>,
}

impl Fusion {
    /// Takes writers into a reader as long as one fits.
    fn take_in(&mut self, nest: &mut Nest, over: &mut Vec<usize>) {
        let mut input = 0;
        while input < nest.inputs.len() {
            let slot = nest.inputs[input].slot;
            let writer = self.written[slot].and_then(|at| match &self.kept[at] {
                Some(Command::Map(inner)) => Some((at, inner)),
                _ => None,
            });
            let fused = writer.and_then(|(at, inner)| Some((at, joined(nest, over, input, inner)?)));
            let Some((at, (outer, folded))) = fused else {
                input += 1;
                continue;
            };
            (*nest, *over) = (outer, folded);
            self.readers[slot] -= 1;
            if self.readers[slot] == 0 {
                self.kept[at] = None;
            } else if let Some(Command::Map(inner)) = &self.kept[at] {
                // A copy reads what it reads once more.
                inner.inputs.iter().for_each(|v| self.readers[v.slot] += 1);
            }
        }
    }
}

/// The reader with one of its inputs computed in place, if their loops match.
fn joined(outer: &Nest, over: &[usize], input: usize, inner: &Nest) -> Option<(Nest, Vec<usize>)> {
    if outer.body.0.len() + inner.body.0.len() > LONGEST {
        return None;
    }
    let mut loops = Loops {
        dims: [&outer.dims[..], over].concat(),
        kept: outer.dims.len(),
        views: outer.inputs.clone(),
        out: outer.out.clone(),
    };
    loops.split_like(input, inner);
    let read = &loops.views[input];
    // Each of the reader's loops steps through one of the writer's.
    let mut steps: Vec<(usize, usize)> = Vec::new();
    let mut room: Vec<usize> = inner.dims.iter().map(|d| d - 1).collect();
    let mut rest = read.offset.checked_sub(inner.out.offset)?;
    let mut start = vec![0; inner.dims.len()];
    // The longest steps first, in whatever order the writer's axes lie.
    let mut axes: Vec<usize> = (0..inner.dims.len()).collect();
    axes.sort_by_key(|&axis| std::cmp::Reverse(inner.out.strides[axis]));
    for axis in axes {
        let stride = inner.out.strides[axis];
        if inner.dims[axis] > 1 {
            start[axis] = rest / stride;
            rest %= stride;
            room[axis] = room[axis].checked_sub(start[axis])?;
        }
    }
    if rest != 0 {
        return None;
    }
    for (&extent, &stride) in loops.dims.iter().zip(&read.strides) {
        if extent == 1 {
            steps.push((0, 0));
            continue;
        }
        let axis = axis_of(inner, stride)?;
        let step = stride / inner.out.strides[axis];
        room[axis] = room[axis].checked_sub(step * (extent - 1))?;
        steps.push((axis, step));
    }
    let moved: Vec<View> = (inner.inputs.iter())
        .map(|v| View {
            slot: v.slot,
            offset: v.offset + start.iter().zip(&v.strides).map(|(i, s)| i * s).sum::<usize>(),
            strides: steps.iter().map(|&(axis, step)| if step == 0 { 0 } else { step * v.strides[axis] }).collect(),
        })
        .collect();
    let (body, inputs) = composed(&outer.body, loops.views, input, &inner.body, moved);
    let (dims, over) = loops.dims.split_at(loops.kept);
    Some((Nest { dims: dims.to_vec(), body, inputs, out: loops.out }, over.to_vec()))
}

/// The writer's loop that a step of the reader lies within.
fn axis_of(inner: &Nest, stride: usize) -> Option<usize> {
    (0..inner.dims.len()).find(|&axis| {
        let step = inner.out.strides[axis];
        inner.dims[axis] > 1 && stride >= step && stride < step * inner.dims[axis] && stride.is_multiple_of(step)
    })
}

/// The reader's loops, to be split.
struct Loops {
    dims: Vec<usize>,
    kept: usize,
    views: Vec<View>,
    out: View,
}

impl Loops {
    /// Splits loops that run through more than one of the writer's.
    fn split_like(&mut self, input: usize, inner: &Nest) {
        let mut at = 0;
        while at < self.dims.len() {
            let (extent, stride) = (self.dims[at], self.views[input].strides[at]);
            let within = axis_of(inner, stride).map(|axis| {
                let step = stride / inner.out.strides[axis];
                (inner.dims[axis], step)
            });
            match within {
                // The inner part steps to the end of the writer's loop, the outer part over it.
                Some((size, step))
                    if extent > 1 && step * (extent - 1) >= size && size % step == 0 && extent % (size / step) == 0 =>
                {
                    let part = size / step;
                    self.dims[at] = extent / part;
                    self.dims.insert(at + 1, part);
                    let split = |strides: &mut Vec<usize>| {
                        strides.insert(at + 1, strides[at]);
                        strides[at] *= part;
                    };
                    self.views.iter_mut().for_each(|v| split(&mut v.strides));
                    if at < self.kept {
                        split(&mut self.out.strides);
                        self.kept += 1;
                    }
                    // The outer part may run through more still.
                }
                _ => at += 1,
            }
        }
    }
}

/// One body: the inner's instructions, then the outer's with the inner's result for the input.
fn composed(outer: &Body, views: Vec<View>, input: usize, inner: &Body, moved: Vec<View>) -> (Body, Vec<View>) {
    let mut inputs: Vec<View> = moved;
    let mut place = |view: &View| {
        inputs.iter().position(|v| v == view).unwrap_or_else(|| {
            inputs.push(view.clone());
            inputs.len() - 1
        })
    };
    let places: Vec<usize> =
        views.iter().enumerate().map(|(at, view)| if at == input { 0 } else { place(view) }).collect();
    let mut code = inner.0.clone();
    let result = code.len() - 1;
    let mut registers: Vec<usize> = Vec::new();
    for instr in &outer.0 {
        if *instr == Instr::Load(input) {
            registers.push(result);
            continue;
        }
        code.push(instr.renamed(|register| registers[register], |input| places[input]));
        registers.push(code.len() - 1);
    }
    (Body(code), inputs)
}
