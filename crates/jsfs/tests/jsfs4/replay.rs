//! What was recorded of JSFS 4 is asked of a node with `compat.jsfs4` and answered alike, but for a list of differences. A difference that is not on the
//! list fails, and so does an entry of the list that does not happen, or not as often as it says.

use crate::differences::{DIFFERENCES, Difference};
use crate::support::{Home, fixtures, sha256};
use aws_lc_rs::digest::{SHA256, digest};
use jsfs_testkit::http::{Answer, Client, Request};
use serde_json::Value;
use std::collections::BTreeMap;

/// Hosts that the recorded requests name; on a node, namespaces are made.
const HOSTS: [&str; 6] = ["example.test", "foo.com", "bar.foo.com", "bar.com", "elsewhere.com", "hidden"];

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// The bytes that a case says how to make.
fn body(spec: &Value) -> Vec<u8> {
    if let Some(text) = spec["text"].as_str() {
        return text.as_bytes().to_vec();
    }
    if let Some(length) = spec["pattern"].as_u64() {
        return pattern(length as usize, spec["seed"].as_u64().unwrap_or(1));
    }
    if let Some(parts) = spec["parts"].as_array() {
        return parts.iter().flat_map(body).collect();
    }
    if spec["wav"].is_object() {
        return wave(spec["wav"]["junk"] == true);
    }
    assert!(spec.is_null(), "{spec}");
    Vec::new()
}

fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    for at in 0.. {
        if bytes.len() >= length {
            break;
        }
        bytes.extend_from_slice(digest(&SHA256, format!("{seed}:{at}").as_bytes()).as_ref());
    }
    bytes.truncate(length);
    bytes
}

/// A second's 44,100th times a thousand of stereo sound in 16 bits, the first hundred frames silent.
fn wave(junk: bool) -> Vec<u8> {
    let mut samples = vec![0; 400];
    samples.extend(pattern(3_600, 7));
    let mut chunks = b"WAVEfmt ".to_vec();
    chunks.extend(16_u32.to_le_bytes());
    for (value, bytes) in [(1_u32, 2), (2, 2), (44_100, 4), (176_400, 4), (4, 2), (16, 2)] {
        chunks.extend_from_slice(&value.to_le_bytes()[..bytes]);
    }
    if junk {
        chunks.extend_from_slice(b"LIST\x0a\x00\x00\x00INFOabcdef");
    }
    chunks.extend_from_slice(b"data");
    chunks.extend((samples.len() as u32).to_le_bytes());
    chunks.extend(samples);
    let mut file = b"RIFF".to_vec();
    file.extend((chunks.len() as u32).to_le_bytes());
    file.extend(chunks);
    file
}

/// Asks what was asked; none where there was no answer.
fn ask(node: &Home, client: &mut Client, case: &Value) -> Option<Answer> {
    let bytes = body(&case["body"]);
    let host = case["host"].as_str().unwrap_or("example.test");
    let mut request =
        Request::new(text(case, "method"), text(case, "path")).header("Host", host).body(&bytes);
    for (name, value) in case["headers"].as_object().into_iter().flatten() {
        request = request.header(name, value.as_str().unwrap());
    }
    client.send(&request).ok().or_else(|| {
        *client = Client::new(node.node.address());
        None
    })
}

/// How an answer differs, each in a word or two.
fn differences(answer: Option<&Answer>, recorded: &Value) -> Vec<String> {
    let status = recorded["status"].as_u64().unwrap();
    let Some(answer) = answer else { return vec!["no answer".into()] };
    if u64::from(answer.status) != status {
        // All else follows from this.
        return vec![format!("status {status} {}", answer.status)];
    }
    let mut found = Vec::new();
    if recorded["cors"] == true {
        let lacks = |name: &str, words: &str| {
            let have = answer.header(name).unwrap_or_default().to_ascii_lowercase();
            let have: Vec<_> = have.split(',').map(str::trim).collect();
            words.split(' ').any(|word| !have.contains(&word))
        };
        let request = "accept accept-version api-version content-type origin range x_filename x-access-key x-access-token x-append x-encrypted x-private x-replacement-access-key x-requested-with";
        let media =
            "x-media-bitrate x-media-channels x-media-duration x-media-resolution x-media-size x-media-type";
        if lacks("access-control-allow-methods", "get post put delete options")
            || lacks("access-control-allow-origin", "*")
            || lacks("access-control-allow-headers", request)
            || lacks("access-control-expose-headers", media)
        {
            found.push("cors".into());
        }
    }
    for (name, value) in recorded["headers"].as_object().into_iter().flatten() {
        if answer.header(name) != value.as_str() {
            found.push(format!("header {name}"));
        }
    }
    if let Some(fields) = recorded["json"].as_object() {
        let told = answer.json();
        for (name, value) in fields {
            let same =
                if name == "blocks" { hashes(&told[name]) == hashes(value) } else { told[name] == *value };
            if !same {
                found.push(format!("field {name}"));
            }
        }
    } else if recorded["body"].is_object() && sha256(&answer.body) != recorded["body"]["sha256"] {
        found.push("body".into());
    }
    found
}

fn hashes(blocks: &Value) -> Vec<&Value> {
    blocks.as_array().into_iter().flatten().map(|block| &block["block_hash"]).collect()
}

/// Whether a pattern with stars fits.
fn fits(pattern: &str, id: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == id,
        Some((head, tail)) => id.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| fits(tail, &rest[at..]))
        }),
    }
}

#[test]
fn old_clients_are_answered_as_they_were_but_for_a_list() {
    let home = Home::with(&["compat.jsfs4=true"]);
    for host in HOSTS {
        let made = home.command(&["namespace", "add", host, "--jsfs4"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let cases = std::fs::read_to_string(fixtures().join("cases.jsonl")).unwrap();
    let cases: Vec<Value> = cases.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(cases.len(), 755);
    let mut client = Client::new(home.node.address());
    let mut counted = vec![0; DIFFERENCES.len()];
    let mut unlisted: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for case in &cases {
        let answer = ask(&home, &mut client, case);
        for what in differences(answer.as_ref(), &case["answer"]) {
            let listed = DIFFERENCES
                .iter()
                .position(|entry| entry.what == what && fits(entry.cases, text(case, "id")));
            match listed {
                Some(at) => counted[at] += 1,
                None => unlisted.entry(what).or_default().push(text(case, "id")),
            }
        }
    }
    let stale = DIFFERENCES.iter().zip(&counted).filter(|(entry, counted)| entry.times != **counted);
    let stale: Vec<_> =
        stale.map(|(entry, counted)| (entry.cases, entry.what, entry.times, *counted)).collect();
    assert!(
        unlisted.is_empty() && stale.is_empty(),
        "not on the list: {unlisted:#?}\nnot as often as listed: {stale:#?}"
    );
    let all: usize = counted.iter().sum();
    println!("{} requests, {all} differences under {} entries", cases.len(), DIFFERENCES.len());
    assert!(!home.node.log_text().contains("correct-key"));
}

#[test]
fn every_difference_says_why() {
    for Difference { cases, why, .. } in DIFFERENCES {
        assert!(why.len() > 20, "{cases}");
    }
    assert!(fits("a/*/c*", "a/b/c/d") && fits("*", "x") && !fits("a/*/c", "a/b/d"));
}
