/* fleet/line.c - a list in the order of start tags, and the shares of those it is made of.
 *
 * A list, not a heap: it is as long as gateway.park_max allows, newcomers mostly belong at its end, and a place in it can be
 * told. A share is forgotten when it says no more than the present does, and all are when nobody waits any more. */
#include "fleet/line.h"

#include <assert.h>

enum { PACE_WEIGHT = 8 }; /* the newest measurement counts 1/8 */

/* What a principal has used of its share. */
struct flow {
    struct list all;
    uint64_t who;
    uint64_t finish; /* where its last seat ends, or the one granted last */
    unsigned n;      /* seats */
};

void line_init(struct line *l) {
    *l = (struct line){ 0 };
    list_init(&l->seats);
    list_init(&l->flows);
}

static void flow_forget(struct line *l, struct flow *f) {
    l->n_idle -= f->n == 0;
    list_drop(&f->all);
    mem_free(f);
}

void line_deinit(struct line *l) {
    LIST_FOR_SAFE(it, &l->flows)
        flow_forget(l, CONTAINER(it, struct flow, all));
}

static bool is_past(const struct line *l, const struct flow *f) {
    return f->n == 0 && f->finish <= l->now;
}

/* Forgets on the way whoever can be. */
static struct flow *flow_of(struct line *l, uint64_t who) {
    struct flow *found = NULL;
    LIST_FOR_SAFE(it, &l->flows) {
        struct flow *f = CONTAINER(it, struct flow, all);
        if (f->who == who)
            found = f;
        else if (is_past(l, f))
            flow_forget(l, f);
    }
    if (!found && (found = mem_new(sizeof *found))) {
        found->who = who;
        list_push_back(&l->flows, &found->all);
        l->n_idle++;
    }
    return found;
}

/* Past the bound, the one whose turn is over first: that changes least. */
static void bound_idle(struct line *l) {
    struct flow *least = NULL;
    if (l->n_idle <= LINE_IDLE_MAX)
        return;
    LIST_FOR(it, &l->flows) {
        struct flow *f = CONTAINER(it, struct flow, all);
        if (f->n == 0 && (!least || f->finish < least->finish))
            least = f;
    }
    assert(least);
    flow_forget(l, least);
}

bool line_enter(struct line *l, struct seat *s, uint64_t who, uint32_t cost) {
    struct flow *f = flow_of(l, who);
    if (!f)
        return false;
    l->n_idle -= f->n == 0;
    f->n++;
    l->n++;
    s->flow = f;
    s->cost = cost;
    s->start = f->finish > l->now ? f->finish : l->now;
    f->finish = s->start + cost;
    struct list *at = &l->seats;
    while (at->prev != &l->seats && CONTAINER(at->prev, struct seat, in_line)->start > s->start)
        at = at->prev;
    list_init(&s->in_line);
    list_push_back(at, &s->in_line);
    s->place = l->n;
    l->is_counted = l->is_counted && at == &l->seats;
    return true;
}

static void get_up(struct line *l, struct seat *s) {
    struct flow *f = s->flow;
    list_drop(&s->in_line);
    s->flow = NULL;
    l->is_counted = false;
    l->n--;
    l->n_idle += --f->n == 0;
    if (l->n == 0) {
        line_deinit(l);
        l->now = 0;
        return;
    }
    if (is_past(l, f))
        flow_forget(l, f);
    bound_idle(l);
}

void line_grant(struct line *l, struct seat *s) {
    if (s->start > l->now)
        l->now = s->start;
    get_up(l, s);
}

/* b, later in line, takes a's turn, and a takes b's. */
static void change_turns(struct seat *a, struct seat *b) {
    struct list *behind = b->in_line.next;
    uint64_t start = a->start;
    a->start = b->start;
    b->start = start;
    list_drop(&b->in_line);
    list_push_back(&a->in_line, &b->in_line); /* in front of a */
    list_drop(&a->in_line);
    list_push_back(behind, &a->in_line);
}

void line_leave(struct line *l, struct seat *s) {
    for (struct list *it = s->in_line.next, *next; it != &l->seats; it = next) {
        struct seat *other = CONTAINER(it, struct seat, in_line);
        next = it->next;
        if (other->flow == s->flow)
            change_turns(s, other);
    }
    s->flow->finish = s->start; /* its principal's last turn was never taken */
    get_up(l, s);
}

struct seat *line_first(const struct line *l) {
    return list_empty(&l->seats) ? NULL : CONTAINER(l->seats.next, struct seat, in_line);
}

unsigned line_place(struct line *l, struct seat *s) {
    unsigned n = 0;
    if (!l->is_counted)
        LIST_FOR(it, &l->seats)
            CONTAINER(it, struct seat, in_line)->place = ++n;
    l->is_counted = true;
    return s->place;
}

void line_moved(struct line *l, uint64_t took_us) {
    l->pace_us = l->pace_us ? (l->pace_us * (PACE_WEIGHT - 1) + took_us) / PACE_WEIGHT : took_us;
}
