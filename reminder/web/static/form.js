// @ts-check
/** The form that schedules an event or a series, or changes one, and shows before what that will mean. */

import { byId, complain, make } from './dom.js'
import { firstOf, said } from './preview.js'
import { isPlain, RULES } from './rules.js'
import { CommandFailed } from './socket.js'
import { OWN, resolve, span, wall, words } from './wall.js'

/** The inputs of each field, by the names that the server's errors have for them. @type {Record<string, string[]>} */
const FIELDS = {
  eventName: ['eventName'],
  time: ['date', 'time'],
  timeZone: ['timeZone'],
  repeat: ['repeat', 'rule'],
  channel: ['channel'],
}

/** @typedef {import('./upcoming.js').Item} Item */

export class Form {
  #socket
  #clock
  #done
  #form = byId('form')
  #chosen = false
  /** The zone by whose clocks a time is proposed. */
  #proposedIn = ''
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
    this.#form.addEventListener('input', (/** @type {any} */ { target }) => this.#fine(target.id))
    this.#form.addEventListener('change', (/** @type {any} */ { target }) => {
      if (target.id !== 'timeZone') return
      const { timeZone } = this.#wrong
      if (timeZone) return this.#complain('timeZone', timeZone)
      this.#fine('timeZone')
      if (this.#values.timeZone !== this.#proposedIn) this.propose()
    })
    // Else a field that is left would say what is wrong, and move the button away before the click is done.
    for (const name of ['submit', 'leave'])
      byId(name).addEventListener('mousedown', (/** @type {Event} */ event) => event.preventDefault())
    socket.on('state', () => this.#wait())
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
    const { timeZone } = this.#values
    const isTyped = resolve('2000-01-01 00:00', timeZone) === undefined // and not yet a zone's name
    if (this.#chosen || this.#changed !== null || isTyped) return
    this.#proposedIn = timeZone
    this.#soon('60')
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
      repeat: item.repeat === undefined ? '' : known ? item.repeat : 'own',
      rule: item.repeat ?? '',
    })
    // What is no series cannot become one, nor the other way round.
    byId('repeat').closest('.field').hidden = item.repeat === undefined
    byId('repeat').options[0].disabled = item.repeat !== undefined
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
    byId('rule-field').hidden = !this.#hasRule
    const now = this.#clock.now()
    const { date, time, timeZone } = this.#values
    const wanted = { date, time, timeZone, often: this.#often, isKnown: !this.#hasRule || isPlain(this.#often) }
    const first = firstOf(wanted, now)
    const lines = first ? said(wanted, first, now) : []
    const version = lines.map((line) => line.className + line.textContent).join('\n')
    const preview = byId('preview')
    // Only what has changed is put in, as a screen reader says it then.
    if (preview.dataset.version !== version) preview.replaceChildren(...lines)
    preview.dataset.version = version
    byId('preview-box').hidden = lines.length === 0
    // Beside what is said, as it changes each second.
    const left = first && wanted.isKnown ? first.instant - now : 0
    complain(byId('preview-count'), left > 0 ? `in ${span(left)}` : '')
  }

  /** Whether the rule is one of the user's own. */
  get #hasRule() {
    return this.#values.repeat === 'own' && !byId('repeat').closest('.field').hidden
  }

  /** The rule; empty where nothing repeats. */
  get #often() {
    const { repeat = '', rule } = this.#values
    return this.#hasRule ? rule.trim() : repeat
  }

  /** @returns {Record<string, string>} */
  get #values() {
    return /** @type {any} */ (Object.fromEntries(new FormData(this.#form)))
  }

  /** @param {Record<string, string | undefined>} values */
  #fill(values) {
    for (const [name, value] of Object.entries(values)) {
      this.#form.elements[name].value = value
      this.#form.elements[name].setCustomValidity('')
      this.#fine(name)
    }
    this.preview()
  }

  /** @param {string} title @param {string} submit @param {boolean} fresh */
  #dress(title, submit, fresh) {
    byId('form-title').textContent = title
    byId('submit').textContent = submit
    byId('leave').hidden = fresh
  }

  #leave() {
    const changed = this.#changed
    this.#changed = null
    this.#clear()
    byId('repeat').closest('.field').hidden = false
    byId('repeat').options[0].disabled = false
    this.#fill({ eventName: '', timeZone: OWN, repeat: '', rule: '', channel: '' })
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
    const { eventName, date, time, timeZone, channel } = this.#values
    const often = this.#often
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

  /** What the page itself sees to be wrong, by field. @returns {Record<string, string | false>} */
  get #wrong() {
    const { eventName, date, time, timeZone } = this.#values
    const { validity, validationMessage } = byId('timeZone')
    return {
      eventName: !eventName.trim() && 'Say what to be reminded of.',
      time: (!date || !time) && `Choose ${date ? 'a time' : time ? 'a date' : 'a date and a time'}.`,
      timeZone: timeZone.trim() ? validity.customError && validationMessage : 'Choose a time zone.',
      repeat: this.#hasRule && !this.#often && 'Write the rule, such as FREQ=WEEKLY;BYDAY=MO,TH.',
    }
  }

  async #submit() {
    if (this.#isSending) return
    this.#clear()
    byId('timeZone').dispatchEvent(new Event('change', { bubbles: true })) // as if it had been left
    const wrong = Object.entries(this.#wrong).filter(([, text]) => text)
    for (const [field, text] of wrong) this.#complain(field, String(text))
    if (wrong.length > 0) return this.#focus(wrong[0][0])
    const submit = byId('submit')
    submit.setAttribute('aria-disabled', 'true') // not `disabled`, which would take the focus away
    this.#wait()
    try {
      const changed = this.#changed
      const { response, warning } = await (changed ? this.#socket.command('updateEvent', this.#data) : this.#schedule())
      const at = response.time === null ? '' : `, ${words(Date.parse(response.time), OWN, this.#clock.now())}`
      if (changed) this.#leave()
      else this.#fill({ eventName: '' })
      this.#say(`${changed ? 'Changed' : 'Scheduled'}: ${response.name}${at}.${warning ? ` Mind: ${warning}.` : ''}`)
      if (!changed) byId('eventName').focus()
      this.#done()
    } catch (error) {
      this.#say('')
      this.#fail(/** @type {Error} */ (error))
    } finally {
      submit.removeAttribute('aria-disabled')
    }
  }

  get #isSending() {
    return byId('submit').getAttribute('aria-disabled') === 'true'
  }

  /** Says what is sent waits for, if anything. */
  #wait() {
    if (!this.#isSending) return
    if (this.#socket.state === 'connected') this.#say('')
    else this.#say('This waits for the connection to the server …', 'hint')
  }

  /** @param {string} text @param {string} look */
  #say(text, look = 'done') {
    byId('done').className = look
    byId('done').textContent = text
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
    const field = error instanceof CommandFailed && error.field
    if (!field || !(field in FIELDS)) return complain(byId('form-error'), error.message)
    this.#complain(field, error.message)
    this.#focus(field)
  }

  /** What can be seen of the inputs of a field: of a rule of one's own, that. @param {string} field */
  #inputs(field) {
    return FIELDS[field].filter((id) => field !== 'repeat' || (id === 'rule') === this.#hasRule).map(byId)
  }

  /** @param {string} field @param {string} text */
  #complain(field, text) {
    complain(byId(`${field}-error`), text)
    for (const input of this.#inputs(field)) input.setAttribute('aria-invalid', 'true')
  }

  /** @param {string} field */
  #focus(field) {
    const inputs = this.#inputs(field)
    ;(inputs.find(({ value }) => !value) ?? inputs[0]).focus()
  }

  /** Takes away what was said of the field of an input. @param {string} id */
  #fine(id) {
    const [field, inputs] = Object.entries(FIELDS).find(([, ids]) => ids.includes(id)) ?? []
    if (!field || !inputs) return
    complain(byId(`${field}-error`))
    for (const input of inputs) byId(input).removeAttribute('aria-invalid')
  }

  #clear() {
    for (const [input] of Object.values(FIELDS)) this.#fine(input)
    complain(byId('form-error'))
    this.#say('')
  }
}
