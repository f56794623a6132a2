/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse-zero, the tutorial driver: zero/SIZE is a file of SIZE zero bytes (zero/4096, zero/64K,
 * zero/1M, zero/2G). A driver is a struct of hooks and a call of muse_driver_main(). Two hooks are
 * needed: open says what a file is, fault supplies its bytes. Of the others here, start says
 * something about the driver as a whole, mmap_prepare only looks at a mapping before it is made, and
 * getattr_path answers for a name that nobody has opened.
 */
#include <errno.h>
#include <muse/driver.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* "64K" -> 65536. Return: 0; -EINVAL. */
static int parse_size(const char *text, uint64_t *ret_size)
{
    static const char units[] = "KMGT";
    const char *unit;
    uint64_t size;
    char *end;

    if (*text < '0' || *text > '9')
        return -EINVAL;
    errno = 0;
    size = strtoull(text, &end, 10);
    if (errno != 0)
        return -EINVAL;
    if (*end != '\0') {
        unit = strchr(units, *end);
        if (!unit || end[1] != '\0' || size >> (54 - 10 * (unit - units)) != 0)
            return -EINVAL;
        size <<= 10 * (unit - units + 1);
    }
    *ret_size = size;
    return 0;
}

/* Before the first hook: nobody can write zeros, so the server need not ask us about that. */
static int zero_start(struct muse_driver *driver, void *user)
{
    (void)user;
    muse_driver_set_read_only(driver);
    return 0;
}

/* A client opens zero/PATH. Files of one size are all alike: the size is their page cache's key. */
static int zero_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret)
{
    uint64_t size;

    (void)user;
    if (parse_size(args->path, &size) < 0 || size == 0) {
        muse_set_error("zero/%s: the name has to be a size, as in zero/64K or zero/1M", args->path);
        return -ENOENT;
    }
    ret->object_key = size;
    ret->attr = (struct muse_attr){.size = size, .mode = S_IFREG | 0444, .inode = size, .nlink = 1};
    return 0;
}

/* A client asks about a name without opening it: "" is the folder of all sizes, which are not listed
 * as there are too many. */
static int zero_getattr_path(void *user, const struct muse_open_args *args, struct muse_attr *ret)
{
    struct muse_open_result file = {0};
    int r = 0;

    *ret = (struct muse_attr){.mode = S_IFDIR | 0555, .nlink = 2};
    if (args->path[0] != '\0') {
        r = zero_open(user, args, &file);
        *ret = file.attr;
    }
    return r;
}

/* A client maps the file. No VMA exists yet, so what is refused here leaves no trace. */
static int zero_mmap_prepare(struct muse_vma_desc *desc)
{
    desc->vm_flags |= MUSE_VM_DONTDUMP; /* a core dump full of zeros helps nobody */
    return 0;
}

/* Somebody waits for n_needed pages from first_page on; the rest up to n_pages are wanted soon. */
static int zero_fault(struct muse_fault *fault)
{
    return muse_fault_zero(fault, fault->first_page, fault->n_pages);
}

int main(int argc, char **argv)
{
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,     .name = "zero",
        .version = "0.1.0",  .start = zero_start,
        .open = zero_open,   .mmap_prepare = zero_mmap_prepare,
        .fault = zero_fault, .getattr_path = zero_getattr_path,
    };

    return muse_driver_main(argc, argv, &ops, NULL);
}
