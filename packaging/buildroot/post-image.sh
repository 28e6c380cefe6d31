#!/bin/sh
# For BR2_ROOTFS_POST_IMAGE_SCRIPT: makes the root filesystem canonical, or the images that CANON_IMAGES names.
# Stands before what puts the filesystem into the image of a disk. All such scripts get the same arguments behind the
# folder of the images, as "-c genimage.cfg" for genimage.sh: these are not for this one.
set -eu

images=$1

# rootfs.ext3 and rootfs.ext4 are links to rootfs.ext2.
for image in ${CANON_IMAGES:-rootfs.ext2}; do
    ext4-canon --in-place "$images/$image"
done
