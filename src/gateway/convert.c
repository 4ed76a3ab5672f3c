/* gateway/convert.c - a reply on its way: what the client gets of what the runtime sent.
 *
 * Four ways, chosen once when the reply's head is there:
 *   pass       every byte goes on as it came; events are only read along, for the meter
 *   edit       as pass, but usage that nobody asked for is taken out; under opaque names each event is cleaned (hide.c)
 *   translate  each event becomes the events of the client's own API, as soon as it is complete
 *   hold       a whole reply that can only be told once it is complete: translated, cleaned, or an error to be reworded
 * Nothing is held but an unfinished event, or with hold what limits.upstream.reply allows. */
#include "gateway/exchange.h"

#include "llm/peek.h"

enum { FAULT_MAX = 64 << 10 }; /* of an error reply that is reworded, bytes read */

void convert__plan(struct exchange *x) {
    bool told_in_stream = x->started && !x->has_events; /* keep-alives went out already */
    if (x->translate)
        x->way = x->has_events ? WAY_TRANSLATE : WAY_HOLD;
    else if (x->has_events)
        x->way = x->asked_usage || hide__is_on(x) ? WAY_EDIT : WAY_PASS;
    else
        x->way = told_in_stream || (hide__is_on(x) && !hide__may_pass(x)) ? WAY_HOLD : WAY_PASS;
    buf_init(&x->kept, x->reply->status >= 400 ? FAULT_MAX : (size_t)x->config->limits.upstream.reply);
}

/* --- events ------------------------------------------------------------------------------------------------------- */

struct reading { /* one read's events */
    struct exchange *x;
    uint64_t now_us;
    const char *from, *to; /* raw bytes that go on, as long as they stand side by side */
    struct err fault;
};

static void flush(struct reading *r) {
    if (r->from)
        buf_add(&r->x->kept, (struct sv){ r->from, (size_t)(r->to - r->from) });
    r->from = r->to = NULL;
}

static void go_on(struct reading *r, struct sv raw) {
    struct sv held = { r->x->events.held.base, r->x->events.held.cap };
    if (r->from && r->to != raw.p)
        flush(r);
    if (!r->from)
        r->from = raw.p;
    r->to = raw.p + raw.n;
    /* an event put together from several reads lies in the framer's buffer, which is used again: copy it now */
    if (held.p && raw.p >= held.p && raw.p < held.p + held.n)
        flush(r);
}

/* The splices of data, moved to where it lies in raw. */
static void go_on_spliced(struct reading *r, const struct event *ev, struct splice *s, unsigned n) {
    struct sv pieces[PATCH_PIECES];
    for (unsigned i = 0; i < n; i++)
        s[i].at += (uint64_t)(ev->data.p - ev->raw.p);
    n = patch_iov(ev->raw, s, n, pieces);
    for (unsigned i = 0; i < n; i++) {
        bool own = pieces[i].p >= ev->raw.p && pieces[i].p < ev->raw.p + ev->raw.n;
        if (own) {
            go_on(r, pieces[i]);
        } else {
            flush(r);
            buf_add(&r->x->kept, pieces[i]);
        }
    }
}

/* A piece that is none of those is the unfinished end of a stream that was cut off. */
static bool is_too_large(const struct exchange *x, const struct event *ev) {
    return ev->piece && ev->raw.n && x->events.overflow;
}

/* Under opaque names; what is no event (a comment, an unfinished end) says nothing that the client needs. */
static void edit_hidden(struct reading *r, const struct event *ev, unsigned flags) {
    struct exchange *x = r->x;
    if (is_too_large(x, ev)) {
        err_set(&r->fault, ERR_BAD_REPLY, "an event of the stream is too large for its model name to be hidden");
    } else if (flags & METER_ERROR) { /* its words may name the model: told as a fault of our own */
        struct sv response = peek_get(ev->data, SV("response"));
        translate_fault(500, response.n ? response : ev->data, &r->fault);
    } else if (!ev->piece && ev->data.n) {
        hide__event(x, ev, x->asked_usage && (flags & METER_USAGE), &x->kept, &r->fault);
    }
}

static void edit(struct reading *r, const struct event *ev, unsigned flags) {
    struct exchange *x = r->x;
    struct splice s[PATCH_SPLICES];
    unsigned n = 0;
    bool whole = ev->raw.n && ev->data.p >= ev->raw.p && ev->data.p + ev->data.n <= ev->raw.p + ev->raw.n;
    if (x->asked_usage && (flags & METER_USAGE_ONLY))
        return;
    if (hide__is_on(x)) {
        edit_hidden(r, ev, flags);
        return;
    }
    if (whole && x->asked_usage && (flags & METER_USAGE)) /* usage rides on another event: only that member goes */
        n = patch_also_without(ev->data, SV("usage"), s, n);
    if (n)
        go_on_spliced(r, ev, s, n);
    else
        go_on(r, ev->raw);
}

static void on_event(void *arg, const struct event *ev) {
    struct reading *r = arg;
    struct exchange *x = r->x;
    unsigned flags = 0;
    if (r->fault.code != ERR_NONE || x->is_over)
        return;
    if (!ev->comment && !ev->piece && (ev->data.n || ev->name.n)) {
        flags = meter_event(&x->meter, ev->name, ev->data, r->now_us);
        if ((flags & METER_OUTPUT) && x->meter.gap_us && x->itl)
            metrics_gap(x->itl, x->meter.gap_us);
        if ((flags & METER_OUTPUT) && !share__extend(x, &r->fault))
            return;
    }
    if (x->way == WAY_EDIT)
        edit(r, ev, flags);
    else if (x->way == WAY_TRANSLATE && is_too_large(x, ev) && !translate_is_over(x->translate))
        err_limit(&r->fault, LIMIT_UPSTREAM_EVENT, "an event of the stream is larger than limits.upstream.event (%llu bytes)",
                  (unsigned long long)x->config->limits.upstream.event);
    else if (x->way == WAY_TRANSLATE && ev->data.n)
        translate_event(x->translate, ev->name, ev->data, r->now_us, &x->kept, &r->fault);
    x->is_over = x->translate ? translate_is_over(x->translate) : (flags & METER_LAST) != 0;
}

/* What the events came to goes out, in the memory it came in where that is possible. */
static void send_read(struct reading *r) {
    struct exchange *x = r->x;
    struct sv rest = { r->from, r->from ? (size_t)(r->to - r->from) : 0 };
    if (x->kept.n) {
        flush(r);
        rest = buf_sv(&x->kept);
    }
    bool failed = x->kept.failed;
    if (rest.n)
        relay__pass(x, rest);
    buf_reset(&x->kept);
    x->kept.failed = failed;
}

bool convert__events(struct exchange *x, struct sv bytes, bool end, struct err *e) {
    struct reading r = { .x = x, .now_us = loop_now_us(x->g->loop) };
    if (x->way == WAY_PASS)
        relay__pass(x, bytes);
    if (end)
        events_end(&x->events, on_event, &r);
    else
        events_feed(&x->events, bytes, on_event, &r);
    if (end && x->way == WAY_TRANSLATE && r.fault.code == ERR_NONE)
        translate_end(x->translate, r.now_us, &x->kept, &r.fault);
    if (x->way != WAY_PASS)
        send_read(&r);
    if (x->kept.failed && r.fault.code == ERR_NONE) /* something of it is lost: the answer cannot go on as if nothing had happened */
        err_no_memory(&r.fault);
    if (r.fault.code == ERR_NONE)
        return true;
    *e = r.fault;
    return false;
}

/* --- whole replies ------------------------------------------------------------------------------------------------ */

bool convert__hold(struct exchange *x, struct sv bytes, struct err *e) {
    if (buf_add(&x->kept, bytes))
        return true;
    if (x->reply->status >= 400)
        return true; /* its beginning is enough */
    return err_limit(e, LIMIT_UPSTREAM_REPLY, "the reply is larger than limits.upstream.reply (%llu bytes), which it must fit in to be %s",
                     (unsigned long long)x->config->limits.upstream.reply, x->translate ? "translated" : "shown under an opaque name");
}

bool convert__whole(struct exchange *x, struct buf *out, struct err *e) {
    struct sv body = buf_sv(&x->kept);
    if (x->reply->status >= 400) {
        translate_fault(x->reply->status, body, e);
        return false;
    }
    if (x->translate)
        return translate_reply(x->translate, body, loop_now_us(x->g->loop), out, e);
    if (body.n && peek_is_something(peek_get(body, SV("error")))) {
        translate_fault(500, body, e);
        return false;
    }
    return !body.n || hide__json(x, body, false, out, e);
}
