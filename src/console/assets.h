/* console/assets.h - private to console: the pages that the binary carries, made by tools/web.sh. */
#ifndef DROVER_CONSOLE_ASSETS_H
#define DROVER_CONSOLE_ASSETS_H

#include <stdbool.h>
#include <stddef.h>

struct asset_bytes {
    const char *p, *end;
};

struct asset {
    const char *path, *type, *etag; /* "/console/", "text/html; charset=utf-8"; the etag with its quotes */
    bool immutable;                 /* its name changes with its content */
    struct asset_bytes plain, gzip, brotli;
};

extern const struct asset assets[];
extern const size_t n_assets;

#endif
