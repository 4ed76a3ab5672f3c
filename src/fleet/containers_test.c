#include "fleet/containers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

#define LABELS(rest) "\"Labels\":{\"drover.endpoint\":" rest "}"
#define PORTS "\"Ports\":[{\"PrivatePort\":22,\"Type\":\"tcp\"},{\"IP\":\"0.0.0.0\",\"PrivatePort\":8000,\"PublicPort\":18000,\"Type\":\"tcp\"}," \
              "{\"IP\":\"192.0.2.7\",\"PrivatePort\":9000,\"PublicPort\":19000,\"Type\":\"tcp\"}]"
#define NETWORK "\"NetworkSettings\":{\"Networks\":{\"bridge\":{\"IPAddress\":\"172.17.0.5\"}}}"

static const struct {
    const char *json, *host; /* NULL: no place */
    unsigned port;
    const char *name;
} cases[] = {
    { "{" LABELS("\"8000\"") "," PORTS "," NETWORK "}", "127.0.0.1", 18000, "" },
    { "{" LABELS("\"9000\"") "," PORTS "}", "192.0.2.7", 19000, "" },
    { "{" LABELS("\"\"") "," PORTS "}", "127.0.0.1", 18000, "" },
    { "{" LABELS("\"true\",\"drover.name\":\"gpu-1\"") "," PORTS "}", "127.0.0.1", 18000, "gpu-1" },
    { "{" LABELS("\"8000\",\"drover.name\":\"../x\"") "," PORTS "}", "127.0.0.1", 18000, "" },
    { "{" LABELS("\"7000\"") "," PORTS "," NETWORK "}", "172.17.0.5", 7000, "" }, /* not published */
    { "{" LABELS("\"7000\"") "," PORTS "}", NULL, 0, "" },
    { "{" LABELS("\"true\"") "," NETWORK "}", NULL, 0, "" },
    { "{" LABELS("\"99999\"") ",\"Ports\":[{\"PrivatePort\":1,\"PublicPort\":70000}]}", NULL, 0, "" },
    { "{" LABELS("8000") ",\"Ports\":null,\"NetworkSettings\":{\"Networks\":[]}}", NULL, 0, "" },
    { "{\"Labels\":[],\"Ports\":{},\"NetworkSettings\":1}", NULL, 0, "" },
    { "{\"Labels\":null,\"Ports\":[null,1,[],{\"PublicPort\":\"1\"},{\"PublicPort\":-1},{\"PublicPort\":5,\"Type\":\"udp\"}]}", NULL, 0, "" },
    { "[]", NULL, 0, "" },
    { "{" LABELS("\"7000\"") ",\"NetworkSettings\":{\"Networks\":{\"a\":null,\"b\":{\"IPAddress\":\"\"}}}}", NULL, 0, "" },
};

static void a_labelled_container_is_found_where_it_can_be_reached(void **state) {
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n = strlen(cases[i].json);
        char *exact = mem_copy(cases[i].json, n);
        CLEANUP(json_doc_freep) yyjson_doc *doc = json_parse((struct sv){ exact, n });
        struct container_place at = { 0 };
        mem_free(exact);
        assert_non_null(doc);
        if (container_read(yyjson_doc_get_root(doc), &at) != (cases[i].host != NULL))
            fail_msg("case %zu", i);
        if (!sv_eq(at.host, sv_of(cases[i].host)) || at.port != cases[i].port || !sv_eq(at.name, sv_of(cases[i].name)))
            fail_msg("case %zu: %.*s:%u \"%.*s\"", i, SV_FMT(at.host), at.port, SV_FMT(at.name));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_labelled_container_is_found_where_it_can_be_reached) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
