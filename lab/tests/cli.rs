//! The command line as a user meets it.

use std::path::PathBuf;
use std::process::{Command, Output};

fn lab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_osculate-lab")).args(arguments).output().expect("the program runs")
}

fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("osculate-lab-{name}-{}", std::process::id()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn training_prints_a_table_and_leaves_curves_and_plots() {
    let out = folder("train");
    let show = out.display().to_string();
    let run = lab(&["train", "digits", "--optimizer", "sgd,meka", "--epochs", "20", "--json", "--out", &show]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let printed = text(&run.stdout);
    let json: serde_json::Value = serde_json::from_str(printed.lines().last().expect("a line")).expect("JSON");
    assert_eq!(json["problem"], "digits");
    let rows = json["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["ratio_to_sgd"], 1.0);
    for (row, name) in rows.iter().zip(["sgd", "meka"]) {
        assert_eq!(row["optimizer"], name);
        assert_eq!(row["steps"], 240);
        for key in ["test_accuracy", "train_loss", "ms_per_step", "ratio_to_sgd"] {
            assert!(row[key].as_f64().is_some_and(|v| v > 0.0), "{key}");
        }
        let curve = std::fs::read_to_string(out.join(format!("digits-{name}.csv"))).expect("a curve");
        assert_eq!(curve.lines().count(), 241);
        assert!(printed.contains(name));
    }
    // No learning rate was given.
    assert!(rows[1]["test_accuracy"].as_f64().is_some_and(|a| a >= 0.95), "{}", rows[1]);
    for quantity in ["loss", "step", "gain", "noise", "curvature"] {
        let plot = std::fs::read_to_string(out.join(format!("digits-{quantity}.svg"))).expect("a plot");
        assert!(plot.starts_with("<svg") && plot.trim_end().ends_with("</svg>"));
    }
    // The same seed gives the same run.
    let again = folder("again");
    let run = lab(&["train", "digits", "--optimizer", "meka", "--epochs", "20", "--out", &again.display().to_string()]);
    assert!(run.status.success());
    let curve = |at: &PathBuf| std::fs::read(at.join("digits-meka.csv")).expect("a curve");
    assert!(curve(&out) == curve(&again));
    std::fs::remove_dir_all(out).ok();
    std::fs::remove_dir_all(again).ok();
}

/// From everyone's defaults: all learn, or their reports say why not, and all leave a curve and an event file.
#[test]
fn every_optimizer_trains() {
    let out = folder("all");
    let show = out.display().to_string();
    let run = lab(&[
        "train",
        "digits",
        "--optimizer",
        "all",
        "--epochs",
        "2",
        "--decay",
        "1e-4",
        "--json",
        "--tensorboard",
        "--out",
        &show,
    ]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let printed = text(&run.stdout);
    let json: serde_json::Value = serde_json::from_str(printed.lines().last().expect("a line")).expect("JSON");
    let rows = json["rows"].as_array().expect("rows");
    let list = text(&lab(&["list"]).stdout);
    assert!(rows.len() >= 45);
    for row in rows {
        let name = row["optimizer"].as_str().expect("a name");
        assert!(list.contains(&format!("| {name} ")), "{name}");
        let learnt = row["test_accuracy"].as_f64().is_some_and(|part| part > 0.3);
        assert!(learnt || row["not_taken"].as_u64().is_some_and(|steps| steps > 0), "{row}");
        let curve = std::fs::read_to_string(out.join(format!("digits-{name}.csv"))).expect("a curve");
        assert_eq!(curve.lines().count(), 25, "{name}");
        let mut events = std::fs::read_dir(out.join("digits").join(name)).expect("a folder");
        let file = events.next().expect("a file").expect("a file");
        assert!(file.metadata().is_ok_and(|file| file.len() > 24 * 50) && events.next().is_none(), "{name}");
    }
    std::fs::remove_dir_all(out).ok();
}

/// A peer by a script of its own stands in for a Python: it answers the protocol, and times that are not ours.
#[test]
fn peers_take_turns_or_are_left_out() {
    let arguments = ["bench", "peers", "--model", "logreg", "--rounds", "2", "--batch", "8", "--json", "--python"];
    let alone = lab(&[&arguments[..], &["/nowhere/python3"]].concat());
    assert!(alone.status.success(), "{}", text(&alone.stderr));
    assert!(text(&alone.stderr).contains("JAX is left out: /nowhere/python3 cannot be run"), "{}", text(&alone.stderr));
    let rows = text(&alone.stdout);
    assert_eq!(rows.lines().count(), 4);
    for line in rows.lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(row["osculate_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{line}");
        assert!(row["fastest_peer_to_osculate"].is_null() && row["model"] == "logreg", "{line}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Where programs may be run.
        let stand_in = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("peer-{}", std::process::id()));
        let script =
            "#!/bin/sh\necho '{\"peer\": \"Stand-in 1\"}'\nwhile read model step runs; do echo '[1000.0]'; done\n";
        std::fs::write(&stand_in, script).expect("a script");
        std::fs::set_permissions(&stand_in, std::fs::Permissions::from_mode(0o755)).expect("permissions");
        let run = lab(&[&arguments[..], &[&stand_in.display().to_string()]].concat());
        assert!(run.status.success(), "{}", text(&run.stderr));
        let line = text(&run.stdout);
        let row: serde_json::Value = serde_json::from_str(line.lines().next().expect("a line")).expect("JSON");
        assert_eq!(row["peers_ms"]["Stand-in 1"], 1000.0);
        let (ours, ratio) = (row["osculate_ms"].as_f64(), row["fastest_peer_to_osculate"].as_f64());
        assert!(ours.zip(ratio).is_some_and(|(ours, ratio)| (ours * ratio - 1000.0).abs() < 1e-6), "{row}");
        // One that stops is named.
        std::fs::write(&stand_in, "#!/bin/sh\necho '{\"peer\": \"Stand-in 2\"}'\nread line\n").expect("a script");
        let run = lab(&[&arguments[..], &[&stand_in.display().to_string()]].concat());
        assert!(!run.status.success());
        assert!(text(&run.stderr).contains("Stand-in 2 stopped without an answer"), "{}", text(&run.stderr));
        std::fs::remove_file(stand_in).ok();
    }
}

#[test]
fn landscapes_are_drawn() {
    let out = std::env::temp_dir().join(format!("osculate-landscape-{}", std::process::id()));
    let show = out.display().to_string();
    let run = lab(&["landscape", "matyas", "--optimizer", "sgd,armijo", "--steps", "60", "--json", "--out", &show]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let last = text(&run.stdout).lines().last().map(String::from).unwrap_or_default();
    let rows: serde_json::Value = serde_json::from_str(&last).expect("JSON");
    for row in rows["rows"].as_array().expect("rows") {
        assert_eq!(row["path"].as_array().map(Vec::len), Some(61));
        assert!(row["above_least"].as_f64().is_some_and(|above| above < 3.0), "{row}");
    }
    let svg = std::fs::read_to_string(out.join("landscape-matyas.svg")).expect("a picture");
    assert!(svg.contains("armijo") && svg.matches("<polyline").count() > 200);
    std::fs::remove_dir_all(out).ok();
    let unknown = lab(&["landscape", "ackley"]);
    assert!(text(&unknown.stderr).contains("there is no surface \"ackley\"; there are rosenbrock"));
}

#[test]
fn noisy_quadratics_are_compared() {
    let out = std::env::temp_dir().join(format!("osculate-quadratic-{}", std::process::id()));
    let show = out.display().to_string();
    let run = lab(&["noisy-quadratic", "--steps", "60", "--seeds", "2", "--json", "--out", &show]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let last = text(&run.stdout).lines().last().map(String::from).unwrap_or_default();
    let rows: serde_json::Value = serde_json::from_str(&last).expect("JSON");
    let rows = rows["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 7);
    let end = |method: &str| {
        let row = rows.iter().find(|row| row["method"] == method).expect("a method");
        assert_eq!(row["curve"].as_array().map(Vec::len), Some(60));
        row["median_final"].as_f64().expect("a number")
    };
    // What noise does not disturb is ahead, and so is what filters it.
    assert!(end("GD adaptive") < end("GD 0.01") && end("GD 0.01") < end("SGD 0.001"));
    assert!(end("MEKA adaptive") < end("SGD adaptive"));
    assert!(std::fs::read_to_string(out.join("noisy-quadratic.svg")).is_ok_and(|svg| svg.contains("MEKA adaptive")));
    std::fs::remove_dir_all(out).ok();
}

#[test]
fn lists_and_errors_help() {
    let list = text(&lab(&["list"]).stdout);
    for name in ["digits", "meka", "adameka", "sgd"] {
        assert!(list.contains(name), "{list}");
    }
    let unknown = lab(&["train", "digits", "--optimizer", "adamm"]);
    assert!(!unknown.status.success());
    assert!(text(&unknown.stderr).starts_with("error: there is no optimizer \"adamm\"; did you mean \"adam\"?"));
    let options = text(&lab(&["list", "kafisto"]).stdout);
    assert!(options.contains("| alpha ") && options.contains("| 0.9 "), "{options}");
    for (set, why) in [
        ("alpha=0.5", "none of the optimizers has this option"),
        ("meka.rate=0.5", "option rate = \"0.5\": it has no meaning beside the other options"),
        ("sgd.alpha=0.5", "there is no such option; there are rate, "),
        ("rate=fast", "option rate = \"fast\": a number is wanted"),
        ("rate", "OPTION=VALUE is wanted"),
    ] {
        let run = lab(&["train", "digits", "--optimizer", "meka,sgd,adam", "--epochs", "1", "--set", set]);
        assert!(!run.status.success() && text(&run.stderr).contains(why), "{set}: {}", text(&run.stderr));
    }
    let unknown = lab(&["train", "imagenet"]);
    assert_eq!(text(&unknown.stderr), "error: there is no problem \"imagenet\"; there are digits\n");
    let grows = lab(&["train", "digits", "--decay=-1"]);
    assert!(text(&grows.stderr).contains("a finite number, 0 or above, is wanted"));
    let small = lab(&["train", "digits", "--batch", "1"]);
    assert!(text(&small.stderr).contains("a whole number, at least 2, is wanted"));
    let help = text(&lab(&["train", "--help"]).stdout);
    assert!(help.contains("osculate-lab train digits --optimizer meka,sgd"));
}

#[test]
fn an_instruction_set_that_is_not_there_is_named() {
    let run = Command::new(env!("CARGO_BIN_EXE_osculate-lab"))
        .args(["plan", "--model", "logreg"])
        .env("OSCULATE_SIMD", "mmx")
        .output()
        .expect("the program runs");
    let said = text(&run.stderr);
    assert!(!run.status.success() && said.contains("OSCULATE_SIMD=mmx") && said.contains("portable"), "{said}");
}

/// Runs that end worse than they began say so by their exit status, after all that they have to show.
#[test]
fn a_diverged_run_fails() {
    let out = folder("diverged");
    let show = out.display().to_string();
    let arguments = ["train", "digits", "--optimizer", "sgd,adam", "--epochs", "1", "--json", "--out", &show];
    let run = lab(&[&arguments[..], &["--set", "sgd.rate=1e6"]].concat());
    assert_eq!(run.status.code(), Some(1), "{}", text(&run.stderr));
    let said = text(&run.stderr);
    assert!(said.contains("error: diverged: sgd ended at a train loss of") && !said.contains("adam ended"), "{said}");
    let printed = text(&run.stdout);
    let json: serde_json::Value = serde_json::from_str(printed.lines().last().expect("a line")).expect("JSON");
    assert_eq!(json["rows"].as_array().map(Vec::len), Some(2));
    assert!(out.join("digits-sgd.csv").exists() && out.join("digits-loss.svg").exists());
    assert_eq!(lab(&arguments).status.code(), Some(0));
    std::fs::remove_dir_all(out).ok();
}

#[test]
fn optimizers_are_named_or_all_are_taken() {
    for (names, why) in [
        ("", "--optimizer \"\": a name is wanted"),
        (",", "--optimizer \",\": a name is wanted"),
        ("sgd,,adam", "a name is missing beside a comma"),
        ("all,sgd", "--optimizer \"all,sgd\": `all` stands alone"),
        ("sgd,all", "`all` stands alone"),
    ] {
        for command in [&["train", "digits"], &["landscape", "beale"]] {
            let run = lab(&[&command[..], &["--optimizer", names]].concat());
            let said = text(&run.stderr);
            assert!(run.status.code() == Some(1) && said.starts_with("error: ") && said.contains(why), "{said}");
        }
    }
}

#[test]
fn hidden_options_are_listed_with_what_shows_them() {
    let options = text(&lab(&["list", "adam"]).stdout);
    let line = |name: &str| options.lines().find(|line| line.starts_with(&format!("| {name} "))).unwrap_or_default();
    assert!(line("decoupled").contains("| weight-decay = 1 "), "{options}");
    assert!(line("warm-up-within").contains("| schedule = step and warm-up = 1 "), "{options}");
    assert!(line("milestones").contains("| schedule = milestones "), "{options}");
    assert!(line("rate").contains("| 0.001 "), "{options}");
}

/// A negative number is a number that is not wanted, not an option that nobody knows.
#[test]
fn negative_numbers_are_told_what_is_wanted() {
    for arguments in [
        &["train", "digits", "--seed", "-3"][..],
        &["train", "digits", "--epochs", "-3"],
        &["train", "digits", "--batch", "-3"],
        &["train", "digits", "--decay", "-3"],
        &["landscape", "beale", "--seed", "-3"],
        &["landscape", "beale", "--steps", "-3"],
        &["landscape", "beale", "--noise", "-3"],
        &["noisy-quadratic", "--seeds", "-3"],
        &["bench", "step", "--model", "mlp", "--batch", "-3"],
        &["bench", "step", "--model", "mlp", "--threads", "-3"],
        &["bench", "step", "--model", "mlp", "--runs", "-3"],
        &["bench", "growth", "--runs", "-3"],
        &["bench", "peers", "--rounds", "-3"],
        &["bench", "peers", "--batch", "-3"],
        &["plan", "--model", "mlp", "--batch", "-3"],
        &["plan", "--model", "mlp", "--timed", "-3"],
        &["plan", "--model", "mlp", "--threads", "-3"],
    ] {
        let run = lab(arguments);
        let said = text(&run.stderr);
        assert!(!run.status.success() && said.contains("is wanted") && !said.contains("tip:"), "{arguments:?}: {said}");
    }
}

/// More ways than colours get a panel each.
#[test]
fn landscapes_of_all_have_a_panel_each() {
    let out = folder("panels");
    let show = out.display().to_string();
    let run = lab(&["landscape", "beale", "--optimizer", "all", "--steps", "20", "--out", &show]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let svg = std::fs::read_to_string(out.join("landscape-beale.svg")).expect("a picture");
    for name in ["meka-diagonal", "nadam", "kalman-descent"] {
        assert!(svg.contains(name), "{name}");
    }
    assert!(svg.len() < 8_000_000, "{}", svg.len());
    std::fs::remove_dir_all(out).ok();
}
