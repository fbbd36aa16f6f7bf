//! Resources as text: tables for people, JSON and YAML for programs. Pure, but for the width of the terminal.

mod dns;
mod federation;
mod region;
mod sort;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use hanse_api::answer::{Page, Resource};
use hanse_management::Kind;
use serde::Serialize;
use serde_json::json;

pub(crate) use dns::explained;
pub(crate) use federation::federation;
pub(crate) use region::region;
pub(crate) use sort::SortBy;
pub(crate) use yaml::yaml;

use crate::{
    args::{Form, Output},
    out,
};

/// Resources of one kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Section {
    /// Their kind.
    pub(crate) kind: Kind,
    /// The resources.
    pub(crate) items: Vec<Resource>,
    /// A column that the resources do not have in themselves.
    pub(crate) beside: Option<Beside>,
}

/// A column, before the one of the revision.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Beside {
    /// Its title.
    pub(crate) title: &'static str,
    /// Its cells, by the name of the resource.
    pub(crate) cells: BTreeMap<String, String>,
}

/// A list of one kind in the form asked for.
pub(crate) fn listed(kind: Kind, page: &Page, output: Output) -> String {
    sections(&[Section::new(kind, page.items.clone())], page.revision, output)
}

/// Lists of several kinds in the form asked for: a table for each kind, or one page of all.
pub(crate) fn sections(sections: &[Section], revision: u64, output: Output) -> String {
    let page = || {
        let items = sections.iter().flat_map(|section| section.items.iter().cloned());
        Page { items: items.collect(), revision, next: None }
    };
    match output {
        Output::Json => pretty(&page()),
        Output::Yaml => yaml(&page()),
        Output::Name => sections.iter().flat_map(Section::names).collect::<Vec<_>>().join("\n"),
        Output::Table | Output::Wide => {
            let is_one = sections.len() == 1;
            let tables = sections.iter().map(|section| section.table(is_one, output == Output::Wide));
            tables.collect::<Vec<_>>().join("\n\n")
        }
    }
}

/// One resource in the form asked for.
pub(crate) fn resource(kind: Kind, resource: &Resource, output: Output) -> String {
    match output {
        Output::Json => pretty(resource),
        Output::Yaml => yaml(resource),
        Output::Table | Output::Wide | Output::Name => {
            sections(&[Section::new(kind, vec![resource.clone()])], resource.revision, output)
        }
    }
}

impl Section {
    /// Resources and nothing beside them.
    pub(crate) fn new(kind: Kind, items: Vec<Resource>) -> Self {
        Self { kind, items, beside: None }
    }

    /// `KIND/NAME` each, as `get` takes it.
    fn names(&self) -> impl Iterator<Item = String> {
        self.items.iter().map(|item| format!("{}/{}", self.kind.plural(), item.name))
    }

    /// The columns of the kind. Beside tables of other kinds, the names say the kind.
    fn table(&self, is_alone: bool, wide: bool) -> String {
        let (mut titles, mut rows) = (titles(self.kind, wide), self.rows(is_alone, wide));
        if let Some(Beside { title, cells }) = &self.beside {
            let at = titles.iter().position(|title| title == "REVISION").unwrap_or(titles.len());
            titles.insert(at, (*title).to_owned());
            for (row, item) in rows.iter_mut().zip(&self.items) {
                row.insert(at, cells.get(&item.name).cloned().unwrap_or_default());
            }
        }
        table(titles, rows.into_iter())
    }

    fn rows(&self, is_alone: bool, wide: bool) -> Vec<Vec<String>> {
        let columns = self.kind.table(wide);
        // Columns are data: they point into a resource's JSON form.
        let cells = |(item, name): (&Resource, String)| {
            let item = json!(item);
            let mut cells: Vec<String> = columns.iter().map(|column| column.read(&item)).collect();
            if let (Some(first), false) = (cells.first_mut(), is_alone) {
                *first = name;
            }
            cells
        };
        self.items.iter().zip(self.names()).map(cells).collect()
    }
}

fn titles(kind: Kind, wide: bool) -> Vec<String> {
    kind.table(wide).iter().map(|column| column.title.to_owned()).collect()
}

/// Tables whose rows come one after another.
#[derive(Debug)]
pub(crate) struct Rows {
    wide: bool,
    /// The width of each column.
    widths: Vec<(Kind, Vec<usize>)>,
}

impl Rows {
    /// Tables of these kinds, as wide as what is there asks for.
    pub(crate) fn of(kinds: &[Kind], sections: &[Section], wide: bool) -> Self {
        let widths = kinds.iter().map(|kind| {
            let of_kind = sections.iter().filter(|section| section.kind == *kind);
            let rows = of_kind.flat_map(|section| section.rows(kinds.len() == 1, wide));
            let mut widths: Vec<usize> = Vec::new();
            for row in std::iter::once(titles(*kind, wide)).chain(rows) {
                widths.resize(row.len(), 0);
                let wider = |(width, cell): (&mut usize, &String)| *width = cell.chars().count().max(*width);
                widths.iter_mut().zip(&row).for_each(wider);
            }
            (*kind, widths)
        });
        Self { wide, widths: widths.collect() }
    }

    fn is_alone(&self) -> bool {
        self.widths.len() == 1
    }

    /// The titles of each kind and what is there.
    pub(crate) fn tables(&self, sections: &[Section]) -> String {
        let tables = self.widths.iter().map(|(kind, _)| {
            let of_kind = sections.iter().filter(|section| section.kind == *kind);
            let rows = of_kind.flat_map(|section| section.rows(self.is_alone(), self.wide));
            let lines = std::iter::once(titles(*kind, self.wide)).chain(rows);
            lines.map(|row| self.line(*kind, row.into_iter())).collect::<Vec<_>>().join("\n")
        });
        tables.collect::<Vec<_>>().join("\n\n")
    }

    /// One more row.
    pub(crate) fn row(&self, kind: Kind, item: &Resource) -> String {
        let section = Section::new(kind, vec![item.clone()]);
        let cells = section.rows(self.is_alone(), self.wide).into_iter().flatten();
        self.line(kind, cells)
    }

    /// A row of a resource that has no columns any more.
    pub(crate) fn gone(&self, kind: Kind, name: &str, why: String) -> String {
        let name = if self.is_alone() { name.to_owned() } else { format!("{}/{name}", kind.plural()) };
        self.line(kind, [name, why].into_iter())
    }

    fn line(&self, kind: Kind, cells: impl Iterator<Item = String>) -> String {
        let of_kind = self.widths.iter().find(|(of, _)| *of == kind);
        let widths = of_kind.into_iter().flat_map(|(_, widths)| widths).copied().chain(std::iter::repeat(0));
        let padded = cells.zip(widths).map(|(cell, width)| {
            let cell = if cell.is_empty() { "-".to_owned() } else { cell };
            format!("{cell:width$}  ")
        });
        padded.collect::<String>().trim_end().to_owned()
    }
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

/// Columns with two blanks between them and nothing else. On a terminal, cells are broken into lines where a row would be wider.
pub(crate) fn table(header: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    table_within(out::width(), header, rows)
}

fn table_within(width: Option<u16>, header: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let columns = header.len();
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
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
