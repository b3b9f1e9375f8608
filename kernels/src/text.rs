//! Programs as text: every command with its loops, operations and bytes.

use std::fmt;

use crate::{Body, Command, Fold, Instr, Program};

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
                Instr::Mul(a, b) => format!("{}*{}", text[a], text[b]),
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
        let size = |dims: &[usize]| dims.iter().product::<usize>();
        let slots = |views: &[&crate::View]| views.iter().map(|v| format!("s{}", v.slot)).collect::<Vec<_>>().join(" ");
        for (at, command) in self.commands().iter().enumerate() {
            let flop = self.flop_of(command);
            let (text, from, to, bytes) = match command {
                Command::Map(nest) | Command::AddTo(nest) => {
                    let name = if matches!(command, Command::Map(_)) { "map" } else { "add to" };
                    let elements = size(&nest.dims) * (1 + nest.inputs.len());
                    (
                        format!("{name} {:?} {}", nest.dims, nest.body),
                        nest.inputs.iter().collect::<Vec<_>>(),
                        &nest.out,
                        elements,
                    )
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
            };
            let (kflop, kib) = (flop as f64 * 1e-3, bytes as f64 * 4.0 / 1024.0);
            writeln!(f, "{at:>5}  s{:<4} = {text}  [{}]  {kflop:.1} kflop, {kib:.1} KiB", to.slot, slots(&from))?;
        }
        Ok(())
    }
}
