#include "console/delivery.h"

#include <stdio.h>

#include "base/log.h"
#include "console/outlet.h"
#include "console/request.h"

/* --- an outbox ------------------------------------------------------------------------------------------------------- */

void outbox_init(struct outbox *l, const char *name) {
    *l = (struct outbox){ .name = name };
    list_init(&l->waiting);
}

struct message *outbox_take(struct outbox *l) {
    struct list *it = list_pop(&l->waiting);
    l->n -= it != NULL;
    return it ? CONTAINER(it, struct message, waits) : NULL;
}

void outbox_put(struct outbox *l, struct message *m) {
    if (l->n == OUTBOX_MAX)
        outbox_lost(l, outbox_take(l), "too many wait; the oldest gives way");
    list_push_back(&l->waiting, &m->waits);
    l->n++;
}

void outbox_taken(struct outbox *l, struct message *m) {
    l->n_taken++;
    l->fault[0] = '\0';
    mem_free(m);
}

void outbox_lost(struct outbox *l, struct message *m, const char *why) {
    l->n_lost++;
    snprintf(l->fault, sizeof l->fault, "%s", why);
    log_event(LOG_ERROR, "an alert was not delivered", F_STR("to", l->name), F_STR("alert", m->id),
              F_STR("state", m->is_raised ? "raised" : "cleared"), F_STR("cause", why));
    mem_free(m);
}

void outbox_clear(struct outbox *l, const char *why) {
    for (struct message *m; (m = outbox_take(l));)
        outbox_lost(l, m, why);
}

/* --- both --------------------------------------------------------------------------------------------------------- */

struct delivery {
    struct webhook *webhook;
    struct command *command;
};

struct delivery *delivery_new(struct loop *l, struct err *e) {
    struct delivery *d = mem_new(sizeof *d);
    if (!d) {
        err_no_memory(e);
        return NULL;
    }
    d->webhook = webhook_new(l, e);
    d->command = d->webhook ? command_new(l, e) : NULL;
    if (d->command)
        return d;
    delivery_free(d);
    return NULL;
}

bool delivery_set(struct delivery *d, struct config *c, struct err *e) {
    command_set(d->command, c);
    return webhook_set(d->webhook, c, e);
}

static void put(struct outbox *l, const char *id, bool is_raised, struct sv json) {
    struct message *m = mem_new(sizeof *m + json.n);
    if (!m) {
        log_event(LOG_ERROR, "an alert was not delivered", F_STR("to", l->name), F_STR("alert", id), F_STR("cause", "out of memory"));
        return;
    }
    list_init(&m->waits);
    snprintf(m->id, sizeof m->id, "%s", id);
    m->is_raised = is_raised;
    m->n = json.n;
    memcpy(m->json, json.p, json.n);
    outbox_put(l, m);
}

void delivery_tell(struct delivery *d, const char *id, bool is_raised, struct sv json) {
    if (webhook_is_set(d->webhook)) {
        put(webhook_outbox(d->webhook), id, is_raised, json);
        webhook_step(d->webhook);
    }
    if (command_is_set(d->command)) {
        put(command_outbox(d->command), id, is_raised, json);
        command_step(d->command);
    }
}

static void print(const struct outbox *l, struct buf *out) {
    put_name(out, l->name);
    buf_add_char(out, '{');
    put_number(out, "taken", l->n_taken);
    put_number(out, "lost", l->n_lost);
    put_number(out, "waiting", l->n);
    if (l->fault[0])
        put_text(out, "fault", sv_of(l->fault));
    buf_add_char(out, '}');
}

void delivery_print(const struct delivery *d, struct buf *out) {
    buf_add_char(out, '{');
    if (webhook_is_set(d->webhook))
        print(webhook_outbox(d->webhook), out);
    if (command_is_set(d->command))
        print(command_outbox(d->command), out);
    buf_add_char(out, '}');
}

void delivery_free(struct delivery *d) {
    if (!d)
        return;
    webhook_free(d->webhook);
    command_free(d->command);
    mem_free(d);
}
