//! Progress bars on a terminal: bytes, rate and time left. In a pipe there is none, and no escape code.

use crate::output::Output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jsfs_client::Counter;
use std::sync::Arc;

const KNOWN: &str = "{msg:30!.dim} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
const OBJECTS: &str = "{msg:30!.dim} {wide_bar} {pos}/{len} objects {per_sec} {eta} left";
const UNKNOWN: &str = "{msg:30!.dim} {spinner} {bytes} {bytes_per_sec} {elapsed}";

/// A bar; invisible where there is no terminal. It is cleared when it is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar for `total` bytes, or for an unknown number.
    pub(crate) fn new(output: Output, what: &str, total: Option<u64>) -> Progress {
        if !output.progress() {
            return Progress(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        bar.set_style(style(total.is_some()));
        bar.set_message(crate::output::one_line(what).into_owned());
        Progress(bar)
    }

    /// What counts bytes for the bar.
    pub(crate) fn counter(&self) -> Counter {
        let bar = self.0.clone();
        Arc::new(move |bytes| bar.inc(bytes))
    }

    /// Counts bytes.
    pub(crate) fn moved(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Says how far it is.
    pub(crate) fn at(&self, done: u64, total: u64) {
        if self.0.length() != Some(total) {
            self.total(total);
        }
        self.0.set_position(done);
    }

    /// Says what is being worked on.
    pub(crate) fn message(&self, what: &str) {
        self.0.set_message(crate::output::one_line(what).into_owned());
    }

    /// Sets how much there is to do, once that is known.
    pub(crate) fn total(&self, bytes: u64) {
        self.0.set_style(style(true));
        self.0.set_length(bytes);
    }

    /// Counts objects instead of bytes, of so many.
    pub(crate) fn objects(&self, total: u64) {
        self.0.set_style(
            ProgressStyle::with_template(OBJECTS).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        self.0.set_length(total);
    }

    /// Runs something that prints, without the bar in its way.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }
}

fn style(is_total_known: bool) -> ProgressStyle {
    let template = if is_total_known { KNOWN } else { UNKNOWN };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
