//! Bad arguments are answered with a code and a text, and change nothing.

use std::path::Path;
use std::ptr;

use gopool_sv2::config::Config;
use gopool_sv2_ffi::*;

use crate::rig::{accepted, blank, config, last_error, make, Listener, Scratch, TOML};

#[test]
fn the_version_is_that_of_the_header() {
    assert_eq!(gsv2_abi_version(), GSV2_ABI_VERSION);
    let header = include_str!("../../include/gopool_sv2.h");
    assert!(header.contains(&format!("#define GSV2_ABI_VERSION {}\n", gsv2_abi_version())));
    gsv2_abi_v1();
}

#[test]
fn rejects_null_pointers_everywhere() {
    let listener = Listener::started();
    let handle = listener.handle;
    let scratch = Scratch::new();
    let path = scratch.file();
    let good = config(path.to_str().unwrap(), Some(TOML));
    let (mut out, mut length, mut count) = (7, 7_usize, 7_usize);
    let mut events = [blank(); 2];
    let mut no_path = good;
    no_path.path = ptr::null();
    // SAFETY: what is not NULL is what it should be.
    let codes = unsafe {
        [
            gsv2_runtime_new(ptr::null(), ptr::null_mut()),
            gsv2_runtime_new(&raw const good, ptr::null_mut()),
            gsv2_runtime_new(ptr::null(), &raw mut out),
            gsv2_runtime_new(&raw const no_path, &raw mut out),
            gsv2_runtime_url(handle, ptr::null_mut(), 0, ptr::null_mut()),
            gsv2_runtime_event_fd(handle, ptr::null_mut()),
            gsv2_runtime_poll(handle, events.as_mut_ptr(), 2, ptr::null_mut()),
            gsv2_runtime_poll(handle, ptr::null_mut(), 2, &raw mut count),
            gsv2_runtime_poll(handle, ptr::null_mut(), usize::MAX, &raw mut count),
            gsv2_runtime_take(handle, 1, ptr::null_mut(), 0, ptr::null_mut()),
            gsv2_runtime_take(handle, 1, ptr::null_mut(), 2, &raw mut length),
            gsv2_runtime_take(handle, 1, ptr::null_mut(), usize::MAX, &raw mut length),
            gsv2_runtime_complete(handle, 1, ptr::null(), 1),
            gsv2_runtime_complete(handle, 1, ptr::null(), usize::MAX),
            gsv2_runtime_acknowledge(handle, 1, ptr::null(), 1),
            gsv2_runtime_acknowledge(handle, 1, ptr::null(), usize::MAX),
            gsv2_runtime_control(handle, 1, ptr::null(), 1),
            gsv2_runtime_control(handle, 1, ptr::null(), usize::MAX),
        ]
    };
    assert_eq!(codes, [GSV2_INVALID_ARGUMENT; 18]);
    assert_eq!((out, count, length), (0, 0, 0), "and what is stored says nothing");
    assert!(last_error().contains("message is NULL"), "{}", last_error());
    // Lengths that fit no memory, with pointers that are good.
    let verdict = accepted(1);
    // SAFETY: nothing is read beyond what is there.
    let codes = unsafe {
        [
            gsv2_runtime_complete(handle, 1, &raw const verdict, usize::MAX / 2),
            gsv2_runtime_control(handle, 1, [0_u8].as_ptr(), usize::MAX),
            gsv2_runtime_take(handle, 1, [0_u8].as_mut_ptr(), usize::MAX, &raw mut length),
        ]
    };
    assert_eq!(codes, [GSV2_INVALID_ARGUMENT; 3]);
    // NULL with nothing behind it is an empty one.
    let code = unsafe { gsv2_runtime_poll(handle, ptr::null_mut(), 0, &raw mut count) };
    assert_eq!((code, count), (GSV2_OK, 0));
    assert!(listener.accepts_connections());
}

#[test]
fn rejects_a_struct_size_it_does_not_know() {
    let scratch = Scratch::new();
    let path = scratch.file();
    let good = config(path.to_str().unwrap(), Some(TOML));
    let size = good.struct_size;
    for wrong in [0, 1, 4, size - 8, size - 1, size + 1, size + 8, u32::MAX] {
        let mut out = 7;
        let bad = gsv2_config { struct_size: wrong, ..good };
        let code = unsafe { gsv2_runtime_new(&raw const bad, &raw mut out) };
        assert_eq!((code, out), (GSV2_BAD_STRUCT_SIZE, 0), "{wrong}");
        let text = last_error();
        assert!(text.contains(&wrong.to_string()) && text.contains(&size.to_string()), "{text}");
    }
}

#[test]
fn rejects_reserved_fields_that_are_not_0() {
    let scratch = Scratch::new();
    let path = scratch.file();
    for field in 0..3 {
        let mut bad = config(path.to_str().unwrap(), Some(TOML));
        bad.reserved[field] = 1;
        let mut out = 7;
        let code = unsafe { gsv2_runtime_new(&raw const bad, &raw mut out) };
        assert_eq!((code, out), (GSV2_INVALID_ARGUMENT, 0));
        assert!(last_error().contains("reserved"), "{}", last_error());
    }
}

#[test]
fn rejects_a_configuration_with_all_its_problems_at_once() {
    let path = Path::new("sidecar.toml");
    let bad = "[listen]\naddress = \"0.0.0.0\"\nadress = 3\n[limts]\n[pool]\nsidecar_id = 7\n";
    for toml in [bad, "[", "\u{feff}x", "a = 1\na = 2"] {
        let (code, handle) = make(path, Some(toml));
        assert_eq!((code, handle), (GSV2_CONFIG, 0), "{toml:?}");
        let want = Config::from_bytes(toml.as_bytes(), path).unwrap_err().to_string();
        assert_eq!(last_error(), want);
    }
    assert_eq!(make(path, Some(bad)).0, GSV2_CONFIG);
    assert_eq!(last_error().lines().count(), 4, "{}", last_error());
}

#[test]
fn reads_the_file_unless_the_configuration_is_given() {
    let scratch = Scratch::new();
    let path = scratch.file();
    assert_eq!(make(&path, None), (GSV2_CONFIG, 0), "there is none");
    assert_eq!(last_error(), Config::load(&path).unwrap_err().to_string());
    std::fs::write(&path, TOML).unwrap();
    let (code, handle) = make(&path, None);
    assert_eq!(code, GSV2_OK, "{}", last_error());
    assert_eq!(gsv2_runtime_start(handle), GSV2_OK, "{}", last_error());
    assert_eq!(gsv2_runtime_free(handle), GSV2_OK);
    assert_eq!(make(Path::new(""), None), (GSV2_INVALID_ARGUMENT, 0));
    let mut bad = config("", None);
    (bad.path, bad.path_length) = (b"\xff\xfe".as_ptr().cast(), 2);
    let mut out = 7;
    let code = unsafe { gsv2_runtime_new(&raw const bad, &raw mut out) };
    assert_eq!((code, out), (GSV2_INVALID_ARGUMENT, 0));
    assert!(last_error().contains("UTF-8"), "{}", last_error());
}

#[test]
fn a_buffer_that_is_too_short_is_told_the_length_and_loses_nothing() {
    let listener = Listener::started();
    let url = listener.url();
    let mut buffer = [b'#'; 512];
    for capacity in [0, 1, url.len() - 1] {
        let mut length = 0;
        let text = buffer.as_mut_ptr().cast();
        let code = unsafe { gsv2_runtime_url(listener.handle, text, capacity, &raw mut length) };
        assert_eq!((code, length), (GSV2_BUFFER_TOO_SHORT, url.len()));
        assert!(last_error().contains(&url.len().to_string()), "{}", last_error());
    }
    assert_eq!(buffer, [b'#'; 512], "nothing was written");

    assert!(listener.is_readable(crate::rig::PATIENCE));
    let event = listener.poll().remove(0);
    let size = event.length as usize;
    assert!(size > 0, "{event:?}");
    for capacity in [0, 1, size - 1] {
        let mut length = 0;
        let (id, buffer) = (event.id, buffer.as_mut_ptr());
        let code =
            unsafe { gsv2_runtime_take(listener.handle, id, buffer, capacity, &raw mut length) };
        assert_eq!((code, length), (GSV2_BUFFER_TOO_SHORT, size));
    }
    assert_eq!(buffer, [b'#'; 512], "nothing was written");
    assert_eq!(listener.take(&event).len(), size);
    let mut length = 7;
    for record in [event.id, 0, u64::MAX] {
        let buffer = buffer.as_mut_ptr();
        let code =
            unsafe { gsv2_runtime_take(listener.handle, record, buffer, 512, &raw mut length) };
        assert_eq!((code, length), (GSV2_NO_RECORD, 0));
    }
}

#[test]
fn the_words_for_an_error_are_of_the_thread_and_fit_any_buffer() {
    assert_eq!(gsv2_runtime_drain(0), GSV2_BAD_HANDLE);
    let whole = last_error();
    assert!(whole.contains("no such runtime"), "{whole}");
    let other = std::thread::spawn(last_error).join().unwrap();
    assert_eq!(other, "", "another thread has made no call");
    let mut buffer = [b'#'; 256];
    let told = unsafe { gsv2_last_error(buffer.as_mut_ptr().cast(), 4) };
    assert_eq!(told, whole.len());
    assert_eq!(&buffer[..4], &whole.as_bytes()[..4]);
    assert_eq!(&buffer[4..], &[b'#'; 252]);
    assert_eq!(unsafe { gsv2_last_error(ptr::null_mut(), 256) }, whole.len());
}
