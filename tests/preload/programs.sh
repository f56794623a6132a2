#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2034,SC2154,SC1091 # words of other shells; variables of lib.sh
# Unmodified programs on a folder that muse-file serves, against the same on the plain folder.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

git_quiet() {
    git -c user.name=a -c user.email=a@example.org -c init.defaultBranch=main -c gc.auto=0 "$@" >/dev/null 2>&1
}

seq 1 300000 >"$plain/text"
head -c 3000000 /dev/urandom >"$plain/random"
cp /bin/ls "$plain/program"
mkdir -p "$plain/sub/deeper"
seq 1 7 1000 >"$plain/sub/sevens"
echo "in the dark" >"$plain/sub/deeper/lamp"
ln -s sub/sevens "$plain/link"
ln -s sub "$plain/folder-link"
printf '#include "answer.h"\nint main(void)\n{\n    return ANSWER;\n}\n' >"$plain/answer.c"
echo '#define ANSWER 42' >"$plain/answer.h"
printf 'import sys, helper\nprint(helper.word, sys.path[0])\n' >"$plain/main.py"
echo 'word = "hello"' >"$plain/helper.py"
git_quiet init "$plain/repo"
for n in 1 2 3; do
    seq "$n" 3000 >"$plain/repo/file$n"
    git_quiet -C "$plain/repo" add .
    git_quiet -C "$plain/repo" commit -m "change $n"
done
git_quiet -C "$plain/repo" gc
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' GIT_OPTIONAL_LOCKS=0
export PYTHONDONTWRITEBYTECODE=1

start "muse-file $plain"
s=/muse/file

same $s cat @/text @/sub/deeper/lamp
same $s cat @/none
same $s cat @/sub
same $s cmp @/text @/random
same $s cmp @/random "$plain/random"
same $s bash -c 'head -c 1000 @/random | md5sum'
same $s tail -n 3 @/text
same $s sha256sum @/text @/random @/program @/link
same $s md5sum @/random
same $s wc @/text @/sub/sevens
same $s bash -c 'dd if=@/random bs=777 skip=3 count=1000 status=none | md5sum'
same $s grep -r dark @/sub
same $s grep -c 77 @/text
same $s sort -rn @/text
same $s bash -c 'sort -n < @/text | tail -n 2; wc -l < @/text; read -r x < @/text; echo "$x"; echo @/sub/*'
same $s bash -c 'exec 5< @/text; head -n 1 <&5 | wc -l; cat <&5 | md5sum'
same $s bash -c 'cd @/folder-link && cat sevens | md5sum && cat deeper/lamp'
same $s bash -c "find @ -name 'l*' -not -path '*/repo/*' | sort"
same $s readlink @/link
same $s readlink -f @/link
same $s realpath @/folder-link/../text
same $s stat -L -c '%n %s %a %F %Y %h' @/text @/sub @/link
same $s test -x @/program
same $s test -e @/none
same $s diff -r @/sub "$plain/sub"
same $s diff @/text @/sub/sevens
same $s od -A d -t x1 -N 64 -j 1234567 @/random
same $s env -i /usr/bin/cat @/sub/deeper/lamp
expect "writing" "Read-only file system" "$(run bash -c "head -c 100 $s/random > $s/new" 2>&1 | sed 's/.*: //')"
same $s rm -f @/none

copied() { # NAME COMMAND... : it leaves the same in $dir/out
    local name=$1
    shift
    rm -rf "$dir/out"
    run "$@" >/dev/null 2>"$dir/err" </dev/null
    expect "$name: status" 0 $?
    expect "$name: bytes" "$(find "$plain/${from:-text}" -type f -exec cat {} + | md5sum)" \
        "$(find "$dir/out" -type f -exec cat {} + | md5sum)"
}

copied cp cp $s/text "$dir/out"
copied dd dd if=$s/text "of=$dir/out" bs=4k
from=sub copied "cp -r" cp -a $s/sub "$dir/out"
from=sub copied tar bash -c "mkdir $dir/out && tar -C $s -cf - sub | tar -C $dir/out -xf -"
has zstd && copied zstd bash -c "zstd -q $s/text -o $dir/z && zstd -q -d $dir/z -o $dir/out"
copied gzip bash -c "gzip -c $s/text | gzip -dc > $dir/out"

has git && for c in "fsck --full" "log --oneline --stat" "show HEAD~1:file2" "verify-pack -v @/repo/.git/objects/pack/$(
    cd "$plain/repo/.git/objects/pack" && echo ./*.idx)"; do
    # shellcheck disable=SC2086 # words
    same $s git -C @/repo $c
done
has git && same $s git --git-dir=@/repo/.git log --format=%H
has file && same $s file @/program @/text @/random @/sub @/link
has readelf && same $s readelf -hlS @/program
has objdump && same $s objdump -d --start-address=0x5000 --stop-address=0x5100 @/program
has gdb && same $s gdb -nx -batch -ex 'info files' -ex 'x/4i 0x5000' @/program
if has python3; then
    same $s python3 @/main.py
    same $s python3 -c 'import mmap, os, hashlib
f = open("@/random", "rb")
m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
print(len(m), hashlib.sha256(m).hexdigest(), m.find(b"abc"))
f.seek(1000000)
print(hashlib.sha256(f.read()).hexdigest(), sorted(os.listdir("@")), os.stat("@/text").st_size)
try: open("@/none")
except OSError as e: print(e.errno)
for root, folders, files in os.walk("@/sub"): print(root, sorted(folders), sorted(files))'
fi
for cc in gcc clang; do
    has $cc || continue
    run $cc -o "$dir/answer" $s/answer.c
    "$dir/answer"
    expect "$cc compiles a served source" 42 $?
    same $s $cc -E @/answer.c
done
if has gcc; then
    gcc -c -o "$plain/answer.o" "$plain/answer.c"
    for ld in bfd lld; do
        [[ $ld == bfd ]] || has ld.lld || continue
        rm -f "$dir/answer"
        run gcc -fuse-ld=$ld -o "$dir/answer" $s/answer.o
        "$dir/answer"
        expect "ld.$ld links a served object" 42 $?
    done
fi
if has sqlite3; then
    sqlite3 "$plain/db" 'create table t(a integer primary key, b text);
        insert into t select value, hex(value * 7919) from generate_series(1, 30000); create index i on t(b);'
    for size in 0 100000000; do
        same $s sqlite3 -readonly @/db "pragma mmap_size=$size; select count(*), sum(a), max(b) from t;
            select a from t where b > '3' order by b limit 3; pragma integrity_check;"
    done
fi
if has javac && has java; then
    printf 'import java.nio.*; import java.nio.channels.*; import java.nio.file.*;
class Sum { public static void main(String[] a) throws Exception {
  try (FileChannel c = FileChannel.open(Path.of(a[0]))) {
    MappedByteBuffer m = c.map(FileChannel.MapMode.READ_ONLY, 0, c.size()); long s = 0;
    while (m.hasRemaining()) s = s * 31 + m.get(); System.out.println(s + " " + c.size()); }
  System.out.println(Files.readAllLines(Path.of(a[1])).size()); } }' >"$dir/Sum.java"
    javac -d "$plain" "$dir/Sum.java" && same $s java -Xshare:auto -cp @ Sum @/random @/text
elif has java; then
    printf 'class Lines { public static void main(String[] a) throws Exception {
  System.out.println(java.nio.file.Files.readAllLines(java.nio.file.Path.of(a[0])).size()); } }' >"$plain/Lines.java"
    same $s java @/Lines.java @/text
fi
finish
