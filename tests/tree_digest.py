#!/usr/bin/env python3
"""Prints the digest of a mounted tree, or with --text the text that it is computed from.

This is an independent implementation of docs/tree-digest.md. It needs root to read all xattrs. Python can't
read the flags of special files and symlinks, so these are treated as 0. The allocation of encrypted files is
ignored too.
"""

import fcntl
import hashlib
import os
import stat
import struct
import sys

FS_IOC_GETFLAGS = 0x80086601
FS_IOC_FSGETXATTR = 0x801C581F

FLAGS = [
    (0x1, "secrm"), (0x2, "unrm"), (0x4, "compr"), (0x8, "sync"), (0x10, "immutable"), (0x20, "append"), (0x40, "nodump"),
    (0x80, "noatime"), (0x400, "nocompr"), (0x800, "encrypt"), (0x4000, "journal_data"), (0x8000, "notail"),
    (0x10000, "dirsync"), (0x20000, "topdir"), (0x100000, "verity"), (0x2000000, "dax"), (0x20000000, "projinherit"),
    (0x40000000, "casefold"),
]

TYPES = [
    (stat.S_ISREG, "file"), (stat.S_ISDIR, "dir"), (stat.S_ISLNK, "link"), (stat.S_ISCHR, "char"), (stat.S_ISBLK, "block"),
    (stat.S_ISFIFO, "fifo"), (stat.S_ISSOCK, "socket"),
]


def escaped(raw):
    return "".join(chr(b) if 0x21 <= b <= 0x7E and b not in b"#=\\" else "\\%03o" % b for b in raw)


def content(path):
    digest = hashlib.sha256()
    number = 0
    with open(path, "rb") as file:
        while part := file.read(65536):
            if part.strip(b"\0"):
                digest.update(struct.pack("<Q", number) + hashlib.sha256(part).digest())
            number += 1
    return digest.hexdigest()


def asked(path, request, size, form, place):
    """Returns a number from the result of an ioctl, or 0 if the filesystem does not support it."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return struct.unpack_from(form, fcntl.ioctl(handle, request, bytes(size)), place)[0]
    except OSError:
        return 0
    finally:
        os.close(handle)


def keywords(path, info):
    kind = next(name for test, name in TYPES if test(info.st_mode))
    yield "mode", "%04o" % stat.S_IMODE(info.st_mode)
    yield "uid", info.st_uid
    yield "gid", info.st_gid
    time = info.st_mtime_ns
    if kind == "dir" and is_empty_lost_found(path):
        time = 0
    yield "time", "%d.%09d" % (time // 10**9, time % 10**9)
    if kind == "file":
        yield "size", info.st_size
    if kind == "link":
        yield "link", escaped(os.readlink(path))
    if kind in ("char", "block"):
        yield "device", "linux,%d,%d" % (os.major(info.st_rdev), os.minor(info.st_rdev))
    if kind == "file":
        yield "content", content(path)
    if kind in ("file", "dir"):
        project = asked(path, FS_IOC_FSGETXATTR, 28, "=I", 12)
        if project:
            yield "project", project
        flags = asked(path, FS_IOC_GETFLAGS, 8, "=I", 0)
        names = ",".join(name for bit, name in FLAGS if flags & bit)
        if names:
            yield "flags", names
    for name in sorted(os.listxattr(path, follow_symlinks=False), key=os.fsencode):
        value = os.getxattr(path, name, follow_symlinks=False)
        yield "xattr." + escaped(os.fsencode(name)), value.hex()


def is_empty_lost_found(path):
    return path == os.path.join(ROOT, b"lost+found") and not os.listdir(path)


def lines(path, shown, firsts):
    info = os.lstat(path)
    kind = next(name for test, name in TYPES if test(info.st_mode))
    line = escaped(shown) + " type=" + kind
    first = firsts.setdefault(info.st_ino, shown) if kind != "dir" else shown
    if first != shown:
        yield line + " hardlink=" + escaped(first) + "\n"
        return
    yield line + "".join(" %s=%s" % pair for pair in keywords(path, info)) + "\n"
    if kind == "dir":
        names = set(os.listdir(path)) | ({b"lost+found"} if path == ROOT else set())
        for name in sorted(names):
            below = os.path.join(path, name)
            if os.path.lexists(below):
                yield from lines(below, shown + b"/" + name, firsts)
            else:
                yield "./lost+found type=dir mode=0700 uid=0 gid=0 time=0.000000000\n"


sys.setrecursionlimit(10000)
arguments = [argument for argument in sys.argv[1:] if argument != "--text"]
ROOT = os.fsencode(arguments[0])
text = "#mtree\n" + "".join(lines(ROOT, b".", {}))
if "--text" in sys.argv:
    sys.stdout.write(text)
else:
    print(hashlib.sha256(text.encode("ascii")).hexdigest())
