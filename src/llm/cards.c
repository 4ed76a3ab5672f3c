/* llm/cards.c - what models there are, as each vendor's clients want to read it. Only facts: what is unknown is left
 * out where clients bear that, and else is the vendor's own word for nothing (0, "", null, Go's zero time). */
#include "llm/llm.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "llm/print.h"

#define OLLAMA_API_VERSION "0.33.0" /* what the reference describes; clients switch features on by it */

typedef void card_fn(struct print *p, const struct llm_model_card *c);

static void each(struct print *p, const char *name, const struct llm_model_card *cards, size_t n, card_fn *print) {
    print_open(p, name, '[');
    for (size_t i = 0; i < n; i++) {
        print_open(p, NULL, '{');
        print(p, &cards[i]);
        print_close(p, '}');
    }
    print_close(p, ']');
}

static void print_time(struct print *p, const char *name, int64_t seconds) {
    char text[25];
    if (seconds < 0)
        print_str(p, name, SV("0001-01-01T00:00:00Z"));
    else
        print_str(p, name, sv_of(clock_iso8601((uint64_t)seconds * 1000, text)));
}

static void print_word(struct print *p, const char *word, bool holds) {
    if (holds)
        print_str(p, NULL, sv_of(word));
}

/* -- OpenAI, Anthropic -------------------------------------------------------------------------------------------- */

static void openai_card(struct print *p, const struct llm_model_card *c) {
    print_str(p, "id", c->slug);
    print_str(p, "object", SV("model"));
    print_int(p, "created", c->created > 0 ? c->created : 0);
    print_str(p, "owned_by", c->owner.n ? c->owner : SV("drover"));
    print_fact(p, "context_length", c->context);
}

static void anthropic_card(struct print *p, const struct llm_model_card *c) {
    print_str(p, "type", SV("model"));
    print_str(p, "id", c->slug);
    print_str(p, "display_name", c->slug);
    print_time(p, "created_at", c->created > 0 ? c->created : 0);
}

bool llm_list_openai(struct buf *out, const struct llm_model_card *cards, size_t n) {
    struct print p = print_begin(out);
    print_open(&p, NULL, '{');
    print_str(&p, "object", SV("list"));
    each(&p, "data", cards, n, openai_card);
    print_close(&p, '}');
    return print_end(&p);
}

bool llm_list_anthropic(struct buf *out, const struct llm_model_card *cards, size_t n) {
    struct print p = print_begin(out);
    print_open(&p, NULL, '{');
    each(&p, "data", cards, n, anthropic_card);
    print_bool(&p, "has_more", false);
    print_str_or_null(&p, "first_id", n ? cards[0].slug : SV_NULL);
    print_str_or_null(&p, "last_id", n ? cards[n - 1].slug : SV_NULL);
    print_close(&p, '}');
    return print_end(&p);
}

static bool one(struct buf *out, const struct llm_model_card *card, card_fn *print) {
    struct print p = print_begin(out);
    print_open(&p, NULL, '{');
    print(&p, card);
    print_close(&p, '}');
    return print_end(&p);
}

bool llm_card_openai(struct buf *out, const struct llm_model_card *card) {
    return one(out, card, openai_card);
}

bool llm_card_anthropic(struct buf *out, const struct llm_model_card *card) {
    return one(out, card, anthropic_card);
}

/* -- Ollama ------------------------------------------------------------------------------------------------------- */

/* Ollama's names always have a tag, and its clients count on it. */
static void print_tagged(struct print *p, const char *name, struct sv slug) {
    ptrdiff_t slash = sv_rfind_char(slug, '/');
    bool tagged = sv_find_char(sv_from(slug, (size_t)(slash + 1)), ':') >= 0;
    print_str(p, name, slug);
    if (!tagged && p->to->n > p->was && !p->to->failed) {
        p->to->n--; /* the quote */
        buf_add(p->to, SV(":latest\""));
    }
}

static void ollama_details(struct print *p, const struct llm_model_card *c) {
    print_open(p, "details", '{');
    print_str(p, "parent_model", SV(""));
    print_str(p, "format", c->format);
    print_str(p, "family", c->family);
    print_open(p, "families", '[');
    if (c->family.n)
        print_str(p, NULL, c->family);
    print_close(p, ']');
    print_str(p, "parameter_size", c->params);
    print_str(p, "quantization_level", c->quant);
    print_close(p, '}');
}

static void ollama_capabilities(struct print *p, unsigned can) {
    print_open(p, "capabilities", '[');
    print_word(p, "completion", can & (LLM_CAN_CHAT | LLM_CAN_COMPLETION));
    print_word(p, "tools", can & LLM_CAN_TOOLS);
    print_word(p, "insert", can & LLM_CAN_INSERT);
    print_word(p, "vision", can & LLM_CAN_VISION);
    print_word(p, "embedding", can & LLM_CAN_EMBED);
    print_word(p, "thinking", can & LLM_CAN_THINKING);
    print_word(p, "image", can & LLM_CAN_IMAGE);
    print_word(p, "audio", can & LLM_CAN_TRANSCRIBE);
    print_close(p, ']');
}

static void ollama_common(struct print *p, const struct llm_model_card *c) {
    print_tagged(p, "name", c->slug);
    print_tagged(p, "model", c->slug);
    print_int(p, "size", c->size_bytes > 0 ? c->size_bytes : 0);
    /* The ollama program cuts twelve characters from it without looking, so an unknown one must be there, too. */
    print_str(p, "digest", c->digest.n >= 12 ? c->digest
                                             : SV("0000000000000000000000000000000000000000000000000000000000000000"));
    ollama_details(p, c);
}

static void ollama_tag(struct print *p, const struct llm_model_card *c) {
    ollama_common(p, c);
    print_time(p, "modified_at", c->created);
    ollama_capabilities(p, c->can);
}

static void ollama_running(struct print *p, const struct llm_model_card *c) {
    const int64_t never = 10413792000; /* the year 2300: Ollama, too, says "forever" as a date */
    ollama_common(p, c);
    print_time(p, "expires_at", c->expires == 0 ? never : c->expires);
    print_int(p, "size_vram", c->size_vram > 0 ? c->size_vram : 0);
    print_fact(p, "context_length", c->loaded_context >= 0 ? c->loaded_context : c->context);
}

bool llm_list_ollama_tags(struct buf *out, const struct llm_model_card *cards, size_t n) {
    struct print p = print_begin(out);
    print_open(&p, NULL, '{');
    each(&p, "models", cards, n, ollama_tag);
    print_close(&p, '}');
    return print_end(&p);
}

bool llm_list_ollama_ps(struct buf *out, const struct llm_model_card *cards, size_t n) {
    struct print p = print_begin(out);
    print_open(&p, NULL, '{');
    print_open(&p, "models", '[');
    for (size_t i = 0; i < n; i++) {
        if (!cards[i].loaded)
            continue;
        print_open(&p, NULL, '{');
        ollama_running(&p, &cards[i]);
        print_close(&p, '}');
    }
    print_close(&p, ']');
    print_close(&p, '}');
    return print_end(&p);
}

static void ollama_show(struct print *p, const struct llm_model_card *c) {
    char name[128];
    ollama_details(p, c);
    print_open(p, "model_info", '{');
    if (c->family.n && c->family.n < 64) {
        print_str(p, "general.architecture", c->family);
        snprintf(name, sizeof name, "%.*s.context_length", SV_FMT(c->family));
        if (c->context >= 0) {
            print_comma(p);
            buf_add_json(p->to, sv_of(name)); /* the family comes from a runtime: escaped */
            buf_printf(p->to, ":%" PRId64, c->context);
        }
    }
    print_close(p, '}');
    ollama_capabilities(p, c->can);
    print_time(p, "modified_at", c->created);
}

bool llm_card_ollama_show(struct buf *out, const struct llm_model_card *card) {
    return one(out, card, ollama_show);
}

bool llm_ollama_version(struct buf *out) {
    return buf_add(out, SV("{\"version\":\"" OLLAMA_API_VERSION "\"}"));
}

/* -- LM Studio ---------------------------------------------------------------------------------------------------- */

static void lmstudio0_card(struct print *p, const struct llm_model_card *c) {
    print_str(p, "id", c->slug);
    print_str(p, "object", SV("model"));
    print_str(p, "type", c->can & LLM_CAN_EMBED ? SV("embeddings") : c->can & LLM_CAN_VISION ? SV("vlm") : SV("llm"));
    print_str(p, "publisher", c->publisher);
    print_str(p, "arch", c->family);
    print_str(p, "compatibility_type", c->format);
    print_str(p, "quantization", c->quant);
    print_str(p, "state", c->loaded ? SV("loaded") : SV("not-loaded"));
    print_fact(p, "max_context_length", c->context);
    if (c->loaded)
        print_fact(p, "loaded_context_length", c->loaded_context);
    print_open(p, "capabilities", '[');
    print_word(p, "tool_use", c->can & LLM_CAN_TOOLS);
    print_close(p, ']');
}

static void lmstudio1_instances(struct print *p, const struct llm_model_card *c) {
    print_open(p, "loaded_instances", '[');
    if (c->loaded) {
        print_open(p, NULL, '{');
        print_str(p, "id", c->slug);
        print_open(p, "config", '{');
        print_fact(p, "context_length", c->loaded_context >= 0 ? c->loaded_context : c->context);
        print_close(p, '}');
        print_close(p, '}');
    }
    print_close(p, ']');
}

static void lmstudio1_card(struct print *p, const struct llm_model_card *c) {
    print_str(p, "type", c->can & LLM_CAN_EMBED ? SV("embedding") : SV("llm"));
    print_str(p, "publisher", c->publisher);
    print_str(p, "key", c->slug);
    print_str(p, "display_name", c->slug);
    print_str_or_null(p, "architecture", c->family);
    print_name(p, "quantization");
    if (c->quant.n) {
        buf_add_char(p->to, '{');
        print_str(p, "name", c->quant);
        buf_add(p->to, SV(",\"bits_per_weight\":null}"));
    } else {
        buf_add(p->to, SV("null"));
    }
    print_int(p, "size_bytes", c->size_bytes > 0 ? c->size_bytes : 0);
    print_str_or_null(p, "params_string", c->params);
    lmstudio1_instances(p, c);
    print_fact(p, "max_context_length", c->context);
    print_str_or_null(p, "format", c->format);
    print_open(p, "capabilities", '{');
    print_bool(p, "vision", c->can & LLM_CAN_VISION);
    print_bool(p, "trained_for_tool_use", c->can & LLM_CAN_TOOLS);
    print_close(p, '}');
    print_str_or_null(p, "description", SV_NULL);
}

bool llm_list_lmstudio0(struct buf *out, const struct llm_model_card *cards, size_t n) {
    struct print p = print_begin(out);
    print_open(&p, NULL, '{');
    print_str(&p, "object", SV("list"));
    each(&p, "data", cards, n, lmstudio0_card);
    print_close(&p, '}');
    return print_end(&p);
}

bool llm_list_lmstudio1(struct buf *out, const struct llm_model_card *cards, size_t n) {
    struct print p = print_begin(out);
    print_open(&p, NULL, '{');
    each(&p, "models", cards, n, lmstudio1_card);
    print_close(&p, '}');
    return print_end(&p);
}

bool llm_card_lmstudio0(struct buf *out, const struct llm_model_card *card) {
    return one(out, card, lmstudio0_card);
}
