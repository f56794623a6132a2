#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2034,SC2154,SC1091 # words of other shells; variables of lib.sh
# Prints what other files pay for the preloaded library. Time is shown, not judged.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

overhead=$MUSE_BUILD_DIR/tests/preload_overhead
head -c 8192 /dev/urandom >"$plain/file"
start "muse-file $plain"
echo "without the library"
"$overhead" "$plain/file"
expect "status" 0 $?
echo "with the library"
run "$overhead" "$plain/file"
expect "status" 0 $?
echo "with the library, and an object of ours open and mapped"
run "$overhead" "$plain/file" /muse/file/file
expect "status" 0 $?
before=$(date +%s%N)
for _ in {1..50}; do /bin/true; done
between=$(date +%s%N)
for _ in {1..50}; do "$bin/muse-run" -- /bin/true; done
echo "starting /bin/true: $(((between - before) / 50000)) us, by muse-run $((($(date +%s%N) - between) / 50000)) us"
finish
