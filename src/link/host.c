#include "link/host.h"

#include "base/mem.h"
#include "link/lane.h"

struct link_host *link_host_new(struct loop *l, struct err *e) {
    struct link_host *h = mem_new(sizeof *h);
    if (!h) {
        err_no_memory(e);
        return NULL;
    }
    h->loop = l;
    list_init(&h->lanes);
    joints_init(&h->joined);
    return h;
}

void link_host_free(struct link_host *h) {
    if (!h)
        return;
    joints_deinit(&h->joined);
    lanes_end(&h->lanes);
    mem_free(h);
}
