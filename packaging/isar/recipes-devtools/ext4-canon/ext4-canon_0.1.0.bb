DESCRIPTION = "Turns any ext2/3/4 image into the canonical image of the same file tree"
MAINTAINER = "ext4-canon developers"

inherit dpkg-prebuilt

# Created by: scripts/debian-package packaging/isar/recipes-devtools/ext4-canon/files
SRC_URI = "file://ext4-canon_${PV}_${PACKAGE_ARCH}.deb"
