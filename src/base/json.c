#include "base/json.h"

#include <math.h>

#include "base/mem.h"

static void *alloc(void *ctx, size_t n) {
    (void)ctx;
    return mem_alloc(n);
}

static void *resize(void *ctx, void *p, size_t was, size_t n) {
    (void)ctx;
    (void)was;
    return mem_resize(p, n);
}

static void drop(void *ctx, void *p) {
    (void)ctx;
    mem_free(p);
}

const yyjson_alc json_heap = { alloc, resize, drop, NULL };

static yyjson_doc *parse(struct sv text, yyjson_read_flag how) {
    /* Without YYJSON_READ_INSITU the input is only read, whatever the signature says. */
    return text.n ? yyjson_read_opts((char *)(uintptr_t)text.p, text.n, how, &json_heap, NULL) : NULL;
}

yyjson_doc *json_parse(struct sv text) {
    return parse(text, YYJSON_READ_NOFLAG);
}

yyjson_doc *json_parse_exact(struct sv text) {
    return parse(text, YYJSON_READ_BIGNUM_AS_RAW);
}

/* The code unit of an escape at the beginning of v. */
static bool escape(struct sv v, unsigned *ret_unit) {
    unsigned unit = 0;
    if (v.n < 6 || v.p[0] != '\\' || v.p[1] != 'u')
        return false;
    for (int i = 2; i < 6; i++) {
        char c = v.p[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
        if (digit < 0)
            return false;
        unit = unit << 4 | (unsigned)digit;
    }
    *ret_unit = unit;
    return true;
}

/* Three bytes where UTF-8 would have them, were a half a character: WTF-8. */
static char *put_half(char *to, unsigned unit) {
    *to++ = (char)(0xe0 | unit >> 12);
    *to++ = (char)(0x80 | (unit >> 6 & 0x3f));
    *to++ = (char)(0x80 | (unit & 0x3f));
    return to;
}

/* Half a pair becomes U+FFFD, but, with `keep`, stays where its other half may stand in another text: a first one at the end of
 * a string, a second one at the beginning. Returns how long the text is now. */
static size_t mend(char *p, size_t n, bool keep) {
    char *to = p;
    bool begins = false; /* a string */
    for (size_t i = 0; i < n;) {
        struct sv rest = { p + i, n - i };
        unsigned unit, low;
        size_t step = rest.p[0] != '\\' ? 1 : !escape(rest, &unit) ? 2 : 6;
        bool half = step == 6 && unit >= 0xd800 && unit < 0xe000;
        if (half && unit < 0xdc00 && escape(sv_from(rest, 6), &low) && low >= 0xdc00 && low < 0xe000) {
            step = 12;
            half = false;
        }
        if (half) {
            bool stays = keep && (unit < 0xdc00 ? rest.n > 6 && rest.p[6] == '"' : begins);
            to = put_half(to, stays ? unit : 0xfffd);
        } else {
            step = step < rest.n ? step : rest.n;
            memmove(to, rest.p, step);
            to += step;
        }
        begins = !half && step == 1 && to[-1] == '"';
        i += step;
    }
    return (size_t)(to - p);
}

static yyjson_doc *parse_mended(struct sv text, bool keep) {
    char *copy = text.n ? mem_copy(text.p, text.n) : NULL;
    if (!copy)
        return NULL;
    size_t n = mend(copy, text.n, keep);
    yyjson_doc *doc = parse((struct sv){ copy, n }, YYJSON_READ_ALLOW_INVALID_UNICODE | YYJSON_READ_BIGNUM_AS_RAW);
    mem_free(copy);
    return doc;
}

yyjson_doc *json_parse_foreign(struct sv text, bool *ret_mended) {
    yyjson_doc *doc = json_parse(text);
    *ret_mended = false;
    if (doc || text.n == 0)
        return doc;
    doc = parse_mended(text, false);
    *ret_mended = doc != NULL;
    return doc;
}

yyjson_doc *json_parse_halves(struct sv text) {
    return parse_mended(text, true);
}

yyjson_doc *json_parse_raw(struct sv text) {
    return parse(text, YYJSON_READ_NUMBER_AS_RAW);
}

void json_doc_freep(yyjson_doc **doc) {
    yyjson_doc_free(*doc);
    *doc = NULL;
}

/* The last of that name, as JavaScript, Python and Go have it. */
static yyjson_val *member(yyjson_val *obj, struct sv name) {
    size_t i, n;
    yyjson_val *key, *value, *found = NULL;
    yyjson_obj_foreach(obj, i, n, key, value)
        if (yyjson_equals_strn(key, name.p, name.n))
            found = value;
    return found;
}

yyjson_val *json_get(yyjson_val *obj, const char *key) {
    return member(obj, sv_of(key));
}

struct sv json_sv(yyjson_val *v) {
    return yyjson_is_str(v) ? (struct sv){ yyjson_get_str(v), yyjson_get_len(v) } : SV_NULL;
}

struct sv json_str(yyjson_val *obj, const char *key) {
    return json_sv(json_get(obj, key));
}

int64_t json_i64(yyjson_val *obj, const char *key, int64_t otherwise) {
    yyjson_val *v = json_get(obj, key);
    if (yyjson_is_uint(v))
        return yyjson_get_uint(v) <= INT64_MAX ? (int64_t)yyjson_get_uint(v) : otherwise;
    if (yyjson_is_sint(v))
        return yyjson_get_sint(v);
    uint64_t raw;
    if (yyjson_is_raw(v) && sv_to_u64((struct sv){ yyjson_get_raw(v), yyjson_get_len(v) }, &raw) && raw <= INT64_MAX)
        return (int64_t)raw;
    if (yyjson_is_real(v)) {
        double d = yyjson_get_real(v);
        if (d == floor(d) && fabs(d) < 9007199254740992.0)
            return (int64_t)d;
    }
    return otherwise;
}

double json_f64(yyjson_val *obj, const char *key, double otherwise) {
    yyjson_val *v = json_get(obj, key);
    return yyjson_is_num(v) ? yyjson_get_num(v) : otherwise;
}

bool json_bool(yyjson_val *obj, const char *key, bool otherwise) {
    yyjson_val *v = json_get(obj, key);
    return yyjson_is_bool(v) ? yyjson_get_bool(v) : otherwise;
}

yyjson_val *json_at(yyjson_val *obj, const char *path) {
    struct sv rest = sv_of(path), name;
    while (obj && sv_next(&rest, '.', &name))
        obj = member(obj, name);
    return obj;
}
