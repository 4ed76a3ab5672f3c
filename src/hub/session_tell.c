/* hub/session_tell.c - how a link stands, for the doctor and for people. */
#include <stdio.h>

#include "base/json.h"
#include "hub/session_room.h"

static void put_doc(struct buf *out, const char *name, yyjson_val *v) {
    size_t n;
    char *text = v ? yyjson_val_write_opts(v, 0, &json_heap, &n, NULL) : NULL;
    if (text) {
        buf_printf(out, ",\"%s\":", name);
        buf_add(out, (struct sv){ text, n });
    }
    mem_free(text);
}

void session__facts(const struct session *s, struct session_facts *ret) {
    yyjson_val *beat = s->beat ? yyjson_obj_get(yyjson_doc_get_root(s->beat), "payload") : NULL;
    *ret = (struct session_facts){ .is_up = s->state == UP,
                                   .has_models = s->has_models,
                                   .allows = s->allows,
                                   .is_pq = s->is_pq,
                                   .n_models = s->models.n,
                                   .silent_ms = session__now_ms(s->hub) - s->heard_ms,
                                   .clock_off_ms = s->clock_off_ms,
                                   .endpoints = json_i64(beat, "total_endpoints", -1),
                                   .endpoints_well = json_i64(beat, "healthy_endpoints", -1),
                                   .version = sv_of(s->version),
                                   .console = json_str(json_get(yyjson_doc_get_root(s->told), "allow"), "console") };
}

void session__print(const struct session *s, struct buf *out) {
    struct engine_facts f;
    struct sv why;
    unsigned lanes = 1;
    uint64_t streams, in, out_bytes;
    wire_facts(s->wire, &f);
    streams = f.streams.n_streams;
    in = f.bytes_in;
    out_bytes = f.bytes_out;
    LIST_FOR(it, &s->lanes) {
        struct engine_facts l;
        wire_facts(CONTAINER(it, struct lane_of, all)->wire, &l);
        streams += l.streams.n_streams;
        in += l.bytes_in;
        out_bytes += l.bytes_out;
        lanes++;
    }
    if (s->state == UP) {
        enum fleet_state st = session__state(s, &why);
        buf_printf(out, ",\"health\":\"%s\",\"reason\":", fleet_state_name(st));
        buf_add_json(out, why);
    }
    buf_printf(out, ",\"link\":{\"up_ms\":%llu,\"peer\":", (unsigned long long)(s->up_ms ? session__now_ms(s->hub) - s->up_ms : 0));
    buf_add_json(out, sv_of(s->peer));
    buf_add(out, SV(",\"group\":"));
    buf_add_json(out, sv_of(s->group));
    buf_printf(out,
               ",\"post_quantum\":%s,\"rtt_us\":%llu,\"lanes\":%u,\"streams\":%llu,\"bytes_in\":%llu,\"bytes_out\":%"
               "llu,\"silent_ms\":%llu,\"clock_off_ms\":%lld}",
               s->is_pq ? "true" : "false", (unsigned long long)f.rtt_us, lanes, (unsigned long long)streams,
               (unsigned long long)in, (unsigned long long)out_bytes,
               (unsigned long long)(session__now_ms(s->hub) - s->heard_ms), (long long)s->clock_off_ms);
    buf_printf(out, ",\"models\":%zu", s->models.n);
    leaves__print(&s->leaves, session__now_ms(s->hub), out);
    put_doc(out, "registration", yyjson_doc_get_root(s->told));
    put_doc(out, "heartbeat", s->beat ? yyjson_obj_get(yyjson_doc_get_root(s->beat), "payload") : NULL);
}
