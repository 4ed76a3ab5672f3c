/* ScreenHead: title, the one sentence of state, how fresh it is, and the one control that pauses all updates. title; state: the
 * sentence; stale: when the newest data came, if that is too long ago; children: acts of the screen. */
import type { ComponentChildren } from 'preact'
import { prefs, setPref } from '../app/prefs'
import { useStore } from '../app/store'
import { clock } from '../pure/format'
import { T } from '../text'
import { Icon } from './icon'

export function ScreenHead({
  title,
  state,
  stale,
  children,
}: {
  title: string
  state?: ComponentChildren
  stale?: number
  children?: ComponentChildren
}) {
  const paused = useStore(prefs).paused
  return (
    <header class="screen-head">
      <div class="row">
        <h1 tabIndex={-1} id="title">
          {title}
        </h1>
        <span class="grow" />
        {children}
        <button type="button" class="button" aria-pressed={paused} onClick={() => setPref('paused', !paused)}>
          <Icon name={paused ? 'play' : 'pause'} /> {paused ? T.goOn : T.pause}
        </button>
      </div>
      <p class="state">
        {state}
        {paused && <span class="mark-paused"> ■ {T.paused}</span>}
        {stale !== undefined && <span class="mark-unknown"> ○ {T.asOf(clock(stale))}</span>}
      </p>
    </header>
  )
}
