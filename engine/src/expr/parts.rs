//! Parts of arrays, and arrays of parts.

use std::ops::Range;

use super::Expr;
use crate::ops::{Concat, OneHot, Pad, Slice};
use crate::{Kind, Tape};

impl<'t> Expr<'t> {
    /// A range of one axis.
    #[track_caller]
    pub fn slice(self, axis: usize, range: Range<usize>) -> Expr<'t> {
        self.tape.apply(Slice { axis, start: range.start, end: range.end }.into(), &[self])
    }

    /// One index of an axis, which goes away.
    #[track_caller]
    pub fn at(self, axis: usize, index: usize) -> Expr<'t> {
        let part = self.slice(axis, index..index.saturating_add(1));
        let kept: Vec<usize> = (part.shape().iter().enumerate()).filter(|&(a, _)| a != axis).map(|(_, &d)| d).collect();
        part.reshape(kept)
    }

    /// `parts` equal ranges of one axis.
    #[track_caller]
    pub fn split(self, axis: usize, parts: usize) -> Vec<Expr<'t>> {
        let extent = self.shape().get(axis).copied().unwrap_or(0);
        if parts == 0 || extent == 0 || extent % parts != 0 {
            let failed = self.fail("split", format!("axis {axis} of {} has no {parts} equal parts", self.shape()));
            return vec![failed; parts.min(1024)];
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
        self.apply(Concat { axis }.into(), parts)
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
