//! What a probe talks through: the connection itself, or TLS inside it.

use super::Target;
use super::tls::{self, Tls};
use crate::wire::banner::Reason;
use socket2::SockRef;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection to a backend.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Agrees on TLS, if the target speaks it.
    pub(super) async fn agree(plain: TcpStream, target: &Target) -> Result<Self, Reason> {
        let Some(Tls { client, name }) = &target.settings.tls else {
            return Ok(Self::Plain(plain));
        };
        let connector = TlsConnector::from(client.current().config.clone());
        match connector.connect(name.clone(), plain).await {
            Ok(stream) => Ok(Self::Tls(Box::new(stream))),
            Err(error) => Err(tls::reason(&error)),
        }
    }

    pub(super) async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// At least one byte; none is the end, which many servers reach without close_notify.
    pub(super) async fn hear(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(chunk).await,
            Self::Tls(stream) => match stream.read(chunk).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                heard => heard,
            },
        }
    }

    /// Says that nothing more will come: FIN, and before it close_notify.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
        }
    }

    /// Has the close that follows send RST: nothing of the connection stays behind on either side (SO_LINGER of 0, socket(7)).
    pub(super) fn reset(&self) {
        let tcp = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        // Fails for no socket of ours; then the close is an ordinary one.
        let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
    }
}
