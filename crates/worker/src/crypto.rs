//! Placeholder until the real file is here.
pub(crate) enum Output {
    Bytes(Vec<u8>),
    Text(String),
}
pub(crate) struct Failure {
    pub(crate) name: &'static str,
    pub(crate) message: String,
}
pub(crate) fn perform(_o: &str, _p: &str, _b: &[&[u8]]) -> Result<Output, Failure> {
    Err(Failure { name: "NotSupportedError", message: "not yet".into() })
}
