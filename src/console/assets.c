/* console/assets.c - the console's own files: from memory, in the smallest form the browser takes, and only when it has not got them. */
#include "console/assets.h"

#include "console/request.h"

static const struct asset *find(struct sv path) {
    for (size_t i = 0; i < n_assets; i++)
        if (sv_eq(path, sv_of(assets[i].path)))
            return &assets[i];
    return NULL;
}

/* Whether a coding is in an Accept-Encoding that does not refuse it (RFC 9110 section 12.5.3). */
static bool takes(struct sv list, struct sv coding) {
    struct sv one, name;
    while (sv_next(&list, ',', &one)) {
        struct sv rest = one;
        name = sv_cut(&rest, ';', &name) ? name : (rest = SV_NULL, one);
        rest = sv_trim(rest);
        bool refused = sv_eq(rest, SV("q=0")) || sv_eq(rest, SV("q=0.0")) || sv_eq(rest, SV("q=0.00")) || sv_eq(rest, SV("q=0.000"));
        if (sv_eq_nocase(sv_trim(name), coding))
            return !refused;
    }
    return false;
}

/* Whether the browser has it: each of the tags in If-None-Match, weak or not. */
static bool has_it(struct sv tags, struct sv etag) {
    struct sv one;
    while (sv_next(&tags, ',', &one)) {
        one = sv_trim(one);
        if (sv_starts(one, SV("W/")))
            one = sv_from(one, 2);
        if (sv_eq(one, etag) || sv_eq(one, SV("*")))
            return true;
    }
    return false;
}

static struct sv bytes_of(const struct asset_bytes *b) {
    return (struct sv){ b->p, (size_t)(b->end - b->p) };
}

static void serve(struct request *r, const struct asset *a) {
    const struct http_head *head = r->in->head;
    struct http_header h[REQUEST_HEADERS + 8];
    unsigned n = request_headers(r, h);
    struct sv accepted = http_get(head, SV("accept-encoding")), body = bytes_of(&a->plain);
    const char *coding = NULL;
    if (takes(accepted, SV("br"))) {
        coding = "br";
        body = bytes_of(&a->brotli);
    } else if (takes(accepted, SV("gzip"))) {
        coding = "gzip";
        body = bytes_of(&a->gzip);
    }
    h[n++] = (struct http_header){ SV("etag"), sv_of(a->etag) };
    h[n++] = (struct http_header){ SV("vary"), SV("accept-encoding") };
    h[n++] = (struct http_header){ SV("cache-control"), a->immutable ? SV("public, max-age=31536000, immutable") : SV("no-store") };
    if (a->immutable && has_it(http_get(head, SV("if-none-match")), sv_of(a->etag))) {
        http_in_reply(r->in, 304, h, n, SV_NULL, SV_NULL);
        return;
    }
    if (coding)
        h[n++] = (struct http_header){ SV("content-encoding"), sv_of(coding) };
    http_in_reply(r->in, 200, h, n, sv_of(a->type), body);
}

bool assets_answer(struct request *r) {
    const struct http_head *head = r->in->head;
    struct http_header h[REQUEST_HEADERS + 2];
    struct err e;
    bool at_root = sv_eq(head->path, SV("/")) || sv_eq(head->path, SV("/console"));
    if (!at_root && !sv_starts(head->path, SV("/console/")))
        return false;
    const struct asset *a = find(head->path);
    if (!sv_eq(head->method, SV("GET")) && !sv_eq(head->method, SV("HEAD"))) {
        err_set(&e, ERR_METHOD, "only GET works here");
        request_fail(r, &e, NULL);
    } else if (at_root) {
        unsigned n = request_headers(r, h);
        h[n++] = (struct http_header){ SV("location"), SV("/console/") };
        h[n++] = (struct http_header){ SV("cache-control"), SV("no-store") };
        http_in_reply(r->in, 307, h, n, SV_NULL, SV_NULL);
    } else if (a) {
        serve(r, a);
    } else {
        err_set(&e, ERR_NOT_FOUND, "the console has no such page");
        request_fail(r, &e, "it is at /console/");
    }
    return true;
}
