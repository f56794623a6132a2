/* SPDX-License-Identifier: BSD-3-Clause */
/* The frame header's bytes. Pure; used by both ends of all three conversations. Does no socket
 * work: common/ipc/chan does. */
#include "proto/frame.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "proto/limits.h"

struct wire_header {
    uint16_t magic;
    uint8_t version;
    uint8_t n_fds;
    uint16_t type;
    uint16_t flags;
    uint64_t id;
};
_Static_assert(sizeof(struct wire_header) == FRAME_HEADER_BYTES, "the layout is the protocol");

void frame_encode(const struct frame_header *header, uint8_t *ret_buf)
{
    struct wire_header wire = {
        .magic = htole16(FRAME_MAGIC),
        .version = FRAME_VERSION,
        .n_fds = header->n_fds,
        .type = htole16(header->type),
        .id = htole64(header->id),
    };

    memcpy(ret_buf, &wire, sizeof(wire));
}

int frame_decode(const uint8_t *buf, size_t n_bytes, struct frame_header *ret_header)
{
    struct wire_header wire;

    if (n_bytes < sizeof(wire))
        return -EPROTO;
    memcpy(&wire, buf, sizeof(wire));
    if (le16toh(wire.magic) != FRAME_MAGIC || wire.version != FRAME_VERSION)
        return -EPROTO;
    if (wire.flags != 0 || wire.n_fds > FRAME_FDS_MAX)
        return -EPROTO;

    *ret_header = (struct frame_header){
        .type = le16toh(wire.type), .n_fds = wire.n_fds, .id = le64toh(wire.id)};
    return 0;
}

const char *frame_type_name(uint16_t type)
{
    static const struct {
        uint16_t type;
        const char *name;
    } names[] = {
#define X(name, value) {(value), #name},
        FRAME_TYPES(X)
#undef X
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].type == type)
            return names[i].name;
    return "?";
}
