//! Connections that only listen, and note when something came: what it was is looked at when all
//! have it, so that a message to everybody costs this process little more than reading it.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{ready, Context, Poll};
use std::time::{Duration, Instant};

use gopool_sv2_tests::peer::{Event, Peer};
use gopool_sv2_tests::{Fault, Result};
use tokio::task::{yield_now, JoinSet};

use crate::stats::Latencies;

/// So long nothing may come before what came is looked at.
const SILENCE: Duration = Duration::from_millis(50);

/// One connection, and what came since somebody looked.
struct Ear {
    peer: Peer,
    /// When something was read, and how many bytes had been read then in all.
    fills: Vec<(Instant, u64)>,
    fault: Option<Fault>,
    /// When what is listened for was there.
    heard: Option<Instant>,
}

impl Ear {
    /// Reads what there is; ready when the connection is gone.
    fn listen(&mut self, context: &mut Context<'_>, silent: &AtomicUsize) -> Poll<()> {
        loop {
            let filled = ready!(self.peer.poll_fill(context));
            if self.fills.is_empty() {
                silent.fetch_sub(1, Ordering::Relaxed);
            }
            self.fills.push((Instant::now(), self.peer.received()));
            if let Err(fault) = filled {
                self.fault = Some(fault);
                return Poll::Ready(());
            }
        }
    }

    /// Looks at what came; `wanted` is noted with the time at which its last byte was read.
    fn look(&mut self, wanted: &Event) -> Result<()> {
        while let Some(event) = self.peer.read_event()? {
            if self.heard.is_none() && event == *wanted {
                let taken = self.peer.taken();
                let fill = self.fills.iter().find(|(_, received)| *received >= taken);
                self.heard = fill.map(|(at, _)| *at);
            }
        }
        match self.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }
}

/// Connections that listen, each a task of this runtime.
pub struct Ears {
    ears: Vec<Arc<Mutex<Ear>>>,
    /// How many have not read anything since somebody looked.
    silent: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl Ears {
    /// Has connections listen.
    pub fn new(peers: Vec<Peer>) -> Self {
        let silent = Arc::new(AtomicUsize::new(peers.len()));
        let (mut ears, mut tasks) = (Vec::with_capacity(peers.len()), JoinSet::new());
        for peer in peers {
            let ear = Ear { peer, fills: Vec::new(), fault: None, heard: None };
            let ear = Arc::new(Mutex::new(ear));
            ears.push(Arc::clone(&ear));
            let silent = Arc::clone(&silent);
            tasks.spawn(async move {
                poll_fn(|context| lock(&ear).listen(context, &silent)).await;
            });
        }
        Self { ears, silent, tasks }
    }

    /// Forgets what came so far.
    ///
    /// # Errors
    /// A connection is gone.
    pub fn forget(&self) -> Result<()> {
        for ear in &self.ears {
            let mut ear = lock(ear);
            ear.look(&Event::Other)?;
            ear.heard = None;
            if !ear.fills.is_empty() {
                self.silent.fetch_add(1, Ordering::Relaxed);
                ear.fills.clear();
            }
        }
        Ok(())
    }

    /// Waits until something has come to all, and then nothing for a moment; or until `deadline`.
    ///
    /// It does so without ever sleeping: else each message would wake this core, and on a virtual
    /// machine that is half of what sending it costs the pool. Miners elsewhere cost it no such
    /// thing.
    pub async fn wait(&self, deadline: Instant) {
        let (mut silent_before, mut since) = (usize::MAX, Instant::now());
        loop {
            yield_now().await;
            let (silent, now) = (self.silent.load(Ordering::Relaxed), Instant::now());
            if silent != silent_before {
                (silent_before, since) = (silent, now);
            } else if now - since >= SILENCE {
                let quiet = self.last_fill().is_none_or(|last| now - last >= SILENCE);
                if now >= deadline || (silent == 0 && quiet) {
                    return;
                }
                since = now;
            }
        }
    }

    fn last_fill(&self) -> Option<Instant> {
        let last = self.ears.iter().filter_map(|ear| lock(ear).fills.last().map(|(at, _)| *at));
        last.max()
    }

    /// How long after `start` each heard what is wanted, and how many have not.
    ///
    /// # Errors
    /// A connection is gone.
    pub fn heard(&self, wanted: &Event, start: Instant) -> Result<(Latencies, usize)> {
        let mut latencies = Latencies::with_room(self.ears.len());
        for ear in &self.ears {
            let mut ear = lock(ear);
            ear.look(wanted)?;
            if let Some(at) = ear.heard {
                latencies.push(at.saturating_duration_since(start));
            }
        }
        let missing = self.ears.len() - latencies.len();
        Ok((latencies, missing))
    }

    /// Closes all connections.
    pub async fn close(mut self) {
        // Dropped tasks drop their half.
        self.tasks.shutdown().await;
    }
}

fn lock(ear: &Mutex<Ear>) -> MutexGuard<'_, Ear> {
    ear.lock().unwrap_or_else(PoisonError::into_inner)
}
