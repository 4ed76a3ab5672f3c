/* appearance.tsx - what a person chose for this browser; at once, and kept here only. */
import { prefs, setPref, type Prefs } from '../../app/prefs'
import { useStore } from '../../app/store'
import { Button } from '../../parts/button'
import { CheckField, SelectField } from '../../parts/field'
import { T } from '../../text'

export function Appearance() {
  const p = useStore(prefs)
  return (
    <section class="stack panel" aria-label={T.set.tabs.look}>
      <SelectField
        label={T.set.theme}
        value={p.theme}
        onInput={(v) => setPref('theme', v as Prefs['theme'])}
        options={(['system', 'light', 'dark'] as const).map((t) => ({ value: t, text: T.set.themes[t] }))}
      />
      <SelectField
        label={T.set.density}
        value={p.compact ? 'compact' : 'normal'}
        onInput={(v) => setPref('compact', v === 'compact')}
        options={[
          { value: 'normal', text: T.set.normal },
          { value: 'compact', text: T.set.compact },
        ]}
      />
      <CheckField label={T.choiceMotion} value={p.motion} onInput={(v) => setPref('motion', v)} hint={T.set.motionHint} />
      <CheckField label={T.choiceLetters} value={p.letters} onInput={(v) => setPref('letters', v)} hint={T.set.lettersHint} />
      <CheckField label={T.choiceAloud} value={p.readAloud} onInput={(v) => setPref('readAloud', v)} />
      <CheckField label={T.set.stepsShown} value={!p.checklist} onInput={(v) => setPref('checklist', !v)} />
      <div class="row">
        <Button act={() => prefs.set({ ...p, theme: 'system', motion: true, letters: true, compact: false, readAloud: false })}>
          {T.set.asItCame}
        </Button>
      </div>
    </section>
  )
}
