/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A dialogue with the server, top to bottom: question, MEM_OPS and MEM_OPS_DONE any number of
 * times, answer, unless the last MEM_OPS was that. Called by every public call. Does not know what
 * the answers mean.
 */
#include "client-lib/call.h"

#include <errno.h>

#include "client-lib/error.h"
#include "client-lib/memops.h"
#include "proto/client.pb-c.h"
#include "proto/status.h"

void call_garbled(struct muse *muse)
{
    static const char why[] = "the server sent a message that cannot be understood";

    requests_break(&muse->requests, -ENOTCONN, why);
    error_say("%s", why);
}

/* Carry out one MEM_OPS frame and say how it went. Return: 1: that was the end; 0; -errno. */
static int obey(struct muse *muse, const struct request *request, const struct question *question,
                struct mail *mail)
{
    const struct range own[2] = {question->own, question->also};
    Muse__Wire__MemOpsDone done = MUSE__WIRE__MEM_OPS_DONE__INIT;
    struct memops_result result;
    int r;

    if (memops_run(muse, own, question->source, mail, &result) < 0 ||
        (result.ends_call && question->answer != FRAME_DONE)) {
        call_garbled(muse);
        return -EPROTO;
    }
    done.n_done = result.n_done;
    done.error = result.error;
    r = request_send(&muse->requests, request, FRAME_MEM_OPS_DONE, &done.base, -1);
    if (r == -ENOMEM || r == -EMSGSIZE) { /* the server would wait for it forever */
        requests_break(&muse->requests, -ENOTCONN,
                       "no memory to answer the server, so the connection is lost");
        return -ENOTCONN;
    }
    return r == 0 && result.ends_call && result.error == 0 ? 1 : r;
}

/* FAILED as -errno, with its sentence. */
static int failed(struct muse *muse, const struct mail *mail)
{
    Muse__Wire__Failed *answer = muse__wire__failed__unpack(NULL, mail->n_payload, mail->payload);
    int r;

    if (!answer) {
        call_garbled(muse);
        return -EPROTO;
    }
    r = status_to_result(answer->error, -EPROTO);
    if (r == 0)
        r = -EPROTO;
    if (answer->text && answer->text[0] != '\0')
        error_say("%s", answer->text);
    muse__wire__failed__free_unpacked(answer, NULL);
    return r;
}

static int converse(struct muse *muse, struct request *request, const struct question *question,
                    struct mail **ret_answer)
{
    int r = request_send(&muse->requests, request, question->type, question->message, question->fd);

    while (r == 0) {
        CLEAN(mail_free_p) struct mail *mail = NULL;

        r = request_next(&muse->requests, request, &mail);
        if (r < 0)
            return r;
        if (mail->header.type == (uint16_t)question->answer) {
            if (ret_answer)
                *ret_answer = TAKE(mail);
            return 0;
        }
        if (mail->header.type == FRAME_FAILED)
            return failed(muse, mail);
        if (mail->header.type != FRAME_MEM_OPS) {
            call_garbled(muse);
            return -EPROTO;
        }
        r = obey(muse, request, question, mail);
    }
    return r < 0 ? r : 0;
}

int call_ask(struct muse *muse, const struct question *question, struct mail **ret_answer)
{
    struct request request;
    int r = request_begin(&muse->requests, &request);

    if (r < 0)
        return r;
    r = converse(muse, &request, question, ret_answer);
    request_end(&muse->requests, &request);
    return r;
}

int call_tell(struct muse *muse, enum frame_type type, const ProtobufCMessage *message)
{
    struct request request;
    int r = request_begin(&muse->requests, &request);

    if (r < 0)
        return r;
    r = request_send(&muse->requests, &request, type, message, -1);
    request_end(&muse->requests, &request);
    return r;
}
