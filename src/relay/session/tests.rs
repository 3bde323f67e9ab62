use super::*;
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;

/// Two ends that trust each other.
fn configs(
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["feed.test".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_protocol_versions(versions)
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let client = ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

/// One end, with buffers of its own.
struct End {
    session: Session,
    buffers: Buffers,
    desk: Desk,
    /// What it opened.
    text: Vec<u8>,
    failure: Option<Broken>,
}

impl End {
    fn new(session: Session, size: u16) -> Self {
        Self {
            session,
            buffers: Buffers::new(512, size),
            desk: Desk::default(),
            text: Vec::new(),
            failure: None,
        }
    }

    fn bytes_of(&mut self, lease: Lease) -> Vec<u8> {
        let bytes = self.buffers.segments(&lease).flatten().copied().collect();
        self.buffers.release(lease);
        bytes
    }

    fn hears(&mut self, bytes: &[u8]) {
        let came = self.buffers.write(bytes).unwrap();
        let opened = self.session.open(came, &mut self.buffers, &mut self.desk);
        self.failure = self.failure.or(opened.failure);
        let text = self.bytes_of(opened.text);
        self.text.extend(text);
    }

    /// What it has to say by itself.
    fn says(&mut self) -> Vec<u8> {
        let pending = self.session.take_pending();
        self.bytes_of(pending)
    }

    fn seals(&mut self, text: &[u8]) -> Vec<u8> {
        let text = self.buffers.write(text).unwrap();
        let sealed = self.session.seal(text, &mut self.buffers, &mut self.desk);
        self.bytes_of(sealed.unwrap())
    }

    fn leaves(&mut self) -> Vec<u8> {
        let farewell = self.session.farewell(&mut self.buffers, &mut self.desk);
        self.bytes_of(farewell)
    }

    /// It holds no buffer.
    fn is_at_rest(&self) -> bool {
        self.buffers.free() == self.buffers.count() && self.buffers.spilled() == 0
    }

    fn end(mut self) {
        self.session.release(&mut self.buffers);
        assert!(self.is_at_rest());
    }
}

/// A client and a server, its hello not sent yet.
fn pair(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, size: u16) -> (End, End) {
    let name = ServerName::try_from("feed.test").unwrap();
    let mut client = End::new(Session::client(client, &name).unwrap(), size);
    client.hears(b"");
    (client, End::new(Session::server(server).unwrap(), size))
}

/// Carries what each has to say to the other, in pieces, until both are silent.
fn shake(client: &mut End, server: &mut End, piece: usize) {
    for _ in 0..8 {
        let flight = client.says();
        flight.chunks(piece).for_each(|bytes| server.hears(bytes));
        let answer = server.says();
        answer.chunks(piece).for_each(|bytes| client.hears(bytes));
    }
}

fn agreed(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, size: u16) -> (End, End) {
    let (mut client, mut server) = pair(server, client, size);
    shake(&mut client, &mut server, 4096);
    assert!(client.session.is_established() && server.session.is_established());
    (client, server)
}

fn stream(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

const BOTH: [&[&rustls::SupportedProtocolVersion]; 2] =
    [&[&rustls::version::TLS12], &[&rustls::version::TLS13]];

#[test]
fn handshakes_and_text_pass_in_pieces_of_any_size_and_leave_nothing_behind() {
    for versions in BOTH {
        let (server, client) = configs(versions);
        for piece in [1, 2, 5, 7, 64, 1000, 5000] {
            let (mut client, mut server) = pair(&server, &client, 256);
            shake(&mut client, &mut server, piece);
            assert!(client.session.is_established() && server.session.is_established());
            let text = stream(40_000);
            let sealed = client.seals(&text);
            sealed.chunks(piece).for_each(|bytes| server.hears(bytes));
            assert_eq!(server.text, text);
            assert!(client.is_at_rest() && server.is_at_rest());
        }
    }
}

#[test]
fn what_is_sealed_together_goes_into_few_records() {
    let (server, client) = configs(BOTH[1]);
    let (mut client, server) = agreed(&server, &client, 4096);
    let sealed = client.seals(&stream(40_000));
    // Header, type and tag around each of 16 KiB.
    assert_eq!(sealed.len(), 40_000 + 3 * (5 + 1 + 16));
    assert_eq!(client.seals(b"tick").len(), 4 + 22);
    client.end();
    server.end();
}

#[test]
fn close_notify_ends_one_direction_and_the_other_goes_on() {
    for versions in BOTH {
        let (server, client) = configs(versions);
        let (mut client, mut server) = agreed(&server, &client, 4096);
        let mut last = client.seals(b"last");
        last.extend(client.leaves());
        assert!(client.leaves().is_empty(), "once");
        last.extend(b"no record at all");
        server.hears(&last);
        assert_eq!(server.text, b"last");
        assert!(server.session.has_ended() && server.failure.is_none());
        server.session.on_fin();
        assert!(!server.session.is_truncated());
        let answer = server.seals(b"answer");
        client.hears(&answer);
        let farewell = server.leaves();
        client.hears(&farewell);
        assert_eq!(client.text, b"answer");
        assert!(client.session.has_ended());
        client.end();
        server.end();
    }
}

#[test]
fn an_end_without_close_notify_is_a_truncation() {
    let (server, client) = configs(BOTH[1]);
    let (mut client, mut server) = agreed(&server, &client, 4096);
    let half = client.seals(b"half of this");
    server.hears(&half[..half.len() / 2]);
    server.session.on_fin();
    assert!(server.session.is_truncated());
    assert_eq!(server.text, b"");
    client.end();
    server.end();
}

#[test]
fn a_changed_bit_breaks_tls_behind_what_came_before_it_and_the_peer_is_told() {
    for versions in BOTH {
        let (server, client) = configs(versions);
        let (mut client, mut server) = agreed(&server, &client, 4096);
        let mut bytes = client.seals(b"whole");
        let mut broken = client.seals(b"broken");
        *broken.last_mut().unwrap() ^= 1;
        bytes.extend(broken);
        bytes.extend(client.seals(b"behind"));
        server.hears(&bytes);
        assert_eq!(server.text, b"whole");
        let fault = Broken::Tls(Fault::Broke("bad-record-mac"));
        assert_eq!(server.failure, Some(fault));
        let alert = server.says();
        client.hears(&alert);
        let fault = Broken::Tls(Fault::Alert("bad-record-mac"));
        assert_eq!(client.failure, Some(fault));
        assert!(server.leaves().is_empty(), "no close_notify after an alert");
        client.end();
        server.end();
    }
}

#[test]
fn versions_that_have_nothing_in_common_end_in_an_alert() {
    let (server, _) = configs(BOTH[1]);
    let (_, client) = configs(BOTH[0]);
    let (mut client, mut server) = pair(&server, &client, 4096);
    shake(&mut client, &mut server, 4096);
    let fault = Broken::Tls(Fault::Broke("nothing-in-common"));
    assert_eq!(server.failure, Some(fault));
    let fault = Broken::Tls(Fault::Alert("protocol-version"));
    assert_eq!(client.failure, Some(fault));
    client.end();
    server.end();
}

#[test]
fn a_certificate_that_nobody_trusts_is_refused_with_its_alert() {
    let (server, _) = configs(BOTH[1]);
    let (_, client) = configs(BOTH[1]);
    let (mut client, mut server) = pair(&server, &client, 4096);
    shake(&mut client, &mut server, 4096);
    let fault = Broken::Tls(Fault::Broke("bad-certificate"));
    assert_eq!(client.failure, Some(fault));
    assert!(matches!(server.failure, Some(Broken::Tls(Fault::Alert(_)))));
    client.end();
    server.end();
}

#[test]
fn bytes_that_are_no_records_are_told_from_records_at_once() {
    let (server, _) = configs(BOTH[1]);
    for garbage in [
        &b"SSH-2.0-OpenSSH_9\r\n"[..],
        &[0x16, 3, 1, 0xff, 0xff],
        &[0; 64],
    ] {
        let mut end = End::new(Session::server(&server).unwrap(), 4096);
        end.hears(garbage);
        assert!(
            matches!(end.failure, Some(Broken::Tls(Fault::Broke(_)))),
            "{garbage:?}"
        );
        end.end();
    }
}

#[test]
fn a_hello_in_many_records_is_put_together() {
    for versions in BOTH {
        let (server, client) = configs(versions);
        let mut small = ClientConfig::clone(&client);
        small.max_fragment_size = Some(64);
        for piece in [3, 4096] {
            let (mut client, mut server) = pair(&server, &Arc::new(small.clone()), 4096);
            shake(&mut client, &mut server, piece);
            assert!(client.session.is_established() && server.session.is_established());
            let sealed = client.seals(b"hello");
            server.hears(&sealed);
            assert_eq!(server.text, b"hello");
            assert!(server.is_at_rest());
        }
    }
}

/// A message after the handshake in two records, which few servers send: rustls remembers the first piece by
/// its place.
#[test]
fn half_a_message_of_the_handshake_does_not_keep_text_from_being_sealed() {
    let (server, client) = configs(BOTH[1]);
    let mut small = ServerConfig::clone(&server);
    small.max_fragment_size = Some(64);
    let (mut client, mut server) = pair(&Arc::new(small), &client, 4096);
    let hello = client.says();
    server.hears(&hello);
    let flight = server.says();
    client.hears(&flight);
    let finished = client.says();
    server.hears(&finished);
    let tickets = server.says();
    let first = record_len(*tickets.first_chunk().unwrap()).unwrap();
    let halves = tickets.split_at(first);
    client.hears(halves.0);
    assert!(client.session.kept > 0, "the piece is kept");
    let sealed = client.seals(b"meanwhile");
    server.hears(&sealed);
    client.hears(halves.1);
    let sealed = server.seals(b"answer");
    client.hears(&sealed);
    assert_eq!(
        (&server.text[..], &client.text[..]),
        (&b"meanwhile"[..], &b"answer"[..])
    );
    let farewell = client.leaves();
    server.hears(&farewell);
    assert!(server.session.has_ended() && client.is_at_rest());
}

#[test]
fn keys_change_in_midstream_as_often_as_the_peer_likes() {
    let (server, client) = configs(BOTH[1]);
    let (mut client, mut server) = agreed(&server, &client, 4096);
    for round in 0..50_u8 {
        let Core::Client(core) = &mut client.session.core else {
            unreachable!("a client")
        };
        if let Ok(ConnectionState::WriteTraffic(traffic)) = core.process_tls_records(&mut []).state
        {
            traffic.refresh_traffic_keys().unwrap();
        }
        let bytes = client.seals(&[round]);
        server.hears(&bytes);
        let answer = server.seals(&[round]);
        client.hears(&answer);
    }
    assert_eq!(server.text, (0..50).collect::<Vec<u8>>());
    assert_eq!(client.text, server.text);
    client.end();
    server.end();
}

#[test]
fn a_part_of_a_record_can_be_shed_and_is_whole_in_the_end() {
    let (server, client) = configs(BOTH[1]);
    let (mut client, mut server) = agreed(&server, &client, 64);
    let text = stream(10_000);
    let sealed = client.seals(&text);
    for piece in sealed.chunks(999) {
        server.hears(piece);
        server.session.shed(&mut server.buffers);
        assert_eq!(server.buffers.free(), server.buffers.count());
    }
    assert_eq!(server.text, text);
    assert_eq!(server.buffers.spilled(), 0);
    client.end();
    server.end();
}

#[test]
fn without_room_for_the_text_the_session_is_over_and_holds_nothing() {
    let (server, client) = configs(BOTH[1]);
    let (mut client, mut server) = agreed(&server, &client, 4096);
    let sealed = client.seals(&stream(20_000));
    let came = server.buffers.write(&sealed).unwrap();
    let all = server.buffers.in_reserve();
    let rest = server.buffers.write(&vec![0; all * 4096]).unwrap();
    server.buffers.limit_spill(0);
    // Its own buffers are enough, as text is shorter than what it was sealed in.
    let opened = server
        .session
        .open(came, &mut server.buffers, &mut server.desk);
    assert_eq!((opened.text.len(), opened.failure), (20_000, None));
    let text = server
        .session
        .seal(opened.text, &mut server.buffers, &mut server.desk);
    assert_eq!(text.unwrap_err(), Broken::NoRoom);
    server.buffers.release(rest);
    client.end();
    server.end();
}
