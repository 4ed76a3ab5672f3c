/* Table: a real table with a sticky header, sorting by header buttons, rows that open, and only the visible rows in the page when
 * there are more than 200.
 *
 * name: for the address (sort) and for screen readers; columns; rows: already filtered; rowKey;
 * open: key of the open row, if rows open; onOpen(key | ''); detail(row): what an open row shows below itself;
 * sort: 'column' or '-column'; onSort; rows come in the caller's order when sort is ''. label(row): what a row is called.
 * j, k and the arrows move between rows, Enter opens, "." and other acts are the caller's. */
import type { ComponentChildren } from 'preact'
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import { useKeys } from '../app/keyboard'
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
}

const VIRTUAL_OVER = 200
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

export function Table<R>(p: Props<R>) {
  const box = useRef<HTMLDivElement>(null)
  const body = useRef<HTMLTableSectionElement>(null)
  const rows = useMemo(() => sorted(p.rows, p.columns, p.sort ?? ''), [p.rows, p.columns, p.sort])
  const virtual = rows.length > VIRTUAL_OVER
  const [rowPx, setRowPx] = useState(32)
  const [top, setTop] = useState(0)
  const [height, setHeight] = useState(600)
  const [detailPx, setDetailPx] = useState(0)
  const openAt = p.open ? rows.findIndex((r) => p.rowKey(r) === p.open) : -1

  useLayoutEffect(() => {
    const tr = body.current?.querySelector<HTMLElement>('tr.data')
    if (tr && tr.offsetHeight && Math.abs(tr.offsetHeight - rowPx) > 0.5) setRowPx(tr.offsetHeight)
    const d = body.current?.querySelector<HTMLElement>('tr.detail')
    if (virtual && d && d.offsetHeight !== detailPx) setDetailPx(d.offsetHeight)
  })

  useEffect(() => {
    const b = box.current
    if (!b) return
    let frame = 0
    const look = (): void => {
      frame = 0
      setTop(b.scrollTop)
      setHeight(b.clientHeight)
      p.onScrolled?.(b.scrollTop > 4)
    }
    const later = (): void => {
      frame ||= requestAnimationFrame(look)
    }
    b.addEventListener('scroll', later, { passive: true })
    const watch = new ResizeObserver(later)
    watch.observe(b)
    return () => {
      b.removeEventListener('scroll', later)
      watch.disconnect()
      cancelAnimationFrame(frame)
    }
  }, [virtual, p.onScrolled])

  /* Where row i begins; the open row pushes what is below it. */
  const before = (i: number): number => i * rowPx + (openAt >= 0 && i > openAt ? detailPx : 0)
  let from = 0
  let to = rows.length
  if (virtual) {
    from = Math.max(0, Math.floor((top - (openAt >= 0 && top > before(openAt) ? detailPx : 0)) / rowPx) - SPARE)
    to = Math.min(rows.length, from + Math.ceil(height / rowPx) + 2 * SPARE)
  }

  const move = (by: number): void => {
    const now = document.activeElement?.closest<HTMLElement>('tr.data')
    const at = now && body.current?.contains(now) ? Number(now.dataset.at) + by : by > 0 ? 0 : rows.length - 1
    if (at < 0 || at >= rows.length) return
    const focus = (): void => body.current?.querySelector<HTMLElement>(`tr[data-at="${at}"] [data-row]`)?.focus()
    if (virtual && box.current && (at < from + 2 || at >= to - 2)) {
      box.current.scrollTop = before(at) - height / 2
      requestAnimationFrame(() => requestAnimationFrame(focus))
    } else focus()
  }
  useKeys(p.caption, [
    { keys: 'j', does: T.keyNext, run: () => move(1) },
    { keys: 'k', does: T.keyPrevious, run: () => move(-1) },
    { keys: 'ArrowDown', does: '', run: () => move(1) },
    { keys: 'ArrowUp', does: '', run: () => move(-1) },
  ])

  const opens = p.onOpen !== undefined
  const columns = p.columns.length
  return (
    <div class={'table-box' + (virtual ? ' virtual' : '')} ref={box} role="region" aria-label={p.caption} tabIndex={0}>
      <table aria-rowcount={virtual ? rows.length + 1 : undefined}>
        <caption class="hide-visually">{p.caption}</caption>
        <thead>
          <tr aria-rowindex={virtual ? 1 : undefined}>
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
              <tr key={key} class={'data' + (isOpen ? ' open' : '')} data-at={from + n} aria-rowindex={virtual ? from + n + 2 : undefined}>
                {p.columns.map((c, i) => {
                  const inner = c.cell(row)
                  const cls = (c.num ? 'num' : '') + (c.wide ? ' wide' : '') + (c.narrow ? ' narrow-hide' : '')
                  if (i === 0 && opens)
                    return (
                      <th scope="row" class={cls}>
                        <button type="button" class="row-open" data-row aria-expanded={isOpen} onClick={() => p.onOpen?.(isOpen ? '' : key)}>
                          <span class="twist" aria-hidden="true">
                            {isOpen ? '▾' : '▸'}
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
              </tr>,
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
