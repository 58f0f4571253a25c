//! Envelopes: records with the signatures that make them believable anywhere.
//!
//! The author's signature (an owner's, or that of a token's ephemeral key with the token as proof) says who wrote; the countersignature of
//! the node that accepted the write says when, so that what a token wrote stays valid after the token has expired. Reading an envelope
//! from one's own disk needs [`Envelope::decode`] only; one that comes from elsewhere needs [`Envelope::verify`].

use super::{Kind, RECORD_BYTES_MAX, Record, RecordHash};
use crate::address::Address;
use crate::cbor::{Cbor, FormatError, Reader, Writer};
use crate::crypto::blake3;
use crate::key::{Keys, PublicKey, Signature, SigningKey};
use crate::token::{Method, TOKEN_BYTES_MAX, Token, TokenError};
use thiserror::Error;

/// The largest envelope, in bytes.
pub const ENVELOPE_BYTES_MAX: usize = RECORD_BYTES_MAX + TOKEN_BYTES_MAX + 512;

const _: () = assert!(
    ENVELOPE_BYTES_MAX + 1_024 <= jsfs_store::VALUE_MAX,
    "an entry holds an envelope and a little more"
);

/// How far ahead of the reader's clock a record may be, and ahead of its own acceptance.
pub const AHEAD_MS_MAX: u64 = 60_000;

const ENVELOPE_VERSION: u64 = 1;

/// Why an envelope is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// It is not an envelope.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The author's signature is not good.
    #[error("the record was not signed by its owner, nor by the key of a token that the owner made")]
    Signature,
    /// The node's signature is not good.
    #[error("the node that accepted the record did not sign it as it is")]
    Countersignature,
    /// The delegation's signature is not good.
    #[error("the delegation was not signed by the owner who handed the place over")]
    Delegation,
    /// The token that is to prove the right to write does not.
    #[error("the record's token does not prove the right to write it: {0}")]
    Token(#[from] TokenError),
    /// The token may be good, but no token can do this.
    #[error("only a key's holder can {what}; the record was written with a token")]
    BeyondTokens {
        /// What was attempted.
        what: &'static str,
    },
    /// From the future.
    #[error("the record is {ms} ms ahead of time")]
    Ahead {
        /// By how much.
        ms: u64,
    },
    /// A token came without the key that it signs with.
    #[error("the token came without its fourth part, which holds the key to sign with")]
    NoKey,
}

/// What signs a record.
#[derive(Clone, Copy)]
pub enum SignKey<'a> {
    /// The owner.
    Owner(&'a Keys),
    /// The bearer of a token with its fourth part.
    Token(&'a Token),
}

/// A record that its author signed and no node has accepted yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    record: Vec<u8>,
    signature: Signature,
    proof: Option<String>,
}

impl Signed {
    /// Accepts the record: this node's word that it saw it at `now_ms`. Authority was checked before.
    pub fn countersigned(self, node: &SigningKey, now_ms: u64) -> Envelope {
        let message = acceptance(&self.record, &self.signature, now_ms);
        let accepted = Acceptance { node: node.public(), ms: now_ms, signature: node.sign(&message) };
        Envelope { signed: self, accepted }
    }
}

/// A signed and countersigned record, as it is kept and carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    signed: Signed,
    accepted: Acceptance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Acceptance {
    node: PublicKey,
    ms: u64,
    signature: Signature,
}

/// What a verified envelope proves.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The record.
    pub record: Record,
    /// The token that it was written with, if not by the owner. Where the address is known, [`Verified::covers`] says whether the token
    /// reaches it.
    pub token: Option<Token>,
}

impl Verified {
    /// Whether the author's authority reaches an address: an owner's always, a token's where its subject covers the address. No place may
    /// lie between the two, which the caller knows.
    pub fn covers(&self, address: &Address) -> bool {
        self.token.as_ref().is_none_or(|token| token.covers(address))
    }
}

impl Envelope {
    /// Signs a record.
    pub fn sign(record: &Record, key: SignKey<'_>) -> Result<Signed, EnvelopeError> {
        record.check()?;
        let (signer, proof) = match key {
            SignKey::Owner(keys) => (keys.signing(), None),
            SignKey::Token(token) => {
                (token.sign_key().ok_or(EnvelopeError::NoKey)?, Some(token.public_text().to_owned()))
            }
        };
        let record = record.encode();
        let signature = signer.sign(&authorship(&record));
        Ok(Signed { record, signature, proof })
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }

    /// Reads an envelope. Neither the record in it nor any signature is looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::from_bytes(bytes)
    }

    /// The envelope of an entry of this node's own, and its record.
    pub(crate) fn decode_kept(bytes: &[u8]) -> Result<(Self, Record), FormatError> {
        let envelope = Self::from_kept(bytes)?;
        let record = Record::decode_kept(&envelope.signed.record)?;
        Ok((envelope, record))
    }

    /// The record, decoded and checked by itself.
    pub fn record(&self) -> Result<Record, FormatError> {
        Record::decode(&self.signed.record)
    }

    /// The hash that the record's successor names.
    pub fn record_hash(&self) -> RecordHash {
        blake3(&[&self.signed.record])
    }

    /// The node that accepted the record.
    pub fn node(&self) -> PublicKey {
        self.accepted.node
    }

    /// When it was accepted, ms since 1970, by that node's clock.
    pub fn accepted_ms(&self) -> u64 {
        self.accepted.ms
    }

    /// The token that it says it was written with, unchecked.
    pub(crate) fn claimed_token(&self) -> Result<Option<Token>, TokenError> {
        self.signed.proof.as_deref().map(Token::parse).transpose()
    }

    /// Checks everything that the envelope can prove by itself: both signatures, a token's and a delegation's, what tokens may write, and
    /// that nothing comes from the future. Whether the owner is the right one, and the node a member, is for the caller to say.
    pub fn verify(&self, now_ms: u64) -> Result<Verified, EnvelopeError> {
        let record = self.record()?;
        let Signed { record: bytes, signature, .. } = &self.signed;
        let Acceptance { node, ms, signature: countersignature } = &self.accepted;
        let token = self.claimed_token()?;
        let author = match &token {
            None => record.owner.key(),
            Some(token) => prove(token, &record, *ms)?,
        };
        if !author.verifies(&authorship(bytes), signature) {
            return Err(EnvelopeError::Signature);
        }
        if !node.verifies(&acceptance(bytes, signature, *ms), countersignature) {
            return Err(EnvelopeError::Countersignature);
        }
        if record.delegation.as_ref().is_some_and(|delegation| !delegation.verifies()) {
            return Err(EnvelopeError::Delegation);
        }
        let ahead = record.time.ms().saturating_sub(*ms.min(&now_ms)).max(ms.saturating_sub(now_ms));
        if ahead > AHEAD_MS_MAX {
            return Err(EnvelopeError::Ahead { ms: ahead });
        }
        Ok(Verified { record, token })
    }
}

/// The key that a token says signed a record, if the token allows what the record does and was valid when a node accepted it.
fn prove(token: &Token, record: &Record, accepted_ms: u64) -> Result<PublicKey, EnvelopeError> {
    token.verify(accepted_ms / 1_000)?;
    if token.issuer() != record.owner {
        return Err(EnvelopeError::Signature);
    }
    let method = match record.kind {
        Kind::Object => Method::Put,
        Kind::Tombstone => Method::Delete,
        Kind::Directory => {
            return Err(EnvelopeError::BeyondTokens { what: "change a directory's owner or policy" });
        }
    };
    if record.purged {
        return Err(EnvelopeError::BeyondTokens { what: "purge an object" });
    }
    if !token.methods().contains(method) {
        return Err(TokenError::Method { method }.into());
    }
    if let Some(content) = &record.content {
        token.check_grant(method, &content.address)?;
    }
    token.confirmation().ok_or(EnvelopeError::Signature)
}

/// What the author signs.
fn authorship(record: &[u8]) -> Vec<u8> {
    [b"jsfs/v1/record".as_slice(), record].concat()
}

/// What the accepting node signs.
fn acceptance(record: &[u8], signature: &Signature, ms: u64) -> Vec<u8> {
    [b"jsfs/v1/accepted".as_slice(), &blake3(&[record, signature]), &ms.to_be_bytes()].concat()
}

impl Cbor for Envelope {
    const NAME: &'static str = "an envelope";
    const BYTES_MAX: usize = ENVELOPE_BYTES_MAX;

    fn write(&self, out: &mut Writer) {
        out.array(5).uint(ENVELOPE_VERSION).bytes(&self.signed.record).bytes(&self.signed.signature);
        match &self.signed.proof {
            Some(proof) => out.text(proof),
            None => out.null(),
        };
        out.array(3)
            .bytes(self.accepted.node.as_bytes())
            .uint(self.accepted.ms)
            .bytes(&self.accepted.signature);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        input.tuple(Self::NAME, 5)?;
        match input.uint("an envelope's version")? {
            ENVELOPE_VERSION => {}
            version => return Err(FormatError::Version { what: Self::NAME, version }),
        }
        let record = input.bytes("an envelope's record", RECORD_BYTES_MAX)?.to_vec();
        let signature = input.fixed("a record's signature")?;
        let proof = if input.null() {
            None
        } else {
            Some(input.text("a record's token", TOKEN_BYTES_MAX)?.to_owned())
        };
        input.tuple("a countersignature", 3)?;
        let node = PublicKey::from_bytes(input.fixed("a node's key")?);
        let accepted = Acceptance {
            node,
            ms: input.uint("a time of acceptance")?,
            signature: input.fixed("a countersignature")?,
        };
        Ok(Self { signed: Signed { record, signature, proof }, accepted })
    }
}
