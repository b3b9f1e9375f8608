//! Ctrl-C: the first ends the work after its current step, so that what is done is reported; the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Starts to listen: commands that look at [`asked`] do. In others Ctrl-C ends the process at once, as ever.
pub fn listen() {
    let heard = || {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step; Ctrl-C again ends at once");
    };
    if let Err(why) = ctrlc::set_handler(heard) {
        eprintln!("Ctrl-C will lose unfinished work: {why}");
    }
}

/// Whether the work is to end.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
