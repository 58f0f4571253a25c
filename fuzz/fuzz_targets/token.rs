//! Tokens: any text gives a token or an error; what was not signed by the one key of this test never verifies.
#![no_main]

use jsfs_objects::address::Address;
use jsfs_objects::token::{Method, Token};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = Token::is_likely(text);
    let Ok(token) = Token::parse(text) else { return };
    let _ = token.check_time(1_700_000_000);
    let again = Token::parse(&token.to_text()).expect("what it prints can be read");
    assert_eq!(again.public_text(), token.public_text());
    assert!(text.starts_with(token.public_text()), "the public parts are those that came");
    let elsewhere = Address::parse("/org.elsewhere/a").expect("an address");
    if token.check_grant(Method::Put, &elsewhere).is_ok() {
        assert!(elsewhere.starts_with(token.subject()) && token.methods().contains(Method::Put));
    }
    let _ = token.verify_signature();
});
