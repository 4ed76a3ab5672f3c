/* fuzz/fuzz_scan.c - the scanner accepts exactly what yyjson accepts, however the bytes are cut.
 *
 * The differences that are meant: the top level must be an object, 64 brackets deep at most, 10000 members at most,
 * names that steer a request occur once, and a number that no double can hold is passed on. What is accepted can be patched and
 * amended (llm/patch.h, llm/amend.h). */
#undef NDEBUG /* the properties are the point, in release builds, too */
#include <assert.h>
#include <stdlib.h>
#include <yyjson.h>

#include "llm/amend.h"
#include "llm/patch.h"
#include "llm/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum scan_result feed(struct scan *s, const uint8_t *data, size_t size, size_t step, struct err *e) {
    for (size_t at = 0; at < size; at += step) {
        size_t n = step < size - at ? step : size - at;
        char *exact = malloc(n);
        assert(exact);
        memcpy(exact, data + at, n);
        scan_feed(s, (struct sv){ exact, n });
        free(exact);
    }
    return scan_end(s, e);
}

static void same_model(const struct scan *s, yyjson_val *root, const uint8_t *data) {
    yyjson_val *model = yyjson_obj_get(root, "model");
    assert((s->model_state == SCAN_MODEL_NONE) == (!model || yyjson_is_null(model)));
    if (s->model_state == SCAN_MODEL_OK)
        assert(yyjson_equals_strn(model, s->model, s->model_len));
    if (s->model_state == SCAN_MODEL_OK || s->model_state == SCAN_MODEL_TOO_LONG)
        assert(data[s->model_raw.at] == '"' && data[s->model_raw.at + s->model_raw.n - 1] == '"');
    yyjson_val *stream = yyjson_obj_get(root, "stream");
    assert((s->stream == SCAN_TRUE) == yyjson_is_true(stream) && (s->stream == SCAN_FALSE) == yyjson_is_false(stream));
}

/* What patching makes of it is JSON again, with the new model in it and usage asked for. */
static void patched(const struct scan *s, struct sv body) {
    char scratch[PATCH_SCRATCH], *to = malloc(body.n + sizeof scratch), *at = to;
    struct splice splices[PATCH_SPLICES];
    struct sv pieces[PATCH_PIECES];
    unsigned n = patch_body(s, &(struct patch){ .model = SV("a\"b"), .include_usage = true }, splices, scratch);
    unsigned n_pieces = patch_iov(body, splices, n, pieces);
    assert(to);
    for (unsigned i = 0; i < n_pieces; i++) {
        memcpy(at, pieces[i].p, pieces[i].n);
        at += pieces[i].n;
    }
    assert((uint64_t)(at - to) == patch_length(body.n, splices, n));
    yyjson_doc *doc = yyjson_read(to, (size_t)(at - to), YYJSON_READ_BIGNUM_AS_RAW);
    yyjson_val *root = yyjson_doc_get_root(doc), *options = yyjson_obj_get(root, "stream_options");
    assert(doc);
    if (s->model_state != SCAN_MODEL_NONE)
        assert(yyjson_equals_str(yyjson_obj_get(root, "model"), "a\"b"));
    if (!options || yyjson_is_obj(options))
        assert(yyjson_is_true(yyjson_obj_get(options, "include_usage")));
    yyjson_doc_free(doc);
    free(to);
}

/* Whether all members of that name, however it is spelled, are 0.5, and there is one. */
static bool is_forced(yyjson_val *object) {
    size_t i, n, found = 0;
    yyjson_val *key, *value;
    yyjson_obj_foreach(object, i, n, key, value) {
        if (!yyjson_equals_str(key, "temperature"))
            continue;
        found++;
        if (yyjson_get_num(value) != 0.5)
            return false;
    }
    return found > 0;
}

/* What is forced holds in what goes on, beside a new model; and that is JSON still. */
static void amended(const struct scan *s, enum llm_api api, struct sv body) {
    struct arena a;
    struct splice few[PATCH_SPLICES], *all;
    char scratch[PATCH_SCRATCH];
    unsigned n, n_pieces;
    arena_init(&a, 64 << 20, NULL);
    const struct splice *own = amend_body(&a, api, body, SV("{\"x\":{\"y\":1},\"stop\":\"X\"}"), SV("{\"temperature\":0.5}"), &n);
    unsigned n_few = patch_body(s, &(struct patch){ .model = SV("a\"b"), .include_usage = true }, few, scratch);
    assert(own && (all = ARENA_ARRAY(&a, struct splice, n + n_few)));
    memcpy(all, few, n_few * sizeof *few);
    n = patch_merge(all, n_few, own, n);
    struct sv *pieces = ARENA_ARRAY(&a, struct sv, 2 * n + 1);
    struct buf out = BUF_MAX(64 << 20);
    n_pieces = patch_iov(body, all, n, pieces);
    for (unsigned i = 0; i < n_pieces; i++)
        buf_add(&out, pieces[i]);
    assert(!out.failed && out.n == patch_length(body.n, all, n));
    yyjson_doc *doc = yyjson_read(out.p, out.n, YYJSON_READ_BIGNUM_AS_RAW);
    yyjson_val *root = yyjson_doc_get_root(doc), *key, *value;
    size_t i, n_members;
    assert(doc);
    if (api == LLM_CHAT)
        assert(is_forced(root));
    else
        assert(yyjson_obj_get(root, "options"));
    yyjson_obj_foreach(root, i, n_members, key, value)
        if (api == LLM_OLLAMA_CHAT && yyjson_equals_str(key, "options") && yyjson_is_obj(value))
            assert(is_forced(value));
    yyjson_doc_free(doc);
    buf_deinit(&out);
    arena_deinit(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct scan whole, split;
    struct err e, e2;
    scan_init(&whole);
    enum scan_result r = feed(&whole, data, size, size ? size : 1, &e);
    for (size_t step = 1; step <= 17; step += 8) {
        scan_init(&split);
        assert(feed(&split, data, size, step, &e2) == r);
        if (r == SCAN_BAD)
            assert(strcmp(e.text, e2.text) == 0);
        else
            assert(scan_affinity(&whole) == scan_affinity(&split) && whole.input_bytes == split.input_bytes &&
                   memcmp(whole.n_utf8, split.n_utf8, sizeof whole.n_utf8) == 0);
    }
    yyjson_doc *doc = yyjson_read((const char *)data, size, YYJSON_READ_BIGNUM_AS_RAW);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (r == SCAN_OK) {
        assert(yyjson_is_obj(root));
        same_model(&whole, root, data);
        patched(&whole, (struct sv){ (const char *)data, size });
        if (!whole.empty) {
            amended(&whole, LLM_CHAT, (struct sv){ (const char *)data, size });
            amended(&whole, LLM_OLLAMA_CHAT, (struct sv){ (const char *)data, size });
        }
    } else if (yyjson_is_obj(root)) {
        assert(strstr(e.text, "appears twice") || strstr(e.text, "nested deeper") || strstr(e.text, "at the top"));
    }
    yyjson_doc_free(doc);
    return 0;
}
