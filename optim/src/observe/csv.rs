//! Reports as a table in a text file.

use std::fs::{self, File};
use std::io::{BufWriter, Error, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Observer, file};
use crate::{Report, Result};

/// Writes one line a step; the file has its name when it is finished, and until then a name of its own beside it that ends in `.part`.
///
/// So of two runs that write the same file, the one that finishes last has it, whole. Symbolic links are followed, and stay.
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
    /// It cannot be written, or what stands there is read-only or no regular file.
    pub fn create(path: &Path) -> Result<Csv> {
        let path = replaceable(path).map_err(|error| file(path, error))?;
        let (to, aside) = beside(&path).map_err(|error| file(&path, error))?;
        let mut csv = Csv { path, aside, to: BufWriter::new(to) };
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
        // Who may read the old file may read the new one; where that cannot be said, the new one is as any.
        if let Ok(old) = fs::metadata(&self.path) {
            fs::set_permissions(&self.aside, old.permissions()).ok();
        }
        fs::rename(&self.aside, &self.path).map_err(|error| file(&self.path, error))
    }
}

/// The path at the end of symbolic links, where there is nothing yet or a file that may be replaced.
fn replaceable(path: &Path) -> std::io::Result<PathBuf> {
    // As many as Linux follows.
    const LINKS: usize = 40;
    let mut path = path.to_path_buf();
    for _ in 0..LINKS {
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
            // Links are relative to the folder they lie in.
            Ok(about) if about.is_symlink() => path = path.with_file_name("").join(fs::read_link(&path)?),
            Ok(about) if !about.is_file() => return Err(Error::other("this is no regular file")),
            Ok(about) if about.permissions().readonly() => return Err(Error::other("the file is read-only")),
            Ok(_) => return Ok(path),
        }
    }
    Err(Error::other(format!("more than {LINKS} symbolic links, one to another")))
}

/// A new file of its own beside a path: another run's is never written to.
fn beside(path: &Path) -> std::io::Result<(File, PathBuf)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let own = path.file_name().ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the path names no file"))?;
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut name = own.to_os_string();
        name.push(format!(".{:x}-{count:x}.part", std::process::id()));
        let aside = path.with_file_name(name);
        match File::create_new(&aside) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            file => return file.map(|file| (file, aside)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("osculate-csv-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn two_runs_at_once_do_not_mix() {
        let folder = folder("two");
        let path = folder.join("a.csv");
        let mut runs = [1.0, 2.0].map(|loss| (Csv::create(&path).unwrap(), Report::new(Status::Stepped, loss, 0.5)));
        for step in 0..500 {
            runs.iter_mut().for_each(|(csv, report)| csv.see(step, report).unwrap());
        }
        for (csv, report) in &mut runs {
            csv.finish().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let own = |line: &str| line.contains(&format!(",Stepped,{},", report.loss));
            assert!(text.lines().count() == 501 && text.lines().skip(1).all(own));
        }
        assert_eq!(names(&folder), ["a.csv"]);
        fs::remove_dir_all(&folder).ok();
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_only_files_are_replaced() {
        use std::os::unix::fs::symlink;
        let folder = folder("links");
        fs::create_dir(folder.join("runs")).unwrap();
        symlink("runs/a.csv", folder.join("latest.csv")).unwrap();
        for _ in 0..2 {
            Csv::create(&folder.join("latest.csv")).unwrap().finish().unwrap();
            assert!(fs::symlink_metadata(folder.join("latest.csv")).unwrap().is_symlink());
            assert!(fs::symlink_metadata(folder.join("runs/a.csv")).unwrap().is_file());
        }
        assert_eq!(names(&folder.join("runs")), ["a.csv"]);
        symlink("loop.csv", folder.join("loop.csv")).unwrap();
        for wrong in ["runs", "loop.csv"] {
            assert!(Csv::create(&folder.join(wrong)).is_err(), "{wrong}");
        }
        fs::remove_dir_all(&folder).ok();
    }
}
