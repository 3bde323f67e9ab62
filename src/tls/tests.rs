//! Handshakes in memory with certificates made on the spot: what clients get, and what is said of files that do not fit.

#[path = "../../tests/support/authority.rs"]
mod authority;

use super::staple::tests::made;
use super::{Client, Leaf, Material, MaterialError, Server, client, server};
use crate::config::{Address, Backend, Certificate, Config, ListenerTls, TlsVersion, UpstreamTls};
use authority::{Authority, Pair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, NamedGroup,
    RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Of a new pair of files.
fn files(Pair { cert, key }: Pair) -> Certificate {
    let ocsp = None;
    Certificate { cert, key, ocsp }
}

fn issue(authority: &Authority, name: &str, hosts: &[&str]) -> Certificate {
    files(authority.issue(name, hosts))
}

/// The authorities of a file, and no others.
fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(authority.ca()).unwrap();
    roots.add(ca).unwrap();
    roots
}

/// A client that believes this authority, and perhaps has a certificate.
fn believer(authority: &Authority, own: Option<&Certificate>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(super::provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_root_certificates(roots(authority));
    match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::from_pem_file(&own.key).unwrap();
            builder.with_client_auth_cert(vec![der(own)], key).unwrap()
        }
    }
}

/// The first certificate of a file.
fn der(files: &Certificate) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(&files.cert).unwrap()
}

fn tls(certificates: &[&Certificate]) -> ListenerTls {
    ListenerTls::new(certificates.iter().map(|files| (*files).clone()).collect())
}

/// A handshake in memory, and both its ends.
fn shake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut server = ServerConnection::new(Arc::clone(server))?;
    // Two round trips, and the tickets.
    for _ in 0..4 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client, server))
}

/// The certificate that a client gets who asks for this name.
#[track_caller]
fn served(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> CertificateDer<'static> {
    let (client, _) = shake(client, server, name).unwrap();
    client.peer_certificates().unwrap()[0].clone()
}

fn refused(tls: &ListenerTls) -> MaterialError {
    server(tls).map(drop).unwrap_err()
}

#[test]
fn a_certificate_is_chosen_by_name_then_by_wildcard_then_the_first() {
    let authority = Authority::new();
    let first = issue(&authority, "first", &["a.example", "b.example"]);
    let wild = issue(&authority, "wild", &["*.b.example"]);
    let exact = issue(&authority, "exact", &["x.b.example"]);
    let server = server(&tls(&[&first, &wild, &exact])).unwrap();
    let client = Lax::new(&[SignatureScheme::ECDSA_NISTP256_SHA256]).client();
    for (name, files) in [
        ("a.example", &first),
        ("b.example", &first),
        ("y.b.example", &wild),
        ("X.B.Example", &exact),
        ("y.x.b.example", &first),
        ("c.example", &first),
        // No name is sent with an address.
        ("127.0.0.1", &first),
    ] {
        assert_eq!(served(&client, &server, name), der(files), "{name}");
    }
}

#[test]
fn a_client_gets_ecdsa_if_it_can_check_it_and_rsa_if_not() {
    let authority = Authority::new();
    let rsa = files(authority.issue_rsa("rsa", &["a.example"]));
    let ecdsa = issue(&authority, "ecdsa", &["a.example"]);
    let server = server(&tls(&[&rsa, &ecdsa])).unwrap();
    let able = Arc::new(believer(&authority, None));
    assert_eq!(served(&able, &server, "a.example"), der(&ecdsa));
    let old = Lax::new(&[SignatureScheme::RSA_PSS_SHA256]).client();
    assert_eq!(served(&old, &server, "a.example"), der(&rsa));
    assert_eq!(
        served(&old, &server, "127.0.0.1"),
        der(&rsa),
        "the default has both too"
    );
}

/// Believes everybody, and keeps what came with the certificate.
#[derive(Debug)]
struct Lax {
    /// The signatures that it can check.
    schemes: Vec<SignatureScheme>,
    staple: Mutex<Vec<u8>>,
}

impl Lax {
    fn new(schemes: &[SignatureScheme]) -> Arc<Self> {
        let schemes = schemes.to_vec();
        let staple = Mutex::default();
        Arc::new(Self { schemes, staple })
    }

    fn client(self: &Arc<Self>) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(super::provider());
        let builder = builder
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap();
        let verifier: Arc<Self> = Arc::clone(self);
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        Arc::new(builder.with_no_client_auth())
    }
}

impl ServerCertVerifier for Lax {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        staple: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.staple.lock().unwrap() = staple.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

#[test]
fn what_the_authority_says_is_sent_as_long_as_it_is_good() {
    let authority = Authority::new();
    let mut pair = issue(&authority, "a", &["a.example"]);
    let serial = Leaf::read(&der(&pair)).unwrap().serial;
    let lax = Lax::new(&[SignatureScheme::ECDSA_NISTP256_SHA256]);
    let mut sent = |until: &[u8]| {
        let said = made(&serial, 0, Some(until));
        let path = authority.folder().join("a.ocsp");
        fs::write(&path, &said).unwrap();
        pair.ocsp = Some(path);
        let server = server(&tls(&[&pair])).unwrap();
        shake(&lax.client(), &server, "a.example").unwrap();
        let sent = lax.staple.lock().unwrap().clone();
        (sent, said)
    };
    let (got, said) = sent(b"20990101000000Z");
    assert_eq!(got, said);
    let (got, _) = sent(b"20200101000000Z");
    assert_eq!(got, b"");
}

#[test]
fn what_an_authority_says_of_another_certificate_is_refused() {
    let authority = Authority::new();
    let mut pair = issue(&authority, "a", &["a.example"]);
    let path = authority.folder().join("a.ocsp");
    fs::write(&path, made(&[7], 0, None)).unwrap();
    pair.ocsp = Some(path);
    let error = refused(&tls(&[&pair]));
    assert_eq!(error.key, "certificates[0].ocsp");
    assert!(
        error.reason.starts_with("is about another certificate"),
        "{error}"
    );
}

#[test]
fn keys_are_agreed_on_by_the_post_quantum_hybrid() {
    let authority = Authority::new();
    let server = server(&tls(&[&issue(&authority, "a", &["a.example"])])).unwrap();
    let (client, _) = shake(&Arc::new(believer(&authority, None)), &server, "a.example").unwrap();
    let group = client.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
}

#[test]
fn tls_1_2_is_spoken_unless_it_is_too_old() {
    let authority = Authority::new();
    let pair = issue(&authority, "a", &["a.example"]);
    let builder = ClientConfig::builder_with_provider(super::provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap();
    let old = Arc::new(
        builder
            .with_root_certificates(roots(&authority))
            .with_no_client_auth(),
    );
    let mut tls = tls(&[&pair]);
    assert!(shake(&old, &server(&tls).unwrap(), "a.example").is_ok());
    tls.min_version = TlsVersion::V1_3;
    assert!(shake(&old, &server(&tls).unwrap(), "a.example").is_err());
}

#[test]
fn a_protocol_is_agreed_on_and_who_offers_none_of_ours_is_refused() {
    let authority = Authority::new();
    let mut tls = tls(&[&issue(&authority, "a", &["a.example"])]);
    tls.alpn = vec!["http/1.1".to_owned(), "mqtt".to_owned()];
    let server = server(&tls).unwrap();
    let agreed = |offers: &[&str]| {
        let mut client = believer(&authority, None);
        client.alpn_protocols = offers.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (client, _) = shake(&Arc::new(client), &server, "a.example")?;
        Ok::<_, Error>(client.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(
        agreed(&["mqtt", "http/1.1"]).unwrap().as_deref(),
        Some(&b"http/1.1"[..])
    );
    assert_eq!(agreed(&[]).unwrap(), None);
    assert_eq!(agreed(&["h2"]), Err(Error::NoApplicationProtocol));
}

#[test]
fn who_has_no_certificate_of_the_clients_authority_is_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let pair = issue(&authority, "a", &["a.example"]);
    let mut tls = tls(&[&pair]);
    tls.client_ca = Some(authority.ca());
    let server = server(&tls).unwrap();
    let result = |client: ClientConfig| shake(&Arc::new(client), &server, "a.example").map(drop);
    assert_eq!(
        result(believer(
            &authority,
            Some(&issue(&authority, "b", &["client"]))
        )),
        Ok(())
    );
    assert!(result(believer(&authority, None)).is_err());
    assert!(
        result(believer(
            &authority,
            Some(&issue(&stranger, "c", &["client"]))
        ))
        .is_err()
    );
}

#[test]
fn a_session_goes_on_after_certificates_have_changed_but_not_after_authorities_have() {
    let (authority, other) = (Authority::new(), Authority::new());
    let pair = issue(&authority, "a", &["a.example"]);
    let own = issue(&authority, "own", &["client"]);
    let mut tls = tls(&[&pair]);
    tls.client_ca = Some(authority.ca());
    let server = Server::load(&tls).unwrap();
    let client = Arc::new(believer(&authority, Some(&own)));
    let kind = |server: &Server| {
        let (client, _) = shake(&client, &server.current(), "a.example").unwrap();
        client.handshake_kind().unwrap()
    };
    assert_eq!(kind(&server), HandshakeKind::Full);
    assert_eq!(kind(&server), HandshakeKind::Resumed);

    let before = server.leaves();
    issue(&authority, "a", &["a.example", "b.example"]);
    server.reload().unwrap();
    assert_ne!(server.leaves(), before, "the new certificate is current");
    assert_eq!(kind(&server), HandshakeKind::Resumed);
    let server = server.successor(&tls).unwrap();
    assert_eq!(kind(&server), HandshakeKind::Resumed);

    let both = authority.pem() + &other.pem();
    authority.write("ca.pem", &both);
    server.reload().unwrap();
    assert_eq!(
        kind(&server),
        HandshakeKind::Full,
        "it has to show its certificate again"
    );
}

#[test]
fn what_was_current_stays_when_a_file_is_broken() {
    let authority = Authority::new();
    let pair = issue(&authority, "a", &["a.example"]);
    let tls = tls(&[&pair]);
    let server = Server::load(&tls).unwrap();
    let before = server.current();
    authority.write("a.pem", "nothing");
    let error = server.reload().unwrap_err();
    assert_eq!(error.key, "certificates[0].cert");
    assert!(Arc::ptr_eq(&server.current(), &before));
    issue(&authority, "a", &["a.example"]);
    server.reload().unwrap();
    assert!(!Arc::ptr_eq(&server.current(), &before));
}

#[test]
fn files_that_do_not_fit_are_named_with_the_fix() {
    let authority = Authority::new();
    let [good, other] = ["good", "other"].map(|file| issue(&authority, file, &["a.example"]));
    let text = |path: &PathBuf| fs::read_to_string(path).unwrap();
    let (cert, key) = (text(&good.cert), text(&good.key));
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let swapped = authority.pem() + &cert;
    let bundle = cert.repeat(200);
    let cases = [
        (Some("nothing"), None, "cert", "has no certificate"),
        (Some(&key), None, "cert", "has no certificate"),
        (
            Some(&cert[..cert.len() / 2]),
            None,
            "cert",
            "ends in the middle of a section",
        ),
        (Some(&bundle), None, "cert", "has 200 certificates"),
        (Some(&swapped), None, "key", "belongs to certificate 2 of"),
        (None, Some("nothing"), "key", "has no private key"),
        (None, Some(&cert), "key", "has no private key"),
        (None, Some(&encrypted), "key", "is encrypted"),
        (
            None,
            Some(&text(&other.key)),
            "key",
            "does not belong to the certificate of",
        ),
    ];
    for (cert, key, named, message) in cases {
        let mut files = good.clone();
        files.cert = cert.map_or(files.cert, |text| authority.write("bad.pem", text));
        files.key = key.map_or(files.key, |text| authority.write("bad.key", text));
        let error = refused(&tls(&[&other, &files]));
        assert_eq!(error.key, format!("certificates[1].{named}"), "{error}");
        let path = if named == "cert" {
            &files.cert
        } else {
            &files.key
        };
        assert_eq!(error.file.as_ref(), Some(path));
        assert!(error.reason.starts_with(message), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let authority = Authority::new();
    let mut tls = tls(&[&issue(&authority, "a", &["a.example"])]);
    tls.certificates[0].ocsp = Some(authority.folder().join("none"));
    let error = refused(&tls).to_string();
    assert!(error.starts_with("certificates[0].ocsp: \"/"), "{error}");
    assert!(
        error.contains("none\" cannot be read: No such file"),
        "{error}"
    );
    tls.certificates[0].ocsp = None;
    tls.client_ca = Some(authority.folder().join("none"));
    assert_eq!(refused(&tls).key, "client_ca");
}

#[test]
fn a_certificate_tells_its_names_and_its_dates() {
    let authority = Authority::new();
    let pair = issue(&authority, "a", &["A.example", "*.b.example"]);
    let leaves = Server::load(&tls(&[&pair])).unwrap().leaves();
    assert_eq!(leaves[0].names, ["a.example", "*.b.example"]);
    // What rcgen writes unless it is told: 1975-01-01 and 4096-01-01, midnight, UTC.
    assert_eq!(
        (leaves[0].not_before, leaves[0].not_after),
        (157_766_400, 67_090_118_400)
    );
}

#[test]
fn a_backend_is_believed_by_the_upstreams_authority_and_its_name() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = server(&tls(&[&issue(
        &authority,
        "a",
        &["a.example", "127.0.0.1"],
    )]))
    .unwrap();
    let result = |tls: &UpstreamTls, address: &Address| {
        let connector = client(tls).unwrap();
        let name = connector.server_name(&Backend::at(address.clone()));
        shake(&connector.config, &server, &name.to_str()).map(drop)
    };
    let host = |host: &str| Address::Name {
        host: host.to_owned(),
        port: 443,
    };
    let socket = |text: &str| Address::Socket(text.parse().unwrap());
    let ours = UpstreamTls {
        ca: Some(authority.ca()),
        ..UpstreamTls::default()
    };
    assert_eq!(result(&ours, &host("a.example")), Ok(()));
    assert_eq!(result(&ours, &socket("127.0.0.1:443")), Ok(()));
    assert!(result(&ours, &host("b.example")).is_err());
    assert!(result(&ours, &socket("127.0.0.2:443")).is_err());
    let named = UpstreamTls {
        server_name: Some("a.example".to_owned()),
        ..ours.clone()
    };
    assert_eq!(result(&named, &socket("127.0.0.2:443")), Ok(()));
    let theirs = UpstreamTls {
        ca: Some(stranger.ca()),
        ..named.clone()
    };
    assert!(result(&theirs, &host("a.example")).is_err());
    let anybody = UpstreamTls {
        ca: None,
        server_name: None,
        verify: false,
    };
    assert_eq!(result(&anybody, &socket("127.0.0.2:443")), Ok(()));
}

#[test]
fn an_upstreams_authority_is_replaced_by_one_that_can_be_read() {
    let authority = Authority::new();
    let tls = UpstreamTls {
        ca: Some(authority.ca()),
        ..UpstreamTls::default()
    };
    let client = Client::load(&tls).unwrap();
    let before = client.current();
    authority.write("ca.pem", "nothing");
    let error = client.reload().unwrap_err();
    assert!(error.to_string().starts_with("ca: \"/"), "{error}");
    assert!(Arc::ptr_eq(&client.current(), &before));
    authority.write("ca.pem", &authority.pem());
    client.reload().unwrap();
    assert!(!Arc::ptr_eq(&client.current(), &before));
}

#[test]
fn a_backend_that_vouches_for_itself_is_believed_if_it_is_the_one_that_was_named() {
    let authority = Authority::new();
    let [named, other] =
        ["named", "other"].map(|file| files(authority.issue_alone(file, &["a.example"])));
    let ours = client(&UpstreamTls {
        ca: Some(named.cert.clone()),
        ..UpstreamTls::default()
    });
    let ours = ours.unwrap().config;
    let result = |files: &Certificate, name: &str| {
        let server = server(&tls(&[files])).unwrap();
        shake(&ours, &server, name).map(drop)
    };
    assert_eq!(result(&named, "a.example"), Ok(()));
    assert!(result(&named, "b.example").is_err());
    assert!(result(&other, "a.example").is_err());
}

/// A configuration with one listener and one upstream that speak TLS with these.
fn config(server: ListenerTls, client: UpstreamTls) -> Config {
    let text = "[[listener]]\nname = \"web\"\nlisten = \"127.0.0.1:1\"\nupstream = \"web\"\n\
                [[upstream]]\nname = \"web\"\nbackend = [{ address = \"127.0.0.1:2\" }]\n";
    let mut config = Config::parse(text, "test.toml").unwrap();
    config.listeners[0].tls = Some(server);
    config.upstreams[0].tls = Some(client);
    config
}

#[test]
fn a_reload_that_is_refused_changes_nothing_and_one_that_is_not_keeps_what_it_can() {
    let authority = Authority::new();
    let server = tls(&[&issue(&authority, "a", &["a.example"])]);
    let client = UpstreamTls {
        ca: Some(authority.ca()),
        ..UpstreamTls::default()
    };
    let config = config(server, client);
    let material = Material::load(&config).unwrap();
    let its_client = Arc::clone(material.client("web").unwrap());
    let connector = its_client.current();

    let key = fs::read_to_string(authority.folder().join("a.key")).unwrap();
    authority.write("a.key", "nothing");
    let mistakes = material.successor(&config).unwrap_err();
    assert_eq!(mistakes.len(), 1);
    assert_eq!(mistakes[0].0, "listener[0].tls.certificates[0].key");
    assert!(Arc::ptr_eq(&its_client.current(), &connector));

    authority.write("a.key", &key);
    let next = material.successor(&config).unwrap();
    assert!(Arc::ptr_eq(next.client("web").unwrap(), &its_client));
    assert!(
        !Arc::ptr_eq(&its_client.current(), &connector),
        "it was read again"
    );
}
