/* SPDX-License-Identifier: BSD-3-Clause */
/* The VM flags that the server keeps for a mapping, by `musectl maps`. Header only. */
#ifndef MUSE_TESTS_SUPPORT_MAPPING_FLAGS_H
#define MUSE_TESTS_SUPPORT_MAPPING_FLAGS_H

#include <stdio.h>
#include <string.h>

#include "tests/support/client.h"

/* Adds the flags of each mapping of @object in the space @id: " dontexpand io" ... */
__attribute__((unused)) static inline void
mapping_flags_in(const struct rig *rig, json_int_t id, const char *object, char *text, size_t size)
{
    char command[64];
    json_t *document, *map, *flag;
    size_t i, k;

    (void)snprintf(command, sizeof(command), "maps %lld", (long long)id);
    document = rig_ctl(rig, command);
    json_array_foreach(json_entries(document), i, map)
    {
        const char *of = json_string_value(json_object_get(map, "object"));

        if (!of || strcmp(of, object) != 0)
            continue;
        json_array_foreach(json_object_get(map, "flags"), k, flag)
        {
            const size_t used = strlen(text);

            (void)snprintf(text + used, size - used, " %s", json_string_value(flag));
        }
    }
    json_decref(document);
}

/** mapping_has_flags() - whether the only mapping of @object, in whatever space, has all of @flags,
 * NULL-terminated, as "dontexpand" */
__attribute__((unused)) static inline bool
mapping_has_flags(const struct rig *rig, const char *object, const char *const *flags)
{
    json_t *document = rig_ctl(rig, "spaces");
    char text[512] = "";
    char wanted[32];
    json_t *space;
    size_t i;

    json_array_foreach(json_entries(document), i, space)
    {
        mapping_flags_in(rig, json_integer_value(json_object_get(space, "id")), object, text,
                         sizeof(text) - 1);
    }
    json_decref(document);
    strcat(text, " ");
    for (; *flags; flags++) {
        (void)snprintf(wanted, sizeof(wanted), " %s ", *flags);
        if (!strstr(text, wanted)) {
            (void)fprintf(stderr, "no %s in%s\n", *flags, text);
            return false;
        }
    }
    return true;
}

#endif
