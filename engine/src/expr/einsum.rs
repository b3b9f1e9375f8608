//! Einstein summation, as users write it.

use std::panic::Location;

use super::Expr;
use crate::Tape;
use crate::ops::{Labels, contract};

/// What stands for an axis: a letter, or an axis of the ellipsis, counted from its end.
#[derive(Clone, Copy, PartialEq)]
enum Name {
    Letter(char),
    Ellipsis(usize),
}

/// An operand's or the result's letters, and where an ellipsis stands among them.
struct Term {
    letters: Vec<char>,
    ellipsis: Option<usize>,
}

impl Term {
    fn parse(text: &str) -> Result<Term, String> {
        let (before, after) = match text.split_once("...") {
            Some((before, after)) => (before, Some(after)),
            None => (text, None),
        };
        let letters: Vec<char> = before.chars().chain(after.unwrap_or("").chars()).collect();
        match letters.iter().find(|c| !c.is_alphabetic()) {
            Some(other) => Err(format!("{other:?} names no axis: use letters, and ... for all other axes")),
            None => Ok(Term { letters, ellipsis: after.map(|_| before.chars().count()) }),
        }
    }

    /// The names of all axes, `many` of them by the ellipsis.
    fn names(&self, many: usize) -> Vec<Name> {
        let mut names: Vec<Name> = self.letters.iter().copied().map(Name::Letter).collect();
        if let Some(at) = self.ellipsis {
            names.splice(at..at, (0..many).rev().map(Name::Ellipsis));
        }
        names
    }
}

/// The operands with one axis a name: of axes with one name the diagonal is taken.
fn distinct<'t>(mut x: Expr<'t>, mut names: Vec<Name>) -> Result<(Expr<'t>, Vec<Name>), String> {
    while let Some(second) = (0..names.len()).find(|&i| names[..i].contains(&names[i])) {
        let (name, shape) = (names[second], x.shape());
        let first = names.iter().position(|&n| n == name).unwrap_or(second);
        if shape[first] != shape[second] {
            return Err(format!("axes {first} and {second} of {shape} have one name, but not one extent"));
        }
        let others: Vec<usize> = (0..names.len()).filter(|&a| a != first && a != second).collect();
        x = x.permute(&[&others[..], &[first, second]].concat()).diagonal();
        names = others.iter().map(|&a| names[a]).chain([name]).collect();
    }
    Ok((x, names))
}

/// Reads the text for its operands and computes what it says.
#[track_caller]
fn evaluate<'t>(tape: &'t Tape, text: &str, operands: &[Expr<'t>]) -> Result<Expr<'t>, String> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = text.split_once("->").ok_or("write operands, an arrow, and the result: \"ij,j->i\"")?;
    let terms = left.split(',').map(Term::parse).collect::<Result<Vec<_>, _>>()?;
    if terms.len() != operands.len() {
        return Err(format!("{} operands are named, {} given", terms.len(), operands.len()));
    }
    let (mut known, mut dims): (Vec<Name>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut named: Vec<(Expr<'t>, Vec<Name>)> = Vec::new();
    let mut most = 0;
    for ((term, part), &x) in terms.iter().zip(left.split(',')).zip(operands) {
        let shape = x.shape();
        let many = shape.rank().checked_sub(term.letters.len()).filter(|&n| n == 0 || term.ellipsis.is_some());
        let many = many.ok_or_else(|| format!("{part:?} does not name the axes of {shape}"))?;
        most = most.max(many);
        let (x, names) = distinct(x, term.names(many))?;
        for (&name, &extent) in names.iter().zip(x.shape().iter()) {
            match (known.iter().position(|&k| k == name), name) {
                (None, _) => {
                    known.push(name);
                    dims.push(extent);
                }
                (Some(at), Name::Ellipsis(_)) if dims[at] == 1 || extent == 1 => dims[at] = dims[at].max(extent),
                (Some(at), _) if dims[at] == extent => {}
                (Some(at), Name::Letter(letter)) => {
                    return Err(format!("{letter:?} is {} in one operand and {extent} in another", dims[at]));
                }
                (Some(at), _) => {
                    return Err(format!("axes of ... are {} and {extent}, which do not broadcast", dims[at]));
                }
            }
        }
        named.push((x, names));
    }
    let result = Term::parse(right)?;
    if result.ellipsis.is_none() && most > 0 {
        return Err("the result lacks the ... that operands have".into());
    }
    let label = |name: &Name| known.iter().position(|k| k == name).map(|at| at as u8);
    let out: Option<Labels> = result.names(most).iter().map(label).collect();
    let out = out.ok_or("a letter of the result stands in no operand")?;
    if out.iter().enumerate().any(|(i, l)| out[..i].contains(l)) {
        return Err("a letter stands twice in the result".into());
    }
    let mut all: Vec<(Expr<'t>, Labels)> = Vec::new();
    for (x, names) in &named {
        let mut labels = Labels::new();
        for (name, &extent) in names.iter().zip(x.shape().iter()) {
            let at = label(name).unwrap_or(0);
            if extent == dims[usize::from(at)] {
                labels.push(at);
            } else {
                dims.push(1); // an extent of 1 that is repeated: a label of its own, summed away
                labels.push((dims.len() - 1) as u8);
            }
        }
        all.push((*x, labels));
    }
    let all: Vec<(Expr<'t>, &[u8])> = all.iter().map(|(x, labels)| (*x, labels.as_slice())).collect();
    Ok(contract(1.0, &all, &out, &dims, tape))
}

impl Tape {
    /// Einstein summation (as `numpy.einsum`): `einsum("ij, j -> i", &[a, x])`; a letter left out of the result is summed over.
    ///
    /// `...` stands for all other axes, which broadcast and stay; a letter that stands twice in one operand takes its diagonal. Every
    /// letter of the result must stand in an operand.
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func};
    /// let f = Func::trace(spec([2, 2]), spec([]), |tape, w, _| tape.einsum("ii -> ", &[w]))?;
    /// let trace = f.compile::<f64>(&Device::cpu())?.run(&Array::new([2, 2], vec![1.0, 2.0, 3.0, 4.0])?, &Array::scalar(0.0))?;
    /// assert_eq!(trace.item(), Some(5.0));
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    #[track_caller]
    pub fn einsum<'t>(&'t self, text: &str, operands: &[Expr<'t>]) -> Expr<'t> {
        let op = format!("einsum {text:?}");
        for x in operands {
            if !x.is_real(&op) {
                return self.poison(operands);
            }
        }
        match evaluate(self, text, operands) {
            Ok(result) => result,
            Err(why) => {
                self.fail(&op, why, Location::caller());
                self.poison(operands)
            }
        }
    }
}
