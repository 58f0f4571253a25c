//! `new`: a directory with a program that runs, and how to go on.

use crate::cli::{New, Template};
use crate::exit::{Exit, Usage};
use crate::output::Output;
use anyhow::Context;
use std::path::Path;

/// A file of a template: its name and what is in it.
type File = (&'static str, &'static str);

const JS: &[File] = &[
    ("README.md", include_str!("../../templates/js/README.md")),
    ("api.js", include_str!("../../templates/js/api.js")),
    ("index.html", include_str!("../../templates/js/index.html")),
    ("jsfs.json", include_str!("../../templates/js/jsfs.json")),
];
const RUST: &[File] = &[
    ("README.md", include_str!("../../templates/rust/README.md")),
    ("Cargo.toml", include_str!("../../templates/rust/Cargo.toml.in")),
    ("src/main.rs", include_str!("../../templates/rust/main.rs.in")),
];
const C: &[File] = &[
    ("README.md", include_str!("../../templates/c/README.md")),
    ("hello.c", include_str!("../../templates/c/hello.c")),
];

/// What stands for the name of the directory in a template.
const NAME: &str = "{{name}}";

/// Makes the directory; what is there already is never written over.
pub(crate) fn run(arguments: &New, output: Output) -> anyhow::Result<Exit> {
    let directory = &arguments.directory;
    let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(is_plain) {
        let text = format!(
            "{name:?} cannot be the name of a program; use small letters, digits and -, as in my-app"
        );
        return Err(Usage(text).into());
    }
    if directory.exists() {
        return Err(Usage(format!("{} is there already; choose another name", directory.display())).into());
    }
    let files = match arguments.template {
        Template::Js => JS,
        Template::Rust => RUST,
        Template::C => C,
    };
    for (file, content) in files {
        write(&directory.join(file), &content.replace(NAME, name))?;
    }
    let shown = directory.display();
    output.done(&format!("{shown} is made; {shown}/README.md has the next three commands"))?;
    output.json(&serde_json::json!({ "directory": directory, "files": files.iter().map(|(file, _)| file).collect::<Vec<_>>() }))?;
    Ok(Exit::Done)
}

fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", path.display());
    if let Some(above) = path.parent() {
        std::fs::create_dir_all(above).with_context(failed)?;
    }
    std::fs::write(path, content).with_context(failed)
}
