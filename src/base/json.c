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

/* Half a pair becomes U+FFFD; both take six bytes. */
static void mend(char *p, size_t n) {
    for (size_t i = 0; i < n;) {
        struct sv rest = { p + i, n - i };
        unsigned unit, low;
        if (p[i] != '\\') {
            i++;
        } else if (!escape(rest, &unit)) {
            i += 2;
        } else if (unit >= 0xd800 && unit < 0xdc00 && escape(sv_from(rest, 6), &low) && low >= 0xdc00 && low < 0xe000) {
            i += 12;
        } else {
            if (unit >= 0xd800 && unit < 0xe000)
                memcpy(p + i + 2, "fffd", 4);
            i += 6;
        }
    }
}

yyjson_doc *json_parse_foreign(struct sv text, bool *ret_mended) {
    yyjson_doc *doc = json_parse(text);
    *ret_mended = false;
    if (doc || text.n == 0)
        return doc;
    char *copy = mem_copy(text.p, text.n);
    if (!copy)
        return NULL;
    mend(copy, text.n);
    doc = parse((struct sv){ copy, text.n }, YYJSON_READ_ALLOW_INVALID_UNICODE | YYJSON_READ_BIGNUM_AS_RAW);
    mem_free(copy);
    *ret_mended = doc != NULL;
    return doc;
}

yyjson_doc *json_parse_raw(struct sv text) {
    return parse(text, YYJSON_READ_NUMBER_AS_RAW);
}

void json_doc_freep(yyjson_doc **doc) {
    yyjson_doc_free(*doc);
    *doc = NULL;
}

yyjson_val *json_get(yyjson_val *obj, const char *key) {
    return yyjson_is_obj(obj) ? yyjson_obj_get(obj, key) : NULL;
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
        obj = yyjson_is_obj(obj) ? yyjson_obj_getn(obj, name.p, name.n) : NULL;
    return obj;
}
