/* translate/canon_settle.c - a request put in order, between the client's reader and the runtime's printer.
 *
 * What one vendor forgives another refuses; here the gaps are closed once for all printers. Nothing made up may change from
 * turn to turn, or the runtime's prefix cache would be lost: ids come from a hash of where the call stands. */
#include <stdio.h>

#include "translate/canon.h"

/* Ids that the client left out, the same at every turn. */
static bool name_call(struct canon_request *rq, struct canon_call *c, uint32_t message, uint32_t place) {
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    uint64_t h = 0xcbf29ce484222325u ^ ((uint64_t)message << 32 | place);
    char text[5 + 24 + 1] = "call_";
    if (c->id.n)
        return true;
    for (size_t i = 0; i < c->name.n; i++)
        h = (h ^ (unsigned char)c->name.p[i]) * 0x100000001b3u;
    for (int i = 0; i < 24; i++) {
        h = h * 6364136223846793005u + 1442695040888963407u;
        text[5 + i] = letters[(h >> 33) % 62];
    }
    c->id = arena_sv(rq->arena, sv_of(text));
    return c->id.p != NULL;
}

/* The call a result belongs to: by id, else (old Ollama, deprecated functions) the latest of that name, else the first of the
 * turn before that has no result yet. */
static struct canon_call *call_of(struct canon_message *first, const struct canon_message *result) {
    struct canon_call *by_name = NULL, *in_turn = NULL;
    unsigned nth = 0;
    for (struct canon_message *m = first; m && m != result; m = m->next) {
        if (m->role == CANON_TOOL && !m->call_id.n)
            nth++;
        if (m->role == CANON_ASSISTANT && m->calls) {
            in_turn = m->calls;
            nth = 0;
        }
        for (struct canon_call *c = m->calls; c; c = c->next) {
            if (result->call_id.n && sv_eq(c->id, result->call_id))
                return c;
            if (result->tool_name.n && sv_eq(c->name, result->tool_name))
                by_name = c;
        }
    }
    if (result->call_id.n)
        return NULL;
    if (result->tool_name.n)
        return by_name;
    for (; in_turn && nth; nth--)
        in_turn = in_turn->next;
    return in_turn;
}

static bool pair_results(struct canon_request *rq) {
    for (struct canon_message *m = rq->messages; m; m = m->next) {
        uint32_t place = 0;
        for (struct canon_call *c = m->calls; c; c = c->next)
            if (!name_call(rq, c, m->index, place++))
                return canon_bad(rq, "out of memory");
        if (m->role != CANON_TOOL)
            continue;
        struct canon_call *c = call_of(rq->messages, m);
        if (!c) { /* a result nobody asked for: what it says is not lost */
            m->role = CANON_USER;
            continue;
        }
        m->call_id = c->id;
        m->tool_name = c->name;
    }
    return true;
}

/* Templates drop the reasoning of earlier turns; inside a running tool loop it belongs to the turn. */
static void drop_old_reasoning(struct canon_request *rq) {
    struct canon_message *last_user = NULL;
    for (struct canon_message *m = rq->messages; m; m = m->next)
        if (m->role == CANON_USER && m->parts.first)
            last_user = m;
    for (struct canon_message *m = rq->messages; last_user && m != last_user; m = m->next)
        m->reasoning = m->last_reasoning = NULL;
}

static bool put_system(struct canon_request *rq) {
    struct canon_parts was = rq->system;
    if (rq->spec->system.n == 0)
        return true;
    rq->system = (struct canon_parts){ 0 };
    struct canon_part *p = canon_part(rq, &rq->system, CANON_TEXT, 0);
    if (!p)
        return false;
    p->text = rq->spec->system;
    p->next = was.first;
    if (was.last)
        rq->system.last = was.last;
    rq->system.n += was.n;
    return true;
}

bool canon_settle(struct canon_request *rq) {
    if (rq->kind != CANON_CHAT)
        return true;
    if (!rq->tools) {
        rq->choice = CANON_CHOICE_UNSET;
        rq->parallel = CANON_UNSET;
    }
    drop_old_reasoning(rq);
    if (rq->think == CANON_YES && (rq->spec->quirks & TRANSLATE_Q_NO_THINK) && !canon_lose(rq, CANON_HINT, "reasoning"))
        return false;
    return put_system(rq) && pair_results(rq);
}

struct sv canon_join(struct canon_request *rq, const struct canon_parts *parts, const char *glue) {
    size_t n = 0, g = strlen(glue);
    const struct canon_part *only = NULL;
    unsigned texts = 0;
    for (const struct canon_part *p = parts->first; p; p = p->next) {
        if (p->text.n) {
            n += p->text.n + g;
            only = p;
            texts++;
        }
    }
    if (texts < 2)
        return only ? only->text : SV("");
    char *text = arena_alloc(rq->arena, n), *at = text;
    if (!text) {
        canon_bad(rq, "out of memory");
        return SV("");
    }
    for (const struct canon_part *p = parts->first; p; p = p->next) {
        if (!p->text.n)
            continue;
        if (at > text) {
            memcpy(at, glue, g);
            at += g;
        }
        memcpy(at, p->text.p, p->text.n);
        at += p->text.n;
    }
    return (struct sv){ text, (size_t)(at - text) };
}
