//! `namespace add|list|set`.

use super::key;
use crate::cli::{Create, Namespace};
use crate::exit::Usage;
use crate::output::{human_bytes, one_line};
use crate::session::{Session, read_key_file};
use anyhow::bail;
use jsfs_client::{AccessKey, Address, Credential, NamespaceChange, Policy, Reference, Retention};
use serde_json::json;

/// Runs one of them.
pub(super) async fn run(session: &Session, command: &Namespace) -> anyhow::Result<()> {
    match command {
        Namespace::Add { host, properties, owner_key_file, new_key, jsfs4 } => {
            let root = host.as_deref().map(root_of).transpose()?;
            let owner_key = match (owner_key_file, &root) {
                (Some(path), root) => Some(owner_key(&read_key_file(path)?, root.as_ref())?),
                (None, Some(root)) if *new_key => {
                    let key = AccessKey::generate()?;
                    // The whole result, because the key must be out before anything is made with it.
                    let facts = json!({ "name": root.namespace(), "host": root.host() });
                    key::hand_out(&key, None, session.output, facts)?;
                    Some(key)
                }
                (None, _) => None,
            };
            let change = NamespaceChange {
                private: properties.visibility.private().or(jsfs4.then_some(false)),
                quota: properties.quota,
                owner_key,
            };
            add(session, root, &change, *new_key, *jsfs4).await
        }
        Namespace::List => list(session).await,
        Namespace::Set { host, properties, create, keep_days, keep_versions } => {
            let root = root_of(host)?;
            let change = NamespaceChange {
                private: properties.visibility.private(),
                quota: properties.quota,
                owner_key: None,
            };
            let create = create.map(|create| match create {
                Create::Owner => "owner".to_owned(),
                Create::Anyone => "anyone".to_owned(),
            });
            let retention = retention(session, &root, *keep_days, *keep_versions).await?;
            set(session, &root, &change, Policy { create, retention, ..Policy::default() }).await
        }
    }
}

/// Both parts of a retention: the one that is not given stays.
async fn retention(
    session: &Session,
    root: &Address,
    days: Option<u64>,
    versions: Option<u64>,
) -> anyhow::Result<Option<Retention>> {
    if days.is_none() && versions.is_none() {
        return Ok(None);
    }
    let mut retention = Retention { days, versions };
    if days.is_none() || versions.is_none() {
        let now = session.client.properties(root).await?;
        retention.days = days.or_else(|| now["retention"]["days"].as_u64());
        retention.versions = versions.or_else(|| now["retention"]["versions"].as_u64());
    }
    Ok(Some(retention))
}

/// The root of a namespace: a host name, or an address that names one.
fn root_of(text: &str) -> anyhow::Result<Address> {
    let address = if text.contains('/') { Reference::parse(text)?.address } else { Address::of_host(text)? };
    if address.path() != "/" {
        return Err(Usage(format!(
            "{text} names more than a namespace; write a host name, as in example.com"
        ))
        .into());
    }
    Ok(address)
}

/// The key that is to own a namespace; one that is named by its key needs a generated one.
fn owner_key(text: &str, root: Option<&Address>) -> anyhow::Result<AccessKey> {
    let credential = Credential::key(text)?;
    match (root, credential) {
        (Some(root), credential) => key::key_of(credential, root),
        (None, Credential::Key(key)) => Ok(key),
        (None, _) => {
            let hint =
                "only a generated key names a namespace (`jsfs key new`); for another one give a host name";
            Err(Usage(hint.to_owned()).into())
        }
    }
}

async fn add(
    session: &Session,
    root: Option<Address>,
    change: &NamespaceChange,
    key_printed: bool,
    open: bool,
) -> anyhow::Result<()> {
    let is_named_by_key = root.is_none();
    let (made, new) = match &root {
        Some(root) => session.client.add_namespace(root, change).await?,
        None => session.client.add_namespace_of_key(change).await?,
    };
    let root = &root.map_or_else(|| root_of(&made.host), Ok)?;
    if open && new {
        let owner = change.owner_key.clone().map(Credential::Key).or_else(|| session.credential.clone());
        let client = session.client.with_credential(owner);
        client.patch(root, &json!({ "create": "anyone" })).await?;
    }
    if !new && change.owner_key.is_some() && !is_named_by_key {
        bail!(
            "the namespace {root} was there already and its owner did not change; use `jsfs key replace {root}` to hand it over"
        );
    }
    let word = if new { "made" } else { "was there already:" };
    let node = session.client.node();
    let link = match node.is_loopback() {
        true => format!(", at http://{}.localhost:{}/", root.host(), node.port()),
        false => String::new(),
    };
    if key_printed {
        session.output.say(&format!("{word} {root}{link}"));
    } else {
        session.output.done(&format!("{word} {root}{link}"))?;
        let facts =
            json!({ "name": root.namespace(), "host": root.host(), "created": new, "shared": made.shared });
        session.output.json(&facts)?;
    }
    if is_alone(&made) {
        session.output.note(&format!(
            "it is this node's alone, since it was made outside the federation or by a member that is no admin: have an admin's node run \
             `jsfs namespace add {}` (this one hides that one here), or name one by a key, which needs no admin: `jsfs namespace add`",
            one_line(&made.host)
        ));
    }
    Ok(())
}

/// Whether other nodes of the federation do not see a namespace.
pub(super) fn is_alone(namespace: &jsfs_client::Namespace) -> bool {
    namespace.shared == Some(false) && namespace.name != "localhost"
}

async fn list(session: &Session) -> anyhow::Result<()> {
    let namespaces = session.client.namespaces().await?;
    session.output.json(&json!({ "namespaces": namespaces }))?;
    for namespace in &namespaces {
        let visibility = if namespace.private { "private" } else { "public" };
        let size = namespace.bytes.map_or_else(|| "-".to_owned(), human_bytes);
        let quota = namespace.quota.map_or_else(String::new, |quota| format!(" of {}", human_bytes(quota)));
        let objects = namespace.objects.map_or_else(|| "-".to_owned(), |objects| objects.to_string());
        let host = one_line(&namespace.host);
        let alone = if is_alone(namespace) { "  this node's alone" } else { "" };
        session.output.line(&format!(
            "{host:<32}  {visibility:<7}  {objects:>9} objects  {:>12}{quota}  {}{alone}",
            size,
            one_line(&namespace.owner)
        ))?;
    }
    Ok(())
}

async fn set(
    session: &Session,
    root: &Address,
    change: &NamespaceChange,
    policy: Policy,
) -> anyhow::Result<()> {
    let namespace = change.private.is_some() || change.quota.is_some();
    if !namespace && policy == Policy::default() {
        return Err(Usage("nothing to change; `jsfs namespace set --help` lists what can be".into()).into());
    }
    if namespace {
        session.client.set_namespace(root, change).await?;
    }
    if policy != Policy::default() {
        session.client.patch(root, &serde_json::to_value(&policy)?).await?;
    }
    session.output.done(&format!("changed {root}"))?;
    if let Some(private) = change.private {
        let word = if private { "private" } else { "public" };
        session.output.note(&format!(
            "this is for new objects: what is there already stays as it is; `jsfs put` and `jsfs sync DIR {root}` with --{word} \
             change what they store, PATCH with {{\"private\":{private}}} any object"
        ));
    }
    session.output.json(&json!({ "name": root.namespace(), "host": root.host() }))?;
    Ok(())
}
