//! Policies: the rules of a directory, which hold below it until a nearer directory says otherwise.

use crate::cbor::{Cbor, FormatError, Reader, Writer};

/// The most hosts that a policy names.
pub const HOSTS_MAX: usize = 256;

/// The most revoked tokens that a policy names.
pub const REVOCATIONS_MAX: usize = 4_096;

/// The longest name of a host, in bytes.
pub const HOST_BYTES_MAX: usize = 253;
const TOKEN_ID_BYTES_MAX: usize = 64;

/// Who may create objects that do not exist yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Create {
    /// The owner, and tokens made by the owner.
    #[default]
    Owner,
    /// Anyone, under a key of their own: a drop box.
    Anyone,
}

/// A token that no longer counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revocation {
    /// The token's id.
    pub jti: String,
    /// Its expiry, s since 1970: from then on the entry may be dropped.
    pub expires_s: u64,
}

/// The rules of a directory. What is absent is inherited; revocations add to those above.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Whether new objects are private unless the request says otherwise.
    pub private: Option<bool>,
    /// Who may create objects.
    pub create: Option<Create>,
    /// How many bytes may be stored below, kept versions included.
    pub quota: Option<u64>,
    /// For how many days earlier versions are kept, and how many of them.
    pub retention: Option<(u64, u64)>,
    /// The hosts that programs stored below may reach. An empty list is none at all.
    pub hosts: Option<Vec<String>>,
    /// Tokens that no longer count.
    pub revoked: Vec<Revocation>,
}

impl Policy {
    /// Whether it says nothing, so that it can be left out.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Cbor for Policy {
    const NAME: &'static str = "a policy";
    const BYTES_MAX: usize = super::RECORD_BYTES_MAX;

    fn write(&self, out: &mut Writer) {
        let fields = [
            self.private.is_some(),
            self.create.is_some(),
            self.quota.is_some(),
            self.retention.is_some(),
            self.hosts.is_some(),
            !self.revoked.is_empty(),
        ];
        out.map(fields.into_iter().filter(|present| *present).count());
        if let Some(private) = self.private {
            out.uint(1).bool(private);
        }
        if let Some(create) = self.create {
            out.uint(2).uint(u64::from(create == Create::Anyone));
        }
        if let Some(quota) = self.quota {
            out.uint(3).uint(quota);
        }
        if let Some((days, versions)) = self.retention {
            out.uint(4).array(2).uint(days).uint(versions);
        }
        if let Some(hosts) = &self.hosts {
            out.uint(5).array(hosts.len());
            hosts.iter().for_each(|host| {
                out.text(host);
            });
        }
        if !self.revoked.is_empty() {
            out.uint(6).array(self.revoked.len());
            self.revoked.iter().for_each(|revoked| {
                out.array(2).text(&revoked.jti).uint(revoked.expires_s);
            });
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let mut policy = Self::default();
        input.map(Self::NAME, |input, key| {
            match key {
                1 => policy.private = Some(input.bool("a policy's privacy")?),
                2 => policy.create = Some(read_create(input)?),
                3 => policy.quota = Some(input.uint("a policy's quota")?),
                4 => policy.retention = Some(read_retention(input)?),
                5 => {
                    policy.hosts = Some(input.list("a policy's hosts", HOSTS_MAX, |input| {
                        input.text("a host", HOST_BYTES_MAX).map(str::to_owned)
                    })?);
                }
                6 => {
                    policy.revoked =
                        input.list("a policy's revoked tokens", REVOCATIONS_MAX, read_revocation)?
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(policy)
    }
}

fn read_create(input: &mut Reader<'_>) -> Result<Create, FormatError> {
    match input.uint("who may create")? {
        0 => Ok(Create::Owner),
        1 => Ok(Create::Anyone),
        _ => Err(FormatError::Malformed { what: "who may create" }),
    }
}

fn read_retention(input: &mut Reader<'_>) -> Result<(u64, u64), FormatError> {
    input.tuple("a policy's retention", 2)?;
    Ok((input.uint("days of retention")?, input.uint("versions of retention")?))
}

fn read_revocation(input: &mut Reader<'_>) -> Result<Revocation, FormatError> {
    input.tuple("a revoked token", 2)?;
    let jti = input.text("a token's id", TOKEN_ID_BYTES_MAX)?.to_owned();
    Ok(Revocation { jti, expires_s: input.uint("a token's expiry")? })
}
