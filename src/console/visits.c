#include "console/visits.h"

#include <sodium.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/rand.h"
#include "console/request.h"
#include "hub/hub.h"

enum { LOOK_MS = 5000 };

struct visit {
    _Atomic unsigned refs;
    _Atomic bool ended;
    struct access_cell *cell; /* shared: the session's */
    /* Control loop only. */
    struct list all;
    uint8_t hash[ACCESS_HASH];
    char node[PASSAGE_NODE_MAX + 1], session[SESSION_ID + 1], who[VISIT_WHO];
    enum access_role role;
    uint64_t made_ms, used_ms; /* loop time */
};

struct visits {
    _Atomic unsigned refs;
    struct loop *control;
    struct admin *admin; /* control loop only, as all below; NULL: closed */
    struct list all;     /* of struct visit, oldest first */
    unsigned n;
    struct timer look;
};

struct visit *visit_ref(struct visit *v) {
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    return v;
}

struct visit *visit_unref(struct visit *v) {
    if (!v || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    access_cell_unref(v->cell);
    mem_free(v);
    return NULL;
}

bool visit_is_over(const struct visit *v) {
    return atomic_load_explicit(&v->ended, memory_order_relaxed) ||
           atomic_load_explicit(&v->cell->revoked, memory_order_relaxed);
}

static void end(struct visits *vs, struct visit *v) {
    atomic_store_explicit(&v->ended, true, memory_order_relaxed);
    sodium_memzero(v->hash, sizeof v->hash);
    list_drop(&v->all);
    vs->n--;
    visit_unref(v);
}

/* --- when one ends by itself -------------------------------------------------------------------------------------- */

/* The session behind it; NULL: it has ended. */
static const struct session *session_of(const struct visits *vs, const struct visit *v) {
    const struct session *s = NULL;
    while ((s = people_next_session(vs->admin->house->people, s)) && !sv_eq(s->id, sv_of(v->session)))
        ;
    return s && s->person->enabled ? s : NULL;
}

static bool is_late(const struct visits *vs, const struct visit *v) {
    uint64_t now = loop_now_ms(vs->control);
    return visit_is_over(v) || now - v->made_ms >= VISIT_TTL_MS ||
           now - v->used_ms >= (*vs->admin->house->config)->access.session_idle_ms;
}

static void on_look(void *arg) {
    struct visits *vs = arg;
    for (struct list *it = vs->all.next, *next; it != &vs->all; it = next) {
        struct visit *v = CONTAINER(it, struct visit, all);
        next = it->next;
        if (is_late(vs, v) || !session_of(vs, v))
            end(vs, v);
    }
    if (vs->n)
        timer_set(vs->control, &vs->look, LOOK_MS, on_look, vs);
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

static void refuse(struct visit_ask *a, int status, const char *why) {
    a->status = status;
    snprintf(a->why, sizeof a->why, "%s", why);
}

static struct visit *find(const struct visits *vs, struct sv node, struct sv ticket) {
    uint8_t hash[ACCESS_HASH];
    struct visit *found = NULL;
    crypto_generichash(hash, sizeof hash, (const unsigned char *)ticket.p, ticket.n, NULL, 0);
    LIST_FOR(it, &vs->all)
    if (sodium_memcmp(hash, CONTAINER(it, struct visit, all)->hash, sizeof hash) == 0)
        found = CONTAINER(it, struct visit, all);
    sodium_memzero(hash, sizeof hash);
    return found && sv_eq(node, sv_of(found->node)) ? found : NULL;
}

static void answer(struct visits *vs, struct visit_ask *a) {
    struct visit *v = vs->admin ? find(vs, sv_of(a->node), sv_of(a->ticket)) : NULL;
    const struct session *s = v && !is_late(vs, v) ? session_of(vs, v) : NULL;
    struct hub_reach reach;
    struct err e;
    sodium_memzero(a->ticket, sizeof a->ticket);
    if (!s) {
        if (v)
            end(vs, v);
        refuse(a, 401, "this visit has ended; open the node's console again from the hub");
        return;
    }
    if (!hub_reach(vs->admin->house->hub, sv_of(v->node), &reach, &e)) {
        refuse(a, err_http(e.code), e.text);
        if (e.code == ERR_NOT_FOUND) /* put out, or forgotten */
            end(vs, v);
        return;
    }
    if (reach.console == CONFIG_REACH_OFF) {
        refuse(a, 403, "this node does not show its console to its hub (join.allow.console)");
        return;
    }
    v->used_ms = loop_now_ms(vs->control);
    a->status = 200;
    a->visit = visit_ref(v);
    a->way = way_ref(reach.way);
    a->role = s->person->role < v->role ? s->person->role : v->role;
    a->is_fresh = s->fresh_until_ms >= clock_wall_ms();
    memcpy(a->who, v->who, sizeof a->who);
}

/* The question on its way: what it needs besides the asker's. */
struct trip {
    struct msg msg;
    struct visits *visits; /* shared */
    struct visit_ask *ask;
    void (*drop)(struct visit_ask *a);
};

static void on_return(struct msg *m) {
    struct visit_ask *a = CONTAINER(m, struct visit_ask, msg);
    a->on_answer(a);
}

static void on_trip(struct msg *m) {
    struct trip *t = CONTAINER(m, struct trip, msg);
    struct visit_ask *a = t->ask;
    bool is_open = t->visits->admin != NULL; /* the workers, and with them a->home, live as long as that */
    answer(t->visits, a);
    a->msg = (struct msg){ .deliver = on_return };
    if (!is_open || !loop_post(a->home, &a->msg))
        t->drop(a);
    visits_unref(t->visits);
    mem_free(t);
}

bool visits_ask(struct visits *vs, struct visit_ask *a, void (*drop)(struct visit_ask *a)) {
    struct trip *t = mem_new(sizeof *t);
    if (!t)
        return false;
    *t = (struct trip){ .msg.deliver = on_trip, .visits = visits_ref(vs), .ask = a, .drop = drop };
    if (loop_post(vs->control, &t->msg))
        return true;
    visits_unref(vs);
    mem_free(t);
    return false;
}

/* --- a new one ---------------------------------------------------------------------------------------------------- */

struct opening { /* what is about to be, until its row of the audit log is written */
    struct store_job job;
    struct visits *visits; /* shared */
    struct waiting *waits;
    struct visit *visit;
    char peer[64], name[HUB_NAME_MAX + 1];
    int console;
};

static void opening_free(struct opening *o) {
    visit_unref(o->visit);
    visits_unref(o->visits);
    mem_free(o);
}

static bool run_opening(struct store_tx *tx, struct store_job *job, struct err *e) {
    const struct opening *o = CONTAINER(job, struct opening, job);
    const struct access_act act = { sv_of(o->visit->who),
                                    sv_of(o->peer),
                                    SV("node.visit"),
                                    sv_of(o->visit->node),
                                    sv_of(access_role_name(o->visit->role)),
                                    clock_wall_ms() };
    return access_audit(tx, &act, e);
}

/* One more of this session; the oldest makes room. */
static void admit(struct visits *vs, struct visit *v) {
    struct visit *oldest = NULL;
    unsigned n = 0;
    for (struct list *it = vs->all.prev; it != &vs->all; it = it->prev)
        if (strcmp(CONTAINER(it, struct visit, all)->session, v->session) == 0) {
            oldest = CONTAINER(it, struct visit, all);
            n++;
        }
    if (n >= VISITS_PER_SESSION)
        end(vs, oldest);
    v->made_ms = v->used_ms = loop_now_ms(vs->control);
    list_push_back(&vs->all, &visit_ref(v)->all);
    vs->n++;
    if (!timer_is_set(&vs->look))
        timer_set(vs->control, &vs->look, LOOK_MS, on_look, vs);
}

static void tell(struct request *r, const struct opening *o, const char *ticket) {
    static const char *const reaches[] = {
        [CONFIG_REACH_OFF] = "off", [CONFIG_REACH_VIEW] = "view", [CONFIG_REACH_FULL] = "full"
    };
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    char path[PASSAGE_NODE_MAX + PASSAGE_TICKET + 32];
    buf_reserve(&out, 1024); /* one block, so that no copy of the ticket is left behind in a smaller one */
    snprintf(path, sizeof path, "/node/%s/~%s/console/", o->visit->node, ticket);
    buf_add_char(&out, '{');
    put_text(&out, "path", sv_of(path));
    put_text(&out, "node", sv_of(o->visit->node));
    put_text(&out, "name", sv_of(o->name));
    put_text(&out, "role", sv_of(access_role_name(o->console == CONFIG_REACH_FULL ? o->visit->role : ROLE_VIEWER)));
    put_text(&out, "reach", sv_of(reaches[o->console]));
    put_number(&out, "ends_ms", clock_wall_ms() + VISIT_TTL_MS);
    buf_add_char(&out, '}');
    sodium_memzero(path, sizeof path);
    request_reply(r, 201, &out);
}

static void on_opened(struct store_job *job, const struct err *e) {
    struct opening *o = CONTAINER(job, struct opening, job);
    struct request *r = request_resume(o->waits);
    struct visits *vs = o->visits;
    unsigned char secret[32];
    char ticket[PASSAGE_TICKET + 1];
    struct err gone;
    if (r && e) {
        request_fail(r, e, NULL);
    } else if (r && (!vs->admin || !session_of(vs, o->visit) || visit_is_over(o->visit))) {
        err_set(&gone, ERR_AUTH, "the session has ended; sign in again");
        request_fail(r, &gone, NULL);
    } else if (r) {
        rand_bytes(secret, sizeof secret);
        sodium_bin2base64(ticket, sizeof ticket, secret, sizeof secret, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        crypto_generichash(o->visit->hash, sizeof o->visit->hash, (const unsigned char *)ticket, PASSAGE_TICKET, NULL,
                           0);
        admit(vs, o->visit);
        tell(r, o, ticket);
        sodium_memzero(secret, sizeof secret);
        sodium_memzero(ticket, sizeof ticket);
    }
    opening_free(o);
}

static struct opening *opening_new(struct request *r, const struct hub_reach *reach) {
    struct opening *o = mem_new(sizeof *o);
    struct visit *v = mem_new(sizeof *v);
    if (!o || !v) {
        mem_free(o);
        mem_free(v);
        return NULL;
    }
    atomic_init(&v->refs, 1);
    atomic_init(&v->ended, false);
    list_init(&v->all);
    v->cell = access_cell_ref(r->cell);
    v->role = r->role;
    snprintf(v->node, sizeof v->node, "%.*s", SV_FMT(reach->id));
    snprintf(v->session, sizeof v->session, "%.*s", SV_FMT(r->session->id));
    snprintf(v->who, sizeof v->who, "%.*s", SV_FMT(r->who));
    o->visit = v;
    o->visits = visits_ref(r->admin->visits);
    o->console = reach->console;
    snprintf(o->name, sizeof o->name, "%.*s", SV_FMT(reach->name));
    snprintf(o->peer, sizeof o->peer, "%.*s", SV_FMT(r->peer));
    return o;
}

static bool may_open(const struct request *r, struct hub *h, struct hub_reach *ret, struct err *e) {
    if (!r->session)
        return err_set(e, ERR_BAD_REQUEST, "a visit is a person's who has signed in: open it at the hub's console");
    if (!hub_reach(h, r->rest, ret, e))
        return false;
    if (ret->console == CONFIG_REACH_OFF)
        return err_set(e, ERR_DENIED, "node %.*s does not show its console to its hub (join.allow.console there)",
                       SV_FMT(ret->name));
    if (ret->console == CONFIG_REACH_FULL && r->role == ROLE_ADMIN && !r->is_fresh)
        return err_set(e, ERR_REAUTH, "give your passphrase again: this opens the node with the rights of an admin");
    return r->admin->visits->n < VISITS_MAX ||
           err_set(e, ERR_UNAVAILABLE, "%d visits may be open at one time; end some first", VISITS_MAX);
}

void visits_make(struct request *r) {
    struct hub *h = nodes__hub(r);
    struct hub_reach reach;
    struct err e;
    if (!h)
        return;
    if (!may_open(r, h, &reach, &e)) {
        request_fail(r, &e, NULL);
        return;
    }
    struct opening *o = opening_new(r, &reach);
    struct waiting *w = request_wait(r);
    if (!w || !o) {
        if (w)
            request_begun(r, w, err_no_memory(&e), &e);
        if (o)
            opening_free(o);
        return;
    }
    o->waits = w;
    o->job = (struct store_job){ .home = r->admin->loop, .run = run_opening, .done = on_opened };
    if (store_submit(r->admin->house->store, &o->job, &e))
        return;
    opening_free(o);
    request_begun(r, w, false, &e);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct visits *visits_new(struct admin *a, struct err *e) {
    struct visits *vs = mem_new(sizeof *vs);
    if (!vs) {
        err_no_memory(e);
        return NULL;
    }
    atomic_init(&vs->refs, 1);
    vs->control = a->loop;
    vs->admin = a;
    list_init(&vs->all);
    return vs;
}

struct visits *visits_ref(struct visits *vs) {
    atomic_fetch_add_explicit(&vs->refs, 1, memory_order_relaxed);
    return vs;
}

struct visits *visits_unref(struct visits *vs) {
    if (vs && atomic_fetch_sub_explicit(&vs->refs, 1, memory_order_acq_rel) == 1)
        mem_free(vs);
    return NULL;
}

void visits_close(struct visits *vs) {
    if (!vs)
        return;
    timer_stop(vs->control, &vs->look);
    while (!list_empty(&vs->all))
        end(vs, CONTAINER(vs->all.next, struct visit, all));
    vs->admin = NULL;
    visits_unref(vs);
}
