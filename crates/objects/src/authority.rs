//! Who may do what: a pure decision from proven credentials, ownership, visibility and need.
//!
//! Nothing here reads the store, the clock or a secret: callers prove credentials first ([`Presented`]) and look the facts up
//! ([`Facts`]). What the answer looks like from outside depends on nothing but the need and the credential, never on whether a private
//! object exists, so that the two cannot be told apart.

use crate::{record::Create, token::Method};

/// What a caller wants to do at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// See the bytes and properties of an object.
    Read,
    /// See the names below a directory.
    List,
    /// Follow the changes below a directory.
    Watch,
    /// Create, replace, append, or change properties.
    Write,
    /// Remove the current version.
    Delete,
    /// Run a program.
    Execute,
    /// Forget every version. A key holder's alone.
    Purge,
    /// Change owners and policies, mint and revoke tokens. A key holder's alone.
    Manage,
}

impl Need {
    /// The token method that grants this need, if any does.
    pub fn method(self) -> Option<Method> {
        match self {
            Need::Read => Some(Method::Get),
            Need::List => Some(Method::List),
            Need::Watch => Some(Method::Watch),
            Need::Write => Some(Method::Put),
            Need::Delete => Some(Method::Delete),
            Need::Execute => Some(Method::Execute),
            Need::Purge | Need::Manage => None,
        }
    }

    /// Whether a refusal must look as if nothing were there (reads), rather than ask for a credential (changes).
    pub fn hides(self) -> bool {
        matches!(self, Need::Read | Need::List | Need::Watch | Need::Execute)
    }
}

/// What there is at the address, as far as authority cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// No object, or a deleted one.
    Absent,
    /// An object that anyone may read.
    Public,
    /// An object for those who hold a credential.
    Private,
    /// A directory: what it shows is decided entry by entry.
    Directory,
}

/// The facts of an address that a decision rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// What is there.
    pub visibility: Visibility,
    /// The policy of the directory.
    pub create: Create,
    /// Whether the address was used before: a tombstone keeps its owner.
    pub remembered: bool,
    /// Whether the object is one that a drop box took in, which the directory's owner may remove without being able to read it.
    pub removable: bool,
}

/// A token whose signature, times and revocation were checked, and whose issuer is the owner of the address's nearest place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProvenToken {
    /// Whether its subject covers the address.
    pub covers: bool,
    /// The methods that it grants.
    pub methods: crate::token::Methods,
}

/// Credentials of one request, proven against the owner of the address's nearest place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Presented {
    /// One of the keys is the owner's.
    pub owns: bool,
    /// One of the keys is that of the directory which the address lies in, whoever owns the object.
    pub owns_directory: bool,
    /// The tokens that verified.
    pub tokens: Vec<ProvenToken>,
}

/// Why a need was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    /// The owner's key was presented.
    Owner,
    /// The token at this index grants it.
    Token(usize),
    /// It is open to everybody.
    Public,
    /// The directory lets anyone create; the creator becomes the owner.
    Anyone,
    /// The key of the directory was presented, and the object came through a drop box.
    Directory,
}

/// Why a need was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// As if nothing were there.
    Hidden,
    /// A credential is needed.
    Unauthenticated,
    /// A token that covers the address is good, but not for this.
    Forbidden,
}

/// Decides one need.
pub fn decide(need: Need, facts: Facts, presented: &Presented) -> Result<Basis, Denial> {
    if presented.owns {
        return Ok(Basis::Owner);
    }
    let covering = || presented.tokens.iter().enumerate().filter(|(_, token)| token.covers);
    if let Some(method) = need.method()
        && let Some((index, _)) = covering().find(|(_, token)| token.methods.contains(method))
    {
        return Ok(Basis::Token(index));
    }
    if open_to_all(need, facts) {
        return Ok(Basis::Public);
    }
    if need == Need::Write
        && facts.create == Create::Anyone
        && facts.visibility == Visibility::Absent
        && !facts.remembered
    {
        return Ok(Basis::Anyone);
    }
    if matches!(need, Need::Delete | Need::Purge) && facts.removable && presented.owns_directory {
        return Ok(Basis::Directory);
    }
    if covering().next().is_some() {
        return Err(Denial::Forbidden);
    }
    Err(if need.hides() { Denial::Hidden } else { Denial::Unauthenticated })
}

/// A directory shows everyone its public entries; a public object is read and run by everyone.
fn open_to_all(need: Need, facts: Facts) -> bool {
    match facts.visibility {
        Visibility::Public => matches!(need, Need::Read | Need::Execute | Need::Watch),
        Visibility::Directory => matches!(need, Need::List | Need::Watch | Need::Read),
        Visibility::Absent | Visibility::Private => false,
    }
}
