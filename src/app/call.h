/* app/call.h - the command line's side of the admin API: one call, waited for; on this machine's socket, or on a hub elsewhere. */
#ifndef DROVER_APP_CALL_H
#define DROVER_APP_CALL_H

#include "base/buf.h"
#include "base/err.h"

/* Where the daemon is. All views are borrowed during the call. */
struct call_place {
    struct sv socket;      /* its UNIX socket; empty: at url */
    struct sv url, secret; /* "https://hub:7443"; of a session there, empty before there is one */
    const char *ca_file;   /* NULL: the system's */
};

struct call_what {
    struct sv method, target, version, body; /* version: for If-Match, unless it is empty */
    void (*on_body)(void *arg, struct sv bytes); /* as they come; may be NULL */
    void (*on_cookie)(void *arg, struct sv cookie); /* of the answer; may be NULL */
    void *arg;
};

/* The status, or 0 with *e set: ERR_IO when nobody answers. */
int call_hub(const struct call_place *at, const struct call_what *what, struct err *e);

/* Follows its live events: sends hello, then on_text gets each message until it returns false or the connection ends. Returns as call_hub;
 * 101 when it ended after that. */
int call_follow(const struct call_place *at, struct sv hello, bool (*on_text)(void *arg, struct sv text), void *arg, struct err *e);

#endif
