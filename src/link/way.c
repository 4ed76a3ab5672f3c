/* link/way.c - dial: a lane on this loop -> its stream at once; else a socket pair, one end of which goes to the loop of another lane, where it is
 * joined with a stream of that lane. */
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/ready.h"
#include "io/sock.h"
#include "link/way.h"

enum { LANES_MAX = 16, NAME_TEXT = 128 }; /* a link has eight lanes, and a newer one may take over */

struct way {
    struct dialer dialer;
    char name[NAME_TEXT + 1];
    struct { /* any thread, with the lock held; a lane is touched on its own loop alone */
        uv_mutex_t lock;
        struct {
            struct link_host *host;
            struct lane *lane;
        } lanes[LANES_MAX];
        unsigned n, turn;
    } sync;
};

static const struct mux_open http_stream = { .service = SERVICE_HTTP, .priority = PRIORITY_NORMAL };

/* A lane of this loop, or NULL; else *ret_host is the loop of some other lane, or NULL when there is none at all. */
static struct lane *find_lane(struct way *w, const struct loop *l, struct link_host **ret_host) {
    struct lane *found = NULL;
    uv_mutex_lock(&w->sync.lock);
    for (unsigned i = 0; i < w->sync.n && !found; i++)
        if (w->sync.lanes[i].host->loop == l) {
            found = w->sync.lanes[i].lane;
            *ret_host = w->sync.lanes[i].host;
        }
    if (!found)
        *ret_host = w->sync.n ? w->sync.lanes[w->sync.turn++ % w->sync.n].host : NULL;
    uv_mutex_unlock(&w->sync.lock);
    return found;
}

/* --- through another loop ---------------------------------------------------------------------------------------------------------------- */

struct parcel {
    struct msg msg;
    struct way *way;
    struct link_host *host; /* only compared until the way says that a lane still lives there */
    struct loop *loop;
    int fd;
};

static void on_parcel(struct msg *m) {
    struct parcel *p = CONTAINER(m, struct parcel, msg);
    struct link_host *host;
    struct lane *lane = find_lane(p->way, p->loop, &host);
    struct stream *on_lane = lane ? lane_open(lane, &http_stream, NULL) : NULL;
    struct stream *s = on_lane ? sock_stream(p->loop, p->fd, NULL) : NULL;
    if (s)
        stream_join_user(&host->joined, s,
                         on_lane); /* a client that leaves is told by a reset, as on a lane of its own loop */
    else {
        stream_close(on_lane);
        close(p->fd); /* whoever dialled sees an end before the first byte, and may try elsewhere */
    }
    way_unref(p->way);
    mem_free(p);
}

static bool hand_over(struct way *w, struct link_host *host, int fd) {
    struct parcel *p = mem_new(sizeof *p);
    if (!p)
        return false;
    *p = (struct parcel){ .msg.deliver = on_parcel, .way = way_ref(w), .host = host, .loop = host->loop, .fd = fd };
    if (loop_post(p->loop, &p->msg))
        return true;
    way_unref(w);
    mem_free(p);
    return false;
}

static struct stream *open_elsewhere(struct way *w, struct loop *l, struct link_host *host, struct err *e) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
        err_set(e, ERR_UNAVAILABLE, "no more descriptors");
        return NULL;
    }
    struct stream *s = sock_stream(l, fds[0], e);
    if (!s)
        close(fds[0]);
    if (s && hand_over(w, host, fds[1]))
        return s;
    if (s)
        err_no_memory(e);
    stream_close(s);
    close(fds[1]);
    return NULL;
}

/* --- the dialer -------------------------------------------------------------------------------------------------------------------------- */

static struct dial *way_dial(struct dialer *base, struct loop *l, uint64_t timeout_ms, dial_cb *done, void *arg, struct err *e) {
    struct way *w = CONTAINER(base, struct way, dialer);
    struct link_host *host;
    struct lane *lane = find_lane(w, l, &host);
    struct stream *s = NULL;
    (void)timeout_ms;
    if (lane)
        s = lane_open(lane, &http_stream, e);
    else if (host)
        s = open_elsewhere(w, l, host, e);
    else
        err_set(e, ERR_UNAVAILABLE, "node %s has no link to this hub at the moment", w->name);
    return s ? dial_ready(base, l, s, done, arg, e) : NULL;
}

static void way_free(struct dialer *base) {
    struct way *w = CONTAINER(base, struct way, dialer);
    uv_mutex_destroy(&w->sync.lock);
    mem_free(w);
}

static const struct dialer_ops way_ops = { way_dial, dial_ready_cancel, way_free };

void way_add(struct way *w, struct link_host *host, struct lane *lane) {
    uv_mutex_lock(&w->sync.lock);
    if (w->sync.n < LANES_MAX) {
        w->sync.lanes[w->sync.n].host = host;
        w->sync.lanes[w->sync.n++].lane = lane;
    }
    uv_mutex_unlock(&w->sync.lock);
}

void way_remove(struct way *w, const struct lane *lane) {
    uv_mutex_lock(&w->sync.lock);
    for (unsigned i = 0; i < w->sync.n; i++)
        if (w->sync.lanes[i].lane == lane) {
            w->sync.lanes[i] = w->sync.lanes[--w->sync.n];
            break;
        }
    uv_mutex_unlock(&w->sync.lock);
}

struct way *way_new(struct sv name, struct err *e) {
    struct way *w = mem_new(sizeof *w);
    if (!w || !sv_to_cstr(sv_first(name, NAME_TEXT), w->name, sizeof w->name) || uv_mutex_init(&w->sync.lock) != 0) {
        mem_free(w);
        err_no_memory(e);
        return NULL;
    }
    w->dialer.ops = &way_ops;
    atomic_init(&w->dialer.refs, 1);
    return w;
}

struct way *way_ref(struct way *w) {
    dialer_ref(&w->dialer);
    return w;
}

struct way *way_unref(struct way *w) {
    if (w)
        dialer_unref(&w->dialer);
    return NULL;
}

struct dialer *way_dialer(struct way *w) {
    return &w->dialer;
}

unsigned way_lanes(struct way *w) {
    uv_mutex_lock(&w->sync.lock);
    unsigned n = w->sync.n;
    uv_mutex_unlock(&w->sync.lock);
    return n;
}
