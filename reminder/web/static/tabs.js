// @ts-check
/** Tabs by the pattern of the ARIA practices: one of them is in the order of the Tab key, arrows move between them. */

/**
 * @param {HTMLElement} tablist
 * @param {(panel: string) => void} chosen called with the id of the panel that is shown
 */
export function makeTabs(tablist, chosen) {
  const tabs = /** @type {HTMLElement[]} */ ([...tablist.querySelectorAll('[role=tab]')])
  const panel = (/** @type {HTMLElement} */ tab) => tab.getAttribute('aria-controls') ?? ''

  /** @param {HTMLElement} tab */
  const choose = (tab) => {
    for (const one of tabs) {
      one.setAttribute('aria-selected', String(one === tab))
      one.tabIndex = one === tab ? 0 : -1
      ;/** @type {HTMLElement} */ (document.getElementById(panel(one))).hidden = one !== tab
    }
    chosen(panel(tab))
  }

  tabs.forEach((tab, number) => {
    tab.addEventListener('click', () => choose(tab))
    tab.addEventListener('keydown', (event) => {
      const to = { ArrowRight: number + 1, ArrowLeft: number - 1, Home: 0, End: -1 }[event.key]
      if (to === undefined) return
      event.preventDefault()
      const next = tabs[(to + tabs.length) % tabs.length]
      next.focus()
      choose(next)
    })
  })
}
