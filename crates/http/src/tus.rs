//! Resumable uploads by tus 1.0 (`docs/http.md`, "Resumable uploads"): POST at an address begins one, `/.jsfs/uploads/ID` goes on with it.
//!
//! Invariants: every request needs a credential that may write at the object's address, else the upload is not there; a body that is cut off keeps
//! what arrived; the object appears whole, with the last byte, by the same commit as a PUT. Every answer says `Tus-Resumable`.

use std::future::Future;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{CONTENT_LOCATION, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};
use jsfs_objects::address::Address;
use jsfs_objects::{
    Objects, Precondition, Resumed, Unfinished, UploadId, Write, WriteError, WriteOptions, Written,
};

use crate::body::{Arriving, Body};
use crate::conditional::http_date;
use crate::front::Front;
use crate::media;
use crate::metadata::{self, Made, ascii, no_content};
use crate::parameters::Parameter;
use crate::problem::{Kind, Problem};
use crate::program;
use crate::put;
use crate::request::{Asked, prefers};

/// The one version of the protocol that is spoken here.
const VERSION: &str = "1.0.0";

/// What of the protocol is spoken beside its core.
const EXTENSIONS: &str = "creation,creation-with-upload,creation-defer-length,expiration,termination";

/// The type of a body that is a piece of an upload.
const PIECE_TYPE: &str = "application/offset+octet-stream";

/// Where uploads are, below `/.jsfs`.
pub(crate) const UPLOADS: &str = "/uploads/";

static TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
static TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
static TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
static TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
static UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
static UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
static UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
static UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
static UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
static METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// Whether a POST begins an upload. One that names a length and not the protocol is taken for one too, and refused: it would store nothing.
pub(crate) fn is_creation(headers: &HeaderMap) -> bool {
    [&TUS_RESUMABLE, &UPLOAD_LENGTH, &UPLOAD_DEFER_LENGTH].iter().any(|name| headers.contains_key(*name))
}

/// Whether a request carries a piece of an upload.
pub(crate) fn is_piece(parts: &Parts) -> bool {
    let value = parts.headers.get(CONTENT_TYPE);
    parts.method == Method::PATCH && value.is_some_and(|value| value.as_bytes() == PIECE_TYPE.as_bytes())
}

/// Adds to an answer to OPTIONS what is spoken here.
pub(crate) fn advertise(headers: &mut HeaderMap, bytes_max: u64) {
    headers.insert(&TUS_RESUMABLE, HeaderValue::from_static(VERSION));
    headers.insert(&TUS_VERSION, HeaderValue::from_static(VERSION));
    headers.insert(&TUS_EXTENSION, HeaderValue::from_static(EXTENSIONS));
    headers.insert(&TUS_MAX_SIZE, HeaderValue::from(bytes_max));
}

/// Answers a POST that begins an upload at an address.
pub(crate) async fn create(
    front: &Front,
    asked: &Asked<'_>,
    address: &Address,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    spoken(asked, Box::pin(begin(front, asked, address, body))).await
}

/// Answers a request for an upload that was begun.
pub(crate) async fn answer(
    front: &Front,
    asked: &Asked<'_>,
    id: &str,
    methods: &'static str,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    spoken(asked, Box::pin(go_on(front, asked, id, methods, body))).await
}

/// Refuses other versions of the protocol, and names this one in every answer.
async fn spoken(
    asked: &Asked<'_>,
    answer: impl Future<Output = Result<Response<Body>, Problem>>,
) -> Result<Response<Body>, Problem> {
    let mut versions = asked.headers.get_all(&TUS_RESUMABLE).iter();
    let known = versions.next().is_some_and(|value| value == VERSION) && versions.next().is_none();
    let mut response = match known {
        true => answer.await.unwrap_or_else(|problem| problem.response()),
        false => {
            let detail =
                "resumable uploads are spoken here as tus 1.0.0; send the header Tus-Resumable: 1.0.0";
            let mut response = Problem::new(Kind::PreconditionFailed, detail).response();
            response.headers_mut().insert(&TUS_VERSION, HeaderValue::from_static(VERSION));
            response
        }
    };
    response.headers_mut().insert(&TUS_RESUMABLE, HeaderValue::from_static(VERSION));
    Ok(response)
}

async fn begin(
    front: &Front,
    asked: &Asked<'_>,
    address: &Address,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let objects = front.objects();
    let length = announced_length(asked.headers, front.body_bytes_max())?;
    let carries_bytes = !body.is_empty();
    if carries_bytes {
        check_piece_type(asked.headers)?;
    }
    let options = options(front, asked, address)?;
    let credentials = asked.credentials()?;
    let grant = objects.authorize::<Write>(&credentials, address).await?;
    let conditions = conditions_text(asked.headers);
    let begun = objects.begin_unfinished(grant, options, conditions, length).await?;
    let mut response = if carries_bytes || length == Some(0) {
        let grant = objects.authorize_upload(&credentials, &begun.id).await?;
        let resumed = objects.resume(&grant, &begun.id).await?;
        take(asked, resumed, body).await?
    } else {
        let mut response = no_content();
        describe(response.headers_mut(), &begun);
        response
    };
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(LOCATION, ascii(format!("/.jsfs{UPLOADS}{}", begun.id)));
    Ok(response)
}

async fn go_on(
    front: &Front,
    asked: &Asked<'_>,
    id: &str,
    methods: &'static str,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let objects = front.objects();
    let id = UploadId::parse(id).ok_or(WriteError::NoUpload)?;
    match effective_method(asked) {
        "HEAD" => head(objects, asked, &id).await,
        "PATCH" => patch(front, asked, &id, body).await,
        "DELETE" => {
            let grant = objects.authorize_upload(&asked.credentials()?, &id).await?;
            objects.abandon(&grant, &id).await?;
            Ok(no_content())
        }
        _ => Err(Problem::method_not_allowed(asked.method, methods)),
    }
}

/// Some networks let only GET and POST through; the protocol has a header for them.
fn effective_method<'r>(asked: &Asked<'r>) -> &'r str {
    let named = asked.headers.get(&METHOD_OVERRIDE).and_then(|value| value.to_str().ok());
    named.unwrap_or(asked.method.as_str())
}

async fn head(objects: &Objects, asked: &Asked<'_>, id: &UploadId) -> Result<Response<Body>, Problem> {
    let grant = objects.authorize_upload(&asked.credentials()?, id).await?;
    let stands = objects.unfinished(&grant, id).await?;
    let mut response = Response::new(Body::empty());
    describe(response.headers_mut(), &stands);
    if let Some(version) = stands.version {
        response.headers_mut().insert(CONTENT_LOCATION, ascii(asked.path_to(&stands.address)));
        response.headers_mut().insert("x-version", version.into());
    }
    Ok(response)
}

/// Everything that can be refused is refused before a byte of the body is asked for.
async fn patch(
    front: &Front,
    asked: &Asked<'_>,
    id: &UploadId,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let objects = front.objects();
    check_piece_type(asked.headers)?;
    let Some(offset) = number(asked.headers, &UPLOAD_OFFSET)? else {
        return Err(Problem::malformed("the header Upload-Offset is missing; say where the bytes belong"));
    };
    let grant = objects.authorize_upload(&asked.credentials()?, id).await?;
    let mut resumed = objects.resume(&grant, id).await?;
    if offset != resumed.offset() {
        return Err(WriteError::Offset { offset: resumed.offset() }.into());
    }
    if let Some(length) = number(asked.headers, &UPLOAD_LENGTH)? {
        check_length(length, front.body_bytes_max())?;
        resumed.set_length(length)?;
    }
    take(asked, resumed, body).await
}

/// Takes what a request carries, and finishes the upload where that is the last of it.
async fn take(
    asked: &Asked<'_>,
    mut resumed: Resumed,
    mut body: Arriving,
) -> Result<Response<Body>, Problem> {
    check_fits(&resumed, &body)?;
    resumed.require(precondition(resumed.conditions())?);
    let ended = loop {
        let next = tokio::select! {
            biased;
            next = body.next() => next,
            () = resumed.interrupted() => break Ended::Interrupted,
        };
        match next {
            Ok(Some(bytes)) => resumed.write(bytes).await?,
            Ok(None) => break Ended::Whole,
            Err(problem) => break Ended::CutOff(problem),
        }
    };
    if resumed.is_whole() {
        let address = resumed.address().clone();
        let offset = resumed.offset();
        return finished(asked, &address, offset, &resumed.finish().await?);
    }
    let stands = resumed.keep().await?;
    match ended {
        Ended::Whole => {
            let mut response = no_content();
            describe(response.headers_mut(), &stands);
            Ok(response)
        }
        Ended::Interrupted => Err(Problem::from(WriteError::Offset { offset: stands.offset }).closing()),
        Ended::CutOff(problem) => {
            let detail =
                format!("the body was cut off; the upload stands at {}, go on from there", stands.offset);
            Err(problem.saying(detail))
        }
    }
}

/// How the body of a request ended.
enum Ended {
    Whole,
    Interrupted,
    CutOff(Problem),
}

/// 204 with what the object is now; where the client prefers that, the answer of a PUT.
fn finished(
    asked: &Asked<'_>,
    address: &Address,
    offset: u64,
    written: &Written,
) -> Result<Response<Body>, Problem> {
    let mut response = if prefers(asked.headers, "return=representation") {
        let Written { metadata, created, blocks, .. } = written;
        metadata::written(asked, &Made { metadata, created: *created, blocks, new_key: None })?
    } else {
        no_content()
    };
    let headers = response.headers_mut();
    headers.insert(&UPLOAD_OFFSET, HeaderValue::from(offset));
    headers.insert(ETAG, metadata::etag(&written.metadata));
    headers.insert("x-version", written.metadata.version.into());
    headers.insert(CONTENT_LOCATION, ascii(asked.path_to(address)));
    Ok(response)
}

fn describe(headers: &mut HeaderMap, stands: &Unfinished) {
    headers.insert(&UPLOAD_OFFSET, HeaderValue::from(stands.offset));
    match stands.length {
        Some(length) => headers.insert(&UPLOAD_LENGTH, HeaderValue::from(length)),
        None => headers.insert(&UPLOAD_DEFER_LENGTH, HeaderValue::from_static("1")),
    };
    headers.insert(&UPLOAD_EXPIRES, ascii(http_date(stands.expires_ms)));
}

/// The whole length, where the client knows it.
fn announced_length(headers: &HeaderMap, bytes_max: u64) -> Result<Option<u64>, Problem> {
    let deferred = match headers.get(&UPLOAD_DEFER_LENGTH).map(HeaderValue::as_bytes) {
        None => false,
        Some(b"1") => true,
        Some(_) => {
            return Err(Problem::malformed("the header Upload-Defer-Length can only be 1; leave it out"));
        }
    };
    match (number(headers, &UPLOAD_LENGTH)?, deferred) {
        (Some(_), true) => Err(Problem::malformed(
            "Upload-Length and Upload-Defer-Length contradict each other; send one of them",
        )),
        (None, false) => {
            let detail =
                "the length is missing; send Upload-Length, or Upload-Defer-Length: 1 to say it later";
            Err(Problem::malformed(detail))
        }
        (Some(length), false) => check_length(length, bytes_max).map(|()| Some(length)),
        (None, true) => Ok(None),
    }
}

fn check_length(length: u64, bytes_max: u64) -> Result<(), Problem> {
    if length <= bytes_max {
        return Ok(());
    }
    let detail = format!("the upload is longer than the {bytes_max} bytes that this node takes");
    Err(Problem::new(Kind::TooLarge, detail))
}

fn check_fits(resumed: &Resumed, body: &Arriving) -> Result<(), Problem> {
    body.check_announced()?;
    let (Some(length), Some(announced)) = (resumed.length(), body.announced()) else { return Ok(()) };
    if announced <= length.saturating_sub(resumed.offset()) {
        return Ok(());
    }
    let detail =
        format!("the upload is {length} bytes long, and the body goes past that; send the rest only");
    Err(Problem::new(Kind::TooLarge, detail))
}

fn check_piece_type(headers: &HeaderMap) -> Result<(), Problem> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    if values.next().is_some_and(|value| value == PIECE_TYPE) && values.next().is_none() {
        return Ok(());
    }
    let detail = "a piece of an upload has the content type application/offset+octet-stream";
    Err(Problem::new(Kind::UnsupportedType, detail))
}

/// A header that is a whole number.
fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && values.next().is_none() => Ok(Some(number)),
        _ => Err(Problem::malformed(format!(
            "the header {name} is one whole number; send decimal digits only"
        ))),
    }
}

fn options(front: &Front, asked: &Asked<'_>, address: &Address) -> Result<WriteOptions, Problem> {
    put::check_coding(asked.headers)?;
    refuse_programs(front, asked.parameters.boolean(Parameter::Executable)?)?;
    let told = Told::parse(asked.headers)?;
    let named = asked.parameters.get(Parameter::ContentType).or(told.kind.as_deref());
    let by_name = told.name.as_deref().map(media::by_name).filter(|kind| kind != media::DEFAULT);
    Ok(WriteOptions {
        content_type: named.map(|text| media::validate(text).map(str::to_owned)).transpose()?,
        content_type_if_new: Some(by_name.unwrap_or_else(|| media::by_name(address.name()))),
        private: asked.parameters.boolean(Parameter::Private)?,
        append: asked.parameters.boolean(Parameter::Append)?.unwrap_or(false),
        replacement_key: asked.parameters.get(Parameter::ReplacementAccessKey).map(str::to_owned),
        precondition: put::precondition(asked, address)?,
        ..WriteOptions::default()
    })
}

/// What of `Upload-Metadata` is of use here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    kind: Option<String>,
    name: Option<String>,
}

impl Told {
    /// Pairs of a key and a value in base64, with commas between. Keys that are not ours are ignored, and so is a value that is empty: browsers
    /// send that for files whose type they do not know.
    fn parse(headers: &HeaderMap) -> Result<Self, Problem> {
        let malformed = || {
            Problem::malformed(
                "the header Upload-Metadata is a list of `key base64-value` with commas between",
            )
        };
        let mut told = Self::default();
        for value in headers.get_all(&UPLOAD_METADATA) {
            for pair in value.to_str().map_err(|_| malformed())?.split(',').map(str::trim) {
                let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
                let value = STANDARD.decode(value.trim()).map_err(|_| malformed())?;
                let place = match key {
                    "filetype" | "type" => &mut told.kind,
                    "filename" | "name" => &mut told.name,
                    _ => continue,
                };
                let text = String::from_utf8(value).map_err(|_| malformed())?;
                if !text.is_empty() {
                    place.get_or_insert(text);
                }
            }
        }
        Ok(told)
    }
}

/// The conditions of the first request as text, to be kept until the last one.
fn conditions_text(headers: &HeaderMap) -> String {
    let named = ["if-match", "if-none-match", "if-unmodified-since"];
    let fields = named.iter().flat_map(|name| headers.get_all(*name).iter().map(move |value| (name, value)));
    fields.filter_map(|(name, value)| Some(format!("{name}: {}\n", value.to_str().ok()?))).collect()
}

/// The conditions that [`conditions_text`] kept.
fn precondition(text: &str) -> Result<Option<Precondition>, Problem> {
    let fields = text.lines().filter_map(|line| line.split_once(": "));
    let fields = fields.filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
    });
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, value);
    }
    put::precondition_of_object(&headers)
}

/// A program is prepared before it is stored, and for that all of it must be there.
fn refuse_programs(front: &Front, executable: Option<bool>) -> Result<(), Problem> {
    if executable == Some(true) {
        if front.exec().is_none() {
            return Err(program::not_here());
        }
        let detail = "a program comes in one request; store it by PUT";
        return Err(Problem::malformed(detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Told, conditions_text, precondition};
    use hyper::HeaderMap;
    use hyper::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(field) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn metadata_tells_type_and_name() {
        let told = |text| Told::parse(&headers(&[("upload-metadata", text)]));
        let both = told("filename YS5wbmc=, filetype aW1hZ2UvcG5n,is_confidential").expect("fine");
        assert_eq!((both.name.as_deref(), both.kind.as_deref()), (Some("a.png"), Some("image/png")));
        let uppy =
            told("relativePath bnVsbA==,name YQ==,type dGV4dC9jc3M=,filetype ,filename Yg==").expect("fine");
        assert_eq!((uppy.name.as_deref(), uppy.kind.as_deref()), (Some("a"), Some("text/css")));
        assert_eq!(told("").expect("fine"), Told::default());
        for wrong in ["filename %%%", "filetype YWJ", "filename /w=="] {
            assert_eq!(told(wrong).err().map(|problem| problem.status().as_u16()), Some(400), "{wrong}");
        }
    }

    #[test]
    fn conditions_come_back_as_they_were_asked() {
        let asked =
            headers(&[("if-match", "\"a\", \"b\""), ("if-match", "\"c\""), ("if-none-match", "W/\"d\"")]);
        let text = conditions_text(&asked);
        assert_eq!(text, "if-match: \"a\", \"b\"\nif-match: \"c\"\nif-none-match: W/\"d\"\n");
        let holds = precondition(&text).expect("fine").expect("a condition");
        assert!(!holds(None), "If-Match on nothing");
        assert!(precondition("").expect("fine").is_none());
        let absent = precondition("if-none-match: *\n").expect("fine").expect("a condition");
        assert!(absent(None));
    }
}
