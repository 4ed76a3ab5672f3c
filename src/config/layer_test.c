/* What is set from the console: where it stands among the other layers, what it may not touch, and its file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "base/err.h"
#include "config/schema.h"

static char dir[64], layer_path[96];
static struct config_report report;

static int make_dir(void **state) {
    (void)state;
    strcpy(dir, "/tmp/drover-layer-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(layer_path, sizeof layer_path, "%s/settings.yaml", dir);
    return 0;
}

static int drop_dir(void **state) {
    char path[128];
    (void)state;
    snprintf(path, sizeof path, "%s.new", layer_path);
    (void)unlink(path);
    (void)unlink(layer_path);
    return rmdir(dir);
}

/* A test begins without a file. */
static int without_layer(void **state) {
    (void)state;
    (void)unlink(layer_path);
    return 0;
}

static void write_layer(const char *text) {
    FILE *f = fopen(layer_path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(layer_path, 0600), 0);
}

static struct buf read_layer(void) {
    struct buf text = BUF_MAX(1 << 20);
    FILE *f = fopen(layer_path, "r");
    assert_non_null(f);
    for (int c; (c = getc(f)) != EOF;)
        buf_add_char(&text, (char)c);
    fclose(f);
    return text;
}

struct ask {
    const char *text;                /* of the file; data_dir comes in front */
    const char *const *env, *const *sets;
    const struct config_edit *edits;
    size_t n_edits;
    const struct config_endpoint_edit *endpoint;
    bool guest;
};

static struct config *load(const struct ask *ask) {
    char text[2048], data_dir[100];
    const char *none[] = { NULL }, *const *env = ask->env ? ask->env : none;
    snprintf(data_dir, sizeof data_dir, "data_dir: %s\n", dir);
    int n = snprintf(text, sizeof text, "%s%s", data_dir, ask->text ? ask->text : "");
    struct config_source src = { .path = "t.yaml", .text = { text, (size_t)n }, .environment = env, .overrides = ask->sets,
                                 .edits = ask->edits,
                                 .n_edits = ask->n_edits, .endpoint = ask->endpoint, .may_miss_layer = ask->guest, .memory_bytes = 1 << 30, .cores = 2 };
    return config_load(&src, &report);
}

static struct config *edited(const char *text, const struct config_edit *edits, size_t n) {
    return load(&(struct ask){ .text = text, .edits = edits, .n_edits = n });
}

#define SET(name_, value_) { .name = { name_, sizeof(name_) - 1 }, .value = { value_, sizeof(value_) - 1 } }
#define UNSET(name_) { .name = { name_, sizeof(name_) - 1 }, .unset = true }

static enum config_origin_kind origin(const struct config *c, const char *name) {
    return c->origins__[setting_find(sv_of(name)) - settings].kind;
}

static void good(const struct config *c) {
    if (!c)
        fail_msg("%s:%u: %s: %s", report.complaints[0].source, report.complaints[0].line, report.complaints[0].key, report.complaints[0].text);
}

static void save(const struct config *c) {
    struct err e;
    if (!config_layer_save(c, &e))
        fail_msg("%s", e.text);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static void it_wins_over_the_default_and_over_nothing_else(void **state) {
    static const char *const env[] = { "DROVER_GATEWAY_RETRY_MAX=4", NULL }, *const sets[] = { "gateway.park_max=7", NULL };
    (void)state;
    write_layer("gateway: {stall_timeout: 2m, deadline: 3m, retry_max: 9, park_max: 99}\n");
    struct config *c = load(&(struct ask){ "gateway: {deadline: 4m}\n", env, sets });
    good(c);
    assert_int_equal(c->gateway.stall_timeout_ms, 120000);
    assert_int_equal(c->gateway.deadline_ms, 240000);
    assert_int_equal(c->gateway.retry_max, 4);
    assert_int_equal(c->gateway.park_max, 7);
    assert_int_equal(c->gateway.body_max, 64 << 20);
    assert_int_equal(origin(c, "gateway.stall_timeout"), CONFIG_FROM_CONSOLE);
    assert_int_equal(origin(c, "gateway.deadline"), CONFIG_FROM_FILE);
    assert_int_equal(origin(c, "gateway.retry_max"), CONFIG_FROM_ENVIRONMENT);
    assert_int_equal(origin(c, "gateway.park_max"), CONFIG_FROM_FLAG);
    assert_int_equal(origin(c, "gateway.body_max"), CONFIG_FROM_DEFAULT);
    config_unref(c);
    c = load(&(struct ask){ 0 }); /* what it was hidden behind is gone */
    good(c);
    assert_int_equal(c->gateway.deadline_ms, 180000);
    assert_int_equal(c->gateway.retry_max, 9);
    config_unref(c);
}

static void null_in_the_file_leaves_it_to_the_console(void **state) {
    (void)state;
    write_layer("gateway: {stall_timeout: 2m}\n");
    struct config *c = load(&(struct ask){ "gateway: {stall_timeout: null}\n" });
    good(c);
    assert_int_equal(c->gateway.stall_timeout_ms, 120000);
    config_unref(c);
}

static void every_kind_of_value_is_kept_as_it_was_set(void **state) {
    static const struct config_edit edits[] = {
        SET("discovery.mdns", "true"), SET("gateway.retry_max", "0"), SET("gateway.body_max", "128MiB"), SET("limits.body.min_rate", "4KiB/s"),
        SET("access.default_rate.requests", "10/s"), SET("telemetry.retain", "30d"), SET("limits.body.buffered_total", "10%"),
        SET("telemetry.energy_price", "0.2999"), SET("telemetry.currency", "EUR"), SET("log.level", "warn"),
        SET("discovery.lan", "10.0.0.1, 192.168.1.0/24"), SET("workers", "3"),
    };
    enum { N = sizeof edits / sizeof edits[0] };
    (void)state;
    struct config *c = edited(NULL, edits, N);
    good(c);
    save(c);
    struct config *again = load(&(struct ask){ 0 });
    good(again);
    assert_true(config_is_same(c, again));
    assert_true(config_version(c) == config_version(again));
    assert_true(again->discovery.mdns && again->gateway.retry_max == 0 && again->gateway.body_max == 128 << 20);
    assert_int_equal(again->limits.body.min_rate, 4096);
    assert_int_equal(again->access.default_rate.requests, 600);
    assert_int_equal(again->limits.body.buffered_percent, 10);
    assert_int_equal(again->limits.body.buffered_total, (1 << 30) / 100 * 10);
    assert_int_equal(again->telemetry.energy_price.millionths, 299900);
    assert_string_equal(again->telemetry.currency.p, "EUR");
    assert_int_equal(again->discovery.lan.n, 2);
    assert_string_equal(again->discovery.lan.v[1].p, "192.168.1.0/24");
    assert_int_equal(again->workers, 3);
    for (size_t i = 0; i < N; i++) {
        char name[64];
        assert_true(sv_to_cstr(edits[i].name, name, sizeof name));
        assert_int_equal(origin(again, name), CONFIG_FROM_CONSOLE);
    }
    config_unref(c);
    config_unref(again);
}

static void all_that_may_be_set_is_harmless(void **state) {
    static const char *const never[] = { "data_dir", "run_dir", "name", "listen", "takeover", "endpoints", "models", "telemetry.otlp.url",
                                         "telemetry.otlp.key", "telemetry.otlp.key_header", "telemetry.otlp.headers", "telemetry.otlp.tls.ca", "alerts.webhook",
                                         "alerts.webhook_key", "alerts.webhook_ca", "alerts.command" };
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < n_settings; i++) {
        const struct setting *s = &settings[i];
        if (!s->console)
            continue;
        n++;
        assert_true(setting_in(s, "") && s->at != NO_FIELD);
        assert_true(s->type != T_PATH && s->type != T_FILE && s->type != T_KEY_FILE && s->type != T_SECRET && s->type != T_JSON && s->type < T_ITEMS);
        for (size_t j = 0; j < sizeof never / sizeof never[0]; j++)
            assert_string_not_equal(s->path, never[j]);
    }
    assert_true(n > 50);
    for (size_t j = 0; j < sizeof never / sizeof never[0]; j++)
        assert_non_null(setting_find(sv_of(never[j])));
}

static void what_cannot_be_is_refused_with_its_key(void **state) {
    /* clang-format off */
    static const struct {
        struct config_edit edit;
        const char *key, *text;
    } cases[] = {
        { SET("gateway.stall_timout", "2m"), "gateway.stall_timout", "unknown setting; did you mean stall_timeout?" },
        { SET("gateway", "2m"), "gateway", "a group of settings" },
        { SET("", "2m"), "", "unknown setting" },
        { SET("gateway.\x1b[2J", "2m"), "gateway.?[2J", "unknown setting" },
        { SET("endpoints[].url", "http://a"), "endpoints[].url", "unknown setting" },
        { SET("endpoints[0].url", "http://a"), "endpoints[0].url", "unknown setting" },
        { SET("endpoints", "[{name: a, url: \"http://a\"}]"), "endpoints", "is not for the console to set" },
        { SET("listen", "[{address: \"127.0.0.1:1\"}]"), "listen", "is not for the console to set" },
        { SET("data_dir", "/elsewhere"), "data_dir", "is not for the console to set" },
        { SET("telemetry.otlp.key", "k"), "telemetry.otlp.key", "is not for the console to set: write it into the configuration file, or set DROVER_TELEMETRY_OTLP_KEY" },
        { SET("telemetry.otlp.key_file", "/k"), "telemetry.otlp.key_file", "unknown setting" },
        { SET("telemetry.otlp.url", "http://a"), "telemetry.otlp.url", "is not for the console to set" },
        { SET("tunnel", "x"), "tunnel", "is not in this version" },
        { SET("limits.log.line", "1KiB"), "limits.log.line", "is built in at 8KiB" },
        { SET("limits.upstream.idle", "1m"), "limits.upstream.idle", "this setting is called gateway.stall_timeout" },
        { SET("gateway.stall_timeout", "soon"), "gateway.stall_timeout", "expected a duration with its unit (ms, s, m, h, d) from 1s to 1h, got \"soon\"" },
        { SET("gateway.stall_timeout", "2h"), "gateway.stall_timeout", "more than 1h, the most there may be" },
        { SET("gateway.stall_timeout", "0"), "gateway.stall_timeout", "0 does not mean" },
        { SET("gateway.stall_timeout", ""), "gateway.stall_timeout", "expected a duration" },
        { SET("gateway.retry_max", "1.5"), "gateway.retry_max", "expected a whole number from 0 to 10" },
        { SET("gateway.retry_max", "{\"a\":1}"), "gateway.retry_max", "expected a whole number" },
        { SET("discovery.mdns", "yes"), "discovery.mdns", "expected true or false" },
        { SET("log.level", "wrn"), "log.level", "expected error, warn, info or debug, got \"wrn\"; did you mean \"warn\"?" },
        { SET("discovery.lan", "[\"10.0.0.0/8\"]"), "discovery.lan[0]", "/8 is more than 1024 addresses" },
        { SET("discovery.lan", "10.0.0.0/8"), "discovery.lan[0]", "/8 is more than 1024 addresses" },
        { SET("discovery.lan", "[a: b"), "", "this is no YAML" },
        { SET("telemetry.currency", "${HOME}"), "telemetry.currency", "expected the three capitals" },
        { SET("limits.head.field", "64KiB"), "limits.head.field", "is larger than limits.head.total" },
        { UNSET("gateway.stall_timeout"), "gateway.stall_timeout", "is not set from the console" },
        { UNSET("nothing"), "nothing", "unknown setting" },
        { SET("gateway.deadline", "1m"), "gateway.deadline", "is set by /" },
    };
    /* clang-format on */
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config *c = edited("gateway: {deadline: 4m}\n", &cases[i].edit, 1);
        const struct config_complaint *said = &report.complaints[0];
        if (c || report.n != 1 || strcmp(said->key, cases[i].key) != 0 || strncmp(said->text, cases[i].text, strlen(cases[i].text)) != 0 ||
            said->line || (strcmp(said->source, "console") != 0 && strcmp(said->source, "default") != 0))
            fail_msg("%.*s: %zu complaints, %s: %s", SV_FMT(cases[i].edit.name), report.n, said->key, said->text);
    }
    assert_int_equal(access(layer_path, F_OK), -1); /* looking writes nothing */
}

static void what_wins_is_named(void **state) {
    static const char *const env[] = { "DROVER_GATEWAY_RETRY_MAX=4", NULL }, *const sets[] = { "gateway.park_max=7", NULL };
    static const struct config_edit edits[] = { SET("gateway.deadline", "1m"), SET("gateway.retry_max", "1"), SET("gateway.park_max", "1") };
    (void)state;
    assert_null(load(&(struct ask){ "gateway:\n  deadline: 4m\n", env, sets, edits, 3 }));
    assert_int_equal(report.n, 3);
    assert_non_null(strstr(report.complaints[0].text, "t.yaml, line 3, which wins"));
    assert_non_null(strstr(report.complaints[1].text, "the variable DROVER_GATEWAY_RETRY_MAX, which wins"));
    assert_non_null(strstr(report.complaints[2].text, "a flag, --set gateway.park_max, which wins"));
}

static void all_or_nothing_and_each_once(void **state) {
    static const struct config_edit one_bad[] = { SET("gateway.stall_timeout", "2m"), SET("gateway.park_max", "0"), SET("log.level", "loud") };
    static const struct config_edit twice[] = { SET("gateway.park_max", "5"), UNSET("gateway.park_max") };
    (void)state;
    assert_null(edited(NULL, one_bad, 3));
    assert_int_equal(report.n, 2);
    write_layer("gateway: {park_max: 3}\n");
    assert_null(edited(NULL, twice, 2));
    assert_int_equal(report.n, 1);
    assert_non_null(strstr(report.complaints[0].text, "is here twice"));
}

static void what_is_taken_back_is_as_it_came(void **state) {
    static const struct config_edit edits[] = { UNSET("gateway.stall_timeout"), SET("gateway.retry_max", "5") };
    (void)state;
    write_layer("gateway: {stall_timeout: 2m, park_max: 3}\n");
    struct config *was = load(&(struct ask){ 0 }), *c = edited(NULL, edits, 2);
    good(was);
    good(c);
    assert_int_equal(c->gateway.stall_timeout_ms, 300000);
    assert_int_equal(c->gateway.park_max, 3);
    assert_int_equal(c->gateway.retry_max, 5);
    struct buf out = BUF_MAX(4096);
    assert_true(config_differences(was, c, &out));
    assert_true(sv_eq(buf_sv(&out), SV("[{\"key\":\"gateway.stall_timeout\",\"from\":\"2m\",\"to\":\"5m\",\"origin\":\"default\",\"restart\":false},"
                                       "{\"key\":\"gateway.retry_max\",\"from\":\"2\",\"to\":\"5\",\"origin\":\"console\",\"restart\":false}]")));
    buf_deinit(&out);
    save(c);
    struct buf text = read_layer();
    assert_true(sv_ends(buf_sv(&text), SV("\ngateway:\n  park_max: 3\n  retry_max: 5\n")));
    buf_deinit(&text);
    config_unref(was);
    config_unref(c);
}

static void what_the_file_hides_is_kept_and_can_be_taken_back(void **state) {
    static const struct config_edit other[] = { SET("gateway.retry_max", "5") }, hidden[] = { UNSET("gateway.stall_timeout") };
    (void)state;
    write_layer("gateway: {stall_timeout: 2m}\n");
    struct config *c = edited("gateway: {stall_timeout: 3m}\n", other, 1);
    good(c);
    save(c);
    assert_int_equal(c->gateway.stall_timeout_ms, 180000);
    struct config *without = edited("gateway: {stall_timeout: 3m}\n", hidden, 1);
    good(without);
    assert_int_equal(without->gateway.stall_timeout_ms, 180000);
    assert_false(config_is_same(c, without));
    assert_true(config_version(c) != config_version(without));
    config_unref(c);
    c = load(&(struct ask){ 0 });
    good(c);
    assert_int_equal(c->gateway.stall_timeout_ms, 120000);
    config_unref(c);
    config_unref(without);
}

static void a_value_that_equals_the_default_counts_as_set(void **state) {
    static const struct config_edit edits[] = { SET("gateway.retry_max", "2") };
    (void)state;
    struct config *was = load(&(struct ask){ 0 }), *c = edited(NULL, edits, 1);
    good(was);
    good(c);
    assert_false(config_is_same(was, c));
    assert_true(config_version(was) != config_version(c));
    assert_int_equal(origin(c, "gateway.retry_max"), CONFIG_FROM_CONSOLE);
    config_unref(was);
    config_unref(c);
}

static void a_damaged_one_is_refused_with_its_line(void **state) {
    static const struct {
        const char *text;
        unsigned line;
        const char *want;
    } cases[] = {
        { "gateway:\n  stall_timeout: soon\n", 2, "expected a duration" },
        { "gateway:\n  stall_timeout: 2m\n  stall_timeout: 3m\n", 3, "is here a second time" },
        { "gateway: {stall", 1, "this is no YAML" },
        { "\n\ndata_dir: /elsewhere\n", 3, "is not for the console to set" },
        { "endpoints: [{name: a}]\n", 1, "url is missing" },
        { "endpoints: [{name: a, url: \"http://a\", key_file: /k}]\n", 1, "only the configuration file can name a file" },
        { "endpoints: [{name: a, url: \"http://a\"},\n {name: a, url: \"http://b\"}]\n", 2, "another endpoint is called" },
        { "telemetry: {otlp: {key_file: /k}}\n", 1, "is not for the console to set" },
        { "gateway: {unheard: 1}\n", 1, "unknown setting" },
        { "- a\n", 1, "expected settings" },
        { "log: {level: \"${LEVEL}\"}\n", 1, "expected error, warn, info or debug, got \"${LEVEL}\"" },
    };
    static const char *const env[] = { "LEVEL=debug", NULL };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_layer(cases[i].text);
        struct config *c = load(&(struct ask){ .env = env });
        const struct config_complaint *said = &report.complaints[0];
        if (c || strcmp(said->source, layer_path) != 0 || said->line < cases[i].line || !strstr(said->text, cases[i].want))
            fail_msg("%s: %s:%u: %s", cases[i].text, said->source, said->line, said->text);
    }
    write_layer("gateway: {stall_timeout: soon}\n"); /* also where the file wins over it: else it would strike when that line goes */
    assert_null(load(&(struct ask){ "gateway: {stall_timeout: 3m}\n" }));
    write_layer("# nothing is set\n");
    struct config *c = load(&(struct ask){ 0 });
    good(c);
    config_unref(c);
}

static void one_that_cannot_be_read_is_no_default(void **state) {
    (void)state;
    assert_int_equal(mkdir(layer_path, 0700), 0);
    assert_null(load(&(struct ask){ 0 }));
    assert_non_null(strstr(report.complaints[0].text, "is no regular file"));
    assert_int_equal(rmdir(layer_path), 0);
    if (geteuid() == 0)
        return; /* root reads everything */
    write_layer("gateway: {stall_timeout: 2m}\n");
    assert_int_equal(chmod(layer_path, 0), 0);
    assert_null(load(&(struct ask){ 0 }));
    struct config *c = load(&(struct ask){ .guest = true });
    good(c);
    assert_int_equal(report.n_warnings, 1);
    config_unref(c);
}

static void the_file_is_private_whole_and_replaces_what_was_left_half_written(void **state) {
    static const struct config_edit edits[] = { SET("gateway.retry_max", "5") };
    char beside[128];
    struct stat st;
    struct err e;
    (void)state;
    snprintf(beside, sizeof beside, "%s.new", layer_path);
    FILE *f = fopen(beside, "w");
    assert_non_null(f);
    fputs("gateway: {retry_", f);
    fclose(f);
    struct config *was = load(&(struct ask){ 0 }), *c = edited(NULL, edits, 1);
    good(was); /* what lies beside it is nobody's */
    good(c);
    save(c);
    assert_int_equal(stat(layer_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(access(beside, F_OK), -1);
    if (geteuid() != 0) {
        assert_int_equal(chmod(dir, 0500), 0);
        assert_false(config_layer_save(was, &e));
        assert_non_null(strstr(e.text, "settings.yaml: Permission denied"));
        assert_int_equal(chmod(dir, 0700), 0);
    }
    struct config *again = load(&(struct ask){ 0 });
    good(again);
    assert_int_equal(again->gateway.retry_max, 5);
    save(was);
    config_unref(again);
    again = load(&(struct ask){ 0 });
    good(again);
    assert_true(config_is_same(was, again));
    config_unref(again);
    config_unref(was);
    config_unref(c);
}

static void complaints_tell_what_was_expected(void **state) {
    static const struct config_edit edits[] = { SET("gateway.retry_max", "99"), SET("log.level", "loud"), SET("discovery.lan", "x") };
    struct buf out = BUF_MAX(8192);
    (void)state;
    assert_null(edited(NULL, edits, 3));
    assert_true(config_report_list(&report, &out));
    assert_true(sv_eq(buf_sv(&out),
                      SV("[{\"key\":\"gateway.retry_max\",\"message\":\"more than 10, the most there may be\",\"expected\":\"a whole number from 0 to 10\","
                         "\"least\":\"0\",\"most\":\"10\",\"source\":\"console\"},"
                         "{\"key\":\"log.level\",\"message\":\"expected error, warn, info or debug, got \\\"loud\\\"\",\"expected\":\"error, warn, info or debug\","
                         "\"source\":\"console\"},"
                         "{\"key\":\"discovery.lan[0]\",\"message\":\"expected an IP address or an IPv4 range such as 192.168.1.0/24, got \\\"x\\\"\","
                         "\"expected\":\"a list of words, at most 64 of them\",\"source\":\"console\"}]")));
    buf_deinit(&out);
}

static void show_tells_where_each_value_comes_from(void **state) {
    struct buf out = BUF_MAX(1 << 20);
    (void)state;
    write_layer("gateway: {stall_timeout: 2m}\n");
    struct config *c = load(&(struct ask){ "endpoints: [{name: a, url: \"http://a\"}]\nlog: {level: debug}\n" });
    good(c);
    assert_true(config_tell(c, &out, CONFIG_YAML));
    assert_true(sv_find(buf_sv(&out), SV("\n  stall_timeout: 2m # console\n")) > 0);
    assert_true(sv_find(buf_sv(&out), SV("\n  level: debug # file, line 3\n")) > 0);
    assert_true(sv_find(buf_sv(&out), SV("\nendpoints: # file, line 2\n")) > 0);
    assert_true(sv_find(buf_sv(&out), SV("\n  retry_max: 2\n")) > 0);
    struct config_report r;
    struct config_source src = { .path = "t.yaml", .text = buf_sv(&out), .no_files = true };
    struct config *again = config_load(&src, &r);
    assert_non_null(again);
    config_unref(again);
    buf_reset(&out);
    assert_true(config_tell(c, &out, CONFIG_JSON));
    assert_true(sv_find(buf_sv(&out), SV("\"gateway.stall_timeout\": \"console\"")) > 0);
    assert_true(sv_find(buf_sv(&out), SV("\"endpoints\": \"file, line 2\"")) > 0);
    buf_deinit(&out);
    config_unref(c);
}

/* --- endpoints that were added ------------------------------------------------------------------------------------- */

#define ADD(value_) { CONFIG_ENDPOINT_ADD, { NULL, 0 }, { value_, sizeof(value_) - 1 } }
#define CHANGE(name_, value_) { CONFIG_ENDPOINT_CHANGE, { name_, sizeof(name_) - 1 }, { value_, sizeof(value_) - 1 } }
#define REMOVE(name_) { CONFIG_ENDPOINT_REMOVE, { name_, sizeof(name_) - 1 }, { NULL, 0 } }

/* Applies it and puts it on the disk, as the daemon does. */
static void change(const struct config_endpoint_edit edit) {
    struct config *c = load(&(struct ask){ .endpoint = &edit });
    good(c);
    save(c);
    config_unref(c);
}

static void endpoints_are_added_changed_and_removed(void **state) {
    (void)state;
    change((struct config_endpoint_edit)ADD("{\"name\":\"b\",\"url\":\"http://10.0.0.2:8000\",\"key\":\"sk-${HOME}\",\"weight\":50,\"models\":{\"include\":[\"qwen*\"]}}"));
    change((struct config_endpoint_edit)ADD("{\"name\":\"c\",\"url\":\"https://c.example\",\"kind\":\"vllm\"}"));
    struct config *c = load(&(struct ask){ "endpoints: [{name: a, url: \"http://a\"}]\n" });
    good(c);
    assert_int_equal(c->n_endpoints, 3);
    assert_string_equal(c->endpoints[0].name.p, "a");
    assert_false(c->endpoints[0].added);
    assert_true(c->endpoints[1].added && c->endpoints[2].added);
    assert_string_equal(c->endpoints[1].key.value, "sk-${HOME}"); /* nothing of the environment gets into it */
    assert_int_equal(c->endpoints[1].weight, 50);
    assert_string_equal(c->endpoints[1].models.include.v[0].p, "qwen*");
    config_unref(c);

    change((struct config_endpoint_edit)CHANGE("b", "{\"weight\":null,\"max_concurrent\":2,\"models\":{\"include\":null}}"));
    c = load(&(struct ask){ 0 });
    good(c);
    assert_int_equal(c->endpoints[0].weight, 100);
    assert_int_equal(c->endpoints[0].max_concurrent, 2);
    assert_int_equal(c->endpoints[0].models.include.n, 0);
    assert_string_equal(c->endpoints[0].key.value, "sk-${HOME}");
    config_unref(c);

    change((struct config_endpoint_edit)CHANGE("b", "{\"url\":\"http://10.0.0.3\",\"key\":null}"));
    change((struct config_endpoint_edit)REMOVE("c"));
    c = load(&(struct ask){ 0 });
    good(c);
    assert_int_equal(c->n_endpoints, 1);
    assert_int_equal(c->endpoints[0].key.n, 0);
    assert_string_equal(c->endpoints[0].url.p, "http://10.0.0.3");
    config_unref(c);
    change((struct config_endpoint_edit)REMOVE("b"));
    struct buf text = read_layer();
    assert_true(sv_find(buf_sv(&text), SV("endpoints")) < 0);
    buf_deinit(&text);
}

static void a_change_that_cannot_be_changes_nothing(void **state) {
    /* clang-format off */
    static const struct {
        struct config_endpoint_edit edit;
        const char *key, *text;
    } cases[] = {
        { ADD("{\"name\":\"a\",\"url\":\"http://x\"}"), "name", "the configuration has an endpoint of this name" },
        { ADD("{\"name\":\"b\",\"url\":\"http://x\"}"), "name", "another endpoint is called \"b\" already" },
        { ADD("{\"name\":\"n\"}"), "endpoints", "url is missing" },
        { ADD("{\"url\":\"http://x\"}"), "endpoints", "name is missing" },
        { ADD("{\"name\":\"n\",\"url\":\"ftp://x\"}"), "url", "expected a URL such as" },
        { ADD("{\"name\":\"n\",\"url\":\"http://x\",\"wieght\":1}"), "wieght", "unknown setting; did you mean weight?" },
        { ADD("{\"name\":\"n\",\"url\":\"http://x\",\"key_file\":\"/etc/shadow\"}"), "key_file", "only the configuration file can name a file" },
        { ADD("{\"name\":\"n\",\"url\":\"https://x\",\"tls\":{\"ca\":\"/proc/kmsg\"}}"), "tls.ca", "is not for the console to set" },
        { ADD("{\"name\":\"n\",\"url\":\"http://x\",\"key\":\"a b\"}"), "key", "visible ASCII" },
        { ADD("{\"name\":\"n\",\"url\":\"http://x\",\"tls\":{\"insecure\":true}}"), "tls", "has no effect" },
        { ADD("{\"name\":\"n\",\"url\":\"http://x\",\"weight\":\"heavy\"}"), "weight", "expected a whole number" },
        { ADD("[1]"), "", "expected the settings of an endpoint" },
        { ADD(""), "", "there is nothing to change" },
        { ADD("{\"name\": "), "", "this is no YAML" },
        { CHANGE("a", "{\"weight\":1}"), "name", "no endpoint of this name was added here" },
        { CHANGE("zz", "{\"weight\":1}"), "name", "no endpoint of this name was added here" },
        { CHANGE("b", "{\"name\":\"c\"}"), "name", "keeps its name" },
        { CHANGE("b", "{\"url\":\"http://elsewhere\"}"), "key", "give the key again" },
        { CHANGE("b", "{\"tls\":{\"insecure\":true}}"), "key", "give the key again" },
        { REMOVE("a"), "name", "no endpoint of this name was added here" },
    };
    /* clang-format on */
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_layer("endpoints: [{name: b, url: \"https://b\", key: sk-1}]\n");
        struct config *c = load(&(struct ask){ "endpoints: [{name: a, url: \"http://a\"}]\n", .endpoint = &cases[i].edit });
        const struct config_complaint *said = &report.complaints[0];
        if (c || strcmp(said->key, cases[i].key) != 0 || !strstr(said->text, cases[i].text))
            fail_msg("%.*s: %s: %s", SV_FMT(cases[i].edit.value), said->key, said->text);
    }
}

static void one_that_the_configuration_names_too_rests_and_is_kept(void **state) {
    static const char layer[] = "endpoints: [{name: a, url: \"http://there\", key: sk-there}]\n";
    (void)state;
    write_layer(layer);
    struct config *c = load(&(struct ask){ "endpoints: [{name: a, url: \"http://here\"}]\n" });
    good(c);
    assert_int_equal(c->n_endpoints, 1);
    assert_string_equal(c->endpoints[0].url.p, "http://here");
    assert_int_equal(report.n_warnings, 1);
    assert_int_equal(c->resting.n, 1);
    assert_non_null(strstr(report.warnings[0].text, "rests while the configuration has this name"));
    save(c);
    config_unref(c);
    c = load(&(struct ask){ 0 });
    good(c);
    assert_string_equal(c->endpoints[0].key.value, "sk-there");
    write_layer("endpoints: [{name: a, url: \"http://there\", key: sk-else}]\n");
    struct config *other = load(&(struct ask){ 0 });
    assert_false(config_is_same(c, other));
    assert_true(config_version(c) != config_version(other)); /* who changes it has to have seen the other one's change */
    config_unref(c);
    config_unref(other);
}

static void their_keys_are_shown_nowhere(void **state) {
    struct buf out = BUF_MAX(1 << 20);
    (void)state;
    write_layer("endpoints: [{name: a, url: \"http://there\", key: sk-there}]\n");
    struct config *c = load(&(struct ask){ 0 }), *without = load(&(struct ask){ .endpoint = &(struct config_endpoint_edit)REMOVE("a") });
    good(c);
    good(without);
    assert_true(config_show(c, &out, CONFIG_YAML) && config_tell(c, &out, CONFIG_JSON) && config_list(c, &out) && config_differences(without, c, &out));
    assert_true(sv_find(buf_sv(&out), SV("http://there")) > 0);
    assert_true(sv_find(buf_sv(&out), SV("sk-there")) < 0);
    buf_deinit(&out);
    config_unref(c);
    config_unref(without);
}

static void every_refused_allocation_ends_cleanly(void **state) {
    static const struct config_edit edits[] = { SET("gateway.retry_max", "5"), SET("discovery.lan", "10.0.0.1"), UNSET("gateway.park_max") };
    bool done = false;
    (void)state;
    static const struct config_endpoint_edit endpoint = CHANGE("b", "{\"weight\":7,\"key\":\"sk-2\",\"models\":{\"include\":[\"q*\"]}}");
    static const char layer[] = "gateway: {stall_timeout: 2m, park_max: 3}\ntelemetry: {currency: EUR}\nendpoints: [{name: b, url: \"http://b\", key: sk-1}]\n";
    write_layer(layer);
    for (long n = 1; !done; n++) {
        struct err e;
        assert_true(n < 10000);
        mem_fail_at(n, n % 2);
        struct config *c = load(&(struct ask){ .edits = edits, .n_edits = 3, .endpoint = &endpoint });
        bool saved = c && config_layer_save(c, &e);
        bool struck = mem_fail_hit();
        mem_fail_at(0, 0);
        done = !struck;
        assert_true(saved == done);
        config_unref(c);
        write_layer(layer);
    }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup(f, without_layer)
    const struct CMUnitTest tests[] = {
        TEST(it_wins_over_the_default_and_over_nothing_else),
        TEST(null_in_the_file_leaves_it_to_the_console),
        TEST(every_kind_of_value_is_kept_as_it_was_set),
        TEST(all_that_may_be_set_is_harmless),
        TEST(what_cannot_be_is_refused_with_its_key),
        TEST(what_wins_is_named),
        TEST(all_or_nothing_and_each_once),
        TEST(what_is_taken_back_is_as_it_came),
        TEST(what_the_file_hides_is_kept_and_can_be_taken_back),
        TEST(a_value_that_equals_the_default_counts_as_set),
        TEST(a_damaged_one_is_refused_with_its_line),
        TEST(one_that_cannot_be_read_is_no_default),
        TEST(the_file_is_private_whole_and_replaces_what_was_left_half_written),
        TEST(complaints_tell_what_was_expected),
        TEST(show_tells_where_each_value_comes_from),
        TEST(endpoints_are_added_changed_and_removed),
        TEST(a_change_that_cannot_be_changes_nothing),
        TEST(one_that_the_configuration_names_too_rests_and_is_kept),
        TEST(their_keys_are_shown_nowhere),
        TEST(every_refused_allocation_ends_cleanly),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
