//! Hellos made to measure: bytes only, for whoever sends them.

/// A client hello without extensions, and then some.
pub(crate) fn message(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 4, 0x0a, 0x0a, 0x13, 0x01]);
    body.extend([1, 0]);
    let all: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, value)| [&kind.to_be_bytes(), block16(value).as_slice()].concat())
        .collect();
    body.extend(block16(&all));
    handshake(1, &body)
}

pub(crate) fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

pub(crate) fn block8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

pub(crate) fn block16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

pub(crate) fn record(fragment: &[u8]) -> Vec<u8> {
    [&[22, 3, 1], block16(fragment).as_slice()].concat()
}

/// In records of `size` bytes each.
pub(crate) fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(record).collect()
}

pub(crate) fn hello(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    record(&message(extensions))
}

pub(crate) fn named(name: &[u8]) -> (u16, Vec<u8>) {
    (0, block16(&host(name)))
}

pub(crate) fn host(name: &[u8]) -> Vec<u8> {
    [&[0], block16(name).as_slice()].concat()
}

pub(crate) fn alpn(protocols: &[&[u8]]) -> (u16, Vec<u8>) {
    let list: Vec<u8> = protocols.iter().flat_map(|name| block8(name)).collect();
    (16, block16(&list))
}

pub(crate) fn versions(list: &[u16]) -> (u16, Vec<u8>) {
    let list: Vec<u8> = list
        .iter()
        .flat_map(|version| version.to_be_bytes())
        .collect();
    (43, block8(&list))
}

pub(crate) const NAME: &str = "feed.example.com";

pub(crate) fn name() -> (u16, Vec<u8>) {
    named(NAME.as_bytes())
}

/// A field of a hello made of `message` overwritten: where, and with what.
pub(crate) fn with(mut bytes: Vec<u8>, at: usize, value: &[u8]) -> Vec<u8> {
    bytes[at..at + value.len()].copy_from_slice(value);
    bytes
}

// Where things are in `hello`.
pub(crate) const RECORD_LENGTH: usize = 3;
pub(crate) const MESSAGE_LENGTH: usize = 6;
pub(crate) const HELLO_VERSION: usize = 9;
pub(crate) const SESSION_LENGTH: usize = 43;
pub(crate) const CIPHERS_LENGTH: usize = 44;
pub(crate) const COMPRESSION_LENGTH: usize = 50;
pub(crate) const EXTENSIONS_LENGTH: usize = 52;
