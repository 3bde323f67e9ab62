//! One request and its answer, over TCP or a Unix socket.

use crate::config::AdminAddress;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// How long an answer may take, the connection included.
const PATIENCE: Duration = Duration::from_secs(10);

/// More than a status of ten thousand backends.
const BODY_BYTES_MAX: usize = 64 << 20;

/// What is asked of whom.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) admin: AdminAddress,
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) token: Option<String>,
    pub(super) body: String,
    /// What the verb ends with when the answer is 400.
    pub(super) code_of_400: u8,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Asks, and waits for the answer.
pub(super) fn exchange(question: &Question) -> io::Result<Answer> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build()?;
    runtime.block_on(async {
        match tokio::time::timeout(PATIENCE, connect_and_ask(question)).await {
            Ok(answer) => answer,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    })
}

async fn connect_and_ask(question: &Question) -> io::Result<Answer> {
    match &question.admin {
        AdminAddress::Tcp(address) => ask(question, TcpStream::connect(address).await?).await,
        AdminAddress::Unix(path) => ask(question, UnixStream::connect(path).await?).await,
    }
}

async fn ask(
    question: &Question,
    stream: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<Answer> {
    let request = request(question)?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(io::Error::other)?;
    let answered = async move {
        let answer = sender.send_request(request).await;
        let (head, body) = answer.map_err(io::Error::other)?.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let body = body.map_err(io::Error::other)?.to_bytes();
        Ok(Answer {
            status: head.status.as_u16(),
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    };
    // The connection moves the bytes; it ends when nothing more is asked.
    let (answer, _) = tokio::join!(answered, connection);
    answer
}

fn request(question: &Question) -> io::Result<Request<Full<Bytes>>> {
    let mut request = Request::builder()
        .method(question.method)
        .uri(&question.path)
        .header("Host", "ringway");
    if let Some(token) = &question.token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let body = Full::new(Bytes::from(question.body.clone()));
    request.body(body).map_err(io::Error::other)
}
