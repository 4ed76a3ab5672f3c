/* How far the change of a root has come, as one small file. Each stage may be done again from its beginning, so a crash anywhere
 * leaves nothing to repair: read the file, and do what its stage says. */
#include "base/json.h"

#include "pki/room.h"

#define TO(s) (1u << PKI_STAGE_##s)

static const struct {
    const char *name;
    unsigned next, emergency; /* where it may go */
} stages[] = {
    [PKI_STAGE_NONE] = { "none", 0, 0 }, /* pki_rotation_begin */
    [PKI_STAGE_MAKE] = { "make", TO(TRUST_BOTH) | TO(NONE), TO(TRUST_NEW) | TO(NONE) },
    [PKI_STAGE_TRUST_BOTH] = { "trust_both", TO(ISSUE) | TO(BACK), 0 },
    [PKI_STAGE_ISSUE] = { "issue", TO(PROVE) | TO(BACK), 0 },
    [PKI_STAGE_PROVE] = { "prove", TO(TRUST_NEW) | TO(BACK), 0 },
    [PKI_STAGE_TRUST_NEW] = { "trust_new", TO(RETIRE), TO(RETIRE) },
    [PKI_STAGE_RETIRE] = { "retire", TO(NONE), TO(NONE) },
    [PKI_STAGE_BACK] = { "back", TO(NONE), 0 },
};

const char *pki_stage_name(enum pki_stage s) {
    return stages[s].name;
}

static bool stage_read(struct sv name, enum pki_stage *ret) {
    for (unsigned i = PKI_STAGE_NONE + 1; i < PKI_STAGE_COUNT; i++)
        if (sv_eq(name, sv_of(stages[i].name))) {
            *ret = (enum pki_stage)i;
            return true;
        }
    return false;
}

bool pki_rotation_load(const char *dir, struct pki_rotation *ret, struct err *e) {
    char path[PKI_PATH];
    struct buf text = BUF_MAX(PKI_PEM_MAX + 1);
    struct err why = { 0 };
    if (!pki__path(path, dir, "rotation.json", e))
        return false;
    if (!pki__read(path, false, &text, &why)) {
        *ret = (struct pki_rotation){ 0 };
        buf_deinit(&text);
        return why.code == ERR_NOT_FOUND || err_set(e, why.code, "%s", why.text);
    }
    CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse(buf_sv(&text));
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct pki_rotation r = { .is_emergency = json_bool(root, "emergency", false), .started_s = json_i64(root, "started", -1),
                              .since_s = json_i64(root, "since", -1) };
    bool ok = stage_read(json_str(root, "stage"), &r.stage) && sv_to_cstr(json_str(root, "old"), r.old_ca, sizeof r.old_ca) &&
              sv_to_cstr(json_str(root, "new"), r.new_ca, sizeof r.new_ca) && r.old_ca[0] && r.new_ca[0] && r.started_s >= 0 &&
              r.since_s >= 0;
    buf_deinit(&text);
    if (!ok)
        return err_set(e, ERR_CONFIG, "%s is damaged; look with drover cert show which roots are in use before you remove it", path);
    *ret = r;
    return true;
}

static bool save(const char *dir, const struct pki_rotation *r, struct err *e) {
    struct buf text = BUF_MAX(1024);
    if (r->stage == PKI_STAGE_NONE)
        return pki__remove(dir, "rotation.json", e);
    bool ok = pki__dir(dir, e);
    if (ok && !(buf_printf(&text, "{\"stage\":\"%s\",\"emergency\":%s,\"started\":%lld,\"since\":%lld,\"old\":", stages[r->stage].name,
                           r->is_emergency ? "true" : "false", (long long)r->started_s, (long long)r->since_s) &&
                buf_add_json(&text, sv_of(r->old_ca)) && buf_add(&text, SV(",\"new\":")) && buf_add_json(&text, sv_of(r->new_ca)) &&
                buf_add(&text, SV("}\n"))))
        ok = err_no_memory(e);
    ok = ok && pki__write(dir, "rotation.json", buf_sv(&text), false, e);
    buf_deinit(&text);
    return ok;
}

bool pki_rotation_begin(const char *dir, struct pki_rotation *r, const char *old_ca, const char *new_ca, bool is_emergency, int64_t now_s,
                        struct err *e) {
    struct pki_rotation now = { 0 }, made = { PKI_STAGE_MAKE, is_emergency, now_s, now_s, "", "" };
    if (!sv_to_cstr(sv_of(old_ca), made.old_ca, sizeof made.old_ca) || !sv_to_cstr(sv_of(new_ca), made.new_ca, sizeof made.new_ca) ||
        strcmp(old_ca, new_ca) == 0)
        return err_set(e, ERR_CONFIG, "a rotation goes from one authority to another");
    if (!pki_rotation_load(dir, &now, e))
        return false;
    if (now.stage != PKI_STAGE_NONE && (now.is_emergency || !is_emergency))
        return err_set(e, ERR_EXISTS, "a rotation from %s to %s is under way (%s)", now.old_ca, now.new_ca, stages[now.stage].name);
    if (!save(dir, &made, e))
        return err_ctx(e, "begin a rotation");
    *r = made;
    return true;
}

bool pki_rotation_step(const char *dir, struct pki_rotation *r, enum pki_stage to, int64_t now_s, struct err *e) {
    struct pki_rotation next = *r;
    if (to == r->stage)
        return true;
    if (!((r->is_emergency ? stages[r->stage].emergency : stages[r->stage].next) & (1u << to)))
        return err_set(e, ERR_EXISTS, "the rotation cannot go from %s to %s", stages[r->stage].name, stages[to].name);
    next.stage = to;
    next.since_s = now_s;
    if (!save(dir, &next, e))
        return err_ctx(e, "rotation: from %s to %s", stages[r->stage].name, stages[to].name);
    *r = next;
    return true;
}
