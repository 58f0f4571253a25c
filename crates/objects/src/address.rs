//! Addresses: one name for one thing, however a request spells it.
//!
//! An [`Address`] is always valid and normalised: two addresses are the same exactly if their texts are. The first segment is the
//! namespace (a host name with its labels reversed), the path is UTF-8 without empty, `.` or `..` segments and without control
//! characters, the whole has at most [`ADDRESS_BYTES_MAX`] bytes, ends in `/` exactly if it names a directory, and never lies below
//! `/.jsfs`. Nothing here decides authority: a host in a request proves nothing.

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::{fmt, str::FromStr, sync::Arc};
use thiserror::Error;

/// The longest address, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 4_096;

/// A path of a request that is longer than this cannot become an address; it is not even decoded.
const RAW_PATH_BYTES_MAX: usize = 4 * ADDRESS_BYTES_MAX;

/// The namespace of this machine itself, which needs no name service.
pub const LOCALHOST: &str = "localhost";

/// The first segment of the node's own interface.
const RESERVED: &str = ".jsfs";

/// Bytes that stand for themselves in the path of a URL.
const PATH_ESCAPES: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// Why a text is no address. All but [`AddressError::TooLong`] are malformed requests.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// The host is not a name that DNS could know, nor an IP address.
    #[error("the host {host:?} is not valid: {why}")]
    Host {
        /// The host as given.
        host: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The path does not begin with `/`.
    #[error("a path begins with `/`")]
    NotAbsolute,
    /// The path still carries its query or fragment.
    #[error("the path contains a bare `?` or `#`; write %3F or %23 for one that belongs to the name")]
    Query,
    /// `%` without two hexadecimal digits.
    #[error(
        "the path has a `%` that two hexadecimal digits do not follow; write %25 for the character itself"
    )]
    Escape,
    /// The decoded path is not UTF-8.
    #[error("the path is not UTF-8 once its escapes are decoded")]
    NotUtf8,
    /// NUL or another control character.
    #[error("the path contains the control character U+{code:04X}; names cannot")]
    Control {
        /// The character's code point.
        code: u32,
    },
    /// Longer than an address may be.
    #[error("the address is longer than {ADDRESS_BYTES_MAX} bytes")]
    TooLong,
    /// Below `/.jsfs`, the node's own interface.
    #[error("`/.jsfs` is the node's own interface; objects cannot have names there")]
    Reserved,
    /// No namespace.
    #[error("an address begins with a namespace, as in /com.example/name")]
    NoNamespace,
    /// Something is to be joined to an object.
    #[error("{address} is an object, so nothing lies below it; a directory ends in `/`")]
    NotDirectory {
        /// The object.
        address: Address,
    },
    /// Valid, but written in a form other than the one that addresses are compared in.
    #[error("the address is not in its normal form, which is {normal}")]
    NotNormal {
        /// The same address in its normal form.
        normal: Address,
    },
}

/// The name of an object or a directory: `/com.example.files/a/b.txt`, `/com.example.files/a/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Arc<str>);

impl Address {
    /// The address of a request: its `Host` (with or without port) and the path of its target, still percent-encoded, without query.
    ///
    /// A first segment that begins with `.` is the absolute form: `/.com.example/a` is `/com.example/a` whatever the host.
    pub fn from_host_and_path(host: &str, raw_path: &str) -> Result<Address, AddressError> {
        if let Some(path) = usual_path(raw_path) {
            return assemble(&namespace_of_host(host)?, &[path], false);
        }
        let path = decode(raw_path)?;
        let (segments, directory) = normalise(path.strip_prefix('/').ok_or(AddressError::NotAbsolute)?);
        match segments.split_first() {
            Some((first, _)) if first.eq_ignore_ascii_case(RESERVED) => Err(AddressError::Reserved),
            Some((first, rest)) if first.starts_with('.') => {
                assemble(&namespace_of_reversed(&first[1..])?, rest, directory)
            }
            _ => assemble(&namespace_of_host(host)?, &segments, directory),
        }
    }

    /// The address that a text means, as people and `Destination` write it: `/com.example/a`. Escapes are not decoded; the namespace's
    /// case, `.`, `..` and doubled slashes are normalised; `/com.example` is the directory `/com.example/`.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        if text.len() > RAW_PATH_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        refuse_controls(text)?;
        let rest = text.strip_prefix('/').ok_or(AddressError::NotAbsolute)?;
        let (namespace, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (segments, directory) = normalise(path);
        assemble(&namespace_of_reversed(namespace)?, &segments, directory)
    }

    /// The address that a text is, in exactly its normal form, as signed and sealed structures hold it.
    pub fn parse_exact(text: &str) -> Result<Address, AddressError> {
        let address = Address::parse(text)?;
        if &*address.0 == text { Ok(address) } else { Err(AddressError::NotNormal { normal: address }) }
    }

    /// The directory at the top of a namespace, from a host name: `files.example.com` gives `/com.example.files/`.
    pub fn of_host(host: &str) -> Result<Address, AddressError> {
        assemble(&namespace_of_host(host)?, &[], true)
    }

    /// The directory at the top of namespace `localhost`.
    pub fn localhost() -> Address {
        Address(format!("/{LOCALHOST}/").into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this names a directory.
    pub fn is_directory(&self) -> bool {
        self.0.ends_with('/')
    }

    /// Whether this is the directory at the top of its namespace.
    pub fn is_namespace(&self) -> bool {
        self.path() == "/"
    }

    /// The namespace: `com.example.files`.
    pub fn namespace(&self) -> &str {
        &self.0[1..self.namespace_end()]
    }

    /// What follows the namespace, from its `/` on: `/a/b.txt`.
    pub fn path(&self) -> &str {
        &self.0[self.namespace_end()..]
    }

    /// The last segment, with its `/` for a directory: `b.txt`, `a/`; of a namespace its name: `com.example.files/`.
    pub fn name(&self) -> &str {
        &self.0[self.name_start()..]
    }

    /// The directory that this lies in; none for a namespace.
    pub fn parent(&self) -> Option<Address> {
        (!self.is_namespace()).then(|| Address(Arc::from(&self.0[..self.name_start()])))
    }

    /// The directories above, nearest first, down to the namespace.
    pub fn ancestors(&self) -> impl Iterator<Item = Address> + use<> {
        std::iter::successors(self.parent(), Address::parent)
    }

    /// The directories from this one (if it is one) or the nearest above it, down to the namespace: those whose policies apply here.
    pub fn directories(&self) -> impl Iterator<Item = Address> + use<> {
        self.is_directory().then(|| self.clone()).into_iter().chain(self.ancestors())
    }

    /// The same directories from the namespace down.
    pub fn directories_from_namespace(&self) -> impl Iterator<Item = Address> + use<> {
        let mut directories: Vec<Address> = self.directories().collect();
        directories.reverse();
        directories.into_iter()
    }

    /// The directory at the top of the namespace.
    pub fn namespace_directory(&self) -> Address {
        Address(Arc::from(&self.0[..=self.namespace_end()]))
    }

    /// What lies at a path relative to this directory: `a.txt`, `a/b/`. Normalised, and never outside this directory.
    pub fn join(&self, relative: &str) -> Result<Address, AddressError> {
        refuse_controls(relative)?;
        if relative.len() > RAW_PATH_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        if !self.is_directory() {
            return Err(AddressError::NotDirectory { address: self.clone() });
        }
        let (added, directory) = normalise(relative);
        let mut segments: Vec<&str> = self.path().split('/').filter(|segment| !segment.is_empty()).collect();
        segments.extend(added.iter());
        assemble(self.namespace(), &segments, directory || added.is_empty())
    }

    /// Whether `prefix` is this address, or a directory somewhere above it.
    pub fn starts_with(&self, prefix: &Address) -> bool {
        self == prefix || (prefix.is_directory() && self.0.starts_with(&*prefix.0))
    }

    /// The host that this is reached at: `files.example.com`, `localhost`.
    pub fn to_url_host(&self) -> String {
        reverse(self.namespace())
    }

    /// The percent-encoded path that this has at its own host; the absolute form where the plain one would be taken for it.
    pub fn to_url_path(&self) -> String {
        if self.path().starts_with("/.") {
            self.to_absolute_url_path()
        } else {
            utf8_percent_encode(self.path(), PATH_ESCAPES).to_string()
        }
    }

    /// The percent-encoded path that this has at any host: `/.com.example/a%20b`. Only what is in namespace `jsfs` has none: there it would
    /// be the node's own interface.
    pub fn to_absolute_url_path(&self) -> String {
        format!("/.{}", utf8_percent_encode(&self.0[1..], PATH_ESCAPES))
    }

    fn namespace_end(&self) -> usize {
        self.0[1..].find('/').map_or(self.0.len(), |at| at + 1)
    }

    fn name_start(&self) -> usize {
        self.0.trim_end_matches('/').rfind('/').map_or(0, |at| at + 1)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Address::parse(text)
    }
}

impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Decodes the escapes of a path once. What is left is text without control characters.
fn decode(raw_path: &str) -> Result<String, AddressError> {
    if raw_path.len() > RAW_PATH_BYTES_MAX {
        return Err(AddressError::TooLong);
    }
    if raw_path.contains(['?', '#']) {
        return Err(AddressError::Query);
    }
    let escaped = |escape: &str| escape.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !raw_path.split('%').skip(1).all(escaped) {
        return Err(AddressError::Escape);
    }
    if is_plain(raw_path) && !raw_path.contains('%') {
        return Ok(raw_path.to_owned());
    }
    let path = percent_decode_str(raw_path).decode_utf8().map_err(|_| AddressError::NotUtf8)?;
    refuse_controls(&path)?;
    Ok(path.into_owned())
}

/// The path of an object without its leading `/`, where nothing in it is to be decoded, resolved or refused.
fn usual_path(raw_path: &str) -> Option<&str> {
    let path = raw_path.strip_prefix('/').filter(|_| raw_path.len() <= ADDRESS_BYTES_MAX)?;
    let is_usual = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'%' | b'?' | b'#');
    let is_resolved = |segment: &str| !segment.is_empty() && !segment.starts_with('.');
    (path.bytes().all(is_usual) && path.split('/').all(is_resolved)).then_some(path)
}

/// Whether a text is printable ASCII, as most are.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn refuse_controls(text: &str) -> Result<(), AddressError> {
    if is_plain(text) {
        return Ok(());
    }
    match text.chars().find(|character| character.is_control()) {
        Some(character) => Err(AddressError::Control { code: character.into() }),
        None => Ok(()),
    }
}

/// The segments of a path without its leading `/`, with `.`, `..` and empty ones resolved, and whether it names a directory.
fn normalise(path: &str) -> (Vec<&str>, bool) {
    let mut segments = Vec::new();
    let mut directory = true;
    for segment in path.split('/') {
        directory = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    (segments, directory)
}

/// Joins what is normalised already, and refuses what no address may be.
fn assemble(namespace: &str, segments: &[&str], directory: bool) -> Result<Address, AddressError> {
    if let Some(first) = segments.first() {
        // Below the namespace `jsfs`, the absolute form of a name that begins with a dot would be `/.jsfs/…`.
        let unreachable = namespace == &RESERVED[1..] && first.starts_with('.');
        if first.eq_ignore_ascii_case(RESERVED) || unreachable {
            return Err(AddressError::Reserved);
        }
    }
    let length = namespace.len() + 3 + segments.iter().map(|segment| segment.len() + 1).sum::<usize>();
    let mut text = String::with_capacity(length);
    text.push('/');
    text.push_str(namespace);
    text.push('/');
    for (index, segment) in segments.iter().enumerate() {
        if index > 0 {
            text.push('/');
        }
        text.push_str(segment);
    }
    if directory && !segments.is_empty() {
        text.push('/');
    }
    if text.len() > ADDRESS_BYTES_MAX {
        return Err(AddressError::TooLong);
    }
    Ok(Address(text.into()))
}

/// The namespace of a `Host` field: name or address, with or without port.
fn namespace_of_host(host: &str) -> Result<String, AddressError> {
    let error = |why| AddressError::Host { host: host.chars().take(300).collect(), why };
    if host.len() > RAW_PATH_BYTES_MAX {
        return Err(error("it is too long"));
    }
    if let Some(rest) = host.strip_prefix('[') {
        let (inside, port) = rest.split_once(']').ok_or_else(|| error("`[` without `]`"))?;
        let address = inside.split_once('%').map_or(inside, |(address, _zone)| address);
        if address.parse::<Ipv6Addr>().is_err() {
            return Err(error("brackets hold an IPv6 address"));
        }
        return match port.strip_prefix(':').unwrap_or(port) {
            digits if is_port(digits) && (port.is_empty() || port.starts_with(':')) => {
                Ok(LOCALHOST.to_owned())
            }
            _ => Err(error("the port is no number up to 65535")),
        };
    }
    if host.matches(':').count() > 1 && host.parse::<Ipv6Addr>().is_ok() {
        return Ok(LOCALHOST.to_owned());
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    if !is_port(port) {
        return Err(error("the port is no number up to 65535"));
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    namespace_of_ascii(&reverse(&to_ascii(name).map_err(error)?)).map_err(error)
}

/// The namespace that a reversed host name means: the same as if the host had been given.
fn namespace_of_reversed(reversed: &str) -> Result<String, AddressError> {
    if reversed.is_empty() {
        return Err(AddressError::NoNamespace);
    }
    to_ascii(reversed)
        .and_then(|ascii| namespace_of_ascii(&ascii))
        .map_err(|why| AddressError::Host { host: reversed.chars().take(300).collect(), why })
}

/// A number that a port can have, in at most five digits, or nothing.
fn is_port(text: &str) -> bool {
    let digits = text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (text.is_empty() || text.parse::<u16>().is_ok())
}

/// A host name in lower case and ASCII (UTS 46). Labels are handled one by one, so this works for reversed names too.
fn to_ascii(name: &str) -> Result<String, &'static str> {
    // What UTS 46 leaves as it is, which is most names.
    let is_usual = |label: &str| {
        let usual = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(usual) && !label.starts_with("xn--")
    };
    if name.len() <= 253 && name.split('.').all(is_usual) {
        return Ok(name.to_owned());
    }
    let ascii = Uts46::new()
        .to_ascii(name.as_bytes(), AsciiDenyList::URL, Hyphens::Allow, DnsLength::Verify)
        .map_err(|_| "it is not a host name")?;
    if ascii.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        Ok(ascii.into_owned())
    } else {
        Err("a host name has letters, digits, `-`, `_` and dots only")
    }
}

/// The namespace of a reversed host name in ASCII: `localhost` for IP addresses, and `X.localhost` stands for `X`.
fn namespace_of_ascii(reversed: &str) -> Result<String, &'static str> {
    let mut name = reversed;
    while let Some(rest) = name.strip_prefix("localhost.") {
        name = rest;
    }
    let top = name.split('.').next().unwrap_or_default();
    let numeric = top.bytes().all(|byte| byte.is_ascii_digit()) || top.starts_with("0x");
    if !numeric {
        return Ok(name.to_owned());
    }
    match reverse(name).parse::<Ipv4Addr>() {
        Ok(_) => Ok(LOCALHOST.to_owned()),
        Err(_) => Err("it ends in a number but is not an IPv4 address of four decimal numbers"),
    }
}

fn reverse(name: &str) -> String {
    name.rsplit('.').collect::<Vec<_>>().join(".")
}
