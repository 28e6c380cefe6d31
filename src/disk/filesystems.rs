//! Computes digests, listings and explanations of the filesystems on a disk, and reads files.

use super::chosen::ChosenFilesystem;
use super::image::Disk;
use crate::content::FileContent;
use crate::error::{Error, Location, Result, Structure};
use crate::explain::{self, Explanation};
use crate::listing::{self, ListedPath};
use crate::observe::Observer;
use crate::ondisk::inode::InodeFlags;
use crate::pipeline;
use crate::policy::{Options, StaleUuids, UuidPolicy};
use crate::report::Digest;
use crate::settings::Settings;
use crate::source::Source;
use crate::text::escaped_text;
use crate::tree::{NodeId, Tree};
use crate::tree_digest::{self, Start};
use crate::view::View;

impl Disk<'_> {
    /// Returns the SHA-256 of the canonical form of the only filesystem, as if it were a separate image.
    ///
    /// # Errors
    ///
    /// `Options` if several filesystems were selected, otherwise see [`Error`].
    pub fn filesystem_digest(&self, options: &Options, observer: &dyn Observer) -> Result<Digest> {
        let part = self.only()?;
        let settled = self.settle(options, observer)?;
        let new_values = settled.new_values();
        let task = self.task(0, &settled, new_values.as_ref(), observer);
        let digest = pipeline::digest(&self.filesystem(part), task);
        let (report, sha256) = digest.map_err(|error| Self::error(part, error))?;
        let mut reports = [report];
        self.notice(&mut reports, &settled, options, false)?;
        let [report] = reports;
        Ok(Digest { sha256, warnings: report.all_warnings().map(str::to_owned).collect() })
    }

    /// Returns the digest of the tree of the only filesystem, as specified in docs/tree-digest.md.
    ///
    /// # Errors
    ///
    /// The same as for [`Self::filesystem_digest`].
    pub fn tree_digest(&self, options: &Options, observer: &dyn Observer) -> Result<Digest> {
        let digest =
            |source: &Source<'_>, tree: &Tree| tree_digest::tree_digest(View { source, tree }, observer);
        let (sha256, warnings) = self.with_tree(options, observer, digest)?;
        Ok(Digest { sha256, warnings })
    }

    /// Calls `visit` with `path` and each path below it in the only filesystem. Symlinks in `path` are
    /// followed, and the listing starts with the path of the target. Directories come before their entries,
    /// and names are in byte order. Computes digests of regular files if `digests` is true. Returns the
    /// warnings about the image.
    ///
    /// # Errors
    ///
    /// `Options` if there is no such path, otherwise the same as for [`Self::filesystem_digest`].
    pub fn list(
        &self,
        path: &[u8],
        options: &Options,
        digests: bool,
        observer: &dyn Observer,
        visit: impl FnMut(&ListedPath<'_>),
    ) -> Result<Vec<String>> {
        let list = |source: &Source<'_>, tree: &Tree| {
            let (id, path) = resolved(tree, path, "give a path that ls lists")?;
            listing::list(View { source, tree }, Start { path: &path, id }, digests, observer, visit)
        };
        Ok(self.with_tree(options, observer, list)?.1)
    }

    /// Calls `read` with a regular file of the only filesystem. Returns the result of `read`, and the
    /// warnings about the image.
    ///
    /// # Errors
    ///
    /// `Options` if the path does not exist or is not a regular file, `Unsupported` if the file is encrypted,
    /// otherwise the same as for [`Self::filesystem_digest`].
    pub fn read_file<T>(
        &self,
        path: &[u8],
        options: &Options,
        observer: &dyn Observer,
        read: impl FnOnce(&FileContent<'_, '_>) -> T,
    ) -> Result<(T, Vec<String>)> {
        self.with_tree(options, observer, |source, tree| {
            find(View { source, tree }, path).map(|file| read(&file))
        })
    }

    /// Returns the settings of the only filesystem, for [`Options::like`].
    ///
    /// # Errors
    ///
    /// The same as for [`Self::filesystem_digest`].
    pub fn settings(&self, observer: &dyn Observer) -> Result<Settings> {
        let part = self.only()?;
        pipeline::settings(&self.filesystem(part), observer).map_err(|error| Self::error(part, error))
    }

    /// Lists the changes that canonicalizing makes in each filesystem, grouped by cause, with at most
    /// `examples` examples for each change.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn explain(
        &self,
        options: &Options,
        examples: usize,
        observer: &dyn Observer,
    ) -> Result<Vec<Explanation>> {
        // The findings are shown even if boot files would name an old UUID.
        let options = match options.stale_uuids {
            StaleUuids::Refuse => &options.clone().stale_uuids(StaleUuids::Allow),
            _ => options,
        };
        let settled = self.settle(options, observer)?;
        let new_values = settled.new_values();
        let explain = |(index, part): (usize, &ChosenFilesystem)| {
            let task = self.task(index, &settled, new_values.as_ref(), observer);
            explain::explain(&self.filesystem(part), part.name.clone(), examples, task)
                .map_err(|error| Self::error(part, error))
        };
        self.parts.iter().enumerate().map(explain).collect()
    }

    /// Reads the tree of the only filesystem, and passes it to `work`. The UUID policy is ignored, since the
    /// UUID is not part of the tree.
    fn with_tree<T>(
        &self,
        options: &Options,
        observer: &dyn Observer,
        work: impl FnOnce(&Source<'_>, &Tree) -> Result<T>,
    ) -> Result<(T, Vec<String>)> {
        let part = self.only()?;
        let options = options.clone().uuid(UuidPolicy::Keep);
        let read = pipeline::with_tree(&self.filesystem(part), &options, observer, |source, reading| {
            Ok((work(source, &reading.tree)?, reading.warnings.clone()))
        });
        read.map_err(|error| Self::error(part, error))
    }
}

/// Returns the node at a path, and its path without symlinks.
fn resolved(tree: &Tree, path: &[u8], remedy: &'static str) -> Result<(NodeId, Vec<u8>)> {
    tree.resolve(path).ok_or_else(|| {
        Error::options(format!("{}: there is no such path in the image", escaped_text(path)), remedy)
    })
}

/// Finds a regular file by its path.
fn find<'s, 'a>(view: View<'s, 'a>, path: &[u8]) -> Result<FileContent<'s, 'a>> {
    let remedy = "give the path of a regular file";
    let (id, _) = resolved(view.tree, path, remedy)?;
    let Some(file) = FileContent::of(view, id) else {
        return Err(Error::options(format!("{}: is not a regular file", escaped_text(path)), remedy));
    };
    if view.tree.node(id).flags.contains(InodeFlags::ENCRYPT) {
        return Err(Location::of(Structure::Image).unsupported(
            format!("{}: is encrypted, and no key is available", escaped_text(path)),
            "mount the image, add the key, and copy the file",
        ));
    }
    Ok(file)
}
