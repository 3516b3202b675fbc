// @ts-check
/**
 * A small Socket.IO client for event reminder servers, over WebSocket. Any page may import it, if the server's
 * CORS_ORIGINS names its origin; so may Node.js, which before version 22 needs the option `WebSocket` of the package "ws".
 *
 *     import { Socket } from 'https://reminders.example/static/socket.js'
 *
 *     const socket = new Socket('https://reminders.example', { auth: () => ({ since: localStorage.place }) })
 *     socket.on('eventReminder', (reminder, { missed }) => console.log(missed ? 'missed:' : 'now:', reminder.name))
 *     socket.on('cursor', (place) => { localStorage.place = place })
 *     socket.on('state', ({ state, reason }) => console.log(state, reason ?? ''))
 *     socket.open()
 *     const data = { eventName: 'Stand-up', time: '2030-01-31 09:30', timeZone: 'Europe/Berlin' }
 *     const { response, warning } = await socket.command('scheduleEvent', data)
 *     console.log('scheduled:', response, warning ?? '')
 *     socket.close()
 *
 * It comes back by itself, gets what it missed first, and hands each reminder out once. A command that a lost
 * connection has left without an answer is sent again: each may be repeated, as `scheduleEvent` gets a `key`.
 */

/**
 * @typedef {'closed' | 'connecting' | 'connected' | 'waiting' | 'refused'} State
 * `waiting`: for the next attempt. `refused`: by the server, which `reason` tells; `open()` tries again.
 * @typedef {{ response: any, warning?: string }} Answer
 * @typedef {{ frame: string, sent: boolean, resolve: (answer: Answer) => void, reject: (error: Error) => void,
 *   timer: any }} Pending
 * @typedef {object} Options
 * @property {object | (() => object | Promise<object>)} [auth] asked anew for each connection: token, channels, since
 * @property {any} [WebSocket] the class to use; the global one by default
 * @property {number} [patience] ms that a command waits for its answer; 15,000 by default
 * @property {[number, number]} [delays] ms before another attempt, the shortest and the longest; [500, 10000]
 */

/** ms for a connection to be opened and answered. */
const HANDSHAKE = 20_000

/** A command that the server refused; `field` is what of the data it names, if it names any. */
export class CommandFailed extends Error {
  /** @param {string} text */
  constructor(text) {
    super(text)
    this.name = 'CommandFailed'
    /** @type {string | undefined} */
    this.field = /^'?([\w]+)'?(?:=| )/.exec(/^(?:'\w+'|\w+=)/.test(text) ? text : '')?.[1]
  }
}

/** A command without an answer in time. If it was `sent` it may have been done. */
export class NoAnswer extends Error {
  /** @param {boolean} sent */
  constructor(sent) {
    super(
      sent ? 'The server has not answered; this may have been done.' : 'No connection to the server; nothing was done.',
    )
    this.name = 'NoAnswer'
    this.sent = sent
  }
}

export class Socket {
  /** @type {State} */
  state = 'closed'
  /** Whether the present connection goes on where the last one ended, with nothing missing. */
  recovered = false

  /** @type {Options} */
  #options
  #url
  /** @type {Map<string, Set<(...details: any[]) => void>>} */
  #listeners = new Map()
  /** @type {any} */
  #transport = null
  /** @type {Map<number, Pending>} */
  #pending = new Map()
  #commands = 0
  #attempts = 0
  /** @type {any} */
  #timer
  #heard = 0
  #silence = HANDSHAKE
  /** @type {string | undefined} */
  #pid
  /** @type {string | undefined} */
  #offset
  #replaying = false
  /** Reminders since the last cursor: what may come again where the connection was cut behind them. */
  #uncounted = new Set()

  /**
   * @param {string | URL} url the server's; what stands before `/socket.io/`
   * @param {Options} [options]
   */
  constructor(url, options = {}) {
    this.#url = new URL('socket.io/?EIO=4&transport=websocket', String(url).replace(/\/?$/, '/'))
    this.#url.protocol = this.#url.protocol.replace('http', 'ws')
    this.#options = options
    // A network that is back, or a device that wakes up, is no reason to wait any longer.
    for (const name of ['online', 'pageshow', 'visibilitychange']) {
      globalThis.addEventListener?.(name, () => this.#wake())
    }
  }

  /**
   * Calls `listener` with the arguments of each event of that name; of `state`, with `{state, reason?, next?}`: `next`
   * is when (ms, by `Date.now()`) the next attempt is made. Reminders come with `{missed}` behind them.
   * @param {string} name
   * @param {(...details: any[]) => void} listener
   */
  on(name, listener) {
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set())
    this.#listeners.get(name)?.add(listener)
    return this
  }

  /** Connects, and stays connected until it is closed or refused. Where it waits, it waits no longer. */
  open() {
    if (this.#transport === null) this.#connect()
    return this
  }

  /** Ends the connection. Commands without an answer fail. */
  close() {
    this.#leave()
    this.#become('closed')
    for (const number of [...this.#pending.keys()]) this.#giveUp(number)
  }

  /**
   * What the command is answered with. Rejects with CommandFailed or NoAnswer. Without a connection it waits for one.
   * @param {string} command
   * @param {object} [data]
   * @param {{ patience?: number }} [options]
   * @returns {Promise<Answer>}
   */
  command(command, data = {}, { patience = this.#options.patience ?? 15_000 } = {}) {
    const number = this.#commands++
    if (command === 'scheduleEvent') data = { key: randomKey(), ...data }
    const frame = `42${number}${JSON.stringify(['command', { command, data }])}`
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#giveUp(number), patience)
      const pending = { frame, sent: false, resolve, reject, timer }
      this.#pending.set(number, pending)
      if (this.state === 'connected') this.#transmit(pending)
    })
  }

  // -- connections --------------------------------------------------------------------------------------------------

  #connect() {
    clearTimeout(this.#timer)
    const transport = (this.#transport = new (this.#options.WebSocket ?? globalThis.WebSocket)(this.#url.href))
    this.#silence = HANDSHAKE
    // A transport that was left is not listened to: its events would be taken for those of the next one.
    transport.onmessage = (/** @type {any} */ { data }) => transport === this.#transport && this.#receive(data)
    transport.onclose = () => transport === this.#transport && this.#lose('the connection was lost')
    transport.onerror = () => {}
    this.#become('connecting')
    this.#hear()
  }

  #leave() {
    clearTimeout(this.#timer)
    const transport = this.#transport
    this.#transport = null
    this.#replaying = false
    transport?.close()
  }

  /** @param {string} reason */
  #lose(reason) {
    this.#leave()
    const [least, most] = this.#options.delays ?? [500, 10_000]
    // Jitter, so that those whom one server has lost do not come back all at once.
    const delay = Math.min(most, least * 2 ** this.#attempts++) * (0.5 + Math.random() / 2)
    this.#timer = setTimeout(() => this.#connect(), delay)
    this.#become('waiting', { reason, next: Date.now() + delay })
  }

  /** @param {string} reason */
  #refuse(reason) {
    this.#leave()
    this.#become('refused', { reason })
  }

  #wake() {
    if (this.state === 'waiting') this.#connect()
    // Timers stand still while a device sleeps, so that silence may be over long before its timer is.
    else if (this.#transport && Date.now() - this.#heard > this.#silence) this.#lose('the server was silent')
  }

  /** Notes a sign of life. A server pings, so that silence means that it is gone, or the network. */
  #hear() {
    this.#heard = Date.now()
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#lose('the server was silent'), this.#silence)
  }

  /**
   * @param {State} state
   * @param {object} [details]
   */
  #become(state, details) {
    this.state = state
    this.#tell('state', { state, ...details })
  }

  // -- packets ------------------------------------------------------------------------------------------------------

  /** @param {unknown} packet of Engine.IO 4; those of type 4 hold one of Socket.IO 5 */
  #receive(packet) {
    try {
      if (typeof packet !== 'string') throw new SyntaxError('binary data, which the server never sends')
      this.#hear()
      if (packet[0] === '0') this.#greet(JSON.parse(packet.slice(1)))
      else if (packet[0] === '1') this.#lose('the server has ended the connection')
      else if (packet[0] === '2') this.#transport.send('3')
      else if (packet[0] === '4') this.#take(packet[1], packet.slice(2))
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
      this.#lose(`the server cannot be understood: ${error.message}`)
    }
  }

  /** @param {{ pingInterval: number, pingTimeout: number }} handshake in ms */
  async #greet({ pingInterval, pingTimeout }) {
    const transport = this.#transport
    this.#silence = pingInterval + pingTimeout
    this.#hear()
    const { auth = {} } = this.#options
    let given
    try {
      given = await (typeof auth === 'function' ? auth() : auth)
    } catch (error) {
      if (transport === this.#transport) this.#lose(`there is nothing to say who this is: ${error}`)
    }
    if (transport !== this.#transport) return
    // As the official client recovers: the `pid` of the last answer, and the offset of what came since.
    const recovery = this.#pid && this.#offset ? { pid: this.#pid, offset: this.#offset } : {}
    const payload = { ...given, ...recovery }
    this.#replaying = 'offset' in payload || payload.since != null
    transport.send(`40${JSON.stringify(payload)}`)
  }

  /**
   * @param {string} type
   * @param {string} rest
   */
  #take(type, rest) {
    const [, number, text] = /^(\d*)(.*)$/s.exec(rest) ?? []
    const data = text ? JSON.parse(text) : undefined
    if (type === '0') this.#join(data)
    else if (type === '1') this.#refuse('the server has ended the connection')
    else if (type === '2') this.#hand(data)
    else if (type === '3') this.#answer(Number(number), data[0])
    else if (type === '4') this.#refuse(data.message)
  }

  /** @param {{ pid?: string }} answer */
  #join({ pid }) {
    this.recovered = pid !== undefined && pid === this.#pid
    this.#pid = pid
    this.#attempts = 0
    this.#become('connected')
    for (const pending of this.#pending.values()) this.#transmit(pending)
  }

  /** @param {[string, ...any[]]} event */
  #hand([name, ...details]) {
    const last = details.at(-1)
    if (name === 'replayed') this.#replaying = false
    if (typeof last === 'string') {
      this.#offset = last
      // A cursor within a replay may still lie before what came last time.
      if (!this.#replaying) this.#uncounted.clear()
    }
    if (name === 'eventReminder') {
      if (this.#uncounted.has(last._id)) return
      this.#uncounted.add(last._id)
      details.push({ missed: this.#replaying })
    }
    this.#tell(name, ...details)
  }

  /** @param {string} name @param {any[]} details */
  #tell(name, ...details) {
    for (const listener of this.#listeners.get(name) ?? []) listener(...details)
  }

  // -- commands -----------------------------------------------------------------------------------------------------

  /** @param {Pending} pending */
  #transmit(pending) {
    pending.sent = true
    this.#transport.send(pending.frame)
  }

  /** @param {number} number @param {{ status: string, response?: any, warning?: string, error?: string }} envelope */
  #answer(number, { status, error, ...answer }) {
    const pending = this.#settle(number)
    if (status === 'success') pending?.resolve(/** @type {Answer} */ (answer))
    else pending?.reject(new CommandFailed(String(error)))
  }

  /** @param {number} number */
  #giveUp(number) {
    const pending = this.#settle(number)
    pending?.reject(new NoAnswer(pending.sent))
  }

  /** @param {number} number */
  #settle(number) {
    const pending = this.#pending.get(number)
    clearTimeout(pending?.timer)
    this.#pending.delete(number)
    return pending
  }
}

/** 16 random bytes as text; `crypto.randomUUID` is not there on pages that come by plain HTTP. */
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
