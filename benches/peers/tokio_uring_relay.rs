//! The relay that one would write first on tokio-uring: a task for each direction, one buffer each, read and write all.
//!
//! It is what ringway's data plane has to beat to be worth its own ring code, so it is given what the crate has to give:
//! one thread, a ring large enough for every connection's two reads, TCP_NODELAY on both sides.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use tokio_uring::net::{TcpListener, TcpStream};

/// As nginx's stream module has by default.
const BUFFER_BYTES: usize = 16 << 10;

/// Submissions that fit before the crate has to enter the kernel early.
const RING_ENTRIES: u32 = 4_096;

/// Serves until it is killed.
///
/// # Errors
/// What setting up the ring or the listener says.
pub(crate) fn run(listen: SocketAddr, backend: SocketAddr) -> io::Result<()> {
    let mut builder = tokio_uring::builder();
    builder.entries(RING_ENTRIES);
    builder.start(async move {
        let listener = TcpListener::bind(listen)?;
        loop {
            let (client, _) = listener.accept().await?;
            tokio_uring::spawn(connection(client, backend));
        }
    })
}

/// One proxied connection. An error on either side drops both, which resets whoever still sends.
async fn connection(client: TcpStream, backend: SocketAddr) -> io::Result<()> {
    let backend = TcpStream::connect(backend).await?;
    client.set_nodelay(true)?;
    backend.set_nodelay(true)?;
    let (client, backend) = (Rc::new(client), Rc::new(backend));
    let up = tokio_uring::spawn(half(Rc::clone(&client), Rc::clone(&backend)));
    let down = half(backend, client).await;
    up.await.expect("a half does not panic")?;
    down
}

/// One direction: bytes, then FIN after them.
async fn half(from: Rc<TcpStream>, to: Rc<TcpStream>) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let (received, filled) = from.read(buffer).await;
        if received? == 0 {
            return to.shutdown(Shutdown::Write);
        }
        let (sent, mut emptied) = to.write_all(filled).await;
        sent?;
        emptied.clear();
        buffer = emptied;
    }
}
