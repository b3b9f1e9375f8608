//! Parts of arrays, and arrays of parts.

use std::ops::Range;

use super::Expr;
use crate::ops::{Concat, OneHot, Pad, Slice};
use crate::{Kind, Tape, Window};

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

    /// Rows of this table picked by indices, whose bound must be the number of rows.
    #[track_caller]
    pub fn take(self, index: Expr<'t>) -> Expr<'t> {
        match index.spec().kind {
            Kind::Index(bound) if self.shape().first() == Some(&bound) => index.one_hot().dot(self),
            _ => self.fail("take", format!("{} does not index the rows of {}", index.spec(), self.spec())),
        }
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
