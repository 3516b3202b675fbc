// @ts-check
/** The form that schedules an event or a series, or changes one, and shows before what that will mean. */

import { byId, complain, make } from './dom.js'
import { RULES, ruleWords } from './rules.js'
import { CommandFailed } from './socket.js'
import { place } from './upcoming.js'
import { OWN, resolve, span, wall, words } from './wall.js'

/** The fields by the names that the server's errors have for them. */
const FIELDS = ['eventName', 'time', 'timeZone', 'repeat', 'channel']

/** @typedef {import('./upcoming.js').Item} Item */

export class Form {
  #socket
  #clock
  #done
  #form = byId('form')
  #chosen = false
  /** @type {Item | null} what is changed; null where something new is scheduled */
  #changed = null
  /** @type {{ data: string, key: string } | null} what was sent and not answered: sent again, it is the same event */
  #unanswered = null

  /**
   * @param {import('./socket.js').Socket} socket
   * @param {import('./clock.js').Clock} clock
   * @param {() => void} done called when something was scheduled or changed
   */
  constructor(socket, clock, done) {
    this.#socket = socket
    this.#clock = clock
    this.#done = done
    byId('repeat').append(...RULES.map(([value, text]) => make('option', { value, text })))
    this.#form.addEventListener('submit', (/** @type {Event} */ event) => {
      event.preventDefault()
      this.#submit()
    })
    for (const name of ['input', 'change']) this.#form.addEventListener(name, () => this.preview())
    this.#form.addEventListener('input', (/** @type {any} */ { target }) => this.#fine(target))
    for (const chip of this.#form.querySelectorAll('[data-minutes]')) {
      chip.addEventListener('click', () => {
        this.#chosen = true
        this.#soon(chip.dataset.minutes)
      })
    }
    byId('leave').addEventListener('click', () => this.#leave())
    for (const name of ['date', 'time']) byId(name).addEventListener('input', () => (this.#chosen = true))
    this.propose()
  }

  /** Proposes a time, unless somebody has chosen one: by the server's clock, which is known only later. */
  propose() {
    if (!this.#chosen && this.#changed === null) this.#soon('60')
  }

  /** Fills the form with what is to be changed. @param {Item} item */
  change(item) {
    this.#changed = item
    this.#clear()
    const zone = item.timeZone ?? OWN
    const [date, time] = (item.localTime ?? wall(Date.parse(item.time ?? ''), zone)).split(' ')
    const known = RULES.some(([rule]) => rule === item.repeat)
    this.#fill({
      eventName: item.name,
      date,
      time,
      timeZone: zone,
      channel: item.channel ?? '',
      repeat: known ? item.repeat : 'own',
      rule: item.repeat ?? '',
    })
    // What is no series cannot become one, nor the other way round.
    byId('repeat').closest('.field').hidden = item.repeat === undefined
    byId('repeat').options[0].disabled = true
    this.#dress(
      item.repeat !== undefined
        ? 'Change the series'
        : item.series !== undefined
          ? 'Change this one of a series'
          : 'Change reminder',
      'Save',
      false,
    )
    byId('form-title').focus()
    byId('form-title').scrollIntoView({ block: 'nearest' })
  }

  /** Shows what the time means, in its zone and in this browser's. */
  preview() {
    byId('rule-field').hidden = this.#values.repeat !== 'own' || byId('repeat').closest('.field').hidden
    const { date, time, timeZone, repeat, rule } = this.#values
    const found = date && time ? resolve(`${date} ${time}`, timeZone) : undefined
    const lines = []
    if (found) {
      const { instant, problem } = found
      const now = this.#clock.now()
      lines.push(
        make('p', {}, make('strong', { text: words(instant, OWN, now) }), ' ', timeZone === OWN ? '' : 'your time'),
      )
      if (timeZone !== OWN)
        lines.push(make('p', {}, make('strong', { text: words(instant, timeZone, now) }), ` in ${place(timeZone)}`))
      const often = repeat === 'own' ? rule : repeat
      if (often) lines.push(make('p', { text: `then ${lower(ruleWords(often))}, by the clocks in ${place(timeZone)}` }))
      if (repeat === 'FREQ=MONTHLY' && Number(date.slice(8)) > 28) {
        lines.push(
          make('p', { class: 'warning', text: `Months without a ${Number(date.slice(8))}th day are left out.` }),
        )
      }
      if (instant <= now && !often) lines.push(make('p', { class: 'warning', text: 'That is over already.' }))
      if (problem === 'skipped')
        lines.push(
          make('p', {
            class: 'warning',
            text: `Clocks in ${place(timeZone)} are put forward and skip ${time} on that day: the reminder comes at ${wall(instant, timeZone).slice(11)}.`,
          }),
        )
      if (problem === 'twice')
        lines.push(
          make('p', {
            class: 'warning',
            text: `Clocks in ${place(timeZone)} are put back and show ${time} twice on that day: the reminder comes the first time.`,
          }),
        )
    }
    const version = lines.map((line) => line.className + line.textContent).join('\n')
    const preview = byId('preview')
    // Only what has changed is put in, as a screen reader says it then.
    if (preview.dataset.version !== version) preview.replaceChildren(...lines)
    preview.dataset.version = version
    byId('preview-box').hidden = lines.length === 0
    // Beside what is said, as it changes each second.
    const left = found ? found.instant - this.#clock.now() : 0
    complain(byId('preview-count'), left > 0 ? `in ${span(left)}` : '')
  }

  /** @returns {Record<string, string>} */
  get #values() {
    return /** @type {any} */ (Object.fromEntries(new FormData(this.#form)))
  }

  /** @param {Record<string, string | undefined>} values */
  #fill(values) {
    for (const [name, value] of Object.entries(values)) this.#form.elements[name].value = value
    this.preview()
  }

  /** @param {string} title @param {string} submit @param {boolean} fresh */
  #dress(title, submit, fresh) {
    byId('form-title').textContent = title
    byId('submit').textContent = submit
    byId('leave').hidden = fresh
    byId('done').textContent = ''
  }

  #leave() {
    const changed = this.#changed
    this.#changed = null
    this.#clear()
    byId('repeat').closest('.field').hidden = false
    byId('repeat').options[0].disabled = false
    this.#fill({ eventName: '', repeat: '', rule: '', channel: '' })
    this.#chosen = false
    this.propose()
    this.#dress('New reminder', 'Remind me', true)
    const row = changed && document.querySelector(`.lists [data-key="${changed._id}"] button`)
    ;/** @type {HTMLElement} */ (row ?? byId('eventName')).focus()
  }

  /** Sets the time to so many minutes from now. @param {string} minutes or 'tomorrow' */
  #soon(minutes) {
    const { timeZone } = this.#values
    const now = this.#clock.now()
    const zone = resolve(wall(now, 'UTC'), timeZone) ? timeZone : OWN
    const later = now + (minutes === 'tomorrow' ? 24 * 60 : Number(minutes)) * 60_000
    const [date, time] = wall(later, zone).split(' ')
    this.#fill({ date, time: minutes === 'tomorrow' ? '09:00' : time, timeZone: zone })
  }

  // -- sending ------------------------------------------------------------------------------------------------------

  /** What is to be sent: all, or of what is changed the difference. @returns {Record<string, any>} */
  get #data() {
    const { eventName, date, time, timeZone, repeat, rule, channel } = this.#values
    const often = repeat === 'own' ? rule : repeat
    const all = {
      eventName,
      time: `${date} ${time}`.trim(),
      timeZone,
      repeat: often || undefined,
      channel: channel || undefined,
    }
    const item = this.#changed
    if (item === null) return all
    const at = item.localTime === all.time && item.timeZone === timeZone
    return {
      _id: item._id,
      ...(eventName !== item.name && { eventName }),
      ...(!at && { time: all.time, timeZone }),
      ...(item.repeat !== undefined && often !== item.repeat && { repeat: often }),
      ...(channel !== (item.channel ?? '') && { channel: channel || null }),
    }
  }

  async #submit() {
    this.#clear()
    const submit = byId('submit')
    if (submit.getAttribute('aria-disabled') === 'true') return
    submit.setAttribute('aria-disabled', 'true') // not `disabled`, which would take the focus away
    try {
      const changed = this.#changed
      const { response, warning } = await (changed ? this.#socket.command('updateEvent', this.#data) : this.#schedule())
      const at = response.time === null ? '' : `, ${words(Date.parse(response.time), OWN, this.#clock.now())}`
      if (changed) this.#leave()
      else this.#fill({ eventName: '' })
      byId('done').textContent =
        `${changed ? 'Changed' : 'Scheduled'}: ${response.name}${at}.${warning ? ` Mind: ${warning}.` : ''}`
      if (!changed) byId('eventName').focus()
      this.#done()
    } catch (error) {
      this.#fail(/** @type {Error} */ (error))
    } finally {
      submit.removeAttribute('aria-disabled')
    }
  }

  async #schedule() {
    const data = this.#data
    const text = JSON.stringify(data)
    if (this.#unanswered?.data !== text)
      this.#unanswered = { data: text, key: `page-${crypto.getRandomValues(new Uint32Array(4)).join('-')}` }
    const answer = await this.#socket.command('scheduleEvent', { ...data, key: this.#unanswered.key })
    this.#unanswered = null
    return answer
  }

  /** Says an error at the field that it names. @param {Error} error */
  #fail(error) {
    if (error instanceof CommandFailed) this.#unanswered = null
    const field = error instanceof CommandFailed && FIELDS.find((name) => name === error.field)
    complain(byId(field ? `${field}-error` : 'form-error'), error.message)
    if (!field) return
    const inputs =
      field === 'time'
        ? [byId('date'), byId('time')]
        : [byId(field === 'repeat' && !byId('rule-field').hidden ? 'rule' : field)]
    for (const input of inputs) input.setAttribute('aria-invalid', 'true')
    inputs[0].focus()
  }

  /** @param {HTMLElement} input */
  #fine(input) {
    if (!input.hasAttribute('aria-invalid')) return
    const name = { date: 'time', rule: 'repeat' }[input.id] ?? input.id
    complain(byId(`${name}-error`))
    for (const one of this.#form.querySelectorAll(name === 'time' ? '#date, #time' : `#${input.id}`))
      one.removeAttribute('aria-invalid')
  }

  #clear() {
    for (const name of [...FIELDS, 'form']) complain(byId(`${name}-error`))
    for (const input of this.#form.querySelectorAll('[aria-invalid]')) input.removeAttribute('aria-invalid')
  }
}

/** @param {string} text */
const lower = (text) => (/^FREQ=/.test(text) ? text : text.charAt(0).toLowerCase() + text.slice(1))
