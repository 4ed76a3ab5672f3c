#include "io/ready.h"

#include "base/mem.h"

struct dial {
    struct dialer *dialer;
    struct stream *stream;
    struct loop_flush soon;
    dial_cb *done;
    void *arg;
};

static void on_soon(struct loop_flush *f) {
    struct dial *a = CONTAINER(f, struct dial, soon);
    struct stream *s = a->stream;
    dial_cb *done = a->done;
    void *arg = a->arg;
    dialer_unref(a->dialer);
    mem_free(a);
    done(arg, s, NULL);
}

struct dial *dial_ready(struct dialer *d, struct loop *l, struct stream *s, dial_cb *done, void *arg, struct err *e) {
    struct dial *a = mem_new(sizeof *a);
    if (!a) {
        stream_close(s);
        err_no_memory(e);
        return NULL;
    }
    *a = (struct dial){ .dialer = dialer_ref(d), .stream = s, .soon.run = on_soon, .done = done, .arg = arg };
    list_init(&a->soon.dirty);
    loop_flush_later(l, &a->soon);
    return a;
}

void dial_ready_cancel(struct dial *a) {
    list_drop(&a->soon.dirty);
    stream_close(a->stream);
    dialer_unref(a->dialer);
    mem_free(a);
}
