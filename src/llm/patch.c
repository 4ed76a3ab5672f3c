#include "llm/patch.h"

#include "llm/peek.h"
#include "llm/scan.h"

static char *put(char *to, struct sv v) {
    memcpy(to, v.p, v.n);
    return to + v.n;
}

/* A JSON string; bytes above 0x7f pass as they are, because a model id comes from a runtime's own JSON. */
static char *put_json(char *to, struct sv v) {
    static const char hex[] = "0123456789abcdef";
    *to++ = '"';
    for (size_t i = 0; i < v.n; i++) {
        unsigned char c = (unsigned char)v.p[i];
        if (c == '"' || c == '\\') {
            *to++ = '\\';
            *to++ = (char)c;
        } else if (c < 0x20 || c == 0x7f) {
            to = put(to, SV("\\u00"));
            *to++ = hex[c >> 4];
            *to++ = hex[c & 15];
        } else {
            *to++ = (char)c;
        }
    }
    *to++ = '"';
    return to;
}

/* New members go in front of all others, in one insert. */
struct head {
    char *from, *at;
};

static void head_member(struct head *h, struct sv name) {
    if (h->at > h->from)
        *h->at++ = ',';
    h->at = put(h->at, name);
}

static bool wants_model(const struct scan *s, const struct patch *want) {
    return want->model.p && want->model.n <= PATCH_MODEL_MAX &&
           !(s->model_state == SCAN_MODEL_OK && sv_eq(want->model, (struct sv){ s->model, s->model_len }));
}

/* Where the present stream_options let usage be switched on; false: nothing to do there (a wrong type is the
 * client's). */
static bool usage_splice(const struct scan *s, struct splice *out) {
    if (s->stream_options_open && s->include_usage_raw.n) {
        *out = (struct splice){ s->include_usage_raw.at, s->include_usage_raw.n, SV("true") };
        return s->include_usage != SCAN_TRUE;
    }
    if (s->stream_options_open) {
        struct sv member = SV("\"include_usage\":true,");
        member.n -= s->stream_options_empty; /* no comma */
        *out = (struct splice){ s->stream_options_open, 0, member };
        return true;
    }
    *out = (struct splice){ s->stream_options.at, s->stream_options.n, SV("{\"include_usage\":true}") };
    return s->stream_options_kind == SCAN_NULL;
}

unsigned patch_body(const struct scan *s, const struct patch *want, struct splice out[static PATCH_SPLICES],
                    char *scratch) {
    struct head h = { scratch, scratch };
    struct splice model = { .remove = 0 }, usage = { .remove = 0 };
    char *text = scratch + 64; /* behind what head_member may write for usage alone */
    bool has_model = false, has_usage = false;
    unsigned n = 0;

    if (want->include_usage) {
        if (s->stream_options.n)
            has_usage = usage_splice(s, &usage);
        else
            head_member(&h, SV("\"stream_options\":{\"include_usage\":true}"));
    }
    if (wants_model(s, want)) {
        has_model = s->model_raw.n > 0;
        if (has_model) {
            struct sv id = { text, (size_t)(put_json(text, want->model) - text) };
            model = (struct splice){ s->model_raw.at, s->model_raw.n, id };
        } else {
            head_member(&h, SV("\"model\":"));
            h.at = put_json(h.at, want->model);
        }
    }
    if (h.at > h.from) {
        if (!s->empty)
            *h.at++ = ',';
        out[n++] = (struct splice){ s->open, 0, { h.from, (size_t)(h.at - h.from) } };
    }
    bool model_first = !has_usage || model.at < usage.at;
    if (has_model && model_first)
        out[n++] = model;
    if (has_usage)
        out[n++] = usage;
    if (has_model && !model_first)
        out[n++] = model;
    return n;
}

uint64_t patch_length(uint64_t total, const struct splice *splices, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        total = total - splices[i].remove + splices[i].insert.n;
    return total;
}

static unsigned piece(struct sv *pieces, unsigned n, const char *p, uint64_t len) {
    if (len)
        pieces[n++] = (struct sv){ p, (size_t)len };
    return n;
}

unsigned patch_part(struct sv body, uint64_t from, bool last, const struct splice *splices, unsigned n,
                    struct sv *pieces) {
    uint64_t pos = from, end = from + body.n;
    unsigned n_pieces = 0;
    for (unsigned i = 0; i < n && (splices[i].at < end || (last && splices[i].at == end)); i++) {
        if (splices[i].at >= from) {
            n_pieces = piece(pieces, n_pieces, body.p + (pos - from), splices[i].at - pos);
            n_pieces = piece(pieces, n_pieces, splices[i].insert.p, splices[i].insert.n);
        }
        uint64_t after = splices[i].at + splices[i].remove;
        if (after > pos)
            pos = after < end ? after : end;
    }
    return piece(pieces, n_pieces, body.p + (pos - from), end - pos);
}

unsigned patch_iov(struct sv body, const struct splice *splices, unsigned n, struct sv *pieces) {
    return patch_part(body, 0, true, splices, n, pieces);
}

static unsigned put_in_order(struct splice *s, unsigned n, struct splice one) {
    unsigned i = n;
    for (; i && s[i - 1].at > one.at; i--)
        s[i] = s[i - 1];
    s[i] = one;
    return n + 1;
}

unsigned patch_merge(struct splice *out, unsigned n, const struct splice *more, unsigned n_more) {
    for (unsigned i = 0; i < n_more; i++)
        n = put_in_order(out, n, more[i]);
    return n;
}

unsigned patch_also_without(struct sv object, struct sv name, struct splice s[static PATCH_SPLICES], unsigned n) {
    struct peek c;
    struct sv member, value;
    const char *before = NULL; /* end of the value in front */
    if (!peek_open(&c, object, '{'))
        return n;
    for (; peek_member(&c, &member, &value); before = value.p + value.n) {
        if (!sv_eq(member, name))
            continue;
        /* With its comma: the one in front, or, for the first member, the one behind (c.p stands on what follows). */
        const char *from = before ? before : member.p - 1, *to = before ? value.p + value.n : c.p;
        return put_in_order(s, n, (struct splice){ (uint64_t)(from - object.p), (uint64_t)(to - from), SV_NULL });
    }
    return n;
}
