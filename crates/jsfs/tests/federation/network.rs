//! Five nodes on hosts of their own, of which packets are lost: the network is cut while all of them run.

use crate::records::{HOST, bodies_of_versions, names};
use crate::support::{Place, soon};
use jsfs_testkit::http::{Client, Request};
use jsfs_testkit::network::Network;
use jsfs_testkit::node::Setup;
use std::path::Path;
use std::time::Instant;

const NODES: u8 = 5;

fn place(home: &Path, network: &Network, number: u8) -> Place {
    let host = network.host(number.into());
    let listen = format!("federation.listen=/ip4/{}/tcp/7303", host.address);
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &home.join(format!("n{number}")));
    let setup = setup.on(host).set(&listen).set("log.level=info,jsfs_peer=debug");
    let node = Some(setup.start());
    Place { setup, node }
}

/// Asks from the node's own host.
fn ask(network: &Network, place: &Place, at: usize, request: &Request<'_>) -> (u16, String) {
    let address = place.node.as_ref().unwrap().address();
    let answer = network.host(at).inside(|| Client::new(address).send(request)).unwrap();
    (answer.status, answer.text())
}

fn put(network: &Network, places: &[Place], at: usize, key: &str, path: &str, body: &str) -> u16 {
    let request = Request::new("PUT", path).header("Host", HOST).bearer(key).body(body.as_bytes());
    ask(network, &places[at], at, &request).0
}

fn get(network: &Network, places: &[Place], at: usize, key: &str, path: &str) -> (u16, String) {
    let request = Request::new("GET", path).header("Host", HOST).bearer(key);
    ask(network, &places[at], at, &request)
}

#[test]
fn a_network_that_is_cut_and_joined_again_loses_nothing() {
    let network = match Network::new(NODES) {
        Ok(network) => network,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let home = tempfile::tempdir().unwrap();
    let mut places = vec![place(home.path(), &network, 0)];
    places[0].run(&["federation", "create", "home"]);
    for number in 1..NODES {
        let next = place(home.path(), &network, number);
        next.run(&["join", &places[0].ticket(&["--space", "1"])]);
        places.push(next);
    }
    let all = places.len();
    soon("all see all", || places.iter().all(|place| place.connected().len() == all));
    let settled = |place: &Place| place.status()["records"]["settled"] == true;
    soon("all have heard from all", || places.iter().all(settled));
    places[0].run(&["namespace", "add", HOST]);
    let key = places[0].setup.root_key();
    assert_eq!(put(&network, &places, 0, &key, "/d/both", "before"), 201, "{}", places[0].log());
    for at in 0..all {
        assert_eq!(get(&network, &places, at, &key, "/d/both"), (200, "before".to_owned()));
    }

    // Two of five on the other side of a cut that nobody is told of.
    network.cut(&[3, 4]);
    let cut = Instant::now();
    soon("the greater part goes on", || put(&network, &places, 0, &key, "/d/both", "greater") == 200);
    let greater = cut.elapsed();
    soon("the lesser part keeps what it is given", || {
        put(&network, &places, 3, &key, "/d/both", "lesser") == 202
    });
    eprintln!("written on both sides {greater:?} and {:?} after the cut", cut.elapsed());
    assert_eq!(put(&network, &places, 1, &key, "/d/greater", "of three"), 201, "{}", places[1].log());
    assert_eq!(put(&network, &places, 4, &key, "/d/lesser", "of two"), 202, "{}", places[4].log());
    // A name that nobody here has heard of may be known on the other side.
    assert_eq!(get(&network, &places, 2, &key, "/d/greater"), (200, "of three".to_owned()));
    assert_eq!(
        get(&network, &places, 3, &key, "/d/lesser"),
        (200, "of two".to_owned()),
        "{}",
        places[3].log()
    );
    assert_ne!(get(&network, &places, 3, &key, "/d/greater").0, 200, "a cut is a cut");
    soon("those who are gone are counted", || {
        let status = places[0].status();
        status["records"]["out_of_reach"].as_u64() > Some(0) && status["reachable"] == 3
    });

    network.heal();
    let healed = Instant::now();
    for at in 0..all {
        for (path, body) in [("/d/greater", "of three"), ("/d/lesser", "of two")] {
            soon("what one side wrote the other reads", || {
                get(&network, &places, at, &key, path) == (200, body.to_owned())
            });
        }
    }
    for (at, place) in places.iter().enumerate() {
        network.host(at).inside(|| {
            soon("both versions are kept, and what they were made from", || {
                let mut bodies = bodies_of_versions(place, "/d/both", &key);
                bodies.sort();
                bodies == ["before", "greater", "lesser"]
            });
            soon("all are listed", || names(place, "/d/", Some(&key)) == ["both", "greater", "lesser"]);
        });
    }
    let served: Vec<_> = (0..all).map(|at| get(&network, &places, at, &key, "/d/both")).collect();
    assert!(served.iter().all(|one| *one == served[0]), "{served:?}");
    eprintln!("one again {:?} after the cut was mended", healed.elapsed());
    soon("nothing waits, and nobody is out of reach", || {
        places.iter().all(|place| {
            let records = &place.status()["records"];
            records["waiting"] == 0 && records["out_of_reach"] == 0 && records["to_compare"] == 0
        })
    });
}
