//! What follows the addresses in version 2: type, length, value, again and again (section 2.2 of the specification).

use super::{AUTHORITY_MAX, Refusal, Ssl, Tlvs, TooLong, UNIQUE_ID_MAX};
use crate::wire::reader::Reader;

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
const NETNS: u8 = 0x30;

// Inside of SSL.
const SSL_VERSION: u8 = 0x21;
const SSL_COMMON_NAME: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;
const SSL_SIGNATURE_ALGORITHM: u8 = 0x24;
const SSL_KEY_ALGORITHM: u8 = 0x25;

/// From the end of a header; the whole of it is what a checksum covers.
pub(super) fn read<'a>(block: &'a [u8], header: &[u8]) -> Result<Tlvs<'a>, Refusal> {
    let mut tlvs = Tlvs::default();
    let mut checksum = None;
    each(block, |kind, value, behind| match kind {
        ALPN => once(&mut tlvs.alpn, value),
        AUTHORITY => once(&mut tlvs.authority, text(at_most(value, AUTHORITY_MAX)?)?),
        CRC32C => once(&mut checksum, check(value, behind, header)?),
        UNIQUE_ID => once(&mut tlvs.unique_id, at_most(value, UNIQUE_ID_MAX)?),
        SSL => once(&mut tlvs.ssl, read_ssl(value)?),
        NETNS => once(&mut tlvs.netns, text(value)?),
        _ => Ok(()),
    })?;
    Ok(tlvs)
}

fn read_ssl(value: &[u8]) -> Result<Ssl<'_>, Refusal> {
    let mut value = Reader::new(value);
    let mut ssl = Ssl {
        client: value.u8().ok_or(Refusal::MalformedTlv)?,
        verify: value.u32().ok_or(Refusal::MalformedTlv)?,
        ..Ssl::default()
    };
    each(value.rest(), |kind, value, _| match kind {
        SSL_VERSION => once(&mut ssl.version, text(value)?),
        SSL_COMMON_NAME => once(&mut ssl.common_name, text(value)?),
        SSL_CIPHER => once(&mut ssl.cipher, text(value)?),
        SSL_SIGNATURE_ALGORITHM => once(&mut ssl.signature_algorithm, text(value)?),
        SSL_KEY_ALGORITHM => once(&mut ssl.key_algorithm, text(value)?),
        _ => Ok(()),
    })?;
    Ok(ssl)
}

/// Calls `on_tlv` with each type, value, and what is behind it.
fn each<'a>(
    block: &'a [u8],
    mut on_tlv: impl FnMut(u8, &'a [u8], &'a [u8]) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut block = Reader::new(block);
    while !block.is_empty() {
        let kind = block.u8().ok_or(Refusal::MalformedTlv)?;
        let value = block.block16().ok_or(Refusal::MalformedTlv)?;
        on_tlv(kind, value, block.rest())?;
    }
    Ok(())
}

/// Which of two would count is up to the reader: so neither does.
fn once<T>(field: &mut Option<T>, value: T) -> Result<(), Refusal> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::DuplicateTlv),
    }
}

fn at_most(value: &[u8], max: usize) -> Result<&[u8], Refusal> {
    if value.len() > max {
        return Err(Refusal::MalformedTlv);
    }
    Ok(value)
}

fn text(value: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(value).map_err(|_| Refusal::MalformedTlv)
}

/// CRC32c over the header with zeros in place of the checksum (section 2.2.3).
fn check(value: &[u8], behind: &[u8], header: &[u8]) -> Result<(), Refusal> {
    let &sent = value.as_array::<4>().ok_or(Refusal::MalformedTlv)?;
    let before = &header[..header.len() - behind.len() - sent.len()];
    let sum = [before, &[0; 4], behind]
        .into_iter()
        .fold(0, crc32c::crc32c_append);
    if sum == u32::from_be_bytes(sent) {
        Ok(())
    } else {
        Err(Refusal::Checksum)
    }
}

/// Whatever is there, in the order of the types' numbers.
pub(super) fn write(tlvs: &Tlvs, header: &mut Vec<u8>) -> Result<(), TooLong> {
    let within = |value: Option<&[u8]>, max| value.is_none_or(|value| value.len() <= max);
    let authority = tlvs.authority.map(str::as_bytes);
    if !within(authority, AUTHORITY_MAX) || !within(tlvs.unique_id, UNIQUE_ID_MAX) {
        return Err(TooLong);
    }
    put(ALPN, tlvs.alpn, header)?;
    put(AUTHORITY, authority, header)?;
    put(UNIQUE_ID, tlvs.unique_id, header)?;
    if let Some(ssl) = tlvs.ssl {
        put(SSL, Some(&ssl_value(&ssl)?), header)?;
    }
    put(NETNS, tlvs.netns.map(str::as_bytes), header)
}

fn ssl_value(ssl: &Ssl) -> Result<Vec<u8>, TooLong> {
    let mut value = vec![ssl.client];
    value.extend(ssl.verify.to_be_bytes());
    for (kind, text) in [
        (SSL_VERSION, ssl.version),
        (SSL_COMMON_NAME, ssl.common_name),
        (SSL_CIPHER, ssl.cipher),
        (SSL_SIGNATURE_ALGORITHM, ssl.signature_algorithm),
        (SSL_KEY_ALGORITHM, ssl.key_algorithm),
    ] {
        put(kind, text.map(str::as_bytes), &mut value)?;
    }
    Ok(value)
}

fn put(kind: u8, value: Option<&[u8]>, block: &mut Vec<u8>) -> Result<(), TooLong> {
    let Some(value) = value else {
        return Ok(());
    };
    let length = u16::try_from(value.len()).map_err(|_| TooLong)?;
    block.push(kind);
    block.extend(length.to_be_bytes());
    block.extend_from_slice(value);
    Ok(())
}
