import { io } from 'socket.io-client'

const socket = io(process.argv[2] ?? 'http://127.0.0.1:3000')
const time = new Date(Date.now() + 62_000).toISOString().slice(0, 16).replace('T', ' ')
const data = { eventName: 'Stand-up', time, timeZone: 'UTC' }

socket.on('eventReminder', (event) => console.log('reminder:', event))
socket.once('connect', () => {
  socket.emit('command', { command: 'scheduleEvent', data }, (answer) => console.log('scheduled:', answer))
})
