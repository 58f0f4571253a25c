//! A component that handles requests, for tests: what it does is the query.

use std::io::{Read, Write};
use wasip2::http::{
    outgoing_handler::handle,
    types::{
        Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse,
        ResponseOutparam, Scheme,
    },
};

wasip2::http::proxy::export!(Guest);

struct Guest;

impl wasip2::exports::http::incoming_handler::Guest for Guest {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (action, what) = target
            .split_once('?')
            .map_or("", |(_, query)| query)
            .split_once('=')
            .unwrap_or_else(|| (target.split_once('?').map_or("", |(_, query)| query), ""));
        let host = request.authority().unwrap_or_default();
        let part = request.headers().get("jsfs-handler").pop();
        if let Some(handler) = part {
            let given = read(request.consume().expect("a body"));
            let value = if handler == b"map" { map(&host, action, what, &given) } else { reduce(&given) };
            let status = if action == "status" { what.parse().expect("a status") } else { 201 };
            return respond(out, status, value.as_bytes());
        }
        let body = match action {
            "hello" => b"hello".to_vec(),
            "echo" => read(request.consume().expect("a body")),
            "fetch" => match fetch(&host, what, None) {
                Ok((status, body)) => [format!("{status} ").as_bytes(), &body].concat(),
                Err(why) => why.into_bytes(),
            },
            "outside" => match fetch(what, "/", None) {
                Ok(_) => b"reached".to_vec(),
                Err(_) => b"refused".to_vec(),
            },
            "often" => {
                (0..100).take_while(|_| fetch(&host, "/data.txt", None).is_ok()).count().to_string().into_bytes()
            }
            "work" => work(&host, what),
            "panic" => panic!("as asked"),
            "loop" => loop {
                std::hint::black_box(action);
            },
            _ => b"what?".to_vec(),
        };
        respond(out, 201, &body);
    }
}

/// What a part comes to: its lines, and then all that could differ the next time.
fn map(host: &str, name: &str, value: &str, part: &[u8]) -> String {
    let times: usize = if name == "times" { value.parse().expect("a number") } else { 1 };
    let lines = part.iter().filter(|byte| **byte == b'\n').count() * times;
    let clock = wasip2::clocks::wall_clock::now().seconds + wasip2::clocks::monotonic_clock::now();
    let random = wasip2::random::random::get_random_u64();
    let asked = if fetch(host, "/good.txt", None).is_ok() { "answered" } else { "refused" };
    format!("{lines} clock {clock} random {random} {asked}")
}

/// Adds up the lines of values that say the same of everything else.
fn reduce(mut values: &[u8]) -> String {
    let mut all: Option<(usize, String)> = None;
    while !values.is_empty() {
        let end = values.iter().position(|byte| *byte == b'\n').expect("a line");
        let length: usize = str::from_utf8(&values[..end]).expect("a text").parse().expect("a number");
        let (value, rest) = values[end + 1..].split_at(length);
        let (lines, others) = str::from_utf8(value).expect("a text").split_once(' ').expect("two");
        let (sum, known) = all.get_or_insert_with(|| (0, others.to_owned()));
        *sum += lines.parse::<usize>().expect("a number");
        assert_eq!(known, others);
        values = rest;
    }
    let (sum, others) = all.unwrap_or_default();
    format!("{sum} {others}")
}

fn respond(out: ResponseOutparam, status: u16, bytes: &[u8]) {
    let fields = Fields::new();
    fields.append("x-made-by", b"wasm").expect("a field");
    let response = OutgoingResponse::new(fields);
    response.set_status_code(status).expect("a status");
    let body = response.body().expect("a body");
    ResponseOutparam::set(out, Ok(response));
    let mut stream = body.write().expect("a stream");
    stream.write_all(bytes).expect("there is room");
    stream.flush().expect("there is room");
    drop(stream);
    OutgoingBody::finish(body, None).expect("an end");
}

fn read(body: IncomingBody) -> Vec<u8> {
    let mut bytes = Vec::new();
    body.stream().expect("a stream").read_to_end(&mut bytes).expect("a body");
    bytes
}

/// Appends so many lines to a log, each the same as others, and waits until it is told to go on.
fn work(host: &str, lines: &str) -> Vec<u8> {
    let lines: u32 = lines.parse().expect("a number");
    for line in 0..lines {
        let line = format!("line {}\n", line / 2);
        let (status, _) = fetch(host, "/log?append=true", Some(line.as_bytes())).expect("an answer");
        assert!(status == 200 || status == 201, "{status}");
    }
    while fetch(host, "/go", None).is_ok_and(|(status, _)| status != 200) {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    format!("{lines} lines").into_bytes()
}

fn fetch(host: &str, path: &str, body: Option<&[u8]>) -> Result<(u16, Vec<u8>), String> {
    let request = OutgoingRequest::new(Fields::new());
    if let Some(bytes) = body {
        request.set_method(&Method::Post).expect("a method");
        let sent = request.body().expect("a body");
        let mut stream = sent.write().expect("a stream");
        stream.write_all(bytes).expect("there is room");
        stream.flush().expect("there is room");
        drop(stream);
        OutgoingBody::finish(sent, None).expect("an end");
    }
    request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    request.set_authority(Some(host)).expect("a host");
    request.set_path_with_query(Some(path)).expect("a path");
    let pending = handle(request, None).map_err(|error| format!("{error:?}"))?;
    pending.subscribe().block();
    let response = pending
        .get()
        .expect("it is there")
        .expect("it is taken once")
        .map_err(|error| format!("{error:?}"))?;
    Ok((response.status(), read(response.consume().expect("a body"))))
}
