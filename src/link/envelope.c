#include "link/envelope.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rand.h"

enum { FEW_MEMBERS = 16 }; /* up to here comparing all pairs is cheapest */

#define X(id, name, dir, cls, phases) { name, dir, cls, phases },
static const struct {
    const char *name;
    unsigned dir;
    enum link_class cls;
    unsigned phases;
} kinds[] = { LINK_KINDS(X) };
#undef X
#define X(id, name) name,
static const char *const faults[] = { LINK_FAULTS(X) };
#undef X

const char *link_kind_name(enum link_kind k) {
    return kinds[k].name;
}
enum link_class link_kind_class(enum link_kind k) {
    return kinds[k].cls;
}
unsigned link_kind_phases(enum link_kind k) {
    return kinds[k].phases;
}
const char *link_fault_name(enum link_fault f) {
    return faults[f];
}

static bool fault(struct envelope_fault *f, enum link_fault code, const char *path, const char *text) {
    f->code = code;
    snprintf(f->path, sizeof f->path, "%s", path);
    snprintf(f->text, sizeof f->text, "%s", text);
    return false;
}

/* --- shape ------------------------------------------------------------------------------------------------------------------------------ */

struct walk {
    struct envelope_fault *fault;
    unsigned n_values;
};

static bool has_twins(yyjson_val *obj, bool *ret_twins) {
    yyjson_obj_iter it, other;
    struct map seen;
    bool ok = true;
    *ret_twins = false;
    if (yyjson_obj_size(obj) <= FEW_MEMBERS) {
        yyjson_obj_iter_init(obj, &it);
        for (yyjson_val *k; (k = yyjson_obj_iter_next(&it));) {
            other = it;
            for (yyjson_val *o; (o = yyjson_obj_iter_next(&other));)
                *ret_twins = *ret_twins || sv_eq(json_sv(k), json_sv(o));
        }
        return true;
    }
    map_init(&seen);
    yyjson_obj_iter_init(obj, &it);
    for (yyjson_val *k; ok && !*ret_twins && (k = yyjson_obj_iter_next(&it));) {
        *ret_twins = map_get(&seen, json_sv(k)) != NULL;
        ok = *ret_twins || map_put(&seen, json_sv(k), k);
    }
    map_deinit(&seen);
    return ok;
}

static bool walk_value(struct walk *w, yyjson_val *v, unsigned depth) {
    bool twins = false;
    if (++w->n_values > ENVELOPE_VALUES)
        return fault(w->fault, FAULT_TOO_LARGE, "", "more than 65536 values");
    if (yyjson_is_str(v) && yyjson_get_len(v) > ENVELOPE_STRING)
        return fault(w->fault, FAULT_TOO_LARGE, "", "a string of more than 64 KiB");
    if (!yyjson_is_ctn(v))
        return true;
    if (depth > ENVELOPE_DEPTH)
        return fault(w->fault, FAULT_TOO_DEEP, "", "nested more than 16 deep");
    if (yyjson_is_arr(v)) {
        yyjson_arr_iter it;
        yyjson_arr_iter_init(v, &it);
        for (yyjson_val *one; (one = yyjson_arr_iter_next(&it));)
            if (!walk_value(w, one, depth + 1))
                return false;
        return true;
    }
    if (!has_twins(v, &twins))
        return fault(w->fault, FAULT_INTERNAL, "", "out of memory");
    if (twins)
        return fault(w->fault, FAULT_DUPLICATE_MEMBER, "", "a member stands twice in one object");
    yyjson_obj_iter it;
    yyjson_obj_iter_init(v, &it);
    for (yyjson_val *k; (k = yyjson_obj_iter_next(&it));)
        if (yyjson_get_len(k) > ENVELOPE_STRING || !walk_value(w, yyjson_obj_iter_get_val(k), depth + 1))
            return w->fault->code ? false : fault(w->fault, FAULT_TOO_LARGE, "", "a name of more than 64 KiB");
    return true;
}

/* --- the envelope ----------------------------------------------------------------------------------------------------------------------- */

static bool is_low(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool link_is_ident(struct sv v) {
    if (v.n < 1 || v.n > LINK_IDENT_MAX || !is_low(v.p[0]) || !is_low(v.p[v.n - 1]))
        return false;
    for (size_t i = 0; i < v.n; i++)
        if (!is_low(v.p[i]) && v.p[i] != '.' && v.p[i] != '_' && v.p[i] != '-')
            return false;
    return true;
}

static bool is_message_id(struct sv v) {
    if (v.n < 1 || v.n >= ENVELOPE_ID)
        return false;
    for (size_t i = 0; i < v.n; i++)
        if (!is_low((char)(v.p[i] | 0x20)) && v.p[i] != '.' && v.p[i] != '_' && v.p[i] != ':' && v.p[i] != '-')
            return false;
    return true;
}

static bool is_kind_name(struct sv v) {
    if (v.n < 1 || v.n > 48 || v.p[0] < 'a' || v.p[0] > 'z')
        return false;
    for (size_t i = 0; i < v.n; i++)
        if (!is_low(v.p[i]) && v.p[i] != '_')
            return false;
    return true;
}

/* An optional member that is a string of this look, or null. */
static bool read_id(yyjson_val *root, const char *name, bool (*is)(struct sv v), bool needed, struct sv *ret, struct envelope_fault *f) {
    yyjson_val *v = yyjson_obj_get(root, name);
    char path[32];
    *ret = SV_NULL;
    if (!needed && (!v || yyjson_is_null(v)))
        return true;
    *ret = json_sv(v);
    snprintf(path, sizeof path, "/%s", name);
    return (yyjson_is_str(v) && is(*ret)) || fault(f, FAULT_INVALID_ENVELOPE, path, "missing, or not of the form it should have");
}

static bool read_direction(yyjson_val *root, bool *ret_down, struct envelope_fault *f) {
    struct sv d = json_sv(yyjson_obj_get(root, "direction"));
    *ret_down = sv_eq(d, SV("down")) || sv_eq(d, SV("downstream"));
    return *ret_down || sv_eq(d, SV("up")) || sv_eq(d, SV("upstream")) ||
           fault(f, FAULT_INVALID_ENVELOPE, "/direction", "must be \"up\" or \"down\"");
}

static bool read_seq(yyjson_val *root, bool needed, uint64_t *ret, struct envelope_fault *f) {
    yyjson_val *v = yyjson_obj_get(root, "seq");
    *ret = 0;
    if (!v && !needed)
        return true;
    *ret = yyjson_is_uint(v) ? yyjson_get_uint(v) : 0;
    return (*ret >= 1 && *ret < (1ull << 53)) || fault(f, FAULT_INVALID_ENVELOPE, "/seq", "must be a whole number from 1");
}

static bool read_via(yyjson_val *root, yyjson_val **ret, struct envelope_fault *f) {
    yyjson_val *v = yyjson_obj_get(root, "via"), *one;
    yyjson_arr_iter it;
    *ret = NULL;
    if (!v || yyjson_is_null(v))
        return true;
    if (!yyjson_is_arr(v))
        return fault(f, FAULT_INVALID_ENVELOPE, "/via", "must be a list of nodes");
    if (yyjson_arr_size(v) > LINK_VIA_MAX)
        return fault(f, FAULT_RELAY_LOOP, "/via", "passed on more than 4 times");
    yyjson_arr_iter_init(v, &it);
    while ((one = yyjson_arr_iter_next(&it)))
        if (!link_is_ident(json_sv(one)))
            return fault(f, FAULT_INVALID_ENVELOPE, "/via", "must be a list of nodes");
    *ret = v;
    return true;
}

static bool find_kind(struct sv name, enum link_kind *ret) {
    for (unsigned k = 0; k < LINK_KIND_COUNT; k++)
        if (sv_eq(name, sv_of(kinds[k].name))) {
            *ret = (enum link_kind)k;
            return true;
        }
    return false;
}

/* What leaves call directives (docs/protocol.md, "Leaf relay"): known, and never theirs to send. */
static bool is_order_to_a_leaf(struct sv name) {
    static const char *const orders[] = { "preload_model", "evict_model", "assign_workload", "update_registry", "drain", "restart_agent" };
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++)
        if (sv_eq(name, sv_of(orders[i])))
            return true;
    return false;
}

static bool read_members(yyjson_val *root, bool is_down, bool needs_seq, struct envelope *m, struct envelope_fault *f) {
    yyjson_val *v = yyjson_obj_get(root, "v"), *ts = yyjson_obj_get(root, "ts");
    struct sv kind = SV_NULL;
    if (v && !(yyjson_is_uint(v) && yyjson_get_uint(v) == 1))
        return fault(f, FAULT_INVALID_ENVELOPE, "/v", "must be 1");
    if (!read_id(root, "msg_id", is_message_id, true, &m->msg_id, f))
        return false;
    snprintf(f->re, sizeof f->re, "%.*s", SV_FMT(m->msg_id));
    if (!read_id(root, "kind", is_kind_name, true, &kind, f) || !read_direction(root, &m->is_down, f) ||
        !read_id(root, "site_id", link_is_ident, false, &m->site_id, f) || !read_id(root, "agent_id", link_is_ident, false, &m->agent_id, f) ||
        !read_id(root, "re", is_message_id, false, &m->re, f) || !read_seq(root, needs_seq, &m->seq, f) || !read_via(root, &m->via, f))
        return false;
    m->ts = json_sv(ts);
    if (!yyjson_is_str(ts) || m->ts.n < 20 || m->ts.n > 35 || m->ts.p[m->ts.n - 1] != 'Z')
        return fault(f, FAULT_INVALID_ENVELOPE, "/ts", "must be a time such as 2026-01-31T12:00:00.000Z");
    m->payload = yyjson_obj_get(root, "payload");
    if (!yyjson_is_obj(m->payload))
        return fault(f, FAULT_INVALID_ENVELOPE, "/payload", "must be an object");
    if (m->is_down != is_down)
        return fault(f, FAULT_WRONG_DIRECTION, "/direction", "does not match the way the message came");
    if (!is_down && is_order_to_a_leaf(kind))
        return fault(f, FAULT_WRONG_DIRECTION, "/kind", "this kind goes the other way");
    if (!find_kind(kind, &m->kind))
        return fault(f, FAULT_UNKNOWN_KIND, "/kind", "not a kind of version 1");
    if (!(kinds[m->kind].dir & (is_down ? KIND_DOWN : KIND_UP)))
        return fault(f, FAULT_WRONG_DIRECTION, "/kind", "this kind goes the other way");
    return kind_check(m->kind, m->payload, f);
}

bool envelope_read(struct sv text, bool is_down, bool needs_seq, struct envelope *ret, struct envelope_fault *f) {
    struct walk w = { f, 0 };
    *ret = (struct envelope){ 0 };
    *f = (struct envelope_fault){ 0 };
    yyjson_doc *doc = json_parse_exact(text);
    yyjson_val *root = yyjson_doc_get_root(doc);
    bool ok = yyjson_is_obj(root) || fault(f, FAULT_BAD_JSON, "", "not one JSON object");
    ok = ok && walk_value(&w, root, 1) && read_members(root, is_down, needs_seq, ret, f);
    if (ok)
        ret->doc = doc;
    else
        yyjson_doc_free(doc);
    return ok;
}

void envelope_free(struct envelope *m) {
    yyjson_doc_free(m->doc);
    m->doc = NULL;
}

/* --- printing --------------------------------------------------------------------------------------------------------------------------- */

static void put_nullable(struct buf *out, const char *name, struct sv v) {
    buf_printf(out, ",\"%s\":", name);
    if (v.n)
        buf_add_json(out, v);
    else
        buf_add(out, SV("null"));
}

void envelope_print(struct buf *out, const struct envelope_head *h, struct sv payload) {
    char fresh[27], ts[25];
    struct sv id = h->msg_id;
    if (!id.n) {
        rand_text(fresh, sizeof fresh - 1);
        id = (struct sv){ fresh, sizeof fresh - 1 };
    }
    clock_iso8601(clock_wall_ms(), ts);
    buf_printf(out, "{\"v\":1,\"kind\":\"%s\",\"msg_id\":", h->name ? h->name : link_kind_name(h->kind));
    buf_add_json(out, id);
    buf_add(out, SV(",\"ts\":"));
    buf_add_json(out, h->ts.n ? h->ts : sv_of(ts));
    buf_printf(out, ",\"direction\":\"%s\"", h->is_down ? "down" : "up");
    put_nullable(out, "site_id", h->site_id);
    put_nullable(out, "agent_id", h->agent_id);
    if (h->seq)
        buf_printf(out, ",\"seq\":%llu", (unsigned long long)h->seq);
    put_nullable(out, "re", h->re);
    if (h->via.n) {
        buf_add(out, SV(",\"via\":"));
        buf_add(out, h->via);
    }
    buf_add(out, SV(",\"payload\":"));
    buf_add(out, payload.n ? payload : SV("{}"));
    buf_add_char(out, '}');
}
