/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fork(2) of a client: the parent's side of the dialogue, and the copy of its space that waits for
 * the child. The child's attaching is in session_flow.c, which takes the copy from here.
 */
#ifndef MUSE_SERVER_FLOW_FORK_FLOW_H
#define MUSE_SERVER_FLOW_FORK_FLOW_H

#include "proto/client.pb-c.h"
#include "server/flow/engine.h"

/**
 * fork_claim() - the copy of a space that a token stands for; the token is used up
 * @message:   the child's FORK_ATTACH, decoded, contents unchecked
 * @uid:       of who says it, must be the parent's
 * @ret_space: with the reference of a session, which the caller becomes
 *
 * Return: 0; -ESTALE no such token (any more); -ENOMEM, -EINVAL as the ranges that the child could
 * not reserve say; then the copy has ended.
 */
MUST_CHECK int fork_claim(struct engine *engine, const Muse__Wire__ForkAttach *message, uid_t uid,
                          struct space **ret_space);

/**
 * fork_register() - register every mapping of a claimed copy with the child's userfaultfd
 * @space: uffd_open
 *
 * Return: 0; -errno of uffd_port_register(): the child must not touch anything.
 */
MUST_CHECK int fork_register(struct space *space);

/** fork_abandon() - end a copy whose child will not come: VMAs are closed, files released. Takes
 * the reference of fork_claim(). */
void fork_abandon(struct space *space);

/** fork_drop_all() - the server ends: no child will come any more */
void fork_drop_all(struct engine *engine);

/** fork_deadline_ns() - until when a fork that has the lock may keep it; 0: it has not. For people. */
uint64_t fork_deadline_ns(const struct mm_request *mm);

#endif
