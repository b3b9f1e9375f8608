//! Progress of long work: a bar on a terminal, a line now and then elsewhere; both on standard error.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// Progress through a known number of steps.
pub struct Progress {
    bar: ProgressBar,
    name: String,
    total: u64,
    done: u64,
    lines: bool,
}

impl Progress {
    /// Starts at 0 of `total` steps.
    pub fn new(name: &str, total: u64) -> Progress {
        let bar = ProgressBar::new(total).with_message(name.to_string());
        if let Ok(style) = ProgressStyle::with_template("{msg:>15} {wide_bar} {pos}/{len}, {eta} left") {
            bar.set_style(style);
        }
        Progress { bar, name: name.into(), total, done: 0, lines: !std::io::stderr().is_terminal() }
    }

    /// Counts a step; where there is no terminal, every tenth of the way is a line that ends in `said`.
    pub fn step(&mut self, said: impl FnOnce() -> String) {
        self.bar.inc(1);
        self.done += 1;
        let tenth = |done: u64| done * 10 / self.total.max(1);
        if self.lines && tenth(self.done) != tenth(self.done - 1) {
            eprintln!("{}: {} of {}{}", self.name, self.done, self.total, said());
        }
    }

    /// Clears the bar.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
