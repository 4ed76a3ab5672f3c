/* Dialog: native, modal, one level only. Esc and the close button call onClose; the focus goes in and returns.
 * title; onClose; wide: for lists; side: a drawer at the right edge; children: the content, its buttons last.
 * What has the attribute data-autofocus gets the focus: put it on the safe choice. */
import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { T } from '../text'
import { Icon } from './icon'

let ids = 0

export function Dialog({
  title,
  onClose,
  wide,
  side,
  children,
}: {
  title: string
  onClose(): void
  wide?: boolean
  side?: boolean
  children: ComponentChildren
}) {
  const ref = useRef<HTMLDialogElement>(null)
  const id = useRef('dialog-' + ++ids)
  useEffect(() => {
    const d = ref.current
    const before = document.activeElement
    if (d && !d.open) d.showModal()
    d?.querySelector<HTMLElement>('[data-autofocus]')?.focus()
    return () => {
      d?.close()
      if (before instanceof HTMLElement && before.isConnected) before.focus()
    }
  }, [])
  return (
    <dialog
      ref={ref}
      class={'dialog' + (wide ? ' wide' : '') + (side ? ' side' : '')}
      aria-labelledby={id.current}
      onCancel={(e) => {
        e.preventDefault()
        onClose()
      }}
    >
      <header>
        <h2 id={id.current}>{title}</h2>
        <button type="button" class="button quiet" aria-label={T.close} onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      {children}
    </dialog>
  )
}
