/* translate/canon_read.c - what all readers of requests share: complaints, rows of members, and the lists of a request. */
#include "translate/canon.h"

#include <math.h>
#include <stdio.h>

#include "llm/print.h"

enum { DEGRADED_MAX = 1024 };

/* --- complaints --------------------------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 0)))
static bool complain(struct canon_request *rq, enum err_code code, const char *fmt, va_list ap) {
    if (rq->fault->code == ERR_NONE) {
        rq->fault->code = code;
        vsnprintf(rq->fault->text, sizeof rq->fault->text, fmt, ap);
    }
    return false;
}

bool canon_bad(struct canon_request *rq, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    complain(rq, ERR_BAD_REQUEST, fmt, ap);
    va_end(ap);
    return false;
}

bool canon_cannot(struct canon_request *rq, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    complain(rq, ERR_PARAMETER, fmt, ap);
    va_end(ap);
    return false;
}

static bool no_memory(struct canon_request *rq) {
    if (rq->fault->code == ERR_NONE)
        err_no_memory(rq->fault);
    return false;
}

static void complain_large(struct canon_request *rq) {
    if (rq->fault->code == ERR_NONE)
        err_limit(rq->fault, LIMIT_BODY_MAX, "the request is too large once it is translated (limit %zu bytes)", rq->spec->body_max);
}

/* A name may come from the client: what could end a header field is replaced. */
static void add_name(struct buf *to, struct sv name) {
    struct sv rest = buf_sv(to), one;
    if (to->n + name.n + 2 > DEGRADED_MAX)
        return;
    while (sv_next(&rest, ',', &one))
        if (sv_eq(sv_trim(one), name))
            return;
    if (to->n)
        buf_add(to, SV(", "));
    for (size_t i = 0; i < name.n; i++)
        buf_add_char(to, name.p[i] > 0x20 && name.p[i] < 0x7f && name.p[i] != ',' ? name.p[i] : '?');
}

bool canon_lose(struct canon_request *rq, enum canon_weight w, const char *fmt, ...) {
    char name[96];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    if (w == CANON_LOSS && rq->spec->strict)
        return canon_cannot(rq, "%s cannot be carried over to the API of the model's runtime, and this model is strict", name);
    add_name(rq->degraded, sv_of(name));
    return rq->fault->code == ERR_NONE;
}

const char *canon_text(struct canon_request *rq, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct sv copy = arena_sv(rq->arena, sv_of(text));
    if (!copy.p)
        no_memory(rq);
    return copy.p ? copy.p : "";
}

struct sv canon_glue(struct canon_request *rq, struct sv a, struct sv b, struct sv c) {
    char *to = arena_alloc(rq->arena, a.n + b.n + c.n + 1);
    if (!to) {
        no_memory(rq);
        return SV("");
    }
    memcpy(to, a.p ? a.p : "", a.n);
    memcpy(to + a.n, b.p ? b.p : "", b.n);
    memcpy(to + a.n + b.n, c.p ? c.p : "", c.n);
    return (struct sv){ to, a.n + b.n + c.n };
}

bool canon_has(yyjson_val *body, const char *name) {
    yyjson_val *v = json_get(body, name);
    return v && !yyjson_is_null(v);
}

const char *canon_where(struct canon_request *rq, const struct canon_message *m, const struct canon_part *p) {
    const char *list = rq->list ? rq->list : "messages";
    return p ? canon_text(rq, "%s[%u].content[%u]", list, m->index, p->index) : canon_text(rq, "%s[%u]", list, m->index);
}

struct sv canon_json(struct canon_request *rq, yyjson_val *v) {
    struct buf text = BUF_MAX(rq->spec->body_max);
    struct print p = print_begin(&text);
    canon_print_value(&p, NULL, v);
    struct sv copy = text.failed ? SV_NULL : arena_sv(rq->arena, buf_sv(&text));
    if (text.failed)
        complain_large(rq);
    else if (!copy.p)
        no_memory(rq);
    buf_deinit(&text);
    return copy;
}

/* --- members ------------------------------------------------------------------------------------------------------ */

#define FIELD(rq, row, type) ((type *)(void *)((char *)(rq) + (row)->at))

static const char *kind_of(yyjson_val *v) {
    switch (yyjson_get_type(v)) {
    case YYJSON_TYPE_NULL: return "null";
    case YYJSON_TYPE_BOOL: return "a boolean";
    case YYJSON_TYPE_RAW: return "a number out of range";
    case YYJSON_TYPE_NUM: return "a number";
    case YYJSON_TYPE_STR: return "a string";
    case YYJSON_TYPE_ARR: return "an array";
    default: return "an object";
    }
}

static bool not_a(struct canon_request *rq, const struct canon_row *row, const char *want, yyjson_val *v) {
    return canon_bad(rq, "\"%.*s%s\" must be %s, not %s", SV_FMT(rq->within), row->name, want, kind_of(v));
}

enum { EXTRA_MAX = 1024 }; /* members nobody knows; each that is lost is named */

static bool keep_extra(struct canon_request *rq, struct sv name, yyjson_val *v) {
    struct canon_extra *x = ARENA_NEW(rq->arena, struct canon_extra);
    if (!x)
        return no_memory(rq);
    if (++rq->n_extra > EXTRA_MAX)
        return canon_bad(rq, "the body has more than %d members that this API does not have", EXTRA_MAX);
    *x = (struct canon_extra){ NULL, name, v };
    if (rq->last_extra)
        rq->last_extra->next = x;
    else
        rq->extra = x;
    rq->last_extra = x;
    return true;
}

yyjson_val *canon_take_extra(struct canon_request *rq, const char *name) {
    struct canon_extra **at = &rq->extra, *before = NULL;
    while (*at && !sv_eq((*at)->name, sv_of(name)))
        at = &(before = *at)->next;
    yyjson_val *value = *at ? (*at)->value : NULL;
    if (*at && !(*at = (*at)->next))
        rq->last_extra = before;
    return value;
}

const struct canon_row *canon_row_named(const struct canon_row *rows, struct sv name) {
    for (; rows->name; rows++)
        if (sv_eq(sv_of(rows->name), name))
            return rows;
    return NULL;
}

bool canon_members(struct canon_request *rq, yyjson_val *object, const struct canon_row *rows, bool keep) {
    enum { ROWS_MAX = 64 };
    yyjson_val *key, *value, *last[ROWS_MAX] = { NULL }; /* a name that stands twice counts where it stands last */
    size_t i, n;
    yyjson_obj_foreach(object, i, n, key, value) {
        const struct canon_row *row = canon_row_named(rows, json_sv(key));
        if (row && row - rows < ROWS_MAX)
            last[row - rows] = value;
    }
    yyjson_obj_foreach(object, i, n, key, value) {
        const struct canon_row *row = canon_row_named(rows, json_sv(key));
        if (yyjson_is_null(value) || (row && row - rows < ROWS_MAX && last[row - rows] != value))
            continue;
        if (row ? !row->read(rq, row, value) : keep && !keep_extra(rq, json_sv(key), value))
            return false;
    }
    return rq->fault->code == ERR_NONE;
}

bool canon_row_number(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    if (!yyjson_is_num(v))
        return not_a(rq, row, "a number", v);
    *FIELD(rq, row, yyjson_val *) = v;
    return true;
}

static bool whole(struct canon_request *rq, const struct canon_row *row, yyjson_val *v, int64_t *ret) {
    double d = yyjson_is_num(v) ? yyjson_get_num(v) : 0.5;
    if (d != floor(d))
        return not_a(rq, row, "an integer", v);
    if (d > INT32_MAX)
        return canon_bad(rq, "\"%.*s%s\" must be at most %d", SV_FMT(rq->within), row->name, INT32_MAX);
    *ret = d < 0 ? -1 : (int64_t)d;
    return true;
}

bool canon_row_int(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    int64_t n = 0;
    if (!whole(rq, row, v, &n))
        return false;
    if (n < 0)
        return canon_bad(rq, "\"%.*s%s\" must not be negative", SV_FMT(rq->within), row->name);
    *FIELD(rq, row, int64_t) = n;
    return true;
}

bool canon_row_limit(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    int64_t n = 0;
    if (!whole(rq, row, v, &n))
        return false;
    if (n > 0)
        *FIELD(rq, row, int64_t) = n;
    return true;
}

bool canon_row_flag(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    if (!yyjson_is_bool(v))
        return not_a(rq, row, "true or false", v);
    *FIELD(rq, row, bool) = yyjson_get_bool(v);
    return true;
}

bool canon_row_tri(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    if (!yyjson_is_bool(v))
        return not_a(rq, row, "true or false", v);
    *FIELD(rq, row, enum canon_tri) = yyjson_get_bool(v) ? CANON_YES : CANON_NO;
    return true;
}

bool canon_row_string(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    if (!yyjson_is_str(v))
        return not_a(rq, row, "a string", v);
    *FIELD(rq, row, struct sv) = json_sv(v);
    return true;
}

bool canon_row_object(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    if (!yyjson_is_obj(v))
        return not_a(rq, row, "an object", v);
    *FIELD(rq, row, yyjson_val *) = v;
    return true;
}

bool canon_row_hint(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    (void)v;
    return canon_lose(rq, CANON_HINT, "%s", row->name);
}

bool canon_row_loss(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    (void)v;
    return canon_lose(rq, CANON_LOSS, "%s", row->name);
}

bool canon_row_skip(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    (void)rq;
    (void)row;
    (void)v;
    return true;
}

/* Empty ones stop nothing: they are left out. */
static bool read_stop(struct canon_request *rq, const struct canon_row *row, yyjson_val *one) {
    return yyjson_get_len(one) ? canon_stop(rq, json_sv(one)) : canon_lose(rq, CANON_HINT, "%.*s%s", SV_FMT(rq->within), row->name);
}

bool canon_row_stop(struct canon_request *rq, const struct canon_row *row, yyjson_val *v) {
    size_t i, n;
    yyjson_val *one;
    rq->stop = rq->last_stop = NULL; /* of a default */
    rq->n_stop = 0;
    if (yyjson_is_str(v))
        return read_stop(rq, row, v);
    if (!yyjson_is_arr(v))
        return not_a(rq, row, "a string or an array of strings", v);
    yyjson_arr_foreach(v, i, n, one) {
        if (!yyjson_is_str(one))
            return canon_bad(rq, "\"%.*s%s[%zu]\" must be a string, not %s", SV_FMT(rq->within), row->name, i, kind_of(one));
        if (!read_stop(rq, row, one))
            return false;
    }
    return true;
}

/* Nothing said: null, and an empty string, list or group. */
static bool is_nothing(yyjson_val *v) {
    return yyjson_is_null(v) || ((yyjson_is_str(v) || yyjson_is_ctn(v)) && yyjson_get_len(v) == 0);
}

bool canon_known(struct canon_request *rq, yyjson_val *object, const char *what, const char *const names[]) {
    static const char *const marks[] = { "cache_control", "prompt_cache_breakpoint" };
    yyjson_val *key, *value;
    size_t i, n, k;
    yyjson_obj_foreach(object, i, n, key, value) {
        struct sv name = json_sv(key);
        for (k = 0; names[k] && !sv_eq(name, sv_of(names[k]));)
            k++;
        if (names[k] || is_nothing(value))
            continue;
        bool mark = sv_eq(name, sv_of(marks[0])) || sv_eq(name, sv_of(marks[1]));
        if (mark ? !canon_lose(rq, CANON_HINT, "%.*s", SV_FMT(name))
                 : !canon_lose(rq, CANON_LOSS, "%s.%.*s", what, SV_FMT(sv_first(name, 64))))
            return false;
    }
    return true;
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

#define APPEND(first, last, node) \
    do {                          \
        if (last)                 \
            (last)->next = node;  \
        else                      \
            (first) = node;       \
        (last) = node;            \
    } while (0)

struct canon_message *canon_message(struct canon_request *rq, enum canon_role role, uint32_t index) {
    struct canon_message *m = ARENA_NEW(rq->arena, struct canon_message);
    if (!m) {
        no_memory(rq);
        return NULL;
    }
    m->role = role;
    m->index = index;
    APPEND(rq->messages, rq->last_message, m);
    return m;
}

struct canon_part *canon_part(struct canon_request *rq, struct canon_parts *to, enum canon_part_kind kind, uint32_t index) {
    struct canon_part *p = ARENA_NEW(rq->arena, struct canon_part);
    if (!p) {
        no_memory(rq);
        return NULL;
    }
    p->kind = kind;
    p->index = index;
    APPEND(to->first, to->last, p);
    to->n++;
    return p;
}

struct canon_call *canon_call(struct canon_request *rq, struct canon_message *m) {
    struct canon_call *c = ARENA_NEW(rq->arena, struct canon_call);
    if (!c) {
        no_memory(rq);
        return NULL;
    }
    APPEND(m->calls, m->last_call, c);
    return c;
}

struct canon_reasoning *canon_reasoning(struct canon_request *rq, struct canon_message *m) {
    struct canon_reasoning *r = ARENA_NEW(rq->arena, struct canon_reasoning);
    if (!r) {
        no_memory(rq);
        return NULL;
    }
    APPEND(m->reasoning, m->last_reasoning, r);
    return r;
}

struct canon_tool *canon_tool(struct canon_request *rq) {
    struct canon_tool *t = ARENA_NEW(rq->arena, struct canon_tool);
    if (!t) {
        no_memory(rq);
        return NULL;
    }
    if (++rq->n_tools > CANON_TOOLS_MAX) {
        canon_bad(rq, "there are more than %d tools", CANON_TOOLS_MAX);
        return NULL;
    }
    APPEND(rq->tools, rq->last_tool, t);
    return t;
}

bool canon_stop(struct canon_request *rq, struct sv text) {
    struct canon_string *s = text.n ? ARENA_NEW(rq->arena, struct canon_string) : NULL;
    if (text.n == 0)
        return true;
    if (!s)
        return no_memory(rq);
    s->text = text;
    APPEND(rq->stop, rq->last_stop, s);
    rq->n_stop++;
    return true;
}

struct canon_tool *canon_tool_of(const struct canon_request *rq, struct sv name) {
    struct canon_tool *inner = NULL;
    for (struct canon_tool *t = rq->tools; t; t = t->next) {
        if (sv_eq(t->name, name))
            return t;
        if (t->space.n && sv_eq(sv_from(t->name, t->space.n + 2), name))
            inner = t;
    }
    return inner;
}

bool canon_keep_tools(struct canon_request *rq, yyjson_val *allowed) {
    struct canon_tool **at = &rq->tools;
    size_t i, n;
    yyjson_val *one;
    if (yyjson_arr_size(allowed) > CANON_TOOLS_MAX)
        return canon_bad(rq, "there are more than %d tools", CANON_TOOLS_MAX);
    yyjson_arr_foreach(allowed, i, n, one) {
        yyjson_val *what = json_get(one, "function");
        if (!what)
            what = json_get(one, "custom");
        struct canon_tool *t = canon_tool_of(rq, json_str(what ? what : one, "name"));
        if (t)
            t->is_allowed = true;
    }
    rq->last_tool = NULL;
    while (*at) {
        if ((*at)->is_allowed) {
            rq->last_tool = *at;
            at = &(*at)->next;
        } else {
            *at = (*at)->next;
        }
    }
    return true;
}

/* --- images ------------------------------------------------------------------------------------------------------- */

struct sv canon_sniff(struct sv base64) {
    static const struct {
        const char *begins, *type;
    } types[] = { /* the first bytes of each, encoded */
        { "iVBORw0KGgo", "image/png" },
        { "/9j/", "image/jpeg" },
        { "R0lGOD", "image/gif" },
        { "UklGR", "image/webp" },
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (sv_starts(base64, sv_of(types[i].begins)))
            return sv_of(types[i].type);
    return SV_NULL;
}

static bool is_base64(struct sv v) {
    for (size_t i = 0; i < v.n; i++) {
        char c = v.p[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/' || c == '='))
            return false;
    }
    return v.n > 0;
}

/* Without the white space some clients break lines with. */
static struct sv without_space(struct canon_request *rq, struct sv v) {
    char *to = arena_alloc(rq->arena, v.n);
    size_t n = 0;
    if (!to) {
        no_memory(rq);
        return SV_NULL;
    }
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] != ' ' && v.p[i] != '\n' && v.p[i] != '\r' && v.p[i] != '\t')
            to[n++] = v.p[i];
    return (struct sv){ to, n };
}

/* Known types are looked at, others are the runtime's to judge as long as they claim to be images. */
static bool check_image(struct canon_request *rq, struct canon_part *p, const char *where) {
    static const char *const known[] = { "", "application/octet-stream", "image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp" };
    struct sv found = canon_sniff(p->data);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (!sv_eq_nocase(p->mime, sv_of(known[i])))
            continue;
        if (i < 2)
            p->mime = found;
        return found.n || canon_bad(rq, "%s is not a PNG, JPEG, GIF or WebP image", where);
    }
    return sv_starts_nocase(p->mime, SV("image/")) || canon_bad(rq, "%s is not an image", where);
}

bool canon_data(struct canon_request *rq, struct canon_part *p, struct sv mime, struct sv data, const char *where) {
    bool odd = mime.n > 100;
    for (size_t i = 0; i < mime.n; i++) {
        char c = mime.p[i];
        odd = odd || !(((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c >= '0' && c <= '9') || c == '/' || c == '.' || c == '+' || c == '-');
    }
    if (odd)
        return canon_bad(rq, "%s has a malformed media type", where);
    p->mime = mime;
    p->data = is_base64(data) ? data : without_space(rq, data);
    if (!is_base64(p->data))
        return canon_bad(rq, "%s does not hold base64 data", where);
    return p->kind != CANON_IMAGE || check_image(rq, p, where);
}

bool canon_link(struct canon_request *rq, struct canon_part *p, struct sv url, const char *where) {
    struct sv rest = url, head, type;
    if (!sv_starts_nocase(url, SV("data:"))) {
        if (!sv_starts_nocase(url, SV("http://")) && !sv_starts_nocase(url, SV("https://")))
            return canon_bad(rq, "%s must be an http(s) or data URL", where);
        p->url = url;
        return true;
    }
    rest = sv_from(url, 5);
    if (!sv_cut(&rest, ',', &head))
        return canon_bad(rq, "%s is a data URL without data", where);
    bool base64 = head.n >= 7 && sv_eq_nocase(sv_from(head, head.n - 7), SV(";base64"));
    if (!base64)
        return canon_bad(rq, "%s must be a data URL in base64", where);
    type = head;
    sv_cut(&type, ';', &head);
    return canon_data(rq, p, sv_trim(head), rest, where);
}
