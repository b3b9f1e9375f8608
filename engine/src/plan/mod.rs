//! From graphs to programs: every node becomes commands or a view, temporaries share slots.

mod contract;
mod fuse;
mod lookup;
mod memory;
mod merge;
mod schedule;

use std::collections::HashMap;

use osculate_kernels::{Body, Command, Fold, Nest, Program, Slot, View};

use crate::graph::{Graph, Var};
use crate::ops::{Op, Patches, Room};
use crate::sizes::available;
use crate::{Error, Result, Shape};

pub(crate) use contract::{add_to, contract, contract_into, cost};

/// Where a node's elements are: a strided window on a slot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    pub slot: usize,
    pub offset: usize,
    pub shape: Shape,
    pub strides: Vec<usize>,
    /// Whether it is 0 and 1 and picks what it multiplies: an infinity that is not picked counts for nothing.
    pub picks: bool,
}

impl Value {
    /// Row-major from `offset`.
    pub fn contiguous(slot: usize, offset: usize, shape: &Shape) -> Value {
        Value { slot, offset, shape: shape.clone(), strides: shape.strides(), picks: false }
    }

    fn is_contiguous(&self) -> bool {
        let all = self.shape.strides();
        self.shape.iter().zip(&self.strides).zip(&all).all(|((&d, s), want)| d == 1 || s == want)
    }

    /// Row-major in another order of the axes, the outermost first, from the start of a slot.
    fn ordered(slot: usize, shape: &Shape, order: &[usize]) -> Value {
        let (mut strides, mut step) = (vec![0; shape.rank()], 1usize);
        for &axis in order.iter().rev() {
            strides[axis] = step;
            step = step.saturating_mul(shape[axis]);
        }
        Value { slot, offset: 0, shape: shape.clone(), strides, picks: false }
    }

    /// The axes from the outermost in memory to the innermost, if elements lie apart along all of them.
    pub fn order(&self) -> Option<Vec<usize>> {
        let mut axes: Vec<usize> = (0..self.shape.rank()).collect();
        if axes.iter().any(|&a| self.shape[a] > 1 && self.strides[a] == 0) {
            return None;
        }
        let step = |a: usize| if self.shape[a] > 1 { self.strides[a] } else { self.reach(a) };
        axes.sort_by_key(|&a| std::cmp::Reverse(step(a)));
        Some(axes)
    }

    /// For an axis of extent 1, the stride that keeps it where it is in the row-major order.
    fn reach(&self, axis: usize) -> usize {
        (axis + 1..self.shape.rank()).map(|a| self.strides[a] * self.shape[a]).max().unwrap_or(1)
    }

    /// A range of one axis.
    pub fn sliced(&self, axis: usize, range: std::ops::Range<usize>) -> Value {
        let mut value = self.clone();
        value.offset += range.start * self.strides[axis];
        value.shape = self.shape.with(axis, range.len());
        value
    }

    /// The same elements in another shape, if strides can say where they lie: each run of axes that is joined or split lies evenly.
    fn reshaped(&self, shape: &Shape) -> Option<Value> {
        let from: Vec<usize> = (0..self.shape.rank()).filter(|&a| self.shape[a] != 1).collect();
        let (mut strides, mut at, mut to) = (vec![0; shape.rank()], 0, 0);
        while to < shape.rank() {
            if shape[to] == 1 {
                to += 1;
                continue;
            }
            // The shortest runs of old and new axes that hold as many elements.
            let (first, start) = (at, to);
            let (mut old, mut new) = (self.shape[*from.get(at)?], shape[to]);
            (at, to) = (at + 1, to + 1);
            while old != new {
                if old < new {
                    old *= self.shape[*from.get(at)?];
                    at += 1;
                } else {
                    new *= *shape.get(to)?;
                    to += 1;
                }
            }
            let even = |pair: &[usize]| self.strides[pair[0]] == self.strides[pair[1]] * self.shape[pair[1]];
            if !from[first..at].windows(2).all(even) {
                return None;
            }
            let mut step = self.strides[from[at - 1]];
            for axis in (start..to).rev() {
                strides[axis] = step;
                step *= shape[axis];
            }
        }
        let value = Value { shape: shape.clone(), strides, ..self.clone() };
        Some(if value.is_contiguous() { Value { strides: shape.strides(), ..value } } else { value })
    }

    /// The axes in another order: first those kept, then those folded.
    pub fn axes(&self, kept: &[usize], folded: &[usize]) -> Value {
        let pick = |of: &[usize]| kept.iter().chain(folded).map(|&a| of[a]).collect::<Vec<_>>();
        Value { shape: pick(&self.shape).into(), strides: pick(&self.strides), ..self.clone() }
    }

    /// Repeated along a new last axis.
    pub fn repeated(&self, n: usize) -> Value {
        let mut value = self.clone();
        value.shape = [&self.shape[..], &[n]].concat().into();
        value.strides.push(0);
        value
    }

    fn view(&self) -> View {
        View { slot: self.slot, offset: self.offset, strides: self.strides.clone() }
    }
}

/// A program being written.
pub(crate) struct Lowering {
    slots: Vec<Slot>,
    commands: Vec<Command>,
    /// Where the node at hand should leave its result, if an output waits for it, or a padded buffer.
    target: Option<Value>,
    /// Padded buffers that are filled by those who compute what is padded.
    pub rooms: Vec<Room>,
    /// Slots of constants, by the bits of their values.
    constants: HashMap<Vec<u64>, usize>,
    /// Why there is no program.
    fault: Option<String>,
}

impl Lowering {
    /// Room for a result: the waiting output's, or scratch that lies like the arguments.
    pub fn result(&mut self, shape: &Shape, args: &[Value]) -> Value {
        match self.target.take() {
            Some(target) => target,
            None => self.temp_like(shape, args),
        }
    }

    /// The output that waits for a matrix product, which has no wide form.
    fn product_target(&mut self) -> Option<Value> {
        let wide = |t: &Value| matches!(self.slots[t.slot], Slot::Output { wide: true, .. });
        self.target.take_if(|target| !wide(target))
    }

    /// Scratch, row-major.
    pub fn temp(&mut self, shape: &Shape) -> Value {
        if !shape.is_countable() {
            self.fail(format!("an intermediate result f{shape} has more elements than can be counted"));
        }
        self.slots.push(Slot::Temp(shape.size()));
        Value::contiguous(self.slots.len() - 1, 0, shape)
    }

    /// Notes the first reason why there is no program.
    fn fail(&mut self, why: String) {
        self.fault.get_or_insert(why);
    }

    /// Scratch whose axes have an order of their own, the outermost first.
    pub fn temp_ordered(&mut self, shape: &Shape, order: &[usize]) -> Value {
        let value = self.temp(shape);
        Value::ordered(value.slot, shape, order)
    }

    /// Scratch in the order in which an argument's elements lie (the first of those that have all axes), so that elementwise work
    /// runs through memory side by side. Products choose orders, and all that is computed of them follows.
    pub fn temp_like(&mut self, shape: &Shape, args: &[Value]) -> Value {
        let order = args.iter().filter(|a| a.shape.rank() == shape.rank()).find_map(Value::order);
        match order {
            Some(order) => self.temp_ordered(shape, &order),
            None => self.temp(shape),
        }
    }

    fn constant(&mut self, values: Vec<f64>) -> usize {
        let slots = &mut self.slots;
        *self.constants.entry(values.iter().map(|x| x.to_bits()).collect()).or_insert_with(|| {
            slots.push(Slot::Constant(values));
            slots.len() - 1
        })
    }

    /// One number, repeated by strides of 0.
    pub fn fill(&mut self, shape: &Shape, value: f64) -> Value {
        let slot = self.constant(vec![value]);
        Value { slot, offset: 0, shape: shape.clone(), strides: vec![0; shape.rank()], picks: false }
    }

    /// Numbers that the program carries.
    pub fn array(&mut self, shape: &Shape, values: &[f64]) -> Value {
        Value::contiguous(self.constant(values.to_vec()), 0, shape)
    }

    /// The result of a graph of its own, node by node.
    pub fn inlined(&mut self, graph: &Graph, args: &[Value]) -> Value {
        let target = self.target.take();
        let mut values: Vec<Option<Value>> = vec![None; graph.len()];
        graph.inputs.iter().zip(args).for_each(|(var, value)| values[var.index()] = Some(value.clone()));
        let output = graph.outputs[0];
        for (at, node) in graph.nodes.iter().enumerate() {
            if values[at].is_none() {
                let args: Vec<Value> = node.args.iter().filter_map(|v| values[v.index()].clone()).collect();
                self.target = target.clone().filter(|_| output.index() == at);
                values[at] = Some(node.op.primitive().lower(self, &args, &node.spec));
                self.target = None;
            }
        }
        values[output.index()].clone().unwrap_or_else(|| args[0].clone()) // there: it is computed or an input
    }

    /// 0, 1, … along the last axis of `shape`.
    pub fn iota(&mut self, n: usize, shape: &Shape) -> Value {
        // Its values, their bits, and what executors make of them.
        let n = match available(n.saturating_mul(32), || format!("the numbers below {n}")) {
            Ok(()) => n,
            Err(error) => {
                self.fail(error.to_string());
                1
            }
        };
        let slot = self.constant((0..n).map(|i| i as f64).collect());
        let mut strides = vec![0; shape.rank()];
        strides[shape.rank() - 1] = 1;
        Value { slot, offset: 0, shape: shape.clone(), strides, picks: false }
    }

    /// An elementwise command over arguments of one shape.
    pub fn map(&mut self, body: Body, args: &[Value], shape: &Shape) -> Value {
        let out = self.result(shape, args);
        self.map_into(body, args, &out);
        out
    }

    /// An elementwise command with a given place for its result.
    pub fn map_into(&mut self, body: Body, args: &[Value], out: &Value) {
        let inputs = args.iter().map(Value::view).collect();
        self.commands.push(Command::Map(Nest { dims: out.shape.to_vec(), body, inputs, out: out.view() }));
    }

    /// A folding command; arguments have the axes of `out`, then those of `over`.
    pub fn reduce(&mut self, body: Body, args: &[Value], over: &[usize], fold: Fold, scale: f64, out: &Value) {
        let inputs = args.iter().map(Value::view).collect();
        let nest = Nest { dims: out.shape.to_vec(), body, inputs, out: out.view() };
        self.commands.push(Command::Reduce { nest, over: over.to_vec(), fold, scale });
    }

    /// The same elements in another shape: a view where memory allows it, else a copy.
    pub fn reshaped(&mut self, x: &Value, shape: &Shape) -> Value {
        if let Some(view) = x.reshaped(shape) {
            return view;
        }
        let out = self.result(shape, &[]);
        self.map_into(Body::product(1), std::slice::from_ref(x), &Value::contiguous(out.slot, out.offset, &x.shape));
        out
    }
}

/// Lowers a graph whose inputs lie where `inputs` says and whose outputs go where `outputs` says; `slots` are those they refer to.
pub(crate) fn lower(graph: &Graph, slots: Vec<Slot>, inputs: &[Value], outputs: &[Value]) -> Result<Program> {
    let mut cx = Lowering {
        slots,
        commands: Vec::new(),
        target: None,
        rooms: Vec::new(),
        constants: HashMap::new(),
        fault: None,
    };
    let mut values: Vec<Option<Value>> = vec![None; graph.len()];
    graph.inputs.iter().zip(inputs).for_each(|(var, value)| values[var.index()] = Some(value.clone()));
    let mut uses = vec![0; graph.len()];
    graph.nodes.iter().flat_map(|n| &n.args).chain(&graph.outputs).for_each(|v| uses[v.index()] += 1);
    let mut folded = vec![false; graph.len()];
    for (at, node) in graph.nodes.iter().enumerate().rev() {
        let adds = matches!(node.op, Op::Add(_)) && uses[at] == 1 && folded[at];
        if adds || matches!(node.op, Op::Fold(_)) {
            node.args.iter().for_each(|v| folded[v.index()] = true);
        }
    }
    let mut padded: Vec<Option<&Patches>> = vec![None; graph.len()];
    for node in &graph.nodes {
        if let Op::Patches(patches) = &node.op
            && patches.pads()
        {
            padded[node.args[0].index()].get_or_insert(patches);
        }
    }
    let mut wanted = vec![None; graph.len()];
    graph.outputs.iter().zip(outputs).for_each(|(var, output)| wanted[var.index()] = Some(output));
    for (at, node) in graph.nodes.iter().enumerate() {
        if values[at].is_some() {
            continue;
        }
        // Products and sums of them that only a fold wants are added up in place, window by window.
        if matches!(node.op, Op::Contract(_) | Op::Add(_)) && uses[at] == 1 && folded[at] {
            continue;
        }
        // A result that only one output wants is computed where it is wanted; output slots are never read back.
        cx.target = wanted[at].filter(|_| uses[at] == 1).cloned();
        let ready = |args: &[Var]| args.iter().filter_map(|v| values[v.index()].clone()).collect::<Vec<Value>>();
        if let (Op::Fold(fold), None) = (&node.op, node.args.first().and_then(|v| values[v.index()].as_ref())) {
            let shape = &graph.node(node.args[0]).spec.shape;
            let mut parts = vec![node.args[0]];
            // Windows are added up in the order in which the first of the products would lie.
            let mut first = graph.node(node.args[0]);
            while let (Op::Add(_), Some(part)) = (&first.op, first.args.first().filter(|v| values[v.index()].is_none()))
            {
                first = graph.node(*part);
            }
            let order = match &first.op {
                Op::Contract(c) => contract::order(c, &ready(&first.args)),
                _ => None,
            };
            values[at] = Some(fold.lower_into(&mut cx, shape, order.as_deref(), |cx, windows| {
                while let Some(part) = parts.pop() {
                    let inner = graph.node(part);
                    match (&values[part.index()], &inner.op) {
                        (Some(value), _) => add_to(cx, value, windows),
                        (None, Op::Contract(c)) => contract_into(cx, c, &ready(&inner.args), windows),
                        (None, _) => parts.extend(inner.args.iter().rev()),
                    }
                }
            }));
            continue;
        }
        let args = ready(&node.args);
        // What is to be padded is computed where it lies within its border, and read there by all.
        let elementwise = matches!(
            node.op,
            Op::Unary(_) | Op::Binary(_) | Op::IntegerPow(_) | Op::Add(_) | Op::Divide(_) | Op::Select(_)
        );
        if let (true, None, Some(patches)) = (elementwise, &cx.target, padded[at]) {
            let room = patches.room(&mut cx, &node.spec.shape, &args);
            cx.target = Some(room.interior.clone());
            cx.rooms.push(room);
        }
        values[at] = Some(node.op.primitive().lower(&mut cx, &args, &node.spec));
        cx.target = None;
    }
    for (var, target) in graph.outputs.iter().zip(outputs) {
        if let Some(value) = &values[var.index()]
            && (Value { picks: false, ..value.clone() }) != *target
        {
            cx.map_into(Body::product(1), std::slice::from_ref(value), target);
        }
    }
    if let Some(why) = cx.fault {
        return Err(Error::Transform { transform: "compile", why });
    }
    let commands = merge::merge(&cx.slots, cx.commands);
    let commands = fuse::fuse(&cx.slots, commands);
    let commands = schedule::schedule(&cx.slots, commands);
    let (slots, commands) = memory::reuse(cx.slots, commands);
    Ok(Program::new(slots, commands)?)
}
