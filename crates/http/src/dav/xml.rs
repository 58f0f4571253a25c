//! XML of WebDAV requests as a tree, and properties as text that stands for itself wherever it is written.
//!
//! Invariants: a document type is refused, so there is no entity but the five predefined ones and nothing to expand; depth, nodes and
//! lengths are bounded, and a namespace is kept once however often it is named, so a tree takes no more than a small multiple of its text.
//! Names are checked before they are kept: what is written back cannot be markup of its sender's making.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use quick_xml::XmlVersion;
use quick_xml::escape::{resolve_predefined_entity, unescape};
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{PrefixDeclaration, ResolveResult};
use quick_xml::reader::NsReader;

/// The namespace of the protocol.
pub const DAV: &str = "DAV:";

/// The namespace of `xml:lang`.
const XML: &str = "http://www.w3.org/XML/1998/namespace";

const DEPTH_MAX: usize = 32;
const NODES_MAX: usize = 8_192;
const NAMESPACE_BYTES_MAX: usize = 512;
const NAME_BYTES_MAX: usize = 255;

/// Why a body is not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum XmlError {
    /// Not XML, or not with namespaces.
    #[error("the body is not well-formed XML with namespaces: {0}")]
    Malformed(String),
    /// `<!DOCTYPE …>`.
    #[error("the body declares a document type, which WebDAV has no use for; leave it out")]
    DocType,
    /// Past a bound.
    #[error(
        "the body's XML is nested too deeply, has too many elements or too long names; send less at a time"
    )]
    TooMuch,
}

/// The name of an element or property.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Empty for none.
    pub namespace: Arc<str>,
    /// Without prefix.
    pub local: String,
}

impl Name {
    /// Whether it is this name of the protocol.
    #[must_use]
    pub fn is_dav(&self, local: &str) -> bool {
        &*self.namespace == DAV && self.local == local
    }

    /// `{namespace}local`: how a property is kept.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{{{}}}{}", self.namespace, self.local)
    }

    /// An empty element of this name.
    #[must_use]
    pub fn empty_element(&self) -> String {
        let mut out = String::new();
        open(&mut out, self);
        out.push_str("/>");
        out
    }
}

/// An element with what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Its name.
    pub name: Name,
    attributes: Vec<(Name, String)>,
    children: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Element(Element),
    Text(String),
}

impl Element {
    /// The elements in it.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// The first element of the protocol's in it that has this name.
    #[must_use]
    pub fn dav(&self, local: &str) -> Option<&Element> {
        self.elements().find(|element| element.name.is_dav(local))
    }

    /// Its `xml:lang`.
    #[must_use]
    pub fn language(&self) -> Option<&str> {
        let found = self.attributes.iter().find(|(name, _)| &*name.namespace == XML && name.local == "lang");
        found.map(|(_, value)| value.as_str())
    }

    /// The element as text that declares every namespace it uses; nothing where that would be longer than `bytes_max`.
    #[must_use]
    pub fn to_text(&self, language: Option<&str>, bytes_max: usize) -> Option<String> {
        let mut out = String::new();
        let language = language.filter(|_| self.language().is_none());
        self.write(&mut out, language, bytes_max).then_some(out)
    }

    /// What is in the element, likewise.
    #[must_use]
    pub fn content_to_text(&self, bytes_max: usize) -> Option<String> {
        let mut out = String::new();
        self.children.iter().all(|node| node.write(&mut out, bytes_max)).then_some(out)
    }

    fn write(&self, out: &mut String, language: Option<&str>, bytes_max: usize) -> bool {
        let prefixed = open(out, &self.name);
        if let Some(language) = language {
            let _ = write!(out, " xml:lang=\"{}\"", escape(language));
        }
        for (index, (name, value)) in self.attributes.iter().enumerate() {
            let value = escape(value);
            let _ = match &*name.namespace {
                "" => write!(out, " {}=\"{value}\"", name.local),
                XML => write!(out, " xml:{}=\"{value}\"", name.local),
                other => {
                    write!(out, " xmlns:a{index}=\"{}\" a{index}:{}=\"{value}\"", escape(other), name.local)
                }
            };
        }
        if self.children.is_empty() {
            out.push_str("/>");
            return out.len() <= bytes_max;
        }
        out.push('>');
        if out.len() > bytes_max || !self.children.iter().all(|node| node.write(out, bytes_max)) {
            return false;
        }
        let _ = write!(out, "</{prefixed}>");
        out.len() <= bytes_max
    }
}

impl Node {
    fn write(&self, out: &mut String, bytes_max: usize) -> bool {
        match self {
            Node::Element(element) => element.write(out, None, bytes_max),
            Node::Text(text) => {
                out.push_str(&escape(text));
                out.len() <= bytes_max
            }
        }
    }
}

/// Begins an element, without the bracket that ends its tag. Its name with prefix.
fn open(out: &mut String, name: &Name) -> String {
    let (prefixed, declared) = match &*name.namespace {
        "" => (name.local.clone(), " xmlns=\"\"".to_owned()),
        other => (format!("n:{}", name.local), format!(" xmlns:n=\"{}\"", escape(other))),
    };
    let _ = write!(out, "<{prefixed}{declared}");
    prefixed
}

/// Text as it stands in content and attributes. What XML cannot hold is replaced.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Else a reader would make spaces and line feeds of them.
            '\t' | '\n' | '\r' => {
                let _ = write!(out, "&#{};", u32::from(character));
            }
            other if is_character(other) => out.push(other),
            _ => out.push('\u{fffd}'),
        }
    }
    out
}

/// `Char` of XML 1.0 §2.2.
fn is_character(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Narrower than `NCName` of XML Namespaces in its ASCII part, wider beyond: nothing that could end a name.
fn is_name(text: &str) -> bool {
    let inner = |character: char| {
        character.is_ascii_alphanumeric()
            || matches!(character, '-' | '_' | '.')
            || (!character.is_ascii()
                && is_character(character)
                && !character.is_whitespace()
                && !character.is_control())
    };
    let first = |character: char| !character.is_ascii_digit() && !matches!(character, '-' | '.');
    text.len() <= NAME_BYTES_MAX && text.starts_with(first) && text.chars().all(inner)
}

fn malformed(what: impl ToString) -> XmlError {
    XmlError::Malformed(what.to_string().chars().take(200).collect())
}

/// Reads a document.
///
/// # Errors
/// Says why it is none that this node takes.
pub fn parse(bytes: &[u8]) -> Result<Element, XmlError> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::default();
    let mut reader = NsReader::from_str(text);
    loop {
        let event = reader.read_event().map_err(malformed)?;
        match event {
            Event::Start(start) => {
                let element = builder.element(&reader, &start)?;
                if builder.open.len() == DEPTH_MAX {
                    return Err(XmlError::TooMuch);
                }
                builder.open.push(element);
            }
            Event::Empty(start) => {
                let element = builder.element(&reader, &start)?;
                builder.add(element)?;
            }
            Event::End(_) => {
                let element = builder.open.pop().ok_or_else(|| malformed("an end without a beginning"))?;
                builder.add(element)?;
            }
            Event::Text(text) => builder.text(&text.xml10_content())?,
            Event::CData(text) => builder.text(&text.xml10_content())?,
            Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(malformed)? {
                Some(character) => builder.text(character.encode_utf8(&mut [0; 4]))?,
                None => {
                    let known = resolve_predefined_entity(&reference);
                    builder.text(known.ok_or_else(|| malformed("an entity that is not predefined"))?)?;
                }
            },
            Event::DocType(_) => return Err(XmlError::DocType),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    match builder.root {
        Some(root) if builder.open.is_empty() => Ok(root),
        _ => Err(malformed("it ends too early")),
    }
}

/// A tree in the making.
#[derive(Default)]
struct Builder {
    open: Vec<Element>,
    root: Option<Element>,
    nodes: usize,
    namespaces: HashSet<Arc<str>>,
}

impl Builder {
    fn count(&mut self) -> Result<(), XmlError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX { Err(XmlError::TooMuch) } else { Ok(()) }
    }

    fn element(&mut self, reader: &NsReader<&[u8]>, start: &BytesStart<'_>) -> Result<Element, XmlError> {
        self.count()?;
        let resolver = reader.resolver();
        let (namespace, local) = resolver.resolve_element(start.name());
        let name = self.name(&namespace, local.into_inner())?;
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(malformed)?;
            self.count()?;
            let value = attribute.normalized_value(XmlVersion::Explicit1_0).map_err(malformed)?;
            if !value.chars().all(is_character) {
                return Err(malformed("a character that XML has not"));
            }
            match attribute.key.as_namespace_binding() {
                Some(PrefixDeclaration::Named(_)) if value.is_empty() => {
                    return Err(malformed("a prefix is bound to no namespace"));
                }
                Some(_) => {}
                None => {
                    let (namespace, local) = resolver.resolve_attribute(attribute.key);
                    attributes.push((self.name(&namespace, local.into_inner())?, value.into_owned()));
                }
            }
        }
        Ok(Element { name, attributes, children: Vec::new() })
    }

    fn name(&mut self, namespace: &ResolveResult<'_>, local: &str) -> Result<Name, XmlError> {
        let namespace = match namespace {
            ResolveResult::Unbound => "".into(),
            ResolveResult::Bound(namespace) => unescape(namespace.into_inner()).map_err(malformed)?,
            ResolveResult::Unknown(_) => return Err(malformed("a prefix that is not declared")),
        };
        if namespace.len() > NAMESPACE_BYTES_MAX || local.len() > NAME_BYTES_MAX {
            return Err(XmlError::TooMuch);
        }
        if !is_name(local) || !namespace.chars().all(is_character) {
            return Err(malformed("a name that is none"));
        }
        let kept = match self.namespaces.get(&*namespace) {
            Some(kept) => Arc::clone(kept),
            None => {
                let new: Arc<str> = namespace.into();
                self.namespaces.insert(Arc::clone(&new));
                new
            }
        };
        Ok(Name { namespace: kept, local: local.to_owned() })
    }

    fn add(&mut self, element: Element) -> Result<(), XmlError> {
        match self.open.last_mut() {
            Some(above) => above.children.push(Node::Element(element)),
            None if self.root.is_none() => self.root = Some(element),
            None => return Err(malformed("a second root")),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), XmlError> {
        if !text.chars().all(is_character) {
            return Err(malformed("a character that XML has not"));
        }
        let Some(above) = self.open.last_mut() else {
            return if text.trim().is_empty() { Ok(()) } else { Err(malformed("text outside of the root")) };
        };
        if let Some(Node::Text(before)) = above.children.last_mut() {
            before.push_str(text);
            return Ok(());
        }
        above.children.push(Node::Text(text.to_owned()));
        self.count()
    }
}

#[cfg(test)]
mod tests {
    use super::{XmlError, escape, parse};

    #[test]
    fn a_property_is_written_so_that_it_reads_the_same_anywhere() {
        let text = r#"<a xmlns="one" xmlns:p="two&amp;"><p:b p:c="1" d="&lt;">x &#65; <e xmlns=""/></p:b><![CDATA[<&]]></a>"#;
        let tree = parse(text.as_bytes()).expect("well-formed");
        let written = tree.to_text(Some("de"), 1_000).expect("short");
        let again = parse(format!("<n:x xmlns:n='n' xmlns='other'>{written}</n:x>").as_bytes());
        let again = again.expect("well-formed").elements().next().cloned().expect("one");
        assert_eq!(again.language(), Some("de"));
        assert_eq!(again.children.len(), tree.children.len());
        assert!(written.contains("&lt;&amp;") && written.contains("two&amp;"), "{written}");
        assert_eq!(tree.to_text(None, 40), None);
    }

    #[test]
    fn what_is_written_reads_as_it_was_whatever_bytes_are_changed() {
        let seed = r#"<a xmlns="one" xmlns:p="two&amp;" xml:lang="de"><p:b p:c="1" d="&lt;">x &#65; <e xmlns=""/></p:b><![CDATA[<&]]><!--c--></a>"#;
        let mut read = 0;
        for at in 0..seed.len() {
            for byte in *b"<>&;\"'/=!ax:{}\t \xff" {
                let mut bytes = seed.as_bytes().to_vec();
                bytes[at] = byte;
                let Ok(tree) = parse(&bytes) else { continue };
                let written = tree.to_text(None, 10_000).expect("short");
                let again = parse(format!("<n:x xmlns:n='n' xmlns='other'>{written}</n:x>").as_bytes());
                let again = again.expect("well-formed");
                let again: Vec<_> = again.elements().collect();
                assert_eq!(again, [&tree], "{written}");
                read += 1;
            }
        }
        assert!(read > 300, "{read}");
    }

    #[test]
    fn bombs_and_what_is_not_xml_are_refused() {
        let bomb = b"<!DOCTYPE a [<!ENTITY b 'bbbb'><!ENTITY c '&b;&b;'>]><a>&c;</a>";
        assert_eq!(parse(bomb), Err(XmlError::DocType));
        let deep = "<a>".repeat(5_000);
        assert_eq!(parse(deep.as_bytes()), Err(XmlError::TooMuch));
        let wide = format!("<a>{}</a>", "<b/>".repeat(10_000));
        assert_eq!(parse(wide.as_bytes()), Err(XmlError::TooMuch));
        let long = format!("<a xmlns='{}'/>", "x".repeat(600));
        assert_eq!(parse(long.as_bytes()), Err(XmlError::TooMuch));
        for bad in [
            "",
            "x",
            "<a>",
            "<a></b>",
            "<a/><a/>",
            "<a/>x",
            "<a>&b;</a>",
            "<p:a/>",
            "<a xmlns:p=''/>",
            "<a b='1' b='2'/>",
            "<a>&#1;</a>",
            "<a\"b/>",
            "<1/>",
            "</a>",
            "<a b='&x;'/>",
        ] {
            assert!(matches!(parse(bad.as_bytes()), Err(XmlError::Malformed(_))), "{bad}");
        }
        assert!(parse(b"\xff<a/>").is_err());
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(escape("a\u{1}<\"&\u{ffff}\n"), "a\u{fffd}&lt;&quot;&amp;\u{fffd}&#10;");
    }
}
