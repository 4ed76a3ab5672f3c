/* llm/meter_read.h - private to meter*.c: what one JSON text says about counts, times and output. */
#ifndef DROVER_LLM_METER_READ_H
#define DROVER_LLM_METER_READ_H

#include "llm/meter.h"

enum meter_kind { METER_TEXT, METER_REASONING, METER_TOOL };

/* What was found in one event. */
struct meter_seen {
    unsigned flags;
    unsigned n_output;       /* places with output */
    struct sv text;          /* the only one, when it is a string: its raw bytes between the quotes */
    enum meter_kind kind;
    bool plain;              /* nothing but output: the next event of this shape needs no reading */
};

/* Output: counts a string value, or anything else that is not empty, as one place. */
void meter__output(struct meter *m, struct meter_seen *seen, struct sv value, enum meter_kind kind);
/* Counts already found to be output text, raw. */
void meter__text(struct meter *m, struct sv raw, enum meter_kind kind);

/* OpenAI-style and Responses usage; Anthropic's; llama.cpp timings; LM Studio stats; Ollama's counters. Return whether
 * there was anything to be read. */
bool meter__usage(struct meter *m, struct sv usage);
bool meter__usage_anthropic(struct meter *m, struct sv usage);
void meter__timings(struct meter *m, struct sv timings);
void meter__stats(struct meter *m, struct sv stats);
void meter__ollama(struct meter *m, struct sv name, struct sv value);

/* Reads one whole event of the API's kind. */
void meter__event(struct meter *m, struct sv name, struct sv data, struct meter_seen *seen);
/* A reply's counters, after its last byte. */
void meter__reply_end(struct meter *m);

#endif
