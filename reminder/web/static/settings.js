// @ts-check
/** The dialog of settings: the channels to listen to, and another token. */

import { byId, complain } from './dom.js'

/** A channel's name, as the server has it. */
const CHANNEL = /^[A-Za-z0-9_.:/-]{1,128}$/

/**
 * @typedef {ReturnType<typeof import('./memory.js').kept>} Kept
 * @param {Kept} channels
 * @param {Kept} token
 * @param {() => void} reconnect called when one of them is another
 */
export function makeSettings(channels, token, reconnect) {
  const dialog = byId('settings')
  const field = byId('channels')

  byId('settings-open').addEventListener('click', () => {
    field.value = (channels.get() ?? []).join(', ')
    fail('')
    byId('token-forget').hidden = token.get() === undefined
    dialog.showModal()
  })
  byId('settings-close').addEventListener('click', () => dialog.close())
  byId('settings-form').addEventListener('submit', (/** @type {Event} */ event) => {
    /** @type {string[]} */
    const named = field.value.split(/[\s,]+/).filter(Boolean)
    const wrong = named.find((name) => !CHANNEL.test(name))
    if (wrong !== undefined) {
      // Not kept: the server would refuse the page with it.
      event.preventDefault()
      fail(`“${wrong}” cannot be a channel: a name is 1 to 128 of the characters A-Z a-z 0-9 _ . : / -`)
      field.focus()
      return
    }
    channels.set(named.length ? named : undefined)
    reconnect()
  })
  field.addEventListener('input', () => fail(''))
  byId('token-forget').addEventListener('click', () => {
    dialog.close()
    token.set(undefined)
    reconnect() // The server asks for one.
  })

  /** @param {string} problem */
  function fail(problem) {
    complain(byId('channels-error'), problem)
    if (problem) field.setAttribute('aria-invalid', 'true')
    else field.removeAttribute('aria-invalid')
  }
}
