//! Policies of directories: what new objects are, who may create, how much and how long is kept, which tokens are revoked.

use crate::{
    Objects,
    address::Address,
    author::{Author, Body, Draft},
    chain::Chain,
    commit::{ATTEMPTS, Change},
    error::{ReadError, WriteError},
    event::Event,
    grant::{Grant, Held, List, Manage},
    key::Owner,
    record::{Create, HOST_BYTES_MAX, HOSTS_MAX, Kind, Policy, REVOCATIONS_MAX, Revocation},
    tables::{self, Stored},
    tree,
};
use jsfs_store::Op;
use std::{net::Ipv6Addr, sync::Arc};

/// The most days that a policy keeps old versions: a hundred years.
pub const RETENTION_DAYS_MAX: u64 = 36_500;

/// The most old versions of an object that a policy keeps.
pub const RETENTION_VERSIONS_MAX: u64 = 1_000_000;

/// Changes to a directory's policy: `Some(None)` inherits from above again.
#[derive(Clone, Debug, Default)]
pub struct PolicyChange {
    /// Whether new objects are private.
    pub private: Option<Option<bool>>,
    /// Who may create objects.
    pub create: Option<Option<Create>>,
    /// How many bytes may be kept below, old versions included.
    pub quota: Option<Option<u64>>,
    /// Days and number of old versions.
    pub retention: Option<Option<(u64, u64)>>,
    /// Hosts outside that programs may reach.
    pub hosts: Option<Option<Vec<String>>>,
}

/// What holds in a directory, its own or inherited.
#[derive(Clone, Debug)]
pub struct DirectoryInfo {
    /// Where.
    pub address: Address,
    /// Whose it is.
    pub owner: Owner,
    /// Whether new objects are private.
    pub private: bool,
    /// Who may create objects.
    pub create: Create,
    /// Its own quota in bytes.
    pub quota: Option<u64>,
    /// How many days old versions are kept.
    pub retention_days: u64,
    /// How many old versions of an object are kept.
    pub retention_versions: u64,
    /// Hosts outside that programs may reach.
    pub hosts: Vec<String>,
}

impl Objects {
    /// What holds in a directory.
    pub async fn directory(&self, grant: &Grant<Manage>) -> Result<DirectoryInfo, ReadError> {
        Ok(info(&grant.held.address, &grant.held.chain))
    }

    /// The nearest owner of a directory that shows something, for building a token offline.
    pub fn owner_of(&self, grant: &Grant<List>) -> Owner {
        grant.held.chain.place.owner
    }

    /// Changes a directory's policy.
    pub async fn set_policy(
        &self,
        grant: Grant<Manage>,
        change: PolicyChange,
    ) -> Result<DirectoryInfo, WriteError> {
        let address = grant.held.address.clone();
        if !address.is_directory() {
            let what = format!("{address} is an object; policies belong to directories ({address}/)");
            return Err(WriteError::Invalid { what });
        }
        check(&change)?;
        let chain = self.edit_policy(&grant, &address, |policy| apply(policy, &change)).await?;
        Ok(info(&address, &chain))
    }

    /// Makes a token void before it expires, in the directory of the place that it was made for.
    pub async fn revoke(
        &self,
        grant: Grant<Manage>,
        jti: &str,
        expires_s: Option<u64>,
    ) -> Result<(), WriteError> {
        if jti.is_empty() || jti.len() > 64 {
            return Err(WriteError::Invalid { what: "a token's id (jti) has 1 to 64 characters".into() });
        }
        let place = &grant.held.chain.place.address;
        if !place.is_directory() {
            let what = format!("{place} has a key of its own; replace that key to void its tokens");
            return Err(WriteError::Invalid { what });
        }
        let now_s = self.clock().now_ms() / 1_000;
        let revocation = Revocation { jti: jti.to_owned(), expires_s: expires_s.unwrap_or(u64::MAX) };
        let place = place.clone();
        let mut full = false;
        self.edit_policy(&grant, &place, |policy| {
            policy.revoked.retain(|revoked| revoked.expires_s > now_s && revoked.jti != revocation.jti);
            full = policy.revoked.len() >= REVOCATIONS_MAX;
            if !full {
                policy.revoked.push(revocation.clone());
            }
        })
        .await?;
        if full {
            let what = format!(
                "{place} remembers {REVOCATIONS_MAX} revoked tokens already; replace its key instead"
            );
            return Err(WriteError::TooLarge { what });
        }
        Ok(())
    }

    async fn edit_policy(
        &self,
        grant: &Grant<Manage>,
        directory: &Address,
        mut edit: impl FnMut(&mut Policy),
    ) -> Result<Chain, WriteError> {
        for _ in 0..ATTEMPTS {
            let held: Arc<Held> = self.authorize_again::<Manage>(&grant.held.proven, directory).await?.held;
            let own = held.chain.directories.last().filter(|own| own.address == *directory);
            let mut policy = own.and_then(|own| own.record.policy.clone()).unwrap_or_default();
            let quota_before = policy.quota;
            edit(&mut policy);
            let mut change = Change::new();
            if policy.quota.is_some() && quota_before.is_none() && !directory.is_namespace() {
                self.begin_counting(&mut change, directory)?;
            }
            let author = Author::of(&held.access, &held.chain)?;
            let envelope = author.sign(
                self,
                Draft {
                    kind: Kind::Directory,
                    address: directory,
                    version: own.map_or(1, |own| own.record.version + 1),
                    predecessor: own.map(|own| own.hash),
                    blocks: Vec::new(),
                    body: Body::Directory,
                    place: own.and_then(|own| own.record.place.clone()),
                    delegation: own.and_then(|own| own.record.delegation.clone()),
                    policy: Some(policy),
                    purged: false,
                },
            )?;
            let key = tables::address_key(directory);
            change.expect_chain(&held.chain);
            change.expect(tables::DIRECTORY, key.clone(), own.map_or(0, |own| own.sequence));
            change.op(Op::Put {
                table: tables::DIRECTORY,
                key,
                value: envelope.encode().into(),
                references: Vec::new(),
            });
            change.log(&Event::access(directory, self.clock().now_ms()));
            if change.commit(self).await?.is_some() {
                let chain = Chain::load(self, directory)?;
                return chain.ok_or_else(|| WriteError::Absent { address: directory.clone() });
            }
        }
        Err(WriteError::Conflict { address: directory.clone() })
    }

    /// A directory that gets its first quota is counted once; from then on every change keeps the count.
    fn begin_counting(&self, change: &mut Change, directory: &Address) -> Result<(), WriteError> {
        let prefix = tables::address_key(directory);
        let mut bytes = 0_u64;
        for table in [tables::CURRENT, tables::VERSION] {
            for item in self.store().scan(table, tables::prefix_range(prefix.clone())) {
                let (key, entry) = item?;
                let text =
                    tables::split_version_key(&key).map_or(key.as_slice(), |(text, _)| text.as_bytes());
                let size = Stored::decode(&tree::address_of(text)?, entry)?.size;
                bytes = bytes.saturating_add(size);
            }
        }
        let bytes = bytes.saturating_add(self.unfinished_bytes(directory)?);
        let value = bytes.to_le_bytes().to_vec().into();
        change.op(Op::Put { table: tables::USAGE, key: prefix, value, references: Vec::new() });
        Ok(())
    }
}

/// Refuses what nobody can mean.
fn check(change: &PolicyChange) -> Result<(), WriteError> {
    let invalid = |what: String| Err(WriteError::Invalid { what });
    if let Some(Some((days, versions))) = change.retention
        && (days > RETENTION_DAYS_MAX || versions > RETENTION_VERSIONS_MAX)
    {
        return invalid(format!(
            "a retention has at most {RETENTION_DAYS_MAX} days and {RETENTION_VERSIONS_MAX} versions, not {days} and {versions}"
        ));
    }
    let hosts = change.hosts.as_ref().and_then(Option::as_ref).map(Vec::as_slice).unwrap_or_default();
    if hosts.len() > HOSTS_MAX {
        return invalid(format!("a policy names at most {HOSTS_MAX} hosts, not {}", hosts.len()));
    }
    match hosts.iter().find(|host| !is_host(host)) {
        Some(host) => {
            let host: String = host.chars().take(64).collect();
            invalid(format!("{host:?} is no host name; send names such as files.example.com, without a port"))
        }
        None => Ok(()),
    }
}

/// A name that DNS could know, or an IP address.
fn is_host(text: &str) -> bool {
    let port = text.contains([':', '[']) && text.parse::<Ipv6Addr>().is_err();
    text.len() <= HOST_BYTES_MAX && !port && Address::of_host(text).is_ok()
}

fn apply(policy: &mut Policy, change: &PolicyChange) {
    policy.private = change.private.unwrap_or(policy.private);
    policy.create = change.create.unwrap_or(policy.create);
    policy.quota = change.quota.unwrap_or(policy.quota);
    policy.retention = change.retention.unwrap_or(policy.retention);
    if let Some(hosts) = &change.hosts {
        policy.hosts.clone_from(hosts);
    }
}

fn info(address: &Address, chain: &Chain) -> DirectoryInfo {
    let own_quota = chain.policy.quotas.iter().find(|(directory, _)| directory == address);
    DirectoryInfo {
        address: address.clone(),
        owner: chain.place.owner,
        private: chain.policy.private,
        create: chain.policy.create,
        quota: own_quota.map(|(_, limit)| *limit),
        retention_days: chain.policy.retention_days,
        retention_versions: chain.policy.retention_versions,
        hosts: chain.policy.hosts.clone(),
    }
}
