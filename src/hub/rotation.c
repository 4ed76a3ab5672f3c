/* hub/rotation.c - replaces the fleet's root, one stage after the other, as pki/rotation.c has them.
 *
 *   make         the new root is made; nothing uses it
 *   trust_both   nodes fetch the bundle of both; waits until each has it, and until no invitation is open whose line names the old root
 *   issue        the hub's own certificate is of the new root, and so is each that is issued from here on
 *   prove        waits until each node has come with one of the new root
 *   trust_new    the new root alone is trusted; who has nothing of it is out, and needs an invitation of its own
 *   retire       the old key goes
 *   back         given up before trust_new: the old root issues again; waits until nobody needs the new one
 *
 * In an emergency: make, trust_new, retire. A tick looks at the stage, makes true what it says, and takes the next step when nothing is missing.
 * The audit row of a step is on the disk before the step is, and each stage may be done twice: after a crash the first tick goes on. */
#include <sodium.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "hub/room.h"

enum { RETRY_MS = 5000, STEP_MS = 500 /* at least between two steps */, LISTED_MAX = 200 /* of those it waits for */ };

static const struct access_actor the_hub = { { "hub", 3 }, { "-", 1 } };

static const struct pki_rotation *state(const struct hub *h) {
    return authority_rotation(h->authority);
}

/* --- what a stage waits for ----------------------------------------------------------------------------------------------------------------- */

static bool is_of(const struct node *n, const char *ca) {
    return strcmp(n->ca, ca) == 0;
}

/* What it lacks, in words; NULL: nothing that this stage asks for. */
static const char *lacks(struct hub *h, const struct node *n) {
    const struct pki_rotation *r = state(h);
    uint64_t sequence;
    (void)authority_trust(h->authority, &sequence);
    if (n->state != NODE_APPROVED || !n->serial[0])
        return NULL;
    switch (r->stage) {
    case PKI_STAGE_TRUST_BOTH:
        return n->trust_sequence < sequence ? "has not fetched the new root yet"
               : !roster_has_shown(n)       ? "has not come back with the new root yet"
                                            : NULL;
    case PKI_STAGE_ISSUE:
    case PKI_STAGE_PROVE:
        return !is_of(n, r->new_ca)   ? "has no certificate of the new root yet"
               : !roster_has_shown(n) ? "has not come with its new certificate yet"
                                      : NULL;
    case PKI_STAGE_BACK:
        return is_of(n, r->new_ca)    ? "still has a certificate of the new root"
               : !roster_has_shown(n) ? "has not come with its new certificate yet"
                                      : NULL;
    default:
        return NULL;
    }
}

static bool is_skipped(const struct hub *h, const struct node *n) {
    return strcmp(n->skipped, state(h)->new_ca) == 0;
}

bool rotation__awaits(struct hub *h, const struct node *n) {
    return lacks(h, n) && !is_skipped(h, n);
}

/* Its line would lead to a hub that cannot show the key it names. */
static bool is_stale(const struct hub *h, const struct invite *i) {
    char pin[65];
    sodium_bin2hex(pin, sizeof pin, authority_leaf(h->authority)->is.spki, TLS_PIN);
    return state(h)->stage == PKI_STAGE_TRUST_BOTH && enrol__is_open(i) && strcmp(i->pin, pin) != 0;
}

static unsigned count_missing(struct hub *h) {
    unsigned n = 0;
    LIST_FOR(it, &h->roster.all)
    n += rotation__awaits(h, CONTAINER(it, struct node, all));
    LIST_FOR(it, &h->invites)
    n += is_stale(h, CONTAINER(it, struct invite, all));
    return n;
}

/* --- steps ---------------------------------------------------------------------------------------------------------------------------------- */

struct step {
    struct hub *hub;
    enum pki_stage to;
};

static void fault(struct hub *h, const char *what, const struct err *e) {
    h->rotation.not_before_ms = loop_now_ms(h->loop) + RETRY_MS;
    if (strcmp(h->rotation.fault, e->text) != 0)
        log_event(LOG_ERROR, what, F_STR("stage", pki_stage_name(state(h)->stage)), F_STR("cause", e->text),
                  F_U64("retry_ms", RETRY_MS));
    snprintf(h->rotation.fault, sizeof h->rotation.fault, "%s", e->text);
}

/* With this step a root goes out of use: certificates of it are worth nothing from then on. NULL: none does. */
static const char *void_those(const struct pki_rotation *r, enum pki_stage to, bool *ret_but) {
    *ret_but = to == PKI_STAGE_TRUST_NEW;
    return to == PKI_STAGE_TRUST_NEW || (r->stage == PKI_STAGE_BACK && to == PKI_STAGE_NONE) ? r->new_ca : NULL;
}

static void void_nodes(struct hub *h, const char *ca, bool but) {
    LIST_FOR(it, &h->roster.all) {
        struct node *n = CONTAINER(it, struct node, all);
        if (n->state != NODE_APPROVED || !n->serial[0] || is_of(n, ca) == but)
            continue;
        sodium_memzero(n->bearer, sizeof n->bearer);
        sodium_memzero(n->old_bearer, sizeof n->old_bearer);
        n->serial[0] = n->shown[0] = n->old_spki[0] = '\0';
        n->void_ms = clock_wall_ms();
        hub__cut(h, n, CLOSE_IDENTITY, "its certificate is void: the fleet's root was replaced");
        hub__event(h, n, "void", SV("the fleet's root was replaced; it needs an invitation of its own"));
    }
}

static void add_void(struct record *r, const char *ca, bool but) {
    static const unsigned char none[PKI_TOKEN];
    const struct store_value v[] = { STORE_BLOB(((struct sv){ (const char *)none, PKI_TOKEN })),
                                     STORE_I64((int64_t)clock_wall_ms()), STORE_I64(NODE_APPROVED),
                                     STORE_TEXT(sv_of(ca)) };
    record_add(r,
               but ? "UPDATE node SET bearer = $1, old_bearer = $1, serial = '', shown = '', old_spki = '', void_ms = "
                     "$2 WHERE state = $3 AND serial <> '' "
                     "AND ca <> $4"
                   : "UPDATE node SET bearer = $1, old_bearer = $1, serial = '', shown = '', old_spki = '', void_ms = "
                     "$2 WHERE state = $3 AND serial <> '' "
                     "AND ca = $4",
               v, 4);
}

static void contexts_changed(struct hub *h) {
    certs__log_own(h);
    if (h->house->on_tls)
        h->house->on_tls(h->house->owner);
}

static void on_stepped(void *arg, const struct err *e) {
    struct step *s = arg;
    struct hub *h = s->hub;
    const struct pki_rotation was = h->closing ? (struct pki_rotation){ 0 } : *state(h);
    bool but, changed = false;
    struct err why;
    h->rotation.busy = false;
    if (h->closing) {
        hub__unref(h);
        mem_free(s);
        return;
    }
    const char *ca = void_those(&was, s->to, &but);
    if (!e && !authority_step(h->authority, s->to, &changed, &why))
        e = &why;
    if (e) {
        fault(h, "a step in replacing the fleet's root could not be taken", e);
    } else {
        log_event(LOG_INFO, "replacing the fleet's root", F_STR("from", was.old_ca), F_STR("to", was.new_ca),
                  F_STR("stage", pki_stage_name(s->to)));
        if (ca)
            void_nodes(h, ca, but);
        if (was.is_emergency && s->to == PKI_STAGE_TRUST_NEW)
            enrol__forget(h, NULL);
        h->rotation.step_ms = loop_now_ms(h->loop) + STEP_MS;
        rotation__tick(h); /* what the new stage says is true from now on, not from the next second */
    }
    if (changed)
        contexts_changed(h);
    hub__unref(h);
    mem_free(s);
}

static void step(struct hub *h, enum pki_stage to, const struct access_actor *by) {
    const struct pki_rotation *is = state(h);
    char detail[PKI_CA_NAME_MAX + 32];
    struct step *s = mem_new(sizeof *s);
    struct record *r = s ? record_new(h->loop) : NULL;
    struct err e;
    bool but;
    if (!r) {
        mem_free(s);
        return; /* the next tick tries again */
    }
    *s = (struct step){ hub__ref(h), to };
    snprintf(detail, sizeof detail, "%s from %s", to == PKI_STAGE_NONE ? "done" : pki_stage_name(to), is->old_ca);
    record_audit(r, by, is->is_emergency ? "cert.emergency" : "cert.rotation", sv_of(is->new_ca), sv_of(detail));
    const char *ca = void_those(is, to, &but);
    if (ca)
        add_void(r, ca, but);
    if (is->is_emergency && to == PKI_STAGE_TRUST_NEW)
        record_add(r, "DELETE FROM invite", NULL, 0); /* their lines name the old root */
    if (record_submit(h->house->store, r, on_stepped, s, &e)) {
        h->rotation.busy = true;
        return;
    }
    hub__unref(h);
    mem_free(s);
    fault(h, "a step in replacing the fleet's root could not be taken", &e);
}

/* Where it goes from here; the stage itself: it waits. */
static enum pki_stage next_stage(struct hub *h) {
    const struct pki_rotation *r = state(h);
    switch (r->stage) {
    case PKI_STAGE_MAKE:
        return r->is_emergency ? PKI_STAGE_TRUST_NEW : PKI_STAGE_TRUST_BOTH;
    case PKI_STAGE_TRUST_BOTH:
        return count_missing(h) ? r->stage : PKI_STAGE_ISSUE;
    case PKI_STAGE_ISSUE:
        return PKI_STAGE_PROVE;
    case PKI_STAGE_PROVE:
        return count_missing(h) ? r->stage : PKI_STAGE_TRUST_NEW;
    case PKI_STAGE_TRUST_NEW:
        return PKI_STAGE_RETIRE;
    case PKI_STAGE_RETIRE:
        return PKI_STAGE_NONE;
    case PKI_STAGE_BACK:
        return count_missing(h) ? r->stage : PKI_STAGE_NONE;
    default:
        return PKI_STAGE_NONE;
    }
}

/* Makes true what the stage says. */
static bool settle(struct hub *h) {
    bool changed = false;
    struct err e;
    if (!authority_settle(h->authority, *h->house->config, certs__keep_key(h), &changed, &e)) {
        fault(h, "replacing the fleet's root does not go on", &e);
        return false;
    }
    h->rotation.fault[0] = '\0';
    if (changed)
        contexts_changed(h);
    return true;
}

void rotation__tick(struct hub *h) {
    if (h->closing || h->rotation.busy || state(h)->stage == PKI_STAGE_NONE ||
        loop_now_ms(h->loop) < h->rotation.not_before_ms || !settle(h))
        return;
    enum pki_stage to = next_stage(h);
    if (to != state(h)->stage && loop_now_ms(h->loop) >= h->rotation.step_ms)
        step(h, to, &the_hub);
}

/* --- what people ask for ------------------------------------------------------------------------------------------------------------------ */

struct wish {
    struct hub *hub;
    bool is_emergency;
    char id[PKI_ID_MAX + 1];                    /* of a node that is not waited for; empty: all of them */
    void (*run)(struct wish *w, struct err *e); /* sets e->code on failure */
    hub_done *done;
    void *arg;
};

static void on_wished(void *arg, const struct err *e) {
    struct wish *w = arg;
    struct hub *h = w->hub;
    struct buf out = BUF_MAX(1 << 20);
    struct err why = { 0 };
    if (!e && h->closing)
        err_set(&why, ERR_UNAVAILABLE, "the hub is stopping");
    else if (!e)
        w->run(w, &why);
    if (!e && why.code != ERR_NONE)
        e = &why;
    if (!e) {
        buf_add(&out, SV("{\"began\":true"));
        rotation__print(h, &out);
        buf_add_char(&out, '}');
    }
    w->done(w->arg, buf_sv(&out), e);
    buf_deinit(&out);
    hub__unref(h);
    mem_free(w);
}

/* Takes r, which may be NULL. */
static bool wish(struct hub *h, struct record *r, const struct wish *what, hub_done *done, void *arg, struct err *e) {
    struct wish *w = r ? mem_new(sizeof *w) : NULL;
    if (!w) {
        record_free(r);
        return err_no_memory(e);
    }
    *w = *what;
    w->hub = hub__ref(h);
    w->done = done;
    w->arg = arg;
    if (record_submit(h->house->store, r, on_wished, w, e))
        return true;
    hub__unref(h);
    mem_free(w);
    return false;
}

static bool under_way(const struct hub *h, struct err *e) {
    const struct pki_rotation *r = state(h);
    return err_set(e, ERR_EXISTS,
                   "the fleet's root is being replaced already, %s by %s, and is at the stage %s (drover cert show)",
                   r->old_ca, r->new_ca, pki_stage_name(r->stage));
}

static bool may_begin(const struct hub *h, bool is_emergency, struct err *e) {
    const struct pki_rotation *r = state(h);
    if (h->rotation.busy)
        return err_set(e, ERR_UNAVAILABLE, "a step is being taken just now: try again in a moment");
    return r->stage == PKI_STAGE_NONE || (is_emergency && !r->is_emergency) || under_way(h, e);
}

static void begin(struct wish *w, struct err *e) {
    struct hub *h = w->hub;
    if (!may_begin(h, w->is_emergency, e) || !authority_rotate(h->authority, w->is_emergency, e))
        return;
    h->rotation.not_before_ms = h->rotation.step_ms = 0;
    log_event(w->is_emergency ? LOG_WARN : LOG_INFO, "the fleet's root is to be replaced",
              F_STR("from", state(h)->old_ca), F_STR("to", state(h)->new_ca),
              F_STR("why", w->is_emergency ? "emergency" : "planned"));
    rotation__tick(h);
}

bool hub_rotate(struct hub *h, bool is_emergency, const struct access_actor *by, hub_done *done, void *arg,
                struct err *e) {
    if (!may_begin(h, is_emergency, e))
        return false;
    struct record *r = record_new(h->loop);
    if (r)
        record_audit(r, by, is_emergency ? "cert.emergency" : "cert.rotation", sv_of(authority_issuer(h->authority)),
                     SV("begin"));
    return wish(h, r, &(struct wish){ .is_emergency = is_emergency, .run = begin }, done, arg, e);
}

static bool may_go_back(const struct hub *h, struct err *e) {
    const struct pki_rotation *r = state(h);
    if (r->stage == PKI_STAGE_NONE)
        return err_set(e, ERR_EXISTS, "the fleet's root is not being replaced");
    if (h->rotation.busy)
        return err_set(e, ERR_UNAVAILABLE, "a step is being taken just now: try again in a moment");
    return (!r->is_emergency && r->stage <= PKI_STAGE_PROVE) || r->stage == PKI_STAGE_BACK ||
           err_set(e, ERR_EXISTS, "there is no way back from the stage %s: the old root is trusted no more",
                   pki_stage_name(r->stage));
}

static void go_back(struct wish *w, struct err *e) {
    struct hub *h = w->hub;
    bool changed = false;
    if (!may_go_back(h, e) || state(h)->stage == PKI_STAGE_BACK)
        return;
    if (!authority_step(h->authority, state(h)->stage == PKI_STAGE_MAKE ? PKI_STAGE_NONE : PKI_STAGE_BACK, &changed, e))
        return;
    if (changed)
        contexts_changed(h);
    rotation__tick(h);
}

bool hub_rotate_back(struct hub *h, const struct access_actor *by, hub_done *done, void *arg, struct err *e) {
    if (!may_go_back(h, e))
        return false;
    struct record *r = record_new(h->loop);
    if (r)
        record_audit(r, by, "cert.rotation", sv_of(state(h)->new_ca), SV("back"));
    return wish(h, r, &(struct wish){ .run = go_back }, done, arg, e);
}

static void skip(struct wish *w, struct err *e) {
    struct hub *h = w->hub;
    (void)e;
    LIST_FOR(it, &h->roster.all) {
        struct node *n = CONTAINER(it, struct node, all);
        if (w->id[0] ? strcmp(n->id, w->id) == 0 : rotation__awaits(h, n))
            snprintf(n->skipped, sizeof n->skipped, "%s", state(h)->new_ca);
    }
    if (!w->id[0] && state(h)->stage == PKI_STAGE_TRUST_BOTH)
        enrol__forget(h, authority_leaf(h->authority)->is.spki);
    rotation__tick(h);
}

/* The same on the disk as in memory: the conditions are those of lacks. */
static void add_skip(struct hub *h, struct record *r, const struct node *one) {
    const struct pki_rotation *is = state(h);
    uint64_t sequence;
    (void)authority_trust(h->authority, &sequence);
    const struct store_value v[] = { STORE_TEXT(sv_of(is->new_ca)), STORE_I64(NODE_APPROVED),
                                     STORE_TEXT(one ? sv_of(one->id) : SV("")), STORE_I64((int64_t)sequence) };
    if (one)
        record_add(r, "UPDATE node SET skipped = $1 WHERE state = $2 AND id = $3", v, 3);
    else if (is->stage == PKI_STAGE_TRUST_BOTH)
        record_add(r,
                   "UPDATE node SET skipped = $1 WHERE state = $2 AND serial <> $3 AND (shown <> serial OR "
                   "trust_sequence < $4)",
                   v, 4);
    else if (is->stage == PKI_STAGE_BACK)
        record_add(r, "UPDATE node SET skipped = $1 WHERE state = $2 AND serial <> $3 AND (shown <> serial OR ca = $1)",
                   v, 3);
    else
        record_add(r,
                   "UPDATE node SET skipped = $1 WHERE state = $2 AND serial <> $3 AND (shown <> serial OR ca <> $1)",
                   v, 3);
    if (!one && is->stage == PKI_STAGE_TRUST_BOTH) {
        char pin[65];
        sodium_bin2hex(pin, sizeof pin, authority_leaf(h->authority)->is.spki, TLS_PIN);
        record_add(r, "DELETE FROM invite WHERE spki = '' AND pin <> $1",
                   (struct store_value[]){ STORE_TEXT(sv_of(pin)) }, 1);
    }
}

bool hub_rotate_skip(struct hub *h, struct sv node, const struct access_actor *by, hub_done *done, void *arg,
                     struct err *e) {
    const struct node *n = node.n ? roster_named(&h->roster, node) : NULL;
    const struct pki_rotation *is = state(h);
    if (node.n && !n)
        return err_set(e, ERR_NOT_FOUND, "there is no node \"%.*s\" (drover node ls)", SV_FMT(sv_first(node, 80)));
    if (is->stage == PKI_STAGE_NONE)
        return err_set(e, ERR_EXISTS, "the fleet's root is not being replaced: nobody is waited for");
    struct record *r = record_new(h->loop);
    if (r) {
        record_audit(r, by, "cert.skip", sv_of(is->new_ca), n ? sv_of(n->name) : SV("all that are missing"));
        add_skip(h, r, n);
    }
    struct wish w = { .run = skip };
    snprintf(w.id, sizeof w.id, "%s", n ? n->id : "");
    return wish(h, r, &w, done, arg, e);
}

/* --- telling ------------------------------------------------------------------------------------------------------------------------------ */

static void put(struct buf *out, const char *name, struct sv v) {
    buf_printf(out, "%s\"%s\":", out->n && out->p[out->n - 1] != '{' ? "," : "", name);
    buf_add_json(out, v);
}

static void print_waits(struct hub *h, struct buf *out) {
    unsigned n = 0;
    buf_add(out, SV(",\"waits_for\":["));
    LIST_FOR(it, &h->roster.all) {
        const struct node *one = CONTAINER(it, struct node, all);
        if (!rotation__awaits(h, one) || n++ >= LISTED_MAX)
            continue;
        buf_add(out, n > 1 ? SV(",{") : SV("{"));
        put(out, "node", sv_of(one->id));
        put(out, "name", sv_of(one->name));
        put(out, "why", sv_of(lacks(h, one)));
        buf_printf(out, ",\"linked\":%s,\"seen_ms\":%llu}", one->session ? "true" : "false",
                   (unsigned long long)one->seen_ms);
    }
    LIST_FOR(it, &h->invites) {
        const struct invite *i = CONTAINER(it, struct invite, all);
        if (!is_stale(h, i) || n++ >= LISTED_MAX)
            continue;
        buf_add(out, n > 1 ? SV(",{") : SV("{"));
        put(out, "invite", sv_of(i->id));
        put(out, "name", sv_of(i->name));
        put(out, "why", SV("is open, and its line names the old root"));
        buf_printf(out, ",\"expires_ms\":%llu}", (unsigned long long)i->expires_ms);
    }
    buf_add_char(out, ']');
}

static void print_names(struct hub *h, struct buf *out, const char *what,
                        bool (*is)(const struct hub *h, const struct node *n)) {
    bool first = true;
    buf_printf(out, ",\"%s\":[", what);
    LIST_FOR(it, &h->roster.all) {
        const struct node *n = CONTAINER(it, struct node, all);
        if (!is(h, n))
            continue;
        buf_add(out, first ? SV_NULL : SV(","));
        first = false;
        buf_add_json(out, sv_of(n->name));
    }
    buf_add_char(out, ']');
}

static bool is_void(const struct hub *h, const struct node *n) {
    (void)h;
    return n->state == NODE_APPROVED && n->void_ms;
}

void rotation__print(struct hub *h, struct buf *out) {
    const struct pki_rotation *r = state(h);
    unsigned total = 0;
    LIST_FOR(it, &h->roster.all) {
        const struct node *n = CONTAINER(it, struct node, all);
        total += n->state == NODE_APPROVED && n->serial[0];
    }
    print_names(h, out, "not_back", is_void);
    if (r->stage == PKI_STAGE_NONE)
        return;
    buf_printf(out,
               ",\"rotation\":{\"stage\":\"%s\",\"emergency\":%s,\"old\":\"%s\",\"new\":\"%s\",\"started_ms\":%lld,"
               "\"since_ms\":%lld,\"nodes\":%u,\"missing\":%u",
               pki_stage_name(r->stage), r->is_emergency ? "true" : "false", r->old_ca, r->new_ca,
               (long long)r->started_s * 1000, (long long)r->since_s * 1000, total, count_missing(h));
    print_waits(h, out);
    print_names(h, out, "skipped", is_skipped);
    if (h->rotation.fault[0])
        put(out, "fault", sv_of(h->rotation.fault));
    buf_add_char(out, '}');
}
