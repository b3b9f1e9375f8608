//! Examples and minibatches of them.

use std::ops::Range;

use osculate_kernels::Real;

use crate::program::{INPUTS, In};
use crate::tree::{BufferSpec, Signature, Tree, apart};
use crate::{Array, Error, Kind, Result};

/// A set of examples: a tree of arrays whose leading axis counts them.
///
/// ```
/// use osculate_engine::{label, spec, Array, Batch, Examples};
/// let x = Array::new([3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// let y = Array::index([3], vec![0, 1, 0])?;
/// let examples = Examples::new((spec([2]), label(2)), (x, y))?;
/// let mut batch = Batch::default();
/// examples.gather(&[2, 0], &mut batch)?;
/// assert_eq!((examples.count(), batch.count()), (3, 2));
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Examples<D: Signature, T: Real> {
    spec: D,
    arrays: Vec<Array<T>>,
    buffers: Vec<BufferSpec>,
    count: usize,
}

/// A minibatch in the flat buffers that programs read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch<T> {
    count: usize,
    buffers: Vec<Buffer<T>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Buffer<T> {
    Real(Vec<T>),
    Index(Vec<u32>),
}

impl<T> Batch<T> {
    /// Number of examples.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Hands the buffers of this minibatch, after those of the parameters, to a program's `run_flat`; allocates nothing.
    ///
    /// # Errors
    /// [`Error::Empty`]: there are no examples. Those of `run`, and more buffers than a program can have.
    #[track_caller]
    pub fn feed<'a, const N: usize, R>(
        &'a self,
        params: [In<'a, T>; N],
        run: impl FnOnce(&[In<'_, T>]) -> Result<R>,
    ) -> Result<R> {
        if self.count == 0 {
            return Err(Error::empty("feed"));
        }
        self.feed_rows(0..self.count, params, run)
    }

    /// Becomes a copy of a range of another minibatch's examples, reusing its memory.
    ///
    /// # Errors
    /// [`Error::Empty`]: the range is empty. [`Error::Signature`]: it ends beyond the examples. The minibatch is then what it was.
    #[track_caller]
    pub fn copy_rows(&mut self, from: &Batch<T>, rows: Range<usize>) -> Result<()>
    where
        T: Copy,
    {
        if rows.is_empty() {
            return Err(Error::empty("copy_rows"));
        }
        if rows.end > from.count {
            let (want, got) = (format!("rows up to {}", from.count), format!("{rows:?}"));
            return Err(Error::Signature { path: "data".into(), want, got });
        }
        self.count = rows.len();
        self.buffers.resize_with(from.buffers.len(), || Buffer::Real(Vec::new()));
        for (to, values) in self.buffers.iter_mut().zip(&from.buffers) {
            match (to, values) {
                (Buffer::Real(to), Buffer::Real(values)) => replace(to, part(values, &rows, from.count)),
                (Buffer::Index(to), Buffer::Index(values)) => replace(to, part(values, &rows, from.count)),
                (to, Buffer::Real(values)) => *to = Buffer::Real(part(values, &rows, from.count).to_vec()),
                (to, Buffer::Index(values)) => *to = Buffer::Index(part(values, &rows, from.count).to_vec()),
            }
        }
        Ok(())
    }

    /// The same for a range of its examples.
    pub(crate) fn feed_rows<'a, const N: usize, R>(
        &'a self,
        rows: Range<usize>,
        params: [In<'a, T>; N],
        run: impl FnOnce(&[In<'_, T>]) -> Result<R>,
    ) -> Result<R> {
        let mut table = [const { In::Index(&[]) }; INPUTS];
        let count = N + self.buffers.len();
        if count > INPUTS {
            let want = format!("at most {INPUTS} buffers");
            return Err(Error::Signature { path: "inputs".into(), want, got: count.to_string() });
        }
        let given = self.buffers.iter().map(|b| match b {
            Buffer::Real(values) => In::Real(part(values, &rows, self.count)),
            Buffer::Index(values) => In::Index(part(values, &rows, self.count)),
        });
        table.iter_mut().zip(params.into_iter().chain(given)).for_each(|(slot, input)| *slot = input);
        run(&table[..count])
    }
}

/// Replaces what a vector holds.
fn replace<V: Copy>(to: &mut Vec<V>, values: &[V]) {
    to.clear();
    to.extend_from_slice(values);
}

/// Some examples' elements of a buffer of `count`.
fn part<'a, V>(values: &'a [V], rows: &Range<usize>, count: usize) -> &'a [V] {
    let each = values.len() / count.max(1);
    &values[rows.start * each..rows.end * each]
}

impl<D: Signature, T: Real> Examples<D, T> {
    /// Examples of a signature; every array has one more axis than its leaf, in front.
    ///
    /// # Errors
    /// Shapes that do not fit, unequal numbers of examples, or a label out of range, each named by path (and position).
    pub fn new(spec: D, arrays: D::With<Array<T>>) -> Result<Examples<D, T>> {
        let arrays: Vec<Array<T>> = arrays.leaves("data").into_iter().map(|(_, array)| array.clone()).collect();
        let count = arrays.first().and_then(|a| a.shape().first().copied()).unwrap_or(0);
        let leaves = spec.leaves("data");
        if let Some((path, _)) = leaves.iter().zip(&arrays).find(|(_, a)| a.shape().rank() == 0).map(|(l, _)| l) {
            let want = "a leading axis that counts examples".into();
            return Err(Error::Signature { path: path.to_string(), want, got: "a scalar".into() });
        }
        if arrays.len() != leaves.len() {
            let (want, got) = (format!("{} arrays", leaves.len()), format!("{}", arrays.len()));
            return Err(Error::Signature { path: "data".into(), want, got });
        }
        for ((path, leaf), array) in leaves.iter().zip(&arrays) {
            let whole = crate::Spec { shape: leaf.shape.batched(count), kind: leaf.kind };
            array.fits(&whole, &path.to_string())?;
            if let Kind::Index(bound) = leaf.kind
                && let Some(position) = array.indices().iter().position(|&v| v as usize >= bound)
            {
                let value = array.indices()[position];
                return Err(Error::Index { path: path.to_string(), position, value, bound });
            }
        }
        if count == 0 {
            return Err(Error::Signature {
                path: "data".into(),
                want: "at least one example".into(),
                got: "none".into(),
            });
        }
        Ok(Examples { buffers: apart(&spec, "data"), spec, arrays, count })
    }

    /// The signature of one example.
    pub fn spec(&self) -> &D {
        &self.spec
    }

    /// Number of examples.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The array of the `leaf`-th leaf, all examples.
    pub fn array(&self, leaf: usize) -> Option<&Array<T>> {
        self.arrays.get(leaf)
    }

    /// Copies some examples into a minibatch, reusing its memory.
    ///
    /// # Errors
    /// [`Error::Empty`]: no rows are named. [`Error::Signature`]: a row that is not there. The minibatch is then what it was.
    #[track_caller]
    pub fn gather(&self, rows: &[usize], batch: &mut Batch<T>) -> Result<()> {
        if rows.is_empty() {
            return Err(Error::empty("gather"));
        }
        if let Some(&row) = rows.iter().find(|&&row| row >= self.count) {
            return Err(Error::Signature {
                path: "data".into(),
                want: format!("rows below {}", self.count),
                got: format!("row {row}"),
            });
        }
        batch.count = rows.len();
        batch.buffers.resize_with(self.buffers.len(), || Buffer::Real(Vec::new()));
        for (spec, buffer) in self.buffers.iter().zip(&mut batch.buffers) {
            match (spec.kind, &mut *buffer) {
                (Kind::Index(_), Buffer::Index(values)) => values.clear(),
                (Kind::Index(_), Buffer::Real(_)) => *buffer = Buffer::Index(Vec::new()),
                (_, Buffer::Real(values)) => values.clear(),
                (_, Buffer::Index(_)) => *buffer = Buffer::Real(Vec::new()),
            }
            for (&leaf, segment) in spec.leaves.iter().zip(spec.layout.segments()) {
                let size = segment.shape.size();
                for row in rows {
                    let range = row * size..(row + 1) * size;
                    match buffer {
                        Buffer::Real(values) => values.extend_from_slice(&self.arrays[leaf].values()[range]),
                        Buffer::Index(values) => values.extend_from_slice(&self.arrays[leaf].indices()[range]),
                    }
                }
            }
        }
        Ok(())
    }

    /// Some examples as arrays with a leading axis: what the `run` of a vmapped program takes. It allocates; a loop that trains
    /// uses [`gather`](Examples::gather).
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Examples, Func};
    /// let examples = Examples::new(spec([2]), Array::new([3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?)?;
    /// let mut sums = Func::trace(spec([2]), spec([2]), |_, w, x| w.dot(x))?.vmap(2)?.compile::<f64>(&Device::cpu())?;
    /// let result = sums.run(&Array::full([2], 1.0), &examples.arrays(&[2, 0])?)?;
    /// assert_eq!(result.values(), [11.0, 3.0]);
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Empty`]: no rows are named. [`Error::Signature`]: a row that is not there.
    #[track_caller]
    pub fn arrays(&self, rows: &[usize]) -> Result<D::With<Array<T>>> {
        let mut batch = Batch { count: 0, buffers: Vec::new() };
        self.gather(rows, &mut batch)?;
        let made = batch.buffers.into_iter().zip(self.spec.leaves("data")).map(|(buffer, (_, spec))| {
            let shape = spec.shape.batched(rows.len());
            match buffer {
                Buffer::Real(values) => Array::new(shape, values),
                Buffer::Index(values) => Array::index(shape, values),
            }
        });
        self.spec.with_leaves(made.collect::<Result<Vec<_>>>()?)
    }

    /// All examples as one minibatch.
    ///
    /// # Errors
    /// None.
    pub fn all(&self) -> Result<Batch<T>> {
        let mut batch = Batch { count: 0, buffers: Vec::new() };
        self.gather(&(0..self.count).collect::<Vec<_>>(), &mut batch)?;
        Ok(batch)
    }
}
