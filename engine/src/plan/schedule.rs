//! Order: what only results want is computed as soon as it can be, while what it reads is in the caches.
//!
//! Graphs are lowered in the order in which they were traced, where the sums of a step's results come last: everything that they
//! read would be alive until then.

use std::collections::BTreeMap;

use osculate_kernels::{Command, Slot};

use super::memory::{Range, views};

/// Most commands between a result and one that is moved for it: made vectors, and what folds them.
const STEPS: usize = 2;

/// Moves commands that lead to outputs in few steps to right after what they read; all others keep their order.
pub(super) fn schedule(slots: &[Slot], mut commands: Vec<Command>) -> Vec<Command> {
    let mut steps = steps_to_outputs(slots, &mut commands);
    let filled = filled_for_the_next(&mut commands);
    // The last command that stays in place and must come before; of those that wrote each slot so far, the latest, and by range.
    let mut after = vec![0; commands.len()];
    let mut latest: Vec<Option<usize>> = vec![None; slots.len()];
    let mut written: Vec<Written> = vec![Written::default(); slots.len()];
    let mut fill: Option<Range> = None;
    for (at, command) in commands.iter_mut().enumerate() {
        let range = Range::written(command);
        if filled[at] {
            fill = Some(range);
            continue;
        }
        let range = fill.take().map_or(range, |fill| fill.with(&range));
        let (out, inputs) = views(command);
        let read = inputs.iter().filter_map(|view| latest[view.slot]).max();
        // Results lie apart in a slot, but may be filled before they are added to.
        let over = written[out.slot].join(&range);
        let last = if steps[at] > STEPS { at + 1 } else { read.max(over).unwrap_or(0) };
        after[at] = last;
        if at > 0 && filled[at - 1] {
            (after[at - 1], steps[at - 1]) = (last, steps[at]);
        }
        latest[out.slot] = latest[out.slot].max(Some(last));
        written[out.slot].insert(range, last);
    }
    let mut order: Vec<usize> = (0..commands.len()).collect();
    // Those that stay come first among those after themselves; the rest are in the order in which they were.
    order.sort_by_key(|&at| (after[at], steps[at] <= STEPS, at));
    let mut commands: Vec<Option<Command>> = commands.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| commands[at].take()).collect()
}

/// Marks each command that only fills an array which the very next command adds to. The two are moved together: a fill reads nothing, so
/// alone it would be moved to the very start, and its array would hold memory from there on.
fn filled_for_the_next(commands: &mut [Command]) -> Vec<bool> {
    let touched: Vec<(usize, bool)> = commands
        .iter_mut()
        .map(|command| {
            let (out, inputs) = views(command);
            (out.slot, inputs.is_empty())
        })
        .collect();
    let next =
        |at: usize| touched.get(at + 1).is_some_and(|(slot, reads_nothing)| *slot == touched[at].0 && !reads_nothing);
    (0..touched.len()).map(|at| touched[at].1 && next(at)).collect()
}

/// What was written of a slot, and after which commands at the latest: ranges that lie apart, by where they begin.
#[derive(Clone, Default)]
struct Written(BTreeMap<usize, (Range, usize)>);

impl Written {
    /// Makes one of all that meet a range, if any do, and tells after what they were written.
    fn join(&mut self, range: &Range) -> Option<usize> {
        let mut joined: Option<(Range, usize)> = None;
        while let Some((&from, &(other, after))) = self.0.range(..=range.to).next_back()
            && other.meets(range)
        {
            self.0.remove(&from);
            joined = Some(joined.map_or((other, after), |(all, latest)| (all.with(&other), latest.max(after))));
        }
        let (all, latest) = joined?;
        self.0.insert(all.from, (all, latest));
        Some(latest)
    }

    /// Adds a range; those that it meets are one already.
    fn insert(&mut self, range: Range, after: usize) {
        let (all, latest) = match self.0.range(..=range.to).next_back() {
            Some((&from, &(other, latest))) if other.meets(&range) => {
                self.0.remove(&from);
                (other.with(&range), latest.max(after))
            }
            _ => (range, after),
        };
        self.0.insert(all.from, (all, latest));
    }
}

/// How many commands lie between each and an output, at most; 0 writes one.
fn steps_to_outputs(slots: &[Slot], commands: &mut [Command]) -> Vec<usize> {
    let mut steps = vec![0; commands.len()];
    // Of the readers of each slot.
    let mut most: Vec<Option<usize>> = vec![None; slots.len()];
    for (at, command) in commands.iter_mut().enumerate().rev() {
        let (out, inputs) = views(command);
        steps[at] = match slots[out.slot] {
            Slot::Output { .. } => 0,
            _ => most[out.slot].map_or(0, |most| most + 1),
        };
        inputs.iter().for_each(|view| most[view.slot] = most[view.slot].max(Some(steps[at])));
    }
    steps
}
