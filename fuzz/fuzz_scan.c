/* fuzz/fuzz_scan.c - the scanner accepts exactly what yyjson accepts, however the bytes are cut.
 *
 * The differences that are meant: the top level must be an object, 64 brackets deep at most, 10000 members at most,
 * names that steer a request occur once, and a number that no double can hold is passed on. */
#undef NDEBUG /* the properties are the point, in release builds, too */
#include <assert.h>
#include <stdlib.h>
#include <yyjson.h>

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
    } else if (yyjson_is_obj(root)) {
        assert(strstr(e.text, "appears twice") || strstr(e.text, "nested deeper") || strstr(e.text, "at the top"));
    }
    yyjson_doc_free(doc);
    return 0;
}
