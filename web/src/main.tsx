/* main.tsx - the console of Drover. How the page is put together:
 *
 *   app/start      asks the hub who is signed in, then shows the sign-in, the first run, or the shell
 *   app/shell      top bar, rail, connection line; loads the screen that the address (app/route) names
 *   screens/       one file per screen, loaded when first shown; app/screens lists them
 *   parts/         what screens are made of: tables, fields, dialogs; each says in its first comment what its props mean
 *   app/api        every call to the hub: one header, one form of fault, one place that asks for passphrase and permission key
 *   app/events     the one socket of the tab over app/link, which knows how to resume; screens take what they show (useFeed)
 *   app/data       lists of the hub, shared, fetched again when an event says so; app/lists names the common ones
 *   pure/          what needs no page: framing of streams, thinking, Markdown, figures as text; tested by web/test
 *   text           all words. style/ all looks
 *
 * Rules: text from outside is only ever a text node, passed through visible(); nothing secret is stored or put into an address; the
 * page asks no other origin for anything; state that can be shared is in the address. This file stays an import alone: the page
 * loads the chunk it points to (build.mjs). */
import './app/start'
