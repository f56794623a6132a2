/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver as somebody outside this tree would write it: one object of one page, whose text comes
 * from fault. Built by check-sdk.sh against the installed SDK.
 */
#include <errno.h>
#include <muse/driver.h>
#include <string.h>
#include <sys/stat.h>

static int sample_open(void *user, const struct muse_open_args *args,
                       struct muse_open_result *ret_result)
{
    (void)user;
    if (strcmp(args->path, "hello") != 0)
        return -ENOENT;
    ret_result->object_key = 1;
    ret_result->attr.size = MUSE_PAGE_BYTES;
    ret_result->attr.mode = S_IFREG | 0444;
    return 0;
}

static int sample_fault(struct muse_fault *fault)
{
    char page[MUSE_PAGE_BYTES] = "hello from outside";

    return muse_fault_supply(fault, 0, page, 1);
}

int main(int argc, char **argv)
{
    static const struct muse_driver_ops ops = {
        MUSE_DRIVER_OPS,     .name = "sample",      .version = "1",
        .open = sample_open, .fault = sample_fault,
    };

    return muse_driver_main(argc, argv, &ops, NULL);
}
