/* Confirm: says what will happen before it happens.
 * title: the act and its object; facts: what is affected, by name and count; act: does it, and closes when it is done; verb: the
 * button's words; word: level 2 and 3, this must be typed; gentle: another, safer way ({ verb, act }), first and focused. */
import { useState } from 'preact/hooks'
import { T } from '../text'
import { Button } from './button'
import { Dialog } from './dialog'
import { TextField } from './field'

interface Props {
  title: string
  facts: string[]
  verb: string
  act(): unknown
  onClose(): void
  word?: string
  gentle?: { verb: string; act(): unknown }
}

export function Confirm({ title, facts, verb, act, onClose, word, gentle }: Props) {
  const [typed, setTyped] = useState('')
  const then = (fn: () => unknown) => async (): Promise<void> => {
    await fn()
    onClose()
  }
  return (
    <Dialog title={title} onClose={onClose}>
      <ul class="facts">
        {facts.map((f) => (
          <li>{f}</li>
        ))}
      </ul>
      {word && <TextField label={T.typeToConfirm(word)} value={typed} onInput={setTyped} />}
      <footer class="row">
        {gentle ? (
          <Button act={then(gentle.act)} kind="main" hub autofocus>
            {gentle.verb}
          </Button>
        ) : null}
        <Button act={onClose} autofocus={!gentle && !word}>
          {T.cancel}
        </Button>
        <Button act={then(act)} kind="danger" hub off={word && typed !== word ? T.typeFirst(word) : undefined}>
          {verb}
        </Button>
      </footer>
    </Dialog>
  )
}
