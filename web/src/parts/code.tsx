/* Code: text to be copied or read as it is: commands, bodies, wire bytes. text; what: its name for screen readers; wrap: how it begins. */
import { useRef, useState } from 'preact/hooks'
import { visible } from '../pure/visible'
import { T } from '../text'
import { Copy } from './copy'

export function Code({ text, what, wrap = false }: { text: string; what: string; wrap?: boolean }) {
  const [wraps, setWraps] = useState(wrap)
  const ref = useRef<HTMLPreElement>(null)
  return (
    <div class="code">
      <div class="row tools">
        <span class="what">{what}</span>
        <button type="button" class="button quiet" aria-pressed={wraps} onClick={() => setWraps(!wraps)}>
          {T.wrap}
        </button>
        <Copy text={text} from={ref} label={T.copyWhat(what)} />
      </div>
      <pre ref={ref} class={wraps ? 'wrap' : ''} role="region" aria-label={what} tabIndex={0}>
        {visible(text)}
      </pre>
    </div>
  )
}
