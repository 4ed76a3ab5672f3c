/* console/join.c - this machine as a node of a hub: how it stands, joining and leaving. */
#include "console/request.h"

#include "base/clock.h"

static void put_known_text(struct buf *out, const char *name, struct sv v) {
    if (v.n)
        put_text(out, name, v);
}

static void print(struct buf *out, const struct member_facts *f) {
    char at[25];
    buf_add_char(out, '{');
    put_text(out, "state", sv_of(f->state));
    put_number(out, "since_ms", f->since_ms);
    put_known(out, "next_try_ms", f->next_try_ms);
    put_known_text(out, "hub", f->hub);
    put_known_text(out, "called_at", f->called_at);
    put_known_text(out, "hub_id", f->hub_id);
    put_known_text(out, "fleet", f->fleet);
    put_known_text(out, "node_id", f->node_id);
    put_known_text(out, "name", f->name);
    put_known_text(out, "error", f->error);
    put_known_text(out, "renewal_error", f->renewal_error);
    put_known_text(out, "fingerprint", sv_of(f->fingerprint));
    put_known(out, "epoch", f->epoch);
    put_known(out, "rtt_us", f->rtt_us);
    put_known(out, "lanes", f->lanes);
    if (f->lanes) {
        put_number(out, "streams", f->streams);
        put_number(out, "models", f->models);
        put_number(out, "endpoints", f->endpoints);
    }
    if (f->not_after_s)
        put_text(out, "certificate_not_after", sv_of(clock_iso8601((uint64_t)f->not_after_s * 1000, at)));
    buf_add_char(out, '}');
}

static void answer(struct request *r, int status) {
    struct member_facts f;
    struct buf out = BUF_MAX(REQUEST_BODY_MAX);
    member_facts(r->admin->house->member, &f);
    print(&out, &f);
    request_reply(r, status, &out);
}

void join_status(const struct admin *a, struct buf *out) {
    struct member_facts f;
    member_facts(a->house->member, &f);
    if (f.phase == MEMBER_OFF)
        return;
    buf_add(out, SV(",\"join\":{"));
    put_text(out, "state", sv_of(f.state));
    put_known_text(out, "fleet", f.fleet);
    put_known_text(out, "hub", f.hub);
    put_known_text(out, "error", f.error);
    buf_add_char(out, '}');
}

void join_get(struct request *r) {
    answer(r, 200);
}

void join_begin(struct request *r) {
    CLEANUP(json_doc_freep) yyjson_doc *doc = request_json(r);
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct err e;
    if (!doc)
        return;
    if (member_join(r->admin->house->member, json_str(root, "line"), json_str(root, "name"), json_str(root, "mode"),
                    &e))
        answer(r, 202);
    else
        request_fail(r, &e, NULL);
}

void join_end(struct request *r) {
    struct err e;
    if (member_leave(r->admin->house->member, &e))
        answer(r, 200);
    else
        request_fail(r, &e, NULL);
}
