#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2034,SC2154,SC1091 # variables of lib.sh
# What the C library does about files by itself: the file actions of posix_spawn, glob, ftw, nftw.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

own=$dir/file # as the driver is called
for folder in "$own" "$plain"; do
    mkdir -p "$folder/sub"
    seq 1 1000 >"$folder/text"
    echo "inside the folder" >"$folder/sub/inner"
    echo "beside it" >"$folder/sub/second"
    ln -s sub "$folder/link"
done
start "muse-file --writable $plain"
LINES_MAX=60
both "$MUSE_BUILD_DIR/tests/preload_spawn" @
expect "the same files are left" "$(cd "$own" && find . | sort)" "$(cd "$plain" && find . | sort)"
finish
