//! What a backend is told of its client ahead of the client's first byte: a PROXY protocol header, with what is known of the TLS
//! that ended here.

use super::Connection;
use super::client::Client;
use crate::config::SendProxy;
use crate::relay::Session;
use crate::tls;
use crate::wire::proxy_protocol::{Origin, Ssl, Tlvs, write_v1, write_v2};
use rustls::{CommonState, HandshakeKind, ProtocolVersion, SupportedCipherSuite};
use std::net::SocketAddr;

impl Connection {
    /// Who the client is, as the backend is told: nothing if its upstream wants no header. `local`: what it connected to.
    pub(super) fn introduction(&self, client: &Client, local: Option<SocketAddr>) -> Vec<u8> {
        let told = self.told.as_deref();
        let destination = told.and_then(|told| told.destination).or(local);
        let origin = match destination {
            Some(destination) => Origin::Tcp {
                source: self.client,
                destination,
            },
            None => Origin::Unknown,
        };
        match self.dialed().0.settings().proxy_protocol {
            SendProxy::Off => Vec::new(),
            SendProxy::V1 => write_v1(origin).to_vec(),
            SendProxy::V2 => self.version_2(client, origin),
        }
    }

    fn version_2(&self, client: &Client, origin: Origin) -> Vec<u8> {
        let id = format!("{:016x}", self.id);
        let peeked = self.told.as_deref().map(|told| &told.peeked);
        let name = peeked.and_then(|peeked| peeked.sni.as_deref().or(peeked.host.as_deref()));
        let agreed = client.tls().map(Session::agreed);
        let certificate = agreed.and_then(|agreed| agreed.peer_certificates()?.first());
        let common_name = certificate.and_then(tls::common_name);
        let with = |authority| {
            let tlvs = Tlvs {
                unique_id: Some(id.as_bytes()),
                authority,
                alpn: agreed.and_then(|agreed| agreed.alpn_protocol()),
                ssl: agreed.map(|agreed| Ssl {
                    common_name: common_name.as_deref(),
                    ..ssl_of(agreed)
                }),
                ..Tlvs::default()
            };
            write_v2(origin, &tlvs)
        };
        // A host may be longer than the header has room for; it then goes without.
        with(name)
            .or_else(|_| with(None))
            .expect("all the rest is short")
    }
}

/// What a backend is told of TLS that ended here (section 2.2.5 of the specification).
fn ssl_of(agreed: &CommonState) -> Ssl<'static> {
    let has_certificate = agreed.peer_certificates().is_some();
    let is_resumed = agreed.handshake_kind() == Some(HandshakeKind::Resumed);
    let certificate = match (has_certificate, is_resumed) {
        (false, _) => 0,
        (true, true) => Ssl::CERTIFICATE_IN_SESSION,
        (true, false) => Ssl::CERTIFICATE_NOW | Ssl::CERTIFICATE_IN_SESSION,
    };
    let version = match agreed.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => Some("TLSv1.2"),
        Some(ProtocolVersion::TLSv1_3) => Some("TLSv1.3"),
        Some(_) | None => None,
    };
    Ssl {
        client: Ssl::TLS | certificate,
        // Zero: there was a certificate, and it holds. None gets in that does not.
        verify: u32::from(!has_certificate),
        version,
        cipher: agreed.negotiated_cipher_suite().and_then(cipher_of),
        ..Ssl::default()
    }
}

/// OpenSSL's name of a suite, which is what others write into this field.
fn cipher_of(suite: SupportedCipherSuite) -> Option<&'static str> {
    use rustls::CipherSuite as C;
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "hundreds have numbers; these nine are spoken here"
    )]
    match suite.suite() {
        C::TLS13_AES_128_GCM_SHA256 => Some("TLS_AES_128_GCM_SHA256"),
        C::TLS13_AES_256_GCM_SHA384 => Some("TLS_AES_256_GCM_SHA384"),
        C::TLS13_CHACHA20_POLY1305_SHA256 => Some("TLS_CHACHA20_POLY1305_SHA256"),
        C::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => Some("ECDHE-ECDSA-AES128-GCM-SHA256"),
        C::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => Some("ECDHE-ECDSA-AES256-GCM-SHA384"),
        C::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => Some("ECDHE-ECDSA-CHACHA20-POLY1305"),
        C::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => Some("ECDHE-RSA-AES128-GCM-SHA256"),
        C::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => Some("ECDHE-RSA-AES256-GCM-SHA384"),
        C::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => Some("ECDHE-RSA-CHACHA20-POLY1305"),
        _ => None,
    }
}
