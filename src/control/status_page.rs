//! The status page: one file with its style and script inside, which asks for `/status.json` and `/history.json` and shows
//! what they say. It loads nothing from anywhere else, so that it works where there is no network to load it from.

/// The page.
pub const PAGE: &str = include_str!("status_page.html");

/// Its Content-Security-Policy: this script and this style by their hashes, questions to whoever served the page, and
/// nothing else. A name that got into the page as markup could do nothing there.
pub const POLICY: &str = "default-src 'none'; \
     script-src 'sha256-n38hreqfOnAvpOLnu6fj0u9DrHlKPgjY73Tj6uzw4Jw='; \
     style-src 'sha256-qdWm/J9IXiBz+nmT4/S6OwXnTzPtTsofJ20Uc684jCk='; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use sha2::{Digest, Sha256};

    /// What is between a tag and its end, which must be there once.
    fn inside(tag: &str) -> &'static str {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let (before, rest) = PAGE.split_once(&open).unwrap();
        let (inside, after) = rest.split_once(&close).unwrap();
        assert!(!before.contains(&open) && !after.contains(&open), "{tag}");
        inside
    }

    #[test]
    fn the_policy_allows_this_script_and_this_style() {
        for tag in ["script", "style"] {
            let hash = STANDARD.encode(Sha256::digest(inside(tag)));
            let allowed = format!("{tag}-src 'sha256-{hash}'");
            assert!(POLICY.contains(&allowed), "it has changed: {allowed}");
        }
    }

    #[test]
    fn the_page_is_small_and_loads_nothing() {
        assert!(PAGE.len() < 60 << 10, "{} bytes", PAGE.len());
        for loads in ["src=", "@import", "url(", "//cdn", "import("] {
            assert!(!PAGE.contains(loads), "{loads}");
        }
        let links: Vec<_> = PAGE.split("http").skip(1).collect();
        assert!(
            links
                .iter()
                .all(|link| link.starts_with("://www.w3.org/2000/svg\"")),
            "an address in the page"
        );
    }

    #[test]
    fn names_become_text_alone() {
        for markup in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!PAGE.contains(markup), "{markup}");
        }
    }
}
