//! Gathers, scatters and equal indices as commands.

use osculate_kernels::{Body, Command, First, Instr};

use super::{Lowering, Value};
use crate::Shape;
use crate::ops::{Labels, Lookup};

impl Lowering {
    /// Emits a gather.
    pub fn gather(&mut self, lookup: &Lookup, table: &Value, index: &Value, shape: &Shape) -> Value {
        let out = self.product_target().unwrap_or_else(|| self.temp(shape));
        self.commands.push(Command::Gather(command(lookup, table, index, &out)));
        out
    }

    /// Emits zeros and what is added to them.
    pub fn scatter_add(&mut self, lookup: &Lookup, values: &Value, index: &Value, shape: &Shape) -> Value {
        let out = self.product_target().unwrap_or_else(|| self.temp(shape));
        self.map_into(Body(vec![Instr::Const(0.0)]), &[], &out);
        self.commands.push(Command::ScatterAdd(command(lookup, &out, index, values)));
        out
    }

    /// Emits the first positions along an axis of equal indices.
    pub fn first(&mut self, index: &Value, axis: usize) -> Value {
        let out = self.temp(&index.shape);
        let batch: Vec<usize> = (0..index.shape.rank()).filter(|&a| a != axis).collect();
        let [index, to] = [index, &out].map(|value| value.axes(&batch, &[axis]));
        let (positions, batch) = (vec![index.shape[batch.len()]], index.shape[..batch.len()].to_vec());
        self.commands.push(Command::First(First { batch, positions, index: index.view(), out: to.view() }));
        out
    }
}

/// Labels as loops, by which of the indices and the table have them.
fn command(lookup: &Lookup, table: &Value, index: &Value, values: &Value) -> osculate_kernels::Lookup {
    let (mut batch, mut positions, mut inner) = (Labels::new(), Labels::new(), Labels::new());
    for l in (0..lookup.dims.len() as u8).filter(|&l| l != lookup.row && lookup.dims[l as usize] > 1) {
        match (lookup.index.contains(&l), lookup.table.contains(&l)) {
            (true, true) => batch.push(l),
            (true, false) => positions.push(l),
            (false, true) => inner.push(l),
            (false, false) => {} // no operand has it
        }
    }
    let view = |value: &Value, of: &[u8], loops: [&[u8]; 3]| {
        let stride = |l: &u8| of.iter().position(|o| o == l).map_or(0, |at| value.strides[at]);
        osculate_kernels::View {
            slot: value.slot,
            offset: value.offset,
            strides: loops.concat().iter().map(stride).collect(),
        }
    };
    osculate_kernels::Lookup {
        index: view(index, &lookup.index, [&batch, &positions, &[]]),
        table: view(table, &lookup.table, [&batch, &[lookup.row], &inner]),
        values: view(values, &lookup.values, [&batch, &positions, &inner]),
        rows: lookup.dims[lookup.row as usize],
        batch: lookup.extents(&batch),
        positions: lookup.extents(&positions),
        inner: lookup.extents(&inner),
    }
}
