/* console/alerts.h - private to console: what alerts.c keeps and judges.c says.
 *
 * A rule is a row of ALERT_KINDS and a function that calls alerts__judge for each thing it watches. Control thread only. */
#ifndef DROVER_CONSOLE_ALERTS_H
#define DROVER_CONSOLE_ALERTS_H

#include "base/list.h"
#include "console/request.h"

/*    kind               word           bad    for_ms  link              cure */
#define ALERT_KINDS(X)                                                                                                                        \
    X(ALERT_RECORDS,     "records",     true,  0,      "#/settings",     "free the disk or mend it; drover status tells how the records fare")  \
    X(ALERT_DISK,        "disk",        true,  10000,  "#/settings",     "delete what is not needed on the disk of data_dir, or shorten telemetry.retain") \
    X(ALERT_ENDPOINT,    "endpoint",    true,  30000,  "#/fleet",        "start the runtime, or take it out of the configuration; drover endpoints tells why") \
    X(ALERT_ERRORS,      "errors",      true,  10000,  "#/pulse",        "look at the failed requests and the runtime they went to")            \
    X(ALERT_FIRST_TOKEN, "first_token", false, 30000,  "#/pulse",        "the runtimes are busy or cold: add one, or lower what is asked of them") \
    X(ALERT_QUEUE,       "queue",       false, 0,      "#/pulse",        "the endpoints are full: raise max_concurrent where there is room, or add one") \
    X(ALERT_LOGINS,      "logins",      true,  0,      "#/settings",     "somebody guesses passphrases: the audit log tells from where")         \
    X(ALERT_BUDGET,      "budget",      false, 0,      "#/keys",         "raise the budget of the key, or wait for its next day or month")       \
    X(ALERT_KEY,         "key",         false, 0,      "#/keys",         "make a new key and give it to whoever uses this one, or set a later end")
#define X(id, ...) id,
enum alert_kind { ALERT_KINDS(X) ALERT_KIND_COUNT };
#undef X

enum sign { OFF, BETWEEN, ON };

struct alerts {
    struct admin *admin;
    struct list all;           /* of struct alert */
    unsigned n;
    struct timer look;
    struct list silences;      /* of struct silence: of alerts that do not fire now, too */
    uint64_t refused_at_start, refused_window_ms;
    uint64_t disk_free, disk_all, disk_look_ms;
};

/* What a rule says of a thing now. */
void alerts__judge(struct alerts *a, enum alert_kind kind, struct sv object, enum sign sign, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* judges.c: asks every rule about everything it watches. */
void alerts__look(struct alerts *a);

#endif
