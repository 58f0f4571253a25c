//! Keeping blocks of this node's objects on as many nodes as they should be: leases are renewed before they end, and copies that are gone are made again.
//!
//! One pass looks at every block of every namespace that is shared, some at a time, with a pause between. A pass begins at the start, when members came or
//! went and that has settled, and every so often. One that is cut off has lost nothing: the next begins anew.

use super::federation::LEASE_S;
use jsfs_objects::Objects;
use jsfs_objects::address::LOCALHOST;
use jsfs_peer::Node;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Blocks that are looked at together.
const STEP: usize = 512;

/// Time between two steps, for others to get at the disk and the network.
const PAUSE: Duration = Duration::from_millis(50);

/// A pass begins so often whatever happens: well before leases end.
const PASS_EVERY: Duration = Duration::from_secs(6 * 3_600);

/// Runs until it is dropped.
pub(super) async fn run(node: Node, objects: Objects, settle_time: Duration) {
    let mut changes = node.changes();
    let mut members = node.member_ids();
    loop {
        if !node.is_alone() {
            pass(&node, &objects).await;
        }
        let next = Instant::now() + PASS_EVERY;
        loop {
            let wait = next.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                break;
            }
            let _ = timeout(wait, changes.changed()).await;
            if node.member_ids() == members {
                continue;
            }
            // A node that restarts is back before anything is moved because of it.
            tokio::time::sleep(settle_time).await;
            let settled = node.member_ids();
            if settled != members {
                members = settled;
                break;
            }
        }
    }
}

async fn pass(node: &Node, objects: &Objects) {
    let (mut from, mut blocks, mut sent, mut short) = (None, 0, 0, 0);
    loop {
        let looking = objects.clone();
        let found = move || looking.shared_blocks(from, STEP, |namespace| namespace != LOCALHOST);
        let (ids, next) = match tokio::task::spawn_blocking(found).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return tracing::warn!(%error, "blocks could not be looked through"),
            Err(_) => return,
        };
        if !ids.is_empty() {
            blocks += ids.len();
            let placed = node.renew_blocks(ids, LEASE_S).await;
            sent += placed.sent;
            short += placed.short;
            tokio::time::sleep(PAUSE).await;
        }
        from = next;
        if from.is_none() {
            break;
        }
    }
    if short > 0 {
        tracing::warn!(blocks, sent, short, "blocks are on fewer nodes than they should be");
    } else if sent > 0 {
        tracing::info!(blocks, sent, "made copies of blocks that were missing");
    }
}
