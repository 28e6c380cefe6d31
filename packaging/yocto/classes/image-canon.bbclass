# Canonicalizes images. Set IMAGE_CLASSES += "image-canon" in the configuration, and then either
#
#   IMAGE_FSTYPES += "ext4.canon"    an additional canonical image; also ext4.canon.zst, wic.canon, ...
#   CANON_IN_PLACE = "ext4 wic"      canonicalizes images of these types before others are made from them

# The latest mtime of files, which are clamped to it: the time that Yocto has set for the root filesystem,
# which its top directory also has. (SOURCE_DATE_EPOCH is not suitable: in tasks of images, it is a constant
# from 2011.)
CANON_EPOCH ?= "${@d.getVar('REPRODUCIBLE_TIMESTAMP_ROOTFS') or '$(stat -c %Y ${IMAGE_ROOTFS})'}"

# Additional options of ext4-canon.
CANON_OPTIONS ?= ""

CANON_IN_PLACE ?= ""

# The recipe that provides the program; set it to "" if the program is in HOSTTOOLS.
CANON_DEPENDS ?= "ext4-canon-native"

# Prints the name of an image. Until mickledore, the suffix was not part of IMAGE_NAME. Names are passed as
# arguments: they contain the date, which must not affect the task's signature.
canon_image () {
	for image in "$1.$3" "$1$2.$3"; do
		if [ -f "$image" ]; then
			echo "$image"
			return
		fi
	done
	bbfatal "ext4-canon: there is neither $1.$3 nor $1$2.$3 in $(pwd)"
}

# Tasks of images run under pseudo. It does not notice that the program names its output with linkat, and
# aborts when the file is used. With PSEUDO_UNLOAD=1 it does not track the file.
canon_convert () {
	canon_image=$(canon_image "$1" "$2" "$3")
	PSEUDO_UNLOAD=1 ext4-canon --source-date-epoch "${CANON_EPOCH}" ${CANON_OPTIONS} "$canon_image" "$canon_image.canon"
}

canon_in_place () {
	cd ${IMGDEPLOYDIR}
	canon_convert "$1" "$2" "$3"
	mv "$canon_image.canon" "$canon_image"
}

CONVERSIONTYPES:append = " canon"
CONVERSION_CMD:canon = "canon_convert '${IMAGE_NAME}' '${IMAGE_NAME_SUFFIX}' '${type}'"
CONVERSION_DEPENDS_canon = "${CANON_DEPENDS}"

# Appended to the command that makes the image, so that compressed images and checksums use the canonical one.
def canon_in_place_command(image_type, d):
    if image_type not in d.getVar('CANON_IN_PLACE').split():
        return ''
    return "\n\tcanon_in_place '${IMAGE_NAME}' '${IMAGE_NAME_SUFFIX}' '%s'\n" % image_type

def canon_in_place_depends(image_type, d):
    if image_type not in d.getVar('CANON_IN_PLACE').split():
        return ''
    return ' '.join(recipe + ':do_populate_sysroot' for recipe in d.getVar('CANON_DEPENDS').split())

IMAGE_CMD:ext2:append = "${@canon_in_place_command('ext2', d)}"
IMAGE_CMD:ext3:append = "${@canon_in_place_command('ext3', d)}"
IMAGE_CMD:ext4:append = "${@canon_in_place_command('ext4', d)}"
IMAGE_CMD:wic:append = "${@canon_in_place_command('wic', d)}"
do_image_ext2[depends] += "${@canon_in_place_depends('ext2', d)}"
do_image_ext3[depends] += "${@canon_in_place_depends('ext3', d)}"
do_image_ext4[depends] += "${@canon_in_place_depends('ext4', d)}"
do_image_wic[depends] += "${@canon_in_place_depends('wic', d)}"
