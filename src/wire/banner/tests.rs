//! Replies of real servers, refusals of real servers, and what is neither.

use super::*;

const NONCE: [u8; 16] = *b"the sample nonce";

/// What comes of a script when the backend sends all this: what was said, parted by `|`, and the verdict.
fn told(script: &Script, reply: &[u8]) -> String {
    let mut dialogue = script.begin(NONCE);
    let mut verdict = dialogue.on_connected();
    let mut said = Vec::new();
    let mut rest = Some(reply);
    loop {
        verdict = match verdict {
            Verdict::Passed => break said.push("passed".into()),
            Verdict::Failed(reason) => break said.push(reason.to_string()),
            Verdict::Say(bytes) => {
                said.push(
                    String::from_utf8_lossy(&bytes)
                        .trim_end()
                        .replace("\r\n", " "),
                );
                dialogue.feed(rest.take().unwrap_or_default())
            }
            Verdict::More => match rest.take() {
                Some(bytes) => dialogue.feed(bytes),
                None => break said.push(dialogue.on_end().to_string()),
            },
        };
    }
    said.join(" | ")
}

/// The verdict on this reply.
fn verdict(script: &Script, reply: &[u8]) -> String {
    let told = told(script, reply);
    told.rsplit(" | ").next().unwrap().to_owned()
}

fn http(expect: &[&str]) -> Script {
    Script::Http {
        request: http_request("/up", "a.example"),
        expect: expect.iter().map(|these| these.parse().unwrap()).collect(),
    }
}

#[test]
fn a_connection_is_all_that_tcp_wants() {
    assert_eq!(told(&Script::Tcp, b""), "passed");
}

#[test]
fn http_passes_on_a_wanted_class_or_status_alone() {
    let request = "GET /up HTTP/1.0 Host: a.example User-Agent: ringway";
    let script = http(&["2xx", "404"]);
    assert_eq!(
        told(&script, b"HTTP/1.1 204 No Content\r\n"),
        format!("{request} | passed")
    );
    for (reply, wanted) in [
        ("HTTP/1.0 404 Not Found\r\n", "passed"),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "passed"),
        ("HTTP/1.1 503 Service Unavailable\r\n", "status 503"),
        ("HTTP/1.1 302 Found\r\n", "status 302"),
        ("HTTP/1.1 20", "closed in mid-reply"),
        ("", "closed without a reply"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "not http"),
        ("HTTP/2 200\r\n", "not http"),
        ("HTTP/1.1 2000 OK\r\n", "not http"),
    ] {
        assert_eq!(verdict(&script, reply.as_bytes()), wanted, "{reply}");
    }
    let endless = [b"HTTP/1.1 200 ".as_slice(), &[b'x'; 2000]].concat();
    assert_eq!(verdict(&script, &endless), "not http");
}

#[test]
fn statuses_are_classes_or_codes_and_nothing_else() {
    for bad in [
        "", "2", "2xX", "6xx", "0xx", "099", "600", "2000", "+20", "20 ",
    ] {
        assert_eq!(bad.parse::<Statuses>(), Err(BadStatuses), "{bad}");
    }
    let class: Statuses = "3xx".parse().unwrap();
    let contained = [299, 300, 399, 400].map(|status| class.contains(status));
    assert_eq!(contained, [false, true, true, false]);
}

#[test]
fn a_server_hello_passes_and_an_alert_is_named() {
    let script = Script::SslHello { hello: Vec::new() };
    for (reply, wanted) in [
        (
            b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03".as_slice(),
            "passed",
        ),
        (
            b"\x16\x03\x01\x00\x7a\x02\x00\x00\x76\x03\x01",
            "tls version 1.0",
        ),
        (
            b"\x16\x03\x00\x00\x7a\x02\x00\x00\x76\x03\x00",
            "tls version ssl3",
        ),
        (
            b"\x15\x03\x01\x00\x02\x02\x28",
            "tls alert handshake_failure",
        ),
        (b"\x15\x03\x03\x00\x02\x02\xfe", "tls alert 254"),
        (b"\x16\x03\x03\x00\x7a\x01\x00\x00\x76\x03\x03", "not tls"),
        (b"\x16\x03\x03\x00", "closed in mid-reply"),
        (b"HTTP/1.1 400 Bad Request\r\n", "not tls"),
    ] {
        assert_eq!(verdict(&script, reply), wanted, "{reply:x?}");
    }
}

#[test]
fn smtp_hears_the_greeting_then_says_ehlo_or_else_helo() {
    let postfix = b"220 mail.example ESMTP Postfix\r\n250-mail.example\r\n250 CHUNKING\r\n";
    let said = "EHLO localhost | passed";
    assert_eq!(told(&Script::Smtp, postfix), said);
    let old = b"220-welcome\r\n220 here\r\n502 unknown\r\n250 hello\r\n";
    let said = "EHLO localhost | HELO localhost | passed";
    assert_eq!(told(&Script::Smtp, old), said);
    for (reply, wanted) in [
        ("554 no service\r\n", "smtp 554: no service"),
        ("421-busy\r\n421 come later\r\n", "smtp 421: come later"),
        ("220 a\r\n550 bad name\r\n", "smtp 550: bad name"),
        ("220 a\r\n", "closed after its greeting"),
        ("", "closed without a greeting"),
        ("220", "closed in mid-reply"),
        ("220 a\r\n501 what\r\n501 what\r\n", "smtp 501: what"),
        ("+OK\r\n", "not smtp"),
        ("220_\r\n", "not smtp"),
    ] {
        assert_eq!(verdict(&Script::Smtp, reply.as_bytes()), wanted, "{reply}");
    }
    let endless = b"220-welcome\r\n".repeat(1000);
    assert_eq!(verdict(&Script::Smtp, &endless), "not smtp");
}

#[test]
fn mysql_tells_a_greeting_from_a_refusal_by_more_than_its_number() {
    let greeting = b"\x10\0\0\0\x0a5.5.5-10.11.9\0\x01";
    assert_eq!(verdict(&Script::Mysql, greeting), "passed");
    for (reply, wanted) in [
        (
            b"\x12\0\0\0\xff\x69\x04Host is blocked".as_slice(),
            "mysql error 1129: Host is blocked",
        ),
        (b"\x0c\0\0\0\xff\x10\x04#08004Too", "mysql error 1040: Too"),
        (b"\x03\0\0\0\xff\x10\x04", "mysql error 1040"),
        (b"\x02\0\0\0\xff\x10", "not mysql"),
        (b"\x10\0\0\0\x093.20\0", "mysql protocol 9"),
        (b"\x10\0\0\0\x0a5.5", "closed in mid-reply"),
        (b"\x03\0\0\0\x0axx", "not mysql"),
        (b"\x10\0\0\x01\x0a", "not mysql"),
        (b"220 mail.example\r\n", "not mysql"),
        (b"\0\0\0\0", "not mysql"),
    ] {
        assert_eq!(verdict(&Script::Mysql, reply), wanted, "{reply:x?}");
    }
}

#[test]
fn pop3_and_imap_read_the_greetings_first_line() {
    for (reply, wanted) in [
        ("+OK Dovecot ready.\r\n", "passed"),
        ("+OK\n", "passed"),
        ("-ERR [SYS/TEMP] busy\r\n", "pop3 error: [SYS/TEMP] busy"),
        ("+OKAY\r\n", "not pop3"),
        ("* OK\r\n", "not pop3"),
        ("+O", "closed in mid-reply"),
    ] {
        assert_eq!(verdict(&Script::Pop3, reply.as_bytes()), wanted, "{reply}");
    }
    for (reply, wanted) in [
        ("* OK [CAPABILITY IMAP4rev1] ready\r\n", "passed"),
        ("* PREAUTH welcome\r\n", "passed"),
        ("* BYE overloaded\r\n", "imap bye: overloaded"),
        ("* NO\r\n", "not imap"),
        ("+OK\r\n", "not imap"),
    ] {
        assert_eq!(verdict(&Script::Imap, reply.as_bytes()), wanted, "{reply}");
    }
    let endless = [b"* OK ".as_slice(), &[b'x'; 2000]].concat();
    assert_eq!(verdict(&Script::Imap, &endless), "not imap");
}

#[test]
fn redis_passes_on_pong_and_on_a_demand_for_a_password() {
    for (reply, wanted) in [
        ("+PONG\r\n", "passed"),
        ("-NOAUTH Authentication required.\r\n", "passed"),
        ("-NOPERM this user has no permissions\r\n", "passed"),
        ("-LOADING in memory\r\n", "redis error: LOADING in memory"),
        ("$4\r\nPONG\r\n", "not redis"),
        ("+OK\r\n", "not redis"),
    ] {
        assert_eq!(verdict(&Script::Redis, reply.as_bytes()), wanted, "{reply}");
    }
}

#[test]
fn pgsql_passes_on_any_word_about_logging_in_and_fails_on_not_now() {
    let error = |state: &str, text: &str| {
        let fields = format!("SFATAL\0VFATAL\0C{state}\0M{text}\0Fa.c\0\0");
        let length = u32::try_from(fields.len() + 4).unwrap();
        [b"E", length.to_be_bytes().as_slice(), fields.as_bytes()].concat()
    };
    let scram = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    for (reply, wanted) in [
        (scram.to_vec(), "passed"),
        (b"R\0\0\0\x08\0\0\0\0".to_vec(), "passed"),
        (error("28000", "role does not exist"), "passed"),
        (error("3D000", "database does not exist"), "passed"),
        (error("57P03", "starting up"), "pgsql 57P03: starting up"),
        (
            error("53300", "too many clients"),
            "pgsql 53300: too many clients",
        ),
        (b"E\0\0\0\x06S\0".to_vec(), "not pgsql"),
        (error("57P\x1b[", "terminal"), "not pgsql"),
        (error("57P033", "too long"), "not pgsql"),
        (b"Ecould not fork\n\0".to_vec(), "not pgsql"),
        (b"R\0\0\0\x08\0".to_vec(), "closed in mid-reply"),
        (b"HTTP/1.1 400\r\n".to_vec(), "not pgsql"),
    ] {
        assert_eq!(verdict(&Script::Pgsql, &reply), wanted, "{reply:x?}");
    }
}

#[test]
fn the_startup_packet_says_how_long_it_is() {
    let length = u32::from_be_bytes(*pgsql::STARTUP.first_chunk().unwrap());
    assert_eq!(usize::try_from(length).unwrap(), pgsql::STARTUP.len());
}

/// RFC 6455, section 1.3, whose nonce is this and whose answer is the header below.
const ACCEPTS: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn upgrade(expect: &[u8], reply: &[u8]) -> String {
    let script = Script::WebSocket {
        path: "/feed".into(),
        host: "a.example".into(),
        expect: expect.to_vec(),
    };
    let mut dialogue = script.begin(*b"the sample nonce");
    let verdict = dialogue.feed(reply);
    match verdict {
        Verdict::Failed(reason) => reason.to_string(),
        Verdict::More => dialogue.on_end().to_string(),
        Verdict::Passed => "passed".into(),
        Verdict::Say(_) => "says more".into(),
    }
}

#[test]
fn the_key_and_its_answer_are_those_of_the_specification() {
    let request = websocket::request("/feed", "a.example", &websocket::key(NONCE));
    let request = String::from_utf8(request).unwrap();
    assert!(request.contains("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
    assert_eq!(upgrade(b"", ACCEPTS.as_bytes()), "passed");
}

#[test]
fn only_a_right_answer_to_the_key_is_a_websocket() {
    let without = |what: &str, with: &str| upgrade(b"", ACCEPTS.replace(what, with).as_bytes());
    for accept in ["s3pPLMBiTxaQ9kYGzzhZRbK+xOO=", ""] {
        let got = without("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", accept);
        assert_eq!(got, "websocket accept mismatch");
    }
    assert_eq!(
        without("keep-alive, Upgrade", "keep-alive"),
        "not websocket"
    );
    assert_eq!(without("WebSocket\r\n", "h2c\r\n"), "not websocket");
    assert_eq!(without("101", "403"), "status 403");
    assert_eq!(without("\r\n\r\n", "\r\n"), "closed in mid-reply");
    let endless = ACCEPTS.replace("\r\n\r\n", "\r\nX: ") + &"x".repeat(20_000);
    assert_eq!(upgrade(b"", endless.as_bytes()), "not websocket");
}

#[test]
fn a_feed_has_to_send_the_expected_message_by_itself() {
    let after = |frames: &[u8]| upgrade(b"hi", &[ACCEPTS.as_bytes(), frames].concat());
    assert_eq!(after(b"\x81\x02hi"), "passed");
    assert_eq!(after(b"\x89\x02hi\x02\x05oh hi"), "passed");
    assert_eq!(after(b"\x89\x02hi"), "closed without the expected message");
    assert_eq!(after(b"\x81\x02ho"), "closed without the expected message");
    assert_eq!(after(b""), "closed without the expected message");
    assert_eq!(after(b"\x88\x05\x03\xf5bye"), "websocket close 1013: bye");
    assert_eq!(after(b"\x88\x00"), "websocket close");
    assert_eq!(after(b"\x81\x82"), "not websocket");
    assert_eq!(after(b"\xc1\x02"), "not websocket");
}

#[test]
fn expected_bytes_are_found_wherever_they_are_and_however_they_come() {
    let script = Script::SendExpect {
        send: b"ping".to_vec(),
        expect: b"abab".to_vec(),
    };
    assert_eq!(told(&script, b"xxababxx"), "ping | passed");
    assert_eq!(
        verdict(&script, b"xxabaxab"),
        "closed without the expected bytes"
    );
    assert_eq!(verdict(&script, b""), "closed without a reply");
    let mut dialogue = script.begin(NONCE);
    let verdicts: Vec<_> = b"aabab".chunks(1).map(|one| dialogue.feed(one)).collect();
    assert_eq!(verdicts[..4], [const { Verdict::More }; 4]);
    assert_eq!(verdicts[4], Verdict::Passed);
}

#[test]
fn without_expected_bytes_any_will_do() {
    let script = Script::SendExpect {
        send: Vec::new(),
        expect: Vec::new(),
    };
    assert_eq!(told(&script, b"x"), "passed");
    assert_eq!(told(&script, b""), "closed without a reply");
}

#[test]
fn what_never_convinces_is_not_read_for_ever() {
    let script = Script::SendExpect {
        send: Vec::new(),
        expect: b"never".to_vec(),
    };
    let mut dialogue = script.begin(NONCE);
    assert_eq!(dialogue.feed(&[0; BYTES_MAX - 1]), Verdict::More);
    let too_large = Verdict::Failed("reply too large".into());
    assert_eq!(dialogue.feed(&[0; 10]), too_large);
}

#[test]
fn the_farewell_of_websocket_is_a_masked_close_frame() {
    let &[first, second, ref mask @ .., high, low] = websocket::CLOSE else {
        panic!("too short")
    };
    assert_eq!((first, second, mask.len()), (0x88, 0x80 | 2, 4));
    assert_eq!(u16::from_be_bytes([high, low]), 1000);
}
