//! Who watches an optimizer: reports of its steps go to a CSV file, or to an event file that TensorBoard shows while training runs.

mod csv;
mod events;

pub use csv::Csv;
pub use events::Events;

use crate::{Report, Result};

/// Takes the reports of steps as they come.
///
/// ```
/// use osculate_optim::{observe::Observer, Report, Result};
/// /// Remembers the largest loss.
/// struct Worst(f64);
/// impl Observer for Worst {
///     fn see(&mut self, _step: u64, report: &Report) -> Result<()> {
///         self.0 = self.0.max(report.loss);
///         Ok(())
///     }
/// }
/// # let mut worst = Worst(0.0);
/// # assert!(worst.finish().is_ok());
/// ```
pub trait Observer {
    /// What happened in a step.
    ///
    /// # Errors
    /// Files that cannot be written.
    fn see(&mut self, step: u64, report: &Report) -> Result<()>;

    /// There are no more steps.
    ///
    /// # Errors
    /// Files that cannot be written.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// An error of a file.
fn file(path: &std::path::Path, error: std::io::Error) -> crate::Error {
    osculate_engine::Error::File { file: path.display().to_string(), why: error.to_string() }.into()
}
