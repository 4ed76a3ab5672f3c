/* base/list.h - doubly linked lists threaded through the objects.
 *
 * A list head and a member are the same struct. A member that is on no list points at itself, so dropping it twice is
 * harmless; zeroed memory is not a valid member: list_init first. */
#ifndef DROVER_BASE_LIST_H
#define DROVER_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev, *next;
};

#define LIST_INIT(name) { &(name), &(name) }
#define LIST_FOR(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
/* Safe when the body drops the current member (and only that one). */
#define LIST_FOR_SAFE(it, head) \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head); it = it##_next, it##_next = it->next)

static inline void list_init(struct list *l) {
    l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l) {
    return l->next == l;
}

static inline void list_drop(struct list *l) {
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->prev = l->next = l;
}

static inline void list_push_back(struct list *head, struct list *l) {
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}

static inline void list_push_front(struct list *head, struct list *l) {
    list_push_back(head->next, l);
}

/* Takes the first member off, or NULL. */
static inline struct list *list_pop(struct list *head) {
    struct list *l = head->next;
    if (l == head)
        return NULL;
    list_drop(l);
    return l;
}

/* Moves all members of from to the end of to. */
static inline void list_move(struct list *to, struct list *from) {
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#endif
