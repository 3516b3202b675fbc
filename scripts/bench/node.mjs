// A peer: what the reminder server does, on socket.io for Node.js, with the events in memory. usage: node node.mjs PORT
//
// So that measuring needs no whole minutes, `time` has seconds here. SIGUSR2 collects garbage (node --expose-gc).
import { randomBytes } from 'node:crypto'
import { Server } from 'socket.io'

const io = new Server(Number(process.argv[2]))
const due = new Map() // instant -> events

function schedule({ eventName, time, timeZone }) {
  if (!eventName) return { status: 'failure', error: "'eventName' is required" }
  if (!timeZone) return { status: 'failure', error: "'timeZone' is required" }
  const instant = Date.parse(`${String(time).replace(' ', 'T')}Z`)
  if (!(instant > Date.now())) return { status: 'failure', error: `time='${time}' should be in future` }
  const event = { name: eventName, time: new Date(instant).toISOString(), _id: randomBytes(12).toString('hex') }
  if (!due.has(instant)) due.set(instant, [])
  due.get(instant).push(event)
  return { status: 'success', response: event }
}

function remind() {
  const instant = Math.round(Date.now() / 1000) * 1000
  for (const event of due.get(instant) ?? []) io.emit('eventReminder', event)
  due.delete(instant)
  setTimeout(remind, instant + 1000 - Date.now())
}

io.on('connection', (socket) => {
  socket.on('command', (message, acknowledge) => {
    if (message?.command !== 'scheduleEvent') acknowledge({ status: 'failure', error: 'un-recognized command' })
    else acknowledge(schedule(message.data ?? {}))
  })
})
setTimeout(remind, 1000 - (Date.now() % 1000))
process.on('SIGUSR2', () => globalThis.gc())
