// @ts-check
/** The page: its parts, and what one tells another. Each of them knows nothing of the others. */

import { Alerts } from './alerts.js'
import { Cancellations } from './cancellations.js'
import { Clock } from './clock.js'
import { token, watch } from './connection.js'
import { byId, complain } from './dom.js'
import { Form } from './form.js'
import { makeHistory } from './history.js'
import { kept, local } from './memory.js'
import { Socket } from './socket.js'
import { makeTabs } from './tabs.js'
import { countDown, makeLists } from './upcoming.js'
import { OWN, wall } from './wall.js'
import { ZoneField } from './zones.js'

/** ms until what is shown is fetched anew, as others schedule, too. */
const AGAIN = 20_000
/** ms in which reasons to fetch it anew count as one. */
const TOGETHER = 200

/** Where this browser has left off, which is as much as its tabs know together. */
const place = kept(local, 'place')
const channels = kept(local, 'channels')

const auth = () => ({ token: token.get(), channels: channels.get(), since: place.get() })
const socket = new Socket(new URL('.', location.href), { auth })
const clock = new Clock(socket)
const cancellations = new Cancellations(socket, clock, token.get)
const alerts = new Alerts(clock)
const form = new Form(socket, clock, () => refreshSoon())
const zones = new ZoneField(byId('timeZone'), byId('zones'), () => clock.now())
const lists = {
  ...makeLists(socket, clock, cancellations, (item) => form.change(item)),
  history: makeHistory(socket, clock),
}

/** @type {keyof typeof lists} */
let shown = 'upcoming'
makeTabs(/** @type {HTMLElement} */ (document.querySelector('[role=tablist]')), (panel) => {
  shown = /** @type {keyof typeof lists} */ (panel)
  refreshSoon()
})

/** @type {ReturnType<typeof setTimeout> | undefined} */
let refreshing
function refreshSoon() {
  refreshing ??= setTimeout(async () => {
    refreshing = undefined
    if (socket.state === 'connected') await lists[shown].refresh()
    countDown(clock.now())
  }, TOGETHER)
}
setInterval(() => !document.hidden && refreshSoon(), AGAIN)
setInterval(() => {
  countDown(clock.now())
  form.preview()
  byId('server-time').textContent = wall(clock.now(), OWN).slice(11)
}, 1000)

clock.onset = () => {
  form.propose()
  alerts.draw()
}
cancellations.onchange = (problem) => {
  if (problem) complain(/** @type {HTMLElement} */ (document.querySelector('#upcoming .error')), problem)
  else refreshSoon()
  lists.upcoming.draw()
  lists.series.draw()
  countDown(clock.now())
}

socket.on('cursor', (offset) => place.set(offset))
socket.on('eventReminder', (reminder, { missed }) => {
  alerts.fire(reminder, missed)
  // The server's clock was set forward.
  if (Date.parse(reminder.time) > clock.now()) clock.ask()
  refreshSoon()
})
socket.on('replayed', ({ complete }) => {
  byId('incomplete').hidden = complete
})
socket.on('state', async ({ state }) => {
  if (state !== 'connected') return
  refreshSoon()
  const { response } = await socket.command('getAllTimeZones').catch(() => ({ response: [] }))
  zones.offer(response)
})
watch(socket)

byId('own-zone').textContent = OWN.replaceAll('_', ' ')
byId('settings-open').addEventListener('click', () => {
  byId('channels').value = (channels.get() ?? []).join(', ')
  byId('settings').showModal()
})
byId('settings-close').addEventListener('click', () => byId('settings').close())
byId('settings-form').addEventListener('submit', () => {
  const named = byId('channels')
    .value.split(/[\s,]+/)
    .filter(Boolean)
  channels.set(named.length ? named : undefined)
  socket.close()
  socket.open()
})
socket.open()
