//! What became of each old object: one line of JSON each, what failed also for people, and the sums.

use crate::output::{Output, human_bytes, one_line};
use crate::progress::Progress;
use anyhow::Context;
use serde::Serialize;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// How an object fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// It is in now.
    Imported,
    /// It was in already.
    Present,
    /// A dry run would bring it in.
    WouldImport,
    /// It is not in.
    Failed,
}

/// One object.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    /// Its old name; of an inode that cannot be read, the name of its file.
    pub(super) name: String,
    pub(super) status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<String>,
    /// `key` where it belongs to the key that it had, else `namespace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) private: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
    /// What is not as it was, or was found on the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
    /// Why it is not in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// What to do about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<&'static str>,
}

impl Line {
    pub(super) fn new(name: &str) -> Line {
        Line {
            name: name.to_owned(),
            status: Status::Failed,
            address: None,
            owner: None,
            private: None,
            size: None,
            sha256: None,
            notes: Vec::new(),
            reason: None,
            advice: None,
        }
    }

    /// It did not come in.
    pub(super) fn failed(mut self, reason: impl ToString, advice: &'static str) -> Line {
        self.status = Status::Failed;
        self.reason = Some(reason.to_string());
        self.advice = Some(advice);
        self
    }
}

/// The sums.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    pub(super) objects: usize,
    pub(super) imported: usize,
    pub(super) present: usize,
    pub(super) failed: usize,
    /// Bytes that were brought in, or would be.
    pub(super) bytes: u64,
    /// Objects with notes.
    pub(super) noted: usize,
    pub(super) dry_run: bool,
}

/// Where the lines go.
pub(super) struct Report {
    output: Output,
    file: Option<BufWriter<File>>,
    pub(super) summary: Summary,
}

impl Report {
    pub(super) fn new(output: Output, file: Option<&Path>, dry_run: bool) -> anyhow::Result<Report> {
        let create =
            |path: &Path| File::create(path).with_context(|| format!("cannot write {}", path.display()));
        let file = file.map(create).transpose()?.map(BufWriter::new);
        Ok(Report { output, file, summary: Summary { dry_run, ..Summary::default() } })
    }

    /// Takes a line in.
    pub(super) fn add(&mut self, progress: &Progress, line: &Line) -> anyhow::Result<()> {
        self.summary.objects += 1;
        self.summary.noted += usize::from(!line.notes.is_empty());
        match line.status {
            Status::Imported | Status::WouldImport => {
                self.summary.imported += 1;
                self.summary.bytes += line.size.unwrap_or(0);
            }
            Status::Present => self.summary.present += 1,
            Status::Failed => self.summary.failed += 1,
        }
        if let Some(file) = &mut self.file {
            serde_json::to_writer(&mut *file, line)?;
            file.write_all(b"\n")?;
        }
        progress.suspend(|| {
            if line.status == Status::Failed && !self.output.json {
                let (reason, advice) =
                    (line.reason.as_deref().unwrap_or_default(), line.advice.unwrap_or_default());
                self.output.warn(&format!("{}: {}; {advice}", one_line(&line.name), one_line(reason)));
            }
            self.output.json_line(line)
        })?;
        Ok(())
    }

    /// Says the sums.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        if let Some(file) = &mut self.file {
            file.flush().context("cannot write the report")?;
        }
        let Summary { objects, imported, present, failed, bytes, noted, dry_run } = self.summary;
        let word = if dry_run { "would be imported" } else { "imported" };
        let bytes = human_bytes(bytes);
        self.output.done(&format!(
            "{imported} of {objects} objects {word} ({bytes}), {present} were there already, {failed} failed"
        ))?;
        if noted > 0 && !self.output.json {
            self.output
                .note(&format!("of {noted} objects there is something to know; see --report FILE or --json"));
        }
        self.output.json_line(&serde_json::json!({ "summary": self.summary }))?;
        Ok(())
    }
}
