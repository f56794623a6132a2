#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Fail when a pure archive calls anything but memory, strings and the panic hook.
#
#     check-pure.sh ARCHIVE [BASE-ARCHIVE]      what BASE-ARCHIVE defines, but for the log, is allowed, too
#
# ALSO: further symbols that are allowed, separated by '|'.
set -eu
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT

symbols() { # LIST ARCHIVE: the names, without the lines that name the archive's members
    nm --format=posix "$1" "$2" | awk 'NF >= 2 { print $1 }' | sort -u
}

symbols --defined-only "$1" >"$tmp/own"
[ -z "${2-}" ] || symbols --defined-only "$2" | grep -v '^log_' >>"$tmp/own" || true
symbols --undefined-only "$1" | grep -Fxv -f "$tmp/own" |
    grep -Evx "malloc|calloc|realloc|free|mem(cpy|move|set|cmp|chr)|str(n?len|cmp|ncmp|n?dup|chr|rchr)|bsearch|abort|v?snprintf|muse_panic|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__(asan|ubsan|tsan|gcov|llvm)_.*|${ALSO:-abort}" >"$tmp/bad" || true
if [ -s "$tmp/bad" ]; then
    echo "$1: pure code calls:"
    cat "$tmp/bad"
    exit 1
fi
