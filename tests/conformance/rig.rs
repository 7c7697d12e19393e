//! The server under test: our line, or the one that the environment names.

use std::net::TcpStream;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use gopool_sv2::client::PoolUrl;
use gopool_sv2_tests::{Books, Line, LineOptions};

/// A server, and what may be done to it.
pub struct Rig {
    /// As miners type it.
    pub url: String,
    host: String,
    port: u16,
    /// The authority's key, x only.
    pub authority: [u8; 32],
    /// Whom to mine for.
    pub user: String,
    line: Option<Line>,
    /// Written to by who changes the tip for all.
    tip: RwLock<()>,
}

/// The easiest target, of 2^-28: a share takes 16 hashes.
pub const FLOOR: &str = "3.7252902984619140625e-9";

/// A share takes 16 hashes and a block some 4 million: one can be mined on purpose and none comes
/// about by chance (the tests pass over nonces that make one). The pool has no time to change
/// targets or jobs of itself.
fn ours() -> LineOptions {
    let flags = ["-min-difficulty", FLOOR, "-template-seconds", "600"];
    LineOptions {
        network_bits: "1e03ffff",
        minipool: flags.map(Into::into).to_vec(),
        ..LineOptions::default()
    }
}

/// Blocks of the pool before anybody mines: its wallet's coins are ripe then, and transactions of
/// it fill the templates, as many as make a merkle path of three.
const FIRST_BLOCKS: usize = 3;

/// Has the pool mine its first blocks.
fn fill_templates(line: &mut Line) {
    let pool = line.pool_process_mut();
    for height in 1..=FIRST_BLOCKS {
        pool.signal("USR1").unwrap();
        pool.wait_for_nth("msg=\"new tip\"", height).unwrap();
    }
}

/// The server that all tests share.
pub fn rig() -> &'static Rig {
    static RIG: OnceLock<Rig> = OnceLock::new();
    RIG.get_or_init(|| {
        if let Ok(url) = std::env::var("SV2_TARGET") {
            let user = std::env::var("SV2_USER").expect("SV2_USER with SV2_TARGET");
            return Rig::at(url, user, None);
        }
        let mut line = Line::start(ours()).unwrap();
        line.end_with_this_process().unwrap();
        fill_templates(&mut line);
        Rig::at(line.url.clone(), line.address.clone(), Some(line))
    })
}

impl Rig {
    fn at(url: String, user: String, line: Option<Line>) -> Self {
        let parsed: PoolUrl = url.parse().expect("stratum2+tcp://HOST:PORT/KEY");
        Self {
            host: parsed.host().to_owned(),
            port: parsed.port(),
            authority: parsed.authority(),
            url,
            user,
            line,
            tip: RwLock::new(()),
        }
    }

    /// A line of one test's own, which stays as long as the returned value.
    pub fn of(line: Line) -> Self {
        Self::at(line.url.clone(), line.address.clone(), Some(line))
    }

    /// A bare connection.
    pub fn socket(&self) -> TcpStream {
        TcpStream::connect((self.host.as_str(), self.port)).unwrap()
    }

    /// Whether the server is ours: a part of a test may know more of it.
    pub const fn ours(&self) -> bool {
        self.line.is_some()
    }

    /// Our pool's journal: what it has told its miners is in it.
    pub fn pool_books(&self) -> Option<Books> {
        self.line.as_ref().map(|line| line.books("minipool").unwrap())
    }

    /// Whether the server is ours. Says that the test is skipped when it isn't.
    pub fn is_ours(&self, test: &str, needs: &str) -> bool {
        if self.line.is_none() {
            eprintln!("SKIPPED {test}: needs {needs}");
        }
        self.line.is_some()
    }

    /// Keeps the tip as it is.
    pub fn same_tip(&self) -> RwLockReadGuard<'_, ()> {
        self.tip.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody else mines; new tips may come. `None`, and said so: the server isn't ours.
    pub fn tips(&self, test: &str) -> Option<Tips<'_>> {
        if !self.is_ours(test, "a new tip on demand") {
            return None;
        }
        let alone = self.tip.write().unwrap_or_else(PoisonError::into_inner);
        Some(Tips { rig: self, _alone: alone })
    }
}

/// Who may change the tip.
pub struct Tips<'a> {
    rig: &'a Rig,
    _alone: RwLockWriteGuard<'a, ()>,
}

impl Tips<'_> {
    /// Has the pool mine a block.
    pub fn next(&self) {
        let pool = self.rig.line.as_ref().map(Line::pool_process);
        pool.expect("the pool runs").signal("USR1").unwrap();
    }
}
