/* Growing: text that grows at its end, drawn by appending what is new: one append a frame, nothing before it is touched. text: all of
 * it; a text that does not begin with the one before starts over. */
import { useLayoutEffect, useRef } from 'preact/hooks'
import { visible } from '../pure/visible'

const PIECE = 4000 /* characters in one element: what is laid out again when text is appended */

export function Growing({ text }: { text: string }) {
  const box = useRef<HTMLDivElement>(null)
  const drawn = useRef('')
  useLayoutEffect(() => {
    const b = box.current
    if (!b) return
    if (!text.startsWith(drawn.current) || !b.lastElementChild) {
      b.replaceChildren(document.createElement('div'))
      drawn.current = ''
    }
    let fresh = text.slice(drawn.current.length)
    drawn.current = text
    while (fresh) {
      const last = b.lastElementChild as HTMLElement
      const room = PIECE - (last.textContent?.length ?? 0)
      const cut = fresh.length > room ? fresh.indexOf('\n', Math.max(0, room)) : -1
      last.append(visible(cut < 0 ? fresh : fresh.slice(0, cut)))
      if (cut < 0) break
      b.append(document.createElement('div'))
      fresh = fresh.slice(cut + 1)
    }
  }, [text])
  return <div class="growing" ref={box} />
}
