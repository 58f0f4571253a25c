//! Whether bytes are a module or component that may be compiled.
//!
//! Compiling cannot be interrupted, so what it may cost is bounded by what it is given: how many functions, how long each is, and how many
//! locals it has, because the compiler's work grows faster than they do.

use jsfs_exec::wire::Fault;
use wasmparser::{BinaryReaderError, Encoding, Parser, Payload, Validator};

/// Largest source.
const SOURCE_MAX: usize = 32 << 20;
/// Most functions with a body, over all modules of a component.
const FUNCTIONS_MAX: u32 = 100_000;
/// Longest body of a function, bytes.
const BODY_MAX: usize = 1 << 20;
/// Most locals of one function.
const LOCALS_MAX: u64 = 20_000;

/// Validates a program. Answers whether it is a component.
pub(super) fn check(source: &[u8]) -> Result<bool, Fault> {
    let refuse = |message: String, offset: Option<usize>| Fault {
        message,
        position: offset.and_then(|offset| u32::try_from(offset).ok()).map(|offset| (0, offset)),
    };
    if source.len() > SOURCE_MAX {
        return Err(refuse(format!("a WebAssembly program may have {SOURCE_MAX} bytes"), None));
    }
    let invalid = |error: BinaryReaderError| refuse(error.message().to_owned(), Some(error.offset()));
    let mut is_component = None;
    let mut functions = 0;
    for payload in Parser::new(0).parse_all(source) {
        match payload.map_err(invalid)? {
            Payload::Version { encoding, .. } => {
                is_component.get_or_insert(encoding == Encoding::Component);
            }
            Payload::CodeSectionEntry(body) => {
                functions += 1;
                let range = body.range();
                let offset = Some(range.start);
                if functions > FUNCTIONS_MAX {
                    return Err(refuse(format!("a program may have {FUNCTIONS_MAX} functions"), offset));
                }
                if range.end - range.start > BODY_MAX {
                    return Err(refuse(format!("a function may have {BODY_MAX} bytes"), offset));
                }
                let mut locals = 0;
                for local in body.get_locals_reader().map_err(invalid)? {
                    locals += u64::from(local.map_err(invalid)?.0);
                }
                if locals > LOCALS_MAX {
                    return Err(refuse(format!("a function may have {LOCALS_MAX} locals"), offset));
                }
            }
            _ => {}
        }
    }
    Validator::new().validate_all(source).map_err(invalid)?;
    Ok(is_component.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_is_no_module_is_refused_with_its_place() {
        assert_eq!(check(b"\0asm\x01\0\0\0\x01\x7f").unwrap_err().position, Some((0, 10)));
        assert!(check(b"hello").is_err());
        assert_eq!(check(b"\0asm\x01\0\0\0"), Ok(false));
    }
}
