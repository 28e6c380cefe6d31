//! The output does not depend on the number of threads.

use crate::support::dice::Dice;
use crate::support::{Lab, Need, canonical, fill, partly, same_bytes, tree};

#[test]
fn one_thread_and_many_write_the_same_bytes() {
    let lab = Lab::new();
    let source = lab.plain_tree();
    for name in ["b", "c", "d"] {
        std::fs::create_dir(source.join(name)).expect("a folder");
        tree::plain(&source.join(name));
    }
    std::fs::write(source.join("large"), Dice::noise(5, 5_000_000)).expect("writing");
    tree::set_all_mtimes(&source);
    let mut images = vec![lab.mke2fs_d("mke2fs.img", "64M", &["-t", "ext4", "-b", "1024"], &source)];
    if partly(&[Need::Mounts]) {
        let image = lab.mke2fs("kernel.img", "64M", &["-t", "ext4", "-b", "1024"]);
        fill::kernel(&image, |root| fill::copy(&source, root));
        images.push(image);
    }
    let one = canonical(&images[0], &["--threads", "1"]);
    for image in &images {
        for threads in ["2", "3", "16"] {
            same_bytes(&one, &canonical(image, &["--threads", threads]));
        }
    }
}
