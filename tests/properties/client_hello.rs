//! What must hold of any bytes given to the parser of client hellos. Tests run it over tables, the corpus and chance;
//! the fuzzer includes this file.

use ringway::wire::client_hello::{Progress, parse};
use rustls::server::Acceptor;

/// As a listener's `peek_max_bytes`.
pub(crate) const MAX: usize = 16_384;

/// Panics where something does not hold.
pub(crate) fn check(bytes: &[u8]) {
    let whole = parse(bytes, MAX);
    for end in ends(bytes.len()) {
        let part = parse(&bytes[..end], MAX);
        assert!(
            part == Progress::Partial || part == whole,
            "{end}: {part:?}, then {whole:?}"
        );
    }
    if let Progress::Complete(hello) = &whole {
        assert!(hello.len <= bytes.len().min(MAX));
        assert_eq!(
            parse(&bytes[..hello.len], hello.len),
            whole,
            "nothing behind it counts"
        );
        assert_eq!(
            parse(&bytes[..hello.len - 1], MAX),
            Progress::Partial,
            "its last byte counts"
        );
        assert_eq!(&hello.clone().into_owned(), hello);
        agrees_with_rustls(bytes);
    }
}

/// Where to cut: everywhere, if that is not too often.
fn ends(len: usize) -> impl Iterator<Item = usize> {
    (0..len).step_by(len / 256 + 1)
}

/// Hellos that both accept say the same to both.
fn agrees_with_rustls(bytes: &[u8]) {
    let Progress::Complete(hello) = parse(bytes, MAX) else {
        return;
    };
    let Some(theirs) = rustls_reads(bytes) else {
        return;
    };
    let sni = hello.sni.as_ref().map(|name| name.to_ascii_lowercase());
    assert_eq!(sni, theirs.sni);
    assert!(hello.alpn().eq(theirs.alpn.iter().map(Vec::as_slice)));
}

/// What rustls says of a hello.
pub(crate) struct Theirs {
    pub(crate) sni: Option<String>,
    pub(crate) alpn: Vec<Vec<u8>>,
}

pub(crate) fn rustls_reads(mut bytes: &[u8]) -> Option<Theirs> {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        acceptor.read_tls(&mut bytes).ok()?;
        if let Some(accepted) = acceptor.accept().ok()? {
            let hello = accepted.client_hello();
            let sni = hello.server_name().map(|name| name.trim_end_matches('.'));
            return Some(Theirs {
                sni: sni.map(str::to_ascii_lowercase),
                alpn: hello
                    .alpn()
                    .into_iter()
                    .flatten()
                    .map(<[u8]>::to_vec)
                    .collect(),
            });
        }
    }
    None
}
