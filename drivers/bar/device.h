/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device behind muse-bar: a DMA engine. Clients fill in its registers, in BAR 0, and ring the
 * doorbell by storing a number other than the last one; a thread of the device does the command on
 * BAR 1's memory, by bus addresses, and stores that number in `done`.
 */
#ifndef MUSE_DRIVERS_BAR_DEVICE_H
#define MUSE_DRIVERS_BAR_DEVICE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "common/base/must.h"
#include "drivers/bar/bus.h"

#define DEVICE_MAGIC 0x4553554du /* "MUSE" */

enum device_command {
    DEVICE_COPY = 1, /* length bytes from source to target */
    DEVICE_FILL = 2, /* length bytes of target with the low byte of source */
    DEVICE_CRC = 3   /* CRC-32 of length bytes from source: result */
};

/* BAR 0. Little-endian, as everything on the bus. */
struct device_registers {
    uint32_t magic;
    uint32_t command;        /* enum device_command */
    uint64_t source, target; /* bus addresses */
    uint64_t length;         /* bytes */
    _Atomic uint32_t doorbell;
    _Atomic uint32_t done; /* the doorbell's number when it is done */
    uint32_t error;        /* of the last command: 0 or an errno */
    uint32_t result;
};

struct device {
    const struct bus *bus;              /* borrowed: what commands may touch */
    uint8_t *memory;                    /* borrowed: the device's, all of it mapped */
    struct device_registers *registers; /* in it */
    pthread_t thread;
    atomic_bool stopping;
    bool is_running;
};

/** device_start() - power on: registers are zero but for the magic. Return: 0; -errno. */
MUST_CHECK int device_start(struct device *device);

/** device_stop() - when it runs */
void device_stop(struct device *device);

#endif
