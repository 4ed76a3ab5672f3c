/* base/err.h - faults: a code for the program, a chain of words for the human.
 *
 * A struct err lives on the caller's stack. The code is chosen once, where the cause is known; on the way up each room
 * puts its intention in front with err_ctx. Expected outcomes ("need more bytes") are never faults. Any thread. */
#ifndef DROVER_BASE_ERR_H
#define DROVER_BASE_ERR_H

#include <stdbool.h>

#include "base/mem.h"

/*      code             name                  HTTP  another target may help */
#define ERR_TABLE(X)                                                         \
    X(ERR_NONE,        "ok",                   200, false)                   \
    X(ERR_BAD_REQUEST, "bad_request",          400, false)                   \
    X(ERR_AUTH,        "unauthenticated",      401, false)                   \
    X(ERR_DENIED,      "denied",               403, false)                   \
    X(ERR_NOT_FOUND,   "not_found",            404, false)                   \
    X(ERR_NO_MODEL,    "model_not_found",      404, false)                   \
    X(ERR_METHOD,      "method_not_allowed",   405, false)                   \
    X(ERR_SLOW_CLIENT, "request_timeout",      408, false)                   \
    X(ERR_EXISTS,      "conflict",             409, false)                   \
    X(ERR_TOO_LARGE,   "too_large",            413, false)                   \
    X(ERR_URI_LONG,    "uri_too_long",         414, false)                   \
    X(ERR_MEDIA,       "unsupported_media",    415, false)                   \
    X(ERR_MISDIRECTED, "misdirected",          421, false)                   \
    X(ERR_LIMIT,       "rate_limited",         429, true)                    \
    X(ERR_HEAD_LARGE,  "headers_too_large",    431, false)                   \
    X(ERR_CANCELED,    "canceled",             499, false)                   \
    X(ERR_INTERNAL,    "internal",             500, false)                   \
    X(ERR_CONFIG,      "bad_configuration",    500, false)                   \
    X(ERR_UNSUPPORTED, "not_supported",        501, true)                    \
    X(ERR_IO,          "upstream_unreachable", 502, true)                    \
    X(ERR_BAD_REPLY,   "upstream_bad_reply",   502, true)                    \
    X(ERR_UNAVAILABLE, "unavailable",          503, true)                    \
    X(ERR_NO_MEMORY,   "out_of_memory",        503, true)                    \
    X(ERR_TIMEOUT,     "upstream_timeout",     504, true)

#define X(code, name, http, retry) code,
enum err_code { ERR_TABLE(X) ERR_CODES };
#undef X

enum { ERR_TEXT_MAX = 400 }; /* bytes with the NUL; a longer chain is cut at its end, where the oldest words stand */

struct err {
    enum err_code code;
    char text[ERR_TEXT_MAX];
};

/* Both return false, so that "return err_set(...)" ends a function. e may be NULL: then nothing is recorded. */
bool err_set(struct err *e, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool err_ctx(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool err_no_memory(struct err *e);

const char *err_name(enum err_code code);
int err_http(enum err_code code);
/* Whether the same request may succeed on another target. */
bool err_can_retry(enum err_code code);

#endif
