//! Bytes arrive as they were sent: all of them, in order, both ways.

use crate::support::{Backend, Setup};

#[test]
fn bytes_of_every_size_come_back_as_they_were_sent() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).start();
    for bytes in [
        1,
        2,
        127,
        4095,
        4096,
        4097,
        65_535,
        65_537,
        1 << 20,
        20 << 20,
    ] {
        let client = proxy.connect();
        let sender = client.share();
        let sending = std::thread::spawn(move || {
            sender.send_pattern(bytes);
            sender.fin();
        });
        client.expect_pattern(bytes);
        client.expect_fin();
        sending.join().unwrap();
        let line = proxy.await_access_of(client.local());
        assert_eq!(line.end(), ("client-fin/done", "--"));
        assert_eq!(
            (line.number("bytes_up"), line.number("bytes_down")),
            (bytes as u64, bytes as u64)
        );
    }
}
