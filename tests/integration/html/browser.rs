//! The page in a real browser: with scripts and without, light and dark.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{CHANGES, page_of, pair};
use crate::support::tools::try_run;
use crate::support::{Lab, Need, canonical, gate, run, tool};

const BROWSER: &str = "chromium-headless-shell";

/// Returns the document that a browser makes of a file.
fn loaded(lab: &Lab, address: &str, options: &[&str]) -> String {
    let mut command = tool(BROWSER);
    // Tests run as root, where the sandbox does not work, and in containers with a small /dev/shm.
    command.args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"]);
    let profile = format!("--user-data-dir={}", lab.path("profile").display());
    run(command.arg(profile).args(options).arg(format!("file://{address}")))
}

/// Loads a page into a frame, unchanged, and returns the result of the probe.
fn probe(lab: &Lab, page: &str, scripts: bool, dark: bool) -> Value {
    let quoted = page.replace('&', "&amp;").replace('"', "&quot;");
    let sandbox = if scripts { "allow-same-origin allow-scripts" } else { "allow-same-origin" };
    let wrapper = format!(
        "<!DOCTYPE html>\n<meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">\n\
         <style>iframe {{ width: 1000px; height: 800px; }}</style>\n<pre id=\"probe\"></pre>\n\
         <script>\n{}</script>\n<iframe sandbox=\"{sandbox}\" onload=\"probe(this)\" srcdoc=\"{quoted}\"></iframe>\n",
        include_str!("probe.js")
    );
    let file = lab.path("wrapper.html");
    fs::write(&file, wrapper).expect("writing");
    let scheme = format!("--blink-settings=preferredColorScheme={}", i32::from(!dark));
    let text = loaded(lab, &file.display().to_string(), &[&scheme]);
    let found = text.split("<pre id=\"probe\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    serde_json::from_str(found.expect("what the probe wrote")).unwrap_or_else(|e| panic!("{e}: {found:?}"))
}

#[test]
fn a_browser_shows_the_page_with_scripts_and_without() {
    if !gate(&[Need::Program(BROWSER)]) {
        return;
    }
    let lab = Lab::new();
    let [one, other] = pair(&lab, CHANGES);
    let file = lab.path("page.html");
    page_of(&one, &other, &file, &[]).with_code(1);
    let page = fs::read_to_string(&file).expect("a page");
    for (scripts, dark) in [(true, false), (true, true), (false, false), (false, true)] {
        let seen = probe(&lab, &page, scripts, dark);
        let what = format!("scripts {scripts}, dark {dark}: {seen:#}");
        // Four paths differ in six attributes. The filesystems differ only in consequences of these.
        let filters = json!({"only-all": 5, "only-mode": 2, "only-presence": 2, "only-uid": 2});
        assert_eq!(seen["filters"], filters, "{what}");
        let searches = json!({"/sizes/59": 1, "new": 1, "no such path": 0, "": 5});
        assert_eq!(seen["searches"], if scripts { searches } else { json!({}) }, "{what}");
        assert_eq!(seen["summary"][0], "5", "{what}");
        assert_eq!(seen["sections"], json!(["settings", "differences", "ignored", "maps"]), "{what}");
        // The text is readable, and the colour scheme is the requested one.
        assert_eq!(seen["dark"], dark, "{what}");
        let paper = seen["paper"].as_f64().expect("a number");
        assert!(if dark { paper < 0.05 } else { paper > 0.9 }, "{what}");
        assert!(seen["contrast"].as_f64() >= Some(4.5) && seen["texts"].as_u64() > Some(40), "{what}");
        assert_eq!((&seen["wide"], &seen["requests"]), (&false.into(), &0.into()), "{what}");
        assert_eq!(seen["colours"], 7, "{what}");
        let maps = seen["maps"].as_array().expect("an array");
        assert_eq!(maps.len(), 4, "{what}");
        for map in maps {
            let cells: f64 = map.as_object().expect("an object").values().filter_map(Value::as_f64).sum();
            assert!((cells - 1536.0).abs() < 1e-6, "{cells}: {what}");
        }
    }
    // The URL can contain a search.
    let text = loaded(&lab, &format!("{}#/sizes/59", file.display()), &[]);
    assert_eq!(text.matches(" unmatched\">").count(), 4, "{text}");
}

/// Cells are drawn as free exactly if e2fsprogs report all of their blocks as free.
#[test]
fn maps_draw_what_dumpe2fs_counts() {
    if !gate(&[Need::Program(BROWSER)]) {
        return;
    }
    let lab = Lab::new();
    let images = pair(&lab, "mkdir clutter\n");
    let file = lab.path("page.html");
    page_of(&images[0], &images[1], &file, &[]).with_code(1);
    let seen = probe(&lab, &fs::read_to_string(&file).expect("a page"), false, false);
    for (side, image) in images.iter().enumerate() {
        let output = canonical(image, &[]);
        for (place, image) in [(2 * side, image), (2 * side + 1, &output)] {
            let drawn = seen["maps"][place]["free"].as_f64().expect("a number");
            assert!(
                (drawn - free_cells(image) as f64).abs() < 1e-6,
                "{}: {drawn}: {seen:#}",
                image.display()
            );
            assert!(seen["maps"][place].get("stale-data").is_none(), "{seen:#}");
            // The journal has 1024 blocks, which may not be aligned to cells.
            let journal = seen["maps"][place]["journal"].as_f64().expect("a number");
            assert!((62.0..=65.0).contains(&journal), "{seen:#}");
        }
    }
}

/// Returns the number of cells, of 16 blocks each, that contain only free blocks.
fn free_cells(image: &Path) -> usize {
    let said = try_run(tool("dumpe2fs").arg(image)).stdout;
    let mut free = vec![false; 24 << 10];
    let lists = said.lines().filter_map(|line| line.strip_prefix("  Free blocks: "));
    for range in lists.flat_map(|list| list.split(", ")).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let [first, last] = [first, last].map(|number| number.trim().parse::<usize>().expect("a block"));
        free[first..=last].fill(true);
    }
    free.chunks(16).filter(|cell| cell.iter().all(|is_free| *is_free)).count()
}
