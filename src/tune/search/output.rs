//! The two files of a search: `NAME`, the profile, and `NAME.evidence.json`; and its lines.
//!
//! Each file replaces its old one whole, and an old one of another search only when that is asked for.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::evidence::Evidence;
use super::session::{Stop, Witness};
use crate::config::Profile;

/// What the evidence's file is called after the profile's.
const EVIDENCE: &str = ".evidence.json";

/// Where everything goes.
pub struct Output<'a> {
    profile: PathBuf,
    evidence: PathBuf,
    say: &'a mut dyn FnMut(&str),
}

impl<'a> Output<'a> {
    /// # Errors
    /// When a file is there that may not be replaced, or no directory for it.
    pub fn new(
        profile: &Path,
        overwrite: bool,
        say: &'a mut dyn FnMut(&str),
    ) -> Result<Output<'a>, Stop> {
        let mut evidence = profile.as_os_str().to_owned();
        evidence.push(EVIDENCE);
        let evidence = PathBuf::from(evidence);
        let wrong = |text: String| Stop::Wrong(format!("--output: {text}"));
        if profile.extension().is_none_or(|it| it != "toml") {
            let shown = profile.display();
            let line = format!("{shown}: a profile's name ends in .toml");
            return Err(wrong(line));
        }
        for path in [profile, &evidence] {
            if !overwrite && path.symlink_metadata().is_ok() {
                let shown = path.display();
                let line = format!("{shown} is there already; --overwrite replaces it");
                return Err(wrong(line));
            }
        }
        let output = Output {
            profile: profile.to_owned(),
            evidence,
            say,
        };
        match output.dir().is_dir() {
            true => Ok(output),
            false => Err(wrong(format!("{}: no directory", output.dir().display()))),
        }
    }

    /// The directory of both files.
    pub fn dir(&self) -> &Path {
        match self.profile.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        }
    }

    /// Writes the profile, once it is known that it can be read again.
    ///
    /// # Errors
    /// When it cannot be written, or is none.
    pub fn write_profile(&self, text: &str) -> Result<(), String> {
        let file = self.temporary(".toml")?;
        std::fs::write(file.path(), text).map_err(|error| self.wrong(&error))?;
        let path = file.path().to_string_lossy();
        Profile::find(&path, Path::new(".")).map_err(|errors| errors.to_string())?;
        file.persist(&self.profile)
            .map_err(|error| self.wrong(&error.error))?;
        Ok(())
    }

    /// Writes the evidence for the last time and says how it ended.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(&mut self, evidence: &Evidence) -> Result<(), String> {
        self.keep(evidence)?;
        if evidence.trials.iter().any(|trial| trial.score.is_some()) {
            let shown = self.evidence.display();
            let line = format!("\n{}\nevidence: {shown}", evidence.ending);
            (self.say)(&line);
        }
        Ok(())
    }

    fn temporary(&self, suffix: &str) -> Result<tempfile::NamedTempFile, String> {
        tempfile::Builder::new()
            .prefix(".skep-search-")
            .suffix(suffix)
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(self.dir())
            .map_err(|error| self.wrong(&error))
    }

    fn wrong(&self, error: &std::io::Error) -> String {
        format!("cannot write below {}: {error}", self.dir().display())
    }
}

impl Witness for Output<'_> {
    fn say(&mut self, text: &str) {
        (self.say)(text);
    }

    /// Nothing is kept of a search that measured nothing.
    fn keep(&mut self, evidence: &Evidence) -> Result<(), String> {
        if evidence.trials.iter().all(|trial| trial.score.is_none()) {
            return Ok(());
        }
        let file = self.temporary(".json")?;
        let mut text = Vec::new();
        let mut json = serde_json::Serializer::pretty(&mut text);
        evidence
            .serialize(&mut json)
            .map_err(|error| error.to_string())?;
        text.push(b'\n');
        std::fs::write(file.path(), text).map_err(|error| self.wrong(&error))?;
        file.persist(&self.evidence)
            .map_err(|error| self.wrong(&error.error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_replaced_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let profile = dir.path().join("p.toml");
        let beside = dir.path().join("p.toml.evidence.json");
        let refusal = |path: &Path, overwrite| {
            let found = Output::new(path, overwrite, &mut |_| {}).err();
            found.map(|stop| format!("{stop:?}"))
        };
        assert_eq!(refusal(&profile, false), None);
        for path in [&profile, &beside] {
            std::fs::write(path, "").unwrap();
            let found = refusal(&profile, false).unwrap();
            assert!(found.contains("is there already; --overwrite"), "{found}");
            assert_eq!(refusal(&profile, true), None);
            std::fs::remove_file(path).unwrap();
        }
        let found = refusal(&dir.path().join("no/p.toml"), false).unwrap();
        assert!(found.contains("no directory"), "{found}");
        let found = refusal(&dir.path().join("p.json"), false).unwrap();
        assert!(found.contains("ends in .toml"), "{found}");
    }
}
