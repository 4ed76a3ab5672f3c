/* http/census.c - one locked table of addresses. The allowance of new connections is a GCRA: an entry remembers when its next
 * connection is due (tat) and may run ahead of the clock by a burst. IPv6 addresses count per /64, the smallest network a
 * host can be sure to own. Entries nobody uses any more are dropped when the table is walked, once per SWEEP_US. */
#include "http/census.h"

#include <arpa/inet.h>
#include <pthread.h>

#include "base/map.h"

enum { KEY_MAX = 64, SWEEP_US = 10 * 1000000 };

struct census_entry {
    unsigned n;
    uint64_t tat_us; /* when the allowance is full again */
    size_t len;
    char key[KEY_MAX];
};

struct census {
    pthread_mutex_t lock;
    /* with the lock held */
    struct census_limits limits;
    struct map by_key;
    unsigned n;
    uint64_t swept_us;
};

struct census *census_new(struct err *e) {
    struct census *c = mem_new(sizeof *c);
    if (!c) {
        err_no_memory(e);
        return NULL;
    }
    pthread_mutex_init(&c->lock, NULL);
    map_init(&c->by_key);
    return c;
}

void census_free(struct census *c) {
    if (!c)
        return;
    size_t at = 0;
    for (struct map_entry *m; (m = map_next(&c->by_key, &at));)
        mem_free(m->value);
    map_deinit(&c->by_key);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

void census_set(struct census *c, const struct census_limits *limits) {
    pthread_mutex_lock(&c->lock);
    c->limits = *limits;
    pthread_mutex_unlock(&c->lock);
}

bool census_has_room(struct census *c) {
    pthread_mutex_lock(&c->lock);
    bool room = c->n < c->limits.connections;
    pthread_mutex_unlock(&c->lock);
    return room;
}

unsigned census_count(struct census *c) {
    pthread_mutex_lock(&c->lock);
    unsigned n = c->n;
    pthread_mutex_unlock(&c->lock);
    return n;
}

/* "192.0.2.7" as it is; of an IPv6 address its /64. */
static struct sv key_of(struct sv peer, char key[static KEY_MAX]) {
    struct in6_addr v6;
    if (!sv_to_cstr(peer, key, KEY_MAX))
        return sv_first(peer, KEY_MAX);
    if (sv_find_char(peer, ':') >= 0 && !sv_eq(peer, SV("::1")) && inet_pton(AF_INET6, key, &v6) == 1) {
        memset(v6.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &v6, key, KEY_MAX);
        return sv_of(key);
    }
    return peer;
}

static void sweep(struct census *c, uint64_t now_us) {
    if (now_us - c->swept_us < SWEEP_US)
        return;
    c->swept_us = now_us;
    for (bool dropped = true; dropped;) { /* a deletion moves others: start again */
        dropped = false;
        size_t at = 0;
        for (struct map_entry *m; !dropped && (m = map_next(&c->by_key, &at));) {
            struct census_entry *a = m->value;
            dropped = a->n == 0 && a->tat_us <= now_us;
            if (dropped) {
                map_del(&c->by_key, m->key);
                mem_free(a);
            }
        }
    }
}

static struct census_entry *entry_of(struct census *c, struct sv key) {
    struct census_entry *a = map_get(&c->by_key, key);
    if (a)
        return a;
    a = mem_new(sizeof *a);
    if (!a)
        return NULL;
    a->len = key.n;
    memcpy(a->key, key.p, key.n);
    if (map_put(&c->by_key, (struct sv){ a->key, a->len }, a))
        return a;
    mem_free(a);
    return NULL;
}

/* Whether a new connection is due; counts it if so. */
static bool take_allowance(struct census_entry *a, unsigned per_s, unsigned burst, uint64_t now_us) {
    uint64_t gap = 1000000 / (per_s ? per_s : 1), from = a->tat_us > now_us ? a->tat_us : now_us;
    if (from - now_us > gap * (burst ? burst - 1 : 0))
        return false;
    a->tat_us = from + gap;
    return true;
}

struct census_entry *census_enter(struct census *c, struct sv peer, uint64_t now_us, enum err_limit *ret_limit) {
    char space[KEY_MAX];
    struct sv key = key_of(peer, space);
    bool loopback = sv_starts(peer, SV("127.")) || sv_eq(peer, SV("::1"));
    *ret_limit = LIMIT_NONE;
    pthread_mutex_lock(&c->lock);
    const struct census_limits *l = &c->limits;
    sweep(c, now_us);
    struct census_entry *a = entry_of(c, key);
    if (a && c->n >= l->connections)
        *ret_limit = LIMIT_CONN_MAX;
    else if (a && a->n >= (loopback ? l->per_loopback : l->per_address))
        *ret_limit = loopback ? LIMIT_CONN_LOOPBACK : LIMIT_CONN_ADDRESS;
    else if (a && !take_allowance(a, loopback ? l->new_loopback_per_s : l->new_per_s, loopback ? l->new_loopback_burst : l->new_burst,
                                  now_us))
        *ret_limit = loopback ? LIMIT_CONN_NEW_LOOPBACK : LIMIT_CONN_NEW_ADDRESS;
    else if (a)
        a->n++, c->n++;
    pthread_mutex_unlock(&c->lock);
    return *ret_limit ? NULL : a;
}

void census_leave(struct census *c, struct census_entry *a, uint64_t now_us) {
    pthread_mutex_lock(&c->lock);
    c->n--;
    if (--a->n == 0 && a->tat_us <= now_us) {
        map_del(&c->by_key, (struct sv){ a->key, a->len });
        mem_free(a);
    }
    pthread_mutex_unlock(&c->lock);
}
