//! Checks that the audit accepts plans of real images, and detects a change of any entry.

use std::path::Path;
use std::process::Command;

use super::audit;
use crate::error::Error;
use crate::observe::Silent;
use crate::pipeline::{Completed, Read};
use crate::plan::{self, Extent, PieceContent, Plan, QuotaBlock};
use crate::policy::Options;
use crate::read::Specials;
use crate::source::{Input, Source};
use crate::survey::StoredTree;
use crate::tree::NodeId;
use crate::units::{InodeNr, OutputBlock};
use crate::view::View;
use crate::{recover, survey};

fn run(program: &str, arguments: &[&str]) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).args(arguments).env("PATH", path).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Creates an image with every structure that needs blocks: extent trees or block maps of several levels, an
/// indexed directory, a long symlink, a shared xattr block, and EA inodes if possible.
fn image(options: &[&str], commands: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    std::fs::create_dir_all(tree.join("names")).unwrap();
    for number in 0..120 {
        let name = format!("names/a name long enough for an index of several blocks {number}");
        std::fs::write(tree.join(name), format!("{number}")).unwrap();
    }
    let comb = std::fs::File::create(tree.join("comb")).unwrap();
    for tooth in 0..700 {
        std::os::unix::fs::FileExt::write_all_at(&comb, &[7; 1024], tooth * 8192).unwrap();
    }
    for name in ["one", "two", "three"] {
        std::fs::write(tree.join(name), name.repeat(1000)).unwrap();
    }
    std::os::unix::fs::symlink("target/".repeat(12), tree.join("long")).unwrap();
    std::os::unix::fs::symlink("target", tree.join("short")).unwrap();
    std::fs::write(folder.path().join("value"), "v".repeat(300)).unwrap();
    std::fs::write(folder.path().join("long"), "w".repeat(3000)).unwrap();
    let image = folder.path().join("image");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (tree, image_name) = (text(&tree), text(&image));
    run("mke2fs", &[&["-q", "-F", "-d", &tree], options, &[&image_name, "24M"]].concat());
    for command in commands {
        let command = command.replace('@', &text(folder.path()));
        run("debugfs", &["-w", "-R", &command, &image_name]);
    }
    std::fs::read(image).unwrap()
}

/// Calls `work` with the plan of an image. `work` must undo its changes.
fn with_plan(bytes: &[u8], work: impl FnOnce(&mut Plan, StoredTree<'_>, &Specials)) {
    let input = Input::new(bytes);
    let recovery = recover::recover(&input).unwrap();
    let source = Source::open(input.clone(), &recovery.overlay).unwrap();
    let read = Read::of(&source, &recovery, &Options::default(), &Silent).unwrap();
    let Completed { options, reading, target, .. } = read.completed(&source).unwrap();
    let view = View { source: &source, tree: &reading.tree };
    let survey = survey::survey(view, &target.geometry, options.holes, &Silent);
    let mut plan = plan::plan(view.tree, &reading.inodes, &target, &survey, &options).unwrap();
    let tree = survey.stored(&reading.tree);
    audit(&plan, tree, &target.specials).unwrap();
    work(&mut plan, tree, &target.specials);
    audit(&plan, tree, &target.specials).expect("each change was undone");
}

/// A plan to test the audit with, and the number of changes that the audit detected.
struct Subject<'p> {
    plan: &'p mut Plan,
    tree: StoredTree<'p>,
    specials: &'p Specials,
    caught: usize,
}

impl Subject<'_> {
    /// Changes an entry, expects the audit to detect it, and undoes the change. Returns the error.
    fn change<T>(
        &mut self,
        what: &str,
        entry: impl Fn(&mut Plan) -> &mut T,
        change: impl Fn(&T) -> T,
    ) -> String {
        let changed = change(entry(self.plan));
        let before = std::mem::replace(entry(self.plan), changed);
        let words = match audit(self.plan, self.tree, self.specials) {
            Err(Error::Internal(words)) => words,
            other => panic!("{what}: {other:?}"),
        };
        self.caught += 1;
        *entry(self.plan) = before;
        words
    }

    /// Changes the plan of a directory, and expects the audit to detect the change of `what`.
    fn change_directory(&mut self, index: usize, what: &str, change: impl Fn(&mut plan::DirectoryPlan)) {
        let changed = |directory: &plan::DirectoryPlan| {
            let mut directory = directory.clone();
            change(&mut directory);
            directory
        };
        let words = self.change(what, |plan| &mut plan.directories.0[index].1, changed);
        assert!(words.contains(what), "{what}: {words}");
    }

    fn change_copies(&mut self) {
        let batches = self.plan.copies.batches.len();
        assert!(batches > 0, "nothing is copied");
        for index in 0..batches {
            self.change("pieces", |plan| &mut plan.copies.batches[index].pieces, |pieces| pieces + 1);
            self.change("pieces", |plan| &mut plan.copies.batches[index].pieces, |pieces| pieces - 1);
            self.change("run", |plan| &mut plan.copies.batches[index].start.run, |run| run + 1);
            self.change("block", |plan| &mut plan.copies.batches[index].start.logical, |block| block + 1);
            self.change("file", |plan| &mut plan.copies.batches[index].start.node, |node| NodeId(node.0 + 1));
        }
        self.change("batches", |plan| &mut plan.copies.batches, |batches| batches[1..].to_vec());
        self.change("batches", |plan| &mut plan.copies.batches, |batches| batches.repeat(2));
    }

    fn change_groups(&mut self) {
        for group in 0..self.plan.groups.len() {
            let next = |block: &OutputBlock| *block + 1;
            self.change("block bitmap", |plan| &mut plan.groups[group].block_bitmap, next);
            self.change("inode bitmap", |plan| &mut plan.groups[group].inode_bitmap, next);
            self.change("inode table", |plan| &mut plan.groups[group].inode_table, next);
            self.change("free clusters", |plan| &mut plan.counts[group].free_clusters, |count| count + 1);
            self.change("free inodes", |plan| &mut plan.counts[group].free_inodes, |count| count + 1);
            self.change("directories", |plan| &mut plan.counts[group].directories, |count| count + 1);
            self.change("unused inodes", |plan| &mut plan.counts[group].unused_inodes, |count| count + 1);
            for bit in 0..3 {
                self.change("flags", |plan| &mut plan.counts[group].flags, |flags| flags ^ 1 << bit);
            }
        }
    }

    fn change_superblock(&mut self) {
        macro_rules! fields {
            ($($field:ident)*) => {
                $(self.change(stringify!($field), |plan| &mut plan.superblock.$field, |value| (value.get() ^ 1).into());)*
            };
        }
        fields!(s_free_blocks_count_lo s_free_inodes_count s_overhead_clusters s_blocks_count_lo s_inodes_count
            s_journal_inum s_mmp_block s_usr_quota_inum s_grp_quota_inum s_prj_quota_inum s_orphan_file_inum
            s_blocks_per_group s_inodes_per_group s_feature_incompat s_feature_ro_compat s_log_block_size);
        self.change("blocks", |plan| &mut plan.geometry.blocks_count, |count| count - 16);
        self.change("groups", |plan| &mut plan.geometry.groups, |count| count + 1);
        self.change("bytes of the image", |plan| &mut plan.image_bytes, |bytes| bytes - 1024);
        self.change("bytes after the filesystem", |plan| &mut plan.rest, |_| 1024..2048);
        self.change("fast commits", |plan| &mut plan.fast_commit_blocks, |_| u32::MAX);
        self.change("bytes written", |plan| &mut plan.copies.bytes_written, |bytes| bytes + 1);
    }

    fn change_inodes(&mut self) {
        for node in 0..self.plan.numbering.numbers.len() {
            self.change("inode", |plan| &mut plan.numbering.numbers[node], |number| InodeNr(number.0 + 1));
            self.change(
                "lookup",
                |plan| &mut plan.numbering.by_number[node].0,
                |number| InodeNr(number.0 + 1),
            );
        }
        self.change("used inodes", |plan| &mut plan.numbering.used[0], |range| range.start..range.end + 1);
        self.change("used inodes", |plan| &mut plan.numbering.used[0], |range| range.start..range.end - 1);
        if self.plan.numbering.orphan_file.is_some() {
            self.change(
                "orphan file",
                |plan| &mut plan.numbering.orphan_file,
                |number| number.map(|number| InodeNr(number.0 + 1)),
            );
        }
        for value in 0..self.plan.numbering.ea_inodes.len() {
            self.change(
                "EA inode",
                |plan| &mut plan.numbering.ea_inodes[value],
                |number| InodeNr(number.0 - 1),
            );
        }
    }

    fn change_layout(&mut self) {
        let cluster = self.plan.geometry.blocks_per_cluster;
        for index in 0..self.plan.layout.extents.len() {
            for change in [
                |extent: &Extent| {
                    Extent::new(extent.logical, extent.count, extent.physical() + 1, extent.unwritten())
                },
                |extent: &Extent| {
                    Extent::new(extent.logical + 1, extent.count, extent.physical(), extent.unwritten())
                },
                |extent: &Extent| {
                    Extent::new(extent.logical, extent.count + 1, extent.physical(), extent.unwritten())
                },
                |extent: &Extent| {
                    Extent::new(extent.logical, extent.count - 1, extent.physical(), extent.unwritten())
                },
                |extent: &Extent| {
                    Extent::new(extent.logical, extent.count, extent.physical(), !extent.unwritten())
                },
                |extent: &Extent| {
                    Extent::new(extent.logical, extent.count, OutputBlock(1 << 40), extent.unwritten())
                },
            ] {
                self.change("extent", |plan| &mut plan.layout.extents[index], change);
            }
        }
        let next = |block: &OutputBlock| *block + cluster;
        for index in 0..self.plan.layout.map_nodes.len() {
            self.change("map block", |plan| &mut plan.layout.map_nodes[index], next);
        }
        for index in 0..self.plan.layout.xattr_blocks.len() {
            self.change("xattr block", |plan| &mut plan.layout.xattr_blocks[index], next);
            let table = self.plan.groups[0].inode_table;
            self.change("xattr block", |plan| &mut plan.layout.xattr_blocks[index], |_| table);
        }
        let moved =
            |block: &Option<OutputBlock>| Some(OutputBlock(block.map_or(cluster, |block| block.0 + cluster)));
        self.change("resize inode", |plan| &mut plan.layout.resize_block, moved);
        self.change("MMP block", |plan| &mut plan.layout.mmp_block, moved);
        self.change("journal", |plan| &mut plan.layout.journal, |file| file.xor(Some(Default::default())));
        self.change(
            "orphan file",
            |plan| &mut plan.layout.orphan_file,
            |file| file.xor(Some(Default::default())),
        );
        let words = self.change("clusters", |plan| &mut plan.layout.blocks_per_cluster, |blocks| blocks * 3);
        assert!(words.contains("i_blocks") || self.plan.layout.journal.is_none(), "{words}");
        for node in 0..self.plan.layout.nodes.len() {
            let other = self.plan.layout.journal.unwrap_or_default();
            self.change("file", |plan| &mut plan.layout.nodes[node], |_| other);
        }
        for index in 0..self.plan.layout.ea_inodes.len() {
            self.change("EA inode", |plan| &mut plan.layout.ea_inodes[index], |_| Default::default());
        }
        let last = self.plan.layout.free.ranges.len() - 1;
        self.change("free blocks", |plan| &mut plan.layout.free.ranges[last], |r| r.start + cluster..r.end);
        self.change("free blocks", |plan| &mut plan.layout.free.ranges[last], |r| r.start - cluster..r.end);
        self.change("free blocks", |plan| &mut plan.layout.free.ranges[last], |r| r.start..r.end - cluster);
        self.change("free blocks", |plan| &mut plan.layout.free.ranges, |ranges| ranges[..last].to_vec());
    }

    fn change_directories(&mut self) {
        for index in 0..self.plan.directories.0.len() {
            self.change("directory", |plan| &mut plan.directories.0[index].1.blocks, |count| count + 1);
            self.change(
                "leaves",
                |plan| &mut plan.directories.0[index].1.starts,
                |starts| starts.iter().map(|start| start + 1).collect(),
            );
            let index_of = |plan: &mut Plan| plan.directories.0[index].1.index.clone();
            if index_of(self.plan).is_some() {
                fn at(plan: &mut Plan, index: usize) -> &mut plan::IndexPlan {
                    plan.directories.0[index].1.index.as_deref_mut().expect("an index")
                }
                self.change("order", |plan| &mut at(plan, index).order[0], |place| place + 1);
                self.change("hashes", |plan| &mut at(plan, index).hashes, |hashes| hashes[1..].to_vec());
                self.change_directory(index, "the hashes", |directory| {
                    directory.index.as_deref_mut().expect("an index").hashes.swap(0, 1);
                });
                self.change_directory(index, "the hashes", |directory| {
                    directory.index.as_deref_mut().expect("an index").hashes[1] ^= 1;
                });
                self.change_directory(index, "the hash", |directory| {
                    directory.index.as_deref_mut().expect("an index").order.reverse();
                });
                self.change_directory(index, "the hash", |directory| {
                    let order = &mut directory.index.as_deref_mut().expect("an index").order;
                    let (place, last) = (order.len() / 2, order.len() - 1);
                    order.swap(place, last);
                });
                for levels in [vec![2], vec![0], vec![1; 3]] {
                    self.change_directory(index, "the index levels", |directory| {
                        directory.blocks += levels.iter().sum::<u32>();
                        directory.index.as_deref_mut().expect("an index").levels.clone_from(&levels);
                    });
                }
                self.change_directory(index, "no room", |directory| {
                    directory.starts.truncate(1);
                    directory.blocks = 2;
                    directory.index.as_deref_mut().expect("an index").hashes.truncate(1);
                });
                self.change(
                    "levels",
                    |plan| &mut at(plan, index).levels,
                    |levels| [&levels[..], &[1]].concat(),
                );
            }
        }
    }

    fn change_xattrs(&mut self) {
        for index in 0..self.plan.xattrs.blocks.len() {
            self.change("references", |plan| &mut plan.xattrs.blocks[index].refcount, |count| count + 1);
        }
        for index in 0..self.plan.xattrs.ea_inodes.len() {
            self.change("references", |plan| &mut plan.xattrs.ea_inodes[index].references, |count| count + 1);
            self.change("value", |plan| &mut plan.xattrs.ea_inodes[index].text, |_| Default::default());
        }
        let with_xattrs: Vec<_> =
            self.tree.tree.ids().filter(|id| self.tree.tree.node(*id).xattrs.is_some()).collect();
        for id in with_xattrs {
            self.change("split", |plan| &mut plan.xattrs.split_of[id.index()], |_| 0);
            self.change(
                "block",
                |plan| &mut plan.xattrs.block_of[id.index()],
                |block| u32::from(*block == 0),
            );
        }
        for quota in 0..self.plan.quotas.len() {
            for block in 0..self.plan.quotas[quota].blocks.len() {
                self.change(
                    "quota file",
                    |plan| &mut plan.quotas[quota].blocks[block],
                    |block| match *block {
                        QuotaBlock::Header => QuotaBlock::Tree(0, 0),
                        QuotaBlock::Tree(level, first) => QuotaBlock::Tree(level, first + 1),
                        QuotaBlock::Data(first) => QuotaBlock::Data(first + 14),
                    },
                );
            }
            for entry in 0..self.plan.quotas[quota].entries.len() {
                self.change(
                    "bytes",
                    |plan| &mut plan.quotas[quota].entries[entry].usage.bytes,
                    |bytes| bytes + 1,
                );
                self.change(
                    "inodes",
                    |plan| &mut plan.quotas[quota].entries[entry].usage.inodes,
                    |count| count + 1,
                );
            }
            self.change("ids", |plan| &mut plan.quotas[quota].entries, |_| Vec::new());
            self.change("quota file", |plan| &mut plan.quotas[quota].blocks, |blocks| blocks.repeat(40));
            self.change(
                "quota file",
                |plan| &mut plan.quotas[quota].blocks,
                |blocks| blocks.iter().rev().copied().collect(),
            );
        }
    }

    fn change_pieces(&mut self) {
        for index in 0..self.plan.rendered.len() {
            let content = self.plan.rendered[index].content;
            let what = content.describe();
            self.change(&what, |plan| &mut plan.rendered[index].start, |start| *start + 1);
            self.change(&what, |plan| &mut plan.rendered[index].start, |_| OutputBlock(1 << 40));
            self.change(&what, |plan| &mut plan.rendered[index].bytes, |bytes| bytes + 1024);
            self.change(
                &what,
                |plan| &mut plan.rendered,
                |pieces| {
                    let mut pieces = pieces.clone();
                    pieces.remove(index);
                    pieces
                },
            );
            let other = if content == PieceContent::Mmp { PieceContent::Boot } else { PieceContent::Mmp };
            self.change(&what, |plan| &mut plan.rendered[index].content, |_| other);
        }
    }
}

fn every_change_is_noticed(options: &[&str], commands: &[&str], least: usize) {
    with_plan(&image(options, commands), |plan, tree, specials| {
        let mut subject = Subject { plan, tree, specials, caught: 0 };
        subject.change_groups();
        subject.change_superblock();
        subject.change_inodes();
        subject.change_layout();
        subject.change_directories();
        subject.change_xattrs();
        subject.change_pieces();
        subject.change_copies();
        assert!(subject.caught > least, "{}", subject.caught);
    });
}

const SHARED: [&str; 3] =
    ["ea_set -f @/value one user.a", "ea_set -f @/value two user.a", "ea_set -f @/value three user.b"];

#[test]
fn of_a_filesystem_with_extents() {
    let features = "quota,orphan_file,mmp,ea_inode,^64bit";
    let commands = [&SHARED[..], &["ea_set -f @/long comb user.long"]].concat();
    every_change_is_noticed(
        &["-t", "ext4", "-b", "1024", "-O", features, "-E", "quotatype=usrquota"],
        &commands,
        2000,
    );
}

#[test]
fn of_a_filesystem_with_block_maps() {
    every_change_is_noticed(&["-t", "ext3", "-b", "1024", "-g", "4096", "-I", "256"], &SHARED, 2000);
}

#[test]
fn of_clusters() {
    every_change_is_noticed(&["-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "8192"], &SHARED, 1000);
}

#[test]
fn of_inline_data() {
    every_change_is_noticed(
        &["-t", "ext4", "-O", "inline_data,meta_bg,^resize_inode", "-g", "2048"],
        &SHARED,
        500,
    );
}
