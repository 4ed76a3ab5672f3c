/* visible.ts - text from outside, made safe to look at: characters that are hidden or turn the direction of writing are shown by
 * their code. Joiners that scripts and emoji need (U+200C, U+200D) stay. */

const hidden =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu

export function visible(text: string): string {
  return text.replace(hidden, (c) => '⟨U+' + (c.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0') + '⟩')
}

/* A name no longer than `most`, cut in the middle: beginnings and ends tell names apart. */
export function cutMiddle(name: string, most: number): string {
  const chars = [...name]
  if (chars.length <= most) return name
  const tail = Math.floor((most - 1) / 2)
  return chars.slice(0, most - 1 - tail).join('') + '…' + chars.slice(chars.length - tail).join('')
}
