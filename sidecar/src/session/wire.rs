//! A connection's socket, with the frames on it.

use std::future::{poll_fn, Future as _};
use std::io;
use std::pin::pin;
use std::task::Poll;

use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::TcpStream;

use super::{farewell, scratch, Outbound};
use crate::frame::{Frame, FrameError, Reader, Writer};

/// A connection's socket. While it waits it has no memory but for what has come of a frame, and
/// what could not be sent.
#[derive(Debug)]
pub(super) struct Wire {
    from_miner: OwnedReadHalf,
    to_miner: OwnedWriteHalf,
    /// What has come.
    pub(super) reader: Reader,
    writer: Writer,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, reader: Reader, writer: Writer) -> Self {
        let (from_miner, to_miner) = stream.into_split();
        Self { from_miner, to_miner, reader, writer }
    }

    /// Bytes that wait to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.writer.pending().len()
    }

    /// The next frame that has come whole.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        self.reader.next_frame()
    }

    /// Puts messages behind what waits to be sent.
    ///
    /// # Errors
    /// The first one that can't be sent, and why.
    pub(super) fn put<'a>(
        &mut self,
        messages: &'a [Outbound],
    ) -> Result<(), (FrameError, &'a Outbound)> {
        if messages.is_empty() {
            return Ok(());
        }
        self.writer.lend(scratch::outgoing);
        messages.iter().try_for_each(|message| {
            message.write(&mut self.writer).map_err(|error| (error, message))
        })
    }

    /// Sends as much of what waits as the peer takes now, and says how much that was.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn flush(&mut self) -> io::Result<usize> {
        let before = self.unsent();
        while !self.writer.pending().is_empty() {
            match self.to_miner.try_write(self.writer.pending()) {
                Ok(0) => return Err(io::ErrorKind::BrokenPipe.into()),
                Ok(sent) => self.writer.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if let Some(memory) = self.writer.give_back() {
            scratch::put_outgoing(memory);
        }
        Ok(before - self.unsent())
    }

    /// Nothing is read for now.
    pub(super) fn pause(&mut self) {
        if let Some(memory) = self.reader.give_back() {
            scratch::put_incoming(memory);
        }
    }

    /// Waits until the socket has something to do of what is wanted: reads once, or finds that the
    /// peer takes more. Cancelled, it loses nothing.
    pub(super) async fn turn(&mut self, reads: bool, writes: bool) -> Done {
        let Self { from_miner, to_miner, reader, .. } = self;
        tokio::select! {
            read = read(from_miner, reader), if reads => Done::Read(read),
            writable = to_miner.writable(), if writes => Done::Writable(writable),
            () = std::future::pending() => Done::Read(Ok(0)),
        }
    }

    /// As [`farewell::say`].
    pub(super) async fn farewell(&mut self) -> io::Result<()> {
        farewell::say(&mut self.writer, &mut self.to_miner, &mut self.from_miner).await
    }
}

/// What the socket did.
#[derive(Debug)]
pub(super) enum Done {
    /// Read so many bytes; 0: the peer sends nothing more.
    Read(io::Result<usize>),
    /// The peer takes more, or never will.
    Writable(io::Result<()>),
}

async fn read(from_miner: &mut OwnedReadHalf, reader: &mut Reader) -> io::Result<usize> {
    poll_fn(|cx| {
        reader.lend(scratch::incoming);
        let polled = pin!(from_miner.read_buf(reader.room())).poll(cx);
        if matches!(polled, Poll::Pending) {
            if let Some(memory) = reader.give_back() {
                scratch::put_incoming(memory);
            }
        }
        polled
    })
    .await
}
