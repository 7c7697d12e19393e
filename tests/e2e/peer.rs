//! A scripted miner: connects, sets up, opens, and looks at what comes.

use std::time::Duration;

use gopool_sv2::client::{
    ClientError, ConnectOptions, Connection, ExtendedChannel, Incoming, OpenRequest, Reader,
    SetupRequest, Writer,
};
use gopool_sv2_tests::Line;
use parsers_sv2::MiningOwned;
use tokio::time::timeout;

/// How long a message may take that comes at once on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A connection after SetupConnection.
pub struct Peer {
    pub reader: Reader,
    /// Held: dropping it would close the connection.
    _writer: Writer,
}

/// What a wish for a channel looks like here.
pub fn wish(line: &Line, name: &str) -> OpenRequest {
    OpenRequest {
        user: format!("{}.{name}", line.address),
        nominal_hash_rate: 1e6,
        max_target: [0xff; 32],
    }
}

/// SetupConnection of a device that requires nothing.
pub fn setup() -> SetupRequest {
    SetupRequest {
        flags: 0,
        endpoint_host: "127.0.0.1".into(),
        endpoint_port: 1,
        vendor: "test".into(),
        hardware_version: String::new(),
        firmware: String::new(),
        device_id: String::new(),
    }
}

impl Peer {
    /// Connects and opens an extended channel; what follows Success is still to be read.
    pub async fn mining(line: &Line, name: &str) -> Result<(Self, ExtendedChannel), ClientError> {
        let url = line.pool_url().expect("a URL");
        let mut connection = Connection::connect(&url, &ConnectOptions::default()).await?;
        connection.setup(&setup()).await?;
        let channel = connection.open_extended(&wish(line, name), 4).await?;
        let (reader, writer) = connection.split();
        Ok((Self { reader, _writer: writer }, channel))
    }

    pub async fn next(&mut self) -> Result<Incoming, ClientError> {
        timeout(PATIENCE, self.reader.next()).await.expect("a message in time")
    }

    /// The next message of the mining protocol.
    pub async fn next_mining(&mut self) -> Result<MiningOwned, ClientError> {
        loop {
            if let Incoming::Mining(message) = self.next().await? {
                return Ok(message);
            }
        }
    }
}
