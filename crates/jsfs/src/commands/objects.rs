//! `rm`, `purge`, `mv` and `cp`.

use crate::cli::{FromTo, Rm};
use crate::exit::Usage;
use crate::output::one_line;
use crate::session::Session;
use futures_util::{StreamExt, TryStreamExt, stream};
use jsfs_client::{Address, Client, Error};
use serde_json::json;

/// What a node answers where a directory is too large for one step.
const TOO_LARGE: u16 = 413;

/// Requests at once where it is.
const REQUESTS: usize = 8;

/// `jsfs rm` and, with `purge`, `jsfs purge`. Checks all addresses before it deletes the first; stops at the first that fails.
pub(super) async fn remove(session: &Session, arguments: &Rm, purge: bool) -> anyhow::Result<()> {
    let mut targets = Vec::new();
    for text in &arguments.addresses {
        let (reference, client) = session.target(text)?;
        if reference.address.is_directory() && !arguments.recursive {
            let text = format!("{} is a directory; add -r to remove all below it", reference.address);
            return Err(Usage(text).into());
        }
        targets.push((reference.address, client));
    }
    for (address, client) in &targets {
        remove_one(client, address, purge).await?;
        let word = if purge { "purged" } else { "deleted" };
        session.output.done(&format!("{word} {}", one_line(&address.to_string())))?;
    }
    let addresses = targets.iter().map(|(address, _)| address.to_string()).collect::<Vec<_>>();
    let word = if purge { "purged" } else { "deleted" };
    session.output.json(&json!({ word: addresses }))?;
    Ok(())
}

/// Removes an object, or a directory: in one step where the node can, else what is in it, one by one.
async fn remove_one(client: &Client, address: &Address, purge: bool) -> Result<(), Error> {
    let result = if purge { client.purge(address).await } else { client.delete(address).await };
    match result {
        Err(error) if error.status() == Some(TOO_LARGE) && address.is_directory() => {}
        result => return result,
    }
    let mut lister = client.list(address, false);
    while let Some(page) = lister.page().await? {
        let children =
            page.entries.iter().map(|entry| address.join(&entry.name)).collect::<Result<Vec<_>, _>>()?;
        let removals = stream::iter(children)
            .map(|child| async move { Box::pin(remove_one(client, &child, purge)).await });
        removals.buffer_unordered(REQUESTS).try_collect::<()>().await?;
    }
    Ok(())
}

/// `jsfs mv` and `jsfs cp`.
pub(super) async fn relocate(session: &Session, arguments: &FromTo, remove: bool) -> anyhow::Result<()> {
    let (from, client) = session.target(&arguments.from)?;
    let (to, _) = session.target(&arguments.to)?;
    let from = from.address;
    let to = resolve(&from, to.address)?;
    if from == to || (from.is_directory() && to.to_string().starts_with(&from.to_string())) {
        return Err(Usage(format!("{from} cannot go to {to}: that is itself, or below it")).into());
    }
    if remove {
        client.rename(&from, &to).await?
    } else {
        client.copy(&from, &to).await?
    }
    let word = if remove { "moved" } else { "copied" };
    session.output.done(&format!(
        "{word} {} to {}",
        one_line(&from.to_string()),
        one_line(&to.to_string())
    ))?;
    session.output.json(&json!({ "from": from.to_string(), "to": to.to_string() }))?;
    Ok(())
}

/// Where it goes: an object into a directory keeps its name; a directory goes exactly where the user says, so that a repetition does the same.
fn resolve(from: &Address, to: Address) -> anyhow::Result<Address> {
    if from.is_directory() {
        return Ok(to.as_directory());
    }
    Ok(if to.is_directory() { to.join(from.name())? } else { to })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use jsfs_client::Reference;

    #[test]
    fn objects_keep_their_name_in_a_directory_and_directories_go_where_they_are_told() {
        let address = |text: &str| Reference::parse(text).unwrap().address;
        let resolved = |from: &str, to: &str| resolve(&address(from), address(to)).unwrap().to_string();
        assert_eq!(resolved("a/b.txt", "c/"), "/localhost/c/b.txt");
        assert_eq!(resolved("a/b.txt", "c"), "/localhost/c");
        assert_eq!(resolved("a/", "c"), "/localhost/c/");
        assert_eq!(resolved("a/", "c/"), "/localhost/c/");
    }
}
