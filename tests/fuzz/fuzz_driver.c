/* SPDX-License-Identifier: BSD-3-Clause */
/* A hostile driver: any hello, any answers to questions nobody asked, anything in the fill ring. */
#include "server/driver/driver_link.h"
#include "server/flow/fill_flow.h"
#include "server/flow/loss_flow.h"
#include "tests/fuzz/engine_fuzz.h"

static const uint16_t types[] = {
    FRAME_DRIVER_HELLO, FRAME_DRIVER_OPENED,   FRAME_DRIVER_FAILED,      FRAME_DRIVER_ATTR,
    FRAME_PREPARED,     FRAME_COMPLETED,       FRAME_FAULT_FAILED,       FRAME_INVALIDATE,
    FRAME_CLIENT_HELLO, FRAME_DRIVER_OPEN,     FRAME_DRIVER_DIR_ENTRIES, FRAME_DRIVER_LINK_TARGET,
    FRAME_DRIVER_DONE,  FRAME_DRIVER_ACCESSED, FRAME_VMA_NAMED,
};

static struct driver *first_driver(void)
{
    struct list *node = list_first(&fuzz_engine.driver_names);

    return node ? CONTAINER_OF(node, struct driver, by_name) : NULL;
}

/* Rubbish in the shared memory, as a driver can write it at any time. */
static void scribble(const uint8_t *data, size_t size)
{
    struct driver *driver = first_driver();
    struct fill_answer answer = {0};

    if (!driver || !driver->link || !driver->link->ring || size < sizeof(answer))
        return;
    memcpy(&answer, data, sizeof(answer));
    if (data[0] & 1)
        atomic_store(&driver->link->ring->answer_tail, (uint32_t)answer.first_page);
    (void)fill_ring_put_answer(driver->link->ring, &answer);
    fill_answers(driver, driver->link->ring);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* name "f", versions 1..1, hooks open and fault */
    static const uint8_t hello[] = {0, 0, 0, 10, 0x08, 1, 0x10, 1, 0x1a, 1, 'f', 0x20, 0x81, 1};
    int pair[2];
    size_t n;

    fuzz_engine_start();
    if (size < 1 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return 0;
    driver_accept(&fuzz_engine, &pair[0]);
    if (data[0] & 1)
        (void)fuzz_send_frame(pair[1], types, sizeof(types) / sizeof(types[0]), hello,
                              sizeof(hello));
    fuzz_turn(2);
    for (data++, size--;
         (n = fuzz_send_frame(pair[1], types, sizeof(types) / sizeof(types[0]), data, size)) > 0;
         data += n, size -= n) {
        fuzz_turn(1);
        scribble(data, size);
        fuzz_drain(pair[1]);
    }
    fd_close(&pair[1]);
    fd_close(&pair[0]); /* -1 when the link took it */
    for (unsigned i = 0; i < 1000 && !list_is_empty(&fuzz_engine.links); i++)
        fuzz_turn(1);
    if (!list_is_empty(&fuzz_engine.links) || idmap_count(&fuzz_engine.drivers) > 0)
        abort();
    return 0;
}
