//! The storage locations that a `config.js` of JSFS 4 names, read as text: nothing of it is executed.
//!
//! Comments are left out, string literals are taken as they are. Where a location is anything but a literal (an expression, a variable),
//! reading is refused, because guessing could leave half of a pool behind.

use std::path::{Path, PathBuf};

/// Why the locations cannot be told.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConfigError {
    /// No list of that name.
    #[error("it has no list STORAGE_LOCATIONS; name the storage directories themselves")]
    NoList,
    /// Something in the list is computed.
    #[error("its STORAGE_LOCATIONS are not plain strings; name the storage directories themselves")]
    Computed,
}

/// A piece of the text.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Word(String),
    Text(String),
    Mark(char),
}

/// The directories, relative ones below the directory of the file.
///
/// # Errors
/// [`ConfigError`] where the file does not say them plainly.
pub(super) fn locations(text: &str, file: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let pieces = pieces(text).ok_or(ConfigError::NoList)?;
    let named =
        |piece: &Piece| matches!(piece, Piece::Word(name) | Piece::Text(name) if name == "STORAGE_LOCATIONS");
    let at = pieces.iter().position(named).ok_or(ConfigError::NoList)?;
    let mut list = pieces[at + 1..].iter();
    if !matches!(list.next(), Some(Piece::Mark(':' | '='))) || list.next() != Some(&Piece::Mark('[')) {
        return Err(ConfigError::NoList);
    }
    let mut found = Vec::new();
    let mut depth = 1;
    while depth > 0 {
        match list.next().ok_or(ConfigError::NoList)? {
            Piece::Mark('[' | '{') => depth += 1,
            Piece::Mark(']' | '}') => depth -= 1,
            Piece::Word(name) | Piece::Text(name) if name == "path" => {
                let (colon, value, end) = (list.next(), list.next(), list.clone().next());
                let (Some(Piece::Mark(':')), Some(Piece::Text(path)), Some(Piece::Mark(',' | '}'))) =
                    (colon, value, end)
                else {
                    return Err(ConfigError::Computed);
                };
                found.push(file.parent().unwrap_or(Path::new(".")).join(path));
            }
            Piece::Mark('.') => return Err(ConfigError::Computed),
            _ => {}
        }
    }
    if found.is_empty() { Err(ConfigError::NoList) } else { Ok(found) }
}

/// Words, strings and marks; none where a string or comment does not end.
fn pieces(text: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/")?.1;
        } else if matches!(first, '"' | '\'' | '`') {
            let (literal, after) = literal(&rest[1..], first)?;
            pieces.push(Piece::Text(literal));
            rest = after;
        } else if first.is_alphanumeric() || matches!(first, '_' | '$') {
            let end =
                rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$'))).unwrap_or(rest.len());
            pieces.push(Piece::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else {
            if !first.is_whitespace() {
                pieces.push(Piece::Mark(first));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    Some(pieces)
}

/// A string literal up to its quote; an escaped character stands for itself.
fn literal(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.push(characters.next()?.1),
            end if end == quote => return Some((value, &text[at + 1..])),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, ConfigError> {
        let found = locations(text, Path::new("/old/config.js"))?;
        Ok(found.iter().map(|path| path.display().to_string()).collect())
    }

    #[test]
    fn plain_lists_are_read() {
        let text = r#"
            module.exports = {
              // STORAGE_LOCATIONS: [{"path": "/commented/out"}],
              STORAGE_LOCATIONS: [
                {"path": "./blocks1/", "capacity": 4294967296}, /* {path: "/no"} */
                {path: '/mnt/it\'s', capacity: 1 << 40}
              ],
              BLOCK_SIZE: 1048576, LOG_PATH: "path"
            };"#;
        assert_eq!(read(text).unwrap(), ["/old/./blocks1/", "/mnt/it's"]);
        assert_eq!(read("exports.STORAGE_LOCATIONS = [ { 'path': `x` } ]").unwrap(), ["/old/x"]);
    }

    #[test]
    fn what_is_computed_is_not_guessed() {
        for text in [
            "STORAGE_LOCATIONS: [{path: process.env.X}]",
            "STORAGE_LOCATIONS: [{path: './a' + b}]",
            "STORAGE_LOCATIONS: [{path: dir}]",
            "STORAGE_LOCATIONS: [...require('x').all]",
        ] {
            assert_eq!(read(text), Err(ConfigError::Computed), "{text}");
        }
        for text in [
            "",
            "STORAGE_LOCATIONS: []",
            "STORAGE_LOCATIONS: load()",
            "STORAGE_LOCATIONS: [{path: 'a'}",
            "'unfinished",
        ] {
            assert_eq!(read(text), Err(ConfigError::NoList), "{text}");
        }
    }
}
