//! Arguments of `hanse get`.

use clap::Args;
use hanse_management::Kind;
use hanse_topology::Name;

use super::{Output, flags::OrganizationFlag};
use crate::exit::Failure;

/// `hanse get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// Kinds, singular or plural, with names behind them or none: `apis`, `api orders`, `apis,bindings`; or resources:
    /// `api/orders binding/orders-production`
    #[arg(required = true, value_name = "KIND[,KIND] [NAME]|KIND/NAME")]
    pub(crate) what: Vec<String>,
    /// Only resources with all of these labels: key=value,…
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(crate) selector: Option<String>,
    /// Go on with each change as it happens, until Ctrl-C
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Sort by a column of the table, or by a field: .spec.context
    #[arg(long, value_name = "COLUMN|.FIELD")]
    pub(crate) sort_by: Option<String>,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// Answer from the state that a node has, with or without a quorum
    #[arg(long)]
    pub(crate) stale: bool,
    #[command(flatten)]
    pub(crate) organization: OrganizationFlag,
}

/// What is to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All resources of these kinds.
    Kinds(Vec<Kind>),
    /// These resources.
    Named(Vec<(Kind, Name)>),
}

impl GetArgs {
    /// Reads the kinds and names.
    pub(crate) fn asked(&self) -> Result<Asked, Failure> {
        let mixed = || {
            Failure::usage("kinds with names behind them and KIND/NAME are two ways to write it")
                .remedy("write `hanse get api orders pets`, or `hanse get api/orders api/pets`")
        };
        let slashes = self.what.iter().filter(|word| word.contains('/')).count();
        let asked = match self.what.split_first() {
            Some(_) if slashes == self.what.len() => {
                let named = self.what.iter().map(|word| resource(word)).collect::<Result<Vec<_>, _>>()?;
                Asked::Named(distinct(named))
            }
            Some(_) if slashes > 0 => return Err(mixed()),
            Some((kinds, names)) => {
                let kinds = distinct(kinds.split(',').map(kind).collect::<Result<Vec<_>, _>>()?);
                let names = distinct(names.iter().map(|word| name(word)).collect::<Result<Vec<_>, _>>()?);
                match names.as_slice() {
                    [] => Asked::Kinds(kinds),
                    names => {
                        let named = |kind: Kind| names.iter().map(move |name| (kind, name.clone()));
                        Asked::Named(kinds.into_iter().flat_map(named).collect())
                    }
                }
            }
            None => return Err(Failure::usage("name a kind").remedy("write `hanse get apis`")),
        };
        if self.watch && self.stale && matches!(asked, Asked::Named(_)) {
            return Err(Failure::usage(
                "a node that is asked for one resource does not say how old its answer is",
            )
            .remedy("leave --stale out, or watch the kind"));
        }
        match (&asked, &self.selector) {
            (Asked::Named(_), Some(_)) => Err(Failure::usage(
                "--selector picks from all resources of a kind, and names pick by themselves",
            )
            .remedy("leave one of them out")),
            _ => Ok(asked),
        }
    }
}

/// Each once, where it stands first.
pub(crate) fn distinct<T: PartialEq>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut once = Vec::new();
    for one in all {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
}

fn kind(word: &str) -> Result<Kind, Failure> {
    Kind::from_word(word).map_err(|error| Failure::usage(error.to_string()))
}

fn name(word: &str) -> Result<Name, Failure> {
    Name::new(word).map_err(|error| Failure::usage(error.to_string()))
}

/// `KIND/NAME`.
fn resource(word: &str) -> Result<(Kind, Name), Failure> {
    let (of, named) = word.split_once('/').unwrap_or((word, ""));
    Ok((kind(of)?, name(named)?))
}
