/* The schema, step by step. Each room that keeps records adds its steps at the end. What was released is never changed: other people's
 * files have taken that step. Tables of the store itself (store_migration, store_mark) are made by migrate.c. */
#include "store/store.h"

const struct store_migration store_schema[] = {
    { 0 },
};
