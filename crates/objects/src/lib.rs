//! The single door to data: names, authority, read, write, directories, versions and events.

// // The API of jsfs_objects that http programs against (the lead lands the real code later; names are firm).
// // Everything is async where it may touch the disk. `Objects` is a cheap clone.
//
// pub struct Credentials;                    // secret; no Debug
// impl Credentials { pub fn none() -> Self; pub fn add_key(&mut self, text: &str); pub fn add_token(&mut self, text: &str); pub fn is_empty(&self) -> bool; }
// // Syntax errors of a credential are kept inside and come out in Refusal's note (401/404), never as a 400.
//
// // Typed authority. V is one of the marker types Read, List, Watch, Write, Delete, Execute, Manage, Root.
// pub struct Grant<V>;  impl<V> Grant<V> { pub fn address(&self) -> &Address; }
// impl Objects {
//   pub async fn authorize<V: Verb>(&self, credentials: &Credentials, address: &Address) -> Result<Grant<V>, Refusal>;
//   pub async fn authorize_root(&self, credentials: &Credentials) -> Result<Grant<Root>, Refusal>;
// }
// pub enum Refusal {
//   Hidden { note: Option<String> },          // 404: absent, or private to this caller: the same text for both. note speaks of the credential only
//   Unauthenticated { note: Option<String> }, // 401
//   Forbidden { needs: &'static str },        // 403: a valid token that covers the address lacks this method ("PUT") or only a key can do it ("a key")
//   Busy { retry_after: Duration },           // 503: too many typed keys being stretched at once
//   Storage(StorageError),                    // 500 (damage, I/O)
// }
//
// pub struct Metadata { pub address: Address, pub version: u64, pub private: bool, pub executable: bool, pub content_type: String, pub size: u64,
//   pub etag: ETag /* [u8;16], Display = 32 hex digits, no quotes */, pub sha256: Option<[u8;32]>, pub created_ms: u64, pub modified_ms: u64, pub owner: Owner /* Display did:key */ }
//
// // Reading
// impl Objects {
//   pub async fn read(&self, grant: &Grant<Read>, version: Option<u64>) -> Result<Object, ReadError>;   // ReadError::{Absent, Purged(410), VersionAbsent{version}, Damaged{..}, Storage}
//   pub async fn versions(&self, grant: &Grant<Read>) -> Result<Vec<VersionInfo>, ReadError>;           // VersionInfo{version, modified_ms, size, etag, content_type, private, deleted: bool}
//   pub async fn list(&self, grant: &Grant<List>, options: ListOptions) -> Result<Listing, ReadError>;  // ListOptions{after: Option<String>, limit: usize, recursive: bool}; Listing{entries: Vec<ListEntry>, next: Option<String>}
//                                                                                                     // ListEntry{ name: String /* relative, dirs end in '/' */, metadata: Option<Metadata> /* None: directory */ }; nothing visible -> ReadError::Absent
//   pub async fn directory(&self, grant: &Grant<List>) -> Result<DirectoryInfo, ReadError>;            // effective policy and owner, for GET /dir/?properties
// }
// pub struct Object { pub metadata: Metadata }
// impl Object { pub fn body(&self, range: Range<u64>) -> Body;  pub async fn blocks(&self, limit: usize) -> Result<Vec<BlockInfo>, ReadError>; /* BlockInfo{hash: String, size: u64} */ }
// impl Body { pub async fn next(&mut self) -> Option<Result<Bytes, ReadError>>; }
//
// // Writing
// pub type Precondition = Arc<dyn Fn(Option<&Metadata>) -> bool + Send + Sync>;   // evaluated on the current version, again at commit; false -> WriteError::Precondition (412)
// pub struct WriteOptions { pub content_type: Option<String>, pub private: Option<bool>, pub executable: Option<bool>, pub append: bool,
//   pub replacement_key: Option<String>, pub create_only: bool, pub precondition: Option<Precondition>, pub size_hint: Option<u64> }   // Default
// impl Objects {
//   pub async fn begin(&self, grant: Grant<Write>, options: WriteOptions) -> Result<Upload, WriteError>;
//   pub async fn delete(&self, grant: Grant<Delete>, precondition: Option<Precondition>) -> Result<(), WriteError>;        // objects; directories: the whole tree
//   pub async fn purge(&self, grant: Grant<Manage>) -> Result<(), WriteError>;
//   pub async fn change(&self, grant: Grant<Write>, change: PropertyChange, precondition: Option<Precondition>) -> Result<Metadata, WriteError>; // PropertyChange{content_type, private, executable}
//   pub async fn hand_over(&self, grant: Grant<Manage>, replacement_key: &str) -> Result<(), WriteError>;                  // object or directory
//   pub async fn set_policy(&self, grant: Grant<Manage>, change: PolicyChange) -> Result<DirectoryInfo, WriteError>;
//   pub async fn restore(&self, read: Grant<Read>, write: Grant<Write>, version: u64) -> Result<Written, WriteError>;
//   pub async fn copy(&self, from: Grant<Read>, to: Grant<Write>, precondition: Option<Precondition>) -> Result<Moved, WriteError>;      // Moved{created: bool, objects: u64, metadata: Option<Metadata>}
//   pub async fn relocate(&self, read: Grant<Read>, delete: Grant<Delete>, to: Grant<Write>, precondition: Option<Precondition>) -> Result<Moved, WriteError>;
// }
// impl Upload { pub async fn write(&mut self, bytes: Bytes) -> Result<(), WriteError>; pub async fn finish(self) -> Result<Written, WriteError>; }  // dropping it stores nothing
// pub struct Written { pub metadata: Metadata, pub created: bool, pub new_key: Option<String>, pub blocks: Vec<BlockInfo> /* the first 1,024 */ }
// pub enum WriteError { Absent, Purged, Precondition, Exists, Conflict, Quota{limit, address}, NoSpace, TooLarge{..}, IsDirectory, IsObject, Invalid{what}, Refused(Refusal), ReadOnly, Storage(StorageError) }
//
// // Tokens, namespaces, node
// impl Objects {
//   pub async fn mint_token(&self, grant: &Grant<Manage>, methods: Methods, expires_s: u64) -> Result<MintedToken, WriteError>;   // MintedToken{text, jti, expires_s}
//   pub async fn revoke(&self, grant: Grant<Manage>, jti: &str, expires_s: Option<u64>) -> Result<(), WriteError>;
//   pub async fn namespaces(&self, grant: &Grant<Root>) -> Result<Vec<NamespaceInfo>, ReadError>;   // NamespaceInfo{name, host, owner, private, quota, bytes, objects}
//   pub async fn add_namespace(&self, grant: &Grant<Root>, name: &str, options: NamespaceOptions) -> Result<(NamespaceInfo, bool /*created*/), WriteError>;
//   pub async fn set_namespace(&self, grant: &Grant<Root>, name: &str, options: NamespaceOptions) -> Result<NamespaceInfo, WriteError>;
//   pub async fn status(&self, grant: &Grant<Root>) -> Status;  // serde::Serialize: store sizes, objects, uptime…
// }

pub mod address;
mod cbor;
pub mod clock;
mod crypto;
pub mod key;
pub mod manifest;
pub mod read_key;
pub mod record;
pub mod seal;
pub mod token;

pub use cbor::FormatError;
pub use crypto::{WRAPPED_BYTES, Wrapped};
