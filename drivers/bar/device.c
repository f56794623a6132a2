/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's thread. Nobody tells it of a store to its registers, as nobody tells a memory
 * controller: it looks. It looks all the time for a while after the last command, then 1000 times a
 * second. Whatever clients put into the registers, only memory on the bus is touched.
 */
#include "drivers/bar/device.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#define LOOKS_AWAKE 20000u   /* chosen: about a millisecond */
#define NAP_NS      1000000l /* chosen: nobody notices a thousand looks a second */

/* Pieces of at most what is contiguous on both sides. Return: 0; EFAULT. */
static uint32_t copy(const struct device *device, uint64_t source, uint64_t target, uint64_t length)
{
    while (length > 0) {
        uint64_t from, to;
        uint64_t n = bus_translate(device->bus, source, length, &from);

        n = bus_translate(device->bus, target, n, &to);
        if (n == 0)
            return EFAULT;
        memmove(device->memory + to, device->memory + from, n);
        source += n;
        target += n;
        length -= n;
    }
    return 0;
}

static uint32_t fill(const struct device *device, uint8_t byte, uint64_t target, uint64_t length)
{
    while (length > 0) {
        uint64_t to;
        const uint64_t n = bus_translate(device->bus, target, length, &to);

        if (n == 0)
            return EFAULT;
        memset(device->memory + to, byte, n);
        target += n;
        length -= n;
    }
    return 0;
}

static uint32_t crc(const struct device *device, uint64_t source, uint64_t length,
                    uint32_t *ret_crc)
{
    uLong sum = crc32(0, NULL, 0);

    while (length > 0) {
        uint64_t from;
        const uint64_t n = bus_translate(device->bus, source, length, &from);

        if (n == 0)
            return EFAULT;
        sum = crc32_z(sum, device->memory + from, n);
        source += n;
        length -= n;
    }
    *ret_crc = (uint32_t)sum;
    return 0;
}

/* Registers are read once: a client may change them at any time. */
static void execute(struct device *device, uint32_t number)
{
    volatile struct device_registers *registers = device->registers;
    const uint64_t source = registers->source;
    const uint64_t target = registers->target;
    const uint64_t length = registers->length;
    uint32_t result = 0;
    uint32_t error;

    switch (registers->command) {
    case DEVICE_COPY:
        error = copy(device, source, target, length);
        break;
    case DEVICE_FILL:
        error = fill(device, (uint8_t)source, target, length);
        break;
    case DEVICE_CRC:
        error = crc(device, source, length, &result);
        break;
    default:
        error = EINVAL;
    }
    registers->error = error;
    registers->result = result;
    atomic_store_explicit(&device->registers->done, number, memory_order_release);
}

static void *device_main(void *arg)
{
    static const struct timespec nap = {.tv_nsec = NAP_NS};
    struct device *device = arg;
    uint32_t last = 0;
    unsigned n_looks = 0;

    while (!atomic_load(&device->stopping)) {
        const uint32_t number =
            atomic_load_explicit(&device->registers->doorbell, memory_order_acquire);

        if (number != last) {
            last = number;
            n_looks = 0;
            execute(device, number);
        } else if (++n_looks > LOOKS_AWAKE) {
            (void)nanosleep(&nap, NULL); /* woken early, it looks early */
        } else if (n_looks % 64 == 0) {
            (void)sched_yield();
        }
    }
    return NULL;
}

int device_start(struct device *device)
{
    int r;

    memset(device->registers, 0, sizeof(*device->registers));
    device->registers->magic = DEVICE_MAGIC;
    atomic_store(&device->stopping, false);
    r = -pthread_create(&device->thread, NULL, device_main, device);
    device->is_running = r == 0;
    return r;
}

void device_stop(struct device *device)
{
    if (!device->is_running)
        return;
    atomic_store(&device->stopping, true);
    (void)pthread_join(device->thread, NULL);
    device->is_running = false;
}
