/* console/judges.c - the rules of alerts: what is watched, from when on it is bad, and from when on it is well again. */
#include "console/alerts.h"

#include <inttypes.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "console/live.h"
#include "telemetry/history.h"
#include "telemetry/ledger.h"

enum { WINDOW = 60 /* seconds of the history that rates are taken over */ };

#define DAY_MS UINT64_C(86400000)
#define GIB (UINT64_C(1) << 30)

static void judge_records(struct alerts *a) {
    const struct admin_house *h = a->admin->house;
    struct store_status s;
    store_status(h->store, &s);
    bool ledger = ledger_is_well(h->ledger);
    if (s.state != STORE_WELL)
        alerts__judge(a, ALERT_RECORDS, SV(""), ON, "the records are %s: %.120s", store_state_name(s.state), s.text);
    else
        alerts__judge(a, ALERT_RECORDS, SV(""), ledger ? OFF : ON, "the ledger cannot keep up; requests of keys are not served");
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
    bool low = a->disk_free < GIB || a->disk_free < a->disk_all / 20, fine = a->disk_free > 2 * GIB && a->disk_free > a->disk_all / 10;
    if (a->disk_all)
        alerts__judge(a, ALERT_DISK, SV(""), low ? ON : fine ? OFF : BETWEEN, "%.1f GiB of %.1f are free on the disk of data_dir", (double)a->disk_free / (double)GIB,
              (double)a->disk_all / (double)GIB);
}

static void judge_endpoints(struct alerts *a) {
    const struct snapshot *s = fleet_snapshot(a->admin->house->fleet);
    for (size_t i = 0; s && i < s->n_endpoints; i++) {
        const struct fleet_endpoint *p = &s->endpoints[i];
        enum sign sign = p->state == FLEET_DOWN ? ON : p->state == FLEET_UP || p->state == FLEET_DEGRADED ? OFF : BETWEEN;
        alerts__judge(a, ALERT_ENDPOINT, p->name, sign, "%.*s is %s: %.*s", SV_FMT(sv_first(p->name, 60)), fleet_state_name(p->state), SV_FMT(sv_first(p->reason, 100)));
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
    bool many = m.requests >= FEW, wrong = many && m.failed * 20 >= m.requests, right = m.failed * 50 < m.requests || m.failed == 0;
    alerts__judge(a, ALERT_ERRORS, SV(""), wrong ? ON : right || !many ? OFF : BETWEEN, "%" PRIu64 " of %" PRIu64 " requests of the last minute failed at a runtime",
          m.failed, m.requests);
    uint64_t p95 = m.n_first >= 5 ? m.sum_p95_ms / m.n_first : 0;
    alerts__judge(a, ALERT_FIRST_TOKEN, SV(""), p95 >= SLOW_MS ? ON : p95 < SLOW_MS / 2 ? OFF : BETWEEN, "the first token takes %.1f s (95th percentile of the last minute)",
          (double)p95 / 1000);
    alerts__judge(a, ALERT_QUEUE, SV(""), m.n >= WINDOW && m.least_queued >= QUEUED ? ON : m.queued == 0 || m.least_queued == 0 ? OFF : BETWEEN,
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
    alerts__judge(a, ALERT_LOGINS, SV(""), lately >= MANY ? ON : lately == 0 ? OFF : BETWEEN, "%" PRIu64 " sign-ins were refused in the last ten minutes", lately);
}

static bool is_used_up(const struct access_key *k) {
    for (unsigned i = 0; i < ACCESS_UNITS * ACCESS_SPANS; i++) {
        struct access_purse *p = &k->cell->purse[i / ACCESS_SPANS][i % ACCESS_SPANS];
        if (k->limits.budget[i / ACCESS_SPANS][i % ACCESS_SPANS] && atomic_load_explicit(&p->spent, memory_order_relaxed) &&
            atomic_load_explicit(&p->left, memory_order_relaxed) <= 0)
            return true;
    }
    return false;
}

static void judge_keys(struct alerts *a) {
    uint64_t now = clock_wall_ms();
    for (const struct access_key *k = NULL; (k = access_next_key(a->admin->house->access, k));) {
        bool ends = k->enabled && k->expires_ms > now && k->expires_ms - now < 3 * DAY_MS;
        if (access_has_budget(k))
            alerts__judge(a, ALERT_BUDGET, k->id, is_used_up(k) ? ON : OFF, "the key \"%.*s\" has used up its budget", SV_FMT(k->name));
        if (ends)
            alerts__judge(a, ALERT_KEY, k->id, ON, "the key \"%.*s\" ends in %" PRIu64 " h", SV_FMT(k->name), (k->expires_ms - now) / 3600000);
    }
}

void alerts__look(struct alerts *a) {
    judge_records(a);
    judge_disk(a);
    judge_endpoints(a);
    judge_traffic(a);
    judge_logins(a);
    judge_keys(a);
}
