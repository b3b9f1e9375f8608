//! Bodies made ready: a straight line of vector instructions on one register, the accumulator.
//!
//! What the next instruction alone reads never leaves the accumulator; the rest is stored to lanes of its own, in the first cache: those
//! of a tile, which the next one has again, or of a block where functions are applied to whole ones. A product that is only added to
//! something is one instruction with the sum (both rounded, as the body says).

use crate::body::REGISTERS;
use crate::{Body, Comparison, Inline, Instr, Scalar, Scalar2};

/// What instructions name: results first, then inputs, constants, and lanes stored on the way.
pub type Arg = u8;

/// Most results of a body.
pub(crate) const RESULTS: usize = 16;

/// Most of what instructions name: of a body, each instruction makes two at most (itself, and if it is a result, a copy to be moved),
/// a function of two arguments one more.
pub const ARGS: usize = 128;

const _: () = assert!(REGISTERS + 2 * RESULTS <= ARGS && ARGS.is_power_of_two());

/// An instruction on the accumulator, `x`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[doc(hidden)]
pub enum Op {
    /// x = a
    Load(Arg),
    /// a = x
    Store(Arg),
    /// a = a + x
    Sum(Arg),
    /// x + a
    Add(Arg),
    /// x · a
    Mul(Arg),
    /// x / a
    Div(Arg),
    /// a / x
    Under(Arg),
    /// x + a · b
    AddMul(Arg, Arg),
    /// a + b, as [`Op::Load`] and [`Op::Add`]: what reading an instruction costs is paid once for two.
    LoadAdd(Arg, Arg),
    /// a · b
    LoadMul(Arg, Arg),
    /// (x + a) + b
    AddAdd(Arg, Arg),
    /// (x + a) · b
    AddThenMul(Arg, Arg),
    /// x · a + b
    MulAdd(Arg, Arg),
    /// (x · a) · b
    MulMul(Arg, Arg),
    /// 1 where x < a, else 0
    Less(Arg),
    /// 1 where x ≤ a, else 0
    LessEqual(Arg),
    /// 1 where x > a, else 0
    More(Arg),
    /// 1 where x ≥ a, else 0
    MoreEqual(Arg),
    /// 1 where x = a, else 0
    Equal(Arg),
    /// a where x is not 0, else b
    Pick(Arg, Arg),
    /// a where x < a, else x
    AtLeast(Arg),
    /// a where x > a, else x
    AtMost(Arg),
    /// A function of x.
    Inline(Inline),
}

/// A function that is applied to a whole block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Apply {
    pub function: Function,
    /// Where the first argument lies, and the result goes.
    pub to: Arg,
}

/// A function of what is replaced, or of that and other lanes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Function {
    One(&'static Scalar),
    Two(&'static Scalar2, Arg),
}

/// A body made ready.
#[derive(Debug, Clone)]
pub(super) struct Code {
    ops: Vec<Op>,
    /// Where the instructions stop for a function to be applied, and which.
    stops: Vec<(usize, Apply)>,
    pub results: usize,
    /// Numbers of the inputs that are read.
    pub inputs: Vec<usize>,
    pub constants: Vec<f64>,
    /// Lanes stored on the way.
    pub stored: usize,
    /// The input that is the only result, if nothing is computed.
    pub copied: Option<usize>,
}

impl Code {
    /// Of a body whose last register is the result.
    pub fn new(body: &Body) -> Code {
        Code::of(body, &[body.0.len() - 1], 0, 1)
    }

    /// Of a body with several results; the first inputs are what lies where the results go, which are written once nobody reads it. As
    /// many results as are replaced: further ones are added to what lies where they go.
    pub fn sweep(body: &Body, results: &[usize], replaced: usize) -> Code {
        Code::of(body, results, replaced, replaced)
    }

    fn of(body: &Body, results: &[usize], replaced: usize, written: usize) -> Code {
        let wanted = body.live(results);
        let (mut inputs, mut constants): (Vec<usize>, Vec<f64>) = (Vec::new(), Vec::new());
        let live = || body.0.iter().zip(&wanted).filter(|&(_, &wanted)| wanted).map(|(instr, _)| *instr);
        for instr in live() {
            match instr {
                Instr::Load(input) if input >= replaced && !inputs.contains(&input) => inputs.push(input),
                Instr::Const(value) if !constants.iter().any(|c| c.to_bits() == value.to_bits()) => {
                    constants.push(value)
                }
                _ => {}
            }
        }
        let mut readers = vec![0; body.0.len()];
        live().for_each(|instr| instr.reads().for_each(|read| readers[read] += 1));
        for instr in live() {
            if let Instr::Select(mask, a, b) = instr
                && bounds(&body.0, &readers, mask, a, b)
            {
                // Compared and chosen at once.
                readers[b] -= 1;
            }
        }
        let place = |instr: &Instr| match *instr {
            Instr::Load(input) if input < replaced => Some(input),
            Instr::Load(input) => inputs.iter().position(|&i| i == input).map(|at| results.len() + at),
            Instr::Const(value) => (constants.iter().position(|c| c.to_bits() == value.to_bits()))
                .map(|at| results.len() + inputs.len() + at),
            _ => None,
        };
        let places = body.0.iter().map(|instr| place(instr).map(|place| place as Arg)).collect();
        let mut writer = Writer {
            code: &body.0,
            results: &results[..written],
            replaced,
            sums: (written..).zip(&results[written..]).map(|(place, &register)| (place as Arg, register)).collect(),
            readers,
            places,
            given: (results.len() + inputs.len() + constants.len()) as Arg,
            next: (results.len() + inputs.len() + constants.len()) as Arg,
            ops: Vec::new(),
            stop: 0,
        };
        let mut stops = Vec::new();
        for (at, instr) in body.0.iter().enumerate().filter(|&(at, _)| wanted[at]) {
            let (function, read) = match *instr {
                Instr::Apply(scalar @ Scalar { inline: None, .. }, read) => (Function::One(scalar), read),
                Instr::Apply2(scalar, read, other) => (Function::Two(scalar, writer.block(other)), read),
                _ => continue,
            };
            writer.value(read);
            let to = writer.room(at);
            writer.ops.push(Op::Store(to));
            writer.places[at] = Some(to);
            writer.stop = writer.ops.len();
            stops.push((writer.stop, Apply { function, to }));
        }
        writer.results();
        let Writer { mut ops, next, .. } = writer;
        let stored = next as usize - results.len() - inputs.len() - constants.len();
        let copied = match (&inputs[..], &ops[..]) {
            (&[input], [Op::Load(_), Op::Store(0)]) if stops.is_empty() => Some(input),
            _ => None,
        };
        paired(&mut ops, &mut stops);
        Code { ops, stops, results: results.len(), inputs, constants, stored, copied }
    }

    /// The same body, its result added to what lies where it goes; none if a function makes that.
    pub fn adding(&self) -> Option<Code> {
        let mut code = self.clone();
        let last = self.stops.last().map_or(0, |stop| stop.0);
        if self.ops[last..].last() != Some(&Op::Store(0)) {
            return None;
        }
        code.ops.insert(self.ops.len() - 1, Op::Add(0));
        code.copied = None;
        paired(&mut code.ops, &mut code.stops);
        Some(code)
    }

    /// Stretches of instructions, and the function that follows each but the last.
    pub fn stretches(&self) -> impl Iterator<Item = (&[Op], Option<Apply>)> {
        let starts = std::iter::once(0).chain(self.stops.iter().map(|&(at, _)| at));
        let ends = self.stops.iter().map(|&(at, apply)| (at, Some(apply))).chain([(self.ops.len(), None)]);
        starts.zip(ends).map(|(start, (end, apply))| (&self.ops[start..end], apply))
    }

    /// Of what is stored on the way, how much only the same tile reads, and how much lies in whole blocks for functions: all or nothing.
    pub fn kept(&self) -> [usize; 2] {
        if self.stops.is_empty() { [self.stored, 0] } else { [0, self.stored] }
    }

    /// What comes before the lanes stored on the way.
    pub fn given(&self) -> usize {
        self.results + self.inputs.len() + self.constants.len()
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&self.ops[..])
            + size_of_val(&self.stops[..])
            + size_of_val(&self.inputs[..])
            + size_of_val(&self.constants[..])
    }
}

/// Whether a choice is one of the two that only it compares: `a`, which has a place, where `b < a`, or where `a < b`.
fn bounds(code: &[Instr], readers: &[usize], mask: usize, a: usize, b: usize) -> bool {
    let compared = [Instr::Compare(Comparison::Less, b, a), Instr::Compare(Comparison::Less, a, b)];
    readers[mask] == 1 && matches!(code[a], Instr::Load(_) | Instr::Const(_)) && compared.contains(&code[mask])
}

/// Joins instructions that follow one another, unless a function comes between.
fn paired(ops: &mut Vec<Op>, stops: &mut [(usize, Apply)]) {
    let mut made: Vec<Op> = Vec::new();
    let (mut from, mut at) = (0, 0);
    for end in stops.iter().map(|stop| stop.0).chain([ops.len()]).collect::<Vec<_>>() {
        while from < end {
            let pair = match (ops[from], ops[from + 1..end].first()) {
                (Op::Load(a), Some(&Op::Add(b))) => Some(Op::LoadAdd(a, b)),
                (Op::Load(a), Some(&Op::Mul(b))) => Some(Op::LoadMul(a, b)),
                (Op::Add(a), Some(&Op::Add(b))) => Some(Op::AddAdd(a, b)),
                (Op::Add(a), Some(&Op::Mul(b))) => Some(Op::AddThenMul(a, b)),
                (Op::Mul(a), Some(&Op::Add(b))) => Some(Op::MulAdd(a, b)),
                (Op::Mul(a), Some(&Op::Mul(b))) => Some(Op::MulMul(a, b)),
                _ => None,
            };
            made.push(pair.unwrap_or(ops[from]));
            from += 1 + usize::from(pair.is_some());
        }
        if let Some(stop) = stops.get_mut(at) {
            stop.0 = made.len();
        }
        at += 1;
    }
    *ops = made;
}

/// Writes the instructions for a body.
struct Writer<'b> {
    code: &'b [Instr],
    /// Those that are written.
    results: &'b [usize],
    replaced: usize,
    /// Where others are to be added up still.
    sums: Vec<(Arg, usize)>,
    readers: Vec<usize>,
    /// Where registers lie that are not, or not only, in the accumulator.
    places: Vec<Option<Arg>>,
    /// From where on lie the lanes stored on the way.
    given: Arg,
    next: Arg,
    ops: Vec<Op>,
    /// Where the accumulator was lost to a function.
    stop: usize,
}

impl Writer<'_> {
    /// All results, where they go.
    fn results(&mut self) {
        // In the body's order: what others are made of comes first, and is where it belongs then.
        let mut order = self.open();
        order.sort_unstable();
        order.dedup();
        for register in order {
            if self.places[register].is_none() || self.sums.iter().any(|&(_, of)| of == register) {
                self.value(register);
                self.sum(register);
                // Who reads it comes later.
                if self.places[register].is_none() && self.readers[register] > 0 {
                    self.store(register);
                }
            }
        }
        let mut places: Vec<Arg> = self.results.iter().filter_map(|&register| self.places[register]).collect();
        // What is only moved from one result's place to another's is kept first.
        for (result, place) in (0..).zip(&mut places) {
            if *place != result && usize::from(*place) < self.replaced {
                self.ops.extend([Op::Load(*place), Op::Store(self.next)]);
                *place = self.next;
                self.next += 1;
            }
        }
        for (result, place) in (0..).zip(places) {
            if place != result {
                self.ops.extend([Op::Load(place), Op::Store(result)]);
            }
        }
    }

    /// A register to the accumulator, and to a place of its own if more than the next instruction read it.
    fn value(&mut self, register: usize) {
        if let Some(place) = self.places[register] {
            if !self.held(register) {
                self.ops.push(Op::Load(place));
            }
            return;
        }
        match self.code[register] {
            Instr::Load(_) | Instr::Const(_) | Instr::Apply2(..) => {} // these have places
            Instr::Apply(scalar, a) => {
                self.value(a);
                // Others have places.
                self.ops.extend(scalar.inline.map(Op::Inline));
            }
            Instr::Add(a, b) => match (self.product(a), self.product(b)) {
                (_, Some(product)) => self.add_product(a, product),
                (Some(product), None) => self.add_product(b, product),
                (None, None) => self.both(a, b, Op::Add, Op::Add),
            },
            Instr::Mul(a, b) => self.both(a, b, Op::Mul, Op::Mul),
            Instr::Div(a, b) => self.both(a, b, Op::Div, Op::Under),
            Instr::Compare(Comparison::Less, a, b) => self.both(a, b, Op::Less, Op::More),
            Instr::Compare(Comparison::LessEqual, a, b) => self.both(a, b, Op::LessEqual, Op::MoreEqual),
            Instr::Compare(Comparison::Equal, a, b) => self.both(a, b, Op::Equal, Op::Equal),
            Instr::Select(mask, a, b) if bounds(self.code, &self.readers, mask, a, b) => match self.code[mask] {
                Instr::Compare(Comparison::Less, x, bound) if bound == a => {
                    self.both(x, bound, Op::AtLeast, Op::AtLeast)
                }
                _ => self.both(b, a, Op::AtMost, Op::AtMost),
            },
            Instr::Select(mask, a, b) => {
                let (a, b) = (self.place(a), self.place(b));
                self.value(mask);
                self.ops.push(Op::Pick(a, b));
            }
        }
        if self.readers[register] > 1 || self.results.contains(&register) {
            self.store(register);
        }
        self.sum(register);
    }

    /// Adds the accumulator, a register's value, to all sums of it.
    fn sum(&mut self, register: usize) {
        let ops = &mut self.ops;
        self.sums.retain(|&(place, of)| {
            if of == register {
                ops.push(Op::Sum(place));
            }
            of != register
        });
    }

    /// An instruction on two registers: the first in the accumulator, or the second for the turned one.
    fn both(&mut self, a: usize, b: usize, op: fn(Arg) -> Op, turned: fn(Arg) -> Op) {
        if let Some(place) = self.places[b].filter(|_| self.places[a].is_none() || !self.held(b)) {
            self.value(a);
            return self.ops.push(op(place));
        }
        self.value(b);
        // What was just computed might have needed the other.
        if let Some(place) = self.places[a] {
            return self.ops.push(turned(place));
        }
        let place = self.places[b].unwrap_or_else(|| self.store(b));
        self.value(a);
        self.ops.push(op(place));
    }

    /// A sum with a product of what has places.
    fn add_product(&mut self, register: usize, [(a, x), (b, y)]: [(usize, Arg); 2]) {
        match self.places[register] {
            Some(place) if self.held(a) => self.ops.extend([Op::Mul(y), Op::Add(place)]),
            Some(place) if self.held(b) => self.ops.extend([Op::Mul(x), Op::Add(place)]),
            _ => {
                self.value(register);
                self.ops.push(Op::AddMul(x, y));
            }
        }
    }

    /// Whether the accumulator holds what it just stored of a register.
    fn held(&self, register: usize) -> bool {
        let last = self.ops[self.stop..].iter().rfind(|op| !matches!(op, Op::Sum(_)));
        self.places[register].is_some_and(|place| last == Some(&Op::Store(place)))
    }

    /// Where a register lies, computed if it is not.
    fn place(&mut self, register: usize) -> Arg {
        if let Some(place) = self.places[register] {
            return place;
        }
        self.value(register);
        self.places[register].unwrap_or_else(|| self.store(register))
    }

    /// Where a register lies among what is stored on the way, in lanes of its own.
    fn block(&mut self, register: usize) -> Arg {
        let place = self.place(register);
        if place >= self.given {
            return place;
        }
        self.value(register);
        self.next += 1;
        self.ops.push(Op::Store(self.next - 1));
        self.next - 1
    }

    /// Stores the accumulator, which is a register's value.
    fn store(&mut self, register: usize) -> Arg {
        let place = self.room(register);
        self.ops.push(Op::Store(place));
        self.places[register] = Some(place);
        place
    }

    /// A place for a register: the result's that it is, unless what lies there is still to be read.
    fn room(&mut self, register: usize) -> Arg {
        let result = self.results.iter().position(|&result| result == register);
        match result.filter(|&result| !self.waits(result, register)) {
            Some(result) => result as Arg,
            None => {
                self.next += 1;
                self.next - 1
            }
        }
    }

    /// Whether what lies where a result goes is read by what is not computed yet, `now` aside.
    fn waits(&self, result: usize, now: usize) -> bool {
        if result >= self.replaced {
            return false;
        }
        let mut open = self.open();
        let mut seen = vec![false; self.code.len()];
        while let Some(register) = open.pop() {
            if self.code[register] == Instr::Load(result) {
                return true;
            }
            if !seen[register] && register != now && self.places[register].is_none() {
                open.extend(self.code[register].reads());
            }
            seen[register] = true;
        }
        false
    }

    /// Registers that are written, and those still to be added up.
    fn open(&self) -> Vec<usize> {
        self.results.iter().copied().chain(self.sums.iter().map(|&(_, of)| of)).collect()
    }

    /// The factors of a product that only one reads and their places, if they have those.
    fn product(&self, register: usize) -> Option<[(usize, Arg); 2]> {
        match self.code[register] {
            Instr::Mul(a, b) if self.readers[register] == 1 && !self.open().contains(&register) => {
                self.places[register].is_none().then_some([(a, self.places[a]?), (b, self.places[b]?)])
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_stay_in_the_accumulator() {
        // (i0 + i1) * c + i2 * i3
        let body = Body(vec![
            Instr::Load(0),
            Instr::Load(1),
            Instr::Add(0, 1),
            Instr::Const(2.0),
            Instr::Mul(2, 3),
            Instr::Load(2),
            Instr::Load(3),
            Instr::Mul(5, 6),
            Instr::Add(4, 7),
        ]);
        let code = Code::new(&body);
        assert_eq!(code.ops, [Op::LoadAdd(1, 2), Op::Mul(5), Op::AddMul(3, 4), Op::Store(0)]);
        assert_eq!((code.stored, code.copied), (0, None));
    }

    #[test]
    fn what_is_replaced_is_read_first() {
        // x' = x + y', y' = 2 y, z' = x y: z' needs both old values.
        let body = Body(vec![
            Instr::Load(0),
            Instr::Load(1),
            Instr::Const(2.0),
            Instr::Mul(1, 2),
            Instr::Add(0, 3),
            Instr::Mul(0, 1),
        ]);
        let code = Code::of(&body, &[4, 3, 5], 2, 3);
        let at = |op: Op| code.ops.iter().position(|o| *o == op);
        let last_read = |arg: Arg| {
            let reads = |op: &Op| match *op {
                Op::Load(a) | Op::Add(a) | Op::Mul(a) => a == arg,
                Op::AddMul(a, b) | Op::LoadAdd(a, b) | Op::LoadMul(a, b) | Op::MulAdd(a, b) => a == arg || b == arg,
                Op::Store(_) => false,
                op => panic!("{op:?} is not expected here"),
            };
            code.ops.iter().rposition(reads)
        };
        assert!(last_read(0) < at(Op::Store(0)), "{:?}", code.ops);
        assert!(last_read(1) < at(Op::Store(1)), "{:?}", code.ops);
    }

    #[test]
    fn an_input_alone_is_copied() {
        assert_eq!(Code::new(&Body::product(1)).copied, Some(0));
        assert_eq!(Code::new(&Body::product(2)).copied, None);
    }
}
