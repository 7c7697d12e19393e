//! Wiring: configuration in, a running sidecar out, stopped in the right order.

mod renewal;
#[cfg(feature = "grpc")]
mod stats;
#[cfg(test)]
#[cfg(feature = "mint")]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

#[cfg(feature = "bin")]
use crate::admin::View;
use crate::backend::carrier::{self, Carrier};
#[cfg(feature = "grpc")]
use crate::backend::grpc;
use crate::backend::ring::RingCarrier;
use crate::config::Config;
use crate::event::Way;
use crate::keys::{AuthorityKey, KeyError};
use crate::listen::Listener;
#[cfg(feature = "mint")]
use crate::mint::{Bridge, BridgeError, QuoteCallbacks, Running};
use crate::noise::Acceptor;
use crate::obs::bounds::Teller;
#[cfg(feature = "bin")]
use crate::obs::LogFilter;
use crate::obs::{Bounds, Clients, Counts, Journal};
use crate::session::{Context, Passage};
use crate::sys::stopped;
use renewal::Renewal;
#[cfg(feature = "grpc")]
use stats::Stats;

/// How often the log is told which places had no room.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Why the sidecar can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The authority key can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The port can't be bound.
    #[error("[listen].address {0}: {1}: {hint}", hint = bind_hint(.1))]
    Bind(SocketAddr, io::Error),
    /// The journal can't be opened.
    #[error("[log].journal {0}: {1}")]
    Journal(PathBuf, io::Error),
    /// The mint bridge can't work.
    #[cfg(feature = "mint")]
    #[error(transparent)]
    Mint(#[from] BridgeError),
}

/// What is called when something becomes of credit; by default the log.
#[cfg(feature = "mint")]
type Called = Option<Arc<dyn QuoteCallbacks>>;
#[cfg(not(feature = "mint"))]
type Called = ();

/// What to dial on this machine: nobody can dial "all addresses".
fn dialable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

fn bind_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there: stop it, or choose another port (`ss -ltnp` names it)"
        }
        io::ErrorKind::AddrNotAvailable => {
            "no address of this machine: use one that `ip address` shows, or 0.0.0.0 for all"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one, or grant it"
        }
        io::ErrorKind::InvalidInput => {
            "make ListenStream= of the socket unit and this address the same, or stop the unit"
        }
        _ => "choose another address or port",
    }
}

/// A running sidecar.
#[derive(Debug)]
pub struct Sidecar {
    address: SocketAddr,
    miner_url: String,
    stop_listener: watch::Sender<bool>,
    stop_link: watch::Sender<bool>,
    listener: JoinHandle<()>,
    link: JoinHandle<()>,
    renewal: JoinHandle<()>,
    teller: JoinHandle<()>,
    /// Asks for a look at the key file.
    look: mpsc::Sender<()>,
    journal: Journal,
    counts: Counts,
    clients: Clients,
    #[cfg(feature = "bin")]
    show: Show,
    #[cfg(feature = "grpc")]
    stats: Option<Stats>,
    #[cfg(feature = "mint")]
    bridge: Option<Running>,
}

/// What of the configuration says how much is shown.
#[cfg(feature = "bin")]
#[derive(Debug, Clone, Copy)]
struct Show {
    lost_ms: u64,
    addresses: bool,
}

impl Sidecar {
    /// Starts everything, with the pool in another process. The link to the pool is made, and made
    /// again, in the background: miners that come before it is up are told `backend-unavailable`.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    #[cfg(feature = "grpc")]
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_on(config, None).await
    }

    /// As [`Sidecar::start`], on a socket that is open already, so that the port stays open from
    /// one process to the next. It must listen on `[listen].address`.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    #[cfg(feature = "grpc")]
    pub async fn start_on(
        config: Config,
        inherited: Option<TcpListener>,
    ) -> Result<Self, StartError> {
        let dialer = grpc::Dialer::new(&config.pool, config.limits.max_in_flight);
        let events = grpc::Dialer::new(&config.pool, config.limits.max_in_flight);
        Self::start_over(dialer, events, config, inherited, Called::default()).await
    }

    /// As [`Sidecar::start`], for a program that wants to know what becomes of credit: these are
    /// called instead of the log's. Without `[mint].ledger_file` there is no credit.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    #[cfg(all(feature = "grpc", feature = "mint"))]
    pub async fn start_calling(
        config: Config,
        callbacks: Arc<dyn QuoteCallbacks>,
    ) -> Result<Self, StartError> {
        let dialer = grpc::Dialer::new(&config.pool, config.limits.max_in_flight);
        let events = grpc::Dialer::new(&config.pool, config.limits.max_in_flight);
        Self::start_over(dialer, events, config, None, Some(callbacks)).await
    }

    /// Starts everything, with the pool in this process: it has the other end of the ring.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub async fn start_on_ring(config: Config, ring: RingCarrier) -> Result<Self, StartError> {
        let events = ring.events();
        Self::start_over(ring, events, config, None, Called::default()).await
    }

    /// `events`: the way to the pool for events.
    async fn start_over<C: Carrier, W: Way>(
        carrier: C,
        events: W,
        config: Config,
        inherited: Option<TcpListener>,
        called: Called,
    ) -> Result<Self, StartError> {
        // Before the key: what is written in between is seen as a change.
        let stamp = config.authority.key_file.stamp()?;
        let key: AuthorityKey = config.authority.key_file.load()?;
        let journal = match &config.log.journal {
            Some(path) => {
                Journal::open(path).map_err(|error| StartError::Journal(path.clone(), error))?
            }
            None => Journal::off(),
        };
        let limits = config.limits.clone();
        let counts = Counts::default();
        let clients = Clients::new(counts.clone());
        let wanted = config.listen.address;
        let bind_error = |error| StartError::Bind(wanted, error);
        let listener =
            Listener::bind(&config.listen, inherited, counts.clone()).await.map_err(bind_error)?;
        let address = listener.address().map_err(bind_error)?;
        #[cfg(feature = "mint")]
        let bridge = Bridge::open(&config.mint, limits.max_in_flight, counts.clone()).await?;
        #[cfg_attr(not(feature = "mint"), expect(unused_mut, reason = "nothing keeps shares"))]
        let (backend, mut link) = carrier::link(
            carrier,
            &config.pool,
            limits.max_in_flight,
            journal.clone(),
            counts.clone(),
        );
        #[cfg(feature = "mint")]
        let keeper = bridge.as_ref().map(|bridge| Arc::downgrade(&bridge.ledger()));
        #[cfg(feature = "mint")]
        let bridge = bridge.map(|bridge| {
            let returns = link.keep_in(bridge.ledger());
            let bridge = match called {
                Some(callbacks) => bridge.calling(callbacks),
                None => bridge,
            };
            bridge.start(returns, events, &config.pool.sidecar_id)
        });
        #[cfg(not(feature = "mint"))]
        let ((), _) = (called, events);
        let acceptor = Acceptor::new(
            *key.keypair(),
            config.authority.cert_validity_sec,
            Duration::from_millis(limits.handshake_timeout_ms),
            limits.handshakes(),
        );
        #[cfg(feature = "grpc")]
        let stats = Stats::start(&config, &clients, &counts);
        let (look, looks) = mpsc::channel(1);
        let file = config.authority.key_file.clone();
        let renewal = Renewal::new(file, stamp, &key, acceptor.clone(), dialable(address));
        // A newcomer has some four turns there for its one handshake: who was first is done first.
        let (coming, going) = (Passage::new(4 * limits.handshakes()), Passage::new(1));
        let required_extensions = config.extensions.required.into();
        let context = Context {
            acceptor,
            backend,
            limits,
            required_extensions,
            #[cfg(feature = "mint")]
            ledger: keeper,
            #[cfg(not(feature = "mint"))]
            ledger: None,
            journal: journal.clone(),
            clients: clients.clone(),
            counts: counts.clone(),
            strangers: Arc::default(),
            coming,
            going,
        };
        let (stop_listener, listener_stops) = watch::channel(false);
        let (stop_link, link_stops) = watch::channel(false);
        Ok(Self {
            address,
            miner_url: key.miner_url(dialable(address)),
            renewal: tokio::spawn(renewal.run(looks, listener_stops.clone())),
            teller: tokio::spawn(tell(counts.bounds.clone(), listener_stops.clone())),
            look,
            stop_listener,
            stop_link,
            listener: tokio::spawn(listener.run(context, listener_stops)),
            link: tokio::spawn(link.run(link_stops)),
            journal,
            counts,
            clients,
            #[cfg(feature = "bin")]
            show: Show { lost_ms: config.pool.lost_ms, addresses: config.admin.show_addresses },
            #[cfg(feature = "grpc")]
            stats,
            #[cfg(feature = "mint")]
            bridge,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a miner on this machine types; with the key that was there at the start.
    #[must_use]
    pub fn miner_url(&self) -> &str {
        &self.miner_url
    }

    /// All that it counts, as it goes on.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Who is connected, as it changes.
    #[must_use]
    pub const fn clients(&self) -> &Clients {
        &self.clients
    }

    /// What the admin address shows of it; also after its end. `log`: the hand on the log filter.
    #[cfg(feature = "bin")]
    #[must_use]
    pub fn view(&self, log: Option<LogFilter>) -> View {
        View {
            counts: self.counts.clone(),
            clients: self.clients.clone(),
            log,
            lost_ms: self.show.lost_ms,
            show_addresses: self.show.addresses,
        }
    }

    /// Reads the key file again: a new key signs for all who connect from now on, a bad one is
    /// named in the log and changes nothing. Happens by itself too, within seconds of a change.
    pub fn renew_key(&self) {
        // A full queue: somebody has asked just now.
        let _ = self.look.try_send(());
    }

    /// Completes when a part of it ended unasked, and names that part: it serves nobody any more,
    /// and should be stopped and started anew. Cancel-safe.
    pub async fn failed(&mut self) -> &'static str {
        #[cfg(feature = "mint")]
        let bridge = async {
            match &mut self.bridge {
                Some(bridge) => bridge.failed().await,
                None => std::future::pending().await,
            }
        };
        #[cfg(not(feature = "mint"))]
        let bridge = std::future::pending();
        tokio::select! {
            _ = &mut self.listener => "the listener",
            _ = &mut self.link => "the link to the pool",
            _ = &mut self.renewal => "the watch of the authority key",
            part = bridge => part,
        }
    }

    /// Stops: no new connections, answers for what waits (bounded by a few seconds), then the link
    /// to the pool, then the journal.
    pub async fn stop(self) {
        // Both tasks watch for as long as they run: nobody else sends.
        self.stop_listener.send_replace(true);
        ended(self.listener, "the listener").await;
        ended(self.renewal, "the watch of the authority key").await;
        ended(self.teller, "the report on full places").await;
        self.stop_link.send_replace(true);
        ended(self.link, "the link to the pool").await;
        #[cfg(feature = "grpc")]
        if let Some(stats) = self.stats {
            stats.stop().await;
        }
        #[cfg(feature = "mint")]
        if let Some(bridge) = self.bridge {
            bridge.stop().await;
        }
        match tokio::task::spawn_blocking(move || self.journal.close()).await {
            Ok(Ok(summary)) if summary.dropped > 0 => {
                tracing::error!(dropped = summary.dropped, "the journal is not complete");
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, "the journal is not complete"),
            Err(error) => tracing::error!(%error, "the journal's writer failed"),
        }
    }
}

/// Tells from time to time which places had no room.
async fn tell(bounds: Bounds, mut stop: watch::Receiver<bool>) {
    let mut teller = Teller::default();
    let mut tick = tokio::time::interval(TELL_EVERY);
    loop {
        tokio::select! {
            _ = tick.tick() => teller.tell(&bounds),
            () = stopped(&mut stop) => return teller.tell(&bounds),
        }
    }
}

/// Waits for a task; one that has been waited for already is not asked again.
async fn ended(task: JoinHandle<()>, name: &str) {
    if task.is_finished() {
        return;
    }
    if let Err(error) = task.await {
        tracing::error!(%error, "{name} failed");
    }
}
