//! The layers for Yocto and Isar: BitBake parses them, and the tasks for images are run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{EPOCH, builder, makes_canonical, project, python, run_line};
use crate::support::ran::Ran;
use crate::support::tools::try_run;
use crate::support::{Lab, Need, gate, run, tool};

/// Stubs for the classes of a build system, with the same names and order as the original ones.
struct System {
    layer: &'static str,
    /// The program that runs the tasks of images.
    runner: &'static str,
    /// SOURCE_DATE_EPOCH in the tasks of images. In Yocto, this is a constant.
    epoch: &'static str,
    /// The name and text of a class that an image inherits after ours.
    types: (&'static str, &'static str),
}

const YOCTO: System = System {
    layer: "packaging/yocto",
    runner: "pseudo",
    epoch: "1302044400",
    types: (
        "image_types",
        r#"
CONVERSIONTYPES = "gz"
CONVERSION_CMD:gz = "gzip -n -c ${FILE_NAME}.${type} >${FILE_NAME}.${type}.gz"
IMAGE_CMD:ext4 = "make_image ext4"
IMAGE_CMD:wic () {
	make_image wic
}
make_image () {
	cp ${INPUT} ${IMGDEPLOYDIR}/${FILE_NAME}.$1
}
"#,
    ),
};

const ISAR: System = System {
    layer: "packaging/isar",
    runner: "env",
    epoch: EPOCH,
    types: (
        "imagetypes",
        r#"
IMAGE_CONVERSIONS = "gz"
SUDO_CHROOT = "imager_run -d ${IMGDEPLOYDIR} -u root --"
IMAGE_FILE_CHROOT = "${IMGDEPLOYDIR}/image.${type}"
CONVERSION_CMD:gz = "${SUDO_CHROOT} sh -c 'gzip -n -c ${IMAGE_FILE_CHROOT} >${IMAGE_FILE_CHROOT}.gz'"
IMAGE_CMD:ext4 = "cp ${INPUT} ${IMAGE_FILE_CHROOT}"
imager_run () {
	shift 5
	"$@"
}
"#,
    ),
};

/// Parses a layer with BitBake in a temporary directory.
fn bitbake(system: &System, mode: &str, what: &str, arguments: &[String]) -> String {
    let lab = Lab::new();
    let classes = lab.folder("classes");
    let (name, text) = system.types;
    fs::write(classes.join(format!("{name}.bbclass")), text).expect("writing");
    // Inherited classes only matter for a build, so they are empty.
    for empty in ["cargo", "externalsrc", "native", "nativesdk", "dpkg-prebuilt"] {
        fs::write(classes.join(format!("{empty}.bbclass")), "").expect("writing");
    }
    // Our class is inherited first, so an assignment in the other one would override ours.
    fs::write(lab.path("image.bb"), format!("inherit image-canon {name}\n")).expect("writing");
    run(python()
        .arg(project("tests/integration/packaging/bitbake.py"))
        .arg(mode)
        .arg(project(system.layer))
        .arg(classes.parent().expect("a folder"))
        .arg(what)
        .args(arguments))
}

/// Runs the task that makes an image of type `image_type` from `image` in `folder`.
fn build(system: &System, image_type: &str, folder: &Path, image: &Path, settings: &[&str]) -> Ran {
    // Yocto sets the mtime of the root filesystem.
    let root = folder.join("rootfs");
    fs::create_dir(&root).expect("a folder");
    run(tool("touch").args(["-d", &format!("@{EPOCH}")]).arg(&root));
    let paths = [("IMGDEPLOYDIR", folder), ("INPUT", image), ("IMAGE_ROOTFS", &root)];
    let mut arguments: Vec<_> =
        paths.iter().map(|(name, path)| format!("{name}={}", path.display())).collect();
    arguments.extend(settings.iter().map(|&setting| setting.to_owned()));
    let script = folder.join("task");
    let fatal = "bbfatal() { echo \"$*\" >&2; exit 1; }\n";
    fs::write(&script, fatal.to_owned() + &bitbake(system, "task", image_type, &arguments)).expect("writing");
    let mut command = builder(system.runner);
    command.env("PSEUDO_PREFIX", "/usr").env("PSEUDO_LOCALSTATEDIR", folder.join("pseudo"));
    command.arg("sh").arg(script).env("SOURCE_DATE_EPOCH", system.epoch);
    try_run(&mut command)
}

const NAMES: [&str; 3] =
    ["FILE_NAME=image-20261126", "IMAGE_NAME=image-20261126", "IMAGE_NAME_SUFFIX=.rootfs"];
/// Until mickledore, the suffix was not part of the name.
const OLD_NAMES: [&str; 3] =
    ["FILE_NAME=image-20261126.rootfs", "IMAGE_NAME=image-20261126", "IMAGE_NAME_SUFFIX=.rootfs"];

#[test]
fn a_conversion_of_yocto_makes_a_canonical_image() {
    if !gate(&[Need::PythonPackages, Need::Program("pseudo")]) {
        return;
    }
    let options = ["--source-date-epoch", EPOCH];
    for (names, product) in
        [(NAMES, "image-20261126.ext4.canon"), (OLD_NAMES, "image-20261126.rootfs.ext4.canon")]
    {
        makes_canonical(product, &options, &|folder, image| {
            build(&YOCTO, "ext4.canon", folder, image, &names)
        });
    }
    makes_canonical(
        "image-20261126.wic.canon",
        &["--source-date-epoch", "5", "--label", "x"],
        &|folder, image| {
            let settings =
                [&NAMES[..], &["REPRODUCIBLE_TIMESTAMP_ROOTFS=5", "CANON_OPTIONS=--label x"]].concat();
            build(&YOCTO, "wic.canon", folder, image, &settings)
        },
    );
}

#[test]
fn conversions_of_yocto_follow_one_another() {
    if !gate(&[Need::PythonPackages, Need::Program("pseudo")]) {
        return;
    }
    makes_canonical("unpacked", &["--source-date-epoch", EPOCH], &|folder, image| {
        let ran = build(&YOCTO, "ext4.canon.gz", folder, image, &NAMES);
        if ran.code != Some(0) {
            return ran;
        }
        run_line("gzip -dc image-20261126.ext4.canon.gz >unpacked", folder)
    });
}

#[test]
fn yocto_makes_the_image_itself_canonical_before_it_is_compressed() {
    if !gate(&[Need::PythonPackages, Need::Program("pseudo")]) {
        return;
    }
    for image_type in ["ext4", "wic"] {
        makes_canonical("unpacked", &["--source-date-epoch", EPOCH], &|folder, image| {
            let settings = [&NAMES[..], &["CANON_IN_PLACE=ext4 wic"]].concat();
            let ran = build(&YOCTO, &format!("{image_type}.gz"), folder, image, &settings);
            if ran.code != Some(0) {
                return ran;
            }
            let name = format!("image-20261126.{image_type}");
            run_line(&format!("set -e; gzip -dc {name}.gz >unpacked; cmp {name} unpacked"), folder)
        });
    }
    // Without the conversion in the image type, there is no task.
    let task = bitbake(&YOCTO, "task", "ext4", &["IMGDEPLOYDIR=/".to_owned()]);
    assert!(!task.contains("canon_"), "{task}");
}

#[test]
fn a_conversion_of_isar_makes_a_canonical_image() {
    if !gate(&[Need::PythonPackages]) {
        return;
    }
    makes_canonical("image.ext4.canon", &["--source-date-epoch", EPOCH], &|folder, image| {
        build(&ISAR, "ext4.canon", folder, image, &[])
    });
    makes_canonical("unpacked", &["--source-date-epoch", EPOCH], &|folder, image| {
        let ran = build(&ISAR, "ext4.canon.gz", folder, image, &[]);
        if ran.code != Some(0) {
            return ran;
        }
        run_line("gzip -dc image.ext4.canon.gz >unpacked", folder)
    });
}

/// Returns variables of the recipe.
fn variables(system: &System, names: &[&str]) -> Vec<(String, String)> {
    let file = recipe(system).display().to_string();
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let text = bitbake(system, "recipe", &file, &names);
    text.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

fn recipe(system: &System) -> PathBuf {
    let version = env!("CARGO_PKG_VERSION");
    project(system.layer).join(format!("recipes-devtools/ext4-canon/ext4-canon_{version}.bb"))
}

#[test]
fn the_recipe_of_yocto_fetches_the_crates_of_the_lock_file() {
    if !gate(&[Need::PythonPackages]) {
        return;
    }
    run(tool(project("packaging/yocto/update-crates")).arg("--check"));

    let mut crates = BTreeMap::new();
    let mut others = BTreeMap::new();
    for (name, value) in
        variables(&YOCTO, &["CRATES", "PV", "SUMMARY", "EXTERNALSRC", "LIC_FILES_CHKSUM", "BBCLASSEXTEND"])
    {
        if name == "crate" {
            let words: Vec<_> = value.split(' ').collect();
            assert_eq!(words[0], "Crate", "the fetcher");
            crates.insert(words[1].to_owned(), words[2].to_owned());
        } else {
            others.insert(name, value);
        }
    }
    let lock = fs::read_to_string(project("Cargo.lock")).expect("reading");
    let field = |package: &str, name: &str| {
        let start = format!("{name} = \"");
        let line = package.lines().find_map(|line| line.strip_prefix(start.as_str()));
        line.map(|line| line.trim_end_matches('"').to_owned())
    };
    let locked = lock.split("[[package]]").filter_map(|package| {
        let checksum = field(package, "checksum")?;
        Some((format!("{}-{}", field(package, "name")?, field(package, "version")?), checksum))
    });
    assert_eq!(crates, locked.collect());

    assert_eq!(others["PV"], env!("CARGO_PKG_VERSION"));
    assert_eq!(others["SUMMARY"], env!("CARGO_PKG_DESCRIPTION"));
    assert_eq!(Path::new(&others["EXTERNALSRC"]), project("."));
    assert!(others["BBCLASSEXTEND"].contains("native"));
    for licence in others["LIC_FILES_CHKSUM"].split(' ') {
        let (file, md5) = licence.trim_start_matches("file://").split_once(";md5=").expect("a checksum");
        assert!(run(tool("md5sum").arg(project(file))).starts_with(md5), "{file}");
    }
}

#[test]
fn the_recipe_of_isar_takes_the_package_of_this_version() {
    if !gate(&[Need::PythonPackages]) {
        return;
    }
    let of: BTreeMap<_, _> = variables(&ISAR, &["SRC_URI", "DESCRIPTION"]).into_iter().collect();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(of["SRC_URI"], format!("file://ext4-canon_{version}_${{PACKAGE_ARCH}}.deb"));
}
