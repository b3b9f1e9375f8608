//! Contractions as commands: a view, one loop nest, or matrix products of pairs.

use osculate_kernels::{Body, Command, Fold, View};

use super::{Lowering, Value};
use crate::Shape;
use crate::ops::{Contract, Labels};

type Operand = (Value, Labels);

/// Operands that one nest may multiply: its body has two instructions each.
const NEST: usize = 6;

/// Emits a contraction.
pub(crate) fn contract(cx: &mut Lowering, c: &Contract, args: &[Value]) -> Value {
    let shape: Shape = c.out.iter().map(|&l| c.dims[l as usize]).collect::<Vec<_>>().into();
    let mut operands: Vec<Operand> = args.iter().cloned().zip(c.ins.iter().cloned()).collect();
    operands.iter_mut().for_each(|operand| drop_units(operand, &c.dims));
    let mut coef = c.coef();
    if operands.is_empty() {
        return cx.fill(&shape, coef);
    }
    while operands.len() > 2 && !one_nest(&operands, c) {
        let (i, j) = cheapest_pair(&operands, c);
        let (b, a) = (operands.remove(j), operands.remove(i));
        let needed = |l: &u8| c.out.contains(l) || operands.iter().any(|(_, ls)| ls.contains(l));
        let mut out: Labels = a.1.clone();
        out.extend(b.1.iter().filter(|l| !a.1.contains(l)));
        out.retain(needed);
        let value = multiply(cx, coef, vec![a, b], &out, &c.dims, false);
        coef = 1.0;
        operands.push((value, out));
    }
    // Labels that no operand carries, and those of extent 1, are strides of 0 in the result.
    let carried: Labels =
        c.out.iter().copied().filter(|l| operands.iter().any(|(_, labels)| labels.contains(l))).collect();
    let whole = carried.len() == c.out.iter().filter(|&&l| c.dims[l as usize] != 1).count();
    let value = multiply(cx, coef, operands, &carried, &c.dims, whole);
    let stride = |l: &u8| carried.iter().position(|o| o == l).map_or(0, |at| value.strides[at]);
    let strides: Vec<usize> = c.out.iter().map(stride).collect();
    let result = Value { slot: value.slot, offset: value.offset, shape, strides };
    if result.is_contiguous() { Value::contiguous(result.slot, result.offset, &result.shape) } else { result }
}

/// Axes of extent 1 neither multiply nor sum.
fn drop_units((value, labels): &mut Operand, dims: &[usize]) {
    let kept: Vec<usize> = (0..labels.len()).filter(|&a| dims[labels[a] as usize] != 1).collect();
    *value = value.axes(&kept, &[]);
    *labels = kept.iter().map(|&a| labels[a]).collect();
}

fn union(operands: &[&Operand]) -> Labels {
    let mut all = Labels::new();
    for l in operands.iter().flat_map(|(_, labels)| labels) {
        if !all.contains(l) {
            all.push(*l);
        }
    }
    all
}

fn size(labels: &[u8], dims: &[usize]) -> usize {
    labels.iter().map(|&l| dims[l as usize]).product()
}

/// Whether the whole product, element by element, is no larger than what must be touched anyway.
fn one_nest(operands: &[Operand], c: &Contract) -> bool {
    let all = size(&union(&operands.iter().collect::<Vec<_>>()), &c.dims);
    let largest = operands.iter().map(|(_, labels)| size(labels, &c.dims)).max().unwrap_or(0);
    operands.len() <= NEST && all <= largest.max(size(&c.out, &c.dims))
}

/// The pair whose product takes the fewest multiplications.
fn cheapest_pair(operands: &[Operand], c: &Contract) -> (usize, usize) {
    let pairs = (0..operands.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
    pairs.min_by_key(|&(i, j)| size(&union(&[&operands[i], &operands[j]]), &c.dims)).unwrap_or((0, 1))
}

/// Emits the product of operands that fit one nest, or of two.
fn multiply(cx: &mut Lowering, coef: f64, mut operands: Vec<Operand>, out: &[u8], dims: &[usize], last: bool) -> Value {
    let shape: Shape = out.iter().map(|&l| dims[l as usize]).collect::<Vec<_>>().into();
    let summed: Labels = union(&operands.iter().collect::<Vec<_>>()).into_iter().filter(|l| !out.contains(l)).collect();
    if let [(value, labels)] = &operands[..]
        && summed.is_empty()
        && coef == 1.0
    {
        let at: Vec<usize> = out.iter().filter_map(|l| labels.iter().position(|o| o == l)).collect();
        return value.axes(&at, &[]);
    }
    if operands.len() == 2 && is_product(&operands, &summed, out) {
        // What only one side carries and the result lacks is summed first.
        let alone =
            |l: &u8| summed.contains(l) && operands.iter().filter(|(_, labels)| labels.contains(l)).count() == 1;
        let kept: Vec<Labels> =
            operands.iter().map(|(_, labels)| labels.iter().copied().filter(|l| !alone(l)).collect()).collect();
        for (operand, kept) in operands.iter_mut().zip(kept) {
            if kept.len() < operand.1.len() {
                *operand = (multiply(cx, 1.0, vec![operand.clone()], &kept, dims, false), kept);
            }
        }
        let (b, a) = (operands.remove(1), operands.remove(0));
        return matmul(cx, coef, a, b, out, dims, last);
    }
    let inputs: Vec<Value> = operands.iter().map(|operand| expand(operand, out, &summed, dims)).collect();
    let target = if last { cx.result(&shape) } else { cx.temp(&shape) };
    // A waiting output may have axes of extent 1 besides.
    let target = Value::contiguous(target.slot, target.offset, &shape);
    if summed.is_empty() {
        cx.map_into(Body::product(inputs.len()).scaled(coef), &inputs, &target);
    } else {
        let over: Vec<usize> = summed.iter().map(|&l| dims[l as usize]).collect();
        cx.reduce(Body::product(inputs.len()), &inputs, &over, Fold::Sum, coef, &target);
    }
    target
}

/// The operand with one axis for every label of the nest, of stride 0 where it lacks it.
fn expand((value, labels): &Operand, out: &[u8], summed: &[u8], dims: &[usize]) -> Value {
    let all = || out.iter().chain(summed);
    let stride = |l: &u8| labels.iter().position(|o| o == l).map_or(0, |at| value.strides[at]);
    Value {
        slot: value.slot,
        offset: value.offset,
        shape: all().map(|&l| dims[l as usize]).collect::<Vec<_>>().into(),
        strides: all().map(stride).collect(),
    }
}

/// Whether two operands make a matrix product: a label summed between them, and kept labels that only one has.
fn is_product(operands: &[Operand], summed: &[u8], out: &[u8]) -> bool {
    let (a, b) = (&operands[0].1, &operands[1].1);
    let shared = summed.iter().any(|l| a.contains(l) && b.contains(l));
    shared && out.iter().any(|l| a.contains(l) != b.contains(l))
}

/// Emits a batched matrix product.
fn matmul(cx: &mut Lowering, coef: f64, a: Operand, b: Operand, out: &[u8], dims: &[usize], last: bool) -> Value {
    let in_order = |keep: &dyn Fn(&u8) -> bool| out.iter().copied().filter(|l| keep(l)).collect::<Labels>();
    let batch = in_order(&|l| a.1.contains(l) && b.1.contains(l));
    let rows = in_order(&|l| a.1.contains(l) && !b.1.contains(l));
    let cols = in_order(&|l| !a.1.contains(l) && b.1.contains(l));
    // The side whose labels come first in the result gives the rows.
    let first = |labels: &Labels| labels.first().and_then(|l| out.iter().position(|o| o == l)).unwrap_or(usize::MAX);
    if first(&cols) < first(&rows) {
        return matmul(cx, coef, b, a, out, dims, last);
    }
    let inner: Labels = a.1.iter().copied().filter(|l| b.1.contains(l) && !out.contains(l)).collect();
    let order: Labels = [&batch[..], &rows, &cols].concat();
    let extents = |labels: &[u8]| labels.iter().map(|&l| dims[l as usize]).collect::<Vec<_>>();
    let shape: Shape = extents(&order).into();
    let target = if last && order == out { cx.product_result(&shape) } else { cx.temp(&shape) };
    let target = Value::contiguous(target.slot, target.offset, &shape);
    let a = matrix(cx, &a, [&batch, &rows, &inner], dims);
    let b = matrix(cx, &b, [&batch, &inner, &cols], dims);
    let (m, n) = (size(&rows, dims), size(&cols, dims));
    let out_view =
        View { slot: target.slot, offset: target.offset, strides: [&target.strides[..batch.len()], &[n, 1]].concat() };
    cx.commands.push(Command::MatMul {
        batch: extents(&batch),
        size: [m, size(&inner, dims), n],
        scale: coef,
        a,
        b,
        out: out_view,
    });
    let at: Vec<usize> = out.iter().filter_map(|l| order.iter().position(|o| o == l)).collect();
    target.axes(&at, &[])
}

/// The operand as a batch of matrices; groups of labels that do not lie evenly spaced are copied first.
fn matrix(cx: &mut Lowering, operand: &Operand, groups: [&Labels; 3], dims: &[usize]) -> View {
    let [batch, rows, cols] = groups;
    let ordered = expand(operand, &[&batch[..], rows, cols].concat(), &[], dims);
    let spaced = |from: usize, n: usize| {
        let (extents, strides) = (&ordered.shape[from..from + n], &ordered.strides[from..from + n]);
        (1..n).all(|i| strides[i - 1] == strides[i] * extents[i])
    };
    let (r, c) = (batch.len(), batch.len() + rows.len());
    let value = if spaced(r, rows.len()) && spaced(c, cols.len()) {
        ordered
    } else {
        let copy = cx.temp(&ordered.shape);
        cx.map_into(Body::product(1), &[ordered], &copy);
        copy
    };
    // An empty group is one row or column; its stride is never stepped.
    let step = |from: usize, n: usize| if n == 0 { 1 } else { value.strides[from + n - 1] };
    let strides = [&value.strides[..r], &[step(r, rows.len()), step(c, cols.len())]].concat();
    View { slot: value.slot, offset: value.offset, strides }
}
