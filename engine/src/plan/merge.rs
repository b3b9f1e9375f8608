//! Sums of matrix products: the second is added to where the first lies, so that no command adds them.

use osculate_kernels::{Body, Command, Instr, Nest, Slot, View};

use super::memory::{Range, views};

/// Merges products that only one map reads, and only their sum; a map that only copies one goes, too. Commands keep their order.
pub(super) fn merge(slots: &[Slot], mut commands: Vec<Command>) -> Vec<Command> {
    let mut groups = Groups::new(slots, &mut commands);
    let alone = alone(slots, &mut commands);
    let mut kept = vec![true; commands.len()];
    for at in 0..commands.len() {
        let Command::Map(nest) = &commands[at] else { continue };
        let mut nest = nest.clone();
        while let Some((sum, [i, j])) = sum_of_products(&nest, slots, &groups) {
            let [x, y] = [nest.inputs[i].slot, nest.inputs[j].slot];
            let (first, second) = if groups.first[x] < groups.first[y] { (x, y) } else { (y, x) };
            // The others of the second add up already.
            if let Command::MatMul(product) = &mut commands[groups.first[second]] {
                product.accumulate = true;
            }
            groups.moved[second] = Some((first, 0));
            nest.inputs[i].slot = first;
            nest.inputs.remove(j);
            nest.body = without(&nest.body, sum, j);
        }
        if let ([Instr::Load(0)], [input]) = (&nest.body.0[..], &nest.inputs[..]) {
            let out = &nest.out;
            let ours = Range::of(out, &nest.dims);
            // Products come before their copy: nothing else may write there.
            let free = alone[at] && matches!(slots[out.slot], Slot::Temp(_) | Slot::Output { wide: false, .. });
            // All that the products write is copied, in its order.
            let whole = slots[input.slot].len() == nest.dims.iter().product::<usize>()
                && input.offset == 0
                && input.strides == out.strides
                && ours.len() == slots[input.slot].len();
            if free && whole && groups.products[input.slot] {
                groups.copied(slots, input.slot, out);
                kept[at] = false;
            }
        }
        commands[at] = Command::Map(nest);
    }
    for command in &mut commands {
        if let Command::MatMul(product) = command {
            let (slot, offset) = groups.place(product.out.slot);
            product.out.slot = slot;
            product.out.offset += offset;
        }
    }
    let mut kept = kept.into_iter();
    commands.retain(|_| kept.next() == Some(true));
    commands
}

/// The commands that write each slot, as far as they are products.
struct Groups {
    /// Whether a slot is scratch that a product writes, only others add to, and one view reads.
    products: Vec<bool>,
    /// The first command that writes it.
    first: Vec<usize>,
    writers: Vec<usize>,
    readers: Vec<usize>,
    /// Where products that wrote a slot write instead: from which element of which other on.
    moved: Vec<Option<(usize, usize)>>,
}

impl Groups {
    fn new(slots: &[Slot], commands: &mut [Command]) -> Groups {
        let n = slots.len();
        let mut groups = Groups {
            products: slots.iter().map(|slot| matches!(slot, Slot::Temp(_))).collect(),
            first: vec![usize::MAX; n],
            writers: vec![0; n],
            readers: vec![0; n],
            moved: vec![None; n],
        };
        for (at, command) in commands.iter_mut().enumerate() {
            let adds = match command {
                Command::MatMul(product) => Some(product.accumulate),
                _ => None,
            };
            let (out, inputs) = views(command);
            groups.products[out.slot] &= adds == Some(groups.writers[out.slot] > 0);
            groups.first[out.slot] = groups.first[out.slot].min(at);
            groups.writers[out.slot] += 1;
            inputs.iter().for_each(|v| groups.readers[v.slot] += 1);
        }
        for slot in 0..n {
            groups.products[slot] &= groups.writers[slot] > 0 && groups.readers[slot] == 1;
        }
        groups
    }

    /// Lets the products of a slot write to where a map copied them.
    fn copied(&mut self, slots: &[Slot], from: usize, to: &View) {
        self.moved[from] = Some((to.slot, to.offset));
        let only = self.writers[to.slot] == 1;
        self.products[to.slot] = only && matches!(slots[to.slot], Slot::Temp(_)) && self.readers[to.slot] == 1;
        self.first[to.slot] = self.first[from].min(self.first[to.slot]);
    }

    /// Where products that wrote a slot write in the end.
    fn place(&mut self, slot: usize) -> (usize, usize) {
        let mut path = Vec::new();
        let mut end = slot;
        while let Some((next, _)) = self.moved[end] {
            path.push(end);
            end = next;
        }
        // The next ones find it in one step.
        let mut offset = 0;
        for slot in path.into_iter().rev() {
            offset += self.moved[slot].map_or(0, |(_, step)| step);
            self.moved[slot] = Some((end, offset));
        }
        (end, offset)
    }
}

/// Whether nothing else writes where each command does.
fn alone(slots: &[Slot], commands: &mut [Command]) -> Vec<bool> {
    let mut written: Vec<Vec<(Range, usize)>> = vec![Vec::new(); slots.len()];
    for (at, command) in commands.iter_mut().enumerate() {
        let range = Range::written(command);
        written[views(command).0.slot].push((range, at));
    }
    let mut alone = vec![true; commands.len()];
    for ranges in &mut written {
        ranges.sort_by_key(|(range, _)| range.from);
        // Of those so far, the one that reaches furthest.
        let mut furthest: Option<(usize, usize)> = None;
        for &(range, at) in ranges.iter() {
            if let Some((to, other)) = furthest
                && range.from <= to
            {
                (alone[at], alone[other]) = (false, false);
            }
            if furthest.is_none_or(|(to, _)| to < range.to) {
                furthest = Some((range.to, at));
            }
        }
    }
    alone
}

/// An instruction of the nest that adds two products which lie alike, and their inputs.
fn sum_of_products(nest: &Nest, slots: &[Slot], groups: &Groups) -> Option<(usize, [usize; 2])> {
    let code = &nest.body.0;
    let input = |register: usize| match code[register] {
        Instr::Load(input) => Some(input),
        _ => None,
    };
    let loads = |input: usize| code.iter().filter(|instr| **instr == Instr::Load(input)).count();
    let reads =
        |register: usize| code.iter().map(|instr| instr.reads().filter(|&r| r == register).count()).sum::<usize>();
    code.iter().enumerate().find_map(|(at, instr)| {
        let Instr::Add(a, b) = *instr else { return None };
        let (i, j) = (input(a)?, input(b)?);
        let (x, y) = (&nest.inputs[i], &nest.inputs[j]);
        let alike = x.slot != y.slot && x.strides == y.strides && x.offset == y.offset;
        let once = |register: usize, input: usize| reads(register) == 1 && loads(input) == 1;
        let fits =
            alike && slots[x.slot].len() == slots[y.slot].len() && groups.products[x.slot] && groups.products[y.slot];
        // The result is the last register, which a load further up would not be.
        let last = at + 1 < code.len() || code.len() == 3;
        (fits && last && once(a, i) && once(b, j)).then_some((at, [i, j]))
    })
}

/// The body in which a sum is its first operand; the input of the second, `gone`, is loaded no more.
fn without(body: &Body, sum: usize, gone: usize) -> Body {
    let mut registers: Vec<usize> = Vec::new();
    let mut code = Vec::new();
    for (at, instr) in body.0.iter().enumerate() {
        match *instr {
            Instr::Load(input) if input == gone => registers.push(usize::MAX), // only the sum reads it
            Instr::Add(a, _) if at == sum => registers.push(registers[a]),
            instr => {
                let kept = |input: usize| input - usize::from(input > gone);
                code.push(instr.renamed(|register| registers[register], kept));
                registers.push(code.len() - 1);
            }
        }
    }
    Body(code)
}
