/* fleet/trial.c - one look at a place that somebody thinks of adding: nothing of it is kept, and nobody is sent there. */
#include "fleet/endpoint.h"

struct fleet_trial {
    struct endpoint_home home;
    struct endpoint *place; /* for its address alone: it is not watched */
    struct look *look;
    uint64_t began_ms;
    fleet_tried *done;
    void *arg;
};

/* A place that is not watched changes nothing. */
static void on_change(void *owner, struct endpoint *p) {
    (void)owner;
    (void)p;
}

static void on_looked(void *owner, struct look *l) {
    struct fleet_trial *t = owner;
    static const enum fleet_state states[] = { [LOOK_GOOD] = FLEET_UP, [LOOK_POOR] = FLEET_DEGRADED, [LOOK_LOADING] = FLEET_LOADING,
                                               [LOOK_FAILED] = FLEET_DOWN, [LOOK_REFUSED] = FLEET_DOWN };
    const struct fleet_found found = {
        .state = states[l->end],
        .kind = sv_of(l->rt ? runtime_name(l->rt->kind) : ""),
        .version = l->version,
        .reason = sv_of(l->reason),
        .models = l->models,
        .n_models = l->n_models,
        .wants_key = l->wants_key,
        .is_other_kind = l->mismatch,
        .took_ms = loop_now_ms(t->home.loop) - t->began_ms,
    };
    t->done(t->arg, &found); /* last: t may be gone now */
}

struct fleet_trial *fleet_try(struct fleet *f, const struct config_endpoint *at, fleet_tried *done, void *arg, struct err *e) {
    const struct endpoint_home *home = fleet__home(f);
    struct fleet_trial *t = mem_new(sizeof *t);
    if (!t) {
        err_no_memory(e);
        return NULL;
    }
    struct endpoint_place place = endpoint_place_of(at);
    *t = (struct fleet_trial){ .home = { home->loop, home->client, on_change, t }, .began_ms = loop_now_ms(home->loop), .done = done, .arg = arg };
    t->place = endpoint_new(&t->home, &place, e);
    if (t->place) {
        struct probe_place probe = { .client = home->client, .dialer = t->place->dialer, .host = sv_of(t->place->host),
                                     .base_path = sv_of(t->place->base_path), .auth = sv_of(t->place->auth) };
        t->look = look_new(home->loop, &probe, t->place->rt, NULL, on_looked, t);
        if (!t->look)
            err_no_memory(e);
    }
    if (t->look)
        return t;
    fleet_trial_free(t);
    return NULL;
}

void fleet_trial_free(struct fleet_trial *t) {
    if (!t)
        return;
    look_free(t->look);
    endpoint_free(t->place);
    mem_free(t);
}
