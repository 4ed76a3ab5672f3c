/* What the hub is told of models: whole once, then the differences, each message one that the link takes. */
#include "hub/member_models.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "link/envelope.h"

enum { N = 4200 };

static struct { /* a fleet made by hand */
    struct fleet_endpoint endpoints[3];
    struct fleet_model models[N];
    struct fleet_target targets[N];
    const struct fleet_target *refs[N];
    struct fleet_slug slugs[N];
    char names[N][32], ids[N][180];
    struct snapshot s;
} f;

static void fleet_of(size_t n, size_t id_n) {
    memset(&f, 0, sizeof f);
    f.endpoints[0] = (struct fleet_endpoint){ .name = SV("vllm"),
                                              .kind = SV("vllm"),
                                              .url = SV("http://10.0.0.5:8000"),
                                              .state = FLEET_UP,
                                              .speaks = LLM_SPEAKS_CHAT,
                                              .max_concurrent = 4,
                                              .n_models = n };
    f.endpoints[1] = (struct fleet_endpoint){
        .name = SV("demo"), .kind = SV("demo"), .url = SV("memory"), .state = FLEET_UP, .demo = true
    };
    f.endpoints[2] = (struct fleet_endpoint){
        .name = SV("old"), .kind = SV("ollama"), .url = SV("http://u:p@h"), .state = FLEET_DOWN
    };
    for (size_t i = 0; i < n; i++) {
        snprintf(f.names[i], sizeof f.names[i], "model-%05zu", i);
        memset(f.ids[i], 'x', id_n);
        f.models[i] = (struct fleet_model){ .id = { f.ids[i], id_n },
                                            .context = 8192,
                                            .context_max = 32768,
                                            .size_bytes = 5000000000,
                                            .can_known = true,
                                            .can = LLM_CAN_CHAT | LLM_CAN_TOOLS | LLM_CAN_THINKING,
                                            .loaded = FLEET_LOADED_YES,
                                            .quant = SV("Q4_K_M") };
        f.targets[i] = (struct fleet_target){ .endpoint = &f.endpoints[0], .model = &f.models[i] };
        f.refs[i] = &f.targets[i];
        f.slugs[i] = (struct fleet_slug){ .name = sv_of(f.names[i]), .targets = &f.refs[i], .n_targets = 1 };
    }
    f.s =
        (struct snapshot){ .endpoints = f.endpoints, .n_endpoints = 3, .slugs = f.slugs, .n_slugs = n, .n_listed = n };
}

/* The payload, which the link must take. */
static yyjson_doc *payload(enum link_kind kind, const char *head, const struct buf *members) {
    struct buf text = BUF_MAX(1 << 20);
    struct envelope_fault fault;
    buf_add(&text, sv_of(head));
    buf_add(&text, buf_sv(members));
    buf_add_char(&text, '}');
    assert_false(text.failed);
    assert_true(text.n < 256 << 10);
    yyjson_doc *doc = json_parse(buf_sv(&text));
    assert_non_null(doc);
    if (!kind_check(kind, yyjson_doc_get_root(doc), &fault))
        fail_msg("%s: %s", fault.path, fault.text);
    buf_deinit(&text);
    return doc;
}

static yyjson_doc *changes(struct member_models *m, bool *ret_more) {
    struct buf out = BUF_MAX(1 << 20);
    assert_true(member_models_changes(m, &f.s, MEMBER_ROOM, &out, ret_more));
    yyjson_doc *doc = out.n ? payload(KIND_CAPABILITIES, "{\"rev\":2", &out) : NULL;
    buf_deinit(&out);
    return doc;
}

static yyjson_doc *all(struct member_models *m, const struct snapshot *s, bool *ret_more) {
    struct buf out = BUF_MAX(1 << 20);
    assert_true(member_models_all(m, s, MEMBER_ROOM, &out, ret_more));
    yyjson_doc *doc = payload(KIND_REGISTER, "{\"agent_id\":\"n1\"", &out);
    buf_deinit(&out);
    return doc;
}

static size_t count(yyjson_doc *doc, const char *name) {
    return doc ? yyjson_arr_size(json_get(yyjson_doc_get_root(doc), name)) : 0;
}

static void the_best_targets_facts_are_told_and_nothing_of_the_demonstration(void **state) {
    struct member_models m;
    bool more;
    (void)state;
    fleet_of(2, 10);
    f.targets[1].endpoint = &f.endpoints[1];
    member_models_init(&m);
    yyjson_doc *doc = all(&m, &f.s, &more);
    yyjson_val *list = json_get(yyjson_doc_get_root(doc), "models"), *one = yyjson_arr_get(list, 0);
    assert_int_equal(yyjson_arr_size(list), 1);
    assert_true(sv_eq(json_str(one, "key"), SV("model-00000")) && sv_eq(json_str(one, "id"), SV("xxxxxxxxxx")));
    assert_true(sv_eq(json_str(one, "type"), SV("chat")) && sv_eq(json_str(one, "state"), SV("loaded")));
    assert_int_equal(json_i64(one, "context_loaded", 0), 8192);
    assert_int_equal(json_i64(one, "max_concurrent", 0), 4);
    assert_int_equal(yyjson_arr_size(json_get(one, "features")), 4);
    list = json_get(yyjson_doc_get_root(doc), "endpoints");
    assert_int_equal(yyjson_arr_size(list), 2);
    assert_null(json_get(yyjson_arr_get(list, 1), "base_url_redacted")); /* it held a password */
    yyjson_doc_free(doc);
    yyjson_doc_free(all(&m, NULL, &more));
    member_models_deinit(&m);
}

static void opaque_names_stay_opaque(void **state) {
    struct member_models m;
    struct buf out = BUF_MAX(1 << 20);
    bool more;
    (void)state;
    fleet_of(3, 10);
    f.s.is_opaque = true;
    member_models_init(&m);
    assert_true(member_models_all(&m, &f.s, MEMBER_ROOM, &out, &more));
    assert_true(sv_find(buf_sv(&out), SV("model-00002")) >= 0);
    assert_true(sv_find(buf_sv(&out), SV("xxxx")) < 0 && sv_find(buf_sv(&out), SV("vllm")) < 0 &&
                sv_find(buf_sv(&out), SV("10.0.0.5")) < 0);
    buf_deinit(&out);
    member_models_deinit(&m);
}

static void only_what_has_changed_is_told_again(void **state) {
    struct member_models m;
    bool more;
    (void)state;
    fleet_of(10, 10);
    member_models_init(&m);
    yyjson_doc_free(all(&m, &f.s, &more));
    assert_false(more);
    assert_null(changes(&m, &more));
    f.models[3].loaded = FLEET_LOADED_NO;
    f.endpoints[2].state = FLEET_UP;
    yyjson_doc *doc = changes(&m, &more);
    assert_int_equal(count(doc, "models_upsert"), 1);
    assert_int_equal(count(doc, "endpoints_upsert"), 1);
    assert_int_equal(count(doc, "models_remove"), 0);
    yyjson_doc_free(doc);
    f.s.n_listed = 8;
    f.s.n_endpoints = 1;
    doc = changes(&m, &more);
    assert_int_equal(count(doc, "models_upsert"), 0);
    assert_int_equal(count(doc, "models_remove"), 2);
    assert_int_equal(count(doc, "endpoints_remove"), 1);
    yyjson_doc_free(doc);
    assert_null(changes(&m, &more));
    member_models_deinit(&m);
}

static void what_does_not_fit_follows(void **state) {
    struct member_models m;
    bool more;
    (void)state;
    fleet_of(N, 170);
    member_models_init(&m);
    yyjson_doc *doc = all(&m, &f.s, &more);
    size_t told = count(doc, "models");
    yyjson_doc_free(doc);
    assert_true(more && told > 100);
    unsigned messages = 1;
    for (; more; messages++) {
        doc = changes(&m, &more);
        assert_int_equal(count(doc, "models_remove"), 0);
        told += count(doc, "models_upsert");
        yyjson_doc_free(doc);
        assert_true(messages < 20);
    }
    assert_int_equal(told, MEMBER_MODELS);
    assert_int_equal(m.n_left_out, N - MEMBER_MODELS);
    assert_true(messages > 3);
    f.s.n_listed = 0;
    for (told = 0, more = true; more;) {
        doc = changes(&m, &more);
        told += count(doc, "models_remove");
        yyjson_doc_free(doc);
    }
    assert_int_equal(told, MEMBER_MODELS);
    member_models_deinit(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_targets_facts_are_told_and_nothing_of_the_demonstration),
        cmocka_unit_test(opaque_names_stay_opaque),
        cmocka_unit_test(only_what_has_changed_is_told_again),
        cmocka_unit_test(what_does_not_fit_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
