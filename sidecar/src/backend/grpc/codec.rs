//! Messages to the pool as bytes: shares are written by hand, into memory that is used again, and
//! all else, and all that the pool says, by the generated code.

use bytes::{BufMut, Bytes, BytesMut};
use gopool_sv2_proto::v1::{SessionRequest, SessionResponse};
use prost::encoding::{
    encode_key, encode_varint, encoded_len_varint, fixed32, key_len, uint64, WireType,
};
use prost::Message as _;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::Status;

use crate::backend::Share;
use crate::types::Short;

/// `SessionRequest.submit_batch`, and `SubmitBatch.submits`.
const SUBMIT_BATCH: u32 = 5;
const SUBMITS: u32 = 1;
/// Memory that is asked for at a time.
const ROOM: usize = 64 * 1024;

/// One message on its way.
#[derive(Debug)]
pub(super) enum Piece {
    Message(Box<SessionRequest>),
    /// Is bytes already.
    Shares(Bytes),
}

/// Makes messages of shares.
#[derive(Debug, Default)]
pub(super) struct Writer(BytesMut);

impl Writer {
    /// All of them in one message.
    pub(super) fn write(&mut self, shares: &[Share]) -> Bytes {
        let out = &mut self.0;
        let size = |share| {
            let body = body_len(share);
            key_len(SUBMITS) + encoded_len_varint(body as u64) + body
        };
        let all: usize = shares.iter().map(size).sum();
        let whole = key_len(SUBMIT_BATCH) + encoded_len_varint(all as u64) + all;
        if out.capacity() < whole {
            // What was sent of it is free again; if not, there is more.
            out.reserve(whole.max(ROOM));
        }
        encode_key(SUBMIT_BATCH, WireType::LengthDelimited, out);
        encode_varint(all as u64, out);
        for share in shares {
            encode_key(SUBMITS, WireType::LengthDelimited, out);
            encode_varint(body_len(share) as u64, out);
            body(share, out);
        }
        out.split().freeze()
    }
}

/// A Submit's nonce, time and version, by field.
const fn fixed(share: &Share) -> [(u32, u32); 3] {
    [(4, share.nonce), (5, share.ntime), (6, share.version)]
}

/// Its extranonce and worker.
const fn texts(share: &Share) -> [(u32, &Short); 2] {
    [(7, &share.extranonce), (8, &share.worker)]
}

fn body_len(share: &Share) -> usize {
    let varint = |tag, value| if value == 0 { 0 } else { uint64::encoded_len(tag, &value) };
    let fixed = fixed(share).into_iter().filter(|(_, value)| *value != 0);
    let texts = texts(share).into_iter().filter(|(_, text)| !text.is_empty());
    varint(1, share.id)
        + varint(2, share.channel_id)
        + varint(3, share.job_id)
        + fixed.map(|(tag, value)| fixed32::encoded_len(tag, &value)).sum::<usize>()
        // Tags below 16 and lengths below 128 are a byte each.
        + texts.map(|(_, text)| 2 + text.len()).sum::<usize>()
        + varint(9, share.would_refuse.into())
}

/// In the order of the fields, as the generated code writes them; zeros are left out.
fn body(share: &Share, out: &mut BytesMut) {
    let varint = |tag, value: u64, out: &mut BytesMut| {
        if value != 0 {
            uint64::encode(tag, &value, out);
        }
    };
    varint(1, share.id, out);
    varint(2, share.channel_id, out);
    varint(3, share.job_id, out);
    for (tag, value) in fixed(share).into_iter().filter(|(_, value)| *value != 0) {
        fixed32::encode(tag, &value, out);
    }
    for (tag, text) in texts(share).into_iter().filter(|(_, text)| !text.is_empty()) {
        encode_key(tag, WireType::LengthDelimited, out);
        encode_varint(text.len() as u64, out);
        out.put_slice(text);
    }
    varint(9, share.would_refuse.into(), out);
}

/// gRPC with these.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LinkCodec;

impl Codec for LinkCodec {
    type Encode = Piece;
    type Decode = SessionResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for LinkCodec {
    type Item = Piece;
    type Error = Status;

    fn encode(&mut self, piece: Piece, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        match piece {
            Piece::Message(message) => {
                message.encode(out).map_err(|error| Status::internal(error.to_string()))
            }
            Piece::Shares(bytes) => {
                out.put(bytes);
                Ok(())
            }
        }
    }
}

impl Decoder for LinkCodec {
    type Item = SessionResponse;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<SessionResponse>, Status> {
        let decoded = SessionResponse::decode(bytes);
        decoded.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use gopool_sv2_proto::v1::session_request::Message;
    use proptest::prelude::*;

    use super::*;
    use crate::backend::parcel::submit_batch;

    fn share() -> impl Strategy<Value = Share> {
        let small = prop_oneof![Just(0_u64), 0..300_u64, any::<u64>()];
        let fixed = prop_oneof![Just(0_u32), any::<u32>()];
        let text = prop::collection::vec(any::<u8>(), 0..=32).prop_map(|text| Short::new(&text));
        let numbers = (small.clone(), small.clone(), small);
        (numbers, prop::array::uniform3(fixed), 0..12_u32, text.clone(), text).prop_map(
            |(
                (id, channel_id, job_id),
                [nonce, ntime, version],
                would_refuse,
                extranonce,
                worker,
            )| {
                Share {
                    id,
                    channel_id,
                    job_id,
                    nonce,
                    ntime,
                    version,
                    would_refuse,
                    extranonce,
                    worker,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn shares_are_written_as_the_generated_code_writes_them(
            batches in prop::collection::vec(prop::collection::vec(share(), 0..40), 1..8)
        ) {
            let mut writer = Writer::default();
            for shares in batches {
                let message = Some(Message::SubmitBatch(submit_batch(&shares)));
                prop_assert_eq!(writer.write(&shares), SessionRequest { message }.encode_to_vec());
            }
        }
    }

    #[test]
    fn memory_of_what_was_sent_is_used_again() {
        let share = Share { id: 1, extranonce: Short::new(&[7; 16]), ..Share::default() };
        let mut writer = Writer::default();
        let first = writer.write(&[share]).as_ptr();
        let size = writer.write(&[share]).len();
        let again = (0..2 * ROOM / size).any(|_| writer.write(&[share]).as_ptr() == first);
        assert!(again, "other memory each time");
    }
}
