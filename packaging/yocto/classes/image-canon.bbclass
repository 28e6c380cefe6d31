# Makes images canonical: IMAGE_CLASSES += "image-canon" in the configuration, and then either
#
#   IMAGE_FSTYPES += "ext4.canon"    a canonical image beside the other; also ext4.canon.zst, wic.canon, ...
#   CANON_IN_PLACE = "ext4 wic"      the images of these types become canonical before anything is made of them

# The time of whatever was touched after Yocto set the times of the root filesystem, which is also the time
# of its top folder. (SOURCE_DATE_EPOCH would not do: in tasks of an image it is a constant of 2011.)
CANON_EPOCH ?= "${@d.getVar('REPRODUCIBLE_TIMESTAMP_ROOTFS') or '$(stat -c %Y ${IMAGE_ROOTFS})'}"

# More options of ext4-canon.
CANON_OPTIONS ?= ""

CANON_IN_PLACE ?= ""

# What brings the program: "" where it is one of HOSTTOOLS.
CANON_DEPENDS ?= "ext4-canon-native"

# Up to mickledore the suffix is no part of IMAGE_NAME. Names come as arguments, since they hold the date,
# which must not become part of what a task depends on.
canon_image () {
	for image in "$1.$3" "$1$2.$3"; do
		if [ -f "$image" ]; then
			echo "$image"
			return
		fi
	done
	bbfatal "ext4-canon: there is neither $1.$3 nor $1$2.$3 in $(pwd)"
}

# Tasks of images run under pseudo, which does not see that a file gets its name by a system call of the program's
# own, and stops at the next use of it. What it knows nothing of, it leaves alone.
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

# At the end of what makes the image, so that compressed images and checksums are those of the canonical one.
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
