/* memo.ts - a part that is drawn again only when one of its props is another value. */
import { Component, type ComponentChild, type FunctionComponent } from 'preact'

export function memo<P extends object>(draw: (props: P) => ComponentChild): FunctionComponent<P> {
  class Memo extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const a = this.props as Record<string, unknown>
      const b = next as Record<string, unknown>
      return Object.keys(b).length !== Object.keys(a).length || Object.keys(b).some((k) => !Object.is(a[k], b[k]))
    }
    override render(props: P): ComponentChild {
      return draw(props)
    }
  }
  return Memo as unknown as FunctionComponent<P>
}
