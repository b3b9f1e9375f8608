//! Structs of arrays: one type for their shapes, their expressions and their values.
//!
//! A [`Tree`] is generic in its leaf: `Mlp<Spec>` is a signature, `Mlp<Expr>` what a traced closure sees, `Mlp<Array<f32>>` the
//! values. [`tree!`](crate::tree!) declares one; tuples, vectors and single leaves are trees too.
//!
//! In memory the real leaves of a struct are consecutive segments of one buffer, described by its [`Layout`]; a tuple bundles
//! buffers, one an element. An index leaf is always a buffer of its own.

use std::fmt;

use osculate_kernels::Real;

use crate::{Array, Error, Expr, Kind, Result, Shape, Spec};

/// What may stand at the leaves of a [`Tree`]: [`Spec`], [`Expr`] or [`Array`].
pub trait Leaf: Tree<Leaf = Self, With<Spec> = Spec> {}

/// A struct of arrays, see the [module](self).
pub trait Tree: Sized + Clone {
    /// What stands at the leaves.
    type Leaf: Leaf;
    /// The same struct with other leaves.
    type With<M: Leaf>: Tree<Leaf = M, With<Spec> = Self::With<Spec>>;
    /// Whether elements are buffers of their own (tuples) or segments of one.
    const BUNDLE: bool = false;

    /// The same struct with other leaves, asked for in the order of [`visit_at`](Tree::visit_at).
    fn build<M: Leaf>(&self, leaf: &mut dyn FnMut() -> M) -> Self::With<M>;

    /// Visits every leaf, in order; `at` is the path of this subtree.
    fn visit_at<'a>(&'a self, at: &mut Path, f: &mut dyn FnMut(&Path, &'a Self::Leaf));

    /// Replaces every leaf, in order; paths start at `root`.
    ///
    /// # Errors
    /// The first one of `f`.
    fn map<M: Leaf>(&self, root: &str, mut f: impl FnMut(&Path, &Self::Leaf) -> Result<M>) -> Result<Self::With<M>> {
        // Loops and pushes: adapters of iterators would be compiled anew for every tree.
        let (mut made, mut fault) = (Vec::new(), None);
        self.visit_at(&mut Path::new(root), &mut |path, leaf| match f(path, leaf) {
            Ok(leaf) => made.push(leaf),
            Err(error) => fault = fault.take().or(Some(error)),
        });
        match fault {
            Some(error) => Err(error),
            None => self.with_leaves(made),
        }
    }

    /// The same struct with leaves from a list, in the order of [`leaves`](Tree::leaves).
    ///
    /// ```
    /// use osculate_engine::{spec, tree, Array, Tree};
    /// tree! { pub struct Affine { w, b } }
    /// let signature = Affine { w: spec([1, 2]), b: spec([2]) };
    /// let zeros: Vec<Array<f32>> = vec![Array::full([1, 2], 0.0), Array::full([2], 0.0)];
    /// assert_eq!(signature.with_leaves(zeros)?.b.values(), [0.0, 0.0]);
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::State`]: another number of leaves.
    fn with_leaves<M: Leaf>(&self, leaves: impl IntoIterator<Item = M>) -> Result<Self::With<M>> {
        let mut leaves: Vec<M> = leaves.into_iter().collect();
        let (got, mut want) = (leaves.len(), 0);
        self.visit_at(&mut Path::new(""), &mut |_, _| want += 1);
        if got != want {
            return Err(Error::State(format!("{got} arrays were given to a tree of {want}")));
        }
        leaves.reverse();
        Ok(self.build(&mut || leaves.swap_remove(leaves.len() - 1)))
    }

    /// All leaves with their paths.
    fn leaves(&self, root: &str) -> Vec<(Path, &Self::Leaf)> {
        let mut leaves = Vec::new();
        self.visit_at(&mut Path::new(root), &mut |path, leaf| leaves.push((path.clone(), leaf)));
        leaves
    }
}

/// A tree of [`Spec`]s: the parameters, the data or the outputs of a function.
pub trait Signature: Tree<Leaf = Spec, With<Spec> = Self> {}
impl<T: Tree<Leaf = Spec, With<Spec> = T>> Signature for T {}

/// Where a leaf is: names from the root, and the buffer it lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    names: Vec<String>,
    buffer: usize,
}

impl Path {
    fn new(root: &str) -> Path {
        Path { names: Vec::from_iter((!root.is_empty()).then(|| root.to_string())), buffer: 0 }
    }

    /// Works on a named child.
    pub fn enter<R>(&mut self, name: impl fmt::Display, work: impl FnOnce(&mut Path) -> R) -> R {
        self.names.push(name.to_string());
        let result = work(self);
        self.names.pop();
        result
    }

    /// Works on the `index`-th element of a bundle; it starts a new buffer unless it bundles buffers itself.
    fn element<T: Tree, R>(&mut self, index: usize, work: impl FnOnce(&mut Path) -> R) -> R {
        let result = self.enter(index, work);
        if !T::BUNDLE {
            self.buffer += 1;
        }
        result
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names.join("."))
    }
}

macro_rules! leaf {
    ($type:ty $(, $($generics:tt)*)?) => {
        impl$(<$($generics)*>)? Leaf for $type {}
        impl$(<$($generics)*>)? Tree for $type {
            type Leaf = Self;
            type With<M: Leaf> = M;
            fn build<M: Leaf>(&self, leaf: &mut dyn FnMut() -> M) -> M {
                leaf()
            }
            fn visit_at<'a>(&'a self, at: &mut Path, f: &mut dyn FnMut(&Path, &'a Self)) {
                f(at, self)
            }
        }
    };
}
leaf!(Spec);
leaf!(Expr<'t>, 't);
leaf!(Array<T>, T: Real);

impl<A: Tree> Tree for Vec<A> {
    type Leaf = A::Leaf;
    type With<M: Leaf> = Vec<A::With<M>>;
    fn build<M: Leaf>(&self, leaf: &mut dyn FnMut() -> M) -> Self::With<M> {
        self.iter().map(|tree| tree.build(leaf)).collect()
    }
    fn visit_at<'a>(&'a self, at: &mut Path, f: &mut dyn FnMut(&Path, &'a A::Leaf)) {
        self.iter().enumerate().for_each(|(i, tree)| at.enter(i, |at| tree.visit_at(at, f)))
    }
}

macro_rules! tuple {
    ($first:ident $($rest:ident)*; $($index:tt)*) => {
        impl<$first: Tree, $($rest: Tree<Leaf = $first::Leaf>),*> Tree for ($first, $($rest,)*) {
            type Leaf = $first::Leaf;
            type With<M: Leaf> = ($first::With<M>, $($rest::With<M>,)*);
            const BUNDLE: bool = true;
            fn build<M: Leaf>(&self, leaf: &mut dyn FnMut() -> M) -> Self::With<M> {
                ($(self.$index.build(leaf),)*)
            }
            fn visit_at<'a>(&'a self, at: &mut Path, f: &mut dyn FnMut(&Path, &'a $first::Leaf)) {
                tuple!(@visit self at f; $first $($rest)*; $($index)*)
            }
        }
    };
    (@visit $self:ident $at:ident $f:ident; $($type:ident)*; $($index:tt)*) => {{
        $($at.element::<$type, _>($index, |at| $self.$index.visit_at(at, $f));)*
    }};
}
tuple!(A; 0);
tuple!(A B; 0 1);
tuple!(A B C; 0 1 2);
tuple!(A B C D; 0 1 2 3);
tuple!(A B C D E; 0 1 2 3 4);

/// Declares a struct of arrays: a bare field is a leaf, `field: Type` another such struct, `field: [Type]` a vector of them.
///
/// ```
/// use osculate_engine::{spec, tree, Spec, Tree};
/// tree! {
///     /// An affine map.
///     pub struct Affine { w, b }
/// }
/// tree! {
///     /// A few of them and a scale.
///     pub struct Net { layers: [Affine], scale }
/// }
/// let net = Net { layers: vec![Affine { w: spec([4, 3]), b: spec([3]) }], scale: spec([]) };
/// let paths: Vec<String> = net.leaves("params").iter().map(|(path, _)| path.to_string()).collect();
/// assert_eq!(paths, ["params.layers.0.w", "params.layers.0.b", "params.scale"]);
/// ```
#[macro_export]
macro_rules! tree {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$doc:meta])* $field:ident $(: $kind:tt)?),* $(,)?
    }) => {
        $crate::tree!(@fields [$(#[$meta])* $vis struct $name] [] $([$(#[$doc])*] $field [$($kind)?])*);
    };
    // Every field in turn: its type, and whether it is a leaf or a tree.
    (@fields $head:tt [$($done:tt)*] [$($doc:tt)*] $field:ident [] $($rest:tt)*) => {
        $crate::tree!(@fields $head [$($done)* { [$($doc)*] $field leaf (L) }] $($rest)*);
    };
    (@fields $head:tt [$($done:tt)*] [$($doc:tt)*] $field:ident [[$type:ident]] $($rest:tt)*) => {
        $crate::tree!(@fields $head [$($done)* { [$($doc)*] $field tree (Vec<$type<L>>) }] $($rest)*);
    };
    (@fields $head:tt [$($done:tt)*] [$($doc:tt)*] $field:ident [$type:ident] $($rest:tt)*) => {
        $crate::tree!(@fields $head [$($done)* { [$($doc)*] $field tree ($type<L>) }] $($rest)*);
    };
    (@fields [$(#[$meta:meta])* $vis:vis struct $name:ident]
        [$({ [$($doc:tt)*] $field:ident $how:ident ($type:ty) })*]) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)]
        $vis struct $name<L> { $($($doc)* pub $field: $type),* }

        impl<L: $crate::Leaf> $crate::Tree for $name<L> {
            type Leaf = L;
            type With<M: $crate::Leaf> = $name<M>;
            fn build<M: $crate::Leaf>(&self, leaf: &mut dyn FnMut() -> M) -> $name<M> {
                $name { $($field: $crate::tree!(@build $how &self.$field, leaf)),* }
            }
            fn visit_at<'a>(&'a self, at: &mut $crate::Path, f: &mut dyn FnMut(&$crate::Path, &'a L)) {
                $(at.enter(stringify!($field), |at| $crate::tree!(@visit $how &self.$field, at, f));)*
            }
        }
    };
    (@build leaf $value:expr, $leaf:ident) => { $leaf() };
    (@build tree $value:expr, $leaf:ident) => { $crate::Tree::build($value, $leaf) };
    (@visit leaf $value:expr, $at:ident, $f:ident) => { $f($at, $value) };
    (@visit tree $value:expr, $at:ident, $f:ident) => { $crate::Tree::visit_at($value, $at, $f) };
}

/// One array inside a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Path of the leaf.
    pub name: String,
    /// Its extents.
    pub shape: Shape,
    /// Its first element.
    pub offset: usize,
}

impl Segment {
    /// Its elements' positions.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset.saturating_add(self.shape.size())
    }
}

/// How the leaves of a struct lie in one flat buffer: consecutive, each row-major.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    segments: Vec<Segment>,
    len: usize,
}

impl Layout {
    /// The layout of all real leaves of a tree as one buffer.
    pub fn of<P: Signature>(tree: &P, root: &str) -> Layout {
        let mut layout = Layout::default();
        tree.leaves(root).iter().filter(|(_, spec)| !spec.is_index()).for_each(|(path, spec)| layout.push(path, spec));
        layout
    }

    fn push(&mut self, path: &Path, spec: &Spec) {
        self.segments.push(Segment { name: path.to_string(), shape: spec.shape.clone(), offset: self.len });
        self.len = self.len.saturating_add(spec.shape.size());
    }

    /// The arrays, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Elements of the buffer (at most `usize::MAX`, which no buffer has).
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A buffer of a signature: what a program's slot holds.
#[derive(Debug, Clone)]
pub(crate) struct BufferSpec {
    pub kind: Kind,
    pub layout: Layout,
    /// Positions, in the order of leaves, of the leaves it holds.
    pub leaves: Vec<usize>,
}

/// The buffers of data: one a leaf, so that a range of examples is a range of each.
pub(crate) fn apart<P: Signature>(tree: &P, root: &str) -> Vec<BufferSpec> {
    let buffer = |(position, (path, spec)): (usize, (Path, &Spec))| {
        let mut layout = Layout::default();
        layout.push(&path, spec);
        BufferSpec { kind: spec.kind, layout, leaves: vec![position] }
    };
    tree.leaves(root).into_iter().enumerate().map(buffer).collect()
}

/// The buffers of a tree: tuples bundle them, structs are one each, an index leaf is one of its own.
pub(crate) fn buffers<P: Signature>(tree: &P, root: &str) -> Vec<BufferSpec> {
    let mut buffers: Vec<(Option<usize>, BufferSpec)> = Vec::new();
    for (position, (path, spec)) in tree.leaves(root).iter().enumerate() {
        let key = (!spec.is_index()).then_some(path.buffer);
        let found = buffers.iter().position(|(k, b)| key.is_some() && *k == key && b.kind == spec.kind);
        let at = found.unwrap_or_else(|| {
            buffers.push((key, BufferSpec { kind: spec.kind, layout: Layout::default(), leaves: Vec::new() }));
            buffers.len() - 1
        });
        buffers[at].1.layout.push(path, spec);
        buffers[at].1.leaves.push(position);
    }
    buffers.into_iter().map(|(_, buffer)| buffer).collect()
}

/// A tree's values as one flat buffer with its layout: what optimizers step, files store, and programs read without copying.
///
/// ```
/// use osculate_engine::{spec, tree, Array, Flat};
/// tree! { pub struct Affine { w, b } }
/// let signature = Affine { w: spec([1, 2]), b: spec([2]) };
/// let values = Affine { w: Array::new([1, 2], vec![1.0, 2.0])?, b: Array::new([2], vec![3.0, 4.0])? };
/// let mut flat = Flat::pack(&signature, &values)?;
/// flat.values_mut()[3] = 5.0;
/// assert_eq!(flat.unpack()?.b.values(), [3.0, 5.0]);
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Flat<P, T> {
    spec: P,
    layout: Layout,
    values: Vec<T>,
}

impl<P: Signature, T: Real> Flat<P, T> {
    /// Copies a tree of arrays into one buffer.
    ///
    /// # Errors
    /// An array does not fit its spec; the error names its path.
    pub fn pack(spec: &P, tree: &P::With<Array<T>>) -> Result<Flat<P, T>> {
        let mut flat = Flat { spec: spec.clone(), layout: Layout::of(spec, "params"), values: Vec::new() };
        let given = tree.leaves("params");
        let want = spec.leaves("params");
        if given.len() != want.len() {
            return Err(Error::Signature {
                path: "params".into(),
                want: format!("{} arrays", want.len()),
                got: format!("{} arrays", given.len()),
            });
        }
        for ((path, spec), (_, array)) in want.into_iter().zip(given) {
            if spec.is_index() {
                let want = "reals: a flat buffer holds no indices".into();
                return Err(Error::Signature { path: path.to_string(), want, got: spec.to_string() });
            }
            array.fits(spec, &path.to_string())?;
            flat.values.extend_from_slice(array.values());
        }
        Ok(flat)
    }

    /// Copies the buffer out into a tree of arrays.
    ///
    /// # Errors
    /// None for a buffer made by [`Flat::pack`].
    pub fn unpack(&self) -> Result<P::With<Array<T>>> {
        let mut segments = self.layout.segments.iter();
        self.spec.map("params", |_, spec| {
            let values = segments.next().map(|s| self.values[s.range()].to_vec()).unwrap_or_default();
            Array::new(spec.shape.clone(), values)
        })
    }

    /// How the arrays lie in the buffer.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The buffer.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// The buffer, to be changed in place.
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }
}
