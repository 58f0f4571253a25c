//! A WebSocket client for tests: one call at a time, with what comes in between kept.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::time::Duration;

use jsfs_http::live::frame::Frame;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, HandshakeError, Message, WebSocket, client};

use crate::asyncapi::check;
use crate::node::Node;

pub struct Socket {
    pub inner: WebSocket<TcpStream>,
    next: u64,
    /// Notifications that came while something else was waited for.
    pub notifications: VecDeque<Value>,
    /// Pieces of bodies, likewise.
    pub frames: VecDeque<(u32, Frame)>,
}

impl Socket {
    /// With the root key.
    pub fn open(node: &Node, path: &str) -> Socket {
        Socket::with(node, path, &[("authorization", &format!("Bearer {}", node.key))]).expect("a socket")
    }

    pub fn stranger(node: &Node, path: &str) -> Socket {
        Socket::with(node, path, &[]).expect("a socket")
    }

    /// With these headers; the status where it is refused.
    pub fn with(node: &Node, path: &str, headers: &[(&str, &str)]) -> Result<Socket, u16> {
        Socket::handshake(node, path, headers).map(|(socket, _)| socket)
    }

    pub fn handshake(node: &Node, path: &str, headers: &[(&str, &str)]) -> Result<(Socket, Response), u16> {
        let stream = TcpStream::connect(node.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut request = format!("ws://localhost{path}").into_client_request().unwrap();
        for (name, value) in headers {
            let name: hyper::header::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        match client(request, stream) {
            Ok((inner, response)) => {
                let (notifications, frames) = Default::default();
                Ok((Socket { inner, next: 1, notifications, frames }, response))
            }
            Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub fn send_text(&mut self, text: &str) {
        self.inner.send(Message::text(text)).unwrap();
    }

    pub fn send_frame(&mut self, number: u32, frame: &Frame) {
        self.inner.send(Message::Binary(frame.encode(number))).unwrap();
    }

    /// Sends a call and gives its id.
    pub fn begin(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next;
        self.next += 1;
        self.send_text(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string());
        id
    }

    /// The answer to a call.
    pub fn answer(&mut self, id: u64) -> Value {
        loop {
            match self.inner.read().unwrap() {
                Message::Text(text) => {
                    let value: Value = serde_json::from_str(text.as_str()).unwrap();
                    assert_eq!(value["jsonrpc"], "2.0");
                    if value["id"] == id {
                        return value;
                    }
                    assert!(value["method"].is_string(), "an answer that nobody waits for: {value}");
                    check(value["method"].as_str().unwrap(), &value);
                    self.notifications.push_back(value);
                }
                Message::Binary(bytes) => self.frames.push_back(Frame::decode(bytes).unwrap()),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?} instead of an answer"),
            }
        }
    }

    /// A call that succeeds.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params.clone());
        let answer = self.answer(id);
        assert!(answer["error"].is_null(), "{method} {params}: {answer}");
        let call = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        check(&format!("call.{method}"), &call);
        check(&format!("result.{method}"), &answer);
        answer["result"].clone()
    }

    /// The code of a call that is refused; its problem is looked at as well.
    pub fn refused(&mut self, method: &str, params: Value) -> i64 {
        let id = self.begin(method, params.clone());
        let answer = self.answer(id);
        let error = &answer["error"];
        assert!(error.is_object(), "{method} {params}: {answer}");
        check("error", &answer);
        assert!(!error["message"].as_str().unwrap().is_empty());
        let data = &error["data"];
        assert!(data["status"].is_u64() && data["detail"].as_str().unwrap().len() > 10, "{answer}");
        let code = error["code"].as_i64().unwrap();
        assert!(code < 0 || data["status"] == code, "{answer}");
        code
    }

    /// The next notification.
    pub fn notification(&mut self) -> Value {
        loop {
            if let Some(value) = self.notifications.pop_front() {
                return value;
            }
            match self.inner.read().unwrap() {
                Message::Text(text) => {
                    let value: Value = serde_json::from_str(text.as_str()).unwrap();
                    check(value["method"].as_str().unwrap(), &value);
                    self.notifications.push_back(value);
                }
                Message::Binary(bytes) => self.frames.push_back(Frame::decode(bytes).unwrap()),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?} instead of a notification"),
            }
        }
    }

    /// The params of the next event.
    pub fn event(&mut self) -> Value {
        let notification = self.notification();
        assert_eq!(notification["method"], "event", "{notification}");
        notification["params"].clone()
    }

    /// The next piece of a body.
    pub fn frame(&mut self) -> (u32, Frame) {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return frame;
            }
            match self.inner.read().unwrap() {
                Message::Text(text) => {
                    let value: Value = serde_json::from_str(text.as_str()).unwrap();
                    check(value["method"].as_str().unwrap(), &value);
                    self.notifications.push_back(value);
                }
                Message::Binary(bytes) => return Frame::decode(bytes).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?} instead of a frame"),
            }
        }
    }

    /// A whole body; grants as it comes.
    pub fn body(&mut self, number: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            match self.frame() {
                (of, Frame::Data(piece)) if of == number => {
                    bytes.extend_from_slice(&piece);
                    self.send_frame(number, &Frame::Credit(u32::try_from(piece.len()).unwrap()));
                }
                (of, Frame::End(piece)) if of == number => {
                    bytes.extend_from_slice(&piece);
                    return bytes;
                }
                (of, frame) => panic!("{frame:?} of {of} while {number} was waited for"),
            }
        }
    }

    /// How the node closes the socket.
    pub fn closed(&mut self) -> (u16, String) {
        loop {
            match self.inner.read() {
                Ok(Message::Close(Some(CloseFrame { code, reason }))) => {
                    return (code.into(), reason.as_str().to_owned());
                }
                Ok(Message::Close(None)) => panic!("closed without a code"),
                Ok(_) => {}
                Err(error) => panic!("{error} instead of a close frame"),
            }
        }
    }
}
