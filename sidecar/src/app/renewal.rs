//! A new authority key while miners mine on: their sessions have keys of their own, so only new
//! handshakes see it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{interval, MissedTickBehavior};

use crate::keys::{AuthorityKey, KeyError, KeyFile, PublicKey, Stamp};
use crate::noise::Acceptor;
use crate::sys::stopped;

/// How often the file is looked at: soon enough for whoever replaces it and waits for the log line.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// What a look at the file found.
struct Look {
    stamp: Option<Stamp>,
    key: Result<AuthorityKey, KeyError>,
}

/// Watches the key file and renews the acceptor's key.
pub(super) struct Renewal {
    file: KeyFile,
    /// Of the file when it was last read.
    stamp: Option<Stamp>,
    public: PublicKey,
    acceptor: Acceptor,
    /// What miners on this machine dial.
    dialed: SocketAddr,
}

impl Renewal {
    /// `key` was read from `file`, whose stamp was `stamp` before.
    pub(super) fn new(
        file: KeyFile,
        stamp: Option<Stamp>,
        key: &AuthorityKey,
        acceptor: Acceptor,
        dialed: SocketAddr,
    ) -> Self {
        Self { file, stamp, public: key.public(), acceptor, dialed }
    }

    /// Looks now and then, and whenever it is `asked`, until `stop` is true.
    pub(super) async fn run(
        mut self,
        mut asked: mpsc::Receiver<()>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let forced = tokio::select! {
                _ = look.tick() => false,
                Some(()) = asked.recv() => true,
                () = stopped(&mut stop) => return,
            };
            self.look(forced).await;
        }
    }

    /// Takes the key when the file is another one than before, or when it was asked for.
    async fn look(&mut self, forced: bool) {
        let (file, known) = (self.file.clone(), self.stamp);
        let look = tokio::task::spawn_blocking(move || {
            // Before the key: what is written in between is seen by the next look.
            let stamp = file.stamp().ok().flatten();
            (forced || stamp != known).then(|| Look { stamp, key: file.load() })
        });
        let Look { stamp, key } = match look.await {
            Ok(Some(look)) => look,
            Ok(None) => return,
            Err(error) => return tracing::error!(%error, "the authority key can't be looked at"),
        };
        self.stamp = stamp;
        match key {
            Ok(key) if key.public().0 == self.public.0 => {
                tracing::info!("the authority key is the same as before");
            }
            Ok(key) => {
                self.acceptor.renew(*key.keypair());
                self.public = key.public();
                let url = key.miner_url(self.dialed);
                tracing::info!("authority key renewed: new miners type: {url}");
            }
            Err(error) => {
                tracing::error!(
                    "the old authority key is kept, the new one can't be used: {error}"
                );
            }
        }
    }
}
