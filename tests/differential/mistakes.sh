#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Does the fuzzer find what is wrong? Each mistake that it can make by itself has to be found, and shrunk to a few
# steps that fail again when they are read back, and do not fail without the mistake.
set -uo pipefail

program=${MUSE_BUILD_DIR:?}/tests/differential
dir=$(mktemp -d /tmp/muse-mistakes.XXXXXX)
trap 'rm -rf "$dir"' EXIT
n_bad=0

# found NAME STEPS-MAX OPTION...
found() {
    local name=$1 max=$2 script=$dir/$1.script steps
    shift 2
    "$program" --seed 5 --save "$script" --mistake "$name" "$@" >"$dir/log"
    steps=$(sed -n 's/^shrunk to \([0-9]*\) steps.*/\1/p' "$dir/log")
    if [[ -z $steps ]] || ((steps > max)); then
        echo "not ok: $name is shrunk to ${steps:-no} steps"
    elif "$program" --script "$script" --no-shrink --mistake "$name" "$@" >>"$dir/log"; then
        echo "not ok: $name is not found in what was saved"
    elif ! "$program" --script "$script" "$@" >>"$dir/log"; then
        echo "not ok: $name is found where it was not made"
    else
        echo "ok: $name is found, in $steps steps"
        return
    fi
    n_bad=$((n_bad + 1))
    cat "$dir/log"
}

found protect 4
found store 8
found crash 2
found hang 2 --deadline 2000
((n_bad == 0))
