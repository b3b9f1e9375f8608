//! Order: what only results want is computed as soon as it can be, while what it reads is in the caches.
//!
//! Graphs are lowered in the order in which they were traced, where the sums of a step's results come last: everything that they
//! read would be alive until then.

use osculate_kernels::{Command, Slot};

use super::memory::{Range, views};

/// Most commands between a result and one that is moved for it: made vectors, and what folds them.
const STEPS: usize = 2;

/// Moves commands that lead to outputs in few steps to right after what they read; all others keep their order.
pub(super) fn schedule(slots: &[Slot], mut commands: Vec<Command>) -> Vec<Command> {
    let steps = steps_to_outputs(slots, &mut commands);
    // The last command that stays in place and must come before, and those that wrote each slot so far: which range, and after what.
    let mut after = vec![0; commands.len()];
    let mut written: Vec<Vec<(Range, usize)>> = vec![Vec::new(); slots.len()];
    for (at, command) in commands.iter_mut().enumerate() {
        let range = Range::written(command);
        let (out, inputs) = views(command);
        let read = inputs.iter().flat_map(|view| written[view.slot].iter().map(|&(_, after)| after)).max();
        // Results lie apart in a slot, but may be filled before they are added to.
        let over = written[out.slot].iter().filter(|(other, _)| other.meets(&range)).map(|&(_, after)| after).max();
        after[at] = if steps[at] > STEPS { at + 1 } else { read.max(over).unwrap_or(0) };
        written[out.slot].push((range, after[at]));
    }
    let mut order: Vec<usize> = (0..commands.len()).collect();
    // Those that stay come first among those after themselves; the rest are in the order in which they were.
    order.sort_by_key(|&at| (after[at], steps[at] <= STEPS, at));
    let mut commands: Vec<Option<Command>> = commands.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| commands[at].take()).collect()
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
