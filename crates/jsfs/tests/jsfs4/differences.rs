//! Where a node with `compat.jsfs4` answers otherwise than JSFS 4 did, and which hole or rule asks for it. Numbers are those of
//! `crates/http/tests/http/holes.rs`.

/// One kind of difference in some of the recorded cases.
pub(crate) struct Difference {
    /// Which cases; `*` stands for anything.
    pub(crate) cases: &'static str,
    /// What: `status OLD NEW`, `field NAME`, `header NAME`, `body`, `cors`.
    pub(crate) what: &'static str,
    /// In how many cases.
    pub(crate) times: usize,
    /// The hole that is closed by it, or the rule.
    pub(crate) why: &'static str,
}

const fn difference(cases: &'static str, what: &'static str, times: usize, why: &'static str) -> Difference {
    Difference { cases, what, times, why }
}

pub(crate) const DIFFERENCES: &[Difference] = &[
    difference(
        "matrix/private/HEAD/*",
        "status 200 401",
        6,
        "hole 10: HEAD of a private object tells no more than GET",
    ),
    difference(
        "encr/HEAD",
        "status 200 401",
        1,
        "hole 10 and 12: what was asked to be encrypted is private, to HEAD too",
    ),
    difference(
        "encr/GET*",
        "status 200 401",
        4,
        "hole 12: what was asked to be encrypted is private and not served to anybody",
    ),
    difference(
        "encr/POST*",
        "field private",
        5,
        "hole 12: what was asked to be encrypted is stored as private",
    ),
    difference(
        "matrix/private/P*/after-GET-anon",
        "status 200 401",
        14,
        "hole 9: a replaced object stays private",
    ),
    difference(
        "matrix/private/P*/after-GET-defaultkey",
        "status 200 401",
        14,
        "holes 7, 8 and 9: it stays private, and no key follows from the address",
    ),
    difference("matrix/private/P*", "field private", 14, "hole 9: a replaced object stays private"),
    difference("upd/PUT-key", "field private", 1, "hole 9: a replaced object stays private"),
    difference("upd/GET-anon", "status 200 401", 1, "hole 9: a replaced object stays private"),
    difference("matrix/p*", "field content_type", 28, "hole 9: a replaced object keeps its type"),
    difference("upd/PUT-key", "field content_type", 1, "hole 9: a replaced object keeps its type"),
    difference("matrix/p*", "header content-type", 56, "hole 9: a replaced object keeps its type"),
    difference(
        "matrix/p*",
        "field access_key",
        20,
        "hole 8: a token for writing changes no key and is told none",
    ),
    difference(
        "upd/PUT-token",
        "field access_key",
        1,
        "hole 8: a token for writing changes no key and is told none",
    ),
    difference(
        "upd/GET-oldkey",
        "status 401 200",
        1,
        "hole 8: after a write by token the key is what it was",
    ),
    difference(
        "upd/GET-defaultkey",
        "status 200 401",
        1,
        "holes 7 and 8: no key follows from the address, and a token sets none",
    ),
    difference("defaultkey/GET-sha1url", "status 200 401", 1, "hole 7: the SHA-1 of an address is no key"),
    difference("defaultkey/DELETE-sha1url", "status 204 401", 1, "hole 7: the SHA-1 of an address is no key"),
    difference(
        "defaultkey/GET-after",
        "status 404 401",
        1,
        "hole 7: what nobody could delete is still there",
    ),
    difference(
        "cond/PUT if-none-match *",
        "status 200 401",
        1,
        "hole 7: the object was made without a key, so nobody replaces it without the key that it got",
    ),
    difference("cond/GET after", "body", 1, "hole 7: see the PUT before it, which changed nothing"),
    difference(
        "cond/GET after",
        "header content-length",
        1,
        "hole 7: see the PUT before it, which changed nothing",
    ),
    difference(
        "cond/GET after",
        "header content-type",
        1,
        "hole 7: see the PUT before it, which changed nothing",
    ),
    difference("enc/GET gzip", "body", 1, "hole 7: see the PUT of cond, which changed nothing"),
    difference(
        "enc/GET gzip",
        "header content-length",
        1,
        "hole 7: see the PUT of cond, which changed nothing",
    ),
    difference(
        "enc/GET gzip",
        "header content-type",
        1,
        "hole 7: see the PUT of cond, which changed nothing",
    ),
    difference(
        "*POST*",
        "field access_key",
        43,
        "hole 7: an object made without a key gets a random one and not the SHA-1 of its address",
    ),
    difference(
        "missing/PUT*",
        "field access_key",
        2,
        "hole 7: an object made without a key gets a random one and not the SHA-1 of its address",
    ),
    difference(
        "encr/POST*",
        "field blocks",
        5,
        "hole 12: there is no such ciphertext, so the hashes are those of the bytes",
    ),
    difference(
        "wav/POST*",
        "field blocks",
        2,
        "hole 21: sounds are not cut behind their silence, so the hashes are those of whole pieces",
    ),
    difference(
        "ns/POST/FOO.com",
        "status 200 401",
        1,
        "rule: hosts are compared in any case; this is the object of foo.com, which has an owner",
    ),
    difference(
        "ns/POST/foo.com.",
        "status 200 401",
        1,
        "rule: a dot at a host's end is dropped; this is the object of foo.com, which has an owner",
    ),
    difference("ns/GET/absolute-COM.foo", "body", 1, "rule: namespaces are compared in any case"),
    difference(
        "ns/POST/127.0.0.1",
        "status 200 401",
        1,
        "hole 15: an address of this machine is localhost, which is no drop box",
    ),
    difference(
        "ns/POST/[::1]:7302",
        "status 200 401",
        1,
        "hole 15: an address of this machine is localhost, which is no drop box",
    ),
    difference(
        "ns/POST/localhost",
        "status 200 401",
        1,
        "hole 15: localhost is the node's owner's, and no drop box",
    ),
    difference(
        "ns/POST/absolute-form",
        "status 200 401",
        1,
        "hole 2: the host of an absolute target counts (RFC 9112), and its namespace is not here",
    ),
    difference(
        "ns/GET/absolute-form",
        "status 200 404",
        1,
        "hole 2: see the POST before it, which was refused",
    ),
    difference("ns/POST/a b", "status 200 400", 1, "hole 15: a host that cannot be one is refused"),
    difference(
        "path/*",
        "status 200 400",
        8,
        "rule: a name must be an address: escapes that decode to UTF-8 without control characters, and a target that HTTP allows",
    ),
    difference(
        "path/POST//../x",
        "status 200 401",
        1,
        "rule: names are decoded and normalised once; this one is /x, which has an owner",
    ),
    difference("path/GET//../x", "body", 1, "rule: see the POST before it"),
    difference(
        "path/POST//%2F",
        "status 200 401",
        1,
        "rule: names are decoded and normalised once; this one is /, which has an owner",
    ),
    difference("path/GET//%2F", "body", 1, "rule: see the POST before it"),
    difference("path/GET//%2F", "header content-length", 1, "rule: see the POST before it"),
    difference(
        "path/POST//~tilde",
        "status 200 401",
        1,
        "rule: names are decoded and normalised once; this one is that of %7Etilde, which has an owner",
    ),
    difference("path/GET//~tilde", "body", 1, "rule: see the POST before it"),
    difference(
        "path/POST//*",
        "field url",
        2,
        "rule: the raw name is told as it was sent, without the rewriting of ' and \\ by one URL parser",
    ),
    difference(
        "path/POST//*",
        "field fingerprint",
        2,
        "rule: the raw name is told as it was sent, without the rewriting of ' and \\ by one URL parser",
    ),
    difference("path/*LL*", "status 200 414", 4, "rule: an address has at most 4,096 bytes"),
    difference("path/*LL*", "status 431 414", 2, "rule: an address has at most 4,096 bytes"),
    difference(
        "range/GET*",
        "status 200 206",
        2,
        "rule: ranges, which JSFS 4 announced and ignored, are served",
    ),
    difference(
        "range/GET*",
        "status 200 416",
        1,
        "rule: a range outside of the object is refused, as HTTP has it",
    ),
    difference(
        "cond/GET if-none-match *",
        "status 200 304",
        1,
        "rule: conditions are honoured, as HTTP has it",
    ),
    difference("missing/BREW", "status 400 405", 1, "rule: a method that nobody knows is refused as such"),
    difference("misc/bearer", "status 401 200", 1, "rule: a request with Authorization is one of JSFS 5"),
];
