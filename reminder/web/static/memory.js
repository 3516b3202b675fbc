// @ts-check
/** What the page keeps in the browser: over a reload, in storage; where that is forbidden, as long as it is open. */

/** @type {Map<string, string>} */
const fallback = new Map()

/**
 * A value that is kept under a name; `undefined` where there is none.
 * @param {() => Storage} storage `localStorage`, or `sessionStorage` for what ends with the tab
 * @param {string} name
 */
export function kept(storage, name) {
  const full = `event-reminder.${name}`
  return {
    /** @returns {any} */
    get() {
      try {
        return JSON.parse(storage().getItem(full) ?? 'null') ?? undefined
      } catch {
        return JSON.parse(fallback.get(full) ?? 'null') ?? undefined
      }
    },
    /** @param {any} value `undefined` forgets it */
    set(value) {
      try {
        if (value === undefined) storage().removeItem(full)
        else storage().setItem(full, JSON.stringify(value))
      } catch {
        fallback.set(full, JSON.stringify(value ?? null))
      }
    },
  }
}

export const local = () => localStorage
export const session = () => sessionStorage
