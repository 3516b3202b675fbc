// @ts-check
/** Reminders as they come: an entry at the top, the tab's title, a notification where it is allowed, a sound. */

import { act, byId, make, show, title } from './dom.js'
import { kept, local } from './memory.js'
import { when } from './upcoming.js'

const SHOWN = 100
/** Notifications at a time; of more, one says how many they are. */
const NOTIFICATIONS = 3
const TITLE = document.title

/** @typedef {{ _id: string, name: string, time: string, channel?: string, missed: boolean }} Fired */

export class Alerts {
  /** @type {Fired[]} the newest first */
  #fired = []
  #unseen = 0
  #clock
  #muted = kept(local, 'muted')
  /** @type {AudioContext | undefined} */
  #audio
  /** @type {Fired[]} those that came together, and were not alerted to yet */
  #batch = []

  /** @param {import('./clock.js').Clock} clock */
  constructor(clock) {
    this.#clock = clock
    byId('fired-clear').addEventListener('click', () => {
      this.#fired = []
      this.draw()
      byId('main').focus()
    })
    this.#wireSound()
    this.#wireNotifications()
    addEventListener('focus', () => this.#see())
    document.addEventListener('visibilitychange', () => this.#see())
  }

  /** @param {Omit<Fired, 'missed'>} reminder @param {boolean} missed */
  fire(reminder, missed) {
    if (this.#fired.some(({ _id }) => _id === reminder._id)) return // of another tab's place, or a server's restart
    this.#fired = [{ ...reminder, missed }, ...this.#fired].slice(0, SHOWN)
    if (this.#batch.push(this.#fired[0]) === 1) setTimeout(() => this.#alert(), 50)
  }

  #alert() {
    const batch = this.#batch
    this.#batch = []
    this.draw()
    if (!document.hasFocus()) {
      this.#unseen += batch.length
      document.title = `(${this.#unseen}) ${batch[batch.length - 1].name}`
    }
    if (!this.#muted.get()) this.#ring()
    if (globalThis.Notification?.permission === 'granted' && !document.hasFocus()) notify(batch)
  }

  /** Shows what it knows, as the time may be another one. */
  draw() {
    byId('fired').hidden = this.#fired.length === 0
    const year = new Date(this.#clock.now()).getUTCFullYear()
    show(
      byId('fired-list'),
      this.#fired,
      ({ _id }) => _id,
      (fired) =>
        make(
          'li',
          { class: `row ${fired.missed ? 'missed' : 'live'}` },
          title(fired, fired.missed ? 'missed' : undefined),
          make('div', { class: 'when' }, ...when(fired, this.#clock.now())),
          make(
            'div',
            { class: 'acts' },
            act('Done', `Done: ${fired.name}`, () => {
              this.#fired = this.#fired.filter((other) => other._id !== fired._id)
              this.draw()
            }),
          ),
        ),
      (fired) => JSON.stringify([fired, year]),
    )
  }

  #see() {
    if (document.hidden) return
    this.#unseen = 0
    document.title = TITLE
  }

  // -- sound --------------------------------------------------------------------------------------------------------

  #wireSound() {
    const button = byId('sound')
    const draw = () => {
      button.setAttribute('aria-pressed', String(!this.#muted.get()))
    }
    button.addEventListener('click', () => {
      this.#muted.set(this.#muted.get() ? undefined : true)
      draw()
      if (!this.#muted.get()) this.#ring()
    })
    draw()
    // Browsers let a page make a sound only once somebody has used it.
    for (const name of ['pointerdown', 'keydown']) {
      addEventListener(name, () => {
        this.#audio ??= new AudioContext()
        this.#audio.resume()
      })
    }
  }

  /** Two tones of a bell. */
  #ring() {
    const audio = this.#audio
    if (audio?.state !== 'running') return
    for (const [number, frequency] of [880, 1174.66].entries()) {
      const begin = audio.currentTime + number * 0.18
      const tone = new OscillatorNode(audio, { type: 'sine', frequency })
      const volume = new GainNode(audio, { gain: 0 })
      volume.gain.setValueAtTime(0, begin)
      volume.gain.linearRampToValueAtTime(0.25, begin + 0.01)
      volume.gain.exponentialRampToValueAtTime(0.001, begin + 0.9)
      tone.connect(volume).connect(audio.destination)
      tone.start(begin)
      tone.stop(begin + 1)
    }
  }

  // -- notifications ------------------------------------------------------------------------------------------------

  #wireNotifications() {
    const button = byId('notify')
    button.hidden = globalThis.Notification?.permission !== 'default'
    button.addEventListener('click', async () => {
      button.hidden = (await Notification.requestPermission()) !== 'default'
    })
  }
}

/** @param {Fired[]} batch */
function notify(batch) {
  const shown = batch.length > NOTIFICATIONS ? [] : batch
  try {
    for (const { _id, name, missed } of shown)
      new Notification(name, { tag: _id, body: missed ? 'Missed while you were away' : 'Now' })
    if (shown.length === 0)
      new Notification(`${batch.length} reminders`, {
        body: batch
          .map(({ name }) => name)
          .slice(0, 10)
          .join('\n'),
      })
  } catch {
    // Some browsers of phones allow notifications to service workers alone; the page shows them all the same.
  }
}
