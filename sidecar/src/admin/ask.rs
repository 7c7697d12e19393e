//! The asking side: one question to an admin address.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::config::AdminAddress;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer that is read, in bytes.
const ANSWER_MAX: usize = 4 << 20;

/// Why there is no answer. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error(
        "no sidecar answers there ({0}): is it running, and with this configuration? \
         `systemctl status gopool-sv2`, or start it with `gopool-sv2 serve`"
    )]
    Unreachable(io::Error),
    /// This user may not ask.
    #[error("this user may not open it: run this as the user of the sidecar, or as root")]
    Forbidden,
    /// It takes too long.
    #[error("no answer within {PATIENCE:?}: is the machine overloaded? Look at the sidecar's log")]
    Silent,
    /// Something else listens there.
    #[error("what listens there is no admin address of a sidecar: {0}")]
    Foreign(String),
    /// The sidecar refused.
    #[error("{0}")]
    Refused(String),
}

/// Asks for a path and gives its JSON.
///
/// # Errors
/// [`AskError`].
pub async fn ask(
    address: &AdminAddress,
    token: Option<&[u8]>,
    path: &str,
) -> Result<Value, AskError> {
    let asked = async {
        match address {
            AdminAddress::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(unreachable)?;
                exchange(stream, &address.to_string(), token, path).await
            }
            AdminAddress::Unix(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(unreachable)?;
                exchange(stream, "localhost", token, path).await
            }
        }
    };
    timeout(PATIENCE, asked).await.map_err(|_| AskError::Silent)?
}

fn unreachable(error: io::Error) -> AskError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => AskError::Forbidden,
        _ => AskError::Unreachable(error),
    }
}

async fn exchange<S>(
    stream: S,
    host: &str,
    token: Option<&[u8]>,
    path: &str,
) -> Result<Value, AskError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let foreign = |error: hyper::Error| AskError::Foreign(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(foreign)?;
    // Ends with the answer.
    let driver = tokio::spawn(connection);
    let mut request = Request::get(path).header(HOST, host);
    if let Some(token) = token {
        let value = [b"Bearer ", token].concat();
        request = request.header(AUTHORIZATION, value);
    }
    let request = request.body(Empty::<Bytes>::new());
    let request = request.map_err(|error| AskError::Foreign(error.to_string()))?;
    let answer = sender.send_request(request).await.map_err(foreign)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
    let body = body.map_err(|error| AskError::Foreign(error.to_string()))?.to_bytes();
    driver.abort();
    let value: Option<Value> = serde_json::from_slice(&body).ok();
    match (status, value) {
        (StatusCode::OK, Some(value)) => Ok(value),
        (_, Some(value)) if value["error"].is_string() => {
            let text: String =
                value["error"].as_str().unwrap_or_default().chars().take(300).collect();
            Err(AskError::Refused(text.escape_debug().to_string()))
        }
        (status, _) => Err(AskError::Foreign(format!("it answers {status}"))),
    }
}
