//! PATCH: changes properties without sending the body. An object's type and privacy, a directory's policy, the owner of either.
//!
//! Invariant: everything is read and checked before the first change; a new owner comes last, because after it the caller's key
//! proves nothing here any more.

use hyper::header::ETAG;
use hyper::{Response, StatusCode};
use jsfs_objects::address::Address;
use jsfs_objects::record::Create;
use jsfs_objects::{
    Credentials, DirectoryInfo, Manage, Objects, PolicyChange, PropertyChange, Read, Write, WriteError,
};
use serde::Serialize;
use serde_json::Value;

use crate::body::{Arriving, Body};
use crate::document::Document;
use crate::front::Front;
use crate::media;
use crate::metadata::{self, json, no_content};
use crate::parameters::Parameter;
use crate::problem::Problem;
use crate::program;
use crate::put::precondition;
use crate::request::Asked;

/// Answers PATCH of an address.
pub(crate) async fn patch(
    front: &Front,
    asked: &Asked<'_>,
    address: &Address,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let (objects, json_bytes_max) = (front.objects(), front.json_bytes_max());
    let credentials = asked.credentials()?;
    if address.is_directory() {
        return directory(objects, asked, &credentials, address, body, json_bytes_max).await;
    }
    // Authority before the body: a stranger's is not even read.
    let grant = objects.authorize::<Write>(&credentials, address).await?;
    let mut document = Document::read(asked.headers, body, json_bytes_max).await?;
    let replacement = replacement(asked, &mut document)?;
    let change = object_change(asked, &mut document)?;
    document.finish("content_type, private, executable and replacement_access_key")?;
    let owner = match &replacement {
        Some(_) => Some(objects.authorize::<Manage>(&credentials, address).await?),
        None => None,
    };
    let storing = match change.executable {
        Some(false) => None,
        executable => program::storing(front, asked, &credentials, address, executable).await?,
    };
    let attaches = storing.as_ref().is_some_and(program::Storing::attaches);
    let changes = change.content_type.is_some() || change.private.is_some() || change.executable.is_some();
    if !changes && !attaches && replacement.is_none() {
        return Err(Problem::malformed(
            "nothing to change; send content_type, private or a replacement access key",
        ));
    }
    let conditions = precondition(asked, address)?;
    if let (false, Some(holds)) = (changes, &conditions) {
        let read = objects.authorize::<Read>(&credentials, address).await?;
        if !holds(Some(&objects.read(&read, None).await?.metadata)) {
            return Err(WriteError::Precondition { address: address.clone() }.into());
        }
    }
    if let Some(storing) = storing.filter(|_| attaches || change.executable == Some(true)) {
        let read = objects.authorize::<Read>(&credentials, address).await?;
        storing.check_stored(front, &objects.read(&read, None).await?).await?;
    }
    let mut response = no_content();
    if changes {
        let metadata = objects.change(grant, change, conditions).await?;
        response.headers_mut().insert(ETAG, metadata::etag(&metadata));
        response.headers_mut().insert("x-version", metadata.version.into());
    }
    if let (Some(grant), Some(key)) = (owner, replacement) {
        objects.hand_over(grant, &key).await?;
    }
    Ok(response)
}

/// Properties travel in the document or as parameters, as everywhere.
fn object_change(asked: &Asked<'_>, document: &mut Document) -> Result<PropertyChange, Problem> {
    let private =
        same("private", document.boolean("private")?, asked.parameters.boolean(Parameter::Private)?)?;
    let executable = same(
        "executable",
        document.boolean("executable")?,
        asked.parameters.boolean(Parameter::Executable)?,
    )?;
    let sent = asked.parameters.get(Parameter::ContentType).map(str::to_owned);
    let content_type = same("content_type", document.text("content_type")?, sent)?;
    let content_type = content_type.map(|text| media::validate(&text).map(str::to_owned)).transpose()?;
    Ok(PropertyChange { content_type, private, executable, ..PropertyChange::default() })
}

fn replacement(asked: &Asked<'_>, document: &mut Document) -> Result<Option<String>, Problem> {
    let sent = asked.parameters.get(Parameter::ReplacementAccessKey).map(str::to_owned);
    same("replacement_access_key", document.text("replacement_access_key")?, sent)
}

fn same<T: PartialEq>(name: &str, one: Option<T>, other: Option<T>) -> Result<Option<T>, Problem> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => {
            Err(Problem::malformed(format!("{name} is given twice with different values; send it once")))
        }
        (one, other) => Ok(one.or(other)),
    }
}

async fn directory(
    objects: &Objects,
    asked: &Asked<'_>,
    credentials: &Credentials,
    address: &Address,
    body: Arriving,
    json_bytes_max: usize,
) -> Result<Response<Body>, Problem> {
    let grant = objects.authorize::<Manage>(credentials, address).await?;
    let mut document = Document::read(asked.headers, body, json_bytes_max).await?;
    let replacement = replacement(asked, &mut document)?;
    let (change, changes) = policy_change(&mut document)?;
    document.finish("private, create, quota, retention, hosts and replacement_access_key")?;
    // To its owner a directory is always there.
    if precondition(asked, address)?.is_some_and(|holds| !holds(None)) {
        return Err(WriteError::Precondition { address: address.clone() }.into());
    }
    if !changes && replacement.is_none() {
        return Err(Problem::malformed("nothing to change; send a policy or a replacement access key"));
    }
    if changes {
        objects.set_policy(grant.clone(), change).await?;
    }
    if let Some(key) = replacement {
        // The policy has a new version now, and the grant speaks of the old one.
        let grant = objects.authorize::<Manage>(credentials, address).await?;
        objects.hand_over(grant, &key).await?;
    }
    Ok(no_content())
}

/// What of a directory's policy changes, and whether anything does. `null` inherits from above again.
fn policy_change(document: &mut Document) -> Result<(PolicyChange, bool), Problem> {
    let change = PolicyChange {
        private: document.optional("private", "true, false or null", |value| value.as_bool())?,
        create: document.optional("create", "\"owner\", \"anyone\" or null", |value| {
            match value.as_str()? {
                "owner" => Some(Create::Owner),
                "anyone" => Some(Create::Anyone),
                _ => None,
            }
        })?,
        quota: document.optional("quota", "a number of bytes or null", |value| value.as_u64())?,
        retention: document.optional(
            "retention",
            "{\"days\": number, \"versions\": number} or null",
            retention,
        )?,
        hosts: document.optional("hosts", "a list of host names or null", hosts)?,
    };
    let changes = change.private.is_some()
        || change.create.is_some()
        || change.quota.is_some()
        || change.retention.is_some()
        || change.hosts.is_some();
    Ok((change, changes))
}

fn retention(value: Value) -> Option<(u64, u64)> {
    let fields = value.as_object().filter(|fields| fields.len() == 2)?;
    Some((fields.get("days")?.as_u64()?, fields.get("versions")?.as_u64()?))
}

fn hosts(value: Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|host| host.as_str().map(str::to_owned)).collect()
}

#[derive(Serialize)]
struct Properties {
    address: String,
    owner: String,
    private: bool,
    create: &'static str,
    quota: Option<u64>,
    retention: Retention,
    hosts: Vec<String>,
}

#[derive(Serialize)]
struct Retention {
    days: u64,
    versions: u64,
}

/// `GET /dir/?properties`: what holds there, its own or inherited.
pub(crate) async fn properties(
    objects: &Objects,
    credentials: &Credentials,
    address: &Address,
) -> Result<Response<Body>, Problem> {
    let grant = objects.authorize::<Manage>(credentials, address).await?;
    let info = objects.directory(&grant).await?;
    json(StatusCode::OK, &describe(info))
}

fn describe(info: DirectoryInfo) -> Properties {
    Properties {
        address: info.address.to_string(),
        owner: info.owner.to_string(),
        private: info.private,
        create: match info.create {
            Create::Owner => "owner",
            Create::Anyone => "anyone",
        },
        quota: info.quota,
        retention: Retention { days: info.retention_days, versions: info.retention_versions },
        hosts: info.hosts,
    }
}

#[cfg(test)]
mod tests {
    use super::{hosts, retention, same};
    use serde_json::json;

    #[test]
    fn values_of_the_wrong_shape_are_no_values() {
        assert_eq!(retention(json!({"days": 3, "versions": 4})), Some((3, 4)));
        for bad in [
            json!({"days": 3}),
            json!({"days": -1, "versions": 4}),
            json!([3, 4]),
            json!({"days": 1, "versions": 1, "x": 1}),
        ] {
            assert_eq!(retention(bad.clone()), None, "{bad}");
        }
        assert_eq!(hosts(json!(["a.com"])), Some(vec!["a.com".to_owned()]));
        assert_eq!(hosts(json!(["a.com", 1])), None);
        assert!(same("x", Some(1), Some(2)).is_err());
        assert_eq!(same("x", Some(1), Some(1)).ok().flatten(), Some(1));
    }
}
