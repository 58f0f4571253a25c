//! Programs on the command line: stored, run, their mistakes and logs; `new` and `dev`.

use crate::support::Home;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

const ECHO: &str = r#"export default {
  async fetch(request, env, ctx) {
    console.log("asked by", ctx.caller.kind);
    if (request.url.endsWith("?fail")) throw new TypeError("as it was told");
    const status = request.url.endsWith("?teapot") ? 418 : 200;
    const answer = [request.method, await request.text(), env.COLOUR, request.headers.get("x-mine")];
    return Response.json(answer, { status });
  },
};
"#;

#[test]
fn a_program_is_stored_run_and_replaced_and_keeps_what_was_attached() {
    let home = Home::new();
    home.write("echo.js", ECHO);
    home.ok(&[
        "put",
        "echo.js",
        "/localhost/",
        "--executable",
        "--env",
        "COLOUR=grün",
        "--grant",
        "GET,PUT:data/",
    ]);
    assert_eq!(home.json(&["stat", "/localhost/echo.js"])["executable"], true);
    assert_eq!(home.ok(&["run", "/localhost/echo.js"]), r#"["GET","","grün",null]"#);
    let sent = home.with_input(&["run", "/localhost/echo.js", "--body", "-", "-H", "X-Mine: yes"], b"hello");
    assert_eq!((sent.code, sent.out.as_str()), (0, r#"["POST","hello","grün","yes"]"#));
    let teapot = home.run(&["run", "/localhost/echo.js", "--query", "teapot", "--include"]);
    assert_eq!(
        (teapot.code, teapot.out.as_str()),
        (1, r#"["GET","","grün",null]"#),
        "its answer is shown all the same"
    );
    assert!(teapot.err.contains("status 418\ncontent-type: application/json"), "{}", teapot.err);
    assert_eq!(home.ok(&["cat", "/localhost/echo.js"]), ECHO, "its source is an object like any other");
    home.write("echo.js", "export default { fetch: (_, env) => new Response(env.COLOUR) }");
    home.ok(&["put", "echo.js", "/localhost/"]);
    assert_eq!(home.ok(&["run", "/localhost/echo.js"]), "grün");
}

#[test]
fn what_is_no_program_is_not_run_and_what_may_not_be_run_is_not_there() {
    let home = Home::new();
    home.write("a.txt", "hello");
    home.write("echo.js", ECHO);
    home.ok(&["put", "a.txt", "/localhost/a.txt", "--public"]);
    home.ok(&["put", "echo.js", "/localhost/private.js", "--executable"]);
    home.ok(&["put", "echo.js", "/localhost/public.js", "--executable", "--public"]);
    assert!(home.fails(3, &["run", "/localhost/a.txt"]).contains("is no program"));
    let hidden = home.stranger(&["run", "/localhost/private.js"]);
    let absent = home.stranger(&["run", "/localhost/absent.js"]);
    assert_eq!((hidden.code, hidden.err.replace("private.js", "absent.js")), (absent.code, absent.err));
    assert_eq!(home.stranger(&["run", "/localhost/public.js"]).code, 0);
}

#[test]
fn a_mistake_is_named_with_its_place_and_nothing_is_stored() {
    let home = Home::new();
    home.write("bad.js", "export default {\n  fetch() { return new Response(\"x\" }\n};\n");
    let text = home.fails(1, &["put", "bad.js", "/localhost/bad.js", "--executable"]);
    assert!(text.starts_with("jsfs: bad.js:2:"), "{text}");
    assert!(text.contains("SyntaxError"), "{text}");
    home.fails(3, &["stat", "/localhost/bad.js"]);
    home.write("site/api/bad.js", "export default {");
    home.write("site/index.html", "<p>");
    home.write("site/jsfs.json", r#"{"programs":{"api/bad.js":{}}}"#);
    let text = home.fails(1, &["sync", "site", "/localhost/site/"]);
    assert!(text.contains("site/api/bad.js:1:"), "{text}");
    home.ok(&["stat", "/localhost/site/index.html"]);
}

#[test]
fn only_the_owner_reads_a_log_and_others_hear_the_same_of_every_address() {
    let home = Home::new();
    home.write("echo.js", ECHO);
    home.ok(&["put", "echo.js", "/localhost/echo.js", "--executable", "--public"]);
    assert!(home.run(&["logs", "/localhost/echo.js"]).err.contains("nothing was logged"));
    home.ok(&["run", "/localhost/echo.js"]);
    home.fails(1, &["run", "/localhost/echo.js", "--query", "fail"]);
    let log = home.ok(&["logs", "/localhost/echo.js"]);
    assert!(log.contains(" info  asked by owner\n"), "{log}");
    assert!(log.contains(" error TypeError: as it was told\n") && log.contains("/echo.js:4:"), "{log}");
    let lines = home.ok(&["logs", "/localhost/echo.js", "--json"]);
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&first["number"], &first["level"]), (&1.into(), &"info".into()));
    assert!(
        !home.ok(&["logs", "/localhost/echo.js", "--after", "1"]).contains(first["time"].as_str().unwrap())
    );
    let hears = |address: &str| {
        let ran = home.stranger(&["logs", address]);
        (ran.code, ran.err.replace(address, ""))
    };
    assert_eq!(hears("/localhost/echo.js").0, 3);
    assert_eq!(hears("/localhost/echo.js"), hears("/localhost/absent.js"));
    assert_eq!(hears("/localhost/echo.js"), hears("/org.nowhere/echo.js"));
    let link = home.ok(&["share", "/localhost/echo.js", "--allow", "get,put,execute", "--only-token"]);
    let mut command = home.command(&["logs", "/localhost/echo.js"]);
    let with_token = crate::support::ran(command.env("JSFS_ACCESS_TOKEN", link.trim()));
    assert_eq!(with_token.code, 3, "a token for the program is not its key: {}", with_token.out);
}

#[test]
fn sync_makes_programs_of_what_jsfs_json_names_and_attaches_what_it_says() {
    let home = Home::new();
    home.write("site/api.js", "export default { fetch: (_, env) => new Response(env.COLOUR ?? 'none') }");
    home.write("site/other.js", "export default {}");
    home.ok(&["sync", "site", "/localhost/site/"]);
    assert!(home.fails(3, &["run", "/localhost/site/api.js"]).contains("is no program"));
    for colour in ["blue", "red"] {
        home.write(
            "site/jsfs.json",
            format!(r#"{{"programs":{{"api.js":{{"env":{{"COLOUR":"{colour}"}}}}}}}}"#),
        );
        home.ok(&["sync", "site", "/localhost/site/"]);
        assert_eq!(home.ok(&["run", "/localhost/site/api.js"]), colour);
    }
    let version = home.json(&["stat", "/localhost/site/api.js"])["version"].clone();
    let unchanged = home.json(&["sync", "site", "/localhost/site/"]);
    assert_eq!(unchanged["transferred"], 0);
    assert_eq!(
        home.json(&["stat", "/localhost/site/api.js"])["version"],
        version,
        "nothing new, no new version"
    );
    assert_ne!(home.json(&["stat", "/localhost/site/other.js"])["executable"], true);
    home.fails(3, &["stat", "/localhost/site/jsfs.json"]);
    home.write("site/jsfs.json", "{\n  \"programs\": {\"api.js\": 1}\n}");
    let text = home.fails(2, &["sync", "site", "/localhost/site/"]);
    assert!(text.contains("jsfs.json:2:"), "{text}");
}

/// `jsfs dev`, told to stop when it is dropped.
struct Dev {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Dev {
    fn new(home: &Home, directory: &str) -> Dev {
        let mut command = home.command(&["dev", directory, "--listen", "127.0.0.1:0", "--json"]);
        command.env("TMPDIR", home.path("")).env_remove("JSFS_DATA");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Dev { child, out }
    }

    fn line(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_default()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

#[test]
fn dev_serves_a_new_directory_brings_over_what_changes_and_leaves_nothing_behind() {
    let home = Home::new();
    home.ok(&["new", "app"]);
    assert!(home.fails(2, &["new", "app"]).contains("is there already"));
    assert!(home.fails(2, &["new", "My App"]).contains("cannot be the name"));
    home.write("app/api.js", "export default { fetch: () => new Response('one') }");
    let mut dev = Dev::new(&home, "app");
    let ready = dev.line();
    let (url, data) = (ready["url"].as_str().unwrap().to_owned(), ready["data"].as_str().unwrap().to_owned());
    let node = std::net::SocketAddr::from((
        [127, 0, 0, 1],
        url.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap(),
    ));
    let ask = |target: &str| {
        let request = jsfs_testkit::http::Request::new("GET", target);
        jsfs_testkit::http::Client::new(node).send(&request).unwrap()
    };
    eventually("the first program", || ask("/api.js").text() == "one");
    assert!(ask("/").text().contains("<h1>app</h1>"));
    assert_eq!(ask("/jsfs.json").status, 404);
    home.write("app/api.js", "export default { fetch: () => new Response('two') }");
    eventually("a change of it", || ask("/api.js").text() == "two");
    home.write("app/api.js", "export default { fetch: ( }");
    home.write("app/more.txt", "more");
    eventually("what came after a mistake", || ask("/more.txt").text() == "more");
    assert_eq!(ask("/api.js").text(), "two", "what ran before runs on");
    assert!(std::path::Path::new(&data).exists());
    drop(dev);
    assert!(!std::path::Path::new(&data).exists(), "its data are gone");
    assert!(std::net::TcpStream::connect(node).is_err(), "its node is gone");
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what} within 60 s");
        std::thread::sleep(Duration::from_millis(50));
    }
}
