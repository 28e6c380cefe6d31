SUMMARY = "Turns any ext2/3/4 image into the canonical image of the same file tree"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = " \
    file://LICENSE-MIT;md5=92dd66d9a9ef31293853334b2ffc8b35 \
    file://LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
"

inherit cargo externalsrc

# Build from the checkout that contains this layer.
EXTERNALSRC = "${@os.path.realpath(d.getVar('THISDIR') + '/../../../..')}"

require ${BPN}-crates.inc

BBCLASSEXTEND = "native nativesdk"
