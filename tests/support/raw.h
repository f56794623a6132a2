/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The wire by hand, for tests of what a well-behaved library never does: bytes to a server socket,
 * and a client that stops wherever the test wants it to. Every wait has a deadline and fails the
 * test when it passes.
 */
#ifndef MUSE_TESTS_SUPPORT_RAW_H
#define MUSE_TESTS_SUPPORT_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ipc/chan.h"
#include "proto/client.pb-c.h"
#include "tests/support/rig.h"

#define RAW_ARENA_BYTES ((size_t)1 << 30)

/* A client made of frames. */
struct raw {
    struct chan chan;
    uint64_t next_id;
    uint64_t uffd_features; /* of the welcome */
    int device;             /* owned: /dev/userfaultfd of the welcome, or -1 */
    int uffd;               /* owned; -1 before raw_attach() */
    char *arena;            /* owned mapping; NULL before raw_attach() */
};

/** raw_socket() - connect to client.sock, driver.sock or control.sock. Return: the caller's fd. */
int raw_socket(const struct rig *rig, const char *name);

/** raw_send() - one datagram with @n_fds copies of @fd. Return: 0; -errno. */
int raw_send(int sock, const void *bytes, size_t n_bytes, int fd, unsigned n_fds);

/** raw_frame() - the same, with a well-formed header before @payload; @n_fds_said goes into it */
int raw_frame(int sock, uint16_t type, const void *payload, size_t n_payload, int fd,
              unsigned n_fds, unsigned n_fds_said);

/** raw_is_cut_off() - read until the server has closed; false when it has not after 10 s */
bool raw_is_cut_off(int sock);

/** raw_hello() - connect, say hello, take the welcome */
void raw_hello(struct raw *raw, const struct rig *rig);

/** raw_uffd() - make the userfaultfd that ATTACH wants */
void raw_uffd(struct raw *raw);

/** raw_attach() - arena, userfaultfd, ATTACH; after raw_hello() */
void raw_attach(struct raw *raw);

/** raw_place() - an address in its arena, at a multiple of 2 MiB, where nothing is unless it was named */
uint64_t raw_place(const struct raw *raw);

/** raw_done() - close everything */
void raw_done(struct raw *raw);

/** raw_ask() - send a request. Return: its id. */
uint64_t raw_ask(struct raw *raw, uint16_t type, const ProtobufCMessage *message);

/** raw_answer() - the next frame, which must be of @type and for @id; borrowed until the next */
struct frame *raw_answer(struct raw *raw, uint16_t type, uint64_t id);

/** raw_failure() - the next frame must be FAILED for @id. Return: the errno. */
int raw_failure(struct raw *raw, uint64_t id);

/** raw_open() - open an object. Return: the file's id; its fd is closed. */
uint64_t raw_open(struct raw *raw, const char *name);

/** raw_open_rw() - the same, for reading and writing */
uint64_t raw_open_rw(struct raw *raw, const char *name);

/** raw_map() - ask for a shared read-only mapping. Return: the request's id. */
uint64_t raw_map(struct raw *raw, uint64_t file_id, uint64_t addr, size_t len, uint32_t flags);

/** raw_map_page() - map a page at raw_place(), with memory of its own behind it. Return: the address. */
uint64_t raw_map_page(struct raw *raw, uint64_t file_id);

/** raw_ops_done() - claim that the server's MEM_OPS were carried out. @error: errno or 0. */
void raw_ops_done(struct raw *raw, uint64_t id, uint32_t error);

/**
 * raw_carry_out() - do the one op of a MEM_OPS frame in this process, and say so
 * @frame: of raw_answer(); its fds are not used: what is to be mapped is an empty memfd
 */
void raw_carry_out(struct raw *raw, const struct frame *frame);

#endif
