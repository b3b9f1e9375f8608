//! Parts of arrays, and arrays of parts.

use std::ops::Range;

use super::{Expr, labels};
use crate::ops::{Concat, Gather, Lookup, OneHot, Pad, Slice};
use crate::{Tape, Window};

/// Most parts that an array is split into: each is a node.
const PARTS: usize = 1 << 24;

impl<'t> Expr<'t> {
    /// A range of one axis.
    #[track_caller]
    pub fn slice(self, axis: usize, range: Range<usize>) -> Expr<'t> {
        self.tape.apply(Slice { axis, start: range.start, end: range.end }.into(), &[self])
    }

    /// Every `step`-th element of a range of one axis, the first among them (as numpy's `x[start:end:step]`).
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func};
    /// let f = Func::trace(spec([5]), spec([]), |_, w, _| w.slice_step(0, 0..5, 2))?;
    /// let every = f.compile::<f64>(&Device::cpu())?.run(&Array::from_fn([5], |i| i as f64), &Array::scalar(0.0))?;
    /// assert_eq!(every.values(), [0.0, 2.0, 4.0]);
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    #[track_caller]
    pub fn slice_step(self, axis: usize, range: Range<usize>, step: usize) -> Expr<'t> {
        if !self.is_real("slice_step") {
            return self;
        }
        if step == 0 {
            return self.fail("slice_step", "a step of 0".into());
        }
        let part = self.slice(axis, range);
        match part.shape().rank() > axis && step > 1 {
            true => part.patches(&[Window::new(axis, 1).stride(step)], 0.0).squeeze(self.shape().rank()),
            false => part,
        }
    }

    /// One axis turned round: element i is element n − 1 − i (as `numpy.flip`).
    #[track_caller]
    pub fn flip(self, axis: usize) -> Expr<'t> {
        match self.has_axes(&[axis], "flip") {
            true => self.flipped(axis),
            false => self,
        }
    }

    /// Elements moved on by `shift` places along an axis, those beyond the end to its start (as `numpy.roll`).
    #[track_caller]
    pub fn roll(self, axis: usize, shift: isize) -> Expr<'t> {
        if !self.has_axes(&[axis], "roll") {
            return self;
        }
        let n = self.shape()[axis];
        match (shift.rem_euclid(n as isize)) as usize {
            0 => self,
            shift => self.tape.concat(&[self.slice(axis, n - shift..n), self.slice(axis, 0..n - shift)], axis),
        }
    }

    /// Flips blocks of up to 16 by slices, then their order: the passes over memory grow with the logarithm of the extent.
    fn flipped(self, axis: usize) -> Expr<'t> {
        let (shape, n) = (self.shape(), self.shape()[axis]);
        let turned = |x: Expr<'t>, axis: usize| {
            let extent = x.shape()[axis];
            let rows: Vec<Expr<'t>> = (0..extent).rev().map(|i| x.slice(axis, i..i + 1)).collect();
            self.tape.concat(&rows, axis)
        };
        if n <= 16 {
            return turned(self, axis);
        }
        let (blocks, rest) = (n / 16, n % 16);
        let apart = [&shape[..axis], &[blocks, 16], &shape[axis + 1..]].concat();
        let whole = turned(self.slice(axis, 0..n - rest).reshape(apart), axis + 1).flipped(axis);
        let whole = whole.reshape(shape.with(axis, n - rest));
        match rest {
            0 => whole,
            _ => self.tape.concat(&[turned(self.slice(axis, n - rest..n), axis), whole], axis),
        }
    }

    /// One index of an axis, which goes away.
    #[track_caller]
    pub fn at(self, axis: usize, index: usize) -> Expr<'t> {
        match self.shape().get(axis) {
            Some(&extent) if index < extent => {}
            Some(_) => return self.fail("at", format!("axis {axis} of {} has no index {index}", self.shape())),
            None => return self.fail("at", format!("{} has no axis {axis}", self.spec())),
        }
        let part = self.slice(axis, index..index + 1);
        let kept: Vec<usize> = (part.shape().iter().enumerate()).filter(|&(a, _)| a != axis).map(|(_, &d)| d).collect();
        part.reshape(kept)
    }

    /// `parts` equal ranges of one axis.
    #[track_caller]
    pub fn split(self, axis: usize, parts: usize) -> Vec<Expr<'t>> {
        let extent = self.shape().get(axis).copied().unwrap_or(0);
        if parts == 0 || extent == 0 || extent % parts != 0 {
            let failed = self.fail("split", format!("axis {axis} of {} has no {parts} equal parts", self.shape()));
            return vec![failed; parts.clamp(1, 1024)];
        }
        if parts > PARTS {
            return vec![self.fail("split", format!("{parts} parts, but at most {PARTS} are traced")); 1024];
        }
        let len = extent / parts;
        let mut out = Vec::with_capacity(parts);
        for part in 0..parts {
            out.push(self.slice(axis, part * len..(part + 1) * len));
        }
        out
    }

    /// Zeros before and after, along one axis.
    #[track_caller]
    pub fn pad(self, axis: usize, before: usize, after: usize) -> Expr<'t> {
        self.tape.apply(Pad { axis, before, after }.into(), &[self])
    }

    /// Indices as indicator vectors, along a new last axis as long as their bound.
    #[track_caller]
    pub fn one_hot(self) -> Expr<'t> {
        self.tape.apply(OneHot.into(), &[self])
    }

    /// The elements that `index` names along an axis, whose place the axes of `index` take (as `jnp.take`): rows of a table, for axis
    /// 0. Its derivative adds up what was picked more than once.
    ///
    /// `index` is any expression that holds indices; their bound must be at most the extent of the axis.
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func, Spec};
    /// let rows = Func::trace(spec([3, 2]), Spec::index([4], 3), |_, table, index| table.take(index, 0))?;
    /// let table = Array::new([3, 2], vec![0.0, 0.1, 1.0, 1.1, 2.0, 2.1])?;
    /// let picked = rows.compile::<f64>(&Device::cpu())?.run(&table, &Array::index([4], vec![2, 0, 0, 1])?)?;
    /// assert_eq!(picked.values(), [2.0, 2.1, 0.0, 0.1, 0.0, 0.1, 1.0, 1.1]);
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    #[track_caller]
    pub fn take(self, index: Expr<'t>, axis: usize) -> Expr<'t> {
        let (shape, of_index) = (self.shape(), index.shape());
        if axis >= shape.rank() {
            return self.fail("take", format!("{} has no axis {axis}", self.spec()));
        }
        let table = labels(0, shape.rank());
        let picked = labels(shape.rank(), of_index.rank());
        let values = [&table[..axis], &picked, &table[axis + 1..]].concat();
        let dims = [&shape[..], &of_index].concat();
        let lookup = Lookup { table, row: axis as u8, index: picked, values, dims };
        self.tape.apply(Gather(lookup).into(), &[self, index])
    }

    /// The elements that `index` names along an axis, every index for its own place along the others (as `numpy.take_along_axis`):
    /// `out[i, j] = self[i, index[i, j]]` for axis 1 of two.
    ///
    /// `index` has as many axes as this; along the others, extents are equal or 1, which repeats. Its bound must be at most the extent
    /// of the axis.
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func, Spec};
    /// let each = Func::trace(spec([2, 3]), Spec::index([2, 1], 3), |_, x, index| x.take_along_axis(index, 1))?;
    /// let x = Array::new([2, 3], vec![0.0, 1.0, 2.0, 10.0, 11.0, 12.0])?;
    /// let picked = each.compile::<f64>(&Device::cpu())?.run(&x, &Array::index([2, 1], vec![2, 0])?)?;
    /// assert_eq!(picked.values(), [2.0, 10.0]);
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    #[track_caller]
    pub fn take_along_axis(self, index: Expr<'t>, axis: usize) -> Expr<'t> {
        let (shape, of_index) = (self.shape(), index.shape());
        let rank = shape.rank();
        if axis >= rank || of_index.rank() != rank {
            let why = format!(
                "axis {axis} of {} by {}: both must have the axis, and as many axes",
                self.spec(),
                index.spec()
            );
            return self.fail("take_along_axis", why);
        }
        let mut lookup = Lookup {
            table: labels(0, rank),
            row: axis as u8,
            index: labels(0, rank),
            values: labels(0, rank),
            dims: shape.to_vec(),
        };
        for (at, &extent) in of_index.iter().enumerate() {
            if at != axis && extent == shape[at] {
                continue;
            }
            // A label of the index's own: along the axis, or where one side repeats.
            let own = lookup.dims.len() as u8;
            lookup.dims.push(extent);
            lookup.index[at] = own;
            match (at == axis, extent, shape[at]) {
                (true, ..) | (false, _, 1) => lookup.values[at] = own,
                (false, 1, _) => {}
                _ => {
                    let why = format!("{} against {} along axis {at}", self.spec(), index.spec());
                    return self.fail("take_along_axis", why);
                }
            }
        }
        self.tape.apply(Gather(lookup).into(), &[self, index])
    }
}

impl Tape {
    /// Joins arrays along an existing axis.
    #[track_caller]
    pub fn concat<'t>(&'t self, parts: &[Expr<'t>], axis: usize) -> Expr<'t> {
        self.apply(Concat::of(axis, parts).into(), parts)
    }

    /// Joins arrays of one shape along a new first axis.
    #[track_caller]
    pub fn stack<'t>(&'t self, parts: &[Expr<'t>]) -> Expr<'t> {
        let mut rows = Vec::with_capacity(parts.len());
        for part in parts {
            rows.push(part.reshape(part.shape().batched(1)));
        }
        self.concat(&rows, 0)
    }
}
