/* console/outlet.h - private to delivery.c and its two outlets: what waits for one of them, and the outlets themselves. */
#ifndef DROVER_CONSOLE_OUTLET_H
#define DROVER_CONSOLE_OUTLET_H

#include "base/list.h"
#include "config/config.h"
#include "io/loop.h"

enum {
    OUTBOX_MAX = 64,   /* messages: alerts are few; more than that is a storm, of which the newest count */
    MESSAGE_ID = 40,
};

struct message {
    struct list waits;
    char id[MESSAGE_ID];     /* of the alert */
    bool is_raised;
    size_t n;
    char json[];
};

struct outbox {
    const char *name;        /* "webhook", "command": for the log */
    struct list waiting;     /* of struct message, oldest first */
    unsigned n;
    uint64_t n_taken, n_lost;
    char fault[160];         /* why the last one was lost or is late; empty: the last one was taken */
};

void outbox_init(struct outbox *l, const char *name);
/* Takes m; the oldest gives way when the line is full. */
void outbox_put(struct outbox *l, struct message *m);
/* The oldest; NULL: none waits. The caller's now. */
struct message *outbox_take(struct outbox *l);
void outbox_clear(struct outbox *l, const char *why);
/* The end of a message; all free it. */
void outbox_taken(struct outbox *l, struct message *m);
void outbox_lost(struct outbox *l, struct message *m, const char *why);

/* webhook.c: one message at a time, in order, each tried a few times. */
struct webhook;
struct webhook *webhook_new(struct loop *l, struct err *e) MUST_CHECK;
bool webhook_set(struct webhook *w, struct config *c, struct err *e);
bool webhook_is_set(const struct webhook *w);
struct outbox *webhook_outbox(struct webhook *w);
void webhook_step(struct webhook *w); /* after something was put into its outbox */
void webhook_free(struct webhook *w);

/* command.c: a process for each message, few at once. */
struct command;
struct command *command_new(struct loop *l, struct err *e) MUST_CHECK;
void command_set(struct command *c, struct config *config);
bool command_is_set(const struct command *c);
struct outbox *command_outbox(struct command *c);
void command_step(struct command *c);
void command_free(struct command *c);

#endif
