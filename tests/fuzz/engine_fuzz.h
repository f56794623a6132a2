/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A real engine in the fuzzer's process, talked to through a socketpair: what an input holds is cut
 * into frames and sent, the loop runs, the connection ends, and afterwards the engine must have
 * nothing left of it.
 */
#ifndef MUSE_TESTS_FUZZ_ENGINE_FUZZ_H
#define MUSE_TESTS_FUZZ_ENGINE_FUZZ_H

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/ipc/fd.h"
#include "proto/frame.h"
#include "proto/limits.h"
#include "server/config/config.h"
#include "server/flow/engine.h"
#include "server/flow/session_flow.h"

static struct engine fuzz_engine;

/* Once, however often it is called. */
static inline void fuzz_engine_start(void)
{
    static struct config config;
    const char *why;

    if (fuzz_engine.config)
        return;
    config_init(&config);
    if (config_finish(&config, &why) < 0 || engine_init(&fuzz_engine, &config, &why) < 0)
        abort();
}

static inline void fuzz_turn(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        (void)uv_run(&fuzz_engine.loop.uv, UV_RUN_NOWAIT);
}

/*
 * One frame from the input: type index, id, fd count, length, payload. Sends it with that many fds
 * of /dev/null.
 *
 * Return: bytes used; 0 at the end.
 */
static inline size_t fuzz_send_frame(int sock, const uint16_t *types, size_t n_types,
                                     const uint8_t *data, size_t size)
{
    uint8_t bytes[FRAME_HEADER_BYTES + 512];
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(int) * 4)];
    } control = {0};
    struct frame_header header;
    struct iovec iov = {.iov_base = bytes};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    size_t n;
    int null;

    if (size < 4)
        return 0;
    header.type = types[data[0] % n_types];
    header.id = data[1];
    header.n_fds = (data[2] & 0x80) ? (data[2] & 3) : 0;
    n = data[3] < size - 4 ? data[3] : size - 4;
    frame_encode(&header, bytes);
    if ((data[2] & 0x60) == 0x60) /* now and then a header that lies */
        bytes[data[2] & 15] ^= data[1];
    memcpy(bytes + FRAME_HEADER_BYTES, data + 4, n);
    iov.iov_len = FRAME_HEADER_BYTES + n;
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (header.n_fds > 0) {
        struct cmsghdr *cmsg;

        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * header.n_fds);
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * header.n_fds);
        for (unsigned i = 0; i < header.n_fds; i++)
            memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &null, sizeof(null));
    }
    (void)!sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    fd_close(&null);
    return 4 + n;
}

static inline void fuzz_drain(int sock)
{
    char buf[4096];

    while (recv(sock, buf, sizeof(buf), MSG_DONTWAIT) > 0)
        ;
}

#endif
