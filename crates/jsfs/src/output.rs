//! What the command line prints: results on standard output, everything else on standard error.
//!
//! Invariants: with `--json` standard output holds JSON and nothing else, and errors are JSON on standard error; names that came from a node
//! are printed without control characters, so that none can drive a terminal; a reader that closes the pipe ends the program quietly.

use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Results as JSON.
    pub(crate) json: bool,
    /// Nothing but results and errors.
    pub(crate) quiet: bool,
}

impl Output {
    /// A result for people; with `--json` nothing.
    pub(crate) fn line(self, text: &str) -> io::Result<()> {
        if self.json { Ok(()) } else { write_line(text) }
    }

    /// A result for programs; without `--json` nothing.
    pub(crate) fn json(self, value: &impl Serialize) -> io::Result<()> {
        if self.json { write_line(&serde_json::to_string_pretty(value)?) } else { Ok(()) }
    }

    /// One of many results for programs, on a line of its own; without `--json` nothing.
    pub(crate) fn json_line(self, value: &impl Serialize) -> io::Result<()> {
        if self.json { write_line(&serde_json::to_string(value)?).and_then(|()| flush()) } else { Ok(()) }
    }

    /// A word about what was done, for people; not with `--json` or `--quiet`.
    pub(crate) fn done(self, text: &str) -> io::Result<()> {
        if self.quiet { Ok(()) } else { self.line(text) }
    }

    /// What goes on or was done, for people, on standard error: not with `--json` or `--quiet`.
    pub(crate) fn say(self, text: &str) {
        if !self.json {
            self.note(text);
        }
    }

    /// Something to know besides the result, on standard error.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet {
            self.warn(text);
        }
    }

    /// Something to know that `--quiet` does not hide, on standard error.
    pub(crate) fn warn(self, text: &str) {
        if self.json {
            let _ = writeln!(io::stderr(), "{}", serde_json::json!({ "warning": text }));
        } else {
            let _ = writeln!(io::stderr(), "jsfs: {text}");
        }
    }

    /// An error, on standard error.
    pub(crate) fn error(self, report: &Report) {
        if self.json {
            let _ = writeln!(io::stderr(), "{}", serde_json::json!({ "error": report }));
            return;
        }
        let _ = writeln!(io::stderr(), "jsfs: {}", printable(&report.message));
        if let Some(hint) = &report.hint {
            let _ = writeln!(io::stderr(), "  {}", printable(hint));
        }
    }

    /// Whether progress bars may be drawn.
    pub(crate) fn progress(self) -> bool {
        !self.json && !self.quiet && io::stderr().is_terminal()
    }
}

/// An error as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// What happened to what.
    pub(crate) message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// HTTP status, where a node said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// Exit code.
    pub(crate) exit: u8,
}

fn write_line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")
}

/// Writes bytes of an object.
pub(crate) fn write_bytes(bytes: &[u8]) -> io::Result<()> {
    io::stdout().lock().write_all(bytes)
}

/// Flushes standard output; a full disk shows here.
pub(crate) fn flush() -> io::Result<()> {
    io::stdout().lock().flush()
}

/// Text without control characters (line feeds stay), and without those that turn the direction of writing.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| {
        (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if harmful(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

/// A name on one line.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    match printable(text) {
        text if text.contains('\n') => Cow::Owned(text.replace('\n', "\\n")),
        text => text,
    }
}

/// A word of a command line that a shell takes as it is.
pub(crate) fn shell_word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', "'\\''")))
}

/// Whether an error is a reader that closed the pipe.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref::<io::Error>().is_some_and(closed)
}

/// A number of bytes for people: `1.5 MiB`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_command_says_to_a_shell_what_it_says_to_people() {
        assert_eq!(shell_word("/home/x/data-1"), "/home/x/data-1");
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("it's $HOME"), "'it'\\''s $HOME'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn no_name_can_drive_a_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\u{7}"), "a\\u{1b}[31mb\\u{7}");
        assert_eq!(one_line("a\nb\u{202e}c"), "a\\nb\\u{202e}c");
        assert_eq!(printable("grün 日本 ☃"), "grün 日本 ☃");
    }
}
