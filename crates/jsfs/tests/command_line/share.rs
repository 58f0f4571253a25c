//! `share` and `revoke`.

use crate::support::Home;

#[test]
fn a_link_opens_what_it_was_made_for_until_it_is_revoked() {
    let home = Home::new();
    home.write("a", "1");
    home.ok(&["put", "a", "x/a"]);
    home.ok(&["put", "a", "y/a"]);
    let ran = home.run(&["share", "x/", "--for", "1h"]);
    let link = ran.out.trim();
    assert!(ran.err.contains("allows GET, LIST of /localhost/x/ for 1h"), "{}", ran.err);
    let file = link.replace("/x/?", "/x/a?");
    assert_eq!(home.stranger(&["cat", &file]).out, "1");
    assert_eq!(home.stranger(&["ls", link]).out, "a\n");
    assert_eq!(home.stranger(&["put", "a", &file]).code, 4);
    let token = link.split_once("access_token=").unwrap().1;
    assert_eq!(home.stranger(&["cat", "y/a", "--token", token]).code, 3);
    home.ok(&["revoke", link]);
    assert_eq!(home.stranger(&["cat", &file]).code, 3);
}

#[test]
fn a_token_that_may_write_can_be_used_and_revoked_by_its_id() {
    let home = Home::new();
    home.write("a", "1");
    let token = home.json(&["share", "x/", "--allow", "get,put,delete"]);
    let text = token["token"].as_str().unwrap();
    let ran = home.stranger(&["put", "a", "x/new", "--token", text]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(home.ok(&["cat", "x/new"]), "1");
    assert_eq!(home.stranger(&["rm", "x/new", "--token", text]).code, 0);
    home.ok(&["revoke", token["jti"].as_str().unwrap(), "x/"]);
    assert_eq!(home.stranger(&["put", "a", "x/new", "--token", text]).code, 4);
    assert!(home.fails(2, &["revoke", "someid"]).contains("ID ADDRESS"));
}

#[test]
fn sharing_what_is_not_there_is_done_and_said() {
    let home = Home::new();
    home.write("a", "1");
    home.ok(&["put", "a", "x/a"]);
    for (address, hint) in [
        ("none", "nothing is at /localhost/none"),
        ("none/", "nothing is below /localhost/none/"),
        ("x", "/localhost/x/ is a directory"),
    ] {
        let ran = home.run(&["share", address]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.out.starts_with("http://") && ran.out.lines().count() == 1, "{}", ran.out);
        assert!(ran.err.contains(hint), "{address}: {}", ran.err);
    }
    for address in ["x/", "x/a"] {
        let ran = home.run(&["share", address]);
        assert!(ran.err.lines().count() == 1 && ran.err.contains("allows GET"), "{}", ran.err);
    }
    assert_eq!(home.run(&["share", "x/a", "--json"]).err, "");
}
