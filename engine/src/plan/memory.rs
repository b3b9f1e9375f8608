//! Liveness: temporaries that are not alive together share a slot.

use osculate_kernels::{Command, Product, Slot, View};

/// The view a command writes and those it reads.
pub(super) fn views(command: &mut Command) -> (&mut View, Vec<&mut View>) {
    match command {
        Command::Map(nest) | Command::AddTo(nest) | Command::Reduce { nest, .. } => {
            (&mut nest.out, nest.inputs.iter_mut().collect())
        }
        Command::MatMul(Product { a, b, out, .. }) => (out, vec![a, b]),
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
    let mut free: Vec<usize> = Vec::new();
    for (at, command) in commands.iter_mut().enumerate() {
        let (out, inputs) = views(command);
        let mut touched: Vec<usize> = inputs.iter().map(|v| v.slot).chain([out.slot]).collect();
        if placed[out.slot].is_none() {
            let need = slots[out.slot].len();
            let fit = |&(_, &slot): &(usize, &usize)| {
                let len = kept[slot].len();
                if len >= need { (0, len - need) } else { (1, need - len) }
            };
            let taken = free.iter().enumerate().min_by_key(fit).map(|(i, _)| i);
            let slot = match taken {
                Some(i) => free.swap_remove(i),
                None => {
                    kept.push(Slot::Temp(0));
                    kept.len() - 1
                }
            };
            kept[slot] = Slot::Temp(need.max(kept[slot].len()));
            placed[out.slot] = Some(slot);
        }
        touched.sort_unstable();
        touched.dedup();
        free.extend(
            touched.iter().filter(|&&s| matches!(slots[s], Slot::Temp(_)) && last[s] == at).filter_map(|&s| placed[s]),
        );
        for view in inputs.into_iter().chain([out]) {
            view.slot = placed[view.slot].unwrap_or(view.slot);
        }
    }
    (kept, commands)
}

/// The elements of a slot from the first to the last that a view reaches.
#[derive(Clone, Copy)]
pub(super) struct Range {
    from: usize,
    to: usize,
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
        }
    }

    pub fn len(&self) -> usize {
        self.to - self.from + 1
    }

    pub fn meets(&self, other: &Range) -> bool {
        self.from <= other.to && other.from <= self.to
    }
}
