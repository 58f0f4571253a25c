//! `stats`: where the space of a node goes, as a table and as bars.

use crate::maintenance::gather;
use crate::output::{Output, human_bytes, one_line};
use crate::session::Session;
use serde_json::{Value, json};

/// The longest bar, in characters.
const BAR: u64 = 40;

/// Asks the node and shows what it says.
pub(super) async fn run(session: &Session) -> anyhow::Result<()> {
    let outcome = gather(session, "stats", &json!({})).await?;
    let (mut whole, mut namespaces) = (outcome.result, outcome.findings);
    if session.output.json {
        whole["by_namespace"] = namespaces.into();
        whole["more"] = outcome.more.into();
        return Ok(session.output.json(&whole)?);
    }
    namespaces.sort_by_key(|namespace| std::cmp::Reverse(number(&namespace["stored"])));
    table(session.output, &namespaces, outcome.more, &whole)?;
    let path = ["logical", "unique", "compressed", "stored"];
    let path = path.map(|name| (name, number(&whole[name])));
    bars(session.output, "from what was put to what the disk holds", &path)?;
    let (disk, besides) = (&whole["disk"], &whole["disk"]["besides"]);
    let parts = [
        ("objects", number(&disk["objects"])),
        ("uploads", number(&besides["uploads"])),
        ("programs", number(&besides["programs"])),
        ("other nodes", number(&besides["other_nodes"])),
        ("rest", number(&besides["rest"])),
        ("records", number(&disk["records"])),
        ("dead", number(&disk["dead"])),
        ("index", number(&disk["index"])),
    ];
    bars(session.output, "what the disk holds", &parts)?;
    if number(&whole["unreadable"]) > 0 {
        session.output.warn("something could not be read and is in nobody's share; run `jsfs check`");
    }
    Ok(())
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn table(output: Output, namespaces: &[Value], more: u64, whole: &Value) -> anyhow::Result<()> {
    let name = |namespace: &Value| one_line(namespace["namespace"].as_str().unwrap_or("?")).into_owned();
    let width = namespaces.iter().map(|namespace| name(namespace).chars().count());
    let width = width.max().unwrap_or(0).clamp("NAMESPACE".len(), 40);
    let line = |cells: [&str; 6]| {
        let [name, objects, versions, logical, current, stored] = cells;
        output.line(&format!(
            "{name:<width$}  {objects:>10}  {versions:>10}  {logical:>12}  {current:>12}  {stored:>12}"
        ))
    };
    let row = |name: &str, of: &Value, stored: &Value| {
        let bytes = |value: &Value| human_bytes(number(value));
        let count = |value: &Value| number(value).to_string();
        line([
            name,
            &count(&of["objects"]),
            &count(&of["versions"]),
            &bytes(&of["logical"]),
            &bytes(&of["current"]),
            &bytes(stored),
        ])
    };
    line(["NAMESPACE", "OBJECTS", "EARLIER", "LOGICAL", "CURRENT", "STORED"])?;
    for namespace in namespaces {
        row(&name(namespace), namespace, &namespace["stored"])?;
    }
    if more > 0 {
        output.line(&format!("… and {more} more"))?;
    }
    row("all", whole, &whole["disk"]["objects"])?;
    Ok(())
}

/// Bars under a title, the longest for the largest; what is nothing is left out.
fn bars(output: Output, title: &str, parts: &[(&str, u64)]) -> anyhow::Result<()> {
    let largest = parts.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0).max(1);
    output.line("")?;
    output.line(&format!("{title}:"))?;
    for (name, bytes) in parts.iter().filter(|(_, bytes)| *bytes > 0) {
        output.line(&format!("  {name:<12} {:>12}  {}", human_bytes(*bytes), bar(*bytes, largest)))?;
    }
    Ok(())
}

/// A bar whose length is the share of the largest, and at least one character.
fn bar(bytes: u64, largest: u64) -> String {
    let length = u128::from(bytes) * u128::from(BAR) / u128::from(largest.max(1));
    "#".repeat(usize::try_from(length).unwrap_or(0).max(1))
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn bars_are_in_proportion_whatever_the_size() {
        assert_eq!(bar(u64::MAX, u64::MAX).len(), 40);
        assert_eq!(bar(u64::MAX / 2, u64::MAX).len(), 19);
        assert_eq!(bar(1, u64::MAX), "#");
    }
}
