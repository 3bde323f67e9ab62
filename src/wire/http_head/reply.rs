//! What a client hears whose request goes nowhere: whole replies, fixed when this is compiled, each the last on its
//! connection.

/// The statuses that a peek can end with (RFC 9110, section 15; RFC 6585 for 431).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// 400: the head is malformed, or can be read in two ways.
    BadRequest,
    /// 404: no route takes it.
    NotFound,
    /// 408: it did not come in time.
    RequestTimeout,
    /// 431: it is larger than allowed.
    HeadTooLarge,
    /// 503: no backend takes it.
    ServiceUnavailable,
}

/// A reply with a body of one line, whose length is held by the compiler.
macro_rules! reply {
    ($status:literal, $length:literal, $body:literal) => {{
        const { assert!($body.len() == $length) };
        concat!(
            "HTTP/1.1 ",
            $status,
            "\r\nContent-Type: text/plain\r\nContent-Length: ",
            $length,
            "\r\nConnection: close\r\n\r\n",
            $body
        )
        .as_bytes()
    }};
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::BadRequest,
        Self::NotFound,
        Self::RequestTimeout,
        Self::HeadTooLarge,
        Self::ServiceUnavailable,
    ];

    /// The number.
    pub const fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::NotFound => 404,
            Self::RequestTimeout => 408,
            Self::HeadTooLarge => 431,
            Self::ServiceUnavailable => 503,
        }
    }

    /// All that is sent before closing.
    pub const fn reply(self) -> &'static [u8] {
        match self {
            Self::BadRequest => reply!(
                "400 Bad Request",
                57,
                "The request's head is malformed or can be read two ways.\n"
            ),
            Self::NotFound => reply!(
                "404 Not Found",
                49,
                "Nothing is served here under this host and path.\n"
            ),
            Self::RequestTimeout => reply!(
                "408 Request Timeout",
                43,
                "The request's head did not arrive in time.\n"
            ),
            Self::HeadTooLarge => reply!(
                "431 Request Header Fields Too Large",
                53,
                "The request's head is larger than this server takes.\n"
            ),
            Self::ServiceUnavailable => reply!(
                "503 Service Unavailable",
                49,
                "No server behind this one takes the request now.\n"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_is_a_whole_response_that_closes() {
        let codes = Status::ALL.map(Status::code);
        assert_eq!(codes, [400, 404, 408, 431, 503]);
        for status in Status::ALL {
            let mut headers = [httparse::EMPTY_HEADER; 8];
            let mut response = httparse::Response::new(&mut headers);
            let head_len = response.parse(status.reply()).unwrap().unwrap();
            assert_eq!(
                (response.version, response.code),
                (Some(1), Some(status.code()))
            );
            let body = &status.reply()[head_len..];
            let header = |name: &str| {
                response
                    .headers
                    .iter()
                    .find(|header| header.name == name)
                    .unwrap()
            };
            assert_eq!(
                header("Content-Length").value,
                body.len().to_string().as_bytes()
            );
            assert_eq!(header("Connection").value, b"close");
            assert_eq!(header("Content-Type").value, b"text/plain");
            assert_eq!(
                body.iter().position(|&byte| byte == b'\n'),
                Some(body.len() - 1)
            );
        }
    }
}
