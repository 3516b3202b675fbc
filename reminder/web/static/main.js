// @ts-check
/** The page: its parts, and what one tells another. Each of them knows nothing of the others. */

import { Alerts } from './alerts.js'
import { Cancellations } from './cancellations.js'
import { Clock } from './clock.js'
import { token, watch } from './connection.js'
import { byId, make } from './dom.js'
import { Form } from './form.js'
import { makeHistory } from './history.js'
import { kept, local } from './memory.js'
import { makeSettings } from './settings.js'
import { Socket } from './socket.js'
import { makeTabs } from './tabs.js'
import { countDown, makeLists } from './upcoming.js'
import { OWN, wall } from './wall.js'
import { ZoneField } from './zones.js'

/** ms until what is shown is fetched anew, as others schedule, too. */
const AGAIN = 5_000
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
const zones = new ZoneField(byId('timeZone'), byId('zones'), () => clock.now())
const form = new Form(socket, clock, () => refreshSoon())
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
let underWay = 0
function refreshSoon() {
  refreshing ??= setTimeout(async () => {
    refreshing = undefined
    underWay++
    try {
      if (socket.state === 'connected') await lists[shown].refresh()
    } finally {
      underWay--
    }
    countDown(clock.now())
  }, TOGETHER)
}
// Not while one is under way: a fetch is overtaken by the next, so that none would be shown where all take long.
setInterval(() => !document.hidden && underWay === 0 && refreshSoon(), AGAIN)
document.addEventListener('visibilitychange', () => !document.hidden && refreshSoon())
setInterval(tick, 1000)

function tick() {
  countDown(clock.now())
  form.preview()
  byId('server-time').textContent = wall(clock.now(), OWN).slice(11)
}

clock.onset = () => {
  tick()
  form.propose()
  alerts.draw()
}
cancellations.onchange = () => {
  // Beside the lists, whose own errors go with the next fetch: it stays until somebody has read it.
  const refused = cancellations.refused.join(' ')
  if (byId('refused-text').textContent !== refused) byId('refused-text').textContent = refused
  byId('refused').hidden = refused === ''
  refreshSoon()
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
  const text = 'More was missed than can be shown here; what the server knows of it is in History.'
  byId('incomplete').replaceChildren(...(complete ? [] : [make('p', { class: 'notice', text })]))
})
socket.on('state', async ({ state }) => {
  if (state !== 'connected') return
  refreshSoon()
  const { response } = await socket.command('getAllTimeZones').catch(() => ({ response: [] }))
  zones.offer(response)
})
watch(socket)

byId('own-zone').textContent = OWN.replaceAll('_', ' ')
byId('refused-close').addEventListener('click', () => {
  cancellations.read()
  byId(`tab-${shown}`).focus()
})

makeSettings(channels, token, () => {
  socket.close()
  socket.open()
})
socket.open()
