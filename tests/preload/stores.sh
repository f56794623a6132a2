#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016,SC2034,SC2154,SC1091 # words of other shells; variables of lib.sh
# Data stores, SQLite and LMDB, in a folder that muse-file --writable serves and in one of their own: they say
# the same, several processes lock each other out, and one that is killed leaves what it had committed.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

own=$dir/own
s=/muse/file
mkdir "$own" "$own"/{env,copy} "$plain"/{env,copy,two,three}
mkfifo "$dir/feed" "$dir/said"
start "muse-file --writable $plain"

# fed PROGRAM ARG... : under muse-run, reading descriptor 8; what it says is on 9. Its pid is in $fed.
fed() {
    "$bin/muse-run" -- "$@" <"$dir/feed" >"$dir/said" 2>&1 &
    fed=$!
    exec 8>"$dir/feed" 9<"$dir/said"
}

killed() {
    kill -KILL "$fed"
    wait "$fed" 2>/dev/null
    exec 8>&- 9<&-
}

sql() {
    run sqlite3 -cmd '.timeout 20000' "$@"
}

sqlite_dies() { # JOURNAL MMAP : in the middle of a transaction, pages of which are in the file already
    local name="sqlite3 is killed, $1, mmap $2" line='' want
    rm -f "$plain"/dead*
    sql $s/dead "pragma journal_mode=$1; create table t(a integer primary key, b text);
        insert into t select value, hex(value * 7919) from generate_series(1, 5000);" >/dev/null
    fed sqlite3 $s/dead
    echo "pragma mmap_size=$2; pragma cache_size=5; begin; update t set b = 'wrong';
        insert into t select value, 'wrong' from generate_series(5001, 9000); select 'ready';" >&8
    until [[ $line == ready ]]; do read -r -t 60 line <&9 || break; done
    expect "$name: in the middle" ready "$line"
    expect "$name: its journal is there" 1 "$(run ls $s | grep -cE 'dead-(journal|wal)')"
    [[ $1 == wal ]] && want=5000 || want="Error: in prepare, database is locked (5)"
    expect "$name: others" "$want" "$(run sqlite3 $s/dead 'select count(*) from t' 2>&1)"
    killed
    expect "$name: what was committed" "ok
5000|0" "$(sql $s/dead 'pragma integrity_check; select count(*), sum(b = '"'wrong'"') from t;' 2>&1)"
    sql $s/dead "insert into t values(5001, 'more'); pragma wal_checkpoint;" >/dev/null
    expect "$name: goes on" "ok
5001" "$(sql $s/dead 'pragma integrity_check; select count(*) from t;' 2>&1)"
}

sqlite_writers() { # JOURNAL : three at a time
    local who n pids=()
    rm -f "$plain"/many*
    sql $s/many "pragma journal_mode=$1; create table t(a integer primary key, who text);" >/dev/null
    for who in a b c; do
        for ((n = 0; n < 20; n++)); do
            echo "begin immediate; insert into t(who) values('$who'); insert into t(who) values('$who'); commit;"
        done | sql $s/many &
        pids+=($!)
    done
    wait "${pids[@]}"
    expect "three sqlite3 write, $1" "ok
a|40
b|40
c|40" "$(sql $s/many 'pragma integrity_check; select who, count(*) from t group by who' 2>&1)"
}

if has sqlite3; then
    for mode in delete wal; do
        both sqlite3 @/db "pragma journal_mode=$mode; create table t_$mode(a integer primary key, b text);
            insert into t_$mode select value, hex(value * 7919) from generate_series(1, 10000);"
        for size in 0 100000000; do
            both sqlite3 @/db "pragma mmap_size=$size; update t_$mode set b = a where a % 7 = 0;
                create index i_$mode$size on t_$mode(b); delete from t_$mode where a % 5 = 0; vacuum;
                pragma integrity_check; select count(*), sum(length(b)) from t_$mode;"
        done
        sqlite_writers $mode
        sqlite_dies $mode 0
        sqlite_dies $mode 100000000
    done
    both bash -c 'printf "%s\n" "pragma journal_mode=delete;" "begin exclusive;" \
        ".shell sqlite3 @/db \"select count(*) from t_wal\"" "commit;" "select count(*) from t_wal;" | sqlite3 @/db'
fi

# pairs FROM TO : what mdb_load -T reads
pairs() {
    local n
    for ((n = $1; n <= $2; n++)); do printf 'key%06d\nvalue %d\n' $n $((n * 7919)); done
}

# of entries, in a served environment
entries() {
    run mdb_stat $s/"$1" 2>&1 | sed -n 's/ *Entries: //p'
}

lmdb_dies() { # a load that is killed has committed its first hundreds of pairs
    local tries=0 n
    fed mdb_load -T $s/two
    pairs 1 1050 >&8
    until n=$(entries two) && ((n >= 1000)) || ((++tries > 500)); do sleep 0.02; done
    expect "mdb_load is killed: it had committed" 1000 "$n"
    killed
    expect "mdb_load is killed: the rest is not there" "$(pairs 1 1000 | md5sum)" \
        "$(run mdb_dump -p $s/two | sed -n 's/^ //p' | md5sum)"
    pairs 1001 2000 | run mdb_load -T $s/two
    expect "mdb_load is killed: another goes on" "$(pairs 1 2000 | md5sum)" \
        "$(run mdb_dump -p $s/two | sed -n 's/^ //p' | md5sum)"
}

lmdb_reader() { # its slot is free again once it is dead: LMDB asks with F_GETLK
    local tries=0 other
    "$bin/muse-run" -- mdb_dump $s/env >"$dir/said" & # until the pipe is full; two of them
    other=$!
    fed mdb_dump $s/env
    until [[ $(run mdb_stat -r $s/env | grep -cE "^ *($fed|$other) ") == 2 ]] || ((++tries > 500)); do sleep 0.02; done
    expect "two mdb_dump read" "  0 stale readers cleared." "$(run mdb_stat -rr $s/env | grep stale)"
    kill -KILL $other
    wait $other 2>/dev/null
    expect "one mdb_dump is killed" "  1 stale readers cleared." "$(run mdb_stat -rr $s/env | grep stale)"
    killed
}

lmdb_writers() { # into one environment, each its own database; the environment has a mutex in its mapping
    local who pids=()
    for who in a b c; do
        { printf 'VERSION=3\nformat=print\ndatabase=%s\ntype=btree\nmapsize=10485760\nmaxreaders=126\nHEADER=END\n' $who
          pairs 1 500 | sed 's/^/ /'; echo DATA=END; } >"$dir/load.$who"
        run mdb_load -f "$dir/load.$who" $s/three &
        pids+=($!)
    done
    wait "${pids[@]}"
    for who in a b c; do
        expect "three mdb_load at a time: $who" "$(pairs 1 500 | md5sum)" \
            "$(run mdb_dump -p -s $who $s/three | sed -n 's/^ //p' | md5sum)"
    done
}

if has mdb_load; then
    pairs 1 5000 >"$dir/pairs"
    both mdb_load -T -f "$dir/pairs" @/env
    both mdb_stat -e -f @/env
    both mdb_dump @/env
    both mdb_copy @/env @/copy
    both bash -c 'mdb_copy -c @/env | md5sum'
    lmdb_dies
    lmdb_reader
    lmdb_writers
fi
finish
