//! Namespaces: the top directories, granted by the node's root key.

use crate::{
    Objects,
    address::Address,
    author::{Author, Body, Draft, Signer},
    chain::{Chain, DirectoryState},
    commit::Change,
    error::{ReadError, StorageError, WriteError},
    event::Event,
    grant::{Access, Grant, Root, localhost},
    key::{AccessKey, Keys, Owner},
    read_key::{Locator, ReadKey},
    record::{Delegation, Kind, PlaceRoot, Policy},
    tables,
};
use jsfs_store::Op;
use std::sync::Arc;

/// The one name that has no absolute address.
const UNREACHABLE: &str = "jsfs";

/// What the holder of the root key sees of a namespace.
#[derive(Clone, Debug)]
pub struct NamespaceInfo {
    /// As in addresses: `com.example`.
    pub name: String,
    /// As a host name: `example.com`.
    pub host: String,
    /// Whose it is.
    pub owner: Owner,
    /// Whether new objects are private unless a request says otherwise.
    pub private: bool,
    /// How many bytes it may keep, old versions included.
    pub quota: Option<u64>,
    /// How many bytes it keeps, old versions included.
    pub bytes: u64,
    /// How many objects it has.
    pub objects: u64,
    /// Whether it is the federation's, or this node's alone; none where there is no federation.
    pub shared: Option<bool>,
}

/// How to make or change a namespace. What is absent stays as it is.
#[derive(Clone, Default)]
pub struct NamespaceOptions {
    /// Whether new objects are private unless a request says otherwise.
    pub private: Option<bool>,
    /// How many bytes it may keep; `Some(None)` for no limit.
    pub quota: Option<Option<u64>>,
    /// The access key that is to own it; the root key otherwise.
    pub owner_key: Option<String>,
}

impl Objects {
    /// Makes sure that namespace `localhost` exists and belongs to the node's root key.
    pub(crate) async fn found(&self, root: Arc<Keys>) -> Result<(), WriteError> {
        let localhost = localhost()?;
        if DirectoryState::load(self, &localhost)?.is_some() {
            return Ok(());
        }
        self.establish(&localhost, &root, None, &NamespaceOptions::default()).await
    }

    /// The owner of namespace `localhost`, whose key is the node's root key.
    pub fn root_owner(&self) -> Result<Option<Owner>, StorageError> {
        let state = DirectoryState::load(
            self,
            &localhost().map_err(|error| StorageError::Write(error.to_string()))?,
        )?;
        Ok(state.map(|state| state.record.owner))
    }

    /// Whether this node has the namespace that an address lies in.
    pub fn has_namespace(&self, address: &Address) -> bool {
        DirectoryState::load(self, &address.namespace_directory()).is_ok_and(|state| state.is_some())
    }

    /// Every namespace of this node.
    pub async fn namespaces(&self, _grant: &Grant<Root>) -> Result<Vec<NamespaceInfo>, ReadError> {
        self.every_namespace()
    }

    pub(crate) fn every_namespace(&self) -> Result<Vec<NamespaceInfo>, ReadError> {
        let mut infos = Vec::new();
        for directory in self.namespace_directories()? {
            infos.push(self.namespace_info(&directory)?);
        }
        Ok(infos)
    }

    /// Makes a namespace, or changes the one that is there; whether it was made comes back.
    pub async fn add_namespace(
        &self,
        grant: &Grant<Root>,
        name: &str,
        options: NamespaceOptions,
    ) -> Result<(NamespaceInfo, bool), WriteError> {
        let directory = directory_of(name)?;
        self.refresh(&grant.held.proven, &directory, crate::authority::Need::Write).await?;
        let own = match &options.owner_key {
            Some(text) => Some(self.replacement_keys(text, directory.namespace()).await?),
            None => None,
        };
        let named = Owner::of_namespace(directory.namespace());
        let is_another = |owner: Owner| named.is_some_and(|named| named != owner);
        let not_its_key = || {
            let what =
                format!("{name} belongs to the key that it is named by, and to no other; give that key");
            WriteError::Invalid { what }
        };
        if own.as_ref().is_some_and(|own| is_another(own.owner())) {
            return Err(not_its_key());
        }
        if DirectoryState::load(self, &directory)?.is_some() {
            // It can only be that key's, so there is nothing to be done but what else was asked for.
            if named.is_some() && options.private.is_none() && options.quota.is_none() {
                return Ok((self.namespace_info(&directory)?, false));
            }
            if options.owner_key.is_some() && named.is_none() {
                let what = format!("{name} exists already; its own key hands it over: `jsfs key replace`");
                return Err(WriteError::Invalid { what });
            }
            return Ok((self.set_namespace(grant, name, options).await?, false));
        }
        let Access::Owner(root) = &grant.held.access else {
            return Err(crate::Refusal::Forbidden { needs: "the node's root key" }.into());
        };
        if is_another(own.as_ref().unwrap_or(root).owner()) {
            return Err(not_its_key());
        }
        self.establish(&directory, root, own, &options).await?;
        Ok((self.namespace_info(&directory)?, true))
    }

    /// The namespace that is a key's by its name: of this one, or of the root key.
    pub fn namespace_named_by(
        &self,
        grant: &Grant<Root>,
        owner_key: Option<&str>,
    ) -> Result<String, WriteError> {
        let invalid = |what: &str| WriteError::Invalid { what: what.to_owned() };
        let Some(text) = owner_key else {
            let Access::Owner(root) = &grant.held.access else {
                return Err(crate::Refusal::Forbidden { needs: "the node's root key" }.into());
            };
            return Ok(root.owner().namespace());
        };
        let key = AccessKey::parse(text).map_err(|error| invalid(&format!("owner_key: {error}")))?;
        // A chosen key is another one in each namespace, so none is named by it.
        let seed = key.seed().ok_or_else(|| {
            invalid("owner_key: only a generated key names a namespace (`jsfs key new`), not a chosen one")
        })?;
        Ok(seed.keys().owner().namespace())
    }

    /// Changes the settings of a namespace that the root key owns.
    pub async fn set_namespace(
        &self,
        grant: &Grant<Root>,
        name: &str,
        options: NamespaceOptions,
    ) -> Result<NamespaceInfo, WriteError> {
        let directory = directory_of(name)?;
        if DirectoryState::load(self, &directory)?.is_none() {
            return Err(WriteError::Absent { address: directory });
        }
        let manage = self.authorize_proven::<crate::grant::Manage>(&grant.held.proven, &directory);
        let manage = manage.map_err(|_| crate::Refusal::Forbidden {
            needs: "the access key of this namespace, which is not the root key",
        })?;
        let change = crate::PolicyChange {
            private: options.private.map(Some),
            quota: options.quota,
            ..crate::PolicyChange::default()
        };
        self.set_policy(manage, change).await?;
        Ok(self.namespace_info(&directory)?)
    }

    async fn establish(
        &self,
        directory: &Address,
        root: &Arc<Keys>,
        own: Option<Arc<Keys>>,
        options: &NamespaceOptions,
    ) -> Result<(), WriteError> {
        let locator = Locator::public(directory);
        let is_named_by_key = Owner::of_namespace(directory.namespace()).is_some();
        let shares = is_named_by_key && self.metastore().is_some();
        let grants = !is_named_by_key
            && directory.namespace() != crate::address::LOCALHOST
            && self.metastore().is_some_and(|metastore| metastore.grants());
        let keys = own.clone().unwrap_or_else(|| Arc::clone(root));
        let delegation = match &own {
            // A namespace of the federation is granted by one of its admins, whose key a node's own is.
            _ if grants => {
                Some(Delegation::sign_by(self.node_key(), locator, keys.owner(), 1, self.hybrid_time()))
            }
            Some(own) if !is_named_by_key => {
                Some(Delegation::sign(root, locator, own.owner(), 1, self.hybrid_time()))
            }
            _ => None,
        };
        let place = PlaceRoot { epoch: 1, wrapped: keys.wrap_root(&ReadKey::generate(self.random())) };
        let policy = Policy { private: options.private, quota: options.quota.flatten(), ..Policy::default() };
        let author = Author { owner: keys.owner(), epoch: 1, signer: Signer::Owner(keys), opener: None };
        let envelope = author.sign(
            self,
            Draft {
                kind: Kind::Directory,
                address: directory,
                version: 1,
                predecessor: None,
                blocks: Vec::new(),
                body: Body::Directory,
                place: Some(vec![place]),
                delegation,
                policy: Some(policy),
                purged: false,
            },
        )?;
        let key = tables::address_key(directory);
        let mut change = Change::new();
        if grants || shares {
            change.founds = true;
            change.op(crate::metastore::shared(directory.namespace()));
        }
        change.expect(tables::DIRECTORY, key.clone(), 0);
        change.op(Op::Put {
            table: tables::DIRECTORY,
            key,
            value: envelope.encode().into(),
            references: Vec::new(),
        });
        change.log(&Event::access(directory, self.clock().now_ms()));
        match change.commit(self).await? {
            Some(_) => Ok(()),
            None => Err(WriteError::Conflict { address: directory.clone() }),
        }
    }

    fn namespace_info(&self, directory: &Address) -> Result<NamespaceInfo, StorageError> {
        let chain = Chain::load(self, directory)?.ok_or_else(|| StorageError::Record {
            address: directory.clone(),
            what: "it names no owner".into(),
        })?;
        Ok(NamespaceInfo {
            name: directory.namespace().to_owned(),
            host: directory.to_url_host(),
            owner: chain.place.owner,
            private: chain.policy.private,
            quota: chain.policy.quotas.first().map(|(_, limit)| *limit),
            bytes: self.usage(directory)?,
            objects: self.counter(tables::COUNT, directory)?,
            shared: match self.metastore() {
                Some(_) => Some(self.is_shared(directory.namespace())?),
                None => None,
            },
        })
    }
}

/// The directory of a namespace named as in addresses (`com.example`).
fn directory_of(name: &str) -> Result<Address, WriteError> {
    let invalid = |what: String| WriteError::Invalid { what };
    let directory = Address::parse(&format!("/{name}/"))
        .map_err(|error| invalid(format!("the namespace {name:?}: {error}")))?;
    if directory.namespace() == UNREACHABLE {
        let what = "the namespace jsfs cannot be: its addresses at other hosts would be /.jsfs/…, the node's own interface; choose another name";
        return Err(invalid(what.to_owned()));
    }
    if directory.is_namespace() { Ok(directory) } else { Err(invalid(format!("{name:?} is no namespace"))) }
}
