//! How a responder answers, for people.

use hanse_dns::Explained;

use super::table;

/// Each rule with what it looked at and left, and then the answer.
pub(crate) fn explained(answer: &Explained) -> String {
    let header = ["RULE", "LOOKED AT", "LEFT"].map(str::to_owned).to_vec();
    let rows = answer.rules.iter().map(|rule| {
        let name = match rule.step {
            Some(step) => format!("{} (step {})", rule.rule, step + 1),
            None => rule.rule.clone(),
        };
        let left: Vec<&str> = rule.left.iter().map(|region| region.as_str()).collect();
        vec![name, rule.looked_at.clone(), left.join(", ")]
    });
    let addresses: Vec<String> = answer.addresses.iter().map(ToString::to_string).collect();
    let addresses = if addresses.is_empty() { "no address".to_owned() } else { addresses.join(", ") };
    let holds = if answer.by_client { "clients of this network" } else { "every client" };
    format!(
        "{} for {}, draw {}\n\n{}\n\n{addresses}\nfor {holds}, {} s",
        answer.host,
        answer.client,
        answer.draw,
        table(header, rows),
        answer.ttl,
    )
}

#[cfg(test)]
mod tests {
    use hanse_dns::RuleTrace;
    use hanse_topology::Name;

    use super::*;

    #[test]
    fn rules_come_before_the_answer() {
        let rule = |rule: &str, step, left: &str| RuleTrace {
            rule: rule.to_owned(),
            step,
            looked_at: "eu-west 100%".to_owned(),
            left: vec![Name::new(left).unwrap()],
        };
        let text = explained(&Explained {
            host: "orders.gslb.example.com".to_owned(),
            client: "10.1.0.0/16".to_owned(),
            draw: 7,
            rules: vec![rule("not-serving", None, "eu-west"), rule("geo", Some(0), "us-east")],
            addresses: vec!["192.0.2.1".parse().unwrap()],
            by_client: true,
            ttl: 30,
        });
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                "orders.gslb.example.com for 10.1.0.0/16, draw 7",
                "",
                "RULE          LOOKED AT     LEFT",
                "not-serving   eu-west 100%  eu-west",
                "geo (step 1)  eu-west 100%  us-east",
                "",
                "192.0.2.1",
                "for clients of this network, 30 s",
            ]
        );
    }
}
