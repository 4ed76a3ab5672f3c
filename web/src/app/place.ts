/* place.ts - where this console stands: at the root of its own hub, or, where another hub's people visit a node, below a path of that hub's
 * (/node/ID/~TICKET/console/). Every address is made from it. There the page has no origin: no cookie and no storage, and nothing outside its path. */

/* "/", or the path of the visit. */
export const base = new URL('../', location.origin + location.pathname).pathname

/* A path of the daemon's, as the page reaches it. */
export const path = (of: string): string => base + of.slice(1)

/* The page of the hub's that leads back to where the visit was opened; undefined: this is no visit. */
export const wayBack = /^(.*\/node\/[^/]+\/)~[^/]+\/$/.exec(base)?.[1]
