/* Icon: one of the glyphs of icons.svg, drawn in the colour of the text. name: without "i-"; label: only where no word stands beside it. */
export function Icon({ name, label }: { name: string; label?: string }) {
  return (
    <svg class="icon" role={label ? 'img' : undefined} aria-label={label} aria-hidden={label ? undefined : 'true'}>
      <use href={'#i-' + name} />
    </svg>
  )
}
