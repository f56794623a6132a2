#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Installs a release build into a folder of its own and uses it as a stranger would: builds a driver and a
# client by pkg-config alone, outside the tree, and lets them meet; then those that README.md prints.
#
#     check-sdk.sh FOLDER      made afresh but for its build, which is kept for the next time
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
prefix=$folder/prefix
rm -rf "$prefix" "$folder/outside"

cd "$root"
cmake --preset release -B "$folder/build" -DMUSE_TESTS=OFF -DMUSE_BENCH=OFF
cmake --build "$folder/build" -j "$(nproc)"
cmake --install "$folder/build" --prefix "$prefix"
echo "ok sdk/install"

mkdir -p "$folder/outside"
cp tests/sdk/sample_driver.c tests/sdk/sample_client.c "$folder/outside"
tests/lint/readme-code.sh "A client" >"$folder/outside/hello_client.c"
tests/lint/readme-code.sh "A driver" >"$folder/outside/hello_driver.c"
cd "$folder/outside"
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name muse.pc)")
export PKG_CONFIG_PATH
libdir=$(pkg-config --variable=libdir muse)
build() { # PROGRAM PACKAGE
    # shellcheck disable=SC2046 # the flags are words
    cc -std=c11 -D_DEFAULT_SOURCE -Wall -Wextra -Werror "$1.c" -o "$1" \
        $(pkg-config --cflags --libs "$2") -Wl,-rpath,"$libdir"
}
build sample_driver muse-driver
build sample_client muse
build hello_driver muse-driver
build hello_client muse
echo "ok sdk/build"

run() { # WHAT DRIVER CLIENT WANTED
    said=$(timeout 60 "$prefix/bin/mused" --rundir "$folder/outside/run" --driver "$2" --run "$3")
    if [ "$said" != "$4" ]; then
        echo "not ok sdk/$1: the client said: $said"
        exit 1
    fi
    echo "ok sdk/$1"
}
run run ./sample_driver './sample_client sample/hello' "hello from outside"
run readme-client "$prefix/bin/muse-file /" ./hello_client "$(head -c 4096 /etc/os-release)"
run readme-driver ./hello_driver './hello_client hello/world' "hello from a driver"
