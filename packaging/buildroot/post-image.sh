#!/bin/sh
# For BR2_ROOTFS_POST_IMAGE_SCRIPT: makes the root filesystem canonical, and the images named in BR2_ROOTFS_POST_SCRIPT_ARGS.
# Stands before what puts the filesystem into the image of a disk.
set -eu

images=$1
shift

# rootfs.ext3 and rootfs.ext4 are links to rootfs.ext2.
for image in rootfs.ext2 "$@"; do
    ext4-canon --in-place "$images/$image"
done
