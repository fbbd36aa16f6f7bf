//! `hanse whoami`: what the present token is.

use hanse_api::answer::WhoAmI;

use crate::{args::Output, client::Client, out::data, render};

/// Shows the token of this client.
pub(crate) async fn whoami(client: &Client, output: Output) -> anyhow::Result<()> {
    data(shown(&client.whoami().await?, output))?;
    Ok(())
}

fn shown(whoami: &WhoAmI, output: Output) -> String {
    match output {
        Output::Json => render::pretty(whoami),
        Output::Yaml => render::yaml(whoami),
        Output::Name => whoami.token.clone(),
        Output::Table | Output::Wide => {
            let titles = ["TOKEN", "OWNER", "ROLE", "ORGANIZATION", "EXPIRES"].map(str::to_owned);
            let row = vec![
                whoami.token.clone(),
                whoami.owner.clone(),
                whoami.role.clone(),
                whoami.organization.clone().unwrap_or_else(|| "all".to_owned()),
                whoami.expires_at.clone().unwrap_or_else(|| "never".to_owned()),
            ];
            render::table(titles.into(), std::iter::once(row))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_with_what_it_reaches() {
        let whoami = WhoAmI {
            token: "ci".into(),
            owner: "build".into(),
            role: "publisher".into(),
            organization: Some("shop".into()),
            ..WhoAmI::default()
        };
        let table = shown(&whoami, Output::Table);
        let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row, ["ci", "build", "publisher", "shop", "never"]);
        assert!(shown(&WhoAmI { organization: None, ..whoami }, Output::Table).contains("all"));
    }
}
