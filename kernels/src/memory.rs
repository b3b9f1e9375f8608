//! The buffers of one run: borrowed inputs and outputs, owned scratch.

use std::ops::{Deref, DerefMut};

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

/// Bytes that buffers are aligned to: a vector that two cache lines share costs two.
const LINE: usize = 64;

/// A buffer that begins with a cache line.
#[derive(Debug, Default)]
pub(crate) struct Buffer<T> {
    data: Vec<T>,
    from: usize,
}

impl<T: Real> Buffer<T> {
    /// Zeros.
    pub fn new(len: usize) -> Buffer<T> {
        let spare = if len == 0 { 0 } else { LINE / size_of::<T>() };
        let mut data = vec![T::zero(); len + spare];
        let from = data.as_ptr().align_offset(LINE).min(spare);
        data.truncate(from + len);
        Buffer { data, from }
    }
}

impl<T: Clone> Clone for Buffer<T> {
    fn clone(&self) -> Buffer<T> {
        let spare = LINE / size_of::<T>();
        let mut data: Vec<T> = Vec::with_capacity(self.len() + spare);
        let from = data.as_ptr().align_offset(LINE).min(spare);
        data.extend(self.first().into_iter().flat_map(|first| std::iter::repeat_n(first.clone(), from)));
        let from = data.len();
        data.extend_from_slice(self);
        Buffer { data, from }
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        &self.data[self.from..]
    }
}

impl<T> DerefMut for Buffer<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.data[self.from..]
    }
}

/// Scratch and constants, allocated once; slots that are inputs or outputs stay empty here.
pub(crate) fn allocate<T: Real>(program: &Program) -> Vec<Buffer<T>> {
    (program.slots().iter())
        .map(|slot| match slot {
            Slot::Temp(len) => Buffer::new(*len),
            Slot::Constant(values) => {
                let mut buffer = Buffer::new(values.len());
                buffer.iter_mut().zip(values).for_each(|(to, &v)| *to = T::from_f64(v));
                buffer
            }
            Slot::Input(_) | Slot::Output { .. } => Buffer::new(0),
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
