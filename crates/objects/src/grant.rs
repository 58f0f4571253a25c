//! Grants: authority as a value. Every function that touches data takes one, so a forgotten check does not compile.

use crate::{
    Objects,
    address::Address,
    authority::{self, Basis, Denial, Facts, Need, Visibility},
    chain::{Chain, PlaceState},
    credentials::{Credentials, Proven},
    error::{ReadError, Refusal, StorageError},
    key::{Keys, Owner},
    read::Opened,
    read_key::{Convergence, Group, ReadKey},
    record::Create,
    rom::only_read,
    tables::Stored,
    token::Token,
};
use std::{marker::PhantomData, sync::Arc};

/// What is wrong with a token whose read key opens nothing.
pub(crate) const STALE: &str = "the token's read key does not open what is there now; ask for a new token";

/// A kind of authority: one of the marker types below.
pub trait Verb: Send + Sync + 'static {
    /// What it stands for in a decision.
    const NEED: Need;
}

macro_rules! verbs {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;
        impl Verb for $name { const NEED: Need = Need::$name; }
    )+ };
}

verbs! {
    /// See bytes and properties.
    Read,
    /// See names.
    List,
    /// Follow changes.
    Watch,
    /// Create, replace, append, change properties.
    Write,
    /// Remove.
    Delete,
    /// Run.
    Execute,
    /// Forget every version.
    Purge,
    /// Owners, policies, tokens.
    Manage,
}

/// Authority over the whole node: namespaces, status. Held by the owner of namespace `localhost`.
#[derive(Clone, Copy, Debug)]
pub struct Root;

/// Proof that a caller may do `V` at an address. Only [`Objects::authorize`] makes one.
pub struct Grant<V> {
    pub(crate) held: Arc<Held>,
    verb: PhantomData<V>,
}

impl<V> Clone for Grant<V> {
    fn clone(&self) -> Self {
        Grant { held: Arc::clone(&self.held), verb: PhantomData }
    }
}

/// What a grant rests on.
pub(crate) struct Held {
    pub(crate) address: Address,
    pub(crate) chain: Chain,
    pub(crate) access: Access,
    pub(crate) proven: Arc<Proven>,
}

/// The credential that a decision rested on.
#[derive(Clone)]
pub(crate) enum Access {
    Owner(Arc<Keys>),
    Token(Arc<Token>),
    Public,
    /// A drop box: the creator's own key, if one was presented.
    Anyone(Option<Arc<Keys>>),
    /// The owner of the directory removes what a drop box took in.
    Directory(Arc<Keys>),
}

/// Who holds a grant: never with what they proved it.
#[derive(Clone, Copy, Debug)]
pub enum Holder<'g> {
    /// The owner.
    Owner,
    /// The bearer of a token with these claims.
    Token {
        /// What it is good for.
        subject: &'g Address,
        /// What it allows.
        methods: crate::token::Methods,
        /// When it ends, s since 1970.
        expires_s: u64,
        /// Its id.
        jti: &'g str,
    },
    /// Anybody at all.
    Anyone,
}

impl<V> Grant<V> {
    fn new(held: Held) -> Self {
        Grant { held: Arc::new(held), verb: PhantomData }
    }

    /// Where it holds.
    pub fn address(&self) -> &Address {
        &self.held.address
    }

    /// Who holds it, as far as others may be told.
    pub fn holder(&self) -> Holder<'_> {
        match &self.held.access {
            Access::Owner(_) | Access::Directory(_) => Holder::Owner,
            Access::Token(token) => Holder::Token {
                subject: token.subject(),
                methods: token.methods(),
                expires_s: token.expires_s(),
                jti: token.jti(),
            },
            Access::Public | Access::Anyone(_) => Holder::Anyone,
        }
    }

    /// The owner of the place that the address belongs to.
    pub fn owner(&self) -> Owner {
        self.held.chain.place.owner
    }
}

impl Objects {
    /// Decides whether the credentials allow `V` at the address.
    pub async fn authorize<V: Verb>(
        &self,
        credentials: &Credentials,
        address: &Address,
    ) -> Result<Grant<V>, Refusal> {
        let proven = Arc::new(Proven::check(self, credentials, address.namespace()).await?);
        // Of what lies in a ROM no other node knows more.
        if self.metastore().is_some() && self.rom_at(address).is_none() {
            Box::pin(self.refresh(&proven, address, V::NEED)).await?;
        }
        self.authorize_proven(&proven, address)
    }

    /// Decides again, because what it rested on has changed here or elsewhere.
    pub(crate) async fn authorize_again<V: Verb>(
        &self,
        proven: &Arc<Proven>,
        address: &Address,
    ) -> Result<Grant<V>, Refusal> {
        Box::pin(self.refresh(proven, address, V::NEED)).await?;
        self.authorize_proven(proven, address)
    }

    /// The same for credentials that were proven before, at another address of the same request.
    pub(crate) fn authorize_proven<V: Verb>(
        &self,
        proven: &Arc<Proven>,
        address: &Address,
    ) -> Result<Grant<V>, Refusal> {
        if let Some(rom) = self.rom_at(address) {
            return rom.authorize_proven(proven, address).and_then(only_read);
        }
        let Some(mut chain) = Chain::above(self, address)? else {
            return Err(self.no_namespace::<V>(proven, address));
        };
        if self.concerns(V::NEED, proven, &chain, address)? {
            chain.see_object(self, address)?;
        }
        let (presented, tokens) = proven.at(address, &chain);
        let basis = authority::decide(V::NEED, chain.facts(address), &presented)
            .map_err(|denial| refusal(denial, V::NEED, proven))?;
        let access = match basis {
            Basis::Owner => match proven.key_of(chain.place.owner) {
                Some(keys) => {
                    // What was handed over on another node is sealed again there.
                    if chain.place.roots.len() > 1 && !self.is_shared(address.namespace())? {
                        self.resume_resealing(&chain, keys);
                    }
                    Access::Owner(Arc::clone(keys))
                }
                None => return Err(refusal(Denial::Unauthenticated, V::NEED, proven)),
            },
            Basis::Token(index) => Access::Token(Arc::clone(&tokens[index])),
            Basis::Public => Access::Public,
            Basis::Anyone => Access::Anyone(proven.keys.first().cloned()),
            Basis::Directory => match proven.key_of(chain.directory_place.owner) {
                Some(keys) => Access::Directory(Arc::clone(keys)),
                None => return Err(refusal(Denial::Unauthenticated, V::NEED, proven)),
            },
        };
        Ok(Grant::new(Held { address: address.clone(), chain, access, proven: Arc::clone(proven) }))
    }

    /// Whether a decision depends on what is at the address. Where it does not, that is not looked at: how long a refusal takes then tells as
    /// little as what it says.
    fn concerns(
        &self,
        need: Need,
        proven: &Proven,
        chain: &Chain,
        address: &Address,
    ) -> Result<bool, StorageError> {
        if chain.policy.create == Create::Anyone {
            return Ok(true);
        }
        let (presented, _) = proven.at(address, chain);
        let anything = Facts {
            visibility: Visibility::Private,
            create: Create::Owner,
            remembered: true,
            removable: true,
        };
        if authority::decide(need, anything, &presented).is_ok() {
            return Ok(true);
        }
        self.is_shown_or_owned_by(proven, address)
    }

    /// Decides whether the credentials hold the node's root key.
    pub async fn authorize_root(&self, credentials: &Credentials) -> Result<Grant<Root>, Refusal> {
        let localhost = localhost()?;
        let manage = self.authorize::<Manage>(credentials, &localhost).await?;
        Ok(Grant { held: manage.held, verb: PhantomData })
    }

    /// A namespace that is not here looks like anything else that is not, except to the holder of the root key.
    fn no_namespace<V: Verb>(&self, proven: &Arc<Proven>, address: &Address) -> Refusal {
        let root = localhost().and_then(|localhost| Ok(Chain::load(self, &localhost)?));
        match root {
            Ok(Some(root)) if proven.key_of(root.place.owner).is_some() => {
                let meant = Address::of_host(address.namespace()).ok();
                let meant = meant.filter(|meant| self.has_namespace(meant));
                Refusal::NoNamespace { name: address.to_url_host(), meant }
            }
            _ if V::NEED.hides() => refusal(Denial::Hidden, V::NEED, proven),
            _ => refusal(Denial::Unauthenticated, V::NEED, proven),
        }
    }
}

/// The directory at the top of the node's own namespace.
pub(crate) fn localhost() -> Result<Address, Refusal> {
    let address = Address::of_host("localhost");
    address.map_err(|error| StorageError::Write(format!("no address for localhost: {error}")).into())
}

fn refusal(denial: Denial, need: Need, proven: &Proven) -> Refusal {
    match denial {
        Denial::Hidden => Refusal::Hidden { note: proven.note.clone() },
        Denial::Unauthenticated => Refusal::Unauthenticated { note: proven.note.clone() },
        Denial::Forbidden => {
            Refusal::Forbidden { needs: need.method().map_or("an access key", |method| method.name()) }
        }
    }
}

/// The read keys that a grant opens: from a place's roots or a token's fourth part, down the tree.
#[derive(Clone)]
pub(crate) struct Opener {
    top: Address,
    /// Newest epoch first.
    keys: Arc<[(u64, ReadKey)]>,
    /// The group of private children of the directory that the top lies in, where it is known.
    above: Option<Group>,
    /// Whether what is sealed under an epoch that is not here is on its way to one that is.
    pub(crate) waits: bool,
}

impl Opener {
    pub(crate) fn new(top: Address, keys: Vec<(u64, ReadKey)>, above: Option<Group>) -> Self {
        Opener { top, keys: keys.into(), above, waits: false }
    }

    /// The read key of an address below, as of an epoch.
    pub(crate) fn read_key(&self, address: &Address, epoch: u64) -> Option<ReadKey> {
        let (_, top) = self.keys.iter().find(|(of, _)| *of == epoch)?;
        top.descend(&self.top, address)
    }

    /// The group that lists a private object, as far as that can be known from here.
    pub(crate) fn group(&self, address: &Address, epoch: u64) -> Option<Group> {
        let directory = address.parent()?;
        self.read_key(&directory, epoch)
            .map(|key| key.group())
            .or(self.above.filter(|_| *address == self.top))
    }

    /// The epochs that this has keys of.
    pub(crate) fn epochs(&self) -> impl Iterator<Item = u64> {
        self.keys.iter().map(|(epoch, _)| *epoch)
    }

    /// The deduplication secret of the tree that this opens.
    pub(crate) fn convergence(&self) -> Option<Convergence> {
        self.keys.first().map(|(_, top)| top.convergence())
    }

    /// From the owner's key: every epoch of the place.
    pub(crate) fn of_owner(keys: &Keys, chain: &Chain) -> Option<Opener> {
        chain.place.opener(keys)
    }

    /// The same, unwrapped.
    pub(crate) fn of_roots(keys: &Keys, place: &PlaceState) -> Option<Opener> {
        let (newest, older) = place.roots.split_first()?;
        let root = keys.unwrap_root(&newest.wrapped).ok()?;
        let older =
            older.iter().filter_map(|older| Some((older.epoch, root.unwrap_older(&older.wrapped).ok()?)));
        let opened = std::iter::once((newest.epoch, root.clone())).chain(older).collect();
        Some(Opener::new(place.address.clone(), opened, None))
    }

    /// From a token's fourth part: the present epoch only.
    pub(crate) fn of_token(token: &Token, place: &PlaceState) -> Option<Opener> {
        let keys = vec![(place.epoch, token.read_key()?.clone())];
        let waits = place.roots.len() > 1;
        Some(Opener { waits, ..Opener::new(token.subject().clone(), keys, None) })
    }
}

impl Held {
    /// What this grant can decrypt, if anything.
    pub(crate) fn opener(&self) -> Option<Opener> {
        self.access.opener(&self.chain)
    }

    /// Whether a key was presented that owns the address.
    pub(crate) fn owns(&self) -> bool {
        self.proven.key_of(self.chain.place.owner).is_some()
    }

    /// There is nothing here that this caller may know of. To whoever may know that, nothing is said of credentials.
    pub(crate) fn nothing_there(&self) -> ReadError {
        match &self.access {
            Access::Owner(_) | Access::Token(_) | Access::Directory(_) => {
                ReadError::Absent { address: self.address.clone() }
            }
            Access::Public | Access::Anyone(_) => Refusal::Hidden { note: self.proven.note.clone() }.into(),
        }
    }

    /// Opens what is stored at the address, with whatever this grant can decrypt.
    pub(crate) fn open(&self, stored: &Stored) -> Result<Opened, ReadError> {
        self.convict(Opened::of(&self.address, stored, self.opener().as_ref()))
    }

    /// A token whose read key does not open what it covers proves nothing there: it was made before the place got its present root, or the
    /// record was sealed by somebody who had another key. Only the owner hears of the latter.
    pub(crate) fn convict<T>(&self, opened: Result<T, ReadError>) -> Result<T, ReadError> {
        match opened {
            Err(ReadError::Unreadable { .. }) if matches!(self.access, Access::Token(_)) => {
                Err(Refusal::Hidden { note: Some(STALE.to_owned()) }.into())
            }
            opened => opened,
        }
    }
}

impl Access {
    pub(crate) fn opener(&self, chain: &Chain) -> Option<Opener> {
        match self {
            Access::Owner(keys) => Opener::of_owner(keys, chain),
            Access::Token(token) => Opener::of_token(token, &chain.place),
            Access::Public | Access::Anyone(_) | Access::Directory(_) => None,
        }
    }
}
