//! `docs/openapi.json` against the server: every documented path, method and status is provoked, every answer is documented, and the
//! fields of JSON answers are those of the schemas.

use std::collections::BTreeSet;

use crate::node::Node;
use crate::schema::{complaint, resolve};
use jsfs_http::Limits;
use jsfs_testkit::http::{Answer, Request};
use serde_json::Value;

/// Documented and not provoked here: path (or any), status, reason.
const EXCUSED: &[(&str, &str, &str)] = &[
    ("*", "409", "needs two writers that meet again and again; the object layer's tests provoke it"),
    ("*", "default", "what any request may meet; tests/http/raw.rs and limits.rs provoke each"),
    (OBJECT, "202", NO_PROGRAMS),
    (PROCESS, "200", NO_PROGRAMS),
    (PROCESS, "202", NO_PROGRAMS),
    (PROCESS, "413", NO_PROGRAMS),
    (OUTPUT, "200", NO_PROGRAMS),
    (CHECKPOINT, "200", NO_PROGRAMS),
    (OPEN, "303", "needs a code that was just made; tests/http/opening.rs provokes it"),
    (FEDERATION, "200", NO_PEERS),
    (FEDERATION, "201", NO_PEERS),
    (FEDERATION, "204", NO_PEERS),
    (PEERS, "200", NO_PEERS),
    (INVITATIONS, "201", NO_PEERS),
    (JOIN, "200", NO_PEERS),
    (JOIN, "502", NO_PEERS),
    (EXPULSIONS, "204", NO_PEERS),
    (EXPULSIONS, "404", NO_PEERS),
    (ROM, "200", "answers with, or needs, a ROM; crates/jsfs/tests/rom.rs provokes it"),
    (BACKUP, "413", "needs a body of more than 64 MiB"),
    (DIRECTORY, "413", "needs a tree too large for one commit; the object layer's tests provoke it"),
];

const NO_PROGRAMS: &str =
    "needs programs, which this test's node has not; crates/jsfs/tests/processes provokes it";

const NO_PEERS: &str =
    "needs other nodes, which this test's node cannot have; crates/jsfs/tests/federation provokes it";

/// One request: the documented path and method it stands for, the target, headers, body, and the status that must come.
type Case<'c> = (&'c str, &'c str, &'c str, &'c [(&'c str, &'c str)], &'c str, u16);

const OBJECT: &str = "/{path}";
const DIRECTORY: &str = "/{path}/";
const OPENINGS: &str = "/.jsfs/openings";
const OPEN: &str = "/.jsfs/open";
const TOKENS: &str = "/.jsfs/tokens";
const REVOCATIONS: &str = "/.jsfs/revocations";
const METRICS: &str = "/.jsfs/metrics";
const NAMESPACES: &str = "/.jsfs/namespaces";
const NAMESPACE: &str = "/.jsfs/namespaces/{name}";
const PROCESSES: &str = "/.jsfs/proc/";
const PROCESS: &str = "/.jsfs/proc/{id}";
const OUTPUT: &str = "/.jsfs/proc/{id}/output";
const CHECKPOINT: &str = "/.jsfs/proc/{id}/checkpoint";
const LOGS: &str = "/.jsfs/logs";
const MAINTENANCE: &str = "/.jsfs/maintenance/{name}";
const ROM: &str = "/.jsfs/rom";
const FEDERATION: &str = "/.jsfs/federation";
const PEERS: &str = "/.jsfs/peers";
const INVITATIONS: &str = "/.jsfs/federation/invitations";
const JOIN: &str = "/.jsfs/federation/join";
const EXPULSIONS: &str = "/.jsfs/federation/revocations";
const BACKUP: &str = "/.jsfs/backup";
const UPLOAD: &str = "/.jsfs/uploads/{id}";

/// Stands for the root key, and for tokens below `/t/`.
const KEY: (&str, &str) = ("X-Access-Key", "KEY");
const READS: (&str, &str) = ("X-Access-Token", "READS");
const LISTS: (&str, &str) = ("X-Access-Token", "LISTS");
/// A token for all of the root key's own namespace: no key all the same.
const ALMOST: (&str, &str) = ("X-Access-Token", "ALMOST");
const TO: (&str, &str) = ("Destination", "/t/to");
const TO_TREE: (&str, &str) = ("Destination", "/t/tree/");
const TO_SMALL: (&str, &str) = ("Destination", "/small/x");
const TUS: (&str, &str) = ("Tus-Resumable", "1.0.0");
const PIECE: (&str, &str) = ("Content-Type", "application/offset+octet-stream");
const AT_0: (&str, &str) = ("Upload-Offset", "0");
const AT_2: (&str, &str) = ("Upload-Offset", "2");
const WHOLE: (&str, &str) = ("Prefer", "return=representation");
const ABSENT: &str = "/.jsfs/uploads/00000000000000000000000000000000";

#[rustfmt::skip]
const CASES: &[Case<'_>] = &[
    (OBJECT, "GET", "/t/a", &[KEY], "", 200),
    (OBJECT, "GET", "/t/a?versions", &[KEY], "", 200),
    (OBJECT, "GET", "/t/a", &[KEY, ("Range", "bytes=0-1")], "", 206),
    (OBJECT, "GET", "/t/a", &[KEY, ("If-None-Match", "*")], "", 304),
    (OBJECT, "GET", "/t", &[KEY], "", 307),
    (OBJECT, "GET", "/t/a?version=x", &[], "", 400),
    (OBJECT, "GET", "/t/a", &[LISTS], "", 403),
    (OBJECT, "GET", "/t/absent", &[], "", 404),
    (OBJECT, "GET", "/t/purged", &[KEY], "", 410),
    (OBJECT, "GET", "/t/a", &[KEY, ("If-Match", "\"x\"")], "", 412),
    (OBJECT, "GET", "/t/a", &[KEY, ("Range", "bytes=99-")], "", 416),
    (OBJECT, "HEAD", "/t/a", &[KEY], "", 200),
    (OBJECT, "HEAD", "/t/a", &[KEY, ("If-None-Match", "*")], "", 304),
    (OBJECT, "HEAD", "/t", &[KEY], "", 307),
    (OBJECT, "HEAD", "/t/a?version=x", &[], "", 400),
    (OBJECT, "HEAD", "/t/a", &[LISTS], "", 403),
    (OBJECT, "HEAD", "/t/absent", &[], "", 404),
    (OBJECT, "HEAD", "/t/purged", &[KEY], "", 410),
    (OBJECT, "HEAD", "/t/a", &[KEY, ("If-Match", "\"x\"")], "", 412),
    (OBJECT, "PUT", "/t/put", &[KEY], "x", 201),
    (OBJECT, "PUT", "/t/put", &[KEY], "y", 200),
    (OBJECT, "PUT", "/t/put", &[KEY, ("Prefer", "return=minimal")], "z", 204),
    (OBJECT, "PUT", "/t/put?private=x", &[KEY], "x", 400),
    (OBJECT, "PUT", "/t/put", &[], "x", 401),
    (OBJECT, "PUT", "/t/put", &[READS], "x", 403),
    (OBJECT, "PUT", "/t/put", &[KEY, ("If-Match", "\"x\"")], "x", 412),
    (OBJECT, "PUT", "/t/put", &[KEY], "LONG", 413),
    (OBJECT, "PUT", "/t/put", &[KEY, ("Content-Encoding", "br")], "x", 415),
    (OBJECT, "PUT", "/t/put?executable=1", &[KEY], "x", 501),
    (OBJECT, "PUT", "/small/x", &[KEY], "more than ten bytes", 507),
    (OBJECT, "POST", "/t/post", &[KEY], "x", 201),
    (OBJECT, "POST", "/t/post?restore=1", &[KEY], "", 200),
    (OBJECT, "POST", "/t/post?copy_to=/t/copied", &[KEY], "", 201),
    (OBJECT, "POST", "/t/copied?move_to=/t/post", &[KEY], "", 204),
    (OBJECT, "POST", "/t/post?append=x", &[KEY], "x", 400),
    (OBJECT, "POST", "/t/post", &[], "x", 401),
    (OBJECT, "POST", "/t/post", &[READS], "x", 403),
    (OBJECT, "POST", "/t/post?restore=99", &[KEY], "", 404),
    (OBJECT, "POST", "/t/post", &[KEY, ("If-None-Match", "*")], "x", 412),
    (OBJECT, "POST", "/t/post", &[KEY], "LONG", 413),
    (OBJECT, "POST", "/t/post", &[KEY, ("Content-Encoding", "br")], "x", 415),
    (OBJECT, "POST", "/t/post?executable=1", &[KEY], "x", 501),
    (OBJECT, "POST", "/small/x", &[KEY], "more than ten bytes", 507),
    (OBJECT, "PATCH", "/t/a", &[KEY], r#"{"content_type":"text/css"}"#, 204),
    (OBJECT, "PATCH", "/t/a", &[KEY], r#"{"x":1}"#, 400),
    (OBJECT, "PATCH", "/t/a", &[], r#"{"private":true}"#, 401),
    (OBJECT, "PATCH", "/t/a", &[READS], r#"{"private":true}"#, 403),
    (OBJECT, "PATCH", "/t/absent", &[KEY], r#"{"private":true}"#, 404),
    (OBJECT, "PATCH", "/t/a", &[KEY, ("If-Match", "\"x\"")], r#"{"private":true}"#, 412),
    (OBJECT, "PATCH", "/t/a", &[KEY], "LONG", 413),
    (OBJECT, "PATCH", "/t/a", &[KEY, ("Content-Type", "text/plain")], "{}", 415),
    (OBJECT, "PATCH", "/t/a", &[KEY], r#"{"executable":true}"#, 501),
    (OBJECT, "DELETE", "/t/put?purge=x", &[KEY], "", 400),
    (OBJECT, "DELETE", "/t/put", &[], "", 401),
    (OBJECT, "DELETE", "/t/put", &[READS], "", 403),
    (OBJECT, "DELETE", "/t/put", &[KEY, ("If-Match", "\"x\"")], "", 412),
    (OBJECT, "DELETE", "/t/put", &[KEY], "", 204),
    (OBJECT, "DELETE", "/t/put", &[KEY], "", 404),
    (OBJECT, "OPTIONS", "/t/a", &[], "", 204),
    (OBJECT, "COPY", "/t/a", &[KEY, TO], "", 201),
    (OBJECT, "COPY", "/t/a", &[KEY, TO], "", 204),
    (OBJECT, "COPY", "/t/a", &[KEY], "", 400),
    (OBJECT, "COPY", "/t/a", &[READS, ("Destination", "/else")], "", 401),
    (OBJECT, "COPY", "/t/a", &[READS, TO], "", 403),
    (OBJECT, "COPY", "/t/absent", &[KEY, TO], "", 404),
    (OBJECT, "COPY", "/t/a", &[KEY, TO, ("Overwrite", "F")], "", 412),
    (OBJECT, "COPY", "/t/large", &[KEY, TO_SMALL], "", 507),
    (OBJECT, "MOVE", "/t/a", &[KEY], "", 400),
    (OBJECT, "MOVE", "/public", &[TO], "", 401),
    (OBJECT, "MOVE", "/t/a", &[READS, TO], "", 403),
    (OBJECT, "MOVE", "/t/absent", &[KEY, TO], "", 404),
    (OBJECT, "MOVE", "/t/a", &[KEY, TO, ("If-Match", "\"x\"")], "", 412),
    (OBJECT, "MOVE", "/t/large", &[KEY, TO_SMALL], "", 507),
    (OBJECT, "MOVE", "/t/to", &[KEY, ("Destination", "/t/new")], "", 201),
    (OBJECT, "MOVE", "/t/new", &[KEY, ("Destination", "/t/a")], "", 204),
    (OBJECT, "EXECUTE", "/t/a", &[KEY], "", 501),
    (DIRECTORY, "GET", "/t/", &[KEY], "", 200),
    (DIRECTORY, "GET", "/t/?properties", &[KEY], "", 200),
    (DIRECTORY, "GET", "/web/", &[("Range", "bytes=0-1")], "", 206),
    (DIRECTORY, "GET", "/web/", &[("If-None-Match", "*")], "", 304),
    (DIRECTORY, "GET", "/t/?limit=0", &[KEY], "", 400),
    (DIRECTORY, "GET", "/t/?properties", &[], "", 401),
    (DIRECTORY, "GET", "/t/?properties", &[READS], "", 403),
    (DIRECTORY, "GET", "/absent/", &[], "", 404),
    (DIRECTORY, "GET", "/t/", &[KEY, ("If-Match", "\"x\"")], "", 412),
    (DIRECTORY, "GET", "/web/", &[("Range", "bytes=99-")], "", 416),
    (DIRECTORY, "HEAD", "/t/", &[KEY], "", 200),
    (DIRECTORY, "HEAD", "/web/", &[("If-None-Match", "*")], "", 304),
    (DIRECTORY, "HEAD", "/t/?limit=0", &[KEY], "", 400),
    (DIRECTORY, "HEAD", "/t/?properties", &[], "", 401),
    (DIRECTORY, "HEAD", "/t/?properties", &[READS], "", 403),
    (DIRECTORY, "HEAD", "/absent/", &[], "", 404),
    (DIRECTORY, "HEAD", "/t/", &[KEY, ("If-Match", "\"x\"")], "", 412),
    (DIRECTORY, "POST", "/web/?copy_to=/web2/", &[KEY], "", 201),
    (DIRECTORY, "POST", "/web/?copy_to=/web2/", &[KEY], "", 204),
    (DIRECTORY, "POST", "/web/?copy_to=x", &[KEY], "", 400),
    (DIRECTORY, "POST", "/web/?copy_to=/web2/", &[], "", 401),
    (DIRECTORY, "POST", "/t/?copy_to=/t/x/", &[READS], "", 403),
    (DIRECTORY, "POST", "/absent/?copy_to=/web2/", &[KEY], "", 404),
    (DIRECTORY, "POST", "/web/", &[KEY], "x", 405),
    (DIRECTORY, "POST", "/web/?copy_to=/web2/", &[KEY, ("Overwrite", "F")], "", 412),
    (DIRECTORY, "POST", "/t/?copy_to=/small/", &[KEY], "", 507),
    (DIRECTORY, "PATCH", "/policy/", &[KEY], r#"{"private":false}"#, 204),
    (DIRECTORY, "PATCH", "/policy/", &[KEY], r#"{"create":"x"}"#, 400),
    (DIRECTORY, "PATCH", "/policy/", &[], "{}", 401),
    (DIRECTORY, "PATCH", "/t/", &[READS], "{}", 403),
    (DIRECTORY, "PATCH", "/policy/", &[KEY, ("If-Match", "\"x\"")], r#"{"private":false}"#, 412),
    (DIRECTORY, "PATCH", "/policy/", &[KEY], "LONG", 413),
    (DIRECTORY, "PATCH", "/policy/", &[KEY, ("Content-Type", "text/plain")], "{}", 415),
    (DIRECTORY, "DELETE", "/web2/?purge=x", &[KEY], "", 400),
    (DIRECTORY, "DELETE", "/web2/", &[], "", 401),
    (DIRECTORY, "DELETE", "/t/", &[READS], "", 403),
    (DIRECTORY, "DELETE", "/web2/", &[KEY, ("If-Match", "\"x\"")], "", 412),
    (DIRECTORY, "DELETE", "/web2/", &[KEY], "", 204),
    (DIRECTORY, "DELETE", "/web2/", &[KEY], "", 404),
    (DIRECTORY, "OPTIONS", "/t/", &[], "", 204),
    (DIRECTORY, "COPY", "/web/", &[KEY, TO_TREE], "", 201),
    (DIRECTORY, "COPY", "/web/", &[KEY, TO_TREE], "", 204),
    (DIRECTORY, "COPY", "/web/", &[KEY], "", 400),
    (DIRECTORY, "COPY", "/web/", &[TO_TREE], "", 401),
    (DIRECTORY, "COPY", "/t/", &[READS, ("Destination", "/t/x/")], "", 403),
    (DIRECTORY, "COPY", "/absent/", &[KEY, TO_TREE], "", 404),
    (DIRECTORY, "COPY", "/web/", &[KEY, TO_TREE, ("Overwrite", "F")], "", 412),
    (DIRECTORY, "COPY", "/t/", &[KEY, ("Destination", "/small/")], "", 507),
    (DIRECTORY, "MOVE", "/web/", &[KEY], "", 400),
    (DIRECTORY, "MOVE", "/web/", &[TO_TREE], "", 401),
    (DIRECTORY, "MOVE", "/t/", &[READS, ("Destination", "/t/x/")], "", 403),
    (DIRECTORY, "MOVE", "/absent/", &[KEY, TO_TREE], "", 404),
    (DIRECTORY, "MOVE", "/web/", &[KEY, TO_TREE, ("Overwrite", "F")], "", 412),
    (DIRECTORY, "MOVE", "/t/", &[KEY, ("Destination", "/small/")], "", 507),
    (DIRECTORY, "MOVE", "/web/", &[KEY, ("Destination", "/web3/")], "", 201),
    (DIRECTORY, "MOVE", "/web3/", &[KEY, TO_TREE], "", 204),
    ("/.jsfs/status", "GET", "/.jsfs/status", &[], "", 200),
    ("/.jsfs/status", "GET", "/.jsfs/status", &[KEY], "", 200),
    ("/.jsfs/status", "HEAD", "/.jsfs/status", &[], "", 200),
    ("/.jsfs/status", "OPTIONS", "/.jsfs/status", &[], "", 204),
    (OPENINGS, "POST", OPENINGS, &[KEY], r#"{"address":"/localhost/t/"}"#, 201),
    (OPENINGS, "POST", OPENINGS, &[KEY], r#"{"address":1}"#, 400),
    (OPENINGS, "POST", OPENINGS, &[], r#"{"address":"/localhost/t/"}"#, 401),
    (OPENINGS, "POST", OPENINGS, &[READS], r#"{"address":"/localhost/t/"}"#, 403),
    (OPENINGS, "POST", OPENINGS, &[KEY], "LONG", 413),
    (OPENINGS, "POST", OPENINGS, &[KEY, ("Content-Type", "text/plain")], "{}", 415),
    (OPENINGS, "OPTIONS", OPENINGS, &[], "", 204),
    (OPEN, "GET", "/.jsfs/open?code=x", &[], "", 404),
    (OPEN, "OPTIONS", OPEN, &[], "", 204),
    (TOKENS, "POST", TOKENS, &[KEY], r#"{"address":"/localhost/t/"}"#, 201),
    (TOKENS, "POST", TOKENS, &[KEY], r#"{"address":1}"#, 400),
    (TOKENS, "POST", TOKENS, &[], r#"{"address":"/localhost/t/"}"#, 401),
    (TOKENS, "POST", TOKENS, &[READS], r#"{"address":"/localhost/t/"}"#, 403),
    (TOKENS, "POST", TOKENS, &[KEY], "LONG", 413),
    (TOKENS, "POST", TOKENS, &[KEY, ("Content-Type", "text/plain")], "{}", 415),
    (TOKENS, "OPTIONS", TOKENS, &[], "", 204),
    (REVOCATIONS, "POST", REVOCATIONS, &[KEY], r#"{"address":"/localhost/t/","jti":"x"}"#, 204),
    (REVOCATIONS, "POST", REVOCATIONS, &[KEY], r#"{"address":"/localhost/t/"}"#, 400),
    (REVOCATIONS, "POST", REVOCATIONS, &[], r#"{"address":"/localhost/t/","jti":"x"}"#, 401),
    (REVOCATIONS, "POST", REVOCATIONS, &[READS], r#"{"address":"/localhost/t/","jti":"x"}"#, 403),
    (REVOCATIONS, "POST", REVOCATIONS, &[KEY], "LONG", 413),
    (REVOCATIONS, "POST", REVOCATIONS, &[KEY, ("Content-Type", "text/plain")], "{}", 415),
    (REVOCATIONS, "OPTIONS", REVOCATIONS, &[], "", 204),
    (METRICS, "GET", METRICS, &[KEY], "", 200),
    (METRICS, "GET", METRICS, &[], "", 401),
    (METRICS, "GET", METRICS, &[ALMOST], "", 403),
    (METRICS, "HEAD", METRICS, &[KEY], "", 200),
    (METRICS, "HEAD", METRICS, &[], "", 401),
    (METRICS, "HEAD", METRICS, &[ALMOST], "", 403),
    (METRICS, "OPTIONS", METRICS, &[], "", 204),
    (NAMESPACES, "GET", NAMESPACES, &[KEY], "", 200),
    (NAMESPACES, "GET", NAMESPACES, &[], "", 401),
    (NAMESPACES, "GET", NAMESPACES, &[ALMOST], "", 403),
    (NAMESPACES, "HEAD", NAMESPACES, &[KEY], "", 200),
    (NAMESPACES, "HEAD", NAMESPACES, &[], "", 401),
    (NAMESPACES, "HEAD", NAMESPACES, &[ALMOST], "", 403),
    (NAMESPACES, "POST", NAMESPACES, &[KEY], "{}", 201),
    (NAMESPACES, "POST", NAMESPACES, &[KEY], "{}", 200),
    (NAMESPACES, "POST", NAMESPACES, &[KEY], r#"{"owner_key":"chosen"}"#, 400),
    (NAMESPACES, "POST", NAMESPACES, &[], "{}", 401),
    (NAMESPACES, "POST", NAMESPACES, &[ALMOST], "{}", 403),
    (NAMESPACES, "POST", NAMESPACES, &[KEY], "LONG", 413),
    (NAMESPACES, "POST", NAMESPACES, &[KEY, ("Content-Type", "text/plain")], "{}", 415),
    (NAMESPACES, "OPTIONS", NAMESPACES, &[], "", 204),
    (NAMESPACE, "PUT", "/.jsfs/namespaces/org.n", &[KEY], "{}", 201),
    (NAMESPACE, "PUT", "/.jsfs/namespaces/org.n", &[KEY], "{}", 200),
    (NAMESPACE, "PUT", "/.jsfs/namespaces/org.n", &[KEY], r#"{"quota":"x"}"#, 400),
    (NAMESPACE, "PUT", "/.jsfs/namespaces/org.n", &[], "{}", 401),
    (NAMESPACE, "PUT", "/.jsfs/namespaces/org.n", &[ALMOST], "{}", 403),
    (NAMESPACE, "PUT", "/.jsfs/namespaces/org.n", &[KEY], "LONG", 413),
    (NAMESPACE, "PUT", "/.jsfs/namespaces/org.n", &[KEY, ("Content-Type", "text/plain")], "{}", 415),
    (NAMESPACE, "PATCH", "/.jsfs/namespaces/org.n", &[KEY], r#"{"private":false}"#, 200),
    (NAMESPACE, "PATCH", "/.jsfs/namespaces/org.n", &[KEY], r#"{"x":1}"#, 400),
    (NAMESPACE, "PATCH", "/.jsfs/namespaces/org.n", &[], "{}", 401),
    (NAMESPACE, "PATCH", "/.jsfs/namespaces/org.n", &[ALMOST], "{}", 403),
    (NAMESPACE, "PATCH", "/.jsfs/namespaces/org.m", &[KEY], r#"{"private":false}"#, 404),
    (NAMESPACE, "PATCH", "/.jsfs/namespaces/org.n", &[KEY], "LONG", 413),
    (NAMESPACE, "PATCH", "/.jsfs/namespaces/org.n", &[KEY, ("Content-Type", "text/plain")], "{}", 415),
    (NAMESPACE, "OPTIONS", "/.jsfs/namespaces/org.n", &[], "", 204),
    (OBJECT, "POST", "/t/begun", &[KEY, TUS, ("Upload-Length", "4")], "", 201),
    (OBJECT, "POST", "/t/begun", &[KEY, ("Upload-Length", "4")], "", 412),
    (UPLOAD, "HEAD", "NEW", &[KEY, TUS], "", 200),
    (UPLOAD, "HEAD", ABSENT, &[KEY, TUS], "", 404),
    (UPLOAD, "HEAD", "NEW", &[KEY], "", 412),
    (UPLOAD, "PATCH", "NEW", &[KEY, TUS, PIECE, AT_0], "ab", 204),
    (UPLOAD, "PATCH", "NEW", &[KEY, TUS, PIECE], "cd", 400),
    (UPLOAD, "PATCH", "NEW", &[TUS, PIECE, AT_2], "cd", 404),
    (UPLOAD, "PATCH", "NEW", &[KEY, TUS, PIECE, AT_0], "cd", 409),
    (UPLOAD, "PATCH", "NEW", &[KEY, PIECE, AT_2], "cd", 412),
    (UPLOAD, "PATCH", "NEW", &[KEY, TUS, PIECE, AT_2], "LONG", 413),
    (UPLOAD, "PATCH", "NEW", &[KEY, TUS, AT_2], "cd", 415),
    (UPLOAD, "PATCH", "NEW", &[KEY, TUS, PIECE, AT_2, WHOLE], "cd", 201),
    (UPLOAD, "PATCH", "AGAIN", &[KEY, TUS, PIECE, AT_0, WHOLE], "abcd", 200),
    (UPLOAD, "PATCH", "SMALL", &[KEY, TUS, PIECE, AT_0], "more than ten bytes", 507),
    (UPLOAD, "POST", "SMALL", &[KEY, TUS, PIECE, AT_0, ("X-HTTP-Method-Override", "PATCH")], "ab", 204),
    (UPLOAD, "POST", ABSENT, &[KEY, TUS, ("X-HTTP-Method-Override", "DELETE")], "", 404),
    (UPLOAD, "POST", "SMALL", &[KEY, TUS], "", 405),
    (UPLOAD, "POST", "SMALL", &[KEY], "", 412),
    (UPLOAD, "DELETE", "SMALL", &[KEY], "", 412),
    (UPLOAD, "DELETE", "SMALL", &[KEY, TUS], "", 204),
    (UPLOAD, "DELETE", "SMALL", &[KEY, TUS], "", 404),
    (UPLOAD, "OPTIONS", ABSENT, &[], "", 204),
    (LOGS, "GET", "/.jsfs/logs?address=/localhost/t/a", &[KEY], "", 200),
    (LOGS, "GET", "/.jsfs/logs", &[KEY], "", 400),
    (LOGS, "GET", "/.jsfs/logs?address=/localhost/t/a", &[ALMOST], "", 404),
    (LOGS, "HEAD", "/.jsfs/logs?address=/localhost/t/a&after=0", &[KEY], "", 200),
    (LOGS, "HEAD", "/.jsfs/logs?address=/localhost/t/a&after=x", &[KEY], "", 400),
    (LOGS, "HEAD", "/.jsfs/logs?address=/localhost/t/absent", &[], "", 404),
    (PROCESSES, "GET", "/.jsfs/proc/", &[KEY], "", 200),
    (PROCESSES, "HEAD", "/.jsfs/proc/", &[], "", 200),
    (PROCESSES, "OPTIONS", "/.jsfs/proc/", &[], "", 204),
    (PROCESS, "GET", "/.jsfs/proc/ab", &[KEY], "", 404),
    (PROCESS, "HEAD", "/.jsfs/proc/ab", &[], "", 404),
    (PROCESS, "POST", "/.jsfs/proc/ab", &[KEY], "x", 404),
    (PROCESS, "DELETE", "/.jsfs/proc/ab", &[KEY], "", 404),
    (PROCESS, "DELETE", "/.jsfs/proc/ab?kill=perhaps", &[KEY], "", 400),
    (PROCESS, "OPTIONS", "/.jsfs/proc/ab", &[], "", 204),
    (OUTPUT, "GET", "/.jsfs/proc/ab/output", &[KEY], "", 404),
    (OUTPUT, "GET", "/.jsfs/proc/ab/output?after=x", &[KEY], "", 400),
    (OUTPUT, "HEAD", "/.jsfs/proc/ab/output", &[KEY], "", 404),
    (OUTPUT, "HEAD", "/.jsfs/proc/ab/output?follow=x", &[KEY], "", 400),
    (OUTPUT, "OPTIONS", "/.jsfs/proc/ab/output", &[], "", 204),
    (CHECKPOINT, "POST", "/.jsfs/proc/ab/checkpoint", &[KEY], "", 404),
    (CHECKPOINT, "OPTIONS", "/.jsfs/proc/ab/checkpoint", &[], "", 204),
    (LOGS, "OPTIONS", LOGS, &[], "", 204),
    (MAINTENANCE, "POST", "/.jsfs/maintenance/gc", &[KEY], r#"{"dry_run":true}"#, 200),
    (MAINTENANCE, "POST", "/.jsfs/maintenance/stats", &[KEY], r#"{"of":"x"}"#, 400),
    (MAINTENANCE, "POST", "/.jsfs/maintenance/check", &[KEY], r#"{"repair":"x"}"#, 400),
    (MAINTENANCE, "POST", "/.jsfs/maintenance/gc", &[KEY], r#"{"dead_share":"x"}"#, 400),
    (MAINTENANCE, "POST", "/.jsfs/maintenance/gc", &[KEY], r#"{"dead_share":1.5}"#, 400),
    (MAINTENANCE, "POST", "/.jsfs/maintenance/gc", &[], "{}", 401),
    (MAINTENANCE, "POST", "/.jsfs/maintenance/gc", &[ALMOST], "{}", 403),
    (MAINTENANCE, "POST", "/.jsfs/maintenance/nothing", &[KEY], "{}", 404),
    (MAINTENANCE, "POST", "/.jsfs/maintenance/gc", &[KEY], "LONG", 413),
    (MAINTENANCE, "POST", "/.jsfs/maintenance/gc", &[KEY, ("Content-Type", "text/plain")], "{}", 415),
    (BACKUP, "POST", BACKUP, &[KEY], "JSFSASK1", 400),
    (BACKUP, "POST", BACKUP, &[KEY], "JSFSASK1\0\0\0\0\0\0\0\0\u{7}\0\0\0[\"\",[]]", 200),
    (BACKUP, "POST", BACKUP, &[], "", 401),
    (BACKUP, "POST", BACKUP, &[ALMOST], "", 403),
    (BACKUP, "OPTIONS", BACKUP, &[], "", 204),
    (ROM, "POST", ROM, &[KEY], r#"{"addresses":["/localhost/t/"]}"#, 200),
    (ROM, "POST", ROM, &[KEY], r#"{"addresses":["/localhost/nothing"]}"#, 400),
    (ROM, "POST", ROM, &[], r#"{"addresses":["/localhost/t/"]}"#, 401),
    (ROM, "POST", ROM, &[ALMOST], r#"{"addresses":["/localhost/t/"]}"#, 403),
    (ROM, "POST", ROM, &[KEY], "LONG", 413),
    (ROM, "POST", ROM, &[KEY, ("Content-Type", "text/plain")], "{}", 415),
    (ROM, "PUT", ROM, &[KEY], "no ROM at all, as anybody can see who looks at it", 400),
    (ROM, "PUT", ROM, &[], "", 401),
    (ROM, "PUT", ROM, &[ALMOST], "", 403),
    (ROM, "PUT", ROM, &[KEY], "LONG", 413),
    (ROM, "OPTIONS", ROM, &[], "", 204),
    (MAINTENANCE, "OPTIONS", "/.jsfs/maintenance/gc", &[], "", 204),
    (FEDERATION, "GET", FEDERATION, &[], "", 401),
    (FEDERATION, "GET", FEDERATION, &[ALMOST], "", 403),
    (FEDERATION, "GET", FEDERATION, &[KEY], "", 501),
    (FEDERATION, "HEAD", FEDERATION, &[], "", 401),
    (FEDERATION, "HEAD", FEDERATION, &[ALMOST], "", 403),
    (FEDERATION, "HEAD", FEDERATION, &[KEY], "", 501),
    (FEDERATION, "OPTIONS", FEDERATION, &[], "", 204),
    (PEERS, "GET", PEERS, &[], "", 401),
    (PEERS, "GET", PEERS, &[ALMOST], "", 403),
    (PEERS, "GET", PEERS, &[KEY], "", 501),
    (PEERS, "HEAD", PEERS, &[], "", 401),
    (PEERS, "HEAD", PEERS, &[ALMOST], "", 403),
    (PEERS, "HEAD", PEERS, &[KEY], "", 501),
    (PEERS, "OPTIONS", PEERS, &[], "", 204),
    (FEDERATION, "DELETE", FEDERATION, &[], "", 401),
    (FEDERATION, "DELETE", FEDERATION, &[ALMOST], "", 403),
    (FEDERATION, "DELETE", FEDERATION, &[KEY], "", 501),
    (FEDERATION, "POST", FEDERATION, &[], "{}", 401),
    (FEDERATION, "POST", FEDERATION, &[ALMOST], "{}", 403),
    (FEDERATION, "POST", FEDERATION, &[KEY], "{", 400),
    (FEDERATION, "POST", FEDERATION, &[KEY], "LONG", 413),
    (FEDERATION, "POST", FEDERATION, &[KEY, ("Content-Type", "text/plain")], "{}", 415),
    (INVITATIONS, "POST", INVITATIONS, &[], "{}", 401),
    (INVITATIONS, "POST", INVITATIONS, &[ALMOST], "{}", 403),
    (INVITATIONS, "POST", INVITATIONS, &[KEY], "{", 400),
    (INVITATIONS, "POST", INVITATIONS, &[KEY], "LONG", 413),
    (INVITATIONS, "POST", INVITATIONS, &[KEY, ("Content-Type", "text/plain")], "{}", 415),
    (JOIN, "POST", JOIN, &[], "{}", 401),
    (JOIN, "POST", JOIN, &[ALMOST], "{}", 403),
    (JOIN, "POST", JOIN, &[KEY], "{", 400),
    (JOIN, "POST", JOIN, &[KEY], "LONG", 413),
    (JOIN, "POST", JOIN, &[KEY, ("Content-Type", "text/plain")], "{}", 415),
    (EXPULSIONS, "POST", EXPULSIONS, &[], "{}", 401),
    (EXPULSIONS, "POST", EXPULSIONS, &[ALMOST], "{}", 403),
    (EXPULSIONS, "POST", EXPULSIONS, &[KEY], "{", 400),
    (EXPULSIONS, "POST", EXPULSIONS, &[KEY], "LONG", 413),
    (EXPULSIONS, "POST", EXPULSIONS, &[KEY, ("Content-Type", "text/plain")], "{}", 415),
    (FEDERATION, "POST", FEDERATION, &[KEY], r#"{"name":"home"}"#, 501),
    (INVITATIONS, "POST", INVITATIONS, &[KEY], "{}", 501),
    (JOIN, "POST", JOIN, &[KEY], r#"{"ticket":"x"}"#, 501),
    (EXPULSIONS, "POST", EXPULSIONS, &[KEY], r#"{"peer":"x"}"#, 501),
    (INVITATIONS, "OPTIONS", INVITATIONS, &[], "", 204),
    (JOIN, "OPTIONS", JOIN, &[], "", 204),
    (EXPULSIONS, "OPTIONS", EXPULSIONS, &[], "", 204),
];

fn document() -> Value {
    serde_json::from_str(include_str!("../../../../docs/openapi.json")).unwrap()
}

/// Every documented operation: path, method, what is said of it.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (name, value) in item.as_object().unwrap() {
            match name.as_str() {
                "parameters" => {}
                "x-additionalOperations" => {
                    let more = value.as_object().unwrap().iter();
                    found.extend(more.map(|(method, operation)| (path.clone(), method.clone(), operation)));
                }
                method => found.push((path.clone(), method.to_ascii_uppercase(), value)),
            }
        }
    }
    found
}

/// A node with something of everything.
fn prepared() -> (Node, Vec<(&'static str, String)>) {
    let node = Node::with(Limits { body_bytes_max: 50_000, json_bytes_max: 1_024, ..Limits::default() });
    for target in ["/t/a", "/t/purged"] {
        node.put_private(target, b"some bytes");
    }
    node.put_private("/t/large", &[7; 500]);
    node.put("/public", b"x");
    node.put("/web/index.html", b"<p>");
    assert_eq!(node.ask(&node.own("DELETE", "/t/purged?purge=true")).status, 204);
    assert_eq!(node.ask(&node.own("PATCH", "/small/").body(br#"{"quota":10}"#)).status, 204);
    let token = |address: &str, methods: &str| {
        let body = format!(r#"{{"address":"{address}","methods":[{methods}]}}"#);
        let made = node.ask(&node.own("POST", "/.jsfs/tokens").body(body.as_bytes()));
        made.json()["token"].as_str().unwrap().to_owned()
    };
    let begin = |target: &str| {
        let request = node.own("POST", target).header("Tus-Resumable", "1.0.0");
        let begun = node.ask(&request.header("Upload-Defer-Length", "1"));
        begun.header("location").unwrap().to_owned()
    };
    let begin_4 = |target: &str| {
        let request = node.own("POST", target).header("Tus-Resumable", "1.0.0");
        node.ask(&request.header("Upload-Length", "4")).header("location").unwrap().to_owned()
    };
    let words = vec![
        ("NEW", begin_4("/uploaded")),
        ("AGAIN", begin_4("/public")),
        ("SMALL", begin("/small/uploaded")),
        ("KEY", node.key.clone()),
        ("READS", token("/localhost/t/", r#""GET""#)),
        ("LISTS", token("/localhost/t/", r#""LIST""#)),
        ("ALMOST", token("/localhost/", r#""GET","LIST","PUT","DELETE""#)),
        ("LONG", "x".repeat(60_000)),
    ];
    (node, words)
}

fn send(node: &Node, words: &[(&str, String)], case: &Case<'_>) -> Answer {
    let (_, method, target, headers, body, _) = case;
    let word = |text: &str| {
        words.iter().find(|(word, _)| *word == text).map_or(text.to_owned(), |(_, value)| value.clone())
    };
    let (target, body) = (word(target), word(body));
    let mut request = Request::new(method, &target).body(body.as_bytes());
    for (name, value) in *headers {
        request = request.header(name, &word(value));
    }
    node.ask(&request)
}

#[test]
fn the_description_is_what_the_server_does() {
    let document = document();
    let operations = operations(&document);
    let (node, words) = prepared();
    let mut seen = BTreeSet::new();
    for case in CASES {
        let (path, method, target, headers, _, status) = case;
        let answer = send(&node, &words, case);
        assert_eq!(answer.status, *status, "{method} {target} {headers:?}: {}", answer.text());
        let (_, _, operation) = operations
            .iter()
            .find(|(p, m, _)| p == path && m == method)
            .unwrap_or_else(|| panic!("{method} {path} is not documented"));
        let response = &operation["responses"][status.to_string()];
        assert!(response.is_object(), "{method} {path} is not documented to answer {status}");
        seen.insert((path.to_string(), method.to_string(), status.to_string()));
        check_answer(
            &document,
            resolve(&document, response),
            &answer,
            &format!("{method} {target} {status}"),
        );
    }
    for (path, method, operation) in &operations {
        for status in operation["responses"].as_object().unwrap().keys() {
            let excused =
                EXCUSED.iter().any(|(at, excused, _)| excused == status && (*at == "*" || at == path));
            let key = (path.clone(), method.clone(), status.clone());
            assert!(
                excused || seen.contains(&key),
                "{method} {path} is documented to answer {status}, and never did"
            );
        }
    }
}

fn check_answer(document: &Value, response: &Value, answer: &Answer, what: &str) {
    if answer.body.is_empty() {
        return;
    }
    let kind = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
    let content =
        response["content"].as_object().unwrap_or_else(|| panic!("{what} has a body, undocumented"));
    let documented = content.get(kind).or_else(|| content.get("*/*"));
    let documented = documented.unwrap_or_else(|| panic!("{what} is of the undocumented type {kind}"));
    if kind.ends_with("json") {
        let complaint = complaint(document, &documented["schema"], &answer.json(), "");
        assert_eq!(complaint, None, "{what}: {}", answer.text());
    }
}

#[test]
fn every_resource_and_method_of_the_server_is_described() {
    let document = document();
    let described: BTreeSet<_> =
        operations(&document).into_iter().map(|(path, method, _)| (path, method)).collect();
    let mut routed = BTreeSet::new();
    for (path, methods) in jsfs_http::node_interface::RESOURCES {
        routed.extend(methods.split(", ").map(|method| (path.to_owned(), method.to_owned())));
    }
    let node = Node::start();
    let options = node.ask(&Request::new("OPTIONS", "/x"));
    for method in options.header("allow").unwrap().split(", ") {
        routed.insert((OBJECT.to_owned(), method.to_owned()));
        let directory = node.ask(&node.own(method, "/x/").header("Destination", "/y/"));
        if ![405, 501].contains(&directory.status) || method == "POST" {
            routed.insert((DIRECTORY.to_owned(), method.to_owned()));
        }
    }
    assert_eq!(described, routed);
    let parameters = document["components"]["parameters"].as_object().unwrap();
    let named: BTreeSet<_> = parameters.values().filter_map(|parameter| parameter["name"].as_str()).collect();
    for name in [
        "access_key",
        "private",
        "versions",
        "restore",
        "copy_to",
        "limit",
        "after",
        "recursive",
        "properties",
        "purge",
        "append",
    ] {
        assert!(named.contains(name), "{name}");
    }
}

#[test]
fn a_wrong_answer_would_be_noticed() {
    let document = document();
    let schema = serde_json::json!({"$ref": "#/components/schemas/Tree"});
    let complain = |value: Value| complaint(&document, &schema, &value, "");
    assert_eq!(complain(serde_json::json!({"url": "x", "address": "x", "objects": 1})), None);
    for wrong in [
        serde_json::json!({"url": "x", "address": "x"}),
        serde_json::json!({"url": "x", "address": "x", "objects": "1"}),
        serde_json::json!({"url": "x", "address": "x", "objects": 1, "more": 1}),
        serde_json::json!([]),
    ] {
        assert!(complain(wrong.clone()).is_some(), "{wrong}");
    }
}
