//! Placeholder until the real file is here.
pub(crate) fn encoding_name(_label: &str) -> Option<&'static str> {
    Some("utf-8")
}
pub(crate) fn url_parse(_url: &str, _base: Option<&str>) -> Option<String> {
    None
}
pub(crate) fn url_set(_href: &str, _part: &str, _value: &str) -> Option<String> {
    None
}
pub(crate) fn url_join(_base: &str, _name: &str) -> Option<String> {
    None
}
pub(crate) fn decode(_label: &str, bytes: &[u8], _fatal: bool, _keep: bool) -> Result<String, String> {
    Ok(String::from_utf8_lossy(bytes).into_owned())
}
