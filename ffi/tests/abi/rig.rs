//! What tests of the C ABI share: a folder with a key, a listener made from it, its events.
#![allow(dead_code, reason = "each test program uses a part")]

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use gopool_sv2_ffi::*;
use gopool_sv2_proto::v1;
use prost::Message as _;
use v1::session_request::Message as ToPool;
use v1::session_response::Message as FromPool;

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with an authority key, gone with the value.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gopool-sv2-ffi-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        gopool_sv2::keys::generate(&path.join("authority.key")).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("sidecar.toml")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A configuration that listens on a port of its own choice.
pub(crate) const TOML: &str = "[listen]\naddress = \"127.0.0.1:0\"\n\
                               [authority]\nkey_file = \"authority.key\"\n\
                               [pool]\nreconnect_max_ms = 20\nreconnect_min_ms = 10\n";

pub(crate) fn config(path: &str, toml: Option<&str>) -> gsv2_config {
    gsv2_config {
        struct_size: size_of::<gsv2_config>() as u32,
        threads: 2,
        path: path.as_ptr().cast(),
        path_length: path.len(),
        toml: toml.map_or(ptr::null(), |text| text.as_ptr().cast()),
        toml_length: toml.map_or(0, str::len),
        reserved: [0; 3],
    }
}

/// Why the last call of this thread came to nothing.
pub(crate) fn last_error() -> String {
    let length = unsafe { gsv2_last_error(ptr::null_mut(), 0) };
    let mut text = vec![0_u8; length];
    assert_eq!(unsafe { gsv2_last_error(text.as_mut_ptr().cast(), length) }, length);
    String::from_utf8(text).unwrap()
}

/// Makes a listener; 0 with an error.
pub(crate) fn make(path: &Path, toml: Option<&str>) -> (gsv2_result, gsv2_runtime) {
    let mut runtime = u64::MAX;
    let config = config(path.to_str().unwrap(), toml);
    let code = unsafe { gsv2_runtime_new(&raw const config, &raw mut runtime) };
    (code, runtime)
}

/// A listener, freed with the value.
pub(crate) struct Listener {
    pub(crate) handle: gsv2_runtime,
    _scratch: Option<Scratch>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        gsv2_runtime_free(self.handle);
    }
}

impl Listener {
    pub(crate) fn new() -> Self {
        let scratch = Scratch::new();
        let (code, handle) = make(&scratch.file(), Some(TOML));
        assert_eq!(code, GSV2_OK, "{}", last_error());
        assert_ne!(handle, 0);
        Self { handle, _scratch: Some(scratch) }
    }

    /// A runtime that was made otherwise.
    pub(crate) fn of(handle: gsv2_runtime) -> Self {
        Self { handle, _scratch: None }
    }

    pub(crate) fn started() -> Self {
        let listener = Self::new();
        assert_eq!(gsv2_runtime_start(listener.handle), GSV2_OK, "{}", last_error());
        listener
    }

    pub(crate) fn url(&self) -> String {
        let (mut text, mut length) = ([0_u8; 512], 0);
        let buffer = text.as_mut_ptr().cast();
        let code = unsafe { gsv2_runtime_url(self.handle, buffer, 512, &raw mut length) };
        assert_eq!(code, GSV2_OK, "{}", last_error());
        String::from_utf8(text[..length].to_vec()).unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let url = self.url();
        url.split('/').nth(2).unwrap().parse().unwrap()
    }

    pub(crate) fn accepts_connections(&self) -> bool {
        TcpStream::connect(self.address()).is_ok()
    }

    /// Whether the descriptor is readable, after `patience` at most.
    pub(crate) fn is_readable(&self, patience: Duration) -> bool {
        let mut fd = -1;
        assert_eq!(unsafe { gsv2_runtime_event_fd(self.handle, &raw mut fd) }, GSV2_OK);
        let mut wanted = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let ms = i32::try_from(patience.as_millis()).unwrap();
        let count = unsafe { libc::poll(&raw mut wanted, 1, ms) };
        assert!(count >= 0, "{}", std::io::Error::last_os_error());
        count == 1
    }

    /// Polls what waits.
    pub(crate) fn poll(&self) -> Vec<gsv2_event> {
        let mut events = vec![blank(); 256];
        let mut count = usize::MAX;
        let code =
            unsafe { gsv2_runtime_poll(self.handle, events.as_mut_ptr(), 256, &raw mut count) };
        assert_eq!(code, GSV2_OK, "{}", last_error());
        events.truncate(count);
        events
    }

    /// Takes the record of an event.
    pub(crate) fn take(&self, event: &gsv2_event) -> Vec<u8> {
        let mut bytes = vec![0; event.length as usize];
        let mut length = usize::MAX;
        let (buffer, capacity) = (bytes.as_mut_ptr(), bytes.len());
        let code =
            unsafe { gsv2_runtime_take(self.handle, event.id, buffer, capacity, &raw mut length) };
        assert_eq!(code, GSV2_OK, "{}", last_error());
        assert_eq!(length, bytes.len());
        bytes
    }

    pub(crate) fn text(&self, event: &gsv2_event) -> String {
        String::from_utf8(self.take(event)).unwrap()
    }

    pub(crate) fn control(&self, stream: u32, message: FromPool) -> gsv2_result {
        let bytes = v1::SessionResponse { message: Some(message) }.encode_to_vec();
        unsafe { gsv2_runtime_control(self.handle, stream, bytes.as_ptr(), bytes.len()) }
    }

    pub(crate) fn complete(&self, stream: u32, verdicts: &[gsv2_verdict]) -> gsv2_result {
        let count = verdicts.len();
        unsafe { gsv2_runtime_complete(self.handle, stream, verdicts.as_ptr(), count) }
    }
}

pub(crate) fn blank() -> gsv2_event {
    // SAFETY: numbers alone.
    unsafe { std::mem::zeroed() }
}

/// A host's own loop: all events so far, and the texts of the log.
pub(crate) struct Seen<'a> {
    listener: &'a Listener,
    waiting: Vec<gsv2_event>,
    pub(crate) lines: Vec<String>,
}

impl<'a> Seen<'a> {
    pub(crate) fn new(listener: &'a Listener) -> Self {
        Self { listener, waiting: Vec::new(), lines: Vec::new() }
    }

    /// Waits for events, and keeps them; lines of the log are read.
    pub(crate) fn wait(&mut self) {
        assert!(self.listener.is_readable(PATIENCE), "no event comes");
        for event in self.listener.poll() {
            match event.kind {
                GSV2_EVENT_LOG => self.lines.push(self.listener.text(&event)),
                _ => self.waiting.push(event),
            }
        }
    }

    /// The next event that is no line of the log.
    pub(crate) fn next(&mut self) -> gsv2_event {
        while self.waiting.is_empty() {
            self.wait();
        }
        self.waiting.remove(0)
    }

    /// Waits for a line of the log that holds a text.
    pub(crate) fn line(&mut self, text: &str) {
        while !self.lines.iter().any(|line| line.contains(text)) {
            self.wait();
        }
    }

    pub(crate) fn message(&mut self) -> (u32, ToPool) {
        let event = self.next();
        assert_eq!(event.kind, GSV2_EVENT_MESSAGE, "{event:?}");
        let request = v1::SessionRequest::decode(&self.listener.take(&event)[..]).unwrap();
        (event.stream, request.message.unwrap())
    }

    /// Answers a Hello with a Welcome, and gives the stream.
    pub(crate) fn welcome(&mut self) -> u32 {
        let (stream, ToPool::Hello(hello)) = self.message() else { panic!("a Hello") };
        let welcome = v1::Welcome {
            protocol: hello.protocol,
            epoch: vec![7; 16].into(),
            easiest_target: vec![0xff; 32].into(),
            verdict_ring: hello.max_in_flight,
            ..v1::Welcome::default()
        };
        let code = self.listener.control(stream, FromPool::Welcome(welcome));
        assert_eq!(code, GSV2_OK, "{}", last_error());
        stream
    }
}

/// A verdict that accepts.
pub(crate) fn accepted(submit_id: u64) -> gsv2_verdict {
    gsv2_verdict {
        submit_id,
        credit_whole: 1,
        credit_fraction: 0,
        reason: 0,
        accepted: 1,
        block_candidate: 0,
        reserved: [0; 6],
        share_hash: [9; 32],
    }
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to be: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
