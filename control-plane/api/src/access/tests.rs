use super::*;

fn access(role: TokenRole, organization: Option<&str>) -> Access {
    Access { role, organization: organization.map(|name| Name::new(name).unwrap()) }
}

#[test]
fn every_right_has_a_line_and_every_line_all_holders() {
    for right in
        [Right::Look, Right::ReadOwned, Right::ReadFederation, Right::WriteOwned, Right::Ask, Right::Govern]
    {
        let lines: Vec<_> = TABLE.iter().filter(|(of, _)| *of == right).collect();
        assert_eq!(lines.len(), 1, "{right:?}");
        for holder in [Holder::Admin, Holder::Publisher, Holder::Viewer, Holder::ViewerOfOne] {
            assert_eq!(lines[0].1.iter().filter(|(of, _)| *of == holder).count(), 1, "{right:?} {holder:?}");
        }
    }
}

#[test]
fn a_global_kind_that_nobody_shared_is_for_those_who_see_everything() {
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_global()) {
        let publisher = access(TokenRole::Publisher, Some("shop"));
        assert!(!publisher.allows(Rule::Write(kind), Some("shop")), "{kind}");
        let expected = matches!(kind, Kind::Organization | Kind::Region | Kind::Environment);
        assert_eq!(publisher.may_read_some(kind), expected, "{kind}");
    }
}

#[test]
fn a_rule_that_is_not_known_lets_nobody_in() {
    assert_eq!(Rule::parse("read Token"), Some(Rule::Read(Kind::Token)));
    for unknown in ["", "Admin", "read", "read tokens", "write Nothing", "admin admin"] {
        assert_eq!(Rule::parse(unknown), None, "{unknown:?}");
    }
    let (token, access) = (Name::new("root").unwrap(), access(TokenRole::Admin, None));
    let asking = Asking { token: &token, access: &access };
    assert_eq!(asking.check(None, None).unwrap_err().name, ProblemName::Forbidden);
}

#[test]
fn a_refusal_says_what_is_needed_and_what_the_token_has() {
    let (token, access) = (Name::new("ci").unwrap(), access(TokenRole::Publisher, Some("shop")));
    let asking = Asking { token: &token, access: &access };
    let refused = asking.check(Some(Rule::Write(Kind::Api)), Some("other")).unwrap_err();
    assert_eq!(
        refused.detail,
        "it needs role admin, or role publisher of organization other; the token ci has role publisher of organization shop"
    );
    assert!(refused.remedy.contains("hanse token create"), "{}", refused.remedy);
}

#[test]
fn a_rule_of_one_organization_lets_nobody_in_where_none_is_named() {
    let publisher = access(TokenRole::Publisher, Some("shop"));
    for rule in [Rule::Write(Kind::Plan), Rule::Read(Kind::Plan), Rule::Read(Kind::Organization)] {
        assert!(publisher.allows(rule, Some("shop")) && !publisher.allows(rule, None), "{rule:?}");
    }
    // Of these, the answer or each change is judged by itself.
    assert!(publisher.allows(Rule::Apply, None) && publisher.allows(Rule::List(Kind::Organization), None));
    assert!(!publisher.allows(Rule::List(Kind::Plan), None));
    assert!(!access(TokenRole::Viewer, None).allows(Rule::Apply, None));
}
