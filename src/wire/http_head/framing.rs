//! Where the request's body ends, as far as its head says so (RFC 9112, section 6). The body is not read here; but a
//! head whose readers could disagree on it would make the second request of one reader the first one's body of
//! another.

use super::fields::{Fields, elements};
use super::{Refusal, Version};

/// Refuses a length or an encoding that is not said once and plainly.
pub(super) fn check(fields: Fields<'_>, version: Version) -> Result<(), Refusal> {
    let length = fields.named("content-length").next();
    let encoding = fields.named("transfer-encoding").next();
    match (length, encoding) {
        (None, None) => Ok(()),
        (Some(_), Some(_)) => Err(Refusal::LengthAndEncoding),
        (Some(length), None) => check_length(fields, length),
        (None, Some(encoding)) => check_encoding(fields, version, encoding),
    }
}

fn check_length(fields: Fields<'_>, length: &[u8]) -> Result<(), Refusal> {
    if length.contains(&b',') || fields.named("content-length").count() > 1 {
        return Err(Refusal::ContentLengthRepeated);
    }
    let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
    let fits = || str::from_utf8(length).is_ok_and(|digits| digits.parse::<u64>().is_ok());
    (is_number && fits())
        .then_some(())
        .ok_or(Refusal::ContentLength)
}

fn check_encoding(fields: Fields<'_>, version: Version, encoding: &[u8]) -> Result<(), Refusal> {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let is_name = |coding: &[u8]| {
        let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        !coding.is_empty() && coding.iter().all(is_of_name)
    };
    let is_plain = elements(encoding).all(is_name)
        && elements(encoding).last().is_some_and(is_chunked)
        && elements(encoding)
            .filter(|coding| is_chunked(coding))
            .count()
            == 1
        && fields.named("transfer-encoding").count() == 1
        && version == Version::Http11;
    is_plain.then_some(()).ok_or(Refusal::TransferEncoding)
}
