//! The properties of a resource as XML: those that the node keeps, and those that clients attached.

use std::fmt::Write as _;

use jsfs_objects::Metadata;
use jsfs_objects::address::Address;

use super::lock::{Lock, Locks};
use super::resource::href;
use super::xml::{Element, Name, escape};
use crate::conditional::http_date;
use crate::problem::Problem;
use crate::wire::rfc3339;

/// Those that clients cannot set.
pub(crate) const LIVE: [&str; 9] = [
    "creationdate",
    "displayname",
    "getcontentlength",
    "getcontenttype",
    "getetag",
    "getlastmodified",
    "lockdiscovery",
    "resourcetype",
    "supportedlock",
];

/// Most properties that one request names, and most bytes of their names: each is written for every resource.
const NAMES_MAX: usize = 256;
const NAMES_BYTES_MAX: usize = 16 * 1024;

const SUPPORTED: &str = "<D:supportedlock><D:lockentry><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>\
     <D:lockentry><D:lockscope><D:shared/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry></D:supportedlock>";

/// What a PROPFIND asks for.
pub(crate) enum Wanted {
    All,
    Names,
    These(Vec<Name>),
}

impl Wanted {
    pub(crate) fn of(root: Option<&Element>) -> Result<Self, Problem> {
        let Some(root) = root else { return Ok(Self::All) };
        let malformed = || Problem::malformed("the body is no propfind of prop, propname or allprop");
        if !root.name.is_dav("propfind") {
            return Err(malformed());
        }
        if root.dav("propname").is_some() {
            return Ok(Self::Names);
        }
        if root.dav("allprop").is_some() {
            return Ok(Self::All);
        }
        let names: Vec<Name> =
            root.dav("prop").ok_or_else(malformed)?.elements().map(|one| one.name.clone()).collect();
        let bytes: usize = names.iter().map(|name| name.local.len() + name.namespace.len()).sum();
        if names.len() > NAMES_MAX || bytes > NAMES_BYTES_MAX {
            let detail =
                format!("a PROPFIND names at most {NAMES_MAX} properties with {NAMES_BYTES_MAX} bytes");
            return Err(Problem::malformed(detail));
        }
        Ok(Self::These(names))
    }
}

/// One resource as it is shown.
pub(crate) struct View<'v> {
    pub(crate) address: &'v Address,
    /// Of the object, or of what keeps the directory there.
    pub(crate) metadata: Option<&'v Metadata>,
    /// Where the caller may see who holds locks.
    pub(crate) locks: Option<&'v Locks>,
}

impl View<'_> {
    /// The element `response` of a multistatus.
    pub(crate) fn response(&self, wanted: &Wanted) -> String {
        let (mut found, mut missing) = (String::new(), String::new());
        let kept = self.metadata.map(|metadata| &metadata.properties);
        match wanted {
            Wanted::All => {
                LIVE.iter().filter_map(|name| self.live(name)).for_each(|text| found.push_str(&text));
                kept.into_iter().flatten().for_each(|(_, text)| found.push_str(text));
            }
            Wanted::Names => {
                for name in LIVE.iter().filter(|name| self.live(name).is_some()) {
                    let _ = write!(found, "<D:{name}/>");
                }
                for (key, _) in kept.into_iter().flatten() {
                    if let Some((namespace, local)) =
                        key.strip_prefix('{').and_then(|rest| rest.rsplit_once('}'))
                    {
                        let name = Name { namespace: namespace.into(), local: local.to_owned() };
                        found.push_str(&name.empty_element());
                    }
                }
            }
            Wanted::These(names) => {
                for name in names {
                    let live = if name.is_dav(&name.local) { self.live(&name.local) } else { None };
                    let dead = || kept.and_then(|kept| kept.get(&name.key()).cloned());
                    match live.or_else(dead) {
                        Some(text) => found.push_str(&text),
                        None => missing.push_str(&name.empty_element()),
                    }
                }
            }
        }
        let mut out = format!("<D:response><D:href>{}</D:href>", escape(&href(self.address)));
        for (props, status) in [(&found, "200 OK"), (&missing, "404 Not Found")] {
            if !props.is_empty() || (status.starts_with('2') && missing.is_empty()) {
                out.push_str(&propstat(props, status));
            }
        }
        out.push_str("</D:response>");
        out
    }

    fn live(&self, name: &str) -> Option<String> {
        let directory = self.address.is_directory();
        let metadata = self.metadata;
        let object = metadata.filter(|_| !directory);
        let text = match name {
            "creationdate" => format!("{}Z", &rfc3339(metadata?.created_ms)[..19]),
            "getlastmodified" => http_date(metadata?.modified_ms),
            "displayname" => self.address.name().trim_end_matches('/').to_owned(),
            "getcontentlength" => object?.size.to_string(),
            "getcontenttype" => object?.content_type.clone(),
            "getetag" => format!("\"{}\"", object?.etag),
            "resourcetype" if directory => {
                return Some("<D:resourcetype><D:collection/></D:resourcetype>".into());
            }
            "resourcetype" => return Some("<D:resourcetype/>".into()),
            "supportedlock" => return Some(SUPPORTED.into()),
            "lockdiscovery" => {
                let locks = self.locks.map(|locks| locks.on(self.address)).unwrap_or_default();
                return Some(discovery(&locks));
            }
            _ => return None,
        };
        Some(format!("<D:{name}>{}</D:{name}>", escape(&text)))
    }
}

pub(crate) fn propstat(props: &str, status: &str) -> String {
    format!("<D:propstat><D:prop>{props}</D:prop><D:status>HTTP/1.1 {status}</D:status></D:propstat>")
}

pub(crate) fn discovery(locks: &[Lock]) -> String {
    let mut out = String::from("<D:lockdiscovery>");
    for lock in locks {
        let scope = if lock.exclusive { "exclusive" } else { "shared" };
        let depth = if lock.infinite { "infinity" } else { "0" };
        let owner =
            if lock.owner.is_empty() { String::new() } else { format!("<D:owner>{}</D:owner>", lock.owner) };
        let _ = write!(
            out,
            "<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:{scope}/></D:lockscope><D:depth>{depth}</D:depth>{owner}\
             <D:timeout>Second-{}</D:timeout><D:locktoken><D:href>{}</D:href></D:locktoken><D:lockroot><D:href>{}</D:href></D:lockroot></D:activelock>",
            lock.timeout.as_secs(),
            lock.token,
            escape(&href(&lock.root)),
        );
    }
    out.push_str("</D:lockdiscovery>");
    out
}
