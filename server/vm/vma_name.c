/* SPDX-License-Identifier: BSD-3-Clause */
/* vma_name.c - names of mappings: counted, and made safe to print. Owns each of them. */
#include "server/vm/vma_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int vma_name_new(struct vma_name **ret_name)
{
    struct vma_name *name = calloc(1, sizeof(*name));

    if (!name)
        return -ENOMEM;
    name->n_refs = 1;
    *ret_name = name;
    return 0;
}

struct vma_name *vma_name_ref(struct vma_name *name)
{
    if (name)
        name->n_refs++;
    return name;
}

struct vma_name *vma_name_unref(struct vma_name *name)
{
    if (name && --name->n_refs == 0)
        free(name);
    return NULL;
}

void vma_name_set(struct vma_name *name, const char *text)
{
    size_t n = strlen(text);

    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') { /* as Linux's drivers write them */
        text++;
        n -= 2;
    }
    if (n > VMA_NAME_BYTES_MAX)
        n = VMA_NAME_BYTES_MAX;
    for (size_t i = 0; i < n; i++)
        name->text[i] = (char)(text[i] >= ' ' && text[i] <= '~' ? text[i] : '?');
    name->text[n] = '\0';
}
