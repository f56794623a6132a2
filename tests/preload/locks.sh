#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2034,SC2154,SC1091 # words of other shells; variables of lib.sh
# File locks: what two processes say of them on a served folder is what they say on the folder itself.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

seq 1 5000 >"$plain/text"
ln -s text "$plain/link"
start "muse-file --writable $plain"
s=/muse/file
LINES_MAX=40
same $s "$MUSE_BUILD_DIR/tests/preload_locks" @

# a shell's lock is its descriptor's, which another program takes for it
same $s bash -c 'exec 9>>@/lock; flock -n 9; echo $?; (exec 8<@/lock; flock -n 8; echo $?)
    flock -u 9; flock -n @/lock echo mine'
same $s flock @/lock flock -n @/lock true
same $s bash -c 'exec 9>>@/lock; flock -n 9; exec 9>&-; flock -n @/lock echo free'


# a descriptor over exec is found by the name it was opened with, whatever others call the object
same $s bash -c 'echo old >@/first; mv @/first @/second; cat <@/second; exec 7<@/second; cat <&7; rm @/second'

# an object goes from the server with the last program that has it open there; its lock stays
mkfifo "$dir/ready" "$dir/go"
run bash -c "exec 9>>$s/kept; flock -n 9 && exec bash -c 'echo >$dir/ready; read -r _ <$dir/go'" &
read -r _ <"$dir/ready"
tries=0
until [[ $("$bin/musectl" --json status) == *'"objects":0,'* ]] || ((++tries > 200)); do sleep 0.02; done
expect "the object has gone" 1 "$((tries <= 200))"
run flock -n $s/kept true
expect "locked by who has only the descriptor" 1 $?
echo >"$dir/go"
expect "until it ends" "status 0" "$(run flock $s/kept true; echo "status $?")"
wait $!
finish
