//! One row a case, and what is to come of it. The refusals and their reasons are RFC 9110's and 9112's.

use super::*;

const MAX: usize = 16 * 1024;

/// What came of it in words: a refusal's word, `partial`, `preface`, or `METHOD PATH [?QUERY] [HOST[:PORT]]`.
fn outcome(bytes: &[u8]) -> String {
    match parse(bytes, MAX) {
        Progress::Partial => "partial".into(),
        Progress::Preface => "preface".into(),
        Progress::Refused(refusal) => refusal.word().into(),
        Progress::Complete(head) => summary(&head),
    }
}

fn summary(head: &Head<'_>) -> String {
    let query = head.query.map(|query| format!(" ?{query}"));
    let port = |host: Host<'_>| host.port.map_or(String::new(), |port| format!(":{port}"));
    let host = head
        .host
        .map(|host| format!(" {}{}", host.name, port(host)));
    [Some(head.method.to_owned() + " " + head.path), query, host]
        .into_iter()
        .flatten()
        .collect()
}

/// A request whose Host is in order, with `line` among its fields.
fn with_field(line: &[u8]) -> Vec<u8> {
    [
        b"GET / HTTP/1.1\r\nHost: a.example\r\n",
        line,
        b"\r\nLast: 1\r\n\r\n",
    ]
    .concat()
}

fn head(bytes: &[u8]) -> Head<'_> {
    let Progress::Complete(head) = parse(bytes, MAX) else {
        panic!("no head: {}", bytes.escape_ascii());
    };
    head
}

fn check(rows: &[(&[u8], &str)], whole: impl Fn(&[u8]) -> Vec<u8>) {
    for (row, wanted) in rows {
        assert_eq!(outcome(&whole(row)), *wanted, "{}", row.escape_ascii());
    }
}

#[test]
fn a_request_line_is_three_words_of_http_1() {
    const ROWS: &[(&[u8], &str)] = &[
        (b"GET / HTTP/1.1", "GET / a.example"),
        (b"GET / HTTP/1.0", "GET / a.example"),
        (b"get / HTTP/1.1", "get / a.example"),
        (b"BREW /pot HTTP/1.1", "BREW /pot a.example"),
        (b"M-SEARCH! / HTTP/1.1", "M-SEARCH! / a.example"),
        (b"GE(T / HTTP/1.1", "method"),
        (b"G\xc3\x89T / HTTP/1.1", "method"),
        (b"GET /", "version"),
        (b"GET", "request-line"),
        // The empty line is let through, and a field is no request line.
        (b"", "version"),
        (b"GET / HTTP/0.9", "version"),
        (b"GET / HTTP/1.2", "version"),
        (b"GET / HTTP/1.32", "version"),
        (b"GET / HTTP/1.10", "version"),
        (b"GET / HTTP/01.1", "version"),
        (b"GET / HTTP/2.0", "version"),
        (b"GET / HTTP/1.1x", "version"),
        (b"GET / http/1.1", "version"),
        (b"GET / RTSP/1.0", "version"),
        (b"PRI * HTTP/2.0", "version"),
        (b" GET / HTTP/1.1", "request-line"),
        (b"\tGET / HTTP/1.1", "method"),
        (b"GET  / HTTP/1.1", "request-line"),
        (b"GET /  HTTP/1.1", "request-line"),
        (b"GET / HTTP/1.1 ", "request-line"),
        (b"GET / HTTP/1.1\t", "version"),
        (b"GET\t/\tHTTP/1.1", "request-line"),
        (b"GET /\t HTTP/1.1", "target"),
        (b"GET /a b HTTP/1.1", "request-line"),
        (b"GET /\0 HTTP/1.1", "nul"),
        (b"G\0ET / HTTP/1.1", "nul"),
        (b"GET /\x0b HTTP/1.1", "control-character"),
        (b"GET /\x7f HTTP/1.1", "control-character"),
        (b"GET /\r HTTP/1.1", "bare-cr"),
        (b"GET /\n HTTP/1.1", "bare-lf"),
        (b"\r\nGET / HTTP/1.1", "GET / a.example"),
        (b"\r\n\r\nGET / HTTP/1.1", "request-line"),
        (b"\nGET / HTTP/1.1", "bare-lf"),
        (b"\rGET / HTTP/1.1", "bare-cr"),
    ];
    check(ROWS, |line| [line, b"\r\nHost: a.example\r\n\r\n"].concat());
}

#[test]
fn a_target_is_a_path_or_a_url() {
    const ROWS: &[(&[u8], &str)] = &[
        (b"/chat", "GET /chat a.example"),
        (b"/chat?room=7", "GET /chat ?room=7 a.example"),
        (b"/?", "GET / ? a.example"),
        (b"/?a?b", "GET / ?a?b a.example"),
        (b"//b.example/x", "GET //b.example/x a.example"),
        (
            b"/a/../b/%2e%2e/\"|{}^`<>\\",
            "GET /a/../b/%2e%2e/\"|{}^`<>\\ a.example",
        ),
        (b"/caf\xc3\xa9", "target"),
        (b"/caf\xe9", "target"),
        (b"/a#b", "target"),
        (b"?a", "target"),
        (b"a.example", "target"),
        (b"a.example:80", "target"),
        (b"http:/a.example/", "target"),
        (b"ftp://a.example/", "target"),
        (b"://a.example/", "target"),
        (b"*", "asterisk"),
        (b"*/", "target"),
        (b"http://a.example", "GET / a.example"),
        (b"http://a.example?x", "GET / ?x a.example"),
        (b"http://A.example:80/x?y", "GET /x ?y A.example:80"),
        (b"HTTPS://a.example:443/", "GET / a.example:443"),
        (b"http://a.example:81/", "host-mismatch"),
        (b"http://b.example/", "host-mismatch"),
        (b"http://user@a.example/", "host-syntax"),
        (b"http://user:word@a.example/", "host-syntax"),
        (b"http:///x", "host-syntax"),
        (b"http://a.example:0/", "host-syntax"),
    ];
    check(ROWS, |target| {
        [b"GET ", target, b" HTTP/1.1\r\nHost: a.example\r\n\r\n"].concat()
    });
}

#[test]
fn a_field_is_a_name_directly_before_a_colon_on_one_line() {
    const ROWS: &[(&[u8], &str)] = &[
        (b"Name: value", "GET / a.example"),
        (b"Name:", "GET / a.example"),
        (b"Name:value:with:colons", "GET / a.example"),
        (b"Name:\t value\twith tabs \t", "GET / a.example"),
        (b"Name: \x80\xa0\xff", "GET / a.example"),
        (b"X_Name: value", "GET / a.example"),
        (b"Name: a\rb", "bare-cr"),
        (b"Name: a\r", "bare-cr"),
        (b"Name: a\r\r\nOther: b", "bare-cr"),
        (b"Name: a\nOther: b", "bare-lf"),
        (b"Name: a\n\nOther: b", "bare-lf"),
        (b"Na\0me: value", "nul"),
        (b"Name: va\0lue", "nul"),
        (b"Name: va\x01lue", "control-character"),
        (b"Name: va\x7flue", "control-character"),
        (b"Na\x1bme: value", "control-character"),
        (b"Name: value\r\n folded", "obs-fold"),
        (b"Name: value\r\n\tfolded: twice", "obs-fold"),
        (b" Name: value", "obs-fold"),
        (b"Name : value", "space-before-colon"),
        (b"Name\t: value", "space-before-colon"),
        (b": value", "field-name"),
        (b"Name", "field-name"),
        (b"Na me: value", "field-name"),
        (b"Na\tme: value", "field-name"),
        (b"Na(me): value", "field-name"),
        (b"Nam\xe9: value", "field-name"),
        (b"Name\xa0: value", "field-name"),
        (b"Name\x85: value", "field-name"),
    ];
    check(ROWS, with_field);
}

#[test]
fn white_space_before_the_first_field_is_refused() {
    assert_eq!(
        outcome(b"GET / HTTP/1.1\r\n Host: a.example\r\n\r\n"),
        "obs-fold"
    );
    assert_eq!(
        outcome(b"GET / HTTP/1.1\r\n\t\r\nHost: a.example\r\n\r\n"),
        "obs-fold"
    );
}

#[test]
fn a_host_is_one_name_or_address_with_a_port() {
    const ROWS: &[(&[u8], &str)] = &[
        (b"Host: b.example", "GET / b.example"),
        (b"hOsT:b.example", "GET / b.example"),
        (b"Host: b.example.", "GET / b.example"),
        (b"Host: B_1-x.Example:9000", "GET / B_1-x.Example:9000"),
        (b"Host: b.example:", "GET / b.example"),
        (b"Host: b.example:1", "GET / b.example:1"),
        (b"Host: b.example:65535", "GET / b.example:65535"),
        (b"Host: 192.0.2.1:80", "GET / 192.0.2.1:80"),
        (b"Host: [2001:db8::1]", "GET / [2001:db8::1]"),
        (
            b"Host: [::ffff:192.0.2.1]:80",
            "GET / [::ffff:192.0.2.1]:80",
        ),
        (b"Other: b.example", "host-missing"),
        (b"Host: b.example\r\nHost: c.example", "host-repeated"),
        (b"Host: b.example\r\nhost: b.example", "host-repeated"),
        (b"Host:", "host-syntax"),
        (b"Host: :80", "host-syntax"),
        (b"Host: .", "host-syntax"),
        (b"Host: b..example", "host-syntax"),
        (b"Host: .example", "host-syntax"),
        (b"Host: b.example..", "host-syntax"),
        (b"Host: b.example:0", "host-syntax"),
        (b"Host: b.example:65536", "host-syntax"),
        (b"Host: b.example:99999999999999999999", "host-syntax"),
        (b"Host: b.example:+80", "host-syntax"),
        (b"Host: b.example:80:80", "host-syntax"),
        (b"Host: b.example:http", "host-syntax"),
        (b"Host: b.example: 80", "host-syntax"),
        (b"Host: b.example c.example", "host-syntax"),
        (b"Host: b.example, c.example", "host-syntax"),
        (b"Host: b.example,c.example", "host-syntax"),
        (b"Host: user@b.example", "host-syntax"),
        (b"Host: http://b.example", "host-syntax"),
        (b"Host: b.example/path", "host-syntax"),
        (b"Host: b%2eexample", "host-syntax"),
        (b"Host: b\xc3\xa9.example", "host-syntax"),
        (b"Host: 2001:db8::1", "host-syntax"),
        (b"Host: [2001:db8::1", "host-syntax"),
        (b"Host: [2001:db8::1]80", "host-syntax"),
        (b"Host: [fe80::1%25eth0]", "host-syntax"),
        (b"Host: [b.example]", "host-syntax"),
        (b"Host: []", "host-syntax"),
    ];
    check(ROWS, |host| {
        [b"GET / HTTP/1.1\r\n", host, b"\r\n\r\n"].concat()
    });
}

#[test]
fn a_url_and_a_host_have_to_agree_except_in_http_1_0_which_needs_none() {
    const ROWS: &[(&[u8], &str)] = &[
        (
            b"http://a.example/ HTTP/1.1\r\nHost: A.Example.:80",
            "GET / a.example",
        ),
        (
            b"https://a.example/ HTTP/1.1\r\nHost: a.example:443",
            "GET / a.example",
        ),
        (
            b"https://a.example/ HTTP/1.1\r\nHost: a.example:80",
            "host-mismatch",
        ),
        (
            b"http://a.example/ HTTP/1.1\r\nHost: b.example",
            "host-mismatch",
        ),
        (b"http://a.example/ HTTP/1.1\r\nOther: 1", "host-missing"),
        (b"http://a.example/ HTTP/1.0\r\nOther: 1", "GET / a.example"),
        (
            b"http://a.example/ HTTP/1.0\r\nHost: b.example",
            "host-mismatch",
        ),
        (b"/ HTTP/1.0\r\nOther: 1", "GET /"),
        (b"/ HTTP/1.0\r\nHost: b.example", "GET / b.example"),
        (
            b"/ HTTP/1.0\r\nHost: b.example\r\nHost: b.example",
            "host-repeated",
        ),
    ];
    check(ROWS, |rest| [b"GET ", rest, b"\r\n\r\n"].concat());
}

#[test]
fn methods_that_are_not_about_a_path_are_refused() {
    const ROWS: &[(&[u8], &str)] = &[
        (b"CONNECT a.example:443", "connect"),
        (b"CONNECT /", "connect"),
        (b"OPTIONS *", "asterisk"),
        (b"OPTIONS /", "OPTIONS / a.example"),
    ];
    check(ROWS, |words| {
        [words, b" HTTP/1.1\r\nHost: a.example\r\n\r\n"].concat()
    });
}

#[test]
fn the_end_of_a_body_is_said_once_and_plainly() {
    const ROWS: &[(&[u8], &str)] = &[
        (b"Content-Length: 0", "GET / a.example"),
        (b"content-length:5 ", "GET / a.example"),
        (b"Content-Length: 18446744073709551615", "GET / a.example"),
        (b"Content-Length: 18446744073709551616", "content-length"),
        (b"Content-Length:", "content-length"),
        (b"Content-Length: +1", "content-length"),
        (b"Content-Length: -1", "content-length"),
        (b"Content-Length: 0x10", "content-length"),
        (b"Content-Length: 1_0", "content-length"),
        (b"Content-Length: 1 0", "content-length"),
        (b"Content-Length: 1.0", "content-length"),
        (b"Content-Length: \"1\"", "content-length"),
        (
            b"Content-Length: 5\r\nContent-Length: 6",
            "content-length-repeated",
        ),
        (
            b"Content-Length: 5\r\nCONTENT-LENGTH: 5",
            "content-length-repeated",
        ),
        (b"Content-Length: 5, 6", "content-length-repeated"),
        (b"Content-Length: 5,5", "content-length-repeated"),
        (b"Content-Length: 5,", "content-length-repeated"),
        (
            b"Content-Length: 5\r\nTransfer-Encoding: chunked",
            "length-and-encoding",
        ),
        (
            b"transfer-encoding: x\r\ncontent-length: y",
            "length-and-encoding",
        ),
        (b"Transfer-Encoding: chunked", "GET / a.example"),
        (b"transfer-encoding:CHUNKED", "GET / a.example"),
        (b"Transfer-Encoding: gzip, chunked", "GET / a.example"),
        (b"Transfer-Encoding:", "transfer-encoding"),
        (b"Transfer-Encoding: identity", "transfer-encoding"),
        (b"Transfer-Encoding: chunked, gzip", "transfer-encoding"),
        (b"Transfer-Encoding: chunked, chunked", "transfer-encoding"),
        (
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "transfer-encoding",
        ),
        (
            b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            "transfer-encoding",
        ),
        (b"Transfer-Encoding: ,chunked", "transfer-encoding"),
        (b"Transfer-Encoding: chunked,", "transfer-encoding"),
        (b"Transfer-Encoding: xchunked", "transfer-encoding"),
        (b"Transfer-Encoding: chunked;a=b", "transfer-encoding"),
        (b"Transfer-Encoding: \"chunked\"", "transfer-encoding"),
        (b"Transfer-Encoding: \x0bchunked", "control-character"),
        (b"Transfer-Encoding: \xa0chunked", "transfer-encoding"),
        (b"Transfer-Encoding: chun ked", "transfer-encoding"),
    ];
    check(ROWS, with_field);
}

#[test]
fn http_1_0_has_no_transfer_encoding() {
    let bytes = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(outcome(bytes), "transfer-encoding");
}

#[test]
fn an_http2_preface_is_no_head_and_what_resembles_it_is_judged_as_one() {
    let frames = [PREFACE, b"\0\0\x12\x04"].concat();
    assert_eq!(
        (outcome(PREFACE), outcome(&frames)),
        ("preface".into(), "preface".into())
    );
    for end in 0..PREFACE.len() {
        assert_eq!(outcome(&PREFACE[..end]), "partial", "{end}");
    }
    assert_eq!(outcome(b"PRI * HTTP/2.0\r\n\r\nSX"), "version");
    assert_eq!(outcome(b"PRI / HTTP/1.0\r\n\r\n"), "PRI /");
}

#[test]
fn what_is_no_http_is_refused_at_its_first_control_character() {
    assert_eq!(outcome(b"\x16\x03\x01"), "control-character");
    assert_eq!(outcome(b"\0"), "nul");
    assert_eq!(outcome(b"SSH-2.0-OpenSSH_9.2\r\n"), "partial");
}

#[test]
fn a_head_may_have_max_bytes_and_no_more() {
    let bytes = with_field(b"Name: value");
    let len = bytes.len();
    assert!(matches!(parse(&bytes, len), Progress::Complete(_)));
    assert!(matches!(parse(&bytes, len + 1), Progress::Complete(_)));
    assert_eq!(parse(&bytes, len - 1), Progress::Refused(Refusal::TooLarge));
    assert_eq!(parse(&bytes[..len - 1], len), Progress::Partial);
    assert_eq!(
        parse(&bytes[..len - 1], len - 1),
        Progress::Refused(Refusal::TooLarge)
    );
    assert_eq!(
        parse(PREFACE, PREFACE.len() - 1),
        Progress::Refused(Refusal::TooLarge)
    );
    assert_eq!(parse(b"", 0), Progress::Refused(Refusal::TooLarge));
}

#[test]
fn a_head_without_end_is_refused_when_max_is_reached() {
    let endless = [b"GET / HTTP/1.1\r\n".as_slice(), &b"A: b\r\n".repeat(MAX)].concat();
    assert_eq!(outcome(&endless[..MAX - 1]), "partial");
    assert_eq!(outcome(&endless), "too-large");
}

#[test]
fn a_head_may_have_100_fields_and_no_more() {
    let fields =
        |count: usize| [b"GET / HTTP/1.0\r\n", &*b"A:\r\n".repeat(count), b"\r\n"].concat();
    assert_eq!(outcome(&fields(0)), "GET /");
    assert_eq!(outcome(&fields(FIELDS_MAX)), "GET /");
    assert_eq!(outcome(&fields(FIELDS_MAX + 1)), "too-many-fields");
    let many = fields(10_000);
    assert_eq!(
        parse(&many, many.len()),
        Progress::Refused(Refusal::TooManyFields)
    );
}

#[test]
fn a_reader_looks_at_each_byte_once() {
    let bytes = with_field(b"Name: value");
    let mut reader = Reader::default();
    for end in 0..bytes.len() {
        assert_eq!(reader.parse(&bytes[..end], MAX), Progress::Partial);
        // All but a carriage return at the end, and what may still become HTTP/2's preface.
        assert!(reader.judged + 1 >= end, "{} of {end}", reader.judged);
    }
    assert_eq!(reader.parse(&bytes, MAX), Progress::Complete(head(&bytes)));
}

#[test]
#[should_panic(expected = "bytes that were read are gone")]
fn a_reader_that_is_given_fewer_bytes_than_before_panics() {
    let mut reader = Reader::default();
    reader.parse(b"GET / HTTP/1.1", MAX);
    reader.parse(b"GET", MAX);
}

#[test]
fn the_first_control_character_is_found_wherever_it_stands() {
    for len in 0..70 {
        let mut bytes = vec![b'\t'; len];
        assert_eq!(first_control(&bytes), None, "{len} tabs");
        for at in (0..len).rev() {
            bytes[at] = 0x7f;
            assert_eq!(first_control(&bytes), Some(at), "of {len}");
        }
    }
}
