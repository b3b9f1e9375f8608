//! Reports as a table in a text file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{Observer, file};
use crate::{Report, Result};

/// Writes one line a step; the file has its name when it is finished, and `.part` behind it until then.
///
/// ```
/// use osculate_optim::observe::{Csv, Observer};
/// # use osculate_engine::{spec, Array, Device, Examples, Func};
/// # use osculate_optim::{by_name, Minibatches};
/// # let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// # let batch = Examples::new(spec([]), Array::new([2], vec![1.0, 3.0])?)?.all()?;
/// # let mut oracles = Minibatches::new(&loss, &Device::cpu());
/// # let (mut params, mut optimizer) = ([0.0], by_name::<f64>("sgd", 1)?);
/// let path = std::env::temp_dir().join(format!("osculate-doc-{}.csv", std::process::id()));
/// let mut csv = Csv::create(&path)?;
/// for step in 0..2 {
///     csv.see(step, &optimizer.step(&mut params, &mut oracles.on(&batch))?)?;
/// }
/// csv.finish()?;
/// let text = std::fs::read_to_string(&path).unwrap_or_default();
/// assert!(text.starts_with("step,status,loss,step size,gain,"));
/// assert_eq!(text.lines().nth(1), Some("0,Stepped,2.5,0.1,,,,,"));
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug)]
pub struct Csv {
    path: PathBuf,
    aside: PathBuf,
    to: BufWriter<File>,
}

impl Csv {
    /// Begins a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(path: &Path) -> Result<Csv> {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".part");
        let aside = path.with_file_name(name);
        let to = File::create(&aside).map_err(|error| file(&aside, error))?;
        let mut csv = Csv { path: path.to_path_buf(), aside, to: BufWriter::new(to) };
        let names = Report::NUMBERS.join(",");
        csv.line(format_args!("step,status,{names}"))?;
        Ok(csv)
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) -> Result<()> {
        writeln!(self.to, "{text}").map_err(|error| file(&self.aside, error))
    }
}

impl Observer for Csv {
    fn see(&mut self, step: u64, report: &Report) -> Result<()> {
        let numbers = report.numbers().map(|x| x.map(|x| x.to_string()).unwrap_or_default()).join(",");
        self.line(format_args!("{step},{:?},{numbers}", report.status))
    }

    fn finish(&mut self) -> Result<()> {
        self.to.flush().and_then(|()| self.to.get_ref().sync_all()).map_err(|error| file(&self.aside, error))?;
        std::fs::rename(&self.aside, &self.path).map_err(|error| file(&self.path, error))
    }
}
