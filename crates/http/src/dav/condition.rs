//! The header `If` of WebDAV (RFC 4918 §10.4): lists of state tokens and entity tags, of the resource of the request or of others.
//!
//! Invariants: reading is linear in the header's length, which the front door bounds; how many lists and conditions there may be is
//! bounded here, because each may cost a look at a resource.

const LISTS_MAX: usize = 64;
const CONDITIONS_MAX: usize = 256;

/// Why a header is not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IfError {
    /// Not by the grammar.
    #[error("the header if is malformed; send lists such as (<token> [\"tag\"])")]
    Malformed,
    /// Past a bound.
    #[error("the header if has more than {LISTS_MAX} lists or {CONDITIONS_MAX} conditions; send fewer")]
    TooMuch,
}

/// What one condition speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A lock's token.
    Token(String),
    /// An entity tag with its quotes.
    Tag(String),
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether it must not hold.
    pub not: bool,
    /// What it speaks of.
    pub state: State,
}

/// Conditions that hold together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// The URL of the resource; nothing for that of the request.
    pub resource: Option<String>,
    /// The conditions.
    pub conditions: Vec<Condition>,
}

/// Reads the header: it holds where one of the lists does.
///
/// # Errors
/// 400.
pub fn parse(text: &str) -> Result<Vec<List>, IfError> {
    let mut rest = text.trim_start();
    let mut lists = Vec::new();
    let mut resource = None;
    let mut conditions_seen = 0;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('<') {
            let (url, after) = after.split_once('>').ok_or(IfError::Malformed)?;
            resource = Some(url.to_owned());
            rest = after.trim_start();
            if !rest.starts_with('(') {
                return Err(IfError::Malformed);
            }
        }
        let after = rest.strip_prefix('(').ok_or(IfError::Malformed)?;
        let (conditions, after) = list(after)?;
        conditions_seen += conditions.len();
        lists.push(List { resource: resource.clone(), conditions });
        if lists.len() > LISTS_MAX || conditions_seen > CONDITIONS_MAX {
            return Err(IfError::TooMuch);
        }
        rest = after.trim_start();
    }
    // Lists without a resource and lists with one do not go together.
    let tagged = lists.iter().filter(|list| list.resource.is_some()).count();
    match lists.len() {
        0 => Err(IfError::Malformed),
        all if tagged != 0 && tagged != all => Err(IfError::Malformed),
        _ => Ok(lists),
    }
}

fn list(text: &str) -> Result<(Vec<Condition>, &str), IfError> {
    let mut rest = text.trim_start();
    let mut conditions = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(')') {
            return if conditions.is_empty() { Err(IfError::Malformed) } else { Ok((conditions, after)) };
        }
        if conditions.len() == CONDITIONS_MAX {
            return Err(IfError::TooMuch);
        }
        let begins_with_not = rest.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("not"));
        if begins_with_not {
            rest = rest[3..].trim_start();
        }
        let (close, is_token) = match rest.chars().next() {
            Some('<') => ('>', true),
            Some('[') => (']', false),
            _ => return Err(IfError::Malformed),
        };
        let (inner, after) = rest[1..].split_once(close).ok_or(IfError::Malformed)?;
        let inner = inner.trim().to_owned();
        let state = if is_token { State::Token(inner) } else { State::Tag(inner) };
        conditions.push(Condition { not: begins_with_not, state });
        rest = after.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::{Condition, IfError, List, State, parse};

    #[test]
    fn lists_are_read_as_the_rfc_has_them() {
        let token = |not, text: &str| Condition { not, state: State::Token(text.into()) };
        let tag = |text: &str| Condition { not: false, state: State::Tag(text.into()) };
        let got = parse("(<urn:a> [\"t\"]) (Not <urn:b>)").expect("it is one");
        assert_eq!(got[0], List { resource: None, conditions: vec![token(false, "urn:a"), tag("\"t\"")] });
        assert_eq!(got[1], List { resource: None, conditions: vec![token(true, "urn:b")] });
        let got = parse("<http://h/a> (<x>)(<y>) </b>([W/\"z\"])").expect("it is one");
        let resources: Vec<_> = got.iter().map(|list| list.resource.as_deref().expect("tagged")).collect();
        assert_eq!(resources, ["http://h/a", "http://h/a", "/b"]);
    }

    #[test]
    fn what_is_none_is_refused_however_long() {
        for bad in
            ["", "(", "()", "(<a)", "<a>", "<a> <b> (<c>)", "(<a>) <b> (<c>)", "(Not)", "x", "(<a>) x", "(é)"]
        {
            assert_eq!(parse(bad), Err(IfError::Malformed), "{bad}");
        }
        let megabyte = "(<a>)".repeat(200_000);
        assert_eq!(parse(&megabyte), Err(IfError::TooMuch));
        assert_eq!(parse(&format!("({})", "<a>".repeat(300_000))), Err(IfError::TooMuch));
    }
}
