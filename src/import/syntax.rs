//! nginx's configuration language: words, quotes, blocks, `include`. Read as nginx's `ngx_conf_read_token` does.

use std::cell::Cell;
use std::fmt;
use std::fs;
use std::iter::Peekable;
use std::path::Path;
use std::rc::Rc;
use std::str::Chars;

/// Files, blocks within blocks, and bytes of one file beyond which nobody wrote this by hand.
const FILES_MAX: usize = 4096;
const DEPTH_MAX: usize = 32;
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Blocks whose includes are not followed: nothing of them is carried over.
const FOREIGN: [&str; 3] = ["events", "http", "mail"];

/// Where a directive stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// As given, or as an `include` names it.
    pub file: Rc<str>,
    /// From 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", one_line(&self.file), self.line)
    }
}

/// Text with its control characters escaped: fit for a comment and for a terminal.
pub(super) fn one_line(text: &str) -> String {
    let escaped = |c: char| {
        if c.is_control() {
            c.escape_default().collect()
        } else {
            c.to_string()
        }
    };
    text.chars().map(escaped).collect()
}

/// What keeps a file from being read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyntaxError {
    pub(super) at: Place,
    pub(super) message: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)
    }
}

/// `name word word;` or `name word { … }`.
#[derive(Clone, Debug)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) words: Vec<String>,
    pub(super) block: Option<Vec<Self>>,
    pub(super) at: Place,
    /// Whether somebody has read it. What nobody has is reported in the end.
    pub(super) taken: Cell<bool>,
}

impl Directive {
    /// What is in its braces.
    pub(super) fn inside(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// The only word, or the first.
    pub(super) fn word(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    pub(super) fn take(&self) -> &Self {
        self.taken.set(true);
        self
    }
}

impl fmt::Display for Directive {
    /// As it stands, on one line, without its block.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHARS_MAX: usize = 80;
        let words = [&self.name].into_iter().chain(&self.words);
        let text = words
            .map(|word| one_line(word))
            .collect::<Vec<_>>()
            .join(" ");
        match text.char_indices().nth(CHARS_MAX) {
            Some((end, _)) => write!(f, "{}…", &text[..end]),
            None => f.write_str(&text),
        }
    }
}

/// Reads a file and all that it includes.
///
/// # Errors
/// The first place that nginx would not read either.
pub(super) fn read(path: &Path) -> Result<Vec<Directive>, SyntaxError> {
    let mut reader = Reader {
        folder: path.parent().unwrap_or_else(|| Path::new("")),
        files: 0,
    };
    let from = Place {
        file: path.display().to_string().into(),
        line: 0,
    };
    reader.file(path, &from, 0)
}

struct Reader<'a> {
    /// What includes are relative to.
    folder: &'a Path,
    files: usize,
}

impl Reader<'_> {
    fn file(
        &mut self,
        path: &Path,
        from: &Place,
        depth: usize,
    ) -> Result<Vec<Directive>, SyntaxError> {
        self.files += 1;
        let refused = |message: String| SyntaxError {
            at: from.clone(),
            message: format!("{} {message}", path.display()),
        };
        if self.files > FILES_MAX {
            return Err(refused(format!("is one file too many: {FILES_MAX}")));
        }
        let long = fs::metadata(path).is_ok_and(|it| it.len() > FILE_BYTES_MAX);
        if long {
            return Err(refused("is too large for a configuration".into()));
        }
        let bytes = fs::read(path).map_err(|e| refused(format!("cannot be read: {e}")))?;
        let text = String::from_utf8_lossy(&bytes);
        let directives = parse(&text, &path.display().to_string())?;
        self.follow(directives, depth)
    }

    /// Puts files in the place of the includes that name them.
    fn follow(
        &mut self,
        directives: Vec<Directive>,
        depth: usize,
    ) -> Result<Vec<Directive>, SyntaxError> {
        let mut whole = Vec::with_capacity(directives.len());
        for mut directive in directives {
            if depth > DEPTH_MAX {
                let message = "includes go round in a circle, or blocks are too deep".into();
                let at = directive.at;
                return Err(SyntaxError { at, message });
            }
            if directive.name == "include" {
                whole.extend(self.include(&directive, depth + 1)?);
                continue;
            }
            if !FOREIGN.contains(&directive.name.as_str())
                && let Some(block) = directive.block.take()
            {
                directive.block = Some(self.follow(block, depth + 1)?);
            }
            whole.push(directive);
        }
        Ok(whole)
    }

    fn include(
        &mut self,
        directive: &Directive,
        depth: usize,
    ) -> Result<Vec<Directive>, SyntaxError> {
        let pattern = self.folder.join(directive.word());
        let is_pattern = directive.word().contains(['*', '?', '[']);
        if !is_pattern {
            return self.file(&pattern, &directive.at, depth);
        }
        let paths = glob::glob(&pattern.to_string_lossy()).map_err(|e| SyntaxError {
            at: directive.at.clone(),
            message: e.to_string(),
        })?;
        let mut whole = Vec::new();
        for path in paths.flatten() {
            whole.extend(self.file(&path, &directive.at, depth)?);
        }
        Ok(whole)
    }
}

/// The directives of a text; includes are left as they stand.
pub(super) fn parse(text: &str, file: &str) -> Result<Vec<Directive>, SyntaxError> {
    let mut parser = Parser {
        tokens: Tokens {
            rest: text.chars().peekable(),
            line: 1,
        },
        file: file.into(),
    };
    let (directives, closed) = parser.block(0)?;
    if closed {
        return Err(parser.error("unexpected \"}\""));
    }
    Ok(directives)
}

#[derive(PartialEq, Eq, Debug)]
enum Token {
    Word(String),
    End,
    Open,
    Close,
}

struct Parser<'a> {
    tokens: Tokens<'a>,
    file: Rc<str>,
}

impl Parser<'_> {
    /// Up to the closing brace, if there is one, or else the end of the file.
    fn block(&mut self, depth: usize) -> Result<(Vec<Directive>, bool), SyntaxError> {
        if depth > DEPTH_MAX {
            return Err(self.error("blocks are too deep"));
        }
        let mut directives = Vec::new();
        loop {
            match self.next()? {
                Some(Token::Word(name)) => directives.push(self.directive(name, depth)?),
                Some(Token::Close) => return Ok((directives, true)),
                None => return Ok((directives, false)),
                Some(Token::End) => return Err(self.error("unexpected \";\"")),
                Some(Token::Open) => return Err(self.error("unexpected \"{\"")),
            }
        }
    }

    fn directive(&mut self, name: String, depth: usize) -> Result<Directive, SyntaxError> {
        let at = self.place();
        let mut words = Vec::new();
        let block = loop {
            match self.next()? {
                Some(Token::Word(word)) => words.push(word),
                Some(Token::End) => break None,
                Some(Token::Open) => {
                    let (block, closed) = self.block(depth + 1)?;
                    if !closed {
                        return Err(self.error(&format!("the block of {name} has no \"}}\"")));
                    }
                    break Some(block);
                }
                Some(Token::Close) | None => {
                    return Err(self.error(&format!("{name} is not ended by \";\"")));
                }
            }
        };
        Ok(Directive {
            name,
            words,
            block,
            at,
            taken: Cell::new(false),
        })
    }

    fn next(&mut self) -> Result<Option<Token>, SyntaxError> {
        self.tokens.next().map_err(|message| self.error(message))
    }

    fn place(&self) -> Place {
        Place {
            file: Rc::clone(&self.file),
            line: self.tokens.line,
        }
    }

    fn error(&self, message: &str) -> SyntaxError {
        SyntaxError {
            at: self.place(),
            message: message.into(),
        }
    }
}

struct Tokens<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
}

impl Tokens<'_> {
    fn next(&mut self) -> Result<Option<Token>, &'static str> {
        loop {
            let token = match self.rest.peek() {
                None => return Ok(None),
                Some('#') => {
                    while self.rest.next_if(|c| *c != '\n').is_some() {}
                    continue;
                }
                Some(c) if c.is_ascii_whitespace() => {
                    self.advance();
                    continue;
                }
                Some(';') => Token::End,
                Some('{') => Token::Open,
                Some('}') => Token::Close,
                Some('"' | '\'') => return self.quoted().map(Some),
                Some(_) => return Ok(Some(self.bare())),
            };
            self.advance();
            return Ok(Some(token));
        }
    }

    fn advance(&mut self) -> Option<char> {
        let c = self.rest.next();
        self.line += usize::from(c == Some('\n'));
        c
    }

    fn quoted(&mut self) -> Result<Token, &'static str> {
        let quote = self.advance();
        let mut word = String::new();
        loop {
            match self.advance() {
                None => return Err("a quote is not closed"),
                Some('\\') => self.escape(&mut word),
                end if end == quote => return Ok(Token::Word(word)),
                Some(c) => word.push(c),
            }
        }
    }

    fn bare(&mut self) -> Token {
        let mut word = String::new();
        while let Some(&c) = self.rest.peek() {
            // `${name}` is a variable and no block.
            let is_brace = c == '{' && !word.ends_with('$');
            if c.is_ascii_whitespace() || c == ';' || is_brace {
                break;
            }
            self.advance();
            match c {
                '\\' => self.escape(&mut word),
                other => word.push(other),
            }
        }
        Token::Word(word)
    }

    /// The character after a backslash. Before any other than these the backslash stays.
    fn escape(&mut self, word: &mut String) {
        match self.advance() {
            Some(c @ ('"' | '\'' | '\\')) => word.push(c),
            Some('t') => word.push('\t'),
            Some('r') => word.push('\r'),
            Some('n') => word.push('\n'),
            Some(other) => word.extend(['\\', other]),
            None => word.push('\\'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        fn show(directives: &[Directive]) -> String {
            let shown = directives.iter().map(|it| match &it.block {
                Some(block) => format!("{}@{} [{}]", it, it.at.line, show(block)),
                None => format!("{}@{}", it, it.at.line),
            });
            shown.collect::<Vec<_>>().join(" ")
        }
        match parse(text, "f") {
            Ok(directives) => show(&directives),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn words_quotes_comments_and_blocks_are_read_as_nginx_reads_them() {
        let rows = [
            ("a b  c;d;", "a b c@1 d@1"),
            ("# a;\na 'b c' # d;\n;", "a b c@2"),
            ("a {\n b; c { }\n}", "a@1 [b@2 c@2 []]"),
            ("a \"x\\r\\n\" 'it\\'s' \\d;", "a x\\r\\n it's \\d@1"),
            ("a ${b}c{d;}", "a ${b}c@1 [d@1]"),
            ("a b#c;", "a b#c@1"),
        ];
        for (text, want) in rows {
            assert_eq!(shown(text), want, "{text}");
        }
    }

    #[test]
    fn what_nginx_refuses_is_refused_with_its_line() {
        let rows = [
            ("a", "f:1: a is not ended by \";\""),
            ("a {\nb;", "f:2: the block of a has no \"}\""),
            ("\n}", "f:2: unexpected \"}\""),
            (";", "f:1: unexpected \";\""),
            ("a 'b;", "f:1: a quote is not closed"),
        ];
        for (text, want) in rows {
            assert_eq!(shown(text), want, "{text}");
        }
        let deep = "a {".repeat(100);
        assert!(shown(&deep).contains("too deep"));
    }

    #[test]
    fn includes_are_followed_where_something_is_carried_over() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("b.conf", "two;");
        write("a.conf", "one;");
        write(
            "nginx.conf",
            "http { include nowhere; } stream { include ?.conf; }",
        );
        let read_now = || read(&dir.path().join("nginx.conf"));
        let directives = read_now().unwrap();
        let names: Vec<_> = directives[1].inside().iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["one", "two"]);
        write("nginx.conf", "stream {\n include nowhere; }");
        let refused = read_now().unwrap_err().to_string();
        assert!(refused.contains("nginx.conf:2: ") && refused.contains("nowhere cannot be read"));
        write("nginx.conf", "include nginx.conf;");
        assert!(read_now().unwrap_err().message.contains("in a circle"));
    }
}
