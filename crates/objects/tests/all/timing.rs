//! How long a refusal takes, for a person to look at: `cargo test --release -p jsfs-objects --test all -- --ignored --nocapture timing`.
//! Nothing is asserted, because machines differ; that a refusal looks at nothing hidden is what keeps the figures together.

#![allow(clippy::print_stdout, reason = "its figures are for a person")]

use crate::world::{World, at, key, private};
use jsfs_objects::{Credentials, Delete, Manage, Read, Verb, Write};
use std::time::{Duration, Instant};

const ROUNDS: usize = 4_000;

#[tokio::test]
#[ignore = "prints figures; for a person"]
async fn timing_of_refusals() {
    let world = World::new().await;
    for number in 0..200 {
        world.put(&format!("/localhost/t/{number:04}"), &[7; 300], private()).await;
    }
    let stranger = key(&world.new_key());
    for (name, credentials) in [("no credential", Credentials::none()), ("another's key", stranger)] {
        println!("{name}, ns at the median and at the 90th percentile:");
        compare::<Read>(&world, &credentials, "read").await;
        compare::<Write>(&world, &credentials, "write").await;
        compare::<Delete>(&world, &credentials, "delete").await;
        compare::<Manage>(&world, &credentials, "manage").await;
        namespaces(&world, &credentials).await;
    }
}

async fn refusal<V: Verb>(world: &World, credentials: &Credentials, address: &str) -> Duration {
    let address = at(address);
    let begin = Instant::now();
    let refused = world.objects.authorize::<V>(credentials, &address).await;
    let took = begin.elapsed();
    assert!(refused.is_err());
    took
}

async fn compare<V: Verb>(world: &World, credentials: &Credentials, what: &str) {
    let (mut hidden, mut absent) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let number = (round * 7) % 200;
        hidden.push(refusal::<V>(world, credentials, &format!("/localhost/t/{number:04}")).await);
        absent.push(refusal::<V>(world, credentials, &format!("/localhost/t/{number:03}x")).await);
    }
    show(what, hidden, absent);
}

async fn namespaces(world: &World, credentials: &Credentials) {
    let (mut hidden, mut absent) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        hidden.push(refusal::<Read>(world, credentials, &format!("/localhost/{round}")).await);
        absent.push(refusal::<Read>(world, credentials, &format!("/localhosx/{round}")).await);
    }
    show("namespace there or not", hidden, absent);
}

fn show(what: &str, mut hidden: Vec<Duration>, mut absent: Vec<Duration>) {
    let mut at = |share: usize| {
        let of = |times: &mut Vec<Duration>| {
            times.sort_unstable();
            times[times.len() * share / 100].as_nanos()
        };
        (of(&mut hidden), of(&mut absent))
    };
    let (half, most) = (at(50), at(90));
    println!("  {what:24} private {:6} {:6}   absent {:6} {:6}", half.0, most.0, half.1, most.1);
}
