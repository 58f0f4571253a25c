//! The Common Gateway Interface (RFC 3875), as far as a program without files needs it.
//!
//! Whatever comes from the request is in variables that begin with `HTTP_` or are named by the RFC; what the program's owner set goes before it.
//! `Proxy` of a request makes no variable: programs would take it for the proxy that they are to use.

use super::{RequestHead, Told, answer::Head};
use jsfs_exec::wire::Handler;
use std::collections::BTreeMap;
use url::form_urlencoded;

/// The field that tells a component whether it is to map or to reduce.
const HANDLER: &str = "jsfs-handler";

/// Longest head of an answer.
const HEAD_MAX: usize = 16 << 10;

/// The variables that a program is given.
pub(super) fn variables(told: &Told) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        // A variable ends with a zero byte, so it cannot have one.
        if !value.contains('\0') {
            variables.insert(name.to_owned(), value.to_owned());
        }
    };
    set("GATEWAY_INTERFACE", "CGI/1.1");
    set("SERVER_PROTOCOL", "HTTP/1.1");
    set("SERVER_SOFTWARE", concat!("jsfs/", env!("CARGO_PKG_VERSION")));
    set("JSFS_CALLER", &told.caller.kind);
    let base = Url::of(&told.base);
    set("SCRIPT_NAME", base.path);
    set("SERVER_NAME", base.host);
    set("SERVER_PORT", base.port);
    set("PATH_INFO", "");
    if let Some(request) = &told.request {
        of_request(request, &mut set);
    }
    variables.extend(own(told).map(|(name, value)| (name.clone(), value.clone())));
    variables
}

/// The variables that the program's owner set, as far as they can be some.
pub(super) fn own(told: &Told) -> impl Iterator<Item = (&String, &String)> {
    told.env
        .iter()
        .filter(|(name, value)| !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0'))
}

/// What the program is called: the last segment of its address. Many programs take what comes after their name without asking whether there is a name.
pub(super) fn name(told: &Told) -> String {
    let path = Url::of(&told.base).path;
    path.rsplit('/').next().unwrap_or(path).replace('\0', "")
}

/// What a component that handles requests is asked for a part, or for several values: a POST of it, with the parameters as the query. A field says
/// which of the two it is.
pub(super) fn request_of_part(told: &Told, handler: Handler) -> RequestHead {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&told.parameters).finish();
    let separator = if query.is_empty() { "" } else { "?" };
    let url = format!("{}{separator}{query}", told.base);
    let headers = vec![(HANDLER.to_owned(), handler.name().to_owned())];
    RequestHead { url, method: "POST".to_owned(), headers, body: true }
}

fn of_request(request: &RequestHead, set: &mut impl FnMut(&str, &str)) {
    let url = Url::of(&request.url);
    set("REQUEST_METHOD", &request.method);
    set("QUERY_STRING", url.query);
    set("REQUEST_URI", url.target);
    let mut fields = BTreeMap::<String, String>::new();
    for (name, value) in &request.headers {
        let name: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .collect();
        let joint = if name == "COOKIE" { "; " } else { ", " };
        fields
            .entry(name)
            .and_modify(|before| *before = format!("{before}{joint}{value}"))
            .or_insert_with(|| value.clone());
    }
    for (name, value) in &fields {
        match name.as_str() {
            "PROXY" | "CONNECTION" | "TRANSFER_ENCODING" => {}
            "CONTENT_TYPE" | "CONTENT_LENGTH" => set(name, value),
            _ => set(&format!("HTTP_{name}"), value),
        }
    }
}

/// The parts of a URL that CGI names apart.
struct Url<'a> {
    host: &'a str,
    port: &'a str,
    path: &'a str,
    query: &'a str,
    target: &'a str,
}

impl<'a> Url<'a> {
    fn of(url: &'a str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (authority, target) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let usual = if scheme == "https" { "443" } else { "80" };
        // The colons of an IPv6 address are within brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (authority, usual),
        };
        Self { host, port, path, query, target }
    }
}

/// What the beginning of an output is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// That cannot be told yet.
    Unknown,
    /// It is the body already.
    Body,
    /// A head; the body begins at this byte.
    Head(Head, usize),
}

/// Looks for a head: lines of fields up to an empty one, at least one of them `Content-Type`, `Location` or `Status`, which is what the RFC asks
/// of every script. All other output is a body.
pub(super) fn head(output: &[u8]) -> Begins {
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut at = 0;
    loop {
        let rest = &output[at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            let may_be_field =
                rest.is_empty() || field(rest).is_some() || rest.iter().all(|byte| is_token(*byte));
            return if may_be_field && output.len() < HEAD_MAX { Begins::Unknown } else { Begins::Body };
        };
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        at += end + 1;
        if at > HEAD_MAX {
            return Begins::Body;
        }
        if line.is_empty() {
            return of_fields(fields).map_or(Begins::Body, |head| Begins::Head(head, at));
        }
        match field(line) {
            Some(field) => fields.push(field),
            None => return Begins::Body,
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn field(line: &[u8]) -> Option<(String, String)> {
    let colon = line.iter().position(|byte| *byte == b':').filter(|colon| *colon > 0)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let is_field =
        name.iter().all(|byte| is_token(*byte)) && value.iter().all(|byte| *byte >= b' ' || *byte == b'\t');
    is_field.then(|| {
        let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
        (text(name).to_ascii_lowercase(), text(value))
    })
}

fn of_fields(mut fields: Vec<(String, String)>) -> Option<Head> {
    let has = |name: &str| fields.iter().any(|(have, _)| have == name);
    let redirects = has("location");
    if !(redirects || has("content-type") || has("status")) {
        return None;
    }
    let status = fields.iter().position(|(name, _)| name == "status").map(|at| fields.remove(at).1);
    let status = match status {
        Some(status) => status.get(..3)?.parse().ok().filter(|status| (200..600).contains(status))?,
        None if redirects => 302,
        None => 200,
    };
    Some(Head { status, fields })
}

/// The head of an output that has none.
pub(super) fn no_head(body: &[u8]) -> Head {
    let is_text = match std::str::from_utf8(body) {
        Ok(_) => true,
        // What is cut within a character goes on.
        Err(error) => error.error_len().is_none(),
    };
    let is_text = is_text && !body.contains(&0);
    let content_type = if is_text { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    Head { status: 200, fields: vec![("content-type".to_owned(), content_type.to_owned())] }
}

#[cfg(test)]
mod tests {
    use super::{Begins, Head, Told, head, name, variables};

    fn headed(status: u16, fields: &[(&str, &str)], at: usize) -> Begins {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Begins::Head(Head { status, fields }, at)
    }

    #[test]
    fn a_head_is_told_from_a_body() {
        assert_eq!(
            head(b"Content-Type: text/html\r\n\r\nhello"),
            headed(200, &[("content-type", "text/html")], 27)
        );
        assert_eq!(head(b"Status: 404 Not Found\nX-A: b\n\n"), headed(404, &[("x-a", "b")], 30));
        assert_eq!(head(b"Location: /x\n\n"), headed(302, &[("location", "/x")], 14));
        assert_eq!(head(b"Note: a text that begins so\n\nand goes on"), Begins::Body);
        assert_eq!(head(b"Status: fine\n\n"), Begins::Body);
        assert_eq!(head(b"hello, world\n"), Begins::Body);
        assert_eq!(head(b"Content-Ty"), Begins::Unknown);
        assert_eq!(head(b"Content-Type: text/html\r\n"), Begins::Unknown);
        assert_eq!(head(b"\x89PNG\r\n"), Begins::Body);
        assert_eq!(head(&[b'a'; 20_000]), Begins::Body);
        assert_eq!(head(b"\n"), Begins::Body);
    }

    #[test]
    fn variables_are_those_of_the_rfc_and_what_the_owner_set_goes_first() {
        let told: Told = serde_json::from_str(
            r#"{"base":"http://localhost:7302/a/x.wasm","env":{"COLOUR":"blue","HTTP_X_A":"mine"},"caller":{"kind":"owner"},
                "request":{"url":"http://localhost:7302/a/x.wasm?w=1&h=%20","method":"POST","body":true,"headers":
                [["content-type","image/png"],["x-a","1"],["x-b","1"],["x-b","2"],["proxy","http://evil"]]}}"#,
        )
        .unwrap();
        let variables = variables(&told);
        let get = |name: &str| variables.get(name).map(String::as_str);
        assert_eq!(get("QUERY_STRING"), Some("w=1&h=%20"));
        assert_eq!(get("SCRIPT_NAME"), Some("/a/x.wasm"));
        assert_eq!(name(&told), "x.wasm");
        assert_eq!((get("SERVER_NAME"), get("SERVER_PORT")), (Some("localhost"), Some("7302")));
        assert_eq!(get("CONTENT_TYPE"), Some("image/png"));
        assert_eq!((get("HTTP_X_A"), get("HTTP_X_B")), (Some("mine"), Some("1, 2")));
        assert_eq!((get("HTTP_PROXY"), get("COLOUR")), (None, Some("blue")));
    }
}
