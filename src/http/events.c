/* http/events.c - two steps: find where an event ends, looking at each new byte once; then read its lines.
 *
 * Only line ends matter to the first step, so all it keeps between feeds is whether the present line is empty and
 * whether the last byte was a CR. The second step runs over the event's bytes in one piece: in the feed itself as a
 * rule, in `held` when a feed ended in its middle. A CR that ends a blank line at the very end of a feed dispatches at
 * once; the LF that may follow is then the first raw byte of the next event, and reads as nothing. */
#include "http/events.h"

#include "base/json.h"

void events_init(struct events *s, enum events_kind kind, size_t event_max) {
    *s = (struct events){ .kind = kind, .event_max = event_max };
    buf_init(&s->held, event_max);
    buf_init(&s->joined, event_max);
}

void events_deinit(struct events *s) {
    buf_deinit(&s->held);
    buf_deinit(&s->joined);
}

struct sv events_held(const struct events *s) {
    return buf_sv(&s->held);
}

/* -- reading the lines of one event ------------------------------------------------------------------------------ */

struct lines {
    bool has_data, has_field, has_comment, failed;
};

static void on_data(struct events *s, struct event *ev, struct lines *l, struct sv value) {
    if (!l->has_data) {
        ev->data = value;
        l->has_data = true;
        return;
    }
    if (s->joined.n == 0 && ev->data.n)
        buf_add(&s->joined, ev->data);
    buf_add_char(&s->joined, '\n');
    buf_add(&s->joined, value);
    ev->data = buf_sv(&s->joined);
    l->failed = s->joined.failed;
}

static void on_line(struct events *s, struct event *ev, struct lines *l, struct sv line) {
    if (line.n == 0)
        return;
    if (line.p[0] == ':') {
        l->has_comment = true;
        return;
    }
    l->has_field = true;
    struct sv name, value = line;
    if (!sv_cut(&value, ':', &name)) {
        name = line;
        value = sv_from(line, line.n);
    } else if (value.n && value.p[0] == ' ') {
        value = sv_from(value, 1);
    }
    if (sv_eq(name, SV("data")))
        on_data(s, ev, l, value);
    else if (sv_eq(name, SV("event")))
        ev->name = value;
}

static struct sv cut_line(struct sv *rest) {
    const char *lf = memchr(rest->p, '\n', rest->n), *cr = memchr(rest->p, '\r', lf ? (size_t)(lf - rest->p) : rest->n);
    const char *end = cr ? cr : lf;
    if (!end) {
        struct sv line = *rest;
        *rest = SV_NULL;
        return line;
    }
    struct sv line = { rest->p, (size_t)(end - rest->p) };
    *rest = sv_from(*rest, line.n + 1 + (cr && cr + 1 == lf));
    return line;
}

/* False: several data lines, and no memory to join them. */
static bool read_event(struct events *s, struct sv raw, struct event *ev) {
    struct lines l = { .has_data = false };
    struct sv rest = raw;
    *ev = (struct event){ .raw = raw };
    if (!s->begun && sv_starts(rest, SV("\xef\xbb\xbf")))
        rest = sv_from(rest, 3);
    if (s->kind == EVENTS_NDJSON) {
        while (rest.n && (rest.p[rest.n - 1] == '\n' || rest.p[rest.n - 1] == '\r'))
            rest.n--;
        ev->data = rest;
        return true;
    }
    buf_reset(&s->joined);
    while (rest.n && !l.failed)
        on_line(s, ev, &l, cut_line(&rest));
    ev->comment = l.has_comment && !l.has_field;
    return !l.failed;
}

/* -- delivery ---------------------------------------------------------------------------------------------------- */

static void deliver_piece(struct events *s, struct sv raw, event_cb *cb, void *arg) {
    if (raw.n)
        cb(arg, &(struct event){ .raw = raw, .piece = true });
    s->begun = true;
}

static void deliver(struct events *s, struct sv raw, event_cb *cb, void *arg) {
    struct event ev;
    if (raw.n <= s->event_max && read_event(s, raw, &ev)) {
        cb(arg, &ev);
        s->begun = true;
        return;
    }
    s->overflow = true;
    deliver_piece(s, raw, cb, arg);
}

static void drop_held(struct events *s) {
    if (s->held.cap > 64 << 10) /* do not sit on the room one large event took */
        buf_deinit(&s->held);
    else
        buf_reset(&s->held);
}

/* Makes room for more bytes of the event held; if there is none, what is held goes out and the rest will pass by. */
static bool hold(struct events *s, struct sv more, event_cb *cb, void *arg) {
    if (buf_add(&s->held, more))
        return true;
    s->overflow = true;
    s->passing = true;
    deliver_piece(s, buf_sv(&s->held), cb, arg);
    drop_held(s);
    return false;
}

/* These bytes complete an event. */
static void on_event(struct events *s, struct sv bytes, event_cb *cb, void *arg) {
    if (s->held.n && hold(s, bytes, cb, arg)) {
        deliver(s, buf_sv(&s->held), cb, arg);
        drop_held(s);
    } else if (s->passing) {
        deliver_piece(s, bytes, cb, arg);
        s->passing = false;
    } else {
        deliver(s, bytes, cb, arg);
    }
}

/* These bytes belong to an event that goes on. */
static void on_rest(struct events *s, struct sv bytes, event_cb *cb, void *arg) {
    if (bytes.n && (s->passing || !hold(s, bytes, cb, arg)))
        deliver_piece(s, bytes, cb, arg);
}

/* -- finding the end --------------------------------------------------------------------------------------------- */

/* Behind the blank line that ends the first event in [p, end), or NULL when all of it belongs to an unfinished one.
 * cr: the first CR in [p, end), or end. */
static const char *event_end(struct events *s, const char *p, const char *end, const char **cr) {
    while (p < end) {
        if (s->after_cr) {
            s->after_cr = false;
            if (*p == '\n') {
                p++;
                continue;
            }
        }
        if (*cr < p) {
            *cr = memchr(p, '\r', (size_t)(end - p));
            *cr = *cr ? *cr : end;
        }
        const char *lf = memchr(p, '\n', (size_t)(*cr - p)), *stop = lf ? lf : *cr;
        bool blank = !s->line_open && stop == p;
        if (stop == end) {
            s->line_open = s->line_open || stop > p;
            return NULL;
        }
        p = stop + 1;
        s->line_open = false;
        s->after_cr = !lf;
        if (!blank)
            continue;
        if (s->after_cr && p < end) { /* the LF of a CRLF that is here already belongs to this event */
            s->after_cr = false;
            p += *p == '\n';
        }
        return p;
    }
    return NULL;
}

static const char *line_end(const char *p, const char *end) {
    const char *lf = memchr(p, '\n', (size_t)(end - p));
    return lf ? lf + 1 : NULL;
}

void events_feed(struct events *s, struct sv bytes, event_cb *cb, void *arg) {
    const char *p = bytes.p, *end = p + bytes.n, *to, *cr = NULL;
    if (bytes.n == 0)
        return;
    cr = s->kind == EVENTS_SSE ? memchr(p, '\r', bytes.n) : NULL;
    cr = cr ? cr : end;
    while (p < end) {
        to = s->kind == EVENTS_SSE ? event_end(s, p, end, &cr) : line_end(p, end);
        struct sv part = { p, (size_t)((to ? to : end) - p) };
        if (to)
            on_event(s, part, cb, arg);
        else
            on_rest(s, part, cb, arg);
        p += part.n;
    }
}

static bool is_whole(struct sv data) {
    yyjson_doc *doc = json_parse(data);
    yyjson_doc_free(doc);
    return doc || sv_eq(data, SV("[DONE]"));
}

void events_end(struct events *s, event_cb *cb, void *arg) {
    struct sv raw = buf_sv(&s->held);
    struct event ev;
    if (raw.n && read_event(s, raw, &ev) && is_whole(ev.data))
        cb(arg, &ev);
    else
        deliver_piece(s, raw, cb, arg);
    drop_held(s);
    s->begun = true;
    s->passing = false;
}
