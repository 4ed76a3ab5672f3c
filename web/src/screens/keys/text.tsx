/* text.tsx - the text of a key, once: in this page's memory only, and only while the dialog is open. */
import { useState } from 'preact/hooks'
import { useResource } from '../../app/data'
import { lists } from '../../app/lists'
import { snippets } from '../../app/snippets'
import type { Key } from '../../app/types'
import { Button } from '../../parts/button'
import { Code } from '../../parts/code'
import { Dialog } from '../../parts/dialog'
import { CheckField, SelectField } from '../../parts/field'
import { T } from '../../text'

export type KeyWithText = Key & { key: string }

export function KeyText({ title, made, note, onClose }: { title: string; made: KeyWithText; note?: string; onClose(): void }) {
  const [saved, setSaved] = useState(false)
  const [warned, setWarned] = useState(false)
  const close = (): void => {
    if (saved) onClose()
    else setWarned(true)
  }
  return (
    <Dialog title={title} onClose={close} wide>
      <p>
        <strong>{T.keyOnce}</strong> {note}
      </p>
      <Code text={made.key} what={T.keyIs} wrap />
      <UseIt slug={firstSlug(made.models)} />
      <CheckField label={T.saved} value={saved} onInput={setSaved} />
      {warned && !saved && (
        <p class="fault" role="alert">
          ✕ {T.savedFirst}
        </p>
      )}
      <footer class="row">
        {warned && !saved && (
          <Button act={onClose} kind="danger">
            {T.key.leaveAnyway}
          </Button>
        )}
        <Button act={close} kind="main">
          {T.close}
        </Button>
      </footer>
    </Dialog>
  )
}

const firstSlug = (models: string[]): string => models.find((m) => !m.includes('*')) ?? ''

function UseIt({ slug }: { slug: string }) {
  const known = useResource(lists.models).data?.models[0]?.slug
  const [lang, setLang] = useState('curl')
  const list = snippets(slug || known || 'MODEL', T.firstQuestion)
  const now = list.find((x) => x.id === lang) ?? list[0]
  return (
    <>
      <SelectField label={T.useIt} value={lang} onInput={setLang} options={list.map((x) => ({ value: x.id, text: x.name }))} />
      {now && <Code text={now.text} what={now.name} />}
    </>
  )
}
