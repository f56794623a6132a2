/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One mapping among a client, the server and a driver with its SDK; each may die at any moment, and
 * every answer may be late. Checked by tests/model/spin.sh; what is modelled, what is not, and how to
 * read a trail: README.md beside this file.
 *
 * The server's decisions are not written here: map_table.pml is server/map/map_txn.c's table, printed
 * by the build and compared with the file in each test run. What is written here is what carries the
 * effects out (server/flow), the peers, and what has to hold.
 *
 * -DMISTAKE_name seeds one mistake; the checks have to find each.
 */
#include "map_table.pml"

#define NO_EVENT 255

mtype = {
	/* server -> driver, and what it answers */
	PREPARE, COMPLETE, ABORT, CLOSE,
	PREPARE_OK, PREPARE_BAD, PREPARE_ERR, COMPLETE_OK, COMPLETE_VERBS, COMPLETE_ERR,
	/* server -> client, and what it answers */
	INSTALL, MOVE, UNDO, REPLY, DONE, FAILED,
	/* whose the range is */
	NOWHERE, HELD, LIVE, QUARANTINE, FREE
};

chan to_driver = [5] of { mtype };
chan from_driver = [2] of { mtype };
chan to_client = [4] of { mtype };
chan from_client = [4] of { mtype };

/* ---- what kind of request it is: chosen first ---- */
bool chosen;
bool commits; /* the client has a last step: it moves the mapping to where it is to be, or opens it */
bool merges;

/* ---- the server ---- */
byte state = MAP_QUEUED;
bool prepared, asked;       /* of struct map_txn */
bool locked;                /* the space's mmap write lock */
mtype place = NOWHERE;
bool listed;                /* the VMA is in the tree and in its object's list */
bool ended, server_dead, server_done;
bool driver_owes, late;     /* a call is in flight; its deadline has passed */
bool reserving, acting, finishing; /* what the effects began, for the server's next step */
bool installing, moving, undoing; /* the client was told, and has not answered */
byte n_orphans;             /* answers before that of the UNDO that nobody waits for */
byte n_replies;
byte why = NO_EVENT, at;    /* the event that decided how it ends, and the state it met */

/* ---- the client ---- */
bool client_dead, client_done, client_maps;

/* ---- the driver and its SDK ---- */
bool driver_dead, driver_done, driver_lock;
bool context;               /* prepare succeeded, and had neither complete nor abort */
bool part;                  /* a VMA of this mapping that has to be closed */
byte n_prepared, n_completed, n_aborted, n_closed, n_survivor_closed;

/* ---- steps of the server ---- */

/* struct map_txn of map_txn_step(), and the effects in their order. */
inline step(ev)
{
	d_step {
		table(state, ev, next, effects);
		assert(next != NO_STATE); /* an event that the machine does not know in this state */
		if
		:: ev == EV_PREPARE_OK || ev == EV_PREPARE_BAD -> prepared = true
		:: else
		fi;
		if
		:: (effects & DO_ABORT) && !prepared -> effects = effects & ~DO_ABORT
		:: else
		fi;
		if
		:: effects & DO_ABORT -> prepared = false
		:: else
		fi;
		if
		:: (effects & DO_CLOSE) && !asked -> effects = effects & ~DO_CLOSE
		:: else
		fi;
		if
		:: effects & DO_ASK_COMPLETE -> asked = true; prepared = false
		:: else
		fi;
		if
		:: next == MAP_LIVE -> prepared = false
		:: else
		fi;
		if
		:: why == NO_EVENT && (next == MAP_GONE || next == MAP_LIVE || next == MAP_OWED_PREPARE || next == MAP_OWED_COMPLETE) ->
			why = ev; at = state
		:: else
		fi;
		state = next
	};
	carry_out()
}

inline tell_driver(message)
{
	if
	:: driver_dead
	:: !driver_dead -> to_driver ! message
	fi
}

inline call_client(message)
{
	if
	:: client_dead
	:: !client_dead -> to_client ! message
	fi
}

inline carry_out()
{
	if
	:: effects & (DO_ASK_PREPARE | DO_ASK_COMPLETE) ->
		driver_owes = true; late = false;
		if
		:: effects & DO_ASK_PREPARE -> tell_driver(PREPARE)
		:: else -> tell_driver(COMPLETE)
		fi
	:: else
	fi;
	if
	:: effects & DO_INSTALL -> reserving = true /* the server's next step */
	:: else
	fi;
	if
	:: effects & DO_ESTABLISH -> listed = true; acting = true
	:: else
	fi;
	if
	:: effects & DO_RUN_VERBS -> finishing = true
	:: else
	fi;
	if
	:: effects & DO_COMMIT -> moving = true; call_client(MOVE)
	:: else
	fi;
	if
	:: effects & (DO_REPLACE | DO_MERGE) -> place = LIVE
	:: else
	fi;
#ifndef MISTAKE_FORGOTTEN_ABORT
	if
	:: effects & DO_ABORT -> tell_driver(ABORT)
	:: else
	fi;
#endif
	if
	:: effects & DO_REMOVE -> listed = false
	:: else
	fi;
#ifdef MISTAKE_ABORT_AFTER_COMPLETE
	if
	:: effects & DO_CLOSE -> tell_driver(ABORT)
	:: else
	fi;
#endif
#ifndef MISTAKE_FORGOTTEN_CLOSE
	if
	:: effects & DO_CLOSE -> tell_driver(CLOSE)
	:: else
	fi;
#endif
#ifdef MISTAKE_TWO_CLOSES
	if
	:: effects & DO_CLOSE -> tell_driver(CLOSE)
	:: else
	fi;
#endif
	if
	:: effects & DO_UNINSTALL ->
		n_orphans = n_orphans + installing + moving;
		installing = false; moving = false;
		if
		:: client_dead -> place = FREE
		:: else -> undoing = true; place = QUARANTINE; call_client(UNDO)
		fi;
#ifdef MISTAKE_RANGE_REUSED_EARLY
		place = FREE;
#endif
	:: else
	fi;
	if
	:: effects & DO_RELEASE -> place = FREE
	:: else
	fi;
#ifndef MISTAKE_SPACE_LOCK_KEPT
	if
	:: effects & DO_UNLOCK -> locked = false
	:: else
	fi;
#endif
	if
	:: effects & (DO_REPLY_OK | DO_REPLY_ERR) -> n_replies++; call_client(REPLY)
	:: else
	fi;
	if
	:: effects & DO_END -> ended = true
	:: else
	fi
}

/* The event that an answer of the driver's is. */
inline hear_driver(answer)
{
	driver_owes = false;
	if
	:: answer == PREPARE_OK ->
		ev = EV_PREPARE_OK;
#ifdef MISTAKE_LATE_PREPARE_DROPPED
		if
		:: state == MAP_OWED_PREPARE -> ev = EV_PREPARE_ERR
		:: else
		fi
#endif
	:: answer == PREPARE_BAD -> ev = EV_PREPARE_BAD
	:: answer == PREPARE_ERR -> ev = EV_PREPARE_ERR
	:: answer == COMPLETE_OK && commits -> ev = EV_COMPLETE_COMMIT
	:: answer == COMPLETE_OK && !commits -> ev = EV_COMPLETE_OK
	:: answer == COMPLETE_VERBS -> ev = EV_COMPLETE_VERBS
	:: answer == COMPLETE_ERR -> ev = EV_COMPLETE_ERR
	fi
}

/* The same of the client. Answers come in the order of the calls: what was told before an UNDO is
 * answered before it, and nobody waits for that any more. */
inline hear_client(answer)
{
	if
	:: installing ->
		installing = false;
		if
		:: answer == DONE -> ev = EV_INSTALLED
		:: answer == FAILED -> ev = EV_INSTALL_ERR
		fi
	:: !installing && moving ->
		moving = false;
		if
		:: answer == DONE -> ev = EV_COMMITTED
		:: answer == FAILED -> ev = EV_COMMIT_ERR
		fi
	:: !installing && !moving && n_orphans > 0 -> n_orphans--
	:: !installing && !moving && n_orphans == 0 ->
		undoing = false;
		if
		:: answer == DONE && place == QUARANTINE -> place = FREE
		:: else
		fi
	fi
}

/* The mapping lives until it is unmapped, or its client dies. */
inline end_life()
{
	listed = false;
	place = FREE;
	tell_driver(CLOSE); /* of the survivor, when it is merged */
	state = MAP_GONE
}

active proctype Server()
{
	byte ev, next;
	int effects;
	mtype answer;
	bool told_client_dead, told_driver_dead;

	atomic { /* a d_step would always choose the first */
		if
		:: commits = true
		:: merges = true
		:: commits = true; merges = true
		:: skip
		fi;
		chosen = true
	};
	locked = true;
	if
	:: ev = EV_REFUSED
	:: place = HELD; ev = EV_LOCKED
	fi;
	step(ev);
	do
	:: ev = NO_EVENT;
		if
		/* what the effects began */
		:: reserving ->
			reserving = false;
			if
			:: ev = EV_NO_RESOURCES
			:: installing = true; call_client(INSTALL)
			fi
		:: acting ->
			acting = false;
			if
			:: ev = EV_REGISTER_ERR
			:: ev = EV_ACT_ERR
			:: ev = EV_ACTED
			fi
		:: finishing ->
			finishing = false;
			if
			:: ev = EV_ACT_ERR
			:: commits -> ev = EV_ACTED_COMMIT
			:: !commits -> ev = EV_ACTED_LAST
			fi
		:: else ->
			if
			:: from_driver ? answer -> hear_driver(answer)
			:: from_client ? answer -> hear_client(answer)
			/* deadlines: of a hook, and of the install */
			:: driver_owes && !late && (state == MAP_PREPARING || state == MAP_COMPLETING) ->
				late = true; ev = EV_DEADLINE
			:: state == MAP_INSTALLING && installing -> ev = EV_DEADLINE
			/* deaths, heard of some time later; what the dead had sent before comes first */
			:: client_dead && !told_client_dead && empty(from_client) ->
				told_client_dead = true;
				undoing = false; installing = false; moving = false; n_orphans = 0;
				if
				:: !ended -> ev = EV_CLIENT_GONE
				:: ended && state == MAP_LIVE -> end_life()
				:: else
				fi;
				if
				:: place == QUARANTINE -> place = FREE
				:: else
				fi
			:: driver_dead && !told_driver_dead && empty(from_driver) ->
				told_driver_dead = true; driver_owes = false;
				if
				:: !ended -> ev = EV_DRIVER_GONE
				:: else
				fi
			/* the client unmaps */
			:: state == MAP_LIVE && ended && !client_dead -> client_maps = false; end_life()
			/* the server dies, at any moment */
			:: server_dead = true; break
			/* it is over, and nobody owes anything any more */
			:: ended && state == MAP_GONE && !driver_owes && !undoing && empty(from_driver) &&
			   empty(from_client) && (told_client_dead || !client_dead) &&
			   (told_driver_dead || !driver_dead) -> break
			fi
		fi;
		if
		:: ev != NO_EVENT -> step(ev)
		:: else
		fi
	od;
	server_done = true;
	assert(server_dead || !locked);
	assert(server_dead || !listed);
	assert(n_replies <= 1)
}

active proctype Client()
{
	mtype call;
	bool mortal;

	if :: mortal = true :: mortal = false fi;
	do
	:: to_client ? call ->
		if
		:: call == INSTALL ->
			if
			:: client_maps = true; from_client ! DONE
			:: from_client ! FAILED
			fi
		:: call == MOVE ->
			if
			:: from_client ! DONE
			:: from_client ! FAILED
			fi
		:: call == UNDO -> client_maps = false; from_client ! DONE
		:: call == REPLY
		fi
	:: mortal -> client_dead = true; client_maps = false; break
	:: server_done && empty(to_client) -> break
	od;
	client_done = true
}

/* What the SDK sees to: in order, and at the server's end what nobody will send any more. */
active proctype Driver()
{
	mtype message;
	bool mortal;

	chosen;
	if :: mortal = true :: mortal = false fi;
	do
	:: to_driver ? message ->
		if
		:: message == PREPARE ->
			if
			:: n_prepared++; driver_lock = true; context = true;
				if
				:: from_driver ! PREPARE_OK
				:: from_driver ! PREPARE_BAD
				fi
			:: from_driver ! PREPARE_ERR
			fi
		:: message == COMPLETE ->
			assert(context); /* never without prepare, never after abort */
			context = false;
			n_completed++;
			driver_lock = false;
			if
			:: part = !merges; from_driver ! COMPLETE_OK
			:: part = !merges; from_driver ! COMPLETE_VERBS
			:: part = true; from_driver ! COMPLETE_ERR
			fi
		:: message == ABORT ->
			assert(context); /* never after complete, never twice */
			context = false;
			n_aborted++;
#ifndef MISTAKE_DRIVER_LOCK_KEPT
			driver_lock = false
#endif
		:: message == CLOSE ->
			/* of the part, by its own id; or of the survivor it was merged into */
			if
			:: part -> part = false; n_closed++
			:: !part && merges -> n_survivor_closed++ /* the neighbour's VMA */
			:: !part && !merges -> assert(false) /* closed twice, or never made */
			fi
		fi
	:: mortal -> driver_dead = true; break
	:: server_done && empty(to_driver) ->
		if
		:: server_dead ->
#ifndef MISTAKE_SDK_FORGETS_ABORT
			if
			:: context -> context = false; n_aborted++; driver_lock = false
			:: else
			fi;
#endif
			if
			:: part -> part = false; n_closed++
			:: else
			fi
		:: else
		fi;
		break
	od;
	driver_done = true
}

/* At any moment: nobody else is placed where the client may still have a mapping. */
active proctype Place()
{
	do
	:: place == FREE && client_maps && !client_dead && !server_dead -> assert(false)
	:: server_done && client_done && driver_done -> break
	od
}

/* What has to hold when everybody is done. */
active proctype Judge()
{
	server_done && client_done && driver_done;
	/* exactly one of complete and abort for each prepare that succeeded */
	assert(driver_dead || n_prepared == n_completed + n_aborted);
	assert(n_completed + n_aborted <= 1);
	assert(driver_dead || !context);
	/* a driver's lock ends free */
	assert(driver_dead || !driver_lock);
	/* complete is followed by close once, but for what was merged */
	assert(driver_dead || !part);
	assert(n_closed <= n_completed);
	assert(driver_dead || merges || n_closed == n_completed);
	assert(n_survivor_closed <= 1);
	/* Each row of docs/contract.md, section 2, happens: spin.sh looks that none of these is unreached. */
	if
	:: server_dead && n_aborted == 1 -> printf("the server dies between prepare and complete")
	:: server_dead && n_closed == 1 -> printf("the server dies later")
	:: !server_dead && why == EV_REFUSED && n_prepared == 0 -> printf("refused before prepare")
	:: !server_dead && why == EV_PREPARE_ERR && n_prepared == 0 -> printf("prepare returns an error")
	:: !server_dead && why == EV_PREPARE_BAD && n_aborted == 1 -> printf("what prepare changed is not allowed")
	:: !server_dead && why == EV_NO_RESOURCES && n_aborted == 1 -> printf("no resources")
	:: !server_dead && why == EV_INSTALL_ERR && n_aborted == 1 -> printf("the client cannot install")
	:: !server_dead && why == EV_CLIENT_GONE && at == MAP_INSTALLING && n_aborted == 1 -> printf("the client dies before complete")
	:: !server_dead && why == EV_DEADLINE && at == MAP_INSTALLING && n_aborted == 1 -> printf("the client does not confirm in time")
	:: !server_dead && why == EV_REGISTER_ERR && n_aborted == 1 -> printf("the range cannot be registered")
	:: !server_dead && why == EV_DEADLINE && at == MAP_PREPARING && n_aborted == 1 -> printf("prepare is late")
	:: !server_dead && why == EV_CLIENT_GONE && at == MAP_PREPARING && n_aborted == 1 -> printf("prepare answers after the client died")
	:: !server_dead && why == EV_COMPLETE_OK && !merges && n_closed == 1 -> printf("a new VMA")
	:: !server_dead && why == EV_COMPLETE_OK && merges && n_closed == 0 && n_survivor_closed == 1 -> printf("merged")
	:: !server_dead && why == EV_COMMITTED && !merges && n_closed == 1 -> printf("an old mapping is replaced")
	:: !server_dead && why == EV_COMMITTED && merges && n_closed == 0 && n_survivor_closed == 1 -> printf("opened, and merged")
	:: !server_dead && why == EV_COMPLETE_ERR && n_closed == 1 -> printf("complete returns an error")
	:: !server_dead && why == EV_CLIENT_GONE && at == MAP_COMPLETING && n_closed == 1 -> printf("the client dies while complete runs")
	:: !server_dead && why == EV_DEADLINE && at == MAP_COMPLETING && n_closed == 1 -> printf("complete is late")
	:: !server_dead && driver_dead && why == EV_DRIVER_GONE && at == MAP_INSTALLING -> printf("the driver dies between")
	:: !server_dead && driver_dead && why == EV_DRIVER_GONE && at == MAP_COMPLETING -> printf("the driver dies while complete runs")
	:: else
	fi
}
