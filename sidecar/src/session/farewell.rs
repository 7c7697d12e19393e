//! The last words of a connection.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::frame::Writer;

/// Bytes of a peer that are read and dropped at the close, at most. One that sends on and on, such
/// as the rest of a frame of 16 MiB, is cut off.
const HEARD_OUT: usize = 256 * 1024;

/// Sends what waits, says that no more follows, and lets the peer hear it: a close with unread
/// input would reset the connection and take the last messages with it. As long as the peer sends
/// and has not closed, up to [`HEARD_OUT`]; the caller bounds the time.
///
/// # Errors
/// The connection is gone.
pub(super) async fn say(
    writer: &mut Writer,
    to_miner: &mut OwnedWriteHalf,
    from_miner: &mut OwnedReadHalf,
) -> io::Result<()> {
    while !writer.pending().is_empty() {
        let sent = to_miner.write(writer.pending()).await?;
        if sent == 0 {
            return Ok(());
        }
        writer.advance(sent);
    }
    to_miner.shutdown().await?;
    let (mut rest, mut heard) = ([0; 2048], 0);
    while heard < HEARD_OUT {
        match from_miner.read(&mut rest).await? {
            0 => break,
            got => heard += got,
        }
    }
    Ok(())
}
