//! How messages, round trips and availability grow with the number of members.

use crate::records::{Draft, group, keys, locator};
use crate::world::{Traffic, World};
use jsfs_federation::metastore::{Outcome, Pace, Writing, Written};
use jsfs_objects::clock::HybridTime;
use jsfs_objects::record::Kind;

/// One way takes this long, always: so times are round trips.
const WAY_MS: u64 = 40;

/// What was measured of one kind of operation.
#[derive(Default)]
struct Measured {
    messages: Vec<u64>,
    round_trips: Vec<f64>,
    good: usize,
    settled: usize,
}

impl Measured {
    fn median(values: &mut [f64]) -> f64 {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    }

    fn mean(&self) -> f64 {
        self.messages.iter().sum::<u64>() as f64 / self.messages.len().max(1) as f64
    }
}

struct Table {
    world: World,
    records: u64,
}

impl Table {
    fn new(nodes: usize, records: u64) -> Self {
        let pace = Pace { round_ms: 100_000_000, ..Pace::default() };
        let mut world = World::keeping(nodes, 4_711, Some(pace));
        (world.links.delay_ms_min, world.links.delay_ms_max) = (WAY_MS, WAY_MS);
        world.share_members();
        Self { world, records }
    }

    fn alive(&mut self) -> usize {
        loop {
            let node = self.world.random.within(0..self.world.nodes.len() as u64);
            let node = usize::try_from(node).unwrap();
            if self.world.nodes[node].running.is_some() {
                return node;
            }
        }
    }

    /// Messages of reading and writing.
    fn messages(&self) -> u64 {
        self.world.traffic.messages - self.world.repair.messages
    }

    fn measure(&mut self, conditional: Option<bool>) -> Measured {
        let mut measured = Measured::default();
        for number in 0..self.records {
            let node = self.alive();
            let began = (self.world.schedule.now_ms(), self.messages());
            let op = match conditional {
                None => {
                    self.world.call(node, |client, members, now| client.fetch(locator(number), members, now))
                }
                Some(conditional) => {
                    let number = number + if conditional { 1 << 20 } else { 0 };
                    let now = self.world.now_at(node);
                    let draft = Draft {
                        locator: locator(number),
                        group: group(number / 50),
                        kind: Kind::Object,
                        owner: &keys(1),
                        after: None,
                        time: HybridTime::from_ms(now),
                        salt: number,
                    };
                    let envelope = draft.envelope(&self.world.nodes[node].key, now);
                    let condition = conditional.then_some(None);
                    let writing = Writing { envelope, before: None, condition };
                    self.world.call(node, |client, members, now| client.store(writing, members, now))
                }
            };
            let op = op.unwrap();
            let (at, outcome) = self.outcome(node, op);
            match outcome {
                Outcome::Fetched { slot, settled, .. } => {
                    measured.good += usize::from(!slot.heads().is_empty());
                    measured.settled += usize::from(settled);
                }
                Outcome::Written(Written::Settled) => {
                    measured.good += 1;
                    measured.settled += 1;
                }
                _ => {}
            }
            // Late answers and what they lead to belong to the operation.
            while self.world.run_until(self.world.schedule.now_ms() + 4 * WAY_MS).is_some() {}
            measured.messages.push(self.messages() - began.1);
            measured.round_trips.push((at - began.0) as f64 / (2 * WAY_MS) as f64);
        }
        measured
    }

    fn outcome(&mut self, node: usize, op: u64) -> (u64, Outcome) {
        for _ in 0..10_000 {
            self.world.run_until(self.world.schedule.now_ms() + 1);
            if let Some(outcome) = self.world.outcomes.remove(&(node, op)) {
                return outcome;
            }
        }
        panic!("operation {op} of node {node} does not end");
    }

    /// Kills so many in a hundred at once, for ever, and nobody is told.
    fn kill(&mut self, percent: usize) {
        let running = self.world.nodes.iter().filter(|node| node.running.is_some()).count();
        let mut left = (running * percent / 100).max(1);
        while left > 0 {
            let node = self.alive();
            self.world.leave(node);
            left -= 1;
        }
    }

    /// All learn who is gone, and repair.
    fn repair(&mut self) -> (Traffic, Traffic) {
        let (repair, comparing) = (self.world.repair, self.world.comparing);
        self.world.share_members();
        for _ in 0..600 {
            self.pass(1_000);
            let keepers = self.world.nodes.iter().filter_map(|node| node.running.as_ref());
            if keepers.filter_map(|running| running.keeper.as_ref()).all(|keeper| keeper.left() == 0) {
                break;
            }
        }
        let since = |now: Traffic, before: Traffic| Traffic {
            messages: now.messages - before.messages,
            bytes: now.bytes - before.bytes,
        };
        (since(self.world.repair, repair), since(self.world.comparing, comparing))
    }

    fn pass(&mut self, ms: u64) {
        let until = self.world.schedule.now_ms() + ms;
        while self.world.run_until(until).is_some() {}
    }

    /// One member after another goes for ever and a new one comes; lookups go on before anybody has noticed, and while it is repaired.
    fn churn(&mut self, replaced: usize) -> Measured {
        let all = self.records;
        self.records = all.min(20);
        let mut measured = Measured::default();
        for _ in 0..replaced {
            let node = self.alive();
            self.world.leave(node);
            measured.add(self.measure(None));
            self.world.join();
            self.world.share_members();
            measured.add(self.measure(None));
            self.pass(20_000);
        }
        self.records = all;
        measured
    }
}

impl Measured {
    fn add(&mut self, other: Measured) {
        self.messages.extend(other.messages);
        self.round_trips.extend(other.round_trips);
        self.good += other.good;
        self.settled += other.settled;
    }
}

fn print(nodes: usize, what: &str, mut measured: Measured) -> (f64, f64, f64) {
    let (messages, worst) = (measured.mean(), measured.round_trips.iter().copied().fold(0.0, f64::max));
    let count = measured.messages.len();
    let median = Measured::median(&mut measured.round_trips);
    let percent = |part: usize| 100.0 * part as f64 / count as f64;
    let (good, settled) = (percent(measured.good), percent(measured.settled));
    println!(
        "| {nodes} | {what} | {messages:.1} | {median:.1} | {worst:.1} | {good:.2} % | {settled:.2} % |"
    );
    (messages, median, good)
}

#[test]
fn messages_and_round_trips_do_not_grow_with_the_members_and_records_outlive_a_third_of_them() {
    let full = std::env::var_os("JSFS_SIM_TABLE").is_some();
    let (sizes, records): (&[usize], u64) = if full { (&[10, 100, 1_000], 1_000) } else { (&[10, 40], 40) };
    println!("| members | | messages | round trips, median | worst | answered | settled |");
    for nodes in sizes.iter().copied() {
        let mut table = Table::new(nodes, records);
        let (messages, trips, good) = print(nodes, "write", table.measure(Some(false)));
        // Where homes are cut for a few entries, it takes more.
        let is_usual = crate::entries(usize::MAX) == usize::MAX;
        assert!(good > 99.99 && (!is_usual || (messages <= 20.0 && trips <= 1.1)), "writes");
        let (_, trips, good) = print(nodes, "conditional write", table.measure(Some(true)));
        assert!(good > 99.99 && (!is_usual || trips <= 3.1), "conditional writes");
        let (messages, trips, good) = print(nodes, "lookup", table.measure(None));
        assert!(messages <= 8.0 && trips <= 1.1 && good > 99.99, "lookups");
        let replaced = (2_000 / nodes).clamp(2, 20);
        let (_, _, good) = print(nodes, "lookup, members replaced", table.churn(replaced));
        assert!(good > 99.99, "one member after another");
        table.kill(1);
        let (repair, comparing) = table.repair();
        let lost = (nodes / 100).max(1) as u64;
        println!(
            "| {nodes} | repair, for each member lost: | {} | | | {} bytes of records | {} bytes of comparing |",
            repair.messages / lost,
            (repair.bytes - comparing.bytes) / lost,
            comparing.bytes / lost,
        );
        table.kill(30);
        let (_, _, good) = print(nodes, "lookup, 30 % killed", table.measure(None));
        assert!(good >= 99.0, "five replicas outlive a third of the members");
        table.repair();
        let (_, _, good) = print(nodes, "lookup, 30 % killed and repaired", table.measure(None));
        assert!(good >= 99.0, "what had a replica left has all again");
    }
}
