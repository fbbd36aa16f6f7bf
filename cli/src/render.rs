//! Resources as text: tables for people, JSON and YAML for programs. Pure.

mod federation;
mod yaml;

#[cfg(test)]
mod tests;

use comfy_table::{Table, presets::NOTHING};
use hanse_api::answer::{Page, Resource};
use hanse_management::Kind;
use serde::Serialize;
use serde_json::json;

pub(crate) use federation::federation;
pub(crate) use yaml::yaml;

use crate::args::{Form, Output};

/// A list in the form asked for.
pub(crate) fn listed(kind: Kind, listed: &Page, output: Output) -> String {
    match output {
        Output::Json => pretty(listed),
        Output::Yaml => yaml(listed),
        Output::Table | Output::Wide | Output::Name => rows(kind, &listed.items, output),
    }
}

/// One resource in the form asked for.
pub(crate) fn resource(kind: Kind, resource: &Resource, output: Output) -> String {
    match output {
        Output::Json => pretty(resource),
        Output::Yaml => yaml(resource),
        Output::Table | Output::Wide | Output::Name => rows(kind, std::slice::from_ref(resource), output),
    }
}

fn rows(kind: Kind, items: &[Resource], output: Output) -> String {
    if output == Output::Name {
        return items
            .iter()
            .map(|item| format!("{}/{}", kind.plural(), item.name))
            .collect::<Vec<_>>()
            .join("\n");
    }
    let columns = kind.table(output == Output::Wide);
    let header = columns.iter().map(|column| column.title.to_owned()).collect();
    // Columns are data: they point into a resource's JSON form.
    let cells = |item: &Resource| {
        let item = json!(item);
        columns.iter().map(|column| column.read(&item)).collect()
    };
    table(header, items.iter().map(cells))
}

/// An answer in the form asked for.
pub(crate) fn formed(value: &impl Serialize, form: Form) -> String {
    match form {
        Form::Json => pretty(value),
        Form::Yaml => yaml(value),
    }
}

/// JSON for people and programs.
pub(crate) fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("an answer has string keys only")
}

/// Columns with two blanks between them and nothing else.
pub(crate) fn table(header: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let columns = header.len();
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    for mut row in rows {
        row.resize(columns, String::new());
        // An empty cell would shift what is cut by blanks, as in `awk`.
        table.add_row(row.into_iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}
