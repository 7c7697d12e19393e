//! A miner on a blocking socket, with as little as it takes to submit shares.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use binary_sv2::{from_bytes, Str0255, B032, U256};
use common_messages_sv2::{Protocol, SetupConnection, MESSAGE_TYPE_SETUP_CONNECTION};
use gopool_sv2::frame::{Reader, Writer};
use gopool_sv2_proto::v1;
use mining_sv2::{
    OpenExtendedMiningChannel, SubmitSharesExtended, SubmitSharesSuccess,
    MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB,
    MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL, MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS,
    MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR, MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED,
    MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS,
};
use noise_sv2::{Initiator, INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE};

/// One connection with one extended channel.
pub(crate) struct Miner {
    stream: TcpStream,
    reader: Reader,
    writer: Writer,
    channel_id: u32,
    job_id: u32,
    sequence: u32,
}

impl Miner {
    /// Connects and sets the connection up.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut initiator = Initiator::without_pk().unwrap();
        stream.write_all(&initiator.step_0().unwrap()).unwrap();
        let mut act2 = [0; INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE];
        stream.read_exact(&mut act2).unwrap();
        let (encryptor, decryptor) = initiator.step_2(act2).unwrap().into_split();
        let (reader, writer) = (Reader::new(decryptor, 1 << 16), Writer::new(encryptor));
        let mut miner = Self { stream, reader, writer, channel_id: 0, job_id: 0, sequence: 0 };
        let text = || Str0255::new(b"steady").unwrap();
        let setup = SetupConnection {
            protocol: Protocol::MiningProtocol,
            min_version: 2,
            max_version: 2,
            flags: 0,
            endpoint_host: text(),
            endpoint_port: 0,
            vendor: text(),
            hardware_version: text(),
            firmware: text(),
            device_id: text(),
        };
        miner.writer.push(setup, 0, MESSAGE_TYPE_SETUP_CONNECTION, false).unwrap();
        miner.flush();
        miner.until(|_, _| true);
        miner
    }

    /// Asks for the channel.
    pub(crate) fn open(&mut self) {
        let wish = OpenExtendedMiningChannel {
            request_id: 1,
            user_identity: Str0255::new(b"steady").unwrap(),
            nominal_hash_rate: 1e12,
            max_target: U256::from(&[0xff; 32]),
            min_extranonce_size: 8,
        };
        self.writer.push(wish, 0, MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL, false).unwrap();
        self.flush();
    }

    /// Waits for the answer; false: it is refused. A channel has its first job then.
    pub(crate) fn is_open(&mut self) -> bool {
        let mut refused = false;
        self.until(|kind, _| {
            refused = kind == MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR;
            refused || kind == MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH
        });
        !refused
    }

    /// Sends so many shares in one piece; each has its own extranonce.
    pub(crate) fn submit(&mut self, count: u32) {
        for _ in 0..count {
            self.sequence += 1;
            let rolled = u64::from(self.sequence).to_le_bytes();
            let share = SubmitSharesExtended {
                channel_id: self.channel_id,
                sequence_number: self.sequence,
                job_id: self.job_id,
                nonce: self.sequence,
                ntime: 1_700_000_000,
                version: 0x2000_0000,
                extranonce: B032::new(&rolled).unwrap(),
            };
            let kind = MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED;
            self.writer.push(share, 0, kind, true).unwrap();
        }
        self.flush();
    }

    /// Waits until so many shares were accepted.
    pub(crate) fn accepted(&mut self, mut count: u32) {
        self.until(|kind, payload| {
            assert_eq!(kind, MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS);
            let success: SubmitSharesSuccess = from_bytes(payload).unwrap();
            count -= success.new_submits_accepted_count;
            count == 0
        });
    }

    fn flush(&mut self) {
        self.stream.write_all(self.writer.pending()).unwrap();
        let sent = self.writer.pending().len();
        self.writer.advance(sent);
    }

    /// Reads messages until `is_it` says so of one. Ids in them are noted.
    fn until(&mut self, mut is_it: impl FnMut(u8, &mut [u8]) -> bool) {
        loop {
            while let Some(frame) = self.reader.next_frame().unwrap() {
                let second_word = frame.payload.get(4..8).map(|word| word.try_into().unwrap());
                let id = second_word.map_or(0, u32::from_le_bytes);
                match frame.message_type {
                    MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS => self.channel_id = id,
                    MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB => self.job_id = id,
                    _ => {}
                }
                if is_it(frame.message_type, frame.payload) {
                    return;
                }
            }
            let mut bytes = [0; 4096];
            let read = self.stream.read(&mut bytes).unwrap();
            assert!(read > 0, "the listener closed the connection");
            self.reader.room().extend_from_slice(&bytes[..read]);
        }
    }
}

/// Work for everybody.
pub(crate) fn job() -> v1::Job {
    v1::Job {
        id: 1,
        seq: 1,
        prev_hash: vec![1; 32].into(),
        nbits: 0x1d00_ffff,
        version: 0x2000_0000,
        version_mask: 0x1fff_ffe0,
        min_ntime: 1_600_000_000,
        merkle_path: vec![vec![2; 32].into(); 12],
        coinbase_prefix: vec![3; 100].into(),
        coinbase_suffix: vec![4; 150].into(),
        ..v1::Job::default()
    }
}
