//! A miner's connection over Stratum V1, as light as the other one: the comparison for what a pool
//! loses by the doors before it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use gopool_sv2::miner::target::Target;
use gopool_sv2::miner::work::{Base, Task};
use gopool_sv2_tests::peer::Event;
use gopool_sv2_tests::supply::Share;
use gopool_sv2_tests::{Fault, Result};
use serde_json::{json, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Ids of requests below are not submits.
const FIRST_SUBMIT: u64 = 10;
/// What is read at a time, at least.
const READ_AHEAD: usize = 4096;
/// How an answer begins that is read without a parser.
const ID: &[u8] = b"{\"id\":";
/// And what it says if it accepts.
const TRUE: &[u8] = b",\"result\":true,";

/// What a line means to a miner.
#[derive(Debug, PartialEq)]
pub enum Word {
    /// What Stratum V2 has as well.
    Event(Event),
    /// That submit is accepted, and nothing is said about others.
    AcceptedOne(u32),
}

/// A connection that is authorized.
pub struct Sv1Peer {
    stream: TcpStream,
    incoming: Vec<u8>,
    /// Start of what was not taken yet.
    start: usize,
    outgoing: String,
    user: String,
    extranonce1: Vec<u8>,
    extranonce2_size: usize,
    target: Target,
    /// As the pool calls them: a task's job id is the place.
    jobs: Vec<String>,
    task: Option<Arc<Task>>,
}

impl Sv1Peer {
    /// Connects to `address`, and mines for `user`, as soon as there is work.
    ///
    /// # Errors
    /// The pool can't be reached, or refuses.
    pub async fn connect(address: &str, user: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.map_err(|e| format!("{address}: {e}"))?;
        stream.set_nodelay(true)?;
        let mut peer = Self {
            stream,
            incoming: Vec::new(),
            start: 0,
            outgoing: String::new(),
            user: user.to_owned(),
            extranonce1: Vec::new(),
            extranonce2_size: 0,
            target: Target::NEVER,
            jobs: Vec::new(),
            task: None,
        };
        peer.ask(1, "mining.subscribe", &json!(["sv2-load"])).await?;
        let subscribed = peer.answer(1).await?;
        let (extranonce1, size) = (subscribed[1].as_str(), subscribed[2].as_u64());
        peer.extranonce1 = unhex(extranonce1.ok_or("no extranonce1")?)?;
        peer.extranonce2_size = usize::try_from(size.ok_or("no extranonce2_size")?)?;
        peer.ask(2, "mining.authorize", &json!([user, "x"])).await?;
        if peer.answer(2).await? != true {
            return Err("the pool does not let us mine".into());
        }
        while peer.task.is_none() {
            peer.next_line().await?;
        }
        Ok(peer)
    }

    async fn ask(&mut self, id: u64, method: &str, params: &Value) -> Result<()> {
        writeln!(self.outgoing, "{}", json!({"id": id, "method": method, "params": params}))?;
        self.flush().await
    }

    /// The result of a request; what comes before is noted.
    async fn answer(&mut self, id: u64) -> Result<Value> {
        loop {
            let line = self.next_line().await?;
            if line["id"] == id {
                return match &line["error"] {
                    Value::Null => Ok(line["result"].clone()),
                    error => Err(format!("the pool refuses: {error}").into()),
                };
            }
        }
    }

    /// The next line, read if need be, and noted.
    async fn next_line(&mut self) -> Result<Value> {
        loop {
            if let Some(line) = self.take_line() {
                let line: Value = serde_json::from_slice(&line)?;
                self.note(&line)?;
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    /// The present work.
    pub fn task(&self) -> Option<Arc<Task>> {
        self.task.clone()
    }

    /// Puts a submit behind those that wait to be sent.
    ///
    /// # Errors
    /// There was no such job.
    pub fn submit(&mut self, sequence: u32, share: &Share<'_>) -> Result<()> {
        let job = self.jobs.get(share.job_id as usize).ok_or("there was no such job")?;
        let (id, user) = (FIRST_SUBMIT + u64::from(sequence), &self.user);
        write!(
            self.outgoing,
            "{{\"id\":{id},\"method\":\"mining.submit\",\"params\":[\"{user}\",\"{job}\",\""
        )?;
        hex(&mut self.outgoing, share.extranonce);
        writeln!(self.outgoing, "\",\"{:08x}\",\"{:08x}\"]}}", share.ntime, share.nonce)?;
        Ok(())
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn flush(&mut self) -> Result<()> {
        if !self.outgoing.is_empty() {
            let sent = self.stream.write_all(self.outgoing.as_bytes()).await;
            sent.map_err(|error| format!("write: {error}"))?;
            self.outgoing.clear();
        }
        Ok(())
    }

    /// Reads once. Cancelled, it loses nothing.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn fill(&mut self) -> Result<()> {
        self.incoming.drain(..std::mem::take(&mut self.start));
        self.incoming.reserve(READ_AHEAD);
        match self.stream.read_buf(&mut self.incoming).await {
            Ok(0) => Err("the pool closed the connection".into()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("read: {error}").into()),
        }
    }

    /// The next line without its end, if it is complete.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let (from, rest) = (self.start, &self.incoming[self.start..]);
        let length = rest.iter().position(|byte| *byte == b'\n')?;
        self.start += length + 1;
        Some(self.incoming[from..from + length].to_vec())
    }

    /// What the next line means; `None`: read more.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn read_word(&mut self) -> Result<Option<Word>> {
        let Some(line) = self.take_line() else { return Ok(None) };
        if let Some(sequence) = accepted(&line) {
            return Ok(Some(Word::AcceptedOne(sequence)));
        }
        let line: Value = serde_json::from_slice(&line)?;
        if self.note(&line)? {
            return Ok(Some(Word::Event(Event::NewTip)));
        }
        let Some(id) = line["id"].as_u64().and_then(|id| id.checked_sub(FIRST_SUBMIT)) else {
            return Ok(Some(Word::Event(Event::Other)));
        };
        let sequence = u32::try_from(id)?;
        Ok(Some(match line["result"] == true {
            true => Word::AcceptedOne(sequence),
            false => {
                let code = line["error"][1].as_str().unwrap_or("refused").to_owned();
                Word::Event(Event::Rejected { sequence, code })
            }
        }))
    }

    /// Notes work and difficulty; true when shares are to be made of something else.
    fn note(&mut self, line: &Value) -> Result<bool> {
        let params = &line["params"];
        match line["method"].as_str() {
            Some("mining.set_difficulty") => {
                let difficulty = params[0].as_f64().ok_or("a difficulty that is no number")?;
                self.target = target_of(difficulty);
                Ok(false)
            }
            Some("mining.notify") => {
                self.task = Some(Arc::new(self.work(params)?));
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The work of a mining.notify.
    fn work(&mut self, params: &Value) -> Result<Task> {
        let text = |index: usize| -> Result<&str> {
            params[index].as_str().ok_or_else(|| "a job with something missing".into())
        };
        let word = |index: usize| -> Result<u32> { Ok(u32::from_str_radix(text(index)?, 16)?) };
        let hash = |text: &str| -> Result<[u8; 32]> {
            unhex(text)?.try_into().map_err(|_| Fault::from("a hash of another length"))
        };
        let mut prev_hash = hash(text(1)?)?;
        // The bytes of each four are turned around.
        prev_hash.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        let mut head = unhex(text(2)?)?;
        head.extend(&self.extranonce1);
        let branches = params[4].as_array().ok_or("a job without branches")?;
        let path = branches.iter().map(|branch| hash(branch.as_str().unwrap_or_default()));
        let nbits = word(6)?;
        self.jobs.push(text(0)?.to_owned());
        Ok(Task {
            epoch: 0,
            job_id: u32::try_from(self.jobs.len() - 1)?,
            version: word(5)?,
            rolling: false,
            prev_hash,
            nbits,
            min_ntime: word(7)?,
            since: Instant::now(),
            base: Base::Coinbase {
                head,
                tail: unhex(text(3)?)?,
                path: path.collect::<Result<_>>()?,
                extranonce_size: self.extranonce2_size,
            },
            target: self.target,
            network: Target::from_compact(nbits).unwrap_or(Target::NEVER),
        })
    }
}

/// The submit that a line of the usual form accepts.
fn accepted(line: &[u8]) -> Option<u32> {
    let rest = line.strip_prefix(ID)?;
    let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    if !rest[digits..].starts_with(TRUE) {
        return None;
    }
    let id: u64 = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    u32::try_from(id.checked_sub(FIRST_SUBMIT)?).ok()
}

/// The target of a difficulty: 0xffff · 2^208 through it.
fn target_of(difficulty: f64) -> Target {
    let mut value = 65_535.0 * 2_f64.powi(208) / difficulty;
    if value.is_nan() || value >= 2_f64.powi(256) {
        return Target::EASIEST;
    }
    let mut bytes = [0; 32];
    for place in (0..32).rev() {
        let weight = 2_f64.powi(8 * place);
        let digit = (value / weight).floor();
        value -= digit * weight;
        bytes[place as usize] = digit as u8;
    }
    Target::from_le_bytes(bytes)
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(*pair.get(1)?)?) as u8);
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    bytes.ok_or_else(|| format!("{text:?} is not hexadecimal").into())
}

fn hex(to: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        to.push(char::from(DIGITS[usize::from(byte >> 4)]));
        to.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difficulties_are_targets() {
        for (difficulty, compact) in [(1.0, 0x1d00_ffff), (65_536.0, 0x1b00_ffff)] {
            assert_eq!(target_of(difficulty), Target::from_compact(compact).unwrap());
        }
        let easiest = target_of(2_f64.powi(-32)).to_le_bytes();
        assert_eq!((easiest[29], easiest[30], easiest[31]), (0, 0xff, 0xff));
        assert_eq!(target_of(1e-12), Target::EASIEST);
    }

    #[test]
    fn takes_acceptances_of_the_usual_form_and_leaves_others_to_the_parser() {
        assert_eq!(accepted(br#"{"id":17,"result":true,"error":null}"#), Some(7));
        for other in [
            &br#"{"id":17,"result":false,"error":[23,"difficulty-too-low",null]}"#[..],
            br#"{"id":2,"result":true,"error":null}"#,
            br#"{"id": 17, "result": true, "error": null}"#,
            br#"{"id":null,"method":"mining.notify","params":[]}"#,
            b"{\"id\":17",
        ] {
            assert_eq!(accepted(other), None);
        }
    }

    #[test]
    fn hexadecimal_there_and_back() {
        let mut text = String::new();
        hex(&mut text, &[0, 0x1f, 0xa0, 0xff]);
        assert_eq!(text, "001fa0ff");
        assert_eq!(unhex(&text).unwrap(), [0, 0x1f, 0xa0, 0xff]);
        assert!(unhex("0").is_err() && unhex("0g").is_err());
    }
}
