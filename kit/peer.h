/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's end of a driver, played by the kit: starts the driver's process, says welcome, sends
 * calls and takes answers. A call is posted and waited for apart, as a driver may answer later and in
 * any order. What a driver may not do is kept as the peer's complaint.
 */
#ifndef MUSE_KIT_PEER_H
#define MUSE_KIT_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/list.h"
#include "common/base/must.h"
#include "common/ipc/chan.h"
#include "proto/driver.pb-c.h"
#include "proto/fill_ring.h"

#define PEER_FDS_KEPT 16u

struct peer {
    char dir[64]; /* the driver's MUSE_RUNDIR; "": none */
    pid_t pid;    /* 0: not running */
    struct chan chan;
    bool is_connected;
    struct fill_ring *ring;
    int wake_driver_fd, wake_server_fd; /* owned; -1 */
    unsigned deadline_ms;
    uint64_t last_id;
    struct list calls;              /* struct peer_call.node: asked, and not taken */
    struct list failed_pages;       /* struct peer_failed.node: FAULT_FAILED that came */
    Muse__Wire__DriverHello *hello; /* owned */
    char complaint[256];            /* the first thing the driver did wrong; "": nothing */
};

/** peer_start() - run @command, wait for its hello, welcome it. Return: 0; -1: see complaint. */
MUST_CHECK int peer_start(struct peer *peer, const char *command, unsigned deadline_ms);

/** peer_hang_up() - the server dies: the connection ends. Return: 0 the driver ended well; -1. */
int peer_hang_up(struct peer *peer);

/** peer_stop() - end it in whatever way; safe when it does not run */
void peer_stop(struct peer *peer);

/** peer_complain() - note what the driver did wrong, unless something is noted. Return: -1. */
int peer_complain(struct peer *peer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** peer_tell() - a one-way frame. @fd: -1: none. Return: 0; -1. */
int peer_tell(struct peer *peer, uint16_t type, const ProtobufCMessage *message, int fd);

/**
 * peer_post() - a call
 * @answer: the type of frame that answers it
 * @hook:   for people; static
 *
 * Return: its id; 0: see complaint.
 */
uint64_t peer_post(struct peer *peer, uint16_t type, const ProtobufCMessage *message,
                   uint16_t answer, const char *hook);

/**
 * peer_wait() - for the answer of a call
 * @deadline_ms: 0: only if it is there
 *
 * Return: the message, the caller's: protobuf_c_message_free_unpacked(); NULL: not yet, with no
 * complaint when @deadline_ms is 0; else see complaint. DRIVER_FAILED answers any call that has it.
 */
ProtobufCMessage *peer_wait(struct peer *peer, uint64_t id, unsigned deadline_ms);

/** peer_ask_pages() - put an ask into the ring. Return: 0; -1. */
int peer_ask_pages(struct peer *peer, const struct fill_ask *ask);

/**
 * peer_wait_page() - until the answers cover a page, or say that it failed
 *
 * Return: 1 supplied; 0 failed; -1 see complaint.
 */
int peer_wait_page(struct peer *peer, const struct fill_ask *ask, uint64_t page);

/** peer_n_fds() - open in the driver. Return: -1: it is not there. */
int peer_n_fds(const struct peer *peer);

/** peer_rss_bytes() - of the driver. Return: 0: it is not there. */
uint64_t peer_rss_bytes(const struct peer *peer);

#endif
