#include "hub/leaf_box.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"

enum { NOW = 1000000 };

static void read_into(struct envelope *m, const char *kind, const char *id, const char *payload, const char *more) {
    static char text[4096];
    struct envelope_fault f;
    snprintf(text, sizeof text,
             "{\"kind\":\"%s\",\"msg_id\":\"%s\",\"ts\":\"2026-11-21T09:14:03.218Z\",\"direction\":\"up\",\"agent_id\":"
             "\"b\",\"payload\":%s%s}",
             kind, id, payload, more);
    assert_true(envelope_read(sv_of(text), false, false, m, &f));
}

static struct note note_of(const char *kind, const char *id, const char *payload) {
    struct envelope m;
    struct note t;
    read_into(&m, kind, id, payload, "");
    assert_true(note_init(&t, &m, "attic"));
    envelope_free(&m);
    return t;
}
static void set(struct box *b, const char *kind, const char *id, const char *payload) {
    struct note t = note_of(kind, id, payload);
    box_set(b, box_slot_of(t.kind), &t);
}
static struct letter *add(struct box *b, const char *id, int64_t no) {
    struct note t = note_of("usage_report", id, "{\"outbox\":1,\"rows\":[]}");
    struct letter *l = box_add(b, &t, no, NOW);
    assert_non_null(l);
    return l;
}
static void next_is(struct box *b, uint64_t now, const char *id) {
    struct note *t = box_next(b, now);
    if (!t || strcmp(t->msg_id, id) != 0)
        fail_msg("%s was to be next, and not %s", id, t ? t->msg_id : "nothing");
    box_sent(b, t, now);
}
#define BEAT "{\"state\":\"running\",\"uptime_ms\":1}"

static void a_note_has_what_the_link_knows_and_where_it_came_through(void **state) {
    struct envelope m;
    struct note t;
    (void)state;
    read_into(&m, "heartbeat", "m1", "{\"x\":[1],\"uptime_ms\":7,\"state\":\"running\"}",
              ",\"via\":[\"shed\"],\"re\":\"m0\"");
    assert_true(note_init(&t, &m, "attic"));
    assert_string_equal(t.payload, "{\"state\":\"running\",\"uptime_ms\":7}");
    assert_string_equal(t.via, "[\"shed\",\"attic\"]");
    assert_string_equal(t.re, "m0");
    assert_string_equal(t.ts, "2026-11-21T09:14:03.218Z");
    envelope_free(&m);
    note_deinit(&t);
}

static void a_new_link_gets_the_registration_then_letters_in_order_then_the_newest_of_each(void **state) {
    struct box *b = box_new(SV("b"));
    (void)state;
    set(b, "heartbeat", "h1", BEAT);
    set(b, "heartbeat", "h2", BEAT);
    struct letter *l1 = add(b, "u1", 1), *l2 = add(b, "u2", 2);
    set(b, "register_agent", "r1", "{}");
    set(b, "metrics", "m1", "{}");
    next_is(b, NOW, "r1");
    next_is(b, NOW, "h2"); /* no letter goes before it is on the disk */
    next_is(b, NOW, "m1");
    assert_null(box_next(b, NOW));
    l1->is_stored = l2->is_stored = true;
    next_is(b, NOW, "u1");
    assert_null(box_next(b, NOW)); /* the second waits for the first */
    next_is(b, NOW + BOX_AGAIN_MS, "u1");
    box_drop(b, l1);
    next_is(b, NOW + BOX_AGAIN_MS, "u2");
    l2->sent_ms = 0;
    l2->not_before_ms = NOW + BOX_AGAIN_MS + 5000;
    assert_null(box_next(b, NOW + BOX_AGAIN_MS));
    next_is(b, NOW + BOX_AGAIN_MS + 5000, "u2");
    box_new_link(b); /* all anew, but for what is of class C */
    next_is(b, NOW + 60000, "r1");
    next_is(b, NOW + 60000, "u2");
    next_is(b, NOW + 60000, "h2");
    assert_null(box_next(b, NOW + 60000));
    box_free(b);
}

static void heartbeats_go_once_a_second_and_metrics_every_five(void **state) {
    struct box *b = box_new(SV("b"));
    (void)state;
    set(b, "heartbeat", "h1", BEAT);
    set(b, "metrics", "m1", "{}");
    next_is(b, NOW, "h1");
    next_is(b, NOW, "m1");
    set(b, "heartbeat", "h2", BEAT);
    set(b, "metrics", "m2", "{}");
    assert_null(box_next(b, NOW + 999));
    next_is(b, NOW + 1000, "h2");
    set(b, "metrics", "m3", "{}");
    assert_null(box_next(b, NOW + 4999));
    next_is(b, NOW + 5000, "m3");
    box_free(b);
}

static void a_box_is_full_by_number_and_by_size(void **state) {
    struct box *b = box_new(SV("b"));
    char id[16];
    (void)state;
    for (int i = 0; i < BOX_LETTERS; i++) {
        assert_false(box_is_full(b));
        snprintf(id, sizeof id, "u%d", i);
        add(b, id, i + 1);
    }
    assert_true(box_is_full(b));
    assert_int_equal(box_numbered(b, 7)->no, 7);
    box_drop(b, box_find(b, SV("u6")));
    assert_false(box_is_full(b));
    assert_null(box_find(b, SV("u6")));
    while (b->n)
        box_drop(b, CONTAINER(b->letters.next, struct letter, all));
    assert_int_equal(b->bytes, 0);
    for (int i = 0; i < 20; i++) {
        struct note t = { .kind = KIND_USAGE_REPORT, .payload = mem_new(BOX_BYTES / 20), .n = BOX_BYTES / 20 + 1 };
        assert_false(box_is_full(b));
        assert_non_null(box_add(b, &t, i, NOW));
    }
    assert_true(box_is_full(b));
    box_free(b);
}

static void what_was_seen_is_known_for_a_day_and_as_many_as_there_is_room_for(void **state) {
    struct box *b = box_new(SV("b"));
    char id[16];
    (void)state;
    box_see(b, SV("m1"), NOW);
    assert_true(box_has_seen(b, SV("m1"), NOW + BOX_KEEP_MS - 1));
    assert_false(box_has_seen(b, SV("m1"), NOW + BOX_KEEP_MS));
    assert_false(box_has_seen(b, SV("m2"), NOW));
    box_unsee(b, SV("m1"));
    assert_false(box_has_seen(b, SV("m1"), NOW));
    for (int i = 0; i <= BOX_SEEN; i++) {
        snprintf(id, sizeof id, "s%d", i);
        box_see(b, sv_of(id), NOW);
    }
    assert_false(box_has_seen(b, SV("s0"), NOW));
    assert_true(box_has_seen(b, SV("s1"), NOW));
    assert_true(box_has_seen(b, sv_of(id), NOW));
    box_free(b);
}

static void no_memory_is_survived(void **state) {
    struct envelope m;
    int hit = 1;
    (void)state;
    read_into(&m, "usage_report", "u1",
              "{\"outbox\":1,\"rows\":[{\"row_id\":\"r\",\"at\":\"2026-11-21T09:14:03.218Z\",\"key\":\"k\"}]}", "");
    for (long n = 1; hit; n++) {
        struct note t = { 0 };
        mem_fail_at(n, 0);
        struct box *b = box_new(SV("b"));
        if (b && note_init(&t, &m, "attic") && box_add(b, &t, 1, NOW))
            assert_int_equal(b->n, 1);
        hit = mem_fail_hit();
        mem_fail_at(0, 0);
        note_deinit(&t);
        box_free(b);
    }
    envelope_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_note_has_what_the_link_knows_and_where_it_came_through),
        cmocka_unit_test(a_new_link_gets_the_registration_then_letters_in_order_then_the_newest_of_each),
        cmocka_unit_test(heartbeats_go_once_a_second_and_metrics_every_five),
        cmocka_unit_test(a_box_is_full_by_number_and_by_size),
        cmocka_unit_test(what_was_seen_is_known_for_a_day_and_as_many_as_there_is_room_for),
        cmocka_unit_test(no_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
