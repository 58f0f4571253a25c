//! One large directory that is cut into shards while many write to it: nothing acknowledged is lost or not listed, nothing past is listed again, and all agree in
//! the end; and how evenly entries lie.

use crate::chaos::Run;
use crate::records::{Draft, group, keys, locator};
use crate::seeds;
use crate::world::{Nature, World};
use jsfs_federation::metastore::{Home, Outcome, Pace, Row, Shard, Shelf, Writing, Written};
use jsfs_objects::clock::HybridTime;
use jsfs_objects::record::Kind;
use std::collections::BTreeSet;

/// Objects of which every other one belongs to one shard, and of these every other one to one below it.
fn objects(count: u64) -> Vec<u64> {
    let (whole, first, second) = (0, 1, 2);
    let of = |depth: u8| {
        let like = locator(0);
        (0..).filter(move |number| Shard::of(&like, depth).contains(&locator(*number)))
    };
    let few = usize::try_from(count / 4).unwrap();
    let mut objects: BTreeSet<u64> = of(whole).take(2 * few).collect();
    objects.extend(of(first).take(few));
    objects.extend(of(second).take(few));
    objects.into_iter().collect()
}

/// How many members know that the home of a shard is cut.
fn knowing(run: &Run, depth: u8) -> usize {
    let home = Shard::of(&locator(0), depth).home(group(0));
    let running = run.members().into_iter().filter_map(|node| run.world.nodes[node].running.as_ref());
    running.filter(|running| running.server.is_cut(&home).unwrap()).count()
}

/// A run in which one directory is cut, its shards as well, and members come and go, up to its checked end.
fn growing(seed: u64) -> Run {
    let mut run = Run::new(seed, objects(48));
    run.world.limits.entries = 6;
    if seed % 2 == 1 {
        let liar = run.world.nodes.len() - 1;
        run.world.nodes[liar].nature = Nature::Cuts;
    }
    for node in run.members() {
        run.world.crash(node);
        run.world.start(node);
    }
    for act in 0..320 {
        run.pass(20..200);
        if act % 100 == 99 {
            run.world.links.cut([]);
            run.start_all();
            run.pass(25_000..30_000);
            run.replace_one();
        }
        if run.world.random.chance(5) { run.disturb() } else { run.begin() }
    }
    run.heal();
    run.check_in_the_end();
    let listed = run.listed_in_the_end();
    run.check_listed(&listed);
    run
}

#[test]
fn a_directory_is_cut_while_it_is_written_and_lists_what_was_acknowledged() {
    let (mut acknowledged, mut twice) = (0, 0);
    for seed in seeds(4) {
        let run = growing(seed);
        acknowledged += run.history.acknowledged.len();
        twice += usize::from(knowing(&run, 0) >= 3 && knowing(&run, 1) >= 3);
    }
    println!("{acknowledged} acknowledged, {twice} directories cut twice");
    assert!(seeds(4).count() < 4 || (acknowledged > 250 && twice == 4), "this shows nothing");
}

/// How the entries of one directory lie among members: with the fullest, and how many lists of pages it takes to read them all.
struct Spread {
    fullest: usize,
    all: usize,
    messages: u64,
    pages: usize,
}

fn spread(members: usize, entries: u64, at_one_home: usize) -> Spread {
    let pace = Pace { round_ms: 100_000_000, ..Pace::default() };
    let mut world = World::keeping(members, 4_711, Some(pace));
    world.limits.entries = at_one_home;
    for node in 0..members {
        world.crash(node);
        world.founding = true;
        world.start(node);
    }
    world.share_members();
    let mut begun = Vec::new();
    for number in 0..entries {
        let node = usize::try_from(world.random.within(0..members as u64)).unwrap();
        let now = world.now_at(node);
        let draft = Draft {
            locator: locator(number),
            group: group(0),
            kind: Kind::Object,
            owner: &keys(1),
            after: None,
            time: HybridTime::from_ms(now),
            salt: number,
        };
        let envelope = draft.envelope(&world.nodes[node].key, now);
        let writing = Writing { envelope, before: None, condition: None };
        begun.push((
            node,
            world.call(node, |client, members, now| client.store(writing, members, now)).unwrap(),
        ));
        if begun.len() == 32 || number + 1 == entries {
            for (node, op) in begun.drain(..) {
                assert!(matches!(world.finish(node, op), Outcome::Written(Written::Settled)), "{number}");
            }
        }
    }
    let until = world.schedule.now_ms() + 120_000;
    while world.run_until(until).is_some() {}
    let at_member = |node: usize| {
        let shelf = world.nodes[node].running.as_ref().unwrap().server.shelf();
        let rows = shelf.rows(&Row::FIRST, None, usize::MAX).unwrap().into_iter();
        rows.filter(|row| row.home != Home::from(row.locator) && !row.is_cut() && !row.is_marks()).count()
    };
    let lying: Vec<usize> = (0..members).map(at_member).collect();
    let before = world.traffic.messages;
    let (mut listed, mut pages, mut after) = (0, 0, None);
    loop {
        let op = world.call(0, |client, members, now| client.list(group(0), after, 500, members, now));
        let Outcome::Listed(page) = world.finish(0, op.unwrap()) else { panic!("cannot be listed") };
        assert!(page.settled);
        (listed, pages, after) = (listed + page.entries.len() as u64, pages + 1, page.next);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, entries, "each is listed once");
    Spread {
        fullest: lying.iter().copied().max().unwrap(),
        all: lying.iter().sum(),
        messages: world.traffic.messages - before,
        pages,
    }
}

#[test]
fn a_large_directory_does_not_lie_with_a_few_members() {
    let full = std::env::var_os("JSFS_SIM_TABLE").is_some();
    let (members, entries, bound) = if full { (50, 20_000, 8_192) } else { (20, 300, 64) };
    println!(
        "| entries at one home | entries at all members | at the fullest | pages | messages of listing |"
    );
    let [cut, whole] = [bound, usize::MAX].map(|bound| {
        let found = spread(members, entries, bound);
        println!("| {bound} | {} | {} | {} | {} |", found.all, found.fullest, found.pages, found.messages);
        found
    });
    let entries = usize::try_from(entries).unwrap();
    assert_eq!((whole.fullest, whole.all, cut.all), (entries, 5 * entries, 5 * entries));
    assert!(2 * cut.fullest < entries, "the fullest member has less than half of it");
}
