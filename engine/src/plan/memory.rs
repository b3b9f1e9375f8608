//! Liveness: temporaries that are not alive together share a slot.

use std::collections::BTreeMap;

use osculate_kernels::{Command, First, Lookup, Product, Slot, View};

/// The view a command writes and those it reads.
pub(super) fn views(command: &mut Command) -> (&mut View, Vec<&mut View>) {
    match command {
        Command::Map(nest) | Command::AddTo(nest) | Command::Reduce { nest, .. } => {
            (&mut nest.out, nest.inputs.iter_mut().collect())
        }
        Command::MatMul(Product { a, b, out, .. }) => (out, vec![a, b]),
        Command::Gather(Lookup { index, table, values, .. }) => (values, vec![index, table]),
        Command::ScatterAdd(Lookup { index, table, values, .. }) => (table, vec![index, values]),
        Command::First(First { index, out, .. }) => (out, vec![index]),
    }
}

/// Renames temporaries so that one slot serves several, one after the other; the best-fitting free slot is taken, or grown.
pub(super) fn reuse(slots: Vec<Slot>, mut commands: Vec<Command>) -> (Vec<Slot>, Vec<Command>) {
    let mut last = vec![0; slots.len()];
    for (at, command) in commands.iter_mut().enumerate() {
        let (out, inputs) = views(command);
        inputs.iter().map(|v| v.slot).chain([out.slot]).for_each(|slot| last[slot] = at);
    }
    let mut placed: Vec<Option<usize>> = vec![None; slots.len()];
    let mut kept: Vec<Slot> = Vec::new();
    for (slot, kind) in slots.iter().enumerate().filter(|(_, s)| !matches!(s, Slot::Temp(_))) {
        placed[slot] = Some(kept.len());
        kept.push(kind.clone());
    }
    // By length; of several, the one that was freed last is still in the caches.
    let mut free: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, command) in commands.iter_mut().enumerate() {
        let (out, inputs) = views(command);
        let mut touched: Vec<usize> = inputs.iter().map(|v| v.slot).chain([out.slot]).collect();
        if placed[out.slot].is_none() {
            let need = slots[out.slot].len();
            let slot = take_fitting(&mut free, need).unwrap_or_else(|| {
                kept.push(Slot::Temp(0));
                kept.len() - 1
            });
            kept[slot] = Slot::Temp(need.max(kept[slot].len()));
            placed[out.slot] = Some(slot);
        }
        touched.sort_unstable();
        touched.dedup();
        let gone = touched.iter().filter(|&&s| matches!(slots[s], Slot::Temp(_)) && last[s] == at);
        gone.filter_map(|&s| placed[s]).for_each(|slot| free.entry(kept[slot].len()).or_default().push(slot));
        for view in inputs.into_iter().chain([out]) {
            view.slot = placed[view.slot].unwrap_or(view.slot);
        }
    }
    (kept, commands)
}

/// Of the free slots the shortest that is long enough, else the longest.
fn take_fitting(free: &mut BTreeMap<usize, Vec<usize>>, need: usize) -> Option<usize> {
    let len = *free.range(need..).next().or_else(|| free.iter().next_back())?.0;
    let of_length = free.get_mut(&len)?;
    let slot = of_length.pop();
    if of_length.is_empty() {
        free.remove(&len);
    }
    slot
}

/// The elements of a slot from the first to the last that a view reaches.
#[derive(Clone, Copy)]
pub(super) struct Range {
    pub from: usize,
    pub to: usize,
}

impl Range {
    pub fn of(view: &View, dims: &[usize]) -> Range {
        let reach: usize = view.strides.iter().zip(dims).map(|(s, d)| s * d.saturating_sub(1)).sum();
        Range { from: view.offset, to: view.offset + reach }
    }

    /// Those that a command writes.
    pub fn written(command: &Command) -> Range {
        match command {
            Command::Map(nest) | Command::AddTo(nest) | Command::Reduce { nest, .. } => {
                Range::of(&nest.out, &nest.dims)
            }
            Command::MatMul(p) => Range::of(&p.out, &[&p.batch[..], &p.rows, &p.cols].concat()),
            Command::Gather(l) => Range::of(&l.values, &[&l.batch[..], &l.positions, &l.inner].concat()),
            Command::ScatterAdd(l) => Range::of(&l.table, &[&l.batch[..], &[l.rows], &l.inner].concat()),
            Command::First(first) => Range::of(&first.out, &[&first.batch[..], &first.positions].concat()),
        }
    }

    pub fn len(&self) -> usize {
        self.to - self.from + 1
    }

    /// The elements from the first of both to the last.
    pub fn with(&self, other: &Range) -> Range {
        Range { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    pub fn meets(&self, other: &Range) -> bool {
        self.from <= other.to && other.from <= self.to
    }
}
