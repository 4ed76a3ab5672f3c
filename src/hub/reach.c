/* hub/reach.c - the way to a node, for those who visit its console. */
#include "hub/room.h"
#include "link/link.h"

static int reach_of(struct sv word) {
    return sv_eq(word, SV("full")) ? CONFIG_REACH_FULL : sv_eq(word, SV("view")) ? CONFIG_REACH_VIEW : CONFIG_REACH_OFF;
}

bool hub_reach(struct hub *h, struct sv id, struct hub_reach *ret, struct err *e) {
    const struct node *n = roster_named(&h->roster, id);
    struct session_facts link;
    if (!n || n->state != NODE_APPROVED)
        return err_set(e, ERR_NOT_FOUND, "there is no node \"%.*s\"", SV_FMT(sv_first(id, 80)));
    const struct session *s = n->session;
    if (s)
        session__facts(s, &link);
    if (n->retiring && (!s || !link.is_up)) { /* a newer link is in its handshake: the old one still serves */
        s = n->retiring;
        session__facts(s, &link);
    }
    if (!s || !n->way || way_lanes(n->way) == 0)
        return err_set(e, ERR_UNAVAILABLE, "node %s has no link to this hub at the moment", n->name);
    *ret = (struct hub_reach){
        .id = sv_of(n->id), .name = sv_of(n->name), .way = n->way, .console = reach_of(link.console)
    };
    return true;
}
