//! The buffers of one run: borrowed inputs and outputs, owned scratch.

use crate::{Error, Program, Real, Slot};

/// A buffer that a run writes.
#[derive(Debug)]
pub enum Out<'a, T> {
    /// In the type the program runs in.
    Real(&'a mut [T]),
    /// In f64, for outputs declared wide.
    Wide(&'a mut [f64]),
}

impl<T> Out<'_, T> {
    /// Elements.
    pub fn len(&self) -> usize {
        match self {
            Out::Real(values) => values.len(),
            Out::Wide(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Scratch and constants, allocated once; slots that are inputs or outputs stay empty here.
pub(crate) fn allocate<T: Real>(program: &Program) -> Vec<Vec<T>> {
    (program.slots().iter())
        .map(|slot| match slot {
            Slot::Temp(len) => vec![T::zero(); *len],
            Slot::Constant(values) => values.iter().map(|&v| T::narrow(v)).collect(),
            Slot::Input(_) | Slot::Output { .. } => Vec::new(),
        })
        .collect()
}

/// Compares what `run` was given with what the program declares.
pub(crate) fn check<T>(program: &Program, inputs: &[&[T]], outputs: &[Out<'_, T>]) -> Result<(), Error> {
    if inputs.len() != program.inputs() || outputs.len() != program.outputs() {
        return Err(Error::Signature(format!(
            "the program has {} inputs and {} outputs, but {} and {} were given",
            program.inputs(),
            program.outputs(),
            inputs.len(),
            outputs.len()
        )));
    }
    for (index, (slot, buffer)) in program.slots().iter().zip(inputs).enumerate() {
        if buffer.len() != slot.len() {
            return Err(Error::Length { what: "input", index, got: buffer.len(), want: slot.len() });
        }
    }
    for (index, (slot, buffer)) in program.slots()[inputs.len()..].iter().zip(outputs).enumerate() {
        if buffer.len() != slot.len() {
            return Err(Error::Length { what: "output", index, got: buffer.len(), want: slot.len() });
        }
        let wide = matches!(slot, Slot::Output { wide: true, .. });
        if wide != matches!(buffer, Out::Wide(_)) {
            return Err(Error::Signature(format!(
                "output {index} must be {}",
                if wide { "f64 (wide)" } else { "of the program's type" }
            )));
        }
    }
    Ok(())
}
