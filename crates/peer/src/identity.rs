//! The same Ed25519 key in two notations: ours, and that of the transport, which proves it.

use jsfs_federation::membership::PeerId;
use jsfs_objects::key::SigningKey;
use libp2p::identity::{Keypair, ed25519};

/// What stands before the 32 bytes of an Ed25519 key in the transport's peer id: an identity multihash of the key as protobuf.
const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// The node's key as the transport wants it.
pub(crate) fn keypair(key: &SigningKey) -> Option<Keypair> {
    let secret = ed25519::SecretKey::try_from_bytes(&mut *key.expose_secret()).ok()?;
    Some(ed25519::Keypair::from(secret).into())
}

/// The transport's notation of a peer; none if its bytes are no key.
pub(crate) fn to_transport(peer: &PeerId) -> Option<libp2p::PeerId> {
    libp2p::PeerId::from_bytes(&[&PREFIX[..], peer.as_bytes()].concat()).ok()
}

/// Our notation of a peer; none where its key is not an Ed25519 key.
pub(crate) fn from_transport(peer: &libp2p::PeerId) -> Option<PeerId> {
    let bytes = peer.to_bytes();
    let key = bytes.strip_prefix(&PREFIX[..])?;
    Some(PeerId::from_bytes(key.try_into().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{from_transport, keypair, to_transport};
    use jsfs_objects::key::SigningKey;

    #[test]
    fn both_notations_name_the_same_key() {
        let key = SigningKey::from_secret(&[7; 32]);
        let there = keypair(&key).unwrap().public().to_peer_id();
        assert_eq!(from_transport(&there), Some(key.public()));
        assert_eq!(to_transport(&key.public()), Some(there));
        assert_eq!(from_transport(&libp2p::PeerId::random()), None);
    }
}
