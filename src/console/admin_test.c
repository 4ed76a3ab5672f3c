/* docs/openapi.yaml and the table of routes in the binary say the same. */
#include "console/admin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#ifndef DROVER_SOURCE
#define DROVER_SOURCE "."
#endif

/* "METHOD /path role needs..." of each operation, read off the layout of the file: paths at two blanks, methods at four, x-role and x-needs
 * at six. */
static size_t documented(char names[][128], size_t max) {
    static const char *const methods[] = { "get", "put", "post", "delete", "patch" };
    FILE *f = fopen(DROVER_SOURCE "/docs/openapi.yaml", "r");
    char line[512], path[100] = "";
    size_t n = 0;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = '\0';
        if (strncmp(line, "components:", 11) == 0)
            break;
        size_t len = strlen(line);
        if (strncmp(line, "  /", 3) == 0 && line[len - 1] == ':')
            snprintf(path, sizeof path, "%.*s", (int)(len - 3), line + 2);
        for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++) {
            char want[16];
            snprintf(want, sizeof want, "    %s:", methods[m]);
            if (strcmp(line, want) == 0 && n < max) {
                char upper[8];
                size_t i = 0;
                for (; methods[m][i]; i++)
                    upper[i] = (char)(methods[m][i] - 32);
                upper[i] = '\0';
                snprintf(names[n++], 128, "%s %s", upper, path);
            }
        }
        if (n && strncmp(line, "      x-", 8) == 0) {
            char *at = names[n - 1] + strlen(names[n - 1]);
            *at++ = ' ';
            for (const char *c = strchr(line, ':') + 2; *c && at < names[n - 1] + 126; c++)
                if (!strchr("[],", *c))
                    *at++ = *c;
        }
    }
    fclose(f);
    return n;
}

static void every_route_is_documented_and_every_documented_route_exists(void **state) {
    (void)state;
    static char names[128][128];
    size_t n = documented(names, 128), routes = 0;
    const char *route;
    for (unsigned i = 0; (route = admin_route_at(i)); i++, routes++) {
        bool found = false;
        for (size_t j = 0; j < n; j++)
            found = found || strcmp(names[j], route) == 0;
        if (!found)
            fail_msg("%s is in the binary and not in docs/openapi.yaml", route);
    }
    for (size_t j = 0; j < n; j++) {
        bool found = false;
        for (unsigned i = 0; (route = admin_route_at(i)); i++)
            found = found || strcmp(names[j], route) == 0;
        if (!found)
            fail_msg("%s is in docs/openapi.yaml and not in the binary", names[j]);
    }
    assert_int_equal(n, routes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_documented_and_every_documented_route_exists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
