/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Open addressing with linear probing. Owns the slots. Used by everything that looks an id up.
 *
 * A taken entry becomes a dead slot, so that nothing moves while somebody walks the map; dead slots
 * at the end of a probe path become free at once, the others with the next rehash.
 */
#include "common/base/idmap.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* Chosen: small enough that an idle client's maps cost nothing to speak of. */
#define IDMAP_MIN_SLOTS 16U

enum slot_state { SLOT_FREE, SLOT_USED, SLOT_DEAD };

struct idmap_slot {
    uint64_t id;
    void *ptr; /* borrowed from who put it; NULL unless SLOT_USED */
    enum slot_state state;
};

/* The finalizer of splitmix64 (Steele, Lea, Flood 2014): counters spread over all slots. */
static uint64_t hash_id(uint64_t id)
{
    id += UINT64_C(0x9e3779b97f4a7c15);
    id = (id ^ (id >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    id = (id ^ (id >> 27)) * UINT64_C(0x94d049bb133111eb);
    return id ^ (id >> 31);
}

void idmap_init(struct idmap *map)
{
    *map = (struct idmap){0};
}

void idmap_done(struct idmap *map)
{
    free(map->slots);
    idmap_init(map);
}

/* There is always a free slot, so every probe ends. */
static struct idmap_slot *find_slot(const struct idmap *map, uint64_t id)
{
    size_t i;

    if (map->n_slots == 0)
        return NULL;
    for (i = hash_id(id) & (map->n_slots - 1); map->slots[i].state != SLOT_FREE;
         i = (i + 1) & (map->n_slots - 1)) {
        if (map->slots[i].state == SLOT_USED && map->slots[i].id == id)
            return &map->slots[i];
    }
    return NULL;
}

/* @id is not in the map; there is room. */
static void fill_slot(struct idmap *map, uint64_t id, void *ptr)
{
    size_t i = hash_id(id) & (map->n_slots - 1);

    while (map->slots[i].state == SLOT_USED)
        i = (i + 1) & (map->n_slots - 1);
    if (map->slots[i].state == SLOT_DEAD)
        map->n_dead--;
    map->slots[i] = (struct idmap_slot){.id = id, .ptr = ptr, .state = SLOT_USED};
    map->n_used++;
}

/* Makes room for one entry more: at most half of the slots used, three quarters used or dead. */
static int make_room(struct idmap *map)
{
    struct idmap grown = {.n_slots = map->n_slots ? map->n_slots : IDMAP_MIN_SLOTS};
    size_t i;

    if (map->n_slots && map->n_used + map->n_dead < map->n_slots / 4 * 3)
        return 0;
    if (map->n_used >= grown.n_slots / 2)
        grown.n_slots *= 2;
    grown.slots = calloc(grown.n_slots, sizeof(*grown.slots));
    if (!grown.slots)
        return -ENOMEM;
    for (i = 0; i < map->n_slots; i++) {
        if (map->slots[i].state == SLOT_USED)
            fill_slot(&grown, map->slots[i].id, map->slots[i].ptr);
    }
    free(map->slots);
    *map = grown;
    return 0;
}

int idmap_put(struct idmap *map, uint64_t id, void *ptr)
{
    int r;

    MUST(ptr);
    if (find_slot(map, id))
        return -EEXIST;
    r = make_room(map);
    if (r < 0)
        return r;
    fill_slot(map, id, ptr);
    return 0;
}

void *idmap_get(const struct idmap *map, uint64_t id)
{
    const struct idmap_slot *slot = find_slot(map, id);

    return slot ? slot->ptr : NULL;
}

/* When no probe path leads over slot @i any more, it and the dead ones before it become free. */
static void free_dead_slots(struct idmap *map, size_t i)
{
    size_t mask = map->n_slots - 1;

    if (map->slots[(i + 1) & mask].state != SLOT_FREE)
        return;
    for (; map->slots[i].state == SLOT_DEAD; i = (i - 1) & mask) {
        map->slots[i].state = SLOT_FREE;
        map->n_dead--;
    }
}

void *idmap_take(struct idmap *map, uint64_t id)
{
    struct idmap_slot *slot = find_slot(map, id);
    void *ptr;

    if (!slot)
        return NULL;
    ptr = slot->ptr;
    *slot = (struct idmap_slot){.state = SLOT_DEAD};
    map->n_used--;
    map->n_dead++;
    free_dead_slots(map, (size_t)(slot - map->slots));
    return ptr;
}

void *idmap_next(const struct idmap *map, size_t *cursor)
{
    while (*cursor < map->n_slots) {
        const struct idmap_slot *slot = &map->slots[(*cursor)++];

        if (slot->state == SLOT_USED)
            return slot->ptr;
    }
    return NULL;
}
