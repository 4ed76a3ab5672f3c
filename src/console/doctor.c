/* console/doctor.c - what is not as it should be, as data: what, where, and the cure. The hub tells of its nodes (hub/doctor.c); what this
 * process knows of itself stands here. */
#include <stdio.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "console/request.h"
#include "hub/hub.h"
#include "hub/member.h"
#include "telemetry/ledger.h"

#define GIB (UINT64_C(1) << 30)

enum { AWAITED_MS = 120000 };

struct findings {
    struct buf out;
    bool any;
};

static void put_finding(void *arg, const struct hub_finding *f) {
    struct findings *all = arg;
    buf_add(&all->out, all->any ? SV(",{") : SV("{"));
    all->any = true;
    put_text(&all->out, "code", sv_of(f->code));
    put_text(&all->out, "severity", sv_of(f->severity));
    put_text(&all->out, "what", f->what);
    put_text(&all->out, "where", f->where);
    put_text(&all->out, "cure", f->cure);
    put_text(&all->out, "node", f->node);
    buf_add_char(&all->out, '}');
}

static void tell(struct findings *all, const char *code, const char *severity, const char *what, struct sv where,
                 const char *cure) {
    const struct hub_finding f = { code, severity, sv_of(what), where, sv_of(cure), SV_NULL };
    put_finding(all, &f);
}

/* The bounds are those of the alert (judges.c). */
static void look_disk(struct findings *all, const struct admin_house *h) {
    struct sv dir = (*h->config)->data_dir;
    char path[4096], what[120];
    struct statvfs v;
    if (!sv_to_cstr(dir, path, sizeof path) || statvfs(path, &v) != 0)
        return;
    uint64_t unused = (uint64_t)v.f_bavail * v.f_frsize, size = (uint64_t)v.f_blocks * v.f_frsize,
             least = size / 20 > GIB ? size / 20 : GIB;
    snprintf(what, sizeof what, "%.1f GiB of %.1f are free on the disk of data_dir", (double)unused / (double)GIB,
             (double)size / (double)GIB);
    if (unused <= least)
        tell(all, "disk_full", unused < GIB / 4 ? "error" : "warning", what, dir,
             "make room there: without it no request of a key is served");
}

static void look_records(struct findings *all, const struct admin_house *h) {
    struct store_status s;
    char what[300];
    store_status(h->store, &s);
    snprintf(what, sizeof what, "the records are %s: %.200s", store_state_name(s.state), s.text);
    if (s.state != STORE_WELL)
        tell(all, "records_unwell", "error", what, (*h->config)->data_dir,
             "see whether its disk is full or read-only; requests of keys are not served meanwhile");
    else if (!ledger_is_well(h->ledger))
        tell(all, "ledger_behind", "error", "the ledger cannot keep up; requests of keys are not served",
             (*h->config)->data_dir, "a faster disk, or less that writes to it");
}

static void look_people(struct findings *all, const struct admin_house *h) {
    if (!people_has_admin(h->people))
        tell(all, "no_admin", "warning", "nobody can sign in as admin", SV("users"),
             "drover user setup prints the link for the first");
}

/* Nodes are endpoints, too; the hub tells of those. */
static void look_endpoints(struct findings *all, const struct admin_house *h) {
    const struct snapshot *s = fleet_snapshot(h->fleet);
    char what[300], where[160];
    for (size_t i = 0; s && i < s->n_endpoints; i++) {
        const struct fleet_endpoint *p = &s->endpoints[i];
        if (p->state != FLEET_DOWN || sv_starts(p->url, SV("link:")))
            continue;
        snprintf(what, sizeof what, "it is down: %.*s", SV_FMT(sv_first(p->reason, 200)));
        snprintf(where, sizeof where, "endpoint %.*s", SV_FMT(sv_first(p->name, 128)));
        tell(all, "endpoint_down", "error", what, sv_of(where),
             "see whether the runtime runs, and whether its address is right (drover endpoints)");
    }
}

/* One place, or one name, from two sources. */
static void look_duplicates(struct findings *all, const struct admin_house *h) {
    const struct config *c = *h->config;
    char what[300], where[160];
    for (size_t i = 0; i < c->resting.n; i++) {
        snprintf(where, sizeof where, "endpoint %.*s", SV_FMT(sv_first(c->resting.v[i], 128)));
        tell(all, "endpoint_rests", "warning", "the configuration and the console both have one of this name: the configuration's is used", sv_of(where),
             "rename the configuration's, or take it out there: then the other is used, and can be removed");
    }
    for (size_t i = 0; i < c->n_endpoints; i++)
        for (size_t j = 0; j < i; j++)
            if (sv_eq(c->endpoints[i].url, c->endpoints[j].url)) {
                snprintf(what, sizeof what, "it has the same address as %.*s: what is sent there is counted twice", SV_FMT(c->endpoints[j].name));
                snprintf(where, sizeof where, "endpoint %.*s", SV_FMT(sv_first(c->endpoints[i].name, 128)));
                tell(all, "endpoint_twice", "warning", what, sv_of(where), "remove one of the two");
                break;
            }
}

/* In the mode direct: the hub should have dialled by now. */
static void look_awaited(struct findings *all, const struct member_facts *f) {
    char what[400], cure[500];
    snprintf(what, sizeof what, "the hub has not dialled this machine%s%.*s", f->error.n ? "; the last thing that happened: " : "",
             SV_FMT(sv_first(f->error, 240)));
    snprintf(cure, sizeof cure,
             "see whether the hub runs and reaches %.*s (0.0.0.0 is the address it sees this machine come from): open that port for it, or set "
             "join.reached_at; there drover node show tells the address and what became of the last call",
             SV_FMT(sv_first(f->called_at, 270)));
    tell(all, "hub_awaited", "warning", what, f->hub, cure);
}

/* This machine as a node of another's fleet. */
static void look_membership(struct findings *all, const struct admin_house *h) {
    struct member_facts f;
    char what[300], cure[200];
    if (!h->member)
        return;
    member_facts(h->member, &f);
    bool tries = f.phase == MEMBER_ASKING || f.phase == MEMBER_DIALLING || f.phase == MEMBER_RESTING ||
                 f.phase == MEMBER_RENEWING;
    int64_t left_s = f.not_after_s ? f.not_after_s - (int64_t)(clock_wall_ms() / 1000) : PKI_LEAF_LIFE_S;
    snprintf(what, sizeof what, "no link to its hub: %.*s", SV_FMT(sv_first(f.error, 240)));
    snprintf(cure, sizeof cure, "there: drover node approve; its fingerprint must be %s", f.fingerprint);
    if (f.phase == MEMBER_WAITING)
        tell(all, "join_waiting", "warning", "the hub's operator has not let this machine in yet", f.hub, cure);
    else if (f.phase == MEMBER_DENIED)
        tell(all, "join_denied", "error", "the hub's operator refused this machine, or put it out", f.hub,
             "ask there for an invitation; then: drover leave, and drover join with the new line");
    else if (f.phase == MEMBER_BROKEN)
        tell(all, "join_broken", "error", what, f.hub, "drover leave, then drover join with a new line");
    else if (tries && f.error.n)
        tell(all, "hub_away", "error", what, f.hub,
             "see whether the hub runs and whether its address is reached from here; it is tried again by itself");
    if (f.phase == MEMBER_AWAITING && clock_wall_ms() - f.since_ms >= AWAITED_MS)
        look_awaited(all, &f);
    if (f.renewal_error.n) {
        snprintf(what, sizeof what, "the hub could not be asked for the next certificate: %.*s", SV_FMT(sv_first(f.renewal_error, 240)));
        tell(all, "renewal_failed", left_s < PKI_DAY_S ? "error" : "warning", what, f.hub,
             "this machine must reach the hub there for it, also in the mode direct; it is tried again by itself");
    }
    if (left_s < PKI_DAY_S && f.phase != MEMBER_OFF)
        tell(all, "certificate_late", left_s > 0 ? "warning" : "error",
             left_s > 0 ? "this node's certificate ends within a day and was not renewed"
                        : "this node's certificate has ended",
             f.hub,
             "it is renewed by itself while the hub is reached; a month after its end it takes a new invitation");
}

static void reply(struct request *r, struct findings *all) {
    buf_add(&all->out, SV("]}"));
    request_reply(r, 200, &all->out);
}

void doctor_get(struct request *r) {
    const struct admin_house *h = r->admin->house;
    struct findings all = { .out = BUF_MAX(REQUEST_ANSWER_MAX) };
    buf_add(&all.out, SV("{\"findings\":["));
    look_records(&all, h);
    look_disk(&all, h);
    look_people(&all, h);
    look_endpoints(&all, h);
    look_duplicates(&all, h);
    look_membership(&all, h);
    if (h->hub)
        hub_doctor(h->hub, put_finding, &all);
    reply(r, &all);
}

void doctor_node(struct request *r) {
    struct hub *h = nodes__hub(r);
    struct findings all = { .out = BUF_MAX(REQUEST_ANSWER_MAX) };
    struct err e;
    if (!h)
        return;
    buf_add(&all.out, SV("{\"findings\":["));
    if (hub_doctor_node(h, r->rest, put_finding, &all)) {
        reply(r, &all);
        return;
    }
    buf_deinit(&all.out);
    err_set(&e, ERR_NOT_FOUND, "there is no node \"%.*s\"", SV_FMT(sv_first(r->rest, 80)));
    request_fail(r, &e, "drover node ls shows all");
}
