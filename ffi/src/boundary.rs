//! What every export goes through: checks, the panic that must not leave, the words for an error.

use std::cell::RefCell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

use crate::runtime::Runtime;
use crate::slab;
use crate::types::{gsv2_result, GSV2_BAD_HANDLE, GSV2_INVALID_ARGUMENT, GSV2_OK, GSV2_POISONED};

/// A call that came to nothing: its code, and why.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: gsv2_result,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(code: gsv2_result, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub(crate) fn argument(text: impl Into<String>) -> Self {
        Self::new(GSV2_INVALID_ARGUMENT, text)
    }
}

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

fn remember(text: &str) {
    // A thread that is about to end has no place for it.
    let _ = LAST.try_with(|last| {
        if let Ok(mut last) = last.try_borrow_mut() {
            last.clear();
            last.push_str(text);
        }
    });
}

/// The words for the last call of this thread that came to nothing.
pub(crate) fn last_error() -> String {
    LAST.try_with(|last| last.try_borrow().map(|last| last.clone()).unwrap_or_default())
        .unwrap_or_default()
}

/// The text of a panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}

/// Runs the body of an export that needs no runtime.
pub(crate) fn enter(body: impl FnOnce() -> Result<(), Failure>) -> gsv2_result {
    let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        Err(Failure::new(GSV2_POISONED, format!("the library failed: {}", panic_text(&*panic))))
    });
    match outcome {
        Ok(()) => GSV2_OK,
        Err(failure) => {
            remember(&failure.text);
            failure.code
        }
    }
}

/// Runs the body of an export on a runtime, which a panic poisons.
pub(crate) fn enter_runtime(
    handle: u64,
    body: impl FnOnce(&Arc<Runtime>) -> Result<(), Failure>,
) -> gsv2_result {
    enter(|| {
        let runtime = slab::get(handle).ok_or_else(|| {
            Failure::new(GSV2_BAD_HANDLE, "no such runtime: it was freed, or never made")
        })?;
        if let Some(text) = runtime.poison() {
            return Err(Failure::new(GSV2_POISONED, text));
        }
        catch_unwind(AssertUnwindSafe(|| body(&runtime))).unwrap_or_else(|panic| {
            let text = format!("the library failed: {}", panic_text(&*panic));
            runtime.fail(&text);
            Err(Failure::new(GSV2_POISONED, text))
        })
    })
}

/// Runs the body of an export that tells a length and no code; 0 after a panic.
pub(crate) fn enter_length(body: impl FnOnce() -> usize) -> usize {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(0)
}

/// Makes an export: its body runs behind [`enter`], or with a runtime behind [`enter_runtime`], or
/// behind [`enter_length`].
macro_rules! boundary {
    ($body:block) => {
        $crate::boundary::enter(|| $body)
    };
    (length $body:block) => {
        $crate::boundary::enter_length(|| $body)
    };
    ($handle:expr => |$runtime:ident| $body:block) => {
        $crate::boundary::enter_runtime($handle, |$runtime| $body)
    };
}
pub(crate) use boundary;

/// The bytes at a pointer of the host.
///
/// # Safety
/// `pointer` is NULL or points to `length` bytes that nobody writes meanwhile.
pub(crate) unsafe fn bytes<'a>(
    name: &str,
    pointer: *const u8,
    length: usize,
) -> Result<&'a [u8], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() || length > isize::MAX as usize {
        return Err(Failure::argument(format!("{name} is NULL, or its length makes no sense")));
    }
    // SAFETY: by the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

#[cfg(test)]
mod tests {
    #![cfg_attr(miri, allow(dead_code, unused_imports))]

    use std::net::TcpStream;
    use std::path::{Path, PathBuf};
    use std::ptr;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::calls::*;
    use crate::types::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A folder with an authority key, gone with the value.
    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// A listener that listens, and what its URL says.
    fn started(scratch: &Scratch) -> (u64, String) {
        let toml = "[listen]\naddress = \"127.0.0.1:0\"\n[authority]\nkey_file = \"a.key\"\n";
        let config = gopool_sv2::config::Config::from_bytes(
            toml.as_bytes(),
            &scratch.0.join(Path::new("sidecar.toml")),
        );
        let runtime = Arc::new(Runtime::new(config.unwrap(), 1).unwrap());
        runtime.start().unwrap();
        let url = runtime.url().unwrap();
        (slab::insert(runtime).unwrap(), url.split('/').nth(2).unwrap().to_owned())
    }

    fn scratch(name: &str) -> Scratch {
        let name = format!("gopool-sv2-poison-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        gopool_sv2::keys::generate(&path.join("a.key")).unwrap();
        Scratch(path)
    }

    /// The next event; blank when there is none.
    fn next(handle: u64) -> gsv2_event {
        // SAFETY: an event is numbers alone, and there is room for one.
        unsafe {
            let (mut event, mut count) = (std::mem::zeroed(), 0);
            let code = gsv2_runtime_poll(handle, &raw mut event, 1, &raw mut count);
            assert_eq!(code, GSV2_OK, "polling goes on");
            event
        }
    }

    #[test]
    #[cfg(not(miri))] // sockets
    fn a_panic_poisons_its_runtime_and_no_other() {
        let scratch = scratch("one");
        let ((handle, address), (other, of_other)) = (started(&scratch), started(&scratch));
        TcpStream::connect(&address).unwrap();
        let code = boundary!(handle => |_runtime| { panic!("planted {}", 7) });
        assert_eq!(code, GSV2_POISONED);
        assert_eq!(last_error(), "the library failed: planted 7");

        let mut length = 0;
        // SAFETY: what is not NULL is what it should be.
        let codes = unsafe {
            [
                gsv2_runtime_start(handle),
                gsv2_runtime_url(handle, ptr::null_mut(), 0, &raw mut length),
                gsv2_runtime_complete(handle, 1, ptr::null(), 0),
                gsv2_runtime_control(handle, 1, ptr::null(), 0),
                gsv2_runtime_hang_up(handle, 1),
                gsv2_runtime_drain(handle),
            ]
        };
        assert_eq!(codes, [GSV2_POISONED; 6]);
        assert_eq!(last_error(), "the library failed: planted 7");

        // The host hears of it last.
        let deadline = Instant::now() + PATIENCE;
        let fatal = loop {
            let event = next(handle);
            if event.kind == GSV2_EVENT_FATAL {
                break event;
            }
            assert!(Instant::now() < deadline, "no GSV2_EVENT_FATAL: {event:?}");
        };
        let mut text = vec![0; fatal.length as usize];
        let (buffer, capacity) = (text.as_mut_ptr(), text.len());
        let code =
            unsafe { gsv2_runtime_take(handle, fatal.id, buffer, capacity, &raw mut length) };
        assert_eq!((code, length), (GSV2_OK, text.len()));
        assert_eq!(String::from_utf8(text).unwrap(), "the library failed: planted 7");
        while TcpStream::connect(&address).is_ok() {
            assert!(Instant::now() < deadline, "the port stays open");
        }
        assert_eq!(next(handle).kind, 0, "nothing comes after it");

        TcpStream::connect(&of_other).unwrap();
        assert_eq!(gsv2_runtime_drain(other), GSV2_OK);
        assert_eq!(gsv2_runtime_free(other), GSV2_OK);
        assert_eq!(gsv2_runtime_free(handle), GSV2_OK);
        assert_eq!(gsv2_runtime_free(handle), GSV2_BAD_HANDLE);
    }

    #[test]
    fn a_panic_without_a_runtime_is_an_answer() {
        assert_eq!(boundary!({ panic!("planted") }), GSV2_POISONED);
        assert_eq!(last_error(), "the library failed: planted");
        assert_eq!(boundary!(length { panic!("planted") }), 0);
        let code = enter(|| std::panic::panic_any(5));
        assert_eq!(code, GSV2_POISONED);
        assert_eq!(last_error(), "the library failed: a panic");
    }

    #[test]
    #[cfg(not(miri))] // sockets
    fn a_panic_in_the_listeners_thread_poisons_too() {
        let scratch = scratch("thread");
        let (handle, _) = started(&scratch);
        let runtime = slab::get(handle).unwrap();
        runtime.fail("the listener failed");
        runtime.fail("something else failed");
        assert_eq!(gsv2_runtime_drain(handle), GSV2_POISONED);
        assert_eq!(last_error(), "the listener failed", "the first reason counts");
        drop(runtime);
        assert_eq!(gsv2_runtime_free(handle), GSV2_OK);
    }
}
