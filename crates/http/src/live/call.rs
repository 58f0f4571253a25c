//! Calls: JSON-RPC 2.0 in, the HTTP request that a call stands for out.
//!
//! Pure: nothing here looks anything up or decides anything. A path in a call is plain text, as in addresses and listings; it is escaped here.

use bytes::Bytes;
use hyper::header::{
    ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, RANGE,
};
use hyper::http::request::Parts;
use hyper::{Method, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::document::{Document, wrong};
use crate::problem::Problem;

/// Bytes that stand for themselves in a path.
const PATH_ESCAPES: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The longest path or text in a call that is looked at.
const PATH_BYTES_MAX: usize = 16 * 1024;

/// Every method, for the description of the interface.
pub const METHODS: [&str; 17] = [
    "authenticate",
    "watch",
    "unwatch",
    "get",
    "head",
    "list",
    "versions",
    "properties",
    "put",
    "append",
    "patch",
    "delete",
    "copy",
    "move",
    "restore",
    "start",
    "ping",
];

/// The name of a call: text or number, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id(Value);

impl Id {
    /// As it stands in an answer.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }
}

/// What came as a text message.
pub struct Call {
    /// None where no answer is wanted.
    pub id: Option<Id>,
    /// What to do.
    pub action: Action,
}

/// What a call asks for.
pub enum Action {
    /// Adds a credential to the connection.
    Authenticate(Secrets),
    /// Follows changes.
    Watch {
        /// Where, escaped, at the host of the connection.
        path: String,
        /// The cursor to begin after.
        since: Option<String>,
        /// Credentials of this call alone.
        secrets: Secrets,
    },
    /// Ends a watch.
    Unwatch {
        /// Its name.
        watch: String,
    },
    /// Asks whether the node is there.
    Ping,
    /// A request.
    Request(Box<Asking>),
}

/// Credentials in a call. No `Debug`.
#[derive(Default)]
pub struct Secrets {
    /// An access key.
    pub key: Option<Zeroizing<String>>,
    /// An access token.
    pub token: Option<Zeroizing<String>>,
}

/// A call that stands for an HTTP request.
pub struct Asking {
    /// The head of the request.
    pub parts: Parts,
    /// Its body.
    pub payload: Payload,
    /// How the answer is rendered.
    pub rendering: Rendering,
    /// Credentials of this call alone.
    pub secrets: Secrets,
}

/// The body of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload {
    /// None.
    Nothing,
    /// In the call itself.
    Bytes(Bytes),
    /// In the stream of this number.
    Stream(u32),
}

/// How an answer becomes a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rendering {
    /// The head of an object, and its bytes in a stream; in the result itself where that was asked for and they are few.
    Object {
        /// Whether the bytes may come in the result.
        inline: bool,
    },
    /// The head of an object alone.
    Head,
    /// The JSON of the answer.
    Json,
    /// The same, with the status.
    Written,
    /// The same JSON, with where it is to be found.
    Started,
    /// Nothing but that it was done.
    Done,
}

/// Why a text message is no call. `id` is the call's, as far as it could be read.
#[derive(Debug)]
pub struct Fault {
    /// Whom to answer.
    pub id: Option<Id>,
    /// JSON-RPC's code.
    pub code: i32,
    /// What is wrong.
    pub problem: Box<Problem>,
}

/// What a connection was opened at.
#[derive(Clone, Debug)]
pub struct Base {
    /// The host that counts.
    pub host: HeaderValue,
    /// The path, not escaped.
    pub path: String,
}

#[derive(Deserialize)]
struct Message {
    jsonrpc: Option<Value>,
    #[serde(default)]
    id: Option<Value>,
    method: Option<Value>,
    params: Option<Value>,
}

/// Reads a text message.
///
/// # Errors
/// Says what is wrong, in the terms of JSON-RPC.
pub fn parse(text: &str, base: &Base) -> Result<Call, Fault> {
    let fault =
        |id, code, detail: &str| Fault { id, code, problem: Problem::malformed(detail.to_owned()).into() };
    let value = crate::document::parse(text.as_bytes()).map_err(|error| match error.is_data() {
        true => fault(None, -32_600, &error.to_string()),
        false => fault(None, -32_700, &format!("the message is not JSON: {error}")),
    })?;
    if value.is_array() {
        return Err(fault(None, -32_600, "batches are not known; send calls one by one"));
    }
    let message: Message = serde_json::from_value(value).map_err(|_| {
        fault(None, -32_600, "the message is not an object with jsonrpc, method, params and id")
    })?;
    let id = match message.id {
        None => None,
        Some(Value::String(text)) if text.len() <= 256 => Some(Id(Value::String(text))),
        Some(Value::Number(number)) if number.is_u64() || number.is_i64() => Some(Id(Value::Number(number))),
        Some(_) => {
            let detail = "the id of a call is a text of at most 256 bytes or a whole number";
            return Err(fault(None, -32_600, detail));
        }
    };
    if message.jsonrpc != Some(Value::String("2.0".to_owned())) {
        return Err(fault(id, -32_600, "a call has \"jsonrpc\":\"2.0\""));
    }
    let Some(Value::String(method)) = message.method else {
        return Err(fault(id, -32_600, "a call names its method as a text"));
    };
    let params = match message.params {
        None => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => return Err(fault(id, -32_602, "params is an object of named parameters")),
    };
    match action(&method, Document::of(params), base) {
        Ok(Some(action)) => Ok(Call { id, action }),
        Ok(None) => {
            let method: String = method.chars().take(64).collect();
            Err(fault(id, -32_601, &format!("there is no method {method:?}; docs/live.md lists them")))
        }
        Err(problem) => Err(Fault { id, code: -32_602, problem: problem.into() }),
    }
}

/// What a method with these parameters asks for; nothing where there is no such method.
fn action(method: &str, params: Document, base: &Base) -> Result<Option<Action>, Problem> {
    let params = Params { fields: params, base };
    let action = match method {
        "authenticate" => params.authenticate()?,
        "watch" => params.watch()?,
        "unwatch" => params.unwatch()?,
        "ping" => params.done("no parameters", Action::Ping)?,
        "get" => params.read(Method::GET)?,
        "head" => params.read(Method::HEAD)?,
        "list" => params.list()?,
        "versions" => params.flag(HeaderName::from_static("x-versions"))?,
        "properties" => params.flag(HeaderName::from_static("x-properties"))?,
        "put" => params.write(false)?,
        "append" => params.write(true)?,
        "patch" => params.patch()?,
        "delete" => params.delete()?,
        "copy" => params.carry("COPY")?,
        "move" => params.carry("MOVE")?,
        "restore" => params.restore()?,
        "start" => params.start()?,
        _ => return Ok(None),
    };
    Ok(Some(action))
}

/// The parameters of one call, taken one by one.
struct Params<'b> {
    fields: Document,
    base: &'b Base,
}

/// A request being put together.
struct Draft {
    method: Method,
    path: String,
    headers: HeaderMap,
    payload: Payload,
    rendering: Rendering,
}

impl Params<'_> {
    fn authenticate(mut self) -> Result<Action, Problem> {
        let secrets = self.secrets()?;
        if secrets.key.is_none() && secrets.token.is_none() {
            return Err(Problem::malformed("authenticate needs access_key or access_token"));
        }
        self.done("access_key and access_token", Action::Authenticate(secrets))
    }

    fn watch(mut self) -> Result<Action, Problem> {
        let (path, since, secrets) = (self.path("path")?, self.fields.text("since")?, self.secrets()?);
        self.done("path, since, access_key and access_token", Action::Watch { path, since, secrets })
    }

    fn unwatch(mut self) -> Result<Action, Problem> {
        let watch = self.fields.text("watch")?;
        let watch = watch.ok_or_else(|| wrong("watch", "the name of a watch, as its answer gave it"))?;
        self.done("watch", Action::Unwatch { watch })
    }

    fn read(mut self, method: Method) -> Result<Action, Problem> {
        let inline = self.fields.boolean("inline")?.unwrap_or(false);
        let rendering = if method == Method::HEAD { Rendering::Head } else { Rendering::Object { inline } };
        let mut draft = self.draft(method, rendering)?;
        self.number(&mut draft, "version", "x-version")?;
        if let Some(range) = self.fields.text("range")? {
            if range.contains(',') {
                return Err(wrong("range", "one range, such as 0-99, 100- or -50"));
            }
            draft.set(RANGE, "range", &format!("bytes={range}"))?;
        }
        self.conditions(&mut draft)?;
        self.finish(
            draft,
            "path, version, range, if_match, if_none_match, inline, access_key and access_token",
        )
    }

    fn list(mut self) -> Result<Action, Problem> {
        let mut draft = self.draft(Method::GET, Rendering::Json)?;
        if !draft.path.ends_with('/') {
            return Err(wrong("path", "a directory, with / at its end"));
        }
        draft.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        self.number(&mut draft, "limit", "x-limit")?;
        if let Some(after) = self.fields.text("after")? {
            draft.set(HeaderName::from_static("x-after"), "after", &after)?;
        }
        self.boolean(&mut draft, "recursive", "x-recursive")?;
        self.finish(draft, "path, limit, after, recursive, access_key and access_token")
    }

    fn flag(mut self, header: HeaderName) -> Result<Action, Problem> {
        let mut draft = self.draft(Method::GET, Rendering::Json)?;
        draft.headers.insert(header, HeaderValue::from_static(""));
        draft.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        self.finish(draft, "path, access_key and access_token")
    }

    fn write(mut self, append: bool) -> Result<Action, Problem> {
        let mut draft = self.draft(Method::PUT, Rendering::Written)?;
        draft.payload = self.payload()?;
        if append {
            draft.headers.insert("x-append", HeaderValue::from_static("true"));
        }
        if let Some(content_type) = self.fields.text("content_type")? {
            draft.set(HeaderName::from_static("x-content-type"), "content_type", &content_type)?;
        }
        self.boolean(&mut draft, "private", "x-private")?;
        self.boolean(&mut draft, "executable", "x-executable")?;
        if let Some(key) = self.fields.text("replacement_access_key")?.map(Zeroizing::new) {
            draft.set(HeaderName::from_static("x-replacement-access-key"), "replacement_access_key", &key)?;
        }
        self.conditions(&mut draft)?;
        self.finish(
            draft,
            "path, text, base64, stream, content_type, private, executable, replacement_access_key, if_match, \
             if_none_match, access_key and access_token",
        )
    }

    /// The body of a write.
    fn payload(&mut self) -> Result<Payload, Problem> {
        match self.body()? {
            Payload::Nothing => Err(Problem::malformed("a body is exactly one of text, base64 and stream")),
            body => Ok(body),
        }
    }

    /// A body, if there is one: exactly one of three.
    fn body(&mut self) -> Result<Payload, Problem> {
        let text = self.fields.text("text")?;
        let base64 = self.fields.text("base64")?;
        let stream = self.fields.take("stream");
        match (text, base64, stream) {
            (Some(text), None, None) => Ok(Payload::Bytes(text.into())),
            (None, Some(text), None) => {
                use base64::Engine;
                let bytes = base64::engine::general_purpose::STANDARD.decode(text);
                Ok(Payload::Bytes(bytes.map_err(|_| wrong("base64", "base64 with its padding"))?.into()))
            }
            (None, None, Some(number)) => {
                let number = number.as_u64().and_then(|number| u32::try_from(number).ok());
                let odd = number.filter(|number| !number.is_multiple_of(2));
                odd.map(Payload::Stream).ok_or_else(|| wrong("stream", "an odd number of at most 32 bits"))
            }
            (None, None, None) => Ok(Payload::Nothing),
            _ => Err(Problem::malformed("a body is exactly one of text, base64 and stream")),
        }
    }

    /// A program, to go on by itself.
    fn start(mut self) -> Result<Action, Problem> {
        let method = Method::from_bytes(b"EXECUTE").map_err(|error| Problem::internal(&error))?;
        let mut draft = self.draft(method, Rendering::Started)?;
        draft.headers.insert("prefer", HeaderValue::from_static("respond-async"));
        if let Some(args) = self.fields.take("args") {
            let args: Vec<String> =
                serde_json::from_value(args).map_err(|_| wrong("args", "a list of texts"))?;
            for (at, arg) in args.iter().enumerate() {
                draft.path.push_str(if at == 0 { "?arg=" } else { "&arg=" });
                draft.path.extend(utf8_percent_encode(arg, NON_ALPHANUMERIC));
            }
        }
        draft.payload = self.body()?;
        if let Some(content_type) = self.fields.text("content_type")? {
            draft.set(CONTENT_TYPE, "content_type", &content_type)?;
        }
        self.finish(draft, "path, args, text, base64, stream, content_type, access_key and access_token")
    }

    fn patch(mut self) -> Result<Action, Problem> {
        let mut draft = self.draft(Method::PATCH, Rendering::Done)?;
        let Some(properties @ Value::Object(_)) = self.fields.take("properties") else {
            return Err(wrong("properties", "an object: the properties to change"));
        };
        draft.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/merge-patch+json"));
        draft.payload = Payload::Bytes(properties.to_string().into());
        self.conditions(&mut draft)?;
        self.finish(draft, "path, properties, if_match, if_none_match, access_key and access_token")
    }

    fn delete(mut self) -> Result<Action, Problem> {
        let mut draft = self.draft(Method::DELETE, Rendering::Done)?;
        self.boolean(&mut draft, "purge", "x-purge")?;
        self.conditions(&mut draft)?;
        self.finish(draft, "path, purge, if_match, if_none_match, access_key and access_token")
    }

    fn carry(mut self, method: &'static str) -> Result<Action, Problem> {
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| Problem::internal(&error))?;
        let mut draft = self.draft(method, Rendering::Written)?;
        let destination = self.path("destination")?;
        draft.set(HeaderName::from_static("destination"), "destination", &destination)?;
        if self.fields.boolean("overwrite")? == Some(false) {
            draft.headers.insert("overwrite", HeaderValue::from_static("F"));
        }
        self.conditions(&mut draft)?;
        self.finish(
            draft,
            "path, destination, overwrite, if_match, if_none_match, access_key and access_token",
        )
    }

    fn restore(mut self) -> Result<Action, Problem> {
        let mut draft = self.draft(Method::POST, Rendering::Written)?;
        self.number(&mut draft, "version", "x-restore")?;
        if !draft.headers.contains_key("x-restore") {
            return Err(wrong("version", "the number of a version"));
        }
        self.finish(draft, "path, version, access_key and access_token")
    }

    fn draft(&mut self, method: Method, rendering: Rendering) -> Result<Draft, Problem> {
        let path = self.path("path")?;
        Ok(Draft { method, path, headers: HeaderMap::new(), payload: Payload::Nothing, rendering })
    }

    /// A path, resolved against the connection's and escaped.
    fn path(&mut self, name: &'static str) -> Result<String, Problem> {
        let text = self.fields.text(name)?.ok_or_else(|| wrong(name, "a path"))?;
        if text.len() > PATH_BYTES_MAX {
            return Err(Problem::malformed(format!("{name} is longer than an address can be")));
        }
        let base = &self.base.path;
        let whole = match text.as_str() {
            "" => base.clone(),
            rooted if rooted.starts_with('/') => text,
            relative => format!("{}{relative}", &base[..=base.rfind('/').unwrap_or(0)]),
        };
        Ok(utf8_percent_encode(&whole, PATH_ESCAPES).to_string())
    }

    fn secrets(&mut self) -> Result<Secrets, Problem> {
        Ok(Secrets {
            key: self.fields.text("access_key")?.filter(|text| !text.is_empty()).map(Zeroizing::new),
            token: self.fields.text("access_token")?.filter(|text| !text.is_empty()).map(Zeroizing::new),
        })
    }

    fn conditions(&mut self, draft: &mut Draft) -> Result<(), Problem> {
        for (name, header) in [("if_match", IF_MATCH), ("if_none_match", IF_NONE_MATCH)] {
            let Some(tag) = self.fields.text(name)? else { continue };
            // The tag of an event or a result is given as it is; what HTTP writes around it is not the caller's business.
            let bare = tag != "*" && !tag.contains('"');
            draft.set(header, name, &if bare { format!("\"{tag}\"") } else { tag })?;
        }
        Ok(())
    }

    fn boolean(
        &mut self,
        draft: &mut Draft,
        name: &'static str,
        header: &'static str,
    ) -> Result<(), Problem> {
        if let Some(value) = self.fields.boolean(name)? {
            draft.headers.insert(header, HeaderValue::from_static(if value { "true" } else { "false" }));
        }
        Ok(())
    }

    fn number(&mut self, draft: &mut Draft, name: &'static str, header: &'static str) -> Result<(), Problem> {
        if let Some(value) = self.fields.take(name) {
            let number = value.as_u64().ok_or_else(|| wrong(name, "a whole number"))?;
            draft.headers.insert(header, HeaderValue::from(number));
        }
        Ok(())
    }

    fn finish(mut self, mut draft: Draft, known: &'static str) -> Result<Action, Problem> {
        let secrets = self.secrets()?;
        draft.headers.insert(HOST, self.base.host.clone());
        let mut request = Request::builder().method(draft.method).uri(draft.path.as_str());
        if let Some(headers) = request.headers_mut() {
            *headers = draft.headers;
        }
        let parts = request.body(()).map_err(|_| wrong("path", "a path of an address"))?.into_parts().0;
        let asking = Asking { parts, payload: draft.payload, rendering: draft.rendering, secrets };
        self.done(known, Action::Request(Box::new(asking)))
    }

    fn done(self, known: &'static str, action: Action) -> Result<Action, Problem> {
        self.fields.finish(known)?;
        Ok(action)
    }
}

impl Draft {
    fn set(&mut self, header: HeaderName, name: &'static str, value: &str) -> Result<(), Problem> {
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| wrong(name, "a text without control characters"))?;
        self.headers.insert(header, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
