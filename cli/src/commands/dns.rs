//! `hanse dns ask`: asks a responder why it answers as it does.

use std::path::Path;

use hanse_dns::{
    Config, Explained,
    geo::{self, About, GeoError},
};
use http::StatusCode;
use time::OffsetDateTime;

use super::admin_port;
use crate::{
    args::{AddressType, Output},
    exit::{Exit, Failure},
    out::{data, say},
    render,
};

/// The largest answer: each rule of a host names its regions.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Shows how the responder would answer a client.
pub(crate) async fn ask_responder(
    config: &Config,
    name: &str,
    client: &str,
    record_type: Option<AddressType>,
    draw: Option<u64>,
    output: Output,
) -> anyhow::Result<()> {
    let address = &config.listen.admin;
    let failure = |why: String| {
        let remedy = format!(
            "is the responder running? its admin port is listen.admin of its configuration, {address}"
        );
        Failure::new(Exit::NoQuorum, format!("no answer from the responder at {address}: {why}"))
            .remedy(remedy)
    };
    let page = page(name, client, record_type, draw);
    let (status, body) = admin_port::get(address, &page, MAX_ANSWER_BYTES).await.map_err(failure)?;
    match status {
        StatusCode::OK => {}
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND if !body.is_empty() => {
            let exit = if status == StatusCode::NOT_FOUND { Exit::NotFound } else { Exit::Usage };
            return Err(Failure::new(exit, String::from_utf8_lossy(&body).trim().to_owned()).into());
        }
        status => return Err(failure(format!("it says {status}; it may not have joined yet")).into()),
    }
    let explained: Explained = serde_json::from_slice(&body)
        .map_err(|error| failure(format!("it is no responder of this release: {error}")))?;
    data(match output {
        Output::Table | Output::Wide => render::explained(&explained),
        Output::Json => render::pretty(&explained),
        Output::Yaml => render::yaml(&explained),
        Output::Name => {
            return Err(Failure::usage("an answer has no names; use table, json or yaml").into());
        }
    })?;
    Ok(())
}

/// Puts a database of places where the responder reads it.
pub(crate) fn import_geo(config: &Config, file: &Path) -> anyhow::Result<()> {
    let to = config.geo_file();
    let refused = |error: GeoError| match error {
        GeoError::Io { .. } => Failure::new(Exit::General, error.to_string()),
        GeoError::Large(_) | GeoError::Damaged(_) | GeoError::NoCoordinates(_) => {
            Failure::usage(format!("{}: {error}", file.display()))
        }
    };
    let About { database_type, built, nodes, sha256 } = geo::import(file, &to).map_err(refused)?;
    let built = i64::try_from(built).ok().and_then(|built| OffsetDateTime::from_unix_timestamp(built).ok());
    let built = built.map_or_else(|| "an unknown day".to_owned(), |built| built.date().to_string());
    say(format!("{database_type} of {built}, {nodes} nodes, SHA-256 {sha256}"));
    say(format!("it is in place at {}; a running responder takes it up within seconds", to.display()));
    Ok(())
}

/// The page of the admin port.
fn page(name: &str, client: &str, record_type: Option<AddressType>, draw: Option<u64>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("name", name).append_pair("as", client);
    match record_type {
        None => {}
        Some(AddressType::A) => drop(query.append_pair("type", "A")),
        Some(AddressType::Aaaa) => drop(query.append_pair("type", "AAAA")),
    }
    if let Some(draw) = draw {
        query.append_pair("draw", &draw.to_string());
    }
    format!("/ask?{}", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_goes_as_it_is() {
        assert_eq!(
            page("orders.example", "10.1.0.0/16", None, Some(7)),
            "/ask?name=orders.example&as=10.1.0.0%2F16&draw=7"
        );
        assert_eq!(
            page("a&as=b", "::1", Some(AddressType::Aaaa), None),
            "/ask?name=a%26as%3Db&as=%3A%3A1&type=AAAA"
        );
    }
}
