//! Files written whole: aside first, then renamed into place.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Error, ErrorKind, Result, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Links that one path may lead through, as Linux has it.
const LINKS: usize = 40;

/// Bytes of a file's name that the name of its temporary repeats: names may have 255.
const STEM: usize = 160;

/// How often a temporary is made anew whose name was taken, or that was taken for what a crash left.
const TRIES: usize = 8;

/// Writes a file beside its place, then renames it there: who reads the path finds the old file or the new one, whole, however many
/// write at once, and after a crash, too.
///
/// Symbolic links are followed, and the file that they lead to is replaced; it keeps its permissions (another hard link to it keeps the
/// old bytes). Temporaries that a crash left beside it (`NAME.….part`, locked by nobody) are removed.
///
/// # Errors
/// The file system's, and what stands there is read-only or not a regular file; the old file is then untouched.
pub fn write_aside(path: &Path, bytes: &[u8]) -> Result<()> {
    let target = followed(path)?;
    let old = replaceable(&target)?;
    remove_left(&target);
    let (mut file, aside) = create(&target, old.as_ref())?;
    let written = file.write_all(bytes).and_then(|()| keep(&file, old.as_ref())).and_then(|()| file.sync_all());
    // The lock is held until the name is gone, so that nobody takes the file for what a crash left.
    let written = written.and_then(|()| fs::rename(&aside, &target));
    if written.is_err() {
        fs::remove_file(&aside).ok();
    }
    written.and_then(|()| sync_folder(&target))
}

/// The path at the end of symbolic links, where there may be nothing yet.
fn followed(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..LINKS {
        match fs::symlink_metadata(&path) {
            // Links are relative to the folder they lie in.
            Ok(about) if about.is_symlink() => path = folder(&path).join(fs::read_link(&path)?),
            Ok(_) => return Ok(path),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(path),
            Err(e) => return Err(e),
        }
    }
    Err(Error::other(format!("more than {LINKS} symbolic links, one to another")))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// What is known of the file to be replaced, if there is one.
fn replaceable(target: &Path) -> Result<Option<Metadata>> {
    match fs::metadata(target) {
        Ok(about) if !about.is_file() => {
            let what = if about.is_dir() { "a directory" } else { "a device, pipe or socket" };
            Err(Error::new(ErrorKind::InvalidInput, format!("this is {what}, and only regular files are replaced")))
        }
        Ok(about) if about.permissions().readonly() => {
            Err(Error::new(ErrorKind::PermissionDenied, "the file is read-only"))
        }
        Ok(about) => Ok(Some(about)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// What the names of a target's temporaries begin with.
fn stem(target: &Path) -> Result<OsString> {
    let none = || Error::new(ErrorKind::InvalidInput, "the path names no file");
    let name = target.file_name().ok_or_else(none)?;
    let mut stem = name.to_os_string();
    if name.len() > STEM {
        let text = name.to_string_lossy();
        let end = (0..=STEM).rev().find(|&at| text.is_char_boundary(at));
        stem = text[..end.unwrap_or(0)].into();
    }
    stem.push(".");
    Ok(stem)
}

/// A temporary of its own beside the target, locked, with permissions no wider than the target's.
fn create(target: &Path, old: Option<&Metadata>) -> Result<(File, PathBuf)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if let Some(old) = old {
        use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
        options.mode(old.mode() & 0o777);
    }
    #[cfg(not(unix))]
    let _ = old;
    for _ in 0..TRIES {
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let random = RandomState::new().build_hasher().finish();
        let mut name = stem(target)?;
        name.push(format!("{process:x}-{count:x}-{random:016x}.part"));
        let aside = folder(target).join(name);
        let file = match options.open(&aside) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
            file => file?,
        };
        // Another writer may have found it before the lock did; where files have no locks, nobody looks for any.
        file.lock().ok();
        if fs::symlink_metadata(&aside).is_ok() {
            return Ok((file, aside));
        }
    }
    Err(Error::other("no temporary file could be kept beside it"))
}

/// Gives a new file the permissions and, as far as this user may, the owner of the old one.
fn keep(file: &File, old: Option<&Metadata>) -> Result<()> {
    let Some(old) = old else { return Ok(()) };
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            fchown(file, Some(old.uid()), Some(old.gid())).ok();
        }
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777))
    }
    #[cfg(not(unix))]
    file.set_permissions(old.permissions())
}

/// Removes the temporaries of a target that no writer has locked: those of writers that did not live to rename them.
fn remove_left(target: &Path) {
    let (Ok(stem), Ok(entries)) = (stem(target), fs::read_dir(folder(target))) else { return };
    let stem = stem.as_encoded_bytes();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name.as_encoded_bytes().strip_prefix(stem).is_some_and(is_temporary);
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        if let Ok(file) = OpenOptions::new().write(true).open(entry.path())
            && file.try_lock().is_ok()
        {
            fs::remove_file(entry.path()).ok();
        }
    }
}

/// Whether a name ends as those of temporaries do: `PROCESS-COUNT-RANDOM.part`.
fn is_temporary(end: &[u8]) -> bool {
    let Some(numbers) = end.strip_suffix(b".part") else { return false };
    let parts: Vec<&[u8]> = numbers.split(|&byte| byte == b'-').collect();
    let hex = |part: &&[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_hexdigit);
    parts.len() == 3 && parts.iter().all(hex) && parts[2].len() == 16
}

/// Makes the new name last.
fn sync_folder(target: &Path) -> Result<()> {
    #[cfg(unix)]
    use ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    #[cfg(unix)]
    match File::open(folder(target)).and_then(|folder| folder.sync_all()) {
        // Some file systems cannot, and a folder may be one to write to and not to read; the file is there all the same.
        Err(e) if !matches!(e.kind(), InvalidInput | Unsupported | PermissionDenied) => return Err(e),
        _ => {}
    }
    #[cfg(not(unix))]
    let _ = target;
    Ok(())
}
