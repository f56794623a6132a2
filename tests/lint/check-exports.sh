#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Fail when libmuse or libmuse-driver exports a name that does not start with muse_ or that no public
# header declares. What libmuse-preload exports are libc's names; it is not looked at.
#
#     check-exports.sh ROOT LIBDIR
set -eu
bad=0

check() { # LIBRARY INCLUDEDIR
    [ -e "$1" ] || return 0
    for name in $(nm -D --defined-only --format=posix "$1" | awk '$2 != "A" { sub("@.*", "", $1); print $1 }'); do
        case $name in
        muse_*) grep -qrw "$name" "$2" && continue ;;
        esac
        echo "$1 exports $name, which is not declared in $2"
        bad=1
    done
}

check "$2/libmuse.so" "$1/client-lib/include"
check "$2/libmuse-driver.so" "$1/drivers/sdk/include"
exit $bad
