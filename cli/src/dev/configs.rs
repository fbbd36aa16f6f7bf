//! The configuration files of the processes. Pure but for writing them.

use anyhow::Context as _;
use hanse_topology::Exposure;
use serde_json::{Map, Value, json};

use super::{
    data_dir::DataDir,
    own,
    plan::{Face, Plan, ProcessSpec, Role},
};
use crate::client_config::write_private;

/// Writes the file of one process. The sample upstream has none.
pub(super) fn write(dir: &DataDir, plan: &Plan, process: &ProcessSpec) -> anyhow::Result<()> {
    let name = process.name.as_str();
    let Some(content) = content(dir, plan, process) else { return Ok(()) };
    let path = dir.config(name);
    let text = toml::to_string(&content).with_context(|| format!("writing the configuration of {name}"))?;
    own::dir(&dir.node(name))?;
    write_private(&path, text.as_bytes())
}

/// What the file says.
fn content(dir: &DataDir, plan: &Plan, process: &ProcessSpec) -> Option<Value> {
    let name = process.name.as_str();
    let mut content = json!({"name": name, "data_dir": dir.data(name)});
    let all = |role: Role, face: Face| {
        plan.of_role(role).filter_map(|other| other.address(face)).collect::<Vec<_>>()
    };
    match process.role {
        Role::Upstream => return None,
        Role::Server => {}
        Role::Agent => {
            content["region"] = json!(process.region);
            content["servers"] = json!(all(Role::Server, Face::Federation));
            content["enrolment"] = json!(all(Role::Server, Face::Enrolment));
            content["join_token_file"] = json!(dir.join_token(name));
        }
        Role::Gateway | Role::Dns => {
            // The agent of its own host first.
            let mut agents: Vec<_> = process.region.iter().flat_map(|region| plan.agents(region)).collect();
            agents.sort_by_key(|agent| agent.host != process.host);
            let addresses = |face| agents.iter().filter_map(|agent| agent.address(face)).collect::<Vec<_>>();
            content["agents"] = json!(addresses(Face::Federation));
            content["enrolment"] = json!(addresses(Face::Enrolment));
            content["join_token_file"] = json!(dir.join_token(name));
            if let (Role::Gateway, Some(address)) = (process.role, process.address(Face::Http)) {
                let url = format!("http://{address}");
                content["advertise"] = json!([{"url": url, "exposure": process.exposure}]);
            }
            if plan.access_logs && process.role == Role::Gateway {
                content["access_log"] = json!({"file": dir.access_log(name)});
            }
        }
    }
    let faces = process.ports.keys().filter_map(|face| {
        let key = serde_json::to_value(face).ok()?.as_str()?.to_owned();
        let address = process.address(*face)?;
        Some((
            key,
            match face {
                // A responder may listen on several addresses.
                Face::Dns => json!([address]),
                Face::Http | Face::Https if process.exposure == Exposure::Internal => {
                    json!({"address": address, "exposure": process.exposure})
                }
                _one => json!(address),
            },
        ))
    });
    content["listen"] = Value::Object(faces.collect::<Map<_, _>>());
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_reads_its_file() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::make(temporary.path()).unwrap();
        let mut plan = Plan::new(3, 2);
        plan.choose_ports(Ok).unwrap();
        plan.access_logs = true;
        for process in &plan.processes {
            write(&dir, &plan, process).unwrap();
            let text = std::fs::read_to_string(dir.config(process.name.as_str()));
            match process.role {
                Role::Server => drop(toml::from_str::<hanse_server::Config>(&text.unwrap()).unwrap()),
                Role::Agent => drop(toml::from_str::<hanse_agent::Config>(&text.unwrap()).unwrap()),
                Role::Gateway => drop(toml::from_str::<hanse_gateway::Config>(&text.unwrap()).unwrap()),
                Role::Dns => drop(toml::from_str::<hanse_dns::Config>(&text.unwrap()).unwrap()),
                Role::Upstream => assert!(text.is_err()),
            }
        }
        let gateway = content(&dir, &plan, plan.find("gateway-us-east").unwrap()).unwrap();
        assert_eq!(gateway["agents"], json!(["127.0.0.1:7554"]));
        assert_eq!(gateway["advertise"][0]["url"], "http://127.0.0.1:8180");
    }
}
