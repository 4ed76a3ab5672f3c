/* base/log.c - lines are kept in the ring in their JSON form, the one form that can be read back and turned into the
 * other; the terminal form is made by the writer thread. Tried and dropped: one ring per thread without a lock. Log
 * lines are rare by design (nothing on the hot path writes one), so a mutex around a memcpy is enough. */
#include "base/log.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

static const char *const level_names[LOG_LEVELS] = { "error", "warn", "info", "debug" };
static const char *const level_priorities[LOG_LEVELS] = { "<3>", "<4>", "<6>", "<7>" };
static _Atomic int level_now = LOG_INFO;

struct line {
    uint64_t at;  /* place in ring.bytes, modulo its size */
    uint32_t len;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct line lines[LOG_RING_LINES];
    char *bytes;           /* LOG_RING_BYTES, made by log_start */
    uint64_t first, next;  /* numbers of the lines held: [first, next) */
    uint64_t head;         /* bytes ever written */
    uint64_t written;      /* next line the writer thread has to write */
    bool running, stop;
    int fd;
    enum log_format format;
    pthread_t thread;
} ring = { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER };

int log_level_now(void) {
    return atomic_load_explicit(&level_now, memory_order_relaxed);
}

void log_set_level(enum log_level level) {
    atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
}

const char *log_level_name(enum log_level level) {
    return level_names[level];
}

bool log_level_parse(struct sv text, enum log_level *ret_level) {
    for (int i = 0; i < LOG_LEVELS; i++) {
        if (sv_eq(text, sv_of(level_names[i]))) {
            *ret_level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

static void format_json(struct buf *b, enum log_level level, const char *text, const struct log_field *fields) {
    char at[25];
    buf_printf(b, "{\"time\":\"%s\",\"level\":\"%s\",\"msg\":", clock_iso8601(clock_wall_ms(), at), level_names[level]);
    buf_add_json(b, sv_of(text));
    for (const struct log_field *f = fields; f->key; f++) {
        size_t was = b->n;
        bool ok = buf_printf(b, ",\"%s\":", f->key);
        if (f->kind == LOG_F_SV)
            ok = ok && buf_add_json(b, f->sv);
        else if (f->kind == LOG_F_I64)
            ok = ok && buf_printf(b, "%lld", (long long)f->i);
        else if (f->kind == LOG_F_U64)
            ok = ok && buf_printf(b, "%llu", (unsigned long long)f->u);
        else
            ok = ok && (isfinite(f->f) ? buf_printf(b, "%.6g", f->f) : buf_printf(b, "null"));
        if (!ok || b->n > LOG_LINE_MAX - 24) { /* keep room for the mark */
            b->n = was;
            buf_printf(b, ",\"cut\":true");
            break;
        }
    }
    buf_add_char(b, '}');
}

/* {"time":"T","level":"L","msg":"M","k":"v"} -> "T LEVEL M  k=v", or, for the journal, "<4>M  k=v". Our own lines only, so the
 * shape is known. */
static void format_text(struct buf *out, struct sv json, bool journal, bool color) {
    static const char *const tint[LOG_LEVELS] = { "\033[31m", "\033[33m", "", "\033[2m" };
    struct sv v = sv_from(json, 1);
    int field = 0;
    const char *end = "";
    while (v.n > 1) {
        struct sv key;
        v = sv_from(v, 1);
        if (!sv_cut(&v, '"', &key))
            break;
        v = sv_from(v, 1); /* ':' */
        size_t n = 0;
        bool quoted = v.n && v.p[0] == '"';
        if (quoted) {
            for (n = 1; n < v.n && v.p[n] != '"'; n++)
                n += v.p[n] == '\\';
            n++;
        } else {
            while (n < v.n && v.p[n] != ',' && v.p[n] != '}')
                n++;
        }
        struct sv value = sv_first(v, n);
        struct sv bare = quoted ? sv_first(sv_from(value, 1), value.n - 2) : value;
        v = sv_from(v, n + 1);
        if (field == 0 && !journal) {
            buf_add(out, sv_first(sv_from(bare, 11), 12)); /* the time of day */
        } else if (field == 1 && journal) {
            enum log_level l = LOG_INFO;
            log_level_parse(bare, &l);
            buf_add(out, sv_of(level_priorities[l]));
        } else if (field == 1) {
            enum log_level l = LOG_INFO;
            log_level_parse(bare, &l);
            if (color && tint[l][0]) {
                buf_add(out, sv_of(tint[l]));
                end = "\033[0m";
            }
            buf_printf(out, " %-5.*s", SV_FMT(bare));
        } else if (field == 2) {
            buf_printf(out, "%s%.*s", journal ? "" : " ", SV_FMT(bare));
        } else if (field > 2) {
            bool plain = !quoted || (bare.n && sv_find_char(bare, ' ') < 0 && sv_find_char(bare, '\\') < 0);
            buf_printf(out, "  %.*s=%.*s", SV_FMT(key), SV_FMT(plain ? bare : value));
        }
        field++;
    }
    buf_add(out, sv_of(end));
    buf_add_char(out, '\n');
}

static void write_all(int fd, struct sv v) {
    while (v.n) {
        ssize_t n = write(fd, v.p, v.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* a full disk or a closed pipe costs lines, never the service */
        v = sv_from(v, (size_t)n);
    }
}

/* Whether fd is the stream to the journal that systemd made: systemd.exec(5), $JOURNAL_STREAM. */
static bool is_journal(int fd) {
    const char *said = getenv("JOURNAL_STREAM");
    unsigned long long dev, inode;
    struct stat st;
    char more;
    return said && sscanf(said, "%llu:%llu%c", &dev, &inode, &more) == 2 && fstat(fd, &st) == 0 && st.st_dev == dev &&
           st.st_ino == inode;
}

static enum log_format format_for(int fd, enum log_format wanted) {
    if (wanted != LOG_JSON && is_journal(fd))
        return LOG_JOURNAL;
    return wanted != LOG_AUTO ? wanted : isatty(fd) ? LOG_TEXT : LOG_JSON;
}

static void write_line(int fd, enum log_format format, struct sv json) {
    char space[LOG_LINE_MAX + 512];
    struct buf out = { .p = space, .base = space, .cap = sizeof space, .max = sizeof space };
    if (format == LOG_TEXT || format == LOG_JOURNAL) {
        format_text(&out, json, format == LOG_JOURNAL, isatty(fd));
    } else {
        buf_add(&out, json);
        buf_add_char(&out, '\n');
    }
    write_all(fd, buf_sv(&out));
}

static void ring_copy(const struct line *l, char *to) {
    size_t at = l->at % LOG_RING_BYTES, n = LOG_RING_BYTES - at;
    if (n > l->len)
        n = l->len;
    memcpy(to, ring.bytes + at, n);
    memcpy(to + n, ring.bytes, l->len - n);
}

static void ring_add(struct sv json) {
    while (ring.next > ring.first && (ring.next - ring.first >= LOG_RING_LINES ||
                                      ring.head + json.n - ring.lines[ring.first % LOG_RING_LINES].at > LOG_RING_BYTES))
        ring.first++;
    size_t at = ring.head % LOG_RING_BYTES, n = LOG_RING_BYTES - at;
    if (n > json.n)
        n = json.n;
    memcpy(ring.bytes + at, json.p, n);
    memcpy(ring.bytes, json.p + n, json.n - n);
    ring.lines[ring.next++ % LOG_RING_LINES] = (struct line){ ring.head, (uint32_t)json.n };
    ring.head += json.n;
    pthread_cond_signal(&ring.more);
}

void log_write(enum log_level level, const char *text, const struct log_field *fields) {
    char space[LOG_LINE_MAX];
    struct buf b = { .p = space, .base = space, .cap = sizeof space, .max = sizeof space };
    format_json(&b, level, text, fields);
    pthread_mutex_lock(&ring.lock);
    bool queued = ring.running;
    if (queued)
        ring_add(buf_sv(&b));
    pthread_mutex_unlock(&ring.lock);
    if (!queued)
        write_line(STDERR_FILENO, format_for(STDERR_FILENO, LOG_AUTO), buf_sv(&b));
}

static void *writer(void *arg) {
    (void)arg;
    char line[LOG_LINE_MAX];
    thread_name("log");
    pthread_mutex_lock(&ring.lock);
    for (;;) {
        while (ring.written == ring.next && !ring.stop)
            pthread_cond_wait(&ring.more, &ring.lock);
        if (ring.written == ring.next)
            break;
        uint64_t lost = ring.written < ring.first ? ring.first - ring.written : 0;
        ring.written += lost;
        struct line l = ring.lines[ring.written++ % LOG_RING_LINES];
        ring_copy(&l, line);
        int fd = ring.fd;
        enum log_format format = ring.format;
        pthread_mutex_unlock(&ring.lock);
        if (lost) {
            char at[25], told[160];
            int n = snprintf(told, sizeof told, "{\"time\":\"%s\",\"level\":\"warn\",\"msg\":\"log lines lost\",\"count\":%llu}",
                             clock_iso8601(clock_wall_ms(), at), (unsigned long long)lost);
            write_line(fd, format, (struct sv){ told, (size_t)n });
        }
        write_line(fd, format, (struct sv){ line, l.len });
        pthread_mutex_lock(&ring.lock);
    }
    pthread_mutex_unlock(&ring.lock);
    return NULL;
}

bool log_start(int fd, enum log_format format) {
    ring.bytes = ring.bytes ? ring.bytes : mem_alloc(LOG_RING_BYTES);
    if (!ring.bytes)
        return false;
    ring.fd = fd;
    ring.format = format_for(fd, format);
    ring.stop = false;
    ring.running = true;
    if (pthread_create(&ring.thread, NULL, writer, NULL) != 0)
        ring.running = false;
    return ring.running;
}

void log_stop(void) {
    pthread_mutex_lock(&ring.lock);
    bool was = ring.running;
    ring.stop = true;
    ring.running = false;
    pthread_cond_signal(&ring.more);
    pthread_mutex_unlock(&ring.lock);
    if (!was)
        return;
    pthread_join(ring.thread, NULL);
    mem_free(ring.bytes);
    ring.bytes = NULL;
    ring.first = ring.written = ring.next;
}

size_t log_read(uint64_t *seq, char line[static LOG_LINE_MAX], uint64_t *ret_missed) {
    size_t n = 0;
    pthread_mutex_lock(&ring.lock);
    *ret_missed = *seq < ring.first ? ring.first - *seq : 0;
    *seq += *ret_missed;
    if (ring.bytes && *seq < ring.next) {
        struct line l = ring.lines[*seq % LOG_RING_LINES];
        ring_copy(&l, line);
        n = l.len;
        ++*seq;
    }
    pthread_mutex_unlock(&ring.lock);
    return n;
}

uint64_t log_seq(uint64_t back) {
    pthread_mutex_lock(&ring.lock);
    uint64_t held = ring.next - ring.first, seq = ring.next - (back < held ? back : held);
    pthread_mutex_unlock(&ring.lock);
    return seq;
}
