//! What a node keeps of its federation in its data directory: `federation/state` and, on the node that founded it, `federation/authority.key`.
//!
//! The state is one CBOR value and its BLAKE3 hash, written beside its place, synced and renamed, so there is never half of one. A state that is
//! damaged is an error and is left as it is. Both files are the owner's alone.

use crate::error::PeerError;
use jsfs_federation::membership::{
    Admission, FederationId, INVITATIONS_MAX, Invitation, Item, MEMBERS_MAX, PeerId, Roles, Roster,
};
use jsfs_objects::cbor::{Cbor, FormatError, Reader, Writer, required};
use jsfs_objects::key::{Seed, SigningKey};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

const STATE_FILE: &str = "state";
const AUTHORITY_FILE: &str = "authority.key";
const VERSION: u64 = 2;
/// Without the members whose certificates are renewed, and whether a bearer's will be.
const VERSION_BEFORE: u64 = 1;
const HASH_BYTES: usize = 32;
const LABEL: &[u8] = b"jsfs/v1/federation-state";

/// What was kept.
pub(crate) struct Kept {
    pub(crate) roster: Roster,
    pub(crate) admission: Admission,
    pub(crate) authority: Option<SigningKey>,
}

/// Writes the state, one at a time.
pub(crate) struct Keeper {
    directory: PathBuf,
    writing: Mutex<()>,
}

impl Keeper {
    /// Keeps in a directory of the data directory, which is made when there is something to keep.
    pub(crate) fn new(data: &Path) -> Self {
        Self { directory: data.join("federation"), writing: Mutex::new(()) }
    }

    /// What was kept; none where the node is in no federation.
    pub(crate) fn load(&self, now_ms: u64) -> Result<Option<Kept>, PeerError> {
        let path = self.directory.join(STATE_FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let damaged = |what: String| PeerError::Damaged { path: path.display().to_string(), what };
        let (body, hash) =
            bytes.split_last_chunk::<HASH_BYTES>().ok_or_else(|| damaged("it is cut short".to_owned()))?;
        if hash_of(body) != *hash {
            return Err(damaged("its hash does not match".to_owned()));
        }
        let state = State::from_bytes(body).map_err(|error| damaged(error.to_string()))?;
        let mut roster = Roster::new(state.federation);
        for bytes in &state.items {
            let item = Item::decode(bytes).map_err(|error| damaged(error.to_string()))?;
            // Everything was checked when it came in, and is again; what was good once may have expired.
            if let Err(error) = roster.restore(item, now_ms) {
                tracing::debug!(%error, "a statement about the federation counts no more");
            }
        }
        let authority = self.authority()?;
        Ok(Some(Kept {
            roster,
            admission: Admission::restore(state.invitations, state.renewed.unwrap_or_default()),
            authority,
        }))
    }

    fn authority(&self) -> Result<Option<SigningKey>, PeerError> {
        let path = self.directory.join(AUTHORITY_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let seed = Seed::parse(text.trim()).map_err(|error| PeerError::Damaged {
            path: path.display().to_string(),
            what: error.to_string(),
        })?;
        Ok(Some(seed.keys().signing().clone()))
    }

    /// Keeps a new authority's key before anything is signed with it.
    pub(crate) async fn found(&self, seed: &Seed) -> Result<(), PeerError> {
        let _writing = self.writing.lock().await;
        let text = Zeroizing::new(format!("{}\n", seed.to_text().as_str()).into_bytes());
        write(&self.directory, AUTHORITY_FILE, &text).map_err(|error| self.failed(error))
    }

    /// The bytes that keep a state.
    pub(crate) fn bytes(roster: &Roster, admission: &Admission) -> Vec<u8> {
        let state = State {
            federation: roster.federation(),
            invitations: admission.iter().map(|(digest, invitation)| (*digest, *invitation)).collect(),
            renewed: Some(admission.renewed().copied().collect()),
            items: roster.items().map(<[u8]>::to_vec).collect(),
        };
        let mut bytes = state.to_bytes();
        let hash = hash_of(&bytes);
        bytes.extend_from_slice(&hash);
        bytes
    }

    /// Writes what `snapshot` gives, or removes everything where that is nothing. Snapshots are taken in the order of writing, so a later state is
    /// never replaced by an earlier one.
    pub(crate) async fn save(&self, snapshot: impl FnOnce() -> Option<Vec<u8>>) -> Result<(), PeerError> {
        let _writing = self.writing.lock().await;
        match snapshot() {
            Some(bytes) => {
                let directory = self.directory.clone();
                let written =
                    tokio::task::spawn_blocking(move || write(&directory, STATE_FILE, &bytes)).await;
                written.map_err(|_| PeerError::Stopping)?.map_err(|error| self.failed(error))
            }
            None => self.remove(),
        }
    }

    /// The state goes first: a key without a state is no federation.
    fn remove(&self) -> Result<(), PeerError> {
        for name in [STATE_FILE, AUTHORITY_FILE] {
            match fs::remove_file(self.directory.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn failed(&self, error: io::Error) -> PeerError {
        PeerError::Keep { path: self.directory.display().to_string(), error }
    }
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let (path, temporary) = (directory.join(name), directory.join(format!("{name}.new")));
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(directory)?.sync_all()
}

fn hash_of(body: &[u8]) -> [u8; HASH_BYTES] {
    *blake3::Hasher::new().update(LABEL).update(body).finalize().as_bytes()
}

/// What the file says.
struct State {
    federation: FederationId,
    invitations: Vec<([u8; 32], Invitation)>,
    /// Whose certificates are renewed; none in a state of before, which says of no invitation whether its bearer's is.
    renewed: Option<Vec<PeerId>>,
    items: Vec<Vec<u8>>,
}

impl Cbor for State {
    const NAME: &'static str = "the state of a federation";
    const BYTES_MAX: usize = 256 << 20;

    fn write(&self, out: &mut Writer) {
        let (version, length) = if self.renewed.is_some() { (VERSION, 5) } else { (VERSION_BEFORE, 4) };
        out.array(length).uint(version).bytes(self.federation.as_bytes()).array(self.invitations.len());
        for (digest, invitation) in &self.invitations {
            out.array(length + 2).bytes(digest).uint(invitation.roles.bits()).uint(invitation.space);
            out.uint(invitation.expires_ms).uint(invitation.certificate_ms);
            if self.renewed.is_some() {
                out.bool(invitation.is_renewed);
            }
            match invitation.used_by {
                Some(peer) => out.bytes(peer.as_bytes()),
                None => out.null(),
            };
        }
        if let Some(renewed) = &self.renewed {
            out.array(renewed.len());
            for peer in renewed {
                out.bytes(peer.as_bytes());
            }
        }
        out.array(self.items.len());
        for item in &self.items {
            out.bytes(item);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let length = input.array(Self::NAME, 5)?;
        let version = input.uint(Self::NAME)?;
        let is_current = match (version, length) {
            (VERSION, 5) => true,
            (VERSION_BEFORE, 4) => false,
            _ => return Err(FormatError::Version { what: Self::NAME, version }),
        };
        let peer = |input: &mut Reader<'_>| Ok(PeerId::from_bytes(input.fixed(Self::NAME)?));
        Ok(Self {
            federation: FederationId::from_bytes(input.fixed(Self::NAME)?),
            invitations: input.list(Self::NAME, INVITATIONS_MAX, |input| invitation(input, is_current))?,
            renewed: if is_current { Some(input.list(Self::NAME, MEMBERS_MAX, peer)?) } else { None },
            items: input.list(Self::NAME, usize::MAX, |input| {
                input.bytes(Item::NAME, Item::BYTES_MAX).map(<[u8]>::to_vec)
            })?,
        })
    }
}

fn invitation(input: &mut Reader<'_>, is_current: bool) -> Result<([u8; 32], Invitation), FormatError> {
    const WHAT: &str = "an invitation";
    input.tuple(WHAT, if is_current { 7 } else { 6 })?;
    let digest = input.fixed(WHAT)?;
    let roles = required(Roles::from_bits(input.uint(WHAT)?), WHAT)?;
    let (space, expires_ms, certificate_ms) = (input.uint(WHAT)?, input.uint(WHAT)?, input.uint(WHAT)?);
    let is_renewed = is_current && input.bool(WHAT)?;
    let used_by = if input.null() { None } else { Some(PeerId::from_bytes(input.fixed(WHAT)?)) };
    Ok((digest, Invitation { roles, space, expires_ms, certificate_ms, is_renewed, used_by }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{AUTHORITY_FILE, Keeper, STATE_FILE, State};
    use crate::error::PeerError;
    use jsfs_federation::membership::{Admission, Charter, Invitation, Item, Roles, Roster, TicketSecret};
    use jsfs_objects::cbor::{Cbor, Writer};
    use jsfs_objects::clock::SystemRandom;
    use jsfs_objects::key::Seed;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const NOW: u64 = 1_795_435_200_000;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_state_comes_back_as_it_was_and_damage_is_an_error() {
        let data = tempfile::tempdir().unwrap();
        let keeper = Keeper::new(data.path());
        assert!(keeper.load(NOW).unwrap().is_none());
        let seed = Seed::generate(&SystemRandom);
        let key = seed.keys().signing().clone();
        keeper.found(&seed).await.unwrap();
        let mut roster = Roster::new(key.public());
        roster.add(Item::Charter(Charter::sign(NOW, "home", 3, &key).unwrap()), NOW).unwrap();
        let mut admission = Admission::default();
        let invitation = Invitation {
            roles: Roles::FULL,
            space: 3,
            expires_ms: NOW + 9,
            certificate_ms: 7,
            is_renewed: true,
            used_by: None,
        };
        admission.invite(&TicketSecret::from_bytes([4; 32]), invitation, NOW).unwrap();
        admission.keep_renewed(key.public());
        keeper.save(|| Some(Keeper::bytes(&roster, &admission))).await.unwrap();
        let kept = keeper.load(NOW).unwrap().unwrap();
        assert_eq!(kept.roster.digest(), roster.digest());
        assert_eq!(kept.admission.iter().collect::<Vec<_>>(), admission.iter().collect::<Vec<_>>());
        assert_eq!(kept.admission.renewed().collect::<Vec<_>>(), [&key.public()]);
        assert_eq!(kept.authority.unwrap().public(), key.public());
        let directory = data.path().join("federation");
        for name in [STATE_FILE, AUTHORITY_FILE] {
            assert_eq!(fs::metadata(directory.join(name)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let mut bytes = fs::read(directory.join(STATE_FILE)).unwrap();
        bytes[50] ^= 1;
        fs::write(directory.join(STATE_FILE), &bytes).unwrap();
        assert!(matches!(keeper.load(NOW), Err(PeerError::Damaged { .. })));
        assert_eq!(fs::read(directory.join(STATE_FILE)).unwrap(), bytes, "it is left as it is");
        keeper.save(|| None).await.unwrap();
        assert!(keeper.load(NOW).unwrap().is_none() && !directory.join(AUTHORITY_FILE).exists());
    }
    #[test]
    fn a_state_of_before_is_read_and_promises_no_renewal() {
        let federation = Seed::generate(&SystemRandom).keys().signing().public();
        let mut out = Writer::new();
        out.array(4).uint(1).bytes(federation.as_bytes()).array(1);
        out.array(6).bytes(&[4; 32]).uint(15).uint(3).uint(NOW).uint(7).null();
        out.array(0);
        let state = State::from_bytes(&out.into_bytes()).unwrap();
        assert_eq!((state.federation, state.renewed, state.items.len()), (federation, None, 0));
        assert!(!state.invitations[0].1.is_renewed && state.invitations[0].1.certificate_ms == 7);
    }
}
