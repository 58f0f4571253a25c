//! What programs have logged lately, by address. Bounded, in memory; only the owner of a program reads its log.

use crate::{hold, wire::Level};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

/// Lines kept of one program, and programs of which lines are kept.
const LINES_MAX: usize = 1_000;
const BYTES_MAX: usize = 256 << 10;
const PROGRAMS_MAX: usize = 1_024;

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Counts up within one program, for whoever reads on.
    pub number: u64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// How much it matters.
    pub level: Level,
    /// The id of the request or process that it belongs to.
    pub run: String,
    /// What it says.
    pub text: String,
}

#[derive(Default)]
struct Log {
    lines: VecDeque<Line>,
    bytes: usize,
    made: u64,
    touched: u64,
}

/// The logs of all programs.
#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<(HashMap<String, Log>, u64)>>);

impl Logs {
    /// Adds a line to the log of the program at this address.
    pub fn add(&self, program: &str, time_ms: u64, level: Level, run: &str, text: String) {
        let mut held = hold(&self.0);
        let (logs, clock) = &mut *held;
        *clock += 1;
        let touched = *clock;
        if !logs.contains_key(program) && logs.len() >= PROGRAMS_MAX {
            let oldest = logs.iter().min_by_key(|(_, log)| log.touched).map(|(address, _)| address.clone());
            oldest.and_then(|oldest| logs.remove(&oldest));
        }
        let log = logs.entry(program.to_owned()).or_default();
        log.touched = touched;
        log.made += 1;
        log.bytes += text.len();
        log.lines.push_back(Line { number: log.made, time_ms, level, run: run.to_owned(), text });
        while log.lines.len() > LINES_MAX || log.bytes > BYTES_MAX {
            let Some(gone) = log.lines.pop_front() else { break };
            log.bytes -= gone.text.len();
        }
    }

    /// The lines after this number, oldest first.
    #[must_use]
    pub fn after(&self, program: &str, number: u64) -> Vec<Line> {
        let held = hold(&self.0);
        let lines = held.0.get(program).map(|log| log.lines.iter());
        lines.into_iter().flatten().filter(|line| line.number > number).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_its_last_lines_within_its_bounds() {
        let logs = Logs::default();
        for number in 0..3_000 {
            logs.add("/a", number, Level::Info, "1", "x".repeat(200));
        }
        let lines = logs.after("/a", 0);
        assert_eq!(lines.len(), LINES_MAX);
        assert_eq!(lines.last().unwrap().number, 3_000);
        assert_eq!(logs.after("/a", 2_999).len(), 1);
        assert!(logs.after("/b", 0).is_empty());
        logs.add("/a", 1, Level::Error, "2", "y".repeat(BYTES_MAX));
        assert_eq!(logs.after("/a", 0).len(), 1);
    }
}
