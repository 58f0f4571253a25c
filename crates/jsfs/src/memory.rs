//! What this user's earlier runs began and did not finish: the paths of resumable uploads, in the user's cache directory.
//!
//! One file for each upload, readable by the user only, named by a hash of what is uploaded where. It holds no secret: whoever goes on needs the key. It
//! helps only, so an error of the file system is none here; a file that is older than the node keeps uploads is of no use and is replaced or forgotten.

use jsfs_client::Memory;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

/// The longest path that is read.
const PATH_BYTES_MAX: usize = 256;

/// A folder of noted uploads.
struct Noted(PathBuf);

/// `$XDG_CACHE_HOME/jsfs/uploads`, or below `~/.cache`; none where there is no home.
pub(crate) fn of_this_user() -> Option<Arc<dyn Memory>> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")))?;
    Some(Arc::new(Noted(cache.join("jsfs/uploads"))))
}

impl Noted {
    fn file(&self, upload: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        upload.hash(&mut hasher);
        self.0.join(format!("{:016x}", hasher.finish()))
    }

    fn write(&self, upload: &str, path: &str) -> std::io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(self.file(upload))?;
        write!(file, "{upload}\n\n{path}")
    }
}

impl Memory for Noted {
    fn recall(&self, upload: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.file(upload)).ok()?;
        let path = text.strip_prefix(upload)?.strip_prefix("\n\n")?;
        (path.len() <= PATH_BYTES_MAX).then(|| path.to_owned())
    }

    fn note(&self, upload: &str, path: Option<&str>) {
        let done = match path {
            Some(path) => self.write(upload, path),
            None => std::fs::remove_file(self.file(upload)),
        };
        // Without the note another run sends all again, which is what happens without this file.
        drop(done);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Memory, Noted};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_was_noted_is_recalled_for_that_upload_only_and_read_by_its_user_only() {
        let folder = tempfile::tempdir().unwrap();
        let noted = Noted(folder.path().join("a/b"));
        assert_eq!(noted.recall("one"), None);
        noted.note("one", Some("/.jsfs/uploads/1"));
        assert_eq!(noted.recall("one").as_deref(), Some("/.jsfs/uploads/1"));
        assert_eq!(noted.recall("on"), None);
        let mode = std::fs::metadata(noted.file("one")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        noted.note("one", None);
        assert_eq!(noted.recall("one"), None);
        noted.note("one", None);
    }
}
