/* A FUSE filesystem with one file, "in.img". It has the content of FILE, but a range can't be read.
 *
 *     faultfs FILE FOLDER FROM TO
 *
 * Every read that overlaps the bytes FROM..TO fails with EIO. The program prints "ready" when the filesystem
 * is mounted, and exits when it is unmounted. It implements only the FUSE messages that reading needs, without
 * a library. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define NAME "in.img"
#define INODE 2
#define PAGE 4096

static int device, file;
static long long size, from, to;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void reply(const struct fuse_in_header *in, int error, const void *body, size_t length)
{
    struct fuse_out_header out = {.len = sizeof(out) + length, .error = -error, .unique = in->unique};
    struct iovec parts[] = {{&out, sizeof(out)}, {(void *)body, length}};
    /* ENOENT: the request was interrupted, so no reply is expected. */
    if (writev(device, parts, 2) < 0 && errno != ENOENT)
        fail("answering");
}

static struct fuse_attr attributes(unsigned long long inode)
{
    struct fuse_attr attr = {.ino = inode, .nlink = 1, .blksize = PAGE};
    attr.mode = inode == INODE ? S_IFREG | 0444 : S_IFDIR | 0555;
    attr.size = inode == INODE ? size : 0;
    attr.blocks = attr.size / 512;
    return attr;
}

static void answer(const struct fuse_in_header *in, const void *body)
{
    static char data[16 * PAGE];

    switch (in->opcode) {
    case FUSE_INIT: {
        struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION};
        /* Without read-ahead, a read fails exactly at the given range. */
        out.max_write = PAGE;
        reply(in, 0, &out, sizeof(out));
        break;
    }
    case FUSE_LOOKUP: {
        struct fuse_entry_out out = {.nodeid = INODE, .attr = attributes(INODE)};
        reply(in, strcmp(body, NAME) ? ENOENT : 0, &out, strcmp(body, NAME) ? 0 : sizeof(out));
        break;
    }
    case FUSE_GETATTR: {
        struct fuse_attr_out out = {.attr = attributes(in->nodeid)};
        reply(in, 0, &out, sizeof(out));
        break;
    }
    case FUSE_OPEN: {
        struct fuse_open_out out = {.fh = 0};
        reply(in, 0, &out, sizeof(out));
        break;
    }
    case FUSE_READ: {
        const struct fuse_read_in *read = body;
        long long start = read->offset, end = start + read->size;
        if (start < to && end > from) {
            reply(in, EIO, NULL, 0);
            break;
        }
        ssize_t got = pread(file, data, read->size < sizeof(data) ? read->size : sizeof(data), start);
        reply(in, got < 0 ? errno : 0, data, got < 0 ? 0 : got);
        break;
    }
    case FUSE_RELEASE:
        reply(in, 0, NULL, 0);
        break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
        /* These have no reply. */
        break;
    default:
        reply(in, ENOSYS, NULL, 0);
    }
}

int main(int count, char **arguments)
{
    static char request[FUSE_MIN_READ_BUFFER + PAGE];
    char options[100];
    struct stat status;

    if (count != 5)
        return 2;
    from = atoll(arguments[3]);
    to = atoll(arguments[4]);
    file = open(arguments[1], O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status))
        fail(arguments[1]);
    size = status.st_size;
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (device < 0)
        fail("/dev/fuse");
    snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,max_read=%d", device, PAGE);
    if (mount("faultfs", arguments[2], "fuse", MS_RDONLY | MS_NOSUID | MS_NODEV, options))
        fail(arguments[2]);
    puts("ready");
    fflush(stdout);
    for (;;) {
        ssize_t got = read(device, request, sizeof(request));
        if (got >= (ssize_t)sizeof(struct fuse_in_header))
            answer((void *)request, request + sizeof(struct fuse_in_header));
        else if (got < 0 && errno == ENODEV)
            return 0; /* unmounted */
        else if (got < 0 && errno != EINTR && errno != ENOENT)
            fail("reading requests");
    }
}
