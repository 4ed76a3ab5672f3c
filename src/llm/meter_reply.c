/* llm/meter_reply.c - a whole reply while it streams by: a scanner copies out the few members with counts, and the rest
 * only leaves its length. */
#include "base/mem.h"
#include "llm/meter_read.h"
#include "llm/peek.h"
#include "llm/scan.h"

enum { USAGE, TIMINGS, STATS, META, ERROR, NUMBERS, N_NUMBERS = 6, TEXTS = NUMBERS + N_NUMBERS, SLOTS = TEXTS + 8 };
enum { USAGE_MAX = 4096, SMALL_MAX = 2048, NUMBER_MAX = 40 };

struct meter_reply {
    struct scan scan;
    struct scan_slot slots[SLOTS];
    char usage[USAGE_MAX], timings[SMALL_MAX], stats[SMALL_MAX], meta[SMALL_MAX], error[8];
    char numbers[N_NUMBERS][NUMBER_MAX];
};

static struct meter_reply *reply_new(void) {
    static const char *const numbers[N_NUMBERS] = { "prompt_eval_count",    "eval_count",    "done_reason",
                                                    "prompt_eval_duration", "eval_duration", "load_duration" };
    static const char *const texts[SLOTS - TEXTS] = { "choices",  "content",  "output", "message",
                                                      "response", "thinking", "text",   "context" };
    struct meter_reply *r = mem_alloc(sizeof *r); /* kilobytes of room that need no zeroes */
    if (!r)
        return NULL;
    memset(r->slots, 0, sizeof r->slots);
    r->slots[USAGE] = (struct scan_slot){ .name = "usage", .text = r->usage, .room = sizeof r->usage };
    r->slots[TIMINGS] = (struct scan_slot){ .name = "timings", .text = r->timings, .room = sizeof r->timings };
    r->slots[STATS] = (struct scan_slot){ .name = "stats", .text = r->stats, .room = sizeof r->stats };
    r->slots[META] = (struct scan_slot){ .name = "meta", .text = r->meta, .room = sizeof r->meta };
    r->slots[ERROR] = (struct scan_slot){ .name = "error", .text = r->error, .room = sizeof r->error };
    for (unsigned i = 0; i < N_NUMBERS; i++)
        r->slots[NUMBERS + i] = (struct scan_slot){ .name = numbers[i], .text = r->numbers[i], .room = NUMBER_MAX };
    for (unsigned i = TEXTS; i < SLOTS; i++)
        r->slots[i] = (struct scan_slot){ .name = texts[i - TEXTS] };
    scan_capture(&r->scan, r->slots, SLOTS);
    return r;
}

void meter_deinit(struct meter *m) {
    mem_free(m->reply);
    m->reply = NULL;
}

void meter_body(struct meter *m, struct sv bytes, uint64_t now_us) {
    if (!m->has_first)
        m->t_first_us = m->t_visible_us = now_us;
    m->has_first = m->has_visible = true;
    m->t_last_us = now_us;
    if (!m->whole)
        m->reply = reply_new();
    m->whole = true;
    if (m->reply)
        scan_feed(&m->reply->scan, bytes);
    else
        m->anomalies |= METER_A_NO_MEMORY;
}

/* The captured value; empty when there was none or it did not fit. */
static struct sv value(const struct meter_reply *r, unsigned i) {
    const struct scan_slot *slot = &r->slots[i];
    return slot->seen && slot->n <= slot->room ? (struct sv){ slot->text, (size_t)slot->n } : SV_NULL;
}

static void rerank_meta(struct meter *m, struct sv meta) {
    static const char *const where[] = { "tokens", "billed_units" };
    for (unsigned i = 0; i < 2 && m->r_input < 0; i++)
        meter__usage(m, peek_get(meta, sv_of(where[i])));
}

/* Text in a reply stands in some JSON of its own: brackets, names, ids. A guess for the case without any count. */
static void text_by_length(struct meter *m, const struct meter_reply *r) {
    enum { FRAME = 100 };
    uint64_t bytes = 0;
    for (unsigned i = TEXTS; i < SLOTS - 1; i++) /* "context" is last: token ids, no text */
        bytes += r->slots[i].n;
    m->text_bytes = bytes > FRAME + 2 ? bytes - FRAME : 0;
    m->milli_tokens = m->text_bytes * 250;
}

void meter__reply_end(struct meter *m) {
    struct meter_reply *r = m->reply;
    if (!r)
        return;
    bool ok = scan_end(&r->scan, NULL) == SCAN_OK;
    m->anomalies |= ok ? 0 : METER_A_BAD_JSON;
    m->saw_final = ok;
    char first = r->slots[ERROR].seen ? r->error[0] : 'n'; /* null, false and "" are no error */
    m->saw_error = first != 'n' && first != 'f' && !(first == '"' && r->slots[ERROR].n == 2);
    if (m->api == LLM_MESSAGES)
        meter__usage_anthropic(m, value(r, USAGE));
    else
        meter__usage(m, value(r, USAGE));
    meter__timings(m, value(r, TIMINGS));
    meter__stats(m, value(r, STATS));
    rerank_meta(m, value(r, META));
    for (unsigned i = 0; i < N_NUMBERS && llm_dialect(m->api) == LLM_OLLAMA; i++)
        meter__ollama(m, sv_of(r->slots[NUMBERS + i].name), value(r, NUMBERS + i));
    text_by_length(m, r);
    meter_deinit(m);
}
