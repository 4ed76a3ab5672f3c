/* http/proxy.h - hands requests on to another HTTP server and its answers back: for servers behind this one that speak for
 * themselves, such as a console on another loop or on another machine.
 *
 * Bodies stream both ways with back-pressure, nothing is kept. An upgraded connection (WebSocket) is joined with the server's and
 * passed on byte by byte. Fields that belong to one hop stay behind (RFC 9110 section 7.6.1). Loop thread only. */
#ifndef DROVER_HTTP_PROXY_H
#define DROVER_HTTP_PROXY_H

#include "http/client.h"
#include "http/server.h"

struct http_proxy;
/* Borrows client, shares dialer. joined_max: upgraded connections at one time. */
struct http_proxy *http_proxy_new(struct loop *l, struct http_client *client, struct dialer *dialer, unsigned joined_max, struct err *e) MUST_CHECK;
/* Requests under way must have ended; joined connections are cut. NULL is fine. */
void http_proxy_free(struct http_proxy *p);

/* What of a server's answer goes on, where not all of it may: h holds its fields without those of one hop; changes them, and returns how
 * many there are now; -1: the client gets 502 instead. 101 comes here, too. What it adds lives in in's arena. */
enum { HTTP_PROXY_FIELDS = 128 };
typedef int http_proxy_filter(struct http_in *in, const struct http_head *head, struct http_header h[static HTTP_PROXY_FIELDS], unsigned n);
/* Tells the client that nothing comes: 502, or 503 when there are too many joined connections. */
typedef void http_proxy_refuse(struct http_in *in, int status);
/* From now on; and each request goes on a connection of its own. */
void http_proxy_filtered(struct http_proxy *p, http_proxy_filter *filter, http_proxy_refuse *refuse);
/* Ends all requests under way and all joined connections. */
void http_proxy_cut(struct http_proxy *p);
/* Requests under way and joined connections. */
unsigned http_proxy_busy(const struct http_proxy *p);

/* Takes in: it is answered, whatever happens. headers: what goes along instead of the client's own; Host too, no framing fields;
 * borrowed during the call. An upgrade goes along when the request asks for one. */
void http_proxy_pass(struct http_proxy *p, struct http_in *in, struct sv target, const struct http_header *headers, unsigned n_headers);

#endif
