#include "link/frame.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include <sodium.h>

/* The vectors of docs/protocol.md. */
static const struct vector {
    const char *hex;
    struct frame is;
} vectors[] = {
    { "01010000 00000002 0101000a 0001d4c0 7b2278223a226531227d 474554202f76312f6d6f64656c7320485454502f312e310d0a486f73743a206e6f64650d0a0d0a",
      { FRAME_OPEN, true, 2, 1, 1, 120000, { "{\"x\":\"e1\"}", 10 }, { "GET /v1/models HTTP/1.1\r\nHost: node\r\n\r\n", 39 } } },
    { "02000000 00000002 646174613a205b444f4e455d0a0a", { FRAME_DATA, false, 2, .data = { "data: [DONE]\n\n", 14 } } },
    { "02010000 00000002", { FRAME_DATA, true, 2 } },
    { "03000000 00000002 00008000", { FRAME_CREDIT, false, 2, .credit = 32768 } },
    { "03000000 00000000 00100000", { FRAME_CREDIT, false, 0, .credit = 1 << 20 } },
    { "04000000 00000002 00000001 636c69656e742077656e742061776179", { FRAME_RESET, false, 2, .code = 1, .reason = { "client went away", 16 } } },
    { "05000000 00000000 0000002a 00000000 00007530 72657374617274",
      { FRAME_GOAWAY, false, 0, .code = 0, .last_id = 42, .retry_ms = 30000, .reason = { "restart", 7 } } },
};

static struct sv from_hex(const char *hex, char *to, size_t room) {
    size_t n = 0;
    assert_int_equal(sodium_hex2bin((unsigned char *)to, room, hex, strlen(hex), " ", &n, NULL), 0);
    return (struct sv){ to, n };
}

static enum frame_result parse_exact(struct sv v, struct frame *ret, char **ret_block) {
    *ret_block = malloc(v.n ? v.n : 1);
    memcpy(*ret_block, v.p, v.n);
    return frame_parse((struct sv){ *ret_block, v.n }, ret);
}

static void the_vectors_are_read_and_written(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const struct frame *want = &vectors[i].is;
        char raw[256], *block;
        uint8_t head[FRAME_FIXED_MAX];
        struct frame f;
        struct sv bytes = from_hex(vectors[i].hex, raw, sizeof raw);
        assert_int_equal(parse_exact(bytes, &f, &block), FRAME_OK);
        assert_int_equal(f.type, want->type);
        assert_int_equal(f.fin, want->fin);
        assert_int_equal(f.id, want->id);
        assert_int_equal(f.service, want->service);
        assert_int_equal(f.priority, want->priority);
        assert_int_equal(f.deadline_ms, want->deadline_ms);
        assert_int_equal(f.credit, want->credit);
        assert_int_equal(f.code, want->code);
        assert_int_equal(f.last_id, want->last_id);
        assert_int_equal(f.retry_ms, want->retry_ms);
        assert_true(sv_eq(f.meta, want->meta) && sv_eq(f.data, want->data) && sv_eq(f.reason, want->reason));
        size_t n = frame_head(&f, head);
        assert_int_equal(n + f.meta.n + f.data.n, bytes.n);
        assert_memory_equal(head, bytes.p, n);
        free(block);
    }
}

static void what_is_no_frame_is_refused(void **state) {
    static const struct {
        const char *hex;
        enum frame_result is;
    } rows[] = {
        { "", FRAME_BAD },
        { "02000000 000000", FRAME_BAD },            /* shorter than a head */
        { "00000000 00000002", FRAME_BAD },          /* unknown types */
        { "06000000 00000002", FRAME_BAD },
        { "ff000000 00000002", FRAME_BAD },
        { "02020000 00000002", FRAME_BAD },          /* unknown flags */
        { "02810000 00000002", FRAME_BAD },
        { "03010000 00000002 00000001", FRAME_BAD }, /* FIN where it means nothing */
        { "04010000 00000002 00000001", FRAME_BAD },
        { "02000100 00000002", FRAME_BAD },          /* reserved bits */
        { "02000001 00000002", FRAME_BAD },
        { "02000000 80000002", FRAME_BAD },          /* the top bit of the id */
        { "02000000 00000000", FRAME_BAD },          /* DATA, OPEN and RESET belong to a stream */
        { "01000000 00000000 01010000 00000000", FRAME_BAD },
        { "04000000 00000000 00000001", FRAME_BAD },
        { "05000000 00000002 00000000 00000000 00000000", FRAME_BAD }, /* GOAWAY to the link */
        { "03000000 00000002 000001", FRAME_BAD },
        { "03000000 00000002 0000000101", FRAME_BAD },
        { "04000000 00000002 000001", FRAME_BAD },
        { "05000000 00000000 00000000 00000000 000000", FRAME_BAD },
        { "01000000 00000002 010100", FRAME_BAD_OPEN },
        { "01000000 00000002 01010001 00000000", FRAME_BAD_OPEN }, /* meta beyond the payload */
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char raw[64], *block;
        struct frame f;
        assert_int_equal(parse_exact(from_hex(rows[i].hex, raw, sizeof raw), &f, &block), rows[i].is);
        free(block);
    }
}

static void a_reason_and_a_meta_have_bounds(void **state) {
    static char raw[FRAME_HEAD + FRAME_OPEN_HEAD + FRAME_META_MAX + 1] = { FRAME_RESET, 0, 0, 0, 0, 0, 0, 2 };
    struct frame f;
    (void)state;
    assert_int_equal(frame_parse((struct sv){ raw, FRAME_HEAD + 4 + FRAME_REASON_MAX }, &f), FRAME_OK);
    assert_int_equal(frame_parse((struct sv){ raw, FRAME_HEAD + 4 + FRAME_REASON_MAX + 1 }, &f), FRAME_BAD);
    raw[0] = FRAME_OPEN;
    raw[10] = FRAME_META_MAX >> 8;
    assert_int_equal(frame_parse((struct sv){ raw, sizeof raw }, &f), FRAME_OK);
    assert_int_equal(f.meta.n, FRAME_META_MAX);
    assert_int_equal(f.data.n, 1);
    raw[11] = 1;
    assert_int_equal(frame_parse((struct sv){ raw, sizeof raw }, &f), FRAME_BAD_OPEN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_are_read_and_written),
        cmocka_unit_test(what_is_no_frame_is_refused),
        cmocka_unit_test(a_reason_and_a_meta_have_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
