//! The means as tables, in Markdown and on the terminal.

use std::fmt::Write;

use super::results::{INTERVAL, Mean, Results, VariantResult, lower_is_better, mean_of_variant};
use crate::columns::columns;
use crate::shell::on_one_line;

/// `table.md`
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = format!("# {}\n\n{}\n\n", on_one_line(&results.title), about(results));
    let mut rows = vec![header(results)];
    rows.extend(results.variants.iter().map(|variant| row(results, variant, "**")));
    text += &table(&rows);
    let by = results.grouped_by();
    let groups = results.groups();
    if groups.len() > 1 {
        for figure in results.judged() {
            let _ = write!(text, "\n## {figure} by {by}\n\n");
            let mut rows = vec![vec![by.to_owned()]];
            rows[0].extend(results.variants.iter().map(|variant| variant.name.clone()));
            for (name, cells) in &groups {
                let mut row = vec![(*name).to_owned()];
                row.extend((0..results.variants.len()).map(|variant| {
                    mean_of_variant(figure, variant, cells)
                        .map_or_else(String::new, |mean| mean_text(figure, mean))
                }));
                rows.push(row);
            }
            text += &table(&rows);
        }
    }
    let failed: Vec<String> =
        results.failed().map(|(cell, error)| format!("- `{}`: {}\n", cell.name, one_line(error))).collect();
    if !failed.is_empty() {
        let _ = write!(text, "\n## Failed\n\n{}", failed.concat());
    }
    text
}

/// The means to be read on a terminal.
pub(crate) fn plain(results: &Results) -> Vec<String> {
    let mut rows = vec![header(results)];
    rows.extend(results.variants.iter().map(|variant| row(results, variant, "")));
    columns(&rows)
}

/// What the numbers are, in a line.
pub(crate) fn about(results: &Results) -> String {
    let (done, of): (usize, usize) =
        (results.variants.iter().map(|variant| variant.done).sum(), results.cells.len());
    let mut about = format!("{done} of {of} transfers; {INTERVAL}. ↓ less is better, ↑ more is better.");
    if let Some(count) = missing(results) {
        let _ = write!(about, " {count}");
    }
    about
}

fn missing(results: &Results) -> Option<&'static str> {
    let fewer = |variant: &VariantResult| variant.means.values().any(|mean| mean.count < variant.done);
    results.variants.iter().any(fewer).then_some(
        "Where a number in brackets stands behind a mean, it is of so many transfers: the others have no such figure.",
    )
}

fn header(results: &Results) -> Vec<String> {
    let mut header = vec!["variant".to_owned()];
    header.extend(results.figures.iter().map(|figure| heading(figure)));
    header.push("transfers".to_owned());
    header
}

/// A figure's name with its good end.
pub(crate) fn heading(figure: &str) -> String {
    match lower_is_better(figure) {
        Some(true) => format!("{figure} ↓"),
        Some(false) => format!("{figure} ↑"),
        None => figure.to_owned(),
    }
}

fn row(results: &Results, variant: &VariantResult, mark: &str) -> Vec<String> {
    let mut row = vec![on_one_line(&variant.name)];
    row.extend(results.figures.iter().map(|figure| {
        let Some(mean) = variant.means.get(figure) else { return String::new() };
        let text = counted(figure, *mean, variant);
        if results.best(figure) == Some(mean.value) { format!("{mark}{text}{mark}") } else { text }
    }));
    row.push(if variant.done == variant.of {
        variant.of.to_string()
    } else {
        format!("{} of {}", variant.done, variant.of)
    });
    row
}

/// A mean, with how many transfers it is of where that is not all.
pub(crate) fn counted(figure: &str, mean: Mean, variant: &VariantResult) -> String {
    let text = mean_text(figure, mean);
    if mean.count == variant.done { text } else { format!("{text} ({})", mean.count) }
}

/// A mean with its interval.
pub(crate) fn mean_text(figure: &str, mean: Mean) -> String {
    let decimals = match figure {
        "peak_memory_mib" => 0,
        "warnings" => 1,
        "sampling_seconds" => 2,
        "final_loss" => 4,
        _ => 3,
    };
    match mean.margin {
        Some(margin) => format!("{:.decimals$} ± {margin:.decimals$}", mean.value),
        None => format!("{:.decimals$}", mean.value),
    }
}

/// The first line of a message.
pub(crate) fn one_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

/// The first row is the header.
fn table(rows: &[Vec<String>]) -> String {
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().map(|cell| on_one_line(cell).replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = line(&rows[0]);
    let _ = writeln!(text, "|---{}|", "|---:".repeat(rows[0].len() - 1));
    text + &rows[1..].iter().map(line).collect::<String>()
}
