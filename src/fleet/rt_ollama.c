/* fleet/rt_ollama.c - Ollama: what is on disk (tags), what is in memory (ps), and per model what it can do (show, unless
 * tags tells, as newer versions do). A model loads while a request waits: there is no loading state.
 *
 * The context in force is known only while a model is loaded; the default depends on the machine's memory. */
#include "fleet/runtime.h"

#include <stdio.h>
#include <time.h>

static unsigned can_of(yyjson_val *list, bool *ret_known) {
    unsigned can = 0;
    size_t i, n;
    yyjson_val *word;
    if (!yyjson_is_arr(list) || yyjson_arr_size(list) == 0)
        return 0;
    *ret_known = true;
    yyjson_arr_foreach(list, i, n, word) {
        struct sv w = json_sv(word);
        can |= sv_eq(w, SV("completion")) ? LLM_CAN_CHAT | LLM_CAN_COMPLETION : llm_can_parse(w);
    }
    return can;
}

static void read_details(struct look *l, struct fleet_model *m, yyjson_val *d) {
    m->family = look_keep(l, json_str(d, "family"));
    m->params = look_keep(l, json_str(d, "parameter_size"));
    m->quant = look_keep(l, json_str(d, "quantization_level"));
    m->format = look_keep(l, json_str(d, "format"));
    m->context_max = look_u64(d, "context_length");
}

static bool is_cloud(struct sv id, yyjson_val *entry) {
    return json_str(entry, "remote_host").n || sv_ends(id, SV("-cloud")) || sv_ends(id, SV(":cloud"));
}

static struct look_note *note_of(struct look *l, const struct fleet_model *m) {
    return l->notes && m->digest.n ? map_get(&l->notes->by_digest, m->digest) : NULL;
}

static void take_tags(struct look *l, const struct probe_reply *r) {
    yyjson_val *list = json_get(r->json, "models"), *entry;
    if (!yyjson_is_arr(list) && !yyjson_is_null(list)) {
        l->mismatch = true;
        look_fail(l, LOOK_FAILED, "its answer to /api/tags is no list of models");
        return;
    }
    l->has_list = true;
    size_t i, n;
    yyjson_arr_foreach(list, i, n, entry) {
        struct sv id = json_str(entry, "model");
        struct fleet_model *m = look_add(l, id.n ? id : json_str(entry, "name"));
        if (!m)
            continue;
        read_details(l, m, json_get(entry, "details"));
        m->digest = look_keep(l, json_str(entry, "digest"));
        m->size_bytes = look_u64(entry, "size");
        m->remote = is_cloud(m->id, entry);
        m->can = can_of(json_get(entry, "capabilities"), &m->can_known);
        const struct look_note *note = note_of(l, m);
        if (note && !m->can_known) {
            m->can = note->can;
            m->can_known = note->can_known;
        }
        if (note && !m->context_max)
            m->context_max = note->context_max;
    }
}

/* "2026-08-21T10:00:00.123+02:00"; 0 when it is none. Far dates mean "never" and stay 0. */
static uint64_t unix_time(struct sv text) {
    char s[48], *rest;
    struct tm tm = { 0 };
    if (!sv_to_cstr(text, s, sizeof s) || !(rest = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm)) || tm.tm_year > 200)
        return 0;
    while (*rest == '.' || (*rest >= '0' && *rest <= '9'))
        rest++;
    long away = 0;
    unsigned h, m;
    if ((*rest == '+' || *rest == '-') && sscanf(rest + 1, "%2u:%2u", &h, &m) == 2)
        away = (long)(h * 60 + m) * (*rest == '-' ? -60 : 60);
    long at = (long)timegm(&tm) - away;
    return at > 0 ? (uint64_t)at : 0;
}

static void take_ps(struct look *l, const struct probe_reply *r) {
    yyjson_val *list = json_get(r->json, "models"), *entry;
    if (!yyjson_is_arr(list) && !yyjson_is_null(list))
        return;
    size_t i, n;
    yyjson_arr_foreach(list, i, n, entry) {
        struct sv id = json_str(entry, "model");
        struct fleet_model *m = look_find(l, id.n ? id : json_str(entry, "name"));
        if (!m)
            continue;
        m->loaded = FLEET_LOADED_YES;
        m->context = look_u64(entry, "context_length");
        m->vram_bytes = look_u64(entry, "size_vram");
        m->expires_s = unix_time(json_str(entry, "expires_at"));
    }
    look_loaded(l, FLEET_LOADED_NO);
}

static void take_version(struct look *l, const struct probe_reply *r) {
    l->version = look_keep(l, json_str(r->json, "version"));
}

/* One model per look that nothing is known of yet. */
static bool ask_show(struct look *l, struct buf *out) {
    l->about = NULL;
    for (size_t i = 0; l->notes && i < l->n_models && !l->about; i++) {
        struct fleet_model *m = &l->models[i];
        if (m->digest.n && !(m->can_known && m->context_max) && !note_of(l, m) && l->notes->by_digest.n < LOOK_NOTES_MAX)
            l->about = m;
    }
    return l->about && buf_add(out, SV("{\"model\":")) && buf_add_json(out, l->about->id) && buf_add_char(out, '}');
}

/* model_info has "<architecture>.context_length". */
static uint64_t trained_context(yyjson_val *info) {
    size_t i, n;
    yyjson_val *key, *value;
    if (!yyjson_is_obj(info))
        return 0;
    yyjson_obj_foreach(info, i, n, key, value)
        if (sv_ends(json_sv(key), SV(".context_length")) && yyjson_is_uint(value) && yyjson_get_uint(value) <= LOOK_NUMBER_MAX)
            return yyjson_get_uint(value);
    return 0;
}

/* Whatever it answers is noted, so that a model nobody can describe is asked about once. */
static void take_show(struct look *l, const struct probe_reply *r) {
    struct fleet_model *m = l->about;
    struct look_note *note = mem_new(sizeof *note + m->digest.n);
    if (!note)
        return;
    memcpy(note + 1, m->digest.p, m->digest.n);
    note->digest = (struct sv){ (char *)(note + 1), m->digest.n };
    if (r->status == 200) {
        note->can = can_of(json_get(r->json, "capabilities"), &note->can_known);
        note->context_max = trained_context(json_get(r->json, "model_info"));
    }
    if (!map_put(&l->notes->by_digest, note->digest, note)) {
        mem_free(note);
        return;
    }
    if (!m->can_known) {
        m->can = note->can;
        m->can_known = note->can_known;
    }
    if (!m->context_max)
        m->context_max = note->context_max;
}

const struct step ollama_steps[] = {
    { "/api/tags", STEP_NEED | STEP_LIST, take_tags },
    { "/api/ps", 0, take_ps },
    { "/api/version", 0, take_version },
    { "/api/show", STEP_ANY, take_show, NULL, ask_show },
    { NULL },
};
