#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2034,SC2154,SC1091 # words of other shells; variables of lib.sh
# muse-run itself: its status, its captive server, and what it says of programs that it cannot serve.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
run_muse() { timeout -k 1 60 "$bin/muse-run" "$@"; }

echo "hello" >"$plain/text"
mkdir "$plain/more"
echo "quoted" >"$plain/more/it's \$(here)"
d=(-d "muse-file $plain")

expect "captive" hello "$(unset MUSE_RUNDIR && run_muse "${d[@]}" -- cat /muse/file/text)"
expect "captive, two drivers" "file zero" "$(run_muse "${d[@]}" -d muse-zero -- ls /muse | xargs)"
expect "arguments stay whole" quoted "$(run_muse "${d[@]}" -- cat "/muse/file/more/it's \$(here)")"
expect "arguments with lines" "a b
c|d" "$(run_muse "${d[@]}" -- printf '%s|%s' "a b
c" d)"
run_muse "${d[@]}" -- bash -c 'exit 37'
expect "the program's status" 37 $?
run_muse "${d[@]}" -- bash -c 'kill -TERM $$'
expect "a signal's status" $((128 + 15)) $?
expect "standard input" hello "$(echo hello | run_muse "${d[@]}" -- cat)"

expect "one within another" "hello
quoted
hello" "$(run_muse "${d[@]}" -- bash -c "cat /muse/file/text; '$bin/muse-run' -d 'muse-file $plain/more' -- cat \"/muse/file/it's \\\$(here)\"; cat /muse/file/text")"
expect "preloaded already" hello "$(LD_PRELOAD=$(realpath "$bin/../lib/libmuse-preload.so") run_muse "${d[@]}" -- cat /muse/file/text)"

run_muse -- cat /muse/file/text 2>"$dir/said"
expect "no server: status" 1 $?
expect "no server: it says so" 1 "$(grep -c "no server at $MUSE_RUNDIR" "$dir/said")"
run_muse -- no-such-program-anywhere 2>/dev/null
expect "no program" 127 $?
run_muse 2>/dev/null
expect "usage" 2 $?

refused() { # NAME FILE WORDS
    run_muse "${d[@]}" -- "$2" 2>"$dir/said"
    expect "$1: status" 2 $?
    expect "$1: one sentence" 1 "$(wc -l <"$dir/said")"
    expect "$1: why" 1 "$(grep -c "$3" "$dir/said")"
}

printf 'int main(void)\n{\n    return 0;\n}\n' >"$dir/empty.c"
gcc -static -o "$dir/static" "$dir/empty.c" && refused "a static program" "$dir/static" "statically linked"
# what Go's linker leaves in each of its programs
printf '%s\n' '__attribute__((section(".go.buildinfo"))) const char info[16] = "go";' 'int main(void)' '{' \
    '    return info[0] == 0;' '}' >"$dir/go.c"
gcc -o "$dir/go" "$dir/go.c" && refused "a Go program" "$dir/go" "Go program"
if ((EUID == 0)); then
    gcc -o "$dir/setuid" "$dir/empty.c" && chown 65534 "$dir/setuid" && chmod 4755 "$dir/setuid" &&
        refused "a setuid program" "$dir/setuid" "other rights"
fi
printf '#!%s\n' "$dir/static" >"$dir/script" && chmod +x "$dir/script" && refused "a script of a static one" "$dir/script" static

start "muse-file $plain"
expect "with a server" hello "$(run cat /muse/file/text)"
kill -KILL "$mused_pid"
wait "$mused_pid" 2>/dev/null
mused_pid=
expect "when the server has gone" 1 "$(run cat /muse/file/text >/dev/null 2>&1; echo $?)"
echo "$n_good good, $n_bad bad"
((n_bad == 0 && n_good > 0))
