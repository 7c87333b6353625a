//! Which bundle a command means.

use std::env;
use std::path::{Path, PathBuf};

use flowturbo::Bundle;

use crate::failure::Failure;

/// Names the bundle to use when the command line names none.
const VARIABLE: &str = "FLOWTURBO_BUNDLE";

/// The bundled model, under the current folder or beside the source: what this build can open.
const BUNDLED: &str = if cfg!(feature = "compile") { "models/textures" } else { "models/textures.ftplan" };

/// Opens the bundle at `path`, or the default one.
pub fn open(path: Option<&Path>) -> Result<Bundle, Failure> {
    Ok(Bundle::open(find(path)?)?)
}

/// Where the bundle at `path`, or the default one, is.
pub fn find(path: Option<&Path>) -> Result<PathBuf, Failure> {
    match path {
        Some(path) if path.exists() => Ok(path.to_owned()),
        Some(path) => Err(Failure::Usage(format!("{}: no such bundle", path.display()))),
        None => default(),
    }
}

/// A variable that leads nowhere is an error: another model than the one asked for would surprise.
fn default() -> Result<PathBuf, Failure> {
    if let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from) {
        return if path.exists() {
            Ok(path)
        } else {
            Err(Failure::Usage(format!("{}: no such bundle (from ${VARIABLE})", path.display())))
        };
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    // That of the workspace, in which this crate lies two folders deep.
    let beside_source = source.ancestors().nth(2).unwrap_or(source).join(BUNDLED);
    let candidates = [PathBuf::from(BUNDLED), beside_source];
    let is_model = |path: &&PathBuf| path.is_file() || path.join("bundle.json").exists();
    candidates.iter().find(is_model).cloned().ok_or_else(|| {
        let [here, source] = candidates.each_ref().map(|path| path.display());
        Failure::Usage(format!(
            "no bundle given and none found; looked at ${VARIABLE} (not set), {here} and {source}; \
             name one with --model PATH"
        ))
    })
}
