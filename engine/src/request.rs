//! Requests: which statistics moments hold, and how the squares in them come about.

/// The statistics to accumulate besides the losses; no others are computed.
///
/// ```
/// use osculate_engine::Request;
/// let fixed_step_meka = Request::gradient().and_hvp();
/// assert!(fixed_step_meka.hvp && !fixed_step_meka.elementwise);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Request {
    /// Σ g of the gradients.
    pub gradient: bool,
    /// Σ Hv of the Hessian-vector products along a direction v.
    pub hvp: bool,
    /// ‖g‖² (and ‖Hv‖²) of every example and their sums: what variances need.
    pub variances: bool,
    /// Σ (g − ḡ)² of every coordinate, and that of Hv: what variances by coordinate need.
    pub elementwise: bool,
    /// ⟨g, v⟩ of every example along the direction v, and with products ⟨g, Hv⟩ and ⟨v, Hv⟩ besides.
    pub inner: bool,
    /// How squares and inner products come about; the results are the same, but for rounding.
    pub form: Form,
}

/// How a parameter's per-example vectors are squared. Each is chosen by its cost unless one is asked for, to measure or to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Form {
    /// Whichever takes the least time by its operations and memory, parameter by parameter.
    #[default]
    Cheapest,
    /// From inner products of factors: vectors are never made.
    Factored,
    /// From Gram matrices of the positions at which a parameter is used.
    Gram,
    /// From vectors made for one chunk of examples at a time.
    Made,
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Form::Cheapest => "cheapest",
            Form::Factored => "factored",
            Form::Gram => "Gram",
            Form::Made => "made",
        })
    }
}

impl Request {
    /// Losses, gradients and their variances.
    pub fn gradient() -> Request {
        Request { gradient: true, variances: true, ..Request::default() }
    }

    /// Losses, Hessian-vector products and their variances.
    pub fn hvp() -> Request {
        Request { hvp: true, variances: true, ..Request::default() }
    }

    /// The same without variances: sums alone.
    pub fn means(self) -> Request {
        Request { variances: false, ..self }
    }

    /// The same, and Hessian-vector products.
    pub fn and_hvp(self) -> Request {
        Request { hvp: true, ..self }
    }

    /// The same, and inner products of every example: of what is asked for with each other and with the direction.
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Examples, Func, Request};
    /// // loss ½ x (w·w): gradient x w, Hessian x·1
    /// let loss = Func::trace(spec([2]), spec([]), |_, w, x| 0.5 * x * (w * w).sum())?;
    /// let data = Examples::new(spec([]), Array::new([2], vec![1.0, 3.0])?)?.all()?;
    /// let request = Request::gradient().and_hvp().and_inner();
    /// let mut program = loss.moments::<f64>(2, request, &Device::cpu())?;
    /// let mut moments = program.moments();
    /// program.run(&[1.0, 2.0], Some(&[1.0, 0.0]), &data, &mut moments)?;
    /// let inner = moments.inner()?;
    /// assert_eq!(inner.slopes.totals(), [1.0, 3.0]);      // ⟨g, v⟩
    /// assert_eq!(inner.curvatures.totals(), [1.0, 3.0]);  // ⟨v, Hv⟩
    /// assert_eq!(inner.crossings.totals(), [1.0, 9.0]);   // ⟨g, Hv⟩
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    pub fn and_inner(self) -> Request {
        Request { inner: true, ..self }
    }

    /// The same in a given form.
    pub fn in_form(self, form: Form) -> Request {
        Request { form, ..self }
    }

    /// Whether a direction is needed.
    pub fn directed(self) -> bool {
        self.hvp || self.inner
    }

    /// The same, and the second moment of every coordinate.
    pub fn and_elementwise(self) -> Request {
        Request { elementwise: true, ..self }
    }
}
