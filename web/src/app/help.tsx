/* help.tsx - ?: the keys in force here and the words used. */
import { Dialog } from '../parts/dialog'
import { Mark, type MarkState } from '../parts/mark'
import { T } from '../text'
import { keyLayers, type KeyBinding } from './keyboard'
import { prefs, setPref } from './prefs'
import { useStore } from './store'
import { CheckField } from '../parts/field'

const states: MarkState[] = ['ok', 'busy', 'warn', 'bad', 'paused', 'asleep', 'unknown', 'off']

export function Help({ onClose }: { onClose(): void }) {
  const p = useStore(prefs)
  const shown = new Map<string, KeyBinding[]>()
  for (const l of keyLayers()) {
    const listed = l.bindings.filter((b) => b.does)
    if (listed.length) shown.set(l.title, [...(shown.get(l.title) ?? []), ...listed])
  }
  return (
    <Dialog title={T.helpTitle} onClose={onClose} wide>
      <div class="help">
        {[...shown].map(([title, bindings]) => (
          <section>
            <h3>{title}</h3>
            <dl class="keys">
              {bindings.map((b) => (
                <div>
                  <dt>
                    {b.keys.split(' ').map((k) => (
                      <kbd>{k}</kbd>
                    ))}
                  </dt>
                  <dd>{b.does}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
        <section>
          <h3>{T.helpMarks}</h3>
          <ul class="plain">
            {states.map((s) => (
              <li>
                <Mark state={s} word={T.markWords[s]} />
              </li>
            ))}
          </ul>
        </section>
        <section>
          <h3>{T.helpWords}</h3>
          <dl class="facts-list">
            {T.words.map(([word, meaning]) => (
              <div>
                <dt>{word}</dt>
                <dd>{meaning}</dd>
              </div>
            ))}
          </dl>
        </section>
        <section>
          <h3>{T.helpChoices}</h3>
          <CheckField label={T.choiceLetters} value={p.letters} onInput={(v) => setPref('letters', v)} />
          <CheckField label={T.choiceMotion} value={p.motion} onInput={(v) => setPref('motion', v)} />
          <CheckField label={T.choiceCompact} value={p.compact} onInput={(v) => setPref('compact', v)} />
          <CheckField label={T.choiceAloud} value={p.readAloud} onInput={(v) => setPref('readAloud', v)} />
        </section>
      </div>
    </Dialog>
  )
}
