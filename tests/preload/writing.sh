#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2034,SC2154,SC1091 # words of other shells; variables of lib.sh
# Programs that write, on a folder that muse-file --writable serves and on one of their own: they say the
# same, and leave the same.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

own=$dir/own
mkdir "$own"
for folder in "$plain" "$own"; do
    seq 1 20000 >"$folder/text"
    head -c 300000 /bin/bash >"$folder/binary"
    echo "remove me" >"$folder/old"
    printf 'int main(void)\n{\n    return 42;\n}\n' >"$folder/answer.c"
done
start "muse-file --writable $plain"

both cp @/binary @/copy
both bash -c 'echo one > @/new; echo two >> @/new; { echo three; seq 3; } >> @/new; cat @/new'
both bash -c 'seq 1000 | tee @/tee | tail -n 1; grep 77 < @/tee > @/grep; wc -c < @/grep'
both dd if=/dev/zero of=@/text bs=100 seek=50 count=3 conv=notrunc status=none
both dd if=/dev/zero of=@/dd bs=4096 count=20 status=none
both truncate -s 12345 @/binary
both truncate -s 200000 @/tee
both sort -r -o @/text @/text
both sed -i 's/7/seven/' @/grep
both mv @/copy @/moved
both rm @/old
both bash -c 'mkdir @/made @/made/deeper && mkdir -p @/made/deeper/there && echo x > @/made/deeper/file && rmdir @/made/deeper/there'
both mkdir @/made
both mkdir @/made/none/deeper
both cp -r @/made @/made-again
both rm -r @/made
both mv @/none @/none2
both bash -c '{ for w in a b c; do (for ((i = 0; i < 300; i++)); do echo $w$i; done) & done; wait; } > @/shared; sort -o @/shared @/shared; wc @/shared'
both bash -c 'for w in a b c; do (for ((i = 0; i < 300; i++)); do echo $w$i; done >> @/appended) & done; wait; sort -o @/appended @/appended; wc @/appended'
both bash -c 'cat /dev/stdin < @/text | md5sum; cat /dev/fd/5 5< @/text | md5sum; md5sum /proc/self/fd/0 < @/text; wc -c /dev/stdin < @/text'
both bash -c 'stat -L -c "%s %F" /dev/stdin < @/text; readlink -f /dev/stdin < @/text; realpath /proc/self/fd/0 < @/text; test -f /dev/stdin < @/text'
both bash -c '(echo a; echo b > /dev/stdout) >> @/stdout; { seq 3 | tee /dev/stderr; } 2> @/stderr; cp /dev/stdin @/copied < @/new; cat @/stdout @/stderr @/copied'
both bash -c 'cd @ && tar --mtime=2020-01-01 -cf archive.tar text new && tar tf archive.tar'
both bash -c '@/none; echo $?; @/text/below; echo $?; @/made-again; echo $?'
both bash -c 'set -o noclobber; echo x > @/new'
has zstd && both bash -c 'zstd -q @/text -o @/text.zst && zstd -dc @/text.zst | md5sum'
has gcc && both bash -c 'gcc -c -o @/answer.o @/answer.c && nm @/answer.o'
has python3 && both python3 -c 'import mmap, os
with open("@/moved", "r+b") as f:
    m = mmap.mmap(f.fileno(), 0)
    m[1000:1006] = b"mapped"
    m.flush()
    f.seek(1000); print(f.read(6))
    os.pwrite(f.fileno(), b"written", 5000)
    print(m[5000:5007])
    m.close()
with open("@/python", "w") as f: print("line", file=f)
print(os.path.getsize("@/python"))'
has rev && both bash -c 'rev @/new | tail -n 2; rev < @/text | md5sum'
has python3 && both python3 -c 'import ctypes
c = ctypes.CDLL(None)
c.fopen.restype = ctypes.c_void_p
c.setlocale(6, b"C.UTF-8")
f = ctypes.c_void_p(c.fopen(b"@/wide", b"w"))
print(c.fputws("h\u00e9llo\n", f) >= 0, c.fwprintf(f, "%d %ls\n", 42, "\u20ac" * 300), c.fputwc(0x1F600, f), c.fclose(f))
f = ctypes.c_void_p(c.fopen(b"@/wide", b"r"))
text = ctypes.create_unicode_buffer(400)
c.fgetws.restype = ctypes.c_wchar_p
print(c.fgetwc(f), c.fgetwc(f), c.ungetwc(0xe9, f), ascii(c.fgetws(text, 3, f)), ascii(c.fgetws(text, 400, f)))
print(len(c.fgetws(text, 400, f)), c.fgetwc(f), c.fgetwc(f), c.feof(f) != 0, c.fclose(f))'
if has sqlite3; then
    both sqlite3 @/db 'create table t(a integer primary key, b text);
        insert into t select value, hex(value * 7919) from generate_series(1, 20000);'
    for size in 0 100000000; do
        both sqlite3 @/db "pragma mmap_size=$size; update t set b = a where a % 7 = 0; delete from t where a % 5 = 0;
            create index i$size on t(b); vacuum; pragma integrity_check; select count(*), sum(length(b)) from t;"
    done
    both sqlite3 @/db 'begin; delete from t; rollback; select count(*) from t;'
    rm -f "$own/db" # two databases of the same content are not the same bytes
    want=$(run sqlite3 -readonly /muse/file/db 'pragma integrity_check; select count(*), total(a), max(b) from t')
    tries=0
    until [[ $(sqlite3 "$plain/db" 'pragma integrity_check; select count(*), total(a), max(b) from t') == "$want" ]] ||
        ((++tries > 100)); do sleep 0.1; done
    expect "the database itself" "$want" \
        "$(sqlite3 "$plain/db" 'pragma integrity_check; select count(*), total(a), max(b) from t')"
    rm -f "$plain/db"
fi
tries=0
until diff -r "$own" "$plain" >/dev/null || ((++tries > 100)); do sleep 0.1; done
expect "what they left" "" "$(diff -rq "$own" "$plain")"
finish
