/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver of README.md: every name is one page with a text in it. */
#include <muse/driver.h>
#include <sys/stat.h>

static int hello_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret)
{
    (void)user, (void)args;
    ret->object_key = 1; /* one object of one page, whatever the path */
    ret->attr = (struct muse_attr){.size = MUSE_PAGE_BYTES, .mode = S_IFREG | 0444};
    return 0;
}

static int hello_fault(struct muse_fault *fault)
{
    static const char page[MUSE_PAGE_BYTES] = "hello from a driver\n";

    return muse_fault_supply(fault, 0, page, 1);
}

static const struct muse_driver_ops ops = {MUSE_DRIVER_OPS, .name = "hello", .open = hello_open,
                                           .fault = hello_fault};

int main(int argc, char **argv)
{
    return muse_driver_main(argc, argv, &ops, NULL);
}
