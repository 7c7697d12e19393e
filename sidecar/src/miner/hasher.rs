//! The hash threads: plain OS threads that grind the current task and report shares.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::header::NonceScan;
use super::space::{Cursor, SPAN};
use super::work::Task;

/// Nonces between two looks at the task: below a millisecond on any CPU with SHA extensions.
const CHUNK: u32 = 1024;
/// Shares that may wait for the connection. When it is full the threads wait.
const QUEUE: usize = 256;
/// How often a thread whose space is used up looks at the clock, which frees the next second.
const CLOCK_POLL: Duration = Duration::from_millis(50);

/// A share: a header of a task whose hash meets the task's target.
#[derive(Debug, Clone)]
pub struct Found {
    /// The task it was found for.
    pub task: Arc<Task>,
    /// Nonce.
    pub nonce: u32,
    /// Time in the header.
    pub ntime: u32,
    /// Version in the header.
    pub version: u32,
    /// The own extranonce; empty on standard channels.
    pub extranonce: Vec<u8>,
    /// The hash, internal order.
    pub hash: [u8; 32],
    /// It meets the network's target too.
    pub block: bool,
}

/// Owner of the threads. Dropping it stops them without waiting; [`Self::stop`] waits.
pub struct Hasher {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Grows with each change of the slot; threads look at it between chunks without locking.
    generation: AtomicU64,
    slot: Mutex<Slot>,
    changed: Condvar,
    hashes: AtomicU64,
}

struct Slot {
    task: Option<Arc<Task>>,
    stop: bool,
}

impl Hasher {
    /// Starts `threads` idle threads. Shares come out of the receiver; it is bounded, and the
    /// threads wait when it is full.
    pub fn start(threads: usize) -> io::Result<(Self, mpsc::Receiver<Found>)> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            generation: AtomicU64::new(0),
            slot: Mutex::new(Slot { task: None, stop: false }),
            changed: Condvar::new(),
            hashes: AtomicU64::new(0),
        });
        let mut hasher = Self { shared, threads: Vec::with_capacity(threads) };
        for index in 0..threads {
            let shared = hasher.shared.clone();
            let sender = sender.clone();
            let cursor = Cursor::new(index, threads);
            let thread = std::thread::Builder::new()
                .name(format!("hash-{index}"))
                .spawn(move || grind(&shared, cursor, &sender))?;
            hasher.threads.push(thread);
        }
        Ok((hasher, receiver))
    }

    /// Swaps the task; `None` idles the threads. They see it after at most 1024 hashes.
    pub fn set(&self, task: Option<Arc<Task>>) {
        self.shared.change(|slot| slot.task = task);
    }

    /// Hashes computed since the start.
    pub fn hashes(&self) -> u64 {
        self.shared.hashes.load(Ordering::Relaxed)
    }

    /// Stops the threads and waits for them. The receiver must be dropped before: a thread that
    /// waits for room in it would never end.
    pub fn stop(mut self) {
        self.shared.change(|slot| slot.stop = true);
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing to hand over; the panic was printed by itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.shared.change(|slot| slot.stop = true);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Slot)) {
        let mut slot = self.lock();
        change(&mut slot);
        self.generation.fetch_add(1, Ordering::Release);
        self.changed.notify_all();
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Waits for a task; `None` at the end. Yields the same task again until it is swapped.
    fn next_task(&self) -> Option<(u64, Arc<Task>)> {
        let mut slot = self.lock();
        loop {
            if slot.stop {
                return None;
            }
            if let Some(task) = &slot.task {
                return Some((self.generation(), task.clone()));
            }
            slot = self.changed.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until the generation is no longer `seen`, at most `time`.
    fn doze(&self, seen: u64, time: Duration) {
        let slot = self.lock();
        if self.generation() == seen {
            drop(self.changed.wait_timeout(slot, time));
        }
    }
}

/// A thread's life.
fn grind(shared: &Shared, mut cursor: Cursor, sender: &mpsc::Sender<Found>) {
    while let Some((seen, task)) = shared.next_task() {
        cursor.turn_to(&task);
        while shared.generation() == seen {
            if cursor.peek(&task).ntime_offset > task.ntime_allowance(Instant::now()) {
                shared.doze(seen, CLOCK_POLL);
            } else if !one_pass(shared, &mut cursor, &task, seen, sender) {
                return;
            }
        }
    }
}

/// Hashes one pass or as much of it as the task stays current. False when nobody wants shares any
/// more.
fn one_pass(
    shared: &Shared,
    cursor: &mut Cursor,
    task: &Arc<Task>,
    generation: u64,
    sender: &mpsc::Sender<Found>,
) -> bool {
    let pass = cursor.peek(task);
    cursor.advance();
    let (header, extranonce) = pass.header(task);
    let mut scan = NonceScan::new(&header);
    let mut done = 0;
    while done < SPAN && shared.generation() == generation {
        let count = CHUNK.min(SPAN - done);
        let (tried, found) = scan.search(header.nonce.wrapping_add(done), count, &task.target);
        done += tried;
        shared.hashes.fetch_add(u64::from(tried), Ordering::Relaxed);
        let Some((nonce, hash)) = found else { continue };
        let found = Found {
            task: task.clone(),
            nonce,
            ntime: header.ntime,
            version: header.version,
            extranonce: extranonce.clone(),
            hash,
            block: task.network.is_met_by(&hash),
        };
        if sender.blocking_send(found).is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::miner::header::tests::{vector, vector_header};
    use crate::miner::header::{sha256d, Header};
    use crate::miner::target::Target;
    use crate::miner::work::{Base, VERSION_MASK};

    /// About one hash in 4096 meets it.
    fn easy() -> Target {
        let mut bytes = [0xff; 32];
        bytes[31] = 0;
        bytes[30] = 0x0f;
        Target::from_le_bytes(bytes)
    }

    fn task(base: Base) -> Arc<Task> {
        let header = vector_header();
        Arc::new(Task {
            epoch: 1,
            job_id: 1,
            version: 0x2000_0000,
            rolling: true,
            prev_hash: header.prev_hash,
            nbits: 0x207f_ffff,
            min_ntime: header.ntime,
            since: Instant::now(),
            base,
            target: easy(),
            network: Target::from_compact(0x207f_ffff).expect("regtest"),
        })
    }

    fn standard() -> Arc<Task> {
        task(Base::Root(vector_header().merkle_root))
    }

    fn extended() -> Arc<Task> {
        let (mut head, tail, prefix, _, path) = vector();
        head.extend_from_slice(&prefix);
        task(Base::Coinbase { head, tail, path, extranonce_size: 16 })
    }

    fn take(receiver: &mut mpsc::Receiver<Found>, count: usize) -> Vec<Found> {
        (0..count).map(|_| receiver.blocking_recv().expect("share")).collect()
    }

    /// Recomputes the hash from the parts a submit carries, without the code under test.
    fn verify(found: &Found) {
        let root = match &found.task.base {
            Base::Root(root) => *root,
            Base::Coinbase { head, tail, path, .. } => {
                let coinbase = [&head[..], &found.extranonce, &tail[..]].concat();
                path.iter().fold(sha256d(&coinbase), |root, node| {
                    sha256d(&[&root[..], &node[..]].concat())
                })
            }
        };
        let header = Header {
            version: found.version,
            prev_hash: found.task.prev_hash,
            merkle_root: root,
            ntime: found.ntime,
            nbits: found.task.nbits,
            nonce: found.nonce,
        };
        assert_eq!(header.hash(), found.hash);
        assert!(found.hash[31] == 0 && found.hash[30] <= 0x0f, "{:?}", found.hash);
        assert!(found.block, "every share of this target meets the regtest network target");
        assert_eq!((found.version ^ found.task.version) & !VERSION_MASK, 0);
    }

    #[test]
    fn finds_valid_shares_on_both_kinds_and_none_twice() {
        for task in [standard(), extended()] {
            let (hasher, mut receiver) = Hasher::start(2).expect("threads");
            hasher.set(Some(task));
            let shares = take(&mut receiver, 40);
            drop(receiver);
            hasher.stop();
            shares.iter().for_each(verify);
            let hashes: HashSet<_> = shares.iter().map(|s| s.hash).collect();
            assert_eq!(hashes.len(), shares.len());
        }
    }

    #[test]
    fn a_new_task_takes_over_and_an_empty_one_idles() {
        let (hasher, mut receiver) = Hasher::start(2).expect("threads");
        hasher.set(Some(standard()));
        take(&mut receiver, 5);
        let mut next = (*extended()).clone();
        next.job_id = 2;
        hasher.set(Some(Arc::new(next)));
        // What was queued before may still come; then only the new one.
        let late = take(&mut receiver, QUEUE + 4).into_iter().filter(|s| s.task.job_id == 1);
        assert!(late.count() <= QUEUE + 2);
        assert!(take(&mut receiver, 5).iter().all(|s| s.task.job_id == 2));
        hasher.set(None);
        while receiver.try_recv().is_ok() {}
        drop(receiver);
        let shared = hasher.shared.clone();
        hasher.stop();
        let after = shared.hashes.load(Ordering::Relaxed);
        assert!(after > 0);
    }

    #[test]
    fn survives_a_receiver_that_goes_away_while_the_queue_is_full() {
        let (hasher, receiver) = Hasher::start(2).expect("threads");
        let mut all = (*standard()).clone();
        all.target = Target::EASIEST;
        hasher.set(Some(Arc::new(all)));
        while receiver.len() < QUEUE {
            std::thread::yield_now();
        }
        drop(receiver);
        hasher.stop();
    }
}
