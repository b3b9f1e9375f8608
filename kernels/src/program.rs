//! The seam to hardware: commands on slots.

use crate::{Body, Error, First, Instr, Lookup};

/// Most loops of a nest.
pub(crate) const LOOPS: usize = 40;

/// Most views of a nest: its inputs and its output.
pub(crate) const VIEWS: usize = 24;

/// A strided window on a slot, in elements; one stride a loop of the command, so a stride of 0 repeats an element.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// Which slot.
    pub slot: usize,
    /// First element.
    pub offset: usize,
    /// Step of every loop of the command, outermost first.
    pub strides: Vec<usize>,
}

impl View {
    /// A view of `slot` from `offset`.
    pub fn new(slot: usize, offset: usize, strides: &[usize]) -> View {
        View { slot, offset, strides: strides.to_vec() }
    }

    /// Whether loops of these extents might reach an element twice: sorted by stride, each must step over all that the smaller
    /// ones reach.
    pub(crate) fn overlaps(&self, dims: &[usize]) -> bool {
        let mut loops: Vec<(usize, usize)> =
            self.strides.iter().copied().zip(dims.iter().copied()).filter(|&(_, d)| d > 1).collect();
        loops.sort_unstable();
        let mut reach = 0;
        loops.into_iter().any(|(stride, extent)| {
            let meets = stride <= reach;
            reach += stride * (extent - 1);
            meets
        })
    }

    /// One past the last element that loops of these extents reach, if it can be counted.
    fn end(&self, dims: &[usize]) -> Option<usize> {
        let start = self.offset.checked_add(1)?;
        self.strides
            .iter()
            .zip(dims)
            .try_fold(start, |end, (s, d)| end.checked_add(s.checked_mul(d.saturating_sub(1))?))
    }
}

/// A loop nest with a body: `out[i] = body(inputs[i])` over all indices `i` within `dims`.
#[derive(Debug, Clone, PartialEq)]
pub struct Nest {
    /// Extents of the loops, outermost first; none may be 0.
    pub dims: Vec<usize>,
    /// What is done to one element.
    pub body: Body,
    /// What the body loads.
    pub inputs: Vec<View>,
    /// Where the result goes; distinct indices must reach distinct elements.
    pub out: View,
}

/// How a [`Command::Reduce`] joins elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    /// Sum: in the type of the buffers within blocks of 1024 elements, in f64 across them, in a fixed order.
    Sum,
    /// Maximum; a NaN anywhere gives NaN.
    Max,
}

/// One step of a program.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// An elementwise nest (copies, broadcasts and fills are the ones with trivial bodies).
    Map(Nest),
    /// Like a map, but adds to what is there; its output's loops may overlap (windows folded back), except across the first.
    AddTo(Nest),
    /// A nest whose innermost `over.len()` loops are folded: inputs have strides for `dims` then `over`, `out` for `dims`.
    Reduce {
        /// The nest of the kept loops.
        nest: Nest,
        /// Extents of the folded loops.
        over: Vec<usize>,
        /// How elements are joined.
        fold: Fold,
        /// Multiplies the result.
        scale: f64,
    },
    /// Matrix products.
    MatMul(Product),
    /// Rows of a table by indices: `values[b, p, i] = table[b, index[b, p], i]`.
    Gather(Lookup),
    /// Adds values to rows of a table: `table[b, index[b, p], i] += values[b, p, i]`, of one row in the order of positions and in f64.
    ScatterAdd(Lookup),
    /// Positions of equal indices.
    First(First),
}

/// Batched matrix products `out = scale · a b`, one for every index of `batch`.
///
/// Rows, inner and columns are groups of loops, so that an operand may be any strided view: the windows of a convolution are one
/// with overlapping strides. What executors pack of them is a block at a time, and of the weights of some convolutions a few MiB.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Product {
    /// Loops of separate products.
    pub batch: Vec<usize>,
    /// Rows of `a` and `out`.
    pub rows: Vec<usize>,
    /// Columns of `a`, rows of `b`: summed over.
    pub inner: Vec<usize>,
    /// Columns of `b` and `out`.
    pub cols: Vec<usize>,
    /// Multiplies every product.
    pub scale: f64,
    /// Strides for batch, rows, inner.
    pub a: View,
    /// Strides for batch, inner, cols.
    pub b: View,
    /// Strides for batch, rows, cols.
    pub out: View,
    /// Adds to what is in `out`, whose loops may then overlap (windows folded back), except across the first batch loop.
    pub accumulate: bool,
}

impl Product {
    /// Loops of `a`, of `b` and of `out`.
    pub(crate) fn dims(&self) -> [Vec<usize>; 3] {
        let Product { batch, rows, inner, cols, .. } = self;
        [[&batch[..], rows, inner].concat(), [&batch[..], inner, cols].concat(), [&batch[..], rows, cols].concat()]
    }
}

/// A numbered buffer of a program.
#[derive(Debug, Clone, PartialEq)]
pub enum Slot {
    /// Given to every run, only read; its length.
    Input(usize),
    /// Given to every run, only written.
    Output {
        /// Elements.
        len: usize,
        /// Whether it is f64 whatever type the program runs in; what is written to it is then computed in f64, too.
        wide: bool,
    },
    /// Scratch of this length, owned by the executor, allocated once.
    Temp(usize),
    /// Fixed values, owned by the executor.
    Constant(Vec<f64>),
}

impl Slot {
    /// Elements.
    pub fn len(&self) -> usize {
        match self {
            Slot::Input(len) | Slot::Output { len, .. } | Slot::Temp(len) => *len,
            Slot::Constant(values) => values.len(),
        }
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A checked list of commands: inputs first, then outputs, then the rest of the slots.
#[derive(Debug, Clone)]
pub struct Program {
    slots: Vec<Slot>,
    commands: Vec<Command>,
    inputs: usize,
    outputs: usize,
}

impl Program {
    /// Checks every command against the slots.
    ///
    /// # Errors
    /// [`Error::Command`] names the first command that is malformed, [`Error::Signature`] a bad order of slots.
    pub fn new(slots: Vec<Slot>, commands: Vec<Command>) -> Result<Program, Error> {
        let inputs = slots.iter().take_while(|s| matches!(s, Slot::Input(_))).count();
        let outputs = slots[inputs..].iter().take_while(|s| matches!(s, Slot::Output { .. })).count();
        if slots[inputs + outputs..].iter().any(|s| matches!(s, Slot::Input(_) | Slot::Output { .. })) {
            return Err(Error::Signature("slots must be inputs, then outputs, then the rest".into()));
        }
        let program = Program { slots, commands, inputs, outputs };
        for (command, c) in program.commands.iter().enumerate() {
            if let Some(why) = program.fault(c) {
                return Err(Error::Command { command, why });
            }
        }
        Ok(program)
    }

    /// All slots: inputs, outputs, the rest.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The commands in order.
    pub fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// Bytes of the commands themselves.
    pub(crate) fn bytes(&self) -> usize {
        let views =
            |views: &[&View]| views.iter().map(|v| size_of::<View>() + size_of_val(&v.strides[..])).sum::<usize>();
        let nest = |nest: &Nest| {
            let inputs = views(&nest.inputs.iter().collect::<Vec<_>>()) + size_of_val(&nest.out.strides[..]);
            inputs + size_of_val(&nest.body.0[..]) + size_of_val(&nest.dims[..])
        };
        let each = |command: &Command| match command {
            Command::Map(n) | Command::AddTo(n) => nest(n),
            Command::Reduce { nest: n, over, .. } => nest(n) + size_of_val(&over[..]),
            Command::MatMul(p) => {
                let [a, b, out] = p.dims().map(|dims| 2 * size_of_val(&dims[..]));
                a + b + out
            }
            Command::Gather(l) | Command::ScatterAdd(l) => l.dims().iter().map(|dims| 2 * size_of_val(&dims[..])).sum(),
            Command::First(first) => 3 * size_of_val(&first.dims()[..]),
        };
        size_of_val(&self.commands[..]) + self.commands.iter().map(each).sum::<usize>()
    }

    /// How many slots are inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// How many slots are outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Elements of scratch and constants that an executor owns.
    pub fn owned_elements(&self) -> usize {
        self.slots[self.inputs + self.outputs..].iter().map(Slot::len).sum()
    }

    /// Floating-point operations of one run: two a multiply-add of a product, one an instruction of a nest that computes.
    pub fn flop(&self) -> u64 {
        self.commands.iter().map(|command| self.flop_of(command)).sum()
    }

    /// Those of one command.
    pub(crate) fn flop_of(&self, command: &Command) -> u64 {
        let count = |dims: &[&Vec<usize>]| dims.iter().flat_map(|d| d.iter()).map(|&d| d as u64).product::<u64>();
        let work =
            |body: &Body| body.0.iter().filter(|i| !matches!(i, Instr::Load(_) | Instr::Const(_))).count() as u64;
        match command {
            Command::Map(nest) | Command::AddTo(nest) => count(&[&nest.dims]) * work(&nest.body),
            Command::Reduce { nest, over, .. } => count(&[&nest.dims, over]) * (work(&nest.body) + 1),
            Command::MatMul(p) => 2 * count(&[&p.batch, &p.rows, &p.inner, &p.cols]),
            Command::ScatterAdd(l) => count(&[&l.batch, &l.positions, &l.inner]),
            Command::Gather(_) | Command::First(_) => 0,
        }
    }

    fn fault(&self, command: &Command) -> Option<String> {
        match command {
            Command::Map(nest) => self.nest_fault(nest, &[], false),
            Command::AddTo(nest) => self.nest_fault(nest, &[], true),
            Command::Reduce { nest, over, .. } => self.nest_fault(nest, over, false),
            Command::MatMul(product) => {
                let [a, b, out] = product.dims();
                let all = [&product.batch[..], &product.rows, &product.inner, &product.cols].concat();
                if all.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).is_none() {
                    return Some("a product of more multiply-adds than can be counted".into());
                }
                self.view_fault(&product.a, &a, "a")
                    .or_else(|| self.view_fault(&product.b, &b, "b"))
                    .or_else(|| self.out_fault(&product.out, &out, [&product.a, &product.b], product.accumulate))
                    .or_else(|| self.wide_fault(&product.out, "a product"))
            }
            Command::Gather(lookup) => self.lookup_fault(lookup, true),
            Command::ScatterAdd(lookup) => self.lookup_fault(lookup, false),
            Command::First(First { batch, positions, index, out }) => {
                let all = [&batch[..], positions].concat();
                self.view_fault(index, &all, "the index")
                    .or_else(|| self.out_fault(out, &all, [index], false))
                    .or_else(|| self.wide_fault(out, "a position"))
                    .or_else(|| list_fault(positions, 1))
            }
        }
    }

    fn lookup_fault(&self, lookup: &Lookup, gathers: bool) -> Option<String> {
        let Lookup { batch, positions, rows, inner, index, table, values } = lookup;
        let [of_index, of_table, of_values] = lookup.dims();
        let (out, out_dims, read, read_dims, name) = match gathers {
            true => (values, of_values, table, of_table, "the table"),
            false => (table, of_table, values, of_values, "values"),
        };
        let loops = batch.len() + positions.len() + inner.len() + 1;
        self.view_fault(index, &of_index, "the index")
            .or_else(|| self.view_fault(read, &read_dims, name))
            .or_else(|| self.out_fault(out, &out_dims, [index, read], false))
            .or_else(|| self.wide_fault(out, if gathers { "a gather" } else { "a scatter" }))
            .or_else(|| list_fault(positions, *rows))
            .or_else(|| (loops > LOOPS).then(|| format!("{loops} loops, but a lookup has at most {LOOPS}")))
    }

    fn wide_fault(&self, out: &View, what: &str) -> Option<String> {
        match self.slots[out.slot] {
            Slot::Output { wide: true, .. } => Some(format!("{what} cannot be written to a wide output")),
            _ => None,
        }
    }

    fn nest_fault(&self, nest: &Nest, over: &[usize], accumulate: bool) -> Option<String> {
        let all = [nest.dims.as_slice(), over].concat();
        (nest.inputs.iter().enumerate())
            .find_map(|(i, view)| self.view_fault(view, &all, &format!("input {i}")))
            .or_else(|| self.out_fault(&nest.out, &nest.dims, &nest.inputs, accumulate))
            .or_else(|| nest.body.fault(nest.inputs.len()))
            .or_else(|| (all.len() > LOOPS).then(|| format!("{} loops, but a nest has at most {LOOPS}", all.len())))
            .or_else(|| {
                let most = VIEWS - 1;
                (nest.inputs.len() > most)
                    .then(|| format!("{} inputs, but a nest has at most {most}", nest.inputs.len()))
            })
    }

    fn view_fault(&self, view: &View, dims: &[usize], what: &str) -> Option<String> {
        let Some(slot) = self.slots.get(view.slot) else {
            return Some(format!("{what} is slot {}, of {}", view.slot, self.slots.len()));
        };
        if dims.contains(&0) {
            return Some(format!("{what} has a loop of extent 0"));
        }
        if view.strides.len() != dims.len() {
            return Some(format!("{what} has {} strides for {} loops", view.strides.len(), dims.len()));
        }
        // All indices can be counted, so that no arithmetic on them overflows later.
        if dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).is_none() {
            return Some(format!("{what} has more elements than can be counted"));
        }
        match view.end(dims) {
            Some(end) if end <= slot.len() => None,
            Some(end) => Some(format!("{what} ends at {end} of a slot of {}", slot.len())),
            None => Some(format!("{what} reaches beyond what can be counted")),
        }
    }

    fn out_fault<'a>(
        &self,
        out: &View,
        dims: &[usize],
        inputs: impl IntoIterator<Item = &'a View>,
        accumulate: bool,
    ) -> Option<String> {
        if let Some(fault) = self.view_fault(out, dims, "the output") {
            return Some(fault);
        }
        if matches!(self.slots[out.slot], Slot::Input(_) | Slot::Constant(_)) {
            return Some("the output is an input or a constant".into());
        }
        for view in inputs {
            if view.slot == out.slot {
                return Some("a command may not read the slot it writes".into());
            }
            if matches!(self.slots[view.slot], Slot::Output { .. }) {
                return Some("an output slot is read".into());
            }
        }
        if accumulate {
            return None;
        }
        out.overlaps(dims).then(|| "the output's loops overlap".into())
    }
}

/// Positions and rows are sorted as pairs of 32 bits.
fn list_fault(positions: &[usize], rows: usize) -> Option<String> {
    let most = u32::MAX as usize;
    let count: usize = positions.iter().product(); // a view's loops can be counted
    (count > most || rows > most).then(|| format!("{count} positions and {rows} rows, but a lookup has at most {most}"))
}
