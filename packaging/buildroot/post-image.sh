#!/bin/sh
# For BR2_ROOTFS_POST_IMAGE_SCRIPT: canonicalizes the root filesystem, or the images in CANON_IMAGES. List it
# before the script that puts the filesystem into a disk image. Buildroot passes the same arguments to all
# scripts: first the image directory, then for example "-c genimage.cfg" for genimage.sh, which this script
# ignores.
set -eu

images=$1

# rootfs.ext3 and rootfs.ext4 are links to rootfs.ext2.
for image in ${CANON_IMAGES:-rootfs.ext2}; do
    ext4-canon --in-place "$images/$image"
done
