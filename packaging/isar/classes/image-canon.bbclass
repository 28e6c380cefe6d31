# Makes images canonical: IMAGE_CLASSES += "image-canon" in the configuration, and IMAGE_FSTYPES += "ext4.canon"
# in that or in an image; also ext4.canon.zst, wic.canon, ...

# More options of ext4-canon.
CANON_OPTIONS ?= ""

IMAGE_CONVERSIONS:append = " canon"

# The epoch that Isar has for the whole image; without one, times are kept.
CONVERSION_CMD:canon = "${SUDO_CHROOT} env ${SOURCE_DATE_EPOCH:+SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH} \
    ext4-canon ${CANON_OPTIONS} '${IMAGE_FILE_CHROOT}' '${IMAGE_FILE_CHROOT}.canon'"

# The package, to be installed where images are made, and the recipe that builds it.
CONVERSION_DEPS:canon = "ext4-canon"
IMAGER_BUILD_DEPS += "ext4-canon"
