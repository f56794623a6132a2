/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the two halves of the userfaultfd port share: uffd_port.c (the fd, its messages) and
 * uffd_pages.c (page calls). For nobody else.
 */
#ifndef MUSE_SERVER_UFFD_UFFD_PAGES_H
#define MUSE_SERVER_UFFD_UFFD_PAGES_H

#include "server/uffd/uffd_port.h"

/* Chosen: ranges kept for later; more are woken at once. Only a client's mremap loop has many. */
#define UFFD_PORT_DEFERRED_MAX 1024u

/* Chosen: deferred ranges are woken after this, at the latest; twice as long each time, up to
 * 10 ms, until a page call succeeds. */
#define UFFD_PORT_RETRY_NS 1000000u

/**
 * uffd_port_defer() - the mm is changing: wake who waits in @range after the next event, or soon
 * @range: bytes, not empty
 */
void uffd_port_defer(struct uffd_port *port, struct range range);

/** uffd_port_set_gone() - ESRCH was seen; from now on everything is a no-op */
void uffd_port_set_gone(struct uffd_port *port);

#endif
