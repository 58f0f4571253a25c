//! The configuration file: TOML, read with the line of every setting.

use super::merge::{Fault, Origin};
use super::table::{self, Kind, SETTINGS};
use super::units::Value;
use std::collections::BTreeMap;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Values of a file with their origins; faults are collected so that all of them can be shown at once.
pub(super) fn read(
    path: &Path,
    text: &str,
    values: &mut BTreeMap<&'static str, (Value, Origin)>,
    faults: &mut Vec<Fault>,
) {
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            faults.push(Fault::at(path, line, error.message().to_owned()));
            return;
        }
    };
    let mut reader = Reader { path, text, values, faults };
    reader.table("", table.get_ref());
    faults.sort_by_key(|fault| match &fault.origin {
        Origin::File { line, .. } => *line,
        _ => 0,
    });
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    values: &'a mut BTreeMap<&'static str, (Value, Origin)>,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            let line = line_of(self.text, name.span().start);
            match (table::find(&key), value.get_ref()) {
                (None, DeValue::Table(inner)) if is_group(&key) => self.table(&format!("{key}."), inner),
                (None, _) => self.faults.push(Fault::at(self.path, line, unknown(&key))),
                (Some(setting), value) => {
                    let parsed = text_of(setting.kind, value).ok_or_else(|| {
                        format!(
                            "{} cannot be a {}; possible: {}",
                            setting.key,
                            value.type_str(),
                            setting.form()
                        )
                    });
                    match parsed.and_then(|text| setting.parse(&text)) {
                        Ok(value) => {
                            let origin = Origin::File { path: self.path.to_owned(), line };
                            self.values.insert(setting.key, (value, origin));
                        }
                        Err(reason) => self.faults.push(Fault::at(self.path, line, reason)),
                    }
                }
            }
        }
    }
}

fn is_group(key: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// What to say about a name that is no setting.
pub(super) fn unknown(key: &str) -> String {
    let groups = SETTINGS.iter().filter_map(|setting| setting.key.split_once('.').map(|(group, _)| group));
    let known = SETTINGS.iter().map(|setting| setting.key).chain(groups);
    match table::nearest(key, known) {
        Some(near) => format!("there is no setting {key}; did you mean {near}?"),
        None => format!("there is no setting {key}; `jsfs config show` lists all"),
    }
}

/// The text that a setting is parsed from.
fn text_of(kind: Kind, value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Boolean(is_on) if matches!(kind, Kind::Switch) => Some(is_on.to_string()),
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string())
        }
        DeValue::Array(items) => {
            let separator = if matches!(kind, Kind::Hosts | Kind::Addresses) { "," } else { ":" };
            let text = |item: &Spanned<DeValue<'_>>| {
                item.get_ref().as_str().filter(|text| !text.contains(separator)).map(str::to_owned)
            };
            items.iter().map(text).collect::<Option<Vec<_>>>().map(|texts| texts.join(separator))
        }
        _ => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
