//! Values across the boundary: text, numbers and buffers, copied.
//!
//! A value of the engine is a pointer to a boxed JSValue in its memory. Whoever makes one frees it; arguments of a host call belong to the
//! engine. Strings are WTF-8 there: a lone surrogate becomes U+FFFD here.

use super::{Ctx, Exports};
use wasmtime::{AsContext, AsContextMut, Result, format_err};

/// A pointer to a boxed value.
pub(crate) type Ptr = u32;

/// Longest text or buffer that is taken out of an instance at once.
const TAKEN_MAX: usize = 80 << 20;

impl Exports {
    /// Copies bytes into memory that the caller frees.
    pub(crate) fn place(&self, mut store: impl AsContextMut<Data = Ctx>, bytes: &[u8]) -> Result<Ptr> {
        let length = u32::try_from(bytes.len()).map_err(|_| format_err!("a value is too large"))?;
        let at = self.malloc.call(&mut store, length.max(1))?;
        if at == 0 {
            return Err(OutOfMemory.into());
        }
        self.memory.write(&mut store, at as usize, bytes)?;
        Ok(at)
    }

    /// A string.
    pub(crate) fn string(&self, mut store: impl AsContextMut<Data = Ctx>, text: &str) -> Result<Ptr> {
        let at = self.place(&mut store, text.as_bytes())?;
        let length = u32::try_from(text.len()).map_err(|_| format_err!("a text is too long"))?;
        let value = self.new_string.call(&mut store, (at, length))?;
        self.free.call(&mut store, at)?;
        Ok(value)
    }

    /// An ArrayBuffer with a copy of the bytes.
    pub(crate) fn buffer(&self, mut store: impl AsContextMut<Data = Ctx>, bytes: &[u8]) -> Result<Ptr> {
        let at = self.place(&mut store, bytes)?;
        let length = u32::try_from(bytes.len()).map_err(|_| format_err!("a buffer is too long"))?;
        let value = self.new_array_buffer.call(&mut store, (at, length))?;
        self.free.call(&mut store, at)?;
        Ok(value)
    }

    /// A text, or undefined.
    pub(crate) fn string_or_undefined(
        &self,
        mut store: impl AsContextMut<Data = Ctx>,
        text: Option<&str>,
    ) -> Result<Ptr> {
        match text {
            Some(text) => self.string(store, text),
            None => self.get_undefined.call(&mut store, ()),
        }
    }

    /// A buffer, or undefined.
    pub(crate) fn buffer_or_undefined(
        &self,
        mut store: impl AsContextMut<Data = Ctx>,
        bytes: Option<&[u8]>,
    ) -> Result<Ptr> {
        match bytes {
            Some(bytes) => self.buffer(store, bytes),
            None => self.get_undefined.call(&mut store, ()),
        }
    }

    /// A boolean.
    pub(crate) fn boolean(&self, mut store: impl AsContextMut<Data = Ctx>, value: bool) -> Result<Ptr> {
        if value { self.get_true.call(&mut store, ()) } else { self.get_false.call(&mut store, ()) }
    }

    /// What `String(value)` gives.
    pub(crate) fn text_of(&self, mut store: impl AsContextMut<Data = Ctx>, value: Ptr) -> Result<String> {
        let scratch = self.malloc.call(&mut store, 4)?;
        if scratch == 0 {
            return Err(OutOfMemory.into());
        }
        let at = self.get_string.call(&mut store, (value, scratch))?;
        let length = self.read_u32(&mut store, scratch)?;
        self.free.call(&mut store, scratch)?;
        if at == 0 {
            return Err(format_err!("a value has no text"));
        }
        let text = from_wtf8(self.bytes_at(&store, at, length)?);
        self.free_cstring.call(&mut store, at)?;
        Ok(text)
    }

    /// The bytes of an ArrayBuffer.
    pub(crate) fn bytes_of(&self, mut store: impl AsContextMut<Data = Ctx>, value: Ptr) -> Result<Vec<u8>> {
        let scratch = self.malloc.call(&mut store, 4)?;
        if scratch == 0 {
            return Err(OutOfMemory.into());
        }
        let at = self.get_array_buffer.call(&mut store, (value, scratch))?;
        let length = self.read_u32(&mut store, scratch)?;
        self.free.call(&mut store, scratch)?;
        if at == 0 {
            return Ok(Vec::new());
        }
        Ok(self.bytes_at(&store, at, length)?.to_vec())
    }

    pub(crate) fn read_u32(&self, store: impl AsContext<Data = Ctx>, at: Ptr) -> Result<u32> {
        let mut four = [0; 4];
        self.memory.read(&store, at as usize, &mut four)?;
        Ok(u32::from_le_bytes(four))
    }

    pub(crate) fn bytes_at<'a>(
        &self,
        store: &'a impl AsContext<Data = Ctx>,
        at: Ptr,
        length: u32,
    ) -> Result<&'a [u8]> {
        let (at, length) = (at as usize, length as usize);
        if length > TAKEN_MAX {
            return Err(format_err!("a value is too large"));
        }
        let memory = self.memory.data(store.as_context());
        memory
            .get(at..at.saturating_add(length))
            .ok_or_else(|| format_err!("a value lies outside the memory"))
    }

    /// A text that ends with a zero byte.
    pub(crate) fn c_string(&self, store: &impl AsContext<Data = Ctx>, at: Ptr) -> Result<String> {
        let memory = self.memory.data(store.as_context());
        let rest = memory.get(at as usize..).unwrap_or_default();
        let end = rest.iter().take(1 << 16).position(|byte| *byte == 0);
        let end = end.ok_or_else(|| format_err!("a name has no end"))?;
        Ok(from_wtf8(&rest[..end]))
    }

    /// Text that the engine takes and frees: with a zero byte at its end, which is not counted.
    pub(crate) fn give_text(
        &self,
        mut store: impl AsContextMut<Data = Ctx>,
        text: &str,
    ) -> Result<(Ptr, u32)> {
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        let length = u32::try_from(text.len()).map_err(|_| format_err!("a text is too long"))?;
        Ok((self.place(&mut store, &bytes)?, length))
    }

    /// A property by name.
    pub(crate) fn property(
        &self,
        mut store: impl AsContextMut<Data = Ctx>,
        object: Ptr,
        name: &str,
    ) -> Result<Ptr> {
        let (at, _) = self.give_text(&mut store, name)?;
        let value = self.get_prop.call(&mut store, (object, at))?;
        self.free.call(&mut store, at)?;
        Ok(value)
    }

    /// Sets a property; the value stays the caller's.
    pub(crate) fn set_property(
        &self,
        mut store: impl AsContextMut<Data = Ctx>,
        object: Ptr,
        name: &str,
        value: Ptr,
    ) -> Result<()> {
        let (at, _) = self.give_text(&mut store, name)?;
        self.set_prop.call(&mut store, (object, at, value))?;
        self.free.call(&mut store, at)
    }

    /// Calls a function. The arguments are freed.
    pub(crate) fn invoke(
        &self,
        mut store: impl AsContextMut<Data = Ctx>,
        function: Ptr,
        this: Ptr,
        arguments: &[Ptr],
    ) -> Result<Ptr> {
        let list: Vec<u8> = arguments.iter().flat_map(|ptr| ptr.to_le_bytes()).collect();
        let at = self.place(&mut store, &list)?;
        let count = u32::try_from(arguments.len()).unwrap_or(0);
        let result = self.call.call(&mut store, (function, this, count, at))?;
        self.free.call(&mut store, at)?;
        for argument in arguments {
            self.free_value.call(&mut store, *argument)?;
        }
        Ok(result)
    }

    /// Throws an error with a name of ours into the engine.
    pub(crate) fn throw_error(
        &self,
        mut store: impl AsContextMut<Data = Ctx>,
        name: &str,
        message: &str,
    ) -> Result<()> {
        let error = self.new_error.call(&mut store, ())?;
        for (property, text) in [("message", message), ("name", name)] {
            let value = self.string(&mut store, text)?;
            self.set_property(&mut store, error, property, value)?;
            self.free_value.call(&mut store, value)?;
        }
        self.throw.call(&mut store, error)?;
        self.free_value.call(&mut store, error)
    }

    /// What an exception says.
    pub(crate) fn describe(
        &self,
        mut store: impl AsContextMut<Data = Ctx>,
        exception: Ptr,
    ) -> Result<Thrown> {
        if self.is_object.call(&mut store, exception)? == 0 {
            return Ok(Thrown {
                name: "Error".into(),
                message: self.text_of(&mut store, exception)?,
                stack: String::new(),
            });
        }
        let mut text = |name: &str| -> Result<String> {
            let value = self.property(&mut store, exception, name)?;
            let is_text = self.is_exception.call(&mut store, value)? == 0
                && self.is_undefined.call(&mut store, value)? == 0;
            let text = if is_text { self.text_of(&mut store, value)? } else { String::new() };
            self.free_value.call(&mut store, value)?;
            Ok(text)
        };
        Ok(Thrown { name: text("name")?, message: text("message")?, stack: text("stack")? })
    }

    /// The value if it is none that stands for an exception; otherwise what was thrown.
    pub(crate) fn caught(
        &self,
        mut store: impl AsContextMut<Data = Ctx>,
        value: Ptr,
    ) -> Result<std::result::Result<Ptr, Thrown>> {
        if value != 0 && self.is_exception.call(&mut store, value)? == 0 {
            return Ok(Ok(value));
        }
        let exception = self.get_exception.call(&mut store, ())?;
        let thrown = self.describe(&mut store, exception)?;
        self.free_value.call(&mut store, exception)?;
        Ok(Err(thrown))
    }
}

/// Something that JavaScript threw.
#[derive(Clone, Debug)]
pub(crate) struct Thrown {
    pub(crate) name: String,
    pub(crate) message: String,
    pub(crate) stack: String,
}

/// The instance has no memory for a value of ours.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("out of memory")]
pub(crate) struct OutOfMemory;

/// WTF-8 to text: a surrogate without its other half, three bytes there, becomes U+FFFD.
fn from_wtf8(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_owned();
    }
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                break;
            }
            Err(error) => {
                let (valid, bad) = rest.split_at(error.valid_up_to());
                text.push_str(std::str::from_utf8(valid).unwrap_or_default());
                text.push(char::REPLACEMENT_CHARACTER);
                let is_surrogate = matches!(bad, [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..]);
                rest = &bad[if is_surrogate { 3 } else { error.error_len().unwrap_or(bad.len()).max(1) }..];
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::from_wtf8;

    #[test]
    fn a_lone_surrogate_becomes_one_replacement() {
        assert_eq!(from_wtf8(b"a\xed\xa0\x80b"), "a\u{fffd}b");
        assert_eq!(from_wtf8("gr\u{fc}n \u{1f600}".as_bytes()), "gr\u{fc}n \u{1f600}");
        assert_eq!(from_wtf8(b"\xed\xb0\x80\xed\xb0\x80"), "\u{fffd}\u{fffd}");
    }
}
