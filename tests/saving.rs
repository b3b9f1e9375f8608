//! Files: saves that run at once, what stands in their place, and what is left of crashes; loads of files that are not whole.

use std::fs;
use std::path::{Path, PathBuf};

use osculate::store::{Store, write_aside};

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("osculate-saving-{name}-{}", std::process::id()));
        fs::remove_dir_all(&path).ok();
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Two arrays that tell who saved them.
fn of(writer: usize) -> Store {
    let mut store = Store::new("test");
    store.put("a", &vec![writer as f64; 100 + writer]);
    store.put("b", &vec![writer as f32; 3000]);
    store
}

fn writer_of(path: &Path) -> usize {
    let store = Store::load(path, "test").unwrap();
    let writer = store.get::<f32>("b", 3000).unwrap()[0] as usize;
    assert_eq!(store, of(writer));
    writer
}

/// Four threads that save 500 times each to one path: every save succeeds, every load finds one of them, whole.
#[test]
fn concurrent_saves() {
    let folder = Folder::new("concurrent");
    let path = folder.file("state");
    of(0).save(&path).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let path = &path;
            scope.spawn(move || {
                for _ in 0..500 {
                    of(writer).save(path).unwrap();
                    assert!(writer_of(path) < 4);
                }
            });
        }
    });
    assert_eq!(folder.names(), ["state"]);
}

/// What a crash leaves is removed by the next save to the same path; what is being written, or is another's, stays.
#[test]
fn temporaries_of_crashes() {
    let folder = Folder::new("crash");
    let path = folder.file("state");
    let left = "state.1f-0-0123456789abcdef.part";
    let written = "state.1f-1-0123456789abcdef.part";
    let others =
        ["other.1f-0-0123456789abcdef.part", "state.1f-0-0123.part", "state.part", "state.txt", "state2.1-1-0.part"];
    for name in others.into_iter().chain([left, written]) {
        fs::write(folder.file(name), "x").unwrap();
    }
    let lock = fs::OpenOptions::new().write(true).open(folder.file(written)).unwrap();
    lock.lock().unwrap();
    of(1).save(&path).unwrap();
    assert_eq!(writer_of(&path), 1);
    let mut want = [&others[..], &["state", written]].concat();
    want.sort_unstable();
    assert_eq!(folder.names(), want);
    drop(lock);
    of(2).save(&path).unwrap();
    want.retain(|&name| name != written);
    assert_eq!(folder.names(), want);
}

/// Names as long as the file system has them, and paths that name no file.
#[test]
fn names() {
    let folder = Folder::new("names");
    for name in ["x".repeat(255), "é".repeat(127)] {
        for writer in 0..2 {
            of(writer).save(folder.file(&name)).unwrap();
            assert_eq!(writer_of(&folder.file(&name)), writer);
        }
        fs::remove_file(folder.file(&name)).unwrap();
    }
    assert!(folder.names().is_empty());
    for path in ["", "..", "/"] {
        assert!(write_aside(Path::new(path), b"x").is_err(), "{path:?}");
    }
    assert!(write_aside(&folder.file("none/state"), b"x").is_err());
    let mut store = Store::new("test");
    store.put("__metadata__", &[1.0f32]);
    assert!(store.save(folder.file("state")).is_err());
    assert!(folder.names().is_empty());
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    use std::process::Command;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    /// Links stay links, and what they lead to is replaced: relative ones, links to links, and links to nothing yet.
    #[test]
    fn links() {
        let folder = Folder::new("links");
        fs::create_dir(folder.file("runs")).unwrap();
        let state = folder.file("runs/state");
        symlink("runs/state", folder.file("latest")).unwrap();
        symlink(folder.file("latest"), folder.file("runs/again")).unwrap();
        symlink("../runs/state", folder.file("runs/round")).unwrap();
        for (writer, link) in ["latest", "runs/again", "runs/round"].into_iter().enumerate() {
            of(writer).save(folder.file(link)).unwrap();
            assert!(fs::symlink_metadata(folder.file(link)).unwrap().is_symlink());
            assert!(fs::symlink_metadata(&state).unwrap().is_file());
            assert_eq!((writer_of(&folder.file(link)), writer_of(&state)), (writer, writer));
        }
        symlink("loop", folder.file("loop")).unwrap();
        assert!(of(0).save(folder.file("loop")).is_err());
        assert!(fs::symlink_metadata(folder.file("loop")).unwrap().is_symlink());
    }

    #[test]
    fn permissions() {
        let folder = Folder::new("permissions");
        let path = folder.file("state");
        of(0).save(&path).unwrap();
        let plain = folder.file("plain");
        fs::write(&plain, "x").unwrap();
        assert_eq!(mode(&path), mode(&plain));
        for wanted in [0o600, 0o640, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(wanted)).unwrap();
            of(1).save(&path).unwrap();
            assert_eq!(mode(&path), wanted);
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        let error = of(2).save(&path).unwrap_err().to_string();
        assert!(error.contains("read-only"), "{error}");
        assert_eq!(writer_of(&path), 1);
    }

    /// What is not a regular file is refused, and still there; loading it is refused, too, and does not wait for bytes.
    #[test]
    fn not_a_file() {
        let folder = Folder::new("special");
        let pipe = folder.file("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        symlink("pipe", folder.file("link")).unwrap();
        fs::create_dir(folder.file("folder")).unwrap();
        // Who may make a device gets one that is null's.
        let device = folder.file("device");
        let made = Command::new("mknod").arg(&device).args(["c", "1", "3"]).output().unwrap().status.success();
        for name in ["pipe", "link", "folder"].into_iter().chain(made.then_some("device")) {
            let error = of(0).save(folder.file(name)).unwrap_err().to_string();
            assert!(error.contains("only regular files are replaced"), "{name}: {error}");
            assert!(Store::load(folder.file(name), "test").is_err(), "{name}");
        }
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
        assert!(fs::symlink_metadata(folder.file("folder")).unwrap().is_dir());
        if made {
            assert!(fs::symlink_metadata(&device).unwrap().file_type().is_char_device());
            fs::remove_file(&device).unwrap();
        }
        assert!(folder.names().iter().all(|name| !name.ends_with(".part")));
    }
}

/// A small file, cut anywhere or with any byte changed, is an error or other arrays, never a panic.
#[test]
fn broken_files() {
    let folder = Folder::new("broken");
    let path = folder.file("state");
    let mut store = Store::new("test");
    store.put("a", &[1.0f64, -2.0]);
    store.put_shaped("b", &[2, 1].into(), &[0.5f32, 3.0]);
    store.save(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let broken = folder.file("broken");
    let look = |bytes: &[u8]| {
        fs::write(&broken, bytes).unwrap();
        let loaded = Store::load(&broken, "test")?;
        for (name, _) in loaded.names() {
            loaded.get::<f32>(name, 2).ok();
            loaded.get::<f64>(name, 2).ok();
        }
        loaded.save(&broken)?;
        assert_eq!(Store::load(&broken, "test")?, loaded);
        Ok::<_, osculate::Error>(loaded)
    };
    assert_eq!(look(&whole).unwrap(), store);
    for cut in 0..whole.len() {
        assert!(look(&whole[..cut]).is_err(), "cut after {cut} bytes");
    }
    for at in 0..whole.len() {
        for change in [1, 2, 16, 128, 255] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            if let Ok(loaded) = look(&bytes) {
                // Values, names and types are not guarded, the header's length and shape are.
                assert!(at >= 8, "byte {at}, change {change}: {loaded:?}");
            }
        }
    }
    // Headers that claim to be huge, and arrays of more elements than can be counted.
    let header = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let about = r#""__metadata__":{"what":"test"}"#;
    for shape in ["[18446744073709551615,2]", "[4611686018427387904]", "[0,18446744073709551615]", "[-1]"] {
        let text = format!(r#"{{{about},"a":{{"dtype":"F32","shape":{shape},"data_offsets":[0,0]}}}}"#);
        if let Ok(loaded) = look(&header(&text)) {
            assert!(loaded.get::<f32>("a", 0).unwrap().is_empty(), "{shape}"); // 0 × anything
        }
    }
    for length in [u64::MAX, 1 << 62, 1 << 40, 100_000_001, 9] {
        assert!(look(&[&length.to_le_bytes()[..], b"{}      "].concat()).is_err(), "{length}");
    }
}
