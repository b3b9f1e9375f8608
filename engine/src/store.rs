//! Named arrays in safetensors files, written aside and renamed.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use osculate_kernels::Real;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

use crate::{Error, Result, Shape};

mod aside;

pub use aside::write_aside;

/// Named arrays with their types, and a few words of text: what a state or checkpoint is.
///
/// ```
/// use osculate_engine::store::Store;
/// let mut store = Store::new("demo");
/// store.put("m", &[1.0f32, 2.0]);
/// store.put("gain", &[0.5f64]);
/// let path = std::env::temp_dir().join(format!("osculate-store-doc-{}.safetensors", std::process::id()));
/// store.save(&path)?;
/// let back = Store::load(&path, "demo")?;
/// assert_eq!(back.get::<f32>("m", 2)?, [1.0, 2.0]);
/// assert!(Store::load(&path, "other").is_err());
/// # std::fs::remove_file(path).ok();
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    /// What the file is, checked when it is loaded.
    what: String,
    arrays: BTreeMap<String, Stored>,
}

#[derive(Debug, Clone, PartialEq)]
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// What the format keeps for itself.
const RESERVED: &str = "__metadata__";

fn dtype<T: Real>() -> Dtype {
    if size_of::<T>() == 4 { Dtype::F32 } else { Dtype::F64 }
}

impl Store {
    /// An empty store for one kind of content.
    pub fn new(what: impl Into<String>) -> Store {
        Store { what: what.into(), arrays: BTreeMap::new() }
    }

    /// What kind of content it is.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Names and shapes of all arrays.
    pub fn names(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.arrays.iter().map(|(name, a)| (name.as_str(), a.shape.as_slice()))
    }

    /// Adds or replaces a vector of f32 or f64.
    pub fn put<T: Real>(&mut self, name: impl Into<String>, values: &[T]) {
        self.put_shaped(name, &[values.len()].into(), values);
    }

    /// Adds or replaces an array of f32 or f64; a shape of another size is stored as a vector.
    pub fn put_shaped<T: Real>(&mut self, name: impl Into<String>, shape: &Shape, values: &[T]) {
        let bytes = match dtype::<T>() {
            Dtype::F32 => values.iter().flat_map(|&v| (v.to_f64() as f32).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|&v| v.to_f64().to_le_bytes()).collect(),
        };
        let shape = if shape.size() == values.len() { shape.to_vec() } else { vec![values.len()] };
        self.arrays.insert(name.into(), Stored { dtype: dtype::<T>(), shape, bytes });
    }

    /// The values of an array of `count` elements, in the type in which it was put.
    ///
    /// # Errors
    /// There is none of that name, or it has another type or number of elements.
    pub fn get<T: Real>(&self, name: &str, count: usize) -> Result<Vec<T>> {
        let found = self.arrays.get(name).ok_or_else(|| Error::State(format!("there is no array {name:?}")))?;
        let (want, size) = (dtype::<T>(), found.shape.iter().product::<usize>());
        if found.dtype != want || size != count {
            let why = format!("{name:?} is {size} × {:?}, wanted {count} × {want:?}", found.dtype);
            return Err(Error::State(why));
        }

        Ok(match want {
            Dtype::F32 => {
                found.bytes.as_chunks().0.iter().map(|b| T::from_f64(f32::from_le_bytes(*b).into())).collect()
            }
            _ => found.bytes.as_chunks().0.iter().map(|b| T::from_f64(f64::from_le_bytes(*b))).collect(),
        })
    }

    /// All arrays of another store, their names prefixed.
    pub fn put_all(&mut self, prefix: &str, other: &Store) {
        let named = other.arrays.iter().map(|(name, a)| (format!("{prefix}{name}"), a.clone()));
        self.arrays.extend(named);
    }

    /// The arrays whose name has a prefix, without it.
    pub fn part(&self, prefix: &str, what: &str) -> Store {
        let named =
            self.arrays.iter().filter_map(|(name, a)| Some((name.strip_prefix(prefix)?.to_string(), a.clone())));
        Store { what: what.into(), arrays: named.collect() }
    }

    /// Checks what a store that did not come from a file is.
    ///
    /// # Errors
    /// It is something else.
    pub fn must_be(&self, what: &str) -> Result<()> {
        if self.what == what {
            return Ok(());
        }
        Err(Error::State(format!("this is {:?}, wanted {what:?}", self.what)))
    }

    /// Writes a safetensors file: aside first, then renamed, so that no half-written file is ever found, see [`write_aside`].
    ///
    /// # Errors
    /// [`Error::File`]: the file system's, what stands there is read-only or not a regular file, or an array is named `__metadata__`.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let fault = |why: String| Error::File { file: path.display().to_string(), why };
        if self.arrays.contains_key(RESERVED) {
            return Err(fault(format!("safetensors files hold no array named {RESERVED:?}")));
        }
        let views: Vec<(&String, TensorView<'_>)> = (self.arrays.iter())
            .map(|(name, a)| TensorView::new(a.dtype, a.shape.clone(), &a.bytes).map(|view| (name, view)))
            .collect::<Result<_, _>>()
            .map_err(|e| fault(e.to_string()))?;
        let about = HashMap::from([("what".to_string(), self.what.clone())]);
        let bytes = serialize(views, Some(about)).map_err(|e| fault(e.to_string()))?;
        write_aside(path, &bytes).map_err(|e| fault(e.to_string()))
    }

    /// Reads a file that [`save`](Store::save) wrote for the same kind of content.
    ///
    /// # Errors
    /// [`Error::File`]: it cannot be read or is not a regular file, is truncated or not safetensors, or holds something else.
    pub fn load(path: impl AsRef<Path>, what: &str) -> Result<Store> {
        let path = path.as_ref();
        let fault = |why: String| Error::File { file: path.display().to_string(), why };
        // Devices and pipes may have no end.
        if !fs::metadata(path).map_err(|e| fault(e.to_string()))?.is_file() {
            return Err(fault("not a regular file".into()));
        }
        let bytes = fs::read(path).map_err(|e| fault(e.to_string()))?;
        let broken = |e: safetensors::SafeTensorError| fault(format!("not a whole safetensors file ({e})"));
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(broken)?;
        let held = header.metadata().as_ref().and_then(|m| m.get("what")).cloned().unwrap_or_default();
        if held != what {
            return Err(fault(format!("it holds {held:?}, wanted {what:?}")));
        }
        let file = SafeTensors::deserialize(&bytes).map_err(broken)?;
        let mut store = Store::new(what);
        for (name, view) in file.iter() {
            let stored = Stored { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() };
            store.arrays.insert(name.to_string(), stored);
        }
        Ok(store)
    }
}
