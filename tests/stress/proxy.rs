//! A proxy between sidecar and pool that does them harm.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What one direction does to what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Way {
    /// Each piece waits that long.
    pub delay: Duration,
    /// Bytes a second; 0: as they come.
    pub rate: u64,
    /// Nothing passes.
    pub stalled: bool,
}

/// What all connections go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// From the sidecar to the pool.
    pub up: Way,
    /// From the pool to the sidecar.
    pub down: Way,
    /// Connections of smaller numbers are closed.
    cut: u64,
    /// Of connections of smaller numbers nothing passes any more, though they stay.
    hole: u64,
}

/// Forwards from one Unix socket to another.
pub struct Proxy {
    runtime: Runtime,
    weather: Arc<watch::Sender<Weather>>,
    listener: Option<JoinHandle<()>>,
    path: PathBuf,
    pool: PathBuf,
    /// The number of the next connection.
    next: Arc<std::sync::atomic::AtomicU64>,
}

impl Proxy {
    /// Listens on `path`; `pool`: where to.
    pub fn start(path: &Path, pool: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut proxy = Self {
            runtime,
            weather: Arc::new(watch::Sender::new(Weather::default())),
            listener: None,
            path: path.to_owned(),
            pool: pool.to_owned(),
            next: Arc::default(),
        };
        proxy.listen();
        proxy
    }

    /// Makes the socket (again).
    pub fn listen(&mut self) {
        if self.listener.is_some() {
            return;
        }
        let _entered = self.runtime.enter();
        let listener = UnixListener::bind(&self.path).unwrap();
        let (weather, pool, next) =
            (Arc::clone(&self.weather), self.pool.clone(), Arc::clone(&self.next));
        self.listener = Some(self.runtime.spawn(async move {
            while let Ok((sidecar, _)) = listener.accept().await {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let weather = weather.subscribe();
                let pool = pool.clone();
                tokio::spawn(async move {
                    // No pool: the sidecar sees a connection that closes at once.
                    if let Ok(pool) = UnixStream::connect(&pool).await {
                        forward(sidecar, pool, number, weather).await;
                    }
                });
            }
        }));
    }

    /// Deletes the socket; nobody listens any more.
    pub fn unlisten(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
            fs::remove_file(&self.path).unwrap();
        }
    }

    /// Changes what the two directions do.
    pub fn weather(&self, change: impl FnOnce(&mut Weather)) {
        self.weather.send_modify(change);
    }

    /// Closes all connections there are.
    pub fn cut(&self) {
        let next = self.next.load(std::sync::atomic::Ordering::SeqCst);
        self.weather(|weather| weather.cut = next);
    }

    /// Of the connections there are nothing passes any more, and nobody is told.
    pub fn swallow(&self) {
        let next = self.next.load(std::sync::atomic::Ordering::SeqCst);
        self.weather(|weather| weather.hole = next);
    }
}

async fn forward(
    sidecar: UnixStream,
    pool: UnixStream,
    number: u64,
    mut weather: watch::Receiver<Weather>,
) {
    let (from_sidecar, to_sidecar) = sidecar.into_split();
    let (from_pool, to_pool) = pool.into_split();
    let up = pump(from_sidecar, to_pool, number, weather.clone(), |weather| weather.up);
    let down = pump(from_pool, to_sidecar, number, weather.clone(), |weather| weather.down);
    tokio::select! {
        // One side closed: so does the other. Both directions end with the sockets.
        () = up => {}
        () = down => {}
        _ = weather.wait_for(|weather| number < weather.cut) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: u64,
    mut weather: watch::Receiver<Weather>,
    way: fn(&Weather) -> Way,
) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let mut clear = async || {
            let passes = |weather: &Weather| !way(weather).stalled && number >= weather.hole;
            weather.wait_for(passes).await.map(|weather| way(&weather))
        };
        let Ok(before) = clear().await else { return };
        let most = if before.rate > 0 { (before.rate / 20).max(1) as usize } else { bytes.len() };
        let most = most.min(bytes.len());
        let Ok(got @ 1..) = from.read(&mut bytes[..most]).await else { return };
        // What was read in a storm is not let through by it.
        let Ok(now) = clear().await else { return };
        let paced = (got as u64 * 1000).checked_div(now.rate).unwrap_or(0);
        sleep(now.delay + Duration::from_millis(paced)).await;
        if clear().await.is_err() || to.write_all(&bytes[..got]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::Instant;

    use super::*;

    fn pair(proxy: &Proxy, pool: &UnixListener) -> (UnixStream, UnixStream) {
        let sidecar = UnixStream::connect(&proxy.path).unwrap();
        let pool = pool.accept().unwrap().0;
        for end in [&sidecar, &pool] {
            end.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        }
        (sidecar, pool)
    }

    /// What goes in at one end comes out at the other.
    fn passes(mut from: &UnixStream, mut to: &UnixStream) {
        from.write_all(b"x").unwrap();
        assert_eq!(to.read(&mut [0; 8]).unwrap(), 1);
    }

    /// What goes in at one end does not come out at the other.
    fn is_held(mut from: &UnixStream, mut to: &UnixStream) {
        from.write_all(b"x").unwrap();
        let patience = to.read_timeout().unwrap();
        to.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let error = to.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        to.set_read_timeout(patience).unwrap();
    }

    /// Whether nothing more comes out, for the other end has closed: with a reset, where it left
    /// bytes unread.
    fn closes(mut from: &UnixStream) -> bool {
        match from.read(&mut [0; 8]) {
            Ok(got) => got == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    #[test]
    fn does_the_harm_it_is_told_and_no_other() {
        let directory = tempfile::TempDir::new().unwrap();
        let (path, pool_path) = (directory.path().join("proxy"), directory.path().join("pool"));
        let pool = UnixListener::bind(&pool_path).unwrap();
        let mut proxy = Proxy::start(&path, &pool_path);
        let (sidecar, there) = pair(&proxy, &pool);
        passes(&sidecar, &there);
        passes(&there, &sidecar);

        proxy.weather(|weather| weather.down.stalled = true);
        passes(&sidecar, &there);
        is_held(&there, &sidecar);
        proxy.weather(|weather| weather.down = Way::default());
        assert_eq!((&sidecar).read(&mut [0; 8]).unwrap(), 1, "what waited comes");

        proxy.weather(|weather| weather.up.delay = Duration::from_millis(50));
        let begun = Instant::now();
        passes(&sidecar, &there);
        assert!(begun.elapsed() >= Duration::from_millis(50));
        proxy.weather(|weather| weather.up = Way::default());

        proxy.swallow();
        is_held(&sidecar, &there);
        let (next, next_there) = pair(&proxy, &pool);
        passes(&next, &next_there);

        proxy.cut();
        assert!(closes(&next));
        assert!(closes(&sidecar));
        proxy.unlisten();
        assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::NotFound);
        proxy.listen();
        let (last, last_there) = pair(&proxy, &pool);
        passes(&last_there, &last);
    }
}
