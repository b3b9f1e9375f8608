//! Shapes and kinds of arrays.

use std::fmt;
use std::ops::Deref;

use crate::sizes::MOST;

/// Extents of an array, outermost first; a scalar has none.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// Number of elements (at most `usize::MAX`, which no array has).
    pub fn size(&self) -> usize {
        self.0.iter().fold(1, |n, &d| n.saturating_mul(d))
    }

    /// Whether a buffer can have so many elements.
    pub(crate) fn is_countable(&self) -> bool {
        self.size() <= MOST
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Row-major strides.
    pub(crate) fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1usize; self.rank()];
        for axis in (1..self.rank()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(self.0[axis]);
        }
        strides
    }

    /// The shape with `n` as a new leading axis.
    pub(crate) fn batched(&self, n: usize) -> Shape {
        [&[n], self.0.as_slice()].concat().into()
    }

    /// The shape with one extent replaced.
    pub(crate) fn with(&self, axis: usize, extent: usize) -> Shape {
        let mut shape = self.clone();
        shape.0[axis] = extent;
        shape
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extents: Vec<String> = self.0.iter().map(usize::to_string).collect();
        write!(f, "[{}]", extents.join(", "))
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Vec<usize>> for Shape {
    fn from(extents: Vec<usize>) -> Self {
        Shape(extents)
    }
}
impl From<&[usize]> for Shape {
    fn from(extents: &[usize]) -> Self {
        Shape(extents.to_vec())
    }
}
impl<const N: usize> From<[usize; N]> for Shape {
    fn from(extents: [usize; N]) -> Self {
        Shape(extents.to_vec())
    }
}
impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}

/// What the elements of an array are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Real numbers, differentiable.
    Real,
    /// Real numbers that a program returns in f64 whatever type it runs in (outputs only).
    Wide,
    /// Labels or token ids below this bound; no derivative flows through them.
    Index(usize),
}

/// Shape and kind of an array that is not there yet: the leaf of a signature.
///
/// ```
/// use osculate_engine::{label, spec, Spec};
/// assert_eq!(spec([784, 64]).to_string(), "[784, 64]");
/// assert_eq!(spec([]).to_string(), "one number");
/// assert_eq!(label(10).to_string(), "one label below 10");
/// assert_eq!(Spec::index([20], 5000).to_string(), "labels [20] below 5000");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spec {
    /// Extents.
    pub shape: Shape,
    /// Elements.
    pub kind: Kind,
}

impl Spec {
    /// Reals of a shape.
    pub fn real(shape: impl Into<Shape>) -> Spec {
        Spec { shape: shape.into(), kind: Kind::Real }
    }

    /// Indices below `bound`, checked whenever a program is given them.
    pub fn index(shape: impl Into<Shape>, bound: usize) -> Spec {
        Spec { shape: shape.into(), kind: Kind::Index(bound) }
    }

    /// As graphs print it: `f[2, 3]`, `i<10[]`.
    pub(crate) fn code(&self) -> String {
        match self.kind {
            Kind::Real => format!("f{}", self.shape),
            Kind::Wide => format!("f64{}", self.shape),
            Kind::Index(bound) => format!("i<{bound}{}", self.shape),
        }
    }

    pub(crate) fn is_index(&self) -> bool {
        matches!(self.kind, Kind::Index(_))
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.shape.rank()) {
            (Kind::Real, 0) => f.write_str("one number"),
            (Kind::Real, _) => write!(f, "{}", self.shape),
            (Kind::Wide, 0) => f.write_str("one number in f64"),
            (Kind::Wide, _) => write!(f, "{} in f64", self.shape),
            (Kind::Index(bound), 0) => write!(f, "one label below {bound}"),
            (Kind::Index(bound), _) => write!(f, "labels {} below {bound}", self.shape),
        }
    }
}

/// Reals of a shape: the usual leaf of a signature.
pub fn spec(shape: impl Into<Shape>) -> Spec {
    Spec::real(shape)
}

/// One class label below `classes`.
pub fn label(classes: usize) -> Spec {
    Spec::index([], classes)
}
