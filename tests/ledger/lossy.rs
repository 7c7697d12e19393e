//! A disk below SQLite that forgets: what was written but not synced is not there after the power
//! went. It is SQLite's own file layer with four of its methods watched.
//!
//! Files of the watched folders are written as ever, and kept in memory as well: what is durable,
//! and the writes since. A picture of the disk is made of the durable part alone, or with some of
//! those writes, whole or torn, as a disk may have got to them.

use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void, CStr, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::Rng as _;
use rusqlite::ffi;

use crate::Result;

/// A disk writes so many bytes at once, or none of them.
const SECTOR: usize = 512;

/// A change that was not synced.
#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(at, bytes) => {
                let end = at + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*at..end].copy_from_slice(bytes);
            }
            Self::Truncate(len) => content.truncate(*len),
        }
    }
}

/// A file on the disk.
struct Stored {
    /// None: not even its name is on the disk.
    durable: Option<Vec<u8>>,
    pending: Vec<Change>,
}

impl Stored {
    fn sync(&mut self) {
        let mut content = self.durable.take().unwrap_or_default();
        self.pending.drain(..).for_each(|change| change.apply(&mut content));
        self.durable = Some(content);
    }
}

#[derive(Default)]
struct World {
    watched: Vec<PathBuf>,
    files: HashMap<PathBuf, Stored>,
    /// SQLite's open files by address: path, and the methods it opened them with.
    open: HashMap<usize, (PathBuf, usize)>,
    /// Watched copies of method tables, by the address of the original. Never freed: SQLite keeps
    /// pointers to them.
    tables: HashMap<usize, &'static ffi::sqlite3_io_methods>,
}

static WORLD: LazyLock<Mutex<World>> = LazyLock::new(Mutex::default);

/// SQLite's own layer, found once.
static BELOW: LazyLock<usize> = LazyLock::new(|| {
    // SAFETY: null asks for the default layer, which lives as long as the process.
    unsafe { ffi::sqlite3_vfs_find(std::ptr::null()) as usize }
});

fn world() -> MutexGuard<'static, World> {
    WORLD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches the files that are opened in `folder` from now on.
pub(crate) fn watch(folder: &Path) {
    static REGISTERED: LazyLock<()> = LazyLock::new(|| {
        let below = *BELOW as *mut ffi::sqlite3_vfs;
        // SAFETY: `below` is SQLite's default layer; a copy of it under another name, with the
        // same file size and data, is one as well. It is never freed.
        unsafe {
            let mut layer = *below;
            layer.zName = c"lossy".as_ptr();
            layer.pNext = std::ptr::null_mut();
            layer.xOpen = Some(open);
            layer.xDelete = Some(delete);
            let layer = Box::leak(Box::new(layer));
            assert_eq!(ffi::sqlite3_vfs_register(layer, 1), ffi::SQLITE_OK);
        }
    });
    LazyLock::force(&REGISTERED);
    world().watched.push(folder.to_owned());
}

/// Writes what is on the disk of `folder` to `to`, which is made: what was synced, and of the rest
/// what `survives` lets through.
pub(crate) fn picture(folder: &Path, to: &Path, mut survives: Option<&mut StdRng>) -> Result<()> {
    fs::create_dir_all(to)?;
    let world = world();
    for (path, stored) in world.files.iter().filter(|(path, _)| path.starts_with(folder)) {
        let Some(mut content) = stored.durable.clone() else { continue };
        for change in &stored.pending {
            match (survives.as_mut().map(|random| random.gen_range(0..3)), change) {
                (Some(0), change) => change.apply(&mut content),
                (Some(1), Change::Write(at, bytes)) => {
                    let torn = bytes.len() / 2 / SECTOR * SECTOR;
                    Change::Write(*at, bytes[..torn].to_vec()).apply(&mut content);
                }
                _ => {}
            }
        }
        let file = to.join(path.file_name().ok_or("a file without a name")?);
        fs::write(&file, content)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Opens a file with SQLite's own layer and watches it if it is in a watched folder.
unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let below = *BELOW as *mut ffi::sqlite3_vfs;
    // SAFETY: SQLite names a file, or none for a temporary one.
    let path = match name.is_null() {
        true => PathBuf::new(),
        false => PathBuf::from(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes())),
    };
    let mut world = world();
    let before = fs::read(&path).ok();
    // SAFETY: SQLite's arguments, handed on to SQLite's own function.
    let code = match unsafe { (*below).xOpen } {
        Some(open) => unsafe { open(below, name, file, flags, out) },
        None => ffi::SQLITE_ERROR,
    };
    if code != ffi::SQLITE_OK || !world.watched.iter().any(|folder| path.starts_with(folder)) {
        return code;
    }
    world
        .files
        .entry(path.clone())
        .or_insert_with(|| Stored { durable: before, pending: Vec::new() });
    // SAFETY: the file was opened, so its methods are set; they are a static table of SQLite's.
    unsafe {
        let original = (*file).pMethods;
        let table = world.tables.entry(original as usize).or_insert_with(|| {
            let mut table = *original;
            table.xWrite = Some(write);
            table.xTruncate = Some(truncate);
            table.xSync = Some(sync);
            table.xClose = Some(close);
            Box::leak(Box::new(table))
        });
        (*file).pMethods = *table;
        world.open.insert(file as usize, (path, original as usize));
    }
    code
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    let below = *BELOW as *mut ffi::sqlite3_vfs;
    // SAFETY: SQLite names a file; its arguments are handed on.
    unsafe {
        let path = Path::new(OsStr::from_bytes(CStr::from_ptr(name).to_bytes()));
        world().files.remove(path);
        (*below).xDelete.map_or(ffi::SQLITE_ERROR, |delete| delete(below, name, sync))
    }
}

/// The methods that a file was opened with, and what is on the disk of it.
fn found(
    world: &mut World,
    file: *mut ffi::sqlite3_file,
) -> Option<(&'static ffi::sqlite3_io_methods, &mut Stored)> {
    let (path, original) = world.open.get(&(file as usize))?;
    let stored = world.files.get_mut(path)?;
    // SAFETY: a static table of SQLite's.
    Some((unsafe { &*(*original as *const ffi::sqlite3_io_methods) }, stored))
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    len: c_int,
    at: i64,
) -> c_int {
    let mut world = world();
    let Some((below, stored)) = found(&mut world, file) else { return ffi::SQLITE_IOERR };
    let Some(write) = below.xWrite else { return ffi::SQLITE_IOERR };
    // SAFETY: SQLite hands over `len` readable bytes; its arguments are handed on.
    let (code, copy) = unsafe {
        let copy = std::slice::from_raw_parts(bytes.cast::<u8>(), len as usize).to_vec();
        (write(file, bytes, len, at), copy)
    };
    if code == ffi::SQLITE_OK {
        stored.pending.push(Change::Write(at as usize, copy));
    }
    code
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: i64) -> c_int {
    let mut world = world();
    let Some((below, stored)) = found(&mut world, file) else { return ffi::SQLITE_IOERR };
    let Some(truncate) = below.xTruncate else { return ffi::SQLITE_IOERR };
    // SAFETY: SQLite's arguments are handed on.
    let code = unsafe { truncate(file, len) };
    if code == ffi::SQLITE_OK {
        stored.pending.push(Change::Truncate(len as usize));
    }
    code
}

/// The only way for a change to become durable. The disk below is left alone: that one is not to
/// be tested.
unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    let mut world = world();
    match found(&mut world, file) {
        Some((_, stored)) => stored.sync(),
        None => return ffi::SQLITE_IOERR,
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let mut world = world();
    let Some((_, original)) = world.open.remove(&(file as usize)) else {
        return ffi::SQLITE_IOERR;
    };
    // SAFETY: a static table of SQLite's, and its own file.
    unsafe {
        let below = &*(original as *const ffi::sqlite3_io_methods);
        below.xClose.map_or(ffi::SQLITE_IOERR, |close| close(file))
    }
}
