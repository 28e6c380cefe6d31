//! The GitHub action: it is parsed as YAML, and its steps are run like a runner does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{EPOCH, builder, project, python, shipped_twins};
use crate::support::canon::PROGRAM;
use crate::support::contents::sha256;
use crate::support::image::debugfs;
use crate::support::ran::Ran;
use crate::support::tools::try_run;
use crate::support::{Lab, Need, canonical, gate, run};

fn action() -> Value {
    let program = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let json = run(python().args(["-c", program]).arg(project("packaging/github/action.yml")));
    serde_json::from_str(&json).expect("JSON")
}

/// Replaces expressions between `${{` and `}}`.
fn expand(text: &str, value: &dyn Fn(&str) -> String) -> String {
    let mut parts = text.split("${{");
    let mut expanded = parts.next().expect("a first part").to_owned();
    for part in parts {
        let (expression, rest) = part.split_once("}}").expect("an end");
        expanded += &value(expression.trim());
        expanded += rest;
    }
    expanded
}

/// Runs all steps in `folder` with the given inputs; returns the last result, the outputs and the summary.
fn act(folder: &Path, inputs: &[(&str, &str)]) -> (Ran, String, String) {
    let action = action();
    let value = |expression: &str| match expression.split_once('.') {
        Some(("github", "action_path")) => project("packaging/github").display().to_string(),
        Some(("inputs", name)) => {
            let declared = &action["inputs"][name];
            assert!(declared.is_object(), "no input {name}");
            let given = inputs.iter().find(|(input, _)| *input == name).map(|(_, value)| *value);
            let default = || declared["default"].as_str().expect("a value or a default");
            given.unwrap_or_else(default).to_owned()
        }
        _ => panic!("{expression}"),
    };
    let [output, summary] = ["output", "summary"].map(|name| folder.join(format!("github-{name}")));
    for file in [&output, &summary] {
        fs::write(file, "").expect("writing");
    }
    let mut last = None;
    for step in action["runs"]["steps"].as_array().expect("steps") {
        assert_eq!(step["shell"], "bash");
        let mut command = builder("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c"]);
        command.arg(expand(step["run"].as_str().expect("a script"), &value)).current_dir(folder);
        for (name, text) in step["env"].as_object().expect("variables") {
            command.env(name, expand(text.as_str().expect("a string"), &value));
        }
        let ran = try_run(command.env("GITHUB_OUTPUT", &output).env("GITHUB_STEP_SUMMARY", &summary));
        let failed = ran.code != Some(0);
        last = Some(ran);
        if failed {
            break;
        }
    }
    let [output, summary] = [output, summary].map(|file| fs::read_to_string(file).expect("reading"));
    (last.expect("a step"), output, summary)
}

#[test]
fn the_action_uses_what_it_declares() {
    if !gate(&[Need::PythonPackages]) {
        return;
    }
    let action = action();
    assert_eq!(action["runs"]["using"], "composite");
    let declared: BTreeSet<_> = action["inputs"].as_object().expect("inputs").keys().cloned().collect();
    let text = fs::read_to_string(project("packaging/github/action.yml")).expect("reading");
    let used: BTreeSet<_> =
        text.split("inputs.").skip(1).filter_map(|rest| rest.split(' ').next()).map(str::to_owned).collect();
    assert_eq!(declared, used);
    assert!(used.contains("a") && used.contains("b"), "{used:?}");
    let steps = action["runs"]["steps"].as_array().expect("steps");
    let outputs = action["outputs"].as_object().expect("outputs");
    assert!(outputs.contains_key("identical"), "{outputs:?}");
    for (name, output) in outputs {
        let expected = format!("${{{{ steps.compare.outputs.{name} }}}}");
        assert_eq!(output["value"], expected);
    }
    assert!(steps.iter().any(|step| step["id"] == "compare"));
}

#[test]
fn builds_that_agree_have_one_image() {
    if !gate(&[Need::PythonPackages]) {
        return;
    }
    let lab = Lab::new();
    let [a, b] = shipped_twins(&lab);
    let expected = sha256(&canonical(&a, &["--source-date-epoch", EPOCH]));
    let [a, b] = [a, b].map(|path| path.display().to_string());
    let folder = lab.folder("work");
    let (ran, output, summary) = act(&folder, &[("a", &a), ("b", &b), ("source-date-epoch", EPOCH)]);
    assert!(ran.code == Some(0), "{ran:#?}");
    assert_eq!(output, format!("identical=true\ndigest={expected}\n"));
    assert!(summary.contains("identical") && summary.contains(&expected), "{summary}");
    assert_eq!(sha256(&folder.join("canonical/a.img")), expected);
    assert!(!folder.join("canonical/b.img").exists());
}

#[test]
fn names_are_no_options_and_no_shell() {
    if !gate(&[Need::PythonPackages]) {
        return;
    }
    let lab = Lab::new();
    let images = shipped_twins(&lab);
    let folder = lab.folder("work");
    let names = ["-a $b.img", "--b'\"*.img"];
    for (image, name) in images.iter().zip(names) {
        fs::copy(image, folder.join(name)).expect("a copy");
    }
    for epoch in [EPOCH, ""] {
        let inputs = [("a", names[0]), ("b", names[1]), ("output", "-o $x"), ("source-date-epoch", epoch)];
        let (ran, output, _) = act(&folder, &inputs);
        assert!(output.contains("identical="), "{ran:#?}");
        assert_eq!(ran.code, Some(i32::from(!output.contains("identical=true"))), "{ran:#?}");
        assert!(folder.join("-o $x/a.img").is_file(), "{ran:#?}");
    }
}

#[test]
fn builds_that_differ_have_a_report() {
    if !gate(&[Need::PythonPackages]) {
        return;
    }
    let lab = Lab::new();
    let [a, b] = shipped_twins(&lab);
    debugfs(&b, "sif /usr/bin/tool mode 0100700\n");
    let [a, b] = [a, b].map(|path| path.display().to_string());
    for (fail, code) in [("true", Some(1)), ("false", Some(0))] {
        let folder = lab.folder(fail);
        let (ran, output, summary) = act(&folder, &[("a", &a), ("b", &b), ("fail", fail)]);
        assert!(ran.code == code, "{ran:#?}");
        assert!(output.starts_with("identical=false\ndigest="), "{output}");
        assert!(summary.contains("mode 0755 -> 0700"), "{summary}");
        for name in ["a.img", "b.img", "report.txt", "report.html"] {
            assert!(folder.join("canonical").join(name).is_file(), "{name}");
        }
    }

    let folder = lab.folder("no image");
    let (ran, output, _) = act(&folder, &[("a", &a), ("b", PROGRAM)]);
    assert!(ran.code == Some(3) && output.is_empty(), "{ran:#?}");
}
