/* What the doctor says of nodes: one case per rule, at its bounds. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sodium.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "base/clock.h"
#include "base/log.h"
#include "http/client.h"
#include "hub/room.h"

#define DAY_MS UINT64_C(86400000)

struct world {
    struct loop loop;
    struct http_client *client;
    struct config *config;
    struct fleet *fleet;
    struct hub_house house;
    struct hub hub;
    struct node *node;
    struct session_facts link;
    char dir[64], codes[256];  /* "link_down:error certificate_late:warning" */
    char what[400], cure[400]; /* of the last one */
};

static void on_snapshot(void *owner, struct snapshot *s) {
    (void)owner;
    (void)s;
}
static const struct fleet_events fleet_events = { on_snapshot };

static struct config *config_of(const char *dir, const char *listen) {
    static const char *const environment[] = { NULL };
    static struct config_report r;
    char text[1024];
    snprintf(
        text, sizeof text,
        "data_dir: %s\nrun_dir: %s\ndiscovery: {local: false, containers: false}\nhub: {name: home, heartbeat: 5s}\n"
        "endpoints:\n- {name: taken, url: 'http://127.0.0.1:1'}\n%s",
        dir, dir, listen);
    struct config_source src = { .path = "test.yaml", .text = sv_of(text), .environment = environment };
    struct config *c = config_load(&src, &r);
    if (!c)
        fail_msg("%s: %s", r.complaints[0].key, r.complaints[0].text);
    return c;
}

static void open_world(struct world *w, const char *listen) {
    static const struct h1_limits limits = { 8192, 16384, 65536, 100, 256 };
    struct err e = { 0 };
    memset(w, 0, sizeof *w);
    snprintf(w->dir, sizeof w->dir, "/tmp/doctor-test-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_true(loop_init(&w->loop, &e));
    assert_non_null(w->client = http_client_new(&w->loop, &limits, &e));
    w->config = config_of(w->dir, listen);
    assert_non_null(w->fleet = fleet_new(&w->loop, w->client, w->config, &fleet_events, w, &e));
    w->house = (struct hub_house){ .fleet = w->fleet, .config = &w->config, .version = "1.4.0" };
    w->hub.house = &w->house;
    list_init(&w->hub.invites);
    list_init(&w->hub.inbox);
    list_init(&w->hub.roster.all);
    map_init(&w->hub.roster.by_id);
    map_init(&w->hub.roster.by_spki);
    w->hub.authority = authority_new(w->config, &e);
    if (!w->hub.authority || !authority_begin(w->hub.authority, w->config, false, &e))
        fail_msg("%s", e.text);
    w->node = roster_add(&w->hub.roster, SV("attic-000000"), SV("attic"), "ab");
    assert_non_null(w->node);
    w->node->state = NODE_APPROVED;
    w->node->epoch = 1;
    snprintf(w->node->serial, sizeof w->node->serial, "1a");
    snprintf(w->node->shown, sizeof w->node->shown, "1a");
    w->node->not_after_s = (int64_t)(clock_wall_ms() / 1000) + PKI_LEAF_LIFE_S;
    w->node->decided_ms = clock_wall_ms();
    w->link = (struct session_facts){ .is_up = true,
                                      .has_models = true,
                                      .allows = true,
                                      .is_pq = true,
                                      .n_models = 1,
                                      .endpoints = 1,
                                      .endpoints_well = 1,
                                      .version = SV("1.4.0") };
}

static int drop(const char *path, const struct stat *st, int flag, struct FTW *at) {
    (void)st;
    (void)flag;
    (void)at;
    return remove(path);
}

static void close_world(struct world *w) {
    roster_deinit(&w->hub.roster);
    authority_free(w->hub.authority);
    fleet_free(w->fleet);
    http_client_free(w->client);
    loop_deinit(&w->loop);
    config_unref(w->config);
    nftw(w->dir, drop, 16, FTW_DEPTH | FTW_PHYS);
}

static void found(void *arg, const struct hub_finding *f) {
    struct world *w = arg;
    size_t n = strlen(w->codes);
    assert_true(f->what.n && f->where.n && f->cure.n);
    snprintf(w->codes + n, sizeof w->codes - n, "%s%s:%s", n ? " " : "", f->code, f->severity);
    snprintf(w->what, sizeof w->what, "%.*s", SV_FMT(f->what));
    snprintf(w->cure, sizeof w->cure, "%.*s", SV_FMT(f->cure));
}

static const char *look(struct world *w, bool is_linked) {
    w->codes[0] = '\0';
    doctor__look(&w->hub, w->node, is_linked ? &w->link : NULL, found, w);
    return w->codes;
}

static void ends_in(struct world *w, int64_t s) {
    w->node->not_after_s = (int64_t)(clock_wall_ms() / 1000) + s;
}

static void a_node_that_is_well_is_left_alone(void **state) {
    (void)state;
    struct world w;
    open_world(&w, "");
    assert_string_equal(look(&w, true), "");
    w.node->state = NODE_REVOKED;
    assert_string_equal(look(&w, false), "");
    close_world(&w);
}

static void links(void **state) {
    (void)state;
    struct world w;
    open_world(&w, "");
    snprintf(w.node->last_error, sizeof w.node->last_error, "reset");
    w.node->down_since_ms = clock_wall_ms() - 7200000;
    assert_string_equal(look(&w, false), "link_down:error");
    assert_string_equal(w.what, "no link since 2 h: reset");
    w.node->drained = true;
    assert_string_equal(look(&w, false), "link_down:warning"); /* somebody has taken it out of work before */
    w.node->decided_ms -= DAY_MS;
    assert_string_equal(look(&w, false), "link_down:warning drained_long:warning");
    assert_string_equal(w.cure, "if it was forgotten: drover node resume attic");
    w.node->drained = false;
    w.node->epoch = 0;
    w.node->decided_ms = clock_wall_ms() - 590000;
    assert_string_equal(look(&w, false), "");
    w.node->decided_ms -= 20000;
    assert_string_equal(look(&w, false), "never_linked:warning");
    w.node->state = NODE_WAITING;
    assert_string_equal(look(&w, false), "node_waiting:warning");
    assert_non_null(strstr(w.cure, "sha256:ab "));
    close_world(&w);
}

static void certificates(void **state) {
    (void)state;
    struct world w;
    open_world(&w, "");
    ends_in(&w, PKI_LEAF_LIFE_S / 3); /* due, and with some hours to do it */
    assert_string_equal(look(&w, true), "");
    ends_in(&w, PKI_LEAF_LIFE_S / 3 - 7 * 3600);
    assert_string_equal(look(&w, true), "certificate_late:warning");
    ends_in(&w, PKI_DAY_S - 10);
    assert_string_equal(look(&w, true), "certificate_late:error");
    ends_in(&w, -10);
    assert_string_equal(look(&w, true), "certificate_ended:error");
    assert_non_null(strstr(w.cure, "by itself"));
    ends_in(&w, -HUB_RENEW_GRACE_S);
    assert_string_equal(look(&w, true), "certificate_ended:error");
    assert_non_null(strstr(w.cure, "join anew"));
    w.node->serial[0] = '\0'; /* let in, and not yet come for it */
    assert_string_equal(look(&w, true), "");
    w.node->void_ms = clock_wall_ms() - 1000;
    assert_string_equal(look(&w, true), "certificate_void:error");
    assert_non_null(strstr(w.cure, "drover hub invite --node attic"));
    close_world(&w);
}

static void what_a_link_tells(void **state) {
    (void)state;
    struct world w;
    open_world(&w, "");
    struct session_facts well = w.link;
    w.link.silent_ms = 14999;
    assert_string_equal(look(&w, true), "");
    w.link.silent_ms = 15000;
    assert_string_equal(look(&w, true), "heartbeats_missing:error");
    w.link = well;
    w.link.clock_off_ms = -59999;
    assert_string_equal(look(&w, true), "");
    w.link.clock_off_ms = -60000;
    assert_string_equal(look(&w, true), "clock_off:warning");
    assert_string_equal(w.what, "its clock is 60 s behind the hub's");
    w.link.clock_off_ms = 300000;
    assert_string_equal(look(&w, true), "clock_off:error");
    w.link = well;
    static const struct {
        const char *version, *codes;
    } versions[] = { { "1.3.9", "version_old:warning" },
                     { "1.4.1", "" },
                     { "2.0.0", "" },
                     { "0.9.9", "version_old:warning" },
                     { "odd", "" } };
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        w.link.version = sv_of(versions[i].version);
        assert_string_equal(look(&w, true), versions[i].codes);
    }
    w.link = well;
    w.link.n_models = 0;
    assert_string_equal(look(&w, true), "no_models:warning");
    w.link.allows = false;
    assert_string_equal(look(&w, true), "inference_not_allowed:warning");
    w.link = well;
    w.link.endpoints_well = 0;
    assert_string_equal(look(&w, true), "endpoints_down:error");
    w.link.endpoints = w.link.endpoints_well = -1; /* it did not say */
    assert_string_equal(look(&w, true), "");
    w.link = well;
    w.link.is_pq = false;
    assert_string_equal(look(&w, true), "no_post_quantum:info");
    w.link.is_up = false; /* still in its handshake */
    assert_string_equal(look(&w, true), "");
    close_world(&w);
}

static void twins_and_shadows(void **state) {
    (void)state;
    struct world w;
    open_world(&w, "");
    w.node->twin_ms = clock_wall_ms() - DAY_MS + 1000;
    assert_string_equal(look(&w, true), "duplicate_identity:error");
    w.node->twin_ms -= 2000;
    assert_string_equal(look(&w, true), "");
    snprintf(w.node->name, sizeof w.node->name, "taken");
    assert_string_equal(look(&w, true), "name_taken:error");
    close_world(&w);
}

static void who_can_reach_the_hub(void **state) {
    (void)state;
    static const struct {
        const char *listen;
        bool invited;
        const char *codes;
    } cases[] = {
        { "", true, "" }, /* the daemon listens for nodes on all addresses */
        { "listen: [{address: '127.0.0.1:0', tls: ca, roles: [link]}]\n", false, "" },
        { "listen: [{address: '127.0.0.1:0', tls: ca, roles: [link]}]\n", true, "link_on_loopback:warning" },
        { "listen: [{address: '[::1]:0', tls: ca, roles: [link]}]\n", true, "link_on_loopback:warning" },
        { "listen: [{address: '0.0.0.0:0', tls: ca, roles: [link]}]\n", true, "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world w;
        struct invite invite = { .expires_ms = clock_wall_ms() + 1000 };
        open_world(&w, cases[i].listen);
        roster_remove(&w.hub.roster, w.node);
        list_init(&invite.all);
        if (cases[i].invited)
            list_push_back(&w.hub.invites, &invite.all);
        hub_doctor(&w.hub, found, &w);
        assert_string_equal(w.codes, cases[i].codes);
        assert_false(hub_doctor_node(&w.hub, SV("attic"), found, &w));
        close_world(&w);
    }
}

static void the_hubs_own_certificates(void **state) {
    (void)state;
    struct world w;
    open_world(&w, "");
    roster_remove(&w.hub.roster, w.node);
    clock_wall_shift((int64_t)(6 * DAY_MS + DAY_MS / 2)); /* nothing has renewed it meanwhile */
    hub_doctor(&w.hub, found, &w);
    assert_string_equal(w.codes, "hub_certificate_late:error");
    w.codes[0] = '\0';
    clock_wall_shift((int64_t)(3600 * DAY_MS));
    hub_doctor(&w.hub, found, &w);
    assert_string_equal(w.codes, "hub_certificate_late:error root_ends:warning");
    clock_wall_shift(0);
    close_world(&w);
}

static void a_change_of_the_root_that_waits_or_is_stuck(void **state) {
    (void)state;
    struct world w;
    struct err e;
    bool changed = false;
    open_world(&w, "");
    w.node->trust_sequence = 1;
    assert_true(authority_rotate(w.hub.authority, false, &e));
    assert_true(authority_settle(w.hub.authority, w.config, false, &changed, &e) &&
                authority_step(w.hub.authority, PKI_STAGE_TRUST_BOTH, &changed, &e) &&
                authority_settle(w.hub.authority, w.config, false, &changed, &e));
    assert_true(rotation__awaits(&w.hub, w.node));
    clock_wall_shift((int64_t)DAY_MS + 1000);
    w.node->not_after_s += 86401;
    w.codes[0] = '\0';
    hub_doctor(&w.hub, found, &w);
    assert_non_null(strstr(w.codes, "rotation_waits:warning"));
    w.node->trust_sequence = 2; /* it has come with the roots of both */
    assert_false(rotation__awaits(&w.hub, w.node));
    w.codes[0] = '\0';
    hub_doctor(&w.hub, found, &w);
    assert_null(strstr(w.codes, "rotation"));
    snprintf(w.hub.rotation.fault, sizeof w.hub.rotation.fault, "the disk is full");
    hub_doctor(&w.hub, found, &w);
    assert_non_null(strstr(w.codes, "rotation_stuck:error"));
    clock_wall_shift(0);
    close_world(&w);
}

int main(void) {
    if (sodium_init() < 0)
        return 1;
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_that_is_well_is_left_alone),
        cmocka_unit_test(links),
        cmocka_unit_test(certificates),
        cmocka_unit_test(what_a_link_tells),
        cmocka_unit_test(twins_and_shadows),
        cmocka_unit_test(who_can_reach_the_hub),
        cmocka_unit_test(the_hubs_own_certificates),
        cmocka_unit_test(a_change_of_the_root_that_waits_or_is_stuck),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
