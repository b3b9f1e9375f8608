//! Products, and running sums and products along an axis.
//!
//! All are trees of pairs: the number of operations is linear in the number of elements, rounding grows with its logarithm, and the
//! derivatives, of every order and where elements are 0 too, are those of the pairs.

use super::Expr;

impl<'t> Expr<'t> {
    /// The product of all elements (as `numpy.prod`), with the right derivatives of every order where elements are 0.
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func};
    /// let f = Func::trace(spec([3]), spec([]), |_, w, _| w.prod())?;
    /// let gradient = f.grad()?.compile::<f64>(&Device::cpu())?.run(&Array::new([3], vec![2.0, 0.0, 3.0])?, &Array::scalar(0.0))?;
    /// assert_eq!(gradient.values(), [0.0, 6.0, 0.0]);
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    #[track_caller]
    pub fn prod(self) -> Expr<'t> {
        self.prod_axes(&self.axes())
    }

    /// The product over some axes, which go away (as `numpy.prod`).
    #[track_caller]
    pub fn prod_axes(self, axes: &[usize]) -> Expr<'t> {
        if !self.is_real("prod") || !self.has_axes(axes, "prod") {
            return self;
        }
        let mut product = self;
        for &axis in axes {
            loop {
                let extent = product.shape()[axis];
                if extent == 1 {
                    break;
                }
                let half = extent / 2;
                let pairs = product.slice(axis, 0..half) * product.slice(axis, half..2 * half);
                product = match extent % 2 {
                    0 => pairs,
                    _ => self.tape.concat(&[pairs, product.slice(axis, 2 * half..extent)], axis),
                };
            }
        }
        product.dropped(axes)
    }

    /// Running sums along an axis (as `numpy.cumsum`): element i is the sum of elements 0 to i.
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func};
    /// let f = Func::trace(spec([4]), spec([]), |_, w, _| w.cumsum(0))?;
    /// let sums = f.compile::<f64>(&Device::cpu())?.run(&Array::new([4], vec![1.0, 2.0, 3.0, 4.0])?, &Array::scalar(0.0))?;
    /// assert_eq!(sums.values(), [1.0, 3.0, 6.0, 10.0]);
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    #[track_caller]
    pub fn cumsum(self, axis: usize) -> Expr<'t> {
        match self.is_real("cumsum") && self.has_axes(&[axis], "cumsum") {
            true => self.scanned(axis, &|a, b| a + b),
            false => self,
        }
    }

    /// Running products along an axis (as `numpy.cumprod`): element i is the product of elements 0 to i.
    #[track_caller]
    pub fn cumprod(self, axis: usize) -> Expr<'t> {
        match self.is_real("cumprod") && self.has_axes(&[axis], "cumprod") {
            true => self.scanned(axis, &|a, b| a * b),
            false => self,
        }
    }

    /// Running results of an associative operation: pairs are joined, their running results are those of every second element, and
    /// the others are one step further.
    fn scanned(self, axis: usize, join: &dyn Fn(Expr<'t>, Expr<'t>) -> Expr<'t>) -> Expr<'t> {
        let extent = self.shape()[axis];
        if extent == 1 {
            return self;
        }
        let half = extent / 2;
        let split = |x: Expr<'t>| {
            let shape = x.shape();
            x.reshape([&shape[..axis], &[shape[axis] / 2, 2], &shape[axis + 1..]].concat())
        };
        let pairs = split(self.slice(axis, 0..2 * half));
        let (first, second) = (pairs.at(axis + 1, 0), pairs.at(axis + 1, 1));
        let both = join(first, second).scanned(axis, join);
        let mut between = vec![first.slice(axis, 0..1)];
        if half > 1 {
            between.push(join(both.slice(axis, 0..half - 1), first.slice(axis, 1..half)));
        }
        let apart = [self.tape.concat(&between, axis), both].map(|x| x.expand_dims(axis + 1));
        let joined = self.tape.concat(&apart, axis + 1).reshape(self.shape().with(axis, 2 * half));
        if extent.is_multiple_of(2) {
            return joined;
        }
        let last = join(both.slice(axis, half - 1..half), self.slice(axis, extent - 1..extent));
        self.tape.concat(&[joined, last], axis)
    }
}
