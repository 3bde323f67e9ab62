//! What an authority says of a certificate (an OCSP response, RFC 6960, section 4.2), as far as it has to be understood to be
//! passed on: of which certificate, what, and until when. Its signature is for clients to check.

use x509_parser::asn1_rs::{Any, Class, FromDer, GeneralizedTime, Tag};

/// An answer that may be passed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Staple {
    /// As it is sent.
    pub(super) der: Vec<u8>,
    /// When there will be a newer one, in seconds since 1970; then clients refuse this one. None: it stays good.
    pub(super) until: Option<i64>,
}

impl Staple {
    /// Reads an answer about the certificate of this serial number; in words what is wrong with it.
    pub(super) fn read(der: Vec<u8>, serial: &[u8]) -> Result<Self, String> {
        let status = response(&der).ok_or_else(|| {
            "is not an OCSP response; write the path of a DER file, as openssl ocsp -respout makes it"
                .to_owned()
        })?;
        let answers = match status {
            Response::Answers(answers) => answers,
            Response::Failure(status) => {
                return Err(format!(
                    "says that the authority could not answer (status {status}); fetch it again"
                ));
            }
        };
        let answer = answers.iter().find(|answer| answer.serial == serial);
        let answer =
            answer.ok_or("is about another certificate; fetch the one for this certificate")?;
        match answer.verdict {
            Verdict::Good => {}
            Verdict::Revoked => {
                return Err("says that the certificate is revoked; get another one".to_owned());
            }
            Verdict::Unknown => {
                return Err("says that the authority does not know the certificate; ask the one that issued it".to_owned());
            }
        }
        let until = answer.next_update;
        Ok(Self { der, until })
    }
}

/// OCSPResponse, opened.
enum Response<'a> {
    Answers(Vec<Answer<'a>>),
    /// OCSPResponseStatus, but for successful.
    Failure(u8),
}

/// SingleResponse.
struct Answer<'a> {
    serial: &'a [u8],
    verdict: Verdict,
    next_update: Option<i64>,
}

/// CertStatus.
enum Verdict {
    Good,
    Revoked,
    Unknown,
}

fn response(der: &[u8]) -> Option<Response<'_>> {
    let mut response = Reader(der).sequence()?;
    match response.universal(Tag::Enumerated)? {
        [0] => {}
        [failure] => return Some(Response::Failure(*failure)),
        _ => return None,
    }
    // responseBytes: of the only type there is, BasicOCSPResponse.
    let mut bytes = response.context(0)?.sequence()?;
    bytes.universal(Tag::Oid)?;
    let basic = Reader(bytes.universal(Tag::OctetString)?).sequence()?;
    let mut data = { basic }.sequence()?;
    // version, responderID (by name or by key), producedAt.
    let _ = data.context(0);
    data.context(1).or_else(|| data.context(2))?;
    data.universal(Tag::GeneralizedTime)?;
    let mut list = data.sequence()?;
    let mut answers = Vec::new();
    while !list.0.is_empty() {
        answers.push(answer(list.sequence()?)?);
    }
    Some(Response::Answers(answers))
}

fn answer(mut answer: Reader<'_>) -> Option<Answer<'_>> {
    let mut id = answer.sequence()?;
    id.sequence()?;
    id.universal(Tag::OctetString)?;
    id.universal(Tag::OctetString)?;
    let serial = id.universal(Tag::Integer)?;
    let verdict = if answer.context(0).is_some() {
        Verdict::Good
    } else if answer.context(1).is_some() {
        Verdict::Revoked
    } else {
        answer.context(2)?;
        Verdict::Unknown
    };
    answer.time()?;
    let next_update = match answer.context(0) {
        Some(mut next) => Some(next.time()?),
        None => None,
    };
    Some(Answer {
        serial,
        verdict,
        next_update,
    })
}

/// DER, value by value.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// What is in the next value, if it is of this kind.
    fn next(&mut self, class: Class, tag: Tag) -> Option<&'a [u8]> {
        let (rest, value) = Any::from_der(self.0).ok()?;
        let is_meant = value.header.class() == class && value.header.tag() == tag;
        is_meant.then(|| {
            self.0 = rest;
            value.data
        })
    }

    fn universal(&mut self, tag: Tag) -> Option<&'a [u8]> {
        self.next(Class::Universal, tag)
    }

    fn context(&mut self, tag: u32) -> Option<Self> {
        self.next(Class::ContextSpecific, Tag(tag)).map(Self)
    }

    fn sequence(&mut self) -> Option<Self> {
        self.universal(Tag::Sequence).map(Self)
    }

    /// Seconds since 1970.
    fn time(&mut self) -> Option<i64> {
        let text = self.universal(Tag::GeneralizedTime)?;
        let time = GeneralizedTime::from_bytes(text).ok()?;
        Some(time.utc_datetime().ok()?.unix_timestamp())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A value of DER, shorter than 256 bytes.
    fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u8::try_from(content.len()).expect("short");
        let head = [tag, 0x81, length];
        let head = if length < 0x80 {
            &[tag, length][..]
        } else {
            &head
        };
        [head, &content].concat()
    }

    const SEQUENCE: u8 = 0x30;
    const OCTETS: u8 = 4;

    /// A response with one answer: about this serial, [0], [1] or [2], until then.
    pub(in crate::tls) fn made(serial: &[u8], verdict: u8, until: Option<&[u8]>) -> Vec<u8> {
        let id = tlv(
            SEQUENCE,
            &[
                &tlv(SEQUENCE, &[]),
                &tlv(OCTETS, &[b"n"]),
                &tlv(OCTETS, &[b"k"]),
                &tlv(2, &[serial]),
            ],
        );
        let now = tlv(24, &[b"20260101000000Z"]);
        let until = until.map(|until| tlv(0xa0, &[&tlv(24, &[until])]));
        let answer = tlv(
            SEQUENCE,
            &[
                &id,
                &tlv(0x80 | verdict, &[]),
                &now,
                &until.unwrap_or_default(),
            ],
        );
        let list = tlv(SEQUENCE, &[&answer]);
        let data = tlv(
            SEQUENCE,
            &[&tlv(0xa2, &[&tlv(OCTETS, &[b"k"])]), &now, &list],
        );
        let basic = tlv(OCTETS, &[&tlv(SEQUENCE, &[&data])]);
        let bytes = tlv(0xa0, &[&tlv(SEQUENCE, &[&tlv(6, &[&[43]]), &basic])]);
        tlv(SEQUENCE, &[&tlv(10, &[&[0]]), &bytes])
    }

    #[test]
    fn an_answer_is_about_one_certificate_and_good_until_the_next() {
        let until = |der: Vec<u8>| Staple::read(der, &[7]).unwrap().until;
        assert_eq!(
            until(made(&[7], 0, Some(b"20260108000000Z"))),
            Some(1_767_830_400)
        );
        assert_eq!(until(made(&[7], 0, None)), None);
    }

    #[test]
    fn what_is_not_to_be_passed_on_is_named() {
        let said = |der: Vec<u8>| Staple::read(der, &[7]).unwrap_err();
        assert!(said(made(&[8], 0, None)).starts_with("is about another certificate"));
        assert!(said(made(&[7], 1, None)).starts_with("says that the certificate is revoked"));
        assert!(said(made(&[7], 2, None)).starts_with("says that the authority does not know"));
        let busy = tlv(SEQUENCE, &[&tlv(10, &[&[3]])]);
        assert!(said(busy).starts_with("says that the authority could not answer (status 3)"));
        assert!(said(b"nothing".to_vec()).starts_with("is not an OCSP response"));
        let whole = made(&[7], 0, Some(b"20260108000000Z"));
        for end in 0..whole.len() {
            assert!(
                said(whole[..end].to_vec()).starts_with("is not an OCSP response"),
                "{end}"
            );
        }
    }
}
