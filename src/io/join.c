#include "io/join.h"

#include "base/mem.h"

enum { QUEUE_MAX = 64 << 10 }; /* bytes towards one side before the other is not read any more */

struct joint {
    struct list all;
    struct joints *of;
    struct half {
        struct joint *joint;
        struct stream *stream, *other;
        bool ended;  /* it sends no more */
        bool is_all; /* its end is the end of both */
    } halves[2];
};

static void joint_free(struct joint *j) {
    list_drop(&j->all);
    j->of->n--;
    stream_close(j->halves[0].stream);
    stream_close(j->halves[1].stream);
    mem_free(j);
}

static void on_read(void *owner, struct sv bytes) {
    struct half *h = owner;
    stream_write1(h->other, bytes);
    if (stream_queued(h->other) > QUEUE_MAX) {
        stream_read(h->stream, false);
        stream_want_drain(h->other);
    }
}

static void on_end(void *owner, const struct err *e) {
    struct half *h = owner;
    struct joint *j = h->joint;
    h->ended = true;
    if (e || h->is_all || (j->halves[0].ended && j->halves[1].ended))
        joint_free(j);
    else
        stream_end(h->other);
}

/* The drained one is the other's other. */
static void on_drain(void *owner) {
    struct half *h = owner;
    struct half *from = &h->joint->halves[h == &h->joint->halves[0]];
    if (!from->ended)
        stream_read(from->stream, true);
}

static const struct stream_events events = { on_read, on_end, on_drain, NULL };

static bool join(struct joints *set, struct stream *a, struct stream *b, bool a_is_all) {
    struct joint *j = mem_new(sizeof *j);
    if (!j) {
        stream_close(a);
        stream_close(b);
        return false;
    }
    j->of = set;
    list_init(&j->all);
    list_push_back(&set->all, &j->all);
    set->n++;
    j->halves[0] = (struct half){ j, a, b, false, a_is_all };
    j->halves[1] = (struct half){ j, b, a, false, false };
    for (int i = 0; i < 2; i++) {
        stream_own(j->halves[i].stream, &events, &j->halves[i]);
        stream_read(j->halves[i].stream, true);
    }
    return true;
}

bool stream_join(struct joints *set, struct stream *a, struct stream *b) {
    return join(set, a, b, false);
}

bool stream_join_user(struct joints *set, struct stream *a, struct stream *b) {
    return join(set, a, b, true);
}

void joints_init(struct joints *j) {
    list_init(&j->all);
    j->n = 0;
}

void joints_deinit(struct joints *j) {
    while (!list_empty(&j->all))
        joint_free(CONTAINER(j->all.next, struct joint, all));
}
