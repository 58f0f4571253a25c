//! Writing below a local directory what a node names, without ever leaving that directory.
//!
//! Invariants: names from a node are [`Relative`] before they touch the disk; every directory on the way is opened without following symbolic
//! links, relative to the one above it; a file appears under its name only when it is complete. Dropping a write removes its
//! temporary file; a killed program leaves a `.jsfs-….part`, which `sync` never uploads.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A path below a directory: segments without `.`, `..`, NUL, control characters or empty ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Relative(String);

impl Relative {
    /// The path that a node gave, or why it cannot be one.
    pub(crate) fn parse(name: &str) -> Result<Relative, &'static str> {
        if name.is_empty() || name.starts_with('/') {
            return Err("it is no relative path");
        }
        if name.chars().any(char::is_control) {
            return Err("it has control characters");
        }
        if name.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err("it has an empty, . or .. segment");
        }
        Ok(Relative(name.to_owned()))
    }

    fn split(&self) -> (Vec<&str>, &str) {
        let mut segments = self.0.split('/').collect::<Vec<_>>();
        let name = segments.pop().unwrap_or_default();
        (segments, name)
    }
}

impl std::fmt::Display for Relative {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A local directory that may be written below. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Tree(Arc<OwnedFd>);

impl Tree {
    /// Opens the directory; makes it if it is not there.
    pub(crate) fn open(path: &Path) -> io::Result<Tree> {
        std::fs::create_dir_all(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Tree(Arc::new(rustix::fs::open(path, flags, Mode::empty())?)))
    }

    /// The regular file of that name; `None` where there is nothing. Anything else in its place is an error.
    pub(crate) fn read(&self, path: &Relative) -> io::Result<Option<File>> {
        let Some(parent) = self.parent(path, false)? else { return Ok(None) };
        let (_, name) = path.split();
        match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => {
                Err(io::Error::other("something that is no regular file is in its place; move it away"))
            }
            Ok(_) => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                Ok(Some(openat(&parent, name, flags, Mode::empty())?.into()))
            }
        }
    }

    /// Begins to write a file; makes the directories on the way.
    pub(crate) fn create(&self, path: &Relative) -> io::Result<Pending> {
        let parent = self.parent(path, true)?.ok_or(Errno::NOENT)?;
        let (_, name) = path.split();
        Pending::new(parent, name.into())
    }

    /// Removes a file, and the directories on the way that this leaves empty.
    pub(crate) fn remove(&self, path: &Relative) -> io::Result<()> {
        let (mut directories, name) = path.split();
        let Some(parent) = self.parent(path, false)? else { return Ok(()) };
        unlinkat(&parent, name, AtFlags::empty())?;
        while let Some(directory) = directories.pop() {
            let above = self.descend(&directories, false)?.ok_or(Errno::NOENT)?;
            if unlinkat(&above, directory, AtFlags::REMOVEDIR).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn parent(&self, path: &Relative, make: bool) -> io::Result<Option<OwnedFd>> {
        self.descend(&path.split().0, make)
    }

    /// Opens directory by directory, following no symbolic link; `None` where one is missing and none shall be made.
    fn descend(&self, directories: &[&str], make: bool) -> io::Result<Option<OwnedFd>> {
        let mut current = self.0.try_clone()?;
        for name in directories {
            let next = match openat(&current, *name, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) if !make => return Ok(None),
                Err(Errno::NOENT) => {
                    match mkdirat(&current, *name, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    openat(&current, *name, DIRECTORY, Mode::empty())
                }
                opened => opened,
            };
            current = next.map_err(|error| match error {
                Errno::LOOP | Errno::NOTDIR => {
                    io::Error::other(format!("{name} is no directory (a symbolic link is not followed)"))
                }
                error => error.into(),
            })?;
        }
        Ok(Some(current))
    }
}

/// A file that is being written beside its place.
#[derive(Debug)]
pub(crate) struct Pending {
    directory: OwnedFd,
    name: PathBuf,
    temporary: String,
    file: tokio::fs::File,
    done: bool,
}

impl Pending {
    fn new(directory: OwnedFd, name: PathBuf) -> io::Result<Pending> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("the system has no randomness"))?;
        let temporary = format!(".jsfs-{:016x}.part", u64::from_le_bytes(random));
        let file = File::from(openat(&directory, temporary.as_str(), flags, Mode::from_raw_mode(0o666))?);
        Ok(Pending { directory, name, temporary, file: file.into(), done: false })
    }

    /// What to write to.
    pub(crate) fn file(&mut self) -> &mut tokio::fs::File {
        &mut self.file
    }

    /// Puts the file into its place.
    pub(crate) async fn finish(mut self) -> io::Result<()> {
        // Waits for writes that tokio still holds, and reports their errors.
        tokio::io::AsyncWriteExt::flush(&mut self.file).await?;
        renameat(&self.directory, self.temporary.as_str(), &self.directory, self.name.as_path())?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.done {
            let _ = unlinkat(&self.directory, self.temporary.as_str(), AtFlags::empty());
        }
    }
}

/// Whether a name is one of our temporary files.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with(".jsfs-") && name.ends_with(".part")
}

/// The file that a user named: replaced when complete, or written directly where it is no regular file.
#[derive(Debug)]
pub(crate) enum Replacement {
    /// A regular file, or none yet.
    Beside(Pending),
    /// A device or pipe.
    Direct(tokio::fs::File),
}

impl Replacement {
    /// Begins to write. A symbolic link is followed: the file that it points to is replaced.
    pub(crate) async fn new(path: &Path) -> io::Result<Replacement> {
        let path = tokio::fs::canonicalize(path).await.unwrap_or_else(|_| path.to_owned());
        match tokio::fs::metadata(&path).await {
            Ok(metadata) if metadata.is_dir() => Err(io::Error::from(io::ErrorKind::IsADirectory)),
            Ok(metadata) if !metadata.is_file() => {
                Ok(Replacement::Direct(tokio::fs::OpenOptions::new().write(true).open(&path).await?))
            }
            _ => {
                let parent =
                    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
                let directory = rustix::fs::open(
                    parent,
                    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                    Mode::empty(),
                )?;
                Ok(Replacement::Beside(Pending::new(directory, name.into())?))
            }
        }
    }

    /// What to write to.
    pub(crate) fn file(&mut self) -> &mut tokio::fs::File {
        match self {
            Replacement::Beside(pending) => pending.file(),
            Replacement::Direct(file) => file,
        }
    }

    /// Puts the file into its place.
    pub(crate) async fn finish(self) -> io::Result<()> {
        match self {
            Replacement::Beside(pending) => pending.finish().await,
            Replacement::Direct(mut file) => tokio::io::AsyncWriteExt::flush(&mut file).await,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use tokio::io::AsyncWriteExt;

    async fn write(tree: &Tree, name: &str, text: &str) -> io::Result<()> {
        let mut pending = tree.create(&Relative::parse(name).map_err(io::Error::other)?)?;
        pending.file().write_all(text.as_bytes()).await?;
        pending.finish().await
    }

    #[test]
    fn hostile_names_are_no_paths() {
        for name in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", "a/.", "..", "a\0b", "a\nb"]
        {
            assert!(Relative::parse(name).is_err(), "{name:?} was accepted");
        }
        for name in ["a", "a/b", "..a", "a..", ".hidden", "C:\\x", "a b/ü%?#\"'"] {
            assert!(Relative::parse(name).is_ok(), "{name:?} was refused");
        }
    }

    #[tokio::test]
    async fn no_write_follows_a_symbolic_link_out_of_the_tree() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("victim"), "before").unwrap();
        symlink(outside.path(), inside.path().join("link")).unwrap();
        symlink(outside.path().join("victim"), inside.path().join("file")).unwrap();
        let tree = Tree::open(inside.path()).unwrap();
        assert!(write(&tree, "link/victim", "after").await.is_err());
        assert!(write(&tree, "link/new/deep", "after").await.is_err());
        assert!(tree.read(&Relative::parse("file").unwrap()).is_err());
        assert!(tree.remove(&Relative::parse("link/victim").unwrap()).is_err());
        assert_eq!(fs::read_to_string(outside.path().join("victim")).unwrap(), "before");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_file_appears_complete_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        write(&tree, "a/b/c", "one").await.unwrap();
        let mut pending = tree.create(&Relative::parse("a/b/c").unwrap()).unwrap();
        pending.file().write_all(b"tw").await.unwrap();
        drop(pending);
        assert_eq!(fs::read_to_string(directory.path().join("a/b/c")).unwrap(), "one");
        assert_eq!(
            fs::read_dir(directory.path().join("a/b")).unwrap().count(),
            1,
            "a temporary file was left"
        );
    }

    #[tokio::test]
    async fn removing_the_last_file_removes_the_empty_directories() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        write(&tree, "a/b/c", "one").await.unwrap();
        write(&tree, "a/d", "two").await.unwrap();
        tree.remove(&Relative::parse("a/b/c").unwrap()).unwrap();
        assert!(!directory.path().join("a/b").exists());
        assert!(directory.path().join("a/d").exists());
    }

    #[tokio::test]
    async fn what_is_no_regular_file_is_written_to_and_not_replaced() {
        let mut file = Replacement::new(Path::new("/dev/null")).await.unwrap();
        assert!(matches!(file, Replacement::Direct(_)));
        file.file().write_all(b"x").await.unwrap();
        file.finish().await.unwrap();
    }
}
