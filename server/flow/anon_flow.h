/* SPDX-License-Identifier: BSD-3-Clause */
/* mmap of anonymous memory: placed by the server, served by the client's kernel. */
#ifndef MUSE_SERVER_FLOW_ANON_FLOW_H
#define MUSE_SERVER_FLOW_ANON_FLOW_H

#include "proto/client.pb-c.h"
#include "server/flow/engine.h"
#include "server/flow/session_flow.h"

/** anon_map() - a MAP request with MAP_ANONYMOUS; @message: borrowed. Answered from there. */
void anon_map(struct space *space, uint64_t id, const Muse__Wire__Map *message);

/** anon_op() - the op that makes anonymous memory as @vma is at @range; @extra: MAP_ flags */
struct mem_op anon_op(const struct vma *vma, struct range range, uint32_t extra);

/** anon_fill_in() - make @vma, detached and without references, anonymous memory of @space */
void anon_fill_in(struct space *space, struct vma *vma, struct range range, uint32_t flags);

#endif
