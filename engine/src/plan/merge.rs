//! Sums of matrix products: the second is added to where the first lies, so that no command adds them.

use osculate_kernels::{Body, Command, Instr, Nest, Slot, View};

use super::memory::{Range, views};

/// Merges products that only one map reads, and only their sum; a map that only copies one goes, too. Commands keep their order.
pub(super) fn merge(slots: &[Slot], mut commands: Vec<Command>) -> Vec<Command> {
    let mut uses = Uses { writers: vec![Vec::new(); slots.len()], readers: vec![0; slots.len()] };
    for (at, command) in commands.iter_mut().enumerate() {
        let (out, inputs) = views(command);
        uses.writers[out.slot].push(at);
        inputs.iter().for_each(|v| uses.readers[v.slot] += 1);
    }
    let mut kept = vec![true; commands.len()];
    for at in 0..commands.len() {
        let Command::Map(nest) = &commands[at] else { continue };
        let mut nest = nest.clone();
        while let Some((sum, [i, j])) = sum_of_products(&nest, slots, &commands, &uses) {
            let (first, second) = if uses.writers[nest.inputs[i].slot] < uses.writers[nest.inputs[j].slot] {
                (nest.inputs[i].slot, nest.inputs[j].slot)
            } else {
                (nest.inputs[j].slot, nest.inputs[i].slot)
            };
            redirect(&mut commands, &mut uses, second, &View::new(first, 0, &[]), true);
            nest.inputs[i].slot = first;
            nest.inputs.remove(j);
            nest.body = without(&nest.body, sum, j);
        }
        if let ([Instr::Load(0)], [input]) = (&nest.body.0[..], &nest.inputs[..]) {
            let out = &nest.out;
            let (ours, takes) = (
                Range::of(out, &nest.dims),
                matches!(slots[out.slot], Slot::Temp(_) | Slot::Output { wide: false, .. }),
            );
            // Products come before their copy: nothing else may write there.
            let free =
                takes && uses.writers[out.slot].iter().all(|&w| w == at || !Range::written(&commands[w]).meets(&ours));
            // All that the products write is copied, in its order.
            let whole = slots[input.slot].len() == nest.dims.iter().product::<usize>()
                && input.offset == 0
                && input.strides == out.strides
                && ours.len() == slots[input.slot].len();
            if free && whole && are_products(input.slot, slots, &commands, &uses) {
                uses.writers[out.slot].retain(|&w| w != at);
                redirect(&mut commands, &mut uses, input.slot, out, false);
                kept[at] = false;
            }
        }
        commands[at] = Command::Map(nest);
    }
    let mut kept = kept.into_iter();
    commands.retain(|_| kept.next() == Some(true));
    commands
}

/// Which commands write each slot, and how many views read it.
struct Uses {
    writers: Vec<Vec<usize>>,
    readers: Vec<usize>,
}

/// Whether a slot is scratch that a product writes, others add to, and one view reads.
fn are_products(slot: usize, slots: &[Slot], commands: &[Command], uses: &Uses) -> bool {
    let mut adds = uses.writers[slot].iter().map(|&w| match &commands[w] {
        Command::MatMul(product) => Some(product.accumulate),
        _ => None,
    });
    let products = adds.next() == Some(Some(false)) && adds.all(|add| add == Some(true));
    products && matches!(slots[slot], Slot::Temp(_)) && uses.readers[slot] == 1
}

/// An instruction of the nest that adds two products which lie alike, and their inputs.
fn sum_of_products(nest: &Nest, slots: &[Slot], commands: &[Command], uses: &Uses) -> Option<(usize, [usize; 2])> {
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
        let product = |slot: usize| are_products(slot, slots, commands, uses);
        let fits = alike && slots[x.slot].len() == slots[y.slot].len() && product(x.slot) && product(y.slot);
        // The result is the last register, which a load further up would not be.
        let last = at + 1 < code.len() || code.len() == 3;
        (fits && last && once(a, i) && once(b, j)).then_some((at, [i, j]))
    })
}

/// Lets the products that wrote one slot write from an offset of another on, adding to what is there or not.
fn redirect(commands: &mut [Command], uses: &mut Uses, from: usize, to: &View, add: bool) {
    for writer in std::mem::take(&mut uses.writers[from]) {
        if let Command::MatMul(product) = &mut commands[writer] {
            product.out.slot = to.slot;
            product.out.offset += to.offset;
            product.accumulate |= add;
        }
        uses.writers[to.slot].push(writer);
    }
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
