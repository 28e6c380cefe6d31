//! An emulated machine with the distribution's kernel, for features that the running kernel may lack: verity,
//! casefolding, quota.
//!
//! It boots into an initramfs that contains busybox, the modules and `fskeys`, and runs one script. The
//! images are its disks: /dev/vda, /dev/vdb and so on.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;

use super::fskeys;
use super::tools::{run, tool, try_run};

/// Modules that the tests need; their dependencies are added. Features that are built into the kernel have no
/// module.
const MODULES: [&str; 9] =
    ["virtio_pci", "virtio_blk", "crc32c_generic", "xts", "cts", "ecb", "sha512_generic", "ext4", "quota_v2"];

/// The init script: sets up the system, runs the test script, and turns the machine off. The second serial
/// line carries the output of the test script, followed by its exit code.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod /modules/$module || echo \"no $module\"; done </modules/order
stty -F /dev/ttyS1 raw -echo
sh -e /script >/out 2>&1 </dev/null
echo \"the script ended with $?\" >>/out
cat /out >/dev/ttyS1
sync
poweroff -f
";

/// Returns the image and the module directory of the newest installed kernel that has both.
fn installed_kernel() -> Option<(PathBuf, PathBuf)> {
    let mut folders: Vec<_> =
        fs::read_dir("/lib/modules").ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.sort();
    folders.into_iter().rev().find_map(|folder| {
        let version = folder.file_name()?.to_str()?.to_owned();
        let image = PathBuf::from(format!("/boot/vmlinuz-{version}"));
        (image.is_file() && folder.join("modules.dep").is_file()).then_some((image, folder))
    })
}

/// Returns whether a kernel and an emulator are installed.
pub fn is_there() -> bool {
    installed_kernel().is_some()
        && try_run(tool("sh").args(["-c", "command -v qemu-system-x86_64 busybox"])).code == Some(0)
}

/// Runs a script in the emulated machine, asserts that it succeeds, and returns its output.
pub fn emulated(images: &[&Path], script: &str) -> String {
    // One machine at a time is faster than several that share the processors.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (image, modules) = installed_kernel().expect("a kernel (see scripts/setup)");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [initrd, out, console] = ["initrd", "out", "console"].map(|name| folder.path().join(name));
    fs::write(&initrd, file_system(&modules, script)).expect("writing");
    let mut machine = tool("timeout");
    machine.args(["300", "qemu-system-x86_64", "-nodefaults", "-no-reboot", "-display", "none", "-m", "512"]);
    // KVM would be faster, but some machines have it and can't use it.
    machine.args(["-accel", "tcg", "-cpu", "max"]);
    // Set the clock back: it may run ahead, and e2fsck reports times in the future.
    let clock = run(tool("date").args(["-u", "-d", "1 hour ago", "+%Y-%m-%dT%H:%M:%S"]));
    machine.args(["-rtc", &format!("base={}", clock.trim())]);
    machine.arg("-kernel").arg(image).arg("-initrd").arg(&initrd);
    machine.args(["-append", "console=ttyS0 quiet panic=-1"]);
    for path in [&console, &out] {
        machine.arg("-serial").arg(format!("file:{}", path.display()));
    }
    for image in images {
        let words = format!("file={},format=raw,if=virtio,cache=unsafe,discard=unmap", image.display());
        machine.arg("-drive").arg(words);
    }
    let ran = try_run(machine.stdin(Stdio::null()));
    let text = String::from_utf8_lossy(&fs::read(&out).unwrap_or_default()).into_owned();
    let end = "the script ended with 0\n";
    match text.strip_suffix(end) {
        Some(printed) => printed.to_owned(),
        None => {
            let said = String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).into_owned();
            panic!("in the emulated machine:\n{script}\n{text}\n{ran:?}\n{said}")
        }
    }
}

/// Builds the initramfs: a cpio archive in the "newc" format.
fn file_system(modules: &Path, script: &str) -> Vec<u8> {
    let mut archive = Archive::default();
    for name in ["bin", "dev", "proc", "sys", "mnt", "tmp", "modules"] {
        archive.add(name, 0o040_755, &[]);
    }
    let busybox = std::env::var("PATH").unwrap_or_default();
    let busybox =
        busybox.split(':').map(|folder| Path::new(folder).join("busybox")).find(|path| path.is_file());
    let busybox = busybox.unwrap_or_else(|| "/bin/busybox".into());
    archive.add("bin/busybox", 0o100_755, &fs::read(busybox).expect("busybox"));
    archive.add("bin/fskeys", 0o100_755, &fs::read(fskeys::program()).expect("fskeys"));
    let mut order = String::new();
    for module in module_order(modules) {
        let name = Path::new(&module).file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        archive.add(&format!("modules/{name}"), 0o100_644, &unpacked(&modules.join(&module)));
        writeln!(order, "{name}").expect("writing to a string");
    }
    archive.add("modules/order", 0o100_644, order.as_bytes());
    archive.add("script", 0o100_644, script.as_bytes());
    archive.add("init", 0o100_755, INIT.as_bytes());
    archive.add("TRAILER!!!", 0, &[]);
    archive.0
}

/// Returns the names of the modules, with dependencies before the modules that need them.
fn module_order(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("modules.dep")).expect("modules.dep");
    let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
    for wanted in MODULES {
        let line = text.lines().find_map(|line| {
            let (module, needs) = line.split_once(':')?;
            let file = module.rsplit('/').next()?;
            (file.split(".ko").next()?.replace('-', "_") == wanted).then_some((module, needs))
        });
        let Some((module, needs)) = line else { continue };
        for module in needs.split_whitespace().rev().chain([module]) {
            if seen.insert(module) {
                order.push(module.to_owned());
            }
        }
    }
    order
}

/// Returns the bytes of a module, decompressed if necessary.
fn unpacked(module: &Path) -> Vec<u8> {
    let packer = match module.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(module).expect("a module"),
    };
    let output = tool(packer).arg("-dc").arg(module).output().expect("a packer");
    assert!(output.status.success(), "{packer} {}", module.display());
    output.stdout
}

/// A cpio archive in the "newc" format.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        let number = self.0.len();
        let fields = [number, mode as usize, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
        self.0.extend_from_slice(b"070701");
        for field in fields {
            self.0.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(0);
        self.pad();
        self.0.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}
