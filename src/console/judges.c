/* console/judges.c - the rules of alerts: what is watched, from when on it is bad, and from when on it is well again. */
#include "console/alerts.h"

#include <inttypes.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "console/live.h"
#include "telemetry/history.h"
#include "telemetry/ledger.h"

enum {
    WINDOW = 60,               /* seconds of the history that rates are taken over */
    CLOCK_FORGET_MS = 3600000, /* a clock that was set is news for so long */
    CLOCK_STEP_MS = 1000,      /* less between two looks is a clock that is led, not set */
};

#define DAY_MS UINT64_C(86400000)
#define GIB (UINT64_C(1) << 30)

struct reading alerts__read(double value, double on, double off) {
    bool is_on = on > off ? value >= on : value <= on, is_off = on > off ? value < off : value > off;
    return (struct reading){ is_on ? ON : is_off ? OFF : BETWEEN, value, on };
}

/* What can only be so or not. */
static struct reading when(bool is_on) {
    return (struct reading){ .sign = is_on ? ON : OFF };
}

static void judge_records(struct alerts *a) {
    const struct admin_house *h = a->admin->house;
    struct store_status s;
    store_status(h->store, &s);
    bool ledger = ledger_is_well(h->ledger);
    if (s.state != STORE_WELL)
        alerts__judge(a, ALERT_RECORDS, SV(""), when(true), "the records are %s: %.120s", store_state_name(s.state), s.text);
    else
        alerts__judge(a, ALERT_RECORDS, SV(""), when(!ledger), "the ledger cannot keep up; requests of keys are not served");
}

static void judge_disk(struct alerts *a) {
    enum { EVERY_MS = 30000 };
    struct statvfs v;
    uint64_t now = loop_now_ms(a->admin->loop);
    char dir[4096];
    if (now >= a->disk_look_ms && sv_to_cstr((*a->admin->house->config)->data_dir, dir, sizeof dir) && statvfs(dir, &v) == 0) {
        a->disk_look_ms = now + EVERY_MS;
        a->disk_free = (uint64_t)v.f_bavail * v.f_frsize;
        a->disk_all = (uint64_t)v.f_blocks * v.f_frsize;
    }
    double twentieth = (double)a->disk_all / 20, least = twentieth > (double)GIB ? twentieth : (double)GIB;
    if (a->disk_all)
        alerts__judge(a, ALERT_DISK, SV(""), alerts__read((double)a->disk_free, least, 2 * least),
                      "%.1f GiB of %.1f are free on the disk of data_dir", (double)a->disk_free / (double)GIB,
                      (double)a->disk_all / (double)GIB);
}

static void judge_endpoints(struct alerts *a) {
    const struct snapshot *s = fleet_snapshot(a->admin->house->fleet);
    for (size_t i = 0; s && i < s->n_endpoints; i++) {
        const struct fleet_endpoint *p = &s->endpoints[i];
        enum sign sign = p->state == FLEET_DOWN ? ON : p->state == FLEET_UP || p->state == FLEET_DEGRADED ? OFF : BETWEEN;
        alerts__judge(a, ALERT_ENDPOINT, p->name, (struct reading){ .sign = sign }, "%.*s is %s: %.*s", SV_FMT(sv_first(p->name, 60)),
                      fleet_state_name(p->state), SV_FMT(sv_first(p->reason, 100)));
    }
}

struct minute {
    uint64_t requests, failed, n, n_first, sum_p95_ms;
    uint32_t least_queued, queued;
};

static struct minute last_minute(const struct history *h) {
    struct minute m = { .least_queued = UINT32_MAX };
    const struct history_point *p;
    unsigned n = 0;
    while (history_at(h, n))
        n++;
    for (unsigned i = n > WINDOW ? n - WINDOW : 0; (p = history_at(h, i)); i++) {
        m.n++;
        m.requests += p->requests;
        m.failed += p->failed;
        m.n_first += p->first_p95_ms > 0;
        m.sum_p95_ms += p->first_p95_ms;
        m.queued = p->queued;
        m.least_queued = p->queued < m.least_queued ? p->queued : m.least_queued;
    }
    return m;
}

static void judge_traffic(struct alerts *a) {
    enum { FEW = 20, QUEUED = 5, SLOW_MS = 10000 };
    struct minute m = last_minute(live_history(a->admin->live));
    double failed = m.requests >= FEW ? (double)m.failed / (double)m.requests : 0;
    alerts__judge(a, ALERT_ERRORS, SV(""), alerts__read(failed, 0.05, 0.02),
                  "%" PRIu64 " of %" PRIu64 " requests of the last minute failed at a runtime", m.failed, m.requests);
    uint64_t p95 = m.n_first >= 5 ? m.sum_p95_ms / m.n_first : 0;
    alerts__judge(a, ALERT_FIRST_TOKEN, SV(""), alerts__read((double)p95, SLOW_MS, SLOW_MS / 2),
                  "the first token takes %.1f s (95th percentile of the last minute)", (double)p95 / 1000);
    bool is_over = m.queued == 0 || m.n < WINDOW;
    alerts__judge(a, ALERT_QUEUE, SV(""), alerts__read(is_over ? 0 : m.least_queued, QUEUED, 1),
                  "at least %u requests have waited for room all through the last minute", m.least_queued);
}

static void judge_logins(struct alerts *a) {
    enum { MANY = 20, TEN_MINUTES_MS = 600000 };
    uint64_t now = loop_now_ms(a->admin->loop), all = people_refused(a->admin->house->people);
    if (now - a->refused_window_ms > TEN_MINUTES_MS) {
        a->refused_window_ms = now;
        a->refused_at_start = all;
    }
    uint64_t lately = all - a->refused_at_start;
    alerts__judge(a, ALERT_LOGINS, SV(""), alerts__read((double)lately, MANY, 1),
                  "%" PRIu64 " sign-ins were refused in the last ten minutes", lately);
}

static void judge_budget(struct alerts *a, const struct access_key *k) {
    double used = access_budget_used(k);
    alerts__judge(a, ALERT_BUDGET, k->id, alerts__read(used, 1, 0.98), "the key \"%.*s\" has used up its budget", SV_FMT(k->name));
    alerts__judge(a, ALERT_BUDGET_NEAR, k->id, alerts__read(used, 0.8, 0.75), "the key \"%.*s\" has used %.0f %% of its budget",
                  SV_FMT(k->name), used * 100);
}

/* Seven days before, and a day more until it is well again. One that has ended is nobody's worry. */
static void judge_end(struct alerts *a, const struct access_key *k, uint64_t now_ms) {
    enum { SOON_H = 7 * 24, WELL_H = 8 * 24 };
    bool ends = k->enabled && k->expires_ms > now_ms;
    uint64_t hours = ends ? (k->expires_ms - now_ms) / 3600000 : WELL_H + 1;
    alerts__judge(a, ALERT_KEY, k->id, alerts__read((double)hours, SOON_H, WELL_H), "the key \"%.*s\" ends in %" PRIu64 " h",
                  SV_FMT(k->name), hours);
}

static void judge_keys(struct alerts *a) {
    uint64_t now = clock_wall_ms();
    for (const struct access_key *k = NULL; (k = access_next_key(a->admin->house->access, k));) {
        if (access_has_budget(k))
            judge_budget(a, k);
        judge_end(a, k, now);
    }
}

int64_t clock_watch_look(struct clock_watch *w, uint64_t wall_ms, uint64_t boot_ms) {
    int64_t ahead = (int64_t)(wall_ms - boot_ms), step = w->has_looked ? ahead - w->ahead_ms : 0;
    w->ahead_ms = ahead;
    w->has_looked = true;
    if (step >= CLOCK_STEP_MS || step <= -CLOCK_STEP_MS) {
        w->moved_ms += step;
        w->moved_at_ms = boot_ms;
    }
    if (boot_ms - w->moved_at_ms > CLOCK_FORGET_MS)
        w->moved_ms = 0;
    return w->moved_ms;
}

static void judge_clock(struct alerts *a) {
    enum { FAR_S = 60, NEAR_S = 30 };
    int64_t moved = clock_watch_look(&a->clock, clock_wall_ms(), clock_boot_ms()) / 1000;
    int64_t far = moved < 0 ? -moved : moved;
    alerts__judge(a, ALERT_CLOCK, SV(""), alerts__read((double)far, FAR_S, NEAR_S),
                  "the clock of this machine was set %s by %" PRId64 " s within the last hour", moved < 0 ? "back" : "forward", far);
}

static void judge_backup(struct alerts *a) {
    enum { OLD_DAYS = 30 };
    uint64_t now = clock_wall_ms(), days = a->backup_ms && now > a->backup_ms ? (now - a->backup_ms) / DAY_MS : 0;
    alerts__judge(a, ALERT_BACKUP, SV(""), alerts__read((double)days, OLD_DAYS, OLD_DAYS - 1),
                  "the newest copy of the records is %" PRIu64 " days old", days);
}

void alerts__look(struct alerts *a) {
    judge_records(a);
    judge_disk(a);
    judge_endpoints(a);
    judge_traffic(a);
    judge_logins(a);
    judge_keys(a);
    judge_clock(a);
    judge_backup(a);
}
