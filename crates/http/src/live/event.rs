//! A change as JSON, the same in a notification and in Server-Sent Events.

use jsfs_objects::{EventKind, Notice};
use serde::Serialize;

use crate::wire::rfc3339;

/// One change.
#[derive(Serialize)]
pub(crate) struct Event<'n> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) watch: Option<&'n str>,
    cursor: String,
    time: String,
    kind: &'static str,
    address: &'n str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'n str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'n str>,
}

impl<'n> Event<'n> {
    /// The change, for the watch of that name.
    pub(crate) fn of(notice: &'n Notice, watch: Option<&'n str>) -> Self {
        let properties = notice.properties.as_deref();
        Event {
            watch,
            cursor: notice.cursor.to_string(),
            time: rfc3339(notice.time_ms),
            kind: name(notice.kind),
            address: notice.address.as_str(),
            from: notice.from.as_ref().map(|from| from.as_str()),
            version: notice.version,
            private: notice.private,
            size: properties.map(|properties| properties.size),
            etag: properties.map(|properties| properties.etag.to_string()),
            r#type: properties.map(|properties| &*properties.content_type),
        }
    }
}

fn name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Created => "created",
        EventKind::Updated => "updated",
        EventKind::Deleted => "deleted",
        EventKind::Moved => "moved",
        EventKind::Access => "access",
    }
}
