//! Contractions as commands: a view, one loop nest, or matrix products of pairs.

use osculate_kernels::{Body, Command, Fold, Instr, Nest, Product};

use super::{Lowering, Value};
use crate::Shape;
use crate::ops::{Contract, Labels};

type Operand = (Value, Labels);

/// Operands that one nest may multiply: its body has up to three instructions each.
const NEST: usize = 4;

/// Where the result of a contraction goes.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// To scratch.
    Temp,
    /// To the output that waits for it, if one does.
    Result,
    /// Added to windows, whose strides are those of the contraction's labels.
    Windows(&'a Value),
}

/// Emits a contraction.
pub(crate) fn contract(cx: &mut Lowering, c: &Contract, args: &[Value]) -> Value {
    emit(cx, c, args, None)
}

/// Emits a contraction whose result is added to overlapping windows.
pub(crate) fn contract_into(cx: &mut Lowering, c: &Contract, args: &[Value], windows: &Value) {
    let value = emit(cx, c, args, Some(windows));
    if value != *windows {
        add_to(cx, &value, windows);
    }
}

/// Emits an addition to overlapping windows.
pub(crate) fn add_to(cx: &mut Lowering, value: &Value, windows: &Value) {
    cx.commands.push(Command::AddTo(Nest {
        dims: windows.shape.to_vec(),
        body: Body::product(1),
        inputs: vec![value.view()],
        out: windows.view(),
    }));
}

fn emit(cx: &mut Lowering, c: &Contract, args: &[Value], windows: Option<&Value>) -> Value {
    let shape: Shape = c.out.iter().map(|&l| c.dims[l as usize]).collect::<Vec<_>>().into();
    let mut operands: Vec<Operand> = args.iter().cloned().zip(c.ins.iter().cloned()).collect();
    operands.iter_mut().for_each(|operand| drop_units(operand, &c.dims));
    let mut coef = c.coef();
    if operands.is_empty() {
        return cx.fill(&shape, coef);
    }
    while operands.len() > 2 && !one_nest(&operands, c) {
        let labels: Vec<&Labels> = operands.iter().map(|(_, labels)| labels).collect();
        let (i, j) = cheapest_pair(&labels, &c.out, &c.dims);
        let (b, a) = (operands.remove(j), operands.remove(i));
        let needed = |l: &u8| c.out.contains(l) || operands.iter().any(|(_, ls)| ls.contains(l));
        let mut out: Labels = a.1.clone();
        out.extend(b.1.iter().filter(|l| !a.1.contains(l)));
        out.retain(needed);
        let value = multiply(cx, coef, vec![a, b], &out, &c.dims, Place::Temp);
        coef = 1.0;
        operands.push((value, out));
    }
    // Labels that no operand carries, and those of extent 1, are strides of 0 in the result.
    let carried: Labels =
        c.out.iter().copied().filter(|l| operands.iter().any(|(_, labels)| labels.contains(l))).collect();
    let whole = carried.len() == c.out.iter().filter(|&&l| c.dims[l as usize] != 1).count();
    if let (Some(windows), true) = (windows, whole && is_product(&operands, &c.out)) {
        let kept: Vec<usize> = (0..c.out.len()).filter(|&a| c.dims[c.out[a] as usize] != 1).collect();
        multiply(cx, coef, operands, &carried, &c.dims, Place::Windows(&windows.axes(&kept, &[])));
        return windows.clone();
    }
    let place = if whole && windows.is_none() { Place::Result } else { Place::Temp };
    let value = multiply(cx, coef, operands, &carried, &c.dims, place);
    let stride = |l: &u8| carried.iter().position(|o| o == l).map_or(0, |at| value.strides[at]);
    let strides: Vec<usize> = c.out.iter().map(stride).collect();
    let result = Value { shape, strides, ..value };
    if result.is_contiguous() { Value { strides: result.shape.strides(), ..result } } else { result }
}

/// Axes of extent 1 neither multiply nor sum.
fn drop_units((value, labels): &mut Operand, dims: &[usize]) {
    let kept: Vec<usize> = (0..labels.len()).filter(|&a| dims[labels[a] as usize] != 1).collect();
    *value = value.axes(&kept, &[]);
    *labels = kept.iter().map(|&a| labels[a]).collect();
}

fn union<'l>(operands: impl IntoIterator<Item = &'l Labels>) -> Labels {
    let mut all = Labels::new();
    for l in operands.into_iter().flatten() {
        if !all.contains(l) {
            all.push(*l);
        }
    }
    all
}

fn size(labels: &[u8], dims: &[usize]) -> usize {
    labels.iter().fold(1, |n, &l| n.saturating_mul(dims[l as usize]))
}

/// Whether the whole product, element by element, is no larger than what must be touched anyway.
fn one_nest(operands: &[Operand], c: &Contract) -> bool {
    let all = size(&union(operands.iter().map(|(_, labels)| labels)), &c.dims);
    let largest = operands.iter().map(|(_, labels)| size(labels, &c.dims)).max().unwrap_or(0);
    operands.len() <= NEST && all <= largest.max(size(&c.out, &c.dims))
}

/// The pair whose product takes the fewest multiplications; of several, that of the smallest result.
fn cheapest_pair(operands: &[&Labels], out: &[u8], dims: &[usize]) -> (usize, usize) {
    let pairs = (0..operands.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
    let price = |(i, j): (usize, usize)| {
        let mut both = union([operands[i], operands[j]]);
        let multiplications = size(&both, dims);
        let elsewhere = |l: &u8| (0..operands.len()).any(|at| at != i && at != j && operands[at].contains(l));
        both.retain(|l| out.contains(l) || elsewhere(l));
        (multiplications, size(&both, dims))
    };
    pairs.min_by_key(|&pair| price(pair)).unwrap_or((0, 1))
}

/// Multiply-adds of a product of operands, multiplied pair by pair in the order in which they would be emitted, and the elements
/// of its intermediate results.
pub(crate) fn cost(mut operands: Vec<Labels>, out: &[u8], dims: &[usize]) -> (usize, usize) {
    let (mut total, mut elements) = (0usize, 0usize);
    while operands.len() > 1 {
        let (i, j) = cheapest_pair(&operands.iter().collect::<Vec<_>>(), out, dims);
        let (b, a) = (operands.remove(j), operands.remove(i));
        let mut both = union([&a, &b]);
        total = total.saturating_add(size(&both, dims));
        both.retain(|l| out.contains(l) || operands.iter().any(|labels| labels.contains(l)));
        if !operands.is_empty() {
            elements = elements.saturating_add(size(&both, dims));
        }
        operands.push(both);
    }
    (total, elements)
}

/// Emits the product of operands that fit one nest, or of two.
fn multiply(
    cx: &mut Lowering,
    coef: f64,
    mut operands: Vec<Operand>,
    out: &[u8],
    dims: &[usize],
    place: Place<'_>,
) -> Value {
    let shape: Shape = out.iter().map(|&l| dims[l as usize]).collect::<Vec<_>>().into();
    let summed: Labels =
        union(operands.iter().map(|(_, labels)| labels)).into_iter().filter(|l| !out.contains(l)).collect();
    if let [(value, labels)] = &operands[..]
        && summed.is_empty()
        && coef == 1.0
    {
        let at: Vec<usize> = out.iter().filter_map(|l| labels.iter().position(|o| o == l)).collect();
        return value.axes(&at, &[]);
    }
    if is_product(&operands, out) {
        // What only one side carries and the result lacks is summed first.
        let alone =
            |l: &u8| summed.contains(l) && operands.iter().filter(|(_, labels)| labels.contains(l)).count() == 1;
        let kept: Vec<Labels> =
            operands.iter().map(|(_, labels)| labels.iter().copied().filter(|l| !alone(l)).collect()).collect();
        for (operand, kept) in operands.iter_mut().zip(kept) {
            if kept.len() < operand.1.len() {
                *operand = (multiply(cx, 1.0, vec![operand.clone()], &kept, dims, Place::Temp), kept);
            }
        }
        let (b, a) = (operands.remove(1), operands.remove(0));
        return matmul(cx, coef, a, b, out, dims, place);
    }
    let inputs: Vec<Value> = operands.iter().map(|operand| expand(operand, out, &summed, dims)).collect();
    let kept: Vec<usize> = (0..out.len()).collect();
    let lie = || inputs.iter().map(|value| value.axes(&kept, &[])).collect::<Vec<_>>();
    let target = match cx.target.take_if(|_| matches!(place, Place::Result)) {
        // A waiting output may have axes of extent 1 besides.
        Some(target) => Value::contiguous(target.slot, target.offset, &shape),
        None => cx.temp_like(&shape, &lie()),
    };
    if summed.is_empty() {
        cx.map_into(picked_product(&inputs).scaled(coef), &inputs, &target);
    } else {
        let over: Vec<usize> = summed.iter().map(|&l| dims[l as usize]).collect();
        cx.reduce(picked_product(&inputs), &inputs, &over, Fold::Sum, coef, &target);
    }
    target
}

/// The product of the inputs, where all that pick do: elsewhere 0, whatever the others are.
fn picked_product(inputs: &[Value]) -> Body {
    let mut code = Vec::new();
    for picks in [false, true] {
        for (input, _) in inputs.iter().enumerate().filter(|(_, value)| value.picks == picks) {
            let result = code.len().checked_sub(1);
            code.push(Instr::Load(input));
            let load = code.len() - 1;
            match result {
                None => {}
                Some(result) if picks => code.extend([Instr::Const(0.0), Instr::Select(load, result, load + 1)]),
                Some(result) => code.push(Instr::Mul(result, load)),
            }
        }
    }
    Body(code)
}

/// The operand with one axis for every label of the nest, of stride 0 where it lacks it.
fn expand((value, labels): &Operand, out: &[u8], summed: &[u8], dims: &[usize]) -> Value {
    let all = || out.iter().chain(summed);
    let stride = |l: &u8| labels.iter().position(|o| o == l).map_or(0, |at| value.strides[at]);
    Value {
        shape: all().map(|&l| dims[l as usize]).collect::<Vec<_>>().into(),
        strides: all().map(stride).collect(),
        ..value.clone()
    }
}

/// Whether two operands make a matrix product: a label summed between them, and kept labels that only one has.
fn is_product(operands: &[Operand], out: &[u8]) -> bool {
    let [(first, a), (second, b)] = operands else { return false };
    if first.picks || second.picks {
        return false; // 0·∞ would be NaN
    }
    let shared = a.iter().any(|l| b.contains(l) && !out.contains(l));
    shared && out.iter().any(|l| a.contains(l) != b.contains(l))
}

/// The loops of a product of two operands, by their labels.
struct Roles {
    batch: Labels,
    rows: Labels,
    inner: Labels,
    cols: Labels,
    /// Whether the first operand gives the columns.
    swapped: bool,
}

impl Roles {
    /// The side whose labels come first in the result gives the rows.
    fn new([a, b]: [&Labels; 2], out: &[u8]) -> Roles {
        let in_order = |keep: &dyn Fn(&u8) -> bool| out.iter().copied().filter(|l| keep(l)).collect::<Labels>();
        let batch = in_order(&|l| a.contains(l) && b.contains(l));
        let mut rows = in_order(&|l| a.contains(l) && !b.contains(l));
        let mut cols = in_order(&|l| !a.contains(l) && b.contains(l));
        let inner: Labels = a.iter().copied().filter(|l| b.contains(l) && !out.contains(l)).collect();
        let first =
            |labels: &Labels| labels.first().and_then(|l| out.iter().position(|o| o == l)).unwrap_or(usize::MAX);
        let swapped = first(&cols) < first(&rows);
        if swapped {
            std::mem::swap(&mut rows, &mut cols);
        }
        Roles { batch, rows, inner, cols, swapped }
    }

    /// The axes of the result from the outermost in memory: where rows and columns are interleaved (the channels of a convolution lie
    /// between examples and places), columns come last, if they fill vectors. Both are in the order of their operand's.
    fn order(&self, operands: [&Operand; 2], out: &[u8], dims: &[usize]) -> Vec<usize> {
        let at = |l: &u8| out.iter().position(|o| o == l);
        if size(&self.cols, dims) < FILLED {
            return (0..out.len()).collect();
        }
        let sorted = |labels: &Labels, (value, of): &Operand| {
            let mut labels = labels.clone();
            let step = |l: &u8| of.iter().position(|o| o == l).map_or(0, |at| value.strides[at]);
            labels.sort_by_key(|l| std::cmp::Reverse(step(l)));
            labels
        };
        let [a, b] = if self.swapped { [operands[1], operands[0]] } else { operands };
        let (rows, cols) = (sorted(&self.rows, a), sorted(&self.cols, b));
        self.batch.iter().chain(&rows).chain(&cols).filter_map(at).collect()
    }
}

/// Columns that are enough for vectors of their own.
const FILLED: usize = 16;

/// The order in memory of the axes of a product of two operands, if a contraction is one.
pub(crate) fn order(c: &Contract, args: &[Value]) -> Option<Vec<usize>> {
    let mut operands: Vec<Operand> = args.iter().cloned().zip(c.ins.iter().cloned()).collect();
    operands.iter_mut().for_each(|operand| drop_units(operand, &c.dims));
    let product = operands.len() == 2 && is_product(&operands, &c.out);
    product.then(|| {
        let roles = Roles::new([&operands[0].1, &operands[1].1], &c.out);
        let mut order = roles.order([&operands[0], &operands[1]], &c.out, &c.dims);
        // Axes that no operand carries.
        let rest: Vec<usize> = (0..c.out.len()).filter(|a| !order.contains(a)).collect();
        order.splice(0..0, rest);
        order
    })
}

/// Emits a batched matrix product.
///
/// Operands may be any views (the windows of a convolution), of which executors make no matrix.
fn matmul(cx: &mut Lowering, coef: f64, a: Operand, b: Operand, out: &[u8], dims: &[usize], place: Place<'_>) -> Value {
    let roles = Roles::new([&a.1, &b.1], out);
    let lies = roles.order([&a, &b], out, dims);
    let (a, b) = if roles.swapped { (b, a) } else { (a, b) };
    let extents = |labels: &[u8]| labels.iter().map(|&l| dims[l as usize]).collect::<Vec<_>>();
    let shape: Shape = extents(out).into();
    let waiting = if matches!(place, Place::Result) { cx.product_target() } else { None };
    let (target, accumulate) = match (place, waiting) {
        (Place::Windows(windows), _) => (windows.clone(), true),
        (_, Some(target)) => (Value::contiguous(target.slot, target.offset, &shape), false),
        (_, None) => (cx.temp_ordered(&shape, &lies), false),
    };
    let Roles { batch, rows, inner, cols, .. } = &roles;
    let order: Vec<usize> =
        batch.iter().chain(rows).chain(cols).filter_map(|l| out.iter().position(|o| o == l)).collect();
    let view = |operand: &Operand, groups: [&[u8]; 3]| expand(operand, &groups.concat(), &[], dims).view();
    cx.commands.push(Command::MatMul(Product {
        a: view(&a, [batch, rows, inner]),
        b: view(&b, [batch, inner, cols]),
        out: target.axes(&order, &[]).view(),
        batch: extents(batch),
        rows: extents(rows),
        inner: extents(inner),
        cols: extents(cols),
        scale: coef,
        accumulate,
    }));
    target
}
