//! The templates of `skep new`, built into the binary.
//!
//! ```text
//! templates/image-resize/Cargo.toml ──► thumbnails/Cargo.toml      skep-template → thumbnails
//!                        src/lib.rs     thumbnails/src/lib.rs      skep_template → thumbnails
//! ```
//!
//! Each directory of `templates/` is a program that builds where it is, named `skep-template`.

use std::io;
use std::path::Path;

use crate::config::{NAME_RIGHT, is_name};

/// Stands in every file for the name of the program, also with `_` where a file name needs it.
const PLACEHOLDER: &str = "skep-template";

/// A program to begin with.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// Its directory in `templates/`, and what `--template` takes.
    pub name: &'static str,
    /// What the program does, in one line.
    pub about: &'static str,
    kind: Kind,
    /// What `skep run` needs beside the component.
    run: &'static str,
    /// Path and content.
    files: &'static [(&'static str, &'static [u8])],
}

/// How a program is built, and what comes of it.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Rust, as a component.
    Component,
    /// Rust, as a core module.
    Module,
    /// JavaScript, with npm.
    JavaScript,
}

/// A template whose files are those of its directory, which
/// `tests::every_file_of_a_directory_is_in_the_table` keeps true.
macro_rules! template {
    ($name:literal, $kind:ident, $run:literal, $about:literal, [$($file:literal),* $(,)?]) => {
        Template {
            name: $name,
            about: $about,
            kind: Kind::$kind,
            run: $run,
            files: &[$((
                $file,
                include_bytes!(concat!("../templates/", $name, "/", $file)),
            )),*],
        }
    };
}

/// Every template, in the order in which they are listed.
#[rustfmt::skip]
pub const TEMPLATES: &[Template] = &[
    template!("wasi-http-rust", Component, "", "Rust, wasi:http: greets, and sends bodies back as they come", [
        ".gitignore", "Cargo.lock", "Cargo.toml", "README.md", "skep.toml", "src/lib.rs",
    ]),
    template!("wasi-http-js", JavaScript, "", "JavaScript, wasi:http: the same", [
        ".gitignore", "README.md", "app.js", "package.json", "skep.toml", "world.wit",
    ]),
    template!("fastedge-rust", Module, "--config GREETING=hello --compat fastedge", "Rust, Gcore FastEdge: greets as its configuration says", [
        ".gitignore", "Cargo.lock", "Cargo.toml", "README.md", "skep.toml", "src/lib.rs",
    ]),
    template!("cdn-filter-rust", Module, "--origin http://127.0.0.1:9000", "Rust, proxy-wasm: lets only those with a token through to the origin", [
        ".gitignore", "Cargo.lock", "Cargo.toml", "README.md", "skep.toml", "src/lib.rs",
    ]),
    template!("markdown-to-html", Component, "", "Rust, wasi:http: makes HTML of the Markdown that it is sent", [
        ".gitignore", "Cargo.lock", "Cargo.toml", "README.md", "skep.toml", "src/lib.rs",
    ]),
    template!("image-resize", Component, "", "Rust, wasi:http: makes PNG and JPEG images small enough", [
        ".gitignore", "Cargo.lock", "Cargo.toml", "README.md", "skep.toml", "src/lib.rs",
    ]),
    template!("image-classify", Component, "", "Rust, wasi:http: tells shapes apart, with a small neural network", [
        ".gitignore", "Cargo.lock", "Cargo.toml", "README.md", "examples/train.rs", "skep.toml", "src/app.rs", "src/lib.rs",
        "src/model.bin", "src/model.rs", "src/shapes.rs", "src/training.rs", "tests/model.rs",
    ]),
    template!("s3-upload", Component, "--env S3_ENDPOINT=http://127.0.0.1:9000 --env S3_REGION=us-east-1 --env S3_BUCKET=uploads \
         --secret S3_KEY=minio --secret S3_SECRET=minio123 --secret UPLOAD_TOKEN=letmein --egress 127.0.0.1", "Rust, wasi:http: puts uploads into an S3 bucket as they come", [
        ".gitignore", "Cargo.lock", "Cargo.toml", "README.md", "skep.toml", "src/bucket.rs", "src/lib.rs",
    ]),
    template!("anonymous-proxy", Module, "--egress '*'", "Rust, Gcore FastEdge: fetches a URL without telling who asked", [
        ".gitignore", "Cargo.lock", "Cargo.toml", "README.md", "skep.toml", "src/lib.rs",
    ]),
];

/// The template of that name.
pub fn named(name: &str) -> Option<&'static Template> {
    TEMPLATES.iter().find(|template| template.name == name)
}

impl Template {
    /// Says why a program of this template cannot have that name.
    ///
    /// A name is good for a crate, a tenant and a label of a host name.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn check_name(&self, name: &str) -> Result<(), String> {
        if !is_name(name) {
            return Err(format!("not a name; {NAME_RIGHT} is right"));
        }
        if RESERVED.contains(&name) {
            return Err("a word of Rust or Cargo; another name is right".to_owned());
        }
        let line = format!("name = \"{name}\"");
        match self.lock().lines().any(|it| it == line) {
            true => Err("a crate that the program needs; another name is right".to_owned()),
            false => Ok(()),
        }
    }

    /// Writes the program's files, replacing none.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, dir: &Path, name: &str) -> io::Result<()> {
        for (path, content) in self.files {
            let path = dir.join(path);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            let mut file = std::fs::File::create_new(&path)?;
            match std::str::from_utf8(content) {
                Ok(text) if path.ends_with("Cargo.lock") => {
                    io::Write::write_all(&mut file, renamed_lock(text, name).as_bytes())?;
                }
                Ok(text) => io::Write::write_all(&mut file, renamed(text, name).as_bytes())?,
                Err(_) => io::Write::write_all(&mut file, content)?,
            }
        }
        Ok(())
    }

    /// What to type in the program's directory: one line builds it, one runs it.
    pub fn commands(&self, name: &str) -> [String; 2] {
        let (build, wasm) = match self.kind {
            Kind::Component => (
                "cargo build --release --target wasm32-wasip2",
                "target/wasm32-wasip2/release/skep_template.wasm",
            ),
            Kind::Module => (
                "cargo build --release --target wasm32-wasip1",
                "target/wasm32-wasip1/release/skep_template.wasm",
            ),
            Kind::JavaScript => ("npm install && npm run build", "skep-template.wasm"),
        };
        let run = format!("skep run {wasm} {}", self.run);
        [build.to_owned(), renamed(run.trim_end(), name)]
    }

    fn lock(&self) -> &'static str {
        let lock = self.files.iter().find(|(path, _)| *path == "Cargo.lock");
        lock.and_then(|(_, content)| std::str::from_utf8(content).ok())
            .unwrap_or_default()
    }
}

/// What is a name, but not of a crate.
#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
    "alloc", "build", "core", "deps", "examples", "incremental", "proc-macro", "std", "test",
];

fn renamed(text: &str, name: &str) -> String {
    text.replace(PLACEHOLDER, name)
        .replace(&PLACEHOLDER.replace('-', "_"), &name.replace('-', "_"))
}

/// A lock file with its packages in order again: Cargo takes it for changed otherwise.
fn renamed_lock(text: &str, name: &str) -> String {
    const START: &str = "\n[[package]]\n";
    let mut blocks: Vec<_> = text.trim_end().split(START).map(str::trim_end).collect();
    let own = format!("name = \"{PLACEHOLDER}\"");
    let renamed_own = renamed(
        blocks
            .iter()
            .find(|block| block.starts_with(&own))
            .unwrap_or(&""),
        name,
    );
    blocks.retain(|block| !block.starts_with(&own));
    let name_of = |block: &str| block.split('"').nth(1).unwrap_or_default().to_owned();
    let after = blocks
        .iter()
        .skip(1)
        .position(|block| name_of(block).as_str() > name);
    let at = after.map_or(blocks.len(), |at| at + 1);
    blocks.insert(at, &renamed_own);
    let mut out = blocks.join(&format!("\n{START}"));
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The files of a directory that Git keeps.
    fn files_below(dir: &Path, at: &str, out: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir.join(at)).expect("a directory") {
            let name = entry.expect("an entry").file_name();
            let path = format!("{at}{}", name.to_str().expect("text"));
            match dir.join(&path).is_dir() {
                true if path == "target" || path == "node_modules" => {}
                true => files_below(dir, &format!("{path}/"), out),
                false => drop(out.insert(path)),
            }
        }
    }

    #[test]
    fn every_file_of_a_directory_is_in_the_table() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(&root).expect("templates/") {
            names.insert(entry.expect("an entry").file_name());
        }
        assert_eq!(names, TEMPLATES.iter().map(|it| it.name.into()).collect());
        for template in TEMPLATES {
            let mut there = BTreeSet::new();
            files_below(&root.join(template.name), "", &mut there);
            let told = template.files.iter().map(|(path, _)| (*path).to_owned());
            assert_eq!(told.collect::<BTreeSet<_>>(), there, "{}", template.name);
        }
    }

    #[test]
    fn readmes_say_what_is_printed() {
        for template in TEMPLATES {
            let readme = template.files.iter().find(|(path, _)| *path == "README.md");
            let readme = std::str::from_utf8(readme.expect("a README").1).expect("text");
            for line in template.commands(PLACEHOLDER) {
                assert!(readme.contains(&line), "{}: {line}", template.name);
            }
            assert!(readme.starts_with("# skep-template\n"), "{}", template.name);
            assert!(readme.lines().count() <= 20, "{}", template.name);
        }
    }

    #[test]
    fn names() {
        let template = named("wasi-http-rust").expect("a template");
        for name in ["a", "shop-2", "image-resize"] {
            assert_eq!(template.check_name(name), Ok(()), "{name}");
        }
        let cases = [
            ("", "not a name"),
            ("Shop", "not a name"),
            ("2nd", "not a name"),
            ("a/b", "not a name"),
            ("..", "not a name"),
            ("a_b", "not a name"),
            ("-a", "not a name"),
            ("test", "a word of Rust"),
            ("fn", "a word of Rust"),
            ("wstd", "a crate that the program needs"),
        ];
        for (name, why) in cases {
            let refused = template.check_name(name).expect_err(name);
            assert!(refused.starts_with(why), "{name}: {refused}");
        }
    }

    #[test]
    fn a_lock_file_stays_in_order() {
        let lock = "# made by Cargo\nversion = 4\n\n[[package]]\nname = \"bytes\"\n\n[[package]]\nname = \"http\"\n\n\
                    [[package]]\nname = \"skep-template\"\ndependencies = [\n \"http\",\n]\n";
        let block =
            |name| format!("[[package]]\nname = \"{name}\"\ndependencies = [\n \"http\",\n]\n");
        let head = "# made by Cargo\nversion = 4\n";
        let (bytes, http) = (
            "[[package]]\nname = \"bytes\"\n",
            "[[package]]\nname = \"http\"\n",
        );
        for (name, parts) in [
            ("a", [head, &block("a"), bytes, http]),
            ("cat", [head, bytes, &block("cat"), http]),
            (
                "skep-template",
                [head, bytes, http, &block("skep-template")],
            ),
        ] {
            assert_eq!(renamed_lock(lock, name), parts.join("\n"), "{name}");
        }
    }
}
