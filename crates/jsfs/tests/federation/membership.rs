//! Who is let in, who is not, and that revoking, killing and restarting do what they should.

use crate::support::{Place, founded, soon};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn five_nodes_join_by_ticket_see_each_other_and_come_back_after_kill_9() {
    let count: usize = std::env::var("JSFS_FEDERATION_NODES").map_or(5, |text| text.parse().unwrap());
    let home = tempfile::tempdir().unwrap();
    let mut places = vec![founded(home.path())];
    for number in 1..count {
        let place = Place::new(home.path(), &format!("n{number}"));
        let joined = place.run(&["join", &places[0].ticket(&[])]);
        assert_eq!(joined["name"], "home", "{joined}");
        places.push(place);
    }
    let all_see_all = |places: &[Place]| places.iter().all(|place| place.connected().len() == count);
    let took = soon("all see all", || all_see_all(&places));
    eprintln!("{count} nodes saw each other {took:?} after the last had joined");
    // Two at once, one of them the founder, which holds the only open door to new members.
    let ids: Vec<String> = places.iter().map(Place::peer).collect();
    places[0].kill();
    places[1].kill();
    let took = soon("the others miss them", || places[2].connected().len() == count - 2);
    eprintln!("the others missed two that were killed after {took:?}");
    places[0].start();
    places[1].start();
    soon("they are back", || all_see_all(&places));
    let again: Vec<String> = places.iter().map(Place::peer).collect();
    assert_eq!(ids, again, "a node is who it was");
    let status = places[2].status();
    assert!(status["bytes"].as_u64().unwrap() < 200_000, "membership is cheap: {status}");
    // Five more requests change nothing, so nothing is said.
    let before = places[2].status()["messages"].as_u64().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let said = places[2].status()["messages"].as_u64().unwrap() - before;
    assert!(said < 40, "a quiet federation is quiet: {said} messages in two seconds");
}

#[test]
fn revoking_takes_effect_everywhere_and_stays_so_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let first = founded(home.path());
    let mut other = Place::new(home.path(), "other");
    let mut rogue = Place::new(home.path(), "rogue");
    other.run(&["join", &first.ticket(&[])]);
    rogue.run(&["join", &first.ticket(&[])]);
    soon("three are connected", || [&first, &other, &rogue].iter().all(|place| place.connected().len() == 3));
    let id = rogue.peer();
    let (code, told) = other.try_run(&["federation", "revoke", &id]).unwrap_err();
    assert!(code == 5 && told.contains("no admin"), "{code} {told}");
    first.run(&["federation", "revoke", &id]);
    let took = soon("nobody knows it any more", || {
        [&first, &other].iter().all(|place| !place.connected().contains(&id))
    });
    eprintln!("revoked everywhere after {took:?}");
    soon("it is alone", || rogue.status()["reachable"] == 1);
    other.kill();
    other.start();
    rogue.kill();
    rogue.start();
    soon("the others are together", || other.connected().len() == 2 && first.connected().len() == 2);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(rogue.status()["reachable"], 1, "{}", rogue.log());
    // A new ticket brings it back, with a greater epoch, once it has left by itself.
    rogue.run(&["federation", "leave"]);
    rogue.run(&["join", &first.ticket(&[])]);
    soon("it is back", || other.connected().contains(&id) && first.connected().contains(&id));
    // Who leaves is gone for all.
    other.run(&["federation", "leave"]);
    soon("two are left", || first.connected().len() == 2 && rogue.connected().len() == 2);
    assert_eq!(other.status()["federation"], Value::Null);
}

#[test]
fn without_a_good_ticket_or_certificate_nobody_gets_in() {
    let home = tempfile::tempdir().unwrap();
    let first = founded(home.path());
    let stranger = Place::new(home.path(), "stranger");
    let member = Place::new(home.path(), "member");
    let refused = |place: &Place, ticket: &str| place.try_run(&["join", ticket]).unwrap_err();
    let ticket = first.ticket(&[]);
    let mut broken = ticket.clone();
    broken.replace_range(20..21, if &ticket[20..21] == "2" { "3" } else { "2" });
    assert!(refused(&stranger, &broken).1.contains("checksum"), "a typing error is found");
    let expired = first.ticket(&["--expires", "1s"]);
    std::thread::sleep(Duration::from_millis(1_200));
    assert!(refused(&stranger, &expired).1.contains("not good any more"));
    // A ticket that another has used.
    member.run(&["join", &ticket]);
    let (_, told) = refused(&stranger, &ticket);
    assert!(told.contains("does not let this node in"), "{told}");
    let (code, told) = refused(&member, &first.ticket(&[]));
    assert!(code == 5 && told.contains("leave it first"), "{code} {told}");
    // A member without the role invites nobody.
    let (_, told) = member.try_run(&["federation", "invite"]).unwrap_err();
    assert!(told.contains("no admin"), "{told}");
    // A certificate ends by itself.
    let short = Place::new(home.path(), "short");
    short.run(&["join", &first.ticket(&["--member-for", "3s", "--role", "store"])]);
    let id = short.peer();
    soon("it is there", || first.connected().contains(&id));
    soon("its time is over", || !first.connected().contains(&id) && short.status()["reachable"] == 1);
    assert_eq!(stranger.status()["federation"], Value::Null);
    assert_eq!(first.connected().len(), 2);
    assert!(stranger.try_run(&["federation", "members"]).unwrap_err().1.contains("in no federation"));
}

#[test]
fn an_admin_invites_and_the_founder_does_not_leave_the_others_behind() {
    let home = tempfile::tempdir().unwrap();
    let first = founded(home.path());
    let admin = Place::new(home.path(), "admin");
    let third = Place::new(home.path(), "third");
    admin.run(&["join", &first.ticket(&["--role", "admin,meta"])]);
    third.run(&["join", &admin.ticket(&["--role", "meta"])]);
    soon("three are connected", || third.connected().len() == 3);
    let (code, told) = first.try_run(&["federation", "leave"]).unwrap_err();
    assert!(code == 5 && told.contains("key of the federation"), "{code} {told}");
    admin.run(&["federation", "revoke", &third.peer()]);
    soon("one fewer", || first.connected().len() == 2);
    let (_, told) = admin.try_run(&["federation", "revoke", &first.peer()]).unwrap_err();
    assert!(!told.is_empty());
    assert_eq!(first.connected().len(), 2, "an admin does not revoke an admin");
}

#[test]
fn nonsense_costs_whoever_sends_it_a_connection_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let first = founded(home.path());
    let member = Place::new(home.path(), "member");
    member.run(&["join", &first.ticket(&[])]);
    soon("two are connected", || first.connected().len() == 2);
    let address = first.status()["addresses"][0].as_str().unwrap().to_owned();
    let port: u16 = address.rsplit('/').next().unwrap().parse().unwrap();
    for nonsense in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 70_000],
        b"\x13/multistream/1.0.0\n\x07/noise\n\xff\xff",
        b"",
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.write_all(nonsense);
        if nonsense.is_empty() {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut said = Vec::new();
        // It ends; what was said before is the beginning of a handshake at most.
        match stream.read_to_end(&mut said) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
        }
        assert!(said.len() < 1_000);
    }
    assert_eq!(first.connected().len(), 2);
    assert_eq!(member.connected().len(), 2);
}

#[test]
fn what_stays_on_one_node_is_named_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let (first, second) = (founded(home.path()), Place::new(home.path(), "n1"));
    assert_eq!(
        second.run(&["namespace", "add", "before.example"])["shared"],
        Value::Null,
        "alone nothing is shared"
    );
    let joined = second.run(&["join", &first.ticket(&[])]);
    assert_eq!(joined["namespaces_alone"], serde_json::json!(["before.example"]), "{joined}");
    assert_eq!(first.run(&["namespace", "add", "granted.example"])["shared"], true);
    assert_eq!(second.run(&["namespace", "add"])["shared"], true, "named by its key");
    assert_eq!(second.run(&["namespace", "add", "own.example"])["shared"], false, "no admin grants it");
    let told = |arguments: &[&str]| {
        let output =
            second.setup.command().args(arguments).arg("--data").arg(second.setup.data()).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let again = told(&["namespace", "add", "own.example"]);
    assert!(
        again.contains("this node's alone") && again.contains("`jsfs namespace add own.example`"),
        "{again}"
    );
    let listed = told(&["namespace", "list"]);
    let marked = listed.lines().filter(|line| line.contains("this node's alone"));
    let marked: Vec<&str> = marked.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(marked, ["before.example", "own.example"], "{listed}");
    // An admin is no such member.
    let admin = Place::new(home.path(), "n2");
    admin.run(&["join", &first.ticket(&["--role", "admin", "--role", "meta"])]);
    assert_eq!(admin.run(&["namespace", "add", "by-admin.example"])["shared"], true, "{}", admin.log());
}
