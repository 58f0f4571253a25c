//! DELETE: the current version goes, older ones stay as long as retention says; with `purge=true` all are forgotten.

use hyper::Response;
use jsfs_objects::address::Address;
use jsfs_objects::{Delete, Objects, Purge};

use crate::body::Body;
use crate::metadata::no_content;
use crate::parameters::Parameter;
use crate::problem::Problem;
use crate::put::precondition;
use crate::request::Asked;

/// Answers DELETE of an address.
pub(crate) async fn delete(
    objects: &Objects,
    asked: &Asked<'_>,
    address: &Address,
) -> Result<Response<Body>, Problem> {
    let purge = asked.parameters.boolean(Parameter::Purge)?.unwrap_or(false);
    let precondition = precondition(asked, address)?;
    let credentials = asked.credentials()?;
    if purge {
        if precondition.is_some() {
            return Err(Problem::malformed("a purge forgets every version; send it without If-… headers"));
        }
        let grant = objects.authorize::<Purge>(&credentials, address).await?;
        objects.purge(grant).await?;
    } else {
        let grant = objects.authorize::<Delete>(&credentials, address).await?;
        objects.delete(grant, precondition).await?;
    }
    Ok(no_content())
}
