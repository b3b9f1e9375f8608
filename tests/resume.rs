//! Twenty steps are ten steps, a file, and ten steps in another process.

#[path = "support/finite_sum.rs"]
mod finite_sum;
#[path = "support/variants.rs"]
mod variants;

use std::path::{Path, PathBuf};
use std::process::Command;

use finite_sum::{Data, examples, minibatch, problem, traces};
use osculate::optim::{Minibatches, Optimizer};
use osculate::store::Store;
use osculate::{Batch, Device};
use variants::{made, variants};

/// Names the folder for the second process, and tells it that it is the second.
const FOLDER: &str = "OSCULATE_TEST_RESUME_FOLDER";

fn walk(examples: &Data, steps: std::ops::Range<usize>, theta: &mut [f64], optimizer: &mut dyn Optimizer<f64>) {
    let loss = problem(0.3).expect("a loss");
    let all = examples.all().expect("a batch");
    let (mut oracles, mut batch) = (Minibatches::new(&loss, &Device::cpu()), Batch::default());
    for t in steps {
        minibatch(examples, t, &mut batch);
        optimizer.step(theta, &mut oracles.on(&batch).of(&all)).expect("a step");
    }
}

fn files(folder: &Path, name: &str, stage: &str) -> [PathBuf; 2] {
    ["state", "params"].map(|what| folder.join(format!("{name}-{stage}-{what}.safetensors")))
}

fn write(folder: &Path, name: &str, stage: &str, theta: &[f64], optimizer: &dyn Optimizer<f64>) {
    let [state, params] = files(folder, name, stage);
    optimizer.save().save(&state).expect("a file");
    let mut store = Store::new("params");
    store.put("theta", theta);
    store.save(&params).expect("a file");
}

fn read(folder: &Path, name: &str, stage: &str, what: &str) -> (Store, Vec<f64>) {
    let [state, params] = files(folder, name, stage);
    let params = Store::load(&params, "params").expect("a store");
    (Store::load(&state, what).expect("a store"), params.get("theta", 3).expect("parameters"))
}

#[test]
fn another_process_resumes_bit_for_bit() {
    let examples = examples(&traces()).expect("examples");
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = Path::new(&folder);
        for (name, of, set) in &variants() {
            let mut optimizer = made::<f64>(of, set, 3);
            let (state, mut theta) = read(folder, name, "half", optimizer.save().what());
            optimizer.load(&state).expect("a state");
            walk(&examples, 10..20, &mut theta, optimizer.as_mut());
            write(folder, name, "end", &theta, optimizer.as_ref());
        }
        return;
    }
    let folder = std::env::temp_dir().join(format!("osculate-resume-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut whole = Vec::new();
    for (name, of, set) in variants() {
        let mut optimizer = made::<f64>(of, &set, 3);
        let mut theta = vec![1.0, -2.0, 1.5];
        walk(&examples, 0..10, &mut theta, optimizer.as_mut());
        write(&folder, &name, "half", &theta, optimizer.as_ref());
        walk(&examples, 10..20, &mut theta, optimizer.as_mut());
        assert!(theta.iter().all(|x| x.is_finite()), "{name}: {theta:?}");
        whole.push((name, theta, optimizer.save()));
    }
    let program = std::env::current_exe().expect("this program");
    let done = Command::new(program)
        .args(["--exact", "another_process_resumes_bit_for_bit"])
        .env(FOLDER, &folder)
        .output()
        .expect("a process");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    for (name, theta, state) in whole {
        let (resumed, params) = read(&folder, &name, "end", state.what());
        assert_eq!(params, theta, "{name}");
        assert_eq!(resumed, state, "{name}");
    }
    std::fs::remove_dir_all(&folder).ok();
}
