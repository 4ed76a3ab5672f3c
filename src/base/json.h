/* base/json.h - a few words over yyjson for control messages and small events.
 *
 * Reading is strict (RFC 8259, depth and size bounded by the caller's slice of bytes). Getters answer a default when a
 * member is missing, null or of another type, because that is what every caller wants of a foreign server's answer.
 * Never for a large pass-through body: llm/scan.h reads those. */
#ifndef DROVER_BASE_JSON_H
#define DROVER_BASE_JSON_H

#include <yyjson.h>

#include "base/buf.h"
#include "base/sv.h"

/* The program's own allocator, for yyjson's functions that take one. */
extern const yyjson_alc json_heap;

/* NULL when the bytes are no JSON or memory is out. Copies. Free with yyjson_doc_free. */
yyjson_doc *json_parse(struct sv text);
/* The same, but numbers the machine cannot hold (1e400, integers above 64 bits) stay as raw text. */
yyjson_doc *json_parse_exact(struct sv text);
/* The same, but all numbers stay as raw text. */
yyjson_doc *json_parse_raw(struct sv text);
/* The same for an answer of somebody else's program, where one bad value must not cost the rest: when the text is no JSON, it
 * is read once more with unpaired surrogate escapes as U+FFFD, other bad bytes in strings left as they are, and numbers no
 * machine can hold as raw text. *ret_mended: that was needed, and helped. */
yyjson_doc *json_parse_foreign(struct sv text, bool *ret_mended);
/* The same for a piece of a stream: a half at the end of a string, or a second one at its beginning, stays for who can join it
 * with the other: three bytes, ED A0..BF xx, which are no UTF-8. Slow: only after json_parse_exact refused the text. */
yyjson_doc *json_parse_halves(struct sv text);
void json_doc_freep(yyjson_doc **doc);

/* obj may be NULL or no object; of members of one name the last counts. The view is borrowed from the document. */
struct sv json_str(yyjson_val *obj, const char *key);
int64_t json_i64(yyjson_val *obj, const char *key, int64_t otherwise); /* accepts integral doubles such as 100.0 */
double json_f64(yyjson_val *obj, const char *key, double otherwise);
bool json_bool(yyjson_val *obj, const char *key, bool otherwise);
yyjson_val *json_get(yyjson_val *obj, const char *key);
struct sv json_sv(yyjson_val *string); /* empty when it is no string */
/* Follows a path of members, "a.b.c"; NULL when a step is missing. */
yyjson_val *json_at(yyjson_val *obj, const char *path);

#endif
