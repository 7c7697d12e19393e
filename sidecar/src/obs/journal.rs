//! The journal of answers: what the sidecar told its miners, one JSON object per line, for audits
//! and tests. It is compared with the pool's own journal, so it says itself when it is not
//! complete: its last line is `{"event":"closed","dropped":N,"lines":M}`. A file without that line
//! belongs to a process that was killed.
//!
//! One thread writes; the share path hands lines over through a bounded queue and never waits.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::line::{write_closed, Line};

/// Lines that may wait for the disk; further ones are dropped and counted.
pub const QUEUE_LINES: usize = 65_536;

/// Bytes that are gathered for one write.
const WRITE_BYTES: usize = 64 * 1_024;

/// A handle of the journal, cheap to clone; the default one is off and ignores everything. Any
/// thread may use it. When the last handle is dropped without [`Journal::close`], the writer
/// finishes on its own, if the process lives that long.
#[derive(Clone, Debug, Default)]
pub struct Journal(Option<Arc<Shared>>);

/// What a closed journal held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines in the file, without the last one that says so.
    pub lines: u64,
    /// Lines that were recorded and are not in the file.
    pub dropped: u64,
}

#[derive(Debug)]
struct Shared {
    queue: SyncSender<Message>,
    offered: Arc<AtomicU64>,
    writer: Mutex<Option<JoinHandle<io::Result<Summary>>>>,
}

#[derive(Debug)]
enum Message {
    Line(Line),
    Close,
}

impl Journal {
    /// A journal that is off.
    pub fn off() -> Self {
        Self(None)
    }

    /// Opens a journal and starts its writer. The file is made with mode 0600 when it is not
    /// there; lines go after what it holds.
    ///
    /// # Errors
    /// The file can't be opened, holds something that is no journal, or the system gives no thread.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        refuse_other_files(&mut file)?;
        end_torn_line(&mut file)?;
        Self::start(file, QUEUE_LINES)
    }

    fn start(sink: impl Write + Send + 'static, queue_lines: usize) -> io::Result<Self> {
        let (queue, messages) = sync_channel(queue_lines);
        let offered = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&offered);
        let writer = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || Writer::new(sink, count).run(&messages))?;
        Ok(Self(Some(Arc::new(Shared { queue, offered, writer: Mutex::new(Some(writer)) }))))
    }

    /// Whether lines are kept at all; lets a caller save the making of a line.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Hands a line to the writer. Never waits: a line that finds the queue full, or the journal
    /// closed, is dropped and counted.
    pub fn record(&self, line: Line) {
        if let Some(shared) = &self.0 {
            // Counted before it is sent: written lines can't outnumber offered ones.
            shared.offered.fetch_add(1, Ordering::Relaxed);
            let _ = shared.queue.try_send(Message::Line(line));
        }
    }

    /// Writes what is queued and the last line, and ends the journal for all its handles. Waits
    /// for the disk: not for async tasks. Lines recorded while it runs may be dropped (and are
    /// counted). A second call, and one on a journal that is off, gives an empty summary.
    ///
    /// # Errors
    /// Writing failed at some time; the file holds the lines up to there.
    pub fn close(&self) -> io::Result<Summary> {
        let Some(shared) = &self.0 else { return Ok(Summary::default()) };
        let writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(writer) = writer else { return Ok(Summary::default()) };
        // A writer that is gone has left its result.
        let _ = shared.queue.send(Message::Close);
        writer.join().unwrap_or_else(|_| Err(io::Error::other("the journal's writer died")))
    }
}

/// A wrong path must not spoil what it names: a key, a configuration.
fn refuse_other_files(file: &mut File) -> io::Result<()> {
    let mut first = [0];
    if file.metadata()?.is_file() && file.read(&mut first)? == 1 && first != *b"{" {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is there and is no journal (its first line is no JSON object): name another",
        ));
    }
    Ok(())
}

/// A process that was killed may leave half a line: what follows must not join it.
fn end_torn_line(file: &mut File) -> io::Result<()> {
    if !file.metadata()?.is_file() || file.seek(SeekFrom::End(0))? == 0 {
        return Ok(());
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    if last != *b"\n" {
        file.write_all(b"\n")?;
    }
    Ok(())
}

/// The thread's side.
struct Writer<W> {
    sink: W,
    offered: Arc<AtomicU64>,
    text: String,
    /// Lines in `text`.
    gathered: u64,
    written: u64,
    failure: Option<io::Error>,
}

impl<W: Write> Writer<W> {
    fn new(sink: W, offered: Arc<AtomicU64>) -> Self {
        let text = String::with_capacity(2 * WRITE_BYTES);
        Self { sink, offered, text, gathered: 0, written: 0, failure: None }
    }

    fn run(mut self, messages: &Receiver<Message>) -> io::Result<Summary> {
        loop {
            let message = match messages.try_recv() {
                Ok(message) => message,
                Err(TryRecvError::Disconnected) => break,
                // Idle: what was gathered becomes visible before the thread sleeps.
                Err(TryRecvError::Empty) => {
                    self.flush();
                    match messages.recv() {
                        Ok(message) => message,
                        Err(_) => break,
                    }
                }
            };
            match message {
                Message::Line(line) => self.line(&line),
                Message::Close => break,
            }
        }
        // Lines that came while the journal was being closed.
        while let Ok(Message::Line(line)) = messages.try_recv() {
            self.line(&line);
        }
        self.close()
    }

    fn line(&mut self, line: &Line) {
        if self.failure.is_some() {
            return;
        }
        line.write_json(&mut self.text);
        self.gathered += 1;
        if self.text.len() >= WRITE_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.text.is_empty() || self.failure.is_some() {
            return;
        }
        match self.sink.write_all(self.text.as_bytes()).and_then(|()| self.sink.flush()) {
            Ok(()) => self.written += self.gathered,
            Err(error) => {
                tracing::error!(%error, "Can't write the journal; its remaining lines are dropped");
                self.failure = Some(error);
            }
        }
        self.text.clear();
        self.gathered = 0;
    }

    fn close(mut self) -> io::Result<Summary> {
        self.flush();
        let lines = self.written;
        let dropped = self.offered.load(Ordering::Relaxed).saturating_sub(lines);
        write_closed(&mut self.text, dropped, lines);
        self.flush();
        match self.failure {
            Some(error) => Err(error),
            None => Ok(Summary { lines, dropped }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::sync::Barrier;

    use super::*;

    fn line(channel: u64) -> Line {
        Line::JobArrived { channel, job_seq: 7 }
    }

    /// A file name of one test.
    fn scratch(name: &str) -> PathBuf {
        let name = format!("gopool-sv2-journal-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        path
    }

    fn objects(path: &Path) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn rejects_a_file_that_is_no_journal_and_leaves_it_as_it_was() {
        let path = scratch("key");
        fs::write(&path, "9zRtest\n").unwrap();
        let error = Journal::open(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(fs::read_to_string(&path).unwrap(), "9zRtest\n");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn keeps_every_line_in_order_and_says_so() {
        let path = scratch("order");
        let journal = Journal::open(&path).unwrap();
        for channel in 0..5_000 {
            journal.record(line(channel));
        }
        assert_eq!(journal.close().unwrap(), Summary { lines: 5_000, dropped: 0 });
        assert_eq!(journal.close().unwrap(), Summary::default());
        journal.record(line(0));
        let objects = objects(&path);
        assert_eq!(objects.len(), 5_001);
        for (channel, object) in objects.iter().take(5_000).enumerate() {
            assert_eq!(object["channel"], channel);
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("\n{\"event\":\"closed\",\"dropped\":0,\"lines\":5000}\n"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn ignores_everything_when_off() {
        let journal = Journal::off();
        assert!(!journal.is_on());
        journal.record(line(1));
        assert_eq!(journal.close().unwrap(), Summary::default());
    }

    #[test]
    fn accounts_for_lines_of_many_threads() {
        let path = scratch("threads");
        let journal = Journal::open(&path).unwrap();
        let start = Arc::new(Barrier::new(5));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (journal, start) = (journal.clone(), Arc::clone(&start));
                thread::spawn(move || {
                    start.wait();
                    (0..1_000).for_each(|channel| journal.record(line(channel)));
                })
            })
            .collect();
        start.wait();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let summary = journal.close().unwrap();
        assert_eq!(summary, Summary { lines: 4_000, dropped: 0 });
        assert_eq!(objects(&path).len(), 4_001);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn survives_a_torn_last_line() {
        let path = scratch("torn");
        fs::write(&path, "{\"event\":\"job_arr").unwrap();
        let journal = Journal::open(&path).unwrap();
        journal.record(line(3));
        assert_eq!(journal.close().unwrap(), Summary { lines: 1, dropped: 0 });
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], "{\"event\":\"job_arr");
        assert_eq!(lines[1], "{\"event\":\"job_arrived\",\"channel\":3,\"job_seq\":7}");
        fs::remove_file(&path).unwrap();
    }

    type Kept = Arc<Mutex<Vec<u8>>>;

    /// A disk that waits until it is allowed to write, then fails if it is told to.
    struct Gate {
        entered: SyncSender<()>,
        allowed: Receiver<io::Result<()>>,
        kept: Kept,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.entered.send(());
            self.allowed.recv().unwrap_or(Ok(()))?;
            self.kept.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Starts a journal with a queue of two whose first line is at the gate.
    fn stuck() -> (Journal, SyncSender<io::Result<()>>, Kept) {
        let (entered, at_gate) = sync_channel(8);
        let (allow, allowed) = sync_channel(8);
        let kept = Kept::default();
        let gate = Gate { entered, allowed, kept: Arc::clone(&kept) };
        let journal = Journal::start(gate, 2).unwrap();
        journal.record(line(0));
        at_gate.recv().unwrap();
        (journal, allow, kept)
    }

    #[test]
    fn counts_what_it_drops_and_never_waits() {
        let (journal, allow, kept) = stuck();
        // The disk stands still: two lines wait, ten are dropped, and this returns.
        (1..=12).for_each(|channel| journal.record(line(channel)));
        drop(allow);
        assert_eq!(journal.close().unwrap(), Summary { lines: 3, dropped: 10 });
        let text = String::from_utf8(kept.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with("{\"event\":\"closed\",\"dropped\":10,\"lines\":3}\n"), "{text}");
    }

    #[test]
    fn survives_a_disk_that_fails() {
        let (journal, allow, kept) = stuck();
        journal.record(line(1));
        allow.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        assert_eq!(journal.close().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(kept.lock().unwrap().is_empty());
    }
}
