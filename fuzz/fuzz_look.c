/* fuzz/fuzz_look.c - whatever a server answers, a look at it ends, and what it finds can be offered: ids are text of a length
 * that names have, no two the same, with a clean public name each; numbers cannot overflow sums; a look that is not good says
 * why. A second look at the same server, with the notes of the first, finds the same models.
 *
 * First line: the kind's word, or anything else to fingerprint. Then one answer a line: PATH STATUS[@SERVER] BODY; a path that
 * is asked for and has no line is 404. */
#undef NDEBUG /* the properties are the point, in release builds, too */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/utf8.h"
#include "fleet/runtime.h"
#include "fleet/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { QUESTIONS_MAX = 64, LINES_MAX = 64 };

static const struct runtime *kind_of(struct sv word) {
    const struct runtime *rt;
    for (size_t i = 0; (rt = runtime_at(i)); i++)
        if (sv_eq(word, sv_of(runtime_name(rt->kind))))
            return rt;
    return NULL;
}

/* The answer to a question; its body in a block of exactly its size. */
static struct probe_reply answer(struct sv pages, const char *path, char **ret_block) {
    struct probe_reply r = { .status = 404, .minor = 1, .connected = true };
    struct sv line, word;
    *ret_block = NULL;
    for (unsigned n = 0; n < LINES_MAX && sv_next(&pages, '\n', &line); n++) {
        uint64_t status;
        if (!sv_cut(&line, ' ', &word) || !sv_eq(word, sv_of(path)))
            continue;
        if (!sv_cut(&line, ' ', &word))
            word = line, line = SV_NULL;
        ptrdiff_t at = sv_find_char(word, '@');
        if (at >= 0) {
            r.server = sv_from(word, (size_t)at + 1);
            word = sv_first(word, (size_t)at);
        }
        if (sv_to_u64(word, &status) && status >= 200 && status < 600)
            r.status = (int)status;
        *ret_block = malloc(line.n ? line.n : 1);
        assert(*ret_block);
        if (line.n)
            memcpy(*ret_block, line.p, line.n);
        r.body = (struct sv){ *ret_block, line.n };
        break;
    }
    return r;
}

static void look_at(struct look *l, const struct runtime *rt, struct sv pages, struct look_notes *notes) {
    struct look_question q;
    look_init(l, rt);
    l->notes = notes;
    for (unsigned n = 0; look_next(l, &q); n++) {
        char *block;
        bool mended = false;
        assert(n < QUESTIONS_MAX && q.path[0] == '/' && q.reply_max <= PROBE_LIST_MAX);
        struct probe_reply r = answer(pages, q.path, &block);
        struct sv text = sv_trim(r.body);
        CLEANUP(json_doc_freep) yyjson_doc *doc =
            text.n && (text.p[0] == '{' || text.p[0] == '[') ? json_parse_foreign(r.body, &mended) : NULL; /* as probe.c does */
        r.json = yyjson_doc_get_root(doc);
        look_take(l, &r);
        free(block);
    }
    look_conclude(l);
}

static void check_model(struct look *l, const struct fleet_model *m) {
    const uint64_t numbers[] = { m->context, m->context_max, m->size_bytes, m->vram_bytes, m->created_s };
    const struct sv texts[] = { m->family, m->params, m->quant, m->format, m->digest };
    struct sv name = slug_from_id(&l->arena, m->id);
    assert(m->id.n > 0 && m->id.n <= LOOK_ID_MAX && utf8_valid(m->id));
    assert(look_find(l, m->id) == m);
    assert(!name.p || slug_is_clean(name));
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        assert(numbers[i] <= LOOK_NUMBER_MAX);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert(texts[i].n <= LOOK_ID_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sv pages = { (const char *)data, size }, word;
    struct look_notes notes;
    struct look first, second;
    if (size == 0 || !sv_cut(&pages, '\n', &word))
        return 0;
    log_set_level(LOG_ERROR);
    map_init(&notes.by_digest);
    look_at(&first, kind_of(word), pages, &notes);
    look_at(&second, kind_of(word), pages, &notes);
    for (size_t i = 0; i < first.n_models; i++)
        check_model(&first, &first.models[i]);
    assert(first.n_models <= LOOK_MODELS_MAX && (first.n_models == 0 || first.has_list));
    assert(first.end == LOOK_GOOD || first.reason[0]);
    assert(second.n_models == first.n_models && second.end == first.end && second.rt == first.rt);
    for (size_t i = 0; i < first.n_models; i++)
        assert(sv_eq(first.models[i].id, second.models[i].id) && first.models[i].loaded == second.models[i].loaded);
    look_deinit(&first);
    look_deinit(&second);
    look_notes_deinit(&notes);
    return 0;
}
