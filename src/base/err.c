#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int http;
    bool retry;
} info[] = {
#define X(code, name, http, retry) [code] = { name, http, retry },
    ERR_TABLE(X)
#undef X
};

static const struct {
    const char *key;
    enum err_code code;
} limits[] = {
    [LIMIT_NONE] = { "", ERR_NONE },
#define X(id, key, code) [id] = { key, code },
    ERR_LIMITS(X)
#undef X
};

bool err_set(struct err *e, enum err_code code, const char *fmt, ...) {
    if (!e)
        return false;
    e->code = code;
    e->limit = LIMIT_NONE;
    e->retry_after_s = 0;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    return false;
}

bool err_limit(struct err *e, enum err_limit limit, const char *fmt, ...) {
    if (!e)
        return false;
    e->code = limits[limit].code;
    e->limit = limit;
    e->retry_after_s = 0;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    return false;
}

bool err_ctx(struct err *e, const char *fmt, ...) {
    if (!e)
        return false;
    char was[ERR_TEXT_MAX];
    memcpy(was, e->text, sizeof was);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof e->text)
        snprintf(e->text + n, sizeof e->text - (size_t)n, ": %s", was);
    return false;
}

bool err_no_memory(struct err *e) {
    return err_set(e, ERR_NO_MEMORY, "out of memory");
}

const char *err_name(enum err_code code) {
    return info[code].name;
}

int err_http(enum err_code code) {
    return info[code].http;
}

const char *err_limit_key(enum err_limit limit) {
    return limits[limit].key;
}

bool err_can_retry(enum err_code code) {
    return info[code].retry;
}
