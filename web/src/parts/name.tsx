/* Name: a name from outside (model, endpoint, key): hidden characters are marked, a long one is cut in the middle, whole on hover,
 * on focus and when copied. most: characters shown; still: it stands in something that takes the focus itself (a button, a link). */
import { cutMiddle, visible } from '../pure/visible'

export function Name({ text, most = 40, still }: { text: string; most?: number; still?: boolean }) {
  const whole = visible(text)
  const short = cutMiddle(whole, most)
  if (short === whole)
    return (
      <bdi class="name" translate={false}>
        {whole}
      </bdi>
    )
  return (
    <bdi class="name cut" translate={false} title={whole} tabIndex={still ? undefined : 0}>
      <span aria-hidden="true" class="short">
        {short}
      </span>
      <span class="whole">{whole}</span>
    </bdi>
  )
}
