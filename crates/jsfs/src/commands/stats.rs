//! `stats`: where the space of a node goes, as a table and as bars.

use crate::maintenance::gather;
use crate::output::{Output, human_bytes, one_line};
use crate::session::Session;
use serde_json::{Value, json};

/// The longest bar, in characters.
const BAR: u64 = 40;
/// Namespaces that have a bar of their own.
const BARS_MAX: usize = 10;
/// Names longer than this make the columns after them uneven.
const NAME_MAX: usize = 40;

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
    let path = path.map(|name| (name.to_owned(), number(&whole[name])));
    bars(session.output, "from what was put to what the disk holds", &path)?;
    if namespaces.len() > 1 {
        bars(session.output, "whose objects take that", &largest(&namespaces, &whole))?;
    }
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
    let parts = parts.map(|(name, bytes)| (name.to_owned(), bytes));
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
    let width = namespaces.iter().map(|namespace| name(namespace).chars().count());
    let width = width.max().unwrap_or(0).clamp("NAMESPACE".len(), NAME_MAX);
    let line = |name: &str, counts: [String; 2], sizes: [String; 5]| {
        let counts = counts.map(|cell| format!("  {cell:>8}")).concat();
        let sizes = sizes.map(|cell| format!("  {cell:>11}")).concat();
        output.line(&format!("{name:<width$}{counts}{sizes}"))
    };
    let row = |name: &str, of: &Value, part: &Value| {
        let counts = ["objects", "versions"].map(|what| number(&of[what]).to_string());
        let [logical, current] = ["logical", "current"].map(|what| human_bytes(number(&of[what])));
        let [unique, compressed, stored] =
            ["unique", "compressed", "stored"].map(|what| human_bytes(number(&part[what])));
        line(name, counts, [logical, current, unique, compressed, stored])
    };
    let heads = ["LOGICAL", "CURRENT", "UNIQUE", "COMPRESSED", "STORED"];
    line("NAMESPACE", ["OBJECTS", "EARLIER"].map(str::to_owned), heads.map(str::to_owned))?;
    for namespace in namespaces {
        row(&name(namespace), namespace, namespace)?;
    }
    if more > 0 {
        output.line(&format!("… and {more} more"))?;
    }
    row("all", whole, &whole["of_objects"])?;
    Ok(())
}

fn name(namespace: &Value) -> String {
    one_line(namespace["namespace"].as_str().unwrap_or("?")).into_owned()
}

/// The namespaces that take most, and what all others take together.
fn largest(namespaces: &[Value], whole: &Value) -> Vec<(String, u64)> {
    let named = namespaces.iter().take(BARS_MAX);
    let mut parts: Vec<_> = named.map(|one| (name(one), number(&one["stored"]))).collect();
    let told: u64 = parts.iter().map(|(_, bytes)| bytes).sum();
    if namespaces.len() > BARS_MAX {
        parts.push(("all others".to_owned(), number(&whole["of_objects"]["stored"]).saturating_sub(told)));
    }
    parts
}

/// Bars under a title, the longest for the largest; what is nothing is left out.
fn bars(output: Output, title: &str, parts: &[(String, u64)]) -> anyhow::Result<()> {
    let largest = parts.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0).max(1);
    let width = parts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).clamp(12, NAME_MAX);
    output.line("")?;
    output.line(&format!("{title}:"))?;
    for (name, bytes) in parts.iter().filter(|(_, bytes)| *bytes > 0) {
        output.line(&format!("  {name:<width$} {:>12}  {}", human_bytes(*bytes), bar(*bytes, largest)))?;
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
    use super::{BARS_MAX, bar, largest};
    use serde_json::{Value, json};

    #[test]
    fn the_largest_namespaces_are_named_and_the_others_are_together() {
        let some = |count: u64| -> Vec<Value> {
            (0..count).map(|at| json!({"namespace": format!("n{at}"), "stored": 100 - at})).collect()
        };
        let whole = |bytes: u64| json!({"of_objects": {"stored": bytes}});
        let most = BARS_MAX as u64;
        assert_eq!(largest(&some(2), &whole(199)), [("n0".to_owned(), 100), ("n1".to_owned(), 99)]);
        assert_eq!(largest(&some(most), &whole(955)).len(), BARS_MAX);
        let parts = largest(&some(most + 2), &whole(1_134));
        assert_eq!(parts.len(), BARS_MAX + 1);
        assert_eq!(parts[BARS_MAX], ("all others".to_owned(), 90 + 89));
    }

    #[test]
    fn bars_are_in_proportion_whatever_the_size() {
        assert_eq!(bar(u64::MAX, u64::MAX).len(), 40);
        assert_eq!(bar(u64::MAX / 2, u64::MAX).len(), 19);
        assert_eq!(bar(1, u64::MAX), "#");
    }
}
