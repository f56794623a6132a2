/* SPDX-License-Identifier: BSD-3-Clause */
/* A hostile client: any frames, in any order, with any fds, against the real session code. */
#include "common/base/own.h"
#include "server/flow/fault_flow.h"
#include "server/flow/fork_flow.h"
#include "tests/fuzz/engine_fuzz.h"

static const uint16_t types[] = {
    FRAME_CLIENT_HELLO, FRAME_ATTACH,   FRAME_OPEN,         FRAME_CLOSE,     FRAME_FSTAT,
    FRAME_PREAD,        FRAME_MAP,      FRAME_UNMAP,        FRAME_ERROR_AT,  FRAME_MEM_OPS_DONE,
    FRAME_MADVISE,      FRAME_DONE,     FRAME_DRIVER_HELLO, FRAME_PREPARED,  FRAME_FORK_BEGIN,
    FRAME_FORK_RANGES,  FRAME_FORK_END, FRAME_FORK_ATTACH,  FRAME_STATAT,    FRAME_READDIR,
    FRAME_READLINK,     FRAME_UNLINK,   FRAME_RENAME,       FRAME_PROTECT,   FRAME_REMAP,
    FRAME_LOCK,         FRAME_MINCORE,  FRAME_ACCESS,       FRAME_LOCK_FILE, FRAME_MKDIR,
    FRAME_SETATTR,
};

/* Past hello and attach, so that requests are reached: a sane arena and a real userfaultfd. */
static void skip_to_ready(int sock)
{
    static const uint8_t hello[] = {0, 1, 0, 4, 0x08, 1, 0x10, 1};

    (void)fuzz_send_frame(sock, types, N_ELEMENTS(types), hello, sizeof(hello));
    fuzz_turn(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int pair[2];
    size_t n;

    fuzz_engine_start();
    if (size < 1 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return 0;
    session_accept(&fuzz_engine, &pair[0]);
    if (data[0] & 1)
        skip_to_ready(pair[1]);
    for (data++, size--; (n = fuzz_send_frame(pair[1], types, N_ELEMENTS(types), data, size)) > 0;
         data += n, size -= n) {
        fuzz_turn(1);
        fuzz_drain(pair[1]);
    }
    fd_close(&pair[1]);
    fd_close(&pair[0]); /* -1 when the session took it */
    for (unsigned i = 0; i < 1000 && session_count(&fuzz_engine) > 0; i++)
        fuzz_turn(1);
    fork_drop_all(&fuzz_engine);
    if (session_count(&fuzz_engine) > 0 || idmap_count(&fuzz_engine.spaces) > 0)
        abort();
    return 0;
}
