//! Convolutions of one example, channels first, in one or two dimensions (or more).

use osculate_engine::{Expr, Shape, Spec, Window, spec, tree};

/// How the border is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// No border: windows lie inside.
    Valid,
    /// As many results as `ceil(extent / stride)`, an odd place of padding put after (as in TensorFlow).
    Same,
    /// This many places before and after every axis (as in PyTorch).
    Exactly(usize),
}

/// How a window slides over the spatial axes.
///
/// ```
/// use osculate_nn::{Padding, Sliding};
/// let halving = Sliding { stride: 2, ..Sliding::default() };
/// assert_eq!((halving.dilation, halving.padding), (1, Padding::Same));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sliding {
    /// Steps from one window to the next.
    pub stride: usize,
    /// Steps from one element of a window to the next.
    pub dilation: usize,
    /// The border.
    pub padding: Padding,
}

impl Default for Sliding {
    fn default() -> Sliding {
        Sliding { stride: 1, dilation: 1, padding: Padding::Same }
    }
}

impl Sliding {
    /// The windows of these sizes on the axes of `shape` after the first.
    pub(crate) fn windows(self, shape: &[usize], sizes: &[usize]) -> Vec<Window> {
        (sizes.iter().enumerate())
            .map(|(i, &size)| {
                let window = Window::new(i + 1, size).stride(self.stride).dilation(self.dilation);
                match self.padding {
                    Padding::Valid => window,
                    Padding::Same => window.same(shape.get(i + 1).copied().unwrap_or(1)),
                    Padding::Exactly(n) => window.pad(n, n),
                }
            })
            .collect()
    }
}

/// Cross-correlation of `x` `[in, spatial…]` with `w` `[out, in / groups, sizes…]`: `[out, positions…]`.
///
/// Channels are split into `groups` that do not mix.
///
/// # Errors
/// Tracing fails at the caller's line where shapes do not fit, channels do not split into `groups`, or no window fits.
///
/// ```
/// use osculate_engine::{spec, Func};
/// use osculate_nn::{convolve, Sliding};
/// let f = Func::trace(spec([8, 3, 5, 5]), spec([3, 32, 32]), |_, w, x| convolve(x, w, Sliding::default(), 1))?;
/// assert_eq!(f.outputs().shape.to_vec(), [8, 32, 32]);
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[track_caller]
pub fn convolve<'t>(x: Expr<'t>, w: Expr<'t>, sliding: Sliding, groups: usize) -> Expr<'t> {
    let (shape, kernel) = (x.shape(), w.shape());
    if let Some(why) = misfit(&shape, &kernel, groups) {
        return x.fail("convolve", why);
    }
    let sizes = kernel.get(2..).unwrap_or(&[]).to_vec();
    let patches = x.patches(&sliding.windows(&shape, &sizes), 0.0);
    // Letters: g groups, o outputs, c inputs; then one for each position and one for each place of a window.
    let positions: String = (0..sizes.len()).map(|i| (b'p' + i as u8) as char).collect();
    let places: String = (0..sizes.len()).map(|i| (b'P' + i as u8) as char).collect();
    if groups == 1 {
        return x.tape().einsum(&format!("c{positions}{places},oc{places}->o{positions}"), &[patches, w]);
    }
    let y = x.tape().einsum(
        &format!("gc{positions}{places},goc{places}->go{positions}"),
        &[grouped(patches, groups), grouped(w, groups)],
    );
    let out = y.shape();
    let spatial = out.get(2..).unwrap_or(&[]);
    y.reshape([&[out.iter().take(2).product()], spatial].concat())
}

/// Why shapes are not those of a convolution, if they are not.
fn misfit(x: &Shape, w: &Shape, groups: usize) -> Option<String> {
    if w.rank() < 2 || x.rank() + 1 != w.rank() {
        return Some(format!("[in, spatial...] and weights [out, in / groups, sizes...] are wanted, not {x} and {w}"));
    }
    let (channels, out, each) = (x[0], w[0], w[1]);
    if groups == 0 || channels % groups != 0 || out % groups != 0 {
        return Some(format!("{channels} channels to {out} do not split into {groups} groups"));
    }
    let (has, of) = (channels / groups, if groups == 1 { "" } else { " a group" });
    (each != has).then(|| format!("weights {w} are for {each} channels{of}, but {x} has {has}"))
}

/// The first axis split into groups.
#[track_caller]
fn grouped<'t>(x: Expr<'t>, groups: usize) -> Expr<'t> {
    let shape = x.shape();
    let first = shape.first().copied().unwrap_or(0);
    x.reshape([&[groups, first / groups.max(1)], shape.get(1..).unwrap_or(&[])].concat())
}

tree! {
    /// A convolution with biases: W `[outputs, inputs, sizes…]`, b `[outputs]`.
    pub struct Conv {
        /// Weights, `[outputs, inputs, sizes…]`.
        w,
        /// Biases, `[outputs]`.
        b,
    }
}

impl Conv<Spec> {
    /// Its shapes, for windows of `sizes`.
    pub fn new(inputs: usize, outputs: usize, sizes: &[usize]) -> Conv<Spec> {
        Conv { w: spec([&[outputs, inputs], sizes].concat()), b: spec([outputs]) }
    }
}

impl<'t> Conv<Expr<'t>> {
    /// `[inputs, spatial…]` to `[outputs, positions…]`.
    ///
    /// # Errors
    /// Tracing fails at the caller's line where shapes do not fit.
    #[track_caller]
    pub fn apply(&self, x: Expr<'t>, sliding: Sliding) -> Expr<'t> {
        let y = convolve(x, self.w, sliding, 1);
        match per_channel(self.b, y) {
            Some(b) => y + b,
            None => y.fail("conv", format!("biases {} are not one for each channel of {}", self.b.shape(), y.shape())),
        }
    }
}

/// A vector `[c]` with axes of extent 1 behind, so that it meets the channels of `[c, spatial…]`, if it has one element for each.
#[track_caller]
pub(crate) fn per_channel<'t>(v: Expr<'t>, like: Expr<'t>) -> Option<Expr<'t>> {
    let (own, like) = (v.shape(), like.shape());
    let channels = *like.first()?;
    let shape: Vec<usize> = (0..like.rank()).map(|axis| if axis == 0 { channels } else { 1 }).collect();
    if own[..] == [channels] { Some(v.reshape(shape)) } else { None }
}
