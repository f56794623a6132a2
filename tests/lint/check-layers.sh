#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Fail when a source file includes a folder its layer may not see (tests/lint/layers.txt).
#
#     check-layers.sh ROOT
set -eu
cd "$1"
{ git -c safe.directory="$PWD" ls-files -co --exclude-standard '*.c' '*.h' 2>/dev/null ||
    find . -path ./build -prune -o -name '*.[ch]' -print | sed 's,^\./,,'; } |
    while read -r file; do [ ! -f "$file" ] || echo "$file"; done |
    xargs grep -Hn '^#include "' /dev/null |
    awk '
    BEGIN {
        while ((getline line < "tests/lint/layers.txt") > 0) {
            if (line ~ /^#/ || line !~ /:/) continue
            split(line, part, ":"); layer = part[1]; known[layer] = 1
            n = split(part[2], may, " ")
            for (i = 1; i <= n; i++) allowed[layer, may[i]] = 1
        }
    }
    # The longest listed folder that holds this one: a layer includes its subfolders.
    function layer_of(folder,    whole) {
        whole = folder
        while (!(folder in known) && sub("/[^/]*$", "", folder)) continue
        return folder in known ? folder : whole
    }
    {
        split($0, f, ":"); from = f[1]; sub("/[^/]*$", "", from)
        match($0, /"[^"]*"/); to = substr($0, RSTART + 1, RLENGTH - 2)
        if (to !~ "/") { printf "%s: include by full path\n", $0; bad = 1; next }
        sub("/[^/]*$", "", to)
        from = layer_of(from); to = layer_of(to)
        if (known[from] && from != to && !allowed[from, to]) { printf "%s: %s may not see %s\n", f[1] ":" f[2], from, to; bad = 1 }
    }
    END { exit bad }'
