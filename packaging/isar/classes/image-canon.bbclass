# Canonicalizes images. Set IMAGE_CLASSES += "image-canon" in the configuration, and IMAGE_FSTYPES +=
# "ext4.canon" in the configuration or in an image. Types such as ext4.canon.zst or wic.canon work too.

# Additional options of ext4-canon.
CANON_OPTIONS ?= ""

IMAGE_CONVERSIONS:append = " canon"

# Use Isar's epoch for the whole image. If there is none, mtimes are kept.
CONVERSION_CMD:canon = "${SUDO_CHROOT} env ${SOURCE_DATE_EPOCH:+SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH} \
    ext4-canon ${CANON_OPTIONS} '${IMAGE_FILE_CHROOT}' '${IMAGE_FILE_CHROOT}.canon'"

# Install the package in the imager, and depend on the recipe that builds it.
CONVERSION_DEPS:canon = "ext4-canon"
IMAGER_BUILD_DEPS += "ext4-canon"
