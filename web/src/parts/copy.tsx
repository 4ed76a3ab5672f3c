/* Copy: a button that copies and says so; without the right to the clipboard it selects the text instead, for Ctrl C.
 * text: what is copied; from: the element that shows it, for selecting; words: the button's. */
import type { RefObject } from 'preact'
import { useState } from 'preact/hooks'
import { say } from '../app/say'
import { T } from '../text'
import { Icon } from './icon'

export async function copyText(text: string, shown?: Element | null): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    if (shown) {
      const range = document.createRange()
      range.selectNodeContents(shown)
      getSelection()?.removeAllRanges()
      getSelection()?.addRange(range)
    }
    return false
  }
}

export function Copy({
  text,
  from,
  words = T.copy,
  label,
}: {
  text: string
  from?: RefObject<HTMLElement | null>
  words?: string
  label?: string
}) {
  const [said, setSaid] = useState('')
  const press = async (): Promise<void> => {
    const done = (await copyText(text, from?.current)) ? T.copied : T.selected
    setSaid(done)
    say(done)
    setTimeout(() => setSaid(''), 2500)
  }
  return (
    <button type="button" class="button" aria-label={label} onClick={press}>
      <Icon name="copy" /> {said || words}
    </button>
  )
}
