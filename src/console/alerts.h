/* console/alerts.h - private to console: what alerts.c keeps and judges.c says.
 *
 * A rule is a row of ALERT_KINDS and a function that calls alerts__judge for each thing it watches. Control thread only. */
#ifndef DROVER_CONSOLE_ALERTS_H
#define DROVER_CONSOLE_ALERTS_H

#include "base/list.h"
#include "console/request.h"

/* unit: of value and threshold; empty: the alert has no figure. */
/*    kind                word           unit        bad    for_ms link          cure */
#define ALERT_KINDS(X)                                                                                                                        \
    X(ALERT_RECORDS,      "records",     "",         true,  0,     "#/settings", "free the disk or mend it; drover status tells how the records fare")  \
    X(ALERT_DISK,         "disk",        "bytes",    true,  10000, "#/settings", "delete what is not needed on the disk of data_dir, or shorten telemetry.retain") \
    X(ALERT_ENDPOINT,     "endpoint",    "",         true,  30000, "#/fleet",    "start the runtime, or take it out of the configuration; drover endpoints tells why") \
    X(ALERT_ERRORS,       "errors",      "ratio",    true,  10000, "#/pulse",    "look at the failed requests and the runtime they went to")        \
    X(ALERT_FIRST_TOKEN,  "first_token", "ms",       false, 30000, "#/pulse",    "the runtimes are busy or cold: add one, or lower what is asked of them") \
    X(ALERT_QUEUE,        "queue",       "requests", false, 0,     "#/pulse",    "the endpoints are full: raise max_concurrent where there is room, or add one") \
    X(ALERT_LOGINS,       "logins",      "attempts", true,  0,     "#/settings", "somebody guesses passphrases: the audit log tells from where")    \
    X(ALERT_BUDGET,       "budget",      "ratio",    false, 0,     "#/keys?tab=budgets", "raise the budget of the key, or wait for its next day or month") \
    X(ALERT_BUDGET_NEAR,  "budget_near", "ratio",    false, 0,     "#/keys?tab=budgets", "see who uses the key and for what, before it is refused: or raise its budget") \
    X(ALERT_KEY,          "key",         "hours",    false, 0,     "#/keys",     "make a new key and give it to whoever uses this one, or set a later end") \
    X(ALERT_CLOCK,        "clock",       "seconds",  false, 0,     "#/settings", "see what set the clock of this machine, and whether it is right now: keys, sessions and days of budgets go by it") \
    X(ALERT_BACKUP,       "backup",      "days",     false, 0,     "#/settings", "make a copy with drover backup FILE and keep it elsewhere")
#define X(id, ...) id,
enum alert_kind { ALERT_KINDS(X) ALERT_KIND_COUNT };
#undef X

enum sign { OFF, BETWEEN, ON };

/* What a rule reads off a thing. */
struct reading {
    enum sign sign;
    double value, threshold; /* in the unit of its kind */
};

/* With a threshold of its own for each way, so that nothing flaps: on from `on`, off before `off`. on < off: less is worse. */
struct reading alerts__read(double value, double on, double off);

/* How far the wall clock was moved, by somebody or something, within the last hour. Zeroed: nothing is known yet. */
struct clock_watch {
    int64_t ahead_ms;        /* of the clock that nobody sets, at the last look */
    int64_t moved_ms;
    uint64_t moved_at_ms;    /* of that clock */
    bool has_looked;
};
int64_t clock_watch_look(struct clock_watch *w, uint64_t wall_ms, uint64_t boot_ms);

struct delivery;
struct alerts {
    struct admin *admin;
    struct delivery *delivery;
    struct list all;           /* of struct alert */
    unsigned n;
    struct timer look;
    struct list silences;      /* of struct silence: of alerts that do not fire now, too */
    uint64_t refused_at_start, refused_window_ms;
    uint64_t disk_free, disk_all, disk_look_ms;
    struct clock_watch clock;
    uint64_t backup_ms;        /* wall clock: of the newest copy that was made; 0: none ever */
};

/* What a rule says of a thing now. */
void alerts__judge(struct alerts *a, enum alert_kind kind, struct sv object, struct reading r, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* judges.c: asks every rule about everything it watches. */
void alerts__look(struct alerts *a);

#endif
