/* Table: a real table with a sticky header, sorting by header buttons, rows that open, and only the visible rows in the page when
 * there are more than 100.
 *
 * name: for the address (sort) and for screen readers; columns: best a constant, as rows are drawn again when it changes; rows: already
 * filtered, a row that changed is a new object (where cells depend on anything else, make columns anew with it); rowKey;
 * open: key of the open row, if rows open; onOpen(key | ''); detail(row): what an open row shows below itself;
 * onScrolled: told whether the reader has scrolled into the list; sort: 'column' or '-column'; onSort; rows come in the caller's order
 * when sort is ''. label(row): what a row is called.
 * picked, onPick: rows can be picked; which are is the caller's to keep, so that filters and new rows leave it alone.
 * j, k and the arrows move between rows, x picks, Shift with an arrow picks on the way, Enter opens, other acts are the caller's. */
import type { ComponentChildren, FunctionComponent } from 'preact'
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import { useKeys } from '../app/keyboard'
import { memo } from '../app/memo'
import { prefs } from '../app/prefs'
import { useStore } from '../app/store'
import { T } from '../text'

export interface Column<R> {
  id: string
  head: string
  unit?: string
  num?: boolean /* right-aligned figures */
  rowHead?: boolean /* names the row */
  wide?: boolean /* takes what is left */
  narrow?: 'hide' /* left out on narrow screens; the open row shows it */
  cell(row: R): ComponentChildren
  sort?(row: R): number | string
}

interface Props<R> {
  name: string
  caption: string
  columns: Column<R>[]
  rows: R[]
  rowKey(row: R): string
  label(row: R): string
  sort?: string
  onSort?(sort: string): void
  open?: string
  onOpen?(key: string): void
  detail?(row: R): ComponentChildren
  onScrolled?(scrolled: boolean): void
  picked?: ReadonlySet<string>
  onPick?(picked: Set<string>): void
}

const VIRTUAL_OVER = 100 /* more rows of ten cells would pass 3,000 elements in the page */
const BAR = 48 /* height of the bar that covers the top of the window */
const SPARE = 20 /* rows kept above and below what is seen */

function sorted<R>(rows: R[], columns: Column<R>[], sort: string): R[] {
  const c = columns.find((x) => x.id === sort.replace(/^-/, ''))
  if (!c?.sort) return rows
  const sign = sort.startsWith('-') ? -1 : 1
  const by = c.sort
  return rows
    .map((row, i) => ({ row, i, v: by(row) }))
    .sort((a, b) => (a.v < b.v ? -sign : a.v > b.v ? sign : a.i - b.i))
    .map((x) => x.row)
}

/* The same rows under the same sort keep their order, whatever their figures do: live data moves nothing that is being read. */
function held<R>(rows: R[], key: (r: R) => string, was: { sort: string; at: Map<string, number> }, sort: string): R[] | undefined {
  if (was.sort !== sort || was.at.size !== rows.length) return undefined
  const out = new Array<R>(rows.length)
  for (const r of rows) {
    const i = was.at.get(key(r))
    if (i === undefined) return undefined
    out[i] = r
  }
  return out
}

export function Table<R>(p: Props<R>) {
  const box = useRef<HTMLDivElement>(null)
  const body = useRef<HTMLTableSectionElement>(null)
  const sort = p.sort ?? ''
  const order = useRef({ sort: '', at: new Map<string, number>() })
  const rows = useMemo(() => {
    const out = sort ? (held(p.rows, p.rowKey, order.current, sort) ?? sorted(p.rows, p.columns, sort)) : p.rows
    order.current = { sort, at: sort ? new Map(out.map((r, i) => [p.rowKey(r), i])) : new Map() }
    return out
  }, [p.rows, p.columns, sort])
  const virtual = rows.length > VIRTUAL_OVER
  const [rowPx, setRowPx] = useState(32)
  const [top, setTop] = useState(0)
  const [height, setHeight] = useState(600)
  const [detailPx, setDetailPx] = useState(0)
  const openAt = p.open ? rows.findIndex((r) => p.rowKey(r) === p.open) : -1

  /* Where row i begins; the open row pushes what is below it. */
  const before = (i: number): number => i * rowPx + (openAt >= 0 && i > openAt ? detailPx : 0)
  let from = 0
  let to = rows.length
  if (virtual) {
    from = Math.max(0, Math.floor((top - (openAt >= 0 && top > before(openAt) ? detailPx : 0)) / rowPx) - SPARE)
    to = Math.min(rows.length, from + Math.ceil(height / rowPx) + 2 * SPARE)
  }

  /* Heights are asked for only where they are needed: it makes the browser lay the table out. */
  const compact = useStore(prefs).compact
  useLayoutEffect(() => {
    const tr = virtual ? body.current?.querySelector<HTMLElement>('tr.data') : undefined
    if (tr?.offsetHeight) setRowPx(tr.offsetHeight)
  }, [virtual, compact])
  useLayoutEffect(() => {
    const d = virtual && openAt >= 0 ? body.current?.querySelector<HTMLElement>('tr.detail') : undefined
    if (!d) return
    setDetailPx(d.offsetHeight)
    const watch = new ResizeObserver(() => setDetailPx(d.offsetHeight))
    watch.observe(d)
    return () => watch.disconnect()
  }, [virtual, p.open, openAt >= from && openAt < to])

  useEffect(() => {
    const b = box.current
    if (!b) return
    let frame = 0
    const look = (): void => {
      frame = 0
      setTop(b.scrollTop)
      setHeight(b.clientHeight)
      p.onScrolled?.(b.scrollTop > 4 || b.getBoundingClientRect().top < BAR)
    }
    const later = (): void => {
      frame ||= requestAnimationFrame(look)
    }
    b.addEventListener('scroll', later, { passive: true })
    if (p.onScrolled) addEventListener('scroll', later, { passive: true })
    const watch = new ResizeObserver(later)
    watch.observe(b)
    return () => {
      b.removeEventListener('scroll', later)
      removeEventListener('scroll', later)
      watch.disconnect()
      cancelAnimationFrame(frame)
    }
  }, [virtual, p.onScrolled])

  const here = (): number | undefined => {
    const now = document.activeElement?.closest<HTMLElement>('tr.data')
    return now && body.current?.contains(now) ? Number(now.dataset.at) : undefined
  }
  const move = (by: number): void => {
    const now = here()
    const at = now !== undefined ? now + by : by > 0 ? 0 : rows.length - 1
    if (at < 0 || at >= rows.length) return
    const focus = (): void => body.current?.querySelector<HTMLElement>(`tr[data-at="${at}"] [data-row]`)?.focus()
    if (virtual && box.current && (at < from + 2 || at >= to - 2)) {
      box.current.scrollTop = before(at) - height / 2
      requestAnimationFrame(() => requestAnimationFrame(focus))
    } else focus()
  }
  const latest = useRef(p)
  latest.current = p
  const pick = useCallback((keys: string[], on?: boolean): void => {
    const { picked, onPick } = latest.current
    const next = new Set(picked)
    for (const k of keys)
      if (on ?? !next.has(k)) next.add(k)
      else next.delete(k)
    onPick?.(next)
  }, [])
  const pickHere = (by: number): void => {
    const at = here()
    if (at === undefined || !p.onPick) return
    const keys = (by ? [at, at + by] : [at]).map((i) => rows[i]).filter((r) => r !== undefined).map((r) => p.rowKey(r))
    pick(keys, by ? true : undefined)
    if (by) move(by)
  }
  useKeys(p.caption, [
    ...(p.onPick
      ? [
          { keys: 'x', does: T.keyPick, run: () => pickHere(0) },
          { keys: 'Shift+ArrowDown', does: T.keyPickOn, run: () => pickHere(1) },
          { keys: 'Shift+ArrowUp', does: '', run: () => pickHere(-1) },
        ]
      : []),
    { keys: 'j', does: T.keyNext, run: () => move(1) },
    { keys: 'k', does: T.keyPrevious, run: () => move(-1) },
    { keys: 'ArrowDown', does: '', run: () => move(1) },
    { keys: 'ArrowUp', does: '', run: () => move(-1) },
  ])

  const opens = p.onOpen !== undefined
  const onOpen = useRef(p.onOpen)
  onOpen.current = p.onOpen
  const toggle = useCallback((key: string, isOpen: boolean) => onOpen.current?.(isOpen ? '' : key), [])
  const columns = p.columns.length + (p.onPick ? 1 : 0)
  const nPicked = p.picked ? rows.filter((r) => p.picked?.has(p.rowKey(r))).length : 0
  return (
    <div class={'table-box' + (virtual ? ' virtual' : '')} ref={box} role="region" aria-label={p.caption} tabIndex={0}>
      <table aria-rowcount={virtual ? rows.length + 1 : undefined}>
        <caption class="hide-visually">{p.caption}</caption>
        <thead>
          <tr aria-rowindex={virtual ? 1 : undefined}>
            {p.onPick && (
              <th scope="col" class="pick">
                <input
                  type="checkbox"
                  aria-label={T.pickAll(rows.length)}
                  checked={nPicked > 0 && nPicked === rows.length}
                  ref={(e) => {
                    if (e) e.indeterminate = nPicked > 0 && nPicked < rows.length
                  }}
                  onInput={(e) =>
                    pick(
                      rows.map((r) => p.rowKey(r)),
                      e.currentTarget.checked,
                    )
                  }
                />
              </th>
            )}
            {p.columns.map((c) => (
              <Head column={c} sort={p.sort ?? ''} onSort={p.onSort} />
            ))}
          </tr>
        </thead>
        <tbody ref={body}>
          {virtual && from > 0 && (
            <tr aria-hidden="true">
              <td colSpan={columns} style={{ height: before(from) + 'px', padding: 0 }} />
            </tr>
          )}
          {rows.slice(from, to).map((row, n) => {
            const key = p.rowKey(row)
            const isOpen = opens && key === p.open
            return [
              <DataRow
                key={key}
                row={row}
                columns={p.columns}
                at={from + n}
                rowIndex={virtual ? from + n + 2 : undefined}
                open={opens ? isOpen : undefined}
                toggle={toggle}
                id={key}
                picked={p.onPick ? (p.picked?.has(key) ?? false) : undefined}
                pick={pick}
                label={p.onPick ? p.label(row) : ''}
              />,
              isOpen && p.detail && (
                <tr key={key + ' detail'} class="detail">
                  <td colSpan={columns}>
                    <div role="region" aria-label={p.label(row)}>
                      {p.detail(row)}
                    </div>
                  </td>
                </tr>
              ),
            ]
          })}
          {virtual && to < rows.length && (
            <tr aria-hidden="true">
              <td colSpan={columns} style={{ height: before(rows.length) - before(to) + 'px', padding: 0 }} />
            </tr>
          )}
        </tbody>
      </table>
    </div>
  )
}

interface RowProps {
  row: unknown
  columns: Column<never>[]
  at: number
  rowIndex?: number
  open?: boolean /* undefined: rows do not open */
  id: string
  toggle(key: string, isOpen: boolean): void
  picked?: boolean /* undefined: rows cannot be picked */
  pick(keys: string[], on?: boolean): void
  label: string
}

/* Drawn again only when its row is another object: what changes in a row must come as a new one. */
const DrawnRow = memo(function DrawnRow({ row, columns, at, rowIndex, open, id, toggle, picked, pick, label }: RowProps) {
  return (
    <tr class={'data' + (open ? ' open' : '') + (picked ? ' picked' : '')} data-at={at} aria-rowindex={rowIndex}>
      {picked !== undefined && (
        <td class="pick">
          <input type="checkbox" aria-label={T.pickRow(label)} checked={picked} onInput={(e) => pick([id], e.currentTarget.checked)} />
        </td>
      )}
      {columns.map((c, i) => {
        const inner = c.cell(row as never)
        const cls = (c.num ? 'num' : '') + (c.wide ? ' wide' : '') + (c.narrow ? ' narrow-hide' : '')
        if (i === 0 && open !== undefined)
          return (
            <th scope="row" class={cls}>
              <button type="button" class="row-open" data-row aria-expanded={open} onClick={() => toggle(id, open)}>
                <span class="twist" aria-hidden="true">
                  {open ? '▾' : '▸'}
                </span>
                {inner}
              </button>
            </th>
          )
        return c.rowHead ? (
          <th scope="row" class={cls}>
            {inner}
          </th>
        ) : (
          <td class={cls}>{inner}</td>
        )
      })}
    </tr>
  )
})
const DataRow = DrawnRow as unknown as FunctionComponent<Omit<RowProps, 'columns'> & { columns: Column<any>[] }>

function Head<R>({ column: c, sort, onSort }: { column: Column<R>; sort: string; onSort?: (sort: string) => void }) {
  const mine = sort.replace(/^-/, '') === c.id
  const down = mine && sort.startsWith('-')
  const cls = (c.num ? 'num' : '') + (c.wide ? ' wide' : '') + (c.narrow ? ' narrow-hide' : '')
  const words = (
    <>
      {c.head}
      {c.unit && <span class="unit"> {c.unit}</span>}
    </>
  )
  if (!c.sort || !onSort)
    return (
      <th scope="col" class={cls}>
        {words}
      </th>
    )
  /* First press: up for names, down for figures; second: the other way; third: the list's own order. */
  const start = c.num ? '-' + c.id : c.id
  const turned = c.num ? c.id : '-' + c.id
  const next = !mine ? start : sort === start ? turned : ''
  return (
    <th scope="col" class={cls} aria-sort={mine ? (down ? 'descending' : 'ascending') : 'none'}>
      <button type="button" class="sort" onClick={() => onSort(next)}>
        {words}
        <span aria-hidden="true">{mine ? (down ? ' ▾' : ' ▴') : ''}</span>
      </button>
    </th>
  )
}
