use std::io::Cursor;

use super::*;
use crate::{client_config::default_organization, exit::exit_of};

const ORGANIZATION: &str = "kind: Organization\nname: NAME\nspec: {}\n";

fn organization(name: &str) -> String {
    ORGANIZATION.replace("NAME", name)
}

fn from_stdin(text: &str) -> anyhow::Result<Vec<Sourced>> {
    read_with(&["-".into()], &default_organization(), &mut Cursor::new(text.to_owned()))
}

fn names(manifests: &[Sourced]) -> Vec<String> {
    manifests.iter().map(|sourced| sourced.manifest.key.name.to_string()).collect()
}

#[test]
fn directories_are_read_sorted_and_below() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: String| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("b.yaml", organization("b"));
    write("a/z.yml", format!("{}---\n{}", organization("a1"), organization("a2")));
    write("a/y.json", r#"{"kind": "Organization", "name": "y", "spec": {}}"#.into());
    write("notes.txt", "not a manifest".into());
    write(".git/c.yaml", "not: read".into());
    write("a/kustomization.yaml", "resources: [z.yml]".into());
    write("kustomization.yml", "resources: [b.yaml]".into());
    let manifests = read(&[dir.path().display().to_string()], &default_organization()).unwrap();
    assert_eq!(names(&manifests), ["y", "a1", "a2", "b"]);
}

#[test]
fn manifests_come_from_standard_input_and_are_sent_as_json() {
    let text = "kind: Application\nname: shop\nlabels: {team: x}\nrevision: 3\nspec: {owner: me}\n";
    let manifests = from_stdin(text).unwrap();
    let expected = json!({
        "kind": "Application", "name": "shop", "spec": {"owner": "me"}, "organization": "default",
        "labels": {"team": "x"}, "revision": 3,
    });
    assert_eq!(manifests[0].to_json(), expected);
}

#[test]
fn errors_name_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broken.yaml");
    fs::write(&file, "kind: Organization\nname: [\n").unwrap();
    let error = read(&[file.display().to_string()], &default_organization()).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("broken.yaml: line "), "{said}");
    assert_eq!(exit_of(&error).code(), 1);

    let said = from_stdin("kind: Application\nname: a\nspec: {colour: red}\n").unwrap_err().to_string();
    assert!(said.contains("standard input: ") && said.contains("colour"), "{said}");
    let said = read(&["/does/not/exist".into()], &default_organization()).unwrap_err().to_string();
    assert!(said.starts_with("cannot read /does/not/exist:"), "{said}");
    assert!(from_stdin("").is_err());
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("huge.yaml");
    // Sparse: it has 50 MB, and none of them is read.
    fs::File::create(&file).unwrap().set_len(50_000_000).unwrap();
    let said = read(&[file.display().to_string()], &default_organization()).unwrap_err().to_string();
    assert!(said.contains("has 47.7 MiB: too large; one request carries at most 16 MiB"), "{said}");

    struct Endless;
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            buffer.fill(b' ');
            Ok(buffer.len())
        }
    }
    let said = read_with(&["-".into()], &default_organization(), &mut Endless).unwrap_err().to_string();
    assert!(said.starts_with("standard input is larger than 16 MiB"), "{said}");
}

#[test]
fn refusals_name_the_file() {
    let sourced = |source: &str, name: &str| {
        let mut manifests = from_stdin(&organization(name)).unwrap();
        Sourced { source: source.to_owned(), ..manifests.remove(0) }
    };
    let manifests = [sourced("a.yaml", "a"), sourced("b.yaml", "b"), sourced("c.yaml", "b")];
    let said = |field: &str| {
        let problem = Problem::new(hanse_management::ProblemName::Invalid, "it is wrong").at(field);
        located(Failure::from(problem).into(), &manifests).to_string()
    };
    assert_eq!(said("Organization a: spec.x"), "a.yaml: Organization a: spec.x: it is wrong");
    assert_eq!(said("Organization b"), "b.yaml and c.yaml: Organization b: it is wrong");
    assert_eq!(said("item 2: spec"), "b.yaml: item 2: spec: it is wrong");
    assert_eq!(said("item 9: spec"), "item 9: spec: it is wrong");
    assert_eq!(said("query: selector"), "query: selector: it is wrong");
    assert_eq!(located(anyhow::anyhow!("other"), &manifests).to_string(), "other");
}

#[test]
fn the_documented_examples_can_be_read() {
    let document = include_str!("../../../docs/manifests.md");
    let examples = document.split("```yaml\n").skip(1).filter_map(|text| text.split("```").next());
    let mut read = 0;
    for example in examples {
        read += from_stdin(example).unwrap_or_else(|error| panic!("{error}\n{example}")).len();
    }
    assert_eq!(read, 29);
    assert_eq!(from_stdin(include_str!("../../../docs/examples/gslb.yaml")).unwrap().len(), 3);
}
