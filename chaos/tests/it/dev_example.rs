//! What `hanse dev` shows on its first start works when it is pasted.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hanse_chaos::{Client, Federation};

#[tokio::test]
async fn every_line_that_dev_prints_works_when_pasted() -> Result<()> {
    let federation = Federation::start_with_example(
        &["--control-nodes", "3", "--regions", "1"],
        &[("HANSE_GATEWAY_LIMITS_MAX_BODY_BYTES", "9")],
    )?;
    let log = federation.data_dir().with_file_name("dev.log");
    let deadline = Instant::now() + Duration::from_secs(10); // it is printed after `dev.json` is there
    let said = loop {
        let said = fs::read_to_string(&log)?;
        if said.contains("Ctrl-C stops everything") {
            break said;
        }
        ensure!(Instant::now() < deadline, "{said}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let lines: Vec<_> = said
        .lines()
        .skip_while(|line| !line.starts_with("try, in another terminal"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(str::trim)
        .collect();
    ensure!(lines.first().is_some_and(|line| line.starts_with("curl -s ")), "{lines:?}");
    ensure!(lines.len() == 8, "{lines:?}");
    // Each line as a shell that has run those before it; the shell's variables are kept in a file.
    let kept = federation.data_dir().with_file_name("variables");
    fs::write(&kept, "")?;
    for line in lines {
        let script = format!(". {0}\nset -e\n{line}\nexport KEY\nexport -p > {0}", kept.display());
        let output = Command::new("sh").args(["-c", &script]).output()?;
        let printed = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{line}: {printed}{}", String::from_utf8_lossy(&output.stderr));
        if line.starts_with("curl") {
            ensure!(printed.contains(r#""path":"/pets""#), "{line}: {printed}");
        }
    }

    let gateway = &federation.gateways()?[0].1;
    let url = format!("{gateway}/petshop/pets");
    let client = Client::new(None)?;
    ensure!(client.call("POST", &url, &[], "123456789").await?.status == 200);
    let refused = client.call("POST", &url, &[], "1234567890").await?;
    ensure!(refused.status == 413, "the variable did not reach the gateway: {refused:?}");
    Ok(())
}

#[test]
fn dev_refuses_what_it_would_ignore_or_break() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    fs::write(temporary.path().join("thesis.txt"), "kept")?;
    let dev = |variable: (&str, &str)| {
        Command::new(hanse_chaos::binary()?)
            .args(["dev", "--data-dir"])
            .arg(temporary.path())
            .env(variable.0, variable.1)
            .output()
            .context("running hanse dev")
    };
    for (variable, code, words) in [
        (("HANSE_LOG", "info"), 5, "is not empty"),
        (("HANSE_GATEWAY_LISTEN_HTTP", "127.0.0.1:1"), 2, "HANSE_GATEWAY_LISTEN_HTTP is set"),
        (("HANSE_SERVER_NAME", "x"), 2, "HANSE_SERVER_NAME is set"),
    ] {
        let output = dev(variable)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(code) && said.contains(words), "{variable:?}: {said}");
    }
    ensure!(fs::read_dir(temporary.path())?.count() == 1, "something was made");
    Ok(())
}
