/* http/url.h - URLs of endpoints, and the paths of requests, read strictly. Pure functions; nothing allocates. Any
 * thread.
 *
 * What two programs could understand differently is refused here instead of being guessed at: the host that is
 * connected to and the host that was meant must be the same (RFC 3986, less what an endpoint has no use for). */
#ifndef DROVER_HTTP_URL_H
#define DROVER_HTTP_URL_H

#include "base/err.h"
#include "base/sv.h"

enum { URL_MAX = 2048 }; /* bytes of a URL: a host name and a path prefix need a tenth of it */

enum url_scheme { URL_HTTP, URL_HTTPS, URL_UNIX };
enum url_host { URL_NAME, URL_IPV4, URL_IPV6 };

struct url { /* views on the text that was parsed */
    enum url_scheme scheme;
    enum url_host host_kind;
    struct sv host;      /* IPv6 without brackets; empty for URL_UNIX */
    struct sv authority; /* host and port as they were written, for the Host field; empty for URL_UNIX */
    uint16_t port;       /* the scheme's own when none is written; 0 for URL_UNIX */
    struct sv prefix;    /* of paths: empty, or "/v1" without a slash at its end */
    struct sv socket;    /* URL_UNIX: the socket's path */
};

/* http://HOST[:PORT][/PREFIX], https://..., unix:/PATH or unix:///PATH. *ret_url is written on success only. The fault
 * does not repeat the text, which may hold a password. */
bool url_parse(struct sv text, struct url *ret_url, struct err *e) MUST_CHECK;

/* Only whether it would parse: for config_source.check_url. */
bool url_check(struct sv text, struct err *e);

/* A path that means one thing to everybody: starts with '/', has no empty, "." or ".." segment (spelt in any way, with
 * or without a ;parameter; a slash at the end is fine), and its escapes are valid and hide no slash, backslash or
 * control byte. Query not included. */
bool path_is_clean(struct sv path);

/* Decodes %XX (and nothing else: '+' stays) and puts a NUL behind, which *ret_n does not count. False for a bad
 * escape, a NUL inside, or when it does not fit into size bytes; to then holds nothing of use. to may be v.p itself. */
bool percent_decode(struct sv v, char *to, size_t size, size_t *ret_n);

#endif
