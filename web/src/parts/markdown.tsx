/* Markdown: draws parsed Markdown (pure/markdown.ts) as elements of a fixed list. blocks: settled ones; open: the text behind them that
 * may still grow, shown plain; first: the number of the first block, where earlier ones are left out. Links say their host and ask
 * before they open; images are their address. */
import type { ComponentChildren } from 'preact'
import { memo } from '../app/memo'
import { safeLink, type Block, type Inline } from '../pure/markdown'
import { visible } from '../pure/visible'
import { T } from '../text'
import { Code } from './code'
import { Growing } from './growing'

function inlines(list: Inline[]): ComponentChildren {
  return list.map((n) => {
    switch (n.kind) {
      case 'text':
        return visible(n.text)
      case 'code':
        return <code>{visible(n.text)}</code>
      case 'strong':
        return <strong>{inlines(n.children)}</strong>
      case 'em':
        return <em>{inlines(n.children)}</em>
      case 'break':
        return <br />
      case 'image':
        return <code>{T.image(visible(n.text), visible(n.href))}</code>
      case 'link':
        return <Outside href={n.href}>{inlines(n.children)}</Outside>
    }
  })
}

function Outside({ href, children }: { href: string; children: ComponentChildren }) {
  const to = safeLink(href)
  if (!to)
    return (
      <span>
        {children} <code>{visible(href)}</code>
      </span>
    )
  const u = new URL(to)
  const where = u.protocol === 'mailto:' ? u.pathname : u.host
  return (
    <a
      href={to}
      rel="noopener noreferrer nofollow"
      target="_blank"
      onClick={(e) => {
        if (!window.confirm(T.leave(visible(to)))) e.preventDefault()
      }}
    >
      {children} <span class="host">({visible(where)})</span>
    </a>
  )
}

const OneBlock = memo(function OneBlock({ block: b }: { block: Block }) {
  switch (b.kind) {
    case 'p':
      return <p>{inlines(b.children)}</p>
    case 'heading':
      return <p class={'heading h' + Math.min(b.level, 4)}>{inlines(b.children)}</p>
    case 'code':
      return <Code text={b.text} what={b.language ? visible(b.language) : T.code} />
    case 'quote':
      return (
        <blockquote>
          {b.blocks.map((x) => (
            <OneBlock block={x} />
          ))}
        </blockquote>
      )
    case 'list': {
      const items = b.items.map((i) => <li>{i.map((x) => (x.kind === 'p' ? inlines(x.children) : <OneBlock block={x} />))}</li>)
      return b.ordered ? <ol start={b.start}>{items}</ol> : <ul>{items}</ul>
    }
    case 'table':
      return (
        <div class="table-box" role="region" aria-label={T.tableInAnswer} tabIndex={0}>
          <table>
            <thead>
              <tr>
                {b.head.map((c) => (
                  <th scope="col">{inlines(c)}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {b.rows.map((r) => (
                <tr>
                  {r.map((c) => (
                    <td>{inlines(c)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )
    case 'rule':
      return <hr />
  }
})

export function Markdown({ blocks, open, first = 0 }: { blocks: readonly Block[]; open: string; first?: number }) {
  return (
    <div class="markdown">
      {blocks.map((b, i) => (
        <OneBlock key={first + i} block={b} />
      ))}
      {open && <Growing text={open} />}
    </div>
  )
}
