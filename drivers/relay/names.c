/* SPDX-License-Identifier: BSD-3-Clause */
/* Names are read exactly: cpu07 and cpu+7 are no names of cpu7, so each object has one. */
#include "drivers/relay/names.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

bool relay_channel_name_is_legal(const char *name)
{
    const size_t length = strlen(name);

    if (length == 0 || length >= RELAY_CHANNEL_NAME_MAX || name[0] == '.')
        return false;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("_-.", name[i]))
            return false;
    return true;
}

/* "cpuN" and what follows. Return: where it ends; NULL. */
static const char *parse_cpu(const char *text, uint32_t *ret_cpu)
{
    uint32_t cpu = 0;
    const char *digit;

    if (strncmp(text, "cpu", 3) != 0)
        return NULL;
    digit = text + 3;
    if (!isdigit((unsigned char)*digit) || (*digit == '0' && isdigit((unsigned char)digit[1])))
        return NULL;
    for (; isdigit((unsigned char)*digit); digit++) {
        cpu = cpu * 10 + (uint32_t)(*digit - '0');
        if (cpu >= RELAY_CPUS_MAX)
            return NULL;
    }
    *ret_cpu = cpu;
    return digit;
}

/* What is behind "CHANNEL/". */
static int parse_buffer(const char *text, struct relay_name *name)
{
    const char *rest = parse_cpu(text, &name->cpu);

    if (!rest)
        return -ENOENT;
    name->kind = RELAY_NAME_BUFFER;
    if (strncmp(rest, ".ctl", 4) == 0) {
        name->kind = RELAY_NAME_CTL;
        rest += 4;
    }
    if (*rest == '/')
        return -ENOTDIR;
    return *rest == '\0' ? 0 : -ENOENT;
}

int relay_name_parse(const char *path, struct relay_name *ret_name)
{
    const size_t length = strcspn(path, "/");
    struct relay_name name = {.kind = RELAY_NAME_ROOT};
    int r = 0;

    if (*path == '\0') {
        *ret_name = name;
        return 0;
    }
    if (length >= sizeof(name.channel))
        return -ENOENT;
    memcpy(name.channel, path, length);
    if (!relay_channel_name_is_legal(name.channel))
        return -ENOENT;
    name.kind = RELAY_NAME_CHANNEL;
    if (path[length] == '/' && path[length + 1] != '\0')
        r = parse_buffer(path + length + 1, &name);
    if (r == 0)
        *ret_name = name;
    return r;
}
