//! The dashboard: files that are part of the program.

use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderMap, HeaderValue, Uri};

use super::answer::{error, tagged, Answer, Code};

/// Nothing from elsewhere, nothing inline.
const POLICY: &str = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; \
                      form-action 'self'; object-src 'none'";

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        /// Every file of the dashboard by its name.
        pub(super) const FILES: &[(&str, &[u8])] = &[$((
            $name,
            include_bytes!(concat!(
                env!("CARGO_MANIFEST_DIR"), "/assets/dashboard/", $name
            )),
        )),+];
    };
}

files!(
    "NOTICE.txt",
    "api.js",
    "dom.js",
    "drawer.js",
    "format.js",
    "health.js",
    "history.js",
    "icon.svg",
    "index.html",
    "lists.js",
    "live.js",
    "main.js",
    "plots.js",
    "repeat.js",
    "series.js",
    "standing.js",
    "style.css",
    "summary.js",
    "tables.css",
    "theme.js",
    "uPlot.LICENSE.txt",
    "uPlot.esm.js",
    "uPlot.min.css",
    "words.js",
    "workers.js",
);

/// What a file is, by the ending of its name.
fn media(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// The page, or a file of it below `/assets/`.
pub(super) async fn file(uri: Uri, asked: HeaderMap) -> Answer {
    let name = match uri.path() {
        "/" => "index.html",
        path => path.strip_prefix("/assets/").unwrap_or_default(),
    };
    let Some((name, bytes)) = FILES.iter().find(|(known, _)| *known == name) else {
        return error(Code::NoRoute, "the dashboard has no such file");
    };
    let mut answer = tagged(&asked, media(name), *bytes);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    answer
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn serves_every_file_of_the_dashboard_and_no_other() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/dashboard");
        let there: BTreeSet<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let served: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(served, there, "the table in assets.rs names what is in assets/dashboard");
        for name in &served {
            assert_ne!(media(name), "application/octet-stream", "{name}");
        }
    }
}
