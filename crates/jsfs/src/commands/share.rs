//! `share` and `revoke`: links that open something for a while, and their end.

use crate::cli::{Method, Revoke, Share};
use crate::exit::Usage;
use crate::session::Session;
use jsfs_client::{Address, Client, Reference, TokenRequest, token_claims};
use serde_json::json;

/// `jsfs share`: the link on standard output, how to end it on standard error.
pub(super) async fn share(session: &Session, arguments: &Share) -> anyhow::Result<()> {
    let (reference, client) = session.target(&arguments.address)?;
    let address = reference.address;
    let methods = match (arguments.allow.is_empty(), address.is_directory()) {
        (false, _) => arguments.allow.clone(),
        (true, true) => vec![Method::Get, Method::List],
        (true, false) => vec![Method::Get],
    };
    let methods = methods.iter().map(|method| format!("{method:?}").to_uppercase()).collect();
    let request = TokenRequest { address: address.clone(), methods, expires_in: arguments.duration };
    let token = client.make_token(&request).await?;
    session.output.line(if arguments.only_token { &token.token } else { &token.url })?;
    session.output.json(&token)?;
    if !session.output.json {
        let methods = request.methods.join(", ");
        let until = crate::config::show_duration(arguments.duration);
        session.output.note(&format!(
            "allows {methods} of {address} for {until}; end it with: jsfs revoke {} {address}",
            token.jti
        ));
    }
    if let Some(hint) = missing(&client, &address).await {
        session.output.note(&hint);
    }
    Ok(())
}

/// What to know of a link that shows nothing yet. Nobody has to be able to read what he shares, so errors say nothing here.
async fn missing(client: &Client, address: &Address) -> Option<String> {
    if address.is_directory() {
        let empty = match client.list(address, false).page().await {
            Ok(page) => page.is_none_or(|page| page.entries.is_empty()),
            Err(error) => error.status() == Some(404),
        };
        return empty.then(|| format!("nothing is below {address} yet; the link shows what will be"));
    }
    match client.head(address, None).await.err()?.status()? {
        404 => Some(format!("nothing is at {address} yet; the link opens it as soon as something is")),
        307 => Some(format!("{address}/ is a directory; to share it, name it with its / at the end")),
        _ => None,
    }
}

/// `jsfs revoke`.
pub(super) async fn revoke(session: &Session, arguments: &Revoke) -> anyhow::Result<()> {
    let text = token_text(&arguments.subject)?;
    let (address, jti, expires) = match (token_claims(&text), &arguments.address) {
        (Some((subject, jti, expires)), None) => (subject, jti, Some(expires)),
        (Some((_, jti, expires)), Some(address)) => (address.clone(), jti, Some(expires)),
        (None, Some(address)) => (address.clone(), text, None),
        (None, None) => {
            let text = "an id alone does not say what it is for; write jsfs revoke ID ADDRESS, or give the token or link itself";
            return Err(Usage(text.into()).into());
        }
    };
    let (reference, _) = session.target(&address)?;
    session.client.revoke(&reference.address, &jti, expires).await?;
    session.output.done(&format!("revoked {jti} for {}", reference.address))?;
    session.output.json(&json!({ "jti": jti, "address": reference.address.to_string() }))?;
    Ok(())
}

/// The token of a link, or the text itself.
fn token_text(text: &str) -> anyhow::Result<String> {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Ok(text.to_owned());
    }
    let token = Reference::parse(text)?.token;
    Ok(token.ok_or_else(|| Usage("the link carries no token (access_token=…)".into()))?)
}
