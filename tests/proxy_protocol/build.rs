//! Headers made to measure: bytes only, for whoever sends them.

pub(crate) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
pub(crate) const LOCAL: u8 = 0x20;
pub(crate) const PROXY: u8 = 0x21;
pub(crate) const TCP4: u8 = 0x11;
pub(crate) const TCP6: u8 = 0x21;

/// 192.0.2.7:56324 to 192.0.2.1:443.
pub(crate) const ADDRESSES: &[u8] = &[192, 0, 2, 7, 192, 0, 2, 1, 0xdc, 0x04, 0x01, 0xbb];

pub(crate) fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, block].concat()
}

/// With these behind the addresses.
pub(crate) fn v2_with(tlvs: &[u8]) -> Vec<u8> {
    v2(PROXY, TCP4, &[ADDRESSES, tlvs].concat())
}

pub(crate) fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [
        &[kind],
        &u16::try_from(value.len()).unwrap().to_be_bytes()[..],
        value,
    ]
    .concat()
}

pub(crate) fn ssl(tlvs: &[u8]) -> Vec<u8> {
    tlv(0x20, &[&[7, 0, 0, 0, 0], tlvs].concat())
}
