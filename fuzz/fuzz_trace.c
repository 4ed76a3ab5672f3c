/* A traceparent that is accepted, printed again, is accepted with the same ids and flags. */
#undef NDEBUG /* the assertions are the point */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "telemetry/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct trace_parent p, again;
    char text[TRACE_PARENT_TEXT];
    if (!trace_parent_read((struct sv){ (const char *)data, size }, &p))
        return 0;
    assert(strlen(trace_parent_text(&p, text)) == TRACE_PARENT_TEXT - 1);
    assert(trace_parent_read(sv_of(text), &again));
    assert(memcmp(p.trace, again.trace, TRACE_ID) == 0 && memcmp(p.span, again.span, TRACE_SPAN) == 0 && p.flags == again.flags);
    return 0;
}
