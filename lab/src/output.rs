//! Tables for people, JSON and CSV for machines.

use std::fs;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use osculate::optim::Status;
use serde_json::json;

use crate::error::{Error, Result};
use crate::{names, problems};

/// Prints a line.
pub fn say(line: impl std::fmt::Display) -> Result<()> {
    Ok(std::io::Write::write_fmt(&mut std::io::stdout().lock(), format_args!("{line}\n"))?)
}

/// One optimizer's result.
pub struct Row {
    pub optimizer: String,
    pub test_accuracy: f64,
    pub train_loss: f64,
    pub steps: usize,
    pub ms_per_step: f64,
    pub ratio_to_sgd: Option<f64>,
    /// Steps that were not taken as the rule asked, by why.
    pub not_taken: Vec<(Status, usize)>,
}

impl Row {
    /// Steps that were not taken as the rule asked.
    fn count_not_taken(&self) -> usize {
        self.not_taken.iter().map(|(_, count)| count).sum()
    }
}

fn aligned<S: AsRef<str>>(header: &[S]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header.iter().map(AsRef::as_ref));
    table
}

/// Prints rows of names and numbers: all columns but the first two are aligned right.
pub fn grid(header: &[String], rows: impl Iterator<Item = Vec<String>>) -> Result<()> {
    let mut table = aligned(header);
    rows.for_each(|row| {
        table.add_row(row);
    });
    table.column_iter_mut().skip(2).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    say(table)
}

/// Prints the results, one row an optimizer, as they came.
pub fn table(rows: &[Row]) -> Result<()> {
    let mut table =
        aligned(&["optimizer", "test accuracy", "train loss", "steps", "ms/step", "ratio to SGD", "not taken"]);
    for row in rows {
        table.add_row([
            row.optimizer.clone(),
            format!("{:.4}", row.test_accuracy),
            format!("{:.3e}", row.train_loss),
            row.steps.to_string(),
            format!("{:.3}", row.ms_per_step),
            row.ratio_to_sgd.map_or("-".into(), |r| format!("{r:.2}")),
            row.count_not_taken().to_string(),
        ]);
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    say(table)?;
    for row in rows {
        for (status, count) in &row.not_taken {
            say(format_args!(
                "{}: {count} of {} steps not taken as the rule asked: {}",
                row.optimizer,
                row.steps,
                why(*status)
            ))?;
        }
    }
    Ok(())
}

/// Why a step was not taken as the rule asked.
fn why(status: Status) -> &'static str {
    match status {
        Status::Fallback => "of the last good size, since the rule had no finite answer",
        Status::NoDescent => "none, since the direction promised no descent",
        Status::Rejected => "tried and taken back",
        Status::NonFinite => "none, since the loss, the gradient, a statistic or the result was not finite",
        _ => "for another reason",
    }
}

/// Prints the results as one line of JSON.
pub fn json(problem: &str, rows: &[Row]) -> Result<()> {
    let rows: Vec<_> = (rows.iter())
        .map(|row| {
            json!({
                "optimizer": row.optimizer,
                "test_accuracy": row.test_accuracy,
                "train_loss": row.train_loss,
                "steps": row.steps,
                "ms_per_step": row.ms_per_step,
                "ratio_to_sgd": row.ratio_to_sgd,
                "not_taken": row.count_not_taken(),
            })
        })
        .collect();
    say(json!({ "problem": problem, "rows": rows }))
}

/// Makes the folder for results.
pub fn folder(out: &Path) -> Result<()> {
    if out.exists() && !out.is_dir() {
        return Err(Error::file(out, "a file stands there; results want a folder"));
    }
    fs::create_dir_all(out).map_err(|e| Error::file(out, e))
}

/// Prints all problems and optimizers.
pub fn list() -> Result<()> {
    let mut table = aligned(&["problem", "what it is"]);
    problems::ALL.iter().for_each(|(name, about)| {
        table.add_row([name, about]);
    });
    say(format_args!("{table}\n"))?;
    let mut table = aligned(&["optimizer", "what it is"]);
    for entry in osculate::optim::registry::all::<f32>() {
        table.add_row([entry.name, entry.about]);
    }
    say(table)
}

/// Prints the options of an optimizer and their defaults, and those that only other settings bring forth.
pub fn options(name: &str) -> Result<()> {
    let all = osculate::optim::registry::all::<f32>();
    let Some(entry) = all.iter().find(|entry| entry.name == name) else {
        return Err(names::unknown("optimizer", name, osculate::optim::names()));
    };
    say(format_args!("{}: {}\n", entry.name, entry.about))?;
    let mut table = aligned(&["option", "what it means", "what it may be", "default"]);
    for help in entry.help() {
        table.add_row([help.name, help.about, &help.legal, &help.value]);
    }
    say(table)?;
    let elsewhere = entry.elsewhere();
    if elsewhere.is_empty() {
        return Ok(());
    }
    let mut table = aligned(&["option", "what it means", "what it may be", "default", "is there with, say"]);
    for (help, with) in &elsewhere {
        table.add_row([help.name, help.about, &help.legal, &help.value, with]);
    }
    say(format_args!("\nOptions that have a meaning only with other settings:\n\n{table}"))
}
