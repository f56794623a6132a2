/* SPDX-License-Identifier: BSD-3-Clause */
/* A hostile core: its headers are read, its segments laid out, half of them from elsewhere, and each
 * range is asked for; nothing may crash, hang or read outside the file. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/vmcore/elf_core.h"
#include "drivers/vmcore/layout.h"

#define OLDMEM_MAX 64u

struct input {
    const uint8_t *data;
    size_t size;
};

static int read_input(void *arg, uint64_t offset, void *buf, size_t n_bytes)
{
    const struct input *input = arg;

    if (offset > input->size || n_bytes > input->size - offset)
        abort();
    memcpy(buf, input->data + offset, n_bytes);
    return 0;
}

static void walk(const struct layout *layout)
{
    const struct layout_range *range;

    for (uint64_t at = 0; (range = layout_at(layout, at)) != NULL; at = range->bytes.end) {
        const struct range direct = layout_direct(range, range->bytes);

        if (range->bytes.start != at || range_is_empty(range->bytes) ||
            (!range_is_empty(direct) && !range_contains_range(range->bytes, direct)))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct layout_oldmem oldmem[OLDMEM_MAX];
    struct elf_segment *segments;
    struct elf_core_error err;
    struct layout layout;
    unsigned n, n_oldmem = 0;

    if (elf_core_parse(read_input, &input, size, &segments, &n, &err) < 0)
        return 0;
    for (unsigned i = 0; i < n && n_oldmem < OLDMEM_MAX; i += 2)
        oldmem[n_oldmem++] = (struct layout_oldmem){i, 1 + (int)(i % 4), segments[i].offset % 8192};
    if (layout_init(&layout, segments, n, size, oldmem, n_oldmem, &err) == 0) {
        walk(&layout);
        layout_done(&layout);
    }
    free(segments);
    return 0;
}
