//! Why a head is refused, in words for metrics and logs, and the status that its sender is told.

use super::Status;

/// One way for a head to be unacceptable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// A carriage return that no line feed follows.
    BareCr,
    /// A line feed without its carriage return, as a line's end too.
    BareLf,
    /// A NUL byte.
    Nul,
    /// Another control character, DEL among them.
    Control,
    /// A line that begins with white space: a folded value, or space before the first field.
    ObsFold,
    /// White space between a field's name and its colon.
    SpaceBeforeColon,
    /// A field without a colon, without a name, or with a name that is no token.
    FieldName,
    /// Not three words with one space between them: leading space, a second empty line before it, or no request at all.
    RequestLine,
    /// A method that is no token.
    Method,
    /// Neither HTTP/1.0 nor HTTP/1.1, or none named (HTTP/0.9).
    Version,
    /// A target that is neither a path nor an `http` or `https` URL, or with a fragment or a byte that is not ASCII.
    Target,
    /// CONNECT: a request for a tunnel to a host and port of the client's choice.
    Connect,
    /// `*`: a request to the server as a whole, which has no path.
    Asterisk,
    /// HTTP/1.1 without a Host.
    HostMissing,
    /// More than one Host line, equal or not (RFC 9112, section 3.2).
    HostRepeated,
    /// A Host, or the host of the target, that is no name or address with an optional port from 1 to 65,535.
    HostSyntax,
    /// A Host that differs from the one of the target.
    HostMismatch,
    /// A Content-Length that is no number below 2^64 in plain digits.
    ContentLength,
    /// More than one Content-Length, as lines or as a list, equal or not: they cannot be merged on the way.
    ContentLengthRepeated,
    /// Content-Length together with Transfer-Encoding.
    LengthAndEncoding,
    /// A Transfer-Encoding in HTTP/1.0, on more than one line, or not a list of names with `chunked` last and once.
    TransferEncoding,
    /// A Connection field that names what was to be added here, so that the next proxy would take it off again.
    ConnectionNames,
    /// More fields than [`FIELDS_MAX`](super::FIELDS_MAX).
    TooManyFields,
    /// No end within the bytes allowed.
    TooLarge,
}

impl Refusal {
    /// Every kind, in the order of the counters.
    pub const ALL: [Self; 24] = [
        Self::BareCr,
        Self::BareLf,
        Self::Nul,
        Self::Control,
        Self::ObsFold,
        Self::SpaceBeforeColon,
        Self::FieldName,
        Self::RequestLine,
        Self::Method,
        Self::Version,
        Self::Target,
        Self::Connect,
        Self::Asterisk,
        Self::HostMissing,
        Self::HostRepeated,
        Self::HostSyntax,
        Self::HostMismatch,
        Self::ContentLength,
        Self::ContentLengthRepeated,
        Self::LengthAndEncoding,
        Self::TransferEncoding,
        Self::ConnectionNames,
        Self::TooManyFields,
        Self::TooLarge,
    ];

    /// Its place in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word in the log and in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::BareCr => "bare-cr",
            Self::BareLf => "bare-lf",
            Self::Nul => "nul",
            Self::Control => "control-character",
            Self::ObsFold => "obs-fold",
            Self::SpaceBeforeColon => "space-before-colon",
            Self::FieldName => "field-name",
            Self::RequestLine => "request-line",
            Self::Method => "method",
            Self::Version => "version",
            Self::Target => "target",
            Self::Connect => "connect",
            Self::Asterisk => "asterisk",
            Self::HostMissing => "host-missing",
            Self::HostRepeated => "host-repeated",
            Self::HostSyntax => "host-syntax",
            Self::HostMismatch => "host-mismatch",
            Self::ContentLength => "content-length",
            Self::ContentLengthRepeated => "content-length-repeated",
            Self::LengthAndEncoding => "length-and-encoding",
            Self::TransferEncoding => "transfer-encoding",
            Self::ConnectionNames => "connection-names",
            Self::TooManyFields => "too-many-fields",
            Self::TooLarge => "too-large",
        }
    }

    /// What the client is told.
    pub const fn status(self) -> Status {
        match self {
            Self::TooManyFields | Self::TooLarge => Status::HeadTooLarge,
            Self::BareCr
            | Self::BareLf
            | Self::Nul
            | Self::Control
            | Self::ObsFold
            | Self::SpaceBeforeColon
            | Self::FieldName
            | Self::RequestLine
            | Self::Method
            | Self::Version
            | Self::Target
            | Self::Connect
            | Self::Asterisk
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostSyntax
            | Self::HostMismatch
            | Self::ContentLength
            | Self::ContentLengthRepeated
            | Self::LengthAndEncoding
            | Self::TransferEncoding
            | Self::ConnectionNames => Status::BadRequest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_place_and_a_word_of_its_own() {
        for (place, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal.index(), place);
            let same = Refusal::ALL
                .into_iter()
                .filter(|other| other.word() == refusal.word());
            assert_eq!(same.count(), 1, "{}", refusal.word());
            let is_size = matches!(refusal, Refusal::TooManyFields | Refusal::TooLarge);
            let code = if is_size { 431 } else { 400 };
            assert_eq!(refusal.status().code(), code, "{}", refusal.word());
        }
    }

    #[test]
    fn the_document_names_every_refusal() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/http-peek.md");
        let document = std::fs::read_to_string(path).unwrap();
        for refusal in Refusal::ALL {
            let row = format!("\n| `{}` | {} |", refusal.word(), refusal.status().code());
            assert!(document.contains(&row), "{row}");
        }
    }
}
