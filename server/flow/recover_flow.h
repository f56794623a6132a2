/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver that died may come back: the written pages that its predecessor was not given wait for it,
 * and it gets them before any client finds it.
 */
#ifndef MUSE_SERVER_FLOW_RECOVER_FLOW_H
#define MUSE_SERVER_FLOW_RECOVER_FLOW_H

#include "server/flow/engine.h"

/**
 * recover_keep() - the object's driver is dead and did not get these dirty pages: keep them for the
 * next driver of that name
 *
 * Return: whether they are kept now; false: no memory for it, a driver of that name is here already,
 * or [deadlines] return_ms is 0.
 */
bool recover_keep(struct object *object);

/** recover_start() - a driver said hello. While something waits for it, driver.recovering is set, and
 * nobody finds it by its name. */
void recover_start(struct driver *driver);

/** recover_driver_gone() - it died before it had everything: what is left waits for the next one.
 * After all its calls have ended. */
void recover_driver_gone(struct driver *driver);

/** recover_end() - the server ends: whatever still waits is lost, and logged. Called until nothing is
 * left: what a driver is getting right now ends first. */
void recover_end(struct engine *engine);

/** recover_n_refs() - references of the object that are held here */
uint64_t recover_n_refs(const struct object *object);

#endif
