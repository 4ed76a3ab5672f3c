/* nodes.c - so many nodes as asked for, each with its own identity, certificate and link, in one process: what a hub has to carry.
 *
 * nodes SOCKET URL N SECONDS: invites and enrols N nodes through the hub's admin socket and its listener at URL, links them, and prints a
 * line of JSON at each turning point: {"enrolled":..}, {"linked":..,"ms":..}, then every second {"up":..,"at_ms":..} for SECONDS; links that
 * end come back as the protocol says. Nothing but the links is simulated: TLS, certificates and messages are the real ones. */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/rand.h"
#include "http/client.h"
#include "http/url.h"
#include "http/ws.h"
#include "link/link.h"
#include "pki/pki.h"

enum { AT_ONCE = 64, PROTOCOL_N = 14 };

enum phase { INVITE, ENROL, LINK, LINKING, UP, WAIT };

struct node {
    enum phase phase;
    unsigned number, tries;
    char id[PKI_ID_MAX + 1], bearer[PKI_TOKEN_TEXT + 1], token[PKI_TOKEN_TEXT + 1], key[WS_KEY];
    struct buf key_pem, csr, chain, answer;
    struct dialer *way; /* to the hub, with its certificate */
    struct wire *wire;
    struct timer again, beat;
    struct arena arena;
    struct http_call *call;
    int status;
    uint32_t retry_s;
};

static struct loop loop;
static struct http_client *client;
static struct link_host *host;
static struct dialer *admin, *hub;
static struct node *nodes;
static struct url at;
static char trust[PKI_PEM_MAX];
static unsigned n_nodes, n_done, n_busy, n_up, next_one, heartbeat_ms = 15000;
static uint64_t began_ms;
static bool linking;

static void begin_some(void);
static void begin(struct node *n);

static void die(const char *what, const struct err *e) {
    fprintf(stderr, "nodes: %s: %s\n", what, e ? e->text : "");
    exit(1);
}

/* --- a call over HTTP ---------------------------------------------------------------------------------------------------------------------- */

static void on_ready(void *x) {
    struct node *n = x;
    struct buf body = BUF_MAX(64 << 10);
    if (n->phase == LINKING)
        return;
    if (n->phase == INVITE) {
        buf_add(&body, SV("{}"));
    } else {
        buf_add(&body,
                SV("{\"v\":1,\"version\":\"0\",\"os\":\"linux\",\"arch\":\"x86_64\",\"hostname\":\"sim\",\"name\":"));
        buf_printf(&body, "\"sim-%u\",\"token\":\"%s\",\"csr\":", n->number, n->token);
        buf_add_json(&body, buf_sv(&n->csr));
        buf_add_char(&body, '}');
    }
    struct sv piece = buf_sv(&body);
    http_call_send(n->call, &piece, 1);
    http_call_sent(n->call);
    buf_deinit(&body);
}

static void on_head(void *x, const struct http_head *head) {
    struct node *n = x;
    uint64_t s;
    n->status = head->status;
    n->retry_s = sv_to_u64(http_get(head, SV("retry-after")), &s) ? (uint32_t)s : 0;
}

static void on_body(void *x, struct sv bytes) {
    buf_add(&((struct node *)x)->answer, bytes);
}

static void finish_call(struct node *n) {
    n->call = NULL;
    arena_deinit(&n->arena);
    n_busy--;
}

static void take_answer(struct node *n) {
    yyjson_doc *d = json_parse(buf_sv(&n->answer));
    yyjson_val *root = yyjson_doc_get_root(d);
    struct pki_invite invite;
    struct err e = { 0 };
    if (n->status >= 300)
        die("an answer", (err_set(&e, ERR_BAD_REPLY, "%d %.*s", n->status, SV_FMT(buf_sv(&n->answer))), &e));
    if (n->phase == INVITE) {
        if (!pki_invite_read(json_str(root, "line"), 0, &invite, &e))
            die("invitation", &e);
        memcpy(n->token, invite.token, sizeof n->token);
        n->phase = ENROL;
    } else {
        (void)sv_to_cstr(json_str(root, "node_id"), n->id, sizeof n->id);
        (void)sv_to_cstr(json_str(root, "token"), n->bearer, sizeof n->bearer);
        (void)sv_to_cstr(json_str(root, "trust"), trust, sizeof trust);
        buf_add(&n->chain, json_str(root, "chain"));
        n->phase = LINK;
        n_done++;
    }
    yyjson_doc_free(d);
    buf_deinit(&n->answer);
    buf_init(&n->answer, 1 << 20);
}

static void on_end(void *x) {
    struct node *n = x;
    finish_call(n);
    take_answer(n);
    if (n->phase == ENROL)
        begin(n);
    else
        begin_some();
}

static void on_again(void *arg) {
    begin(arg);
}

static void retry(struct node *n, uint64_t ms) {
    n->phase = LINK;
    timer_set(&loop, &n->again, ms, on_again, n);
}

static uint64_t backoff(struct node *n) {
    uint64_t cap = 1000ull << (n->tries < 6 ? n->tries : 6);
    n->tries++;
    cap = cap > 60000 ? 60000 : cap;
    return 250 + rand_below((uint32_t)cap);
}

static void on_fail(void *x, const struct err *e, bool stale) {
    struct node *n = x;
    (void)stale;
    finish_call(n);
    if (n->phase != LINKING)
        die("a call", e);
    retry(n, backoff(n));
    begin_some();
}

/* --- the link ------------------------------------------------------------------------------------------------------------------------------- */

static void on_beat(void *arg) {
    struct node *n = arg;
    wire_send(n->wire, KIND_HEARTBEAT,
              SV("{\"state\":\"running\",\"uptime_ms\":1000,\"healthy_endpoints\":1,\"total_endpoints\":1,\"active_"
                 "requests\":0,"
                 "\"queued_requests\":0,\"load1\":0.1,\"cpu_pct\":1.5,\"mem_used_bytes\":1000000000}"),
              SV_NULL);
    timer_set(&loop, &n->beat, heartbeat_ms, on_beat, n);
}

static void on_control(void *owner, struct envelope *m) {
    struct node *n = owner;
    if (m->kind == KIND_WELCOME) {
        heartbeat_ms = (unsigned)json_i64(m->payload, "heartbeat_ms", 15000);
        wire_send(n->wire, KIND_REGISTER,
                  SV("{\"name\":\"sim\",\"version\":\"0\",\"allow\":{\"inference\":true},\"services\":[\"http\"],"
                     "\"models\":[]}"),
                  SV_NULL);
    }
}

static void on_up(void *owner) {
    struct node *n = owner;
    n->phase = UP;
    n->tries = 0;
    n_up++;
    timer_set(&loop, &n->beat, rand_below(heartbeat_ms), on_beat, n);
    begin_some();
}

static void on_wire_end(void *owner, int status, unsigned code, struct sv why, uint32_t retry_after_s) {
    struct node *n = owner;
    (void)status;
    (void)code;
    (void)why;
    (void)retry_after_s;
    if (getenv("NODES_TELL"))
        fprintf(stderr, "end %d %u %.*s\n", status, code, SV_FMT(why));
    n_up -= n->phase == UP;
    timer_stop(&loop, &n->beat);
    wire_free(n->wire, 1000, SV_NULL);
    n->wire = NULL;
    retry(n, backoff(n));
}

static const struct wire_events wire_on = { on_control, on_up, on_wire_end };

static void on_upgrade(void *x, const struct http_head *head, struct stream *s, struct sv ahead) {
    struct node *n = x;
    struct err e;
    bool ok = ws_check_reply(head, n->key, SV("drover.link.1"), &e);
    finish_call(n);
    if (!ok)
        die("upgrade", &e);
    n->wire = wire_new(&loop, &wire_on, n, &e);
    if (!n->wire)
        die("link", &e);
    const struct wire_lane lane = { .host = host,
                                    .spec = { .is_client = true, .limits = MUX_LIMITS_NODE, .site = sv_of(n->id) } };
    wire_attach(wire_ref(n->wire), s, ahead, &lane);
    char hello[512];
    snprintf(hello, sizeof hello,
             "{\"proto\":{\"min\":1,\"max\":1},\"node_id\":\"%s\",\"instance\":\"sim-%u\",\"features\":[]}", n->id,
             n->number);
    wire_send(n->wire, KIND_HELLO, sv_of(hello), SV_NULL);
    begin_some();
}

static void on_link_end(void *x) { /* an answer that is no 101 */
    struct node *n = x;
    finish_call(n);
    retry(n, n->retry_s ? n->retry_s * 1000 + rand_below(n->retry_s * 250 + 1) : backoff(n));
    begin_some();
}

static const struct http_call_events call_on = { on_ready, on_head, on_body, on_end, on_fail, NULL, NULL };
static const struct http_call_events link_on = { on_ready, on_head, on_body, on_link_end, on_fail, NULL, on_upgrade };

static struct dialer *dialer_of(struct node *n) {
    struct err e;
    const struct tls_spec spec = { .chain_pem = buf_sv(&n->chain),
                                   .key_pem = buf_sv(&n->key_pem),
                                   .trust_pem = sv_of(trust),
                                   .modern = true,
                                   .alpn = SV("http/1.1"),
                                   .name = SV("hub.home.drover.internal") };
    struct tls_context *tls = tls_context_new(&spec, &e);
    struct dialer *d = tls ? dialer_tcp(at.host, at.port, tls, &e) : NULL;
    if (!d)
        die("TLS", &e);
    tls_unref(tls);
    return d;
}

static void begin(struct node *n) {
    struct err e;
    char auth[PKI_TOKEN_TEXT + 16];
    struct http_header h[10];
    unsigned k = 0;
    bool links = n->phase == LINK;
    arena_init(&n->arena, 1 << 20, NULL);
    h[k++] = (struct http_header){ SV("host"), n->phase == INVITE ? SV("drover") : at.authority };
    h[k++] = (struct http_header){ SV("content-type"), SV("application/json") };
    if (links) {
        snprintf(auth, sizeof auth, "Bearer %s", n->bearer);
        ws_new_key(n->key);
        h[1] = (struct http_header){ SV("connection"), SV("upgrade") };
        h[k++] = (struct http_header){ SV("upgrade"), SV("websocket") };
        h[k++] = (struct http_header){ SV("sec-websocket-version"), SV("13") };
        h[k++] = (struct http_header){ SV("sec-websocket-key"), sv_of(n->key) };
        h[k++] = (struct http_header){ SV("sec-websocket-protocol"), SV("drover.link.1") };
        h[k++] = (struct http_header){ SV("authorization"), sv_of(auth) };
        h[k++] = (struct http_header){ SV("drover-node"), sv_of(n->id) };
        n->way = n->way ? n->way : dialer_of(n);
        n->phase = LINKING;
    }
    if (n->phase == ENROL && !n->csr.n &&
        (!pki_key_make(PKI_P256, &n->key_pem, &e) || !pki_csr_make(buf_sv(&n->key_pem), &n->csr, &e)))
        die("a key", &e);
    const struct http_call_spec spec = { .dialer = n->phase == INVITE ? admin
                                                   : links            ? n->way
                                                                      : hub,
                                         .method = links ? SV("GET") : SV("POST"),
                                         .target = n->phase == INVITE ? SV("/drover/v1/invites")
                                                   : links            ? SV("/link/v1")
                                                                      : SV("/drover/v1/enrol"),
                                         .headers = h,
                                         .n_headers = k,
                                         .length = links ? 0 : -1,
                                         .connect_ms = 20000,
                                         .first_byte_ms = 60000,
                                         .stall_ms = 60000,
                                         .pool_idle_ms = 30000,
                                         .fresh = links,
                                         .upgrade = links };
    n_busy++;
    n->call = http_call_start(client, &n->arena, &spec, links ? &link_on : &call_on, n, &e);
    if (!n->call)
        die("start a call", &e);
    if (!links && http_call_is_ready(n->call))
        on_ready(n);
}

static void begin_some(void) {
    while (n_busy < AT_ONCE && next_one < n_nodes)
        begin(&nodes[next_one++]);
    if (!linking && n_done == n_nodes) {
        printf("{\"enrolled\":%u,\"ms\":%llu}\n", n_done, (unsigned long long)(loop_now_ms(&loop) - began_ms));
        fflush(stdout);
        linking = true;
        next_one = 0;
        began_ms = loop_now_ms(&loop);
        begin_some();
    }
}

/* --- telling -------------------------------------------------------------------------------------------------------------------------------- */

static struct timer second;
static unsigned seconds_left;

static void on_second(void *arg) {
    (void)arg;
    if (linking) {
        printf("{\"up\":%u,\"at_ms\":%llu}\n", n_up, (unsigned long long)(loop_now_ms(&loop) - began_ms));
        fflush(stdout);
        if (seconds_left-- == 0)
            exit(0);
    }
    timer_set(&loop, &second, 1000, on_second, NULL);
}

int main(int argc, char **argv) {
    struct err e = { 0 };
    const struct h1_limits limits = { 0, 65536, 65536, 200, 4096 };
    if (argc != 5 || !url_parse(sv_of(argv[2]), &at, &e))
        return fprintf(stderr, "usage: nodes SOCKET URL N SECONDS %s\n", e.text), 2;
    n_nodes = (unsigned)atoi(argv[3]);
    seconds_left = (unsigned)atoi(argv[4]);
    nodes = calloc(n_nodes, sizeof *nodes);
    if (!nodes || !loop_init(&loop, &e) || !(client = http_client_new(&loop, &limits, &e)) ||
        !(host = link_host_new(&loop, &e)) || !(admin = dialer_unix(sv_of(argv[1]), &e)))
        die("start", &e);
    struct tls_context *any =
        tls_client_context(NULL, true, &e); /* the simulator knows whom it talks to; real nodes pin the hub */
    if (!any || !(hub = dialer_tcp(at.host, at.port, any, &e)))
        die("start", &e);
    for (unsigned i = 0; i < n_nodes; i++) {
        nodes[i].number = i;
        buf_init(&nodes[i].key_pem, PKI_PEM_MAX);
        buf_init(&nodes[i].csr, PKI_PEM_MAX);
        buf_init(&nodes[i].chain, PKI_PEM_MAX);
        buf_init(&nodes[i].answer, 1 << 20);
    }
    began_ms = loop_now_ms(&loop);
    timer_set(&loop, &second, 1000, on_second, NULL);
    begin_some();
    loop_run(&loop);
    return 0;
}
