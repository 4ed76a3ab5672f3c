#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "config/schema.h"

static const char *const no_env[] = { "HOME=/home/eve", NULL };

/* A document in a block of exactly its size, so that ASan sees one byte too many. */
static struct config *load_with(const char *text, size_t n, const char *const *env, const char *const *sets,
                                struct config_report *r) {
    char *exact = malloc(n ? n : 1);
    memcpy(exact, text, n);
    struct config_source src = { .path = "t.yaml",
                                 .text = { exact, n },
                                 .environment = env,
                                 .overrides = sets,
                                 .no_files = true,
                                 .memory_bytes = 1000 << 20,
                                 .cores = 6 };
    struct config *c = config_load(&src, r);
    free(exact);
    return c;
}

static struct config *load(const char *text, struct config_report *r) {
    return load_with(text, strlen(text), no_env, NULL, r);
}

static struct config *good(const char *text) {
    struct config_report r;
    struct config *c = load(text, &r);
    if (!c) {
        struct buf b = BUF_MAX(1 << 20);
        config_report_print(&r, &b);
        print_error("%s\n%.*s", text, SV_FMT(buf_sv(&b)));
        buf_deinit(&b);
    }
    assert_non_null(c);
    return c;
}

/* "line:column: key: text" of one complaint, as far as each is there. */
static char *said(const struct config_complaint *c, char *out, size_t size) {
    char place[32] = "";
    if (c->line)
        snprintf(place, sizeof place, "%u:%u: ", c->line, c->column);
    snprintf(out, size, "%s%s%s%s", place, c->key, c->key[0] ? ": " : "", c->text);
    return out;
}

/* Tells what differs and goes on, so that one run shows every row of a table that is wrong. */
static bool complains(const char *text, size_t n, const char *const *env, const char *const *sets, const char *want) {
    struct config_report r;
    char got[1200] = "(none)";
    struct config *c = load_with(text, n, env, sets, &r);
    if (r.n)
        said(&r.complaints[0], got, sizeof got);
    bool ok = !c && r.n == 1 && strncmp(got, want, strlen(want)) == 0;
    if (!ok)
        print_error("document: %.300s\n    want: %s\n     got: %s (%zu complaints)\n", text, want, got, r.n);
    config_unref(c);
    return ok;
}

static void an_empty_document_gives_every_default(void **state) {
    static const char *const documents[] = {
        "", "# nothing\n", "---\n...\n", "~", "log:\n", "endpoints:\nlog: {level: null}\n", "\xef\xbb\xbf"
    };
    (void)state;
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        struct config *c = good(documents[i]);
        assert_int_equal(c->n_listen, 1);
        assert_string_equal(c->listen[0].address.p, "127.0.0.1:11430");
        assert_int_equal(c->listen[0].addr.ss_family, AF_INET);
        assert_int_equal(c->n_endpoints, 0);
        assert_int_equal(c->workers, 6);
        assert_int_equal(c->gateway.body_max, 64 << 20);
        assert_int_equal(c->gateway.stall_timeout_ms, 300000);
        assert_int_equal(c->limits.conn.max, 4096);
        assert_int_equal(c->limits.body.buffered_total, 250 << 20);
        assert_int_equal(c->log.level, LOG_INFO);
        assert_true(c->discovery.local && c->discovery.containers && !c->discovery.mdns);
        assert_false(c->demo.enabled);
        assert_true(c->name.n > 0);
        config_unref(c);
    }
}

static void the_example_of_the_contract_is_understood(void **state) {
    (void)state;
    struct config *c = good(
        "data_dir: /srv/drover\n"
        "listen:\n"
        "  - address: 127.0.0.1:11430\n"
        "    auth: none\n"
        "  - {address: \"[::1]:7443\", tls: {cert: a.pem, key: /k/a.key}, names: [ai.home]}\n"
        "  - {address: unix:/tmp/d.sock, tls: off}\n"
        "takeover: [ollama]\n"
        "discovery: {local: true, mdns: true, containers: false, lan: [192.168.1.0/24, \"fd00::5\"], interval: "
        "1m30s}\n"
        "endpoints:\n"
        "  - name: big\n"
        "    url: http://10.0.0.5:8000\n"
        "    kind: vllm\n"
        "    key_file: big.key\n"
        "    max_concurrent: 8\n"
        "    models: {include: [\"*\"], exclude: [\"*-draft\"]}\n"
        "    dialects: [openai-chat, anthropic]\n"
        "  - {name: b2, url: \"https://[::1]:8443/v1\", tls: {ca: ~/ca.pem}, key: sk-1, priority: -5}\n"
        "models:\n"
        "  - slug: coder\n"
        "    targets: [\"big/Qwen/Qwen3-Coder\", \"qwen3-coder:30b\"]\n"
        "    fallback: [small]\n"
        "    aliases: [c1, c2]\n"
        "    price: {input: 0.15, cached: 0.070000, output: 12, request: 0}\n"
        "  - {slug: \"gpt-*\", targets: [\"big/*\"], strict: true, reasoning: strip, system: \"Be brief.\", context_guard: true,\n"
        "     defaults: {temperature: 0.5, stop: [\"1\", 'b', c], x: {on: true, off: ~}}, force: {}}\n"
        "slugs: names\n"
        "gateway: {body_max: 64MiB, park_max: 64, park_timeout: 10m, stall_timeout: 5m, retry_max: 0, policy: auto}\n"
        "log: {level: warn, format: auto}\n");
    assert_string_equal(c->data_dir.p, "/srv/drover");
    assert_string_equal(c->run_dir.p, "/srv/drover/run");
    assert_int_equal(c->n_listen, 3);
    assert_true(c->listen[1].tls);
    assert_int_equal(c->listen[1].addr.ss_family, AF_INET6);
    assert_string_equal(c->listen[1].names.v[0].p, "ai.home");
    assert_int_equal(c->listen[2].addr.ss_family, AF_UNIX);
    assert_int_equal(c->takeover, 1u << CONFIG_TAKEOVER_OLLAMA);
    assert_int_equal(c->discovery.interval_ms, 90000);
    assert_int_equal(c->discovery.lan.n, 2);
    assert_int_equal(c->n_endpoints, 2);
    const struct config_endpoint *e = c->endpoints;
    assert_int_equal(e[0].kind, CONFIG_KIND_VLLM);
    assert_int_equal(e[0].max_concurrent, 8);
    assert_int_equal(e[0].weight, 100);
    assert_null(e[0].key.value);
    assert_true(sv_ends(e[0].key.file, SV("/big.key")) && e[0].key.file.p[0] == '/');
    assert_string_equal(e[0].models.exclude.v[0].p, "*-draft");
    assert_int_equal(e[0].dialects, 1u << CONFIG_DIALECT_OPENAI_CHAT | 1u << CONFIG_DIALECT_ANTHROPIC);
    assert_string_equal(e[1].key.value, "sk-1");
    assert_string_equal(e[1].tls.ca.p, "/home/eve/ca.pem");
    assert_int_equal(e[1].priority, -5);
    assert_int_equal(c->n_models, 2);
    assert_string_equal(c->models[0].targets.v[1].p, "qwen3-coder:30b");
    assert_true(c->models[1].strict && c->models[1].context_guard);
    assert_int_equal(c->models[1].reasoning, CONFIG_REASONING_STRIP);
    assert_string_equal(c->models[1].system.p, "Be brief.");
    assert_string_equal(c->models[1].defaults.p, "{\"temperature\":0.5,\"stop\":[\"1\",\"b\",\"c\"],\"x\":{\"on\":true,\"off\":null}}");
    assert_string_equal(c->models[1].force.p, "{}");
    assert_int_equal(c->models[0].reasoning, CONFIG_REASONING_ASIS);
    assert_int_equal(c->models[0].price.input.millionths, 150000);
    assert_int_equal(c->models[0].price.cached.millionths, 70000);
    assert_int_equal(c->models[0].price.output.millionths, 12000000);
    assert_true(c->models[0].price.request.is_set && c->models[0].price.request.millionths == 0);
    assert_false(c->models[1].price.input.is_set || c->models[1].price.request.is_set);
    assert_int_equal(e[0].watts, 0);
    assert_string_equal(c->telemetry.currency.p, "XXX");
    assert_false(c->telemetry.energy_price.is_set);
    assert_int_equal(c->access.unpriced, CONFIG_UNPRICED_ALLOW);
    assert_int_equal(c->models[0].defaults.n, 0);
    assert_int_equal(c->gateway.retry_max, 0);
    assert_int_equal(c->log.level, LOG_WARN);
    assert_null(config_unref(c));
}

static void each_fault_is_named_with_its_place(void **state) {
    /* clang-format off */
    static const struct {
        const char *text, *want;
    } cases[] = {
        /* the document */
        { "log: {level: info", "2:1: this is no YAML: did not find expected ',' or '}'" },
        { "a: b: c\n", "1:5: this is no YAML: mapping values are not allowed in this context" },
        { "log:\n\tlevel: info\n", "2:1: this is no YAML: found character that cannot start any token" },
        { "name: \"caf\xe9\"\n", "1:11: byte 0xe9 is no UTF-8" },
        { "# \xc3\xa4\nname: \xff\n", "2:7: byte 0xff is no UTF-8" },
        { "name: \x01\n", "1:7: this is no YAML: control characters are not allowed" },
        { "- a\n- b\n", "1:1: expected settings" },
        { "hello\n", "1:1: expected settings" },
        { "name: a\n---\nname: b\n", "2:1: a second document starts here" },
        { "name: a\nname: b\n", "2:1: \"name\" is here a second time" },
        { "log:\n  level: info\n  level: warn\n", "3:3: \"level\" is here a second time" },
        { "name: &a x\n", "1:7: anchors and aliases" },
        { "a: &a [x]\nb: *a\n", "1:4: anchors and aliases" },
        { "name: *a\n", "1:7: anchors and aliases" },
        { "name: !!str x\n", "1:7: tags (!) are not used" },
        { "? [a]\n: b\n", "1:3: expected the name of a setting" },
        { "<<: {}\n", "1:1: <<: unknown setting" },
        /* keys */
        { "lgo: {level: info}\n", "1:1: lgo: unknown setting; did you mean log?" },
        { "gateway: {bodymax: 1MiB}\n", "1:11: gateway.bodymax: unknown setting; did you mean body_max?" },
        { "body_max: 1MiB\n", "1:1: body_max: unknown setting; did you mean gateway.body_max?" },
        { "zzzzzzzz: 1\n", "1:1: zzzzzzzz: unknown setting; docs/config.md lists them all" },
        { "log.level: info\n", "1:1: log.level: unknown setting" },
        { "\"\": 1\n", "1:1: unknown setting" },
        { "endpoints:\n  - name: a\n    url: http://a\n    max_concurent: 3\n", "4:5: endpoints[0].max_concurent: unknown setting; did you mean max_concurrent?" },
        { "hub: {name: \"a b\"}\n", "1:13: hub.name: expected 1 to 64 letters" },
        { "store: {}\n", "1:8: store: is not in this version" },
        { "gateway: {connect_timeout: 3s}\n", "1:28: gateway.connect_timeout: this setting is called limits.upstream.connect" },
        { "limits: {body: {inference: 1MiB}}\n", "1:28: limits.body.inference: this setting is called gateway.body_max" },
        { "limits: {log: {line: 1MiB}}\n", "1:22: limits.log.line: is built in at 8KiB" },
        { "log: info\n", "1:6: log: expected a group of settings" },
        { "gateway: [a]\n", "1:10: gateway: expected a group" },
        /* types and ranges */
        { "workers: many\n", "1:10: workers: expected a whole number from 1 to 64, got \"many\"" },
        { "workers: 1.5\n", "1:10: workers: expected a whole number" },
        { "workers: 0\n", "1:10: workers: 0 does not mean \"no limit\" here: the least is 1" },
        { "workers: -3\n", "1:10: workers: less than 1, the least" },
        { "workers: 65\n", "1:10: workers: more than 64, the most" },
        { "workers: 99999999999999999999\n", "1:10: workers: expected a whole number" },
        { "workers: [1]\n", "1:10: workers: expected a whole number from 1 to 64, got a list" },
        { "workers: {a: 1}\n", "1:10: workers: expected a whole number from 1 to 64, got a group" },
        { "gateway: {body_max: 2GiB}\n", "1:21: gateway.body_max: more than 1GiB" },
        { "gateway: {body_max: 64MB}\n", "1:21: gateway.body_max: expected a size with its unit (B, KiB, MiB, GiB) from 1KiB to 1GiB, got \"64MB\"" },
        { "gateway: {body_max: 64}\n", "1:21: gateway.body_max: expected a size with its unit" },
        { "gateway: {body_max: 99999999999TiB}\n", "1:21: gateway.body_max: expected a size" },
        { "gateway: {body_max: 0}\n", "1:21: gateway.body_max: 0 does not mean \"no limit\" here: the least is 1KiB" },
        { "gateway: {park_timeout: 10}\n", "1:25: gateway.park_timeout: expected a duration with its unit (ms, s, m, h, d) from 1s to 1h" },
        { "gateway: {park_timeout: 30m1h}\n", "1:25: gateway.park_timeout: expected a duration" },
        { "gateway: {park_timeout: 0s}\n", "1:25: gateway.park_timeout: 0 does not mean" },
        { "limits: {body: {buffered_total: 60%}}\n", "1:33: limits.body.buffered_total: more than 50%" },
        { "limits: {body: {min_rate: fast}}\n", "1:27: limits.body.min_rate: expected a rate such as 2KiB/s" },
        { "demo: {enabled: yes}\n", "1:17: demo.enabled: expected true or false, got \"yes\"" },
        { "log: {level: wrn}\n", "1:14: log.level: expected error, warn, info or debug, got \"wrn\"; did you mean \"warn\"?" },
        { "models: [{slug: a, targets: [b], defaults: 7}]\n", "1:44: models[0].defaults: expected a group of members, got \"7\"" },
        { "models: [{slug: a, targets: [b], defaults: {temperature: hot}}]\n", "1:44: models[0].defaults: \"temperature\" must be a number" },
        { "models: [{slug: a, targets: [b], force: {x: 1, model: b}}]\n", "1:41: models[0].force: \"model\" is each request's own and cannot be set here" },
        { "models: [{slug: a, targets: [b], reasoning: hide}]\n", "1:45: models[0].reasoning: expected as_is, split, show or strip" },
        { "takeover: ollama\n", "1:11: takeover: expected a list of ollama or lmstudio, got \"ollama\"" },
        { "takeover: [ollama, lmstduio]\n", "1:20: takeover[1]: expected ollama or lmstudio, got \"lmstduio\"; did you mean \"lmstudio\"?" },
        { "takeover: [[ollama]]\n", "1:12: takeover[0]: expected a word" },
        { "name: \"a b\"\n", "1:7: name: expected 1 to 64 letters" },
        { "name: \"a\\0b\"\n", "1:7: name: holds a NUL byte" },
        { "data_dir: \"\"\n", "1:11: data_dir: expected a path" },
        { "name: ${NOPE}\n", "1:7: name: the environment variable \"NOPE\" is not set" },
        { "name: a${HOME\n", "1:7: name: expected ${NAME} with its closing brace" },
        { "run_dir: /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
          "1:10: run_dir: 100 bytes long; 90 are all" },
        /* listen */
        { "listen: []\n", "1:9: listen: 0 entries; there may be 1 to 16" },
        { "listen: 127.0.0.1:1\n", "1:9: listen: expected a list of entries" },
        { "listen: [127.0.0.1]\n", "1:10: listen[0]: expected a group of settings, such as {address: ...}" },
        { "listen: [{names: [a]}]\n", "1:10: listen[0]: address is missing" },
        { "listen: [{address: 127.0.0.1}]\n", "1:20: listen[0].address: expected an address with its port" },
        { "listen: [{address: \"::1:80\"}]\n", "1:20: listen[0].address: expected an address with its port" },
        { "listen: [{address: \"127.0.0.1:70000\"}]\n", "1:20: listen[0].address: expected a port" },
        { "listen: [{address: \"home:80\"}]\n", "1:20: listen[0].address: expected an IP address" },
        { "listen: [{address: \"0.0.0.0:80\"}]\n", "1:20: listen[0].address: \"0.0.0.0:80\" can be reached from other machines" },
        { "listen: [{address: \"[::]:80\", tls: {cert: a, key: b}}]\n", "1:20: listen[0].address: \"[::]:80\" can be reached" },
        { "listen: [{address: \"unix:x\"}]\n", "1:20: listen[0].address: expected an absolute path" },
        { "listen: [{address: \"127.0.0.1:80\", auth: password}]\n", "1:42: listen[0].auth: expected none or key" },
        { "listen: [{address: \"0.0.0.0:80\", auth: key}]\n", "1:20: listen[0].address: \"0.0.0.0:80\" can be reached from other machines: that needs" },
        { "access: {default_rate: {requests: 600}}\n", "1:35: access.default_rate.requests: expected so many per minute or second (600/min, 10/s) from 1/min" },
        { "access: {default_rate: {requests: 0/min}}\n", "1:35: access.default_rate.requests: 0 does not mean" },
        { "access: {default_rate: {requests: 99999999999/s}}\n", "1:35: access.default_rate.requests: expected so many" },
        { "listen: [{address: \"127.0.0.1:80\", client_cert: required}]\n", "1:49: listen[0].client_cert: needs tls: ca" },
        { "listen: [{address: \"127.0.0.1:80\", tls: {cert: a}}]\n", "1:41: listen[0].tls: key is missing" },
        { "listen: [{address: \"127.0.0.1:80\", tls: {}}]\n", "1:41: listen[0].tls: both are missing" },
        { "listen: [{address: \"unix:/x\", tls: {cert: a, key: b}}]\n", "1:36: listen[0].tls: there is no TLS on a unix: socket" },
        { "listen: [{address: \"127.0.0.1:80\"}, {address: \"127.0.0.1:80\"}]\n", "1:37: listen[0] has the same address" },
        { "listen: [{address: \"127.0.0.1:80\", names: [\"a:80\"]}]\n", "1:44: listen[0].names[0]: expected a host name without a port, got \"a:80\"" },
        { "listen: [{address: \"0.0.0.0:80\", roles: [link]}]\n", "1:20: listen[0].address: \"0.0.0.0:80\" can be reached from other machines: that needs tls" },
        { "listen: [{address: \"127.0.0.1:80\", roles: [links]}]\n", "1:44: listen[0].roles[0]: expected gateway, console or link" },
        /* discovery */
        { "discovery: {lan: [10.0.0.0/8]}\n", "1:19: discovery.lan[0]: /8 is more than 1024 addresses" },
        { "discovery: {lan: [home]}\n", "1:19: discovery.lan[0]: expected an IP address" },
        /* endpoints */
        { "endpoints: [{name: a}]\n", "1:13: endpoints[0]: url is missing" },
        { "endpoints: [{name: a, url: null}]\n", "1:13: endpoints[0]: url is missing" },
        { "endpoints: [{name: a, url: \"ftp://x\"}]\n", "1:28: endpoints[0].url: expected a URL such as" },
        { "endpoints: [{name: a, url: \"http://u:secret@x\"}]\n", "1:28: endpoints[0].url: expected a URL without user and password" },
        { "endpoints: [{name: a, url: \"http://x?key=1\"}]\n", "1:28: endpoints[0].url: expected a URL without query" },
        { "endpoints: [{name: a, url: \"http://x:0\"}]\n", "1:28: endpoints[0].url: expected a port" },
        { "endpoints: [{name: a, url: \"http:// x\"}]\n", "1:28: endpoints[0].url: expected a URL without blanks" },
        { "endpoints: [{name: a, url: \"http:///x\"}]\n", "1:28: endpoints[0].url: expected a host name" },
        { "endpoints: [{name: a, url: \"http://[::g]\"}]\n", "1:28: endpoints[0].url: expected an IPv6" },
        { "endpoints: [{name: a, url: \"http://a\"}, {name: a, url: \"http://b\"}]\n", "1:48: endpoints[1].name: another endpoint is called \"a\"" },
        { "endpoints: [{name: a/b, url: \"http://a\"}]\n", "1:20: endpoints[0].name: expected 1 to 64 letters" },
        { "endpoints: [{name: a, url: \"http://a\", kind: ollma}]\n", "1:46: endpoints[0].kind: expected auto, ollama, lmstudio" },
        { "endpoints: [{name: a, url: \"http://a\", key: a, key_file: b}]\n", "1:58: endpoints[0].key_file: give the key or its file, not both" },
        { "endpoints: [{name: a, url: \"http://a\", key: \"a b\"}]\n", "1:45: endpoints[0].key: expected a key of visible ASCII" },
        { "endpoints: [{name: a, url: \"http://a\", key: \"\"}]\n", "1:45: endpoints[0].key: expected a key of 1 to 4096" },
        { "endpoints: [{name: a, url: \"http://a\", tls: {insecure: true}}]\n", "1:45: endpoints[0].tls: has no effect on an http:// URL" },
        { "endpoints: [{name: a, url: \"http://a\", max_concurrent: 0}]\n", "1:56: endpoints[0].max_concurrent: 0 does not mean" },
        { "endpoints: [{name: a, url: \"http://a\", dialects: [klingon]}]\n", "1:51: endpoints[0].dialects[0]: expected openai-chat" },
        /* models */
        { "models: [{slug: a}]\n", "1:10: models[0]: targets is missing" },
        { "models: [{slug: a, targets: []}]\n", "1:29: models[0].targets: needs at least 1 entry" },
        { "models: [{slug: \"a@b\", targets: [x]}]\n", "1:17: models[0].slug: expected 1 to 255 letters" },
        { "models: [{slug: \"a**\", targets: [x]}]\n", "1:17: models[0].slug: expected 1 to 255 letters" },
        { "models: [{slug: \"../a\", targets: [x]}]\n", "1:17: models[0].slug: expected 1 to 255 letters" },
        { "models: [{slug: a, targets: [x]}, {slug: a, targets: [x]}]\n", "1:42: models[1].slug: \"a\" is the slug or alias" },
        { "models: [{slug: a, targets: [x], aliases: [b, b]}]\n", "1:43: models[0].aliases[1]: \"b\" is a slug or alias already" },
        { "models: [{slug: a, targets: [x], fallback: [a]}]\n", "1:44: models[0].fallback[0]: a model cannot fall back to itself" },
        { "models: [{slug: a, targets: [\"b/*\"]}]\n", "1:29: models[0].targets[0]: '*' takes what the slug's" },
        { "models: [{slug: a, targets: [\"\"]}]\n", "1:30: models[0].targets[0]: expected \"endpoint/model\"" },
        { "limits: {head: {field: 64KiB}}\n", "limits.head.field: is larger than limits.head.total" },
        /* the mode direct */
        { "join: {mode: sideways}\n", "1:14: join.mode: expected" },
        { "join: {listen: \"0.0.0.0:0\"}\n", "1:16: join.listen: expected an address with its port from 1" },
        { "join: {listen: \"unix:/x\"}\n", "1:16: join.listen: expected an address with its port from 1" },
        { "join: {listen: \"7444\"}\n", "1:16: join.listen: expected an address" },
        { "join: {reached_at: node.example}\n", "1:20: join.reached_at: expected HOST:PORT" },
        { "join: {reached_at: \"node.example:70000\"}\n", "1:20: join.reached_at: expected HOST:PORT" },
        { "join: {reached_at: \"https://node.example:1\"}\n", "1:20: join.reached_at: expected HOST:PORT" },
        { "join: {reached_at: \"u@node.example:1\"}\n", "1:20: join.reached_at: expected HOST:PORT" },
        /* money */
        { "models: [{slug: a, targets: [x], price: 1}]\n", "1:41: models[0].price: expected a group" },
        { "models: [{slug: a, targets: [x], price: {input: -1}}]\n", "1:49: models[0].price.input: expected an amount such as 0.15, with at most 6 decimals, from 0 to 1000000, got" },
        { "models: [{slug: a, targets: [x], price: {input: 0.0000001}}]\n", "1:49: models[0].price.input: expected an amount" },
        { "models: [{slug: a, targets: [x], price: {output: 1e3}}]\n", "1:50: models[0].price.output: expected an amount" },
        { "models: [{slug: a, targets: [x], price: {request: 1000000.5}}]\n", "1:51: models[0].price.request: more than 1000000, the most" },
        { "models: [{slug: a, targets: [x], price: {inptu: 1}}]\n", "1:42: models[0].price.inptu: unknown setting; did you mean input?" },
        { "endpoints: [{name: a, url: \"http://a\", watts: 0}]\n", "1:47: endpoints[0].watts: 0 does not mean" },
        { "telemetry: {currency: Euro}\n", "1:23: telemetry.currency: expected the three capitals of a currency" },
        { "telemetry: {energy_price: \"0,30\"}\n", "1:27: telemetry.energy_price: expected an amount" },
        /* alerts */
        { "alerts: {webhook: \"file:///etc/passwd\"}\n", "1:19: alerts.webhook: expected a URL such as http://" },
        { "alerts: {webhook: \"http://u:p@a\"}\n", "1:19: alerts.webhook: expected a URL without user and password" },
        { "alerts: {command: \"mail root\"}\n", "1:19: alerts.command: expected a list" },
        { "alerts: {command: [\"\"]}\n", "1:20: alerts.command[0]: expected a word" },
        /* the collector */
        { "relay: {listen: \"0.0.0.0:9100\"}\n", "relay.listen: can be reached from other machines: that needs relay.token_file and relay.tls" },
        { "relay: {listen: \"[::]:9100\", token: 0123456789abcdef}\n", "relay.listen: can be reached from other machines" },
        { "relay: {listen: \"unix:/run/leaves\"}\n", "relay.listen: expected an address such as 127.0.0.1:9100" },
        { "relay: {listen: here}\n", "relay.listen: expected " },
        { "relay: {listen: \"127.0.0.1:1\", token: short}\n", "relay.token: expected at least 16 bytes" },
        { "telemetry: {otlp: {url: \"ftp://a\"}}\n", "1:25: telemetry.otlp.url: expected a URL such as http://" },
        { "telemetry: {otlp: {url: \"http://u:p@a\"}}\n", "1:25: telemetry.otlp.url: expected a URL without user and password" },
        { "telemetry: {otlp: {headers: [\"X-A b\"]}}\n", "1:30: telemetry.otlp.headers[0]: expected a header field such as" },
        { "telemetry: {otlp: {headers: [\"X-A:  \"]}}\n", "1:30: telemetry.otlp.headers[0]: expected a header field such as" },
        { "telemetry: {otlp: {headers: [\"X A: b\"]}}\n", "1:30: telemetry.otlp.headers[0]: expected a header field such as" },
        { "telemetry: {otlp: {headers: [\"X-A: b\\r\\nY: c\"]}}\n", "1:30: telemetry.otlp.headers[0]: expected a header field such as" },
        { "telemetry: {otlp: {headers: [\"Host: b\"]}}\n", "1:30: telemetry.otlp.headers[0]: the field \"host\" is made by Drover" },
        { "telemetry: {otlp: {headers: [\"authorization: b\"]}}\n", "1:30: telemetry.otlp.headers[0]: a credential belongs into telemetry.otlp.key_file" },
        { "telemetry: {otlp: {key_header: \"a b\"}}\n", "1:32: telemetry.otlp.key_header: expected the name of a header field" },
        { "telemetry: {otlp: {key_scheme: digest}}\n", "1:32: telemetry.otlp.key_scheme: expected bearer, basic or plain" },
        { "telemetry: {otlp: {key: a, key_file: b}}\n", "1:38: telemetry.otlp.key_file: give the key or its file, not both" },
        { "telemetry: {otlp: {interval: 1ms}}\n", "1:30: telemetry.otlp.interval: less than 100ms" },
        { "telemetry: {otlp: true}\n", "1:19: telemetry.otlp: expected a group of settings" },
        { "access: {unpriced: deny}\n", "1:20: access.unpriced: expected allow or refuse" },
    };
    /* clang-format on */
    (void)state;
    int n_wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        n_wrong += !complains(cases[i].text, strlen(cases[i].text), no_env, NULL, cases[i].want);
    assert_int_equal(n_wrong, 0);
}

static void variables_and_flags_are_checked_like_the_file(void **state) {
    /* clang-format off */
    static const struct {
        const char *variable, *flag, *want;
    } cases[] = {
        { "DROVER_WORKERS=many", NULL, "workers: expected a whole number from 1 to 64, got \"many\"" },
        { "DROVER_TUNNEL=x", NULL, "tunnel: is not in this version" },
        { "DROVER_TAKEOVER=ollama,x", NULL, "takeover[1]: expected ollama or lmstudio" },
        { "DROVER_ENDPOINTS=[{name: a}]", NULL, "1:2: endpoints[0]: url is missing" },
        { "DROVER_ENDPOINTS=[{", NULL, "2:1: this is no YAML" },
        { NULL, "workers=65", "workers: more than 64" },
        { NULL, "workers", "expected PATH=VALUE" },
        { NULL, "=1", "expected PATH=VALUE" },
        { NULL, "discovery=false", "discovery: a group of settings; give one of them, such as discovery.local" },
        { NULL, "alerts.command=[/bin/true]", "1:1: alerts.command: only the configuration file can set this" },
        { "DROVER_ALERTS_COMMAND=[/bin/true]", NULL, "1:1: alerts.command: only the configuration file can set this" },
        { NULL, "log.levl=info", "log.levl: unknown setting; did you mean level?" },
        { NULL, "endpoints[].key=x", "endpoints[].key: unknown setting" },
        { NULL, "endpoints=[{name: a, url: http://a, key: sk}]", "1:32: endpoints[0].key: a secret on the command line" },
    };
    /* clang-format on */
    (void)state;
    int n_wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *env[] = { "HOME=/home/eve", cases[i].variable, NULL }, *sets[] = { cases[i].flag, NULL };
        n_wrong += !complains("", 0, env, sets, cases[i].want);
    }
    assert_int_equal(n_wrong, 0);
}

static void a_flag_wins_over_a_variable_and_that_over_the_file(void **state) {
    const char *env[] = { "HOME=/home/eve",
                          "DROVER_WORKERS=3",
                          "DROVER_LOG_LEVEL=debug",
                          "DROVER_GATEWAY_BODY_MAX=2MiB",
                          "DROVER_LOG_FORMAT=",
                          "DROVER_LISTEN=[{address: 127.0.0.1:1}]",
                          "DROVER_TAKEOVER=ollama, lmstudio",
                          NULL };
    const char *sets[] = { "log.level=error", "takeover=[lmstudio]", "data_dir=/d", NULL };
    static const char text[] = "workers: 2\nlog: {level: warn, format: json}\nslugs: opaque\n";
    struct config_report r;
    (void)state;
    struct config *c = load_with(text, sizeof text - 1, env, sets, &r);
    assert_non_null(c);
    assert_int_equal(c->workers, 3);
    assert_int_equal(c->log.level, LOG_ERROR);
    assert_int_equal(c->log.format, LOG_JSON);
    assert_int_equal(c->gateway.body_max, 2 << 20);
    assert_int_equal(c->slugs, CONFIG_SLUGS_OPAQUE);
    assert_string_equal(c->listen[0].address.p, "127.0.0.1:1");
    assert_int_equal(c->takeover, 1u << CONFIG_TAKEOVER_LMSTUDIO);
    assert_string_equal(c->data_dir.p, "/d");
    config_unref(c);
}

static void an_unknown_variable_is_only_warned_of(void **state) {
    const char *env[] = { "HOME=/h", "DROVER_LOG_LEVLE=debug", NULL };
    struct config_report r;
    (void)state;
    struct config *c = load_with("", 0, env, NULL, &r);
    assert_non_null(c);
    assert_int_equal(r.n_warnings, 1);
    assert_string_equal(r.warnings[0].source, "environment variable DROVER_LOG_LEVLE");
    config_unref(c);
}

static void names_that_lead_nowhere_are_warned_of(void **state) {
#define ENDPOINTS "endpoints: [{name: gpu-1, url: \"http://a\"}, {name: gpu-2, url: \"http://b\"}]\nmodels:\n"
    static const struct {
        const char *text, *want[3];
    } cases[] = {
        { ENDPOINTS "  - {slug: a, targets: [gpu-1/Qwen/Qwen3, qwen3, gpu-2/x], fallback: [b], aliases: [c]}\n"
                    "  - {slug: b, targets: [qwen3]}\n  - {slug: d, targets: [m], fallback: [b, c]}\n", { NULL } },
        { ENDPOINTS "  - slug: a\n    targets: [gpu-1/m, old-box/m]\n",
          { "4:24: models[0].targets[1]: \"old-box\" is no endpoint of this file: it leads somewhere only if one is found under that "
            "name, or a runtime lists \"old-box/m\" as a whole" } },
        { ENDPOINTS "  - {slug: a, targets: [gpu1/m]}\n",
          { "3:25: models[0].targets[0]: \"gpu1\" is no endpoint of this file: it leads somewhere only if one is found under that "
            "name, or a runtime lists \"gpu1/m\" as a whole; did you mean \"gpu-1\"?" } },
        { "models: [{slug: a, targets: [Qwen/Qwen3]}]\n", { NULL } }, /* without endpoints nothing can be told */
        { ENDPOINTS "  - {slug: \"gpt-*\", targets: [\"gpu-1/*\", \"*\"]}\n  - {slug: a, targets: [m], fallback: [gpt-4o]}\n", { NULL } },
        { ENDPOINTS "  - {slug: \"gpt-*\", targets: [\"gpu-3/*\"]}\n", { "3:31: models[0].targets[0]: \"gpu-3\" is no endpoint" } },
        { "models:\n  - {slug: coder, targets: [m], fallback: [b]}\n  - slug: b\n    targets: [m]\n    fallback:\n      - codr\n",
          { "6:9: models[1].fallback[0]: \"codr\" is no slug or alias of this file: it leads somewhere only if a runtime lists a model of "
            "that name; did you mean \"coder\"?" } },
        { "models: [{slug: a, targets: [m], fallback: [\"b:latest\"]}, {slug: b, targets: [m]}]\n", { NULL } },
        { "models:\n  - {slug: a, targets: [m], fallback: [b]}\n  - {slug: b, targets: [m], fallback: [c]}\n"
          "  - {slug: c, targets: [m], fallback: [nick]}\n  - {slug: d, targets: [m], fallback: [c]}\n"
          "  - {slug: e, targets: [m], fallback: [f], aliases: [f]}\n",
          { "4:40: models[2].fallback[0]: \"nick\" is no slug", "6:40: models[4].fallback[0]: goes in a circle: \"e\"" } },
        { "models:\n  - {slug: a, targets: [m], fallback: [b, c], aliases: [nick]}\n  - {slug: b, targets: [m], fallback: [c]}\n"
          "  - {slug: c, targets: [m], fallback: [nick]}\n",
          { "4:40: models[2].fallback[0]: goes in a circle: \"a\" falls back to this one, by itself or by way of others" } },
        { "models: [{slug: a, targets: [m], price: {input: 1}}, {slug: b, targets: [m], price: {input: 1, output: 0}},\n"
          "  {slug: c, targets: [m], price: {request: 1}}, {slug: d, targets: [m], price: {output: 1, request: 1}}]\n",
          { "1:41: models[0].price: without a price, output tokens cost nothing", "2:80: models[3].price: without a price, input tokens" } },
        { "models: [{slug: a, targets: [m], fallback: [\"${A}\"]}]\n", { "1:45: models[0].fallback[0]: what stands here is no slug" } },
    };
    const char *env[] = { "HOME=/h", "A=hidden", NULL };
    bool all = true;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config_report r;
        size_t n = 0;
        char got[1200] = "";
        struct config *c = load_with(cases[i].text, strlen(cases[i].text), env, NULL, &r);
        while (cases[i].want[n])
            n++;
        bool ok = c && r.n_warnings == n && r.n == 0;
        for (size_t w = 0; w < n && ok; w++)
            ok = strncmp(said(&r.warnings[w], got, sizeof got), cases[i].want[w], strlen(cases[i].want[w])) == 0;
        if (!ok)
            print_error("%s\n%zu warnings, the last looked at: %s\n", cases[i].text, r.n_warnings, got);
        all = all && ok;
        config_unref(c);
    }
    assert_true(all);
}

static void what_an_override_put_in_is_looked_at_instead(void **state) {
    static const char *const sets[] = { "models=[{slug: x, targets: [m], fallback: [y]}]", NULL };
    static const char text[] = "models: [{slug: a, targets: [m], fallback: [b]}, {slug: c, targets: [m]}]\n";
    struct config_report r;
    (void)state;
    struct config *c = load_with(text, strlen(text), no_env, sets, &r);
    assert_non_null(c);
    assert_int_equal(r.n_warnings, 1);
    assert_string_equal(r.warnings[0].source, "--set");
    config_unref(c);
}

static void many_warnings_are_counted(void **state) {
    struct buf text = BUF_MAX(1 << 20), out = BUF_MAX(1 << 20);
    struct config_report r;
    (void)state;
    buf_add(&text, SV("models:\n"));
    for (int i = 0; i < 50; i++)
        buf_printf(&text, "  - {slug: s%d, targets: [m], fallback: [none%d]}\n", i, i);
    struct config *c = load_with(text.p, text.n, no_env, NULL, &r);
    assert_non_null(c);
    assert_int_equal(r.n_warnings, CONFIG_WARNINGS_MAX);
    assert_true(config_report_print(&r, &out));
    assert_true(sv_starts(buf_sv(&out), SV("t.yaml:2:41: warning: models[0].fallback[0]: ")));
    assert_true(sv_ends(buf_sv(&out), SV("and 30 more warnings\n")));
    config_unref(c);
    buf_deinit(&text);
    buf_deinit(&out);
}

static void variables_are_put_into_text_once(void **state) {
    const char *env[] = { "HOME=/h", "A=x${B}", "B=y", "KEY=sk-very-secret", NULL };
    static const char text[] =
        "name: n${B}$${B\ndata_dir: /${A}\nendpoints: [{name: \"${B}\", url: \"http://a\", key: \"${KEY}\"}]\n";
    struct config_report r;
    (void)state;
    struct config *c = load_with(text, sizeof text - 1, env, NULL, &r);
    assert_null(c); /* a name cannot hold "${B" */
    static const char better[] =
        "name: n${B}\ndata_dir: \"/${A}$${\"\nendpoints: [{name: \"${B}\", url: \"http://a\", key: \"${KEY}\"}]\n";
    c = load_with(better, sizeof better - 1, env, NULL, &r);
    assert_non_null(c);
    assert_string_equal(c->name.p, "ny");
    assert_string_equal(c->data_dir.p, "/x${B}${");
    assert_string_equal(c->endpoints[0].key.value, "sk-very-secret");
    assert_int_equal(r.n_warnings, 1); /* a secret in the environment */
    config_unref(c);
    char big[10000];
    memset(big, 'a', sizeof big);
    memcpy(big, "A=", 2);
    big[sizeof big - 1] = '\0';
    const char *env2[] = { "HOME=/h", big, NULL };
    assert_true(complains("name: ${A}\n", 11, env2, NULL, "1:7: name: longer than 8192 bytes"));
}

static void what_came_from_a_variable_is_not_repeated_in_a_complaint(void **state) {
    const char *env[] = { "HOME=/h", "KEY=sk-very-secret", NULL };
    static const char *const documents[] = { "workers: ${KEY}\n",
                                             "log: {level: \"${KEY}\"}\n",
                                             "listen: [{address: \"${KEY}\"}]\n",
                                             "name: \"${KEY} \"\n",
                                             "endpoints: [{name: a, url: \"${KEY}\"}]\n",
                                             "takeover: [\"${KEY}\"]\n",
                                             "gateway: {body_max: \"${KEY}\"}\n",
                                             "endpoints: [{name: a, url: \"http://a\", key: \"${KEY} \"}]\n" };
    (void)state;
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        struct config_report r;
        assert_null(load_with(documents[i], strlen(documents[i]), env, NULL, &r));
        for (size_t j = 0; j < r.n; j++)
            assert_null(strstr(r.complaints[j].text, "secret"));
    }
}

static void up_to_twenty_complaints_come_in_the_order_of_lines(void **state) {
    struct config_report r;
    char text[2000] = "workers: 0\nlimits: {head: {field: 64KiB}}\n";
    (void)state;
    for (int i = 0; i < 30; i++)
        snprintf(text + strlen(text), 64, "%s%c%c: 1\n", "zzzzzzz", 'a' + i / 26, 'a' + i % 26);
    assert_null(load(text, &r));
    assert_int_equal(r.n, CONFIG_COMPLAINTS_MAX);
    assert_int_equal(r.n_more, 12);
    for (size_t i = 1; i < r.n; i++)
        assert_true(r.complaints[i].line > r.complaints[i - 1].line || !r.complaints[i].line);
    struct buf b = BUF_MAX(1 << 20);
    assert_true(config_report_print(&r, &b));
    assert_true(sv_starts(buf_sv(&b), SV("t.yaml:1:10: workers: 0 does not mean")));
    assert_true(sv_ends(buf_sv(&b), SV("and 12 more\n")));
    buf_deinit(&b);
}

static void bombs_are_refused(void **state) {
    (void)state;
    size_t n = CONFIG_FILE_MAX + 1;
    char *big = malloc(n);
    memset(big, '#', n);
    assert_true(complains(big, n, no_env, NULL, "is larger than 1048576 bytes"));
    memset(big, '[', 2000);
    assert_true(complains(big, 2000, no_env, NULL, "1:33: nested deeper than 32 levels"));
    for (size_t i = 0; i < n; i++)
        big[i] = i % 2 ? 'a' : ',';
    big[0] = '[';
    assert_true(complains(big, n - 1, no_env, NULL, "1:100000: more than 50000 values"));
    size_t at = (size_t)sprintf(big, "{");
    for (int i = 0; i < 300; i++)
        at += (size_t)sprintf(big + at, "k%d: 1, ", i);
    struct config_report r;
    assert_null(load_with(big, at, no_env, NULL, &r));
    assert_non_null(strstr(r.complaints[0].text, "more than 256 keys"));
    free(big);
}

static void what_is_shown_reads_back_as_the_same(void **state) {
    /* clang-format off */
    static const char *const documents[] = {
        "",
        "name: n1\nworkers: 7\nlisten:\n- {address: 127.0.0.1:0, names: [a, b.c]}\n- {address: unix:/s, auth: none}\n- {address: \"[::1]:5\", tls: {cert: /a, key: /b}}\n"
        "takeover: [lmstudio, ollama]\ndiscovery: {interval: 90s, lan: [10.0.0.1]}\nlimits: {conn: {max: 17}, body: {buffered_total: 9%, min_rate: 1KiB/s}}\naccess: {default_rate: {requests: 10/s}}\n",
        "data_dir: \"/we${E}ird $${X} \\\"q\\\" \xc3\xa4\\n\"\nendpoints:\n- {name: a, url: \"http://a/b\", key_file: /k, dialects: [ollama], models: {include: [\"*\"]}}\n- {name: b, url: \"https://b\", tls: "
        "{insecure: true}, max_concurrent: 3}\nmodels: [{slug: a, targets: [\"m \\\"x\\\"\", \"null\", \"5\"], aliases: [b]}]\ngateway: {deadline: 1500ms}\n",
        "endpoints: [{name: a, url: \"http://a\", watts: 350}]\nmodels: [{slug: a, targets: [m], price: {input: 0.15, output: 0}}, {slug: b, targets: [m]}]\n"
        "telemetry: {currency: EUR, energy_price: 0.2999, otlp: {url: \"https://c/x\", key_file: /k, key_header: x-team, "
        "key_scheme: plain, headers: [\"X-A: b: c\"], tls: {ca: /ca}, interval: 1s}}\naccess: {unpriced: refuse}\n",
        "telemetry: {otlp: null}\n",
    };
    static const char *const env[] = { "HOME=/h", "E=e", NULL };
    /* clang-format on */
    (void)state;
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        for (int style = CONFIG_YAML; style <= CONFIG_JSON; style++) {
            struct buf a = BUF_MAX(1 << 20), b = BUF_MAX(1 << 20), names = BUF_MAX(1000);
            struct config_report r;
            struct config *c = load_with(documents[i], strlen(documents[i]), env, NULL, &r);
            assert_non_null(c);
            assert_true(config_show(c, &a, (enum config_style)style));
            struct config *again = i == 2 && style == CONFIG_JSON ? config_ref(c) : load_with(a.p, a.n, env, NULL, &r);
            if (!again)
                print_error("%.*s\n%u: %s: %s\n", SV_FMT(buf_sv(&a)), r.complaints[0].line, r.complaints[0].key,
                            r.complaints[0].text);
            assert_non_null(again);
            assert_true(config_show(again, &b, (enum config_style)style));
            assert_true(sv_eq(buf_sv(&a), buf_sv(&b)));
            assert_false(config_needs_restart(c, again, &names));
            config_unref(c);
            config_unref(again);
            buf_deinit(&a);
            buf_deinit(&b);
            buf_deinit(&names);
        }
    }
}

static void what_is_shown_holds_no_secret(void **state) {
    (void)state;
    struct config *c = good("endpoints: [{name: a, url: \"http://a\", key: sk-very-secret}]\ntelemetry: {otlp: {key: also-very-secret}}\n");
    struct config *other = good("endpoints: [{name: a, url: \"http://a\", key: sk-very-secret}]\ntelemetry: {otlp: {key: more-very-secret}}\n");
    assert_false(config_is_same(c, other));
    config_unref(other);
    for (int style = CONFIG_YAML; style <= CONFIG_JSON; style++) {
        struct buf b = BUF_MAX(1 << 20);
        struct config_report r;
        assert_true(config_show(c, &b, (enum config_style)style));
        assert_true(sv_find(buf_sv(&b), SV("very-secret")) < 0);
        assert_true(sv_find(buf_sv(&b), SV("(set, not shown)")) > 0);
        assert_null(load_with(b.p, b.n, no_env, NULL, &r)); /* and the place-holder cannot be taken for a key */
        buf_deinit(&b);
    }
    config_unref(c);
}

static void a_small_buffer_gets_nothing_or_all(void **state) {
    (void)state;
    struct config *c = good("");
    struct buf b = BUF_MAX(100);
    assert_false(config_show(c, &b, CONFIG_YAML));
    assert_int_equal(b.n, 0);
    buf_deinit(&b);
    config_unref(c);
}

static void two_readings_of_one_file_are_the_same(void **state) {
    static const char base[] = "endpoints: [{name: a, url: \"http://a\", key: \"${K}\", weight: 5}]\nmodels: [{slug: s, targets: [m]}]\n"
                               "log: {level: debug}\n";
    static const char *const others[] = {
        "endpoints: [{name: a, url: \"http://a\", key: \"${K}\", weight: 6}]\nmodels: [{slug: s, targets: [m]}]\nlog: {level: debug}\n",
        "endpoints: [{name: a, url: \"http://a\", key: \"${L}\", weight: 5}]\nmodels: [{slug: s, targets: [m]}]\nlog: {level: debug}\n",
        "endpoints: [{name: a, url: \"http://a\", weight: 5}]\nmodels: [{slug: s, targets: [m]}]\nlog: {level: debug}\n",
        "endpoints: [{name: a, url: \"http://a\", key: \"${K}\", weight: 5}]\nmodels: [{slug: s, targets: [m, n]}]\nlog: {level: debug}\n",
        "endpoints: [{name: a, url: \"http://a\", key: \"${K}\", weight: 5}]\nlog: {level: debug}\n",
        "endpoints: [{name: a, url: \"http://a\", key: \"${K}\", weight: 5}]\nmodels: [{slug: s, targets: [m]}]\n", "",
    };
    static const char *const env[] = { "HOME=/h", "K=sk-1", "L=sk-2", NULL };
    struct config_report r;
    (void)state;
    struct config *a = load_with(base, strlen(base), env, NULL, &r), *b = load_with(base, strlen(base), env, NULL, &r);
    assert_true(config_is_same(a, a) && config_is_same(a, b) && config_is_same(b, a));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct config *c = load_with(others[i], strlen(others[i]), env, NULL, &r);
        assert_non_null(c);
        if (config_is_same(a, c) || config_is_same(c, a))
            fail_msg("taken for the same: %s", others[i]);
        config_unref(c);
    }
    mem_fail_at(1, 0);
    assert_false(config_is_same(a, b)); /* memory is out: rather apply it once too often */
    mem_fail_at(0, 0);
    config_unref(a);
    config_unref(b);
}

static void settings_that_wait_for_a_restart_are_named(void **state) {
    (void)state;
    struct config *a = good("workers: 2\nlog: {level: info}\n"),
                  *b = good("workers: 3\nlog: {level: debug, format: json}\nlisten: [{address: \"127.0.0.1:1\"}]\n");
    struct buf names = BUF_MAX(1000);
    assert_true(config_needs_restart(a, b, &names));
    assert_true(sv_eq(buf_sv(&names), SV("workers, listen, log.format")));
    buf_reset(&names);
    assert_false(config_needs_restart(a, a, &names));
    assert_int_equal(names.n, 0);
    buf_deinit(&names);
    config_unref(a);
    config_unref(b);
}

static void every_refused_allocation_ends_cleanly(void **state) {
    static const char text[] = "listen: [{address: \"127.0.0.1:1\", names: [a]}]\nendpoints: [{name: \"x${E}\", url: "
                               "\"http://a\", key: k, models: {include: [a]}}]\n"
                               "models: [{slug: a, targets: [b], aliases: [c, d], price: {input: 1, output: 2.5}}]\n"
                               "telemetry: {currency: EUR}\n";
    static const char *const env[] = { "HOME=/h", "E=e", "DROVER_TAKEOVER=ollama", NULL };
    static const char *const sets[] = { "name=n", NULL };
    (void)state;
    bool done = false;
    for (long n = 1; !done; n++) {
        struct config_report r;
        mem_fail_at(n, n % 2);
        struct config *c = load_with(text, sizeof text - 1, env, sets, &r);
        bool struck = mem_fail_hit();
        mem_fail_at(0, 0);
        done = !struck;
        assert_true(n < 10000);
        if (struck) {
            assert_null(c);
            assert_int_equal(r.n, 1);
            assert_true(r.no_memory);
            assert_string_equal(r.complaints[0].text, "out of memory");
        }
        config_unref(c);
    }
    struct config *c = good("listen: [{address: \"127.0.0.1:1\"}]\n");
    done = false;
    for (long n = 1; !done; n++) {
        struct buf b = BUF_MAX(1 << 20);
        mem_fail_at(n, 1);
        bool ok = config_show(c, &b, CONFIG_YAML);
        done = !mem_fail_hit();
        mem_fail_at(0, 0);
        assert_true(ok == done);
        buf_deinit(&b);
    }
    config_unref(c);
}

/* ---- files ---- */

static char dir[64];

static int make_dir(void **state) {
    (void)state;
    strcpy(dir, "/tmp/drover-config-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state) {
    char cmd[96];
    (void)state;
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    return system(cmd);
}

static const char *in_dir(const char *name, const char *text, mode_t mode) {
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

static void check_file(const char *path, const char *const *env, const char *want) {
    struct config_report r;
    struct config_source src = { .path = path, .environment = env };
    struct config *c = config_load(&src, &r);
    if (c || !strstr(r.complaints[0].text, want))
        print_error("want: %s\n got: %s\n", want, r.n ? r.complaints[0].text : "(none)");
    assert_null(c);
    assert_non_null(strstr(r.complaints[0].text, want));
}

static void a_missing_or_unfit_file_is_named(void **state) {
    (void)state;
    check_file("/nonexistent/drover.yaml", no_env, "there is no such file");
    check_file("/", no_env, "is no regular file");
    const char *fifo = in_dir("fifo.yaml", "", 0644);
    assert_int_equal(unlink(fifo), 0);
    assert_int_equal(mkfifo(fifo, 0644), 0);
    check_file(fifo, no_env, "is no regular file"); /* and is not waited for */
    assert_int_equal(unlink(fifo), 0);
    check_file(in_dir("a.yaml", "endpoints: [{name: a, url: \"http://a\", key_file: no.key}]\n", 0644), no_env,
               "no.key: No such file");
    check_file(in_dir("a.yaml", "endpoints: [{name: a, url: \"http://a\", key_file: .}]\n", 0644), no_env,
               "is no regular file");
    check_file(in_dir("a.yaml", "endpoints: [{name: a, url: \"https://a\", tls: {ca: ./no.pem}}]\n", 0644), no_env,
               "/no.pem: No such file");
}

static void a_file_with_secrets_must_be_private(void **state) {
    (void)state;
    in_dir("k", "sk-1\n", 0640);
    check_file(in_dir("a.yaml", "endpoints: [{name: a, url: \"http://a\", key_file: k}]\n", 0644), no_env,
               "(mode 0640): chmod 600 ");
    in_dir("k", "sk 1\n", 0600);
    check_file(in_dir("a.yaml", "endpoints: [{name: a, url: \"http://a\", key_file: k}]\n", 0644), no_env,
               "visible ASCII");
    in_dir("k", "\n", 0600);
    check_file(in_dir("a.yaml", "endpoints: [{name: a, url: \"http://a\", key_file: k}]\n", 0644), no_env,
               "1 to 4096 bytes, got 0");
    check_file(in_dir("a.yaml", "endpoints: [{name: a, url: \"http://a\", key: k}]\n", 0644), no_env,
               "this file holds a secret and others can get at it (mode 0644): chmod 600 ");

    in_dir("k", "sk-1\r\n", 0600);
    struct config_report r;
    struct config_source src = {
        .path = in_dir(
            "a.yaml",
            "endpoints: [{name: a, url: \"http://a\", key_file: k}, {name: b, url: \"http://a\", key: sk-2}]\n", 0600),
        .environment = no_env
    };
    struct config *c = config_load(&src, &r);
    assert_non_null(c);
    assert_string_equal(c->endpoints[0].key.value, "sk-1");
    assert_string_equal(c->endpoints[1].key.value, "sk-2");
    assert_string_equal(c->file.p, src.path);
    config_unref(c);
}

static void a_credential_of_systemd_is_found_by_name(void **state) {
    (void)state;
    char var[100];
    in_dir("cred", "sk-cred", 0440);
    snprintf(var, sizeof var, "CREDENTIALS_DIRECTORY=%s", dir);
    const char *env[] = { "HOME=/h", var, NULL };
    struct config_report r;
    static const char text[] = "endpoints: [{name: a, url: \"http://a\", key_file: cred}]\n";
    struct config_source src = { .path = "/etc/x.yaml", .text = { text, sizeof text - 1 }, .environment = env };
    struct config *c = config_load(&src, &r);
    assert_non_null(c);
    assert_string_equal(c->endpoints[0].key.value, "sk-cred");
    config_unref(c);
}

static void the_first_file_of_the_search_is_taken(void **state) {
    (void)state;
    char xdg[100], home[100], path[200];
    snprintf(path, sizeof path, "%s/.config", dir);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/.config/drover", dir);
    mkdir(path, 0700);
    in_dir(".config/drover/drover.yaml", "name: from-home\n", 0666);
    snprintf(home, sizeof home, "HOME=%s", dir);
    snprintf(xdg, sizeof xdg, "XDG_CONFIG_HOME=%s/none", dir);
    const char *env[] = { home, xdg, NULL };
    struct config_report r;
    struct config_source src = { .environment = env };
    struct config *c = config_load(&src, &r);
    assert_non_null(c);
    assert_string_equal(c->name.p, "from-home");
    assert_int_equal(r.n_warnings, 1); /* everyone can change it */
    config_unref(c);
}

static void places_follow_the_environment(void **state) {
    /* clang-format off */
    static const struct {
        const char *env[6], *data, *run;
    } cases[] = {
        { { "STATE_DIRECTORY=/var/lib/d:/x", "RUNTIME_DIRECTORY=/run/d", NULL }, "/var/lib/d", "/run/d" },
        { { "HOME=/h", "DROVER_DATA_DIR=/own", NULL }, "/own", "/own/run" },
        { { "HOME=/h", "DROVER_RUN_DIR=/r", NULL }, NULL, "/r" },
    };
    /* clang-format on */
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config_report r;
        struct config *c = load_with("", 0, cases[i].env, NULL, &r);
        assert_non_null(c);
        if (cases[i].data)
            assert_string_equal(c->data_dir.p, cases[i].data);
        assert_string_equal(c->run_dir.p, cases[i].run);
        config_unref(c);
    }
}

static bool no_tens(struct sv url, struct err *e) {
    return sv_find(url, SV("//10.")) < 0 || err_set(e, ERR_CONFIG, "no tens here");
}

static void the_app_may_judge_urls_more_strictly(void **state) {
    static const char text[] = "endpoints: [{name: a, url: \"http://10.0.0.1\"}]\n";
    struct config_report r;
    (void)state;
    struct config_source src = { .text = { text, sizeof text - 1 }, .environment = no_env, .check_url = no_tens };
    assert_null(config_load(&src, &r));
    assert_string_equal(r.complaints[0].text, "no tens here");
    assert_int_equal(r.complaints[0].column, 28);
}

/* ---- the table and its pages ---- */

static void the_table_keeps_its_own_rules(void **state) {
    (void)state;
    for (size_t i = 0; i < n_settings; i++) {
        const struct setting *s = &settings[i];
        assert_true(strlen(s->path) <= 64);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(s->path, settings[j].path);
        if (s->type >= T_MOVED)
            continue;
        assert_non_null(s->text);
        if (s->over)
            assert_true(s->max > 0 && s->dflt);
        /* No two settings answer to one variable. */
        for (size_t j = 0; j < i; j++) {
            const char *a = s->path, *b = settings[j].path;
            while (*a && (*a == *b || ((*a == '.' || *a == '_') && (*b == '.' || *b == '_'))))
                a++, b++;
            assert_true(*a || *b);
        }
        /* Rows of a group stand together. */
        const char *dot = strrchr(s->path, '.');
        bool left = false;
        for (size_t j = i; dot && j < n_settings; j++) {
            bool same = strncmp(settings[j].path, s->path, (size_t)(dot - s->path) + 1) == 0;
            if (settings[j].type < T_MOVED) {
                assert_false(same && left);
                left = left || !same;
            }
        }
    }
}

/* base/err.h and the table name the same limits. Those of the table that end nothing, or are counted under another's name: */
static const char *const uncounted[] = {
    "access.default_rate.burst",              /* as requests */
    "gateway.retry_max",                      /* the last fault is the answer, and it is counted */
    "limits.conn.new_per_address_burst",      /* as new_per_address_per_s */
    "limits.conn.new_per_loopback_burst",
    "limits.conn.keepalive_idle",             /* the ordinary end of a connection */
    "limits.conn.requests_per_connection",
    "limits.conn.lifetime",
    "limits.listen.backlog",                  /* the kernel's */
    "limits.pipeline.ahead",                  /* these make something wait or pass in another way */
    "limits.stream.heartbeat",
    "limits.stream.memory",
    "limits.alerts.queue",                    /* no request's: the log and the list of alerts tell */
    "limits.alerts.webhook",
    "limits.alerts.command",
    "limits.ledger.queue_rows",               /* the store's trouble, told by it */
    "limits.otlp.queue_rows", "limits.otlp.queue", /* in drover_otlp_spans_total; no request is refused */
    "limits.metrics.series_per_name",
    "limits.log.line",
    "limits.log.ring_lines",
    "limits.stop.drain",                      /* nobody scrapes any more */
};

static void each_limit_that_refuses_is_counted_under_its_key(void **state) {
    (void)state;
    size_t limits = 0, left = 0;
    for (size_t i = 0; i < n_settings; i++) {
        const struct setting *s = &settings[i];
        bool counted = false, other = false;
        if (!s->over)
            continue;
        for (int l = LIMIT_NONE + 1; l < ERR_LIMIT_COUNT; l++)
            counted = counted || strcmp(err_limit_key((enum err_limit)l), s->path) == 0;
        for (size_t u = 0; u < sizeof uncounted / sizeof *uncounted; u++)
            other = other || strcmp(uncounted[u], s->path) == 0;
        if (counted == other)
            fail_msg("%s: a limit is either in ERR_LIMITS or in this test's list", s->path);
        limits += counted;
        left += other;
    }
    assert_int_equal(limits, ERR_LIMIT_COUNT - 1); /* each key is that of a setting */
    assert_int_equal(left, sizeof uncounted / sizeof *uncounted);
}

static void numbers_read_and_print_with_their_units(void **state) {
    /* clang-format off */
    static const struct {
        const char *text;
        uint64_t value;
        bool is_size;
    } cases[] = {
        { "0B", 0, true }, { "1B", 1, true }, { "1023B", 1023, true }, { "1KiB", 1024, true }, { "1536B", 1536, true }, { "64MiB", 64 << 20, true },
        { "2TiB", 2ull << 40, true }, { "0ms", 0, false }, { "1ms", 1, false }, { "1500ms", 1500, false }, { "90s", 90000, false }, { "5m", 300000, false },
        { "1d", 86400000, false },
    };
    static const char *const bad[] = { "", "5", "MiB", "5 5s", "1.5s", "-1s", "5S", "5mib", "1s1h", "18446744073709551616ms", "9999999999999999d" };
    /* clang-format on */
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t value;
        char text[VALUE_TEXT];
        assert_true((cases[i].is_size ? size_parse : duration_parse)(sv_of(cases[i].text), &value));
        assert_true(value == cases[i].value);
        assert_string_equal((cases[i].is_size ? size_text : duration_text)(value, text), cases[i].text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t value = 42;
        assert_false(size_parse(sv_of(bad[i]), &value));
        assert_false(duration_parse(sv_of(bad[i]), &value));
        assert_true(value == 42);
    }
}

static void edits_are_counted(void **state) {
    static const struct {
        const char *a, *b;
        size_t n;
    } cases[] = {
        { "", "", 0 },      { "a", "", 1 }, { "level", "levle", 1 }, { "log", "lgo", 1 }, { "kitten", "sitting", 3 },
        { "abc", "xyz", 3 }
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(edit_distance(sv_of(cases[i].a), sv_of(cases[i].b), 9), cases[i].n);
        assert_int_equal(edit_distance(sv_of(cases[i].b), sv_of(cases[i].a), 9), cases[i].n);
    }
    assert_int_equal(edit_distance(SV("abc"), SV("xyz"), 1), 2);
}

/* The page in the source tree. __FILE__ may be relative to the build directory, and that to anywhere below the root. */
static bool open_page(const char *name, char *path, size_t size, struct buf *text) {
    static const char *const up[] = { "", "../", "../../", "../../../" };
    snprintf(path, size, "%.*s/../../docs/%s", (int)(strrchr(__FILE__, '/') - __FILE__), __FILE__, name);
    FILE *f = fopen(path, "r");
    for (size_t i = 0; !f && i < sizeof up / sizeof *up; i++) {
        snprintf(path, size, "%sdocs/%s", up[i], name);
        f = fopen(path, "r");
    }
    for (int c; f && (c = getc(f)) != EOF;)
        buf_add_char(text, (char)c);
    if (f)
        fclose(f);
    return f != NULL;
}

static void check_page(const char *name, const char *mark, bool (*make)(struct buf *)) {
    char path[1000], begin[64], end[64];
    struct buf page = BUF_MAX(1 << 20), made = BUF_MAX(1 << 20);
    bool is_man = strstr(name, "man/") != NULL;
    snprintf(begin, sizeof begin, is_man ? ".\\\" %s: begin\n" : "<!-- %s: begin -->\n", mark);
    snprintf(end, sizeof end, is_man ? ".\\\" %s: end" : "<!-- %s: end -->", mark);
    assert_true(open_page(name, path, sizeof path, &page));
    assert_true(make(&made));
    ptrdiff_t from = sv_find(buf_sv(&page), sv_of(begin)), to = sv_find(buf_sv(&page), sv_of(end));
    assert_true(from >= 0 && to > from);
    from += (ptrdiff_t)strlen(begin);
    struct sv now = { page.p + from, (size_t)(to - from) };
    if (getenv("DROVER_REFRESH_DOCS")) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fwrite(page.p, 1, (size_t)from, f);
        fwrite(made.p, 1, made.n, f);
        fwrite(page.p + to, 1, page.n - (size_t)to, f);
        fclose(f);
    } else if (!sv_eq(now, buf_sv(&made))) {
        print_error(
            "docs/%s is older than src/config/schema.c: run this test with DROVER_REFRESH_DOCS=1\n",
            name);
        fail();
    }
    buf_deinit(&page);
    buf_deinit(&made);
}

static void the_pages_are_as_the_table_says(void **state) {
    (void)state;
    check_page("config.md", "settings", config_manual);
    check_page("limits.md", "limits", config_limits_manual);
    check_page("man/drover-config.5", "settings", config_man);
}

static void the_example_of_the_page_is_good(void **state) {
    char path[1000];
    struct buf page = BUF_MAX(1 << 20);
    (void)state;
    assert_true(open_page("config.md", path, sizeof path, &page));
    assert_true(buf_add_char(&page, '\0'));
    char *from = strstr(page.p, "```yaml\n"), *to = from ? strstr(from, "\n```\n") : NULL;
    assert_non_null(to);
    *to = '\0';
    config_unref(good(from + 8));
    buf_deinit(&page);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_document_gives_every_default),
        cmocka_unit_test(the_example_of_the_contract_is_understood),
        cmocka_unit_test(each_fault_is_named_with_its_place),
        cmocka_unit_test(variables_and_flags_are_checked_like_the_file),
        cmocka_unit_test(a_flag_wins_over_a_variable_and_that_over_the_file),
        cmocka_unit_test(an_unknown_variable_is_only_warned_of),
        cmocka_unit_test(names_that_lead_nowhere_are_warned_of),
        cmocka_unit_test(what_an_override_put_in_is_looked_at_instead),
        cmocka_unit_test(many_warnings_are_counted),
        cmocka_unit_test(variables_are_put_into_text_once),
        cmocka_unit_test(what_came_from_a_variable_is_not_repeated_in_a_complaint),
        cmocka_unit_test(up_to_twenty_complaints_come_in_the_order_of_lines),
        cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(what_is_shown_reads_back_as_the_same),
        cmocka_unit_test(what_is_shown_holds_no_secret),
        cmocka_unit_test(a_small_buffer_gets_nothing_or_all),
        cmocka_unit_test(two_readings_of_one_file_are_the_same),
        cmocka_unit_test(settings_that_wait_for_a_restart_are_named),
        cmocka_unit_test(every_refused_allocation_ends_cleanly),
        cmocka_unit_test(a_missing_or_unfit_file_is_named),
        cmocka_unit_test(a_file_with_secrets_must_be_private),
        cmocka_unit_test(a_credential_of_systemd_is_found_by_name),
        cmocka_unit_test(the_first_file_of_the_search_is_taken),
        cmocka_unit_test(places_follow_the_environment),
        cmocka_unit_test(the_app_may_judge_urls_more_strictly),
        cmocka_unit_test(the_table_keeps_its_own_rules),
        cmocka_unit_test(each_limit_that_refuses_is_counted_under_its_key),
        cmocka_unit_test(numbers_read_and_print_with_their_units),
        cmocka_unit_test(edits_are_counted),
        cmocka_unit_test(the_pages_are_as_the_table_says),
        cmocka_unit_test(the_example_of_the_page_is_good),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
