/* telemetry/otlp_words.h - private to otlp*.c: attributes, and the names of GenAI. */
#ifndef DROVER_TELEMETRY_OTLP_WORDS_H
#define DROVER_TELEMETRY_OTLP_WORDS_H

#include "telemetry/otlp.h"

/* One attribute each, with a comma in front unless a list has just begun. An empty text is left out. */
bool otlp__text(struct buf *out, const char *key, struct sv v);
bool otlp__int(struct buf *out, const char *key, int64_t v);
bool otlp__real(struct buf *out, const char *key, double v);
bool otlp__truth(struct buf *out, const char *key, bool v);

/* "resource":{...},"scopeX":[{"scope":{...}, of which the caller closes the rest. */
bool otlp__head(struct buf *out, const char *resources, const char *scopes, const struct otlp_source *from);

/* gen_ai.provider.name of a runtime's kind. */
struct sv otlp__provider(struct sv runtime);
/* The class of what went wrong: an HTTP status, or the result's name. Empty: nothing did. Borrows space. */
struct sv otlp__error(const struct request_record *r, char space[static 8]);
/* Of an attempt. */
struct sv otlp__attempt_error(const struct trace_attempt *a, char space[static 8]);
/* Apart, as server.address and server.port; port 0: it is not known. */
struct sv otlp__address(struct sv host, uint64_t *ret_port);

#endif
