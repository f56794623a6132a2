/* SPDX-License-Identifier: BSD-3-Clause */
/* The frame header: what decodes must encode to the same bytes again. */
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "proto/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t again[FRAME_HEADER_BYTES];
    struct frame_header header;

    if (frame_decode(data, size, &header) < 0)
        return 0;
    frame_encode(&header, again);
    if (memcmp(again, data, sizeof(again)) != 0 || header.n_fds > FRAME_FDS_MAX ||
        !frame_type_name(header.type))
        abort();
    return 0;
}
