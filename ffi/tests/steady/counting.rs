//! An allocator that counts what the listener's threads take from the heap, and says who took it.
#![allow(dead_code, reason = "each test program uses a part")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;

/// Threads of the listener have this name.
const THREADS: &[u8] = b"gsv2";
/// Call stacks that are kept; what comes later is only counted.
const STACKS_MAX: usize = 4_000;
/// Set to anything to see the call stacks of what is ours.
const SHOW: &str = "GOPOOL_SV2_STACKS";
/// Crates that only do what their caller says: an allocation in them is the caller's.
const TRANSPARENT: [&str; 3] = ["std", "bytes", "hashbrown"];
/// Folders of this repository; what is built with less to go by names its crates.
const OURS: [&str; 3] = ["sidecar/src/", "ffi/src/", "proto/src/"];
const OUR_CRATES: [&str; 3] = ["gopool_sv2", "gopool_sv2_ffi", "gopool_sv2_proto"];

static ON: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
static STACKS: Mutex<Vec<Backtrace>> = Mutex::new(Vec::new());

#[derive(Clone, Copy, PartialEq)]
enum Whose {
    Unknown,
    Ours,
    Others,
}

thread_local! {
    static WHOSE: Cell<Whose> = const { Cell::new(Whose::Unknown) };
    /// What the allocator itself allocates doesn't count.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// To be a test program's `#[global_allocator]`.
pub(crate) struct Counting;

// SAFETY: all memory is the system allocator's; counting only looks on.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }
}

fn note() {
    if !ON.load(Ordering::Relaxed) || BUSY.with(Cell::get) || !is_ours() {
        return;
    }
    COUNT.fetch_add(1, Ordering::Relaxed);
    BUSY.with(|busy| busy.set(true));
    if let Ok(mut stacks) = STACKS.lock() {
        if stacks.len() < STACKS_MAX {
            stacks.push(Backtrace::force_capture());
        }
    }
    BUSY.with(|busy| busy.set(false));
}

fn is_ours() -> bool {
    WHOSE.with(|whose| {
        if whose.get() == Whose::Unknown {
            BUSY.with(|busy| busy.set(true));
            let name = std::fs::read("/proc/thread-self/comm").unwrap_or_default();
            whose.set(if name.starts_with(THREADS) { Whose::Ours } else { Whose::Others });
            drop(name);
            BUSY.with(|busy| busy.set(false));
        }
        whose.get() == Whose::Ours
    })
}

/// What this thread does counts as the listener's, as long as it lives.
pub(crate) struct Inside(Whose);

impl Inside {
    pub(crate) fn new() -> Self {
        Self(WHOSE.with(|whose| whose.replace(Whose::Ours)))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        WHOSE.with(|whose| whose.set(self.0));
    }
}

/// Allocations between two moments.
pub(crate) struct Counted {
    /// All of them.
    pub(crate) all: u64,
    /// Those of code of this repository, as far as their stacks were kept.
    pub(crate) ours: u64,
    /// By who asked for them, in order of their number: crate and function, and ours behind it.
    pub(crate) by: Vec<(u64, String)>,
}

/// Counts what is allocated while `act` runs.
pub(crate) fn count(act: impl FnOnce()) -> Counted {
    COUNT.store(0, Ordering::Relaxed);
    STACKS.lock().unwrap().reserve(STACKS_MAX);
    ON.store(true, Ordering::Relaxed);
    act();
    ON.store(false, Ordering::Relaxed);
    let stacks = std::mem::take(&mut *STACKS.lock().unwrap());
    let mut by: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let mut ours = 0;
    for stack in &stacks {
        let text = stack.to_string();
        let who = Who::of(&text);
        ours += u64::from(who.is_ours());
        by.entry(who.to_string()).or_insert((0, text)).0 += 1;
    }
    if std::env::var_os(SHOW).is_some() {
        for (who, (count, text)) in &by {
            println!("{count} {who}\n{text}");
        }
    }
    let mut by: Vec<_> = by.into_iter().map(|(who, (count, _))| (count, who)).collect();
    by.sort_by(|left, right| right.cmp(left));
    Counted { all: COUNT.load(Ordering::Relaxed), ours, by }
}

impl Counted {
    /// What a part of the stacks that were kept stands for.
    pub(crate) fn estimated(&self, part: u64) -> u64 {
        let kept: u64 = self.by.iter().map(|(count, _)| count).sum();
        part * self.all / kept.max(1)
    }

    /// Says what `operations` took.
    pub(crate) fn print(&self, what: &str, operations: u64) {
        let kept: u64 = self.by.iter().map(|(count, _)| count).sum();
        let each = |count: u64| count as f64 / operations as f64;
        println!("{what}: {} allocations, {:.4} each", self.all, each(self.all));
        for (count, who) in &self.by {
            // Stacks of a part stand for all.
            let share = *count as f64 * self.all as f64 / kept as f64;
            println!("  {:.4} {who}", share / operations as f64);
        }
    }
}

/// A function on the way to an allocation.
#[derive(Clone, Copy)]
struct Frame<'a> {
    name: &'a str,
    /// Its source, when it was built with that.
    file: Option<&'a str>,
}

impl<'a> Frame<'a> {
    /// Those of a stack, innermost first.
    fn all(stack: &'a str) -> Vec<Self> {
        let mut frames: Vec<Self> = Vec::new();
        for line in stack.lines().map(str::trim_start) {
            if let Some(file) = line.strip_prefix("at ") {
                if let Some(frame) = frames.last_mut() {
                    frame.file = Some(file);
                }
            } else if let Some((_, name)) = line.split_once(": ") {
                frames.push(Self { name: without_hash(name), file: None });
            }
        }
        frames
    }

    /// Its crate: `ours`, `std`, or its name.
    fn krate(&self) -> &'a str {
        let Some(file) = self.file else { return of_name(self.name) };
        if let Some((_, behind)) = file.split_once("/registry/src/") {
            let folder = behind.split('/').nth(1).unwrap_or_default();
            return folder.rsplit_once('-').map_or(folder, |(name, _version)| name);
        }
        match OURS.iter().any(|folder| file.contains(folder)) {
            true => "ours",
            false => "std",
        }
    }
}

/// The crate of a function's name; of a method's, that of its type.
fn of_name(name: &str) -> &str {
    let start = name.trim_start_matches(['<', '&', '(', '[', '*']).trim_start_matches("mut ");
    let start = start.trim_start_matches("dyn ");
    let name = start.split(|c: char| c != '_' && !c.is_alphanumeric()).next().unwrap_or_default();
    match name {
        "alloc" | "core" | "__rustc" | "__rust_alloc" | "steady" => "std",
        ours if OUR_CRATES.contains(&ours) => "ours",
        other => other,
    }
}

fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 => name,
        _ => name,
    }
}

/// Who asked for memory.
struct Who<'a> {
    krate: &'a str,
    asked: &'a str,
    /// Where in our code, be it for somebody else.
    ours: &'a str,
}

impl<'a> Who<'a> {
    fn of(stack: &'a str) -> Self {
        let frames = Frame::all(stack);
        let asked = frames.iter().find(|frame| !TRANSPARENT.contains(&frame.krate()));
        let ours = frames.iter().find(|frame| frame.krate() == "ours");
        Self {
            krate: asked.map_or("?", Frame::krate),
            asked: asked.map_or("?", |frame| frame.name),
            ours: ours.map_or("?", |frame| frame.file.unwrap_or(frame.name)),
        }
    }

    fn is_ours(&self) -> bool {
        self.krate == "ours"
    }
}

impl std::fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { krate, asked, ours } = self;
        write!(f, "{krate}: {asked} at {ours}")
    }
}
