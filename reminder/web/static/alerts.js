// @ts-check
/** Reminders as they come: an entry at the top, the tab's title, a notification where it is allowed, a sound. */

import { act, byId, make, show, title } from './dom.js'
import { kept, local, session } from './memory.js'
import { when } from './upcoming.js'

const SHOWN = 100
/** Notifications at a time; of more, one says how many they are. */
const NOTIFICATIONS = 3
const TITLE = document.title

/**
 * @typedef {{ _id: string, name: string, time: string, timeZone?: string, channel?: string }} Reminder
 * @typedef {Reminder & { missed: boolean }} Fired
 */

export class Alerts {
  #kept = kept(session, 'fired')
  /** @type {Fired[]} the newest first. Kept, as the place has moved past them: a reload would not bring them again. */
  #fired = this.#kept.get() ?? []
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
      this.#keep([])
      this.draw()
      byId('main').focus()
    })
    this.#wireSound()
    this.#wireNotifications()
    addEventListener('focus', () => this.#see())
    document.addEventListener('visibilitychange', () => this.#see())
    this.draw()
  }

  /** @param {Reminder} reminder @param {boolean} missed */
  fire({ _id, name, time, timeZone, channel }, missed) {
    if (this.#fired.some((other) => other._id === _id)) return // of another tab's place, or a server's restart
    this.#keep([{ _id, name, time, timeZone, channel, missed }, ...this.#fired].slice(0, SHOWN))
    if (this.#batch.push(this.#fired[0]) === 1) setTimeout(() => this.#alert(), 50)
  }

  /** @param {Fired[]} fired */
  #keep(fired) {
    this.#fired = fired
    this.#kept.set(fired.length ? fired : undefined)
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
    // Not all of it: what is to be read out has to be put into an element that was there before.
    byId('fired').classList.toggle('none', this.#fired.length === 0)
    byId('fired-head').hidden = this.#fired.length === 0
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
              this.#keep(this.#fired.filter((other) => other._id !== fired._id))
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
      const waits = !this.#muted.get() && this.#audio?.state !== 'running'
      button.setAttribute('aria-pressed', String(!this.#muted.get()))
      button.setAttribute('aria-label', waits ? 'Sound, after a first click' : 'Sound')
      button.title = waits ? 'Browsers allow a sound only after a first click or key' : ''
    }
    button.addEventListener('click', () => {
      this.#muted.set(this.#muted.get() ? undefined : true)
      draw()
      if (!this.#muted.get()) this.#ring()
    })
    draw()
    // Browsers let a page make a sound only once somebody has used it.
    // A finger counts as use when it is lifted, a mouse when it is pressed.
    for (const name of ['pointerdown', 'pointerup', 'keydown']) {
      addEventListener(name, () => {
        if (this.#audio === undefined) {
          this.#audio = new AudioContext()
          this.#audio.addEventListener('statechange', draw)
        }
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
