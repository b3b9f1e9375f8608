//! Programs as text: every command with its loops, operations and bytes.

use std::fmt;
use std::time::Duration;

use crate::{Body, Command, Fold, Instr, Program, View};

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each register as an expression of the inputs.
        let mut text: Vec<String> = Vec::new();
        for instr in &self.0 {
            text.push(match *instr {
                Instr::Load(n) => format!("i{n}"),
                Instr::Const(value) => value.to_string(),
                Instr::Apply(scalar, a) => format!("{}({})", scalar.name, text[a]),
                Instr::Add(a, b) => format!("({} + {})", text[a], text[b]),
                Instr::Apply2(scalar, a, b) => format!("{}({}, {})", scalar.name, text[a], text[b]),
                Instr::Mul(a, b) => format!("{}*{}", text[a], text[b]),
                Instr::Div(a, b) => format!("({} / {})", text[a], text[b]),
                Instr::Compare(how, a, b) => format!("{how:?}({}, {})", text[a], text[b]),
                Instr::Select(m, a, b) => format!("({} ? {} : {})", text[m], text[a], text[b]),
            });
        }
        f.write_str(text.last().map_or("", String::as_str))
    }
}

/// One command a line: what it does, over which loops, from which slots to which, with how many operations and bytes moved (at 4 an
/// element).
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for at in 0..self.commands().len() {
            let (text, flop, bytes) = self.line(at);
            writeln!(f, "{text}  {:.1} kflop, {:.1} KiB", flop * 1e-3, bytes / 1024.0)?;
        }
        Ok(())
    }
}

impl Program {
    /// The same, each line headed by the milliseconds that its command took in a run, its operations and its bytes a second.
    pub(crate) fn timed(&self, spent: &[Duration], runs: u32) -> String {
        let mut text = format!("{:>10} {:>8} {:>8}\n", "ms", "GFLOP/s", "GB/s");
        for (at, spent) in spent.iter().enumerate() {
            let (line, flop, bytes) = self.line(at);
            let seconds = spent.as_secs_f64() / f64::from(runs.max(1));
            let rate = |count: f64| if seconds > 0.0 { count * 1e-9 / seconds } else { 0.0 };
            text += &format!("{:>10.4} {:>8.1} {:>8.1} {line}\n", seconds * 1e3, rate(flop), rate(bytes));
        }
        text
    }

    /// A command as text, its operations, and the bytes that it moves.
    fn line(&self, at: usize) -> (String, f64, f64) {
        let size = |dims: &[usize]| dims.iter().product::<usize>();
        let slots = |views: &[&View]| views.iter().map(|v| format!("s{}", v.slot)).collect::<Vec<_>>().join(" ");
        let command = &self.commands()[at];
        let (text, from, to, elements) = match command {
            Command::Map(nest) | Command::AddTo(nest) => {
                let name = if matches!(command, Command::Map(_)) { "map" } else { "add to" };
                let elements = size(&nest.dims) * (1 + nest.inputs.len());
                let text = format!("{name} {:?} {}", nest.dims, nest.body);
                (text, nest.inputs.iter().collect::<Vec<_>>(), &nest.out, elements)
            }
            Command::Reduce { nest, over, fold, .. } => {
                let name = if *fold == Fold::Sum { "sum" } else { "max" };
                let elements = size(&nest.dims) * (1 + size(over) * nest.inputs.len());
                let text = format!("{name} {:?} over {over:?} {}", nest.dims, nest.body);
                (text, nest.inputs.iter().collect(), &nest.out, elements)
            }
            Command::MatMul(p) => {
                let [a, b, out] = p.dims().map(|d| size(&d));
                let text = format!("matmul {:?} {:?} x {:?} x {:?}", p.batch, p.rows, p.inner, p.cols);
                (text, vec![&p.a, &p.b], &p.out, a + b + out)
            }
            Command::Gather(l) | Command::ScatterAdd(l) => {
                let [index, _, values] = l.dims().map(|d| size(&d));
                let at = format!("{:?} {:?} of {} x {:?}", l.batch, l.positions, l.rows, l.inner);
                match command {
                    Command::Gather(_) => {
                        (format!("gather {at}"), vec![&l.index, &l.table], &l.values, index + 2 * values)
                    }
                    _ => (format!("scatter add {at}"), vec![&l.index, &l.values], &l.table, index + 3 * values),
                }
            }
            Command::First(first) => {
                let text = format!("first {:?} {:?}", first.batch, first.positions);
                (text, vec![&first.index], &first.out, 2 * size(&first.dims()))
            }
        };
        let text = format!("{at:>5}  s{:<4} = {text}  [{}]", to.slot, slots(&from));
        (text, self.flop_of(command) as f64, elements as f64 * 4.0)
    }
}
