/* SPDX-License-Identifier: BSD-3-Clause */
/* Records touches in a file (touch_log.h). Owns the file. Called by the fault path when [debug]
 * touches is set. */
#include "server/flow/touch_log.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct touch_log {
    FILE *file;
};

int touch_log_new(struct touch_log **ret_log, const char *path)
{
    struct touch_log *log = calloc(1, sizeof(*log));
    int r = 0;

    if (!log)
        return -ENOMEM;
    log->file = fopen(path, "we");
    if (!log->file || fwrite(TOUCH_LOG_MAGIC, 8, 1, log->file) != 1)
        r = errno ? -errno : -EIO;
    if (r < 0) {
        touch_log_free(log);
        return r;
    }
    *ret_log = log;
    return 0;
}

void touch_log_free(struct touch_log *log)
{
    if (!log)
        return;
    if (log->file)
        (void)fclose(log->file); /* what could not be written is lost, as said */
    free(log);
}

void touch_log_add(struct touch_log *log, uint64_t object_id, uint64_t page)
{
    const uint32_t record[2] = {htole32((uint32_t)object_id), htole32((uint32_t)page)};

    if (log)
        (void)!fwrite(record, sizeof(record), 1, log->file);
}
