/* translate/canon_settle.c - a request put in order, between the client's reader and the runtime's printer.
 *
 * What one vendor forgives another refuses; here the gaps are closed once for all printers. Nothing made up may change from
 * turn to turn, or the runtime's prefix cache would be lost: ids come from a hash of where the call stands. */
#include "base/map.h"
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

/* Which call a result belongs to, found without going through the conversation again for each. */
struct pairing {
    struct map by_id;         /* the latest call of that id */
    struct map by_name;       /* of the latest turn with such calls, the first that has no result yet, or the last */
    struct canon_call *open;  /* of the latest turn with calls, the first that may have no result yet */
};

static bool pair_calls(struct canon_request *rq, struct pairing *p, struct canon_message *m) {
    uint32_t place = 0;
    for (struct canon_call *c = m->calls; c; c = c->next) {
        struct canon_call *first = map_get(&p->by_name, c->name);
        if (!name_call(rq, c, m->index, place++) || !map_put(&p->by_id, c->id, c))
            return false;
        c->turn = m;
        c->last_same = c;
        if (first && first->turn == m) {
            first->last_same->same = c;
            first->last_same = c;
        } else if (!map_put(&p->by_name, c->name, c)) {
            return false;
        }
    }
    if (m->calls)
        p->open = m->calls;
    return true;
}

/* A result nobody asked for becomes what the user says: it is not lost, nor that it tells of an error. */
static bool orphan(struct canon_request *rq, struct canon_message *m) {
    struct canon_part *p = m->parts.first;
    m->role = CANON_USER;
    if (!m->is_error)
        return true;
    m->is_error = false;
    while (p && p->kind != CANON_TEXT)
        p = p->next;
    return p ? canon_mark_error(rq, &p->text) : canon_lose(rq, CANON_HINT, "is_error");
}

/* By id; without one (old Ollama, deprecated functions) the next of that name, without a name the next of the turn before. */
static bool pair_result(struct canon_request *rq, struct pairing *p, struct canon_message *m) {
    struct canon_call *c = m->call_id.n ? map_get(&p->by_id, m->call_id) : m->tool_name.n ? map_get(&p->by_name, m->tool_name) : NULL;
    if (!m->call_id.n && c && c->same && !map_put(&p->by_name, c->name, c->same))
        return false;
    while (p->open && p->open->is_answered)
        p->open = p->open->next;
    if (!m->call_id.n && !m->tool_name.n)
        c = p->open;
    if (!c)
        return orphan(rq, m);
    c->is_answered = true;
    m->call = c;
    m->call_id = c->id;
    m->tool_name = c->name;
    return true;
}

static bool pair_results(struct canon_request *rq) {
    struct pairing p = { 0 };
    bool ok = true;
    map_init(&p.by_id);
    map_init(&p.by_name);
    for (struct canon_message *m = rq->messages; m && ok; m = m->next)
        ok = pair_calls(rq, &p, m) && (m->role != CANON_TOOL || pair_result(rq, &p, m));
    map_deinit(&p.by_id);
    map_deinit(&p.by_name);
    return ok || err_no_memory(rq->fault);
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
    if (!rq->messages && !rq->system.first)
        return canon_bad(rq, "\"%s\" holds nothing to answer", rq->list);
    if (!rq->tools && (rq->choice == CANON_CHOICE_REQUIRED || rq->choice == CANON_CHOICE_NAMED) && !canon_lose(rq, CANON_LOSS, "tool_choice"))
        return false;
    if (rq->top_logprobs > 0 && !rq->logprobs && !canon_lose(rq, CANON_HINT, "top_logprobs"))
        return false;
    if (!rq->tools) {
        rq->choice = CANON_CHOICE_UNSET;
        rq->parallel = CANON_UNSET;
    }
    if (rq->choice == CANON_CHOICE_NAMED) {
        const struct canon_tool *t = canon_tool_of(rq, rq->choice_name);
        if (!t)
            return canon_bad(rq, "the tool choice \"%.*s\" is none of the tools", SV_FMT(sv_first(rq->choice_name, 64)));
        rq->choice_name = t->name;
    }
    drop_old_reasoning(rq);
    if (rq->think == CANON_YES && (rq->spec->quirks & TRANSLATE_Q_NO_THINK) && !canon_lose(rq, CANON_HINT, "reasoning"))
        return false;
    return put_system(rq) && pair_results(rq);
}

/* Adds to the text, or counts only as long as it is NULL. */
static size_t put(char *text, size_t n, struct sv v) {
    if (text && v.n)
        memcpy(text + n, v.p, v.n);
    return n + v.n;
}

static size_t join(char *text, const struct canon_parts *parts, const char *glue) {
    size_t n = 0;
    for (const struct canon_part *p = parts->first; p; p = p->next) {
        if (!p->text.n)
            continue;
        n = n ? put(text, n, sv_of(glue)) : 0;
        if (p->title.n)
            n = put(text, put(text, n, p->title), SV(":\n"));
        n = put(text, n, p->text);
    }
    return n;
}

struct sv canon_join(struct canon_request *rq, const struct canon_parts *parts, const char *glue) {
    const struct canon_part *only = NULL;
    unsigned texts = 0;
    for (const struct canon_part *p = parts->first; p; p = p->next) {
        if (p->text.n) {
            only = p;
            texts++;
        }
    }
    if (texts == 0)
        return SV("");
    if (texts == 1 && !only->title.n)
        return only->text;
    char *text = arena_alloc(rq->arena, join(NULL, parts, glue));
    if (!text) {
        err_no_memory(rq->fault->code == ERR_NONE ? rq->fault : NULL);
        return SV("");
    }
    return (struct sv){ text, join(text, parts, glue) };
}

struct sv canon_thoughts(struct canon_request *rq, const struct canon_message *m) {
    struct canon_parts texts = { 0 };
    if (m->reasoning && m->reasoning == m->last_reasoning)
        return m->reasoning->text;
    for (const struct canon_reasoning *r = m->reasoning; r; r = r->next) {
        struct canon_part *part = canon_part(rq, &texts, CANON_TEXT, 0);
        if (!part)
            return SV("");
        part->text = r->text;
    }
    return canon_join(rq, &texts, "\n");
}

struct sv canon_system_marked(struct canon_request *rq, const struct canon_message *m) {
    if (!canon_lose(rq, CANON_LOSS, "messages[%u].role", m->index))
        return SV("");
    return canon_glue(rq, SV("<system>"), canon_join(rq, &m->parts, "\n\n"), SV("</system>"));
}

bool canon_mark_error(struct canon_request *rq, struct sv *text) {
    if (sv_starts_nocase(*text, SV("error")))
        return true;
    *text = canon_glue(rq, SV("Error: "), *text, SV(""));
    return canon_lose(rq, CANON_HINT, "is_error");
}
