/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a well-behaved driver cannot send: frames and ring entries written behind the SDK's back.
 * Headers are built by hand from the layout in proto/frame.h.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/faulty/faulty.h"
#include "drivers/sdk/sdk.h"

#define NOBODYS_ID UINT64_C(0x7eadbeef7eadbeef)

struct raw_frame {
    uint16_t magic;
    uint8_t version;
    uint8_t n_fds;
    uint16_t type;
    uint16_t flags;
    uint64_t id;
    uint8_t payload[2];
} __attribute__((packed));

/* A PREPARED or COMPLETED that says: no error. Field 1, a varint, 0. */
static struct raw_frame fine_answer(uint16_t type, uint64_t id)
{
    return (struct raw_frame){.magic = htole16(FRAME_MAGIC),
                              .version = PROTO_VERSION_MAX,
                              .type = htole16(type),
                              .id = htole64(id),
                              .payload = {1u << 3, 0}};
}

static void send_raw(struct faulty *faulty, const void *bytes, size_t n_bytes, unsigned n_fds)
{
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(int) * FRAME_FDS_MAX)];
    } control;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n_bytes};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (n_fds > 0) {
        struct cmsghdr *cmsg;

        memset(&control, 0, sizeof(control));
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        for (unsigned i = 0; i < n_fds; i++)
            memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &faulty->driver->chan.fd, sizeof(int));
    }
    (void)!sendmsg(faulty->driver->chan.fd, &msg,
                   MSG_NOSIGNAL); /* the server may have left us already */
}

static void send_garbage(struct faulty *faulty)
{
    uint8_t bytes[64];

    memset(bytes, 0xa5, sizeof(bytes));
    send_raw(faulty, bytes, sizeof(bytes), 0);
}

/* The answer to the hook that runs, as another message, instead of the real one. */
static void answer_with(struct faulty *faulty, uint16_t type, unsigned n_fds, unsigned n_fds_said)
{
    const struct muse_request *request = muse_request_defer();
    struct raw_frame frame = fine_answer(type, request->id);

    frame.n_fds = (uint8_t)n_fds_said;
    send_raw(faulty, &frame, sizeof(frame), n_fds);
}

static void send_truncated(struct faulty *faulty, uint16_t type)
{
    const struct muse_request *request = muse_request_defer();
    struct raw_frame frame = fine_answer(type, request->id);

    frame.payload[1] = 0x80; /* a varint that does not end */
    send_raw(faulty, &frame, sizeof(frame), 0);
}

/* A PREPARED that passes the mapping on, which only the legacy hook can: field 10, a string. */
static void send_forward(struct faulty *faulty)
{
    static const char name[] = "faulty/y";
    const struct muse_request *request = muse_request_defer();
    struct {
        struct raw_frame frame;
        uint8_t tag, n;
        char name[sizeof(name) - 1];
    } __attribute__((packed)) bytes = {.frame = fine_answer(FRAME_PREPARED, request->id),
                                       .tag = 10u << 3 | 2u,
                                       .n = sizeof(name) - 1};

    memcpy(bytes.name, name, sizeof(bytes.name));
    send_raw(faulty, &bytes, sizeof(bytes), 0);
}

static int lying_result(const char *lie)
{
    if (is_word(lie, "bad-errno"))
        return -4096; /* the first that is none */
    if (is_word(lie, "huge-errno"))
        return -1000000;
    if (is_word(lie, "positive"))
        return 5;
    return 0;
}

int lie_in_prepare(struct faulty *faulty, const struct behaviour *behaviour, bool *ret_lied)
{
    const char *lie = behaviour->lie;
    const struct raw_frame nobodys = fine_answer(FRAME_PREPARED, NOBODYS_ID);
    const int result = lying_result(lie);

    *ret_lied = result != 0;
    if (is_word(lie, "unknown-request")) {
        send_raw(faulty, &nobodys, sizeof(nobodys), 0);
    } else if (is_word(lie, "garbage-frame")) {
        send_garbage(faulty);
    } else if (is_word(lie, "wrong-type")) {
        answer_with(faulty, FRAME_COMPLETED, 0, 0);
        *ret_lied = true;
    } else if (is_word(lie, "client-type")) {
        answer_with(faulty, FRAME_MAPPED, 0, 0);
        *ret_lied = true;
    } else if (is_word(lie, "extra-fds")) {
        answer_with(faulty, FRAME_PREPARED, 3, 3);
        *ret_lied = true;
    } else if (is_word(lie, "uncounted-fds")) {
        answer_with(faulty, FRAME_PREPARED, 2, 0);
        *ret_lied = true;
    } else if (is_word(lie, "truncated")) {
        send_truncated(faulty, FRAME_PREPARED);
        *ret_lied = true;
    } else if (is_word(lie, "forward")) {
        send_forward(faulty);
        *ret_lied = true;
    }
    return result;
}

/* One byte more than was asked for: field 1, bytes, with a length of two bytes. */
static void send_accessed(struct faulty *faulty, uint32_t n_bytes)
{
    const struct muse_request *request = muse_request_defer();
    struct {
        struct raw_frame frame; /* its payload is the tag and the first byte of the length */
        uint8_t n_high;
        uint8_t data[ACCESS_BYTES_MAX + 1];
    } __attribute__((packed)) bytes = {.frame = fine_answer(FRAME_DRIVER_ACCESSED, request->id)};

    bytes.frame.payload[0] = 1u << 3 | 2u;
    bytes.frame.payload[1] = (uint8_t)(n_bytes | 0x80u);
    bytes.n_high = (uint8_t)(n_bytes >> 7);
    send_raw(faulty, &bytes, sizeof(bytes) - sizeof(bytes.data) + n_bytes, 0);
}

/* The real answer finds nobody any more; without it the SDK would wait for it at the end. */
static bool lied(void)
{
    muse_reply(muse_request_defer(), 0);
    return true;
}

bool lie_in_access(struct faulty *faulty, const struct behaviour *behaviour, uint32_t length)
{
    if (is_word(behaviour->lie, "access-long"))
        send_accessed(faulty, length + 1);
    else if (is_word(behaviour->lie, "access-truncated"))
        send_truncated(faulty, FRAME_DRIVER_ACCESSED);
    else
        return false;
    return lied();
}

bool lie_in_name(struct faulty *faulty, const struct behaviour *behaviour)
{
    if (!is_word(behaviour->lie, "name-truncated"))
        return false;
    send_truncated(faulty, FRAME_VMA_NAMED);
    return lied();
}

bool lie_in_setattr(struct faulty *faulty, const struct behaviour *behaviour, int *ret_result)
{
    *ret_result = lying_result(behaviour->lie);
    if (!is_word(behaviour->lie, "setattr-truncated"))
        return *ret_result != 0;
    send_truncated(faulty, FRAME_DRIVER_DONE);
    return lied();
}

bool lie_in_hook(struct faulty *faulty, const struct behaviour *behaviour, const char *word)
{
    if (!is_word(behaviour->lie, word))
        return false;
    send_truncated(faulty, FRAME_COMPLETED);
    return true;
}

/* A COMPLETED with @n verbs, each @verb: of four bytes in field 2. */
static void send_verbs(struct faulty *faulty, const uint8_t *verb, unsigned n, unsigned n_fds)
{
    const struct muse_request *request = muse_request_defer();
    struct {
        struct raw_frame frame;
        struct {
            uint8_t tag, n, verb[4];
        } actions[MAP_VERBS_MAX + 1];
    } __attribute__((packed)) bytes = {.frame = fine_answer(FRAME_COMPLETED, request->id)};

    bytes.frame.n_fds = (uint8_t)n_fds;
    for (unsigned i = 0; i < n; i++) {
        bytes.actions[i].tag = 2u << 3 | 2u;
        bytes.actions[i].n = sizeof(bytes.actions[i].verb);
        memcpy(bytes.actions[i].verb, verb, sizeof(bytes.actions[i].verb));
    }
    send_raw(faulty, &bytes, sizeof(bytes.frame) + n * sizeof(bytes.actions[0]), n_fds);
}

bool lie_in_complete(struct faulty *faulty, const struct behaviour *behaviour)
{
    static const uint8_t prefault[] = {1u << 3, MUSE__WIRE__ACTION__TYPE__PREFAULT, 5u << 3, 1};
    static const uint8_t remap[] = {1u << 3, MUSE__WIRE__ACTION__TYPE__REMAP, 8u << 3, 2};

    if (is_word(behaviour->lie, "many-verbs"))
        send_verbs(faulty, prefault, MAP_VERBS_MAX + 1, 0);
    else if (is_word(behaviour->lie, "no-such-fd")) /* the third of two */
        send_verbs(faulty, remap, 1, 2);
    else
        return false;
    return true;
}

static void put_answer(struct faulty *faulty, const struct fill_answer *answer)
{
    const uint64_t one = 1;

    (void)pthread_mutex_lock(&faulty->driver->answers_lock);
    (void)fill_ring_put_answer(faulty->driver->ring, answer);
    (void)pthread_mutex_unlock(&faulty->driver->answers_lock);
    (void)!write(faulty->driver->wake_server_fd, &one, sizeof(one)); /* EAGAIN: it is awake */
}

void lie_in_fault(struct faulty *faulty, const struct behaviour *behaviour,
                  const struct muse_fault *fault)
{
    const char *lie = behaviour->lie;
    struct fill_answer answer = {.request_id = 1,
                                 .object_key = fault->object_key,
                                 .object_id = fault_cache_id(fault),
                                 .n_pages = 1};

    if (is_word(lie, "out-of-range-supply")) {
        answer.first_page = fault->size_bytes / fault->page_bytes + 1000;
    } else if (is_word(lie, "overflow-supply")) {
        answer.first_page = UINT64_MAX - 1;
        answer.n_pages = UINT64_MAX;
    } else if (is_word(lie, "unknown-object")) {
        answer.object_key = NOBODYS_ID;
    } else if (is_word(lie, "unknown-fault")) {
        answer.request_id = NOBODYS_ID;
        answer.first_page = fault->first_page;
    } else if (is_word(lie, "ring-tail")) {
        (void)atomic_fetch_add(&faulty->driver->ring->answer_tail, 100000);
    } else {
        return;
    }
    put_answer(faulty, &answer);
}
