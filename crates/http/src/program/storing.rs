//! Storing a program: what it says of itself, prepared before anything is kept, and what its owner attaches to it.

use std::collections::BTreeMap;

use bytes::Bytes;
use jsfs_exec::{Host, Identity};
use jsfs_objects::address::Address;
use jsfs_objects::token::{Method as TokenMethod, Methods};
use jsfs_objects::{Attachment, Credentials, Grant, Manage, Metadata, Object, Refusal};

use super::{PROGRAM_BYTES_MAX, authority_of, is_program, key_of, not_here, source, unprepared, whole};
use crate::body::Arriving;
use crate::front::Front;
use crate::parameters::{Parameter, Parameters};
use crate::problem::Problem;
use crate::request::Asked;

/// What a write says about a program: whether it becomes or stays one, and what is attached to it.
pub(crate) struct Storing {
    grant: Option<Grant<Manage>>,
    places: Option<Vec<(Address, Methods)>>,
    env: Option<BTreeMap<String, String>>,
    hosts: Option<Vec<String>>,
}

/// What a write of a program at an address asks for. Nothing where it is no program.
pub(crate) async fn storing(
    front: &Front,
    asked: &Asked<'_>,
    credentials: &Credentials,
    address: &Address,
    executable: Option<bool>,
) -> Result<Option<Storing>, Problem> {
    let places = places(&asked.parameters, address)?;
    let env = env(&asked.parameters)?;
    let hosts = hosts(&asked.parameters)?;
    let attaches = places.is_some() || env.is_some() || hosts.is_some();
    let is_one = match executable {
        Some(executable) => executable,
        None => is_program(front.objects(), credentials, address).await?,
    };
    if !is_one {
        if attaches {
            let detail = "grant, env and hosts are for programs; send executable=true with them";
            return Err(Problem::malformed(detail));
        }
        return Ok(None);
    }
    if front.exec().is_none() {
        return Err(not_here());
    }
    let grant = match front.objects().authorize::<Manage>(credentials, address).await {
        Ok(grant) => Some(grant),
        Err(Refusal::Storage(error)) => return Err(error.into()),
        Err(refusal) if attaches => return Err(refusal.into()),
        // Whoever has no key may store a program where they may write, but nothing is attached to it.
        Err(_) => None,
    };
    Ok(Some(Storing { grant, places, env, hosts }))
}

/// A program that can run.
pub(crate) struct Checked {
    /// What is to be attached to it.
    pub(crate) attachment: Option<Attachment>,
    identity: Identity,
}

impl Checked {
    /// It was stored: its first request finds it by this, without reading what was just written.
    pub(crate) fn stored(&self, front: &Front, metadata: &Metadata) {
        front.identities().insert(key_of(metadata), self.identity);
    }
}

impl Storing {
    /// Prepares the program: what cannot run is refused before anything is stored.
    pub(crate) async fn check(
        &self,
        front: &Front,
        address: &Address,
        content_type: &str,
        bytes: Bytes,
    ) -> Result<Checked, Problem> {
        let exec = front.exec().ok_or_else(not_here)?;
        let attachment = match &self.grant {
            Some(grant) => {
                let places = self.places.as_deref();
                let (env, hosts) = (self.env.clone(), self.hosts.clone());
                Some(front.objects().prepare_attachment(grant, places, env, hosts).await?)
            }
            None => None,
        };
        let authority = authority_of(attachment.as_ref().unwrap_or(&Attachment::default()), 1);
        let source = source(address, content_type, bytes);
        exec.prepare(&source, &authority).await.map_err(|error| unprepared(error, address))?;
        Ok(Checked { attachment, identity: source.identity() })
    }

    /// Whether it says what is to be attached.
    pub(crate) fn attaches(&self) -> bool {
        self.places.is_some() || self.env.is_some() || self.hosts.is_some()
    }

    /// The same for what is stored already, and attaches.
    pub(crate) async fn check_stored(&self, front: &Front, object: &Object) -> Result<(), Problem> {
        let metadata = &object.metadata;
        let bytes = whole(object).await?;
        let checked = self.check(front, &metadata.address, &metadata.content_type, bytes).await?;
        self.attach(front, checked.attachment.as_ref()).await
    }

    /// Keeps what is attached. Before the program itself is there: what it holds is good for nobody else.
    pub(crate) async fn attach(&self, front: &Front, attachment: Option<&Attachment>) -> Result<(), Problem> {
        if let (Some(grant), Some(attachment)) = (&self.grant, attachment) {
            front.objects().attach(grant, attachment).await?;
        }
        Ok(())
    }

    /// The whole of a body that is a program.
    pub(crate) async fn collect(body: Arriving) -> Result<Bytes, Problem> {
        body.check_announced()?;
        let bytes = body.at_most(PROGRAM_BYTES_MAX).collect().await?;
        Ok(bytes.into())
    }
}

/// `grant=GET,LIST:/data/ PUT:log/`: methods and places, relative to the program's directory.
fn places(
    parameters: &Parameters<'_>,
    address: &Address,
) -> Result<Option<Vec<(Address, Methods)>>, Problem> {
    let Some(text) = parameters.get(Parameter::Grant) else { return Ok(None) };
    let malformed = |entry: &str| {
        let detail = format!(
            "the grant \"{entry}\" is not METHODS:PLACE; send for example GET,LIST,PUT:data/, several separated by spaces"
        );
        Problem::malformed(detail)
    };
    let mut places = Vec::new();
    for entry in text.split_whitespace() {
        let (methods, place) = entry.split_once(':').ok_or_else(|| malformed(entry))?;
        let methods: Option<Methods> = methods.split(',').map(TokenMethod::from_name).collect();
        let methods = methods.filter(|methods| !methods.is_empty()).ok_or_else(|| malformed(entry))?;
        places.push((place_of(place, address)?, methods));
    }
    Ok(Some(places))
}

fn place_of(place: &str, address: &Address) -> Result<Address, Problem> {
    if place.starts_with('/') {
        return Ok(Address::from_host_and_path(&address.to_url_host(), place)?);
    }
    let directory = address.parent().unwrap_or_else(|| address.clone());
    if place.is_empty() || place == "." || place == "./" {
        return Ok(directory);
    }
    Ok(directory.join(place)?)
}

/// `env={"NAME":"value"}`.
fn env(parameters: &Parameters<'_>) -> Result<Option<BTreeMap<String, String>>, Problem> {
    let Some(text) = parameters.get(Parameter::Env) else { return Ok(None) };
    let env = serde_json::from_str(text);
    env.map(Some).map_err(|_| {
        Problem::malformed("env is a JSON object of texts; send for example {\"COLOUR\":\"blue\"}")
    })
}

/// `hosts=api.example.com,*.example.org:8443`: hosts outside the node; none where it is empty.
fn hosts(parameters: &Parameters<'_>) -> Result<Option<Vec<String>>, Problem> {
    let Some(text) = parameters.get(Parameter::Hosts) else { return Ok(None) };
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let hosts = names.map(|name| Host::parse(name).map(|host| host.to_string()));
    hosts
        .collect::<Result<_, _>>()
        .map(Some)
        .map_err(|error| Problem::malformed(format!("hosts: {error}, several separated by commas")))
}
