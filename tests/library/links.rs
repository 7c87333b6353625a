//! What the project's Markdown links to is there.

use std::path::{Path, PathBuf};

/// Markdown files of the project; what is built, or hidden, is not its own.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "build" && name != "node_modules" {
                pages(&path, found);
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let (mut found, mut links) = (Vec::new(), 0);
    pages(Path::new(env!("CARGO_MANIFEST_DIR")), &mut found);
    for page in &found {
        let text = std::fs::read_to_string(page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            links += 1;
            assert!(page.with_file_name(file).exists(), "{}: {link}", page.display());
        }
    }
    assert!(links > 50, "{links} links in {} pages", found.len());
}
