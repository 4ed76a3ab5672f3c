/* access/cell.c - shares of a key's limits, taken and given back by all threads at once.
 *
 * Rates follow the generic cell rate algorithm: one number says when all of the rate will be free again; taking a share moves
 * it into the future, at most as far as the burst allows. A budget is a purse of what the store has leased. */
#include "access/crowd.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/money.h"

#define MINUTE_NS 60000000000ull

struct access_cell *access_cell_new(void) {
    struct access_cell *c = mem_new(sizeof *c);
    if (c)
        atomic_init(&c->refs, 1);
    return c;
}

struct access_cell *access_cell_ref(struct access_cell *c) {
    if (c)
        atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

struct access_cell *access_cell_unref(struct access_cell *c) {
    if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
        mem_free(c);
    return NULL;
}

/* --- rates -------------------------------------------------------------------------------------------------------- */

/* Nanoseconds that n of so many per minute take. */
static uint64_t share_ns(uint64_t n, uint64_t per_min) {
    return (uint64_t)((unsigned __int128)n * MINUTE_NS / per_min);
}

/* Moves *free_ns by share, if it stays within burst of now. False: *ret_wait_ns is how long until it would. */
static bool rate_take(_Atomic uint64_t *free_ns, uint64_t share, uint64_t burst, uint64_t now_ns, uint64_t *ret_wait_ns) {
    uint64_t was = atomic_load_explicit(free_ns, memory_order_relaxed), next;
    do {
        next = (was > now_ns ? was : now_ns) + share;
        if (next - now_ns > burst) {
            *ret_wait_ns = next - now_ns - burst;
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(free_ns, &was, next, memory_order_relaxed, memory_order_relaxed));
    return true;
}

static uint64_t request_burst(const struct access_limits *l) {
    return share_ns(l->requests_burst ? l->requests_burst : 1, l->requests_per_min);
}

static bool over_rate(struct err *e, enum err_limit which, uint64_t wait_ns, const char *what, uint64_t limit) {
    uint64_t s = (wait_ns + 999999999u) / 1000000000u;
    err_limit(e, which, "this key's limit of %" PRIu64 " %s per minute is reached; try again in %" PRIu64 " s", limit, what, s);
    e->retry_after_s = s < UINT32_MAX ? (uint32_t)s : UINT32_MAX;
    return false;
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

bool access_begin(struct access_hold *h, const struct access_key *k, uint64_t now_us, uint64_t wall_ms, struct err *e) {
    uint64_t wait;
    *h = (struct access_hold){ 0 };
    if (!k)
        return true;
    struct access_cell *c = k->cell;
    const struct access_limits *l = &k->limits;
    if (atomic_load_explicit(&c->revoked, memory_order_relaxed))
        return err_set(e, ERR_AUTH, "this key has been revoked");
    uint32_t others = atomic_fetch_add_explicit(&c->in_flight, 1, memory_order_relaxed);
    bool ok = !l->concurrent || others < l->concurrent;
    if (!ok) {
        err_limit(e, LIMIT_KEY_CONCURRENT, "this key's limit of %u requests at one time is reached", l->concurrent);
        e->retry_after_s = 1;
    } else if (l->requests_per_min && !rate_take(&c->request_free_ns, share_ns(1, l->requests_per_min), request_burst(l),
                                                 now_us * 1000, &wait)) {
        ok = over_rate(e, LIMIT_KEY_REQUESTS, wait, "requests", l->requests_per_min);
    }
    if (!ok) {
        atomic_fetch_sub_explicit(&c->in_flight, 1, memory_order_relaxed);
        return false;
    }
    atomic_store_explicit(&c->used_ms, wall_ms, memory_order_relaxed);
    h->cell = access_cell_ref(c);
    h->limits = l;
    h->is_counted = true;
    return true;
}

void access_end(struct access_hold *h) {
    if (h->is_reserved)
        access_settle(h, 0, 0);
    if (h->is_counted)
        atomic_fetch_sub_explicit(&h->cell->in_flight, 1, memory_order_relaxed);
    h->is_counted = false;
    h->cell = access_cell_unref(h->cell);
}

/* --- tokens and money --------------------------------------------------------------------------------------------- */

static const char *const span_names[] = { "today", "this month" };

static enum access_reserved purse_take(struct access_purse *p, int64_t n) {
    int64_t left = atomic_load_explicit(&p->left, memory_order_relaxed);
    do {
        if (left < n && atomic_load_explicit(&p->spent, memory_order_relaxed))
            return ACCESS_REFUSED;
        if (left < n) {
            int64_t wanted = atomic_load_explicit(&p->wanted, memory_order_relaxed);
            while (wanted < n && !atomic_compare_exchange_weak_explicit(&p->wanted, &wanted, n, memory_order_relaxed, memory_order_relaxed))
                ;
            return ACCESS_LATER;
        }
    } while (!atomic_compare_exchange_weak_explicit(&p->left, &left, left - n, memory_order_relaxed, memory_order_relaxed));
    return ACCESS_RESERVED;
}

/* Only into the span it was taken from: a purse filled anew has forgotten what went before. */
static void purse_give(struct access_hold *h, unsigned unit, unsigned span, int64_t n) {
    if (atomic_load_explicit(&h->cell->span_no[span], memory_order_relaxed) == h->span_no[span])
        atomic_fetch_add_explicit(&h->cell->purse[unit][span].left, n, memory_order_relaxed);
}

static bool take_rate(struct access_hold *h, int64_t tokens, uint64_t now_us, struct err *e) {
    uint64_t limit = h->limits->tokens_per_min, n = (uint64_t)tokens, wait;
    if (!limit)
        return true;
    n = n < limit ? n : limit; /* one that is larger than a minute's worth takes the whole minute */
    if (!rate_take(&h->cell->tokens_free_ns, share_ns(n, limit), MINUTE_NS, now_us * 1000, &wait))
        return over_rate(e, LIMIT_KEY_TOKENS, wait, "tokens", limit);
    h->rate_tokens = (int64_t)n;
    return true;
}

/* Moves the rate by what it was taken for too much or too little. */
static void mend_rate(struct access_hold *h, int64_t tokens) {
    int64_t more = tokens - h->rate_tokens;
    if (!h->limits->tokens_per_min || more == 0)
        return;
    uint64_t ns = share_ns((uint64_t)(more < 0 ? -more : more), h->limits->tokens_per_min);
    if (more < 0)
        atomic_fetch_sub_explicit(&h->cell->tokens_free_ns, ns, memory_order_relaxed);
    else
        atomic_fetch_add_explicit(&h->cell->tokens_free_ns, ns, memory_order_relaxed);
}

static const char *amount(unsigned unit, int64_t n, char text[static MONEY_TEXT]) {
    if (unit == ACCESS_MONEY)
        return money_text(n, text);
    snprintf(text, MONEY_TEXT, "%" PRId64, n);
    return text;
}

static enum access_reserved over_budget(struct access_hold *h, unsigned unit, unsigned span, int64_t n, struct err *e) {
    int64_t left = atomic_load_explicit(&h->cell->purse[unit][span].left, memory_order_relaxed);
    char left_text[MONEY_TEXT], all_text[MONEY_TEXT], n_text[MONEY_TEXT];
    bool is_money = unit == ACCESS_MONEY;
    err_set(e, ERR_BUDGET, "this key's budget%s has %s%s left %s (of %s), and this request may take %s; lower its output limit, or wait "
            "for the next %s", is_money ? " of money" : "", amount(unit, left, left_text), is_money ? "" : " tokens", span_names[span],
            amount(unit, (int64_t)h->limits->budget[unit][span], all_text), amount(unit, n, n_text),
            span == ACCESS_DAY ? "day (UTC)" : "month");
    return ACCESS_REFUSED;
}

/* All or nothing. */
static enum access_reserved take_budgets(struct access_hold *h, const int64_t want[static ACCESS_UNITS], struct err *e) {
    for (unsigned i = 0; i < ACCESS_UNITS * ACCESS_SPANS; i++) {
        unsigned unit = i / ACCESS_SPANS, span = i % ACCESS_SPANS;
        if (!h->limits->budget[unit][span] || !want[unit])
            continue;
        enum access_reserved got = purse_take(&h->cell->purse[unit][span], want[unit]);
        if (got == ACCESS_RESERVED)
            continue;
        if (got == ACCESS_REFUSED)
            over_budget(h, unit, span, want[unit], e);
        for (unsigned back = 0; back < i; back++)
            if (h->limits->budget[back / ACCESS_SPANS][back % ACCESS_SPANS])
                purse_give(h, back / ACCESS_SPANS, back % ACCESS_SPANS, want[back / ACCESS_SPANS]);
        return got;
    }
    for (unsigned unit = 0; unit < ACCESS_UNITS; unit++)
        h->taken[unit] += want[unit];
    return ACCESS_RESERVED;
}

enum access_reserved access_reserve(struct access_hold *h, int64_t tokens, int64_t money, uint64_t now_us, struct err *e) {
    const int64_t want[ACCESS_UNITS] = { tokens > 0 ? tokens : 0, money > 0 ? money : 0 };
    if (!h->cell || h->is_reserved)
        return ACCESS_RESERVED;
    for (unsigned span = 0; span < ACCESS_SPANS; span++)
        h->span_no[span] = atomic_load_explicit(&h->cell->span_no[span], memory_order_acquire);
    enum access_reserved got = take_budgets(h, want, e);
    if (got != ACCESS_RESERVED)
        return got;
    h->is_reserved = true;
    if (take_rate(h, want[ACCESS_TOKENS], now_us, e))
        return ACCESS_RESERVED;
    access_settle(h, 0, 0);
    return ACCESS_REFUSED;
}

enum access_reserved access_extend(struct access_hold *h, int64_t tokens, int64_t money, struct err *e) {
    int64_t more[ACCESS_UNITS] = { tokens - h->taken[ACCESS_TOKENS], money - h->taken[ACCESS_MONEY] };
    for (unsigned unit = 0; unit < ACCESS_UNITS; unit++)
        more[unit] = more[unit] > 0 ? more[unit] : 0;
    return h->cell && h->is_reserved ? take_budgets(h, more, e) : ACCESS_RESERVED;
}

void access_settle(struct access_hold *h, int64_t tokens, int64_t money) {
    const int64_t was[ACCESS_UNITS] = { tokens > 0 ? tokens : 0, money > 0 ? money : 0 };
    if (!h->cell || !h->is_reserved)
        return;
    for (unsigned unit = 0; unit < ACCESS_UNITS; unit++)
        for (unsigned span = 0; span < ACCESS_SPANS; span++)
            if (h->limits->budget[unit][span])
                purse_give(h, unit, span, h->taken[unit] - was[unit]);
    mend_rate(h, was[ACCESS_TOKENS]);
    h->is_reserved = false;
    h->rate_tokens = 0;
    memset(h->taken, 0, sizeof h->taken);
}

/* --- what is left ------------------------------------------------------------------------------------------------- */

static uint64_t ahead_ns(const _Atomic uint64_t *free_ns, uint64_t now_ns) {
    uint64_t at = atomic_load_explicit(free_ns, memory_order_relaxed);
    return at > now_ns ? at - now_ns : 0;
}

void access_room(const struct access_hold *h, uint64_t now_us, struct access_room *ret) {
    const struct access_limits *l = h->limits;
    *ret = (struct access_room){ 0 };
    if (h->cell && l->requests_per_min) {
        uint64_t ahead = ahead_ns(&h->cell->request_free_ns, now_us * 1000), burst = request_burst(l), one = share_ns(1, l->requests_per_min);
        ret->requests_limit = l->requests_per_min;
        ret->requests_left = ahead < burst ? (burst - ahead) / one : 0;
        ret->requests_reset_ms = ahead / 1000000;
    }
    if (h->cell && l->tokens_per_min) {
        uint64_t ahead = ahead_ns(&h->cell->tokens_free_ns, now_us * 1000);
        ret->tokens_limit = l->tokens_per_min;
        ret->tokens_left = ahead < MINUTE_NS ? (uint64_t)((unsigned __int128)(MINUTE_NS - ahead) * l->tokens_per_min / MINUTE_NS) : 0;
        ret->tokens_reset_ms = ahead / 1000000;
    }
}

/* --- wrong credentials -------------------------------------------------------------------------------------------- */

struct sv access__place(struct sv peer, uint8_t half[static 8]) {
    uint8_t v6[16];
    char text[INET6_ADDRSTRLEN];
    if (sv_find_char(peer, ':') < 0 || !sv_to_cstr(peer, text, sizeof text) || inet_pton(AF_INET6, text, v6) != 1)
        return peer;
    memcpy(half, v6, 8);
    return (struct sv){ (const char *)half, 8 };
}

void access_guard_count(struct access_guard *g, struct sv peer, uint64_t now_us, struct err *e) {
    enum { FAULTS = 20, MINUTES = 10 };
    uint64_t wait, share = MINUTES * MINUTE_NS / FAULTS;
    uint8_t half[8];
    if (sv_eq(peer, SV("unix")))
        return;
    if (rate_take(&g->free_ns[hash_sv(access__place(peer, half)) % ACCESS_GUARD_SLOTS], share, FAULTS * share, now_us * 1000, &wait))
        return;
    err_set(e, ERR_LIMIT, "too many wrong keys from this address; try again later");
    e->retry_after_s = (uint32_t)(wait / 1000000000u) + 1;
}
