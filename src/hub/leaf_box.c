#include "hub/leaf_box.h"

#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "hub/moment.h"

/* --- notes ---------------------------------------------------------------------------------------------------------------------------- */

/* At most three others: the leaf's engine let no more through. */
static bool print_via(yyjson_val *via, const char *node_id, char to[static BOX_VIA]) {
    struct buf out = BUF_MAX(BOX_VIA - 1);
    yyjson_val *v;
    size_t i, n;
    buf_add_char(&out, '[');
    yyjson_arr_foreach(via, i, n, v) {
        buf_add_json(&out, json_sv(v));
        buf_add_char(&out, ',');
    }
    buf_add_json(&out, sv_of(node_id));
    buf_add_char(&out, ']');
    bool ok = !out.failed && sv_to_cstr(buf_sv(&out), to, BOX_VIA);
    buf_deinit(&out);
    return ok;
}

bool note_init(struct note *t, const struct envelope *m, const char *node_id) {
    struct buf out = BUF_MAX(ENGINE_TEXT_MAX - 2048); /* room for the envelope around it */
    *t = (struct note){ .kind = m->kind };
    bool ok = sv_to_cstr(m->msg_id, t->msg_id, sizeof t->msg_id) && sv_to_cstr(m->re, t->re, sizeof t->re) &&
              (moment_ms(m->ts) < 0 || sv_to_cstr(m->ts, t->ts, sizeof t->ts)) && print_via(m->via, node_id, t->via) &&
              kind_print(m->kind, m->payload, &out);
    t->n = out.n;
    t->payload = ok ? mem_alloc(out.n + 1) : NULL;
    if (t->payload) {
        memcpy(t->payload, out.p, out.n);
        t->payload[out.n] = '\0';
    }
    buf_deinit(&out);
    return t->payload != NULL;
}

void note_deinit(struct note *t) {
    mem_free(t->payload);
    *t = (struct note){ 0 };
}

/* --- slots ---------------------------------------------------------------------------------------------------------------------------- */

enum box_slot box_slot_of(enum link_kind k) {
    switch (k) {
    case KIND_REGISTER:
        return SLOT_REGISTER;
    case KIND_HEARTBEAT:
        return SLOT_HEARTBEAT;
    case KIND_METRICS:
        return SLOT_METRICS;
    case KIND_OFFER_CAPACITY:
        return SLOT_OFFER;
    case KIND_RESOURCE_PROFILES:
        return SLOT_PROFILES;
    case KIND_MODEL_CAPACITY:
        return SLOT_CAPACITY;
    default:
        return BOX_SLOTS;
    }
}

void box_set(struct box *b, enum box_slot s, struct note *t) {
    struct slot *slot = &b->slots[s];
    note_deinit(&slot->note);
    slot->note = *t;
    slot->is_full = true;
    slot->is_sent = false;
    *t = (struct note){ 0 };
}

void box_new_link(struct box *b) {
    for (unsigned i = 0; i < BOX_SLOTS; i++) {
        b->slots[i].due_ms = 0;
        b->slots[i].is_sent = false;
    }
    note_deinit(&b->slots[SLOT_METRICS].note);
    b->slots[SLOT_METRICS].is_full = false;
    LIST_FOR(it, &b->letters) {
        struct letter *l = CONTAINER(it, struct letter, all);
        l->sent_ms = l->not_before_ms = 0;
    }
}

/* --- letters -------------------------------------------------------------------------------------------------------------------------- */

bool box_is_full(const struct box *b) {
    return b->n >= BOX_LETTERS || b->bytes >= BOX_BYTES;
}

struct letter *box_add(struct box *b, struct note *t, int64_t no, uint64_t at_ms) {
    struct letter *l = mem_new(sizeof *l);
    if (!l)
        return NULL;
    l->note = *t;
    l->no = no;
    l->at_ms = at_ms;
    list_init(&l->all);
    list_push_back(&b->letters, &l->all);
    b->n++;
    b->bytes += l->note.n;
    *t = (struct note){ 0 };
    return l;
}

struct letter *box_find(const struct box *b, struct sv msg_id) {
    LIST_FOR(it, &b->letters)
        if (sv_eq(msg_id, sv_of(CONTAINER(it, struct letter, all)->note.msg_id)))
            return CONTAINER(it, struct letter, all);
    return NULL;
}

struct letter *box_numbered(const struct box *b, int64_t no) {
    LIST_FOR(it, &b->letters)
        if (CONTAINER(it, struct letter, all)->no == no)
            return CONTAINER(it, struct letter, all);
    return NULL;
}

void box_drop(struct box *b, struct letter *l) {
    list_drop(&l->all);
    b->n--;
    b->bytes -= l->note.n;
    note_deinit(&l->note);
    mem_free(l);
}

void box_see(struct box *b, struct sv msg_id, uint64_t wall_ms) {
    b->seen[b->seen_at] = (struct seen){ hash_sv(msg_id), wall_ms ? wall_ms : 1 };
    b->seen_at = (b->seen_at + 1) % BOX_SEEN;
}

static struct seen *seen_of(const struct box *b, struct sv msg_id) {
    uint64_t hash = hash_sv(msg_id);
    for (unsigned i = 0; i < BOX_SEEN; i++)
        if (b->seen[i].hash == hash && b->seen[i].at_ms)
            return &b->seen[i];
    return NULL;
}

bool box_has_seen(const struct box *b, struct sv msg_id, uint64_t wall_ms) {
    const struct seen *s = seen_of(b, msg_id);
    return s && wall_ms < s->at_ms + BOX_KEEP_MS;
}

void box_unsee(struct box *b, struct sv msg_id) {
    struct seen *s = seen_of(b, msg_id);
    if (s)
        *s = (struct seen){ 0 };
}

/* --- what goes next ------------------------------------------------------------------------------------------------------------------- */

/* One letter at a time: the hub has it, or it is the next again. So their order holds whatever happens. */
static struct letter *letter_due(const struct box *b, uint64_t now_ms) {
    struct letter *l = b->n ? CONTAINER(b->letters.next, struct letter, all) : NULL;
    bool waits = l && l->sent_ms && now_ms - l->sent_ms < BOX_AGAIN_MS;
    return l && l->is_stored && !waits && now_ms >= l->not_before_ms ? l : NULL;
}

struct note *box_next(struct box *b, uint64_t now_ms) {
    struct letter *l = letter_due(b, now_ms);
    if (b->slots[SLOT_REGISTER].is_full && !b->slots[SLOT_REGISTER].is_sent)
        return &b->slots[SLOT_REGISTER].note;
    if (l)
        return &l->note;
    for (unsigned i = SLOT_REGISTER + 1; i < BOX_SLOTS; i++)
        if (b->slots[i].is_full && !b->slots[i].is_sent && now_ms >= b->slots[i].due_ms)
            return &b->slots[i].note;
    return NULL;
}

void box_sent(struct box *b, const struct note *t, uint64_t now_ms) {
    for (unsigned i = 0; i < BOX_SLOTS; i++) {
        if (t != &b->slots[i].note)
            continue;
        b->slots[i].is_sent = true;
        b->slots[i].due_ms = now_ms + (i == SLOT_METRICS ? BOX_METRICS_LEAST_MS : BOX_BEAT_LEAST_MS);
        return;
    }
    struct letter *l = b->n ? CONTAINER(b->letters.next, struct letter, all) : NULL;
    if (l && t == &l->note)
        l->sent_ms = now_ms;
}

/* --- life ----------------------------------------------------------------------------------------------------------------------------- */

struct box *box_new(struct sv agent) {
    struct box *b = mem_new(sizeof *b);
    if (!b)
        return NULL;
    b->seen = mem_new(BOX_SEEN * sizeof *b->seen);
    if (!b->seen || !sv_to_cstr(agent, b->agent, sizeof b->agent)) {
        mem_free(b->seen);
        mem_free(b);
        return NULL;
    }
    list_init(&b->all);
    list_init(&b->letters);
    return b;
}

void box_free(struct box *b) {
    if (!b)
        return;
    while (b->n)
        box_drop(b, CONTAINER(b->letters.next, struct letter, all));
    for (unsigned i = 0; i < BOX_SLOTS; i++)
        note_deinit(&b->slots[i].note);
    list_drop(&b->all);
    mem_free(b->seen);
    mem_free(b);
}
