//! What holds for every probe and all bytes of a backend, for the tests and the fuzzer.

use ringway::wire::banner::{BYTES_MAX, Script, Verdict, http_request};

/// One of each kind, two where a setting changes what is awaited.
pub(crate) fn scripts() -> Vec<Script> {
    let websocket = |expect: &[u8]| Script::WebSocket {
        path: "/".into(),
        host: "a.example".into(),
        expect: expect.to_vec(),
    };
    let send_expect = |expect: &[u8]| Script::SendExpect {
        send: b"ping".to_vec(),
        expect: expect.to_vec(),
    };
    let http = Script::Http {
        request: http_request("/", "a.example"),
        expect: vec!["2xx".parse().expect("a class")],
    };
    let hello = Vec::new();
    vec![
        Script::Tcp,
        http,
        Script::SslHello { hello },
        Script::Smtp,
        Script::Mysql,
        Script::Pop3,
        Script::Imap,
        Script::Pgsql,
        Script::Redis,
        websocket(b""),
        websocket(b"tick"),
        send_expect(b"pong"),
        send_expect(b""),
    ]
}

/// What comes of a backend that sends `bytes`, cut into pieces of `size`: all that was said, and the verdict, if any.
fn hear<'a>(script: &'a Script, bytes: &[u8], size: usize) -> Vec<Verdict<'a>> {
    // The nonce of RFC 6455, section 1.3, so that seeds can answer it.
    let mut dialogue = script.begin(*b"the sample nonce");
    let mut heard = vec![dialogue.on_connected()];
    for piece in bytes.chunks(size) {
        let mut verdict = dialogue.feed(piece);
        // What came too early is heard when its time has come.
        while let Verdict::Say(_) = verdict {
            heard.push(verdict);
            assert!(heard.len() < 10, "{script:?} never stops talking");
            verdict = dialogue.feed(b"");
        }
        if verdict != Verdict::More {
            heard.push(verdict);
            return heard;
        }
    }
    assert!(!dialogue.on_end().as_str().is_empty());
    heard
}

/// Panics when a property does not hold.
pub(crate) fn check(bytes: &[u8]) {
    let sizes = [1, 2, 7, 1000];
    for script in scripts() {
        let whole = hear(&script, bytes, bytes.len().max(1));
        for size in sizes
            .into_iter()
            .filter(|&size| bytes.len() / size < 20_000)
        {
            assert_eq!(
                hear(&script, bytes, size),
                whole,
                "{script:?} in pieces of {size}"
            );
        }
        match whole.last() {
            Some(Verdict::Failed(reason)) => {
                let phrase = reason.as_str();
                assert!(!phrase.is_empty() && phrase.len() < 120, "{phrase}");
                assert!(
                    phrase.bytes().all(|byte| matches!(byte, b' '..=b'~')),
                    "{phrase:?}"
                );
            }
            Some(Verdict::Passed) => {}
            Some(Verdict::More | Verdict::Say(_)) | None => {
                assert!(bytes.len() < BYTES_MAX, "{script:?} would read for ever");
            }
        }
    }
}
