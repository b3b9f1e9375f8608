//! `patches` and `fold`: sliding windows of some axes, and their sum back into place; each is the other's transpose.
//!
//! Every axis of a window becomes the axis of its positions, and the windows' own axes are appended at the end:
//! `[c, h, w]` with windows on axes 1 and 2 gives `[c, positions₁, positions₂, size₁, size₂]`. A convolution is patches and a
//! contraction; a pooling is patches and a maximum or mean. Windows are views: nothing is copied but a padded border.
//!
//! | rule | patches | fold |
//! |---|---|---|
//! | jvp | patches of the tangent, padded with 0 | fold of the tangent |
//! | transpose | fold | patches, padded with 0 |
//! | batch | one axis further | one axis further |

use osculate_kernels::{Body, Instr};

use super::{Linear, Op, Primitive};
use crate::jax::{brackets, number};
use crate::plan::{self, Lowering, Value};
use crate::sizes::MOST;
use crate::{Expr, Shape, Spec, Tape};

/// A sliding window along one axis.
///
/// ```
/// use osculate_engine::{spec, Func, Window};
/// // windows of 3 at every second place of 8, after a zero on either side: 4 of them
/// let f = Func::trace(spec([8]), spec([]), |_, x, _| x.patches(&[Window::new(0, 3).stride(2).pad(1, 1)], 0.0))?;
/// assert_eq!(f.outputs().shape.to_vec(), [4, 3]);
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    axis: usize,
    size: usize,
    stride: usize,
    dilation: usize,
    before: usize,
    after: usize,
}

impl Window {
    /// Windows of `size` neighbours at every place of an axis.
    pub fn new(axis: usize, size: usize) -> Window {
        Window { axis, size, stride: 1, dilation: 1, before: 0, after: 0 }
    }

    /// Steps from one window to the next.
    pub fn stride(self, stride: usize) -> Window {
        Window { stride, ..self }
    }

    /// Steps from one element of a window to the next.
    pub fn dilation(self, dilation: usize) -> Window {
        Window { dilation, ..self }
    }

    /// Elements put before and after the axis.
    pub fn pad(self, before: usize, after: usize) -> Window {
        Window { before, after, ..self }
    }

    /// Padding such that `ceil(extent / stride)` windows fit, an odd one out put after.
    pub fn same(self, extent: usize) -> Window {
        let positions = extent.div_ceil(self.stride.max(1));
        let needed = ((positions.max(1) - 1) * self.stride).saturating_add(self.span());
        let total = needed.saturating_sub(extent);
        Window { before: total / 2, after: total - total / 2, ..self }
    }

    /// Elements from the first of a window to its last.
    fn span(&self) -> usize {
        (self.size.max(1) - 1).saturating_mul(self.dilation).saturating_add(1)
    }

    fn padded(&self, extent: usize) -> usize {
        self.before.saturating_add(extent).saturating_add(self.after)
    }

    fn positions(&self, extent: usize) -> Option<usize> {
        Some((self.padded(extent).checked_sub(self.span())?) / self.stride + 1)
    }

    fn text(&self) -> String {
        let mut text = format!("{}: {}", self.axis, self.size);
        if self.stride != 1 {
            text += &format!(" stride {}", self.stride);
        }
        if self.dilation != 1 {
            text += &format!(" dilation {}", self.dilation);
        }
        if (self.before, self.after) != (0, 0) {
            text += &format!(" pad {} {}", self.before, self.after);
        }
        text
    }

    /// As `patches` of the Python prelude takes it.
    fn jax(&self) -> String {
        let Window { axis, size, stride, dilation, before, after } = self;
        format!("({axis}, {size}, {stride}, {dilation}, {before}, {after})")
    }

    fn further(&self) -> Window {
        Window { axis: self.axis + 1, ..*self }
    }
}

fn texts(windows: &[Window]) -> String {
    windows.iter().map(Window::text).collect::<Vec<_>>().join(", ")
}

/// The shape of the patches of `shape`.
fn patched(shape: &Shape, windows: &[Window]) -> Result<Shape, String> {
    let mut out = shape.to_vec();
    for (at, w) in windows.iter().enumerate() {
        if w.axis >= shape.rank() || windows[..at].iter().any(|v| v.axis == w.axis) {
            return Err(format!("windows need distinct axes of {shape}, not axis {}", w.axis));
        }
        if w.size == 0 || w.stride == 0 || w.dilation == 0 {
            return Err("size, stride and dilation of a window are at least 1".into());
        }
        let extent = shape[w.axis];
        if w.padded(extent) > MOST {
            return Err("a padding that cannot be counted".into());
        }
        out[w.axis] = w.positions(extent).ok_or_else(|| {
            format!(
                "a window that spans {} does not fit axis {} of {shape} with {} of padding",
                w.span(),
                w.axis,
                w.before.saturating_add(w.after)
            )
        })?;
        out.push(w.size);
    }
    if !padded_shape(shape, windows).is_countable() {
        return Err("a padding that cannot be counted".into());
    }
    Ok(out.into())
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Patches {
    windows: Vec<Window>,
    /// Bits of the value beyond the border.
    pad: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Fold {
    windows: Vec<Window>,
    /// Shape of what the windows were taken of.
    shape: Shape,
}

impl<'t> Expr<'t> {
    /// Sliding windows: `[c, h, w]` with windows on axes 1 and 2 gives `[c, positions, positions, size, size]`; places beyond the
    /// border hold `pad`.
    #[track_caller]
    pub fn patches(self, windows: &[Window], pad: f64) -> Expr<'t> {
        self.tape.apply(Patches { windows: windows.to_vec(), pad: pad.to_bits() }.into(), &[self])
    }

    #[track_caller]
    fn fold(self, windows: &[Window], shape: &Shape) -> Expr<'t> {
        self.tape.apply(Fold { windows: windows.to_vec(), shape: shape.clone() }.into(), &[self])
    }
}

/// The windows as a view of what they were taken of, padded.
fn view(padded: &Value, windows: &[Window], patches: &Shape) -> Value {
    let mut strides = padded.strides.clone();
    for w in windows {
        // A stride overflows only along an axis with a single place, where it is not used.
        strides.push(padded.strides[w.axis].saturating_mul(w.dilation));
    }
    for w in windows {
        strides[w.axis] = strides[w.axis].saturating_mul(w.stride);
    }
    Value { shape: patches.clone(), strides, ..padded.clone() }
}

fn padded_shape(shape: &Shape, windows: &[Window]) -> Shape {
    windows.iter().fold(shape.clone(), |s, w| s.with(w.axis, w.padded(shape[w.axis])))
}

/// The place of the original within the padded.
fn interior(padded: &Value, windows: &[Window], shape: &Shape) -> Value {
    windows.iter().fold(padded.clone(), |v, w| v.sliced(w.axis, w.before..w.before + shape[w.axis]))
}

impl Primitive for Patches {
    fn text(&self) -> String {
        match f64::from_bits(self.pad) {
            0.0 => format!("patches[{}]", texts(&self.windows)),
            pad => format!("patches[{}; {pad}]", texts(&self.windows)),
        }
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        if args[0].is_index() {
            return Err(format!("numbers are wanted, not {}: take their rows first", args[0]));
        }
        Ok(Spec::real(patched(&args[0].shape, &self.windows)?))
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        let pads = self.windows.iter().any(|w| (w.before, w.after) != (0, 0));
        match args[0].constant() {
            Some(0.0) if args[0].is_zero() && f64::from_bits(self.pad) == 0.0 => tape.zero(&spec.shape),
            Some(value) if !pads || value.to_bits() == self.pad => tape.full(&spec.shape, value),
            _ => tape.intern(self.clone().into(), args, spec),
        }
    }

    fn jvp<'t>(&self, _: &[Expr<'t>], _: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        tangents[0].map(|t| t.patches(&self.windows, 0.0))
    }

    fn batch<'t>(&self, args: &[Expr<'t>], _: &[bool], _: usize) -> Expr<'t> {
        let windows: Vec<Window> = self.windows.iter().map(Window::further).collect();
        args[0].patches(&windows, f64::from_bits(self.pad))
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], spec: &Spec) -> Value {
        let x = &args[0];
        if !self.pads() {
            return view(x, &self.windows, &spec.shape);
        }
        let made = |room: &&Room| room.patches == *self && room.interior == *x;
        let padded = match cx.rooms.iter().find(made) {
            Some(room) => room.padded.clone(),
            None => {
                let room = self.room(cx, &x.shape, args);
                cx.map_into(Body::product(1), args, &room.interior);
                room.padded
            }
        };
        view(&padded, &self.windows, &spec.shape)
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        format!(
            "patches({}, {}, {})",
            args[0],
            brackets(self.windows.iter().map(Window::jax)),
            number(f64::from_bits(self.pad))
        )
    }
}

/// A padded buffer, and the place in it of what is padded.
pub(crate) struct Room {
    patches: Patches,
    padded: Value,
    pub interior: Value,
}

impl Patches {
    /// Whether there is a border.
    pub(crate) fn pads(&self) -> bool {
        self.windows.iter().any(|w| (w.before, w.after) != (0, 0))
    }

    /// A padded buffer for elements of a shape that are computed from these arguments; its border is filled.
    pub(crate) fn room(&self, cx: &mut Lowering, shape: &Shape, args: &[Value]) -> Room {
        let padded = cx.temp_like(&padded_shape(shape, &self.windows), args);
        let border = Body(vec![Instr::Const(f64::from_bits(self.pad))]);
        for w in &self.windows {
            let extent = padded.shape[w.axis];
            for range in [0..w.before, extent - w.after..extent] {
                if !range.is_empty() {
                    cx.map_into(border.clone(), &[], &padded.sliced(w.axis, range));
                }
            }
        }
        let interior = interior(&padded, &self.windows, shape);
        Room { patches: self.clone(), padded, interior }
    }
}

impl Linear for Patches {
    fn transpose<'t>(&self, ct: Expr<'t>, args: &[Expr<'t>], _: usize) -> Expr<'t> {
        ct.fold(&self.windows, &args[0].shape())
    }
}

impl Fold {
    /// Emits the fold of a product, or of anything else that `emit` adds to a view of windows; axes lie in the order of those of the
    /// patches, if that is given.
    pub(crate) fn lower_into(
        &self,
        cx: &mut Lowering,
        patches: &Shape,
        order: Option<&[usize]>,
        emit: impl FnOnce(&mut Lowering, &Value),
    ) -> Value {
        let (shape, rank) = (padded_shape(&self.shape, &self.windows), self.shape.rank());
        let padded = match order {
            Some(order) => cx.temp_ordered(&shape, &order.iter().copied().filter(|&a| a < rank).collect::<Vec<_>>()),
            None => cx.temp(&shape),
        };
        cx.map_into(Body(vec![Instr::Const(0.0)]), &[], &padded);
        emit(cx, &view(&padded, &self.windows, patches));
        interior(&padded, &self.windows, &self.shape)
    }
}

impl Primitive for Fold {
    fn text(&self) -> String {
        format!("fold[{}]", texts(&self.windows))
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        let want = patched(&self.shape, &self.windows)?;
        if args[0] != Spec::real(&want) {
            return Err(format!("patches of {} are {want}, not {}", self.shape, args[0]));
        }
        Ok(Spec::real(&self.shape))
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        if args[0].is_zero() {
            return tape.zero(&spec.shape);
        }
        tape.intern(Op::from(self.clone()), args, spec)
    }

    fn jvp<'t>(&self, _: &[Expr<'t>], _: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        tangents[0].map(|t| t.fold(&self.windows, &self.shape))
    }

    fn batch<'t>(&self, args: &[Expr<'t>], _: &[bool], n: usize) -> Expr<'t> {
        let windows: Vec<Window> = self.windows.iter().map(Window::further).collect();
        args[0].fold(&windows, &self.shape.batched(n))
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], _: &Spec) -> Value {
        let order = args[0].order();
        self.lower_into(cx, &args[0].shape, order.as_deref(), |cx, target| plan::add_to(cx, &args[0], target))
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        format!("fold({}, {}, {})", args[0], brackets(self.windows.iter().map(Window::jax)), self.shape)
    }
}

impl Linear for Fold {
    fn transpose<'t>(&self, ct: Expr<'t>, _: &[Expr<'t>], _: usize) -> Expr<'t> {
        ct.patches(&self.windows, 0.0)
    }
}
