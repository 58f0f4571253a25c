//! Tokens: what is signed counts, for what it says and no longer than it says; everything else is refused with the reason.

use crate::samples::{NOW_S, address, keys, random};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsfs_objects::key::{Keys, SigningKey};
use jsfs_objects::read_key::ReadKey;
use jsfs_objects::token::{Method, Methods, Mint, TOKEN_BYTES_MAX, Token, TokenError};
use proptest::prelude::*;
use serde_json::{Value, json};

fn mint(subject: &str, methods: &[Method]) -> Token {
    let mint = Mint {
        subject: address(subject),
        methods: methods.iter().copied().collect(),
        expires_s: NOW_S + 60,
        not_before_s: None,
        read: Some(ReadKey::generate(&random(8))),
    };
    mint.sign(&keys(1), &random(9)).unwrap()
}

fn claims() -> Value {
    json!({
        "iss": keys(1).owner().to_string(),
        "sub": "/com.example/a/",
        "methods": ["GET", "LIST"],
        "exp": NOW_S + 60,
        "jti": "id",
    })
}

fn with(field: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[field] = value;
    claims
}

fn confirmation(key: &SigningKey) -> Value {
    json!({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": BASE64URL.encode(key.public().as_bytes())}})
}

/// A token made by hand, as another program would.
fn by_hand(header: &str, claims: &str, by: &Keys) -> String {
    let message = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
    let signature = by.signing().sign(message.as_bytes());
    format!("{message}.{}", BASE64URL.encode(signature))
}

fn signed(claims: &Value) -> String {
    by_hand(r#"{"alg":"EdDSA","typ":"JWT"}"#, &claims.to_string(), &keys(1))
}

fn check(text: &str) -> Result<(), TokenError> {
    Token::parse(text)?.verify(NOW_S)
}

fn malformed(text: &str) -> bool {
    matches!(check(text), Err(TokenError::Malformed { .. }))
}

#[test]
fn a_minted_token_says_what_it_was_told_and_reads_back() {
    let token = mint("/com.example/a/", &[Method::Put, Method::Get, Method::Delete]);
    let text = token.to_text();
    assert!(Token::is_likely(&text) && text.split('.').count() == 4);
    let read = Token::parse(&text).unwrap();
    assert_eq!(read.verify(NOW_S), Ok(()));
    assert_eq!(read.issuer(), keys(1).owner());
    assert_eq!(read.subject().as_str(), "/com.example/a/");
    assert_eq!(read.methods().iter().collect::<Vec<_>>(), [Method::Get, Method::Put, Method::Delete]);
    assert_eq!((read.expires_s(), read.not_before_s()), (NOW_S + 60, None));
    assert_eq!(read.jti(), token.jti());
    assert_eq!(read.read_key(), Some(&ReadKey::generate(&random(8))));
    assert_eq!(read.sign_key().map(SigningKey::public), read.confirmation());
    assert_eq!(*read.to_text(), *text);
    let public = Token::parse(read.public_text()).unwrap();
    assert_eq!(public.verify(NOW_S), Ok(()));
    assert!(public.read_key().is_none() && public.sign_key().is_none());
    assert_eq!(*public.to_text(), public.public_text());
}

#[test]
fn the_fourth_part_holds_what_the_methods_need_and_no_more() {
    let holds = |methods: &[Method]| {
        let token = mint("/com.example/a", methods);
        (token.read_key().is_some(), token.sign_key().is_some(), token.to_text().split('.').count())
    };
    assert_eq!(holds(&[Method::Get]), (true, false, 4));
    assert_eq!(holds(&[Method::List, Method::Watch]), (true, false, 4));
    assert_eq!(holds(&[Method::Put]), (true, true, 4));
    assert_eq!(holds(&[Method::Delete]), (false, true, 4));
    assert_eq!(holds(&[Method::Execute]), (false, false, 3));
    assert_eq!(holds(&[Method::Execute, Method::Delete]), (false, true, 4));
    assert_eq!(holds(&[Method::Execute, Method::Get]), (true, false, 4));
}

#[test]
fn a_read_key_that_the_owner_did_not_put_there_makes_a_token_malformed() {
    let token = mint("/com.example/a/", &[Method::Get]);
    let other = mint("/com.example/b/", &[Method::Get]).read_key().cloned().unwrap();
    let forged = ReadKey::generate(&random(77));
    assert_ne!(forged, other);
    let fourth =
        |read: &ReadKey| BASE64URL.encode(json!({"read": BASE64URL.encode(read.expose())}).to_string());
    let text = |read| format!("{}.{}", token.public_text(), fourth(read));
    assert_eq!(check(&text(token.read_key().unwrap())), Ok(()));
    assert!(malformed(&text(&forged)));
    // Nor can a key be added where the owner spoke of none.
    assert!(malformed(&format!("{}.{}", signed(&claims()), fourth(&forged))));
    // Nor is the claim something that a token without a read key has, or any text.
    for opens in [json!(""), json!("AAAA"), json!(1), json!(BASE64URL.encode([0; 33]))] {
        assert!(malformed(&signed(&with("opens", opens.clone()))), "{opens}");
    }
    let mut running = with("opens", json!(BASE64URL.encode([0; 32])));
    assert_eq!(check(&signed(&running)), Ok(()), "the three parts alone");
    running["methods"] = json!(["EXECUTE"]);
    assert!(malformed(&signed(&running)));
}

#[test]
fn another_programs_token_is_read() {
    let key = SigningKey::generate(&random(3));
    let writing = json!({
        "jti": "é".repeat(32), "cnf": confirmation(&key), "exp": NOW_S + 1, "nbf": NOW_S, "iat": 5, "methods": ["DELETE", "PUT"],
        "sub": "/com.example/a", "iss": keys(1).owner().to_string(),
    });
    assert_eq!(check(&signed(&writing)), Ok(()));
    assert_eq!(
        check(&by_hand(r#"{ "typ" : "JWT", "alg" : "EdDSA" }"#, &claims().to_string(), &keys(1))),
        Ok(())
    );
    let fourth =
        BASE64URL.encode(json!({"key": BASE64URL.encode(key.expose_secret().as_slice())}).to_string());
    let token = Token::parse(&format!("{}.{fourth}", signed(&writing))).unwrap();
    assert_eq!(token.sign_key().map(SigningKey::public), Some(key.public()));
}

#[test]
fn a_header_that_says_anything_else_is_refused() {
    for header in [
        r#"{"alg":"none","typ":"JWT"}"#,
        r#"{"alg":"HS256","typ":"JWT"}"#,
        r#"{"alg":"ES256","typ":"JWT"}"#,
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","typ":"jwt"}"#,
        r#"{"alg":"EdDSA","typ":"JWT","crit":["exp"]}"#,
        r#"{"alg":"EdDSA","typ":"JWT","kid":"1"}"#,
        r#"{"alg":"EdDSA","typ":"JWT","jwk":{"kty":"OKP","crv":"Ed25519","x":"AAAA"}}"#,
        r#"{"alg":"EdDSA","typ":"JWT","b64":false}"#,
        r#"{"alg":"EdDSA","alg":"EdDSA","typ":"JWT"}"#,
        r#"{"alg":"EdDSA","typ":"JWT"} "x""#,
        "",
        "null",
    ] {
        assert!(malformed(&by_hand(header, &claims().to_string(), &keys(1))), "{header}");
    }
    // Unsigned, in the way of `alg: none`.
    let unsigned = format!(
        "{}.{}.",
        BASE64URL.encode(r#"{"alg":"none","typ":"JWT"}"#),
        BASE64URL.encode(claims().to_string())
    );
    assert!(malformed(&unsigned));
}

#[test]
fn claims_that_say_anything_else_are_refused() {
    assert_eq!(check(&signed(&claims())), Ok(()));
    let key = SigningKey::generate(&random(3));
    let cases = [
        with("aud", json!("other")),
        with("scope", json!("all")),
        with("private", json!(true)),
        with("iss", json!("did:web:example.com")),
        with("iss", json!(keys(1).owner().to_string()[8..])),
        with("sub", json!("/com.example")),
        with("sub", json!("/COM.example/a")),
        with("sub", json!("/com.example/a/../b")),
        with("sub", json!("/.com.example/a")),
        with("sub", json!("/com.example/.jsfs/x")),
        with("sub", json!("/")),
        with("sub", json!("")),
        with("sub", json!(["/com.example/"])),
        with("sub", json!(format!("/com.example/{}", "a".repeat(4_090)))),
        with("methods", json!([])),
        with("methods", json!(["get"])),
        with("methods", json!(["HEAD"])),
        with("methods", json!(["GET", "GET"])),
        with("methods", json!("GET")),
        with("methods", json!(["PUT"])),
        with("cnf", confirmation(&key)),
        with("exp", json!(-1)),
        with("exp", json!(1.5)),
        with("exp", json!("1")),
        with("exp", json!(253_402_300_800_u64)),
        with("exp", json!(u64::MAX)),
        with("nbf", json!(NOW_S + 60)),
        with("nbf", json!(NOW_S + 61)),
        with("jti", json!("")),
        with("jti", json!("a".repeat(65))),
        with("jti", json!("a\nb")),
        with("jti", json!(1)),
    ];
    for claims in cases {
        assert!(malformed(&signed(&claims)), "{claims}: {:?}", check(&signed(&claims)));
    }
    for missing in ["iss", "sub", "methods", "exp", "jti"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(missing);
        assert!(malformed(&signed(&claims)), "{missing}");
    }
    let twice = claims().to_string().replacen('{', r#"{"sub":"/com.example/","#, 1);
    assert!(malformed(&by_hand(r#"{"alg":"EdDSA","typ":"JWT"}"#, &twice, &keys(1))));
    let confirmations = [
        json!({"jwk": {"kty": "OKP", "crv": "X25519", "x": BASE64URL.encode([0; 32])}}),
        json!({"jwk": {"kty": "EC", "crv": "Ed25519", "x": BASE64URL.encode([0; 32])}}),
        json!({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": BASE64URL.encode([0; 31])}}),
        json!({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "!"}}),
        json!({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": BASE64URL.encode([0; 32]), "d": "secret"}}),
        json!({"jkt": "thumbprint"}),
        json!({}),
    ];
    for cnf in confirmations {
        let mut claims = with("cnf", cnf);
        claims["methods"] = json!(["PUT"]);
        assert!(malformed(&signed(&claims)), "{claims}");
    }
}

#[test]
fn a_fourth_part_that_does_not_fit_is_refused() {
    let token = mint("/com.example/a", &[Method::Get, Method::Put]);
    let key = BASE64URL.encode(token.sign_key().unwrap().expose_secret().as_slice());
    let other = BASE64URL.encode([1; 32]);
    let parse = |fourth: &str| Token::parse(&format!("{}.{fourth}", token.public_text()));
    let with = |fourth: Value| parse(&BASE64URL.encode(fourth.to_string()));
    let read = BASE64URL.encode(token.read_key().unwrap().expose());
    assert!(with(json!({"read": read, "key": key})).is_ok());
    assert!(with(json!({"key": key})).is_ok(), "nodes ask for the read key where they need it");
    for fourth in [
        json!({"read": read, "key": other}),
        json!({"read": other, "key": key}),
        json!({"read": read}),
        json!({}),
        json!({"read": "AA", "key": key}),
        json!({"read": read, "key": key, "more": 1}),
        json!({"read": null, "key": [1]}),
        json!([]),
    ] {
        assert!(with(fourth.clone()).is_err(), "{fourth}");
    }
    for fourth in ["", "=", "e30=", "AA.AA", "\u{e9}"] {
        assert!(parse(fourth).is_err(), "{fourth}");
    }
    let reading = mint("/com.example/a", &[Method::Get]);
    let stray = BASE64URL.encode(json!({"key": key}).to_string());
    assert!(
        Token::parse(&format!("{}.{stray}", reading.public_text())).is_err(),
        "a key that it does not name"
    );
}

#[test]
fn what_was_not_signed_so_does_not_verify() {
    let text = signed(&claims());
    let parts: Vec<&str> = text.split('.').collect();
    let other_claims = BASE64URL.encode(with("sub", json!("/com.example/")).to_string());
    assert_eq!(check(&format!("{}.{other_claims}.{}", parts[0], parts[2])), Err(TokenError::Signature));
    assert_eq!(
        check(&by_hand(r#"{"alg":"EdDSA","typ":"JWT"}"#, &claims().to_string(), &keys(2))),
        Err(TokenError::Signature)
    );
    assert_eq!(check(&format!("{}.{}.", parts[0], parts[1])), Err(TokenError::Signature));
    assert_eq!(
        check(&format!("{}.{}.{}", parts[0], parts[1], BASE64URL.encode([0; 64]))),
        Err(TokenError::Signature)
    );
    for at in 0..text.len() {
        let mut damaged = text.clone().into_bytes();
        damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
        assert!(check(&String::from_utf8(damaged).unwrap()).is_err(), "{at}");
    }
    // The last character of a signature has four bits that mean nothing: only one of its spellings counts.
    let spellings = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(*b"-_");
    let good =
        spellings.filter(|last| check(&format!("{}{}", &text[..text.len() - 1], char::from(*last))).is_ok());
    assert_eq!(good.count(), 1);
}

#[test]
fn a_token_counts_from_its_beginning_until_its_end() {
    let token = Token::parse(&signed(&with("nbf", json!(NOW_S - 5)))).unwrap();
    assert_eq!(token.verify(NOW_S - 6), Err(TokenError::NotYetValid { from_s: NOW_S - 5 }));
    assert_eq!(token.verify(NOW_S - 5), Ok(()));
    assert_eq!(token.verify(NOW_S + 59), Ok(()));
    assert_eq!(token.verify(NOW_S + 60), Err(TokenError::Expired { expires_s: NOW_S + 60 }));
    assert_eq!(token.verify(u64::MAX), Err(TokenError::Expired { expires_s: NOW_S + 60 }));
}

#[test]
fn a_token_for_one_thing_is_no_token_for_another() {
    let one = mint("/com.example/a/f", &[Method::Get]);
    let below = mint("/com.example/a/", &[Method::Get]);
    let get = |token: &Token, at: &str| token.check_grant(Method::Get, &address(at));
    assert_eq!(get(&one, "/com.example/a/f"), Ok(()));
    assert_eq!(get(&below, "/com.example/a/f"), Ok(()));
    assert_eq!(get(&below, "/com.example/a/"), Ok(()));
    for at in
        ["/com.example/a/g", "/com.example/a/f/", "/com.example/a/ff", "/com.example/", "/org.other/a/f"]
    {
        assert_eq!(get(&one, at), Err(TokenError::Address { subject: address("/com.example/a/f") }), "{at}");
    }
    assert_eq!(
        get(&below, "/com.example/a"),
        Err(TokenError::Address { subject: address("/com.example/a/") })
    );
    assert_eq!(
        one.check_grant(Method::Put, &address("/com.example/a/f")),
        Err(TokenError::Method { method: Method::Put })
    );
}

#[test]
fn a_token_has_at_most_8192_bytes_and_three_or_four_parts() {
    assert!(malformed(&"a".repeat(TOKEN_BYTES_MAX + 1)));
    assert!(malformed(&format!("{}.{}", signed(&claims()), "A".repeat(TOKEN_BYTES_MAX))));
    for text in ["", ".", "..", "...", "....", "a.b", "a.b.c", "a.b.c.d", "a.b.c.d.e"] {
        assert!(malformed(text), "{text}");
        assert!(!Token::is_likely(text));
    }
    let longest = format!("/com.example/{}", "a".repeat(4_083));
    assert!(mint(&longest, &Method::ALL).to_text().len() <= TOKEN_BYTES_MAX);
    let wide = format!("/com.example/{}", "\"".repeat(4_083));
    let mint = Mint {
        subject: address(&wide),
        methods: [Method::Get].into_iter().collect(),
        expires_s: NOW_S,
        not_before_s: None,
        read: None,
    };
    assert!(
        matches!(mint.sign(&keys(1), &random(1)), Err(TokenError::Malformed { .. })),
        "escaped, it is too long"
    );
}

#[test]
fn a_token_that_no_reader_would_accept_is_not_minted() {
    let good = Mint {
        subject: address("/com.example/a"),
        methods: [Method::Get].into_iter().collect(),
        expires_s: NOW_S,
        not_before_s: None,
        read: None,
    };
    let refused = |mint: Mint| mint.sign(&keys(1), &random(1)).is_err();
    assert!(!refused(good.clone()));
    assert!(refused(Mint { methods: Methods::default(), ..good.clone() }));
    assert!(refused(Mint { not_before_s: Some(NOW_S), ..good.clone() }));
    assert!(refused(Mint { expires_s: u64::MAX, ..good }));
}

#[test]
fn secrets_of_a_token_are_in_no_debug_text_and_no_error() {
    let token = mint("/com.example/a", &[Method::Get, Method::Put]);
    let text = token.to_text();
    let (_, fourth) = text.rsplit_once('.').unwrap();
    let read = BASE64URL.encode(token.read_key().unwrap().expose());
    let shown = format!("{token:?}");
    assert!(
        !shown.contains(fourth)
            && !shown.contains(&read)
            && !shown.contains(&format!("{:?}", token.read_key().unwrap().expose()))
    );
    let error = Token::parse(&text.replace(fourth, &fourth[1..])).unwrap_err().to_string();
    assert!(!error.contains(&fourth[5..20]));
}

#[test]
fn methods_are_a_set() {
    let methods: Methods = [Method::Execute, Method::Get].into_iter().collect();
    assert!(methods.contains(Method::Get) && !methods.contains(Method::Put));
    assert_eq!(format!("{methods:?}"), "{Get, Execute}");
    assert_eq!(Method::from_name("watch"), Some(Method::Watch));
    assert_eq!(Method::from_name("HEAD"), None);
    assert!(Methods::default().is_empty());
}

proptest! {
    #[test]
    fn arbitrary_text_is_no_token_and_never_panics(text in "(eyJ)?[A-Za-z0-9_.-]*|.*") {
        prop_assert!(check(&text).is_err());
    }

    #[test]
    fn arbitrary_claims_are_refused_or_read_back_the_same(
        methods in proptest::collection::vec("GET|LIST|PUT|EXECUTE|get", 0..3),
        sub in "/com.example/[a-z/.]{0,6}",
        exp in 0..NOW_S * 3,
        nbf in proptest::option::of(0..NOW_S * 3),
        jti in ".{0,70}",
    ) {
        let mut claims = json!({"iss": keys(1).owner().to_string(), "sub": sub, "methods": methods, "exp": exp, "jti": jti});
        if let Some(nbf) = nbf {
            claims["nbf"] = json!(nbf);
        }
        if let Ok(token) = Token::parse(&signed(&claims)) {
            prop_assert_eq!(token.subject().as_str(), sub);
            prop_assert_eq!(token.expires_s(), exp);
            prop_assert_eq!(token.not_before_s(), nbf);
            prop_assert_eq!(token.jti(), jti);
            prop_assert_eq!(token.verify(NOW_S).is_ok(), nbf.unwrap_or(0) <= NOW_S && NOW_S < exp);
            prop_assert!(token.verify_signature().is_ok());
        }
    }
}
