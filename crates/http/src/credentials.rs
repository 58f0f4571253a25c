//! Takes credentials out of a request; whether they are worth anything is decided by `jsfs_objects`.
//!
//! Invariants: nothing here compares, logs or prints a secret; a credential that is not well formed is passed on as it is
//! (it proves nothing, and the refusal must not depend on its form), only what cannot be read as a header is a 400.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName};
use jsfs_objects::Credentials;
use zeroize::Zeroizing;

use crate::parameters::{Parameter, Parameters};
use crate::problem::Problem;

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Text of a credential, by what it claims to be.
enum Presented {
    Key(Zeroizing<String>),
    Token(Zeroizing<String>),
}

/// At most one key and one token. No `Debug`.
#[derive(Default)]
struct Found {
    key: Option<Zeroizing<String>>,
    token: Option<Zeroizing<String>>,
}

/// The credentials of a request.
///
/// # Errors
/// 400 where two different keys or tokens are given, or `Authorization` cannot be read.
pub(crate) fn extract(parameters: &Parameters<'_>, headers: &HeaderMap) -> Result<Credentials, Problem> {
    let found = find(parameters, headers)?;
    let mut credentials = Credentials::none();
    if let Some(key) = &found.key {
        credentials.add_key(key);
    }
    if let Some(token) = &found.token {
        credentials.add_token(token);
    }
    Ok(credentials)
}

fn find(parameters: &Parameters<'_>, headers: &HeaderMap) -> Result<Found, Problem> {
    let mut found = Found::default();
    if let Some(key) = parameters.get(Parameter::AccessKey) {
        found.add(Presented::Key(Zeroizing::new(key.to_owned())))?;
    }
    if let Some(token) = parameters.get(Parameter::AccessToken) {
        found.add(Presented::Token(Zeroizing::new(token.to_owned())))?;
    }
    if let Some(presented) = authorization(headers)? {
        found.add(presented)?;
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, presented: Presented) -> Result<(), Problem> {
        let (slot, text, name) = match presented {
            Presented::Key(text) => (&mut self.key, text, "access key"),
            Presented::Token(text) => (&mut self.token, text, "access token"),
        };
        if slot.as_ref().is_some_and(|before| *before != text) {
            return Err(Problem::malformed(format!(
                "the {name} is given twice with different values; send it once"
            )));
        }
        if !text.is_empty() {
            *slot = Some(text);
        }
        Ok(())
    }
}

fn authorization(headers: &HeaderMap) -> Result<Option<Presented>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::malformed("the header authorization is given twice; send it once"));
    }
    let text = std::str::from_utf8(value.as_bytes())
        .map_err(|_| Problem::malformed("the header authorization is not UTF-8"))?
        .trim();
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Some(classify(Zeroizing::new(rest.to_owned()))));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let password = password(rest)?;
        return Ok(ambient_is_safe(headers).then(|| classify(password)));
    }
    // Schemes of others (a proxy's, say) are no credential of ours.
    Ok(None)
}

/// The password of Basic. The user name means nothing here.
fn password(encoded: &str) -> Result<Zeroizing<String>, Problem> {
    let malformed =
        || Problem::malformed("the basic credential is not base64 of UTF-8 \"user:password\"; send it so");
    let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| malformed())?);
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
    let (_, password) = text.split_once(':').ok_or_else(malformed)?;
    Ok(Zeroizing::new(password.to_owned()))
}

/// A browser sends Basic by itself once it knows it. Only pages of the same origin, and what a person typed, may make
/// use of that: everything else would let a foreign page act with the visitor's key.
fn ambient_is_safe(headers: &HeaderMap) -> bool {
    vouches(headers) != Some(false)
}

/// Whether a browser says that a request comes from a page of the same origin or from the person; nothing where nobody says whence.
pub(crate) fn vouches(headers: &HeaderMap) -> Option<bool> {
    headers.get(&SEC_FETCH_SITE).map(|site| matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// A JWT begins with base64url of `{"` and has three parts, or four with the part that must stay secret.
fn classify(text: Zeroizing<String>) -> Presented {
    let dots = text.bytes().filter(|byte| *byte == b'.').count();
    if text.starts_with("eyJ") && (2..=3).contains(&dots) {
        Presented::Token(text)
    } else {
        Presented::Key(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, find};
    use crate::parameters::Parameters;
    use base64::Engine;
    use hyper::HeaderMap;
    use hyper::header::{HeaderName, HeaderValue};

    const JWT: &str = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIvYS8ifQ.c2ln";

    fn found(query: &str, pairs: &[(&'static str, &str)]) -> Result<Found, u16> {
        let headers: HeaderMap = pairs
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
            })
            .collect();
        let parameters = Parameters::parse(Some(query), &headers).map_err(|p| p.status().as_u16())?;
        find(&parameters, &headers).map_err(|problem| problem.status().as_u16())
    }

    fn texts(query: &str, pairs: &[(&'static str, &str)]) -> (Option<String>, Option<String>) {
        let Ok(found) = found(query, pairs) else { panic!("{query} is readable") };
        (found.key.map(|key| key.to_string()), found.token.map(|token| token.to_string()))
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    }

    #[test]
    fn a_key_comes_by_query_header_bearer_or_basic() {
        let key = || (Some("k".to_owned()), None);
        assert_eq!(texts("access_key=k", &[]), key());
        assert_eq!(texts("", &[("x-access-key", "k")]), key());
        assert_eq!(texts("", &[("authorization", "bearer  k")]), key());
        assert_eq!(texts("", &[("authorization", &basic("anyone:k"))]), key());
        assert_eq!(texts("access_key=k", &[("authorization", "Bearer k")]), key());
        assert_eq!(texts("", &[("authorization", &basic("u:a:b"))]).0.as_deref(), Some("a:b"));
    }

    #[test]
    fn a_token_is_told_from_a_key_by_its_shape() {
        let four = format!("{JWT}.c2VjcmV0");
        for text in [JWT, &four] {
            let want = (None, Some(text.to_owned()));
            assert_eq!(texts("", &[("authorization", &format!("Bearer {text}"))]), want);
            assert_eq!(texts("", &[("authorization", &basic(&format!("u:{text}")))]), want);
            assert_eq!(texts(&format!("access_token={text}"), &[]), want);
        }
        for text in ["jsfs_2NEpo7TZRRrLZSi2U", "my.pass.word", "eyJ", "eyJ.a.b.c.d"] {
            let bearer = format!("Bearer {text}");
            assert_eq!(texts("", &[("authorization", &bearer)]), (Some(text.to_owned()), None));
        }
    }

    #[test]
    fn a_key_and_a_token_go_together_but_not_two_of_a_kind() {
        assert_eq!(texts("access_key=k&access_token=t", &[]), (Some("k".to_owned()), Some("t".to_owned())));
        assert_eq!(found("access_key=k", &[("authorization", "Bearer other")]).err(), Some(400));
        assert_eq!(found("access_token=t", &[("authorization", &format!("Bearer {JWT}"))]).err(), Some(400));
    }

    #[test]
    fn foreign_schemes_are_ignored_and_unreadable_ones_refused() {
        assert_eq!(texts("", &[("authorization", "Negotiate abc")]), (None, None));
        assert_eq!(texts("access_key=", &[("authorization", "Bearer")]), (None, None));
        for bad in ["Basic ***", "Basic", &basic("no colon")] {
            assert_eq!(found("", &[("authorization", bad)]).err(), Some(400), "{bad}");
        }
        assert_eq!(
            found("", &[("authorization", "Bearer a"), ("authorization", "Bearer a")]).err(),
            Some(400)
        );
    }

    #[test]
    fn a_foreign_page_cannot_use_the_basic_credential_that_a_browser_remembers() {
        for (site, want) in
            [("cross-site", None), ("same-site", None), ("same-origin", Some("k")), ("none", Some("k"))]
        {
            let pairs = [("authorization", &*basic("u:k")), ("sec-fetch-site", site)];
            assert_eq!(texts("", &pairs).0.as_deref(), want, "{site}");
        }
    }
}
