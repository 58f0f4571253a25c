//! Random operations against a model, and the same with power losses at every point.

use crate::driver::{Driver, Step, fast_dir, steps};
use jsfs_store::backend::{Backend, Faulty, Loss, Memory};
use proptest::prelude::*;
use std::{cell::Cell, sync::Arc};

fn cases(short: u32, long: u32) -> ProptestConfig {
    let is_long = std::env::var_os("JSFS_LONG").is_some();
    ProptestConfig {
        cases: if is_long { long } else { short },
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Deltas that were found to be whole, in all cases of a test: a run without any has not tried them.
#[derive(Default)]
struct Deltas(Cell<usize>);

impl Deltas {
    fn count(&self, driver: &Driver) {
        self.0.set(self.0.get() + driver.deltas);
    }
}

impl Drop for Deltas {
    fn drop(&mut self) {
        assert!(std::thread::panicking() || self.0.get() > 100, "only {} deltas were read", self.0.get());
    }
}

#[test]
fn random_operations_do_what_a_map_does() {
    let deltas = Deltas::default();
    proptest!(cases(24, 3_000), |(steps in steps(1..60))| {
        let index = fast_dir();
        let mut driver = Driver::new(vec![Arc::new(Memory::new(1 << 26))], 1, &index.path().join("index"));
        for step in &steps {
            assert!(driver.step(step).is_ok());
            if matches!(step, Step::Compact | Step::LoseIndex) {
                driver.verify();
            }
        }
        driver.verify();
        driver.verify_on_disk();
        deltas.count(&driver);
    });
}

#[test]
fn random_operations_on_three_disks_do_what_a_map_does() {
    let deltas = Deltas::default();
    proptest!(cases(24, 3_000), |(steps in steps(1..40), copies in 1usize..4)| {
        let index = fast_dir();
        let disk = || -> Arc<dyn Backend> { Arc::new(Memory::new(1 << 26)) };
        let mut driver = Driver::new(vec![disk(), disk(), disk()], copies, &index.path().join("index"));
        for step in &steps {
            assert!(driver.step(step).is_ok());
        }
        driver.verify();
        driver.verify_on_disk();
        deltas.count(&driver);
    });
}

fn losses() -> impl Strategy<Value = Loss> {
    prop_oneof![Just(Loss::Dropped), Just(Loss::Kept), Just(Loss::Torn), Just(Loss::Reordered)]
}

/// Runs steps until the power goes, twice, and looks at what remains.
fn survive(
    disks: usize,
    copies: usize,
    steps: &[Step],
    cuts: [(u64, Loss, u64); 2],
    loses_index: bool,
) -> Driver {
    let index = fast_dir();
    let index_path = index.path().join("index");
    let first = Faulty::new(1 << 26);
    let mut machine: Vec<Faulty> = vec![first.clone()];
    machine.extend((1..disks).map(|_| Faulty::new(1 << 26).beside(&first)));
    let shared = |machine: &[Faulty]| -> Vec<Arc<dyn Backend>> {
        machine.iter().map(|disk| Arc::new(disk.clone()) as Arc<dyn Backend>).collect()
    };
    let mut driver = Driver::new(shared(&machine), copies, &index_path);
    for (cut, loss, seed) in cuts {
        machine[0].cut_power_at(cut);
        for step in steps {
            if driver.step(step).is_err() {
                break;
            }
        }
        driver.plug_in(Vec::new());
        let first = machine[0].after_power_loss(loss, seed);
        let mut after = vec![first.clone()];
        for (disk, seed) in machine[1..].iter().zip(seed..) {
            after.push(disk.after_power_loss(loss, seed ^ 0x5555).beside(&first));
        }
        machine = after;
        if loses_index {
            let _ = std::fs::remove_dir_all(&index_path);
        }
        driver.plug_in(shared(&machine));
        driver.open().unwrap();
        let opening = driver.store.as_ref().unwrap().opening().clone();
        assert_eq!(opening.damage, [], "{opening:?}");
        driver.verify();
    }
    driver.verify_on_disk();
    driver
}

#[test]
fn a_power_loss_takes_nothing_that_was_acknowledged() {
    let deltas = Deltas::default();
    proptest!(cases(48, 50_000), |(
        steps in steps(4..30),
        cuts in [(0u64..120, losses(), any::<u64>()), (0u64..120, losses(), any::<u64>())],
        loses_index: bool,
    )| deltas.count(&survive(1, 1, &steps, cuts, loses_index)));
}

#[test]
fn a_power_loss_on_two_disks_takes_nothing_that_was_acknowledged() {
    let deltas = Deltas::default();
    proptest!(cases(48, 50_000), |(
        steps in steps(4..24),
        cuts in [(0u64..160, losses(), any::<u64>()), (0u64..160, losses(), any::<u64>())],
        loses_index: bool,
    )| deltas.count(&survive(2, 1, &steps, cuts, loses_index)));
}

#[test]
fn a_power_loss_takes_no_copy_of_what_was_acknowledged() {
    let deltas = Deltas::default();
    proptest!(cases(48, 50_000), |(
        disks in 2usize..4,
        steps in steps(4..24),
        cuts in [(0u64..200, losses(), any::<u64>()), (0u64..200, losses(), any::<u64>())],
        loses_index: bool,
    )| deltas.count(&survive(disks, 2, &steps, cuts, loses_index)));
}

#[test]
fn a_power_loss_at_any_change_takes_nothing_that_was_acknowledged() {
    let put = |key, seeds: &[u8]| Step::Put { key, seeds: seeds.to_vec(), is_list: key % 2 == 0 };
    let script = [
        put(1, &[20, 21, 22]),
        Step::Append { seeds: vec![23, 19] },
        put(2, &[18]),
        Step::Together { keys: vec![3, 4, 5] },
        Step::Delete { key: 1 },
        Step::Settle,
        put(2, &[17]),
        Step::Compact,
        Step::Reopen,
        put(6, &[20]),
    ];
    let deltas = Deltas::default();
    let step = if std::env::var_os("JSFS_LONG").is_some() { 1 } else { 5 };
    for cut in (0..110).step_by(step) {
        for loss in [Loss::Dropped, Loss::Kept, Loss::Torn, Loss::Reordered] {
            deltas.count(&survive(1, 1, &script, [(cut, loss, cut), (60, loss, cut)], cut % 2 == 0));
        }
    }
}
