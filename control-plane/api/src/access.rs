//! Who may do what: a rule for each operation, and one table of what each role may do under it. Pure.
//!
//! An operation declares its rule beside its path: `extensions(("x-hanse-access" = json!("read {kind}")))`. An operation without a
//! rule, and a rule without a line in the table, let no caller in.

use hanse_management::{Kind, Problem, ProblemName, ResourceKey, kinds::TokenRole};
use hanse_state::{Action, Change, projection::Source};
use hanse_topology::Name;
use utoipa::openapi::path::Operation as Described;

/// The extension of an operation that has its rule.
pub(crate) const EXTENSION: &str = "x-hanse-access";

/// What an operation is about, as far as access goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// It asks for no token.
    Open,
    /// It answers every token, and tells nothing of organizations that the token may not see.
    Token,
    /// It reads what belongs to no organization and is of no use to publishers: members, roots, versions, metrics.
    Federation,
    /// It lists resources of a kind: of the organization that the path names. Every token may list Organizations, and is shown those that
    /// it may see.
    List(Kind),
    /// It reads resources of a kind.
    Read(Kind),
    /// It writes a resource of a kind.
    Write(Kind),
    /// It makes many changes; each of them is judged by itself.
    Apply,
    /// It changes the federation, or shows digests of secrets.
    Admin,
}

impl Rule {
    /// The rule that a description declares. `None`: it declares none that is known.
    pub(crate) fn of(described: &Described) -> Option<Self> {
        Self::parse(described.extensions.as_ref()?.get(EXTENSION)?.as_str()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let kind = |word: &str| Kind::ALL.into_iter().find(|kind| kind.as_str() == word);
        Some(match text.split_once(' ') {
            Some(("list", word)) => Self::List(kind(word)?),
            Some(("read", word)) => Self::Read(kind(word)?),
            Some(("write", word)) => Self::Write(kind(word)?),
            Some(_) => return None,
            None => match text {
                "open" => Self::Open,
                "token" => Self::Token,
                "federation" => Self::Federation,
                "apply" => Self::Apply,
                "admin" => Self::Admin,
                _ => return None,
            },
        })
    }

    /// The line of the table that holds for it.
    fn right(self) -> Right {
        match self {
            Self::Open | Self::Token => Right::Look,
            Self::Federation => Right::ReadFederation,
            Self::List(Kind::Organization) => Right::Look,
            Self::List(kind) => Self::Read(kind).right(),
            Self::Read(kind) if !kind.is_global() => Right::ReadOwned,
            Self::Read(Kind::Organization) => Right::ReadOwned,
            Self::Read(kind) if SHARED.contains(&kind) => Right::Look,
            Self::Read(_guarded) => Right::ReadFederation,
            Self::Write(kind) if !kind.is_global() => Right::WriteOwned,
            Self::Apply => Right::Ask,
            Self::Write(_global) => Right::Govern,
            Self::Admin => Right::Govern,
        }
    }

    /// What a token needs for it, for descriptions and refusals. `organization`: in which one.
    pub(crate) fn needs(self, organization: &str) -> String {
        match self.right() {
            Right::Look if self == Self::Open => "no token".to_owned(),
            Right::Look if self == Self::List(Kind::Organization) => {
                "any token; it is shown the organizations that it may see".to_owned()
            }
            Right::Look => "any token".to_owned(),
            Right::ReadOwned => {
                format!(
                    "role admin, role viewer without an organization, or a token of organization {organization}"
                )
            }
            Right::ReadFederation => "role admin, or role viewer without an organization".to_owned(),
            Right::WriteOwned => format!("role admin, or role publisher of organization {organization}"),
            Right::Ask => "role admin or role publisher; each change is judged by itself".to_owned(),
            Right::Govern => "role admin".to_owned(),
        }
    }

    /// The parameter of a path that says the organization.
    pub(crate) fn parameter(self) -> &'static str {
        match self {
            Self::Read(Kind::Organization) | Self::Write(Kind::Organization) => "name",
            _of_what_an_organization_owns => "organization",
        }
    }
}

/// Global kinds that every token may read: the resources of an organization rest on them. A global kind that is not here is for
/// tokens that see the whole federation.
const SHARED: [Kind; 2] = [Kind::Region, Kind::Environment];

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    /// To read what is the same for all.
    Look,
    /// To read what belongs to an organization, or the organization itself.
    ReadOwned,
    /// To read what belongs to no organization and is guarded.
    ReadFederation,
    /// To write what belongs to an organization.
    WriteOwned,
    /// To ask for many changes.
    Ask,
    /// To write what belongs to no organization.
    Govern,
}

/// How far a role goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Nothing,
    /// What belongs to the token's organization.
    Own,
    Everything,
}

/// Who asks: a column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Admin,
    Publisher,
    Viewer,
    ViewerOfOne,
}

/// What each role may do.
const TABLE: [(Right, [(Holder, Reach); 4]); 6] = {
    use Holder::*;
    use Reach::*;
    [
        (
            Right::Look,
            [(Admin, Everything), (Publisher, Everything), (Viewer, Everything), (ViewerOfOne, Everything)],
        ),
        (Right::ReadOwned, [(Admin, Everything), (Publisher, Own), (Viewer, Everything), (ViewerOfOne, Own)]),
        (
            Right::ReadFederation,
            [(Admin, Everything), (Publisher, Nothing), (Viewer, Everything), (ViewerOfOne, Nothing)],
        ),
        (
            Right::WriteOwned,
            [(Admin, Everything), (Publisher, Own), (Viewer, Nothing), (ViewerOfOne, Nothing)],
        ),
        (
            Right::Ask,
            [(Admin, Everything), (Publisher, Everything), (Viewer, Nothing), (ViewerOfOne, Nothing)],
        ),
        (
            Right::Govern,
            [(Admin, Everything), (Publisher, Nothing), (Viewer, Nothing), (ViewerOfOne, Nothing)],
        ),
    ]
};

/// What a token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) role: TokenRole,
    /// The only organization that it reaches; `None`: all of them.
    pub(crate) organization: Option<Name>,
}

impl Access {
    fn holder(&self) -> Holder {
        match (self.role, &self.organization) {
            (TokenRole::Admin, _) => Holder::Admin,
            (TokenRole::Publisher, _) => Holder::Publisher,
            (TokenRole::Viewer, None) => Holder::Viewer,
            (TokenRole::Viewer, Some(_)) => Holder::ViewerOfOne,
        }
    }

    fn reach(&self, rule: Rule) -> Reach {
        let (right, holder) = (rule.right(), self.holder());
        let line = TABLE.iter().find(|(of, _)| *of == right);
        let cell = line.and_then(|(_, cells)| cells.iter().find(|(of, _)| *of == holder));
        cell.map_or(Reach::Nothing, |(_, reach)| *reach)
    }

    /// Whether it allows what `rule` says in `organization`. `None`: the operation names none.
    fn allows(&self, rule: Rule, organization: Option<&str>) -> bool {
        match self.reach(rule) {
            Reach::Nothing => false,
            Reach::Everything => true,
            Reach::Own => {
                organization.is_some() && self.organization.as_ref().map(Name::as_str) == organization
            }
        }
    }

    /// Whether it may see a resource.
    pub(crate) fn may_read(&self, key: &ResourceKey) -> bool {
        self.allows(Rule::Read(key.kind), organization_of(key))
    }

    /// Whether it may see what a runtime resource was made from. `None`: that is not known.
    pub(crate) fn may_read_source(&self, source: Option<&Source>) -> bool {
        let may = |source: &Source| {
            self.allows(Rule::Read(source.kind), source.organization.as_ref().map(Name::as_str))
        };
        self.organization.is_none() || source.is_some_and(may)
    }

    /// Whether it may see any resource of a kind.
    pub(crate) fn may_read_some(&self, kind: Kind) -> bool {
        self.reach(Rule::Read(kind)) != Reach::Nothing
    }
}

/// The organization that decides about a resource: its own, or the resource itself.
fn organization_of(key: &ResourceKey) -> Option<&str> {
    match (&key.organization, key.kind) {
        (Some(organization), _) => Some(organization.as_str()),
        (None, Kind::Organization) => Some(key.name.as_str()),
        (None, _) => None,
    }
}

/// A token that asks for something.
pub(crate) struct Asking<'a> {
    /// The Token's name.
    pub(crate) token: &'a Name,
    pub(crate) access: &'a Access,
}

impl Asking<'_> {
    /// Refuses an operation that the token does not allow. `organization`: the one that the path names.
    pub(crate) fn check(&self, rule: Option<Rule>, organization: Option<&str>) -> Result<(), Problem> {
        match rule {
            Some(rule) if self.access.allows(rule, organization) => Ok(()),
            Some(rule) => Err(self.refused(rule, organization)),
            None => Err(Problem::new(ProblemName::Forbidden, "the operation says nobody may use it")
                .remedy("report it: every operation declares who may use it")),
        }
    }

    /// Refuses changes of which the token does not allow one.
    pub(crate) fn check_changes(&self, changes: &[Change]) -> Result<(), Problem> {
        changes.iter().try_for_each(|change| {
            let kind = change.key.kind;
            let rule = match &change.action {
                Action::Put { .. } | Action::Delete { .. } => Rule::Write(kind),
                Action::Expect { .. } => Rule::Read(kind),
                Action::Restore { .. } => Rule::Admin,
            };
            self.check(Some(rule), organization_of(&change.key))
                .map_err(|problem| problem.at(change.key.to_string()))
        })
    }

    /// Refuses kinds that the token may not read at all.
    pub(crate) fn check_kinds<'k>(&self, kinds: impl IntoIterator<Item = &'k Kind>) -> Result<(), Problem> {
        let mut kinds = kinds.into_iter();
        match kinds.find(|kind| !self.access.may_read_some(**kind)) {
            Some(kind) => Err(self.refused(Rule::Read(*kind), None).at("query: kinds")),
            None => Ok(()),
        }
    }

    fn refused(&self, rule: Rule, organization: Option<&str>) -> Problem {
        let Access { role, organization: own } = self.access;
        let needs = rule.needs(organization.unwrap_or("NAME"));
        let of = own.as_ref().map(|own| format!(" of organization {own}")).unwrap_or_default();
        let detail = format!("it needs {needs}; the token {} has role {role}{of}", self.token);
        Problem::new(ProblemName::Forbidden, detail).remedy(
            "use such a token (hanse whoami shows the present one); an admin makes one: hanse token create --role ROLE \
             --organization NAME",
        )
    }
}

#[cfg(test)]
mod tests;
