//! Parameters of a request: a query parameter (`access_key`) or a header (`x-access-key`), never both with
//! different values.
//!
//! Invariants: what cannot be decoded is a 400 and never a default; names that are not ours are ignored; a decoded
//! secret is wiped on drop (the request's own buffers are hyper's) and nothing here prints one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hyper::{HeaderMap, Method};
use percent_encoding::percent_decode;
use zeroize::Zeroize;

use crate::problem::Problem;
use crate::wire::parse_rfc3339_ms;

/// The parameters that this front door knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Parameter {
    /// The key that owns the object or a directory above it.
    AccessKey,
    /// A capability made from a key.
    AccessToken,
    /// The key that the object or directory is handed over to.
    ReplacementAccessKey,
    /// Whether the object can be read with a credential only.
    Private,
    /// Whether the object is a program; also `execute`.
    Executable,
    /// Which version to read.
    Version,
    /// List the versions (a flag).
    Versions,
    /// The media type to store.
    ContentType,
    /// Add to the end of the object.
    Append,
    /// JSFS 4: when a token ends.
    Expires,
    /// How many runs of `map` there are at the same time.
    Parallel,
    /// On which node a program runs.
    Node,
    /// Whether values of `map` and `reduce` may come from earlier requests.
    Cache,
    /// Entries per page of a listing.
    Limit,
    /// The cursor that a page of a listing starts behind.
    After,
    /// The whole tree below a directory.
    Recursive,
    /// Forget all versions.
    Purge,
    /// Make a former version the current one.
    Restore,
    /// COPY for clients without the verb.
    CopyTo,
    /// MOVE for clients without the verb.
    MoveTo,
    /// Ask for the properties of a directory instead of its entries (a flag).
    Properties,
    /// The cursor that a stream of events starts behind.
    Since,
    /// What a program may touch.
    Grant,
    /// What a program is given as its environment, as JSON.
    Env,
    /// Hosts outside the node that a program may ask.
    Hosts,
    /// What `map` and `reduce` of a program work on.
    Input,
    /// Where the records of an input end.
    Record,
    /// When the object was made, as its owner says.
    Created,
    /// When its bytes were last changed, as its owner says.
    Modified,
}

/// Name in a query and name of the header, in the order of [`Parameter`]. Listing and verb parameters that a proxy or a
/// browser never sets by header have one all the same: one rule for all.
const NAMES: [(&str, &str, Parameter); COUNT + 1] = [
    ("access_key", "x-access-key", Parameter::AccessKey),
    ("access_token", "x-access-token", Parameter::AccessToken),
    ("replacement_access_key", "x-replacement-access-key", Parameter::ReplacementAccessKey),
    ("private", "x-private", Parameter::Private),
    ("executable", "x-executable", Parameter::Executable),
    ("execute", "x-execute", Parameter::Executable),
    ("version", "x-version", Parameter::Version),
    ("versions", "x-versions", Parameter::Versions),
    ("content_type", "x-content-type", Parameter::ContentType),
    ("append", "x-append", Parameter::Append),
    ("expires", "x-expires", Parameter::Expires),
    ("parallel", "x-parallel", Parameter::Parallel),
    ("node", "x-node", Parameter::Node),
    ("cache", "x-cache", Parameter::Cache),
    ("limit", "x-limit", Parameter::Limit),
    ("after", "x-after", Parameter::After),
    ("recursive", "x-recursive", Parameter::Recursive),
    ("purge", "x-purge", Parameter::Purge),
    ("restore", "x-restore", Parameter::Restore),
    ("copy_to", "x-copy-to", Parameter::CopyTo),
    ("move_to", "x-move-to", Parameter::MoveTo),
    ("properties", "x-properties", Parameter::Properties),
    ("since", "x-since", Parameter::Since),
    ("grant", "x-grant", Parameter::Grant),
    ("env", "x-env", Parameter::Env),
    ("hosts", "x-hosts", Parameter::Hosts),
    ("input", "x-input", Parameter::Input),
    ("record", "x-record", Parameter::Record),
    ("created", "x-created", Parameter::Created),
    ("modified", "x-modified", Parameter::Modified),
];
const COUNT: usize = 29;

impl Parameter {
    /// The name in a query, for messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, _, parameter)| *parameter == self).map_or("", |(name, _, _)| name)
    }
}

/// Parameters that ask for an operation, the methods that know it, and the values that ask for nothing: with any other method such a parameter
/// says one thing and the verb another. What merely describes (credentials, privacy, type, JSFS 4's own) goes with every verb.
const OPERATIONS: [(Parameter, &[&str], &[&str]); 11] = {
    use Parameter::{
        After, Append, CopyTo, Limit, MoveTo, Properties, Purge, Recursive, Restore, Version, Versions,
    };
    const READ: &[&str] = &["GET", "HEAD"];
    const NO: &[&str] = &["false", "0"];
    [
        (Version, READ, &[]),
        (Versions, READ, &[]),
        (Limit, READ, &[]),
        (After, READ, &[]),
        // The other verbs act on whole trees anyway.
        (Recursive, READ, &["true", "1"]),
        (Properties, &["GET", "HEAD", "PATCH"], &[]),
        (Append, &["PUT", "POST", "GET", "HEAD"], NO),
        (Restore, &["POST"], &[]),
        (CopyTo, &["POST"], &[]),
        (MoveTo, &["POST"], &[]),
        (Purge, &["DELETE"], NO),
    ]
};

/// Methods that can be contradicted: the others do nothing, or are not known.
const CONTRADICTABLE: [&str; 8] = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "COPY", "MOVE"];

/// All header names of parameters, for CORS.
pub fn header_names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(_, header, _)| *header)
}

/// The parameters of one request. No `Debug`: some are secrets.
#[derive(Default)]
pub struct Parameters<'r> {
    values: [Option<Cow<'r, str>>; COUNT],
    /// Those that came in the query.
    in_query: [bool; COUNT],
}

impl<'r> Parameters<'r> {
    /// Reads the query and the headers of a request.
    ///
    /// # Errors
    /// 400 where a parameter of ours cannot be decoded or is given twice with different values.
    pub fn parse(query: Option<&'r str>, headers: &'r HeaderMap) -> Result<Self, Problem> {
        let mut parameters = Self::default();
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Ok(name) = decode(name) else { continue };
            let Some((_, _, parameter)) = NAMES.iter().find(|(query, _, _)| *query == name) else { continue };
            let value = decode(value).map_err(|()| {
                Problem::malformed(format!(
                    "the query parameter {name} cannot be decoded; percent-encode it as UTF-8"
                ))
            })?;
            parameters.set(*parameter, value)?;
            parameters.in_query[*parameter as usize] = true;
        }
        // Most requests carry no header of ours: look through the few that are there, not for the many that could be.
        for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with("x-")) {
            let Some((_, header, parameter)) = NAMES.iter().find(|(_, header, _)| *header == name.as_str())
            else {
                continue;
            };
            let value = std::str::from_utf8(value.as_bytes())
                .map_err(|_| Problem::malformed(format!("the header {header} is not UTF-8")))?;
            parameters.set(*parameter, Cow::Borrowed(value.trim()))?;
        }
        Ok(parameters)
    }

    fn set(&mut self, parameter: Parameter, value: Cow<'r, str>) -> Result<(), Problem> {
        match &self.values[parameter as usize] {
            Some(before) if *before != value => Err(Problem::malformed(format!(
                "the parameter {} is given twice with different values; send it once",
                parameter.name()
            ))),
            Some(_) => Ok(()),
            None => {
                self.values[parameter as usize] = Some(value);
                Ok(())
            }
        }
    }

    /// The text of a parameter.
    #[must_use]
    pub fn get(&self, parameter: Parameter) -> Option<&str> {
        self.values[parameter as usize].as_deref()
    }

    /// Whether a parameter is there, with or without a value.
    #[must_use]
    pub fn has(&self, parameter: Parameter) -> bool {
        self.values[parameter as usize].is_some()
    }

    /// Whether a parameter came in the query.
    #[must_use]
    pub fn is_in_query(&self, parameter: Parameter) -> bool {
        self.in_query[parameter as usize]
    }

    /// Refuses parameters that say something else than the verb does, and two operations at a time.
    ///
    /// # Errors
    /// 400 naming the parameter and the methods that know it.
    pub fn check_method(&self, method: &Method) -> Result<(), Problem> {
        if !CONTRADICTABLE.contains(&method.as_str()) {
            return Ok(());
        }
        let asked =
            |parameter, idle: &[&str]| self.get(parameter).is_some_and(|value| !idle.contains(&value));
        let mut operation = None;
        for (parameter, methods, _) in OPERATIONS.into_iter().filter(|(name, _, idle)| asked(*name, idle)) {
            let name = parameter.name();
            if !methods.contains(&method.as_str()) {
                let detail = format!(
                    "the parameter {name} goes with {}, not with {method}, and nothing was done; leave one of the two out",
                    methods.join(" and ")
                );
                return Err(Problem::malformed(detail));
            }
            if method == Method::POST
                && let Some(before) = operation.replace(name)
            {
                let detail = format!("{before} and {name} are two operations; send one of them");
                return Err(Problem::malformed(detail));
            }
        }
        Ok(())
    }

    /// A boolean parameter.
    ///
    /// # Errors
    /// 400 where it is none of `true`, `false`, `1`, `0`.
    pub fn boolean(&self, parameter: Parameter) -> Result<Option<bool>, Problem> {
        match self.get(parameter) {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(Problem::malformed(format!(
                "the parameter {} is a boolean; send true, false, 1 or 0",
                parameter.name()
            ))),
        }
    }

    /// A parameter that is a time, in ms since 1970.
    ///
    /// # Errors
    /// 400 where it is no time in RFC 3339 from 1970 on.
    pub fn time_ms(&self, parameter: Parameter) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(parameter) else { return Ok(None) };
        parse_rfc3339_ms(text).map(Some).ok_or_else(|| {
            Problem::malformed(format!(
                "the parameter {} is a time; send it as in 2024-05-31T23:59:59.125Z",
                parameter.name()
            ))
        })
    }

    /// A parameter that is a whole number of at least 1.
    ///
    /// # Errors
    /// 400 where it is anything else.
    pub fn count(&self, parameter: Parameter) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(parameter) else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && number > 0 => Ok(Some(number)),
            _ => Err(Problem::malformed(format!(
                "the parameter {} is a whole number from 1; send decimal digits only",
                parameter.name()
            ))),
        }
    }
}

impl Drop for Parameters<'_> {
    fn drop(&mut self) {
        use Parameter::{AccessKey, AccessToken, ReplacementAccessKey};
        for secret in [AccessKey, AccessToken, ReplacementAccessKey] {
            if let Some(Cow::Owned(text)) = &mut self.values[secret as usize] {
                text.zeroize();
            }
        }
    }
}

/// What a query has beside the parameters of this front door. Of a name that is there several times, the last.
pub(crate) fn others(query: Option<&str>) -> BTreeMap<String, String> {
    let others =
        pairs(query).filter(|(name, _)| !NAMES.iter().any(|(ours, _, _)| ours.eq_ignore_ascii_case(name)));
    others.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// The names and values of a query, those left out that do not decode.
pub(crate) fn pairs(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name).ok()?, decode(value).ok()?))
    })
}

/// Decodes one side of a query pair in the way of HTML forms: `+` is a space, `%XX` a byte of UTF-8.
fn decode(text: &str) -> Result<Cow<'_, str>, ()> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Ok(Cow::Borrowed(text));
    }
    let bytes = text.as_bytes();
    let whole = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(at, _)| {
        matches!(bytes.get(at + 1..at + 3), Some([a, b]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
    });
    if !whole {
        return Err(());
    }
    let spaced = text.replace('+', " ");
    percent_decode(spaced.as_bytes()).decode_utf8().map(|text| Cow::Owned(text.into_owned())).map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use super::{COUNT, NAMES, Parameter, Parameters, others};
    use hyper::HeaderMap;
    use hyper::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
            })
            .collect()
    }

    fn detail(query: &str, pairs: &[(&'static str, &str)]) -> String {
        let headers = headers(pairs);
        let problem = Parameters::parse(Some(query), &headers).err().expect("a refusal");
        assert_eq!(problem.status(), 400);
        problem.detail.into_owned()
    }

    #[test]
    fn every_parameter_has_one_slot_and_a_name() {
        let mut seen: Vec<_> = NAMES.iter().map(|(_, _, parameter)| *parameter as usize).collect();
        seen.dedup();
        assert_eq!(seen, (0..COUNT).collect::<Vec<_>>());
        assert_eq!(Parameter::Executable.name(), "executable");
    }

    #[test]
    fn what_is_not_ours_is_the_programs_and_nothing_that_proves_who_asks() {
        let given = others(Some("a=1&access_key=k&ACCESS%5FTOKEN=t&input=%2Fx&b=%20c&a=2&d"));
        let pairs: Vec<_> = given.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "2"), ("b", " c"), ("d", "")]);
    }

    #[test]
    fn a_parameter_travels_by_query_or_by_header() {
        let none = HeaderMap::new();
        let query = Parameters::parse(Some("access_key=a%2Bb+c&versions&x=%zz"), &none).expect("fine");
        assert_eq!(query.get(Parameter::AccessKey), Some("a+b c"));
        assert!(query.has(Parameter::Versions) && !query.has(Parameter::Version));
        let sent = headers(&[("x-access-key", "secret"), ("x-unknown", "1")]);
        let header = Parameters::parse(None, &sent).expect("fine");
        assert_eq!(header.get(Parameter::AccessKey), Some("secret"));
    }

    #[test]
    fn the_same_value_twice_is_fine_and_different_ones_are_refused_without_telling_them() {
        let same = headers(&[("x-private", "true")]);
        assert!(Parameters::parse(Some("private=true&private=true"), &same).is_ok());
        for text in [
            detail("access_key=hidden1&access_key=hidden2", &[]),
            detail("access_key=hidden1", &[("x-access-key", "hidden2")]),
        ] {
            assert_eq!(text, "the parameter access_key is given twice with different values; send it once");
        }
        detail("executable=true&execute=false", &[]);
    }

    #[test]
    fn booleans_are_four_words_and_numbers_are_digits() {
        let none = HeaderMap::new();
        for (text, want) in [("true", true), ("1", true), ("false", false), ("0", false)] {
            let query = format!("private={text}");
            let parameters = Parameters::parse(Some(&query), &none).expect("fine");
            assert_eq!(parameters.boolean(Parameter::Private).expect("fine"), Some(want));
        }
        for text in ["", "yes", "TRUE", "2", "null"] {
            let query = format!("private={text}&version={text}x");
            let parameters = Parameters::parse(Some(&query), &none).expect("fine");
            assert!(parameters.boolean(Parameter::Private).is_err(), "{text}");
            assert!(parameters.count(Parameter::Version).is_err(), "{text}");
        }
        for text in ["0", "-1", "%2B1", "1.0", "18446744073709551616", "%D9%A1"] {
            let query = format!("version={text}");
            let parameters = Parameters::parse(Some(&query), &none).expect("fine");
            assert!(parameters.count(Parameter::Version).is_err(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_refused_only_in_parameters_of_ours() {
        detail("access_key=%zz", &[]);
        detail("access_key=%F", &[]);
        detail("access_key=%FF", &[]);
        let none = HeaderMap::new();
        assert!(Parameters::parse(Some("%zz=%zz&other=%FF&&=&a=b=c"), &none).is_ok());
    }
}
