// @ts-check
/** What people see of the connection: whether it stands, why not, and the dialog for a token where one is asked for. */

import { byId } from './dom.js'
import { kept, session } from './memory.js'

const SAID = {
  connecting: 'Connecting …',
  connected: 'Connected',
  waiting: 'Connection lost',
  refused: 'Refused',
  closed: 'Closed',
}

/** The token, as long as the tab is open. */
export const token = kept(session, 'token')

/** @param {import('./socket.js').Socket} socket */
export function watch(socket) {
  const dialog = byId('token-dialog')
  let lost = false

  socket.on('state', (/** @type {{ state: import('./socket.js').State, reason?: string }} */ { state, reason }) => {
    const trying = lost && state === 'connecting'
    const pill = byId('connection')
    pill.dataset.state = trying ? 'waiting' : state
    pill.firstElementChild.textContent = trying ? SAID.waiting : SAID[state]
    if (state === 'connected') lost = false
    if (state === 'waiting') lost = true
    if (state === 'refused' && reason?.startsWith('token')) ask(reason)
    else if (!trying) say(state, reason)
  })

  /** @param {import('./socket.js').State} state @param {string} [reason] */
  const say = (state, reason) => {
    byId('notice').hidden = state !== 'waiting' && state !== 'refused'
    const text =
      state === 'waiting'
        ? 'The server cannot be reached. Trying again; what you miss meanwhile is shown then.'
        : `The server has refused the connection: ${reason}.${/^'?channel/.test(reason ?? '') ? ' The channels are in Settings.' : ''}`
    if (byId('notice-text').textContent !== text) byId('notice-text').textContent = text
  }

  /** @param {string} reason */
  const ask = (reason) => {
    byId('notice').hidden = true
    byId('token-reason').textContent = token.get() === undefined ? '' : `The one that was given is no use: ${reason}.`
    byId('token').value = ''
    if (!dialog.open) dialog.showModal()
  }

  byId('retry').addEventListener('click', () => socket.open())
  dialog.addEventListener('close', () => {
    if (byId('token').value) token.set(byId('token').value.trim())
    socket.open()
  })
}
