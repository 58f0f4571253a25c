//! What a stranger can tell: every verb on what is absent, public or private, with no, a wrong, an insufficient and a sufficient
//! credential. The statuses are held against a small model, and written as a table into `docs/security.md`.

use std::cell::Cell;
use std::fmt::Write as _;
use std::path::Path;

use crate::node::Node;
use jsfs_objects::clock::SystemRandom;
use jsfs_objects::key::Seed;
use jsfs_testkit::http::{Answer, Request};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Public,
    Private,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Credential {
    None,
    /// A good key that owns nothing here.
    Wrong,
    /// A good token for the address that lacks the method.
    Insufficient,
    /// The owner's key.
    Sufficient,
}

/// What a verb needs of the address that it is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Read,
    List,
    Write,
    Delete,
    /// A key; no token will do.
    Key,
    /// Reading here and writing elsewhere.
    Copy,
    /// The same, and deleting here.
    Move,
    Nothing,
}

/// What a verb is sent to. Public and private are a directory or namespace by what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Object,
    Directory,
    /// The top of a namespace that is not this one's; absent means that there is no such namespace.
    Namespace,
}

struct Verb {
    name: &'static str,
    method: &'static str,
    query: &'static str,
    header: Option<(&'static str, &'static str)>,
    body: &'static [u8],
    kind: Kind,
    need: Need,
    /// With the owner's key: on what is absent, and on what is there.
    absent: u16,
    there: u16,
}

const fn verb(name: &'static str, method: &'static str, need: Need, absent: u16, there: u16) -> Verb {
    Verb { name, method, query: "", header: None, body: b"", kind: Kind::Object, need, absent, there }
}

const ANY_TAG: Option<(&str, &str)> = Some(("If-None-Match", "*"));
const ELSEWHERE: Option<(&str, &str)> = Some(("Destination", "/elsewhere/x"));
const ELSEWHERE_TREE: Option<(&str, &str)> = Some(("Destination", "/elsewhere/tree/"));

const VERBS: &[Verb] = &[
    verb("GET", "GET", Need::Read, 404, 200),
    Verb { header: ANY_TAG, ..verb("GET, If-None-Match: *", "GET", Need::Read, 404, 304) },
    Verb { header: Some(("Range", "bytes=99-")), ..verb("GET, Range outside", "GET", Need::Read, 404, 416) },
    Verb { query: "?versions", ..verb("GET ?versions", "GET", Need::Read, 404, 200) },
    Verb { query: "?version=1", ..verb("GET ?version=1", "GET", Need::Read, 404, 200) },
    verb("HEAD", "HEAD", Need::Read, 404, 200),
    Verb { body: b"new", ..verb("PUT", "PUT", Need::Write, 201, 200) },
    Verb { body: b"new", header: ANY_TAG, ..verb("PUT, If-None-Match: *", "PUT", Need::Write, 201, 412) },
    Verb { body: b"new", ..verb("POST", "POST", Need::Write, 201, 200) },
    Verb { body: b"new", query: "?append=true", ..verb("POST ?append", "POST", Need::Write, 201, 200) },
    Verb { query: "?restore=1", ..verb("POST ?restore", "POST", Need::Write, 404, 200) },
    Verb { body: br#"{"content_type":"text/css"}"#, ..verb("PATCH", "PATCH", Need::Write, 404, 204) },
    verb("DELETE", "DELETE", Need::Delete, 404, 204),
    Verb { query: "?purge=true", ..verb("DELETE ?purge", "DELETE", Need::Key, 404, 204) },
    Verb { header: ELSEWHERE, ..verb("COPY", "COPY", Need::Copy, 404, 201) },
    Verb { header: ELSEWHERE, ..verb("MOVE", "MOVE", Need::Move, 404, 201) },
    verb("EXECUTE, on a node without programs", "EXECUTE", Need::Nothing, 501, 501),
    verb("OPTIONS", "OPTIONS", Need::Nothing, 204, 204),
    verb("TRACE", "TRACE", Need::Nothing, 405, 405),
    Verb { kind: Kind::Directory, ..verb("GET dir/", "GET", Need::List, 200, 200) },
    Verb { kind: Kind::Directory, ..verb("HEAD dir/", "HEAD", Need::List, 200, 200) },
    Verb {
        kind: Kind::Directory,
        query: "?recursive=true",
        ..verb("GET dir/?recursive", "GET", Need::List, 200, 200)
    },
    Verb {
        kind: Kind::Directory,
        query: "?properties",
        ..verb("GET dir/?properties", "GET", Need::Key, 200, 200)
    },
    Verb { kind: Kind::Directory, body: b"new", ..verb("PUT dir/", "PUT", Need::Nothing, 405, 405) },
    Verb {
        kind: Kind::Directory,
        body: br#"{"private":true}"#,
        ..verb("PATCH dir/", "PATCH", Need::Key, 204, 204)
    },
    Verb { kind: Kind::Directory, ..verb("DELETE dir/", "DELETE", Need::Delete, 404, 204) },
    Verb { kind: Kind::Directory, header: ELSEWHERE_TREE, ..verb("COPY dir/", "COPY", Need::Copy, 404, 201) },
    Verb { kind: Kind::Directory, header: ELSEWHERE_TREE, ..verb("MOVE dir/", "MOVE", Need::Move, 404, 201) },
    Verb { kind: Kind::Directory, query: "?after=Z", ..verb("GET dir/?after", "GET", Need::List, 200, 200) },
    Verb {
        kind: Kind::Directory,
        query: "?after=zz",
        ..verb("GET dir/?after the end", "GET", Need::List, 200, 200)
    },
    Verb { kind: Kind::Directory, query: "?limit=1", ..verb("GET dir/?limit", "GET", Need::List, 200, 200) },
    Verb { kind: Kind::Namespace, ..verb("GET namespace/", "GET", Need::List, 404, 200) },
    Verb { kind: Kind::Namespace, ..verb("HEAD namespace/", "HEAD", Need::List, 404, 200) },
    Verb {
        kind: Kind::Namespace,
        query: "?recursive=true",
        ..verb("GET namespace/?recursive", "GET", Need::List, 404, 200)
    },
    Verb {
        kind: Kind::Namespace,
        query: "?after=zz",
        ..verb("GET namespace/?after the end", "GET", Need::List, 404, 200)
    },
    Verb {
        kind: Kind::Namespace,
        query: "?properties",
        ..verb("GET namespace/?properties", "GET", Need::Key, 404, 200)
    },
    Verb { kind: Kind::Namespace, body: b"new", ..verb("PUT namespace/", "PUT", Need::Nothing, 405, 405) },
    Verb {
        kind: Kind::Namespace,
        body: br#"{"private":true}"#,
        ..verb("PATCH namespace/", "PATCH", Need::Key, 404, 204)
    },
    Verb { kind: Kind::Namespace, ..verb("DELETE namespace/", "DELETE", Need::Delete, 404, 204) },
    Verb {
        kind: Kind::Namespace,
        header: ELSEWHERE_TREE,
        ..verb("COPY namespace/", "COPY", Need::Copy, 404, 201)
    },
    Verb {
        kind: Kind::Namespace,
        header: ELSEWHERE_TREE,
        ..verb("MOVE namespace/", "MOVE", Need::Move, 404, 201)
    },
];

const STATES: [State; 3] = [State::Absent, State::Public, State::Private];
const CREDENTIALS: [Credential; 4] =
    [Credential::None, Credential::Wrong, Credential::Insufficient, Credential::Sufficient];

/// What should come, said in as few words as there are.
fn model(verb: &Verb, state: State, credential: Credential) -> u16 {
    let there = if state == State::Absent { verb.absent } else { verb.there };
    let stranger = matches!(credential, Credential::None | Credential::Wrong);
    let reads = matches!(verb.need, Need::Read | Need::Copy | Need::Move);
    match verb.need {
        Need::Nothing => there,
        _ if credential == Credential::Sufficient => there,
        // Public things are read by all, and so is a directory as far as it is public; what COPY needs elsewhere and MOVE
        // here, nobody else has.
        Need::Read | Need::List if state == State::Public => verb.there,
        Need::Copy if state == State::Public => 401,
        Need::Move if state == State::Public && stranger => 401,
        // A directory that shows nothing is none, to whomever.
        Need::Copy | Need::Move if state != State::Public && verb.kind != Kind::Object => 404,
        // A listing shows each what it may know; where that is nothing, there is no directory.
        Need::List => 404,
        _ if stranger && reads => 404,
        _ if stranger => 401,
        _ => 403,
    }
}

struct World {
    node: Node,
    next: Cell<u32>,
    wrong: String,
}

impl World {
    fn new() -> World {
        let wrong = Seed::generate(&SystemRandom).to_text().to_string();
        World { node: Node::start(), next: Cell::new(0), wrong }
    }

    /// A fresh name in the given state.
    fn prepare(&self, verb: &Verb, state: State) -> String {
        self.next.set(self.next.get() + 1);
        let number = self.next.get();
        let target = match verb.kind {
            Kind::Object => format!("/w/n{number:04}"),
            Kind::Directory => format!("/w/n{number:04}/"),
            Kind::Namespace => format!("/.n{number:04}/"),
        };
        if verb.kind == Kind::Namespace && state != State::Absent {
            self.node.add_namespace(&format!("n{number:04}"));
        }
        let object = if verb.kind == Kind::Object { target.clone() } else { format!("{target}a") };
        match state {
            State::Absent => {}
            State::Public => drop(self.node.put(&object, b"bytes")),
            State::Private => drop(self.node.put_private(&object, b"bytes")),
        }
        // Where COPY and MOVE go is new each time.
        self.node.ask(&self.node.own("DELETE", "/elsewhere/"));
        target
    }

    fn credential(&self, verb: &Verb, target: &str, credential: Credential) -> Option<String> {
        match credential {
            Credential::None => None,
            Credential::Wrong => Some(self.wrong.clone()),
            Credential::Sufficient => Some(self.node.key.clone()),
            Credential::Insufficient => {
                let method = match verb.need {
                    Need::Read | Need::List | Need::Copy | Need::Move => "PUT",
                    _ => "GET",
                };
                let body = format!(r#"{{"address":"/localhost{target}","methods":["{method}"]}}"#);
                let made = self.node.ask(&self.node.own("POST", "/.jsfs/tokens").body(body.as_bytes()));
                Some(made.json()["token"].as_str().unwrap().to_owned())
            }
        }
    }

    fn ask(&self, verb: &Verb, state: State, credential: Credential) -> (String, Answer) {
        let target = self.prepare(verb, state);
        let presented = self.credential(verb, &target, credential);
        let asked = format!("{target}{}", verb.query);
        let mut request = Request::new(verb.method, &asked).body(verb.body);
        if let Some((name, value)) = verb.header {
            request = request.header(name, value);
        }
        if let Some(text) = &presented {
            request = request.bearer(text);
        }
        (target.clone(), self.node.ask(&request))
    }
}

/// Everything that an answer tells, without what differs for everybody: the time, and the name that was asked for.
fn told(target: &str, answer: &Answer) -> String {
    let headers: Vec<_> = answer.headers.iter().filter(|(name, _)| name != "date").collect();
    format!("{} {headers:?} {}", answer.status, answer.text()).replace(target, "TARGET")
}

#[test]
fn a_stranger_can_tell_nothing_about_what_is_private() {
    let world = World::new();
    let mut table = String::from(
        "| request | credential | absent | public | private | private told from absent |\n|---|---|---|---|---|---|\n",
    );
    for verb in VERBS {
        // There is no token for a namespace that does not exist.
        let is_made = |credential: &&Credential| {
            verb.kind != Kind::Namespace || **credential != Credential::Insufficient
        };
        for &credential in CREDENTIALS.iter().filter(is_made) {
            let answers = STATES.map(|state| {
                let (target, answer) = world.ask(verb, state, credential);
                let want = model(verb, state, credential);
                assert_eq!(answer.status, want, "{} {state:?} {credential:?}: {}", verb.name, answer.text());
                (answer.status, told(&target, &answer))
            });
            let [(absent, absent_told), (public, _), (private, private_told)] = answers;
            let same = absent_told == private_told;
            let stranger = matches!(credential, Credential::None | Credential::Wrong);
            assert!(same || !stranger, "{} {credential:?}:\n{absent_told}\n{private_told}", verb.name);
            let name = format!("{credential:?}").to_lowercase();
            let tells = if same { "no" } else { "yes" };
            writeln!(table, "| {} | {name} | {absent} | {public} | {private} | {tells} |", verb.name)
                .unwrap();
        }
    }
    check_page(&table);
}

/// The table in `docs/security.md`, between its marks.
fn check_page(table: &str) {
    const BEGIN: &str = "<!-- generated: stranger -->\n";
    const END: &str = "<!-- end -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/security.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the mark where the table begins");
    let (written, after) = rest.split_once(END).expect("the mark where the table ends");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(
            written, table,
            "docs/security.md is old: run UPDATE_DOCS=1 cargo test -p jsfs-http stranger"
        );
    }
}
