//! One listener in this process: its thread, what it is told, and how it ends.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use gopool_sv2::app::Sidecar;
use gopool_sv2::backend::ring::{self, Echo, Host, RingCarrier};
use gopool_sv2::config::Config;
use tokio::sync::watch;

use crate::boundary::{panic_text, Failure};
use crate::log;
use crate::memory;
use crate::types::{GSV2_START, GSV2_WRONG_STATE};

/// How long what still runs may take when a listener is cut off.
const CUT: Duration = Duration::from_secs(2);

/// How long a listener of which a part has failed may take to stop in order.
const FAILED: Duration = Duration::from_secs(30);

/// What the thread is told; what is told later counts if it is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Run,
    Drain,
    Cut,
}

enum Stage {
    New(Box<(Config, RingCarrier, usize)>),
    /// No listener; it knows itself how far it is.
    Echo(Box<Echo>),
    Running {
        orders: watch::Sender<Order>,
        thread: JoinHandle<()>,
        url: String,
    },
    Over,
}

/// A listener.
pub(crate) struct Runtime {
    pub(crate) host: Host,
    pub(crate) polling: AtomicBool,
    is_echo: bool,
    stage: Mutex<Stage>,
    poison: Mutex<Option<String>>,
}

impl Runtime {
    /// Makes a listener that doesn't listen yet. `threads`: 0 is as many as there are processors.
    pub(crate) fn new(config: Config, threads: usize) -> Result<Self, Failure> {
        let (host, carrier) =
            ring::new(&config.pool, config.limits.max_in_flight).map_err(no_ring)?;
        Ok(Self::with(host, Stage::New(Box::new((config, carrier, threads)))))
    }

    /// Makes an echo that has not begun.
    pub(crate) fn new_echo(max_in_flight: usize) -> Result<Self, Failure> {
        let (host, echo) = ring::echo(max_in_flight).map_err(no_ring)?;
        Ok(Self::with(host, Stage::Echo(Box::new(echo))))
    }

    fn with(host: Host, stage: Stage) -> Self {
        Self {
            host,
            polling: AtomicBool::new(false),
            is_echo: matches!(stage, Stage::Echo(_)),
            stage: Mutex::new(stage),
            poison: Mutex::new(None),
        }
    }

    /// Behind each call of the host: an echo has no thread that would see what the call changed.
    pub(crate) fn advance(&self) {
        if self.is_echo {
            if let Stage::Echo(echo) = &mut *self.stage() {
                echo.turn();
            }
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it serves nobody any more, if it failed.
    pub(crate) fn poison(&self) -> Option<String> {
        self.poison.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It serves nobody any more: the listener is closed, the host told. The first reason counts.
    pub(crate) fn fail(&self, text: &str) {
        {
            let mut poison = self.poison.lock().unwrap_or_else(PoisonError::into_inner);
            if poison.is_some() {
                return;
            }
            *poison = Some(text.to_owned());
        }
        if let Stage::Running { orders, .. } = &*self.stage() {
            order(orders, Order::Cut);
        }
        self.host.fatal(text);
    }

    /// Starts to listen.
    pub(crate) fn start(self: &Arc<Self>) -> Result<(), Failure> {
        let mut stage = self.stage();
        let parts = match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::New(parts) => parts,
            mut other => {
                let begun = match &mut other {
                    Stage::Echo(echo) => echo.start(),
                    _ => false,
                };
                // It goes on as it was.
                *stage = other;
                if begun {
                    return Ok(());
                }
                let text = "it was started before: make another";
                return Err(Failure::new(GSV2_WRONG_STATE, text));
            }
        };
        let (orders, received) = watch::channel(Order::Run);
        let (ready, begun) = blocking::sync_channel(1);
        let runtime = self.clone();
        let thread = without_signals(|| {
            std::thread::Builder::new()
                .name("gsv2".into())
                .spawn(move || runtime.run(*parts, &ready, received))
        })
        .map_err(|error| Failure::new(GSV2_START, format!("can't start a thread: {error}")))?;
        match begun.recv() {
            Ok(Ok(url)) => {
                *stage = Stage::Running { orders, thread, url };
                Ok(())
            }
            Ok(Err(text)) => {
                // A thread that failed wants it.
                drop(stage);
                let _ = thread.join();
                Err(Failure::new(GSV2_START, text))
            }
            Err(_) => Err(Failure::new(GSV2_START, "the listener's thread failed")),
        }
    }

    /// What a miner on this machine types.
    pub(crate) fn url(&self) -> Result<String, Failure> {
        match &*self.stage() {
            Stage::Running { url, .. } => Ok(url.clone()),
            Stage::Echo(echo) if echo.was_started() => Ok(String::new()),
            _ => Err(Failure::new(GSV2_WRONG_STATE, "it does not listen: start it first")),
        }
    }

    /// Begins to stop in order.
    pub(crate) fn drain(&self) -> Result<(), Failure> {
        match &mut *self.stage() {
            Stage::Running { orders, .. } => {
                order(orders, Order::Drain);
                Ok(())
            }
            Stage::Echo(echo) if echo.was_started() => {
                echo.drain();
                Ok(())
            }
            _ => Err(Failure::new(GSV2_WRONG_STATE, "it does not run: there is nothing to stop")),
        }
    }

    /// Cuts off what runs, and waits for its threads.
    pub(crate) fn end(&self) {
        let stage = std::mem::replace(&mut *self.stage(), Stage::Over);
        if let Stage::Running { orders, thread, .. } = stage {
            order(&orders, Order::Cut);
            // It catches its panics.
            let _ = thread.join();
        }
    }

    /// The thread.
    fn run(
        &self,
        (config, carrier, threads): (Config, RingCarrier, usize),
        ready: &blocking::SyncSender<Result<String, String>>,
        orders: watch::Receiver<Order>,
    ) {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let dispatch = log::dispatch(self.host.clone(), &config.log.filter);
            log::adopt(&dispatch);
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            if threads > 0 {
                builder.worker_threads(threads);
            }
            // The threads inherit this one's mask of signals.
            let built = builder
                .thread_name("gsv2")
                .on_thread_start(move || log::adopt(&dispatch))
                .enable_all()
                .build();
            let tokio = match built {
                Ok(tokio) => tokio,
                Err(error) => {
                    let _ = ready.send(Err(format!("can't start threads: {error}")));
                    return Ok(());
                }
            };
            let ended = tokio.block_on(serve(config, carrier, ready, orders));
            tokio.shutdown_timeout(CUT);
            ended
        }));
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(Ended::Drained)) => self.host.drained(),
            Ok(Err(Ended::Failed(part))) => self.fail(&format!("{part} failed")),
            Err(panic) => {
                let text = format!("the library failed: {}", panic_text(&*panic));
                // Who still waits for the start would do so for ever.
                let _ = ready.try_send(Err(text.clone()));
                self.fail(&text);
            }
        }
    }
}

fn no_ring(error: std::io::Error) -> Failure {
    Failure::new(GSV2_START, format!("can't make a ring: {error}"))
}

/// How a listener that ran ended unless it was cut off.
enum Ended {
    Drained,
    Failed(&'static str),
}

async fn serve(
    config: Config,
    carrier: RingCarrier,
    ready: &blocking::SyncSender<Result<String, String>>,
    mut orders: watch::Receiver<Order>,
) -> Result<(), Ended> {
    let mut sidecar = match Sidecar::start_on_ring(config, carrier).await {
        Ok(sidecar) => sidecar,
        Err(error) => {
            let _ = ready.send(Err(error.to_string()));
            return Ok(());
        }
    };
    let _ = ready.send(Ok(sidecar.miner_url().to_owned()));
    tracing::info!(address = %sidecar.address(), "listening for Stratum V2 miners");
    let memory = memory::look_after(sidecar.clients().clone());
    let ended = tokio::select! {
        () = told(&mut orders, Order::Drain) => Ended::Drained,
        never = memory => match never {},
        part = sidecar.failed() => Ended::Failed(part),
    };
    let patience = match ended {
        Ended::Drained => None,
        // Miners wait for answers, and the ledger for its last shares; then the host hears of it.
        Ended::Failed(part) => {
            tracing::error!("{part} ended by itself: stopping, so that it can be started anew");
            Some(FAILED)
        }
    };
    tokio::select! {
        () = sidecar.stop() => Err(ended),
        () = passed(patience) => Err(ended),
        () = told(&mut orders, Order::Cut) => match ended {
            Ended::Drained => Ok(()),
            Ended::Failed(_) => Err(ended),
        },
    }
}

/// `None`: never.
async fn passed(patience: Option<Duration>) {
    match patience {
        Some(patience) => tokio::time::sleep(patience).await,
        None => std::future::pending().await,
    }
}

fn order(orders: &watch::Sender<Order>, next: Order) {
    orders.send_modify(|order| *order = next.max(*order));
}

/// Waits until it was told at least that, or nobody is left to tell.
async fn told(orders: &mut watch::Receiver<Order>, least: Order) {
    // The guard inside the result must not live on.
    let _ = orders.wait_for(|order| *order >= least).await.map(drop);
}

/// Runs `spawn` with all signals blocked in this thread, which the new thread inherits: signals are
/// for the host's threads, and a peer's reset must not raise SIGPIPE.
fn without_signals<T>(spawn: impl FnOnce() -> T) -> T {
    // SAFETY: both sets are initialised by the calls that get them; the mask is this thread's own
    // and is put back.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        // Faults of the thread itself stay deadly.
        for fault in
            [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGABRT]
        {
            libc::sigdelset(&raw mut all, fault);
        }
        let changed =
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) == 0;
        let outcome = spawn();
        if changed {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        }
        outcome
    }
}

/// Only one thread at a time.
pub(crate) struct Turn<'a>(&'a AtomicBool);

impl<'a> Turn<'a> {
    pub(crate) fn take(flag: &'a AtomicBool) -> Option<Self> {
        flag.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(Self(flag))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
