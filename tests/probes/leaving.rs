//! What a probe leaves behind: nothing.

use crate::support::probing::{Probing, target};
use crate::support::{Backend, procfs, wait};
use ringway::wire::banner::Script;

#[test]
fn a_backend_that_does_not_close_is_reset_after_the_farewell() {
    let (backend, probing) = (Backend::new(), Probing::start());
    let probed = probing.add(target(Script::Pop3, backend.address()));
    let peer = backend.accept();
    peer.send(b"+OK ready\r\n");
    peer.expect(b"QUIT\r\n");
    let (_, took) = wait::timed(|| peer.expect_reset());
    // Well before the tests lose patience.
    assert!(took < wait::PATIENCE / 2, "{took:?}");
    assert_eq!(probed.watch.view().passed_total, 1);
}

#[test]
fn probes_that_time_out_leave_no_descriptor_behind() {
    let ((backend, _fillers), probing) = (Backend::silent(), Probing::start());
    let before = procfs::sockets(std::process::id());
    let probed: Vec<_> = (0..10)
        .map(|_| probing.add(target(Script::Tcp, backend.address())))
        .collect();
    for probed in &probed {
        probed.await_down("connect timeout");
        probing.remove(probed.id);
    }
    // Other tests of this program open and close sockets, too: ten connects that linger would stay for minutes.
    wait::until("their descriptors are closed", || {
        procfs::sockets(std::process::id()) <= before + 5
    });
}
