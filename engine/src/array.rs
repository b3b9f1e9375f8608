//! Arrays on the host.

use osculate_kernels::Real;

use crate::sizes::available;
use crate::{Error, Kind, Result, Shape, Spec};

/// A dense row-major array of reals or of indices.
///
/// ```
/// use osculate_engine::Array;
/// let x = Array::new([2, 2], vec![1.0, 2.0, 3.0, 4.0])?;
/// let y = Array::<f64>::index([2], vec![0, 9])?;
/// assert_eq!((x.values()[2], y.indices()[1]), (3.0, 9));
/// assert!(Array::new([3], vec![1.0]).is_err());
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Array<T> {
    shape: Shape,
    data: Data<T>,
}

#[derive(Debug, Clone, PartialEq)]
enum Data<T> {
    Real(Vec<T>),
    Index(Vec<u32>),
}

impl<T: Real> Array<T> {
    /// Reals, row-major.
    ///
    /// # Errors
    /// The number of values is not that of the shape.
    pub fn new(shape: impl Into<Shape>, values: Vec<T>) -> Result<Array<T>> {
        Self::checked(shape.into(), values.len(), Data::Real(values))
    }

    /// Indices, row-major.
    ///
    /// # Errors
    /// The number of values is not that of the shape.
    pub fn index(shape: impl Into<Shape>, values: Vec<u32>) -> Result<Array<T>> {
        Self::checked(shape.into(), values.len(), Data::Index(values))
    }

    fn checked(shape: Shape, count: usize, data: Data<T>) -> Result<Array<T>> {
        if shape.size() != count || count == usize::MAX {
            return Err(Error::Signature {
                path: "array".into(),
                want: format!("{} values for shape {shape}", shape.size()),
                got: format!("{count} values"),
            });
        }
        Ok(Array { shape, data })
    }

    /// A scalar.
    pub fn scalar(value: T) -> Array<T> {
        Array { shape: Shape::default(), data: Data::Real(vec![value]) }
    }

    /// The same value everywhere.
    ///
    /// Where there is no memory for it, it has no values, and what it is given to tells so.
    pub fn full(shape: impl Into<Shape>, value: T) -> Array<T> {
        Self::made(shape.into(), |size| vec![value; size])
    }

    /// The values that a function of the flat position gives.
    ///
    /// Where there is no memory for them, it has none, and what it is given to tells so.
    pub fn from_fn(shape: impl Into<Shape>, value: impl FnMut(usize) -> T) -> Array<T> {
        Self::made(shape.into(), |size| (0..size).map(value).collect())
    }

    /// Values of a shape, if there is memory for them.
    fn made(shape: Shape, values: impl FnOnce(usize) -> Vec<T>) -> Array<T> {
        let there = available(shape.size().saturating_mul(size_of::<T>()), || shape.to_string()).is_ok();
        Array { data: Data::Real(if there { values(shape.size()) } else { Vec::new() }), shape }
    }

    /// Extents.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The reals, row-major; empty for an array of indices.
    pub fn values(&self) -> &[T] {
        match &self.data {
            Data::Real(values) => values,
            Data::Index(_) => &[],
        }
    }

    /// The reals, to be changed in place; empty for an array of indices.
    pub fn values_mut(&mut self) -> &mut [T] {
        match &mut self.data {
            Data::Real(values) => values,
            Data::Index(_) => &mut [],
        }
    }

    /// The indices, row-major; empty for an array of reals.
    pub fn indices(&self) -> &[u32] {
        match &self.data {
            Data::Real(_) => &[],
            Data::Index(values) => values,
        }
    }

    /// The first element of an array of reals (its value, for a scalar).
    pub fn item(&self) -> Option<T> {
        self.values().first().copied()
    }

    pub(crate) fn is_index(&self) -> bool {
        matches!(self.data, Data::Index(_))
    }

    /// Whether it fits a leaf; the ranges of indices are checked when they are read.
    pub(crate) fn fits(&self, spec: &Spec, path: &str) -> Result<()> {
        if self.shape == spec.shape && self.is_index() == matches!(spec.kind, Kind::Index(_)) {
            let size = self.shape.size();
            let there = if self.is_index() { self.indices().len() } else { self.values().len() };
            if there != size {
                let bytes = size.saturating_mul(size_of::<T>());
                return Err(Error::Memory { what: format!("{path}, {spec},"), bytes });
            }
            return Ok(());
        }
        let got = match (self.is_index(), self.shape.rank()) {
            (true, 0) => "one label".into(),
            (true, _) => format!("labels {}", self.shape),
            (false, _) => Spec::real(&self.shape).to_string(),
        };
        Err(Error::Signature { path: path.into(), want: spec.to_string(), got })
    }
}
