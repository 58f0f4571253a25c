//! A plain blocking HTTP/1.1 client that sends exactly what a test says, also what no proper client would.
//!
//! It never retries: a test that kills a node has to know which request went unanswered.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for bytes from the node.
const READ_TIMEOUT: Duration = Duration::from_secs(240);

/// One request. `Host` is `localhost` unless a header says otherwise; `Content-Length` is added.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    method: &'a str,
    target: &'a str,
    headers: Vec<(String, String)>,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    /// A request without a body.
    pub fn new(method: &'a str, target: &'a str) -> Request<'a> {
        Request { method, target, headers: Vec::new(), body: &[] }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Request<'a> {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds `Authorization: Bearer`.
    pub fn bearer(self, credential: &str) -> Request<'a> {
        self.header("Authorization", &format!("Bearer {credential}"))
    }

    /// Gives it a body.
    pub fn body(mut self, body: &'a [u8]) -> Request<'a> {
        self.body = body;
        self
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(have, _)| have.eq_ignore_ascii_case(name))
    }

    fn head(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.has("host") {
            head.push_str("Host: localhost\r\n");
        }
        let bodiless = self.body.is_empty() && ["GET", "HEAD", "DELETE", "OPTIONS"].contains(&self.method);
        if !bodiless && !self.has("content-length") {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head + "\r\n"
    }
}

/// What came back, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Header fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; empty for HEAD.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// The body as text, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A client of one node that keeps its connection as long as the node does.
#[derive(Debug)]
pub struct Client {
    node: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
    timeout: Duration,
}

impl Client {
    /// A client of the node at `node`; connects with the first request.
    pub fn new(node: SocketAddr) -> Client {
        Client { node, connection: None, timeout: READ_TIMEOUT }
    }

    /// Waits for this long for each piece of an answer.
    pub fn patient(mut self, timeout: Duration) -> Client {
        self.timeout = timeout;
        self
    }

    /// Sends the request and reads the whole answer. An error means that nobody knows whether the request was carried out.
    pub fn send(&mut self, request: &Request<'_>) -> Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(self.node, self.timeout)?,
        };
        let sent = connection
            .get_mut()
            .write_all(request.head().as_bytes())
            .and_then(|()| connection.get_mut().write_all(request.body));
        // A node may refuse before it has read the body; its answer counts, and the failed write does not.
        let answer = read_answer(&mut connection, request.method == "HEAD")
            .map_err(|error| sent.err().unwrap_or(error))?;
        if answer.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}

/// Sends bytes as they are on a new connection and reads what comes back, for requests that are none.
pub fn send_raw(node: SocketAddr, bytes: &[u8]) -> Result<Answer> {
    let mut connection = connect(node, READ_TIMEOUT)?;
    connection.get_mut().write_all(bytes)?;
    read_answer(&mut connection, bytes.starts_with(b"HEAD "))
}

fn connect(node: SocketAddr, timeout: Duration) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(node)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(BufReader::new(stream))
}

fn read_answer(connection: &mut impl BufRead, bodiless: bool) -> Result<Answer> {
    loop {
        let (status, headers) = read_head(connection)?;
        if (100..200).contains(&status) {
            continue;
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if !(bodiless || status == 204 || status == 304) {
            answer.body = read_body(connection, &answer)?;
        }
        return Ok(answer);
    }
}

fn read_head(connection: &mut impl BufRead) -> Result<(u16, Vec<(String, String)>)> {
    let status_line = read_line(connection)?;
    let status = status_line.split(' ').nth(1).and_then(|text| text.parse().ok());
    let status = status.ok_or_else(|| invalid(format!("no status line: {status_line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(connection)?;
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid(format!("no header: {line:?}")))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_body(connection: &mut impl BufRead, answer: &Answer) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    if answer.header("transfer-encoding") == Some("chunked") {
        loop {
            let line = read_line(connection)?;
            let length =
                usize::from_str_radix(&line, 16).map_err(|_| invalid(format!("no chunk: {line:?}")))?;
            read_exactly(connection, length, &mut body)?;
            read_line(connection)?;
            if length == 0 {
                return Ok(body);
            }
        }
    }
    match answer.header("content-length").map(str::parse) {
        Some(Ok(length)) => read_exactly(connection, length, &mut body)?,
        Some(Err(_)) => return Err(invalid("the content length is no number".into())),
        None => drop(connection.read_to_end(&mut body)?),
    }
    Ok(body)
}

fn read_exactly(connection: &mut impl BufRead, length: usize, body: &mut Vec<u8>) -> Result<()> {
    let read = connection.take(length as u64).read_to_end(body)?;
    if read == length { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

fn read_line(connection: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::read_answer;

    #[test]
    fn answers_are_read_to_their_end_and_no_further() {
        let wire = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nETag: \"x\"\r\nContent-Length: 2\r\n\r\nokHTTP/1.1";
        let answer = read_answer(&mut &wire[..], false).unwrap();
        assert_eq!((answer.status, answer.header("etag"), answer.text()), (201, Some("\"x\""), "ok".into()));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        assert_eq!(read_answer(&mut &chunked[..], false).unwrap().text(), "abcd");
    }

    #[test]
    fn a_body_that_is_cut_off_is_an_error() {
        let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc";
        assert!(read_answer(&mut &wire[..], false).is_err());
    }
}
