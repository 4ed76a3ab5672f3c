/* One message at a time, from a block of exactly its size. */
#include "fleet/mdns_read.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ID = 0x1234, ETH = 2, WIFI = 3, LO = 1 };

/* --- this machine, and who answers ---------------------------------------------------------------------------------- */

static struct mdns_address address(const char *text) {
    struct mdns_address a = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };
    assert_int_equal(inet_pton(a.family, text, a.bytes), 1);
    return a;
}

static struct mdns_net nets[6];

static int make_nets(void **state) {
    nets[0] = (struct mdns_net){ LO, address("127.0.0.1"), 8 };
    nets[1] = (struct mdns_net){ ETH, address("192.168.1.2"), 24 };
    nets[2] = (struct mdns_net){ ETH, address("fd00:1::2"), 64 };
    nets[3] = (struct mdns_net){ ETH, address("fe80::2"), 64 };
    nets[4] = (struct mdns_net){ WIFI, address("10.9.0.2"), 23 };
    nets[5] = (struct mdns_net){ WIFI, address("169.254.7.7"), 16 };
    return 0;
}

static struct mdns_from from(const char *source, unsigned link) {
    return (struct mdns_from){ address(source), link, nets, sizeof nets / sizeof nets[0] };
}

static bool take_from(struct mdns_found *f, struct sv message, const struct mdns_from *where) {
    unsigned char *exact = malloc(message.n ? message.n : 1);
    memcpy(exact, message.p, message.n);
    bool ok = mdns_read(f, (struct sv){ (char *)exact, message.n }, ID, where);
    free(exact);
    assert_true(f->n <= MDNS_PLACES_MAX);
    for (size_t i = 0; i < f->n; i++) {
        const struct mdns_instance *it = &f->v[i];
        assert_true(it->service < MDNS_SERVICES && memchr(it->name, 0, sizeof it->name) && memchr(it->host, 0, sizeof it->host));
        assert_true(!it->at.family || (*it->host && it->port && it->rank));
    }
    return ok;
}

static bool take(struct mdns_found *f, struct sv message) {
    struct mdns_from where = from("192.168.1.7", ETH);
    return take_from(f, message, &where);
}

static const char *place(const struct mdns_instance *it) {
    static char text[INET6_ADDRSTRLEN + 8];
    char host[INET6_ADDRSTRLEN] = "?";
    if (it->at.family)
        inet_ntop(it->at.family, it->at.bytes, host, sizeof host);
    snprintf(text, sizeof text, "%s %u", host, it->port);
    return text;
}

/* --- writing messages ----------------------------------------------------------------------------------------------- */

struct message {
    unsigned char b[70000];
    size_t n;
};

static void put(struct message *m, const void *p, size_t n) {
    assert_true(m->n + n <= sizeof m->b);
    memcpy(m->b + m->n, p, n);
    m->n += n;
}

static void put16(struct message *m, unsigned v) {
    put(m, (unsigned char[]){ (unsigned char)(v >> 8), (unsigned char)v }, 2);
}

static void begin(struct message *m) {
    m->n = 0;
    put(m, "\x12\x34\x84\0\0\0\0\0\0\0\0\0", 12);
}

/* Labels, without compression. */
static void put_name(struct message *m, const char *name) {
    for (struct sv rest = sv_of(name), label; sv_next(&rest, '.', &label);) {
        put(m, (unsigned char[]){ (unsigned char)label.n }, 1);
        put(m, label.p, label.n);
    }
    put(m, "", 1);
}

/* section: 6 answers, 10 additional. */
static void put_record(struct message *m, int section, const char *name, unsigned type, unsigned class, unsigned ttl,
                       const void *data, size_t n) {
    put_name(m, name);
    put16(m, type);
    put16(m, class);
    put16(m, 0);
    put16(m, ttl);
    put16(m, (unsigned)n);
    put(m, data, n);
    ns_put16(ns_get16(m->b + section) + 1, m->b + section);
}

static void put_ptr(struct message *m, const char *service, const char *instance) {
    struct message name = { .n = 0 };
    put_name(&name, instance);
    put_record(m, 6, service, ns_t_ptr, ns_c_in, 10, name.b, name.n);
}

static void put_srv(struct message *m, const char *instance, const char *host, unsigned port) {
    struct message data = { .n = 0 };
    put(&data, "\0\0\0\0", 4);
    put16(&data, port);
    put_name(&data, host);
    put_record(m, 10, instance, ns_t_srv, ns_c_in, 10, data.b, data.n);
}

static void put_address(struct message *m, const char *host, const char *text) {
    struct mdns_address a = address(text);
    put_record(m, 10, host, a.family == AF_INET ? ns_t_a : ns_t_aaaa, ns_c_in, 10, a.bytes, a.family == AF_INET ? 4 : 16);
}

static struct sv of(const struct message *m) {
    return (struct sv){ (const char *)m->b, m->n };
}

#define OLLAMA "_ollama._tcp.local"
#define GPU "gpu." OLLAMA

/* --- what is understood --------------------------------------------------------------------------------------------- */

/* As Avahi answers a one-shot query: the question repeated, names compressed. */
#define QUESTION "\x12\x34\x84\0\0\1\0\1\0\0\0\3" "\7_ollama\4_tcp\5local\0" "\0\x0c\0\1"                  /* at 12, local at 25 */
#define POINTER  "\xc0\x0c" "\0\x0c\0\1" "\0\0\0\x0a" "\0\x06" "\3gpu\xc0\x0c"                             /* instance at 48 */
#define SERVER   "\xc0\x30" "\0\x21\0\1" "\0\0\0\x0a" "\0\x0c" "\0\0\0\0\x2c\xaa" "\3box\xc0\x19"          /* host at 72 */
#define TEXT     "\xc0\x30" "\0\x10\0\1" "\0\0\0\x0a" "\0\x04" "\3a=b"
#define ADDRESS  "\xc0\x48" "\0\1\0\1" "\0\0\0\x0a" "\0\4" "\xc0\xa8\1\7"
static const struct sv whole = { QUESTION POINTER SERVER TEXT ADDRESS, sizeof(QUESTION POINTER SERVER TEXT ADDRESS) - 1 };

static void a_whole_answer_gives_a_place(void **state) {
    struct mdns_found f = { .n = 0 };
    for (int i = 0; i < 2; i++) { /* a second time changes nothing */
        assert_true(take(&f, whole));
        assert_int_equal(f.n, 1);
        assert_int_equal(f.v[0].service, MDNS_OLLAMA);
        assert_string_equal(f.v[0].name, GPU);
        assert_string_equal(f.v[0].host, "box.local");
        assert_string_equal(place(&f.v[0]), "192.168.1.7 11434");
        assert_false(f.v[0].is_here);
    }
}

static void an_answer_cut_anywhere_says_nothing(void **state) {
    struct mdns_found f = { .n = 0 };
    for (size_t n = 0; n < whole.n; n++)
        assert_false(take(&f, sv_first(whole, n)));
    assert_int_equal(f.n, 0);
}

static void any_other_byte_anywhere_is_survived(void **state) {
    char changed[256];
    struct sv v = { changed, whole.n };
    assert_true(whole.n <= sizeof changed);
    for (size_t i = 0; i < whole.n; i++) {
        for (int byte = 0; byte < 256; byte++) {
            struct mdns_found f = { .n = 0 };
            memcpy(changed, whole.p, whole.n);
            changed[i] = (char)byte;
            take(&f, v);
        }
    }
}

static void names_are_compared_as_dns_does_and_the_order_does_not_matter(void **state) {
    struct mdns_found f = { .n = 0 };
    struct message m;
    begin(&m);
    put_address(&m, "BOX.local", "192.168.1.7");
    put_srv(&m, "GPU._Ollama._TCP.local", "box.LOCAL", 1);
    put_ptr(&m, "_OLLAMA._tcp.Local", GPU);
    ns_put16(3, m.b + 6); /* all in one section, so that they stay in this order */
    ns_put16(0, m.b + 10);
    assert_true(take(&f, of(&m)));
    assert_int_equal(f.n, 1);
    assert_string_equal(place(&f.v[0]), "192.168.1.7 1");
}

static void all_services_are_told_apart(void **state) {
    struct mdns_found f = { .n = 0 };
    struct message m;
    char name[100];
    begin(&m);
    for (int s = 0; s < MDNS_SERVICES; s++) {
        snprintf(name, sizeof name, "x.%s", mdns_service_name(s));
        put_ptr(&m, mdns_service_name(s), name);
        put_srv(&m, name, "box.local", 1000 + (unsigned)s);
    }
    put_ptr(&m, "_http._tcp.local", "x._http._tcp.local");
    put_address(&m, "box.local", "192.168.1.7");
    assert_true(take(&f, of(&m)));
    assert_int_equal(f.n, MDNS_SERVICES);
    for (int s = 0; s < MDNS_SERVICES; s++) {
        assert_int_equal(f.v[s].service, s);
        assert_int_equal(f.v[s].port, 1000 + s);
        assert_int_equal(f.v[s].at.family, AF_INET);
    }
}

/* --- questions ------------------------------------------------------------------------------------------------------ */

/* "name TYPE, name TYPE" */
static void show_questions(const unsigned char *q, size_t n, char *text, size_t size) {
    ns_msg m;
    ns_rr rr;
    size_t at = 0;
    unsigned char *exact = malloc(n);
    memcpy(exact, q, n);
    assert_int_equal(ns_initparse(exact, (int)n, &m), 0);
    assert_int_equal(ns_msg_id(m), ID);
    assert_int_equal(ns_msg_getflag(m, ns_f_qr), 0);
    assert_true(ns_msg_count(m, ns_s_qd) <= MDNS_QUESTIONS_MAX && ns_msg_count(m, ns_s_an) == 0);
    for (int i = 0; i < ns_msg_count(m, ns_s_qd); i++) {
        assert_int_equal(ns_parserr(&m, ns_s_qd, i, &rr), 0);
        assert_int_equal(ns_rr_class(rr), ns_c_in); /* QM: the top bit would ask for unicast */
        at += (size_t)snprintf(text + at, size - at, "%s%s %d", i ? ", " : "", ns_rr_name(rr), ns_rr_type(rr));
        assert_true(at < size);
    }
    free(exact);
}

static void one_message_asks_for_all(void **state) {
    unsigned char q[MDNS_QUERY_MAX];
    char text[2000];
    show_questions(q, mdns_ask(q, ID), text, sizeof text);
    assert_string_equal(text, "_drover._tcp.local 12, _ollama._tcp.local 12, _openai._tcp.local 12, _llm._tcp.local 12, "
                              "_saturn._tcp.local 12, _lmstudio._tcp.local 12");
}

static void what_is_missing_is_asked_for(void **state) {
    unsigned char q[MDNS_QUERY_MAX];
    char text[2000];
    struct mdns_found f = { .n = 0 };
    struct message m;
    assert_int_equal(mdns_ask_rest(&f, q, ID), 0);

    begin(&m); /* what cannot be attached yet is not kept */
    put_srv(&m, GPU, "box.local", 11434);
    put_address(&m, "box.local", "192.168.1.7");
    assert_true(take(&f, of(&m)));
    assert_int_equal(f.n, 0);

    begin(&m);
    put_ptr(&m, OLLAMA, "My GPU's; \\x\xc3\xa4." OLLAMA);
    assert_true(take(&f, of(&m)));
    assert_int_equal(f.n, 1);
    show_questions(q, mdns_ask_rest(&f, q, ID), text, sizeof text);
    assert_string_equal(text, "My\\032GPU's\\;\\032\\\\x\\195\\164." OLLAMA " 33");

    begin(&m);
    put_srv(&m, "My GPU's; \\x\xc3\xa4." OLLAMA, "box.local", 11434);
    assert_true(take(&f, of(&m)));
    show_questions(q, mdns_ask_rest(&f, q, ID), text, sizeof text);
    assert_string_equal(text, "box.local 1, box.local 28");

    begin(&m);
    put_address(&m, "other.local", "192.168.1.8");
    put_address(&m, "box.local", "192.168.1.7");
    assert_true(take(&f, of(&m)));
    assert_string_equal(place(&f.v[0]), "192.168.1.7 11434");
    assert_int_equal(mdns_ask_rest(&f, q, ID), 0);

    begin(&m); /* not multicast DNS's to answer */
    put_ptr(&m, OLLAMA, "away." OLLAMA);
    put_srv(&m, "away." OLLAMA, "example.com", 11434);
    assert_true(take(&f, of(&m)));
    assert_int_equal(mdns_ask_rest(&f, q, ID), 0);
}

static void questions_fill_one_message_at_most(void **state) {
    unsigned char q[MDNS_QUERY_MAX];
    char text[8000], name[200], label[64];
    struct mdns_found f = { .n = 0 };
    struct message m;
    begin(&m);
    memset(label, 'n', 63);
    for (int i = 0; i < MDNS_PLACES_MAX; i++) {
        snprintf(name, sizeof name, "%02d%.61s." OLLAMA, i, label);
        label[63] = '\0';
        put_ptr(&m, OLLAMA, name);
    }
    assert_true(take(&f, of(&m)));
    assert_int_equal(f.n, MDNS_PLACES_MAX);
    size_t n = mdns_ask_rest(&f, q, ID);
    assert_true(n > MDNS_QUERY_MAX - 100 && n <= MDNS_QUERY_MAX);
    show_questions(q, n, text, sizeof text);
    f.n = 0;
    begin(&m);
    for (int i = 0; i < MDNS_PLACES_MAX; i++) {
        snprintf(name, sizeof name, "%02d." OLLAMA, i);
        put_ptr(&m, OLLAMA, name);
    }
    assert_true(take(&f, of(&m)));
    n = mdns_ask_rest(&f, q, ID);
    assert_int_equal(ns_get16(q + 4), MDNS_QUESTIONS_MAX);
    show_questions(q, n, text, sizeof text);
}

/* --- whom to believe ------------------------------------------------------------------------------------------------ */

static void only_this_link_is_believed(void **state) {
    static const struct {
        const char *source;
        unsigned link;
        bool taken;
    } cases[] = {
        { "192.168.1.7", ETH, true },     { "192.168.1.7", WIFI, false },  { "192.168.2.7", ETH, false },
        { "10.9.1.255", WIFI, true },     { "10.9.2.0", WIFI, false },     { "203.0.113.5", ETH, false },
        { "192.168.1.2", LO, true },      { "192.168.1.2", WIFI, true }, /* this machine itself */
        { "127.0.0.1", LO, true },        { "127.0.0.9", ETH, false },
        { "fe80::77", ETH, true },        { "fe80::77", WIFI, true }, /* no router passes it on */
        { "fd00:1::7", ETH, true },       { "fd00:2::7", ETH, false },     { "2001:db8::1", ETH, false },
        { "::ffff:192.168.1.7", ETH, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mdns_found f = { .n = 0 };
        struct mdns_from where = from(cases[i].source, cases[i].link);
        if (take_from(&f, whole, &where) != cases[i].taken || f.n != cases[i].taken)
            fail_msg("%s on %u", cases[i].source, cases[i].link);
    }
}

static void only_private_addresses_are_taken(void **state) {
    static const struct {
        const char *address;
        unsigned link;
        bool taken;
    } cases[] = {
        { "192.168.1.9", ETH, true },   { "192.168.77.9", ETH, true }, /* behind a reflector */
        { "10.0.0.1", ETH, true },      { "10.255.255.255", ETH, true },   { "172.16.0.1", ETH, true },
        { "172.31.255.1", ETH, true },  { "172.15.0.1", ETH, false },      { "172.32.0.1", ETH, false },
        { "9.255.0.1", ETH, false },    { "11.0.0.1", ETH, false },        { "192.167.1.1", ETH, false },
        { "192.169.1.1", ETH, false },  { "8.8.8.8", ETH, false },         { "203.0.113.1", ETH, false },
        { "127.0.0.1", ETH, false },    { "127.0.0.1", LO, false },        { "0.0.0.0", ETH, false },
        { "224.0.0.251", ETH, false },  { "255.255.255.255", ETH, false }, { "100.64.0.1", ETH, false },
        { "169.254.169.254", ETH, false }, /* a cloud's metadata, not this network */
        { "169.254.3.4", WIFI, true },  { "169.254.3.4", LO, false },
        { "fd00:9::1", ETH, true },     { "fc00::1", ETH, true },          { "fe00::1", ETH, false },
        { "2001:db8::1", ETH, false },  { "fe80::7", ETH, false },         { "::1", ETH, false },
        { "::", ETH, false },           { "::ffff:10.0.0.1", ETH, false }, { "ff02::fb", ETH, false },
        { "64:ff9b::a00:1", ETH, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mdns_found f = { .n = 0 };
        struct mdns_address a = address(cases[i].address);
        struct mdns_from where = from(cases[i].link == ETH ? "192.168.1.7" : cases[i].link == LO ? "127.0.0.1" : "10.9.0.7", cases[i].link);
        struct message m;
        begin(&m);
        put_ptr(&m, OLLAMA, GPU);
        put_srv(&m, GPU, "box.local", 11434);
        put_address(&m, "box.local", cases[i].address);
        assert_true(take_from(&f, of(&m), &where));
        if ((f.v[0].at.family != 0) != cases[i].taken || mdns_may_look(&a, &where) != cases[i].taken)
            fail_msg("%s on %u", cases[i].address, cases[i].link);
    }
}

static void the_nearest_address_is_taken(void **state) {
    static const char *const order[] = { /* each is better than those before it */
                                         "fd00:9::1", "fd00:1::9", "10.0.0.9", "192.168.1.9", "192.168.1.7"
    };
    for (int backwards = 0; backwards < 2; backwards++) {
        struct mdns_found f = { .n = 0 };
        struct message m;
        begin(&m);
        put_ptr(&m, OLLAMA, GPU);
        put_srv(&m, GPU, "box.local", 11434);
        put_address(&m, "box.local", "8.8.8.8");
        assert_true(take(&f, of(&m)));
        for (int i = 0; i < 5; i++) {
            char want[64];
            begin(&m);
            put_address(&m, "box.local", order[backwards ? 4 - i : i]);
            assert_true(take(&f, of(&m)));
            snprintf(want, sizeof want, "%s 11434", order[backwards ? 4 : i]);
            assert_string_equal(place(&f.v[0]), want);
        }
        assert_false(f.v[0].is_here);
    }
}

static void this_machine_recognises_itself(void **state) {
    struct mdns_found f = { .n = 0 };
    struct message m;
    begin(&m);
    put_ptr(&m, OLLAMA, GPU);
    put_srv(&m, GPU, "box.local", 11434);
    put_address(&m, "box.local", "192.168.1.2");
    struct mdns_from where = from("192.168.1.2", LO);
    assert_true(take_from(&f, of(&m), &where));
    assert_true(f.v[0].is_here);
}

static void the_first_server_counts(void **state) {
    struct mdns_found f = { .n = 0 };
    struct message m;
    assert_true(take(&f, whole));
    begin(&m);
    put_srv(&m, GPU, "evil.local", 22);
    put_address(&m, "evil.local", "192.168.1.66");
    assert_true(take(&f, of(&m)));
    assert_string_equal(place(&f.v[0]), "192.168.1.7 11434");
}

/* --- what is refused ------------------------------------------------------------------------------------------------ */

static void messages_that_are_no_answer_are_refused(void **state) {
    static const struct {
        const char *why;
        unsigned at, byte;
    } cases[] = {
        { "another id", 0, 0x13 },      { "another id", 1, 0 },          { "a question", 2, 0x04 }, { "an opcode", 2, 0x8c },
        { "an error", 3, 0x03 },        { "more answers", 7, 2 },        { "more questions", 5, 2 },
        { "65,281 records", 10, 0xff }, { "fewer records", 11, 2 },
    };
    char changed[300];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mdns_found f = { .n = 0 };
        memcpy(changed, whole.p, whole.n);
        changed[cases[i].at] = (char)cases[i].byte;
        if (take(&f, (struct sv){ changed, whole.n }) || f.n)
            fail_msg("%s", cases[i].why);
    }
    struct mdns_found f = { .n = 0 };
    memcpy(changed, whole.p, whole.n);
    changed[whole.n] = 0;
    assert_false(take(&f, (struct sv){ changed, whole.n + 1 }));
    assert_int_equal(f.n, 0);
}

static void records_that_do_not_count_are_left_out(void **state) {
    static const struct {
        const char *why, *name;
        unsigned type, class, ttl;
        const char *data;
        size_t n;
        bool taken;
    } cases[] = {
#define NAME "\3gpu\7_ollama\4_tcp\5local"
#define ROW(why, name, type, class, ttl, data, taken) { why, name, type, class, ttl, data, sizeof(data) - 1, taken }
        ROW("it is good", OLLAMA, ns_t_ptr, ns_c_in, 10, NAME "\0", true),
        ROW("with the cache-flush bit", OLLAMA, ns_t_ptr, 0x8001, 10, NAME "\0", true),
        ROW("another class", OLLAMA, ns_t_ptr, ns_c_chaos, 10, NAME "\0", false),
        ROW("any class", OLLAMA, ns_t_ptr, ns_c_any, 10, NAME "\0", false),
        ROW("another class with the bit", OLLAMA, ns_t_ptr, 0x8003, 10, NAME "\0", false),
        ROW("another type", OLLAMA, ns_t_cname, ns_c_in, 10, NAME "\0", false),
        ROW("good-bye", OLLAMA, ns_t_ptr, ns_c_in, 0, NAME "\0", false),
        ROW("a service nobody asked for", "_ipp._tcp.local", ns_t_ptr, ns_c_in, 10, "\3gpu\4_ipp\4_tcp\5local\0", false),
        ROW("an instance of another service", OLLAMA, ns_t_ptr, ns_c_in, 10, "\3gpu\7_openai\4_tcp\5local\0", false),
        ROW("no instance", OLLAMA, ns_t_ptr, ns_c_in, 10, "\7_ollama\4_tcp\5local\0", false),
        ROW("glued to the service", OLLAMA, ns_t_ptr, ns_c_in, 10, "\12gpu_ollama\4_tcp\5local\0", false),
        ROW("the root", OLLAMA, ns_t_ptr, ns_c_in, 10, "\0", false),
        ROW("nothing", OLLAMA, ns_t_ptr, ns_c_in, 10, "", false),
        ROW("the root's", "", ns_t_ptr, ns_c_in, 10, NAME "\0", false),
        ROW("more than the name", OLLAMA, ns_t_ptr, ns_c_in, 10, NAME "\0\0", false),
        ROW("less than the name", OLLAMA, ns_t_ptr, ns_c_in, 10, NAME, false),
        ROW("a pointer to itself", OLLAMA, ns_t_ptr, ns_c_in, 10, "\xc0\x2a", false), /* 12 + 20 + 10 */
        ROW("a label, then a pointer back to it", OLLAMA, ns_t_ptr, ns_c_in, 10, "\1a\xc0\x2a", false),
        ROW("a pointer forwards", OLLAMA, ns_t_ptr, ns_c_in, 10, "\xc0\x2c" NAME "\0", false),
        ROW("a pointer past the end", OLLAMA, ns_t_ptr, ns_c_in, 10, "\xff\xff", false),
        ROW("half a pointer", OLLAMA, ns_t_ptr, ns_c_in, 10, "\xc0", false),
        ROW("a reserved kind of label", OLLAMA, ns_t_ptr, ns_c_in, 10, "\x80" "abc\7_ollama\4_tcp\5local\0", false),
#undef ROW
#undef NAME
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mdns_found f = { .n = 0 };
        struct message m;
        begin(&m);
        put_record(&m, 6, cases[i].name, cases[i].type, cases[i].class, cases[i].ttl, cases[i].data, cases[i].n);
        take(&f, of(&m));
        if (f.n != cases[i].taken)
            fail_msg("%s", cases[i].why);
    }
}

static void servers_and_addresses_that_do_not_count_are_left_out(void **state) {
    static const struct {
        const char *why, *name;
        unsigned type, class;
        const char *data;
        size_t n;
    } cases[] = {
#define ROW(why, name, type, class, data) { why, name, type, class, data, sizeof(data) - 1 }
        ROW("port 0", GPU, ns_t_srv, ns_c_in, "\0\0\0\0\0\0\3box\5local\0"),
        ROW("the root as host", GPU, ns_t_srv, ns_c_in, "\0\0\0\0\0\1\0"),
        ROW("no host", GPU, ns_t_srv, ns_c_in, "\0\0\0\0\0\1"),
        ROW("half a port", GPU, ns_t_srv, ns_c_in, "\0\0\0\0\0"),
        ROW("another class", GPU, ns_t_srv, ns_c_chaos, "\0\0\0\0\0\1\3box\5local\0"),
        ROW("a host that points to itself", GPU, ns_t_srv, ns_c_in, "\0\0\0\0\0\1\1x\xc0\x6a") /* 12 + 54 + 34 + 6 */,
        ROW("another instance's", "x." OLLAMA, ns_t_srv, ns_c_in, "\0\0\0\0\0\1\3box\5local\0"),
        ROW("an address of three bytes", "b.local", ns_t_a, ns_c_in, "\xc0\xa8\1"),
        ROW("an address of five bytes", "b.local", ns_t_a, ns_c_in, "\xc0\xa8\1\7\0"),
        ROW("a long address of four bytes", "b.local", ns_t_aaaa, ns_c_in, "\xc0\xa8\1\7"),
        ROW("an address of another class", "b.local", ns_t_a, ns_c_hs, "\xc0\xa8\1\7"),
        ROW("an address of another host", "c.local", ns_t_a, ns_c_in, "\xc0\xa8\1\7"),
        ROW("an address of nobody", "", ns_t_a, ns_c_in, "\xc0\xa8\1\7"),
#undef ROW
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mdns_found f = { .n = 0 };
        struct message m;
        bool of_address = cases[i].type != ns_t_srv;
        begin(&m);
        put_ptr(&m, OLLAMA, GPU);
        if (of_address)
            put_srv(&m, GPU, "b.local", 1);
        put_record(&m, 10, cases[i].name, cases[i].type, cases[i].class, 10, cases[i].data, cases[i].n);
        take(&f, of(&m));
        if (f.n != 1 || f.v[0].at.family || (f.v[0].port != 0) != of_address)
            fail_msg("%s", cases[i].why);
    }
}

static void names_longer_than_there_is_room_for_are_left_out(void **state) {
    struct mdns_found f = { .n = 0 };
    struct message m;
    char label[64] = "", name[400];
    memset(label, '\xff', 63); /* written as \255: the longest that a name can get */
    begin(&m);
    snprintf(name, sizeof name, "%s." OLLAMA, label);
    put_ptr(&m, OLLAMA, name);
    assert_true(take(&f, of(&m)));
    assert_int_equal(f.n, 1);
    begin(&m);
    snprintf(name, sizeof name, "%s.%s." OLLAMA, label, label); /* 255 bytes on the wire would be allowed */
    put_ptr(&m, OLLAMA, name);
    assert_true(take(&f, of(&m)));
    assert_int_equal(f.n, 1);
}

static void loops_in_owners_end_the_message(void **state) {
    static const char *const owners[] = { "\xc0\x0c", "\xc0\x0e\xc0\x0c", "\1a\xc0\x0c", "\xc0\xff", "\xff\xff" };
    for (size_t i = 0; i < sizeof owners / sizeof owners[0]; i++) {
        struct mdns_found f = { .n = 0 };
        struct message m;
        begin(&m);
        put(&m, owners[i], strlen(owners[i]));
        put16(&m, ns_t_ptr);
        put16(&m, ns_c_in);
        put(&m, "\0\0\0\x0a\0\0", 6);
        ns_put16(1, m.b + 6);
        put_ptr(&m, OLLAMA, GPU);
        take(&f, of(&m));
        assert_int_equal(f.n, 0);
    }
}

/* --- bounds --------------------------------------------------------------------------------------------------------- */

static void ten_thousand_records_fill_sixty_four_places(void **state) {
    struct mdns_found f = { .n = 0 };
    struct message m;
    char name[64];
    unsigned n = 0;
    while (n < 10000) {
        begin(&m);
        for (int i = 0; i < 150; i++, n++) {
            snprintf(name, sizeof name, "n%u." OLLAMA, n);
            put_ptr(&m, OLLAMA, name);
        }
        assert_true(take(&f, of(&m)));
    }
    assert_int_equal(f.n, MDNS_PLACES_MAX);
    begin(&m); /* those that are known are still completed */
    put_srv(&m, "n63." OLLAMA, "box.local", 7);
    put_address(&m, "box.local", "192.168.1.7");
    assert_true(take(&f, of(&m)));
    assert_string_equal(place(&f.v[63]), "192.168.1.7 7");
}

static void a_message_is_read_up_to_a_bound(void **state) {
    struct mdns_found f = { .n = 0 };
    struct message m;
    begin(&m);
    for (int i = 0; i < MDNS_RECORDS_MAX; i++) /* the smallest there are */
        put_record(&m, 6, "", ns_t_txt, ns_c_in, 10, "", 0);
    size_t full = m.n;
    put_ptr(&m, OLLAMA, GPU);
    assert_true(take(&f, of(&m)));
    assert_int_equal(f.n, 0);
    m.n = full - 11; /* one fewer */
    ns_put16(MDNS_RECORDS_MAX - 1, m.b + 6);
    put_ptr(&m, OLLAMA, GPU);
    assert_true(take(&f, of(&m)));
    assert_int_equal(f.n, 1);
}

static void a_message_longer_than_multicast_dns_allows_is_refused(void **state) {
    struct mdns_found f = { .n = 0 };
    struct message m;
    static const unsigned char zeros[MDNS_MESSAGE_MAX];
    begin(&m);
    put_ptr(&m, OLLAMA, GPU);
    put_record(&m, 10, "x.local", ns_t_txt, ns_c_in, 10, zeros, MDNS_MESSAGE_MAX - m.n - 19);
    assert_int_equal(m.n, MDNS_MESSAGE_MAX);
    assert_true(take(&f, of(&m)));
    assert_int_equal(f.n, 1);
    f.n = 0;
    begin(&m);
    put_ptr(&m, OLLAMA, GPU);
    put_record(&m, 10, "x.local", ns_t_txt, ns_c_in, 10, zeros, MDNS_MESSAGE_MAX - m.n - 18);
    assert_false(take(&f, of(&m)));
    begin(&m);
    for (int i = 0; i < 5950; i++) /* as many as one datagram holds */
        put_record(&m, 6, "", ns_t_ptr, ns_c_in, 10, "", 0);
    assert_false(take(&f, of(&m)));
    assert_int_equal(f.n, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_answer_gives_a_place),
        cmocka_unit_test(an_answer_cut_anywhere_says_nothing),
        cmocka_unit_test(any_other_byte_anywhere_is_survived),
        cmocka_unit_test(names_are_compared_as_dns_does_and_the_order_does_not_matter),
        cmocka_unit_test(all_services_are_told_apart),
        cmocka_unit_test(one_message_asks_for_all),
        cmocka_unit_test(what_is_missing_is_asked_for),
        cmocka_unit_test(questions_fill_one_message_at_most),
        cmocka_unit_test(only_this_link_is_believed),
        cmocka_unit_test(only_private_addresses_are_taken),
        cmocka_unit_test(the_nearest_address_is_taken),
        cmocka_unit_test(this_machine_recognises_itself),
        cmocka_unit_test(the_first_server_counts),
        cmocka_unit_test(messages_that_are_no_answer_are_refused),
        cmocka_unit_test(records_that_do_not_count_are_left_out),
        cmocka_unit_test(servers_and_addresses_that_do_not_count_are_left_out),
        cmocka_unit_test(names_longer_than_there_is_room_for_are_left_out),
        cmocka_unit_test(loops_in_owners_end_the_message),
        cmocka_unit_test(ten_thousand_records_fill_sixty_four_places),
        cmocka_unit_test(a_message_is_read_up_to_a_bound),
        cmocka_unit_test(a_message_longer_than_multicast_dns_allows_is_refused),
    };
    return cmocka_run_group_tests(tests, make_nets, NULL);
}
