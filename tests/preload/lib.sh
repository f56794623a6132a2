# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What the scripts here share: a folder, a server of their own, and "the same as on the plain folder".
# MUSE_BUILD_DIR says where bin/ is.
set -uo pipefail

bin=${MUSE_BUILD_DIR:?}/bin
dir=$(mktemp -d /tmp/muse-preload.XXXXXX)
plain=$dir/data
export MUSE_RUNDIR=$dir/run
mkdir "$plain"
mused_pid=
n_good=0
n_bad=0

stop() {
    [[ -z $mused_pid ]] || { kill "$mused_pid" && wait "$mused_pid"; }
    rm -rf "$dir"
}
trap stop EXIT

# start DRIVERCMD... : a server; returns when the drivers are there
start() {
    local args=() driver tries=0
    for driver; do args+=(--driver "$bin/$driver"); done
    "$bin/mused" "${args[@]}" 2>"$dir/log" &
    mused_pid=$!
    until [[ $("$bin/musectl" --json drivers 2>/dev/null | grep -o '"name"' | wc -l) -ge $# ]]; do
        ((++tries < 500)) || { cat "$dir/log" && echo "not ok: the server does not start" && exit 1; }
        sleep 0.02
    done
}

good() {
    n_good=$((n_good + 1))
    echo "ok: $*"
}

bad() {
    n_bad=$((n_bad + 1))
    echo "not ok: $*"
}

# expect NAME TEXT GOT
expect() {
    if [[ $2 == "$3" ]]; then
        good "$1"
    else
        bad "$1"
        diff <(echo "$2") <(echo "$3") | head -n "${LINES_MAX:-20}"
    fi
}

# run PROGRAM ARG... : on a served folder
run() {
    timeout -k 1 60 "$bin/muse-run" -- "$@"
}

# same SERVED PROGRAM ARG... : "@" in an argument is the plain folder once, and SERVED once
same() {
    local served=$1 want got
    shift
    want=$(cd / && timeout -k 1 60 "${@//@/$plain}" 2>&1 </dev/null; echo "status $?")
    got=$(cd / && run "${@//@/$served}" 2>&1 </dev/null; echo "status $?")
    expect "$*" "$want" "${got//"$served"/$plain}"
}

# both PROGRAM ARG... : "@" is the folder $own once, the one that muse-file serves once
both() {
    local want got
    want=$(cd / && timeout -k 1 60 "${@//@/$own}" 2>&1 </dev/null; echo "status $?")
    got=$(cd / && run "${@//@//muse/file}" 2>&1 </dev/null; echo "status $?")
    expect "$*" "${want//"$own"/@}" "${got//"/muse/file"/@}"
}

has() {
    command -v "$1" >/dev/null && return
    echo "not here: $1"
    return 1
}

# the server has nothing left over, and counts right
finish() {
    local left try
    if "$bin/musectl" audit >"$dir/audit"; then good audit; else bad audit && cat "$dir/audit"; fi
    for ((try = 0; try < 500; try++)); do # a program's io_uring closes its sockets after its end
        left=$("$bin/musectl" --json status | grep -o '"spaces":[0-9]*')
        [[ $left == '"spaces":0' ]] && break
        sleep 0.02
    done
    expect "no space is left" '"spaces":0' "$left"
    echo "$n_good good, $n_bad bad"
    ((n_bad == 0 && n_good > 0))
    exit
}
