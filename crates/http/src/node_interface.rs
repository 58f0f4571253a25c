//! `/.jsfs/…`: the node's own interface, the same under every host.
//!
//! Invariants: nothing here acts without the key that owns what it acts on; secrets that are made are told once, in an answer
//! that is never cached.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Method, Response, StatusCode};
use jsfs_objects::address::Address;
use jsfs_objects::token::{Method as TokenMethod, Methods};
use jsfs_objects::{Grant, Manage, NamespaceInfo, NamespaceOptions, Objects, Root};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::Value;

use crate::backup;
use crate::body::{Arriving, Body};
use crate::dav;
use crate::document::{Document, wrong};
use crate::federation;
use crate::front::Front;
use crate::logs;
use crate::maintenance;
use crate::metadata::{json, no_content};
use crate::metrics;
use crate::opening;
use crate::options::{options, with_uploads};
use crate::problem::{Kind, Problem};
use crate::process;
use crate::request::{Asked, time_s};
use crate::rom;
use crate::status;
use crate::tus;
use crate::wire::rfc3339;

/// How long a token is good where the client does not say.
const TOKEN_LIFETIME_S: u64 = 7 * 86_400;

/// One resource of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource<'r> {
    Status,
    Tokens,
    Revocations,
    Namespaces,
    Namespace(&'r str),
    Upload(&'r str),
    Logs,
    Process(process::Resource<'r>),
    Maintenance(&'r str),
    Federation(federation::Resource),
    Backup,
    Metrics,
    Openings,
    Open,
    Rom,
    Dav(&'r str),
}

/// The resources with their methods, for the description of the interface. What WebDAV is, RFC 4918 describes.
pub const RESOURCES: [(&str, &str); 22] = [
    ("/.jsfs/status", "GET, HEAD, OPTIONS"),
    ("/.jsfs/tokens", "POST, OPTIONS"),
    ("/.jsfs/revocations", "POST, OPTIONS"),
    ("/.jsfs/namespaces", "GET, HEAD, POST, OPTIONS"),
    ("/.jsfs/namespaces/{name}", "PUT, PATCH, OPTIONS"),
    ("/.jsfs/uploads/{id}", "HEAD, PATCH, DELETE, POST, OPTIONS"),
    ("/.jsfs/logs", "GET, HEAD, OPTIONS"),
    ("/.jsfs/proc/", "GET, HEAD, OPTIONS"),
    ("/.jsfs/proc/{id}", "GET, HEAD, POST, DELETE, OPTIONS"),
    ("/.jsfs/proc/{id}/output", "GET, HEAD, OPTIONS"),
    ("/.jsfs/proc/{id}/checkpoint", "POST, OPTIONS"),
    ("/.jsfs/maintenance/{name}", "POST, OPTIONS"),
    ("/.jsfs/federation", "GET, HEAD, POST, DELETE, OPTIONS"),
    ("/.jsfs/peers", "GET, HEAD, OPTIONS"),
    ("/.jsfs/federation/invitations", "POST, OPTIONS"),
    ("/.jsfs/federation/join", "POST, OPTIONS"),
    ("/.jsfs/federation/revocations", "POST, OPTIONS"),
    ("/.jsfs/backup", "POST, OPTIONS"),
    ("/.jsfs/metrics", "GET, HEAD, OPTIONS"),
    ("/.jsfs/openings", "POST, OPTIONS"),
    ("/.jsfs/open", "GET, OPTIONS"),
    ("/.jsfs/rom", "POST, PUT, OPTIONS"),
];

impl<'r> Resource<'r> {
    fn of(path: &'r str) -> Option<Self> {
        match path {
            "/status" => Some(Self::Status),
            "/tokens" => Some(Self::Tokens),
            "/revocations" => Some(Self::Revocations),
            "/namespaces" => Some(Self::Namespaces),
            "/logs" => Some(Self::Logs),
            "/backup" => Some(Self::Backup),
            "/metrics" => Some(Self::Metrics),
            "/openings" => Some(Self::Openings),
            "/open" => Some(Self::Open),
            "/rom" => Some(Self::Rom),
            other if other.starts_with(tus::UPLOADS) => {
                let id = other.strip_prefix(tus::UPLOADS)?;
                (!id.is_empty() && !id.contains('/')).then_some(Self::Upload(id))
            }
            other if other == "/dav" || other.starts_with("/dav/") => Some(Self::Dav(&other[4..])),
            other if federation::Resource::of(other).is_some() => {
                federation::Resource::of(other).map(Self::Federation)
            }
            other if other.starts_with("/proc/") => process::Resource::of(other).map(Self::Process),
            other => {
                let (kind, name) = other.strip_prefix('/')?.split_once('/')?;
                match kind {
                    _ if name.is_empty() || name.contains('/') => None,
                    "namespaces" => Some(Self::Namespace(name)),
                    "maintenance" => Some(Self::Maintenance(name)),
                    _ => None,
                }
            }
        }
    }

    const fn methods(self) -> &'static str {
        match self {
            Self::Status => RESOURCES[0].1,
            Self::Tokens => RESOURCES[1].1,
            Self::Revocations => RESOURCES[2].1,
            Self::Namespaces => RESOURCES[3].1,
            Self::Namespace(_) => RESOURCES[4].1,
            Self::Upload(_) => RESOURCES[5].1,
            Self::Logs => RESOURCES[6].1,
            Self::Process(process::Resource::List) => RESOURCES[7].1,
            Self::Process(process::Resource::One(_)) => RESOURCES[8].1,
            Self::Process(process::Resource::Output(_)) => RESOURCES[9].1,
            Self::Process(process::Resource::Checkpoint(_)) => RESOURCES[10].1,
            Self::Maintenance(_) => RESOURCES[11].1,
            Self::Federation(federation::Resource::Whole) => RESOURCES[12].1,
            Self::Federation(federation::Resource::Peers) => RESOURCES[13].1,
            Self::Federation(federation::Resource::Invitations) => RESOURCES[14].1,
            Self::Federation(federation::Resource::Join) => RESOURCES[15].1,
            Self::Federation(federation::Resource::Revocations) => RESOURCES[16].1,
            Self::Backup => RESOURCES[17].1,
            Self::Metrics => RESOURCES[18].1,
            Self::Openings => RESOURCES[19].1,
            Self::Open => RESOURCES[20].1,
            Self::Rom => RESOURCES[21].1,
            Self::Dav(_) => dav::METHODS,
        }
    }
}

/// Answers a request to the interface; `path` is what follows `/.jsfs`.
pub(crate) async fn answer(
    front: &Front,
    asked: &Asked<'_>,
    path: &str,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let known = Resource::of(path).filter(|resource| front.webdav() || !matches!(resource, Resource::Dav(_)));
    let Some(resource) = known else {
        let detail = "the node's interface has no such resource; docs/http.md lists them";
        return Err(Problem::new(Kind::NotFound, detail));
    };
    let objects = front.objects();
    match (resource, asked.method.as_str()) {
        (Resource::Upload(_), "OPTIONS") => Ok(with_uploads(front, resource.methods())),
        (Resource::Upload(id), "HEAD" | "PATCH" | "DELETE" | "POST") => {
            Box::pin(tus::answer(front, asked, id, resource.methods(), body)).await
        }
        (Resource::Dav(path), _) => Ok(Box::pin(dav::answer(front, asked, path, body)).await),
        (_, "OPTIONS") => Ok(options(resource.methods())),
        (Resource::Process(which), _) => {
            Box::pin(process::answer(front, asked, which, resource.methods(), body)).await
        }
        (Resource::Federation(which), _) => {
            Box::pin(federation::answer(front, asked, which, resource.methods(), body)).await
        }
        (Resource::Metrics, "GET" | "HEAD") => Box::pin(metrics::answer(front, asked)).await,
        (Resource::Openings, "POST") => Box::pin(opening::make(front, asked, body)).await,
        (Resource::Open, "GET") => opening::exchange(front, asked),
        (Resource::Status, "GET" | "HEAD") => Box::pin(status::answer(front, asked)).await,
        (Resource::Tokens, "POST") => make_token(front, asked, body).await,
        (Resource::Revocations, "POST") => revoke(front, asked, body).await,
        (Resource::Logs, "GET" | "HEAD") => logs::answer(front, asked).await,
        (Resource::Backup, "POST") => backup::answer(front, asked, body).await,
        (Resource::Rom, "POST") => rom::export(front, asked, body).await,
        (Resource::Rom, "PUT") => Box::pin(rom::import(front, asked, body)).await,
        (Resource::Maintenance(name), "POST") => maintenance::answer(front, asked, name, body).await,
        (Resource::Namespaces, "GET" | "HEAD") => namespaces(objects, asked).await,
        (Resource::Namespaces, "POST") => namespace_named_by_key(front, asked, body).await,
        (Resource::Namespace(name), "PUT" | "PATCH") => namespace(front, asked, name, body).await,
        _ => Err(Problem::method_not_allowed(asked.method, resource.methods())),
    }
}

/// The address that a document is about.
pub(crate) fn address_of(document: &mut Document) -> Result<Address, Problem> {
    let Some(text) = document.text("address")? else {
        return Err(Problem::malformed(
            "the field address is missing; send an address such as /com.example/docs/",
        ));
    };
    Ok(Address::parse(&text)?)
}

#[derive(Serialize)]
struct TokenDocument<'t> {
    token: &'t str,
    jti: &'t str,
    address: &'t str,
    methods: &'t [String],
    expires: String,
    url: String,
}

async fn make_token(front: &Front, asked: &Asked<'_>, body: Arriving) -> Result<Response<Body>, Problem> {
    let mut document = Document::read(asked.headers, body, front.json_bytes_max()).await?;
    let address = address_of(&mut document)?;
    let names = method_names(document.take("methods"))?;
    let methods = methods(&names)?;
    let expires_s = expiry(&mut document, front.objects())?;
    document.finish("address, methods, expires_in and expires")?;
    let credentials = asked.credentials()?;
    let grant = front.objects().authorize::<Manage>(&credentials, &address).await?;
    let minted = front.objects().mint_token(&grant, methods, expires_s).await?;
    let answer = TokenDocument {
        token: &minted.text,
        jti: &minted.jti,
        address: address.as_str(),
        methods: &names,
        expires: rfc3339(minted.expires_s.saturating_mul(1_000)),
        url: format!("{}?access_token={}", asked.url_of(&address), minted.text),
    };
    json(StatusCode::CREATED, &answer)
}

fn method_names(value: Option<Value>) -> Result<Vec<String>, Problem> {
    let names = match &value {
        None => return Ok(vec!["GET".to_owned()]),
        Some(Value::Array(names)) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    };
    names.ok_or_else(|| wrong("methods", METHODS_WANTED))
}

const METHODS_WANTED: &str =
    "a list of some of \"GET\", \"LIST\", \"WATCH\", \"PUT\", \"DELETE\" and \"EXECUTE\"";

fn methods(names: &[String]) -> Result<Methods, Problem> {
    let methods: Option<Vec<TokenMethod>> = names.iter().map(|name| TokenMethod::from_name(name)).collect();
    match methods {
        Some(methods) if !methods.is_empty() => Ok(methods.into_iter().collect()),
        _ => Err(wrong("methods", METHODS_WANTED)),
    }
}

/// When a token ends, in seconds since 1970.
fn expiry(document: &mut Document, objects: &Objects) -> Result<u64, Problem> {
    let now_s = objects.now_ms() / 1_000;
    match (document.take("expires_in"), document.take("expires")) {
        (Some(_), Some(_)) => {
            Err(Problem::malformed("expires_in and expires say the same; send one of them"))
        }
        (Some(value), None) => value
            .as_u64()
            .map(|lifetime_s| now_s.saturating_add(lifetime_s))
            .ok_or_else(|| wrong("expires_in", "a number of seconds")),
        (None, Some(value)) => time_s(&value)
            .ok_or_else(|| wrong("expires", "seconds since 1970 or a time such as 2030-01-02T03:04:05Z")),
        (None, None) => Ok(now_s + TOKEN_LIFETIME_S),
    }
}

async fn revoke(front: &Front, asked: &Asked<'_>, body: Arriving) -> Result<Response<Body>, Problem> {
    let mut document = Document::read(asked.headers, body, front.json_bytes_max()).await?;
    let address = address_of(&mut document)?;
    let expires = document.take("expires");
    let expires_s = expires
        .map(|value| {
            time_s(&value)
                .ok_or_else(|| wrong("expires", "seconds since 1970 or a time such as 2030-01-02T03:04:05Z"))
        })
        .transpose()?;
    let jti = match (document.text("jti")?, document.text("token")?) {
        (Some(jti), None) => jti,
        (None, Some(token)) => {
            jti_of(&token).ok_or_else(|| wrong("token", "an access token made by this node or a client"))?
        }
        _ => return Err(Problem::malformed("which token? send jti, or the token itself")),
    };
    document.finish("address, jti, token and expires")?;
    let credentials = asked.credentials()?;
    let grant = front.objects().authorize::<Manage>(&credentials, &address).await?;
    front.objects().revoke(grant, &jti, expires_s).await?;
    Ok(no_content())
}

/// The id in a token's claims. Nothing is proven by it: the caller's key decides.
fn jti_of(token: &str) -> Option<String> {
    let claims = token.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    claims.get("jti")?.as_str().map(str::to_owned)
}

#[derive(Serialize)]
struct Namespaces {
    namespaces: Vec<Namespace>,
}

#[derive(Serialize)]
struct Namespace {
    name: String,
    host: String,
    owner: String,
    private: bool,
    quota: Option<u64>,
    bytes: u64,
    objects: u64,
    shared: Option<bool>,
}

impl From<NamespaceInfo> for Namespace {
    fn from(info: NamespaceInfo) -> Self {
        Self {
            name: info.name,
            host: info.host,
            owner: info.owner.to_string(),
            private: info.private,
            quota: info.quota,
            bytes: info.bytes,
            objects: info.objects,
            shared: info.shared,
        }
    }
}

async fn namespaces(objects: &Objects, asked: &Asked<'_>) -> Result<Response<Body>, Problem> {
    let grant = objects.authorize_root(&asked.credentials()?).await?;
    let namespaces = objects.namespaces(&grant).await?.into_iter().map(Namespace::from).collect();
    json(StatusCode::OK, &Namespaces { namespaces })
}

async fn namespace(
    front: &Front,
    asked: &Asked<'_>,
    name: &str,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let grant = front.objects().authorize_root(&asked.credentials()?).await?;
    let name = percent_decode_str(name)
        .decode_utf8()
        .map_err(|_| Problem::malformed("the name of the namespace is not UTF-8"))?;
    let options = namespace_options(front, asked, body).await?;
    if asked.method == Method::PATCH {
        if options.owner_key.is_some() {
            let detail =
                "a namespace is handed over by its own key; PATCH its directory with replacement_access_key";
            return Err(Problem::malformed(detail));
        }
        let info = front.objects().set_namespace(&grant, &name, options).await?;
        return json(StatusCode::OK, &Namespace::from(info));
    }
    add_namespace(front, &grant, &name, options).await
}

/// Makes the namespace that is a key's by its name.
async fn namespace_named_by_key(
    front: &Front,
    asked: &Asked<'_>,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let grant = front.objects().authorize_root(&asked.credentials()?).await?;
    let options = namespace_options(front, asked, body).await?;
    let name = front.objects().namespace_named_by(&grant, options.owner_key.as_deref())?;
    add_namespace(front, &grant, &name, options).await
}

async fn namespace_options(
    front: &Front,
    asked: &Asked<'_>,
    body: Arriving,
) -> Result<NamespaceOptions, Problem> {
    let mut document = Document::read(asked.headers, body, front.json_bytes_max()).await?;
    let options = NamespaceOptions {
        private: document.boolean("private")?,
        quota: document.optional("quota", "a number of bytes or null", |value| value.as_u64())?,
        owner_key: document.text("owner_key")?,
    };
    document.finish("private, quota and owner_key")?;
    Ok(options)
}

async fn add_namespace(
    front: &Front,
    grant: &Grant<Root>,
    name: &str,
    options: NamespaceOptions,
) -> Result<Response<Body>, Problem> {
    let (info, created) = front.objects().add_namespace(grant, name, options).await?;
    let mut response =
        json(if created { StatusCode::CREATED } else { StatusCode::OK }, &Namespace::from(info))?;
    if created && let Ok(value) = HeaderValue::try_from(format!("/.jsfs/namespaces/{name}")) {
        response.headers_mut().insert(LOCATION, value);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::{Resource, jti_of, methods};

    #[test]
    fn the_interface_knows_its_resources_and_nothing_else() {
        assert_eq!(Resource::of("/status"), Some(Resource::Status));
        assert_eq!(Resource::of("/namespaces/com.example"), Some(Resource::Namespace("com.example")));
        for path in ["", "/", "/status/", "/namespaces/", "/namespaces/a/b", "/Status", "/tokensx"] {
            assert_eq!(Resource::of(path), None, "{path}");
        }
    }

    #[test]
    fn a_token_without_methods_or_with_unknown_ones_is_not_made() {
        assert!(methods(&[]).is_err());
        assert!(methods(&["GET".into(), "MANAGE".into()]).is_err());
        assert!(methods(&["GET".into(), "PUT".into()]).is_ok());
    }

    #[test]
    fn the_id_of_a_token_is_read_from_its_claims() {
        assert_eq!(jti_of("x.eyJqdGkiOiJhYmMifQ.y"), Some("abc".into()));
        for bad in ["", "a.b.c", "x.e30.y", "no dots"] {
            assert_eq!(jti_of(bad), None, "{bad}");
        }
    }
}
