//! Append: the old version's manifest, continued. Pages and blocks before the end are shared, not written again.
//!
//! The bytes that were added are chunked by themselves. Where both they and the last chunk are small, the two are joined into one chunk,
//! so that a log that grows line by line does not become a block for each line.

use crate::{
    Objects,
    error::{StorageError, WriteError},
    manifest::{Builder, Cursor, Extent, Resume, Step},
    read::Opened,
    remote::LISTS_FROM_BYTES,
    stow::{Blocks, Sealing, Stowed, Worker},
    tables::Stored,
    write::etag_of_joined,
};
use jsfs_store::{BlockId, block};
use std::collections::{HashMap, HashSet};

/// A last chunk and an addition that together are no longer than this are joined.
const JOINED_BYTES_MAX: u64 = 64 << 10;

/// Up to this size the manifest is walked whole, so that blocks which the joined chunk replaces are no longer referred to.
const WALKED_BYTES_MAX: u64 = 256 << 20;

/// Everything that an old version needs, counted, and what it ends with.
struct Walked {
    order: Vec<BlockId>,
    uses: HashMap<BlockId, u64>,
    last: Option<Extent>,
}

/// Makes `old` describe its bytes followed by the stowed ones; what the new version needs comes back.
pub(crate) async fn join(
    objects: &Objects,
    stored: &Stored,
    old: &mut Opened,
    sealing: &Sealing,
    stowed: &Stowed,
) -> Result<Blocks, WriteError> {
    let mut walked = match old.content.size <= WALKED_BYTES_MAX {
        true => walk(objects, old).await?,
        false => Walked { order: expand(objects, stored).await?, uses: HashMap::new(), last: None },
    };
    let bases = bases(objects, stored, &walked).await?;
    let joined = match (&walked.last, &stowed.small) {
        (Some(last), Some(added)) => joined_bytes(objects, last, added).await?,
        _ => None,
    };
    let last_length =
        walked.last.as_ref().and_then(|last| last.chunks.last()).map_or(0, |chunk| chunk.length);
    let keep = old.content.size - if joined.is_some() { u64::from(last_length) } else { 0 };
    let builder = resume(objects, old, keep, joined.is_some().then_some(&mut walked)).await?;
    let mut worker = Worker::resume(objects, &old.content.address, sealing.clone(), builder);
    match joined {
        Some(bytes) => {
            if let Some(last) = &walked.last {
                release(&mut walked.uses, last.block);
            }
            worker.place(bytes::Bytes::from(bytes).into())?;
        }
        None => {
            let mut cursor = Cursor::new(stowed.manifest.clone(), 0..stowed.size);
            let pages: HashMap<_, _> = stowed.blocks.fresh.iter().map(|new| (new.id, &new.bytes)).collect();
            while let Some(located) = next(objects, &mut cursor, &pages).await? {
                worker.adopt(located.extent)?;
            }
            worker.share(&stowed.blocks);
        }
    }
    let (manifest, mut blocks) = worker.end()?;
    let kept = walked.order.into_iter().filter(|id| walked.uses.get(id).is_none_or(|uses| *uses > 0));
    blocks.needs = bases.into_iter().chain(kept).chain(std::mem::take(&mut blocks.needs)).collect();
    old.content.etag = etag_of_joined(crate::ETag(old.content.etag), &stowed.sha256).0;
    old.content.sha256 = (old.content.size == 0).then_some(stowed.sha256);
    old.content.size += stowed.size;
    old.content.manifest = manifest;
    Ok(blocks)
}

/// The last chunk and the addition in one, if they are small enough.
async fn joined_bytes(objects: &Objects, last: &Extent, added: &[u8]) -> Result<Option<Vec<u8>>, WriteError> {
    let Some(chunk) = last.chunks.last() else { return Ok(None) };
    if u64::from(chunk.length) + added.len() as u64 > JOINED_BYTES_MAX {
        return Ok(None);
    }
    let plain = objects.plaintext(last.block, last.key.clone()).await?;
    let from = chunk.offset as usize;
    let bytes = plain.get(from..from + chunk.length as usize);
    let bytes = bytes.ok_or_else(|| StorageError::Write("a chunk lies outside its block".into()))?;
    Ok(Some([bytes, added].concat()))
}

async fn walk(objects: &Objects, old: &Opened) -> Result<Walked, WriteError> {
    let mut walked = Walked { order: Vec::new(), uses: HashMap::new(), last: None };
    let mut cursor = Cursor::new(old.content.manifest.clone(), 0..old.content.size);
    loop {
        let id = match cursor.step() {
            Step::Done => return Ok(walked),
            Step::Page(page) => {
                let plain = objects.plaintext(page.block, page.key).await?;
                cursor.supply(&plain).map_err(damaged)?;
                page.block
            }
            Step::Extent(located) => {
                let id = located.extent.block;
                walked.last = Some(located.extent);
                id
            }
        };
        let uses = walked.uses.entry(id).or_default();
        if *uses == 0 {
            walked.order.push(id);
        }
        *uses += 1;
    }
}

/// What the old version needs beside what its bytes and pages lie in: bases of deltas.
async fn bases(objects: &Objects, stored: &Stored, walked: &Walked) -> Result<Vec<BlockId>, WriteError> {
    if walked.uses.is_empty() {
        // All that it needs stays.
        return Ok(Vec::new());
    }
    let mut data: HashSet<&BlockId> = walked.order.iter().collect();
    let mut needed = match stored.size < LISTS_FROM_BYTES {
        true => stored.references.clone(),
        false => expand(objects, stored).await?,
    };
    needed.retain(|id| !data.remove(id));
    Ok(needed)
}

/// The blocks of a large object, from its list blocks.
async fn expand(objects: &Objects, stored: &Stored) -> Result<Vec<BlockId>, WriteError> {
    let mut ids = stored.references.clone();
    while let Some(first) = ids.first() {
        let store = objects.store().clone();
        let (first, all) = (*first, ids.clone());
        let read = tokio::task::spawn_blocking(move || -> Result<Option<Vec<BlockId>>, WriteError> {
            if !matches!(block::split(&store.block(&first)?), Ok((block::Kind::List, _))) {
                return Ok(None);
            }
            let mut below = Vec::new();
            for id in all {
                below.extend(block::decode_list(&store.block(&id)?).map_err(damaged)?.1);
            }
            Ok(Some(below))
        });
        match read.await.map_err(|_| StorageError::Stopping)?? {
            Some(below) => ids = below,
            None => break,
        }
    }
    Ok(ids)
}

/// Takes the manifest up where it is kept until; pages along the edge are replaced by those that follow.
async fn resume(
    objects: &Objects,
    old: &Opened,
    keep: u64,
    mut walked: Option<&mut Walked>,
) -> Result<Builder, WriteError> {
    let mut resume = Resume::new(old.content.manifest.clone(), keep).map_err(damaged)?;
    while let Some(page) = resume.need().cloned() {
        let plain = objects.plaintext(page.block, page.key).await?;
        resume.supply(&plain).map_err(damaged)?;
        if let Some(walked) = &mut walked {
            release(&mut walked.uses, page.block);
        }
    }
    resume.builder().map_err(damaged)
}

fn release(uses: &mut HashMap<BlockId, u64>, id: BlockId) {
    if let Some(uses) = uses.get_mut(&id) {
        *uses = uses.saturating_sub(1);
    }
}

/// The next extent of what was just stowed, whose pages may not be in the store yet.
async fn next(
    objects: &Objects,
    cursor: &mut Cursor,
    fresh: &HashMap<BlockId, &bytes::Bytes>,
) -> Result<Option<crate::manifest::LocatedExtent>, WriteError> {
    loop {
        match cursor.step() {
            Step::Done => return Ok(None),
            Step::Extent(located) => return Ok(Some(located)),
            Step::Page(page) => {
                let plain = match fresh.get(&page.block) {
                    Some(stored) => crate::read::decode(stored, page.key.as_ref())?,
                    None => objects.plaintext(page.block, page.key).await?,
                };
                cursor.supply(&plain).map_err(damaged)?;
            }
        }
    }
}

fn damaged(error: impl std::fmt::Display) -> WriteError {
    StorageError::Write(format!("a manifest does not decode: {error}")).into()
}
