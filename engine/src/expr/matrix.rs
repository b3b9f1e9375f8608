//! Parts of matrices: the last two axes of an array; axes before them count matrices.

use super::Expr;

impl<'t> Expr<'t> {
    /// The lower triangle of matrices, zeros above the `offset`-th diagonal (as `numpy.tril`; 0 is the main one, 1 the next above).
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func};
    /// let f = Func::trace(spec([2, 2]), spec([]), |_, w, _| w.tril(0))?;
    /// let lower = f.compile::<f64>(&Device::cpu())?.run(&Array::new([2, 2], vec![1.0, 2.0, 3.0, 4.0])?, &Array::scalar(0.0))?;
    /// assert_eq!(lower.values(), [1.0, 0.0, 3.0, 4.0]);
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    #[track_caller]
    pub fn tril(self, offset: isize) -> Expr<'t> {
        match self.matrices("tril") {
            Some((_, [rows, columns])) => {
                let (i, j) = (self.tape.arange(rows).expand_dims(1), self.tape.arange(columns));
                j.less_equal(i + offset as f64).select(self, 0.0)
            }
            None => self,
        }
    }

    /// The upper triangle of matrices, zeros below the `offset`-th diagonal (as `numpy.triu`; 0 is the main one, 1 the next above).
    #[track_caller]
    pub fn triu(self, offset: isize) -> Expr<'t> {
        match self.matrices("triu") {
            Some((_, [rows, columns])) => {
                let (i, j) = (self.tape.arange(rows).expand_dims(1), self.tape.arange(columns));
                j.greater_equal(i + offset as f64).select(self, 0.0)
            }
            None => self,
        }
    }

    /// The main diagonals of matrices: `[…, m, n]` gives `[…, min(m, n)]` (as `numpy.diagonal` of the last two axes).
    #[track_caller]
    pub fn diagonal(self) -> Expr<'t> {
        let Some((lead, [rows, columns])) = self.matrices("diagonal") else { return self };
        let (axis, n) = (lead.len(), rows.min(columns));
        let square = self.slice(axis, 0..n).slice(axis + 1, 0..n);
        square.reshape([&lead[..], &[n * n]].concat()).slice_step(axis, 0..n * n, n + 1)
    }

    /// Matrices with vectors on their diagonals and zeros beside them: `[…, n]` gives `[…, n, n]` (as `numpy.diag` of a vector).
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func};
    /// let f = Func::trace(spec([2]), spec([]), |_, w, _| w.diag())?;
    /// let matrix = f.compile::<f64>(&Device::cpu())?.run(&Array::new([2], vec![1.0, 2.0])?, &Array::scalar(0.0))?;
    /// assert_eq!(matrix.values(), [1.0, 0.0, 0.0, 2.0]);
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    #[track_caller]
    pub fn diag(self) -> Expr<'t> {
        let shape = self.shape();
        match shape.last() {
            Some(&n) if self.is_real("diag") => self.tape.eye(n).select(self.expand_dims(shape.rank()), 0.0),
            Some(_) => self,
            None => self.fail("diag", "one number has no axis to be a diagonal".into()),
        }
    }

    /// The sums of the diagonals of matrices: `[…, n, n]` gives `[…]` (as `numpy.trace` of the last two axes).
    #[track_caller]
    pub fn trace(self) -> Expr<'t> {
        match self.matrices("trace") {
            Some((lead, _)) => self.diagonal().sum_axes(&[lead.len()]),
            None => self,
        }
    }

    /// All products of an element of this and one of `other`: `[m]` and `[n]` give `[m, n]`; other shapes are taken as vectors (as
    /// `numpy.outer`).
    #[track_caller]
    pub fn outer(self, other: Expr<'t>) -> Expr<'t> {
        match self.is_real("outer") && other.is_real("outer") {
            true => self.flatten().expand_dims(1) * other.flatten(),
            false => self,
        }
    }

    /// The leading extents, and rows and columns.
    #[track_caller]
    fn matrices(self, op: &str) -> Option<(Vec<usize>, [usize; 2])> {
        let shape = self.shape();
        match shape.split_last_chunk() {
            Some((lead, matrix)) if self.is_real(op) => Some((lead.to_vec(), *matrix)),
            Some(_) => None,
            None => {
                self.fail(op, format!("{} has no two axes to be a matrix", self.spec()));
                None
            }
        }
    }
}
