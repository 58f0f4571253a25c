//! Exit codes of every command, and which error gives which.

use jsfs_client::Error;
use jsfs_store::backup::BackupError;
use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The operation failed, or `check` found damage.
    Failed = 1,
    /// The command line or the configuration is wrong, or the node could not start.
    CouldNotRun = 2,
    /// The object, directory, version or namespace does not exist, or cannot be seen with this credential.
    NotFound = 3,
    /// No credential, or one that does not allow it.
    NotAllowed = 4,
    /// Something is there already, or changed in between.
    Conflict = 5,
    /// The node could not be reached or is too busy.
    Unreachable = 6,
}

/// What `jsfs help` and docs/command-line.md say.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the operation failed; `check` found damage
  2  wrong usage or configuration, or the command could not run at all
  3  not found (or not visible with this key)
  4  not allowed: no key, or one that does not own it
  5  conflict: it exists already, or changed in between
  6  the node cannot be reached, or is too busy";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// A mistake in what the user asked for; exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Nothing is there; exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Nothing(pub(crate) String);

/// Several things were asked for and some failed; each was reported already.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {all} failed; see above")]
pub(crate) struct SomeFailed {
    /// How many failed.
    pub(crate) failed: usize,
    /// How many there were.
    pub(crate) all: usize,
    /// The code of the worst.
    pub(crate) exit: Exit,
}

/// The command could not start its work; exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CouldNotRun(pub(crate) String);

/// An error with its causes, each told once: many say what their own cause said.
pub(crate) fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text.push_str(&format!(": {cause}"));
        }
    }
    text
}

/// The exit code of an error.
pub(crate) fn code(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<Error>() {
            return of_client(error);
        }
        if let Some(error) = cause.downcast_ref::<SomeFailed>() {
            return error.exit;
        }
        if let Some(error) = cause.downcast_ref::<BackupError>() {
            return of_backup(error);
        }
        if cause.is::<Nothing>() {
            return Exit::NotFound;
        }
        if cause.is::<Usage>()
            || cause.is::<CouldNotRun>()
            || cause.is::<jsfs_client::AddressError>()
            || cause.is::<jsfs_client::KeyError>()
        {
            return Exit::CouldNotRun;
        }
    }
    Exit::Failed
}

fn of_backup(error: &BackupError) -> Exit {
    match error {
        BackupError::NoSuch { .. } => Exit::NotFound,
        BackupError::Foreign { .. } | BackupError::OtherStore { .. } | BackupError::NotEmpty(_) => {
            Exit::Conflict
        }
        BackupError::Store(_) => Exit::CouldNotRun,
        BackupError::Io { .. } | BackupError::Damaged { .. } | BackupError::Sent(_) => Exit::Failed,
    }
}

fn of_client(error: &Error) -> Exit {
    match error {
        Error::Unreachable { .. } | Error::Stalled { .. } | Error::Broken { .. } => Exit::Unreachable,
        Error::Refused { problem, .. } => match problem.status {
            401 | 403 => Exit::NotAllowed,
            307 => Exit::CouldNotRun,
            404 | 410 => Exit::NotFound,
            409 | 412 => Exit::Conflict,
            429 | 502..=504 => Exit::Unreachable,
            _ => Exit::Failed,
        },
        Error::Address(_) | Error::Key(_) => Exit::CouldNotRun,
        Error::Unexpected { .. } | Error::Damaged { .. } | Error::Source { .. } => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_node_answers_decides_the_code() {
        let refused = |status| {
            let problem = jsfs_client::Problem { status, ..jsfs_client::Problem::default() };
            let error = Error::Refused { subject: "/localhost/a".to_owned(), problem, credential: true };
            code(&anyhow::Error::from(error).context("while doing something"))
        };
        let expected = [
            (307, Exit::CouldNotRun),
            (400, Exit::Failed),
            (401, Exit::NotAllowed),
            (403, Exit::NotAllowed),
            (404, Exit::NotFound),
            (409, Exit::Conflict),
            (410, Exit::NotFound),
            (412, Exit::Conflict),
            (429, Exit::Unreachable),
            (500, Exit::Failed),
            (502, Exit::Unreachable),
            (503, Exit::Unreachable),
            (507, Exit::Failed),
        ];
        for (status, exit) in expected {
            assert_eq!(refused(status), exit, "{status}");
        }
    }

    #[test]
    fn a_cause_that_was_told_already_is_not_told_again() {
        let error = std::io::Error::other("the disk is tired");
        let error =
            anyhow::Error::from(error).context("cannot write x: the disk is tired").context("no luck");
        assert_eq!(told(&error), "no luck: cannot write x: the disk is tired");
        assert_eq!(told(&anyhow::anyhow!("inner").context("outer")), "outer: inner");
    }

    #[test]
    fn every_code_is_documented() {
        let page = include_str!("../../../docs/command-line.md");
        for line in EXIT_CODES.lines().skip(1) {
            let (code, meaning) = line.trim().split_once("  ").unwrap_or_default();
            assert!(
                page.contains(&format!("| {code} | {meaning} |")),
                "docs/command-line.md lacks code {code}"
            );
        }
    }
}
