//! `hanse agent region`: asks an agent, and no control node.

use hanse_agent::{Config, RegionPage};
use http::StatusCode;

use super::admin_port;
use crate::{
    args::Output,
    exit::{Exit, Failure},
    out::data,
    render,
};

/// The largest answer: what an agent keeps of its region at most, as JSON.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Shows what the agent knows of its region.
pub(crate) async fn region(config: &Config, output: Output) -> anyhow::Result<()> {
    let address = &config.listen.admin;
    let remedy =
        format!("is the agent running? its admin port is listen.admin of its configuration, {address}");
    let failure = |why: String| {
        Failure::new(Exit::NoQuorum, format!("no answer from the agent at {address}: {why}")).remedy(&remedy)
    };
    let (status, body) = admin_port::get(address, "/region", MAX_ANSWER_BYTES).await.map_err(failure)?;
    match status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => {
            let failure = Failure::new(Exit::NoQuorum, format!("the agent at {address} has not joined yet"));
            return Err(failure.remedy(format!("curl -s http://{address}/readyz says why")).into());
        }
        status => return Err(failure(format!("it says {status}")).into()),
    }
    let page: RegionPage = serde_json::from_slice(&body)
        .map_err(|error| failure(format!("it is no agent of this release: {error}")))?;
    data(match output {
        Output::Table | Output::Wide => render::region(&page),
        Output::Json => render::pretty(&page),
        Output::Yaml => render::yaml(&page),
        Output::Name => return Err(Failure::usage("a region has no names; use table, json or yaml").into()),
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::exit::exit_of;

    fn config(admin: &str) -> Config {
        toml::from_str(&format!(
            "name = \"a\"\nregion = \"eu-west\"\ndata_dir = \"data\"\nservers = []\n\
             [listen]\nfederation = \"127.0.0.1:0\"\nenrolment = \"127.0.0.1:0\"\nadmin = \"{admin}\"\n"
        ))
        .unwrap()
    }

    async fn asked_of(answer: &str) -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer = answer.to_owned();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /region HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        region(&config(&address), Output::Json).await
    }

    #[tokio::test]
    async fn an_agent_that_does_not_answer_is_named_with_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = region(&config(&address), Output::Table).await.unwrap_err();
        assert_eq!(exit_of(&error), Exit::NoQuorum);
        assert!(error.to_string().contains(&format!("no answer from the agent at {address}")), "{error}");

        let error = asked_of("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await.unwrap_err();
        assert!(error.to_string().contains("has not joined yet"), "{error}");
        let error = asked_of("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap_err();
        assert!(error.to_string().contains("it is no agent of this release"), "{error}");
        let page = r#"{"region":"eu-west","agent":"a","relays":[],"agents":[],"traffic":[]}"#;
        let length = page.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{page}");
        asked_of(&answer).await.unwrap();
    }
}
