/* The control face as a whole, against small servers on loopback addresses of this test's own. */
#include "fleet/fleet.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rand.h"
#include "http/client.h"
#include "io/pair.h"
#include "io/sock.h"

/* --- a server that answers from a table ----------------------------------------------------------------------------- */

struct page {
    const char *path, *body;
    int status; /* 0: 200 */
};

struct site {
    struct list visits;
    struct loop *loop;
    struct listener *listener;
    char host[32];
    uint16_t port;
    const struct page *pages;
    bool mute;             /* closes every connection */
    unsigned n_requests, n_posts, n_bad_hosts;
    char authorization[64];
};

struct visit {
    struct list visits; /* of its site */
    struct site *site;
    struct stream *stream;
    char head[4096];
    size_t n;
};

static void visit_end(struct visit *v) {
    list_drop(&v->visits);
    stream_close(v->stream);
    free(v);
}

static void answer(struct visit *v) {
    struct site *s = v->site;
    struct sv text = { v->head, v->n }, method, path;
    char reply[4096], want[80];
    struct page page = { "", "not found", 404 };
    s->n_requests++;
    sv_cut(&text, ' ', &method);
    sv_cut(&text, ' ', &path);
    s->n_posts += sv_eq(method, SV("POST"));
    snprintf(want, sizeof want, "host: %s:%u\r\n", s->host, s->port);
    s->n_bad_hosts += sv_find(text, sv_of(want)) < 0;
    ptrdiff_t at = sv_find(text, SV("authorization: "));
    if (at >= 0)
        sv_to_cstr(sv_first(sv_from(text, (size_t)at + 15), (size_t)sv_find_char(sv_from(text, (size_t)at + 15), '\r')),
                   s->authorization, sizeof s->authorization);
    for (const struct page *p = s->pages; p && p->path; p++)
        if (sv_eq(path, sv_of(p->path)))
            page = *p;
    int n = snprintf(reply, sizeof reply, "HTTP/1.1 %d X\r\ncontent-length: %zu\r\nconnection: close\r\n\r\n%s",
                     page.status ? page.status : 200, strlen(page.body), page.body);
    stream_write1(v->stream, (struct sv){ reply, (size_t)n });
    stream_end(v->stream);
}

static void on_read(void *owner, struct sv bytes) {
    struct visit *v = owner;
    assert_true(v->n + bytes.n <= sizeof v->head);
    memcpy(v->head + v->n, bytes.p, bytes.n);
    v->n += bytes.n;
    if (v->site->mute)
        visit_end(v);
    else if (sv_find((struct sv){ v->head, v->n }, SV("\r\n\r\n")) >= 0)
        answer(v);
}

static void on_end(void *owner, const struct err *e) {
    visit_end(owner);
}

static const struct stream_events visit_events = { on_read, on_end, NULL, NULL };

static void on_accept(void *owner, struct stream *stream) {
    struct visit *v = calloc(1, sizeof *v);
    v->site = owner;
    v->stream = stream;
    list_init(&v->visits);
    list_push_back(&v->site->visits, &v->visits);
    stream_own(stream, &visit_events, v);
    stream_read(stream, true);
}

static const struct listener_events site_events = { on_accept, NULL };

/* On a random address of 127/8, so that tests side by side do not meet. port 0: any. */
static void site_open(struct site *s, struct loop *l, const char *host, uint16_t port, const struct page *pages) {
    struct err e = { 0 };
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    socklen_t n = sizeof at;
    *s = (struct site){ .loop = l, .pages = pages };
    list_init(&s->visits);
    snprintf(s->host, sizeof s->host, "%s", host);
    assert_int_equal(inet_pton(AF_INET, host, &at.sin_addr), 1);
    int fd = listen_socket((struct sockaddr *)&at, sizeof at, false, 64, &e);
    if (fd < 0)
        fail_msg("%s", e.text);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    s->port = ntohs(at.sin_port);
    s->listener = listener_new(l, fd, &site_events, s, &e);
    assert_non_null(s->listener);
}

static void site_close(struct site *s) {
    if (!s->listener)
        return;
    listener_close(s->listener);
    s->listener = NULL;
    for (struct list *it; (it = s->visits.next) != &s->visits;)
        visit_end(CONTAINER(it, struct visit, visits));
}

/* --- a fleet to look at --------------------------------------------------------------------------------------------- */

struct world {
    struct loop loop;
    struct http_client *client;
    struct config *config;
    struct fleet *fleet;
    struct snapshot *now;
    unsigned n_snapshots;
    struct timer step;
    bool (*until)(struct world *w);
    unsigned patience;
    char dir[64], host[32];
    struct site a, b;
};

static void on_snapshot(void *owner, struct snapshot *s) {
    struct world *w = owner;
    assert_true(!w->now || s->version > w->now->version);
    snapshot_unref(w->now);
    w->now = snapshot_ref(s);
    w->n_snapshots++;
}

static const struct fleet_events fleet_events = { on_snapshot };

static struct config *config_of(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static struct config *config_of(struct world *w, const char *fmt, ...) {
    char text[4096], rest[3072];
    static const char *const environment[] = { NULL };
    struct config_report r;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(rest, sizeof rest, fmt, ap);
    va_end(ap);
    snprintf(text, sizeof text, "data_dir: %s\nrun_dir: %s\n%s", w->dir, w->dir, rest);
    struct config_source src = { .path = "test.yaml", .text = sv_of(text), .environment = environment };
    struct config *c = config_load(&src, &r);
    if (!c)
        fail_msg("%s: %s", r.complaints[0].key, r.complaints[0].text);
    return c;
}
#define QUIET "discovery: {local: false, containers: false}\n"

static void world_open(struct world *w) {
    static const struct h1_limits limits = { 8192, 16384, 65536, 100, 256 };
    struct err e;
    memset(w, 0, sizeof *w);
    snprintf(w->dir, sizeof w->dir, "/tmp/fleet-test-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->host, sizeof w->host, "127.%u.%u.%u", 1 + rand_below(250), rand_below(250), 1 + rand_below(250));
    assert_true(loop_init(&w->loop, &e));
    w->client = http_client_new(&w->loop, &limits, &e);
    assert_non_null(w->client);
}

static void start(struct world *w, struct config *c) {
    struct err e;
    w->config = c;
    w->fleet = fleet_new(&w->loop, w->client, c, &fleet_events, w, &e);
    if (!w->fleet)
        fail_msg("%s", e.text);
    assert_non_null(fleet_snapshot(w->fleet));
}

static void apply(struct world *w, struct config *c) {
    fleet_apply(w->fleet, c);
    config_unref(w->config);
    w->config = c;
}

static void world_close(struct world *w) {
    char path[128];
    fleet_free(w->fleet);
    snapshot_unref(w->now);
    http_client_free(w->client);
    site_close(&w->a);
    site_close(&w->b);
    loop_deinit(&w->loop);
    config_unref(w->config);
    snprintf(path, sizeof path, "%s/slug.key", w->dir);
    unlink(path);
    rmdir(w->dir);
}

static void on_step(void *arg) {
    struct world *w = arg;
    if (w->until(w) || --w->patience == 0)
        loop_stop(&w->loop);
    else
        timer_set(&w->loop, &w->step, 10, on_step, w);
}

/* Runs the loop until the question is answered with yes; fails after some seconds. */
static void run_until(struct world *w, bool (*until)(struct world *w)) {
    w->until = until;
    w->patience = 500;
    timer_set(&w->loop, &w->step, 0, on_step, w);
    loop_run(&w->loop);
    timer_stop(&w->loop, &w->step);
    if (!w->patience)
        fail_msg("waited in vain");
}

static const struct fleet_endpoint *endpoint(struct world *w, const char *name) {
    for (size_t i = 0; w->now && i < w->now->n_endpoints; i++)
        if (sv_eq(w->now->endpoints[i].name, sv_of(name)))
            return &w->now->endpoints[i];
    return NULL;
}

static enum fleet_state state_of(struct world *w, const char *name) {
    const struct fleet_endpoint *p = endpoint(w, name);
    return p ? p->state : FLEET_UNKNOWN;
}

static bool is_settled(struct world *w) {
    return fleet_is_settled(w->fleet) && w->now;
}
static bool a_is_up(struct world *w) { return state_of(w, "a") == FLEET_UP; }
static bool a_is_down(struct world *w) { return state_of(w, "a") == FLEET_DOWN; }
static bool a_is_degraded(struct world *w) { return state_of(w, "a") == FLEET_DEGRADED; }
static bool a_is_loading(struct world *w) { return state_of(w, "a") == FLEET_LOADING; }
static bool b_is_gone(struct world *w) { return !endpoint(w, "b"); }
static bool demo_is_there(struct world *w) { return endpoint(w, "demo") != NULL; }
static bool demo_is_gone(struct world *w) { return !endpoint(w, "demo"); }
static bool found_is_up(struct world *w) {
    for (size_t i = 0; w->now && i < w->now->n_endpoints; i++)
        if (sv_starts(w->now->endpoints[i].name, SV("ollama-127-")) && w->now->endpoints[i].state == FLEET_UP)
            return true;
    return false;
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

#define VLLM_LIST(ids) { "/v1/models", "{\"object\":\"list\",\"data\":[" ids "]}", 0 }
#define VLLM_MODEL(id) "{\"id\":\"" id "\",\"object\":\"model\",\"created\":5,\"owned_by\":\"vllm\",\"max_model_len\":4096}"
static const struct page vllm[] = { VLLM_LIST(VLLM_MODEL("one") "," VLLM_MODEL("two")), { "/version", "{\"version\":\"0.21.0\"}", 0 }, { NULL } };
static const struct page locked[] = { { "/v1/models", "{\"error\":\"Unauthorized\"}", 401 }, { "/version", "{\"version\":\"0.21.0\"}", 0 }, { NULL } };
static const struct page loading[] = { { "/v1/models", "{\"error\":{\"message\":\"Loading model\"}}", 503 },
                                       { "/health", "{\"error\":{\"message\":\"Loading model\"}}", 503 }, { NULL } };
static const struct page ollama[] = {
    { "/v1/models", "{\"object\":\"list\",\"data\":null}", 0 }, { "/", "Ollama is running", 0 }, { "/api/status", "{\"cloud\":{}}", 0 },
    { "/api/tags", "{\"models\":[{\"name\":\"m:latest\",\"digest\":\"d\"}]}", 0 }, { "/api/show", "{\"capabilities\":[\"completion\"]}", 0 }, { NULL },
};

static void a_configured_place_is_recognised_and_watched(void **state) {
    struct world w;
    world_open(&w);
    site_open(&w.a, &w.loop, w.host, 0, vllm);
    start(&w, config_of(&w, QUIET "endpoints:\n- {name: a, url: 'http://%s:%u/v1', key: 'sk-1', models: {exclude: [two]}, dialects: [openai-chat]}\n",
                        w.host, w.a.port));
    run_until(&w, a_is_up);
    const struct fleet_endpoint *p = endpoint(&w, "a");
    assert_true(sv_eq(p->kind, SV("vllm")));
    assert_true(sv_eq(p->version, SV("0.21.0")));
    assert_int_equal(p->n_models, 1);
    assert_int_equal(p->models[0].context, 4096);
    assert_true(p->speaks & LLM_SPEAKS_CHAT);
    assert_false(p->speaks & (LLM_SPEAKS_RESPONSES | LLM_SPEAKS_ANTHROPIC));
    assert_int_equal(p->pool_idle_ms, 4000);
    assert_int_equal(p->base_path.n, 0); /* the /v1 of an SDK's base URL is not taken for a prefix */
    assert_true(p->local);
    assert_true(sv_eq(p->auth, SV("Bearer sk-1")));
    assert_string_equal(w.a.authorization, "Bearer sk-1");
    assert_int_equal(w.a.n_bad_hosts, 0);
    assert_int_equal(w.a.n_posts, 0);
    assert_true(fleet_is_settled(w.fleet));
    world_close(&w);
}

static void a_place_goes_down_and_comes_back_with_its_models(void **state) {
    struct world w;
    world_open(&w);
    site_open(&w.a, &w.loop, w.host, 0, vllm);
    uint16_t port = w.a.port;
    start(&w, config_of(&w, QUIET "endpoints:\n- {name: a, url: 'http://%s:%u'}\n", w.host, port));
    run_until(&w, a_is_up);
    struct cell *cell = cell_ref(endpoint(&w, "a")->cell), *target = cell_ref(w.now->targets[0].cell);
    site_close(&w.a);
    fleet_refresh(w.fleet);
    run_until(&w, a_is_down);
    assert_true(endpoint(&w, "a")->reason.n > 0);
    assert_int_equal(endpoint(&w, "a")->n_models, 2); /* still known */
    assert_true(endpoint(&w, "a")->since_ms > 0);
    site_open(&w.a, &w.loop, w.host, port, vllm);
    fleet_refresh(w.fleet);
    run_until(&w, a_is_up);
    assert_int_equal(endpoint(&w, "a")->reason.n, 0);
    assert_ptr_equal(endpoint(&w, "a")->cell, cell);
    assert_ptr_equal(w.now->targets[0].cell, target);
    cell_unref(cell);
    cell_unref(target);
    world_close(&w);
}

static void loading_and_locked_places_say_so(void **state) {
    struct world w;
    world_open(&w);
    site_open(&w.a, &w.loop, w.host, 0, loading);
    start(&w, config_of(&w, QUIET "endpoints:\n- {name: a, url: 'http://%s:%u'}\n", w.host, w.a.port));
    run_until(&w, a_is_loading);
    assert_true(sv_eq(endpoint(&w, "a")->kind, SV("llamacpp")));
    w.a.pages = locked;
    fleet_refresh(w.fleet);
    run_until(&w, a_is_degraded);
    assert_true(sv_eq(endpoint(&w, "a")->kind, SV("vllm")));
    assert_true(sv_find(endpoint(&w, "a")->reason, SV("key")) >= 0);
    w.a.pages = vllm;
    fleet_refresh(w.fleet);
    run_until(&w, a_is_up);
    world_close(&w);
}

static void new_settings_leave_what_stays_the_same_alone(void **state) {
    struct world w;
    world_open(&w);
    site_open(&w.a, &w.loop, w.host, 0, vllm);
    site_open(&w.b, &w.loop, w.host, 0, vllm);
    start(&w, config_of(&w, QUIET "endpoints:\n- {name: a, url: 'http://%s:%u'}\n- {name: b, url: 'http://%s:%u'}\n", w.host, w.a.port,
                        w.host, w.b.port));
    run_until(&w, is_settled);
    run_until(&w, a_is_up);
    struct cell *cell = cell_ref(endpoint(&w, "a")->cell);
    apply(&w, config_of(&w, QUIET "endpoints:\n- {name: a, url: 'http://%s:%u', weight: 5, models: {include: ['t*']}}\n", w.host, w.a.port));
    run_until(&w, b_is_gone);
    assert_ptr_equal(endpoint(&w, "a")->cell, cell);
    assert_int_equal(endpoint(&w, "a")->state, FLEET_UP);
    assert_int_equal(endpoint(&w, "a")->weight, 5);
    assert_int_equal(endpoint(&w, "a")->n_models, 1);
    apply(&w, config_of(&w, QUIET "endpoints:\n- {name: a, url: 'http://%s:%u', kind: sglang}\n", w.host, w.a.port));
    run_until(&w, a_is_degraded); /* another place now, and not what it is said to be */
    assert_ptr_not_equal(endpoint(&w, "a")->cell, cell);
    cell_unref(cell);
    world_close(&w);
}

static void what_is_not_there_is_down_and_settles(void **state) {
    struct world w;
    world_open(&w);
    start(&w, config_of(&w, QUIET "endpoints:\n- {name: a, url: 'http://%s:1', kind: vllm}\n", w.host));
    run_until(&w, a_is_down);
    assert_true(fleet_is_settled(w.fleet));
    assert_int_equal(w.now->n_slugs, 0);
    world_close(&w);
}

static void an_empty_fleet_settles(void **state) {
    struct world w;
    world_open(&w);
    start(&w, config_of(&w, QUIET));
    run_until(&w, is_settled);
    assert_int_equal(w.now->n_endpoints, 0);
    world_close(&w);
}

static void on_demo_accept(void *owner, struct stream *s) {
    stream_close(s);
}

static void the_demo_is_marked_and_never_asked(void **state) {
    struct world w;
    struct err e;
    struct sv node;
    world_open(&w);
    struct dialer *d = dialer_pair(on_demo_accept, NULL, &e);
    assert_non_null(d);
    start(&w, config_of(&w, QUIET));
    fleet_demo(w.fleet, d);
    run_until(&w, demo_is_there);
    fleet_refresh(w.fleet);
    const struct fleet_endpoint *p = endpoint(&w, "demo");
    assert_true(p->demo && p->local && p->state == FLEET_UP);
    assert_int_equal(p->speaks, LLM_SPEAKS_CHAT | LLM_SPEAKS_COMPLETIONS);
    assert_ptr_equal(p->dialer, d);
    assert_non_null(snapshot_find(w.now, SV("drover-demo"), &node));
    fleet_demo(w.fleet, NULL);
    run_until(&w, demo_is_gone);
    dialer_unref(d);
    world_close(&w);
}

static void a_listed_address_is_searched_and_a_written_one_wins(void **state) {
    struct world w;
    char name[64];
    world_open(&w);
    site_open(&w.a, &w.loop, w.host, 11434, ollama);
    start(&w, config_of(&w, "discovery: {local: false, containers: false, lan: [%s]}\n", w.host));
    run_until(&w, found_is_up);
    snprintf(name, sizeof name, "ollama-%s", w.host);
    for (char *c = name; *c; c++)
        *c = *c == '.' ? '-' : *c;
    assert_non_null(endpoint(&w, name));
    assert_int_equal(w.a.n_bad_hosts, 0);
    apply(&w, config_of(&w, "discovery: {local: false, containers: false, lan: [%s]}\nendpoints:\n- {name: a, url: 'http://%s:11434'}\n",
                        w.host, w.host));
    run_until(&w, a_is_up);
    assert_null(endpoint(&w, name));
    assert_int_equal(w.now->n_endpoints, 1);
    world_close(&w);
}

static void opaque_names_need_a_key_file_of_their_own(void **state) {
    struct world w;
    struct stat st;
    char path[128], first[16];
    world_open(&w);
    site_open(&w.a, &w.loop, w.host, 0, vllm);
    snprintf(path, sizeof path, "%s/slug.key", w.dir);
    for (int round = 0; round < 2; round++) {
        start(&w, config_of(&w, QUIET "slugs: opaque\nendpoints:\n- {name: a, url: 'http://%s:%u'}\n", w.host, w.a.port));
        run_until(&w, a_is_up);
        assert_int_equal(w.now->slugs[0].name.n, 11);
        if (round == 0)
            sv_to_cstr(w.now->slugs[0].name, first, sizeof first);
        assert_true(sv_eq(w.now->slugs[0].name, sv_of(first))); /* the same after a restart */
        fleet_free(w.fleet);
        w.fleet = NULL;
        w.now = snapshot_unref(w.now);
        w.config = config_unref(w.config);
    }
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, 32);
    assert_int_equal(truncate(path, 5), 0); /* damaged: better no start than other names */
    struct err e;
    struct config *c = config_of(&w, QUIET "slugs: opaque\n");
    assert_null(fleet_new(&w.loop, w.client, c, &fleet_events, &w, &e));
    config_unref(c);
    world_close(&w);
}

static void failing_requests_open_the_breaker(void **state) {
    struct world w;
    world_open(&w);
    site_open(&w.a, &w.loop, w.host, 0, vllm);
    start(&w, config_of(&w, QUIET "endpoints:\n- {name: a, url: 'http://%s:%u'}\n", w.host, w.a.port));
    run_until(&w, a_is_up);
    struct cell *c = endpoint(&w, "a")->cell;
    for (int i = 0; i < 6; i++)
        cell_outcome(c, OUTCOME_FAILED, loop_now_us(&w.loop));
    w.patience = 0;
    for (int i = 0; i < 300 && atomic_load(&c->breaker) == BREAKER_CLOSED; i++) {
        run_until(&w, a_is_up);
        usleep(10000);
    }
    assert_int_equal(atomic_load(&c->breaker), BREAKER_OPEN);
    world_close(&w);
}

/* Of others a refusal after requests that succeeded is a hiccup until the next look. */
static void a_place_that_tells_of_itself_is_believed_at_once(void **state) {
    (void)state;
    struct world w;
    struct err e;
    struct fleet_model model = { .id = SV("m") };
    struct fleet_fed fed = {
        .name = SV("a"), .url = SV("link:a"), .state = FLEET_UP, .has_models = true, .models = &model, .n_models = 1
    };
    world_open(&w);
    start(&w, config_of(&w, QUIET));
    assert_non_null(fed.dialer = dialer_unix(SV("/nowhere"), &e));
    assert_true(fleet_feed(w.fleet, &fed, &e));
    run_until(&w, a_is_up);
    atomic_fetch_add(&endpoint(&w, "a")->cell->n_ok, 3);
    fed.state = FLEET_DOWN;
    fed.reason = SV("drained");
    fed.has_models = false;
    assert_true(fleet_feed(w.fleet, &fed, &e));
    run_until(&w, a_is_down);
    assert_true(sv_eq(endpoint(&w, "a")->reason, SV("drained")));
    assert_int_equal(endpoint(&w, "a")->n_models, 1); /* its clients hear "unavailable", not "no such model" */
    dialer_unref(fed.dialer);
    world_close(&w);
}

static void it_may_end_at_any_moment(void **state) {
    for (unsigned turns = 1; turns < 30; turns++) {
        struct world w;
        world_open(&w);
        site_open(&w.a, &w.loop, w.host, 0, ollama);
        start(&w, config_of(&w, "discovery: {local: false, containers: false, lan: [%s]}\nendpoints:\n- {name: a, url: 'http://%s:%u'}\n",
                            w.host, w.host, w.a.port));
        for (unsigned i = 0; i < turns; i++)
            uv_run(&w.loop.uv, UV_RUN_NOWAIT);
        world_close(&w);
    }
}

static void out_of_memory_is_survived(void **state) {
    for (long n = 1; n < 400; n += n < 60 ? 1 : 7) {
        struct world w;
        struct err e;
        world_open(&w);
        site_open(&w.a, &w.loop, w.host, 0, vllm);
        w.config = config_of(&w, QUIET "endpoints:\n- {name: a, url: 'http://%s:%u'}\n", w.host, w.a.port);
        mem_fail_at(n, 0);
        w.fleet = fleet_new(&w.loop, w.client, w.config, &fleet_events, &w, &e);
        for (int i = 0; w.fleet && i < 60; i++)
            uv_run(&w.loop.uv, UV_RUN_NOWAIT);
        mem_fail_at(0, 0);
        world_close(&w);
    }
}

int main(void) {
    if (sodium_init() < 0)
        return 1;
    signal(SIGPIPE, SIG_IGN);
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_configured_place_is_recognised_and_watched),
        cmocka_unit_test(a_place_goes_down_and_comes_back_with_its_models),
        cmocka_unit_test(loading_and_locked_places_say_so),
        cmocka_unit_test(new_settings_leave_what_stays_the_same_alone),
        cmocka_unit_test(what_is_not_there_is_down_and_settles),
        cmocka_unit_test(an_empty_fleet_settles),
        cmocka_unit_test(the_demo_is_marked_and_never_asked),
        cmocka_unit_test(a_listed_address_is_searched_and_a_written_one_wins),
        cmocka_unit_test(opaque_names_need_a_key_file_of_their_own),
        cmocka_unit_test(failing_requests_open_the_breaker),
        cmocka_unit_test(a_place_that_tells_of_itself_is_believed_at_once),
        cmocka_unit_test(it_may_end_at_any_moment),
        cmocka_unit_test(out_of_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
