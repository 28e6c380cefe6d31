/* The ioctls of fscrypt, fs-verity, casefolding, the boot loader inode and online resizing. Debian has no
 * program for these. */
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/fscrypt.h>
#include <linux/fsverity.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXT4_IOC_RESIZE_FS _IOW('f', 16, unsigned long long)
#define EXT4_IOC_SWAP_BOOT _IO('f', 17)

#ifndef FS_CASEFOLD_FL
#define FS_CASEFOLD_FL 0x40000000
#endif

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int opened(const char *path)
{
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        fail(path);
    return fd;
}

static void from_hex(const char *text, unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned value;
        if (sscanf(text + 2 * i, "%2x", &value) != 1)
            fail("hexadecimal digits");
        bytes[i] = value;
    }
}

static void put_hex(const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        printf("%02x", bytes[i]);
    putchar('\n');
}

/* Returns a key of 64 bytes: `value`, `value` + 1 and so on. */
static struct fscrypt_add_key_arg *key_of(const char *value)
{
    struct fscrypt_add_key_arg *arg = calloc(1, sizeof(*arg) + 64);
    arg->raw_size = 64;
    for (int i = 0; i < 64; i++)
        arg->raw[i] = atoi(value) + i;
    return arg;
}

/* unlock1 MOUNT DESCRIPTOR VALUE: adds a key for policies of version 1. */
static void unlock1(char **argv)
{
    struct fscrypt_add_key_arg *arg = key_of(argv[2]);
    arg->key_spec.type = FSCRYPT_KEY_SPEC_TYPE_DESCRIPTOR;
    from_hex(argv[1], arg->key_spec.u.descriptor, 8);
    if (ioctl(opened(argv[0]), FS_IOC_ADD_ENCRYPTION_KEY, arg))
        fail("FS_IOC_ADD_ENCRYPTION_KEY");
}

/* unlock2 MOUNT VALUE: adds a key for policies of version 2, and prints its identifier. */
static void unlock2(char **argv)
{
    struct fscrypt_add_key_arg *arg = key_of(argv[1]);
    arg->key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER;
    if (ioctl(opened(argv[0]), FS_IOC_ADD_ENCRYPTION_KEY, arg))
        fail("FS_IOC_ADD_ENCRYPTION_KEY");
    put_hex(arg->key_spec.u.identifier, 16);
}

/* encrypt1 FOLDER DESCRIPTOR FLAGS: sets a policy of version 1. */
static void encrypt1(char **argv)
{
    struct fscrypt_policy_v1 policy = { 0 };
    policy.version = FSCRYPT_POLICY_V1;
    policy.contents_encryption_mode = FSCRYPT_MODE_AES_256_XTS;
    policy.filenames_encryption_mode = FSCRYPT_MODE_AES_256_CTS;
    policy.flags = atoi(argv[2]);
    from_hex(argv[1], policy.master_key_descriptor, 8);
    if (ioctl(opened(argv[0]), FS_IOC_SET_ENCRYPTION_POLICY, &policy))
        fail("FS_IOC_SET_ENCRYPTION_POLICY");
}

/* encrypt2 FOLDER IDENTIFIER FLAGS: sets a policy of version 2. */
static void encrypt2(char **argv)
{
    struct fscrypt_policy_v2 policy = { 0 };
    policy.version = FSCRYPT_POLICY_V2;
    policy.contents_encryption_mode = FSCRYPT_MODE_AES_256_XTS;
    policy.filenames_encryption_mode = FSCRYPT_MODE_AES_256_CTS;
    policy.flags = atoi(argv[2]);
    from_hex(argv[1], policy.master_key_identifier, 16);
    if (ioctl(opened(argv[0]), FS_IOC_SET_ENCRYPTION_POLICY, &policy))
        fail("FS_IOC_SET_ENCRYPTION_POLICY");
}

/* casefold FOLDER: makes an empty directory case-insensitive. */
static void casefold(char **argv)
{
    int fd = opened(argv[0]), flags;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags))
        fail("FS_IOC_GETFLAGS");
    flags |= FS_CASEFOLD_FL;
    if (ioctl(fd, FS_IOC_SETFLAGS, &flags))
        fail("FS_IOC_SETFLAGS");
}

/* verity FILE: enables fs-verity. */
static void verity(char **argv)
{
    struct fsverity_enable_arg arg = { 0 };
    arg.version = 1;
    arg.hash_algorithm = FS_VERITY_HASH_ALG_SHA256;
    arg.block_size = 4096;
    if (ioctl(opened(argv[0]), FS_IOC_ENABLE_VERITY, &arg))
        fail("FS_IOC_ENABLE_VERITY");
}

/* measure FILE: prints the fs-verity digest. */
static void measure(char **argv)
{
    struct fsverity_digest *digest = calloc(1, sizeof(*digest) + 64);
    digest->digest_size = 64;
    if (ioctl(opened(argv[0]), FS_IOC_MEASURE_VERITY, digest))
        fail("FS_IOC_MEASURE_VERITY");
    put_hex(digest->digest, digest->digest_size);
}

/* swap-boot FILE: swaps the file with the boot loader inode. */
static void swap_boot(char **argv)
{
    int fd = open(argv[0], O_RDWR);
    if (fd < 0)
        fail(argv[0]);
    /* Delayed allocation must be finished before blocks can be swapped. */
    fsync(fd);
    if (ioctl(fd, EXT4_IOC_SWAP_BOOT))
        fail("EXT4_IOC_SWAP_BOOT");
}

/* Changes to a directory, and calls a function for each line of standard input; \xNN is a byte. */
static void for_each_name(const char *folder, void (*run)(const char *))
{
    char line[2048], name[2048];
    if (chdir(folder))
        fail(folder);
    while (fgets(line, sizeof(line), stdin)) {
        size_t length = 0;
        for (char *at = line; *at && *at != '\n';) {
            unsigned value;
            if (at[0] == '\\' && at[1] == 'x' && sscanf(at + 2, "%2x", &value) == 1) {
                name[length++] = value;
                at += 4;
            } else {
                name[length++] = *at++;
            }
        }
        name[length] = 0;
        run(name);
    }
}

static void touch_one(const char *name)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0)
        fail(name);
    close(fd);
}

static void stat_one(const char *name)
{
    struct stat found;
    if (stat(name, &found))
        fail(name);
}

/* grow FOLDER BLOCKS: resizes the filesystem that is mounted there. */
static void grow(char **argv)
{
    unsigned long long blocks = strtoull(argv[1], NULL, 10);
    if (ioctl(opened(argv[0]), EXT4_IOC_RESIZE_FS, &blocks))
        fail("EXT4_IOC_RESIZE_FS");
}

/* touch FOLDER: creates an empty file for each name. */
static void touch(char **argv)
{
    for_each_name(argv[0], touch_one);
}

/* stat FOLDER: fails if any name does not exist. */
static void stat_all(char **argv)
{
    for_each_name(argv[0], stat_one);
}

int main(int argc, char **argv)
{
    static const struct { const char *name; int arguments; void (*run)(char **); } commands[] = {
        { "unlock1", 3, unlock1 }, { "unlock2", 2, unlock2 }, { "encrypt1", 3, encrypt1 },
        { "encrypt2", 3, encrypt2 }, { "casefold", 1, casefold }, { "verity", 1, verity },
        { "measure", 1, measure }, { "touch", 1, touch }, { "stat", 1, stat_all },
        { "swap-boot", 1, swap_boot },
        { "grow", 2, grow },
    };
    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
        if (argc == commands[i].arguments + 2 && !strcmp(argv[1], commands[i].name)) {
            commands[i].run(argv + 2);
            return 0;
        }
    fprintf(stderr, "fskeys: no such command\n");
    return 2;
}
