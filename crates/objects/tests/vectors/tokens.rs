//! Vectors of tokens, and of texts that are none or no longer count.

use crate::records::{address, owner};
use crate::{NOW_S, hex, key, number};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsfs_objects::clock::SeededRandom;
use jsfs_objects::key::{Keys, Seed, SigningKey};
use jsfs_objects::read_key::ReadKey;
use jsfs_objects::token::{Method, Mint, Token, TokenError};
use serde_json::{Value, json};

const HEADER: &str = r#"{"alg":"EdDSA","typ":"JWT"}"#;

fn mint(subject: &str, methods: &[Method]) -> Token {
    let mint = Mint {
        subject: address(subject),
        methods: methods.iter().copied().collect(),
        expires_s: NOW_S + 3_600,
        not_before_s: None,
        read: Some(ReadKey::from_bytes(key(7))),
    };
    mint.sign(&owner(), &SeededRandom::new(8)).unwrap()
}

fn by_hand(header: &str, claims: &str, by: &Keys) -> String {
    let message = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
    format!("{message}.{}", BASE64URL.encode(by.signing().sign(message.as_bytes())))
}

fn valid(text: &str) -> Value {
    let token = Token::parse(text).unwrap();
    token.verify(NOW_S).unwrap();
    json!({
        "text": text,
        "now_s": NOW_S,
        "public": token.public_text(),
        "issuer": token.issuer(),
        "subject": token.subject(),
        "methods": token.methods().iter().map(Method::name).collect::<Vec<_>>(),
        "expires_s": number(token.expires_s()),
        "not_before_s": token.not_before_s(),
        "jti": token.jti(),
        "confirmation": token.confirmation().map(|key| hex(key.as_bytes())),
        "read": token.read_key().map(|key| hex(key.expose())),
        "key": token.sign_key().map(|key| hex(key.expose_secret().as_slice())),
    })
}

fn invalid(why: &str, text: &str, now_s: u64) -> Value {
    let error = match Token::parse(text).and_then(|token| token.verify(now_s)).unwrap_err() {
        TokenError::Malformed { .. } => "malformed",
        TokenError::Signature => "signature",
        TokenError::Expired { .. } => "expired",
        TokenError::NotYetValid { .. } => "not yet valid",
        error => panic!("{why}: {error}"),
    };
    json!({"why": why, "text": text, "now_s": now_s, "error": error})
}

fn claims() -> Value {
    json!({"iss": owner().owner(), "sub": "/com.example/a/", "methods": ["GET"], "exp": NOW_S + 60, "jti": "1"})
}

fn with_opens() -> Value {
    let mut claims = claims();
    claims["opens"] = json!(BASE64URL.encode(ReadKey::from_bytes(key(7)).commitment()));
    claims
}

/// Tokens that are signed but say something that no token says.
fn misshapen() -> Vec<Value> {
    let with = |field: &str, value: Value| {
        let mut claims = claims();
        claims[field] = value;
        claims.to_string()
    };
    let jwk = |crv: &str| json!({"jwk": {"kty": "OKP", "crv": crv, "x": BASE64URL.encode(key::<32>(1))}});
    let mut writing = claims();
    writing["methods"] = json!(["PUT"]);
    writing["cnf"] = jwk("X25519");
    let mut running = with_opens();
    running["methods"] = json!(["EXECUTE"]);
    let cases = [
        ("an unknown claim", with("aud", json!("x"))),
        ("a subject that is not normal", with("sub", json!("/COM.example/a/"))),
        ("a subject that is no address", with("sub", json!("/.com.example/a/"))),
        ("an issuer that is no key", with("iss", json!("did:web:example.com"))),
        ("no method", with("methods", json!([]))),
        ("a method that does not exist", with("methods", json!(["HEAD"]))),
        ("a method in lower case", with("methods", json!(["get"]))),
        ("a method twice", with("methods", json!(["GET", "GET"]))),
        ("a writing method without cnf", with("methods", json!(["PUT"]))),
        ("cnf without a writing method", with("cnf", jwk("Ed25519"))),
        ("cnf of another curve", writing.to_string()),
        ("opens of 31 bytes", with("opens", json!(BASE64URL.encode(key::<31>(1))))),
        ("opens without a method that reads", running.to_string()),
        ("an end that is not whole", with("exp", json!(1.5))),
        ("an end past the year 9999", with("exp", json!(253_402_300_800_u64))),
        ("a beginning at the end", with("nbf", json!(NOW_S + 60))),
        ("an empty id", with("jti", json!(""))),
        ("an id of 65 bytes", with("jti", json!("x".repeat(65)))),
        ("an id with a control character", with("jti", json!("a\u{7f}"))),
        ("no id", with("jti", Value::Null)),
        ("a claim twice", claims().to_string().replacen('{', r#"{"sub":"/com.example/","#, 1)),
        ("claims that are no object", "[]".to_owned()),
    ];
    let mut all: Vec<Value> =
        cases.iter().map(|(why, claims)| invalid(why, &by_hand(HEADER, claims, &owner()), NOW_S)).collect();
    for (why, header) in [
        ("alg none", r#"{"alg":"none","typ":"JWT"}"#),
        ("alg HS256", r#"{"alg":"HS256","typ":"JWT"}"#),
        ("no typ", r#"{"alg":"EdDSA"}"#),
        ("a critical extension", r#"{"alg":"EdDSA","typ":"JWT","crit":["exp"]}"#),
        ("a key in the header", r#"{"alg":"EdDSA","kid":"1","typ":"JWT"}"#),
    ] {
        all.push(invalid(why, &by_hand(header, &claims().to_string(), &owner()), NOW_S));
    }
    all
}

pub(crate) fn vectors() -> Value {
    let all = mint("/com.example/a/", &Method::ALL);
    let text = all.to_text();
    let (public, fourth) = text.rsplit_once('.').unwrap();
    let mut later = claims();
    later["nbf"] = json!(NOW_S);
    later["iat"] = json!(5);
    let later = by_hand(HEADER, &later.to_string(), &owner());
    let stranger = Seed::from_bytes(key(3)).keys();
    let other_key = SigningKey::from_secret(&key(4));
    let swapped = json!({"key": BASE64URL.encode(other_key.expose_secret().as_slice())}).to_string();
    let lacking = json!({"read": BASE64URL.encode(key::<32>(7))}).to_string();
    let secret = |byte: u8| BASE64URL.encode(key::<32>(byte));
    let sign_key = BASE64URL.encode(all.sign_key().unwrap().expose_secret().as_slice());
    let other_read = json!({"read": secret(9), "key": sign_key}).to_string();
    let added_read = json!({"read": secret(7)}).to_string();
    let mut invalids = vec![
        invalid(
            "the claims of another",
            &format!("{}.{}", later.rsplit_once('.').unwrap().0, public.rsplit_once('.').unwrap().1),
            NOW_S,
        ),
        invalid("signed by a stranger", &by_hand(HEADER, &claims().to_string(), &stranger), NOW_S),
        invalid("no signature", &format!("{}.", public.rsplit_once('.').unwrap().0), NOW_S),
        invalid("at its end", public, NOW_S + 3_600),
        invalid("before its beginning", &later, NOW_S - 1),
        invalid("two parts", public.rsplit_once('.').unwrap().0, NOW_S),
        invalid("five parts", &format!("{}.x", *text), NOW_S),
        invalid("an empty fourth part", &format!("{public}."), NOW_S),
        invalid("a padded fourth part", &format!("{public}.{fourth}="), NOW_S),
        invalid("another key in the fourth part", &format!("{public}.{}", BASE64URL.encode(swapped)), NOW_S),
        invalid("no key in the fourth part", &format!("{public}.{}", BASE64URL.encode(lacking)), NOW_S),
        invalid(
            "another read key in the fourth part",
            &format!("{public}.{}", BASE64URL.encode(other_read)),
            NOW_S,
        ),
        invalid(
            "a read key in the fourth part and no word of it in the claims",
            &format!("{later}.{}", BASE64URL.encode(added_read)),
            NOW_S,
        ),
        invalid("longer than 8,192 bytes", &"x".repeat(8_193), NOW_S),
    ];
    invalids.extend(misshapen());
    let covers = |subject: &str, at: &str| {
        let covers = mint(subject, &[Method::Get]).covers(&address(at));
        json!({"subject": subject, "address": at, "covers": covers})
    };
    json!({
        "valid": [
            valid(&text),
            valid(public),
            valid(&mint("/com.example/a/ü.txt", &[Method::Get]).to_text()),
            valid(&mint("/com.example/a/", &[Method::Delete]).to_text()),
            valid(&mint("/com.example/a/", &[Method::Execute]).to_text()),
            valid(&later),
        ],
        "invalid": invalids,
        "covers": [
            covers("/com.example/a/", "/com.example/a/b/c"),
            covers("/com.example/a/", "/com.example/a/"),
            covers("/com.example/a", "/com.example/a"),
            covers("/com.example/a", "/com.example/a/b"),
            covers("/com.example/a", "/com.example/ab"),
            covers("/com.example/a/", "/com.example/a"),
            covers("/com.example/", "/com.example.files/a"),
        ],
    })
}
