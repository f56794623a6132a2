/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of server/map/map_txn.c. Written by tests/model/map_table_pml.c; do not edit. */
#define MAP_QUEUED 0
#define MAP_SPLITTING 1
#define MAP_PREPARING 2
#define MAP_INSTALLING 3
#define MAP_ACTING 4
#define MAP_COMPLETING 5
#define MAP_FINISHING 6
#define MAP_COMMITTING 7
#define MAP_OWED_PREPARE 8
#define MAP_OWED_COMPLETE 9
#define MAP_LIVE 10
#define MAP_GONE 11
#define NO_STATE 12
#define EV_LOCKED 0
#define EV_LOCKED_SPLIT 1
#define EV_LOCKED_NO_HOOK 2
#define EV_REFUSED 3
#define EV_SPLIT_OK 4
#define EV_SPLIT_OK_NO_HOOK 5
#define EV_SPLIT_ERR 6
#define EV_PREPARE_OK 7
#define EV_PREPARE_ERR 8
#define EV_PREPARE_BAD 9
#define EV_NO_RESOURCES 10
#define EV_INSTALLED 11
#define EV_INSTALL_ERR 12
#define EV_REGISTER_ERR 13
#define EV_ACTED 14
#define EV_ACTED_LAST 15
#define EV_ACTED_COMMIT 16
#define EV_ACT_ERR 17
#define EV_COMPLETE_OK 18
#define EV_COMPLETE_VERBS 19
#define EV_COMPLETE_COMMIT 20
#define EV_COMPLETE_ERR 21
#define EV_COMMITTED 22
#define EV_COMMIT_ERR 23
#define EV_DEADLINE 24
#define EV_CLIENT_GONE 25
#define EV_DRIVER_GONE 26
#define DO_ASK_SPLIT 1
#define DO_ASK_PREPARE 2
#define DO_INSTALL 4
#define DO_ESTABLISH 8
#define DO_ASK_COMPLETE 16
#define DO_RUN_VERBS 32
#define DO_COMMIT 64
#define DO_REPLACE 128
#define DO_MERGE 256
#define DO_ABORT 512
#define DO_REMOVE 1024
#define DO_CLOSE 2048
#define DO_UNINSTALL 4096
#define DO_RELEASE 8192
#define DO_UNLOCK 16384
#define DO_REPLY_OK 32768
#define DO_REPLY_ERR 65536
#define DO_END 131072

inline table(from, event, to, todo)
{
	if
	:: from == MAP_QUEUED && event == EV_LOCKED -> to = MAP_PREPARING; todo = 0 | DO_ASK_PREPARE
	:: from == MAP_QUEUED && event == EV_LOCKED_SPLIT -> to = MAP_SPLITTING; todo = 0 | DO_ASK_SPLIT
	:: from == MAP_QUEUED && event == EV_LOCKED_NO_HOOK -> to = MAP_INSTALLING; todo = 0 | DO_INSTALL
	:: from == MAP_QUEUED && event == EV_REFUSED -> to = MAP_GONE; todo = 0 | DO_RELEASE | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_QUEUED && event == EV_CLIENT_GONE -> to = MAP_GONE; todo = 0 | DO_RELEASE | DO_UNLOCK | DO_END
	:: from == MAP_QUEUED && event == EV_DRIVER_GONE -> to = MAP_GONE; todo = 0 | DO_RELEASE | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_SPLITTING && event == EV_SPLIT_OK -> to = MAP_PREPARING; todo = 0 | DO_ASK_PREPARE
	:: from == MAP_SPLITTING && event == EV_SPLIT_OK_NO_HOOK -> to = MAP_INSTALLING; todo = 0 | DO_INSTALL
	:: from == MAP_SPLITTING && event == EV_SPLIT_ERR -> to = MAP_GONE; todo = 0 | DO_RELEASE | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_SPLITTING && event == EV_DEADLINE -> to = MAP_GONE; todo = 0 | DO_RELEASE | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_SPLITTING && event == EV_CLIENT_GONE -> to = MAP_GONE; todo = 0 | DO_RELEASE | DO_UNLOCK | DO_END
	:: from == MAP_SPLITTING && event == EV_DRIVER_GONE -> to = MAP_GONE; todo = 0 | DO_RELEASE | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_PREPARING && event == EV_PREPARE_OK -> to = MAP_INSTALLING; todo = 0 | DO_INSTALL
	:: from == MAP_PREPARING && event == EV_PREPARE_ERR -> to = MAP_GONE; todo = 0 | DO_RELEASE | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_PREPARING && event == EV_PREPARE_BAD -> to = MAP_GONE; todo = 0 | DO_ABORT | DO_RELEASE | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_PREPARING && event == EV_DEADLINE -> to = MAP_OWED_PREPARE; todo = 0 | DO_RELEASE | DO_UNLOCK | DO_REPLY_ERR
	:: from == MAP_PREPARING && event == EV_CLIENT_GONE -> to = MAP_OWED_PREPARE; todo = 0 | DO_RELEASE | DO_UNLOCK
	:: from == MAP_PREPARING && event == EV_DRIVER_GONE -> to = MAP_GONE; todo = 0 | DO_RELEASE | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_INSTALLING && event == EV_NO_RESOURCES -> to = MAP_GONE; todo = 0 | DO_ABORT | DO_RELEASE | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_INSTALLING && event == EV_INSTALLED -> to = MAP_ACTING; todo = 0 | DO_ESTABLISH
	:: from == MAP_INSTALLING && event == EV_INSTALL_ERR -> to = MAP_GONE; todo = 0 | DO_ABORT | DO_UNINSTALL | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_INSTALLING && event == EV_DEADLINE -> to = MAP_GONE; todo = 0 | DO_ABORT | DO_UNINSTALL | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_INSTALLING && event == EV_CLIENT_GONE -> to = MAP_GONE; todo = 0 | DO_ABORT | DO_RELEASE | DO_UNLOCK | DO_END
	:: from == MAP_INSTALLING && event == EV_DRIVER_GONE -> to = MAP_GONE; todo = 0 | DO_UNINSTALL | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_ACTING && event == EV_REGISTER_ERR -> to = MAP_GONE; todo = 0 | DO_ABORT | DO_REMOVE | DO_UNINSTALL | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_ACTING && event == EV_ACTED -> to = MAP_COMPLETING; todo = 0 | DO_ASK_COMPLETE
	:: from == MAP_ACTING && event == EV_ACTED_LAST -> to = MAP_LIVE; todo = 0 | DO_MERGE | DO_UNLOCK | DO_REPLY_OK | DO_END
	:: from == MAP_ACTING && event == EV_ACTED_COMMIT -> to = MAP_COMMITTING; todo = 0 | DO_COMMIT
	:: from == MAP_ACTING && event == EV_ACT_ERR -> to = MAP_GONE; todo = 0 | DO_ABORT | DO_REMOVE | DO_UNINSTALL | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_ACTING && event == EV_DEADLINE -> to = MAP_GONE; todo = 0 | DO_ABORT | DO_REMOVE | DO_UNINSTALL | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_ACTING && event == EV_CLIENT_GONE -> to = MAP_GONE; todo = 0 | DO_ABORT | DO_REMOVE | DO_UNLOCK | DO_END
	:: from == MAP_ACTING && event == EV_DRIVER_GONE -> to = MAP_GONE; todo = 0 | DO_REMOVE | DO_UNINSTALL | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_COMPLETING && event == EV_COMPLETE_OK -> to = MAP_LIVE; todo = 0 | DO_MERGE | DO_UNLOCK | DO_REPLY_OK | DO_END
	:: from == MAP_COMPLETING && event == EV_COMPLETE_VERBS -> to = MAP_FINISHING; todo = 0 | DO_RUN_VERBS
	:: from == MAP_COMPLETING && event == EV_COMPLETE_COMMIT -> to = MAP_COMMITTING; todo = 0 | DO_COMMIT
	:: from == MAP_COMPLETING && event == EV_COMPLETE_ERR -> to = MAP_GONE; todo = 0 | DO_REMOVE | DO_CLOSE | DO_UNINSTALL | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_COMPLETING && event == EV_DEADLINE -> to = MAP_OWED_COMPLETE; todo = 0 | DO_REMOVE | DO_UNINSTALL | DO_UNLOCK | DO_REPLY_ERR
	:: from == MAP_COMPLETING && event == EV_CLIENT_GONE -> to = MAP_OWED_COMPLETE; todo = 0 | DO_REMOVE | DO_UNLOCK
	:: from == MAP_COMPLETING && event == EV_DRIVER_GONE -> to = MAP_GONE; todo = 0 | DO_REMOVE | DO_UNINSTALL | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_FINISHING && event == EV_ACTED_LAST -> to = MAP_LIVE; todo = 0 | DO_MERGE | DO_UNLOCK | DO_REPLY_OK | DO_END
	:: from == MAP_FINISHING && event == EV_ACTED_COMMIT -> to = MAP_COMMITTING; todo = 0 | DO_COMMIT
	:: from == MAP_FINISHING && event == EV_ACT_ERR -> to = MAP_GONE; todo = 0 | DO_REMOVE | DO_CLOSE | DO_UNINSTALL | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_FINISHING && event == EV_DEADLINE -> to = MAP_GONE; todo = 0 | DO_REMOVE | DO_CLOSE | DO_UNINSTALL | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_FINISHING && event == EV_CLIENT_GONE -> to = MAP_GONE; todo = 0 | DO_REMOVE | DO_CLOSE | DO_UNLOCK | DO_END
	:: from == MAP_FINISHING && event == EV_DRIVER_GONE -> to = MAP_GONE; todo = 0 | DO_REMOVE | DO_UNINSTALL | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_COMMITTING && event == EV_COMMITTED -> to = MAP_LIVE; todo = 0 | DO_REPLACE | DO_UNLOCK | DO_REPLY_OK | DO_END
	:: from == MAP_COMMITTING && event == EV_COMMIT_ERR -> to = MAP_GONE; todo = 0 | DO_ABORT | DO_REMOVE | DO_CLOSE | DO_UNINSTALL | DO_UNLOCK | DO_REPLY_ERR | DO_END
	:: from == MAP_COMMITTING && event == EV_CLIENT_GONE -> to = MAP_GONE; todo = 0 | DO_ABORT | DO_REMOVE | DO_CLOSE | DO_UNLOCK | DO_END
	:: from == MAP_COMMITTING && event == EV_DRIVER_GONE -> to = MAP_COMMITTING; todo = 0
	:: from == MAP_OWED_PREPARE && event == EV_PREPARE_OK -> to = MAP_GONE; todo = 0 | DO_ABORT | DO_END
	:: from == MAP_OWED_PREPARE && event == EV_PREPARE_ERR -> to = MAP_GONE; todo = 0 | DO_END
	:: from == MAP_OWED_PREPARE && event == EV_PREPARE_BAD -> to = MAP_GONE; todo = 0 | DO_ABORT | DO_END
	:: from == MAP_OWED_PREPARE && event == EV_DEADLINE -> to = MAP_OWED_PREPARE; todo = 0
	:: from == MAP_OWED_PREPARE && event == EV_CLIENT_GONE -> to = MAP_OWED_PREPARE; todo = 0
	:: from == MAP_OWED_PREPARE && event == EV_DRIVER_GONE -> to = MAP_GONE; todo = 0 | DO_END
	:: from == MAP_OWED_COMPLETE && event == EV_COMPLETE_OK -> to = MAP_GONE; todo = 0 | DO_CLOSE | DO_END
	:: from == MAP_OWED_COMPLETE && event == EV_COMPLETE_VERBS -> to = MAP_GONE; todo = 0 | DO_CLOSE | DO_END
	:: from == MAP_OWED_COMPLETE && event == EV_COMPLETE_COMMIT -> to = MAP_GONE; todo = 0 | DO_CLOSE | DO_END
	:: from == MAP_OWED_COMPLETE && event == EV_COMPLETE_ERR -> to = MAP_GONE; todo = 0 | DO_CLOSE | DO_END
	:: from == MAP_OWED_COMPLETE && event == EV_DEADLINE -> to = MAP_OWED_COMPLETE; todo = 0
	:: from == MAP_OWED_COMPLETE && event == EV_CLIENT_GONE -> to = MAP_OWED_COMPLETE; todo = 0
	:: from == MAP_OWED_COMPLETE && event == EV_DRIVER_GONE -> to = MAP_GONE; todo = 0 | DO_END
	:: else -> to = NO_STATE; todo = 0
	fi
}
