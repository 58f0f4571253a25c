//! `/.jsfs/rom`: parts of the node to make a ROM of (POST), and parts of another that are to be this node's (PUT), for the holder of the root key.
//!
//! Both bodies are items (`docs/formats.md`, ROMs). What is sent without its last item was cut off. An import that ends early leaves whole objects, and may be
//! repeated.

use hyper::{Response, StatusCode};
use jsfs_objects::address::Address;
use serde_json::Value;

use crate::backup;
use crate::body::{Arriving, Body};
use crate::document::{Document, wrong};
use crate::front::Front;
use crate::metadata::json;
use crate::problem::Problem;
use crate::request::Asked;

/// Sends what a document names.
pub(crate) async fn export(
    front: &Front,
    asked: &Asked<'_>,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let grant = front.objects().authorize_root(&asked.credentials()?).await?;
    let mut document = Document::read(asked.headers, body, front.json_bytes_max()).await?;
    let wanted = || wrong("addresses", "a list of addresses such as /com.example/docs/");
    let Some(Value::Array(addresses)) = document.take("addresses") else { return Err(wanted()) };
    document.finish("addresses")?;
    let texts = addresses.iter().map(|address| address.as_str().ok_or_else(wanted));
    let roots = texts.map(|text| Ok(Address::parse(text?)?)).collect::<Result<Vec<_>, Problem>>()?;
    Ok(backup::pieces(front, front.objects().export(&grant, roots)?))
}

/// Takes up what comes.
pub(crate) async fn import(
    front: &Front,
    asked: &Asked<'_>,
    mut body: Arriving,
) -> Result<Response<Body>, Problem> {
    let grant = front.objects().authorize_root(&asked.credentials()?).await?;
    body.check_announced()?;
    let mut import = front.objects().import(&grant);
    while let Some(bytes) = body.next().await? {
        import.take(&bytes).await?;
    }
    json(StatusCode::OK, &import.end()?)
}
