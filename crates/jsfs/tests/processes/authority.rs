//! Who may see a process, and what everybody else hears.

use crate::support::Stage;
use jsfs_testkit::http::Request;
use serde_json::Value;

const WAIT: &str = "export default { async main(args, ctx) { ctx.write('secret'); for await (const heard of ctx.input()); } };";

const WAYS: [(&str, &str); 8] = [
    ("GET", ""),
    ("HEAD", ""),
    ("POST", ""),
    ("DELETE", ""),
    ("DELETE", "?kill=true"),
    ("GET", "/output"),
    ("GET", "/output?follow=true"),
    ("POST", "/checkpoint"),
];

#[test]
fn to_a_stranger_a_process_is_not_there() {
    let stage = Stage::new(&[]);
    stage.stored("/p/wait.js?executable=true", WAIT);
    let process = stage.started("/p/wait.js", b"");
    stage.wait_for_output(&process, "secret");
    let absent = "/.jsfs/proc/00000000000000000000000000000000";
    let tokens = [
        None,
        Some(stage.token("/localhost/p/wait.js", &["EXECUTE"])),
        Some(stage.token("/localhost/p/", &["GET", "LIST", "PUT", "DELETE", "EXECUTE", "WATCH"])),
        Some(stage.token("/localhost/other.js", &["EXECUTE"])),
    ];
    for token in &tokens {
        for (method, rest) in WAYS.into_iter().chain([("PUT", ""), ("OPTIONS", ""), ("PATCH", "/output")]) {
            let asked = |process: &str| {
                let target = format!("{process}{rest}");
                let mut request = Request::new(method, &target);
                if let Some(token) = token {
                    request = request.bearer(token);
                }
                let answer = stage.ask(&request);
                let fields: Vec<_> = answer
                    .headers
                    .iter()
                    .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
                    .cloned()
                    .collect();
                (answer.status, fields, answer.text())
            };
            let there = asked(&process);
            assert_eq!(there, asked(absent), "{method} {rest} {}", token.is_some());
            assert!(
                ["PUT", "OPTIONS", "PATCH"].contains(&method) || there.0 == 404,
                "{method} {rest}: {}",
                there.0
            );
        }
        let mut request = Request::new("GET", "/.jsfs/proc/");
        if let Some(token) = token {
            request = request.bearer(token);
        }
        assert_eq!(stage.ask(&request).json()["processes"], Value::Array(Vec::new()));
    }
    assert_eq!(stage.status(&process)["state"], "waiting", "nobody touched it");
}

#[test]
fn who_started_a_process_with_a_token_holds_it_as_long_as_the_token_is_good() {
    let stage = Stage::new(&[]);
    stage.stored("/p/wait.js?executable=true", WAIT);
    let token = stage.token("/localhost/p/wait.js", &["EXECUTE"]);
    let started =
        stage.ask(&Request::new("POST", "/p/wait.js").bearer(&token).header("Prefer", "respond-async"));
    assert_eq!((started.status, &started.json()["started_by"]), (202, &"token".into()), "{}", started.text());
    let process = started.header("location").unwrap();
    let ask = |method: &str, target: &str| stage.ask(&Request::new(method, target).bearer(&token));
    stage.wait_for_output(process, "secret");
    assert_eq!(ask("GET", process).status, 200);
    assert_eq!(ask("GET", &format!("{process}/output")).text(), "secret");
    assert_eq!(ask("GET", "/.jsfs/proc/").json()["processes"].as_array().map(Vec::len), Some(1));
    assert_eq!(stage.status(process)["started_by"], "token", "its owner sees it too");
    let body = serde_json::json!({ "address": "/localhost/p/wait.js", "token": token }).to_string();
    let revoked = stage.ask(&stage.own("POST", "/.jsfs/revocations").body(body.as_bytes()));
    assert_eq!(revoked.status, 204, "{}", revoked.text());
    for (method, rest) in WAYS {
        assert_eq!(ask(method, &format!("{process}{rest}")).status, 404, "{method} {rest}");
    }
}

#[test]
fn nobody_in_particular_starts_no_process() {
    let stage = Stage::new(&[]);
    stage.stored("/wait.js?executable=true&private=false", WAIT);
    let refused = stage.ask(&Request::new("POST", "/wait.js").header("Prefer", "respond-async"));
    assert_eq!(refused.status, 401, "{}", refused.text());
    stage.stored("/hidden.js?executable=true", WAIT);
    let hidden = stage.ask(&Request::new("GET", "/hidden.js").header("Prefer", "respond-async"));
    let absent = stage.ask(&Request::new("GET", "/absent.js").header("Prefer", "respond-async"));
    assert_eq!((hidden.status, hidden.text().replace("hidden", "absent")), (absent.status, absent.text()));
}
