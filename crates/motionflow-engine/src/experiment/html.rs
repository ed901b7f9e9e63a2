//! `report.html`: one file that needs no other but the pictures that it links to.

use std::collections::BTreeMap;
use std::fmt::Write;

use motionflow_media::chart::escape;

use super::plots::{self, Axis, plot};
use super::results::{CellResult, Results, State, mean_of_variant};
use super::table::{about, counted, heading, mean_text};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#d4d4d8;--faint:#71717a;--best:#dcfce7}
@media(prefers-color-scheme:dark){:root{--line:#3f3f46;--faint:#a1a1aa;--best:#14532d}}
body{font:15px/1.5 Inter,'Helvetica Neue',Arial,sans-serif;max-width:1200px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem}
p.faint,caption,td.faint{color:var(--faint)}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .7rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{vertical-align:bottom;font-weight:600}
th:first-child,td:first-child{text-align:left}
td.best{background:var(--best);font-weight:600}
.plots{display:flex;flex-wrap:wrap;gap:1rem 2rem}.plots svg{max-width:100%;height:auto}
img{max-width:100%;height:auto}
summary{cursor:pointer;margin:.4rem 0}
li{margin:.3rem 0}code{font-size:12px}";

/// The whole page; `overview` is the name of the picture to show.
pub(crate) fn page(results: &Results, overview: Option<&str>) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{title}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n\
         <h1>{title}</h1>\n<p class=\"faint\">{about}</p>\n",
        title = escape(&results.title),
        about = escape(&about(results))
    );
    means(&mut page, results);
    made_with(&mut page, results);
    plots(&mut page, results);
    if let Some(overview) = overview {
        let _ = write!(
            page,
            "<h2>Some results</h2>\n<p class=\"faint\">Three frames of each.</p>\n\
             <div class=\"wide\"><img src=\"{overview}\" alt=\"Frames of the source and of every variant\"></div>\n"
        );
    }
    groups(&mut page, results);
    cells(&mut page, results);
    failed(&mut page, results);
    page.push_str("</body>\n</html>\n");
    page
}

fn means(page: &mut String, results: &Results) {
    page.push_str("<h2>Means</h2>\n<div class=\"wide\"><table>\n<tr><th>variant</th><th>settings</th>");
    for figure in &results.figures {
        let _ = write!(page, "<th>{}</th>", escape(&heading(figure)));
    }
    page.push_str("<th>transfers</th></tr>\n");
    for variant in &results.variants {
        let settings: Vec<String> = variant
            .settings
            .iter()
            .map(|(key, value)| format!("{} {}", plots::short(key), plots::value_text(value)))
            .collect();
        let _ = write!(
            page,
            "<tr><td>{}</td><td class=\"faint\">{}</td>",
            escape(&variant.name),
            escape(&settings.join(", "))
        );
        for figure in &results.figures {
            let Some(mean) = variant.means.get(figure) else {
                page.push_str("<td></td>");
                continue;
            };
            let class = if results.best(figure) == Some(mean.value) { " class=\"best\"" } else { "" };
            let _ = write!(page, "<td{class}>{}</td>", counted(figure, *mean, variant));
        }
        let _ = writeln!(page, "<td>{} of {}</td></tr>", variant.done, variant.of);
    }
    page.push_str("</table></div>\n");
}

fn made_with(page: &mut String, results: &Results) {
    if results.made_with.is_empty() {
        return;
    }
    page.push_str("<details><summary>What the figures were made with</summary>\n<ul>\n");
    for (figure, with) in &results.made_with {
        let with: Vec<&str> = with.iter().map(String::as_str).collect();
        let _ = writeln!(page, "<li>{}: {}</li>", escape(figure), escape(&with.join(", ")));
    }
    page.push_str("</ul></details>\n");
}

fn plots(page: &mut String, results: &Results) {
    let axis = Axis::of(&results.variants);
    page.push_str("<h2>Plots</h2>\n<div class=\"plots\">\n");
    for figure in results.figures.iter().filter(|figure| *figure != "warnings") {
        page.extend(plot(figure, axis.as_ref(), results));
    }
    page.push_str("</div>\n");
}

fn groups(page: &mut String, results: &Results) {
    let groups = results.groups();
    if groups.len() < 2 || results.judged().next().is_none() {
        return;
    }
    let by = results.grouped_by();
    let _ = writeln!(page, "<h2>By {by}</h2>");
    for (index, figure) in results.judged().enumerate() {
        let open = if index == 0 { " open" } else { "" };
        let _ = write!(
            page,
            "<details{open}><summary>{}</summary>\n<div class=\"wide\"><table>\n<tr><th>{by}</th>",
            escape(&heading(figure))
        );
        for variant in &results.variants {
            let _ = write!(page, "<th>{}</th>", escape(&variant.name));
        }
        page.push_str("</tr>\n");
        for (name, cells) in &groups {
            let _ = write!(page, "<tr><td>{}</td>", escape(name));
            for variant in 0..results.variants.len() {
                let mean = mean_of_variant(figure, variant, cells);
                let _ = write!(
                    page,
                    "<td>{}</td>",
                    mean.map_or_else(String::new, |mean| mean_text(figure, mean))
                );
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</table></div></details>\n");
    }
}

/// Every transfer as a link to its contact sheet, under its first figure.
fn cells(page: &mut String, results: &Results) {
    let figure = results.figures.first();
    let _ = writeln!(
        page,
        "<h2>All transfers</h2>\n<p class=\"faint\">{}, each linked to its contact sheet (in cells/, which may not be \
         here).</p>",
        figure.map_or_else(|| "Done or not".to_owned(), |figure| escape(&heading(figure)))
    );
    let mut rest = results.cells.as_slice();
    while let Some(first) = rest.first() {
        let count = rest.iter().take_while(|cell| cell.clip == first.clip).count();
        let (clip, after) = rest.split_at(count);
        rest = after;
        of_clip(page, clip, results);
    }
}

fn of_clip(page: &mut String, cells: &[CellResult], results: &Results) {
    let mut rows: BTreeMap<(&str, Option<u64>), Vec<&CellResult>> = BTreeMap::new();
    for cell in cells {
        rows.entry((&cell.prompt, cell.seed)).or_default().push(cell);
    }
    let _ = write!(
        page,
        "<details><summary>{}</summary>\n<div class=\"wide\"><table>\n<tr><th>prompt</th>",
        escape(&cells[0].clip)
    );
    for variant in &results.variants {
        let _ = write!(page, "<th>{}</th>", escape(&variant.name));
    }
    page.push_str("</tr>\n");
    for ((prompt, seed), row) in rows {
        let seed = seed.map_or_else(String::new, |seed| format!(", seed {seed}"));
        let _ = write!(page, "<tr><td>{}{seed}</td>", escape(prompt));
        for variant in 0..results.variants.len() {
            let cell = row.iter().find(|cell| cell.variant == variant);
            let text = cell.map_or_else(String::new, |cell| linked(cell, results));
            let _ = write!(page, "<td>{text}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div></details>\n");
}

fn linked(cell: &CellResult, results: &Results) -> String {
    match &cell.state {
        State::Done { .. } => {
            let value = results.figures.first().and_then(|figure| cell.value(figure));
            let text = value.map_or_else(|| "done".to_owned(), |value| format!("{value:.3}"));
            format!("<a href=\"cells/{}/contact-sheet.png\">{text}</a>", escape(&cell.name))
        }
        State::Failed { .. } => "failed".to_owned(),
        State::NotDone => "not done".to_owned(),
    }
}

fn failed(page: &mut String, results: &Results) {
    let items: Vec<String> = results
        .failed()
        .map(|(cell, error)| format!("<li><code>{}</code>: {}</li>\n", escape(&cell.name), escape(error)))
        .collect();
    if !items.is_empty() {
        let _ = write!(page, "<h2>Failed</h2>\n<ul>\n{}</ul>\n", items.concat());
    }
}
