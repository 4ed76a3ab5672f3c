#include "fleet/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define assert_sv(v, text) assert_true(sv_eq(v, sv_of(text)))

static const unsigned char key[OPAQUE_KEY_BYTES] = "0123456789abcdef0123456789abcdef";

/* A fleet in a few lines: "endpoint" and its model ids. */
struct node {
    const char *name;
    const char *ids[8];
};

struct bench {
    struct fleet_endpoint endpoints[8];
    struct fleet_model models[8][8];
    struct cell *cells[128]; /* of targets, in the order they are asked for */
    size_t n_cells;
    struct snapshot_source src;
};

static struct cell *bench_cell(void *arg, const struct fleet_endpoint *p, struct sv id) {
    struct bench *b = arg;
    struct cell *c = b->n_cells < 128 ? cell_new() : NULL;
    if (c)
        b->cells[b->n_cells++] = c;
    return c;
}

static void bench_init(struct bench *b, const struct node *nodes, size_t n) {
    *b = (struct bench){ .src = { .endpoints = b->endpoints, .n_endpoints = n, .cells = { bench_cell, b }, .version = 7 } };
    for (size_t i = 0; i < n; i++) {
        struct fleet_endpoint *p = &b->endpoints[i];
        p->name = sv_of(nodes[i].name);
        p->state = FLEET_UP;
        p->dialer = dialer_tcp(SV("127.0.0.1"), 1, NULL, NULL);
        p->cell = cell_new();
        p->models = b->models[i];
        for (; nodes[i].ids[p->n_models]; p->n_models++)
            b->models[i][p->n_models].id = sv_of(nodes[i].ids[p->n_models]);
    }
}

static void bench_deinit(struct bench *b) {
    for (size_t i = 0; i < b->src.n_endpoints; i++) {
        dialer_unref(b->endpoints[i].dialer);
        cell_unref(b->endpoints[i].cell);
    }
    for (size_t i = 0; i < b->n_cells; i++)
        cell_unref(b->cells[i]);
}

static struct snapshot *build(struct bench *b) {
    struct err e;
    struct snapshot *s = snapshot_build(&b->src, &e);
    assert_non_null(s);
    return s;
}

static size_t targets_of(const struct snapshot *s, const char *asked) {
    struct sv node;
    const struct fleet_slug *slug = snapshot_find(s, sv_of(asked), &node);
    return slug ? slug->n_targets : 0;
}

#define LIST_OF(...) { (const struct sv[]){ __VA_ARGS__ }, sizeof((const struct sv[]){ __VA_ARGS__ }) / sizeof(struct sv) }

static const struct node two[] = {
    { "big", { "qwen3", "Qwen/Qwen3-Coder", NULL } },
    { "small", { "qwen3", "llama3:latest", NULL } },
};

static void the_same_name_at_two_places_is_one_slug(void **state) {
    struct bench b;
    bench_init(&b, two, 2);
    struct snapshot *s = build(&b);
    assert_int_equal(s->version, 7);
    assert_int_equal(s->n_targets, 4);
    assert_int_equal(s->n_listed, 3);
    assert_int_equal(targets_of(s, "qwen3"), 2);
    assert_int_equal(targets_of(s, "Qwen/Qwen3-Coder"), 1);
    assert_int_equal(targets_of(s, "qwen"), 0);
    for (size_t i = 1; i < s->n_listed; i++) /* sorted */
        assert_true(memcmp(s->slugs[i - 1].name.p, s->slugs[i].name.p, 1) <= 0);
    snapshot_unref(s);
    bench_deinit(&b);
}

static void latest_goes_without_saying(void **state) {
    struct bench b;
    bench_init(&b, two, 2);
    struct snapshot *s = build(&b);
    assert_int_equal(targets_of(s, "llama3"), 1);
    assert_int_equal(targets_of(s, "llama3:latest"), 1);
    assert_int_equal(targets_of(s, "qwen3:latest"), 2);
    assert_int_equal(targets_of(s, "llama3:8b"), 0);
    snapshot_unref(s);
    bench_deinit(&b);
}

static void a_node_can_be_named(void **state) {
    struct bench b;
    struct sv node;
    bench_init(&b, two, 2);
    struct snapshot *s = build(&b);
    assert_non_null(snapshot_find(s, SV("qwen3@small"), &node));
    assert_sv(node, "small");
    assert_non_null(snapshot_find(s, SV("qwen3"), &node));
    assert_int_equal(node.n, 0);
    assert_null(snapshot_find(s, SV("@small"), &node));
    assert_null(snapshot_find(s, SV("nothing@small"), &node));
    assert_null(snapshot_find(s, SV("qwen3@nowhere"), &node));
    assert_null(snapshot_find(s, SV(""), &node));
    snapshot_unref(s);
    bench_deinit(&b);
}

static void the_operators_names_pick_targets(void **state) {
    struct bench b;
    bench_init(&b, two, 2);
    const struct config_model models[] = {
        { .slug = SV("coder"), .targets = LIST_OF(SV("big/Qwen/Qwen3-Coder"), SV("llama3")), .aliases = LIST_OF(SV("gpt-4o"), SV("qwen3")),
          .fallback = LIST_OF(SV("qwen3")), .strict = true },
        { .slug = SV("qwen3"), .targets = LIST_OF(SV("small/qwen3")) },
        { .slug = SV("claude-*"), .targets = LIST_OF(SV("qwen*")), .aliases = LIST_OF(SV("opus")) },
        { .slug = SV("nobody"), .targets = LIST_OF(SV("missing")) },
    };
    b.src.models = models;
    b.src.n_models = 4;
    struct snapshot *s = build(&b);
    struct sv node;
    const struct fleet_slug *coder = snapshot_find(s, SV("coder"), &node);
    assert_non_null(coder);
    assert_int_equal(coder->n_targets, 2);
    assert_sv(coder->targets[0]->model->id, "Qwen/Qwen3-Coder");
    assert_true(coder->strict);
    assert_int_equal(coder->n_fallback, 1);
    const struct fleet_slug *alias = snapshot_find(s, SV("gpt-4o"), &node);
    assert_non_null(alias);
    assert_true(alias->is_alias);
    assert_int_equal(alias->n_targets, 2);
    assert_int_equal(targets_of(s, "qwen3"), 1); /* what a person wrote wins over the merge, and over an alias */
    assert_int_equal(targets_of(s, "claude-opus-4"), 2);
    assert_int_equal(targets_of(s, "opus"), 2);
    assert_int_equal(targets_of(s, "claude"), 0);
    assert_non_null(snapshot_find(s, SV("nobody"), &node));
    assert_int_equal(targets_of(s, "nobody"), 0);
    for (size_t i = 0; i < s->n_listed; i++) {
        assert_false(s->slugs[i].is_alias);
        assert_true(sv_find_char(s->slugs[i].name, '*') < 0);
    }
    snapshot_unref(s);
    bench_deinit(&b);
}

static void opaque_names_are_stable_and_differ_by_place(void **state) {
    static const struct node other[] = { { "new", { "a", NULL } }, { "small", { "qwen3", NULL } } };
    struct bench b, c;
    bench_init(&b, two, 2);
    bench_init(&c, other, 2);
    b.src.opaque_key = c.src.opaque_key = key;
    struct snapshot *s = build(&b), *t = build(&c);
    char name[OPAQUE_CHARS + 1], big[OPAQUE_CHARS + 1], at[OPAQUE_CHARS + 8];
    slug_opaque(key, SV("small"), SV("qwen3"), name);
    slug_opaque(key, SV("big"), SV("qwen3"), big);
    assert_int_equal(strlen(name), OPAQUE_CHARS);
    assert_string_not_equal(name, big);
    assert_int_equal(s->n_listed, 4); /* nothing merges */
    assert_int_equal(targets_of(s, name), 1);
    assert_int_equal(targets_of(t, name), 1);
    assert_int_equal(targets_of(s, "qwen3"), 0);
    snprintf(at, sizeof at, "%s@small", name); /* nor can an endpoint be found out by its name */
    assert_int_equal(targets_of(s, at), 0);
    slug_opaque((const unsigned char *)"another key, of thirty-two bytes", SV("small"), SV("qwen3"), big);
    assert_string_not_equal(name, big);
    slug_opaque(key, SV("ab"), SV("c"), name);
    slug_opaque(key, SV("a"), SV("bc"), big);
    assert_string_not_equal(name, big);
    snapshot_unref(s);
    snapshot_unref(t);
    bench_deinit(&b);
    bench_deinit(&c);
}

static void weird_ids_become_clean_names(void **state) {
    static const struct { const char *id, *slug; } cases[] = {
        { "qwen3:8b", "qwen3:8b" }, { "/models/a b.gguf", "a-b.gguf" }, { "C:\\models\\x.gguf", "x.gguf" }, { "a/../b", "b" },
        { "a//b", "b" }, { "/", "unnamed" }, { "a/", "unnamed" }, { "..", ".-" }, { "na\xc3\xafve", "na--ve" }, { "\n\x1b[31m", "---31m" },
        { "*", "-" }, { "a?b", "a-b" }, { "hf.co/u/m:Q4_K_M", "hf.co/u/m:Q4_K_M" }, { "a@b", "a@b" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena a;
        arena_init(&a, 1 << 16, NULL);
        struct sv slug = slug_from_id(&a, sv_of(cases[i].id));
        if (!sv_eq(slug, sv_of(cases[i].slug)))
            fail_msg("%s became %.*s", cases[i].id, SV_FMT(slug));
        assert_true(slug_is_clean(slug));
        arena_deinit(&a);
    }
    struct arena a;
    char id[600];
    memset(id, 'x', sizeof id);
    arena_init(&a, 1 << 16, NULL);
    assert_true(slug_is_clean(slug_from_id(&a, (struct sv){ id, sizeof id })));
    assert_true(slug_is_clean(slug_from_id(&a, (struct sv){ "a\0b", 3 })));
    arena_deinit(&a);
}

static void a_slug_has_at_most_64_targets(void **state) {
    static struct fleet_endpoint endpoints[80];
    static const struct fleet_model model = { .id = { "m", 1 } };
    static char names[80][8];
    struct bench b;
    bench_init(&b, two, 0);
    for (size_t i = 0; i < 80; i++) {
        snprintf(names[i], sizeof names[i], "n%zu", i);
        endpoints[i] = (struct fleet_endpoint){ .name = sv_of(names[i]), .models = &model, .n_models = 1, .cell = cell_new(),
                                                .dialer = dialer_tcp(SV("127.0.0.1"), 1, NULL, NULL) };
    }
    b.src.endpoints = endpoints;
    b.src.n_endpoints = 80;
    struct snapshot *s = build(&b);
    assert_int_equal(s->n_targets, 80);
    assert_int_equal(targets_of(s, "m"), SCHEDULE_TARGETS_MAX);
    snapshot_unref(s);
    b.src.n_endpoints = 0;
    bench_deinit(&b);
    for (size_t i = 0; i < 80; i++) {
        cell_unref(endpoints[i].cell);
        dialer_unref(endpoints[i].dialer);
    }
}

static void near_names_are_suggested(void **state) {
    struct bench b;
    struct arena a;
    bench_init(&b, two, 2);
    struct snapshot *s = build(&b);
    arena_init(&a, 1 << 16, NULL);
    assert_sv(snapshot_suggest(s, SV("qwen4"), &a), "qwen3");
    assert_true(sv_find(snapshot_suggest(s, SV("Qwen3-Coder"), &a), SV("Qwen/Qwen3-Coder")) >= 0);
    assert_true(sv_find(snapshot_suggest(s, SV("llama"), &a), SV("llama3:latest")) >= 0);
    assert_int_equal(snapshot_suggest(s, SV("zzzzzzzzzzzzzzzzzzzzzzzzzzzz"), &a).n, 0);
    arena_deinit(&a);
    snapshot_unref(s);
    bench_deinit(&b);
}

static void an_empty_fleet_is_a_snapshot(void **state) {
    struct bench b;
    struct sv node;
    bench_init(&b, two, 0);
    struct snapshot *s = build(&b);
    assert_int_equal(s->n_slugs, 0);
    assert_null(snapshot_find(s, SV("x"), &node));
    snapshot_unref(s);
    bench_deinit(&b);
}

static void what_is_shared_outlives_the_endpoints(void **state) {
    struct bench b;
    bench_init(&b, two, 2);
    struct snapshot *s = build(&b);
    bench_deinit(&b);
    memset(b.models, 0xff, sizeof b.models);
    assert_int_equal(targets_of(s, "qwen3"), 2);
    cell_outcome(s->targets[0].cell, OUTCOME_OK, 1);
    assert_int_equal(s->targets[0].cell->n_ok, 1);
    struct snapshot *again = snapshot_ref(s);
    snapshot_unref(s);
    assert_int_equal(targets_of(again, "qwen3"), 2);
    snapshot_unref(again);
}

static void memory_may_be_out_at_any_point(void **state) {
    const struct config_model models[] = {
        { .slug = SV("coder"), .targets = LIST_OF(SV("qwen3")), .aliases = LIST_OF(SV("x")), .fallback = LIST_OF(SV("y")) },
        { .slug = SV("c-*"), .targets = LIST_OF(SV("qwen3")) },
    };
    for (int opaque = 0; opaque < 2; opaque++) {
        for (long n = 1;; n++) {
            struct bench b;
            struct err e = { 0 };
            bench_init(&b, two, 2);
            b.src.models = models;
            b.src.n_models = 2;
            b.src.opaque_key = opaque ? key : NULL;
            mem_fail_at(n, 0);
            struct snapshot *s = snapshot_build(&b.src, &e);
            int hit = mem_fail_hit();
            mem_fail_at(0, 0);
            assert_true(hit ? !s && e.code == ERR_NO_MEMORY : s != NULL);
            snapshot_unref(s);
            bench_deinit(&b);
            if (!hit)
                break;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_name_at_two_places_is_one_slug),
        cmocka_unit_test(latest_goes_without_saying),
        cmocka_unit_test(a_node_can_be_named),
        cmocka_unit_test(the_operators_names_pick_targets),
        cmocka_unit_test(opaque_names_are_stable_and_differ_by_place),
        cmocka_unit_test(weird_ids_become_clean_names),
        cmocka_unit_test(a_slug_has_at_most_64_targets),
        cmocka_unit_test(near_names_are_suggested),
        cmocka_unit_test(an_empty_fleet_is_a_snapshot),
        cmocka_unit_test(what_is_shared_outlives_the_endpoints),
        cmocka_unit_test(memory_may_be_out_at_any_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
