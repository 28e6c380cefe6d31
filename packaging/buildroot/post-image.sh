#!/bin/sh
# For BR2_ROOTFS_POST_IMAGE_SCRIPT: canonicalizes the root filesystem, or the images in CANON_IMAGES. List it
# before the script that puts the filesystem into a disk image. Buildroot passes the same arguments to all
# scripts: first the image directory, then for example "-c genimage.cfg" for genimage.sh, which this script
# ignores. EXT4_CANON_OPTIONS has more options of ext4-canon.
set -eu

images=$1

# rootfs.ext3 and rootfs.ext4 are links to rootfs.ext2.
for image in ${CANON_IMAGES:-rootfs.ext2}; do
    # The options are separate words.
    # shellcheck disable=SC2086
    ext4-canon ${EXT4_CANON_OPTIONS:-} --in-place "$images/$image"
done
