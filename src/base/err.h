/* base/err.h - faults: a code for the program, a chain of words for the human.
 *
 * A struct err lives on the caller's stack. The code is chosen once, where the cause is known; on the way up each room
 * puts its intention in front with err_ctx. Expected outcomes ("need more bytes") are never faults. Any thread. */
#ifndef DROVER_BASE_ERR_H
#define DROVER_BASE_ERR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

/*      code             name                  HTTP  another target may help */
#define ERR_TABLE(X)                                                                                                   \
    X(ERR_NONE, "ok", 200, false)                                                                                      \
    X(ERR_BAD_REQUEST, "bad_request", 400, false)                                                                      \
    X(ERR_PARAMETER, "unsupported_parameter", 400, false)                                                              \
    X(ERR_CONTEXT, "context_overflow", 400, false)                                                                     \
    X(ERR_AUTH, "unauthenticated", 401, false)                                                                         \
    X(ERR_DENIED, "denied", 403, false)                                                                                \
    X(ERR_REAUTH, "reauth_required", 403, false)                                                                       \
    X(ERR_LOCKED, "locked", 403, false)                                                                                \
    X(ERR_NOT_FOUND, "not_found", 404, false)                                                                          \
    X(ERR_NO_MODEL, "model_not_found", 404, false)                                                                     \
    X(ERR_METHOD, "method_not_allowed", 405, false)                                                                    \
    X(ERR_SLOW_CLIENT, "request_timeout", 408, false)                                                                  \
    X(ERR_EXISTS, "conflict", 409, false)                                                                              \
    X(ERR_STALE, "precondition_failed", 412, false)                                                                    \
    X(ERR_TOO_LARGE, "too_large", 413, false)                                                                          \
    X(ERR_URI_LONG, "uri_too_long", 414, false)                                                                        \
    X(ERR_MEDIA, "unsupported_media", 415, false)                                                                      \
    X(ERR_MISDIRECTED, "misdirected", 421, false)                                                                      \
    X(ERR_LIMIT, "rate_limited", 429, true)                                                                            \
    X(ERR_BUDGET, "insufficient_quota", 429, false)                                                                    \
    X(ERR_HEAD_LARGE, "headers_too_large", 431, false)                                                                 \
    X(ERR_CANCELED, "canceled", 499, false)                                                                            \
    X(ERR_INTERNAL, "internal", 500, false)                                                                            \
    X(ERR_CONFIG, "bad_configuration", 500, false)                                                                     \
    X(ERR_UNSUPPORTED, "not_supported", 501, true)                                                                     \
    X(ERR_IO, "upstream_unreachable", 502, true)                                                                       \
    X(ERR_BAD_REPLY, "upstream_bad_reply", 502, true)                                                                  \
    X(ERR_UNAVAILABLE, "unavailable", 503, true)                                                                       \
    X(ERR_STORE, "store_unavailable", 503, false)                                                                      \
    X(ERR_NO_MEMORY, "out_of_memory", 503, true)                                                                       \
    X(ERR_TIMEOUT, "upstream_timeout", 504, true)                                                                      \
    X(ERR_LOOP, "loop_detected", 508, false)

#define X(code, name, http, retry) code,
enum err_code { ERR_TABLE(X) ERR_CODES };
#undef X

/* Limits whose excess is a fault: the setting's key as in docs/limits.md, and the code. Whoever ends the chain counts it under
 * the key (drover_limit_hits_total). config/config_test.c compares this table with that of the settings. */
#define ERR_LIMITS(X)                                                                                \
    X(LIMIT_BODY_MAX,            "gateway.body_max",                      ERR_TOO_LARGE)             \
    X(LIMIT_PARK_MAX,            "gateway.park_max",                      ERR_UNAVAILABLE)           \
    X(LIMIT_PARK_TIMEOUT,        "gateway.park_timeout",                  ERR_UNAVAILABLE)           \
    X(LIMIT_STALL_TIMEOUT,       "gateway.stall_timeout",                 ERR_TIMEOUT)               \
    X(LIMIT_DEADLINE,            "gateway.deadline",                      ERR_TIMEOUT)               \
    X(LIMIT_KEY_REQUESTS,        "access.default_rate.requests",          ERR_LIMIT)                 \
    X(LIMIT_KEY_TOKENS,          "access.default_rate.tokens",            ERR_LIMIT)                 \
    X(LIMIT_KEY_CONCURRENT,      "access.default_rate.concurrent",        ERR_LIMIT)                 \
    X(LIMIT_CONN_MAX,            "limits.conn.max",                       ERR_UNAVAILABLE)           \
    X(LIMIT_CONN_ADDRESS,        "limits.conn.per_address",               ERR_LIMIT)                 \
    X(LIMIT_CONN_LOOPBACK,       "limits.conn.per_loopback",              ERR_LIMIT)                 \
    X(LIMIT_CONN_NEW_ADDRESS,    "limits.conn.new_per_address_per_s",     ERR_LIMIT)                 \
    X(LIMIT_CONN_NEW_LOOPBACK,   "limits.conn.new_per_loopback_per_s",    ERR_LIMIT)                 \
    X(LIMIT_TLS_HANDSHAKE,       "limits.conn.tls_handshake",             ERR_SLOW_CLIENT)           \
    X(LIMIT_HEAD_DEADLINE,       "limits.head.deadline",                  ERR_SLOW_CLIENT)           \
    X(LIMIT_HEAD_REQUEST_LINE,   "limits.head.request_line",              ERR_URI_LONG)              \
    X(LIMIT_HEAD_FIELD,          "limits.head.field",                     ERR_HEAD_LARGE)            \
    X(LIMIT_HEAD_TOTAL,          "limits.head.total",                     ERR_HEAD_LARGE)            \
    X(LIMIT_HEAD_FIELDS,         "limits.head.fields",                    ERR_HEAD_LARGE)            \
    X(LIMIT_BODY_ADMIN,          "limits.body.admin",                     ERR_TOO_LARGE)             \
    X(LIMIT_BODY_MIN_RATE,       "limits.body.min_rate",                  ERR_SLOW_CLIENT)           \
    X(LIMIT_BODY_IDLE,           "limits.body.idle",                      ERR_SLOW_CLIENT)           \
    X(LIMIT_BODY_CHUNK_LINE,     "limits.body.chunk_line",                ERR_BAD_REQUEST)           \
    X(LIMIT_BODY_BUFFERED,       "limits.body.buffered_total",            ERR_UNAVAILABLE)           \
    X(LIMIT_UPSTREAM_CONNECT,    "limits.upstream.connect",               ERR_TIMEOUT)               \
    X(LIMIT_UPSTREAM_FIRST_BYTE, "limits.upstream.first_byte",            ERR_TIMEOUT)               \
    X(LIMIT_UPSTREAM_TOTAL,      "limits.upstream.total",                 ERR_TIMEOUT)               \
    X(LIMIT_UPSTREAM_HEAD,       "limits.upstream.head",                  ERR_BAD_REPLY)             \
    X(LIMIT_UPSTREAM_EVENT,      "limits.upstream.event",                 ERR_BAD_REPLY)             \
    X(LIMIT_UPSTREAM_REPLY,      "limits.upstream.reply",                 ERR_BAD_REPLY)             \
    X(LIMIT_CLIENT_STALL,        "limits.stream.client_stall",            ERR_CANCELED)              \
    X(LIMIT_STREAMS,             "limits.stream.max",                     ERR_UNAVAILABLE)           \
    X(LIMIT_JSON_DEPTH,          "limits.json.depth",                     ERR_BAD_REQUEST)           \
    X(LIMIT_JSON_MEMBERS,        "limits.json.members",                   ERR_BAD_REQUEST)           \
    X(LIMIT_JSON_VALUES,         "limits.json.values",                    ERR_TOO_LARGE)

#define X(id, key, code) id,
enum err_limit { LIMIT_NONE, ERR_LIMITS(X) ERR_LIMIT_COUNT };
#undef X

enum { ERR_TEXT_MAX = 400 }; /* bytes with the NUL; a longer chain is cut at its end, where the oldest words stand */

struct err {
    enum err_code code;
    char text[ERR_TEXT_MAX];
    enum err_limit limit; /* whose excess it is; LIMIT_NONE: of none */
    uint32_t retry_after_s; /* the same request may succeed then; 0: nobody knows */
};

/* All return false, so that "return err_set(...)" ends a function. e may be NULL: then nothing is recorded. */
bool err_set(struct err *e, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The limit's code comes with it. */
bool err_limit(struct err *e, enum err_limit limit, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool err_ctx(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool err_no_memory(struct err *e);

const char *err_name(enum err_code code);
int err_http(enum err_code code);
/* "limits.head.total"; empty for LIMIT_NONE. */
const char *err_limit_key(enum err_limit limit);
/* Whether the same request may succeed on another target. */
bool err_can_retry(enum err_code code);

#endif
