//! Commands by indices: rows of a table picked, added to, and equal ones found.

use crate::View;

/// Rows of a table by indices: `values[b, p, i]` belongs to `table[b, index[b, p], i]`.
///
/// Loops of `batch` have indices and a table of their own, those of `positions` indices alone, those of `inner` run through a row.
/// Every loop may lie anywhere between the others in memory, so a table is indexed along any axis. Indices are whole numbers in the
/// type of the buffers; one that is not below `rows` picks zeros and adds nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lookup {
    /// Loops of separate tables.
    pub batch: Vec<usize>,
    /// Loops of indices into each.
    pub positions: Vec<usize>,
    /// Rows of a table.
    pub rows: usize,
    /// Loops of a row.
    pub inner: Vec<usize>,
    /// Strides for batch, positions.
    pub index: View,
    /// Strides for batch, rows, inner.
    pub table: View,
    /// Strides for batch, positions, inner.
    pub values: View,
}

impl Lookup {
    /// Loops of the indices, of the table and of the values.
    pub(crate) fn dims(&self) -> [Vec<usize>; 3] {
        let Lookup { batch, positions, rows, inner, .. } = self;
        [
            [&batch[..], positions].concat(),
            [&batch[..], &[*rows], inner].concat(),
            [&batch[..], positions, inner].concat(),
        ]
    }
}

/// The first position that has the same index as each: `out[b, p]` is the smallest `q` (row-major) with `index[b, q] = index[b, p]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct First {
    /// Loops of separate lists.
    pub batch: Vec<usize>,
    /// Loops of the positions of each.
    pub positions: Vec<usize>,
    /// Strides for batch, positions.
    pub index: View,
    /// Strides for batch, positions.
    pub out: View,
}

impl First {
    /// All loops.
    pub(crate) fn dims(&self) -> Vec<usize> {
        [&self.batch[..], &self.positions].concat()
    }
}

/// The row that a number names, if it is one of so many.
#[inline(always)]
pub(crate) fn row(index: f64, rows: usize) -> Option<usize> {
    // Not a NaN.
    (index >= 0.0 && index < rows as f64).then_some(index as usize)
}
